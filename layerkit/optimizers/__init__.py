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
    from layerkit.optimizers.adafactor import Adafactor
    from layerkit.optimizers.adagrad import Adagrad
    from layerkit.optimizers.adamax import Adamax
    from layerkit.optimizers.adamw import AdamW
    from layerkit.optimizers.ftrl import Ftrl
    from layerkit.optimizers.lamb import Lamb
    from layerkit.optimizers.lion import Lion
    from layerkit.optimizers.multi_optimizer import MultiOptimizer, OptimizerMap
    from layerkit.optimizers.muon import Muon
    from layerkit.optimizers.nadam import Nadam
    from layerkit.optimizers.schedule_free_adamw import ScheduleFreeAdamW

# Those that many trainings do without are loaded when one of their names is first asked for.
_LATER = {
    **{name: name.lower() for name in ("Adadelta", "Adafactor", "Adagrad", "AdamW", "Adamax", "Ftrl", "Lamb", "Lion")},
    **{"Muon": "muon", "Nadam": "nadam", "ScheduleFreeAdamW": "schedule_free_adamw"},
}


# These take arguments, and so have no names that stand for them.
_OF_SEVERAL = dict.fromkeys(("MultiOptimizer", "OptimizerMap"), "multi_optimizer")
_MODULES = {**_LATER, **_OF_SEVERAL}


def __getattr__(name: str) -> Any:
    if name == "schedules":
        return import_module(f"{__name__}.schedules")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
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
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "ScheduleFreeAdamW",
    "get",
    "schedules",
]
