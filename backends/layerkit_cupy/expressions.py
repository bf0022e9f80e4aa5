"""Elementwise words as expressions of CUDA: one line a word."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any, NamedTuple

cupy: Any = import_module("cupy")

TYPES = {
    **{"bool": "bool", "float16": "float16", "bfloat16": "bfloat16", "float32": "float", "float64": "double"},
    **{f"{sign}int{bits}": f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}
"""What the dtypes that kernels read and write are called in CUDA. Arrays of others are left to CuPy."""

HALF = ("float16", "bfloat16")

COMPUTED = TYPES | dict.fromkeys(HALF, "float")
"""What kernels compute with, in registers. Each word's result is rounded to its own dtype, as NumPy's are."""


def kind_of(dtype: Any) -> str:
    """Return the kind of a dtype: "b", "i", "u", "f", "c"; bfloat16, which NumPy does not know, has "f"."""
    dtype = cupy.dtype(dtype)
    return "f" if dtype.name == "bfloat16" else dtype.kind


class Expression(NamedTuple):
    """How a word is written for operands of each kind; None where it is left to CuPy.

    ``{0}``, ``{1}`` stand for the operands, all brought to one type; ``{T}`` for that type.
    """

    floats: str | None = None
    integers: str | None = None
    bools: str | None = None
    takes: str = "result"
    """Which dtype the operands are brought to: that of the "result"; the one that they have in "common"; or "bool"."""

    def of(self, dtype: Any) -> str | None:
        """Return the expression for operands that were brought to this dtype."""
        return {"f": self.floats, "i": self.integers, "u": self.integers, "b": self.bools}.get(kind_of(dtype))


def _same(text: str, **other: str) -> Expression:
    return Expression(**{"floats": text, "integers": text, "bools": text, **other})


EXPRESSIONS: dict[str, Expression] = {
    # CUDA has a function of the word's name.
    **{
        word: Expression(f"{word}({{0}})")
        for word in (
            *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "erfc", "exp", "expm1", "log", "log10"),
            *("log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh"),
        )
    },
    **{word: Expression(f"{word}({{0}}, {{1}})") for word in ("atan2", "copysign", "hypot", "nextafter", "pow")},
    **{word: Expression(f"{word}({{0}})", "{0}") for word in ("ceil", "floor", "trunc")},
    **{word: Expression(f"{word}({{0}})", takes="common") for word in ("isfinite", "isinf", "signbit")},
    "isnan": Expression("{0} != {0}", takes="common"),
    "round": Expression("rint({0})", "{0}"),
    # Arithmetic. The sum of two bools is whether either is true.
    "abs": Expression("fabs({0})", "({0} < 0 ? -{0} : {0})"),
    "add": Expression("{0} + {1}", "{0} + {1}", "{0} || {1}"),
    "subtract": Expression("{0} - {1}", "{0} - {1}"),
    "multiply": Expression("{0} * {1}", "{0} * {1}", "{0} && {1}"),
    "divide": Expression("{0} / {1}"),
    "floor_divide": Expression("real_quotient({0}, {1})", "whole_quotient({0}, {1})"),
    "remainder": Expression("real_remainder({0}, {1})", "whole_remainder({0}, {1})"),
    "negative": Expression("-{0}", "-{0}"),
    "positive": Expression("{0}", "{0}"),
    "reciprocal": Expression("1 / {0}"),
    "square": Expression("{0} * {0}", "{0} * {0}"),
    "sign": Expression("({0} != {0} ? {0} : ({T})(({0} > 0) - ({0} < 0)))", "({0} > 0) - ({0} < 0)"),
    "maximum": _same("larger({0}, {1})"),
    "minimum": _same("smaller({0}, {1})"),
    "logaddexp": Expression("log_of_sum({0}, {1})"),
    # Comparisons.
    "equal": _same("{0} == {1}", takes="common"),
    "not_equal": _same("{0} != {1}", takes="common"),
    "less": _same("{0} < {1}", takes="common"),
    "less_equal": _same("{0} <= {1}", takes="common"),
    "greater": _same("{0} > {1}", takes="common"),
    "greater_equal": _same("{0} >= {1}", takes="common"),
    # Bits and truth.
    "logical_and": Expression(bools="{0} && {1}", takes="bool"),
    "logical_or": Expression(bools="{0} || {1}", takes="bool"),
    "logical_xor": Expression(bools="{0} != {1}", takes="bool"),
    "logical_not": Expression(bools="!{0}", takes="bool"),
    "bitwise_and": Expression(None, "{0} & {1}", "{0} && {1}"),
    "bitwise_or": Expression(None, "{0} | {1}", "{0} || {1}"),
    "bitwise_xor": Expression(None, "{0} ^ {1}", "{0} != {1}"),
    "bitwise_invert": Expression(None, "~{0}", "!{0}"),
    "bitwise_left_shift": Expression(None, "shifted_left({0}, {1})"),
    "bitwise_right_shift": Expression(None, "shifted_right({0}, {1})"),
    # Network words. exp(-x) may overflow to inf, whose reciprocal is right: 0.
    "sigmoid": Expression("1 / (1 + exp(-{0}))"),
    "softplus": Expression("larger({0}, ({T})0) + log1p(exp(-fabs({0})))"),
    # Words whose operands are not all of one kind, or that are no functions: see `layerkit_cupy.stages`.
    "astype": _same("{0}"),
    "where": _same("{0} ? {1} : {2}"),
    **dict.fromkeys(("zeros_like", "ones_like", "full_like"), _same("{0}")),
    "assign": _same("{0}"),
    "assign_add": Expression("{0} + {1}", "{0} + {1}"),
}


def limits(dtype: Any, low: Any, high: Any) -> list[tuple[str, Any]]:
    """Return those of two limits that a number of this dtype can be beyond, with the words that bring it back."""
    found: list[tuple[str, Any]] = []
    for word, limit, extreme in (("maximum", low, "min"), ("minimum", high, "max")):
        if isinstance(limit, int) and kind_of(dtype) in ("i", "u"):
            most = getattr(cupy.iinfo(dtype), extreme)
            if limit <= most if word == "maximum" else limit >= most:
                continue
        if limit is not None:
            found.append((word, limit))
    return found


LEFT_TO_CUPY = {
    **dict.fromkeys(("conj", "imag", "real"), "they return real numbers as they are, and complex ones are not fused"),
    "clip": "it is one word or two, maximum and minimum: see `limits`",
}
"""Elementwise words without an expression, and why."""


def literal(number: Any, dtype: Any) -> str:
    """Return how a number is written in CUDA, in this dtype.

    Raises:
        OverflowError: the dtype does not hold it.
    """
    dtype = cupy.dtype(dtype)
    value, kind = dtype.type(number).item(), kind_of(dtype)
    if kind == "b":
        return "true" if value else "false"
    if kind == "f":
        if math.isnan(value):
            return f"({COMPUTED[dtype.name]})__longlong_as_double(0x7FF8000000000000LL)"
        if math.isinf(value):
            return f"({COMPUTED[dtype.name]})__longlong_as_double(0x{'7' if value > 0 else 'F'}FF0000000000000LL)"
        return f"({COMPUTED[dtype.name]})({value!r})"
    if kind == "u":
        return f"({COMPUTED[dtype.name]}){value}ULL"
    # The most negative number is no literal: C reads the minus as an operator.
    return f"({COMPUTED[dtype.name]})({value + 1}LL - 1)" if value < 0 else f"({COMPUTED[dtype.name]}){value}LL"
