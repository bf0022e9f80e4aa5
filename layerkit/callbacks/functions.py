"""Callbacks made from functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.callbacks.callback import MOMENTS, Callback
from layerkit.errors import ArgumentError
from layerkit.names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable

_KNOWN = (*MOMENTS, "on_batch_begin", "on_batch_end")


class LambdaCallback(Callback):
    """Calls functions at moments: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))``.

    Args:
        on_epoch_begin: a function of (epoch, logs).
        on_epoch_end: a function of (epoch, logs).
        on_train_begin: a function of (logs).
        on_train_end: a function of (logs).
        on_train_batch_begin: a function of (batch, logs).
        on_train_batch_end: a function of (batch, logs).
        moments: functions for the other moments, under the names of `Callback`'s methods and with their arguments.

    Raises:
        ArgumentError: a name is not that of a moment, or what is given for it cannot be called.
    """

    def __init__(
        self,
        on_epoch_begin: Callable[..., Any] | None = None,
        on_epoch_end: Callable[..., Any] | None = None,
        on_train_begin: Callable[..., Any] | None = None,
        on_train_end: Callable[..., Any] | None = None,
        on_train_batch_begin: Callable[..., Any] | None = None,
        on_train_batch_end: Callable[..., Any] | None = None,
        **moments: Callable[..., Any] | None,
    ) -> None:
        moments |= {
            "on_epoch_begin": on_epoch_begin,
            "on_epoch_end": on_epoch_end,
            "on_train_begin": on_train_begin,
            "on_train_end": on_train_end,
            "on_train_batch_begin": on_train_batch_begin,
            "on_train_batch_end": on_train_batch_end,
        }
        for moment, function in moments.items():
            if moment not in _KNOWN:
                raise ArgumentError(
                    f"LambdaCallback: an argument must be the name of a moment. "
                    f"Received: {moment}={function!r}. {nearest(moment, _KNOWN)}"
                )
            if function is not None:
                if not callable(function):  # pyright: ignore[reportUnnecessaryComparison]
                    raise ArgumentError(f"LambdaCallback: {moment} must be a function. Received: {function!r}")
                setattr(self, moment, function)
