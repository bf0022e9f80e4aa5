"""Data of any origin, as NumPy arrays on the host, checked."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import is_a, shown
from layerkit.errors import DataError
from layerkit.xp.foreign import check_readable, on_host
from layerkit.xp.registry import backend_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

CHUNK_BYTES = 1 << 24
"""How much of an array is looked at in one go: larger than a cache, small beside any memory."""

_SPARSE = ("tocsr", "todense")  # what sparse matrices have: SciPy's, and others'
_PROTOCOLS = ("__array__", "__array_namespace__", "__array_interface__", "__dlpack__", *_SPARSE)


def is_array(value: Any) -> bool:
    """Tell whether this is one array (or a nested list), rather than an iterable of batches."""
    if is_a(value, list, tuple) or any(hasattr(value, protocol) for protocol in _PROTOCOLS):
        return True
    try:
        memoryview(value).release()
    except TypeError:
        return False
    return not is_a(value, bytes, bytearray)


def as_array(value: Any, name: str) -> NDArray[Any]:
    """Return host data as a NumPy array of numbers, without a copy where that can be.

    Raises:
        DataError: it holds no numbers, has ragged rows, is sparse or masked, or is empty.
    """
    check_readable(value, name)
    if np.ma.is_masked(value):
        raise DataError(
            f"{name} must have no masked elements. Received: {np.ma.count_masked(value)} of them. "  # pyright: ignore[reportUnknownMemberType]
            f"Fill them with filled()."
        )
    array = _converted(value, name)
    if array.size == 0:
        raise DataError(f"{name} must have at least one row and one column. Received: shape {array.shape}")
    if array.dtype.kind not in "fiub":
        found: Any = next((item for item in array.flat if not isinstance(item, (int, float, np.number))), array.item(0))
        if is_a(found, np.generic):
            found = found.item()
        if array.ndim == 0 and array.dtype == object:
            raise DataError(f"{name} must be an array or nested lists. Received: {type(value).__name__}")
        raise DataError(
            f"{name} must hold numbers. Received: {shown(found)}, in an array of dtype {array.dtype}. "
            f"Encode categories as integers, and convert columns with astype('float32')."
        )
    if array.ndim == 0:
        raise DataError(f"{name} must have a row for each sample. Received: a single number, {array.item()}")
    return array


def _converted(value: Any, name: str) -> NDArray[Any]:
    owner = None if is_a(value, list, tuple) else backend_of(value)
    if owner is not None:
        return owner.to_numpy(value)
    try:
        array = on_host(value)
    except (ValueError, TypeError, AttributeError, BufferError, RuntimeError) as error:
        reason = "" if is_a(value, list, tuple) else f". NumPy says: {error}"
        raise DataError(
            f"{name} must be an array, or lists of rows of equal length. Received: {shown(value)}{reason}"
        ) from error
    if array.dtype == object and _columns_are_numbers(value):
        with contextlib.suppress(TypeError):  # a missing value of pandas: `as_array` names it
            array = np.asarray(value, "float64")
    return array


def _columns_are_numbers(value: Any) -> bool:
    """Tell whether this is a table, as pandas has them: columns of bool beside float, say, are objects to NumPy."""
    dtypes: Any = getattr(value, "dtypes", None)
    return hasattr(dtypes, "__iter__") and all(getattr(dtype, "kind", "O") in "fiub" for dtype in dtypes)


def chunks(array: NDArray[Any]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Return (first row, rows) of a few megabytes each: a memory map is never loaded whole."""
    if array.nbytes <= CHUNK_BYTES:
        return iter(((0, array),))
    rows = max(1, CHUNK_BYTES // max(1, array.nbytes // len(array)))
    return zip(range(0, len(array), rows), stretches(array, rows), strict=True)


def stretches(array: NDArray[Any], rows: int) -> Iterator[NDArray[Any]]:
    """Yield so many rows at a time, in order."""
    pages = _Pages(array)
    for start in range(0, len(array), rows):
        yield array[start : start + rows]
        pages.read(rows)


class _Pages:
    """The pages of a memory map that is read in order, given back to the system now and then.

    So the process stays small, however large the file. Rows in shuffled order are left to the system, which takes pages
    back when it needs them: giving them back at each batch was measured to take up to half as long again. Where the
    array is no map, nothing is done; nor where the map is copied on writing (mode "c"): what was written would be lost.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._map: Any = None
        self._row_bytes = array.nbytes // max(1, len(array))
        self._read_bytes = 0
        base: Any = array
        shared = False
        while isinstance(base, np.ndarray):
            shared = shared or (isinstance(base, np.memmap) and base.mode != "c")
            base = base.base  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if shared and hasattr(base, "madvise"):  # pyright: ignore[reportUnknownArgumentType]
            self._map = base

    def read(self, rows: int) -> None:
        """Say that so many rows were read, one after the other."""
        if self._map is None:
            return
        self._read_bytes += rows * self._row_bytes
        if self._read_bytes >= 4 * CHUNK_BYTES:
            import mmap  # only where there is a map

            self._map.madvise(mmap.MADV_DONTNEED)
            self._read_bytes = 0


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
            found = _first(~np.isfinite(rounded), start, rows)
            if found is not None:
                value, place = found
                raise DataError(
                    f"{name} must hold finite numbers. Received: {value!s} at {place}. Fill or remove such rows."
                    if not np.isfinite(value)
                    else f"{name} must hold numbers that {dtype} can hold. Received: {value!s} at {place}. "
                    f"Scale the data, or give the model dtype='float64'."
                )


def check_range(
    array: NDArray[Any], low: float, high: float, rule: str, *, ignored: float | None = None, whole: bool = False
) -> None:
    """Check that no element is outside [low, high], and with `whole`, that none has a fraction; `ignored` may occur.

    Raises:
        DataError: one is; the first one is named, after `rule`.
    """
    for start, rows in chunks(array):
        looked_at_closely = rows.min() < low or rows.max() > high or (whole and rows.dtype.kind == "f")
        if not looked_at_closely:
            continue
        bad = (rows < low) | (rows > high)
        if whole:
            bad |= rows != np.rint(rows)
        if ignored is not None:
            bad &= rows != ignored
        found = _first(bad, start, rows)
        if found is not None:
            raise DataError(f"{rule} Received: {found[0]!s} at {found[1]}.")


def _first(bad: NDArray[np.bool_], start: int, rows: NDArray[Any]) -> tuple[Any, list[int]] | None:
    """Return the first bad element and its index, for rows that stand at `start` in the whole."""
    if not bad.any():
        return None
    index = np.unravel_index(int(np.argmax(bad)), bad.shape)
    return rows[index], [start + int(index[0]), *map(int, index[1:])]
