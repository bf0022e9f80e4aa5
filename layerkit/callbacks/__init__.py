"""Callbacks: what is told of every moment of training, under Keras's names."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.callbacks.backup import BackupAndRestore
from layerkit.callbacks.callback import Callback, CallbackList
from layerkit.callbacks.history import History

if TYPE_CHECKING:
    from layerkit.callbacks.averages import SwapEMAWeights
    from layerkit.callbacks.checkpoint import ModelCheckpoint
    from layerkit.callbacks.csv_logger import CSVLogger
    from layerkit.callbacks.functions import LambdaCallback
    from layerkit.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
    from layerkit.callbacks.remote import RemoteMonitor
    from layerkit.callbacks.stopping import EarlyStopping, TerminateOnNaN

# Those that `fit` does without are loaded when one of their names is first asked for.
_LATER = {
    "CSVLogger": "csv_logger",
    "EarlyStopping": "stopping",
    "LambdaCallback": "functions",
    "LearningRateScheduler": "learning_rate",
    "ModelCheckpoint": "checkpoint",
    "ReduceLROnPlateau": "learning_rate",
    "RemoteMonitor": "remote",
    "SwapEMAWeights": "averages",
    "TerminateOnNaN": "stopping",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TerminateOnNaN",
]
