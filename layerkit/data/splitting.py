"""Two parts of a dataset."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import check_flag, is_a, is_integer, shown
from layerkit.data.py_dataset import PyDataset
from layerkit.errors import ArgumentError, DataError, ShapeError
from layerkit.nested import leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Sequence


def split_dataset(
    dataset: Any,
    left_size: float | None = None,
    right_size: float | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """Split rows into two parts, to train on one and test on the other.

    ::

        (x, y), (x_test, y_test) = split_dataset((x, y), left_size=0.8, shuffle=True, seed=0)

    Where they are not shuffled, the parts are views of the arrays.

    Args:
        dataset: an array; several of one length in a tuple or list; or an object with ``__len__`` and ``__getitem__``
            that gives samples, as datasets of PyTorch are.
        left_size: how many rows the left part has, or their share, above 0 and below 1; by default the rest.
        right_size: the same of the right part. With both, rows between them are left out.
        shuffle: whether the rows are shuffled first.
        seed: of the shuffling: for the same seed the order is Keras's.

    Returns:
        The left part and the right, each an array, or a tuple or list of them, as `dataset` is.

    Raises:
        ArgumentError: a size is out of its range, or leaves nothing.
        DataError: `dataset` is none of these.
        ShapeError: the arrays differ in length.
    """
    check_flag("split_dataset", shuffle=shuffle)
    arrays = _arrays(dataset)
    lengths = [len(array) for array in leaves(arrays)]
    if len(set(lengths)) > 1:
        raise ShapeError(f"split_dataset: the arrays must be of one length. Received: lengths {lengths}")
    count = lengths[0]
    left, right = _sizes(left_size, right_size, count)
    order = list(range(count)) if shuffle else []
    if shuffle:
        random.Random(random.randint(0, 10**6) if seed is None else seed).shuffle(order)

    def part(place: slice) -> Any:
        def taken(array: Any) -> Any:
            return array[order[place]] if shuffle else array[place]

        return mapped(taken, arrays)

    return part(slice(left)), part(slice(count - right, None))


def _arrays(dataset: Any) -> Any:
    """Return a dataset as an array, or as several in a tuple or list."""
    several = is_a(dataset, tuple, list)
    if several or hasattr(dataset, "__array__"):
        found = leaves(dataset)
        if found and all(hasattr(item, "__array__") and np.ndim(item) for item in found):
            return mapped(np.asarray, dataset)
        received = shown(next((item for item in found if not (hasattr(item, "__array__") and np.ndim(item))), dataset))
    elif hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and not is_a(dataset, str, dict, PyDataset):
        return _stacked([dataset[index] for index in range(len(dataset))])
    else:
        received = type(dataset).__name__
    raise DataError(
        f"split_dataset: dataset must be an array, arrays in a tuple or list, or a dataset of samples. "
        f"Received: {received}"
    )


def _stacked(samples: Sequence[Any]) -> Any:
    """Return samples, each an array or several in a tuple, as arrays of all of them."""
    if not samples:
        raise DataError("split_dataset: dataset must have samples. Received: none")
    if is_a(samples[0], tuple):
        return tuple([_stacked(column) for column in zip(*samples, strict=True)])
    return np.stack([np.asarray(sample) for sample in samples])


def _sizes(left: float | None, right: float | None, count: int) -> tuple[int, int]:
    if left is None and right is None:
        raise ArgumentError("split_dataset: left_size or right_size must be given. Received: neither")
    first, second = (_size(name, size, count) for name, size in (("left_size", left), ("right_size", right)))
    a = count - second if first is None and second is not None else first or 0
    b = count - a if second is None else second
    if a + b > count or not a or not b:
        raise ArgumentError(
            f"split_dataset: both parts must have rows, and together not more than there are. "
            f"Received: {a} and {b} of {count} rows, for left_size={left} and right_size={right}"
        )
    return a, b


def _size(name: str, size: float | None, count: int) -> int | None:
    if size is None:
        return None
    if is_integer(size) and 0 < size < count:
        return int(size)
    if is_a(size, float, np.floating) and 0 < size < 1:
        return round(size * count)
    raise ArgumentError(
        f"split_dataset: {name} must be a number of rows, below {count}, or a share above 0 and below 1. "
        f"Received: {name}={shown(size)}"
    )
