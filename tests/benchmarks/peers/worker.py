"""A contender's process: reads questions from standard input, one a line in JSON, and answers each in a line."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any

from tests.benchmarks.peers.work import Work

if TYPE_CHECKING:
    from tests.benchmarks.peers.work import Job


def resident_bytes() -> int:
    """Return the largest resident set of this process so far.

    Linux's ``ru_maxrss`` begins with that of the process which started this one; VmHWM does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text("ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


class Worker:
    """One contender: the work it was last given, and answers about it."""

    def __init__(self, contender: str) -> None:
        self.jobs = importlib.import_module(f"tests.benchmarks.peers.with_{contender}").JOBS
        self.job: Job | None = None

    def prepare(self, **fields: Any) -> None:
        """Take up this work instead of what there was."""
        self.job = None
        work = Work(**{**fields, "widths": tuple(fields["widths"])})
        self.job = self.jobs[work.job](work)

    def check(self) -> list[float]:
        """Return the numbers on which contenders must agree."""
        return self.job.check()

    def run(self, seconds: float, clock: str = "wall") -> float:
        """Work for at least so many seconds; return those of one run, by the clock on the wall or the processor's."""
        look = {"wall": perf_counter, "cpu": process_time}[clock]
        runs, started, began = 0, perf_counter(), look()
        while not runs or perf_counter() - started < seconds:
            self.job.run()
            runs += 1
        return (look() - began) / runs

    def peak(self) -> int:
        """Work once; return the largest resident set in bytes."""
        self.job.run()
        return resident_bytes()


def main() -> None:
    """Serve as the contender that is named by the argument, until standard input ends."""
    # What libraries print goes to standard error; the answers have the real standard output for themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        question, details = json.loads(line)
        answers.write(json.dumps(getattr(worker, question)(**details)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
