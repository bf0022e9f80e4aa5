"""Arrays of any library: where they lie, and how they come to the host, or onto a backend, without a copy if possible.

Whatever has ``__dlpack__`` or ``__array__`` will do: tensors of PyTorch, arrays of JAX, and of whatever follows the
Array API standard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.errors import DataError
from layerkit.xp.registry import backend, backend_of

if TYPE_CHECKING:
    from layerkit.xp.backend import Backend

HOST = "the host"

# Device types of DLPack (dlpack.h): memory of the host, also where it is pinned; and the names of others.
_ON_HOST = (1, 3)
_NAMES = {2: "cuda", 4: "opencl", 7: "vulkan", 8: "metal", 10: "rocm", 13: "cuda", 14: "oneapi", 15: "webgpu"}

_PLAIN: Any = (list, tuple, bool, int, float, complex, str, type(None))
_LOW_PRECISION = ("bfloat16", "float8_", "float6_", "float4_", "int4", "uint4", "int2", "uint2")


def place_of(array: Any) -> str:
    """Return where an array lies: `HOST`, or the name of a device."""
    owner = None if isinstance(array, _PLAIN) else backend_of(array)
    if owner is not None:
        return place_of_backend(owner)
    return _place_by_dlpack(array) or HOST


def place_of_backend(xp: Backend) -> str:
    """Return where the arrays of a backend lie: "cuda:0" for those of "cupy:0", so that libraries can be compared."""
    return HOST if xp.on_host else _place_by_dlpack(xp.empty((0,))) or str(xp)


def _place_by_dlpack(array: Any) -> str | None:
    try:
        kind, index = array.__dlpack_device__()
    except Exception:  # noqa: BLE001 - whatever a library raises that does not say
        return None
    return HOST if kind in _ON_HOST else f"{_NAMES.get(int(kind), f'device type {int(kind)}')}:{index}"


def check_readable(array: Any, what: str) -> None:
    """Check that an array can be read as plain numbers.

    Raises:
        DataError: it is sparse, or part of another library's derivative, or of a dtype that NumPy lacks.
    """
    if isinstance(array, _PLAIN):
        return
    # What libraries call the way to a dense array; a tensor of PyTorch always has it, and tells by its layout.
    remedy = next((name for name in ("toarray", "todense", "to_dense") if hasattr(array, name)), None)
    layout = str(getattr(array, "layout", "torch.strided"))
    if remedy is not None and (remedy != "to_dense" or layout not in ("torch.strided", "torch.jagged")):
        raise DataError(
            f"{what} must be dense. Received: a sparse matrix, {type(array).__name__}. Convert it with {remedy}()."
        )
    if getattr(array, "requires_grad", False) is True:
        raise DataError(
            f"{what} must not wait for a derivative: that of another library does not reach through layerkit. "
            f"Received: a {type(array).__name__} with requires_grad=True. Give it as detach()."
        )
    dtype = str(getattr(array, "dtype", "")).rpartition(".")[2]
    if dtype.startswith(_LOW_PRECISION):
        remedy = "float()" if hasattr(array, "float") else "astype('float32')"
        raise DataError(f"{what} must have a dtype that NumPy has. Received: {dtype}. Convert it with {remedy}.")


def on_host(array: Any) -> Any:
    """Return an array of no backend as a `numpy.ndarray`, which shares its memory where that is the host's.

    What the library or NumPy raises where that cannot be is left as it is.
    """
    numpy: Any = backend("numpy").namespace
    for attribute in ("detach", "cpu"):  # a tensor of PyTorch, perhaps on a device
        if hasattr(array, attribute):
            array = getattr(array, attribute)()
    if not hasattr(array, "__dlpack__") or hasattr(array, "__array__"):
        return numpy.asarray(array)
    if _place_by_dlpack(array) == HOST:
        return numpy.from_dlpack(array)
    return numpy.from_dlpack(array, device="cpu")


def is_foreign(xp: Backend, values: Any) -> bool:
    """Tell whether this is an array of a library that is no backend here."""
    if isinstance(values, _PLAIN) or xp.owns(values):
        return False
    return (hasattr(values, "__dlpack__") or hasattr(values, "__array__")) and backend_of(values) is None


def brought(xp: Backend, values: Any, what: str) -> Any:
    """Return an array of whatever library as one of this backend, or as one of NumPy's.

    Where it lies on the backend's own device, it stays there (DLPack); else it goes by way of the host.
    """
    if xp.owns(values):
        return values
    check_readable(values, what)
    if not xp.on_host and place_of(values) == place_of_backend(xp):
        return xp.from_dlpack(values)
    owner = backend_of(values)
    return on_host(values) if owner is None else owner.to_numpy(values)
