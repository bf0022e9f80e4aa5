"""Checks of plain arguments: each returns the value it was given by name, or raises a sentence about it."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError, ShapeError
from layerkit.names import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable


def check_at_least(owner: str, least: float, **named: Any) -> Any:
    """Return the value, a number that is not below `least`."""
    name, value = _only(named)
    if not (_is_number(value) and least <= value < math.inf):
        raise ArgumentError(f"{owner}: {name} must be at least {least}. Received: {name}={shown(value)}")
    return value


def check_positive(owner: str, **named: Any) -> Any:
    """Return the value, a number above 0."""
    name, value = _only(named)
    if not (_is_number(value) and 0 < value < math.inf):
        raise ArgumentError(f"{owner}: {name} must be above 0. Received: {name}={shown(value)}")
    return value


def check_fraction(owner: str, *, below_1: bool = False, **named: Any) -> Any:
    """Return the value, a number from 0 to 1 (or to below 1)."""
    name, value = _only(named)
    if not (_is_number(value) and 0 <= value <= 1 and not (below_1 and value == 1)):
        bound = "from 0 to below 1" if below_1 else "from 0 to 1"
        raise ArgumentError(f"{owner}: {name} must be {bound}. Received: {name}={shown(value)}")
    return value


def check_number(owner: str, **named: Any) -> Any:
    """Return the value, a finite number."""
    name, value = _only(named)
    if not (_is_number(value) and math.isfinite(value)):
        raise ArgumentError(f"{owner}: {name} must be a finite number. Received: {name}={shown(value)}")
    return value


def check_count(owner: str, least: int, **named: Any) -> int:
    """Return the value as an int that is not below `least`."""
    name, value = _only(named)
    if not is_integer(value) or value < least:
        raise ArgumentError(f"{owner}: {name} must be an integer of at least {least}. Received: {name}={shown(value)}")
    return int(value)


def check_flag(owner: str, **named: Any) -> bool:
    """Return the value, a truth value: text is not taken for one, since "no" would be true."""
    name, value = _only(named)
    if not (isinstance(value, bool) or (_is_number(value) and value in (0, 1)) or type(value).__name__ == "bool"):
        raise ArgumentError(f"{owner}: {name} must be True or False. Received: {name}={shown(value)}")
    return bool(value)


def check_name(owner: str, known: Iterable[str], **named: Any) -> Any:
    """Return the value, a name from a short list."""
    name, value = _only(named)
    known = tuple(known)
    if not isinstance(value, str) or value not in known:
        raise ArgumentError(
            f"{owner}: {name} must be one of {', '.join(known)}. Received: {name}={shown(value)}."
            + (f" {nearest(value, known)}" if isinstance(value, str) and len(value) < 40 else "")
        )
    return value


def check_axis(owner: str, **named: Any) -> Any:
    """Return the value: an axis, or a tuple of axes, each once."""
    name, value = _only(named)
    axes = tuple(value) if is_a(value, tuple, list) else (value,)
    if not axes or not all(is_integer(axis) for axis in axes) or len(set(axes)) < len(axes):
        raise ArgumentError(
            f"{owner}: {name} must be an integer, or a tuple of integers, each once. Received: {name}={shown(value)}"
        )
    return tuple(map(int, axes)) if is_a(value, tuple, list) else int(value)


def check_one_axis(owner: str, **named: Any) -> int:
    """Return the value, the number of an axis."""
    name, value = _only(named)
    if not is_integer(value):
        raise ArgumentError(f"{owner}: {name} must be an integer. Received: {name}={shown(value)}")
    return int(value)


def check_lengths(owner: str, least: int, *, varies: bool = True, **named: Any) -> tuple[int | None, ...]:
    """Return the value, a shape: integers that are not below `least`, or where it `varies`, None for any length.

    Raises:
        ShapeError: it is no such shape.
    """
    name, value = _only(named)
    right = is_a(value, tuple, list) and all(varies if n is None else is_integer(n) and n >= least for n in value)
    if not right:
        raise ShapeError(
            f"{owner}: {name} must be a tuple of integers of at least {least}"
            f"{', or None for a length that varies' if varies else ''}. Received: {name}={shown(value)}"
        )
    return tuple(None if n is None else int(n) for n in value)


def fits(shape: tuple[int | None, ...], wanted: tuple[int | None, ...]) -> bool:
    """Tell whether two shapes can be those of one array: None stands for any length."""
    return len(shape) == len(wanted) and all(
        a is None or b is None or a == b for a, b in zip(shape, wanted, strict=True)
    )


def shown(value: Any) -> str:
    """Return a value as an error message shows it: arrays by their shape, and nothing longer than a line."""
    shape = getattr(value, "shape", None)
    if shape:
        return f"an array of shape {tuple(shape)}"
    text = repr(value)
    return text if len(text) <= 80 and "\n" not in text else f"{text[:60].splitlines()[0]}… ({type(value).__name__})"


def _only(named: dict[str, Any]) -> tuple[str, Any]:
    ((name, value),) = named.items()
    return name, value


def is_a(value: Any, *kinds: type) -> bool:
    """The same as `isinstance`, for values of any type, which it leaves as they are to a type checker."""
    return isinstance(value, kinds)


def is_integer(value: Any) -> bool:
    """Tell whether the value is an integer; True and False are not."""
    return is_a(value, numbers.Integral) and not is_a(value, bool)


def _is_number(value: Any) -> bool:
    return is_a(value, numbers.Real) and not is_a(value, bool)
