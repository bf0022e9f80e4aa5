"""What a user gives, as an array of a backend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import shown
from layerkit.errors import BackendError, DataError
from layerkit.xp.foreign import brought, is_foreign

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


def as_numbers(xp: Backend, values: Any, what: str) -> Array:
    """Return an array, nested lists or a number as an array of this backend.

    Raises:
        DataError: `what` holds no real numbers (NumPy would read text as numbers), or rows of unequal length.
    """
    try:
        array = xp.asarray(brought(xp, values, what) if is_foreign(xp, values) else values)
    except (DataError, BackendError):
        raise
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise DataError(f"{what} must hold numbers, in rows of equal length. Received: {shown(values)}") from error
    if getattr(array.dtype, "kind", "f") not in "fiub":
        raise DataError(
            f"{what} must hold numbers, in rows of equal length. Received: {shown(values)}, of dtype {array.dtype}"
        )
    return array
