"""Layers: what a model is made of."""

from layerkit.layers.activations import (
    ELU,
    GELU,
    SELU,
    Activation,
    Exponential,
    HardSigmoid,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import Dropout
from layerkit.layers.input import Input, InputLayer
from layerkit.layers.layer import Layer
from layerkit.layers.reshaping import Flatten, Reshape

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Dense",
    "Dropout",
    "Exponential",
    "Flatten",
    "HardSigmoid",
    "Input",
    "InputLayer",
    "Layer",
    "LeakyReLU",
    "Linear",
    "LogSoftmax",
    "ReLU",
    "Reshape",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
]
