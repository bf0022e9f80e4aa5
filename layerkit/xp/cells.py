"""State of array libraries whose arrays cannot be written to, as JAX's: a cell that holds the present array.

A cell has what an array has: shape, dtype, operators, indexing. Words take it as the array that it holds. Operators of
the library's arrays must give way to it (return NotImplemented for what they do not know), as JAX's and NumPy's do.
"""

from __future__ import annotations

import functools
import math
import operator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


class Cell:
    """A place for an array, of fixed shape and dtype: assigning puts another array there.

    Args:
        xp: the backend.
        array: what it holds first.
    """

    __slots__ = ("__weakref__", "_array", "dtype", "shape", "xp")
    __array_ufunc__ = None  # NumPy's operators give way to it
    __hash__ = None  # pyright: ignore[reportAssignmentType] - == compares elements, as for any array

    def __init__(self, xp: Backend, array: Any) -> None:
        self.xp = xp
        self._array = array
        self.shape: tuple[int, ...] = tuple(array.shape)
        self.dtype: Any = array.dtype

    @property
    def array(self) -> Any:
        """What it holds now."""
        return self._array

    def write(self, array: Any) -> None:
        """Hold another array of the same shape and dtype."""
        self._array = array

    def view(self, start: int, stop: int, shape: tuple[int, ...]) -> CellView:
        """Return the elements from `start` to `stop` of this flat cell, shaped: a cell that writes into this one."""
        return CellView(self, start, stop, shape)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def device(self) -> Any:
        return self.array.device

    @property
    def T(self) -> Array:  # noqa: N802 - the standard's name
        return self.array.T

    @property
    def mT(self) -> Array:  # noqa: N802 - the standard's name
        return self.array.mT

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.xp.namespace

    def __getitem__(self, key: Any, /) -> Array:
        return self.array[present(key)]

    def __repr__(self) -> str:
        return f"<state of {self.xp}: {self.array!r}>"


class CellView(Cell):
    """A stretch of a flat cell, shaped."""

    __slots__ = ("_flat", "_start", "_stop")

    def __init__(self, flat: Cell, start: int, stop: int, shape: tuple[int, ...]) -> None:
        self.xp, self.shape, self.dtype = flat.xp, shape, flat.dtype
        self._flat, self._start, self._stop = flat, start, stop

    @property
    def array(self) -> Any:
        """What lies there now."""
        return self.xp.reshape(self._flat.array[self._start : self._stop], self.shape)

    def write(self, array: Any) -> None:
        """Write into the flat cell."""
        before = self._flat.array
        values: Any = self.xp.reshape(array, (-1,))
        self._flat.write(self.xp.concat([before[: self._start], values, before[self._stop :]]))

    def view(self, start: int, stop: int, shape: tuple[int, ...]) -> CellView:
        """Return a stretch of this flat stretch."""
        return CellView(self._flat, self._start + start, self._start + stop, shape)


def present(value: Any) -> Any:
    """Return a value with the arrays that cells hold in place of the cells."""
    if isinstance(value, Cell):
        return value.array
    if isinstance(value, (list, tuple)):
        return type(value)(map(present, value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return value


def reading(word: Callable[..., Any]) -> Callable[..., Any]:
    """Return a word that takes cells as the arrays that they hold."""

    @functools.wraps(word)
    def read(*args: Any, **kwargs: Any) -> Any:
        return word(*map(present, args), **{name: present(value) for name, value in kwargs.items()})

    return read


def _forward(function: Callable[..., Any]) -> Callable[..., Any]:
    def operate(self: Cell, *other: Any) -> Any:
        if other and hasattr(other[0], "recorder"):
            return NotImplemented  # the recorded array's own operator notes what is done, and runs it here
        return function(self.array, *map(present, other))

    return operate


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    def operate(self: Cell, other: Any) -> Any:
        return function(other, self.array)

    return operate


_TWO = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift")
for _name in _TWO:
    _function = getattr(operator, f"__{_name}__")
    setattr(Cell, f"__{_name}__", _forward(_function))
    setattr(Cell, f"__r{_name}__", _reflected(_function))
for _name in ("neg", "pos", "abs", "invert", "eq", "ne", "lt", "le", "gt", "ge"):
    setattr(Cell, f"__{_name}__", _forward(getattr(operator, f"__{_name}__")))
