"""Smooth activations that are used less often than those of `layerkit.layers.activations`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_one_axis, check_positive
from layerkit.errors import ShapeError
from layerkit.layers.activation_layer import ActivationLayer
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments, Shape
    from layerkit.xp.backend import Array, Backend


class CELU(ActivationLayer):
    """``y = x`` for x > 0, ``alpha (exp(x / alpha) - 1)`` below (Barron, 2017)."""

    def __init__(self, alpha: float = 1.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.alpha: float = check_positive("CELU", alpha=alpha)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        below = xp.expm1(xp.minimum(x, 0.0) / self.alpha)
        return xp.where(x > 0, x, below * self.alpha), below

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * (saved + 1.0)  # saved is 0 above


class LogSigmoid(ActivationLayer):
    """``y = log(1 / (1 + exp(-x)))``; ``dx = dy sigmoid(-x)``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return -xp.softplus(-x), x

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * xp.sigmoid(-saved)


class Mish(ActivationLayer):
    """``y = x tanh(log(1 + exp(x)))`` (Misra, 2019)."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        gate = xp.tanh(xp.softplus(x))
        return x * gate, (x, gate)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        x, gate = saved
        return dy * (gate + x * xp.sigmoid(x) * (1.0 - gate * gate))


class Squareplus(ActivationLayer):
    """``y = (x + √(x² + b)) / 2``; ``dx = dy y / √(x² + b)`` (Barron, 2021).

    Args:
        b: how round the bend is, above 0.
        kwargs: what every `Layer` takes.
    """

    def __init__(self, b: float = 4, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.b: float = check_positive("Squareplus", b=b)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        root = xp.hypot(x, xp.full_like(x, math.sqrt(self.b)))
        # x + root has no correct digit left for x << 0; b / (root - x) is the same number.
        y = 0.5 * xp.where(x > 0, x + root, self.b / (root + xp.abs(x)))
        return y, (y, root)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        y, root = saved
        return dy * (y / root)


class TanhShrink(ActivationLayer):
    """``y = x - tanh(x)``; ``dx = dy tanh(x)²``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        tanh = xp.tanh(x)
        return x - tanh, tanh

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * (saved * saved)


class GLU(ActivationLayer):
    """``y = a sigmoid(b)``, where a and b are the two halves of x along `axis` (Dauphin, Fan, Auli and Grangier, 2017).

    Args:
        axis: the axis that is halved.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (..., 2 n, ...). y: (..., n, ...).

    Raises:
        ShapeError: x has no such axis, or one of odd length.
    """

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = check_one_axis("GLU", axis=axis)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        half = x.shape[self.axis] // 2
        before = (slice(None),) * (self.axis % x.ndim)
        value, gate = x[(*before, slice(half), ...)], xp.sigmoid(x[(*before, slice(half, None), ...)])
        return value * gate, (value, gate)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        value, gate = saved
        return xp.concat([dy * gate, dy * value * gate * (1.0 - gate)], axis=self.axis)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rank = len(input_shape)
        length = input_shape[self.axis] if -rank <= self.axis < rank else 1
        if length is not None and length % 2:
            raise ShapeError(
                f"{self.name}: x must have the axis {self.axis} of even length. Received: shape {input_shape}"
            )
        shape = list(input_shape)
        shape[self.axis] = None if length is None else length // 2
        return tuple(shape)
