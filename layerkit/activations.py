"""Activations as functions of an array, under Keras's names: ``relu(x, max_value=6.0)``.

Each takes an array of any backend, or a list, and returns an array of the same backend. Each is also accepted wherever
an activation is asked for: ``Dense(8, activation=layerkit.activations.relu)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.functions import as_float, function_of
from layerkit.layers import activations as layers
from layerkit.layers.activations import get

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.layers.layer import Layer
    from layerkit.xp.backend import Array, Backend


def _run(layer: Layer, xp: Backend, x: Any) -> Array:
    x = as_float(xp, x)
    layer.compute_output_shape(tuple(x.shape))
    return layer.call(xp, x)


def _function(cls: type[Layer], name: str, **defaults: Any) -> Callable[..., Any]:
    return function_of(cls, name, ("x",), _run, **defaults)


elu = _function(layers.ELU, "elu", alpha=1.0)
exponential = _function(layers.Exponential, "exponential")
gelu = _function(layers.GELU, "gelu", approximate=False)
hard_sigmoid = _function(layers.HardSigmoid, "hard_sigmoid")
leaky_relu = _function(layers.LeakyReLU, "leaky_relu", negative_slope=0.2)
linear = _function(layers.Linear, "linear")
log_softmax = _function(layers.LogSoftmax, "log_softmax", axis=-1)
relu = _function(layers.ReLU, "relu", negative_slope=0.0, max_value=None, threshold=0.0)
selu = _function(layers.SELU, "selu")
sigmoid = _function(layers.Sigmoid, "sigmoid")
silu = _function(layers.SiLU, "silu")
softmax = _function(layers.Softmax, "softmax", axis=-1)
softplus = _function(layers.Softplus, "softplus")
softsign = _function(layers.Softsign, "softsign")
swish = silu
tanh = _function(layers.Tanh, "tanh")

__all__ = [
    "elu",
    "exponential",
    "gelu",
    "get",
    "hard_sigmoid",
    "leaky_relu",
    "linear",
    "log_softmax",
    "relu",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]
