"""Derivatives of products."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.program.rules.moving import inverse
from layerkit.program.rules.redefined import redefined
from layerkit.xp import reference

if TYPE_CHECKING:
    from collections.abc import Callable


def _matmul(xp: Any, dy: Any, y: Any, a: Any, b: Any) -> Any:
    if a.ndim == 1 and b.ndim == 1:
        return dy * b, dy * a
    left = xp.expand_dims(a, axis=0) if a.ndim == 1 else a
    right = xp.expand_dims(b, axis=1) if b.ndim == 1 else b
    if a.ndim == 1:
        dy = xp.expand_dims(dy, axis=-2)
    if b.ndim == 1:
        dy = xp.expand_dims(dy, axis=-1)
    da, db = xp.matmul(dy, xp.matrix_transpose(right)), xp.matmul(xp.matrix_transpose(left), dy)
    if a.ndim == 1:
        da = xp.squeeze(da, axis=-2)
    if b.ndim == 1:
        db = xp.squeeze(db, axis=-1)
    return da, db


def _vecdot(xp: Any, dy: Any, y: Any, a: Any, b: Any, *, axis: int = -1) -> Any:
    # Σ conj(a) b.
    dy = xp.expand_dims(dy, axis=axis)
    if xp.isdtype(y.dtype, "complex floating"):
        return xp.conj(dy * b), dy * xp.conj(a)
    return dy * b, dy * a


def _tensordot(xp: Any, dy: Any, y: Any, a: Any, b: Any, *, axes: Any = 2) -> Any:
    if isinstance(axes, int):
        axes = (tuple(range(a.ndim - axes, a.ndim)), tuple(range(axes)))
    summed_a, summed_b = ([n % x.ndim for n in group] for group, x in zip(axes, (a, b), strict=True))
    kept_a = [n for n in range(a.ndim) if n not in summed_a]
    kept_b = [n for n in range(b.ndim) if n not in summed_b]
    # As a matrix product: rows kept of a, columns kept of b.
    rows, columns = math.prod(a.shape[n] for n in kept_a), math.prod(b.shape[n] for n in kept_b)
    inner = math.prod(a.shape[n] for n in summed_a)
    flat_a = xp.reshape(xp.permute_dims(a, (*kept_a, *summed_a)), (rows, inner))
    flat_b = xp.reshape(xp.permute_dims(b, (*summed_b, *kept_b)), (inner, columns))
    flat_dy = xp.reshape(dy, (rows, columns))
    da = xp.reshape(xp.matmul(flat_dy, flat_b.T), tuple(a.shape[n] for n in (*kept_a, *summed_a)))
    db = xp.reshape(xp.matmul(flat_a.T, flat_dy), tuple(b.shape[n] for n in (*summed_b, *kept_b)))
    return xp.permute_dims(da, inverse((*kept_a, *summed_a))), xp.permute_dims(db, inverse((*summed_b, *kept_b)))


def _linear(xp: Any, dy: Any, y: Any, x: Any, kernel: Any, bias: Any = None) -> Any:
    dx, dkernel, dbias = xp.linear_grad(x, kernel, dy)
    return (dx, dkernel) if bias is None else (dx, dkernel, dbias)


PRODUCTS: dict[str, Callable[..., Any]] = {
    **{
        f"{group}{word}": rule
        for group in ("", "linalg.")
        for word, rule in (
            ("matmul", _matmul),
            ("vecdot", _vecdot),
            ("tensordot", _tensordot),
        )
    },
    "linear": _linear,
    "linear_grad": redefined(reference.linear_grad),
}
