"""The base of layers that work on text and other categories, on the host, before a model sees them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from layerkit.checks import check_count, is_a, shown
from layerkit.errors import ArgumentError, DataError
from layerkit.layers.layer import Layer, Shapes
from layerkit.overriding import override
from layerkit.xp.registry import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from layerkit.xp.backend import Backend

MODES = ("int", "multi_hot", "one_hot", "count")


class HostLayer(Layer):
    """Base of layers of text: ``layer(x)`` takes an array or lists on the host, and gives an array of the backend.

    No array library but NumPy knows text, so that such a layer stands before a model, as with Keras on all backends but
    TensorFlow: ``model.fit(layer(x), y)``. It has no weights. What it has learnt of data is part of its configuration,
    and so of `from_config`, of copies and of pickles.
    """

    def looked_up(self, items: NDArray[Any]) -> NDArray[Any]:
        """Return y on the host, from items: an array of text or of whole numbers."""
        raise ArgumentError(
            f"{type(self).__name__}: a layer of this kind must define looked_up(self, items). Received: none."
        )

    @override
    def __call__(self, x: Any, *, training: bool | None = None, mask: Any = None) -> Any:
        found = self.looked_up(as_items(x, f"{self.name}: x"))
        return found if found.dtype.kind in "OUT" else self.xp.asarray(found)

    @override
    def build(self, input_shape: Shapes) -> None:
        self._refuse()

    @override
    def call(self, xp: Backend, x: Any) -> Any:
        self._refuse()

    def _refuse(self) -> NoReturn:
        raise ArgumentError(
            f"{self.name}: {type(self).__name__} works on the host, on data before a model. Received: a place inside a "
            f"model. Call it first: model.fit({self.name}(x), y)."
        )


def as_items(x: Any, name: str) -> NDArray[Any]:
    """Return an array or lists of the host, or of a backend, as an array of text (bytes are UTF-8) or of numbers.

    Raises:
        DataError: it holds something else, or rows of different lengths.
    """
    owner = None if is_a(x, list, tuple, str, bytes) else backend_of(x)
    try:
        items: Any = owner.to_numpy(x) if owner is not None else np.asarray(x)
    except ValueError as error:
        raise DataError(f"{name} must be an array, or lists of rows of equal length. Received: {shown(x)}") from error
    if items.dtype.kind in "iufUb":
        return items
    if items.dtype.kind == "S":
        items = items.astype(object)
    if items.dtype.kind in "OT":
        flat = [item.decode() if is_a(item, bytes) else item for item in items.reshape(-1).tolist()]
        if all(is_a(item, str) for item in flat):
            return np.array(flat, dtype=str).reshape(items.shape)
        if all(is_a(item, int) and not is_a(item, bool) for item in flat):
            return np.array(flat, dtype="int64").reshape(items.shape)
        items = next(item for item in flat if not is_a(item, str))
    raise DataError(f"{name} must hold text, or whole numbers. Received: {shown(items)}")


def batches_of(data: Any, steps: int | None, name: str) -> Iterator[NDArray[Any]]:
    """Yield what `adapt` is given: an array or lists, whole, or the batches of an iterable, of which at most `steps`.

    An array of one axis is a column, one item a row; a batch of one axis is a single row.

    Raises:
        DataError: it is none of these.
    """
    if steps is not None:
        check_count(name, 1, steps=steps)
    whole = is_a(data, list, tuple) or hasattr(data, "shape")
    if not whole and (is_a(data, str, bytes, dict) or not hasattr(data, "__iter__")):
        raise DataError(f"{name}: data must be an array, lists, or an iterable of batches. Received: {shown(data)}")
    for batch in islice([data] if whole else data, steps):
        items = as_items(batch, f"{name}: data")
        yield items if items.ndim > 1 else items.reshape(-1, 1) if whole else items.reshape(1, -1)


def encoded_items(numbers: NDArray[Any], depth: int, mode: str, dtype: str) -> NDArray[Any]:
    """Return numbers below `depth` as rows of zeros and ones, or of counts; those below 0 are left out.

    "one_hot": (..., depth), without a last axis of length 1. "multi_hot" and "count": the last axis is a row's.
    """
    if mode == "one_hot":
        if numbers.ndim > 1 and numbers.shape[-1] == 1:
            numbers = numbers[..., 0]
        return (numbers[..., None] == np.arange(depth)).astype(dtype)
    rows = numbers.reshape(-1, numbers.shape[-1]) if numbers.ndim else numbers.reshape(1, 1)
    counts = np.zeros((len(rows), depth), dtype)
    kept = rows >= 0
    np.add.at(counts, (np.nonzero(kept)[0], rows[kept]), 1)
    counts = counts if mode == "count" else np.minimum(counts, 1)
    return counts.reshape((*numbers.shape[:-1], depth))
