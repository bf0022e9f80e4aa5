"""The handles of contenders' processes."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self, cast

if TYPE_CHECKING:
    from tests.benchmarks.peers.rows import Row
    from tests.benchmarks.peers.work import Work

ROOT = Path(__file__).parents[3]


def cores() -> int:
    """Return how many cores this process, and so every contender, may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, str]:
    """Return the environment of every contender: the same threads, and processors alone."""
    threads = str(cores())
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "backends")]),
        "OPENBLAS_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        "OMP_NUM_THREADS": threads,
        "KMP_BLOCKTIME": "20",  # Intel's threads would be busy for 200 ms after their work, during another's turn
        "CUDA_VISIBLE_DEVICES": "",
        "JAX_PLATFORMS": "cpu",
        "KERAS_BACKEND": "jax",
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }


class ContenderError(RuntimeError):
    """A contender's process failed."""


class Contender:
    """A process that works when asked, and else waits.

    Args:
        python: the interpreter.
        name: what it works with: a module ``with_…`` of this package.
    """

    def __init__(self, python: str, name: str) -> None:
        self.name = name
        self.work: Work | None = None
        self.found: list[float] = []
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            [python, "-m", "tests.benchmarks.peers.worker", name],
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def prepare(self, work: Work) -> None:
        """Have it take up this work, unless it is at it, and keep what it finds before it has trained."""
        if work != self.work:
            self.ask("prepare", **asdict(work))
            self.work, self.found = work, self.ask("check")

    def peak(self, work: Work) -> int:
        """Return the largest resident set of a process that does this work, and nothing else before."""
        self.ask("prepare", **asdict(work))
        return self.ask("peak")

    def ask(self, question: str, **details: Any) -> Any:
        """Return the answer to a question, which is a method of `worker.Worker`.

        Raises:
            ContenderError: the process ended instead.
        """
        try:
            stdin = cast("IO[str]", self._process.stdin)
            stdin.write(json.dumps([question, details]) + "\n")
            stdin.flush()
            line = cast("IO[str]", self._process.stdout).readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().splitlines()[-1:]
            raise ContenderError(f"{self.name}: {last[0] if last else 'the process ended'}")
        return json.loads(line)


class Contenders:
    """The processes of those lines that are measured together.

    Args:
        python: the interpreter of all.
    """

    def __init__(self, python: str) -> None:
        self.python = python
        self._open = ExitStack()
        self._by_side: dict[tuple[int, str], Contender] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.dismiss()

    def dismiss(self) -> None:
        """End all processes."""
        self._open.close()
        self._by_side.clear()

    def of(self, row: Row) -> tuple[Contender, Contender]:
        """Return ours and the other, prepared for this line; both begin at the same time."""
        sides = ((0, "layerkit"), (1, row.peer))
        for side in sides:
            if side not in self._by_side:
                self._by_side[side] = self._open.enter_context(Contender(self.python, side[1]))
        ours, theirs = (self._by_side[side] for side in sides)
        ours.prepare(row.ours)
        theirs.prepare(row.theirs)
        return ours, theirs
