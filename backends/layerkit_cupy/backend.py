"""CuPy as a backend.

Array words come from `array_api_compat.cupy`, which gives CuPy's functions the names of the standard. All CUDA in
layerkit lives in this folder.
"""

from __future__ import annotations

import functools
import math
import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.errors import ArgumentError, BackendUnavailableError, DeviceMemoryError, MixedBackendsError
from layerkit.overriding import override
from layerkit.program import leaves
from layerkit.xp import reference, words
from layerkit.xp.backend import Backend, check_value
from layerkit.xp.einsum import parsed
from layerkit.xp.rows import Rows
from layerkit_cupy.expressions import limits
from layerkit_cupy.installation import device_names, find_device, summary
from layerkit_cupy.pools import Pools
from layerkit_cupy.products import Products, load
from layerkit_cupy.program import CupyProgram

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

# As Any: CuPy has no types, and need not be there for types to be checked.
cupy: Any = import_module("cupy")
namespace: Any = import_module("array_api_compat.cupy")
special: Any = import_module("cupyx.scipy.special")

# CuPy has bfloat16 from 14 on, where this package is installed.
_ml_dtypes: Any = import_module("ml_dtypes") if cupy.__version__ >= "14" and find_spec("ml_dtypes") else None

_THREADS = 256  # in a block: any multiple of 32 up to 1024 would do
PRECISIONS = ("float32", "tf32")
_END = "end what else runs on the device"
PHILOX = Path(__file__).with_name("philox.cu").read_text(encoding="utf-8")
_philox = cupy.RawKernel(PHILOX, "layerkit_philox")


class _OnDevice:
    """Within a ``with`` block, CuPy computes on this device; where it has no memory left, one sentence says so."""

    def __init__(self, index: int) -> None:
        self._index = index
        self._device = cupy.cuda.Device(index)  # a new one: its stack of former devices is not made for two threads

    def __enter__(self) -> None:
        self._device.__enter__()

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            if isinstance(error, cupy.cuda.memory.OutOfMemoryError):
                free, total = cupy.cuda.runtime.memGetInfo()
                limited = "limit set to" in str(error)
                raise DeviceMemoryError(
                    f"cupy:{self._index}: the device must have room for what is computed. "
                    f"Received: {str(error).rstrip('.')}, with {free:,} of the device's {total:,} bytes free. "
                    f"Use a smaller batch_size, or {'a larger memory_limit' if limited else _END}."
                ) from error
        finally:
            self._device.__exit__(None, None, None)


def _is_bfloat16(dtype: Any) -> bool:
    # To NumPy, None is float64: it stands for no dtype here.
    return _ml_dtypes is not None and dtype == _ml_dtypes.bfloat16


def _through_float32(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of CuPy's that gives float64 for float16, as one that gives what it is given."""

    def narrow(x: Any, /) -> Any:
        if x.dtype.itemsize > 2:
            return function(x)
        return function(x.astype(cupy.float32)).astype(x.dtype)

    return narrow


def _vecdot(xp: Any, x1: Any, x2: Any, /, *, axis: int = -1) -> Any:
    """Return the products of vectors as a sum, which a CUDA graph can hold, and CuPy's own call of cuBLAS cannot."""
    complex_numbers = xp.isdtype(x1.dtype, "complex floating")
    return xp.sum((xp.conj(x1) if complex_numbers else x1) * x2, axis=axis)


def _tensordot(xp: Any, x1: Any, x2: Any, /, *, axes: Any = 2) -> Any:
    """Return a sum over axes of two arrays as one product of matrices."""
    if isinstance(axes, int):
        axes = range(x1.ndim - axes, x1.ndim), range(axes)
    first, second = (tuple([axis % x.ndim for axis in each]) for x, each in zip((x1, x2), axes, strict=True))
    rows, columns = ([n for n in range(x.ndim) if n not in each] for x, each in ((x1, first), (x2, second)))
    summed = math.prod(x1.shape[n] for n in first)
    a = xp.reshape(xp.permute_dims(x1, (*rows, *first)), (math.prod(x1.shape[n] for n in rows), summed))
    b = xp.reshape(xp.permute_dims(x2, (*second, *columns)), (summed, math.prod(x2.shape[n] for n in columns)))
    return xp.reshape(xp.matmul(a, b), (*[x1.shape[n] for n in rows], *[x2.shape[n] for n in columns]))


# What CuPy asks of cuBLAS, as words that a CUDA graph can hold.
_PRODUCTS = {
    f"{group}{word}": function
    for group in ("", "linalg.")
    for word, function in (("vecdot", _vecdot), ("tensordot", _tensordot))
}


class CupyBackend(Backend):
    """CuPy on one CUDA device: ``"cupy:1"`` is the second; ``"cupy"`` is ``"cupy:0"``.

    CuPy computes on the thread's current device. Each word makes its backend's device current while it runs; operators
    between arrays do so within `on_device`, in which models, losses, metrics and optimizers do their work.

    Args:
        index: the number of the device.
    """

    name = "cupy"
    brings_batches = True
    replays_to_trust = 2  # as kernels, and as a graph

    expansions: ClassVar[Mapping[str, Callable[..., Any]]] = {
        word: getattr(reference, word) for word in ("linear", "softmax", "log_softmax", "one_hot", "einsum", "mean")
    } | {"linear_grad": reference.linear_grad_by_products, **_PRODUCTS}

    linear_grad = reference.linear_grad_by_products

    # One kernel each, where the references take several. exp(-x) may overflow to inf, whose reciprocal is right: 0.
    sigmoid: Any = staticmethod(_through_float32(special.expit))
    erfc: Any = staticmethod(_through_float32(special.erfc))

    def __init__(self, index: int) -> None:
        super().__init__(namespace, str(index))
        if _ml_dtypes is not None:
            self.bfloat16 = cupy.dtype(_ml_dtypes.bfloat16)
        self._index = index
        self.data_budget: int | None = None
        """How many bytes of a data set `fit` keeps on the device; None for a quarter of what is free."""
        self.pools = Pools()
        limit = os.environ.get("LAYERKIT_MEMORY_LIMIT", "").strip()
        if limit:
            self.memory_limit = int(limit) if limit.isdecimal() else limit
        self.matmul_precision = os.environ.get("LAYERKIT_MATMUL_PRECISION", "").strip() or "float32"
        computing = set(words.ARRAY_WORDS).difference(words.CONSTANTS, words.DTYPES)
        for word in (*computing, *words.NETWORK_WORDS, *words.MACHINE_WORDS):
            setattr(self, word, self._here(getattr(self, word)))
        groups: list[dict[str, Any]] = [vars(self.linalg), vars(self.fft)]
        for group in groups:
            group.update({word: self._here(function) for word, function in group.items()})

    def _here(self, word: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(word)
        def here(*args: Any, **kwargs: Any) -> Any:
            with _OnDevice(self._index):
                return word(*args, **kwargs)

        return here

    @property
    def memory_limit(self) -> int | None:
        """How many bytes of the device's memory are taken at most; None for all.

        By default what the environment variable ``LAYERKIT_MEMORY_LIMIT`` says. What is already taken stays.

        Raises:
            ArgumentError: it is set to something else than a whole number above 0, or None.
        """
        return self.pools.limit

    @memory_limit.setter
    def memory_limit(self, limit: Any) -> None:
        if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
            raise ArgumentError(
                f"{self}: memory_limit must be a whole number of bytes, at least 1, or None for all that the device "
                f"has. Received: memory_limit={limit!r}"
            )
        with self.on_device():
            self.pools.set_limit(limit)

    @property
    def matmul_precision(self) -> str:
        """How products of float32 matrices are computed: "float32"; or "tf32", with 10 bits of each factor's fraction.

        By default what the environment variable ``LAYERKIT_MATMUL_PRECISION`` says, or else "float32".

        Raises:
            ArgumentError: it is set to something else.
        """
        return self._matmul_precision

    @matmul_precision.setter
    def matmul_precision(self, precision: str) -> None:
        if precision not in PRECISIONS:
            raise ArgumentError(
                f"{self}: matmul_precision must be 'float32' or 'tf32'. Received: matmul_precision={precision!r}"
            )
        self._matmul_precision = precision

    @override
    def room_for_data(self) -> int:
        if self.data_budget is not None:
            return self.data_budget
        with self.on_device():
            return cupy.cuda.runtime.memGetInfo()[0] // 4

    @functools.cached_property
    def products(self) -> Products | Exception:
        """Products of matrices past CuPy, by cuBLAS itself; or why they cannot be had."""
        try:
            with self.on_device():
                return Products(load())
        except Exception as error:  # noqa: BLE001 - whatever it is, CuPy's own products remain
            return error

    def multiplied(self, a: Any, b: Any, out: Any = None) -> Any:
        """Return ``a @ b`` by cuBLAS itself where that is possible, so that a CUDA graph can hold it."""
        products = self.products
        if isinstance(products, Products):
            if a.dtype != b.dtype:
                common = cupy.result_type(a.dtype, b.dtype)
                a, b = a.astype(common, copy=False), b.astype(common, copy=False)
            if products.takes(a, b):
                return products(a, b, self.matmul_precision, out)
        return cupy.matmul(a, b, out=out)

    def isdtype(self, dtype: Any, kind: Any) -> bool:
        """Tell whether a dtype is of a kind. bfloat16, which is none of the standard, is one of the real floating."""
        if _is_bfloat16(dtype):
            return any(each in ("real floating", "numeric", dtype) for each in leaves((kind,)))
        return namespace.isdtype(dtype, kind)

    def finfo(self, dtype: Any) -> Any:
        """Return the limits of a floating dtype."""
        found = getattr(dtype, "dtype", dtype)
        return _ml_dtypes.finfo(found) if _is_bfloat16(found) else namespace.finfo(dtype)

    def clip(self, x: Any, /, min: Any = None, max: Any = None) -> Any:
        """Return x, or the limit next to it. That of array_api_compat waits for the device, to count what is beyond."""
        for word, limit in limits(x.dtype, min, max):
            x = getattr(cupy, word)(x, limit.astype(x.dtype, copy=False) if isinstance(limit, cupy.ndarray) else limit)
        return x

    def matmul(self, x1: Any, x2: Any, /) -> Any:
        """Return ``x1 @ x2``; products of numbers of 16 bits are summed in float32."""
        if self.matmul_precision == "float32" and "bfloat16" not in (x1.dtype.name, x2.dtype.name):
            return namespace.matmul(x1, x2)
        if isinstance(self.products, Exception):
            raise BackendUnavailableError(
                f"{self}: matmul_precision='tf32' needs cuBLAS. Received: {summary(self.products)}. "
                f"Install the CUDA toolkit, or use matmul_precision='float32'."
            )
        return self.multiplied(x1, x2)

    @classmethod
    @override
    def open(cls, device: str) -> CupyBackend:
        return cls(find_device(device))

    @override
    def devices(self) -> Sequence[str]:
        return device_names()

    @override
    def memory(self) -> tuple[int, int] | None:
        return cupy.cuda.Device(self._index).mem_info

    @override
    def free_memory(self) -> int | None:
        with self.on_device():
            return self.pools.free_memory()

    @override
    def on_device(self) -> AbstractContextManager[Any]:
        return _OnDevice(self._index)

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, cupy.ndarray) and array.device.id == self._index

    @override
    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        if isinstance(values, Rows):
            values = values.gathered()
        if isinstance(values, cupy.ndarray) and not self.owns(values):
            raise MixedBackendsError(
                f"One computation takes arrays of one backend. Received: an array of cupy:{values.device.id} in a "
                f"computation on {self}. Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
            )
        return cupy.asarray(values, dtype=dtype)

    @override
    def to_numpy(self, array: Any) -> Any:
        return cupy.asnumpy(array)

    @override
    def capture(self, program: Any) -> CupyProgram:
        return CupyProgram(program, self)

    @override
    def einsum(self, subscripts: str, *operands: Any) -> Any:
        parsed(subscripts, operands)  # says what does not fit
        return cupy.einsum(subscripts, *operands)

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        check_value("assign_add", state, value)
        cupy.add(state, value, out=state)

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        bits = cupy.empty((size,), dtype=cupy.uint32)
        blocks = -(-size // 8)
        if blocks:
            arguments = (*map(cupy.uint64, key), counter, bits, cupy.uint64(size))
            _philox((-(-blocks // _THREADS),), (_THREADS,), arguments)
        return bits

    @override
    def synchronize(self) -> None:
        cupy.cuda.runtime.deviceSynchronize()
