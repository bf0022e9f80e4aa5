"""Derivative rules as data: what each word does to a gradient.

A rule takes the backend, dL/dy, the result y and the word's own arguments, and returns dL/dargument for each argument
that is an array, in order, with None for what has no gradient. An argument that was broadcast is summed over by the
caller. A word that returns several arrays has a tuple of them as y, and of their gradients as dy.

A word is differentiable (`RULES`), constant almost everywhere (`CONSTANT`), or refused with its reason (`REFUSED`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.program.rules.elementwise import ELEMENTWISE
from layerkit.program.rules.fft import FFT
from layerkit.program.rules.linalg import LINALG
from layerkit.program.rules.moving import MOVING
from layerkit.program.rules.products import PRODUCTS
from layerkit.program.rules.reductions import REDUCTIONS
from layerkit.xp import words

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CONSTANT", "REFUSED", "RULES"]

RULES: dict[str, Callable[..., Any]] = {**ELEMENTWISE, **REDUCTIONS, **MOVING, **PRODUCTS, **LINALG, **FFT}

# The derivative is 0 wherever it exists, or the result is no number that varies.
CONSTANT: frozenset[str] = frozenset(
    (
        *("all", "any", "argmax", "argmin", "argsort", "bitwise_and", "bitwise_invert", "bitwise_left_shift"),
        *("bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil", "count_nonzero", "equal", "floor"),
        *("floor_divide", "greater", "greater_equal", "isfinite", "isinf", "isnan", "less", "less_equal"),
        *("logical_and", "logical_not", "logical_or", "logical_xor", "nonzero", "not_equal", "one_hot", "round"),
        *("searchsorted", "sign", "signbit", "trunc", "empty_like", "full_like", "ones_like", "zeros_like"),
        *("linalg.matrix_rank", "fft.fftfreq", "fft.rfftfreq"),
    )
)

REFUSED: dict[str, str] = {
    "nextafter": "which steps to the next number and has no derivative",
    **dict.fromkeys(words.SETS, "whose result has a shape that depends on values"),
}
