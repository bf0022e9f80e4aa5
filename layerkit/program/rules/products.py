"""Derivatives of products."""

from __future__ import annotations

import math
from string import ascii_letters
from typing import TYPE_CHECKING, Any

from layerkit.program.rules.moving import inverse
from layerkit.program.rules.redefined import redefined
from layerkit.xp import reference
from layerkit.xp.einsum import parsed

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


def _einsum(xp: Any, dy: Any, y: Any, subscripts: str, *operands: Any) -> Any:
    # dL/doperand is again such a sum: of dy with all other operands, over the letters that the operand lacks.
    terms, result, _ = parsed(subscripts, operands)
    found: list[Any] = [None]
    for place, (x, term) in enumerate(zip(operands, terms, strict=True)):
        others = [pair for n, pair in enumerate(zip(terms, operands, strict=True)) if n != place]
        factors = [(result, dy), *others]
        free = iter(letter for letter in ascii_letters if letter not in "".join((result, *terms)))
        wanted = ""
        for letter, length in zip(term, x.shape, strict=True):
            own = letter
            if letter in wanted:  # x[i, i] is Σ_j x[i, j] δ[i, j]
                own = next(free)
                factors.append((letter + own, xp.eye(length, dtype=dy.dtype)))
            wanted += own
        # An axis that was summed alone: its gradient is the same all along, and is stretched by the caller.
        alone = [letter for letter in wanted if all(letter not in letters for letters, _ in factors)]
        factors += [(letter, xp.ones((1,), dtype=dy.dtype)) for letter in alone]
        given = ",".join(letters for letters, _ in factors)
        found.append(xp.einsum(f"{given}->{wanted}", *(array for _, array in factors)))
    return found


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
    "einsum": _einsum,
    "linear_grad": redefined(reference.linear_grad),
}
