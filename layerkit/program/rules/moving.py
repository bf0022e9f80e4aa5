"""Derivatives of words that only move elements, or copy them: the gradient goes back the same way."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.program.recorder import find, getitem
from layerkit.program.rules.reductions import along

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """Return the order of axes that undoes this one."""
    order = [n % len(axes) for n in axes]
    return tuple(order.index(n) for n in range(len(order)))


def _reshaped(xp: Any, dy: Any, y: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
    return (xp.reshape(dy, tuple(x.shape)),)


def _itself(word: str) -> Callable[..., Any]:
    """Return the rule of a linear word that is its own transpose."""

    def rule(xp: Any, dy: Any, y: Any, x: Any, **kwargs: Any) -> Any:
        return (find(xp, word)(dy, **kwargs),)

    return rule


def _roll(xp: Any, dy: Any, y: Any, x: Any, shift: int | tuple[int, ...], *, axis: Any = None) -> Any:
    return (xp.roll(dy, -shift if isinstance(shift, int) else tuple(-n for n in shift), axis=axis),)


# Words that take elements, some perhaps several times: where each came from is asked of the word itself.


def _positions(xp: Any, x: Any) -> Any:
    return xp.reshape(xp.arange(math.prod(x.shape)), tuple(x.shape))


def _scattered(xp: Any, dy: Any, x: Any, positions: Any) -> Any:
    """Return dx of a word that took the elements of x at these flat positions."""
    flat = xp.scatter_add(xp.reshape(positions, (-1,)), xp.reshape(dy, (-1,)), math.prod(x.shape))
    return xp.reshape(flat, tuple(x.shape))


def _moved(word: str) -> Callable[..., Any]:
    def rule(xp: Any, dy: Any, y: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        return (_scattered(xp, dy, x, find(xp, word)(_positions(xp, x), *args, **kwargs)),)

    return rule


def _getitem(xp: Any, dy: Any, y: Any, x: Any, key: Any) -> Any:
    return (_scattered(xp, dy, x, getitem(xp, _positions(xp, x), key)),)


def _take(xp: Any, dy: Any, y: Any, x: Any, indices: Any, *, axis: int | None = None) -> Any:
    return (_scattered(xp, dy, x, xp.take(_positions(xp, x), indices, axis=0 if axis is None else axis)),)


def _sort(xp: Any, dy: Any, y: Any, x: Any, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    order = xp.argsort(x, axis=axis, descending=descending, stable=stable)
    return (_scattered(xp, dy, x, xp.take_along_axis(_positions(xp, x), order, axis=axis)),)


def _scatter_add(xp: Any, dy: Any, y: Any, positions: Any, values: Any, size: int) -> Any:
    return None, xp.take(dy, positions, axis=0)


# Words that join arrays.


def _concat(xp: Any, dy: Any, y: Any, arrays: Sequence[Any], *, axis: int | None = 0) -> Any:
    start = 0
    found: list[Any] = []
    for x in arrays:
        length = math.prod(x.shape) if axis is None else x.shape[axis]
        part = dy[along(0 if axis is None else axis, dy.ndim, start, start + length)]
        found.append(xp.reshape(part, tuple(x.shape)))
        start += length
    return (found,)


def _stack(xp: Any, dy: Any, y: Any, arrays: Any, *, axis: int = 0) -> Any:
    return (list(xp.unstack(dy, axis=axis)),)


def _unstack(xp: Any, dy: Any, y: Any, x: Any, *, axis: int = 0) -> Any:
    return (xp.stack(list(dy), axis=axis),)


def _meshgrid(xp: Any, dy: Any, y: Any, *arrays: Any, indexing: str = "xy") -> Any:
    places = list(range(len(arrays)))
    if indexing == "xy" and len(arrays) > 1:
        places[:2] = 1, 0
    return tuple(
        xp.reshape(xp.sum(gradient, axis=tuple(n for n in range(gradient.ndim) if n != place)), tuple(x.shape))
        for gradient, place, x in zip(dy, places, arrays, strict=True)
    )


_ONE: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "matrix_transpose": lambda xp, dy, y, x: (xp.matrix_transpose(dy),),
}
_TWO: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "broadcast_to": lambda xp, dy, y, x, shape: (dy,),  # summed by the caller, as wherever one was broadcast
    "permute_dims": lambda xp, dy, y, x, axes: (xp.permute_dims(dy, inverse(axes)),),
}
_THREE: dict[str, Callable[[Any, Any, Any, Any, Any, Any], Any]] = {
    "moveaxis": lambda xp, dy, y, x, source, destination: (xp.moveaxis(dy, destination, source),),
}


def _broadcast_arrays(xp: Any, dy: Any, y: Any, *arrays: Any) -> Any:
    return tuple(dy)


MOVING: dict[str, Callable[..., Any]] = {
    **_ONE,
    **_TWO,
    **_THREE,
    **dict.fromkeys(("reshape", "expand_dims", "squeeze"), _reshaped),
    **{word: _itself(word) for word in ("flip", "tril", "triu")},
    **{word: _moved(word) for word in ("repeat", "tile", "take_along_axis", "linalg.diagonal")},
    **{"broadcast_arrays": _broadcast_arrays, "meshgrid": _meshgrid, "roll": _roll, "sort": _sort, "take": _take},
    **{"concat": _concat, "stack": _stack, "unstack": _unstack, "getitem": _getitem, "scatter_add": _scatter_add},
    "linalg.matrix_transpose": _ONE["matrix_transpose"],
}
