"""Rescaling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.errors import ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override
from layerkit.xp.conversion import as_numbers

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Rescaling(Layer):
    """``y = scale x + offset``: ``Rescaling(1 / 255)`` brings bytes to [0, 1]; ``dx = scale dy``.

    Args:
        scale: a number, or an array that is broadcast to x.
        offset: the same.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, ...).

    Raises:
        ShapeError: `scale` or `offset` does not broadcast to x.
    """

    one_input = True

    supports_masking = True

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.scale, self.offset = scale, offset

    def _constant(self, xp: Backend, name: str, x: Array) -> Array:
        array = as_numbers(xp, getattr(self, name), f"{self.name}: {name}")
        shape = tuple(array.shape)
        row = x.shape[x.ndim - len(shape) :]
        if len(shape) > x.ndim or any(n not in (1, m) for n, m in zip(shape, row, strict=True)):
            raise ShapeError(
                f"{self.name}: {name} must broadcast to x. Received: {name} of shape {shape}, x of shape {x.shape}"
            )
        return xp.astype(array, x.dtype)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        scale = self._constant(xp, "scale", x)
        return x * scale + self._constant(xp, "offset", x), scale

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return dy * saved, {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape
