"""CUDA kernels on the host: compiled as plain C++, with one loop over the grid.

It proves arithmetic, not parallelism.
"""

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

COMPILER = shutil.which("c++")

# The compiler's own functions, under the names that CUDA has for both types: the header cmath takes longer to read than
# most kernels take to compile.
_ONE = (
    *(
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atanh",
        "ceil",
        "cos",
        "cosh",
        "erfc",
        "exp",
        "expm1",
        "fabs",
        "floor",
    ),
    *("log", "log10", "log1p", "log2", "rint", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)
_TWO = ("atan2", "copysign", "fmod", "hypot", "nextafter", "pow")
_QUESTIONS = ("isfinite", "isinf", "signbit")

_PRELUDE = (
    """
#define __global__
#define __device__
#define ONE(name) static inline float name(float x) { return __builtin_##name##f(x); } \\
    static inline double name(double x) { return __builtin_##name(x); }
#define TWO(name) static inline float name(float x, float y) { return __builtin_##name##f(x, y); } \\
    static inline double name(double x, double y) { return __builtin_##name(x, y); }
#define QUESTION(name) template <class T> static inline bool name(T x) { return __builtin_##name(x); }
static struct { unsigned int x; } blockIdx, blockDim, gridDim, threadIdx;
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b)
{
    return (unsigned long long)(((unsigned __int128)a * b) >> 64);
}
static inline double __longlong_as_double(long long bits)
{
    double number;
    __builtin_memcpy(&number, &bits, sizeof number);
    return number;
}
static inline unsigned int __float_as_uint(float x)
{
    unsigned int bits;
    __builtin_memcpy(&bits, &x, sizeof bits);
    return bits;
}
static inline float __uint_as_float(unsigned int bits)
{
    float x;
    __builtin_memcpy(&x, &bits, sizeof x);
    return x;
}
template <class T> static inline unsigned short bits_of_float16(T x)
{
    const _Float16 half = (_Float16)x;
    unsigned short bits;
    __builtin_memcpy(&bits, &half, sizeof bits);
    return bits;
}
static inline float value_of_float16(unsigned short bits)
{
    _Float16 half;
    __builtin_memcpy(&half, &bits, sizeof half);
    return half;
}
namespace cuda {
"""
    + "\n".join(
        f"{kind}({name})" for kind, names in (("ONE", _ONE), ("TWO", _TWO), ("QUESTION", _QUESTIONS)) for name in names
    )
    + """
}
using namespace cuda;
"""
)

_LAUNCH = """
namespace {{
struct Address {{
    void *at;
    template <class T> operator T *() const {{ return (T *)at; }}
}};
}}
extern "C" void launch_{name}(unsigned int blocks, unsigned int threads, {parameters})
{{
    gridDim.x = blocks;
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            {name}({arguments});
}}
"""

# As the device rounds: no product and sum in one; and integers that overflow go round, as CUDA's and NumPy's do.
_FLAGS = (
    *("-std=c++14", "-Wall", "-Wextra", "-Werror", "-Wno-sign-compare", "-Wno-unknown-pragmas", "-Wno-bool-operation"),
    *("-Wno-type-limits", "-Wno-unused-function", "-Wno-unused-variable", "-Wno-int-in-bool-context"),
    *("-ffp-contract=off", "-fwrapv", "-O1", "-fPIC", "-shared"),
)


class HostKernel:
    """What `cupy.RawKernel` is, for a kernel whose parameters are numbers of 64 bits and arrays.

    Args:
        source: CUDA that is C++ too.
        name: of the kernel in it.
        options: for CUDA's compiler.
    """

    def __init__(self, source, name, options=()):
        self.source = source
        self.name = name
        self.options = options

    def __call__(self, grid, block, arguments):
        pointers = tuple(hasattr(argument, "strides") and hasattr(argument, "ctypes") for argument in arguments)
        pointers = tuple(found and not isinstance(x, np.generic) for found, x in zip(pointers, arguments, strict=True))
        numbers = [
            ctypes.c_void_p(argument.ctypes.data) if pointer else ctypes.c_ulonglong(int(argument))
            for argument, pointer in zip(arguments, pointers, strict=True)
        ]
        launch = _compiled(self.source, self.name, pointers)
        launch(ctypes.c_uint(*grid), ctypes.c_uint(*block), *numbers)


@functools.cache
def _compiled(source, name, pointers):
    names = [f"a{n}" for n in range(len(pointers))]
    kinds = ["void *" if pointer else "unsigned long long " for pointer in pointers]
    launch = _LAUNCH.format(
        name=name,
        parameters=", ".join(map("".join, zip(kinds, names, strict=True))),
        arguments=", ".join(
            f"Address{{{name}}}" if pointer else name for name, pointer in zip(names, pointers, strict=True)
        ),
    )
    return getattr(_library(_PRELUDE + source + launch), f"launch_{name}")


def _library(text):
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
        source.write_text(text)
        done = subprocess.run([COMPILER, *_FLAGS, source, "-o", library], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr + text
        return ctypes.CDLL(library)
