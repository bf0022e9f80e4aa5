"""A captured step on NumPy: source that is written, compiled and run."""

from __future__ import annotations

import linecache
import time
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit_numpy.lowering import lowered
from layerkit_numpy.plan import Plan
from layerkit_numpy.source import Buffer, Source
from layerkit_numpy.standalone import Standalone, foreign_words, standalone
from layerkit_numpy.threads import threads as allowed_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.program import Program
    from layerkit.xp.backend import Backend
    from layerkit_numpy.lines import Line


class NumpyProgram:
    """A recorded step as a NumPy script with fixed memory.

    Args:
        program: what was recorded.
        xp: NumPy's backend.
        threads: how many threads share a long loop; None for as many as the machine and the user allow.
    """

    def __init__(self, program: Program, xp: Backend, threads: int | None = None) -> None:
        self._xp = xp
        self.program = program.simplified()
        self._lines = lowered(self.program, xp)
        self.plan = Plan(self._lines, xp.tile_size or 1 << 62, threads or allowed_threads())
        self.written = Source(self._lines, self.plan)
        """Its text, in parts."""
        self.name = program.name
        self._idle: list[Callable[..., Any]] = []

    def __call__(self, *arrays: Any) -> Any:
        """Take the step. Where exp may overflow to inf, whose reciprocal is right, the caller ignores it."""
        # A step has its own memory: two threads take two.
        idle = self._idle
        try:
            step = idle.pop()
        except IndexError:
            step = self._made(self.source, self.written.held)
        try:
            result = step(*arrays)
            if result is None:
                return None
            several = len(self.program.outputs) > 1
            return tuple([array.copy() for array in result]) if several else result.copy()
        finally:
            idle.append(step)

    def _made(self, source: str, held: dict[str, Any], **more: Any) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"np": np, **self.written.functions, **held, **more}
        file = f"<layerkit: {self.name}, {id(self):x}>"
        if file not in linecache.cache:  # which is for tracebacks; and a process may make thousands of programs
            weakref.finalize(self, linecache.cache.pop, file, None).atexit = False
        linecache.cache[file] = len(source), None, source.splitlines(keepends=True), file
        exec(compile(source, file, "exec"), namespace)  # noqa: S102 - our own text
        return namespace[self.name]

    @property
    def source(self) -> str:
        """The program as Python: what is made once, and the step."""
        return f"{self.written.once}\n\n{self.written.step(self.name)}"

    @property
    def buffers(self) -> list[Buffer]:
        """The arrays that the step works in, besides its inputs and the state."""
        return self.written.buffers

    @property
    def nbytes(self) -> int:
        """The bytes that they need together."""
        return self.plan.nbytes

    @property
    def flops(self) -> int:
        """The floating-point operations of one step: 2 n m k for a product of matrices, else one an element."""
        return sum(line.flops for line in self.plan.lines)

    @property
    def bytes_moved(self) -> int:
        """The bytes that the lines of one step read and write, each of its operands and results once."""
        return sum(line.nbytes for line in self.plan.lines)

    def foreign_words(self) -> list[str]:
        """Return what the text calls beside NumPy, and in which layer."""
        return foreign_words(self._alone())

    def standalone(self, *others: NumpyProgram, named: Sequence[Any] = ()) -> Standalone:
        """Return this program and others as text that needs NumPy alone: see `layerkit_numpy.standalone`."""
        return standalone([program._alone() for program in (self, *others)], named)

    def _alone(self) -> NumpyProgram:
        """Return the program with no loop shared among threads, which is NumPy's alone."""
        return self if self.plan.threads == 1 else NumpyProgram(self.program, self._xp, threads=1)

    def profile(self, repeats: int = 100) -> Profile:
        """Return how long each line takes: the median of so many steps, on copies of the state and on made-up inputs.

        Loops run in one thread here.

        Args:
            repeats: the number of steps.
        """
        if self.plan.threads > 1:
            return NumpyProgram(self.program, self._xp, threads=1).profile(repeats)
        lines = [line for _, line in self.written.body if line is not None]
        times: list[list[float]] = [[] for _ in lines]
        spent = [0.0] * len(lines)
        held = {name: self._xp.state(array, array.dtype.name) for name, array in self.written.held.items()}
        step = self._made(self._timed(), held, clock=time.perf_counter, spent=spent)
        random = np.random.default_rng(0)
        inputs = [
            random.standard_normal(value.shape).astype(value.dtype)
            if value.dtype.kind == "f"
            else np.zeros(value.shape, value.dtype)
            for value in (self._lines.values[place] for place in self.program.inputs)
        ]
        pause = _clock_time()
        rounds = [self.written.rounds(line) for line in lines]
        with np.errstate(all="ignore"):
            for _ in range(repeats):
                spent[:] = [0.0] * len(lines)
                step(*inputs)
                for before, seconds, count in zip(times, spent, rounds, strict=True):
                    before.append(max(seconds - count * pause, 0.0))
        texts = [text.strip() for text, line in self.written.body if line is not None]
        return Profile(
            [
                Row(float(np.median(seconds)) * 1e6, str(line.origin), text, line)
                for seconds, text, line in zip(times, texts, lines, strict=True)
            ]
        )

    def _timed(self) -> str:
        """The source with a clock around each line."""
        number = 0
        timed: list[tuple[str, Line | None]] = []
        for text, line in self.written.body:
            if line is None:
                timed.append((text, None))
                continue
            indent = text[: len(text) - len(text.lstrip())]
            timed += [
                (f"{indent}began = clock()", None),
                (text, line),
                (f"{indent}spent[{number}] += clock() - began", None),
            ]
            number += 1
        return f"{self.written.once}\n\n{self.written.step(self.name, timed)}"

    def __str__(self) -> str:
        return self.source

    def __repr__(self) -> str:
        return f"<program {self.name}: {len(self.plan.lines)} lines, {self.flops:,} flops, {self.nbytes:,} bytes>"


class Row(NamedTuple):
    """How long a line takes."""

    microseconds: float
    origin: str
    """Which pass of which layer it belongs to."""
    text: str
    line: Line


class Profile:
    """How long each line of a program takes: `rows`, and as a table by ``print``."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows

    @property
    def microseconds(self) -> float:
        """Of all lines."""
        return sum(row.microseconds for row in self.rows)

    @property
    def by_layer(self) -> dict[str, float]:
        """Microseconds of each pass of each layer."""
        found: dict[str, float] = {}
        for row in self.rows:
            found[row.origin] = found.get(row.origin, 0.0) + row.microseconds
        return found

    @property
    def share_of_products(self) -> float:
        """The share of the time that is spent in products of matrices."""
        products = sum(row.microseconds for row in self.rows if ".dot(" in row.text or "np.matmul(" in row.text)
        return products / self.microseconds if self.microseconds else 0.0

    def __str__(self) -> str:
        lines = [f"{'µs':>10}   line"]
        total, origin = self.microseconds, None
        for row in self.rows:
            if row.origin != origin:
                origin = row.origin
                lines.append(f"{'':>10}   # {origin}: {self.by_layer[origin]:.1f} µs")
            lines.append(f"{row.microseconds:10.1f}   {row.text}")
        lines.append(f"{total:10.1f}   in all; {self.share_of_products:.0%} of it in products of matrices")
        return "\n".join(lines)


def _clock_time() -> float:
    """Return how long a look at the clock takes."""
    times: list[float] = []
    for _ in range(1000):
        began = time.perf_counter()
        times.append(time.perf_counter() - began)
    return float(np.median(times))
