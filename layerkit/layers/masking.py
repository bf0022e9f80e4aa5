"""Masking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_number
from layerkit.errors import ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Masking(Layer):
    """Masks the steps at which all features are `mask_value`: there y is 0, and elsewhere x.

    Layers that take a mask leave those steps out, and in the loss and the metrics they have the weight 0: see
    `Layer.compute_mask`. ``dx`` is dy, and 0 at what is masked.

    Args:
        mask_value: the number that stands for a step that is not there.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, steps, features). The mask: (batch, steps).

    Raises:
        ArgumentError: `mask_value` is no finite number.
        ShapeError: x has no axis of features.
    """

    def __init__(self, mask_value: float = 0.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.mask_value: float = check_number("Masking", mask_value=mask_value)

    @override
    def compute_mask(self, xp: Backend, x: Array, mask: Array | None) -> Array:
        return xp.any(x != self.mask_value, axis=-1)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        counted = xp.any(x != self.mask_value, axis=-1, keepdims=True)
        return xp.where(counted, x, 0.0), counted

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return xp.where(saved, dy, 0.0), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) < 2:
            raise ShapeError(
                f"{self.name}: x must have the shape (batch, ..., features). Received: shape {input_shape}"
            )
        return input_shape
