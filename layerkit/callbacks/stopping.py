"""Callbacks that end training."""

from __future__ import annotations

import math
from typing import Any, Literal

from layerkit.callbacks.callback import Callback, Logs
from layerkit.callbacks.improvement import improves, monitored, rises
from layerkit.checks import check_count, check_number
from layerkit.overriding import override
from layerkit.screen import say


class EarlyStopping(Callback):
    """Stop when a monitored number has not improved for `patience` epochs.

    An epoch improves on the best one if its number is better by more than `min_delta`. NaN is never the best.
    Source: Prechelt, "Early stopping: but when?", in *Neural Networks: Tricks of the Trade*, 1998.

    Args:
        monitor: its name in the logs.
        min_delta: a smaller change does not count as an improvement.
        patience: epochs without improvement that are waited for.
        verbose: 1 says when it stops and what it restores.
        mode: "min", "max", or "auto": by the name.
        baseline: waiting goes on until the number improves on it, too.
        restore_best_weights: whether the weights of the best epoch are put back at the end, stopped early or not.
        start_from_epoch: the first epoch that is looked at, counted from 0.

    Attributes:
        best: the best number; None before the first.
        best_epoch: its epoch, counted from 0.
        stopped_epoch: the epoch after which training was stopped; 0 if it was not.
        wait: epochs since the last improvement.

    Raises:
        ArgumentError: `mode` is none of these, or "auto" for a name that does not tell; another argument is no number
            of its range.
    """

    resumable_from_file = True

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0,
        patience: int = 0,
        verbose: int = 0,
        mode: Literal["auto", "min", "max"] = "auto",
        baseline: float | None = None,
        restore_best_weights: bool = False,
        start_from_epoch: int = 0,
    ) -> None:
        self._rising = rises("EarlyStopping", monitor, mode)
        self.monitor = monitor
        self.min_delta = abs(check_number("EarlyStopping", min_delta=min_delta))
        self.patience = check_count("EarlyStopping", 0, patience=patience)
        self.verbose = verbose
        self.mode = mode
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = check_count("EarlyStopping", 0, start_from_epoch=start_from_epoch)
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def _improves(self, value: float, reference: float | None) -> bool:
        return improves(value, reference, rising=self._rising, min_delta=self.min_delta)

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = monitored("EarlyStopping", logs, self.monitor, known=self.best is not None)
        if value is None or epoch < self.start_from_epoch:
            return
        self.wait += 1
        if self._improves(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._improves(value, self.baseline):
                self.wait = 0
        elif self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            say(f"Epoch {self.stopped_epoch + 1}: early stopping")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                say(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.")
            self.model.set_weights(self.best_weights)


class TerminateOnNaN(Callback):
    """Stop after the first batch whose mean loss is NaN or infinite.

    The loss is read from the device after every batch.

    Args:
        raise_error: whether a RuntimeError is raised instead.
    """

    resumable_from_file = True

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    @override
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: the loss must be finite. Received: loss={loss} at batch {batch}.")
        say(f"Batch {batch}: Invalid loss, terminating training")
        self.model.stop_training = True
