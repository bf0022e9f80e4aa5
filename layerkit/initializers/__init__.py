"""Initializers: the first values of weights, under Keras's names and with its formulas."""

from __future__ import annotations

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

NAMES = Names[Initializer](
    Initializer,
    (
        *(Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones),
        *(Orthogonal, RandomNormal, RandomUniform, TruncatedNormal, VarianceScaling, Zeros),
    ),
    {"zero": Zeros, "one": Ones, "normal": RandomNormal, "uniform": RandomUniform},
    accepted="a name, an Initializer, or a function f(shape, dtype)",
    from_function=FunctionInitializer,
)


get = NAMES.get

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
