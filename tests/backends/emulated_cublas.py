"""cuBLAS as its documentation describes it, in NumPy: matrices by columns, at addresses."""

import ctypes
from importlib import import_module
from importlib.util import find_spec

import numpy as np

DTYPES = {0: np.float32, 1: np.float64, 2: np.float16}
if find_spec("ml_dtypes") is not None:
    DTYPES[14] = import_module("ml_dtypes").bfloat16


class EmulatedCublas:
    """The functions of cuBLAS that layerkit calls, on memory of the host.

    Args:
        cupy: the emulation of CuPy, which notes what is called while a stream is captured.
    """

    def __init__(self, cupy):
        self.cupy = cupy
        self.workspace = self.stream = None
        self.computes = []

    def cublasCreate_v2(self, handle):
        ctypes.c_void_p.from_address(handle).value = 0xB1A5
        return 0

    def cublasSetStream_v2(self, handle, stream):
        assert handle == 0xB1A5
        self.workspace = None  # as the documentation says
        self.stream = stream
        return 0

    def cublasSetWorkspace_v2(self, handle, address, size):
        assert handle == 0xB1A5
        assert size == 32 << 20
        self.workspace = address
        return 0

    def cublasGemmEx(
        self,
        handle,
        transa,
        transb,
        m,
        n,
        k,
        alpha,
        a,
        a_kind,
        lda,
        b,
        b_kind,
        ldb,
        beta,
        c,
        c_kind,
        ldc,
        compute,
        algo,
    ):
        return self.cublasGemmStridedBatchedEx(
            *(handle, transa, transb, m, n, k, alpha, a, a_kind, lda, 0, b, b_kind, ldb, 0, beta, c, c_kind, ldc, 0, 1),
            *(compute, algo),
        )

    def cublasGemmStridedBatchedEx(
        self, handle, transa, transb, m, n, k, alpha, a, a_kind, lda, a_apart, b, b_kind, ldb, b_apart, beta, c, c_kind,
        ldc, c_apart, count, compute, algo,
    ):  # fmt: skip
        assert handle == 0xB1A5
        assert self.stream == self.cupy.cuda.get_current_stream().ptr
        assert self.workspace is not None, "without a workspace, cuBLAS allocates one while a stream is captured"
        assert algo == -1
        assert a_kind == b_kind == c_kind
        assert compute in {0: (68, 77), 1: (70,), 2: (68,), 14: (68,)}[c_kind]
        dtype = DTYPES[c_kind]
        summed = np.float64 if compute == 70 else np.float32  # alpha and beta, and what is summed
        one, zero = (_by_columns(address, summed, (1, 1), 1, 0).item() for address in (alpha, beta))
        assert (one, zero) == (1, 0)
        assert ldc >= m

        def multiply():
            for number in range(count):
                left = _by_columns(a, dtype, (k, m) if transa else (m, k), lda, number * a_apart)
                right = _by_columns(b, dtype, (n, k) if transb else (k, n), ldb, number * b_apart)
                out = _by_columns(c, dtype, (m, n), ldc, number * c_apart)
                # The order of a sum is cuBLAS's own, and so are its last bits: here, it is exact.
                left, right = (matrix.astype(np.float64) for matrix in (left, right))
                out[...] = (left.T if transa else left) @ (right.T if transb else right)

        self.computes.append(compute)
        self.cupy._do("gemm", multiply)
        return 0


def _by_columns(address, dtype, shape, leading, offset):
    """Return the matrix at an address, whose columns lie `leading` elements apart."""
    rows, columns = shape
    assert leading >= max(rows, 1), "the distance of columns is at least their length"
    size = np.dtype(dtype).itemsize
    memory = (ctypes.c_char * ((leading * (columns - 1) + rows) * size)).from_address(address + offset * size)
    flat = np.frombuffer(memory, dtype)
    return np.lib.stride_tricks.as_strided(flat, shape, (size, leading * size), writeable=True)
