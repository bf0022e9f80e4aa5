"""The base of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.errors import MissingDerivativeError
from layerkit.layers.layer import Layer, Shape
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

Gradients = tuple["Array", dict[str, "Array"]]


class ActivationLayer(Layer):
    """Base of activations: the output has the shape of the input.

    Shapes:
        x, y: (...).
    """

    one_input = True

    supports_masking = True

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> Gradients:
        return self.derivative(xp, saved, dy), {}

    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        """Return dx from dy."""
        raise MissingDerivativeError(
            f"{self.name}: an activation must define derivative(self, xp, saved, dy). "
            f"Received: {type(self).__name__}, which does not. Derive from Layer to give `call` alone."
        )

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
