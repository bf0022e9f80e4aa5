"""Layers that prepare data: normalization by statistics that are known, and the encoding of categories."""

from __future__ import annotations

import itertools
from numbers import Real
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import (
    check_axis,
    check_count,
    check_flag,
    check_fraction,
    check_name,
    check_positive,
    is_a,
    shown,
)
from layerkit.errors import ArgumentError, NotReadyError, ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.layers.normalization import FeatureLayer
from layerkit.overriding import override
from layerkit.xp.conversion import as_numbers

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

# Keras's: the least standard deviation that is divided by.
EPSILON = 1e-7


class Normalization(FeatureLayer):
    """``y = (x - mean) / √variance``, with statistics of the data: given, or found by `adapt` before training.

    Args:
        axis: the axis, or axes, along which each element has statistics of its own; None for a single pair of them.
        mean: the mean, a number or an array of the lengths of `axis`; None leaves it to `adapt`.
        variance: the variance, likewise; given with `mean` or not at all.
        invert: the other way round: ``y = mean + x √variance``.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, ...). mean, variance: the lengths of `axis`.

    Raises:
        ArgumentError: one of `mean` and `variance` is given without the other.
        ShapeError: x has no such axis, or the statistics have another shape.
    """

    supports_masking = True

    mean: Any
    variance: Any

    def __init__(
        self,
        axis: int | tuple[int, ...] | list[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.axis = () if axis is None else check_axis("Normalization", axis=axis)
        if (mean is None) != (variance is None):
            raise ArgumentError(
                f"Normalization: mean and variance must be given together. "
                f"Received: {'variance' if mean is None else 'mean'} alone"
            )
        self.given = None if mean is None else (mean, variance)
        self.invert = check_flag("Normalization", invert=invert)

    @override
    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        shape = self.features(input_shape)
        self.mean = self.add_weight("mean", shape, "zeros", trainable=False)
        self.variance = self.add_weight("variance", shape, "ones", trainable=False)
        if self.given is not None:
            self.mean, self.variance = (self._statistic(value, shape) for value in self.given)

    def _statistic(self, value: Any, shape: tuple[int, ...]) -> Array:
        array = as_numbers(self.xp, value, f"{self.name}: a statistic")
        if any(n not in (1, m) for n, m in zip(array.shape[::-1], shape[::-1], strict=False)) or array.ndim > len(
            shape
        ):
            raise ShapeError(
                f"{self.name}: mean and variance must broadcast to the lengths of axis {self.axis}, {shape}. "
                f"Received: shape {tuple(array.shape)}"
            )
        return self.xp.broadcast_to(self.xp.astype(array, getattr(self.xp, self.compute_dtype)), shape)

    def adapt(self, data: Any) -> None:
        """Set mean and variance to those of `data`, an array with the batch in front; the layer is built if need be.

        Raises:
            ShapeError: it has another shape than the layer was built for, or no rows.
        """
        if self.given is not None:
            raise ArgumentError(
                f"{self.name}: adapt is for statistics that are not given. "
                f"Received: mean={self.given[0]!r} at the start."
            )
        xp = self.xp
        with xp.on_device():
            x = as_numbers(xp, data, f"{self.name}: data")
            self.build_in_place((None, *x.shape[1:]))
            self.compute_output_shape(tuple(x.shape))
            if 0 in x.shape:
                raise ShapeError(f"{self.name}: data must have at least one row. Received: shape {tuple(x.shape)}")
            x = xp.astype(x, xp.float64)
            others = self.others(x.ndim)
            self.mean, self.variance = xp.mean(x, axis=others), xp.var(x, axis=others)

    def _deviation(self, xp: Backend, x: Array) -> Array:
        return self.stretched(xp, xp.maximum(xp.sqrt(self.variance), EPSILON), x)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        deviation, mean = self._deviation(xp, x), self.stretched(xp, self.mean, x)
        return (x * deviation + mean if self.invert else (x - mean) / deviation), deviation

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return (dy * saved if self.invert else dy / saved), {}


class CategoryEncoding(Layer):
    """Whole numbers from 0 to ``num_tokens - 1`` as rows of zeros and ones, or of counts.

    Args:
        num_tokens: how many numbers there are.
        output_mode: "multi_hot": 1 for each number that a row of x holds. "count": how often it holds each.
            "one_hot": a row for each number.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, n). y: (batch, num_tokens); for "one_hot" (batch, n, num_tokens), without the axis n if that is 1.

    Raises:
        ArgumentError: `num_tokens` is below 1, or the mode is unknown.
        ShapeError: x has no axis of numbers.
    """

    autocast = False

    def __init__(self, num_tokens: int, output_mode: str = "multi_hot", **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.num_tokens = check_count("CategoryEncoding", 1, num_tokens=num_tokens)
        modes = ("multi_hot", "one_hot", "count")
        self.output_mode: str = check_name("CategoryEncoding", modes, output_mode=output_mode)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        numbers = x if xp.isdtype(x.dtype, "integral") else xp.astype(x, xp.int32)
        return encoded(xp, numbers, self.num_tokens, self.output_mode, self.compute_dtype), None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        return None, {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return encoded_shape(self.name, input_shape, self.num_tokens, self.output_mode)


class Discretization(Layer):
    """Which of the intervals between boundaries each element of x lies in: 0 below the first, 1 from there on.

    Boundaries are given, or found by `adapt`, so that about as many numbers lie in each interval.

    Args:
        bin_boundaries: where intervals begin, in rising order; the last has no end. None leaves them to `adapt`.
        num_bins: how many intervals `adapt` shall find.
        epsilon: how exactly: quantiles may be wrong by about this share.
        output_mode: "int": the number of the interval, as a whole number in the layer's dtype. "one_hot", "multi_hot",
            "count": what `CategoryEncoding` makes of it.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, ...). y: that of x for "int", and else as `CategoryEncoding` has it. dx is 0.

    Raises:
        ArgumentError: boundaries are no rising numbers, or the mode is unknown.
        ShapeError: x has no axis of numbers.
    """

    def __init__(
        self,
        bin_boundaries: tuple[float, ...] | list[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        if (bin_boundaries is None) == (num_bins is None):
            raise ArgumentError(
                f"Discretization: give bin_boundaries, or num_bins for adapt. "
                f"Received: bin_boundaries={shown(bin_boundaries)}, num_bins={num_bins!r}"
            )
        self.num_bins = None if num_bins is None else check_count("Discretization", 1, num_bins=num_bins)
        check_positive("Discretization", epsilon=epsilon)
        self.epsilon = float(check_fraction("Discretization", epsilon=epsilon))
        self.bin_boundaries = () if bin_boundaries is None else self._checked(bin_boundaries)
        modes = ("int", "multi_hot", "one_hot", "count")
        self.output_mode: str = check_name("Discretization", modes, output_mode=output_mode)

    def _checked(self, bin_boundaries: Any) -> tuple[float, ...]:
        rising = is_a(bin_boundaries, tuple, list) and all(is_a(value, Real) for value in bin_boundaries)
        if not rising or any(a > b for a, b in itertools.pairwise(bin_boundaries)):
            raise ArgumentError(
                f"Discretization: bin_boundaries must be a list of rising numbers. "
                f"Received: bin_boundaries={shown(bin_boundaries)}"
            )
        return tuple(map(float, bin_boundaries))

    @override
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; once boundaries are found, with them in the place of `num_bins`."""
        config = super().get_config()
        return {**config, "bin_boundaries": self.bin_boundaries, "num_bins": None} if self.bin_boundaries else config

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Find boundaries: `data` is an array or lists, or an iterable of arrays, of which at most `steps` are taken.

        Raises:
            ArgumentError: boundaries were given to the constructor.
            DataError: there are no numbers, or other things.
        """
        if self.num_bins is None:
            raise ArgumentError(
                f"{self.name}: adapt is for boundaries that are not given. Received: bin_boundaries at the start. "
                f"Give num_bins instead."
            )
        from layerkit.layers.quantiles import boundaries  # with NumPy, on the host

        self.bin_boundaries = boundaries(data, self.num_bins, self.epsilon, steps, self.name)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        self._require()
        flat = xp.reshape(x, (-1,)) if 0 not in x.shape else xp.zeros((0,), dtype=x.dtype)
        boundaries = xp.astype(xp.asarray(self.bin_boundaries), x.dtype)
        numbers = xp.reshape(xp.searchsorted(boundaries, flat, side="right"), x.shape)
        if self.output_mode == "int":
            return xp.astype(numbers, x.dtype), x
        return encoded(xp, numbers, len(self.bin_boundaries) + 1, self.output_mode, self.compute_dtype), x

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return xp.zeros_like(saved), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self._require()
        if self.output_mode == "int":
            return input_shape
        return encoded_shape(self.name, input_shape, len(self.bin_boundaries) + 1, self.output_mode)

    def _require(self) -> None:
        if self.num_bins is not None and self.num_bins > 1 and not self.bin_boundaries:
            raise NotReadyError(
                f"{self.name}: boundaries must be known. Received: num_bins={self.num_bins}, and no data yet. "
                f"Call adapt(data) first."
            )


def encoded(xp: Backend, numbers: Array, count: int, mode: str, dtype: str) -> Array:
    """Return whole numbers below `count` as "one_hot", "multi_hot" or "count"; see `CategoryEncoding`."""
    rows = xp.one_hot(numbers, count, dtype)
    if mode == "one_hot":
        return xp.reshape(rows, _one_hot_shape(numbers.shape, count))
    counts = xp.sum(rows, axis=-2)
    return counts if mode == "count" else xp.minimum(counts, 1.0)


def _one_hot_shape(shape: Any, count: int) -> Any:
    return (*(shape[:-1] if len(shape) > 1 and shape[-1] == 1 else shape), count)


def encoded_shape(name: str, shape: Shape, count: int, mode: str) -> Shape:
    """Return the shape of what `encoded` makes of numbers of this shape.

    Raises:
        ShapeError: there is no axis to sum over.
    """
    if mode == "one_hot":
        return _one_hot_shape(shape, count)
    if len(shape) < 2:
        raise ShapeError(f"{name}: x must have the shape (batch, ..., n). Received: shape {shape}")
    return (*shape[:-1], count)
