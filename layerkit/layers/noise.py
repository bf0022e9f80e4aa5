"""Noise: layers that disturb their input in training, and hand it on as it is otherwise."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_at_least, check_fraction, check_lengths
from layerkit.layers.dropout import DropoutLayer, broadcast_noise_shape
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override
from layerkit.xp.random import check_seed

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class GaussianNoise(Layer):
    """In training, ``y = x + stddev n``, with n from the standard normal distribution (Bishop, 1995).

    Args:
        stddev: standard deviation of the noise, at least 0.
        seed: of the noise; by default the model's seed and the layer's place decide.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: `stddev` is below 0, or `seed` is no seed.
    """

    supports_masking = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.stddev: float = check_at_least("GaussianNoise", 0, stddev=stddev)
        self.seed = check_seed(seed, "GaussianNoise")

    @override
    def build(self, input_shape: Shape) -> None:
        self.noise = self.add_stream("noise", self.seed)

    @override
    def forward(self, xp: Backend, x: Array, *, training: bool = False) -> tuple[Array, Any]:
        if not training or self.stddev == 0:
            return x, None
        return x + self.noise.normal(xp, x.shape, self.compute_dtype) * self.stddev, None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return dy, {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class GaussianDropout(Layer):
    """In training, ``y = x (1 + √(rate / (1 - rate)) n)``, with n from the standard normal distribution.

    Mean and variance of the factor are those of dropout (Srivastava et al., JMLR 15, 2014, section 10).

    Args:
        rate: from 0 to below 1.
        seed: of the noise; by default the model's seed and the layer's place decide.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: `rate` is not from 0 to below 1, or `seed` is no seed.
    """

    supports_masking = True

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.rate: float = check_fraction("GaussianDropout", below_1=True, rate=rate)
        self.seed = check_seed(seed, "GaussianDropout")

    @override
    def build(self, input_shape: Shape) -> None:
        self.noise = self.add_stream("noise", self.seed)

    @override
    def forward(self, xp: Backend, x: Array, *, training: bool = False) -> tuple[Array, Any]:
        if not training or self.rate == 0:
            return x, None
        factor = self.noise.normal(xp, x.shape, self.compute_dtype) * math.sqrt(self.rate / (1.0 - self.rate)) + 1.0
        return x * factor, factor

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return dy if saved is None else dy * saved, {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


# What SELU tends to for x → -∞: -scale alpha.
_SATURATED = -1.7580993408473766


class AlphaDropout(DropoutLayer):
    """Dropout for SELU: what is dropped becomes s = -1.758…, and ``y = a x + b`` restores mean 0 and variance 1.

    ``a = 1 / √((1 - rate) (1 + rate s²))``, ``b = -a rate s`` (Klambauer, Unterthiner, Mayr and Hochreiter, NIPS 2017).

    Args:
        rate: from 0 to below 1.
        noise_shape: shape of the mask, which is broadcast to x; None stands for the length of x's axis. Default: x's.
        seed: of the mask; by default the model's seed and the layer's place decide.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: `rate` is not from 0 to below 1, or `seed` is no seed.
        ShapeError: `noise_shape` does not broadcast to x.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: tuple[int | None, ...] | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.rate = check_fraction("AlphaDropout", below_1=True, rate=rate)
        self.noise_shape = None if noise_shape is None else check_lengths("AlphaDropout", 1, noise_shape=noise_shape)
        self.seed = check_seed(seed, "AlphaDropout")
        self.factor = 1.0 / math.sqrt((1.0 - self.rate) * (1.0 + self.rate * _SATURATED**2))

    @override
    def shape_of_noise(self, input_shape: Shape) -> Shape:
        return broadcast_noise_shape(self, self.noise_shape, input_shape)

    @override
    def dropped(self, xp: Backend, keep: Array, x: Array) -> Array:
        shift = -self.factor * self.rate * _SATURATED
        return xp.where(keep, x * self.factor + shift, self.factor * _SATURATED + shift)

    @override
    def dropped_gradient(self, xp: Backend, keep: Array, dy: Array) -> Array:
        return xp.where(keep, dy * self.factor, 0.0)
