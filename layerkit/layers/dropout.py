"""Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_fraction, check_lengths
from layerkit.errors import ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override
from layerkit.xp.random import check_seed

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class DropoutLayer(Layer):
    """Base of layers that in training replace elements with probability `rate`: a subclass sets it, and `seed`.

    An element is kept where 32 random bits, as a number in [0, 1), are not below `rate`: the same mask on each backend.
    """

    supports_masking = True

    rate: float
    seed: int | None

    @override
    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        self.mask = self.add_stream("mask", self.seed)

    def shape_of_noise(self, input_shape: Shape) -> Shape:
        """Return the shape of the mask, which is broadcast to x."""
        return input_shape

    def dropped(self, xp: Backend, keep: Array, x: Array) -> Array:
        """Return y."""
        return xp.where(keep, x * (1.0 / (1.0 - self.rate) if self.rate < 1 else 0.0), 0.0)

    def dropped_gradient(self, xp: Backend, keep: Array, dy: Array) -> Array:
        """Return dx."""
        return self.dropped(xp, keep, dy)

    @override
    def forward(self, xp: Backend, x: Array, *, training: bool = False) -> tuple[Array, Any]:
        if not training or self.rate == 0:
            return x, None
        if self.rate == 1:
            keep = xp.zeros(x.shape, dtype=xp.bool)
        else:
            shape: Any = self.shape_of_noise(x.shape)
            keep = xp.greater_equal(self.mask.bits(xp, shape), int(self.rate * 2**32))
        return self.dropped(xp, keep, x), keep

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return (dy if saved is None else self.dropped_gradient(xp, saved, dy)), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        self.shape_of_noise(input_shape)
        return input_shape


class Dropout(DropoutLayer):
    """In training, each element is 0 with probability `rate`, and else divided by ``1 - rate``; otherwise y = x.

    The expected value of y is x (Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, JMLR 15, 2014). An
    element is kept where 32 random bits, as a number in [0, 1), are not below `rate`: the same mask on every backend.

    Args:
        rate: from 0 to 1.
        noise_shape: shape of the mask, which is broadcast to x; None stands for the length of x's axis. Default: x's.
        seed: of the mask; by default the model's seed and the layer's place decide.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: `rate` is not from 0 to 1, or `seed` is no seed.
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
        self.rate = check_fraction("Dropout", rate=rate)
        self.noise_shape = None if noise_shape is None else check_lengths("Dropout", 1, noise_shape=noise_shape)
        self.seed = check_seed(seed, "Dropout")

    @override
    def shape_of_noise(self, input_shape: Shape) -> Shape:
        return broadcast_noise_shape(self, self.noise_shape, input_shape)


def broadcast_noise_shape(layer: Layer, noise: Shape | None, input_shape: Shape) -> Shape:
    """Return the shape of a mask, with the lengths of x's axes in place of None.

    Raises:
        ShapeError: it does not broadcast to x.
    """
    if noise is None:
        return input_shape
    if len(noise) != len(input_shape) or any(
        n not in (None, 1) and m is not None and n != m for n, m in zip(noise, input_shape, strict=True)
    ):
        raise ShapeError(
            f"{layer.name}: noise_shape must broadcast to x. Received: noise_shape={noise}, x of shape {input_shape}"
        )
    return tuple(mine or theirs for mine, theirs in zip(noise, input_shape, strict=True))
