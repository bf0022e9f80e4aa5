"""Optimizers: how parameters follow their gradients, under Keras's names and with its formulas."""

from __future__ import annotations

from layerkit.names import Names
from layerkit.optimizers.adam import Adam
from layerkit.optimizers.optimizer import Optimizer
from layerkit.optimizers.rmsprop import RMSprop
from layerkit.optimizers.sgd import SGD

NAMES = Names[Optimizer](Optimizer, (Adam, RMSprop, SGD), {"rmsprop": RMSprop}, accepted="a name or an Optimizer")

get = NAMES.get

__all__ = ["SGD", "Adam", "Optimizer", "RMSprop", "get"]
