"""Regularizers: penalties on weights and outputs, under Keras's names and with its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.descriptions import serialize
from layerkit.names import Names
from layerkit.regularizers.norms import L1, L1L2, L2
from layerkit.regularizers.orthogonal import OrthogonalRegularizer
from layerkit.regularizers.regularizer import FunctionRegularizer, Regularizer

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = Names[Regularizer](
    Regularizer,
    (L1, L2, L1L2, OrthogonalRegularizer),
    {"l1l2": L1L2, "orthogonal": OrthogonalRegularizer},
    accepted="a name, a Regularizer, or a function f(x) or f(xp, x)",
    from_function=FunctionRegularizer,
    room=__name__,
)

deserialize = NAMES.deserialize


def get(identifier: str | Regularizer | Callable[..., Any] | None) -> Regularizer | None:
    """Return a regularizer: by name, from a class, from a function ``f(x)`` or ``f(xp, x)``, or itself; None is none.

    Raises:
        UnknownNameError: no regularizer has this name.
        ArgumentError: it is none of these.
    """
    return None if identifier is None else NAMES.get(identifier)


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer

__all__ = [
    "L1",
    "L1L2",
    "L2",
    "OrthogonalRegularizer",
    "Regularizer",
    "deserialize",
    "get",
    "l1",
    "l1_l2",
    "l2",
    "orthogonal_regularizer",
    "serialize",
]
