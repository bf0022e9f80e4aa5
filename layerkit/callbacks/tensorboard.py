"""Epochs for TensorBoard."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import is_a, shown
from layerkit.errors import ArgumentError, BackendUnavailableError
from layerkit.overriding import override

_WRITERS = ("tensorboardX", "torch.utils.tensorboard")


class TensorBoard(Callback):
    """Write the loss and metrics of each epoch to files that TensorBoard shows: ``tensorboard --logdir logs``.

    As Keras does, those of training go to ``<log_dir>/train`` and those of validation to ``<log_dir>/validation``, each
    as ``epoch_<name>``, so that both stand in one diagram; the learning rate is among the former. It takes the package
    tensorboardX, or PyTorch with tensorboard.

    Args:
        log_dir: the folder; it is made.

    Raises:
        ArgumentError: `log_dir` is no path.
        BackendUnavailableError: neither package is there, when training begins.
    """

    def __init__(self, log_dir: str | os.PathLike[str] = "logs") -> None:
        if not is_a(log_dir, str, os.PathLike):
            raise ArgumentError(f"TensorBoard: log_dir must be text or a path. Received: log_dir={shown(log_dir)}")
        self.log_dir = os.fspath(log_dir)
        self._writer: Any = None
        self._open: dict[str, Any] = {}

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()
        self._writer = _writer()

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        rates = getattr(self.model.optimizer, "optimizers", None)
        found: dict[str, Any] = dict(logs or {})
        if rates is None:
            found.setdefault("learning_rate", self.model.optimizer.learning_rate)
        for name, value in found.items():
            if getattr(value, "ndim", 0) or is_a(value, str):
                continue  # no number
            part = "validation" if name.startswith("val_") else "train"
            if part not in self._open:
                self._open[part] = self._writer(os.path.join(self.log_dir, part))  # noqa: PTH118 - slow to load
            self._open[part].add_scalar(f"epoch_{name.removeprefix('val_')}", float(value), epoch)
        for writer in self._open.values():
            writer.flush()

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        self._close()

    def _close(self) -> None:
        for writer in self._open.values():
            writer.close()
        self._open = {}


def _writer() -> Any:
    for name in _WRITERS:
        try:
            return import_module(name).SummaryWriter
        except ImportError:
            continue
    raise BackendUnavailableError(
        "TensorBoard: a package that writes its files must be installed. Received: neither tensorboardX nor PyTorch "
        'with tensorboard. Run: pip install "layerkit[tensorboard]".'
    )
