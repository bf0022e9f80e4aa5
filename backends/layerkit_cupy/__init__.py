"""The GPU backend: CuPy.

It is imported when a backend of the name "cupy" is asked for, and says in one sentence what is missing where it cannot
be had.

A captured step becomes one CUDA graph: `stages` cuts it into chains of elementwise words, `source` writes a kernel for
each from the table in `expressions`, `products` calls cuBLAS, and `program` puts all into the graph, or says in
`model.program("train").reason` why it runs kernel by kernel. Two settings belong to the backend, which is
``layerkit.backend("cupy")``::

    xp.matmul_precision = "tf32"     # or LAYERKIT_MATMUL_PRECISION=tf32; "float32" by default
    xp.data_budget = 4 << 30         # bytes of data that `fit` keeps on the device; by default, a quarter of the free
    xp.memory_limit = 16 << 30       # or LAYERKIT_MEMORY_LIMIT: bytes that are taken at most; by default, all

Where memory does not suffice for a step, the error says what it takes, and how large a batch fits.

What no GPU has seen yet: all of it. The kernels compile with NVRTC for compute capability 7.5 to 9.0, and compute what
NumPy does when they are compiled for the host; cuBLAS is called as its header says; CuPy's names take what they are
given. Launches, graphs and streams are proven on an emulation of CuPy alone, and no time was measured. On a GPU,
``python -m pytest -m gpu`` and ``python -m tests.benchmarks.gpu`` do the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit_cupy.backend import CupyBackend

__all__ = ["CupyBackend"]


def __getattr__(name: str) -> Any:
    if name != "CupyBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from layerkit_cupy.installation import check_installation

    check_installation()
    from layerkit_cupy.backend import CupyBackend

    return CupyBackend
