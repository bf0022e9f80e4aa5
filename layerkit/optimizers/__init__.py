"""Optimizers: how parameters follow their gradients, under Keras's names and with its formulas.

The learning rate may be one of `layerkit.optimizers.schedules`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.descriptions import serialize
from layerkit.names import Names, loaded_later
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
    from layerkit.optimizers.lbfgs import LBFGS
    from layerkit.optimizers.levenberg_marquardt import LevenbergMarquardt
    from layerkit.optimizers.lion import Lion
    from layerkit.optimizers.loss_scale_optimizer import LossScaleOptimizer
    from layerkit.optimizers.multi_optimizer import MultiOptimizer, OptimizerMap
    from layerkit.optimizers.muon import Muon
    from layerkit.optimizers.nadam import Nadam
    from layerkit.optimizers.schedule_free_adamw import ScheduleFreeAdamW

# Those that many trainings do without.
_LATER = {
    **{
        name.lower(): (name,)
        for name in ("Adadelta", "Adafactor", "Adagrad", "AdamW", "Adamax", "Ftrl", "LBFGS", "Lamb", "Lion")
    },
    **{
        "levenberg_marquardt": ("LevenbergMarquardt",),
        "muon": ("Muon",),
        "nadam": ("Nadam",),
        "schedule_free_adamw": ("ScheduleFreeAdamW",),
    },
}
# These take arguments, and so have no names that stand for them.
_OF_OTHERS = {"multi_optimizer": ("MultiOptimizer", "OptimizerMap"), "loss_scale_optimizer": ("LossScaleOptimizer",)}

_load, __dir__ = loaded_later(__name__, {**_LATER, **_OF_OTHERS})


def __getattr__(name: str) -> Any:
    return import_module(f"{__name__}.schedules") if name == "schedules" else _load(name)


_NAMES = [name for names in _LATER.values() for name in names]
NAMES = Names[Optimizer](
    Optimizer,
    (Adam, RMSprop, SGD),
    {"rmsprop": RMSprop, **{name.lower(): name for name in _NAMES}},
    accepted="a name or an Optimizer",
    later=_NAMES,
    nameless=[name for names in _OF_OTHERS.values() for name in names],
    load=_load,
    room=__name__,
)

get = NAMES.get
deserialize = NAMES.deserialize

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "LevenbergMarquardt",
    "Lion",
    "LossScaleOptimizer",
    "MultiOptimizer",
    "Muon",
    "Nadam",
    "Optimizer",
    "OptimizerMap",
    "RMSprop",
    "ScheduleFreeAdamW",
    "deserialize",
    "get",
    "schedules",
    "serialize",
]
