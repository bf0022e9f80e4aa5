"""Optimizers: how parameters follow their gradients, under Keras's names and with its formulas."""

from __future__ import annotations

from layerkit.errors import ArgumentError
from layerkit.names import Names
from layerkit.optimizers.adam import Adam
from layerkit.optimizers.optimizer import Optimizer
from layerkit.optimizers.rmsprop import RMSprop
from layerkit.optimizers.sgd import SGD

NAMES = Names[Optimizer]("optimizer", (Adam, RMSprop, SGD), {"rmsprop": RMSprop, "sgd": SGD})


def get(identifier: str | Optimizer | type[Optimizer]) -> Optimizer:
    """Return an optimizer: by name (``"adam"``), from a class, or itself.

    Raises:
        UnknownNameError: no optimizer has this name.
        ArgumentError: it is none of these.
    """
    if isinstance(identifier, Optimizer):
        return identifier
    if isinstance(identifier, str):
        return NAMES.find(identifier)()
    if isinstance(identifier, type) and issubclass(identifier, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
        return identifier()
    raise ArgumentError(f"An optimizer must be a name or an Optimizer. Received: {identifier!r}")


__all__ = ["SGD", "Adam", "Optimizer", "RMSprop", "get"]
