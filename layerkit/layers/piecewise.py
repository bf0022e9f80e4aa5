"""Activations made of straight lines and parabolas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_at_least, check_number
from layerkit.layers.activation_layer import ActivationLayer
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments
    from layerkit.xp.backend import Array, Backend


class Clipped(ActivationLayer):
    """Base of ``y = min(max(slope x + shift, low), high)``, whose derivative at the bounds is taken as 0."""

    slope: float = 1.0
    shift: float = 0.0
    low: float = 0.0
    high: float = 1.0

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        if self.slope != 1:
            x = x * self.slope
        y = xp.clip(x + self.shift if self.shift else x, self.low, self.high)
        return y, y

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        inside = (saved > self.low) & (saved < self.high)
        return xp.where(inside, dy * self.slope if self.slope != 1 else dy, 0.0)


class ReLU6(Clipped):
    """``y = min(max(x, 0), 6)`` (Krizhevsky, 2010)."""

    high = 6.0


class HardTanh(Clipped):
    """``y = min(max(x, -1), 1)`` (Collobert, 2004)."""

    low = -1.0


class SparseSigmoid(Clipped):
    """``y = min(max((x + 1) / 2, 0), 1)``: the derivative of `SparsePlus` (Blondel, Martins and Niculae, 2019)."""

    slope = 0.5
    shift = 0.5


class SparsePlus(ActivationLayer):
    """``y = 0`` for x ≤ -1, ``x`` for x ≥ 1, ``(x + 1)² / 4`` between (Blondel, Martins and Niculae, 2019)."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        root = 0.5 * xp.clip(x, -1.0, 1.0) + 0.5  # the derivative
        return xp.where(x >= 1.0, x, root * root), root

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * saved


class HardSiLU(ActivationLayer):
    """``y = x min(max(x + 3, 0), 6) / 6`` (Howard et al., ICCV 2019). Also called hard_swish."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        gate = xp.clip(x + 3.0, 0.0, 6.0) / 6.0
        return x * gate, (x, gate)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        x, gate = saved
        return dy * xp.where(xp.abs(x) < 3.0, x / 3.0 + 0.5, gate)


class Shrink(ActivationLayer):
    """Base of activations that are 0 for |x| ≤ `threshold`, and whose derivative elsewhere is 1."""

    def __init__(self, threshold: float = 0.5, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.threshold: float = check_at_least(type(self).__name__, 0, threshold=threshold)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return xp.where(xp.abs(saved) > self.threshold, dy, 0.0)


class HardShrink(Shrink):
    """``y = x`` for |x| > `threshold`, 0 elsewhere (Donoho and Johnstone, 1994)."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.where(xp.abs(x) > self.threshold, x, 0.0), x


class SoftShrink(Shrink):
    """``y = sign(x) max(|x| - threshold, 0)`` (Donoho, 1995)."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return x - xp.clip(x, -self.threshold, self.threshold), x


class Threshold(ActivationLayer):
    """``y = x`` for x > `threshold`, `default_value` elsewhere."""

    def __init__(self, threshold: float, default_value: float, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.threshold: float = check_number("Threshold", threshold=threshold)
        self.default_value: float = check_number("Threshold", default_value=default_value)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.where(x > self.threshold, x, float(self.default_value)), x

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return xp.where(saved > self.threshold, dy, 0.0)
