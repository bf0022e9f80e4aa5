"""Derivatives of linear algebra, for real matrices.

M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic differentiation", Advances in
Automatic Differentiation (2008): inverse, determinant, solve, Cholesky, eigenvalues, singular values, norms.
M. Seeger, A. Hetzel, Z. Dai, E. Meissner and N. D. Lawrence, "Auto-differentiating linear algebra", arXiv 1710.08717
(2017): QR, symmetric eigenvectors, singular vectors. I. Murray, "Differentiation of the Cholesky decomposition", arXiv
1602.07527 (2016). G. H. Golub and V. Pereyra, SIAM Journal on Numerical Analysis 10 (1973), equation 4.12: the
pseudoinverse.

Where two eigenvalues or singular values are equal, their vectors are not unique: the terms between them are left out.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError, MissingDerivativeError
from layerkit.program.rules.redefined import redefined
from layerkit.program.rules.reductions import stretched

if TYPE_CHECKING:
    from collections.abc import Callable


def _column(xp: Any, x: Any) -> Any:
    return xp.expand_dims(x, axis=-1)


def _row(xp: Any, x: Any) -> Any:
    return xp.expand_dims(x, axis=-2)


def _scalar(xp: Any, x: Any) -> Any:
    return _column(xp, _column(xp, x))


def _inv(xp: Any, dy: Any, y: Any, x: Any) -> Any:
    transposed = xp.matrix_transpose(y)
    return (-(transposed @ dy @ transposed),)


def _solve(xp: Any, dy: Any, y: Any, a: Any, b: Any) -> Any:
    vector = b.ndim == 1
    if vector:
        y, dy = _column(xp, y), _column(xp, dy)
    db = xp.linalg.solve(xp.matrix_transpose(a), dy)
    da = -(db @ xp.matrix_transpose(y))
    return da, xp.squeeze(db, axis=-1) if vector else db


def _det(xp: Any, dy: Any, y: Any, x: Any) -> Any:
    return (_scalar(xp, dy * y) * xp.matrix_transpose(xp.linalg.inv(x)),)


def _slogdet(xp: Any, dy: Any, y: Any, x: Any) -> Any:
    return (_scalar(xp, dy[1]) * xp.matrix_transpose(xp.linalg.inv(x)),)


def _cholesky(xp: Any, dy: Any, y: Any, x: Any, *, upper: bool = False) -> Any:
    lower, dy = (xp.matrix_transpose(y), xp.matrix_transpose(dy)) if upper else (y, dy)
    # Φ keeps the lower triangle and half of the diagonal.
    product = xp.matrix_transpose(lower) @ dy
    phi = 0.5 * (xp.tril(product) + xp.tril(product, k=-1))
    inverse = xp.linalg.inv(lower)
    return (_symmetric(xp, xp.matrix_transpose(inverse) @ phi @ inverse),)


def _symmetric(xp: Any, x: Any) -> Any:
    return 0.5 * (x + xp.matrix_transpose(x))


def _inverse_differences(xp: Any, values: Any) -> Any:
    """Return ``1 / (v_j - v_i)``, and 0 where they are equal."""
    differences = _row(xp, values) - _column(xp, values)
    equal = differences == 0
    return xp.where(equal, 0.0, 1.0 / xp.where(equal, xp.ones_like(differences), differences))


def _eigh(xp: Any, dy: Any, y: Any, x: Any) -> Any:
    (dvalues, dvectors), (values, vectors) = dy, y
    transposed = xp.matrix_transpose(vectors)
    inner = _inverse_differences(xp, values) * (transposed @ dvectors) + _diagonal_matrix(xp, dvalues)
    return (_symmetric(xp, vectors @ inner @ transposed),)


def _diagonal_matrix(xp: Any, values: Any) -> Any:
    return _column(xp, values) * xp.eye(values.shape[-1], dtype=values.dtype)


def _eigvalsh(xp: Any, dy: Any, y: Any, x: Any) -> Any:
    vectors = xp.linalg.eigh(x)[1]
    return (_symmetric(xp, (vectors * _row(xp, dy)) @ xp.matrix_transpose(vectors)),)


def _qr(xp: Any, dy: Any, y: Any, x: Any, *, mode: str = "reduced") -> Any:
    (dq, dr), (q, r) = dy, y
    rows, columns = x.shape[-2:]
    if mode == "complete" and rows > columns:
        raise MissingDerivativeError(
            f"linalg.qr: the columns that complete a basis are not unique, and have no derivative. "
            f"Received: mode='complete', a matrix of {rows} rows and {columns} columns. Use mode='reduced'."
        )
    if rows >= columns:
        return (_qr_square(xp, dq, dr, q, r),)
    # [X | Y] = Q [U | QᵀY].
    left, right = (..., slice(None, rows)), (..., slice(rows, None))
    dright = dr[right]
    dq = dq + x[right] @ xp.matrix_transpose(dright)
    return (xp.concat([_qr_square(xp, dq, dr[left], q, r[left]), q @ dright], axis=-1),)


def _qr_square(xp: Any, dq: Any, dr: Any, q: Any, r: Any) -> Any:
    m = r @ xp.matrix_transpose(dr) - xp.matrix_transpose(dq) @ q
    symmetric = xp.tril(m) + xp.matrix_transpose(xp.tril(m, k=-1))
    # (dq + q · symmetric) r⁻ᵀ
    return xp.matrix_transpose(xp.linalg.solve(r, xp.matrix_transpose(dq + q @ symmetric)))


def _svd(xp: Any, dy: Any, y: Any, x: Any, *, full_matrices: bool = True) -> Any:
    if full_matrices and x.shape[-2] != x.shape[-1]:
        raise MissingDerivativeError(
            f"linalg.svd: the vectors that complete a basis are not unique, and have no derivative. "
            f"Received: full_matrices=True, a matrix of shape {tuple(x.shape[-2:])}. Use full_matrices=False."
        )
    (du, ds, dvh), (u, s, vh) = dy, y
    ut, v, dv = xp.matrix_transpose(u), xp.matrix_transpose(vh), xp.matrix_transpose(dvh)
    f = _inverse_differences(xp, s * s)
    left, right = ut @ du, vh @ dv
    middle = (
        f * (left - xp.matrix_transpose(left)) * _row(xp, s)
        + _column(xp, s) * f * (right - xp.matrix_transpose(right))
        + _diagonal_matrix(xp, ds)
    )
    scaled_u, scaled_v = du / _row(xp, s), dv / _row(xp, s)
    return (
        u @ middle @ vh
        + (scaled_u - u @ (ut @ scaled_u)) @ vh
        + u @ xp.matrix_transpose(scaled_v - v @ (vh @ scaled_v)),
    )


def _svdvals(xp: Any, dy: Any, y: Any, x: Any) -> Any:
    u, _, vh = xp.linalg.svd(x, full_matrices=False)
    return ((u * _row(xp, dy)) @ vh,)


def _pinv(xp: Any, dy: Any, y: Any, x: Any, *, rtol: Any = None) -> Any:
    p, pt, dyt = y, xp.matrix_transpose(y), xp.matrix_transpose(dy)
    outer, inner = dyt @ (p @ pt), (pt @ p) @ dyt
    return (-(pt @ dy @ pt) + outer - x @ (p @ outer) + inner - (inner @ p) @ x,)


def _matrix_power(xp: Any, x: Any, n: int) -> Any:
    if n == 0:
        return xp.eye(x.shape[-1], dtype=x.dtype)  # which does not depend on x
    return functools.reduce(xp.matmul, [x if n > 0 else xp.linalg.inv(x)] * abs(n))


def _trace(xp: Any, dy: Any, y: Any, x: Any, *, offset: int = 0, dtype: Any = None) -> Any:
    return (_scalar(xp, dy) * xp.eye(*x.shape[-2:], k=offset, dtype=x.dtype),)


def _outer(xp: Any, dy: Any, y: Any, a: Any, b: Any) -> Any:
    return dy @ b, a @ dy


def _cross(xp: Any, dy: Any, y: Any, a: Any, b: Any, *, axis: int = -1) -> Any:
    return xp.linalg.cross(b, dy, axis=axis), xp.linalg.cross(dy, a, axis=axis)


def _vector_norm(xp: Any, dy: Any, y: Any, x: Any, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    # dx = dy · sign(x) · (|x| / y)^(ord - 1); 0 at the origin, where the norm has no derivative.
    y, dy = (stretched(xp, value, x, axis, keepdims) for value in (y, dy))
    if ord == 0:
        return (None,)
    if abs(ord) == math.inf:
        taken = xp.astype(xp.abs(x) == y, x.dtype)
        return (dy * xp.sign(x) * taken / xp.sum(taken, axis=axis, keepdims=True),)
    ratio = x / xp.where(y == 0, xp.ones_like(y), y)
    return (dy * ratio if ord == 2 else dy * xp.sign(x) * xp.abs(ratio) ** (ord - 1),)


def _matrix_norm(xp: Any, x: Any, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    if ord == "fro":
        return xp.linalg.vector_norm(x, axis=(-2, -1), keepdims=keepdims)
    if ord in ("nuc", 2, -2):
        values = xp.linalg.svdvals(x)
        y = {"nuc": xp.sum, 2: xp.max, -2: xp.min}[ord](values, axis=-1)
    elif ord in (1, -1, math.inf, -math.inf):
        sums = xp.sum(xp.abs(x), axis=-2 if abs(ord) == 1 else -1)
        y = (xp.max if ord > 0 else xp.min)(sums, axis=-1)
    else:
        raise ArgumentError(f"linalg.matrix_norm: ord must be 'fro', 'nuc', ±1, ±2 or ±∞. Received: ord={ord!r}")
    return _scalar(xp, y) if keepdims else y


def _real(word: str, rule: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule, which holds for real matrices only."""

    def checked(xp: Any, dy: Any, y: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        if xp.isdtype(x.dtype, "complex floating"):
            raise MissingDerivativeError(
                f"linalg.{word}: a derivative is known for real matrices only. Received: dtype {x.dtype}. "
                f"Write it in words of the real and imaginary parts, or give a rule: "
                f"layerkit.register_derivative('linalg.{word}', lambda xp, dy, y, x: …)."
            )
        return rule(xp, dy, y, x, *args, **kwargs)

    return checked


_ANY: dict[str, Callable[..., Any]] = {
    **{"inv": _inv, "solve": _solve, "det": _det, "matrix_power": redefined(_matrix_power), "trace": _trace},
    **{"outer": _outer, "cross": _cross},
}
_REAL: dict[str, Callable[..., Any]] = {
    **{"slogdet": _slogdet, "cholesky": _cholesky, "eigh": _eigh, "eigvalsh": _eigvalsh, "qr": _qr, "svd": _svd},
    **{"svdvals": _svdvals, "pinv": _pinv, "vector_norm": _vector_norm, "matrix_norm": redefined(_matrix_norm)},
}

LINALG: dict[str, Callable[..., Any]] = {
    **{f"linalg.{word}": rule for word, rule in _ANY.items()},
    **{f"linalg.{word}": _real(word, rule) for word, rule in _REAL.items()},
}
