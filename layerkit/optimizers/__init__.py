"""Optimizers: how parameters follow their gradients, under Keras's names and with its formulas.

The learning rate may be one of `layerkit.optimizers.schedules`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.names import Names
from layerkit.optimizers.adam import Adam
from layerkit.optimizers.optimizer import Optimizer
from layerkit.optimizers.rmsprop import RMSprop
from layerkit.optimizers.sgd import SGD

if TYPE_CHECKING:
    from layerkit.optimizers import schedules
    from layerkit.optimizers.adadelta import Adadelta
    from layerkit.optimizers.adagrad import Adagrad
    from layerkit.optimizers.adamax import Adamax
    from layerkit.optimizers.adamw import AdamW
    from layerkit.optimizers.ftrl import Ftrl
    from layerkit.optimizers.lion import Lion
    from layerkit.optimizers.nadam import Nadam

# Those that many trainings do without are loaded when one of their names is first asked for.
_LATER = ("Adadelta", "Adagrad", "AdamW", "Adamax", "Ftrl", "Lion", "Nadam")


def __getattr__(name: str) -> Any:
    if name == "schedules":
        return import_module(f"{__name__}.schedules")
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{name.lower()}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


NAMES = Names[Optimizer](
    Optimizer,
    (Adam, RMSprop, SGD),
    {"rmsprop": RMSprop},
    accepted="a name or an Optimizer",
    later=dict.fromkeys(_LATER, __getattr__),
)

get = NAMES.get

__all__ = [
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lion",
    "Nadam",
    "Optimizer",
    "RMSprop",
    "get",
    "schedules",
]
