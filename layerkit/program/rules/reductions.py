"""Derivatives of words that reduce axes, or run along one: the gradient is stretched over what was reduced."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def axes_of(axis: Any, rank: int) -> tuple[int, ...]:
    """Return the axes that a word reduces, counted from 0; None stands for all."""
    if axis is None:
        return tuple(range(rank))
    return tuple(n % rank for n in ((axis,) if isinstance(axis, int) else axis))


def stretched(xp: Any, value: Any, x: Any, axis: Any, keepdims: bool) -> Any:
    """Return what was reduced, with the axes back at length 1."""
    if keepdims:
        return value
    axes = axes_of(axis, x.ndim)
    return xp.reshape(value, tuple(1 if n in axes else length for n, length in enumerate(x.shape)))


def along(axis: int, rank: int, start: int | None, stop: int | None) -> tuple[Any, ...]:
    """Return the key that takes from `start` to `stop` along an axis."""
    return (*(slice(None),) * (axis % rank), slice(start, stop), ...)


def _count(x: Any, axis: Any) -> int:
    return math.prod(x.shape[n] for n in axes_of(axis, x.ndim))


def _sum(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return (xp.broadcast_to(stretched(xp, dy, x, axis, keepdims), tuple(x.shape)),)


def _mean(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return (xp.broadcast_to(stretched(xp, dy, x, axis, keepdims) / max(1, _count(x, axis)), tuple(x.shape)),)


def _extreme(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    # Shared among ties.
    taken = xp.astype(x == stretched(xp, y, x, axis, keepdims), x.dtype)
    ties = xp.sum(taken, axis=axis, keepdims=True)
    return (stretched(xp, dy, x, axis, keepdims) * taken / ties,)


def _var(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return (stretched(xp, dy, x, axis, keepdims) * (2.0 / (_count(x, axis) - correction)) * centred,)


def _std(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    return _var(xp, dy * 0.5 / y, y, x, axis=axis, correction=correction, keepdims=keepdims)


def _prod(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    # The product of all others, from the left and from the right: right where x is 0 too.
    axes = axes_of(axis, x.ndim)
    rest = tuple(n for n in range(x.ndim) if n not in axes)
    order = (*rest, *axes)
    rows = xp.reshape(xp.permute_dims(x, order), (*(x.shape[n] for n in rest), _count(x, axes)))
    one = xp.ones_like(rows[..., :1])
    before = xp.cumulative_prod(xp.concat([one, rows[..., :-1]], axis=-1), axis=-1)
    after = xp.flip(xp.cumulative_prod(xp.concat([one, xp.flip(rows, axis=-1)[..., :-1]], axis=-1), axis=-1), axis=-1)
    others = xp.reshape(before * after, tuple(x.shape[n] for n in order))
    inverse = tuple(order.index(n) for n in range(x.ndim))
    return (stretched(xp, dy, x, axis, keepdims) * xp.permute_dims(others, inverse),)


def _cumulative_sum(
    xp: Any, dy: Any, y: Any, x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    place = 0 if axis is None else axis
    backwards = xp.flip(xp.cumulative_sum(xp.flip(dy, axis=place), axis=place), axis=place)
    return (backwards[along(place, x.ndim, 1, None)] if include_initial else backwards,)


def _cumulative_prod(
    xp: Any, dy: Any, y: Any, x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    # dx_i = Σ_{j ≥ i} dy_j Π_{k ≤ j, k ≠ i} x_k, for each i by itself: right where x is 0 too, at n² work.
    place = (axis or 0) % x.ndim
    if include_initial:
        dy = dy[along(place, x.ndim, 1, None)]
    length = x.shape[place]
    numbers = xp.reshape(xp.arange(length), tuple(length if n == place else 1 for n in range(x.ndim)))
    found: list[Any] = []
    for i in range(length):
        others = xp.cumulative_prod(xp.where(numbers == i, xp.ones_like(x), x), axis=place)
        found.append(xp.sum(xp.where(numbers >= i, dy * others, 0.0), axis=place, keepdims=True))
    return (xp.concat(found, axis=place) if found else xp.zeros_like(x),)


def _diff(
    xp: Any, dy: Any, y: Any, x: Any, prepend: Any = None, append: Any = None, *, axis: int = -1, n: int = 1
) -> Any:
    shape = list(y.shape)
    for _ in range(n):
        shape[axis] = 1
        edge = xp.zeros(tuple(shape), dtype=y.dtype)
        dy = xp.concat([edge, dy], axis=axis) - xp.concat([dy, edge], axis=axis)
    lengths = [0 if part is None else part.shape[axis] for part in (prepend, x, append)]
    start, stop = lengths[0], lengths[0] + lengths[1]
    key = (along(axis, x.ndim, start, stop), along(axis, x.ndim, 0, start), along(axis, x.ndim, stop, None))
    return dy[key[0]], None if prepend is None else dy[key[1]], None if append is None else dy[key[2]]


def _softmax(xp: Any, dy: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    return (y * (dy - xp.sum(dy * y, axis=axis, keepdims=True)),)


def _log_softmax(xp: Any, dy: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    return (dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True),)


REDUCTIONS: dict[str, Callable[..., Any]] = {
    **{"sum": _sum, "mean": _mean, "max": _extreme, "min": _extreme, "var": _var, "std": _std, "prod": _prod},
    **{"cumulative_sum": _cumulative_sum, "cumulative_prod": _cumulative_prod, "diff": _diff},
    **{"softmax": _softmax, "log_softmax": _log_softmax},
}
