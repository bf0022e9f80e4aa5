"""The record of training."""

from __future__ import annotations

from layerkit.callbacks.callback import Callback, Logs
from layerkit.overriding import override


class History(Callback):
    """The loss and metrics of each epoch; `fit` returns one, and keeps it as ``model.history``.

    It is told of an epoch after all other callbacks, so that what they add to its logs is recorded too.

    Attributes:
        history: lists by name: ``history["loss"][0]`` is the mean loss of the first epoch.
        epoch: the numbers of the epochs, from 0.
    """

    resumable_from_file = True

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []
        self.history = {}

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        history = self.history
        for name, value in (logs or {}).items():
            if name not in history:
                history[name] = []
            history[name].append(value)
        if self.model.history is not self:  # a callback has called fit
            self.model.history = self
