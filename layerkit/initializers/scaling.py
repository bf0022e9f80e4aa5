"""Initializers whose spread follows from the shape of the weight, so that signals keep their size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from layerkit.checks import check_axis, check_name, check_number, check_positive
from layerkit.errors import ShapeError
from layerkit.initializers.distributions import truncated_standard_normal
from layerkit.initializers.initializer import Initializer

if TYPE_CHECKING:
    from numpy.typing import NDArray

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["truncated_normal", "untruncated_normal", "uniform"]

# The standard deviation of the standard normal distribution truncated to [-2, 2].
_TRUNCATED_STDDEV = 0.87962566103423978


Axes = tuple[int, ...] | list[int] | None


def fans(shape: tuple[int, ...], input_axes: Axes = None, output_axes: Axes = None) -> tuple[int, int]:
    """Return how many inputs each output sums, and how many outputs each input reaches.

    The last axis of a kernel counts outputs, the one before it inputs; axes before those are the receptive field. Where
    both `input_axes` and `output_axes` are given, the lengths of these are multiplied instead.
    """
    if input_axes is not None and output_axes is not None:
        return math.prod(shape[axis] for axis in input_axes), math.prod(shape[axis] for axis in output_axes)
    if len(shape) < 2:
        size = math.prod(shape)
        return size, size
    field = math.prod(shape[:-2])
    return field * shape[-2], field * shape[-1]


class VarianceScaling(Initializer):
    """Variance ``scale / n``, where n is the number of inputs, of outputs, or their mean.

    "truncated_normal" and "untruncated_normal" have that variance; "uniform" is the interval of half-width
    ``sqrt(3 scale / n)``, which has it too.

    Args:
        scale: above 0.
        mode: n: "fan_in", "fan_out" or "fan_avg".
        distribution: "truncated_normal" (or "normal"), "untruncated_normal" or "uniform".
        seed: see `Initializer`.
        input_axes: which axes count inputs; with `output_axes`, in place of what the shape tells.
        output_axes: which axes count outputs.

    Raises:
        ArgumentError: `scale` is not above 0, a name is not among those above, or axes are no integers.
        ShapeError: the weight does not have these axes.
    """

    def __init__(
        self,
        scale: float = 1.0,
        mode: Mode = "fan_in",
        distribution: Distribution | Literal["normal"] = "truncated_normal",
        seed: int | None = None,
        input_axes: Axes = None,
        output_axes: Axes = None,
    ) -> None:
        super().__init__(seed)
        name = type(self).__name__
        self.scale = check_positive(name, scale=scale)
        self.mode: Mode = check_name(name, get_args(Mode), mode=mode)
        self.distribution: Distribution = check_name(
            name,
            get_args(Distribution),
            distribution="truncated_normal" if distribution == "normal" else distribution,
        )

        self.input_axes = None if input_axes is None else check_axis(name, input_axes=tuple(input_axes))
        self.output_axes = None if output_axes is None else check_axis(name, output_axes=tuple(output_axes))

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        for axis in (*(self.input_axes or ()), *(self.output_axes or ())):
            if not -len(shape) <= axis < len(shape):
                raise ShapeError(
                    f"{type(self).__name__}: the weight must have the axis {axis}. Received: shape {shape}"
                )
        fan_in, fan_out = fans(shape, self.input_axes, self.output_axes)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = math.sqrt(3.0 * variance)
            return random.uniform(-limit, limit, shape)
        if self.distribution == "untruncated_normal":
            return random.normal(0.0, math.sqrt(variance), shape)
        return math.sqrt(variance) / _TRUNCATED_STDDEV * truncated_standard_normal(random, shape)


class GlorotUniform(VarianceScaling):
    """Uniform on ±sqrt(6 / (inputs + outputs)) (Glorot and Bengio, AISTATS 2010, eq. 16). Also called Xavier."""

    def __init__(self, seed: int | None = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, input_axes, output_axes)


class GlorotNormal(VarianceScaling):
    """Truncated normal of variance 2 / (inputs + outputs) (Glorot and Bengio, AISTATS 2010, eq. 12)."""

    def __init__(self, seed: int | None = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, input_axes, output_axes)


class HeUniform(VarianceScaling):
    """Uniform on ±sqrt(6 / inputs) (He, Zhang, Ren and Sun, ICCV 2015, eq. 10). For ReLU."""

    def __init__(self, seed: int | None = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        super().__init__(2.0, "fan_in", "uniform", seed, input_axes, output_axes)


class HeNormal(VarianceScaling):
    """Truncated normal of variance 2 / inputs (He, Zhang, Ren and Sun, ICCV 2015, eq. 10). For ReLU."""

    def __init__(self, seed: int | None = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        super().__init__(2.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class LecunUniform(VarianceScaling):
    """Uniform on ±sqrt(3 / inputs) (LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, section 4.6)."""

    def __init__(self, seed: int | None = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        super().__init__(1.0, "fan_in", "uniform", seed, input_axes, output_axes)


class LecunNormal(VarianceScaling):
    """Truncated normal of variance 1 / inputs (LeCun, Bottou, Orr and Müller, 1998). For SELU."""

    def __init__(self, seed: int | None = None, input_axes: Axes = None, output_axes: Axes = None) -> None:
        super().__init__(1.0, "fan_in", "truncated_normal", seed, input_axes, output_axes)


class Orthogonal(Initializer):
    """A matrix with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al., ICLR 2014).

    A weight of more than two axes is filled as a matrix of its last axis against all others.

    Raises:
        ShapeError: the weight has fewer than two axes.
    """

    def __init__(self, gain: float = 1.0, seed: int | None = None) -> None:
        super().__init__(seed)
        self.gain = check_number("Orthogonal", gain=gain)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        if len(shape) < 2:
            raise ShapeError(f"Orthogonal: the weight must have at least two axes. Received: shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(random.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.sign(np.diagonal(r))  # makes the draw uniform over orthogonal matrices (Mezzadri 2007)
        return self.gain * (q if rows >= columns else q.T).reshape(shape)
