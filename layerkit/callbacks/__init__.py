"""Callbacks: what is told of every moment of training, under Keras's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.callbacks.backup import BackupAndRestore
from layerkit.callbacks.callback import Callback, CallbackList
from layerkit.callbacks.history import History
from layerkit.names import loaded_later

if TYPE_CHECKING:
    from layerkit.callbacks.averages import SwapEMAWeights
    from layerkit.callbacks.checkpoint import ModelCheckpoint
    from layerkit.callbacks.csv_logger import CSVLogger
    from layerkit.callbacks.functions import LambdaCallback
    from layerkit.callbacks.learning_rate import LearningRateScheduler, ReduceLROnPlateau
    from layerkit.callbacks.live_plot import LivePlot
    from layerkit.callbacks.norms import NormLogger
    from layerkit.callbacks.progbar import ProgbarLogger
    from layerkit.callbacks.remote import RemoteMonitor
    from layerkit.callbacks.stopping import EarlyStopping, TerminateOnNaN
    from layerkit.callbacks.tensorboard import TensorBoard

# Those that `fit` does without.
__getattr__, __dir__ = loaded_later(
    __name__,
    {
        "averages": ("SwapEMAWeights",),
        "checkpoint": ("ModelCheckpoint",),
        "csv_logger": ("CSVLogger",),
        "functions": ("LambdaCallback",),
        "learning_rate": ("LearningRateScheduler", "ReduceLROnPlateau"),
        "live_plot": ("LivePlot",),
        "norms": ("NormLogger",),
        "progbar": ("ProgbarLogger",),
        "remote": ("RemoteMonitor",),
        "stopping": ("EarlyStopping", "TerminateOnNaN"),
        "tensorboard": ("TensorBoard",),
    },
)

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "LivePlot",
    "ModelCheckpoint",
    "NormLogger",
    "ProgbarLogger",
    "ReduceLROnPlateau",
    "RemoteMonitor",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
