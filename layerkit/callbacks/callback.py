"""The base of callbacks, and the list that calls them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import is_a
from layerkit.configurable import Configurable, argument_names
from layerkit.errors import ArgumentError
from layerkit.names import call_it, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

Logs = Mapping[str, Any]

MOMENTS = (
    *("on_train_begin", "on_train_end", "on_epoch_begin", "on_epoch_end", "on_train_batch_begin", "on_train_batch_end"),
    *("on_test_begin", "on_test_end", "on_test_batch_begin", "on_test_batch_end"),
    *("on_predict_begin", "on_predict_end", "on_predict_batch_begin", "on_predict_batch_end"),
)


class Callback(Configurable):
    """Is told of every moment of training; a subclass defines those it cares for.

    `logs` holds the loss and the metrics: at the end of an epoch those of the epoch, with ``val_`` before the names of
    those of its validation; at the end of a batch the means so far; elsewhere nothing. Those of a batch are read from
    the device when they are first looked at, and only while the moment lasts: ``dict(logs)`` keeps them. At the end of
    a batch of prediction, ``logs["outputs"]`` is what was predicted.

    Setting ``self.model.stop_training = True`` ends training after the batch. An exception ends it too, and reaches
    whoever called `fit`; `on_train_end` is called all the same.

    Where training is cut off and resumed, a callback goes on with what it remembered when the checkpoint was made:
    see `get_state`.

    Attributes:
        model: the model that is trained.
        params: ``{"verbose": …, "epochs": …, "steps": …}``, where steps may be None: not known.
    """

    _part_of_steps: ClassVar[bool] = False

    resumable_from_file: ClassVar[bool] = False
    """Of layerkit's own: whether `resume` may make one of what a checkpoint says. Whatever writes files is given."""

    model: Any = None
    params: Mapping[str, Any] = {}

    def set_model(self, model: Any) -> None:
        """Receive the model, before all else."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Receive `params`, after the model."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """Return what must be remembered for training to be resumed: plain values and arrays, by name.

        Plain are numbers, text, None, and lists, tuples and dictionaries of such; arrays are NumPy's. By default it is
        every attribute that is one of these, but for the constructor's arguments, which whoever resumes gives again.
        """
        known = {"model", "params", "_arguments", *(argument_names(type(self)) or ())}
        return {name: value for name, value in self.__dict__.items() if name not in known and not callable(value)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned. It is called after `on_train_begin`, which may have begun anew."""
        self.__dict__.update((name, value) for name, value in state.items() if name in self.__dict__)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """After the last epoch, also where training was interrupted; logs are those of the last whole epoch."""

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
        """Before a batch of evaluation or validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of evaluation or validation."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Before prediction."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """After prediction."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Before a batch of prediction."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """After a batch of prediction."""


class CallbackList:
    """Calls every callback that defines a moment, and no other: an empty moment costs one look-up.

    Each moment is a method, for training loops of one's own: ``callbacks.on_epoch_end(epoch, logs)``.

    Args:
        callbacks: in the order in which they are called.
        add_history: whether a `History` is added behind them, unless there is one.
        add_progbar: whether a `ProgbarLogger` is added, unless there is one.
        model: what they are to know as `model`.
        params: what they are to know as `params`.

    Raises:
        ArgumentError: one is no callback.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        self.callbacks: list[Any] = check_callbacks(callbacks)
        if add_progbar:
            from layerkit.callbacks.progbar import ProgbarLogger  # which is a Callback

            if not any(isinstance(callback, ProgbarLogger) for callback in self.callbacks):
                self.callbacks.append(ProgbarLogger())
        if add_history:
            from layerkit.callbacks.history import History  # which is a Callback

            if not any(isinstance(callback, History) for callback in self.callbacks):
                self.callbacks.append(History())
        self._moments: dict[str, list[Callable[..., None]]] = {}  # filled as moments come
        if model is not None:
            self.set_model(model)
        if params:
            self.set_params(params)

    def append(self, callback: Any) -> None:
        """Add a callback behind the others."""
        self.callbacks += check_callbacks(callback)
        self._moments.clear()

    def set_model(self, model: Any) -> None:
        """Hand the model to all of them."""
        for callback in self.callbacks:
            callback.set_model(model)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Hand the parameters to all of them."""
        for callback in self.callbacks:
            callback.set_params(params)

    def __getattr__(self, moment: str) -> Callable[..., None]:
        if moment not in MOMENTS:
            raise AttributeError(f"CallbackList has no attribute {moment!r}. {nearest(moment, MOMENTS)}")

        def tell(*given: Any, logs: Logs | None = None) -> None:
            *index, logs = given if given and not is_a(given[-1], int) else (*given, logs)
            self(moment, *index, logs=logs)

        return tell

    def methods(self, moment: str) -> list[Callable[..., None]]:
        """Return the methods that define this moment, in order."""
        methods = self._moments.get(moment)
        if methods is None:
            methods = [getattr(callback, moment) for callback in self.callbacks if _defines(callback, moment)]
            self._moments[moment] = methods
        return methods

    def __call__(self, moment: str, *index: int, logs: Logs | None = None) -> None:
        """Call all for ``on_epoch_begin``, say, with the number of the epoch or batch where the moment has one."""
        methods = self.methods(moment)
        if not methods:
            return
        if logs is None:
            logs = {}
        if moment == "on_train_end":
            # Files are closed and weights restored here: each has its turn, even if one before it fails.
            with contextlib.ExitStack() as stack:
                for method in reversed(methods):
                    stack.callback(method, *index, logs)
            return
        for method in methods:
            method(*index, logs)

    def cares_for(self, moment: str) -> bool:
        """Tell whether any callback defines this moment."""
        return bool(self.methods(moment))


def _defines(callback: Any, moment: str) -> bool:
    # The base's methods for a training batch call those of the older name.
    for name in (moment, moment.replace("train_batch", "batch")):
        method = getattr(callback, name, None)
        if method is not None and getattr(method, "__func__", method) is not getattr(Callback, name):
            return True
    return False


def check_callbacks(callbacks: Any) -> list[Any]:
    """Return callbacks as a list: None is none, a single one is a list of one.

    Raises:
        ArgumentError: one is no callback.
    """
    if callbacks is None:
        return []
    listed: list[Any] = list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]  # pyright: ignore[reportUnknownArgumentType]
    for callback in listed:
        if isinstance(callback, type) or not (hasattr(callback, "set_model") and hasattr(callback, "set_params")):
            raise ArgumentError(f"callbacks: each must be a Callback. Received: {callback!r}.{call_it(callback)}")
    return listed
