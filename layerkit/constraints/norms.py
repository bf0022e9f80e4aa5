"""Constraints on the lengths of vectors within a weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import check_at_least, check_axis, check_fraction
from layerkit.constraints.constraint import Constraint
from layerkit.errors import ArgumentError
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

# Keras's: added to the length that is divided by.
EPSILON = 1e-7

Axis = int | tuple[int, ...] | list[int]


class NormConstraint(Constraint):
    """Base of constraints on the Euclidean length of each vector along `axis`.

    With axis 0, the vectors of a Dense kernel are the weights into each unit.
    """

    axis: Any = 0

    def desired(self, xp: Backend, norm: Array) -> Array | float:
        """Return the lengths that vectors of these lengths are given."""
        raise ArgumentError(
            f"{type(self).__name__}: a constraint on lengths must define desired(self, xp, norm). Received: none."
        )

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        norm = xp.sqrt(xp.sum(x * x, axis=self.axis, keepdims=True))
        return x * (self.desired(xp, norm) / (EPSILON + norm))


class MaxNorm(NormConstraint):
    """Shortens vectors along `axis` that are longer than `max_value` (Srivastava et al., JMLR 15, 2014, section 5.1).

    Args:
        max_value: the greatest length, at least 0.
        axis: the axis, or axes, of a vector.
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value: float = check_at_least("MaxNorm", 0, max_value=max_value)
        self.axis = check_axis("MaxNorm", axis=axis)

    @override
    def desired(self, xp: Backend, norm: Array) -> Array:
        return xp.minimum(norm, float(self.max_value))


class MinMaxNorm(NormConstraint):
    """Brings the length n of vectors along `axis` to ``rate clip(n, min_value, max_value) + (1 - rate) n``.

    Args:
        min_value: the least length, at least 0.
        max_value: the greatest length, not below `min_value`.
        rate: from 0 to 1, which holds the bounds strictly.
        axis: the axis, or axes, of a vector.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Axis = 0) -> None:
        self.min_value: float = check_at_least("MinMaxNorm", 0, min_value=min_value)
        self.max_value: float = check_at_least("MinMaxNorm", min_value, max_value=max_value)
        self.rate: float = check_fraction("MinMaxNorm", rate=rate)
        self.axis = check_axis("MinMaxNorm", axis=axis)

    @override
    def desired(self, xp: Backend, norm: Array) -> Array:
        return self.rate * xp.clip(norm, float(self.min_value), float(self.max_value)) + (1.0 - self.rate) * norm


class UnitNorm(NormConstraint):
    """Gives vectors along `axis` the length 1.

    Args:
        axis: the axis, or axes, of a vector.
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = check_axis("UnitNorm", axis=axis)

    @override
    def desired(self, xp: Backend, norm: Array) -> float:
        return 1.0
