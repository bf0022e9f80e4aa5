"""Initializers: the first values of weights, under Keras's names and with its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError
from layerkit.initializers.constants import Constant, Identity, Ones, Zeros
from layerkit.initializers.distributions import RandomNormal, RandomUniform, TruncatedNormal
from layerkit.initializers.initializer import FunctionInitializer, Initializer
from layerkit.initializers.scaling import (
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Orthogonal,
    VarianceScaling,
)
from layerkit.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = Names[Initializer](
    "initializer",
    (
        *(Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones),
        *(Orthogonal, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling, Zeros),
    ),
    {"zero": Zeros, "one": Ones, "normal": RandomNormal, "uniform": RandomUniform},
)


def get(identifier: str | Initializer | type[Initializer] | Callable[..., Any]) -> Initializer:
    """Return an initializer: by name (``"glorot_uniform"``), from a class, from a function, or itself.

    Raises:
        UnknownNameError: no initializer has this name.
        ArgumentError: it is none of these.
    """
    if isinstance(identifier, Initializer):
        return identifier
    if isinstance(identifier, str):
        return NAMES.find(identifier)()
    if isinstance(identifier, type) and issubclass(identifier, Initializer):
        return identifier()
    if callable(identifier):
        return FunctionInitializer(identifier)
    raise ArgumentError(
        f"An initializer must be a name, an Initializer or a function f(shape, dtype). Received: {identifier!r}"
    )


__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "get",
]
