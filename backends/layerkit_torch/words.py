"""Words that PyTorch does otherwise than the standard says, or better than the references do."""

from __future__ import annotations

import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.xp import reference
from layerkit.xp.einsum import parsed

if TYPE_CHECKING:
    from collections.abc import Callable

# As Any: PyTorch's types are its own, and it need not be there for types to be checked.
torch: Any = import_module("torch")
compat: Any = import_module("array_api_compat.torch")

Axes = int | tuple[int, ...] | None

_WIDE = frozenset((torch.uint16, torch.uint32, torch.uint64))
"""PyTorch holds integers of these dtypes, and computes with hardly any."""
_UNSIGNED = _WIDE | {torch.uint8}


def _signed(word: Callable[..., Any], *, indices: bool = False) -> Any:
    """Return a word that computes with unsigned integers as with integers of 64 bits that have a sign.

    So it is right for numbers below 2⁶³; sums and products have the right bits always.

    Args:
        word: of the standard.
        indices: whether its integers are positions, and not numbers of the dtype of its arguments.
    """

    @functools.wraps(word)
    def in_int64(*args: Any, **kwargs: Any) -> Any:
        dtype = next((x.dtype for x in (*args, *kwargs.values()) if getattr(x, "dtype", None) in _WIDE), None)
        if dtype is None:
            return word(*args, **kwargs)
        result = word(*map(_as_int64, args), **{name: _as_int64(value) for name, value in kwargs.items()})
        return result if indices or result.dtype != torch.int64 else result.to(dtype)

    return staticmethod(in_int64)


def _as_int64(x: Any) -> Any:
    return x.to(torch.int64) if getattr(x, "dtype", None) in _WIDE else x


def _totalling(word: Callable[..., Any]) -> Any:
    """Return a word whose totals of unsigned integers are unsigned."""

    @functools.wraps(word)
    def total(x: Any, /, *, dtype: Any = None, **kwargs: Any) -> Any:
        if dtype is None and x.dtype in _UNSIGNED:
            return word(x.to(torch.int64), **kwargs).to(torch.uint64)
        return word(x, dtype=dtype, **kwargs)

    return staticmethod(total)


def _spreading(word: Callable[..., Any]) -> Any:
    """Return a variance, or the like, that does not warn where there are no numbers."""

    @functools.wraps(word)
    def spread(x: Any, /, *, axis: Axes = None, correction: float = 0.0, keepdims: bool = False) -> Any:
        if x.numel() == 0:
            return compat.mean(x, axis=axis, keepdims=keepdims)  # NaN, or as empty
        return word(x, axis=axis, correction=correction, keepdims=keepdims)

    return staticmethod(spread)


def _searchsorted(x: Any, values: Any, /, **kwargs: Any) -> Any:
    return compat.searchsorted(x.contiguous(), values.contiguous(), **kwargs)  # or it warns of the copy that it makes


class TorchWords:
    """See `layerkit.xp.words`."""

    abs = _signed(compat.abs)
    add = _signed(compat.add)
    argmax = _signed(compat.argmax, indices=True)
    argmin = _signed(compat.argmin, indices=True)
    bitwise_invert = _signed(compat.bitwise_invert)
    bitwise_left_shift = _signed(compat.bitwise_left_shift)
    bitwise_right_shift = _signed(compat.bitwise_right_shift)
    clip = _signed(compat.clip)
    cumulative_prod = _totalling(compat.cumulative_prod)
    cumulative_sum = _totalling(compat.cumulative_sum)
    flip = _signed(compat.flip)
    floor_divide = _signed(compat.floor_divide)
    greater = _signed(compat.greater)
    greater_equal = _signed(compat.greater_equal)
    less = _signed(compat.less)
    less_equal = _signed(compat.less_equal)
    max = _signed(compat.max)
    maximum = _signed(compat.maximum)
    min = _signed(compat.min)
    minimum = _signed(compat.minimum)
    pow = _signed(compat.pow)
    prod = _totalling(compat.prod)
    remainder = _signed(compat.remainder)
    repeat = _signed(compat.repeat)
    searchsorted = _signed(_searchsorted, indices=True)
    sign = _signed(compat.sign)
    square = _signed(compat.square)
    std = _spreading(compat.std)
    subtract = _signed(compat.subtract)
    sum = _totalling(compat.sum)
    take = _signed(compat.take)
    take_along_axis = _signed(compat.take_along_axis)
    var = _spreading(compat.var)

    @staticmethod
    def can_cast(from_: Any, to: Any, /) -> bool:
        return compat.result_type(from_, to) == to

    @staticmethod
    def nonzero(x: Any, /) -> tuple[Any, ...]:
        return compat.nonzero(_as_int64(x))

    @staticmethod
    def unique_all(x: Any, /) -> Any:
        values, inverse, counts = torch.unique(x, return_inverse=True, return_counts=True)
        counts = torch.where(values != values, torch.ones_like(counts), counts)  # each NaN is one of its own
        places = torch.arange(inverse.numel(), device=x.device).flip(0)
        # The first place of each value is written last.
        first = torch.full_like(counts, inverse.numel()).scatter_reduce(0, inverse.flatten().flip(0), places, "amin")
        return compat.UniqueAllResult(values, first, inverse, counts)

    # One function of PyTorch in the place of several words.

    erfc: Any = staticmethod(torch.erfc)
    sigmoid: Any = staticmethod(torch.sigmoid)

    @staticmethod
    def linear(x: Any, kernel: Any, bias: Any = None) -> Any:
        return torch.nn.functional.linear(x, kernel.T, bias)

    def softmax(self, x: Any, axis: Axes = -1) -> Any:
        return torch.softmax(x, axis) if isinstance(axis, int) else reference.softmax(self, x, axis)  # pyright: ignore[reportArgumentType]

    def log_softmax(self, x: Any, axis: Axes = -1) -> Any:
        return torch.log_softmax(x, axis) if isinstance(axis, int) else reference.log_softmax(self, x, axis)  # pyright: ignore[reportArgumentType]

    @staticmethod
    def scatter_add(positions: Any, values: Any, size: int) -> Any:
        return torch.zeros((size,), dtype=values.dtype, device=values.device).index_add_(0, positions, values)

    def einsum(self, subscripts: str, *operands: Any) -> Any:
        if not all(x.dtype.is_floating_point for x in operands):
            return reference.einsum(self, subscripts, *operands)  # pyright: ignore[reportArgumentType] - sums keep their dtype there
        parsed(subscripts, operands)  # says what does not fit
        return torch.einsum(subscripts, *operands)
