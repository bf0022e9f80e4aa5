"""Whether a pass is one of training: what a layer inside another is told, where the outer one is silent."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextvars import Token

_training: ContextVar[bool] = ContextVar("layerkit_training", default=False)


def in_training() -> bool:
    """Tell whether a layer that is called without `training` is called within a pass of training."""
    return _training.get()


class Phase:
    """``with Phase(training):`` layers that are called inside without `training` are told this."""

    __slots__ = ("_before", "_training_now")

    def __init__(self, training: bool) -> None:
        self._training_now = training
        self._before: Token[bool] | None = None

    def __enter__(self) -> None:
        self._before = _training.set(self._training_now)

    def __exit__(self, *_: object) -> None:
        assert self._before is not None  # noqa: S101 - `__enter__` has just seen to it
        _training.reset(self._before)
