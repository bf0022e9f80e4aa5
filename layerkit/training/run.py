"""A `fit` that is under way: what a checkpoint tells of it, so that it can be resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from layerkit.errors import ArgumentError
from layerkit.training.data import ArrayData, BatchData

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from layerkit.training.loop import Batches


class Standing(Protocol):
    """Where a training stood that is to be resumed."""

    epoch: int
    batch: int
    """How many batches of the epoch were taken."""
    ended: bool
    """Whether the epoch was over."""
    told: int
    """How many of the callbacks had been told of that moment."""
    logs: Mapping[str, Any] | None
    """Of the epoch, where all of its batches were taken; else None."""
    stopped: bool
    """Whether a callback had stopped training."""
    passes: int
    """How many passes over the data had begun,"""
    offset: int
    """and how many batches were taken of the last."""

    def restore_callbacks(self, callbacks: Sequence[Any]) -> None:
        """Let callbacks remember what they did."""
        ...


class Run:
    """What a checkpoint tells of a `fit` besides the model.

    Args:
        data: what is trained on.
        validation: what is validated on; None for nothing.
        must_agree: what else must be the same where training is resumed.
        settings: the plain arguments of `fit`, with which it is called again.
        callbacks: those whose memory is kept, in their order.
        savers: those that save, and are called behind all others.
    """

    def __init__(
        self,
        data: ArrayData | BatchData,
        validation: ArrayData | BatchData | None,
        must_agree: Mapping[str, Any],
        settings: Mapping[str, Any],
        callbacks: Sequence[Any],
        savers: Sequence[Any],
    ) -> None:
        self.settings, self.callbacks, self.savers = dict(settings), list(callbacks), list(savers)
        held_out = {} if validation is None else _size(validation, "validation ")
        self.data = _size(data, "") | dict(must_agree) | held_out
        self.batches: Batches | None = None
        """The batches of training, once there are any."""
        self.compiled: Any = None
        """The arguments of `compile` as JSON, where somebody saves."""
        self.is_sound: Callable[[], bool] = lambda: True
        """Tells whether what would be saved is finite, where training stops otherwise."""
        self._obstacle = _obstacle(data, "x") or (validation and _obstacle(validation, "validation_data"))

    @property
    def resumable(self) -> bool:
        """Whether the data can be taken up again in the middle."""
        return not self._obstacle

    def require_resumable(self, caller: str) -> None:
        """Refuse data that yields each batch once, or that nobody can begin in the middle."""
        if self._obstacle:
            raise ArgumentError(
                f"fit: {caller} needs data that can be taken up again: arrays, or an object with __len__ and "
                f"__getitem__. Received: {self._obstacle}"
            )

    def standing(
        self, epoch: int, batch: int, *, ended: bool, stopped: bool, logs: Mapping[str, Any] | None, after: Any = None
    ) -> dict[str, Any]:
        """Return where training stands.

        Args:
            epoch: its number.
            batch: how many of its batches were taken.
            ended: whether it is over.
            stopped: whether a callback has stopped training.
            logs: of the epoch, where all of its batches were taken.
            after: the last callback that was told of this; None for all.
        """
        batches = self.batches
        running = 0 if logs is not None or batches is None else batch
        return {
            "epoch": epoch,
            "batch": batch,
            "ended": ended,
            "stopped": stopped,
            "told": self.callbacks.index(after) + 1 if after in self.callbacks else len(self.callbacks),
            "logs": logs,
            "passes": 0 if batches is None else batches.passes,
            "offset": running if batches is None or batches.steps is None else batches.offset,
        }

    def flush(self, epoch: int, batch: int, *, ended: bool = False, logs: Mapping[str, Any] | None = None) -> None:
        """Let those that save do so now: training is about to be interrupted."""
        for callback in (*self.callbacks, *self.savers):
            if hasattr(callback, "save_now"):
                callback.save_now(epoch, batch, ended=ended, logs=logs)


def _size(data: ArrayData | BatchData, of: str) -> dict[str, Any]:
    if isinstance(data, ArrayData):
        return {f"{of}rows": data.rows, f"{of}batch_size": data.batch_size}
    return {f"{of}batches": data.steps}


def _obstacle(data: ArrayData | BatchData, name: str) -> str | None:
    if isinstance(data, ArrayData) or data.indexed:
        return None
    return f"{name} of type {type(data.source).__name__}"
