"""What a real CuPy shows without a GPU.

That every name is there and takes what it is given; that the kernels compile for the GPUs of today; that cuBLAS is what
its headers say; that arrays lie as the kernels are told. CuPy's arrays are made over memory of the host.
"""

import ast
import ctypes
import inspect
import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import layerkit
from layerkit.errors import BackendUnavailableError
from layerkit.program import record
from layerkit.xp import words
from layerkit.xp.state import Stretch, Variable
from tests.backends.host_kernel import COMPILER
from tests.conftest import MISSING, REQUIRED

pytestmark = pytest.mark.skipif(
    find_spec("cupy") is None and "cupy" not in REQUIRED, reason="CuPy is not installed: no package cupy"
)

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "backends" / "layerkit_cupy").glob("*.py"))


def test_every_word_resolves():
    from layerkit_cupy import CupyBackend

    xp = CupyBackend(0)  # opens no device yet
    for word in (*words.ARRAY_WORDS, *words.NETWORK_WORDS, *words.MACHINE_WORDS):
        assert hasattr(xp, word), word
    for word in words.LINALG:
        assert hasattr(xp.linalg, word), word
    for word in words.FFT:
        assert hasattr(xp.fft, word), word


# Names, and how each is called here. `...` stands for any argument; no dictionary, for what is not called.
CALLS = {
    "cupy.__version__": None,
    "cupy.RawKernel": [(..., ...), (..., ..., ...)],
    "cupy.add": None,  # a ufunc: its signature is `*args`
    "cupy.asarray": [((...,), {"dtype": ...})],
    "cupy.ascontiguousarray": [(...,)],
    "cupy.asnumpy": [(...,)],
    "cupy.broadcast_to": [(..., ...)],
    "cupy.copyto": [(..., ...)],
    "cupy.cuda.Device": [(), (...,)],
    "cupy.cuda.Event": [((), {"disable_timing": ...})],
    "cupy.cuda.Memory": [(...,)],
    "cupy.cuda.MemoryPointer": [(..., ...)],
    "cupy.cuda.MemoryPool": [(...,)],
    "cupy.cuda.Stream": [((), {"non_blocking": ...})],
    "cupy.cuda.get_current_stream": [()],
    "cupy.cuda.memory.OutOfMemoryError": None,
    "cupy.cuda.runtime.CUDARuntimeError": None,
    "cupy.cuda.runtime.deviceSynchronize": [()],
    "cupy.cuda.runtime.memGetInfo": [()],
    "cupy.cuda.runtime.runtimeGetVersion": [()],
    "cupy.cuda.runtime.streamPerThread": None,
    "cupy.cuda.using_allocator": [(...,)],
    "cupy.dtype": None,
    "cupy.einsum": None,
    "cupy.empty": [((...,), {"dtype": ...}), (..., ...)],
    "cupy.float32": None,
    "cupy.iinfo": [(...,)],
    "cupy.generic": None,
    "cupy.get_default_memory_pool": [()],
    "cupy.matmul": [((..., ...), {"out": ...})],
    "cupy.ndarray": None,
    "cupy.result_type": [(..., ...)],
    "cupy.uint32": None,
    "cupy.uint64": None,
    "cupy.uint8": None,
    "cupyx.empty_pinned": [((...,), {"dtype": ...}), (..., ...)],
    "namespace.finfo": [(...,)],
    "namespace.isdtype": [(..., ...)],
    "namespace.matmul": [(..., ...)],
    "special.erfc": None,
    "special.expit": None,
    "cupy.cuda.nvrtc.getVersion": [()],
    "cupy.cuda.cublas": None,
    "runtime.CUDARuntimeError": None,
    "runtime.driverGetVersion": [()],
    "runtime.getDeviceCount": [()],
    "runtime.runtimeGetVersion": [()],
}

# Methods of what these return, and functions that are looked up by name.
METHODS = {
    "cupy.cuda.Graph.launch": [()],
    "cupy.cuda.MemoryPool.free_all_blocks": [()],
    "cupy.cuda.MemoryPool.free_bytes": [()],
    "cupy.cuda.MemoryPool.get_limit": [()],
    "cupy.cuda.MemoryPool.malloc": [(...,)],
    "cupy.cuda.MemoryPool.set_limit": [((), {"size": ...})],
    "cupy.cuda.MemoryPool.total_bytes": [()],
    "cupy.cuda.Stream.begin_capture": [()],
    "cupy.cuda.Stream.end_capture": [()],
    "cupy.cuda.Stream.synchronize": [()],
    "cupy.cuda.Stream.wait_event": [(...,)],
    "cupy.cuda.Event.record": [(...,)],
    "cupy.cuda.Event.synchronize": [()],
    "cupy.ndarray.set": [(..., ...)],
    "cupy.ndarray.view": None,
    "cupy.cuda.Device.attributes": None,
    "cupy.maximum": None,
    "cupy.minimum": None,
    "cupy.max": [((...,), {"axis": ..., "keepdims": ..., "out": ...})],
    "cupy.min": [((...,), {"axis": ..., "keepdims": ..., "out": ...})],
    "cupy.sum": [((...,), {"axis": ..., "keepdims": ..., "dtype": ..., "out": ...})],
    "cupy.ndarray.astype": [((...,), {"copy": ...})],
    "cupy.ndarray.copy": [()],
    "cupy.ndarray.reshape": None,
    "cupy.ndarray.data": None,
    "cupy.ndarray.flags": None,
    "cupy.ndarray.strides": None,
}


def found(name):
    import array_api_compat.cupy
    import cupy
    import cupyx
    from cupyx.scipy import special

    root, *path = name.split(".")
    roots = {"cupy": cupy, "cupyx": cupyx, "namespace": array_api_compat.cupy, "special": special}
    item = (roots | {"runtime": cupy.cuda.runtime})[root]
    for part in path:
        item = getattr(item, part)
    return item


def signature_of(item):
    """Return the signature of a function of Python, or of Cython, whose docstring begins with it."""
    try:
        return inspect.signature(item)
    except ValueError:
        text = re.search(r"\((.*?)\)(?: ->|$)", (item.__doc__ or "").strip().splitlines()[0], re.S)
        assert text is not None, f"{item}: no signature in {item.__doc__!r}"
        parts = [part.strip() for part in text[1].split(",") if part.strip()]
        typed = [re.sub(r"^[\w ]+ (\*{0,2}\w+(=.*)?)$", r"\1", part) for part in parts]
        namespace = {}
        exec(f"def function({', '.join(typed)}): pass", {"streamCaptureModeRelaxed": 2}, namespace)
        return inspect.signature(namespace["function"])


@pytest.mark.parametrize("name", [*CALLS, *METHODS])
def test_names_take_what_they_are_given(name):
    item = found(name)
    for call in (CALLS | METHODS)[name] or ():
        positional, named = call if len(call) == 2 and isinstance(call[1], dict) else (call, {})
        method = name.count(".") >= 2 and inspect.isclass(found(name.rpartition(".")[0]))
        signature = signature_of(item)
        own = [...] if method and "self" in signature.parameters else []
        signature.bind(*own, *positional, **named)


def test_a_call_that_does_not_fit_is_found():
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonblocking'"):
        signature_of(found("cupy.cuda.Stream")).bind(nonblocking=True)
    with pytest.raises(TypeError, match="too many positional arguments"):
        signature_of(found("cupy.RawKernel")).bind(*range(9))


def test_the_table_of_names_is_complete():
    used = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = []
            while isinstance(node, ast.Attribute):
                names.insert(0, node.attr)
                node = node.value
            if isinstance(node, ast.Name) and node.id in ("cupy", "cupyx", "namespace", "special", "runtime") and names:
                used.add(".".join((node.id, *names)))
    whole = {name for name in used if not any(other.startswith(f"{name}.") for other in used)}
    whole = {re.sub(r"\.(attributes|launch)$", "", name) for name in whole}
    assert whole == {*CALLS}


# Kernels.


@pytest.fixture(scope="module")
def nvrtc():
    from cupy.cuda import nvrtc

    try:
        nvrtc.getVersion()
    except Exception as error:
        if "cupy" in REQUIRED:
            raise
        pytest.skip(f"CUDA's compiler, NVRTC, is not installed: {str(error).splitlines()[0]}")
    return nvrtc


def compiled(nvrtc, source, architecture, options=()):
    """Return PTX, from what CuPy gives the compiler: its own options follow those of the kernel."""
    program = nvrtc.createProgram(source, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture={architecture}", *options, *QUIET, "-ftz=true"))
        log = nvrtc.getProgramLog(program).strip("\0\n ")
        assert not log, log  # warnings are errors
        return nvrtc.getPTX(program).decode()
    finally:
        nvrtc.destroyProgram(program)


# What is harmless: unsigned numbers that are compared with 0 where signed ones are too; what state held in between.
QUIET = ("--diag-suppress=186", "--diag-suppress=177")

# The oldest that CUDA 12 and 13 both know; the A100; the H100.
ARCHITECTURES = ["compute_75", "compute_80", "compute_90"]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_philox_compiles(nvrtc, architecture):
    from layerkit_cupy import backend

    assert ".visible .entry layerkit_philox(" in compiled(nvrtc, backend.PHILOX, architecture)


@pytest.mark.parametrize("size", [1, 2, 4, 8])
@pytest.mark.parametrize("ordered", [False, True])
def test_gathering_compiles(nvrtc, size, ordered):
    from layerkit_cupy.gathering import ADVANCE, gather_source

    name, source = gather_source(size, ordered=ordered)
    assert f".visible .entry {name}(" in compiled(nvrtc, source, "compute_75")
    assert ".visible .entry layerkit_advance(" in compiled(nvrtc, ADVANCE, "compute_90")


@pytest.fixture(scope="module")
def kernels():
    if COMPILER is None:
        pytest.skip("no C++ compiler, c++, is installed: the emulation of CuPy compiles kernels with it")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "backends")))}
    command = [sys.executable, "-m", "tests.backends.kernel_sources"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("architecture", ["compute_80", "compute_90"])
def test_written_kernels_compile(nvrtc, kernels, architecture):
    from layerkit_cupy.source import OPTIONS

    assert len(kernels) > 30
    for name, source in kernels:
        assert f".visible .entry {name}(" in compiled(nvrtc, source, architecture, OPTIONS)


def kernel(body, shape, *layouts):
    """Write a kernel over arrays of float32: `layouts` of two that it reads, and of one that it writes."""
    from layerkit_cupy.source import write
    from layerkit_cupy.stages import Kernel, Operand

    made = Kernel(shape)
    made.words, made.body = ["test"], [f"const float v0 = {body};"]
    made.reads = [Operand("r0", "float32", 0), Operand("r1", "float32", 1)]
    made.writes = [Operand("v0", "float32", 2)]
    return write(made, layouts).source


def test_loads_and_stores_are_of_128_bits_and_products_are_rounded(nvrtc):
    from layerkit_cupy.source import OPTIONS, Layout

    rows = Layout((1 << 20,), (1,), 16)
    text = kernel("r0 * r1 + r0", (1 << 20,), rows, rows, rows)
    ptx = compiled(nvrtc, text, "compute_90", OPTIONS)
    assert len(re.findall(r"ld\.global\.v4\.[fb]32", ptx)) == 2
    assert len(re.findall(r"st\.global\.v4\.[fb]32", ptx)) == 1
    assert "fma." not in ptx
    assert "fma." in compiled(nvrtc, text, "compute_90")  # what the option is for
    odd = rows._replace(aligned=4)
    assert ".v4." not in compiled(nvrtc, kernel("r0 * r1 + r0", (1 << 20,), odd, odd, odd), "compute_90", OPTIONS)


# Arrays: real ones, over memory of the host.


def over_host(array):
    """Return an array of CuPy whose elements are those of an array of NumPy."""
    import cupy

    base = array if array.base is None else array.base
    memory = cupy.cuda.UnownedMemory(base.ctypes.data, base.nbytes, base, 0)
    offset = array.ctypes.data - base.ctypes.data
    return cupy.ndarray(array.shape, array.dtype, cupy.cuda.MemoryPointer(memory, offset), array.strides)


HOST = np.zeros((6, 8), np.float32)
ARRAYS = [
    HOST,
    HOST.T,
    HOST[1:, ::2],
    HOST[::-1],
    HOST[:, 3],
    HOST[2:3, 1:2],
    np.zeros(5, bool),
    np.zeros((3, 1), "i8"),
]


@pytest.mark.parametrize("array", ARRAYS, ids=range(len(ARRAYS)))
def test_arrays_lie_as_kernels_are_told(array):
    from layerkit_cupy.source import WIDEST, layout
    from layerkit_cupy.stages import bounds, identity, overlap

    ours = over_host(array)
    lies = layout(ours)
    assert (lies.shape, lies.strides) == (array.shape, tuple(stride // array.itemsize for stride in array.strides))
    assert array.ctypes.data % lies.aligned == 0
    assert lies.aligned == WIDEST or array.ctypes.data % (2 * lies.aligned) != 0
    assert bounds(ours) == np.lib.array_utils.byte_bounds(array)
    assert overlap(ours, over_host(array))
    assert identity(ours) == identity(over_host(array))
    assert not overlap(ours, over_host(np.zeros(3)))


def test_a_step_is_planned_over_real_arrays():
    """Recorded on NumPy, and planned as if its state and inputs were CuPy's, as here they are."""
    from layerkit_cupy.stages import Stages

    numpy = layerkit.backend("numpy")
    flat = Variable(np.zeros(14), "float32", "flat", trainable=False, xp=numpy)
    kernel, bias = Stretch(numpy, flat.array, 0, 12, (4, 3), "kernel"), Stretch(numpy, flat.array, 12, 14, (2,), "bias")
    slot = Variable(np.zeros((4, 3)), "float32", "slot", trainable=False, xp=numpy)

    def step(xp, x):
        gradient = xp.matmul(x.T, xp.maximum(xp.matmul(x, kernel.value), 0.0))
        xp.assign(slot.value, gradient)
        xp.assign_add(kernel.value, slot.value * -0.1)
        xp.assign(bias.value, xp.tanh(flat.value[1:3]))  # which was written the line before

    x = np.ones((5, 4), np.float32)
    _, _, program = record(numpy, step, [x], "train")
    program = program.simplified()
    memory = {id(flat.array): np.zeros(14, np.float32), id(slot.array): np.zeros((4, 3), np.float32)}
    arrays = {"flat": over_host(memory[id(flat.array)]), "slot": over_host(memory[id(slot.array)])}
    arrays |= {"kernel": arrays["flat"][:12].reshape(4, 3), "bias": arrays["flat"][12:]}
    program.states = {place: SimpleNamespace(array=arrays[state.path]) for place, state in program.states.items()}
    stages = Stages(program, numpy_views(), [over_host(x)])
    found = [getattr(stage, "words", None) or stage.instruction.word for stage in stages.stages]
    assert found == ["matmul", ["maximum"], "matmul", ["multiply", "assign_add"], ["tanh", "assign"]]
    product = stages.stages[2]
    assert product.out.data.ptr == memory[id(slot.array)].ctypes.data
    assert [stages.stages[4].reads[0].where.data.ptr, stages.stages[4].writes[0].where.data.ptr] == [
        memory[id(flat.array)].ctypes.data + offset for offset in (4, 48)
    ]


def numpy_views():
    """Return the words that give views, as they are: methods of CuPy's arrays, which need no device."""
    return SimpleNamespace(
        permute_dims=lambda x, axes: x.transpose(axes), matrix_transpose=lambda x: x.swapaxes(-1, -2)
    )


def test_views_overlap_where_they_share_memory():
    from layerkit_cupy.stages import identity, overlap

    flat = over_host(np.zeros(10, np.float32))
    assert overlap(flat[:5], flat[4:])
    assert not overlap(flat[:5], flat[5:])
    assert identity(flat[:6].reshape(2, 3)) != identity(flat[:6].reshape(3, 2))
    assert identity(flat[:6].reshape(2, 3)) == identity(flat[0:6].reshape(2, 3))


@pytest.mark.parametrize(
    ("array", "transposed", "leading"),
    [
        (HOST, 0, 8),
        (HOST.T, 1, 8),
        (HOST[1:4, 2:5], 0, 8),
        (HOST[1:4, 2:5].T, 1, 8),
        (HOST[:1], 0, 8),
        (HOST[:, :1], 0, 8),
    ],
    ids=range(6),
)
def test_matrices_as_cublas_sees_them(array, transposed, leading):
    from layerkit_cupy.products import _as_columns

    found = _as_columns(over_host(array))
    assert (found.transposed, found.leading) == (transposed, leading)
    assert found.array.data.ptr == array.ctypes.data  # no copy


# cuBLAS.


def header(name):
    """Return the text of a header of CUDA's packages."""
    library = Path(import_module("cuda.pathfinder").load_nvidia_dynamic_lib("cublas").abs_path)
    for folder in (library.parent.parent / "include", library.parents[2] / "cuda_runtime" / "include"):
        if (folder / name).exists():
            return (folder / name).read_text(encoding="utf-8", errors="replace")
    return pytest.skip(f"CUDA's header {name} is not installed beside {library}")


C_TYPES = {
    **{"int": ctypes.c_int, "long long int": ctypes.c_longlong, "size_t": ctypes.c_size_t},
    **{"cublasHandle_t": ctypes.c_void_p, "cudaStream_t": ctypes.c_void_p},  # pointers to what nobody sees
    **dict.fromkeys(("cublasOperation_t", "cudaDataType", "cublasComputeType_t", "cublasGemmAlgo_t"), ctypes.c_int),
}


@pytest.fixture
def cublas():
    from layerkit_cupy import products

    try:
        return products.load()
    except Exception as error:
        if "cupy" in REQUIRED:
            raise
        pytest.skip(f"cuBLAS is not installed: {type(error).__name__}: {error}")


def test_cublas_has_the_functions(cublas):
    from layerkit_cupy.products import FUNCTIONS

    for name, types in FUNCTIONS.items():
        assert getattr(cublas, name).argtypes == types


@pytest.mark.skipif(sys.platform != "linux", reason="where there is no pathfinder, cuBLAS is looked for on Linux alone")
def test_cublas_is_found_without_a_pathfinder(cublas, monkeypatch):
    """As with CuPy 13, which does not bring it."""
    from layerkit_cupy.products import load

    monkeypatch.setitem(sys.modules, "cuda.pathfinder", None)
    found = load()
    addresses = [ctypes.cast(library.cublasGemmEx, ctypes.c_void_p).value for library in (found, cublas)]
    assert addresses[0] == addresses[1]


def test_functions_are_declared_as_in_the_header(cublas):
    from layerkit_cupy.products import FUNCTIONS

    text = re.sub(r"/\*.*?\*/", " ", header("cublas_api.h"), flags=re.S)
    for name, types in FUNCTIONS.items():
        declared = re.search(rf"cublasStatus_t\s+CUBLASWINAPI\s+{name}\s*\((.*?)\);", text, re.S)
        assert declared is not None, name
        expected = []
        for parameter in declared[1].split(","):
            kind = " ".join(parameter.replace("const", "").split()[:-1])
            expected.append(ctypes.c_void_p if "*" in parameter else C_TYPES[kind])
        assert list(types) == expected, name


def test_constants_are_those_of_the_headers(cublas):
    from layerkit_cupy.products import CONSTANTS

    text = header("cublas_api.h") + header("library_types.h")
    for name, value in CONSTANTS.items():
        assert re.findall(rf"\b{name}\s*=\s*(-?\d+)", text) == [str(value)], name


# Without a driver.

needs_no_driver = pytest.mark.skipif(MISSING["cupy"] is None, reason="there is a GPU")


@needs_no_driver
def test_the_missing_driver_is_said_in_one_sentence():
    with pytest.raises(BackendUnavailableError) as caught:
        layerkit.backend("cupy")
    assert str(caught.value) == MISSING["cupy"]
    assert "\n" not in str(caught.value)
    assert re.fullmatch(r"backend 'cupy': .* Received: .* (Install|Update|Look|Run|Use) .*", str(caught.value))


@needs_no_driver
def test_cublas_without_a_driver_is_a_reason_and_no_error(cublas):
    from layerkit_cupy.products import Products

    with pytest.raises(RuntimeError, match=r"^cublasCreate_v2 returned the status 1$"):  # NOT_INITIALIZED
        Products(cublas)
