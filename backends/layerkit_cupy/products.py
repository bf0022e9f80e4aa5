"""Products of matrices by cuBLAS, called so that a CUDA graph can hold them.

CuPy refuses cuBLAS while a stream is captured (`setStream` in its cublas.pyx raises NotImplementedError), because
cuBLAS may then allocate memory. With a workspace that is given beforehand it does not, and is allowed (cuBLAS
documentation, "CUDA Graphs Support" and `cublasSetWorkspace`). So the library that CuPy has loaded is called here
directly: five functions, declared as its header cublas_api.h declares them.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import threading
from importlib import import_module
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

cupy: Any = import_module("cupy")

WORKSPACE = 32 << 20
"""Bytes: what NVIDIA recommends for Hopper, and more than it does for what came before."""

_INT, _LONG, _POINTER, _SIZE = ctypes.c_int, ctypes.c_longlong, ctypes.c_void_p, ctypes.c_size_t
_MATRIX = (_POINTER, _INT, _INT)  # address, dtype, distance of its columns
_MATRICES = (*_MATRIX, _LONG)  # and distance to the next matrix
_BEFORE = (_POINTER, *(_INT,) * 5, _POINTER)  # handle, whether each is transposed, m, n, k, alpha
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cublasCreate_v2": (_POINTER,),
    "cublasSetStream_v2": (_POINTER, _POINTER),
    "cublasSetWorkspace_v2": (_POINTER, _POINTER, _SIZE),
    "cublasGemmEx": (*_BEFORE, *_MATRIX, *_MATRIX, _POINTER, *_MATRIX, _INT, _INT),
    "cublasGemmStridedBatchedEx": (*_BEFORE, *_MATRICES, *_MATRICES, _POINTER, *_MATRICES, _INT, _INT, _INT),
}
"""What is called, and with arguments of which types. Each returns a status, 0 if all is well."""

CONSTANTS = {
    **{"CUBLAS_OP_N": 0, "CUBLAS_OP_T": 1, "CUBLAS_GEMM_DEFAULT": -1},
    **{"CUBLAS_COMPUTE_32F": 68, "CUBLAS_COMPUTE_32F_FAST_TF32": 77, "CUBLAS_COMPUTE_64F": 70},
    **{"CUDA_R_32F": 0, "CUDA_R_64F": 1, "CUDA_R_16F": 2, "CUDA_R_16BF": 14},
}
"""As the headers have them."""

# The dtype of the matrices, of alpha, and of what is summed; products of numbers of 16 bits are summed in float32.
_KINDS: dict[str, tuple[int, Any, int]] = {
    "float16": (CONSTANTS["CUDA_R_16F"], ctypes.c_float, CONSTANTS["CUBLAS_COMPUTE_32F"]),
    "bfloat16": (CONSTANTS["CUDA_R_16BF"], ctypes.c_float, CONSTANTS["CUBLAS_COMPUTE_32F"]),
    "float32": (CONSTANTS["CUDA_R_32F"], ctypes.c_float, CONSTANTS["CUBLAS_COMPUTE_32F"]),
    "float64": (CONSTANTS["CUDA_R_64F"], ctypes.c_double, CONSTANTS["CUBLAS_COMPUTE_64F"]),
}

LARGEST = 2**31
"""No length or distance that cuBLAS takes is as large."""


def load() -> Any:
    """Return the cuBLAS that CuPy has loaded, or is going to.

    Raises:
        ImportError, OSError, AttributeError, RuntimeError: it is not there.
    """
    try:
        path = import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublas").abs_path
    except ImportError:  # CuPy has it from 14 on; the library that is loaded with an older one is found by its name
        _ = cupy.cuda.cublas
        path = f"libcublas.so.{cupy.cuda.runtime.runtimeGetVersion() // 1000}"
    library = ctypes.CDLL(path)
    for name, types in FUNCTIONS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = types, _INT
    return library


def current_order() -> tuple[int, int]:
    """Return what tells in whose order work is done that is asked for now: that of a stream, or of a thread's own."""
    stream = cupy.cuda.get_current_stream().ptr
    return stream, threading.get_ident() if stream == cupy.cuda.runtime.streamPerThread else 0


class Matrices(NamedTuple):
    """Matrices as cuBLAS sees them, which counts by columns: ours are their transposes."""

    array: Any
    transposed: int
    leading: int
    """Elements from one column to the next."""
    apart: int
    """Elements from one matrix to the next; 0 where all share one."""


class Products:
    """Products of matrices on the current device.

    Args:
        library: cuBLAS.
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        handle = ctypes.c_void_p()
        self._check("cublasCreate_v2", ctypes.addressof(handle))
        self._handle = handle.value
        self._workspaces: dict[Any, Any] = {}
        self._lock = threading.Lock()  # the stream is set in one call, and used in another

    def _check(self, name: str, *args: Any) -> None:
        status = getattr(self._library, name)(*args)
        if status != 0:
            raise RuntimeError(f"{name} returned the status {status}")

    def takes(self, a: Any, b: Any) -> bool:
        """Tell whether this is a product of matrices, or of stacks of them, that cuBLAS has."""
        if a.dtype != b.dtype or a.dtype.name not in _KINDS or 0 in (a.size, b.size, a.ndim, b.ndim):
            return False
        stack = _stack(a, b)
        if stack is None or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
            return False
        rows, columns = a.shape[-2] if a.ndim > 1 else 1, b.shape[-1] if b.ndim > 1 else 1
        return math.prod(stack) * max(rows * columns, rows * a.shape[-1], a.shape[-1] * columns) < LARGEST

    def __call__(self, a: Any, b: Any, precision: str = "float32", out: Any = None) -> Any:
        """Return ``a @ b``, where `takes` says that it can be had; written into `out`, row by row, if that is given.

        Shapes:
            a: (..., m, k), or (k,). b: (..., k, n), or (k,). result: (..., m, n), without the axis that one lacks. What
            stands before the matrices is broadcast.
        """
        left, right = (a if a.ndim > 1 else a.reshape(1, -1)), (b if b.ndim > 1 else b.reshape(-1, 1))
        stack = _stack(a, b) or ()
        if right.ndim > 2 and left.shape[:-2] != right.shape[:-2]:
            left, right = (cupy.broadcast_to(each, (*stack, *each.shape[-2:])) for each in (left, right))
        if out is None:
            out = cupy.empty((*stack, *a.shape[-2:-1], *(right.shape[-1:] if b.ndim > 1 else ())), dtype=a.dtype)
        # Matrices that all meet one are one matrix. To reshape is no copy, unless rows do not lie in one distance.
        stack = stack if right.ndim > 2 else ()
        rows, result = left.reshape(*stack, -1, left.shape[-1]), out.reshape(*stack, -1, right.shape[-1])
        if stack:
            rows, right, result = (array.reshape(-1, *array.shape[-2:]) for array in (rows, right, result))
        self._multiply(_as_columns(rows), _as_columns(right), result, precision)
        return out

    def _multiply(self, a: Matrices, b: Matrices, out: Any, precision: str) -> None:
        # Row by row, out = a b is, column by column, the transpose of out = the transpose of b times that of a.
        *_, m, n = out.shape
        kind, number, compute = _KINDS[out.dtype.name]
        if (out.dtype.name, precision) == ("float32", "tf32"):
            compute = CONSTANTS["CUBLAS_COMPUTE_32F_FAST_TF32"]
        one, zero = number(1), number(0)
        left = [b.array.data.ptr, kind, b.leading]
        right = [a.array.data.ptr, kind, a.leading]
        result = [out.data.ptr, kind, n]
        tail = [compute, CONSTANTS["CUBLAS_GEMM_DEFAULT"]]
        name = "cublasGemmEx"
        if out.ndim == 3:
            name = "cublasGemmStridedBatchedEx"
            tail.insert(0, out.shape[0])
            for matrices, apart in ((left, b.apart), (right, a.apart), (result, m * n)):
                matrices.append(apart)
        addresses = [ctypes.addressof(scalar) for scalar in (one, zero)]
        shape = [b.transposed, a.transposed, n, m, a.array.shape[-1]]
        workspace = self.workspace()
        with self._lock:
            self._check("cublasSetStream_v2", self._handle, cupy.cuda.get_current_stream().ptr)
            # To set a stream puts the workspace back to cuBLAS's own: it is to be given after that, each time.
            self._check("cublasSetWorkspace_v2", self._handle, workspace.ptr, WORKSPACE)
            self._check(name, self._handle, *shape, addresses[0], *left, *right, addresses[1], *result, *tail)

    def workspace(self) -> Any:
        """Return the memory that cuBLAS may use in the current stream. Products that run side by side share none."""
        order = current_order()
        found = self._workspaces.get(order)
        if found is None:  # of CuPy's own pool, wherever values come from just now
            found = self._workspaces[order] = cupy.get_default_memory_pool().malloc(WORKSPACE)
        return found

    @contextlib.contextmanager
    def captured_in(self, stream: Any) -> Generator[None]:
        """Give products that are captured in a stream the workspace of the current one, where their graph will run."""
        self._workspaces[stream.ptr, 0] = self.workspace()
        try:
            yield
        finally:
            del self._workspaces[stream.ptr, 0]


def _stack(a: Any, b: Any) -> tuple[int, ...] | None:
    """Return the shape that stacks of matrices have together; None if they do not fit."""
    pairs = list(zip_longest(a.shape[-3::-1], b.shape[-3::-1], fillvalue=1))[::-1]
    if any(one != other and 1 not in (one, other) for one, other in pairs):
        return None
    return tuple([max(pair) for pair in pairs])


def _as_columns(array: Any) -> Matrices:
    """Return matrices in a form that cuBLAS takes: themselves, or a copy of them."""
    *_, rows, columns = array.shape
    strides: Sequence[int] = [stride // array.dtype.itemsize for stride in array.strides]
    apart = strides[0] if array.ndim == 3 and array.shape[0] > 1 else rows * columns
    *_, down, right = strides
    if apart >= 0:
        if (right == 1 or columns == 1) and (down >= columns or rows == 1):
            return Matrices(array, CONSTANTS["CUBLAS_OP_N"], columns if rows == 1 else down, apart)
        if (down == 1 or rows == 1) and (right >= rows or columns == 1):
            return Matrices(array, CONSTANTS["CUBLAS_OP_T"], rows if columns == 1 else right, apart)
    return Matrices(cupy.ascontiguousarray(array), CONSTANTS["CUBLAS_OP_N"], columns, rows * columns)
