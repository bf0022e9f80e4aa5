"""Rows of an array on a device that are yet to be gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Rows:
    """A batch that is told by its place: the rows of an array from one number to another, of an order if there is one.

    A backend that `brings_batches` is given batches so, where a data set lies on its device: whoever replays a step may
    gather them as a part of it. `asarray` gathers them.

    Args:
        xp: the backend that has the array.
        array: whose rows.
        order: the numbers of rows, on the device; None for all as they stand.
        start: the first row, or place in the order.
        stop: the end.
    """

    __slots__ = ("__weakref__", "array", "order", "start", "stop", "xp")

    def __init__(self, xp: Backend, array: Any, order: Any, start: int, stop: int) -> None:
        self.xp = xp
        self.array, self.order = array, order
        self.start, self.stop = start, stop

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the batch."""
        return (self.stop - self.start, *self.array.shape[1:])

    @property
    def dtype(self) -> Any:
        """Of the array."""
        return self.array.dtype

    def __getitem__(self, key: Any) -> Array:
        return self.gathered()[key]

    def gathered(self) -> Array:
        """Return the batch."""
        with self.xp.on_device():
            if self.order is None:
                return self.array[self.start : self.stop, ...]
            return self.xp.take(self.array, self.order[self.start : self.stop], axis=0)
