"""Callbacks: what is told of every moment of training, under Keras's names."""

from layerkit.callbacks.backup import BackupAndRestore
from layerkit.callbacks.callback import Callback
from layerkit.callbacks.checkpoint import ModelCheckpoint
from layerkit.callbacks.functions import LambdaCallback
from layerkit.callbacks.history import History
from layerkit.callbacks.stopping import EarlyStopping, TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "Callback",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "ModelCheckpoint",
    "TerminateOnNaN",
]
