"""Constraints on the sign of each element."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from layerkit.constraints.constraint import Constraint

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class NonNeg(Constraint):
    """``max(x, 0)``."""

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        return xp.maximum(x, 0.0)
