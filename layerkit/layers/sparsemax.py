"""Sparsemax."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_one_axis
from layerkit.errors import ShapeError
from layerkit.layers.activation_layer import ActivationLayer
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments, Shape
    from layerkit.xp.backend import Array, Backend


class Sparsemax(ActivationLayer):
    """``y = max(x - t, 0)`` with the t for which y sums to 1 along `axis` (Martins and Astudillo, ICML 2016).

    It is the nearest point to x among probabilities, of which many are exactly 0. With s the number of those above 0:
    ``dx = dy - sum(dy) / s`` where y > 0, with the sum over these alone, and 0 elsewhere.

    Args:
        axis: the axis along which y sums to 1.
        kwargs: what every `Layer` takes.

    Raises:
        ShapeError: x has no such axis.
    """

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = check_one_axis("Sparsemax", axis=axis)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        # The greatest is taken away first: t would lose its digits where all are large.
        shifted = x - xp.max(x, axis=self.axis, keepdims=True)
        falling = xp.sort(shifted, axis=self.axis, descending=True)
        place = self.axis % x.ndim
        number = xp.reshape(
            xp.arange(1, x.shape[place] + 1, dtype=x.dtype),
            tuple(length if n == place else 1 for n, length in enumerate(x.shape)),
        )
        above = xp.astype(number * falling > xp.cumulative_sum(falling, axis=place) - 1.0, x.dtype)
        count = xp.sum(above, axis=place, keepdims=True)
        y = xp.maximum(shifted - (xp.sum(above * falling, axis=place, keepdims=True) - 1.0) / count, 0.0)
        return y, y

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        above = xp.astype(saved > 0, dy.dtype)
        taken = dy * above
        mean = xp.sum(taken, axis=self.axis, keepdims=True) / xp.sum(above, axis=self.axis, keepdims=True)
        return taken - above * mean

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rank = len(input_shape)
        if not -rank <= self.axis < rank:
            raise ShapeError(f"{self.name}: x must have the axis {self.axis}. Received: shape {input_shape}")
        return input_shape
