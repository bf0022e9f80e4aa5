"""Classes as rows of zeros with a one, and vectors of length one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import check_count, check_one_axis, is_a, shown
from layerkit.errors import ArgumentError, DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def to_categorical(x: Any, num_classes: int | None = None) -> NDArray[np.float64]:
    """Return class indices as rows that are 1 at the index and 0 elsewhere.

    Args:
        x: whole numbers from 0 to ``num_classes - 1``. A last axis of length 1 is taken away.
        num_classes: the length of a row; by default one more than the largest index.

    Shapes:
        x: (...,) or (..., 1). The result: (..., num_classes).

    Raises:
        DataError: x holds something else, or nothing to tell `num_classes` from.
        ArgumentError: `num_classes` is below 1.
    """
    indices = as_numbers(x, "to_categorical: x")
    if indices.ndim > 1 and indices.shape[-1] == 1:
        indices = indices[..., 0]
    if num_classes is None:
        if indices.size == 0:
            raise DataError(
                "to_categorical: num_classes must be given where x holds nothing. Received: num_classes=None"
            )
        classes = int(indices.max()) + 1
    else:
        classes = check_count("to_categorical", 1, num_classes=num_classes)
    wrong = (indices < 0) | (indices >= classes) | (indices != np.rint(indices))
    if wrong.any():
        bound = "on" if num_classes is None else f"to {classes - 1}"
        raise DataError(
            f"to_categorical: x must hold class indices, whole numbers from 0 {bound}. "
            f"Received: {indices[wrong].flat[0]!s} at {list(map(int, np.argwhere(wrong)[0]))}"
        )
    rows = np.zeros((*indices.shape, classes))
    np.put_along_axis(rows, indices[..., None].astype(np.int64), 1.0, axis=-1)
    return rows


def normalize(x: Any, axis: int = -1, order: float = 2) -> NDArray[Any]:
    """Return x divided by the norms of its vectors along an axis; where a norm is 0, x as it is.

    ``y = x / (Σ |x|^order)^(1/order)``. Keras divides along another axis than the one it takes norms of where
    ``axis=0``; here it is the same.

    Args:
        x: numbers.
        axis: along which the vectors lie.
        order: of the norm, above 0; infinity for the largest magnitude.

    Shapes:
        x, the result: (...,).

    Raises:
        DataError: x holds something else.
        ArgumentError: `order` is not above 0, or x has no such axis.
    """
    numbers = as_numbers(x, "normalize: x")
    if is_a(order, bool) or not is_a(order, int, float, np.number) or not order > 0:
        raise ArgumentError(f"normalize: order must be above 0. Received: order={shown(order)}")
    axis = check_one_axis("normalize", axis=axis)
    if not -numbers.ndim <= axis < numbers.ndim:
        raise ArgumentError(f"normalize: axis must be one of x. Received: axis={axis}, of shape {numbers.shape}")
    norm = np.linalg.norm(numbers, order, axis, keepdims=True)
    return numbers / np.where(norm == 0, 1, norm)


def as_numbers(values: Any, what: str) -> NDArray[Any]:
    """Return an array or nested lists as an array of numbers.

    Raises:
        DataError: they are no numbers, or their rows differ in length.
    """
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} must hold numbers, in rows of equal length. Received: {shown(values)}") from error
    if array.size == 0 and not is_a(values, np.ndarray):
        return array.astype(np.int64)  # an empty list, whose numbers might be of any kind
    if array.dtype.kind not in "fiub":
        raise DataError(
            f"{what} must hold numbers, in rows of equal length. Received: {shown(values)}, of dtype {array.dtype}"
        )
    return array
