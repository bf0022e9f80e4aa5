"""Data that lie on the model's own device: checked there, and cut into batches there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.errors import DataError
from layerkit.xp.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerkit.xp import Array, Backend

_NUMBERS = ("bool", "integral", "real floating")


def as_resident(xp: Backend, array: Array, name: str) -> Array:
    """Return an array of this backend, which must hold numbers, in rows.

    Raises:
        DataError: it holds others, is empty, or a single number.
    """
    if not any(xp.isdtype(array.dtype, kind) for kind in _NUMBERS):
        raise DataError(f"{name} must hold numbers. Received: an array of dtype {array.dtype}")
    if array.size == 0:
        raise DataError(f"{name} must have at least one row and one column. Received: shape {tuple(array.shape)}")
    if array.ndim == 0:
        raise DataError(f"{name} must have a row for each sample. Received: a single number on {xp}")
    return array


def is_finite(xp: Backend, array: Array, dtype: str) -> bool:
    """Tell whether no element is NaN or infinite, also after rounding to `dtype`: one number is read."""
    if not xp.isdtype(array.dtype, "real floating"):
        return True
    return bool(xp.to_numpy(xp.all(xp.isfinite(xp.astype(array, getattr(xp, dtype))))))


class Order:
    """An order of rows, brought to a device once for all columns."""

    def __init__(self, order: Any) -> None:
        self._order = order
        self._brought: tuple[Backend, Array] | None = None

    def __len__(self) -> int:
        return len(self._order)

    def on(self, xp: Backend) -> Array:
        """Return the order as an array of this backend."""
        if self._brought is None or self._brought[0] is not xp:
            self._brought = xp, xp.asarray(self._order, "int64")
        return self._brought[1]


class ResidentColumn:
    """One of the arrays of a data set, on a device.

    Args:
        xp: the backend that has it.
        array: the array.
        dtype: of its batches; None leaves it as it is.
        batch_size: rows a batch.
        home: returns where the model lives now. The array follows it.
    """

    def __init__(self, xp: Backend, array: Array, dtype: str | None, batch_size: int, home: Callable[[], Backend]):
        self._xp = xp
        self.array = array if dtype is None else xp.astype(array, getattr(xp, dtype), copy=False)
        self._batch_size = batch_size
        self._home = home

    def part(self, rows: slice) -> Array:
        """Return some of the rows."""
        start, stop, _ = rows.indices(self.array.shape[0])  # the standard knows no slice that ends beyond the array
        with self._xp.on_device():
            return self.array[start:stop, ...]

    def on_host(self) -> Any:
        """Return all of it, as a `numpy.ndarray`."""
        return self._xp.to_numpy(self.array)

    def batches(self, order: Order | None) -> Iterator[Array | Rows]:
        """Yield the batches, with the rows in this order."""
        count = self.array.shape[0] if order is None else len(order)
        for start in range(0, count, self._batch_size):
            stop = min(start + self._batch_size, count)
            if self._home() is not self._xp:
                self._xp, self.array = self._home(), self._home().asarray(self.on_host())
            if self._xp.brings_batches:
                yield Rows(self._xp, self.array, None if order is None else order.on(self._xp), start, stop)
                continue
            if order is None:
                yield self.part(slice(start, stop))
                continue
            with self._xp.on_device():
                batch = self._xp.take(self.array, order.on(self._xp)[start:stop], axis=0)
            yield batch
