"""Constraints: what weights must fulfil after each update, under Keras's names and with its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.constraints.constraint import Constraint, FunctionConstraint
from layerkit.constraints.norms import MaxNorm, MinMaxNorm, UnitNorm
from layerkit.constraints.signs import NonNeg
from layerkit.descriptions import serialize
from layerkit.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = Names[Constraint](
    Constraint,
    (MaxNorm, MinMaxNorm, NonNeg, UnitNorm),
    accepted="a name, a Constraint, or a function f(x) or f(xp, x)",
    from_function=FunctionConstraint,
    room=__name__,
)

deserialize = NAMES.deserialize


def get(identifier: str | Constraint | Callable[..., Any] | None) -> Constraint | None:
    """Return a constraint: by name, from a class, from a function ``f(x)`` or ``f(xp, x)``, or itself; None is none.

    Raises:
        UnknownNameError: no constraint has this name.
        ArgumentError: it is none of these.
    """
    return None if identifier is None else NAMES.get(identifier)


max_norm = MaxNorm
min_max_norm = MinMaxNorm
non_neg = NonNeg
unit_norm = UnitNorm

__all__ = [
    "Constraint",
    "MaxNorm",
    "MinMaxNorm",
    "NonNeg",
    "UnitNorm",
    "deserialize",
    "get",
    "max_norm",
    "min_max_norm",
    "non_neg",
    "serialize",
    "unit_norm",
]
