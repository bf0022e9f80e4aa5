"""What is said where memory does not suffice for a step: its numbers, and the largest batch that fits."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

from layerkit.errors import DeviceMemoryError

if TYPE_CHECKING:
    from layerkit.training.capture import CapturedStep

MOST = 0.9
"""Of what is free, a batch that is said to fit: memory comes in pieces, and Python's functions hold values longer than
they are needed."""


def say_what_fits(error: MemoryError, step: CapturedStep, given: tuple[Any, ...]) -> None:
    """Add to an error, raised in a step, what the step takes and how many rows would fit.

    At each moment, what a step holds is linear in the rows of its batch: it is recorded with few of them, twice, and
    its values are counted.
    Before that, what the failed step held is freed, or it would still be held while the error is shown.

    Args:
        error: on its way up. `DeviceMemoryError` has it in its sentence, any other as a note.
        step: what was to be done.
        given: the batch.
    """
    _free_what_was_held(error)
    arrays = [array for array in given if array is not None]
    rows: int = arrays[0].shape[0]
    xp, subject = step.subject.xp, step.subject
    state = sum(_bytes(variable.array) for variable in {*subject.state(), *subject.model.variables})
    free = needed = fits = None
    if rows > 1:
        with contextlib.suppress(Exception):  # memory may not even suffice for that
            moments = _moments(step, arrays, rows)
            needed = max(fixed + each * rows for fixed, each in moments)
            free = xp.free_memory()
            if free is not None:
                fits = int(min((MOST * free - fixed) // each for fixed, each in moments if each > 0))
    takes = "has" if needed is None else f"takes about {size_in_words(needed)} for"
    data = size_in_words(sum(map(_bytes, arrays)))
    said = f"A {step.name} step on {rows:,} rows {takes} {data} of data, beside {size_in_words(state)} of weights and "
    said += "other state"
    said += "" if free is None else f"; {size_in_words(free)} are free"
    if fits is None or fits >= rows:  # an estimate that is contradicted says nothing
        said += ". A smaller batch_size needs less."
    else:
        said += f". Largest batch that fits: {f'about {_rounded_down(fits):,}' if fits > 0 else 'none'}."
    if isinstance(error, DeviceMemoryError):
        error.args = (f"{error} {said}",)
    else:
        error.add_note(said)


def _free_what_was_held(error: BaseException | None) -> None:
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _moments(step: CapturedStep, arrays: list[Any], rows: int) -> list[tuple[float, float]]:
    """Return how many bytes a step holds after each word for any batch, and how many more for each row."""
    from layerkit.program.footprint import footprint  # seldom needed

    few = 2 if rows >= 4 else 1
    less, more = (footprint(step.sketched([array[:count, ...] for array in arrays])) for count in (few, 2 * few))
    return [(2 * a - b, (b - a) / few) for a, b in zip(less, more, strict=True)]


def _rounded_down(count: int) -> int:
    """Return a number with two digits that are not zero."""
    unit = 10 ** max(len(str(count)) - 2, 0)
    return count // unit * unit


def _bytes(array: Any) -> int:
    return int(getattr(array, "nbytes", 0))


def size_in_words(count: float) -> str:
    """Return a number of bytes as people say it."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 2**10:.1f} KiB"
