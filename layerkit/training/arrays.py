"""Data of any origin, as NumPy arrays on the host, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import DataError
from layerkit.xp.registry import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# How much of an array is looked at in one go: larger than a cache, small beside any memory.
_CHUNK_BYTES = 1 << 24


def is_array(value: Any) -> bool:
    """Tell whether this is one array (or a nested list), rather than an iterable of batches."""
    return (
        isinstance(value, (list, tuple, np.ndarray))
        or hasattr(value, "__array__")
        or hasattr(value, "__array_namespace__")
        or hasattr(value, "__array_interface__")
    )


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return host data as a NumPy array of numbers, without a copy where that can be.

    Raises:
        DataError: it holds no numbers, has ragged rows, or is empty.
    """
    array = _converted(value, name)
    if array.dtype.kind not in "fiub":
        kind = {"U": "strings", "S": "strings", "O": "Python objects", "c": "complex numbers"}.get(
            array.dtype.kind, str(array.dtype)
        )
        raise DataError(
            f"{name} must hold numbers. Received: {kind} (dtype {array.dtype}). "
            f"Encode categories as integers, and convert columns with astype('float32')."
        )
    if array.ndim == 0:
        raise DataError(f"{name} must have a row for each sample. Received: a single number, {array[()]}")
    if array.size == 0:
        raise DataError(f"{name} must have at least one row and one column. Received: shape {array.shape}")
    return array


def _converted(value: Any, name: str) -> NDArray[Any]:
    owner = backend_of(value) if not isinstance(value, (list, tuple)) else None
    if owner is not None:
        return owner.to_numpy(value)
    for attribute in ("detach", "cpu"):  # a tensor of PyTorch, perhaps on a device
        if hasattr(value, attribute):
            value = getattr(value, attribute)()
    if hasattr(value, "tocsr"):
        raise DataError(
            f"{name} must be dense. Received: a sparse matrix, {type(value).__name__}. Convert it with {name}.toarray()."
        )
    try:
        if hasattr(value, "__array_namespace__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{name} must be an array, or rows of equal length. Received: {type(value).__name__}, of which NumPy says: "
            f"{str(error).rstrip('.')}."
        ) from error


def chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (first row, rows) of a few megabytes each: a memory map is never loaded whole."""
    rows = max(1, _CHUNK_BYTES // max(1, array.nbytes // len(array)))
    for start in range(0, len(array), rows):
        yield start, array[start : start + rows]


def check_finite(array: NDArray[Any], name: str, dtype: str) -> None:
    """Check that no element is NaN or infinite, also after rounding to `dtype`.

    Raises:
        DataError: one is; the first one is named.
    """
    if array.dtype.kind != "f":
        return
    with np.errstate(over="ignore", invalid="ignore"):
        for start, rows in chunks(array):
            rounded = rows.astype(dtype, copy=False)
            # One sum is a cheap test; only if it fails (or overflows) are the elements looked at.
            if np.isfinite(np.add.reduce(rounded, axis=None)):
                continue
            bad = np.argwhere(~np.isfinite(rounded))
            if len(bad):
                place = (start + int(bad[0][0]), *map(int, bad[0][1:]))
                raise DataError(
                    f"{name} must hold finite numbers{'' if dtype == 'float64' else f' of {dtype}'}. "
                    f"Received: {rows[tuple(bad[0])]} at {name}[{', '.join(map(str, place))}]. "
                    f"Remove or fill such rows, for instance with numpy.nan_to_num."
                )


def check_range(array: NDArray[Any], name: str, low: float, high: float, rule: str) -> None:
    """Check that no element is outside [low, high].

    Raises:
        DataError: one is; the first one is named, after `rule`.
    """
    for start, rows in chunks(array):
        if rows.min() < low or rows.max() > high:
            bad = np.argwhere((rows < low) | (rows > high))[0]
            place = (start + int(bad[0]), *map(int, bad[1:]))
            raise DataError(f"{rule} Received: {rows[tuple(bad)]} at {name}[{', '.join(map(str, place))}].")
