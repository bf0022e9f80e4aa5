"""layerkit: a Keras-like neural-network framework with a pluggable array backend."""

from typing import TYPE_CHECKING

from layerkit import (
    callbacks,
    constraints,
    data,
    dtype_policies,
    errors,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    utils,
)
from layerkit.dtype_policies import DTypePolicy
from layerkit.initializers import Initializer
from layerkit.layers import Input, Layer
from layerkit.losses import Loss
from layerkit.metrics import Metric
from layerkit.models import Model, Sequential, clone_model, load_model, model_from_json, resume
from layerkit.names import loaded_later
from layerkit.optimizers import Optimizer
from layerkit.regularizers import Regularizer
from layerkit.xp import Backend, Variable, backend, backend_names, use_backend

if TYPE_CHECKING:
    from layerkit import activations, config, mixed_precision
    from layerkit.models.comparison import compare_backends
    from layerkit.program import (
        differentiable,
        grad,
        hessian_vector_product,
        jacobian,
        register_derivative,
        value_and_grad,
    )

__getattr__, __dir__ = loaded_later(
    __name__,
    {
        "models.comparison": ("compare_backends",),
        "activations": ("activations",),
        "config": ("config",),
        "mixed_precision": ("mixed_precision",),
        "program": (
            *("differentiable", "grad", "hessian_vector_product", "jacobian", "register_derivative", "value_and_grad"),
        ),
    },
)
del TYPE_CHECKING, loaded_later

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "DTypePolicy",
    "Initializer",
    "Input",
    "Layer",
    "Loss",
    "Metric",
    "Model",
    "Optimizer",
    "Regularizer",
    "Sequential",
    "Variable",
    "activations",
    "backend",
    "backend_names",
    "callbacks",
    "clone_model",
    "compare_backends",
    "config",
    "constraints",
    "data",
    "differentiable",
    "dtype_policies",
    "errors",
    "grad",
    "hessian_vector_product",
    "initializers",
    "jacobian",
    "layers",
    "load_model",
    "losses",
    "metrics",
    "mixed_precision",
    "model_from_json",
    "models",
    "optimizers",
    "register_derivative",
    "regularizers",
    "resume",
    "use_backend",
    "utils",
    "value_and_grad",
]
