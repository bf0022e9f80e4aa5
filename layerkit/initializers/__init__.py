"""Initializers: the first values of weights, under Keras's names and with its formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.descriptions import serialize
from layerkit.initializers.constants import Constant, Identity, Ones, Zeros
from layerkit.initializers.distributions import RandomNormal, RandomUniform, TruncatedNormal
from layerkit.initializers.fourier import STFT
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
    Initializer,
    (
        *(Constant, GlorotNormal, GlorotUniform, HeNormal, HeUniform, Identity, LecunNormal, LecunUniform, Ones),
        *(Orthogonal, RandomNormal, RandomUniform, STFT, TruncatedNormal, VarianceScaling, Zeros),
    ),
    {
        **{"zero": Zeros, "one": Ones, "normal": RandomNormal, "uniform": RandomUniform, "stft": STFT},
        **{"IdentityInitializer": Identity, "OrthogonalInitializer": Orthogonal, "STFTInitializer": STFT},
    },
    accepted="a name, an Initializer, a function f(shape, dtype), or an array",
    from_function=FunctionInitializer,
    room=__name__,
)


def get(identifier: str | Initializer | Callable[..., Any] | Any) -> Initializer | None:
    """Return an initializer: by name, from a class, a function ``f(shape, dtype)``, or an array; or itself.

    None is none: `Layer.add_weight` then takes its default.

    Raises:
        UnknownNameError: no initializer has this name.
        ArgumentError: it is none of these.
    """
    if identifier is None:
        return None
    return Constant(identifier) if getattr(identifier, "shape", None) else NAMES.get(identifier)


deserialize = NAMES.deserialize

# Keras's further names.
IdentityInitializer = identity = Identity
OrthogonalInitializer = orthogonal = Orthogonal
STFTInitializer = stft = STFT
constant = Constant
glorot_normal = GlorotNormal
glorot_uniform = GlorotUniform
he_normal = HeNormal
he_uniform = HeUniform
lecun_normal = LecunNormal
lecun_uniform = LecunUniform
ones = Ones
random_normal = RandomNormal
random_uniform = RandomUniform
truncated_normal = TruncatedNormal
variance_scaling = VarianceScaling
zeros = Zeros

__all__ = [
    "STFT",
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "IdentityInitializer",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "OrthogonalInitializer",
    "RandomNormal",
    "RandomUniform",
    "STFTInitializer",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "constant",
    "deserialize",
    "get",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_uniform",
    "identity",
    "lecun_normal",
    "lecun_uniform",
    "ones",
    "orthogonal",
    "random_normal",
    "random_uniform",
    "serialize",
    "stft",
    "truncated_normal",
    "variance_scaling",
    "zeros",
]
