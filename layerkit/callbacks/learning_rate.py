"""Callbacks that set the learning rate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, cast

from layerkit.callbacks.callback import Callback, Logs
from layerkit.callbacks.improvement import improves, monitored, rises
from layerkit.checks import check_at_least, check_count, check_fraction, check_number, shown
from layerkit.errors import ArgumentError
from layerkit.overriding import override
from layerkit.screen import say

if TYPE_CHECKING:
    from collections.abc import Callable


ROUNDING = 1e-7
"""A learning rate that is so little above the smallest one, relative to it, has reached it."""


class ReduceLROnPlateau(Callback):
    """Multiply the learning rate by a factor when a monitored number has not improved for `patience` epochs.

    An epoch improves on the best one if its number is better by more than `min_delta`. The learning rate of each epoch
    is added to its logs, as `learning_rate`; with a `MultiOptimizer`, that of each under ``learning_rate_<name>``.

    Args:
        monitor: its name in the logs.
        factor: from 0 to below 1.
        patience: epochs without improvement that are waited for.
        verbose: 1 says when it reduces.
        mode: "min", "max", or "auto": by the name.
        min_delta: a smaller change does not count as an improvement.
        cooldown: epochs after a reduction that are not counted.
        min_lr: the learning rate does not go below it.

    Attributes:
        best: the best number; None before the first.
        wait: epochs since the last improvement, or reduction.
        cooldown_counter: epochs that are still not counted.

    Raises:
        ArgumentError: a number is out of its range, or `mode` is "auto" for a name that does not tell.
    """

    resumable_from_file = True

    def __init__(
        self,
        monitor: str = "val_loss",
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: Literal["auto", "min", "max"] = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        name = type(self).__name__
        self._rising = rises(name, monitor, mode)
        self.monitor = monitor
        self.factor = check_fraction(name, below_1=True, factor=factor)
        self.patience = check_count(name, 0, patience=patience)
        self.verbose = verbose
        self.mode = mode
        self.min_delta = abs(check_number(name, min_delta=min_delta))
        self.cooldown = check_count(name, 0, cooldown=cooldown)
        self.min_lr = check_at_least(name, 0, min_lr=min_lr)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self.cooldown_counter = 0
        self.wait = 0

    def in_cooldown(self) -> bool:
        """Tell whether epochs are not counted, because of a reduction."""
        return self.cooldown_counter > 0

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._reset()
        _require_numbers(self)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        _log_rates(self.model, logs)
        value = monitored(type(self).__name__, logs, self.monitor, known=self.best is not None)
        if value is None:
            return
        if self.in_cooldown():
            self.cooldown_counter -= 1
            self.wait = 0
        if improves(value, self.best, rising=self._rising, min_delta=self.min_delta):
            self.best = value
            self.wait = 0
        elif not self.in_cooldown():
            self.wait += 1
            if self.wait >= self.patience and self._reduces(epoch):
                self.cooldown_counter = self.cooldown
                self.wait = 0

    def _reduces(self, epoch: int) -> bool:
        """Reduce what is above `min_lr`, and tell whether anything was."""
        reduced = False
        for label, optimizer in _optimizers(self.model):
            rate = optimizer.learning_rate
            if rate > self.min_lr * (1 + ROUNDING):
                optimizer.learning_rate = max(rate * self.factor, self.min_lr)
                _say(self, epoch, f"reducing {label}learning rate to {optimizer.learning_rate}")
                reduced = True
        return reduced


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch, to what a function says.

    The learning rate of each epoch is added to its logs: see `ReduceLROnPlateau`.

    Args:
        schedule: a function of the number of the epoch, from 0, and of the learning rate as it is (or of the number
            alone), that returns the learning rate.
        verbose: 1 says what is set.

    Raises:
        ArgumentError: `schedule` is no function.
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):  # pyright: ignore[reportUnnecessaryComparison]
            raise ArgumentError(
                f"LearningRateScheduler: schedule must be a function of (epoch, learning_rate). "
                f"Received: schedule={shown(schedule)}"
            )
        self.schedule = schedule
        self.verbose = verbose
        self._takes_rate = _takes_two(schedule)

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        _require_numbers(self)

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        for label, optimizer in _optimizers(self.model):
            given = (epoch, optimizer.learning_rate) if self._takes_rate else (epoch,)
            optimizer.learning_rate = self._checked(self.schedule(*given), epoch)
            _say(self, epoch, f"setting {label}learning rate to {optimizer.learning_rate}")

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        _log_rates(self.model, logs)

    def _checked(self, value: Any, epoch: int) -> float:
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = -1.0
        if not 0 <= rate < math.inf:
            raise ArgumentError(
                f"LearningRateScheduler: schedule must return a number of at least 0. "
                f"Received: {shown(value)} for epoch {epoch}"
            )
        return rate


def _takes_two(schedule: Callable[..., Any]) -> bool:
    import inspect  # slow to load

    try:
        inspect.signature(schedule).bind(0, 0.0)
    except TypeError:
        return False
    except ValueError:  # written in C, without a signature
        return True
    return True


def _optimizers(model: Any) -> list[tuple[str, Any]]:
    """Return the optimizers that have a learning rate, each with a label for what is said: empty if there is one."""
    optimizer = model.optimizer
    several = getattr(optimizer, "optimizers", None)
    return [("", optimizer)] if several is None else [(f"{each.name} ", each) for each in several]


def _log_rates(model: Any, logs: Logs | None) -> None:
    for label, optimizer in _optimizers(model):
        if logs is not None:
            name = f"learning_rate_{label}".rstrip("_ ")
            cast("dict[str, Any]", logs)[name] = optimizer.learning_rate


def _require_numbers(callback: Callback) -> None:
    """Refuse a schedule: it would be lost when the learning rate is set."""
    for label, optimizer in _optimizers(callback.model):
        rate = optimizer.get_config().get("learning_rate")
        if callable(rate):
            raise ArgumentError(
                f"{type(callback).__name__}: the {label}learning rate must be a number, to be set. "
                f"Received: the schedule {rate!r}"
            )


def _say(callback: Any, epoch: int, what: str) -> None:
    if callback.verbose > 0:
        say(f"Epoch {epoch + 1}: {type(callback).__name__} {what}.")
