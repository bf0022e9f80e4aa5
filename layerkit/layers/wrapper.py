"""Layers around a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import is_a, shown
from layerkit.errors import ArgumentError
from layerkit.layers.layer import Layer, LayerArguments, Shapes
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Backend


class Wrapper(Layer):
    """A layer around another, ``y = layer(x)``: a subclass changes what goes in, what comes out, or both.

    Args:
        layer: the layer inside, read as `self.layer`.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: `layer` is no layer.
    """

    def __init__(self, layer: Layer, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if not is_a(layer, Layer):
            raise ArgumentError(f"{type(self).__name__}: layer must be a layer. Received: {shown(layer)}")
        self.layer = layer

    @override
    def call(self, xp: Backend, x: Any, *, training: bool = False) -> Any:
        return self.layer(x, training=training)

    @override
    def compute_output_shape(self, input_shape: Shapes) -> Shapes:
        return self.layer.compute_output_shape(input_shape)
