"""Programs as the text of a module that needs NumPy alone, and the arrays that it needs."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit_numpy.program import NumpyProgram


class Standalone(NamedTuple):
    """What `standalone` returns."""

    functions: list[str]
    """For each program the text of a function, which makes what is made once, and returns the step."""
    arrays: dict[str, Any]
    """What the text looks up in ``_arrays``, by name."""
    places: list[str]
    """How the text names further arrays that were asked for."""


def foreign_words(program: NumpyProgram) -> list[str]:
    """Return what a program calls beside NumPy: "xp.argsort", or the name of a user's function; with who calls it."""
    found: list[str] = []
    names = "|".join(map(re.escape, program.written.functions)) or "(?!)"
    for line in program.plan.lines:
        owner = f" in {line.origin}" if line.origin.owner else ""
        found += [f"{name}{owner}" for name in re.findall(rf"(?<![\w.])(?:{names})(?:\.\w+)*(?=\()", line.text)]
    return list(dict.fromkeys(found))


def standalone(programs: Sequence[NumpyProgram], named: Sequence[Any]) -> Standalone:
    """Return programs as text that needs NumPy alone. Arrays that share memory, share it in the text too.

    Args:
        programs: whose loops are not shared among threads.
        named: state of theirs whose place in the text is wanted.
    """
    held = [*named, *(array for program in programs for array in program.written.held.values())]
    arrays: dict[str, Any] = {}
    known: dict[int, tuple[str, Any]] = {}

    def place(array: Any, name: str) -> str:
        memory = _memory(array)
        if id(memory) not in known:
            beside = [other for other in held if _memory(other) is memory]
            chosen = _flat(memory, beside)
            chosen = array if chosen is None else chosen
            key = name if all(other is array for other in beside) else "flat"
            while key in (*arrays, "file"):  # numpy.savez has an argument of that name
                key += "_"
            arrays[key] = chosen
            known[id(memory)] = key, chosen
        key, chosen = known[id(memory)]
        return f"_arrays[{key!r}]{_part(array, chosen)}"

    functions: list[str] = []
    for program in programs:
        once = [f"{name} = {place(array, name)}" for name, array in program.written.held.items()]
        about = f'"""Make once what the steps of `{program.name}` work in, and return the function of one step."""'
        parts = [about, *once, program.written.once, program.written.step(program.name), f"return {program.name}"]
        body = textwrap.indent("\n".join(parts), "    ")
        functions.append(f"def _{program.name}_step():\n{body}\n")
    return Standalone(functions, arrays, [place(array, "total") for array in named])


def _memory(array: Any) -> Any:
    """Return the array in whose memory this one lies."""
    base: Any = array
    while isinstance(base.base, np.ndarray):
        base = base.base  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return base  # pyright: ignore[reportUnknownVariableType]


def _flat(memory: Any, parts: Sequence[Any]) -> Any:
    """Return the stretch of the memory in which all these arrays lie, in their dtype; None where they are none of it.

    The memory may be longer, and one of bytes: state begins where a cache line does.
    """
    dtypes = {part.dtype for part in parts}
    if not memory.flags.c_contiguous or len(dtypes) > 1 or not all(p.flags.c_contiguous and p.size for p in parts):
        return None
    start = min(part.ctypes.data for part in parts) - memory.ctypes.data
    stop = max(part.ctypes.data + part.nbytes for part in parts) - memory.ctypes.data
    return memory.reshape(-1).view(np.uint8)[start:stop].view(dtypes.pop())


def _part(array: Any, chosen: Any) -> str:
    """Return how an array is taken from the one that is kept."""
    if array is chosen:
        return ""
    start = (array.ctypes.data - chosen.ctypes.data) // array.itemsize
    stretch = "" if array.size == chosen.size else f"[{start}:{start + array.size}]"
    return stretch if array.ndim == 1 else f"{stretch}.reshape({array.shape})"
