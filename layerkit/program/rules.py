"""Derivative rules as data: what each word does to a gradient.

A rule takes the backend, dL/dy, the result y and the word's own arguments, and returns dL/dargument for each argument that is
an array, in order; an argument that was broadcast is summed over by the caller. A word is differentiable (`RULES`), constant
almost everywhere (`CONSTANT`), or refused with its reason (`REFUSED`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError
from layerkit.xp import words

if TYPE_CHECKING:
    from collections.abc import Callable

Rule = "Callable[..., Any]"

# Elementwise words of one argument: dy, y and x give dx.
_UNARY: dict[str, Callable[..., Any]] = {
    "abs": lambda xp, dy, y, x: dy * xp.sign(x),
    "acos": lambda xp, dy, y, x: -dy / xp.sqrt(1.0 - x * x),
    "acosh": lambda xp, dy, y, x: dy / xp.sqrt(x * x - 1.0),
    "asin": lambda xp, dy, y, x: dy / xp.sqrt(1.0 - x * x),
    "asinh": lambda xp, dy, y, x: dy / xp.sqrt(x * x + 1.0),
    "atan": lambda xp, dy, y, x: dy / (1.0 + x * x),
    "atanh": lambda xp, dy, y, x: dy / (1.0 - x * x),
    "conj": lambda xp, dy, y, x: dy,
    "cos": lambda xp, dy, y, x: -dy * xp.sin(x),
    "cosh": lambda xp, dy, y, x: dy * xp.sinh(x),
    "exp": lambda xp, dy, y, x: dy * y,
    "expm1": lambda xp, dy, y, x: dy * (y + 1.0),
    "log": lambda xp, dy, y, x: dy / x,
    "log10": lambda xp, dy, y, x: dy / (x * math.log(10.0)),
    "log1p": lambda xp, dy, y, x: dy / (1.0 + x),
    "log2": lambda xp, dy, y, x: dy / (x * math.log(2.0)),
    "negative": lambda xp, dy, y, x: -dy,
    "positive": lambda xp, dy, y, x: dy,
    "real": lambda xp, dy, y, x: dy,
    "reciprocal": lambda xp, dy, y, x: -dy * y * y,
    "sin": lambda xp, dy, y, x: dy * xp.cos(x),
    "sinh": lambda xp, dy, y, x: dy * xp.cosh(x),
    "sqrt": lambda xp, dy, y, x: dy * 0.5 / y,
    "square": lambda xp, dy, y, x: dy * 2.0 * x,
    "tan": lambda xp, dy, y, x: dy * (1.0 + y * y),
    "tanh": lambda xp, dy, y, x: dy * (1.0 - y * y),
}

# Elementwise words of two arguments: dy, y, a and b give da and db.
_BINARY: dict[str, Callable[..., Any]] = {
    "add": lambda xp, dy, y, a, b: (dy, dy),
    "atan2": lambda xp, dy, y, a, b: (dy * b / (a * a + b * b), -dy * a / (a * a + b * b)),
    "copysign": lambda xp, dy, y, a, b: (dy * xp.sign(a) * xp.sign(y), None),
    "divide": lambda xp, dy, y, a, b: (dy / b, -dy * y / b),
    "hypot": lambda xp, dy, y, a, b: (dy * a / y, dy * b / y),
    "logaddexp": lambda xp, dy, y, a, b: (dy * xp.exp(a - y), dy * xp.exp(b - y)),
    "maximum": lambda xp, dy, y, a, b: (dy * _share(xp, a, b, y), dy * _share(xp, b, a, y)),
    "minimum": lambda xp, dy, y, a, b: (dy * _share(xp, a, b, y), dy * _share(xp, b, a, y)),
    "multiply": lambda xp, dy, y, a, b: (dy * b, dy * a),
    "pow": lambda xp, dy, y, a, b: (dy * b * a ** (b - 1.0), _exponent(xp, dy, y, a)),
    "remainder": lambda xp, dy, y, a, b: (dy, -dy * xp.floor_divide(a, b)),
    "subtract": lambda xp, dy, y, a, b: (dy, -dy),
}


def _share(xp: Any, mine: Any, other: Any, y: Any) -> Any:
    """Return 1 where mine was taken, 0 where the other was, and half of it in a tie."""
    return xp.where(_equal(mine, y), xp.where(_equal(other, y), 0.5, _ones(xp, y)), 0.0)


def _equal(a: Any, y: Any) -> Any:
    return y == a


def _ones(xp: Any, y: Any) -> Any:
    return xp.ones_like(y)


def _exponent(xp: Any, dy: Any, y: Any, a: Any) -> Any:
    """Return dL/db of ``aᵇ``: log a has no meaning for a ≤ 0, where the derivative is taken as 0."""
    if isinstance(a, (int, float)):
        return dy * y * math.log(a) if a > 0 else xp.zeros_like(y)
    above = a > 0
    return xp.where(above, dy * y * xp.log(xp.where(above, a, xp.ones_like(a))), 0.0)


# Reductions: the gradient is stretched over the axes that were reduced.


def _axes(axis: Any, rank: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(rank))
    return tuple(n % rank for n in ((axis,) if isinstance(axis, int) else axis))


def _stretched(xp: Any, value: Any, x: Any, axis: Any, keepdims: bool) -> Any:  # noqa: FBT001
    """Return what was reduced, with the axes back at length 1."""
    if keepdims:
        return value
    axes = _axes(axis, x.ndim)
    return xp.reshape(value, tuple(1 if n in axes else length for n, length in enumerate(x.shape)))


def _count(x: Any, axis: Any) -> int:
    return math.prod(x.shape[n] for n in _axes(axis, x.ndim))


def _sum(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    return (xp.broadcast_to(_stretched(xp, dy, x, axis, keepdims), tuple(x.shape)),)


def _mean(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    return (xp.broadcast_to(_stretched(xp, dy, x, axis, keepdims) / max(1, _count(x, axis)), tuple(x.shape)),)


def _extreme(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False) -> Any:
    taken = xp.astype(x == _stretched(xp, y, x, axis, keepdims), x.dtype)
    ties = xp.sum(taken, axis=axis, keepdims=True)
    return (_stretched(xp, dy, x, axis, keepdims) * taken / ties,)


def _var(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    centred = x - xp.mean(x, axis=axis, keepdims=True)
    return (_stretched(xp, dy, x, axis, keepdims) * (2.0 / (_count(x, axis) - correction)) * centred,)


def _std(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    return _var(xp, dy * 0.5 / y, y, x, axis=axis, correction=correction, keepdims=keepdims)


def _prod(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, dtype: Any = None, keepdims: bool = False) -> Any:
    # The product of all others, from the left and from the right: right where x is 0 too.
    axes = _axes(axis, x.ndim)
    rest = tuple(n for n in range(x.ndim) if n not in axes)
    order = (*rest, *axes)
    rows = xp.reshape(xp.permute_dims(x, order), (*(x.shape[n] for n in rest), -1))
    one = xp.ones_like(rows[..., :1])
    before = xp.cumulative_prod(xp.concat([one, rows[..., :-1]], axis=-1), axis=-1)
    after = xp.flip(xp.cumulative_prod(xp.concat([one, xp.flip(rows, axis=-1)[..., :-1]], axis=-1), axis=-1), axis=-1)
    others = xp.reshape(before * after, tuple(x.shape[n] for n in order))
    inverse = tuple(order.index(n) for n in range(x.ndim))
    return (_stretched(xp, dy, x, axis, keepdims) * xp.permute_dims(others, inverse),)


def _cumulative_sum(
    xp: Any, dy: Any, y: Any, x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    axis = 0 if axis is None else axis
    backwards = xp.flip(xp.cumulative_sum(xp.flip(dy, axis=axis), axis=axis), axis=axis)
    return (_without_first(xp, backwards, axis) if include_initial else backwards,)


def _without_first(xp: Any, x: Any, axis: int) -> Any:
    return x[(slice(None),) * (axis % x.ndim) + (slice(1, None),)]


def _cumulative_prod(
    xp: Any, dy: Any, y: Any, x: Any, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
) -> Any:
    # dx_i = Σ_{j ≥ i} dy_j Π_{k ≤ j, k ≠ i} x_k, for each i by itself: right where x is 0 too, at n² work.
    axis = 0 if axis is None else axis % x.ndim
    if include_initial:
        dy = _without_first(xp, dy, axis)
    length = x.shape[axis]
    found: list[Any] = []
    for i in range(length):
        here = xp.reshape(xp.arange(length) == i, tuple(length if n == axis else 1 for n in range(x.ndim)))
        reached = xp.reshape(xp.arange(length) >= i, here.shape)
        others = xp.cumulative_prod(xp.where(here, xp.ones_like(x), x), axis=axis)
        found.append(xp.sum(xp.where(reached, dy * others, 0.0), axis=axis, keepdims=True))
    return (xp.concat(found, axis=axis) if found else xp.zeros_like(x),)


# Words that move elements.


def _inverse(axes: Any) -> tuple[int, ...]:
    order = [n % len(axes) for n in axes]
    return tuple(order.index(n) for n in range(len(order)))


def _positions(xp: Any, x: Any) -> Any:
    return xp.reshape(xp.arange(math.prod(x.shape)), tuple(x.shape))


def _scattered(xp: Any, dy: Any, x: Any, positions: Any) -> Any:
    """Return dx of a word that took the elements of x at these flat positions, some of them perhaps several times."""
    flat = xp.scatter_add(xp.reshape(positions, (-1,)), xp.reshape(dy, (-1,)), math.prod(x.shape))
    return xp.reshape(flat, tuple(x.shape))


def _getitem(xp: Any, dy: Any, y: Any, x: Any, key: Any) -> Any:
    return (_scattered(xp, dy, x, _positions(xp, x)[key]),)


def _take(xp: Any, dy: Any, y: Any, x: Any, indices: Any, *, axis: int | None = None) -> Any:
    return (_scattered(xp, dy, x, xp.take(_positions(xp, x), indices, axis=0 if axis is None else axis)), None)


def _take_along_axis(xp: Any, dy: Any, y: Any, x: Any, indices: Any, *, axis: int = -1) -> Any:
    return (_scattered(xp, dy, x, xp.take_along_axis(_positions(xp, x), indices, axis=axis)), None)


def _moved(word: str) -> Callable[..., Any]:
    """Return the rule of a word that only copies elements: where each went is asked of the word itself."""

    def rule(xp: Any, dy: Any, y: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        return (_scattered(xp, dy, x, getattr(xp, word)(_positions(xp, x), *args, **kwargs)),)

    return rule


def _concat(xp: Any, dy: Any, y: Any, arrays: Any, *, axis: int | None = 0) -> Any:
    if axis is None:
        flat, start, found = dy, 0, []
        for x in arrays:
            size = math.prod(x.shape)
            found.append(xp.reshape(flat[start : start + size], tuple(x.shape)))
            start += size
        return (found,)
    start, found = 0, []
    for x in arrays:
        key = (slice(None),) * (axis % x.ndim) + (slice(start, start + x.shape[axis]),)
        found.append(dy[key])
        start += x.shape[axis]
    return (found,)


def _stack(xp: Any, dy: Any, y: Any, arrays: Any, *, axis: int = 0) -> Any:
    return (list(xp.unstack(dy, axis=axis)),)


def _sort(xp: Any, dy: Any, y: Any, x: Any, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
    order = xp.argsort(x, axis=axis, descending=descending, stable=stable)
    return (_scattered(xp, dy, x, xp.take_along_axis(_positions(xp, x), order, axis=axis)),)


def _where(xp: Any, dy: Any, y: Any, condition: Any, a: Any, b: Any) -> Any:
    return None, xp.where(condition, dy, 0.0), xp.where(condition, 0.0, dy)


def _clip(xp: Any, dy: Any, y: Any, x: Any, min: Any = None, max: Any = None) -> Any:  # noqa: A002 - the standard's
    below = None if min is None else x < min
    above = None if max is None else x > max
    dx = dy if below is None else xp.where(below, 0.0, dy)
    dx = dx if above is None else xp.where(above, 0.0, dx)
    return (
        dx,
        None if below is None else xp.where(below, dy, 0.0),
        None if above is None else xp.where(above, dy, 0.0),
    )


def _astype(xp: Any, dy: Any, y: Any, x: Any, dtype: Any, **kwargs: Any) -> Any:
    return (xp.astype(dy, x.dtype),) if dy.dtype != x.dtype else (dy,)


def _diff(
    xp: Any, dy: Any, y: Any, x: Any, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Any:
    if prepend is not None or append is not None:
        raise ArgumentError("diff: a derivative is found without prepend and append only. Received: one of them.")
    for _ in range(n):
        edge = xp.zeros_like(dy[(slice(None),) * (axis % dy.ndim) + (slice(0, 1),)])
        dy = xp.concat([edge, dy], axis=axis) - xp.concat([dy, edge], axis=axis)
    return (dy,)


# Products.


def _transposed(xp: Any, x: Any) -> Any:
    return xp.matrix_transpose(x)


def _matmul(xp: Any, dy: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1 and b.ndim == 1:
        return dy * b, dy * a
    left = xp.expand_dims(a, axis=0) if a.ndim == 1 else a
    right = xp.expand_dims(b, axis=1) if b.ndim == 1 else b
    if a.ndim == 1:
        dy = xp.expand_dims(dy, axis=-2)
    if b.ndim == 1:
        dy = xp.expand_dims(dy, axis=-1)
    da, db = xp.matmul(dy, _transposed(xp, right)), xp.matmul(_transposed(xp, left), dy)
    if a.ndim == 1:
        da = xp.reshape(da, (*da.shape[:-2], da.shape[-1]))
    if b.ndim == 1:
        db = xp.reshape(db, db.shape[:-1])
    return da, db


def _vecdot(xp: Any, dy: Any, y: Any, a: Any, b: Any, *, axis: int = -1) -> Any:
    dy = xp.expand_dims(dy, axis=axis)
    return dy * b, dy * a


def _tensordot(xp: Any, dy: Any, y: Any, a: Any, b: Any, *, axes: Any = 2) -> Any:
    if isinstance(axes, int):
        axes = (tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes)))
    summed_a, summed_b = ([n % x.ndim for n in group] for group, x in zip(axes, (a, b), strict=True))
    kept_a = [n for n in range(a.ndim) if n not in summed_a]
    kept_b = [n for n in range(b.ndim) if n not in summed_b]
    # As a matrix product: rows kept of a, columns kept of b.
    flat_a = xp.reshape(xp.permute_dims(a, (*kept_a, *summed_a)), (math.prod(a.shape[n] for n in kept_a), -1))
    flat_b = xp.reshape(xp.permute_dims(b, (*summed_b, *kept_b)), (-1, math.prod(b.shape[n] for n in kept_b)))
    rows = xp.reshape(dy, (flat_a.shape[0], flat_b.shape[1]))
    da = xp.reshape(xp.matmul(rows, flat_b.T), tuple(a.shape[n] for n in (*kept_a, *summed_a)))
    db = xp.reshape(xp.matmul(flat_a.T, rows), tuple(b.shape[n] for n in (*summed_b, *kept_b)))
    return (
        xp.permute_dims(da, _inverse((*kept_a, *summed_a))),
        xp.permute_dims(db, _inverse((*summed_b, *kept_b))),
    )


# Network words.


def _linear(xp: Any, dy: Any, y: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    dx, dkernel, dbias = xp.linear_grad(x, kernel, dy)
    return (dx, dkernel) if bias is None else (dx, dkernel, dbias)


def _linear_grad(xp: Any, given: Any, y: Any, x: Any, kernel: Any, dy: Any, *, input_gradient: bool = True) -> Any:
    raise ArgumentError(
        "linear_grad: a second derivative is found through matmul. Received: linear_grad in a recorded pass. "
        "Write x @ kernel + bias instead of xp.linear."
    )


def _softmax(xp: Any, dy: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    return (y * (dy - xp.sum(dy * y, axis=axis, keepdims=True)),)


def _log_softmax(xp: Any, dy: Any, y: Any, x: Any, axis: Any = -1) -> Any:
    return (dy - xp.exp(y) * xp.sum(dy, axis=axis, keepdims=True),)


def _scatter_add(xp: Any, dy: Any, y: Any, positions: Any, values: Any, size: int) -> Any:
    return None, xp.take(dy, positions, axis=0)


RULES: dict[str, Callable[..., Any]] = {
    **{
        word: lambda xp, dy, y, *args, rule=rule, **kwargs: (rule(xp, dy, y, *args, **kwargs),)
        for word, rule in _UNARY.items()
    },
    **_BINARY,
    **{"sum": _sum, "mean": _mean, "max": _extreme, "min": _extreme, "var": _var, "std": _std, "prod": _prod},
    **{"cumulative_sum": _cumulative_sum, "cumulative_prod": _cumulative_prod, "diff": _diff},
    "broadcast_to": lambda xp, dy, y, x, shape: (dy,),
    "broadcast_arrays": lambda xp, dy, y, *arrays: tuple(dy),
    "reshape": lambda xp, dy, y, x, shape, **kwargs: (xp.reshape(dy, tuple(x.shape)),),
    "expand_dims": lambda xp, dy, y, x, **kwargs: (xp.reshape(dy, tuple(x.shape)),),
    "squeeze": lambda xp, dy, y, x, axis: (xp.reshape(dy, tuple(x.shape)),),
    "permute_dims": lambda xp, dy, y, x, axes: (xp.permute_dims(dy, _inverse(axes)),),
    "matrix_transpose": lambda xp, dy, y, x: (xp.matrix_transpose(dy),),
    "moveaxis": lambda xp, dy, y, x, source, destination: (xp.moveaxis(dy, destination, source),),
    "flip": lambda xp, dy, y, x, **kwargs: (xp.flip(dy, **kwargs),),
    "roll": lambda xp, dy, y, x, shift, **kwargs: (
        xp.roll(dy, -shift if isinstance(shift, int) else tuple(-n for n in shift), **kwargs),
    ),
    "tril": lambda xp, dy, y, x, **kwargs: (xp.tril(dy, **kwargs),),
    "triu": lambda xp, dy, y, x, **kwargs: (xp.triu(dy, **kwargs),),
    "unstack": lambda xp, dy, y, x, *, axis=0: (xp.stack(list(dy), axis=axis),),
    **{"repeat": _moved("repeat"), "tile": _moved("tile"), "sort": _sort, "getitem": _getitem, "take": _take},
    **{"take_along_axis": _take_along_axis, "concat": _concat, "stack": _stack, "where": _where, "clip": _clip},
    **{"astype": _astype, "matmul": _matmul, "vecdot": _vecdot, "tensordot": _tensordot},
    **{"linear": _linear, "linear_grad": _linear_grad, "softmax": _softmax, "log_softmax": _log_softmax},
    "sigmoid": lambda xp, dy, y, x: (dy * y * (1.0 - y),),
    "softplus": lambda xp, dy, y, x: (dy * xp.sigmoid(x),),
    "erfc": lambda xp, dy, y, x: (dy * (-2.0 / math.sqrt(math.pi)) * xp.exp(-x * x),),
    "scatter_add": _scatter_add,
    **{"linalg.matmul": _matmul, "linalg.vecdot": _vecdot, "linalg.tensordot": _tensordot},
    "linalg.matrix_transpose": lambda xp, dy, y, x: (xp.matrix_transpose(dy),),
}

# The derivative is 0 wherever it exists, or the result is no number that varies.
CONSTANT: frozenset[str] = frozenset(
    (
        *("all", "any", "argmax", "argmin", "argsort", "bitwise_and", "bitwise_invert", "bitwise_left_shift"),
        *("bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "count_nonzero", "equal", "floor"),
        *("floor_divide", "greater", "greater_equal", "imag", "isfinite", "isinf", "isnan", "less", "less_equal"),
        *("logical_and", "logical_not", "logical_or", "logical_xor", "nonzero", "not_equal", "one_hot", "round"),
        *("searchsorted", "sign", "signbit", "trunc", "empty_like", "full_like", "ones_like", "zeros_like"),
        *("linalg.matrix_rank",),
    )
)

REFUSED: dict[str, str] = {
    "nextafter": "which steps to the next number and has no derivative",
    **dict.fromkeys(words.SETS, "whose result has a shape that depends on values"),
    "meshgrid": "which has no rule yet",
    **{f"linalg.{word}": "which has no rule yet" for word in words.LINALG if f"linalg.{word}" not in RULES},
    **{f"fft.{word}": "which has no rule yet" for word in words.FFT},
}
