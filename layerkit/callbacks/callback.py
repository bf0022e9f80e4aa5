"""The base of callbacks, and the list that calls them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable

Logs = Mapping[str, float]

MOMENTS = (
    *("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
    *("on_predict_begin", "on_predict_end", "on_predict_batch_begin", "on_predict_batch_end"),
)


class Callback(Configurable):
    """Is told of every moment of training; a subclass defines those it cares for.

    `logs` holds the loss and the metrics: at the end of an epoch those of the epoch, at the end of a batch the means so
    far, which are read from the device only when they are looked at. Setting ``self.model.stop_training = True`` ends
    training after the batch.
    """

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Receive the model, before training."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Receive {"verbose", "epochs", "steps"}, before training."""
        self.params = params

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, also where training was interrupted."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """After an epoch and its validation."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a training step, counted from 0 in each epoch."""
        self.on_batch_begin(batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a training step."""
        self.on_batch_end(batch, logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Keras's older name for `on_train_batch_begin`."""

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Keras's older name for `on_train_batch_end`."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Before evaluation or validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """After evaluation or validation."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of evaluation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of evaluation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of prediction."""


class CallbackList:
    """Calls every callback that defines a moment, and no other: an empty moment costs one look-up."""

    def __init__(self, callbacks: Iterable[Any], model: Any, params: Mapping[str, Any]) -> None:
        self.callbacks: list[Any] = list(callbacks)
        self._moments: dict[str, list[Callable[..., None]]] = {moment: [] for moment in MOMENTS}
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(params)
            for moment in MOMENTS:
                method = getattr(callback, moment, None)
                if method is not None and _defines(callback, moment):
                    self._moments[moment].append(method)

    def __call__(self, moment: str, *args: Any) -> None:
        for method in self._moments[moment]:
            method(*args)

    def cares_for(self, moment: str) -> bool:
        """Tell whether any callback defines this moment."""
        return bool(self._moments[moment])


def _defines(callback: Any, moment: str) -> bool:
    names = [moment]
    if moment.startswith("on_train_batch"):
        names.append(moment.replace("train_", ""))
    for name in names:
        method = getattr(callback, name, None)
        if getattr(method, "__func__", method) is not getattr(Callback, name, None) and method is not None:
            return True
    return False


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return callbacks as a list: None is none, a single one is a list of one.

    Raises:
        ArgumentError: one is no callback.
    """
    if callbacks is None:
        return []
    if isinstance(callbacks, CallbackList):
        return callbacks.callbacks
    listed = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    for callback in listed:  # pyright: ignore[reportUnknownVariableType]
        if isinstance(callback, type) or not hasattr(callback, "set_model"):  # pyright: ignore[reportUnknownArgumentType]
            hint = " Make an object of the class: add ()." if isinstance(callback, type) else ""
            raise ArgumentError(f"callbacks: each must be a Callback. Received: {callback!r}.{hint}")
    return listed  # pyright: ignore[reportUnknownVariableType]
