"""Constraints on the sign of each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.constraints.constraint import Constraint
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class NonNeg(Constraint):
    """``max(x, 0)``."""

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        return xp.maximum(x, 0.0)
