"""Derivatives of elementwise words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Words of one argument: dy, y and x give dx.
UNARY: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "abs": lambda xp, dy, y, x: dy * _conj(xp, xp.sign(x)),
    "acos": lambda xp, dy, y, x: -dy / xp.sqrt(1.0 - x * x),
    "acosh": lambda xp, dy, y, x: dy / xp.sqrt(x * x - 1.0),
    "asin": lambda xp, dy, y, x: dy / xp.sqrt(1.0 - x * x),
    "asinh": lambda xp, dy, y, x: dy / xp.sqrt(x * x + 1.0),
    "atan": lambda xp, dy, y, x: dy / (1.0 + x * x),
    "atanh": lambda xp, dy, y, x: dy / (1.0 - x * x),
    "conj": lambda xp, dy, y, x: _conj(xp, dy),
    "cos": lambda xp, dy, y, x: -dy * xp.sin(x),
    "cosh": lambda xp, dy, y, x: dy * xp.sinh(x),
    "erfc": lambda xp, dy, y, x: dy * (-2.0 / math.sqrt(math.pi)) * xp.exp(-x * x),
    "exp": lambda xp, dy, y, x: dy * y,
    "expm1": lambda xp, dy, y, x: dy * (y + 1.0),
    "imag": lambda xp, dy, y, x: xp.astype(dy, x.dtype) * -1j,
    "log": lambda xp, dy, y, x: dy / x,
    "log10": lambda xp, dy, y, x: dy / (x * math.log(10.0)),
    "log1p": lambda xp, dy, y, x: dy / (1.0 + x),
    "log2": lambda xp, dy, y, x: dy / (x * math.log(2.0)),
    "negative": lambda xp, dy, y, x: -dy,
    "positive": lambda xp, dy, y, x: dy,
    "real": lambda xp, dy, y, x: dy,
    "reciprocal": lambda xp, dy, y, x: -dy * y * y,
    "sigmoid": lambda xp, dy, y, x: dy * y * (1.0 - y),
    "sin": lambda xp, dy, y, x: dy * xp.cos(x),
    "sinh": lambda xp, dy, y, x: dy * xp.cosh(x),
    "softplus": lambda xp, dy, y, x: dy * xp.sigmoid(x),
    "sqrt": lambda xp, dy, y, x: dy * 0.5 / y,
    "square": lambda xp, dy, y, x: dy * 2.0 * x,
    "tan": lambda xp, dy, y, x: dy * (1.0 + y * y),
    "tanh": lambda xp, dy, y, x: dy * (1.0 - y * y),
}

# Words of two arguments, each an array or a number: dy, y, a and b give da and db.
BINARY: dict[str, Callable[[Any, Any, Any, Any, Any], Any]] = {
    "add": lambda xp, dy, y, a, b: (dy, dy),
    "atan2": lambda xp, dy, y, a, b: (dy * b / (a * a + b * b), -dy * a / (a * a + b * b)),
    "copysign": lambda xp, dy, y, a, b: (xp.where(y == a, dy, -dy), None),
    "divide": lambda xp, dy, y, a, b: (dy / b, None if _is_number(b) else -dy * y / b),
    "hypot": lambda xp, dy, y, a, b: (dy * a / y, dy * b / y),
    "logaddexp": lambda xp, dy, y, a, b: (dy * xp.exp(a - y), dy * xp.exp(b - y)),
    "maximum": lambda xp, dy, y, a, b: (dy * _share(xp, a, b, y), dy * _share(xp, b, a, y)),
    "minimum": lambda xp, dy, y, a, b: (dy * _share(xp, a, b, y), dy * _share(xp, b, a, y)),
    "multiply": lambda xp, dy, y, a, b: (dy * b, None if _is_number(b) else dy * a),
    "pow": lambda xp, dy, y, a, b: (_base(xp, dy, a, b), None if _is_number(b) else _exponent(xp, dy, y, a)),
    "remainder": lambda xp, dy, y, a, b: (dy, None if _is_number(b) else -dy * xp.floor_divide(a, b)),
    "subtract": lambda xp, dy, y, a, b: (dy, -dy),
}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, complex)) and not hasattr(value, "dtype")


def _conj(xp: Any, x: Any) -> Any:
    return xp.conj(x) if xp.isdtype(x.dtype, "complex floating") else x


def _share(xp: Any, mine: Any, other: Any, y: Any) -> Any:
    """Return 1 where mine was taken, 0 where the other was, and half of it in a tie."""
    return xp.where(y == mine, xp.where(y == other, 0.5, xp.ones_like(y)), 0.0)


def _base(xp: Any, dy: Any, a: Any, b: Any) -> Any:
    """Return dL/da of ``aᵇ``: 0 for b = 0, where ``b · aᵇ⁻¹`` would be 0 · ∞ at a = 0."""
    if _is_number(a):
        return None
    if _is_number(b):
        return dy * b * a ** (b - 1) if b != 0 else xp.zeros_like(dy)
    zero = b == 0
    return dy * b * a ** xp.where(zero, 1.0, b - 1.0)


def _exponent(xp: Any, dy: Any, y: Any, a: Any) -> Any:
    """Return dL/db of ``aᵇ``: log a has no meaning for a ≤ 0, where the derivative is taken as 0."""
    if _is_number(a):
        return dy * y * math.log(a) if a > 0 else xp.zeros_like(y)
    above = a > 0
    return xp.where(above, dy * y * xp.log(xp.where(above, a, xp.ones_like(y))), 0.0)


def _unary(rule: Callable[[Any, Any, Any, Any], Any]) -> Callable[..., Any]:
    def one(xp: Any, dy: Any, y: Any, x: Any) -> Any:
        return (rule(xp, dy, y, x),)

    return one


def _where(xp: Any, dy: Any, y: Any, condition: Any, a: Any, b: Any) -> Any:
    return None, xp.where(condition, dy, 0.0), xp.where(condition, 0.0, dy)


def _clip(xp: Any, dy: Any, y: Any, x: Any, min: Any = None, max: Any = None) -> Any:
    # As minimum(maximum(x, min), max), but with the whole gradient at the bounds themselves, as in Keras.
    above = None if max is None else x > max
    below = None if min is None else x < min
    dx = dy if below is None else xp.where(below, 0.0, dy)
    dx = dx if above is None else xp.where(above, 0.0, dx)
    dmin = None if below is None else xp.where(below, dy, 0.0)
    return dx, dmin, None if above is None else xp.where(above, dy, 0.0)


def _astype(xp: Any, dy: Any, y: Any, x: Any, dtype: Any, **kwargs: Any) -> Any:
    # Rounded to integers, a value does not vary.
    return (dy if xp.isdtype(y.dtype, ("real floating", "complex floating")) else None,)


ELEMENTWISE: dict[str, Callable[..., Any]] = {
    **{word: _unary(rule) for word, rule in UNARY.items()},
    **BINARY,
    **{"where": _where, "clip": _clip, "astype": _astype},
}
