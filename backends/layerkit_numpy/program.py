"""A captured step on NumPy: source that is written, compiled and run."""

from __future__ import annotations

import linecache
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit_numpy.lines import Lines
from layerkit_numpy.plan import Plan
from layerkit_numpy.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.program import Program
    from layerkit.xp.backend import Backend


class NumpyProgram:
    """A recorded step as a NumPy script with fixed memory.

    Args:
        program: what was recorded.
        xp: NumPy's backend.
    """

    def __init__(self, program: Program, xp: Backend) -> None:
        self.program = program.simplified()
        lines = Lines(self.program, xp)
        self.plan = Plan(lines, xp.tile_size or 1 << 62)
        self._source = Source(lines, self.plan)
        self.name = program.name
        self._idle: list[Callable[..., Any]] = []

    def __call__(self, *arrays: Any) -> Any:
        """Take the step. What is returned is overwritten by the next one."""
        # A step has its own memory: two threads take two.
        step = self._idle.pop() if self._idle else self._made()
        try:
            return step(*arrays)
        finally:
            self._idle.append(step)

    def _made(self, source: str | None = None) -> Callable[..., Any]:
        namespace: dict[str, Any] = {"np": np, **self._source.functions, **self._source.held}
        text = source or self.source
        file = f"<layerkit: {self.name}, {id(self):x}>"
        linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file  # for tracebacks
        exec(compile(text, file, "exec"), namespace)  # noqa: S102 - our own text
        return namespace[self.name]

    @property
    def source(self) -> str:
        """The program as Python: what is made once, and the step."""
        return f"{self._source.once}\n\n{self._source.step(self.name)}"
