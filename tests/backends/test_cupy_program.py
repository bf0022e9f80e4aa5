"""CuPy's captured steps: the kernels that are written for them, and the graph that holds them.

As in test_cupy_gpu.py, each test runs on the first GPU, where there is one, and everywhere on the emulation, which
compiles the kernels for the host: their arithmetic is proven there, their launch is not.
"""

import re
import sys
from importlib.util import find_spec

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.errors import ArgumentError, BackendUnavailableError, CaptureWarning, DeviceMemoryError
from layerkit.layers import BatchNormalization, Dense, Dropout, LayerNormalization
from layerkit.nested import mapped
from layerkit.optimizers import Adam
from layerkit.program import Spec, record
from layerkit.xp import words
from layerkit.xp.state import Stretch, Variable
from tests.backends.fuzz_cupy import compare
from tests.backends.fuzz_programs import random_step
from tests.benchmarks.gpu import Transfers

# Numbers at which words differ: both zeros, both infinities, NaN, ties of rounding, powers of two.
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 7.25, -7.25, 40.0]
FLOATS = np.array([*SPECIAL, *np.random.default_rng(0).normal(size=30)])
X, Y = (np.array(values).reshape(-1) for values in np.meshgrid(FLOATS, SPECIAL))

ONE = {
    "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bitwise_invert", "ceil", "cos", "cosh", "erfc", "exp",
    "expm1", "floor", "isfinite", "isinf", "isnan", "log", "log10", "log1p", "log2", "logical_not", "negative",
    "positive", "reciprocal", "round", "sigmoid", "sign", "signbit", "sin", "sinh", "softplus", "sqrt", "square", "tan",
    "tanh", "trunc", "zeros_like", "ones_like",
}  # fmt: skip
SPECIAL_FORMS = {
    "astype": lambda xp, x, y: [xp.astype(x, kind) for kind in (xp.float32, xp.float64, xp.bool)],
    "where": lambda xp, x, y: [xp.where(x > y, x, y), xp.where(x > 0, x, 0), xp.where(x > 0, 1, y)],
    "full_like": lambda xp, x, y: [xp.full_like(x, 3)],
    "clip": lambda xp, x, y: [xp.clip(x, -2, 2), xp.clip(x, min=-1, max=7), xp.clip(x, None, 2)],
    "pow": lambda xp, x, y: [xp.pow(x, y), xp.pow(x, 2), xp.pow(x, 0.5)],
}


def replayed(cupy, function, *arrays):
    """Record a step, and take it three times, as kernels, as a graph, and again; return results and program."""
    from layerkit_cupy.program import CupyProgram

    given = [cupy.asarray(array) for array in arrays]
    with cupy.on_device():
        _, _, program = record(cupy, function, given, "train")
        replays = CupyProgram(program, cupy)
        results = [replays(*given) for _ in range(3)]
    return [None if result is None else mapped(cupy.to_numpy, result) for result in results], replays


def kernels(program):
    """Return the words of each kernel, and the other words."""
    return [getattr(stage, "words", None) or stage.instruction.word for stage in program.stages]


# Words.


def test_each_elementwise_word_has_an_expression_or_a_reason(cupy):
    from layerkit_cupy.expressions import EXPRESSIONS, LEFT_TO_CUPY

    assert {*words.ELEMENTWISE} <= {*EXPRESSIONS, *LEFT_TO_CUPY}
    assert not {*EXPRESSIONS} & {*LEFT_TO_CUPY}


def all_words(xp, x, y, kind):
    """Return the results of every word that takes arrays of this kind of dtype."""
    from layerkit_cupy.expressions import EXPRESSIONS

    results = []
    for word in (*EXPRESSIONS, "clip"):
        if word in ("assign", "assign_add") or (word == "pow" and kind != "f"):
            continue
        expression = EXPRESSIONS.get(word)
        written = {"f": "floats", "b": "bools"}.get(kind, "integers")
        if expression is not None and expression.takes != "bool" and getattr(expression, written) is None:
            continue
        if word in SPECIAL_FORMS:
            results += [(word, result) for result in SPECIAL_FORMS[word](xp, x, y)] if kind != "b" else []
        else:
            results.append((word, getattr(xp, word)(x) if word in ONE else getattr(xp, word)(x, y)))
    return results


NO_BFLOAT16 = pytest.mark.skipif(find_spec("ml_dtypes") is None, reason="no package ml_dtypes, which has bfloat16")
HALVES = ["float16", pytest.param("bfloat16", marks=NO_BFLOAT16)]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int8", "uint32", "bool", *HALVES])
def test_words_are_those_of_numpy(cupy, dtype):
    """All words over one shape are few kernels: each result is written into state of its own."""
    numpy = layerkit.backend("numpy")
    kind = "f" if dtype == "bfloat16" else np.dtype(dtype).kind
    x, y = np.nan_to_num(X, posinf=90, neginf=-90), np.nan_to_num(Y, posinf=7, neginf=-7)
    if kind == "f":
        x, y = X.astype(dtype), Y.astype(dtype)
    else:
        x, y = (np.abs(values) if kind == "u" else values for values in (x, y))
        x, y = x.astype(dtype), y.astype(dtype)
    with np.errstate(all="ignore"):
        expected = all_words(numpy, x, y, kind)
    states = [
        Variable(np.zeros(x.shape), values.dtype.name, f"state {n}", trainable=False, xp=cupy)
        for n, (_, values) in enumerate(expected)
    ]

    def step(xp, x, y):
        for state, (_, result) in zip(states, all_words(xp, x, y, kind), strict=True):
            xp.assign(state.value, result)

    _, program = replayed(cupy, step, x, y)
    assert program.path == "graph", program.reason
    # Few ULPs for functions, which each library rounds in its own way; nothing for arithmetic.
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 2e-6, "float64": 1e-14}.get(dtype, 1e-14)
    exact = {
        "add",
        "subtract",
        "multiply",
        "divide",
        "sqrt",
        "remainder",
        "floor_divide",
        "round",
        "maximum",
        "minimum",
    }
    for state, (word, values) in zip(states, expected, strict=True):
        found = state.numpy()
        real = values.dtype.kind == "f" or values.dtype.name == "bfloat16"
        rtol = 0 if word in exact or not real else tolerance
        atol = 1.2e-38 if values.dtype == np.float32 else 0  # below which CuPy's kernels have 0
        np.testing.assert_allclose(found, values, rtol=rtol, atol=atol, err_msg=word)
        if real and word not in ("maximum", "minimum", "sign", "clip"):  # of which zero, is open
            np.testing.assert_array_equal(np.signbit(found)[values == 0], np.signbit(values)[values == 0], err_msg=word)
    left = [found for found in kernels(program) if isinstance(found, str)]
    assert {*left} <= ({"nextafter"} if "float16" in dtype else set())


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_each_word_of_a_chain_is_rounded(cupy, dtype):
    x = np.random.default_rng(0).normal(size=1000).astype(dtype)

    def step(xp, x):
        return (x * 1.1 + 0.3) * x - xp.sqrt(x * x + 1.0) / 3.0

    results, program = replayed(cupy, step, x)
    assert len(program.stages) == 1
    for result in results:
        np.testing.assert_array_equal(result, step(np, x))


def test_shifts_by_all_bits_and_more(cupy):
    x = np.array([1, -1, -128, 127, 5], np.int8)

    def step(xp, x):
        return xp.concat([xp.bitwise_left_shift(x, n) + xp.bitwise_right_shift(x, n) * 2 for n in (0, 3, 7, 8, 100)])

    with np.errstate(all="ignore"):
        expected = step(np, x)
    for result in replayed(cupy, step, x)[0]:
        np.testing.assert_array_equal(result, expected)


LIMITS = {
    "both": lambda xp, x: xp.clip(x, -2, 3),
    "the lower": lambda xp, x: xp.clip(x, min=-2),
    "the upper": lambda xp, x: xp.clip(x, max=3),
    "the upper, by place": lambda xp, x: xp.clip(x, None, 3),
    "arrays": lambda xp, x: xp.clip(x, x[:1], x[-1:] + 1),
    "one that cannot be reached": lambda xp, x: xp.clip(x, -1000, 3),
}


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("limits", LIMITS)
def test_clip_stays_in_the_graph_whatever_its_limits(cupy, limits, dtype):
    x = np.array([-1, -128, 127, 2, 3, -2, 0], dtype)
    clip = LIMITS[limits]
    expected = clip(layerkit.backend("numpy"), x)
    np.testing.assert_array_equal(cupy.to_numpy(clip(cupy, cupy.asarray(x))), expected)
    results, program = replayed(cupy, lambda xp, x: clip(xp, x) * 2, x // 2)
    assert program.path == "graph", program.reason
    expected = clip(layerkit.backend("numpy"), x // 2) * 2
    for result in results:
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_numbers_take_the_dtype_beside_them(cupy):
    x = np.array([1, 2, 3], np.int32)

    def step(xp, x):
        a = xp.astype(x, xp.float32) * 0.1 + 1e-3  # float32 throughout
        return xp.where(x > 1.5, a, a + x * 0.1)  # int32 with 0.1 is float64

    expected = np.asarray(step(layerkit.backend("numpy"), x))
    for result in replayed(cupy, step, x)[0]:
        assert result.dtype == expected.dtype
        np.testing.assert_array_equal(result, expected)


def test_numbers_that_are_not_finite(cupy):
    x = np.array([1.0, -1.0], np.float32)
    for result in replayed(cupy, lambda xp, x: xp.where(x > -np.inf, x * np.inf, np.nan), x)[0]:
        np.testing.assert_array_equal(result, [np.inf, -np.inf])
    for result in replayed(cupy, lambda xp, x: xp.where(x < -np.inf, x, np.nan), x)[0]:
        assert np.isnan(result).all()


# Layouts.


@pytest.mark.parametrize("shape", [(), (1,), (7,), (2, 2), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("how", ["rows", "transposed", "reversed", "every other", "broadcast"])
def test_operands_in_every_layout(cupy, shape, how):
    x = np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)
    others = {
        "rows": lambda xp, x: x,
        "transposed": lambda xp, x: xp.permute_dims(
            xp.permute_dims(x + 1, tuple(range(x.ndim))[::-1]) * 2, tuple(range(x.ndim))[::-1]
        ),
        "reversed": lambda xp, x: xp.flip(x),
        "every other": lambda xp, x: xp.concat([xp.reshape(x, (-1,))] * 2)[::2][: x.shape[0]] if x.ndim == 1 else x,
        "broadcast": lambda xp, x: x if x.ndim == 0 else xp.expand_dims(x[..., 0], axis=-1) + x[..., :1],
    }

    def step(xp, x):
        return others[how](xp, x) * 2 - x

    expected = np.asarray(step(layerkit.backend("numpy"), x))
    for result in replayed(cupy, step, x)[0]:
        np.testing.assert_array_equal(result, expected)


def written(cupy, function, *arrays):
    """Return the one kernel of a step as it is written for arrays that lie in rows."""
    from layerkit_cupy import source

    _, program = replayed(cupy, function, *arrays)
    (kernel,) = (stage for stage in program.stages if hasattr(stage, "body"))
    with cupy.on_device():
        found = [cupy.empty(kernel.shape, dtype=cupy.float32) for _ in (*kernel.reads, *kernel.writes)]
        return kernel, [source.layout(array) for array in found], source


def test_aligned_rows_are_read_and_written_128_bits_at_a_time(cupy):
    x = np.ones(10, np.float32)
    kernel, layouts, source = written(cupy, lambda xp, x: x * 2 + 1, x)
    text = source.write(kernel, layouts).source
    assert "const Pack<float, 4> pack0 = ((const Pack<float, 4> *)in0)[p];" in text
    assert "((Pack<float, 4> *)out0)[p] = pack1;" in text
    assert "for (uint32 p = first; p < 2; p += step)" in text  # two packs of four
    assert "for (uint32 i = 8 + first; i < 10; i += step)" in text  # and two that are left over
    odd = [layouts[0]._replace(aligned=4), layouts[1]]
    assert "Pack<float" not in source.write(kernel, odd).source.split('extern "C"')[1]
    eight = [layouts[0]._replace(aligned=8), layouts[1]]
    assert "const Pack<float, 2> pack0" in source.write(kernel, eight).source


def test_large_arrays_are_counted_with_64_bits(cupy):
    x = np.ones(4, np.float32)
    kernel, layouts, source = written(cupy, lambda xp, x: x * 2 + 1, x)
    assert "const uint32 first" in source.write(kernel, layouts).source
    kernel.shape = (1 << 31,)
    large = [found._replace(shape=kernel.shape) for found in layouts]
    assert "const int64 first" in source.write(kernel, large).source


@pytest.mark.parametrize(
    ("shape", "own", "strides", "index"),
    [
        ((6,), (6,), (1,), "i"),
        ((2, 3), (2, 3), (3, 1), "i"),
        ((2, 3), (3,), (1,), "i % 3"),
        ((2, 3), (2, 1), (1, 1), "i / 3"),
        ((2, 3), (), (), "0"),
        ((2, 3), (2, 3), (1, 2), "(i % 3) * 2 + i / 3"),
        ((4, 2, 3), (4, 1, 3), (3, 3, 1), "i % 3 + (i / 6) * 3"),
        ((4, 2, 3), (2, 3), (3, 1), "i % 6"),
        ((5,), (5,), (-1,), "(i) * -1"),
        ((1, 7), (1, 7), (99, 1), "i"),
    ],
)
def test_index_of_an_element(cupy, shape, own, strides, index):
    from layerkit_cupy import source

    assert source._index(source._axes(shape, source.Layout(own, strides, 16))) == index


# Which words share a kernel, and what they may not do to each other.


def test_a_chain_is_one_kernel_and_keeps_what_only_it_needs_in_registers(cupy):
    x = np.ones((3, 4), np.float32)
    _, program = replayed(cupy, lambda xp, x: xp.tanh(x * 2 + 1) * xp.exp(-x) - x, x)
    assert kernels(program) == [["multiply", "add", "tanh", "negative", "exp", "multiply", "subtract"]]
    assert [len(stage.writes) for stage in program.stages] == [1]
    assert [operand.name for operand in program.stages[0].reads] == ["r0"]


def test_a_bias_and_an_activation_share_a_kernel(cupy):
    state = Variable(np.arange(12.0).reshape(3, 4), "float32", "kernel", trainable=False, xp=cupy)
    bias = Variable(np.arange(4.0), "float32", "bias", trainable=False, xp=cupy)
    _, program = replayed(
        cupy, lambda xp, x: xp.maximum(xp.linear(x, state.value, bias.value), 0.0), np.ones((2, 3), "f")
    )
    assert kernels(program) == ["matmul", ["add", "maximum"]]


def test_gradients_are_computed_where_the_optimizer_looks_for_them(cupy):
    target = Variable(np.zeros((3, 4)), "float32", "gradient", trainable=False, xp=cupy)

    def step(xp, x, dy):
        xp.assign(target.value, xp.matmul(x.T, dy))
        return xp.sum(target.value)

    x, dy = np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(8, dtype=np.float32).reshape(2, 4)
    results, program = replayed(cupy, step, x, dy)
    assert kernels(program) == ["matmul", "sum"]
    np.testing.assert_array_equal(target.numpy(), x.T @ dy)
    assert [float(result) for result in results] == [float((x.T @ dy).sum())] * 3


def test_a_product_does_not_overwrite_what_is_still_read(cupy):
    state, factor = (
        Variable(np.ones((2, 2)), "float64", name, trainable=False, xp=cupy) for name in ("state", "factor")
    )

    def step(xp, x):
        product = xp.matmul(x, factor.value)
        before = state.value * 1.0
        xp.assign(state.value, product)
        xp.assign_add(factor.value, 1.0)
        return before

    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for number, result in enumerate(replayed(cupy, step, x)[0], 1):
        np.testing.assert_array_equal(result, x @ np.full((2, 2), number))


def test_a_product_that_is_used_otherwise_is_a_value_of_its_own(cupy):
    state = Variable(np.zeros((2, 2)), "float64", "state", trainable=False, xp=cupy)

    def step(xp, x):
        product = xp.matmul(x, x)
        xp.assign(state.value, product)
        xp.assign_add(state.value, 1.0)
        return xp.matmul(product, x)

    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    for result in replayed(cupy, step, x)[0]:
        np.testing.assert_array_equal(result, x @ x @ x)
    np.testing.assert_array_equal(state.numpy(), x @ x + 1)


def test_what_is_read_and_then_written_elsewhere_is_not_disturbed(cupy):
    flat = Variable(np.arange(8.0), "float32", "flat", trainable=False, xp=cupy)
    ahead, behind = (Stretch(cupy, flat.array, start, start + 7, (7,), f"from {start}") for start in (1, 0))

    def step(xp, x):
        moved = ahead.value * 1.0  # read before the next line writes over most of it
        xp.assign(behind.value, x)
        xp.assign(ahead.value, moved + 1.0)

    expected = np.arange(8.0)
    _, program = replayed(cupy, step, np.zeros(7, "f"))
    for _ in range(4):  # recorded, as kernels, as a graph, and again
        moved = expected[1:].copy()
        expected[:7] = 0
        expected[1:] = moved + 1
    np.testing.assert_array_equal(flat.numpy(), expected)
    assert program.path == "graph"
    assert len(program.stages) > 1


def test_state_that_was_written_reads_as_its_dtype_holds_it(cupy):
    count = Variable(np.zeros(3), "int64", "count", trainable=False, xp=cupy)

    def step(xp, x):
        xp.assign(count.value, x)  # 2.75 becomes 2
        return count.value * 10

    results, program = replayed(cupy, step, np.full(3, 2.75))
    assert len(program.stages) == 1
    for result in results:
        np.testing.assert_array_equal(result, [20, 20, 20])


@pytest.mark.parametrize("seed", [3, 8, 1001, 1004, 1017, 1023, 1026, 1030, 1042])
def test_random_steps(cupy, seed):
    compare(random_step(seed), cupy)


# The graph.


def test_the_third_step_is_one_launch(cupy):
    program = trained(cupy)[1]
    assert (program.path, program.reason) == ("graph", "")


def test_several_results_are_copies(cupy):
    """The graph writes its own anew each time."""
    found, program = [], replayed(cupy, lambda xp, x: (x * 2, x + 1), np.ones(3))[1]
    for number in range(3):
        found.append(program(cupy.asarray(np.full(3, float(number)))))
    assert program.path == "graph", program.reason
    for number, (twice, more) in enumerate(found):
        np.testing.assert_array_equal(cupy.to_numpy(twice), 2 * number)
        np.testing.assert_array_equal(cupy.to_numpy(more), number + 1)


def test_launches(emulation):
    cupy = layerkit.backend("cupy:0")
    library = sys.modules["cupy"]
    model = trained(cupy)[0]
    x, y = cupy.asarray(data()[0][:10]), cupy.asarray(data()[1][:10])
    model.train_on_batch(x, y)
    library.launches.clear()
    model.fit(data()[0], data()[1], batch_size=10, epochs=1, verbose=0, shuffle=False)
    # Each of four steps: x and y at once to the device, and there to where the graph reads them, and the graph.
    steps = [name for name in library.launches if name in ("set", "copy", "graph")]
    assert steps == ["set", "copy", "graph"] * 4
    assert not [name for name in library.launches if name.startswith(("layerkit_", "gemm"))]


def test_what_a_graph_cannot_hold_is_replayed_as_kernels(cupy):
    """CuPy's own products, say, which it refuses while a stream is captured."""
    state = Variable(np.zeros(2), "float32", "state", trainable=False, xp=cupy)

    def step(xp, x):
        xp.assign_add(state.value, xp.tensordot(x, x[0, :], axes=1) + 1.0)
        return state.value * 2.0

    results, program = replayed(cupy, step, np.ones((2, 3), np.float32))
    assert [float(result[0]) for result in results] == [16, 24, 32]  # no step is taken twice, and none left out
    np.testing.assert_array_equal(state.numpy(), [16, 16])
    if program.path == "kernels":
        assert program.reason.startswith("NotImplementedError: calling cuBLAS API during stream capture")
    else:
        assert layerkit.xp.backend_of(state.array) is cupy  # a CuPy that has learnt it


@pytest.mark.parametrize("dtype", ["float32", "complex128"])
@pytest.mark.parametrize("axis", [-1, -2])
def test_products_of_vectors_are_sums(cupy, dtype, axis):
    a, b = np.arange(12).reshape(2, 3, 2).astype(dtype), np.arange(6).reshape(3, 2).astype(dtype)
    a, b = (a * (1 + 2j), b * (3 - 1j)) if dtype == "complex128" else (a, b)
    results, program = replayed(cupy, lambda xp, a, b: xp.vecdot(a, b, axis=axis), a, b)
    assert "vecdot" not in program.source
    for result in results:
        np.testing.assert_array_equal(result, np.vecdot(a, b, axis=axis))


def test_without_cublas_products_are_cupys(emulation):
    def missing():
        raise ImportError("No module named 'cuda'")

    emulation_of = sys.modules["layerkit_cupy.backend"]
    emulation_of.load = missing
    cupy = layerkit.backend("cupy:0")
    results, program = replayed(cupy, lambda xp, x: xp.matmul(x, x) + 1.0, np.eye(3, dtype=np.float32))
    assert program.path == "kernels"
    assert program.reason == (
        "NotImplementedError: calling cuBLAS API during stream capture is currently unsupported; "
        "cuBLAS could not be called past CuPy: ImportError: No module named 'cuda'"
    )
    assert "kernels (NotImplementedError" in program.source
    for result in results:
        np.testing.assert_array_equal(result, np.eye(3) + 1)
    cupy.matmul_precision = "tf32"
    with pytest.raises(BackendUnavailableError) as caught:
        cupy.matmul(cupy.ones((2, 2)), cupy.ones((2, 2)))
    assert str(caught.value) == (
        "cupy:0: matmul_precision='tf32' needs cuBLAS. Received: ImportError: No module named 'cuda'. "
        "Install the CUDA toolkit, or use matmul_precision='float32'."
    )


def test_a_program_holds_for_two_threads(cupy):
    """Who comes while a replay is at work gets another."""
    from layerkit_cupy.program import CupyProgram

    inner = []

    def step(xp, x):
        return x * 2.0

    x = cupy.asarray(np.arange(3.0))
    _, _, program = record(cupy, step, [x], "predict")
    replays = CupyProgram(program, cupy)
    replays(x)
    (idle,) = replays._idle.values()
    taken = idle.pop()  # as a thread does
    inner.append(cupy.to_numpy(replays(x + 1)))
    idle.append(taken)
    np.testing.assert_array_equal(inner[0], [2, 4, 6])
    np.testing.assert_array_equal(cupy.to_numpy(replays(x)), [0, 2, 4])
    assert len(idle) == 2


def test_streams_share_neither_replays_nor_the_workspace_of_cublas(cupy):
    """What one stream is at work on, as the device takes its time, is not for another."""
    from layerkit_cupy.program import CupyProgram

    library = sys.modules["cupy"]
    x = cupy.asarray(np.arange(4.0).reshape(2, 2))
    with cupy.on_device():
        _, _, program = record(cupy, lambda xp, x: xp.matmul(x, x), [x], "predict")
        replays = CupyProgram(program, cupy)
        other = library.cuda.Stream(non_blocking=True)
        cupy.synchronize()
        for _ in range(3):
            results = [cupy.to_numpy(replays(x))]
            with other:
                results.append(cupy.to_numpy(replays(x)))
            for result in results:
                np.testing.assert_array_equal(result, [[2, 3], [6, 11]])
        first, second = replays._idle.values()
        assert first != second
        workspaces = [cupy.products.workspace().ptr]
        with other:
            workspaces.append(cupy.products.workspace().ptr)
    assert workspaces[0] != workspaces[1]
    for (replay,), workspace in zip((first, second), workspaces, strict=True):
        with cupy.on_device(), cupy.products.captured_in(replay._pool.stream), replay._pool.stream:
            assert cupy.products.workspace().ptr == workspaces[0]  # that of the stream which is current around
        assert workspace in workspaces


def test_one_thread_at_a_time_sets_the_stream_of_cublas_and_uses_it(emulation):
    cupy = layerkit.backend("cupy:0")
    products, held = cupy.products, []
    library = products._library

    def watched(function):
        def called(*args):
            held.append(products._lock.locked())
            return function(*args)

        return called

    for name in ("cublasSetStream_v2", "cublasSetWorkspace_v2", "cublasGemmEx"):
        setattr(library, name, watched(getattr(library, name)))
    products(cupy.ones((2, 2)), cupy.ones((2, 2)))
    assert held == [True] * 3
    assert not products._lock.locked()


def test_a_graph_has_the_workspace_of_the_stream_that_it_runs_in(emulation):
    cupy = layerkit.backend("cupy:0")
    x = np.eye(3, dtype=np.float32)
    replayed(cupy, lambda xp, x: xp.matmul(x, x), x)
    library = cupy.products._library
    assert library.workspace == cupy.products.workspace().ptr
    assert [*cupy.products._workspaces] == [(0, 0)]


def test_values_have_the_memory_of_the_stream_that_is_captured(emulation):
    """CuPy's pools keep memory apart by streams: what is found without a graph is there for it."""
    from layerkit_cupy.program import CupyProgram

    cupy = layerkit.backend("cupy:0")
    x = cupy.asarray(np.arange(3.0))
    _, _, program = record(cupy, lambda xp, x: xp.sum(x * 2.0) + x, [x], "predict")
    replays = CupyProgram(program, cupy)
    for _ in range(3):
        replays(x)
    ((replay,),) = replays._idle.values()
    assert replay._pool.pool.streams == {replay._pool.stream.ptr}
    assert replay._pool.stream.ptr != 0


def test_memory_of_a_graph_is_not_given_back(emulation, monkeypatch):
    """It is at rest between two launches, and still the graph's: CuPy's pool would give it back where it needs more."""
    from layerkit.xp.rows import Rows
    from layerkit_cupy.program import CupyProgram

    cupy = layerkit.backend("cupy:0")
    library = sys.modules["cupy"]
    x = cupy.asarray(np.arange(12.0).reshape(6, 2))
    _, _, program = record(cupy, lambda xp, x: xp.sum(x * 2.0) + x, [x[:2, :]], "predict")
    replays = CupyProgram(program, cupy)
    for _ in range(3):
        replays(x[:2, :])
    ((replay,),) = replays._idle.values()
    pool = replay._pool.pool
    before = pool.given_back
    monkeypatch.setattr(library.cuda.Memory, "left", 0)
    assert replay._pool.holds_graph
    for start in (0, 2):  # a graph that begins with gathering takes memory, and there is none: the other will do
        result = replays(Rows(cupy, x, None, start, start + 2))
        rows = np.arange(12.0).reshape(6, 2)[start : start + 2]
        np.testing.assert_array_equal(cupy.to_numpy(result), (rows * 2).sum() + rows)
    assert replay._gathering_graph is None
    with pytest.raises(DeviceMemoryError), cupy.on_device():
        replay._pool.malloc(8)
    assert pool.given_back == before
    fresh = cupy.pools.new()
    with pytest.raises(DeviceMemoryError), cupy.on_device():
        fresh.malloc(8)
    assert fresh.pool.given_back == 1  # without a graph, there is nothing to keep


def test_a_step_may_take_the_memory_that_is_at_rest_elsewhere(emulation, monkeypatch):
    cupy = layerkit.backend("cupy:0")
    library = sys.modules["cupy"]
    own = library.get_default_memory_pool()
    monkeypatch.setattr(library.cuda.Memory, "left", 0)
    monkeypatch.setattr(own, "free_all_blocks", lambda: setattr(library.cuda.Memory, "left", 100))
    pool = cupy.pools.new()
    pool.holds_graph = True
    assert pool.malloc(100).ptr != 0


def test_cuffts_plans_are_not_for_graphs(cupy):
    x = np.arange(4.0)
    results, program = replayed(cupy, lambda xp, x: xp.real(xp.fft.ifft(xp.fft.fft(x))) + 1.0, x)
    assert program.path == "kernels"
    assert program.reason == (
        "NotImplementedError: a graph would go on with memory of cuFFT's plans, which CuPy gives up"
    )
    for result in results:
        np.testing.assert_allclose(result, x + 1, rtol=1e-12)


# Training.


def data():
    random = np.random.default_rng(5)
    x = random.normal(size=(40, 6))
    return x, random.integers(0, 3, 40)


def trained(backend, steps=8):
    model = Sequential([Dense(8, activation="gelu"), Dropout(0.25), Dense(3)], seed=3, dtype="float64", backend=backend)
    loss = layerkit.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(Adam(0.01), loss, metrics=["accuracy"])
    model.fit(*data(), batch_size=10, epochs=steps // 4, verbose=0)
    return model, model.program("train")


def test_a_hundred_steps_are_those_of_numpy(cupy):
    ours, theirs = (trained(backend, 100)[0] for backend in (cupy, "numpy"))
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        scale = max(np.abs(other.numpy()).max(), 1e-300)
        assert np.abs(mine.numpy() - other.numpy()).max() <= 1e-10 * scale, mine.path
    np.testing.assert_allclose(ours.evaluate(*data(), verbose=0), theirs.evaluate(*data(), verbose=0), rtol=1e-10)


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gradient_that_is_nothing_but_rounding_is_no_reason_to_refuse_a_graph(cupy, seed):
    """That of a bias before a normalization: cuBLAS sums in an order of its own, and Adam divides by what it is."""
    model = Sequential([Dense(16), BatchNormalization(), Dense(3)], seed=seed, backend=cupy)
    model.compile(Adam(0.01), layerkit.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(*data(), batch_size=10, epochs=2, verbose=0)
    program = model.program("train")
    assert program.path == "graph", program.reason


def test_a_graph_that_does_something_else_than_the_step_is_refused(emulation, monkeypatch):
    def weights(backend):
        model = Sequential([Dense(4, "tanh"), Dense(1)], seed=3, dtype="float64", backend=backend)
        model.compile(Adam(0.01), "mse")
        model.fit(data()[0], data()[0][:, :1], batch_size=10, epochs=2, verbose=0)
        return model.get_weights()

    expected = weights("numpy")
    monkeypatch.setattr(sys.modules["cupy"].Graph, "launch", lambda self, stream=None: None)
    with pytest.warns(
        CaptureWarning, match=r"another result of the program than of the step: .* train step runs eagerly"
    ):
        found = weights(layerkit.backend("cupy:0"))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("policy", ["mixed_float16", pytest.param("mixed_bfloat16", marks=NO_BFLOAT16)])
def test_mixed_precision_is_one_graph_and_near_to_float32(cupy, policy):
    """As NumPy's, to the last digits of float16, for float16; NumPy has no bfloat16, which has 8 bits of 24."""

    def mixed(backend, dtype):
        stack = [Dense(16, "gelu"), BatchNormalization(), Dropout(0.2), LayerNormalization(), Dense(8, "relu")]
        model = Sequential([*stack, Dense(3)], seed=3, dtype=dtype, backend=backend)
        model.compile(Adam(0.01), layerkit.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
        x, y = data()
        return model, model.fit(x, y, batch_size=10, epochs=3, verbose=0).history["loss"]

    (ours, losses), (theirs, expected) = (
        mixed(cupy, policy),
        mixed("numpy", policy if policy == "mixed_float16" else "float32"),
    )
    program = ours.program("train")
    assert program.path == "graph", program.reason
    assert isinstance(ours.optimizer, layerkit.optimizers.LossScaleOptimizer) == (policy == "mixed_float16")
    tolerance = {"mixed_float16": 1e-3, "mixed_bfloat16": 2e-2}[policy]
    np.testing.assert_allclose(losses, expected, rtol=tolerance)
    assert ours.predict(np.ones((2, 6)), verbose=0).dtype.name == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in ours.weights} == {"float32"}
    assert len(theirs.weights) == len(ours.weights)


def test_float16_throughout_is_near_to_numpys_and_to_float64(cupy):
    """All words of 16 bits have NumPy's bits but for functions, and the loss is float32: see `epsilon` of Adam."""

    def losses(backend, dtype):
        stack = [Dense(16, "gelu"), BatchNormalization(), Dropout(0.2), LayerNormalization(), Dense(8, "relu")]
        model = Sequential([*stack, Dense(3)], seed=4, dtype=dtype, backend=backend)
        loss = layerkit.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(Adam(0.01, epsilon=1e-3), loss)
        found = model.fit(*data(), batch_size=10, epochs=6, verbose=0).history["loss"]
        return found, model

    found, model = losses(cupy, "float16")
    program = model.program("train")
    assert program.path == "graph", program.reason
    assert {weight.dtype for weight in model.trainable_weights} == {"float16"}
    np.testing.assert_allclose(found, losses("numpy", "float16")[0], rtol=2e-3)
    np.testing.assert_allclose(found, losses("numpy", "float64")[0], rtol=2e-3)


@pytest.mark.parametrize("shuffle", [False, True])
def test_data_on_the_device_brings_its_order_alone(cupy, shuffle):
    model = Sequential([Dense(3)], seed=0, backend=cupy)
    model.compile("sgd", "mse")
    x, y = np.ones((20, 4), "float32"), np.ones((20, 3), "float32")
    marks = []
    budget, cupy.data_budget = cupy.data_budget, 1 << 20
    try:
        with Transfers(cupy) as counted:
            mark = LambdaCallback(on_epoch_end=lambda epoch, logs: marks.append((counted.to_device, counted.to_host)))
            model.fit(x, y, batch_size=5, epochs=6, verbose=0, shuffle=shuffle, callbacks=[mark])
    finally:
        cupy.data_budget = budget
    to_device, to_host = np.diff(marks, axis=0)[-1]
    assert to_device == 8 * 20 * shuffle
    assert to_host <= 64  # the loss


def trained_from_the_host(cupy, rows, budget, *, epochs=6):
    """Return weights, losses and outputs of a model whose batches differ from one another, and have three dtypes."""
    random = np.random.default_rng(0)
    x, y, weight = random.normal(size=(rows, 9)), random.integers(0, 3, rows), random.random(rows)
    model = Sequential([Dense(16, "tanh"), Dense(3)], seed=0, backend=cupy, dtype="float64")
    model.compile(Adam(0.01), layerkit.losses.SparseCategoricalCrossentropy(from_logits=True))
    before, cupy.data_budget = cupy.data_budget, budget
    try:
        history = model.fit(x, y, batch_size=rows // 5, epochs=epochs, verbose=0, sample_weight=weight)
        return [*model.get_weights(), np.array(history.history["loss"]), model.predict(x, batch_size=7, verbose=0)]
    finally:
        cupy.data_budget = before


@pytest.mark.parametrize("rows", [33, pytest.param(200_000, marks=pytest.mark.gpu)])
def test_batches_of_the_host_are_those_of_the_device(cupy, rows):
    ours, theirs = trained_from_the_host(cupy, rows, 0), trained_from_the_host(cupy, rows, 1 << 30)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("first", ["others", "null"])
def test_batches_are_brought_in_order_whichever_stream_runs_ahead(emulation, monkeypatch, first):
    cupy = layerkit.backend("cupy:0")
    expected = trained_from_the_host(cupy, 33, 0)
    monkeypatch.setattr(sys.modules["cupy"], "first", first)
    for one, other in zip(trained_from_the_host(cupy, 33, 0), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_does_not_land_in_memory_that_is_still_read(emulation, monkeypatch):
    """The pool gives memory that the current stream has yet to read for who had it before; another stream must wait."""
    from layerkit_cupy.inputs import Inputs

    backend = layerkit.backend("cupy:0")
    library = sys.modules["cupy"]
    inputs = Inputs([Spec((4,), np.dtype("float64"))])
    monkeypatch.setattr(library, "first", "others")
    freed, copied = library.asarray(np.full(32, 7, np.uint8)), library.asarray(np.zeros(32, np.uint8))
    empty = library.empty
    monkeypatch.setattr(library, "empty", lambda shape, dtype: freed if shape == freed.shape else empty(shape, dtype))
    monkeypatch.setattr("layerkit_cupy.inputs.ALIGNED", 32)
    inputs._memory = library.asarray(np.zeros(32, np.uint8))
    inputs.arrays = inputs.cut(inputs._memory)
    library.copyto(copied, freed)  # is asked of the null stream, which takes its time
    inputs.fill([np.arange(4.0)], backend)
    np.testing.assert_array_equal(backend.to_numpy(inputs.arrays[0]), np.arange(4.0))
    np.testing.assert_array_equal(backend.to_numpy(copied), np.full(32, 7))


def test_without_page_locked_memory_batches_come_as_any_array(emulation, monkeypatch):
    def refused(shape, dtype):
        raise sys.modules["cupy"].cuda.runtime.CUDARuntimeError("cudaErrorMemoryAllocation: out of memory")

    cupy = layerkit.backend("cupy:0")
    expected = trained_from_the_host(cupy, 33, 0)
    monkeypatch.setattr(sys.modules["cupyx"], "empty_pinned", refused)
    launches = sys.modules["cupy"].launches
    launches.clear()
    for one, other in zip(trained_from_the_host(cupy, 33, 0), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert "graph" in launches
    assert "set" not in launches


def test_bytes_that_are_brought_beside_the_step_are_counted(cupy):
    x, y = np.ones((20, 64), "float32"), np.ones((20, 64 * 3), "float32")
    model = Sequential([Dense(64 * 3)], seed=0, backend=cupy)
    model.compile("sgd", "mse", on_nonfinite="ignore")
    for _ in range(3):
        model.train_on_batch(x, y)
    with Transfers(cupy) as counted:
        model.train_on_batch(x, y)
    assert counted.to_device == x.nbytes + y.nbytes


@pytest.fixture
def keeps_data(cupy):
    budget, cupy.data_budget = cupy.data_budget, 1 << 20
    yield cupy
    cupy.data_budget = budget


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [22, 11, 5])
def test_batches_gathered_within_the_graph_are_those_of_numpy(keeps_data, batch_size, shuffle, dtype):
    """22 rows: one batch, two, or four and a smaller one; with weights of samples, which are a third input."""
    random = np.random.default_rng(0)
    x, y, weight = random.normal(size=(22, 3)), random.integers(0, 2, (22, 1)), random.random(22)
    found = []
    for backend in (keeps_data, "numpy"):
        model = Sequential([Dense(4, "tanh"), Dense(1, "sigmoid")], seed=0, backend=backend, dtype=dtype)
        model.compile("sgd", "binary_crossentropy")
        history = model.fit(x, y, batch_size=batch_size, epochs=7, verbose=0, shuffle=shuffle, sample_weight=weight)
        outputs = [model.predict(x, batch_size=5, verbose=0) for _ in range(2)]
        found.append([*model.get_weights(), *outputs, np.array(history.history["loss"])])
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10 if dtype == "float64" else 1e-4, atol=1e-7)


def launches_of_epochs(cupy, x, y, **settings):
    launches, found = sys.modules["cupy"].launches, []

    def mark(epoch, logs):
        found.append([name for name in launches if name != "setitem"])  # which makes the totals 0
        launches.clear()

    model = Sequential([Dense(2)], seed=0, backend=cupy)
    model.compile("sgd", "mse", on_nonfinite="ignore")  # or the loss is looked at now and then
    model.fit(x, y, verbose=0, callbacks=[LambdaCallback(on_epoch_end=mark)], **settings)
    return found


def test_a_step_is_one_graph_launch_and_nothing_else(emulation):
    cupy = layerkit.backend("cupy:0")
    cupy.data_budget = 1 << 20
    x, y = np.ones((20, 3), np.float32), np.ones((20, 2), np.float32)
    assert launches_of_epochs(cupy, x, y, batch_size=20, epochs=9)[-3:] == [["graph"]] * 3
    in_order = launches_of_epochs(cupy, x, y, batch_size=5, epochs=9, shuffle=False)
    assert in_order[-3:] == [["graph"] * 4] * 3
    # Each epoch has an order of its own, which is copied once to where the graph reads it.
    assert launches_of_epochs(cupy, x, y, batch_size=5, epochs=9)[-3:] == [["copy", *["graph"] * 4]] * 3


def test_another_data_set_is_another_graph(keeps_data):
    """Also one that lies where the first did: it is not the address that counts."""
    model = Sequential([Dense(1)], seed=0, backend=keeps_data, dtype="float64")
    plain = Sequential([Dense(1)], seed=0, dtype="float64")
    for each in (model, plain):
        each.compile("sgd", "mse")
    for number in range(4):
        x = np.random.default_rng(number).normal(size=(12, 3))
        for each in (model, plain):
            each.fit(x, x[:, :1] * number, batch_size=4, epochs=3, verbose=0)
            each.evaluate(x[:8], x[:8, :1], batch_size=4, verbose=0)
    for ours, theirs in zip(model.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_rows_gathered_in_words_of_every_size(cupy):
    from layerkit.xp.rows import Rows
    from layerkit_cupy.gathering import Gathering

    order = cupy.asarray(np.array([4, 0, 3, 3, 1]))
    for dtype, width in (("uint8", 3), ("float16", 1), ("float16", 3), ("float32", 1), ("int64", 2), ("uint8", 16)):
        array = cupy.asarray(np.arange(5 * width).reshape(5, width), dtype)
        for rows in (Rows(cupy, array, order, 2, 4), Rows(cupy, array, None, 1, 3)):
            with cupy.on_device():
                target = cupy.empty(rows.shape, dtype=array.dtype)
                assert Gathering.takes([rows])
                gathering = Gathering([rows], [target])
                gathering.begin([rows])
                gathering.launch()
            expected = np.arange(5 * width).reshape(5, width)[[3, 3] if rows.order is not None else [1, 2]]
            np.testing.assert_array_equal(cupy.to_numpy(target), expected)
            np.testing.assert_array_equal(cupy.to_numpy(rows.gathered()), expected)
            assert (rows.shape, rows.dtype) == (expected.shape, array.dtype)
            assert gathering.fits([rows])
            assert not gathering.fits([Rows(cupy, array + 0, rows.order, 1, 3)])


def test_weights_and_masks_are_the_bits_of_numpy(cupy):
    def bits(backend):
        model = Sequential([Dense(5), Dropout(0.5)], seed=11, backend=backend)
        model.build((None, 4))
        xp = model.xp
        first, second = (xp.to_numpy(model(xp.asarray(np.ones((6, 4), "f")), training=True)) == 0 for _ in range(2))
        return [weight.numpy() for weight in model.weights], first, second

    (ours, *masks), (theirs, *expected) = bits(cupy), bits("numpy")
    for mine, other in zip([*ours, *masks], [*theirs, *expected], strict=True):
        np.testing.assert_array_equal(mine, other)
    assert (masks[0] != masks[1]).any()


def test_a_captured_mask_is_drawn_anew_each_time(cupy):
    numpy = layerkit.backend("numpy")
    counter, expected = (
        Variable(7, "uint64", "counter", trainable=False, xp=cupy),
        Variable(7, "uint64", "counter", trainable=False, xp=numpy),
    )

    def step(xp, x, counter):
        bits = xp.random_bits((1, 2), counter.value, 20)
        xp.assign_add(counter.value, 3)
        return xp.where(bits < 2**31, x, 0.0)

    x = np.arange(20.0)
    wanted = [step(numpy, x, expected) for _ in range(4)][1:]
    results, program = replayed(cupy, lambda xp, x: step(xp, x, counter), x)
    assert program.path == "graph"
    for result, values in zip(results, wanted, strict=True):
        np.testing.assert_array_equal(result, values)


# Products.

MATRICES = {
    "rows": lambda a: a,
    "columns": lambda a: np.asfortranarray(a),
    "part": lambda a: np.pad(a, ((1, 2), (2, 3)))[1:-2, 2:-3],
    "part of columns": lambda a: np.asfortranarray(np.pad(a, ((1, 2), (2, 3))))[1:-2, 2:-3],
    "every other": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: np.ascontiguousarray(a[::-1])[::-1],
}


def as_laid(cupy, array):
    """Return an array of CuPy that lies as this one does."""
    if sys.modules["cupy"].__file__.count("emulated"):
        return array.view(sys.modules["cupy"].ndarray)
    base = sys.modules["cupy"].asarray(array.base if array.base is not None else array)
    offset = array.__array_interface__["data"][0] - (array.base if array.base is not None else array).ctypes.data
    return sys.modules["cupy"].ndarray(array.shape, array.dtype, base.data + offset, array.strides)


@pytest.mark.parametrize("dtype", ["float32", "float64", *HALVES])
@pytest.mark.parametrize("left", MATRICES)
@pytest.mark.parametrize("right", MATRICES)
def test_products_of_matrices_in_every_layout(cupy, dtype, left, right):
    for m, k, n in ((3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (1, 1, 1)):
        a = np.arange(1.0, m * k + 1).reshape(m, k).astype(dtype)
        b = np.arange(1.0, k * n + 1).reshape(k, n).astype(dtype)
        x, y = (as_laid(cupy, MATRICES[how](array)) for how, array in ((left, a), (right, b)))
        with cupy.on_device():
            assert cupy.products.takes(x, y)
            found = cupy.to_numpy(cupy.products(x, y))
            expected = (a.astype("float64") @ b.astype("float64")).astype(dtype)  # summed exactly, and rounded once
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected, err_msg=str((m, k, n)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *[((4,), (4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 4), (2, 4, 5)), ((2, 2, 3, 4), (2, 2, 4, 5))],
        *[((1, 3, 4), (1, 4, 5)), ((3, 4), (2, 4, 5)), ((2, 3, 4), (1, 4, 5)), ((1, 3, 4), (2, 4, 5))],
        *[((2, 1, 3, 4), (3, 4, 5)), ((3, 4), (2, 3, 4, 5)), ((4,), (2, 4, 5)), ((2, 3, 4), (6, 1, 4, 5))],
    ],
)
def test_products_of_stacks(cupy, a, b):
    x, y = (np.arange(np.prod(shape), dtype=np.float64).reshape(shape) for shape in (a, b))
    with cupy.on_device():
        assert cupy.products.takes(cupy.asarray(x), cupy.asarray(y))
        np.testing.assert_array_equal(cupy.to_numpy(cupy.products(cupy.asarray(x), cupy.asarray(y))), x @ y)
        turned = cupy.matrix_transpose(cupy.asarray(np.ascontiguousarray(np.swapaxes(y, -1, -2))))
        np.testing.assert_array_equal(cupy.to_numpy(cupy.products(cupy.asarray(x), turned)), x @ y)


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5)), ((2, 3), (4,)), ((2, 2, 3), (3, 3, 4)), ((4,), (2, 3, 4))])
def test_products_that_do_not_fit_are_left_to_cupys_error(cupy, shapes):
    x, y = (cupy.ones(shape) for shape in shapes)
    with cupy.on_device():
        assert not cupy.products.takes(x, y)
        with pytest.raises(ValueError, match=r"."):
            cupy.multiplied(x, y)


PRODUCTS_OF_USERS = {
    "tensordot": lambda xp, x, w: xp.tensordot(x, w, axes=1),
    "tensordot over two axes": lambda xp, x, w: xp.tensordot(x, x * 2.0, axes=((0, 2), (0, -1))),
    "tensordot over none": lambda xp, x, w: xp.tensordot(x, w, axes=0),
    "tensordot of linalg": lambda xp, x, w: xp.linalg.tensordot(x, w, axes=1),
    "dot": lambda xp, x, w: np.dot(x, w),
    "vecdot of linalg": lambda xp, x, w: xp.linalg.vecdot(x, x),
    "a matrix with each of a stack": lambda xp, x, w: w.T @ xp.matrix_transpose(x),
    "each with each": lambda xp, x, w: x[:, None] @ xp.matrix_transpose(x)[None],
    "a vector with each of a stack": lambda xp, x, w: x[0, 0] @ xp.matrix_transpose(x),
}


@pytest.mark.parametrize("form", PRODUCTS_OF_USERS)
def test_products_in_any_form_stay_in_the_graph(cupy, form):
    x, w = np.arange(24.0).reshape(2, 3, 4), np.arange(20.0).reshape(4, 5)
    results, program = replayed(cupy, lambda xp, x, w: PRODUCTS_OF_USERS[form](xp, x, w), x, w)
    assert program.path == "graph", program.reason
    for result in results:
        np.testing.assert_array_equal(result, PRODUCTS_OF_USERS[form](np, x, w))


@pytest.mark.parametrize(("a", "b"), [((2, 3), (3,)), ((4,), (4,)), ((2, 3, 4), (4,)), ((1, 1), (1,))])
def test_products_with_a_vector(cupy, a, b):
    x, y = (np.arange(1.0, np.prod(shape) + 1).reshape(shape) for shape in (a, b))
    with cupy.on_device():
        for vector, expected in ((cupy.asarray(y), x @ y), (cupy.flip(cupy.asarray(y)), x @ y[::-1])):
            assert cupy.products.takes(cupy.asarray(x), vector)
            found = cupy.to_numpy(cupy.products(cupy.asarray(x), vector))
            assert found.shape == expected.shape
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("a", "b", "dtypes"),
    [
        ((2, 3), (3, 4), "ii"),
        ((0, 3), (3, 4), "ff"),
        ((2, 3), (3, 4), "FF"),
    ],
)
def test_what_is_left_to_cupys_product(cupy, a, b, dtypes):
    x, y = (cupy.asarray(np.ones(shape, dtype)) for shape, dtype in zip((a, b), dtypes, strict=True))
    with cupy.on_device():
        assert not cupy.products.takes(x, y)
        found = cupy.to_numpy(cupy.multiplied(x, y))
    np.testing.assert_array_equal(found, np.ones(a) @ np.ones(b))


@pytest.mark.parametrize("dtypes", [("float16", "float32"), pytest.param(("float32", "bfloat16"), marks=NO_BFLOAT16)])
def test_products_of_two_dtypes_are_of_the_wider(cupy, dtypes):
    a, b = (np.arange(1.0, 10).reshape(3, 3).astype(dtype) for dtype in dtypes)
    given = [cupy.asarray(array) for array in (a, b)]
    results, program = replayed(cupy, lambda xp, a, b: xp.matmul(a, b), *given)
    assert program.path == "graph", program.reason
    for result in results:
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, a.astype("float32") @ b.astype("float32"))


def test_products_of_half_are_summed_in_float32(cupy):
    """4096 + 1 is 4096 in float16: one by one, the ones would be lost."""
    a = np.array([[4096.0, *[1.0] * 64]], "float16")
    for dtype, expected in (("float16", 4160), ("bfloat16", 4160)):
        if hasattr(cupy, dtype):
            x = cupy.asarray(a, dtype)
            with cupy.on_device():
                found = cupy.multiplied(x, cupy.ones((65, 1), dtype=getattr(cupy, dtype)))
            assert float(cupy.to_numpy(found)[0, 0]) == expected


def test_tf32_is_used_on_request_alone(emulation):
    cupy = layerkit.backend("cupy:0")
    x = cupy.asarray(np.eye(3, dtype=np.float32))
    computes = cupy.products._library.computes
    cupy.multiplied(x, x)
    assert computes == [68]  # CUBLAS_COMPUTE_32F
    cupy.matmul_precision = "tf32"
    cupy.matmul(x, x)
    cupy.matmul(cupy.astype(x, cupy.float64), cupy.astype(x, cupy.float64))
    assert computes == [68, 77, 70]  # CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_COMPUTE_64F


def test_another_precision_is_another_graph(emulation):
    cupy = layerkit.backend("cupy:0")
    computes = cupy.products._library.computes
    x = np.eye(3, dtype=np.float32)
    _, program = replayed(cupy, lambda xp, x: xp.matmul(x, x), x)
    assert computes == [68, 68]  # as kernels, and into the graph
    cupy.matmul_precision = "tf32"
    for _ in range(3):
        program(cupy.asarray(x))
    assert computes == [68, 68, 77, 77]


def test_a_precision_that_is_none(cupy):
    with pytest.raises(ArgumentError) as caught:
        cupy.matmul_precision = "bfloat16"
    assert str(caught.value) == (
        "cupy:0: matmul_precision must be 'float32' or 'tf32'. Received: matmul_precision='bfloat16'"
    )
    assert cupy.matmul_precision == "float32"


def test_the_environment_sets_the_precision(emulation):
    emulation_module = pytest.MonkeyPatch()
    with emulation_module.context() as patch:
        patch.setenv("LAYERKIT_MATMUL_PRECISION", "tf32")
        assert layerkit.backend("cupy:1").matmul_precision == "tf32"


def test_the_source_says_what_runs(cupy):
    state = Variable(np.ones((3, 2)), "float32", "kernel", trainable=False, xp=cupy)
    _, program = replayed(cupy, lambda xp, x: xp.tanh(xp.matmul(x, state.value) + 1.0), np.ones((4, 3), "f"))
    assert (
        str(program)
        == program.source
        == (
            "// train: graph\n"
            "// CuPy: matmul -> (4, 2)\n"
            "// kernel over (4, 2): float32 r0 -> float32 v1\n"
            "    const float v0 = (float)(r0 + (float)(1.0));\n"
            "    const float v1 = (float)(tanh(v0));\n"
        )
    )
    assert re.fullmatch(r"// train: graph", program.source.splitlines()[0])
