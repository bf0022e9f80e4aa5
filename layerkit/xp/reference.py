"""Network words, each defined in array words.

A definition here is the default of every backend and the judge of every faster version. The first argument is the
backend itself, so that a function of this file is a method of `Backend` as it stands.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from layerkit.xp.einsum import einsum as einsum

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


def linear(xp: Backend, x: Array, kernel: Array, bias: Array | None = None) -> Array:
    """``y = x @ kernel + bias``.

    Shapes:
        x: (..., n). kernel: (n, m). bias: (m,) or None. y: (..., m).
    """
    y = xp.matmul(x, kernel)
    return y if bias is None else y + bias


def linear_grad(
    xp: Backend, x: Array, kernel: Array, dy: Array, *, input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """Return ``dx = dy @ kernel.T``, ``dkernel = x.T @ dy`` and ``dbias`` = dy summed, over all axes but the last.

    Without `input_gradient`, dx is None, which saves a third of the arithmetic.

    Shapes:
        x, dx: (..., n). kernel, dkernel: (n, m). dy: (..., m). dbias: (m,).
    """
    rows = _rows(xp, dy)
    dx = xp.matmul(dy, kernel.T) if input_gradient else None
    return dx, xp.matmul(_rows(xp, x).T, rows), xp.sum(rows, axis=0)


def _rows(xp: Backend, x: Array) -> Array:
    return x if x.ndim == 2 else xp.reshape(x, (-1, x.shape[-1]))


def sigmoid(xp: Backend, x: Array) -> Array:
    """``1 / (1 + exp(-x))``, as ``e = exp(-|x|)``; ``1 / (1 + e)`` for x ≥ 0 and ``e / (1 + e)`` below.

    exp(-x) overflows for x << 0, and 0.5 tanh(x / 2) + 0.5 has no correct digit left there; this has neither fault.
    """
    e = xp.exp(-xp.abs(x))
    return xp.where(x >= 0, 1.0, e) / (1.0 + e)


def softplus(xp: Backend, x: Array) -> Array:
    """``log(1 + exp(x))``, as ``max(x, 0) + log1p(exp(-|x|))``, which cannot overflow."""
    return xp.maximum(x, 0.0) + xp.log1p(xp.exp(-xp.abs(x)))


def softmax(xp: Backend, x: Array, axis: int = -1) -> Array:
    """``exp(x) / sum(exp(x))`` along `axis`, shifted by the maximum so that exp cannot overflow."""
    e = xp.exp(x - xp.max(x, axis=axis, keepdims=True))
    return e / xp.sum(e, axis=axis, keepdims=True)


def log_softmax(xp: Backend, x: Array, axis: int = -1) -> Array:
    """``x - log(sum(exp(x)))`` along `axis`, shifted by the maximum so that exp cannot overflow."""
    shifted = x - xp.max(x, axis=axis, keepdims=True)
    return shifted - xp.log(xp.sum(xp.exp(shifted), axis=axis, keepdims=True))


def one_hot(xp: Backend, labels: Array, classes: int, dtype: str) -> Array:
    """Rows of the identity matrix: 1 at the label, 0 elsewhere.

    Shapes:
        labels: (...), of an integer dtype. result: (..., classes).
    """
    return xp.astype(xp.expand_dims(labels, axis=-1) == xp.arange(classes, dtype=labels.dtype), getattr(xp, dtype))


def scatter_add(xp: Backend, positions: Array, values: Array, size: int) -> Array:
    """Return a vector of this size with each value added at its position, and 0 elsewhere.

    Shapes:
        positions: (n,), integers from 0 to size - 1, which may repeat. values: (n,). result: (size,).
    """
    here = xp.expand_dims(xp.arange(size, dtype=positions.dtype), axis=-1) == positions
    return xp.sum(xp.where(here, values, xp.zeros_like(values)), axis=1)


# W. J. Cody, "Rational Chebyshev approximations for the error function", Mathematics of Computation 23 (1969), with
# the coefficients of his SPECFUN library: |x| ≤ 0.46875; 0.46875 < |x| ≤ 4; |x| > 4. Highest power first.
_SMALL_P = (
    1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3,
)  # fmt: skip
_SMALL_Q = (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3)
_MIDDLE_P = (
    2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0, 6.61191906371416295e1, 2.98635138197400131e2,
    8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3, 1.23033935479799725e3,
)  # fmt: skip
_MIDDLE_Q = (
    1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
    3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3,
)  # fmt: skip
_LARGE_P = (
    1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1, 1.25781726111229246e-1,
    1.60837851487422766e-2, 6.58749161529837803e-4,
)  # fmt: skip
_LARGE_Q = (
    1.0, 2.56852019228982242e0, 1.87295284992346725e0, 5.27905102951428412e-1, 6.05183413124413191e-2,
    2.33520497626869185e-3,
)  # fmt: skip
_RECIPROCAL_SQRT_PI = 0.56418958354775628695


def _polynomial(coefficients: tuple[float, ...], x: Array) -> Array:
    y = coefficients[0] * x + coefficients[1]
    for coefficient in coefficients[2:]:
        y = y * x + coefficient
    return y


def erfc(xp: Backend, x: Array) -> Array:
    """Complementary error function, ``2/√π ∫ₓ^∞ exp(-t²) dt``, with all digits in the tail too (Cody 1969).

    Numbers of 16 bits go through float32: their range holds neither the powers nor the coefficients.
    """
    if x.dtype not in (xp.float32, xp.float64):
        return xp.astype(erfc(xp, xp.astype(x, xp.float32)), x.dtype)
    x = xp.clip(x, -28.0, 28.0)  # beyond, the result is 0 or 2 in float64; this keeps the powers finite
    magnitude = xp.abs(x)
    square = magnitude * magnitude
    small = 1.0 - x * _polynomial(_SMALL_P, square) / _polynomial(_SMALL_Q, square)
    middle = _polynomial(_MIDDLE_P, magnitude) / _polynomial(_MIDDLE_Q, magnitude)
    inverse = 1.0 / xp.maximum(square, 1.0)
    large = inverse * _polynomial(_LARGE_P, inverse) / _polynomial(_LARGE_Q, inverse)
    large = (_RECIPROCAL_SQRT_PI - large) / xp.maximum(magnitude, 1.0)
    # exp(-x²) with x² split into an exact part and a small rest, or the rounding of x² would cost digits.
    coarse = xp.floor(magnitude * 16.0) / 16.0
    gauss = xp.exp(-coarse * coarse) * xp.exp(-(magnitude - coarse) * (magnitude + coarse))
    tail = gauss * xp.where(magnitude <= 4.0, middle, large)
    return xp.where(magnitude <= 0.46875, small, xp.where(x < 0, 2.0 - tail, tail))


# What backends may have in the place of a definition above, or of an array word.


def linear_grad_by_products(
    xp: Backend, x: Array, kernel: Array, dy: Array, *, input_gradient: bool = True
) -> tuple[Array | None, Array, Array]:
    """`linear_grad` where a product of matrices costs a fraction of a sum over rows, as it does with a BLAS."""
    rows = _rows(xp, dy)
    dx = xp.matmul(dy, kernel.T) if input_gradient else None
    return dx, xp.matmul(_rows(xp, x).T, rows), xp.matmul(xp.ones(rows.shape[0], dtype=dy.dtype), rows)


def mean(xp: Backend, x: Array, /, *, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Array:
    """Return the mean over some axes, or all, as what it consists of, which can be planned: a sum, and one division."""
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    count = math.prod(x.shape[n] for n in axes)
    if count == 1 and xp.isdtype(x.dtype, "real floating"):
        one = xp.astype(x, x.dtype)  # of state, the numbers that it has now
        return one if keepdims else xp.squeeze(one, axes)
    return xp.sum(x, axis=axis, keepdims=keepdims) / count
