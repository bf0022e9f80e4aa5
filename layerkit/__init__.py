"""layerkit: a Keras-like neural-network framework with a pluggable array backend."""

from layerkit import activations, callbacks, errors, initializers, layers, losses, metrics, models, optimizers
from layerkit.layers import Input, Layer
from layerkit.models import Model, Sequential
from layerkit.xp import Backend, Variable, backend, backend_names, use_backend

__version__ = "0.1.0"

__all__ = [
    "Backend",
    "Input",
    "Layer",
    "Model",
    "Sequential",
    "Variable",
    "activations",
    "backend",
    "backend_names",
    "callbacks",
    "errors",
    "initializers",
    "layers",
    "losses",
    "metrics",
    "models",
    "optimizers",
    "use_backend",
]
