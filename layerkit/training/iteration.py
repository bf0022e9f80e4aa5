"""A training, run at once or one epoch after the other in a loop of the caller's."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from layerkit.errors import NotReadyError
from layerkit.training.loop import overflow_is_right

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType

    from layerkit.callbacks import History
    from layerkit.training.interrupt import DeferredInterrupt
    from layerkit.training.progress import Progress


class Epoch:
    """What `fit_iter` yields after each epoch.

    Attributes:
        epoch: its number, from 0.
        logs: its loss and metrics by name, with those of its validation.
        model: the model that is trained.
        history: those of all epochs so far.
    """

    def __init__(self, epoch: int, logs: dict[str, Any], model: Any, history: History) -> None:
        self.epoch = epoch
        self.logs = logs
        self.model = model
        self.history = history

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step; to be set to a number or a schedule."""
        return self.model.optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.model.optimizer.learning_rate = value

    def __repr__(self) -> str:
        return ", ".join([f"epoch={self.epoch}", *[f"{name}={value}" for name, value in self.logs.items()]])


class Training:
    """An iterator over the epochs of a training.

    However the loop is left, training ends there as it does after its last epoch: `on_train_end` is called once, and
    averages of weights take their place. In a ``with`` block, or by `close`, it ends for certain; in a ``for`` loop it
    ends with the loop, unless somebody else holds the iterator.

    Args:
        begin: `loop.train`, which does the work, but for `pauses`.
        interrupt: what Ctrl-C does while an epoch runs; between epochs it is what it always is.
        progress: shows how it goes.
        model: what is trained.
        history: of this training.
    """

    def __init__(
        self,
        begin: Callable[..., Generator[tuple[int, dict[str, Any]]]],
        interrupt: DeferredInterrupt,
        progress: Progress,
        model: Any,
        history: History,
    ) -> None:
        self._begin = begin
        self._interrupt = interrupt
        self._progress = progress
        self._model = model
        self.history = history
        self._is_between = True
        self._is_replaced = False

    @cached_property
    def _epochs(self) -> Generator[tuple[int, dict[str, Any]]]:
        return self._begin(pauses=True)

    def run(self) -> None:
        """Train to the end."""
        self._is_between = False
        self._epochs = epochs = self._begin(pauses=False)
        with self._interrupt, overflow_is_right(self._model.step, guarded=True), contextlib.closing(epochs):
            for _ in epochs:
                pass

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Epoch:
        if self._is_replaced:
            raise NotReadyError(
                "fit_iter: a model is trained by one loop at a time. Received: another fit of it within the loop, "
                "which ended this training."
            )
        self._is_between = False
        try:
            with self._interrupt, overflow_is_right(self._model.step, guarded=True):
                self._progress.go_on()
                epoch, logs = next(self._epochs)
                self._progress.pause()
        finally:
            self._is_between = True
        return Epoch(epoch, logs, self._model, self.history)

    def close(self) -> None:
        """End the training, unless it has ended."""
        with self._interrupt, overflow_is_right(self._model.step, guarded=True):
            self._epochs.close()

    def give_way(self) -> None:
        """End the training because another one begins, unless it is in the middle of an epoch."""
        if self._is_between:
            self._is_replaced = True
            self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if self._is_between:
            self.close()
