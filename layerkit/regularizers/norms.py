"""Penalties on the size of each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.checks import check_at_least
from layerkit.overriding import override
from layerkit.regularizers.regularizer import Regularizer

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class L1L2(Regularizer):
    """``l1 Σ|x| + l2 Σx²``; the gradient is ``l1 sign(x) + 2 l2 x`` (the elastic net of Zou and Hastie, 2005).

    Args:
        l1: the factor of the sum of magnitudes, at least 0.
        l2: the factor of the sum of squares, at least 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1: float = check_at_least(type(self).__name__, 0, l1=l1)
        self.l2: float = check_at_least(type(self).__name__, 0, l2=l2)

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        if not self.l1:
            return self.l2 * xp.sum(x * x)
        penalty = self.l1 * xp.sum(xp.abs(x))
        return penalty + self.l2 * xp.sum(x * x) if self.l2 else penalty

    @override
    def gradient(self, xp: Backend, x: Array) -> Array:
        if not self.l1:
            return (2.0 * self.l2) * x
        gradient = self.l1 * xp.sign(x)
        return gradient + (2.0 * self.l2) * x if self.l2 else gradient

    @override
    def curvature(self) -> float | None:
        return None if self.l1 else 2.0 * self.l2


class L1(L1L2):
    """``l1 Σ|x|``: drives small weights to 0 (Tibshirani, 1996)."""

    def __init__(self, l1: float = 0.01) -> None:
        super().__init__(l1=l1)


class L2(L1L2):
    """``l2 Σx²``: keeps weights small (Hoerl and Kennard, 1970). The gradient is ``2 l2 x``."""

    def __init__(self, l2: float = 0.01) -> None:
        super().__init__(l2=l2)
