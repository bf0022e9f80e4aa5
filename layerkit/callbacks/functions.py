"""Callbacks made from functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.callbacks.callback import MOMENTS, Callback
from layerkit.errors import ArgumentError
from layerkit.names import nearest

if TYPE_CHECKING:
    from collections.abc import Callable


class LambdaCallback(Callback):
    """Calls functions at moments: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(epoch, logs["loss"]))``.

    Args:
        moments: functions by the name of a method of `Callback`, with its arguments.

    Raises:
        ArgumentError: a name is not that of a moment, or what is given for it cannot be called.
    """

    def __init__(self, **moments: Callable[..., Any] | None) -> None:
        known = (*MOMENTS, "on_batch_begin", "on_batch_end")
        for moment, function in moments.items():
            if moment not in known:
                raise ArgumentError(
                    f"LambdaCallback: an argument must be the name of a moment. "
                    f"Received: {moment}={function!r}. {nearest(moment, known)}"
                )
            if function is not None:
                if not callable(function):  # pyright: ignore[reportUnnecessaryComparison]
                    raise ArgumentError(f"LambdaCallback: {moment} must be a function. Received: {function!r}")
                setattr(self, moment, function)
