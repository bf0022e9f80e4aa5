"""``python -m tests.benchmarks.peers``: print how fast layerkit is beside its peers, as a table in Markdown.

Each contender is a process of its own. They take turns, A B A B …, with a pause in between in which the threads of the
one before fall asleep; each pair gives a ratio, and the table has the median ratio with its quartiles. All have the
same threads: the cores that this process may run on (``taskset`` restricts them). Before anything is timed, all
contenders for a work must agree on the losses of the first steps from the same weights.

On a machine that others use too, ``--clock cpu`` takes the time that the processor worked for a contender, summed over
its threads, in place of what passed.

The peers are in the extra `benchmarks`; ``--peers`` names the interpreter of an environment that has them. Where one is
missing, its lines say so.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.compare import time_in_words
from tests.benchmarks.peers.contender import ROOT, Contender, ContenderError, Contenders, cores, environment
from tests.benchmarks.peers.rows import NEEDS, PEERS, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.benchmarks.peers.rows import Row

PACKAGES = ("keras", "jax", "torch", "scikit-learn")

VERSIONS = """
import importlib.metadata, json, platform, sys
import numpy
found = {"python": platform.python_version(), "numpy": numpy.__version__}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
blas = numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]
found["blas"] = blas["name"] + " " + blas["version"]
print(json.dumps(found))
"""


def versions(python: str) -> dict[str, str]:
    """Return what the contenders' environment has."""
    command = [python, "-c", VERSIONS, *PACKAGES]
    done = subprocess.run(command, check=True, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def machine(found: dict[str, str]) -> str:
    """Return a line that says where this was measured."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = dict(line.partition("\t")[::2] for line in info.read_text().split("\n\n")[0].splitlines())
        cpu = lines.get("model name", cpu).removeprefix(": ")
        widest = [name for name in ("amx_tile", "avx512f", "avx2") if name in lines.get("flags", "").split()]
        cpu += f" with {widest[0]}" if widest else ""
    peers = ", ".join(f"{name} {found[name]}" for name in PACKAGES if name in found)
    threads = f"{cores()} core{'s' if cores() > 1 else ''}"
    numpy = f"NumPy {found['numpy']} with {found['blas']}"
    return f"{cpu}, {threads}, Python {found['python']}, {numpy}; {peers or 'no peers'}"


class Measured:
    """What a line found: values of ours and theirs, pair by pair."""

    def __init__(self, row: Row, ours: Sequence[float], theirs: Sequence[float]) -> None:
        self.row, self.ours, self.theirs = row, statistics.median(ours), statistics.median(theirs)
        pairs = zip(theirs, ours, strict=True) if row.quantity == "share" else zip(ours, theirs, strict=True)
        self.low, self.median, self.high = statistics.quantiles([a / b for a, b in pairs], n=4, method="inclusive")

    def cells(self) -> tuple[str, str, str]:
        """Return the ratio, ours and theirs, in words."""
        small = self.median < 0.1
        low, median, high = (f"1/{1 / x:.0f}" if small else f"{x:.2f}" for x in (self.low, self.median, self.high))
        quantity = _megabytes if self.row.quantity == "memory" else time_in_words
        return f"{median} ({low} to {high})", quantity(self.ours), quantity(self.theirs)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


def require_agreement(peer: str, ours: list[float], theirs: list[float]) -> None:
    """Raise ContenderError unless the two computed the same.

    A loss hardly moves in a few steps, so that a difference is held against the way it went. It may be two thousandths:
    rounding, and PyTorch's Adam, which adds ε after it corrects for the start from zero.
    """
    if len(ours) != len(theirs) or not np.allclose(ours, theirs, rtol=1e-5, atol=2e-3 * np.ptp(ours) if ours else 0):
        raise ContenderError(
            f"{peer}: losses of the first steps, or outputs, must be layerkit's, {ours}. Received: {theirs}"
        )


def measure(
    row: Row, contenders: Contenders, pairs: int, turn_s: float, pause_s: float, clock: str = "wall"
) -> Measured:
    """Measure one line.

    Args:
        row: the line.
        contenders: the processes, or those to be.
        pairs: how many.
        turn_s: what a contender works at least, before it is the other's turn.
        pause_s: what lies between two turns.
        clock: "wall" or "cpu".

    Raises:
        ContenderError: a process failed, or the two do not compute the same.
    """
    pairs = max(2, min(pairs, row.pairs))
    values: tuple[list[float], list[float]] = ([], [])
    if row.quantity == "memory":
        for _ in range(pairs):
            for name, work, record in zip(("layerkit", row.peer), (row.ours, row.theirs), values, strict=True):
                with Contender(contenders.python, name) as contender:
                    record.append(contender.peak(work))
        return Measured(row, *values)
    both = contenders.of(row)
    if row.ours == row.theirs:
        require_agreement(row.peer, *(contender.found for contender in both))
    for contender in both:
        contender.ask("run", seconds=turn_s)  # to warm up
    for _ in range(pairs):
        for contender, work, record in zip(both, (row.ours, row.theirs), values, strict=True):
            time.sleep(pause_s)
            record.append(contender.ask("run", seconds=turn_s, clock=clock) / work.units)
    return Measured(row, *values)


def table(arguments: list[str] | None = None) -> int:
    """Print the table; return how many lines failed."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.peers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--peers", default=sys.executable, metavar="PYTHON", help="interpreter of all contenders")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORD", help="groups whose names begin so")
    parser.add_argument("--against", nargs="+", choices=sorted(PEERS), default=sorted(PEERS), help="these peers alone")
    parser.add_argument("--pairs", type=int, default=15, help="pairs of turns for a line, at least 2")
    parser.add_argument("--turn", type=float, default=0.1, metavar="SECONDS", help="of a turn, at least")
    parser.add_argument("--pause", type=float, default=0.1, metavar="SECONDS", help="between turns")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall", help="what is taken for time")
    parser.add_argument("--short", action="store_true", help="sizes that take no time, to see that all lines come")
    parser.add_argument("--list", action="store_true", help="print the names of the groups")
    options = parser.parse_args(arguments)
    if options.short:
        options.pairs, options.turn, options.pause = 2, 0.0, 0.0
    chosen = [
        row
        for row in rows(short=options.short)
        if row.group.startswith(tuple(options.only)) and row.peer in options.against
    ]
    if options.list:
        print("\n".join(dict.fromkeys(row.group for row in chosen)))
        return 0
    found = versions(options.peers)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{machine(found)}; time by the {options.clock} clock, load average {load}\n")
    print("| work | against | to reach | ratio, median (quartiles) | layerkit | the other |\n|---|---|---|---|---|---|")
    failed = 0
    with Contenders(options.peers) as contenders:
        for index, row in enumerate(chosen):
            if index and row.group != chosen[index - 1].group and not options.short:
                contenders.dismiss()  # a process has no past when it is timed
            missing = [name for name in NEEDS[row.peer] if name not in found]
            cells = (f"{' and '.join(missing)} not installed", "", "")
            if not missing:
                try:
                    cells = measure(row, contenders, options.pairs, options.turn, options.pause, options.clock).cells()
                except ContenderError as error:
                    cells = (f"failed: {error}", "", "")
                    failed += 1
                    contenders.dismiss()
            line = (row.label, row.against or PEERS[row.peer], row.reach or "–", *cells)
            print(f"| {' | '.join(line)} |", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(1 if table() else 0)
