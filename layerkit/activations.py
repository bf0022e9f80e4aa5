"""Activations as functions of an array, under Keras's names: ``relu(x, max_value=6.0)``.

Each takes an array of any backend, or a list, and returns an array of the same backend. Each is also accepted wherever
an activation is asked for: ``Dense(8, activation=layerkit.activations.relu)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit import layers
from layerkit.descriptions import serialize
from layerkit.functions import as_float, function_of
from layerkit.layers.activations import deserialize, get
from layerkit.xp.registry import backend, backend_of

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


celu = _function(layers.CELU, "celu", alpha=1.0)
elu = _function(layers.ELU, "elu", alpha=1.0)
exponential = _function(layers.Exponential, "exponential")
gelu = _function(layers.GELU, "gelu", approximate=False)
glu = _function(layers.GLU, "glu", axis=-1)
hard_shrink = _function(layers.HardShrink, "hard_shrink", threshold=0.5)
hard_sigmoid = _function(layers.HardSigmoid, "hard_sigmoid")
hard_silu = _function(layers.HardSiLU, "hard_silu")
hard_swish = hard_silu
hard_tanh = _function(layers.HardTanh, "hard_tanh")
leaky_relu = _function(layers.LeakyReLU, "leaky_relu", negative_slope=0.2)
linear = _function(layers.Linear, "linear")
log_sigmoid = _function(layers.LogSigmoid, "log_sigmoid")
log_softmax = _function(layers.LogSoftmax, "log_softmax", axis=-1)
mish = _function(layers.Mish, "mish")
relu = _function(layers.ReLU, "relu", negative_slope=0.0, max_value=None, threshold=0.0)
relu6 = _function(layers.ReLU6, "relu6")
selu = _function(layers.SELU, "selu")
sigmoid = _function(layers.Sigmoid, "sigmoid")
silu = _function(layers.SiLU, "silu")
soft_shrink = _function(layers.SoftShrink, "soft_shrink", threshold=0.5)
softmax = _function(layers.Softmax, "softmax", axis=-1)
softplus = _function(layers.Softplus, "softplus")
softsign = _function(layers.Softsign, "softsign")
sparse_plus = _function(layers.SparsePlus, "sparse_plus")
sparse_sigmoid = _function(layers.SparseSigmoid, "sparse_sigmoid")
sparsemax = _function(layers.Sparsemax, "sparsemax", axis=-1)
squareplus = _function(layers.Squareplus, "squareplus", b=4)
swish = silu
tanh = _function(layers.Tanh, "tanh")
tanh_shrink = _function(layers.TanhShrink, "tanh_shrink")


def threshold(x: Any, threshold: float, default_value: float) -> Array:
    """``y = x`` for x > `threshold`, `default_value` elsewhere."""
    xp = backend_of(x) or backend()
    with xp.on_device():
        return _run(layers.Threshold(threshold, default_value), xp, x)


__all__ = [
    "celu",
    "deserialize",
    "elu",
    "exponential",
    "gelu",
    "get",
    "glu",
    "hard_shrink",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "serialize",
    "sigmoid",
    "silu",
    "soft_shrink",
    "softmax",
    "softplus",
    "softsign",
    "sparse_plus",
    "sparse_sigmoid",
    "sparsemax",
    "squareplus",
    "swish",
    "tanh",
    "tanh_shrink",
    "threshold",
]
