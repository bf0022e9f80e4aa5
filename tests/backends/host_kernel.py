"""CUDA kernels on the host: compiled as plain C, with one loop over the grid. It proves arithmetic, not parallelism."""

import ctypes
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

COMPILER = shutil.which("cc")

_PRELUDE = """
#define __global__
static struct { unsigned int x; } blockIdx, blockDim, threadIdx;
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
"""

_LAUNCH = """
void launch(unsigned int blocks, unsigned int threads, {parameters})
{{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            {name}({arguments});
}}
"""


class HostKernel:
    """What `cupy.RawKernel` is, for a kernel whose parameters are numbers of 64 bits and arrays.

    Args:
        source: CUDA that is C too.
        name: of the kernel in it.
    """

    def __init__(self, source, name):
        self.source = source
        self.name = name
        self._launch = None

    def __call__(self, grid, block, arguments):
        if self._launch is None:
            self._launch = self._compiled(arguments)
        numbers = [
            ctypes.c_void_p(argument.ctypes.data)
            if isinstance(argument, np.ndarray)
            else ctypes.c_ulonglong(int(argument))
            for argument in arguments
        ]
        self._launch(ctypes.c_uint(*grid), ctypes.c_uint(*block), *numbers)

    def _compiled(self, arguments):
        names = [f"a{n}" for n in range(len(arguments))]
        kinds = ["void *" if isinstance(argument, np.ndarray) else "unsigned long long " for argument in arguments]
        launch = _LAUNCH.format(
            name=self.name,
            parameters=", ".join(map("".join, zip(kinds, names, strict=True))),
            arguments=", ".join(names),
        )
        with tempfile.TemporaryDirectory() as folder:
            source, library = Path(folder, "kernel.c"), Path(folder, "kernel.so")
            source.write_text(_PRELUDE + self.source + launch)
            flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-O1", "-fPIC", "-shared"]
            done = subprocess.run(
                [COMPILER, *flags, source, "-o", library], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            return ctypes.CDLL(library).launch
