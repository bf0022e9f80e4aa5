"""Callbacks that end training."""

from __future__ import annotations

import math
import sys
import warnings
from typing import Any, Literal

from typing_extensions import override

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_count, check_number
from layerkit.errors import ArgumentError

# Parts of the names of metrics of which more is better; of a loss, less is.
_RISING = ("acc", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "cosine")


def _more_is_better(monitor: str) -> bool:
    return "loss" not in monitor and any(part in monitor.lower() for part in _RISING)


class EarlyStopping(Callback):
    """Stop when a monitored number has not improved for `patience` epochs (Prechelt, 1998).

    Args:
        monitor: its name in the logs.
        min_delta: a smaller change does not count as an improvement.
        patience: epochs without improvement that are waited for.
        verbose: 1 says when it stops and what it restores.
        mode: "min", "max", or "auto": by the name.
        baseline: the number must improve on it.
        restore_best_weights: whether the weights of the best epoch are put back at the end.
        start_from_epoch: the first epoch that is looked at.

    Raises:
        ArgumentError: `mode` is none of these, or `patience` is below 0.
    """

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
        if mode not in ("auto", "min", "max"):
            raise ArgumentError(f"EarlyStopping: mode must be 'auto', 'min' or 'max'. Received: mode={mode!r}")
        self.monitor = monitor
        self.min_delta = abs(check_number("EarlyStopping", min_delta=min_delta))
        self.patience = check_count("EarlyStopping", 0, patience=patience)
        self.verbose = verbose
        self.mode = mode
        self.baseline = baseline
        self.restore_best_weights = restore_best_weights
        self.start_from_epoch = start_from_epoch
        self._reset()

    def _reset(self) -> None:
        self.wait = 0
        self.stopped_epoch = 0
        self.best: float | None = None
        self.best_epoch = 0
        self.best_weights: list[Any] | None = None

    def _improves(self, value: float, reference: float | None) -> bool:
        if reference is None:
            return not math.isnan(value)
        rising = self.mode == "max" or (self.mode == "auto" and _more_is_better(self.monitor))
        return value > reference + self.min_delta if rising else value < reference - self.min_delta

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        value = (logs or {}).get(self.monitor)
        if value is None:
            warnings.warn(
                f"EarlyStopping: monitor must be among the logs. Received: monitor={self.monitor!r}, "
                f"logs of {', '.join(logs or ())}. Give fit validation data for names that begin with 'val_'.",
                stacklevel=2,
            )
            return
        if epoch < self.start_from_epoch:
            return
        if self.restore_best_weights and self.best_weights is None:
            self.best_weights, self.best_epoch = self.model.get_weights(), epoch
        self.wait += 1
        if self._improves(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.restore_best_weights:
                self.best_weights = self.model.get_weights()
            if self.baseline is None or self._improves(value, self.baseline):
                self.wait = 0
            return
        if self.wait >= self.patience and epoch > 0:
            self.stopped_epoch = epoch
            self.model.stop_training = True

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        if self.stopped_epoch > 0 and self.verbose > 0:
            sys.stdout.write(f"Epoch {self.stopped_epoch + 1}: early stopping\n")
        if self.restore_best_weights and self.best_weights is not None:
            if self.verbose > 0:
                sys.stdout.write(f"Restoring model weights from the end of the best epoch: {self.best_epoch + 1}.\n")
            self.model.set_weights(self.best_weights)


class TerminateOnNaN(Callback):
    """Stop after the first batch whose mean loss is NaN or infinite.

    The loss is read from the device after every batch.

    Args:
        raise_error: whether a RuntimeError is raised instead.
    """

    def __init__(self, raise_error: bool = False) -> None:
        self.raise_error = raise_error

    @override
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        if self.raise_error:
            raise RuntimeError(f"TerminateOnNaN: the loss must be finite. Received: loss={loss} at batch {batch}.")
        sys.stdout.write(f"Batch {batch}: Invalid loss, terminating training\n")
        self.model.stop_training = True
