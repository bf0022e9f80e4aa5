"""A step that NumPy's backend has planned gives what it gives eagerly: each word, random steps, and whole models."""

from __future__ import annotations

import ast
import gc
import itertools
import linecache
import math
import re
import tracemalloc
import unicodedata
from dataclasses import replace

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.errors import CaptureWarning
from layerkit.layers import BatchNormalization, Dense, Dropout, Layer, LayerNormalization, ReLU
from layerkit.optimizers import SGD
from layerkit.program import record
from layerkit.xp import words
from layerkit.xp.state import Variable
from layerkit_numpy import NumpyBackend
from layerkit_numpy.program import NumpyProgram
from tests.backends.fuzz_programs import Difference, Size, Step, compare, random_step, shortened
from tests.program.cases import CASES, one

# Each word.

EVERY_WORD = {
    *words.FUNCTIONS,
    *words.NETWORK_WORDS,
    *(f"linalg.{word}" for word in words.LINALG),
    *(f"fft.{word}" for word in words.FFT),
}

SHAPED_BY_VALUES = ("nonzero", *words.SETS)


def _whole(xp, x):
    """Return whole numbers from -13 to 13 that vary with x."""
    return xp.astype(xp.round(x * 14.0), xp.int32)


def _elementwise(word, *, whole=False, truth=False):
    def function(xp, a, b):
        if whole or truth:
            a, b = (_whole(xp, a), xp.abs(_whole(xp, b)) + 1) if whole else (a > 0.1, b > 0.3)
        return getattr(xp, word)(a, b)

    return [one(word, function, *shapes) for shapes in (((3, 4), (3, 4)), ((3, 4), (4,)), ((3, 1), (2, 1, 4)))]


def _of_one(word, *, whole=False, truth=False):
    def function(xp, x):
        return getattr(xp, word)(_whole(xp, x) if whole else x > 0.1 if truth else x)

    return [one(word, function, shape) for shape in ((3, 4), (), (0, 3))]


def _along(word, *, truth=False):
    def made(kwargs):
        return lambda xp, x: getattr(xp, word)(x > 0.1 if truth else x, **kwargs)

    axes = ({}, {"axis": 1}, {"axis": 0, "keepdims": True}, {"keepdims": True})
    return [one(word, made(kwargs), (3, 4), domain="spread", note=str(kwargs)) for kwargs in axes]


# What the standard does not say, but NumPy does.
ON_NUMPY = {"backends": ("numpy",)}

# The words that have no derivative, and ways of calling others that the cases of derivatives have no use for.
MORE_CASES = [
    *(case for word in ("equal", "not_equal", "less", "less_equal", "greater") for case in _elementwise(word)),
    *(case for word in ("greater_equal", "nextafter", "floor_divide") for case in _elementwise(word)),
    *(case for word in ("bitwise_and", "bitwise_or", "bitwise_xor") for case in _elementwise(word, whole=True)),
    *(case for word in ("bitwise_left_shift", "floor_divide") for case in _elementwise(word, whole=True)),
    *(case for word in ("bitwise_right_shift", "remainder", "pow") for case in _elementwise(word, whole=True)),
    *(case for word in ("logical_and", "logical_or", "logical_xor") for case in _elementwise(word, truth=True)),
    *(case for word in ("isfinite", "isinf", "isnan", "sign", "signbit", "ceil", "floor") for case in _of_one(word)),
    *(case for word in ("trunc", "round", "zeros_like", "ones_like") for case in _of_one(word)),
    *(case for word in ("bitwise_invert", "round", "abs", "sign", "negative") for case in _of_one(word, whole=True)),
    *(case for word in ("ceil", "floor", "trunc", "sum", "prod") for case in _of_one(word, whole=True)),
    *_of_one("logical_not", truth=True),
    *(case for word in ("all", "any") for case in _along(word, truth=True)),
    *(case for word in ("argmax", "argmin") for case in _along(word)),
    *(case for word in ("all", "any") for case in _along(word)),
    one("argsort", lambda xp, x: xp.argsort(x, axis=0), (5, 4), domain="spread"),
    one("argsort", lambda xp, x: xp.argsort(x, descending=True), (5, 4), domain="spread", note="descending"),
    one("searchsorted", lambda xp, a, b: xp.searchsorted(xp.sort(a), b), (5,), (3,)),
    one("count_nonzero", lambda xp, x: xp.count_nonzero(x > 0.1, axis=1), (3, 4)),
    one("linalg.matrix_rank", lambda xp, x: xp.linalg.matrix_rank(x), (2, 3, 3), domain="matrix"),
    one("one_hot", lambda xp, x: xp.one_hot(_whole(xp, x) % 5, 5, "float32"), (3, 4)),
    one("one_hot", lambda xp, x: xp.one_hot(_whole(xp, x) % 5, 5, "bool"), (7,), note="bool"),
    one("empty_like", lambda xp, x: xp.zeros_like(xp.empty_like(x)) + x, (3, 4)),
    one("full_like", lambda xp, x: xp.full_like(x, 2.5), (3, 4)),
    one("full_like", lambda xp, x: xp.full_like(x, fill_value=3, dtype=xp.int64), (3, 4), note="named"),
    one("fft.fftfreq", lambda xp, x: x * xp.astype(xp.fft.fftfreq(4), x.dtype), (3, 4)),
    one("fft.rfftfreq", lambda xp, x: x[:, :3] * xp.astype(xp.fft.rfftfreq(4), x.dtype), (3, 4)),
    one("broadcast_to", lambda xp, x: xp.broadcast_to(x, shape=(2, 3, 4)), (3, 1), note="named"),
    one("sum", lambda xp, x: xp.sum(x, axis=np.int64(1)), (3, 4), note="an axis of NumPy's", **ON_NUMPY),
    one("sum", lambda xp, x: xp.sum(x, dtype=xp.float64), (3, 4), note="dtype"),
    one("mean", lambda xp, x: xp.mean(x[:, :1], axis=1), (3, 4), note="of one"),
    one("multiply", lambda xp, x: xp.copysign(xp.abs(x), x * 0.0 * -0.0) + x * 0.0, (3, 4), note="signs of zero"),
    one(
        "maximum", lambda xp, x: xp.maximum(x, -np.float64(np.inf)) * float("inf"), (3, 4), note="infinity", **ON_NUMPY
    ),
    one("add", lambda xp, x: x + np.float32(np.nan), (3, 4), note="nan", **ON_NUMPY),
    one("getitem", lambda xp, x: x[_whole(xp, x[:, 0]) % 3] + 0.0, (3, 4), note="a computed index", **ON_NUMPY),
    one(
        "getitem", lambda xp, x: x[1, _whole(xp, x[:, 0]) % 3], (3, 4), note="a number and a computed index", **ON_NUMPY
    ),
    one("getitem", lambda xp, x: (x * 2.0)[np.int64(1)] + (x * 3.0)[0], (3, 4), note="a number of NumPy's", **ON_NUMPY),
    one("getitem", lambda xp, x: (x * 2.0)[[0, 2, 1]][:, True], (3, 4), note="a list, and a truth", **ON_NUMPY),
    one("einsum", lambda xp, x: xp.einsum("ij->ji", x * 2.0) @ (x * 3.0), (3, 4), note="a view of a value"),
    one("linalg.matrix_power", lambda xp, x: xp.linalg.matrix_power(x * 2.0, 1) @ (x * 3.0), (3, 3), note="itself"),
    one("round", lambda xp, x: xp.round(_whole(xp, x) * 2) @ (_whole(xp, x) * 3), (3, 3), note="itself"),
    one("diff", lambda xp, x: xp.diff(x * 2.0, n=0) @ (x * 3.0), (3, 3), note="itself"),
    one("unstack", lambda xp, x: sum(xp.unstack(x * 2.0)) @ (x[0, ...] * 3.0), (2, 3, 3), note="views of a value"),
    one("matmul", lambda xp, x: xp.linalg.diagonal(x * 2.0) @ (x * 3.0), (3, 3), note="a diagonal"),
]

REPLAYED = [case for case in (*CASES, *MORE_CASES) if case.note != "mask"]

# Where NumPy asks BLAS or LAPACK, the result may depend on how its arguments lie in memory, in the last digits.
BY_PRODUCTS = ("einsum", "linalg.", "linear", "matmul", "tensordot", "vecdot")


def agree(case, expected, found):
    """Check that two results are the same: every bit of them, but for products of matrices."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    if case.word.startswith(BY_PRODUCTS) and expected.dtype.kind in "fc":
        tolerance = 64 * np.finfo(expected.dtype).eps
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)
    else:
        np.testing.assert_array_equal(found, expected)
        if expected.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def drawn(case, dtype, seed):
    return [x.astype(dtype) for x in case.arrays(seed)]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", REPLAYED, ids=lambda case: case.name)
def test_a_word_of_inputs_is_replayed(xp, case, dtype):
    if xp.name not in case.backends:
        pytest.skip(f"{case.word}({case.note}) is no word of {xp}")

    def eagerly(seed):
        return xp.to_numpy(case.function(xp, *map(xp.asarray, drawn(case, dtype, seed))))

    first = [xp.asarray(x) for x in drawn(case, dtype, 0)]
    result, capture, program = record(xp, case.function, first, "predict")
    assert capture.refusal is None
    agree(case, eagerly(0), xp.to_numpy(result))
    for how in (xp.capture(program), program.on(xp)):
        results = [xp.to_numpy(how(*map(xp.asarray, drawn(case, dtype, seed)))) for seed in (1, 2, 0)]
        for seed, found in zip((1, 2, 0), results, strict=True):  # at the end: what was returned is not overwritten
            agree(case, eagerly(seed), found)


@pytest.mark.parametrize("case", REPLAYED, ids=lambda case: case.name)
def test_a_word_of_state_that_is_written_in_the_same_step_is_replayed(xp, case):
    """The result is computed from state, and kept in state of its own, before and after the first is overwritten."""
    if xp.name not in case.backends:
        pytest.skip(f"{case.word}({case.note}) is no word of {xp}")
    first = drawn(case, "float64", 0)
    dtype = xp.to_numpy(case.function(xp, *map(xp.asarray, first))).dtype
    if dtype.kind == "c":
        case = replace(case, function=lambda xp, *x, function=case.function: xp.real(function(xp, *x)))

    def made():
        inner = [Variable(x, "float64", f"x{number}", trainable=False, xp=xp) for number, x in enumerate(first)]
        result = xp.to_numpy(case.function(xp, *(variable.array for variable in inner)))
        return inner, [
            Variable(np.zeros_like(result), result.dtype.name, name, trainable=False, xp=xp) for name in ("old", "new")
        ]

    def step(xp, states, *x):
        inner, (old, new) = states
        value = case.function(xp, *(variable.value for variable in inner))
        xp.assign(old.value, value)
        for variable, written in zip(inner, x, strict=True):
            xp.assign(variable.value, written)
        xp.assign(new.value, case.function(xp, *(variable.value for variable in inner)))
        return old.value + 0 if old.value.dtype != xp.bool else old.value

    theirs = made()
    arrays = [xp.asarray(x) for x in drawn(case, "float64", 1)]
    _, _, program = record(xp, lambda capture, *x: step(capture, theirs, *x), arrays, "train")
    mine = made()
    step(xp, mine, *arrays)
    for how in (xp.capture(program), program.on(xp)):
        for seed in (2, 3):
            arrays = [xp.asarray(x) for x in drawn(case, "float64", seed)]
            agree(case, xp.to_numpy(step(xp, mine, *arrays)), xp.to_numpy(how(*arrays)))
            for a, b in zip((*mine[0], *mine[1]), (*theirs[0], *theirs[1]), strict=True):
                agree(case, a.numpy(), b.numpy())


def test_every_word_has_a_case():
    assert {case.word for case in REPLAYED} | {*SHAPED_BY_VALUES} == {*EVERY_WORD, "getitem"}


@pytest.mark.parametrize("word", SHAPED_BY_VALUES)
def test_a_word_whose_shape_depends_on_values_is_not_recorded(xp, word):
    x = xp.asarray(np.array([0.0, 2.0, 0.0, 1.0]))
    _, capture, _ = record(xp, lambda xp, x: (getattr(xp, word)(x), x)[1], [x], "train")
    assert capture.refusal.received == f"xp.{word} with a result whose shape depends on values"


# Random steps.


@pytest.mark.parametrize("first", range(0, 800, 50))
def test_random_steps_are_replayed_with_the_same_bits(first):
    for seed in range(first, first + 50):
        step = random_step(seed)
        try:
            compare(step)
        except Difference as difference:
            pytest.fail(f"seed {seed}: {difference}\n{shortened(step).source}")


# Steps that were replayed wrongly once, or would be if one condition of the plan were left out.

FOUR = Size(rows=4, columns=4, tile=4, few=0)
OBLONG = Size(rows=4, columns=8, tile=1, few=0)

HARD_STEPS = {
    "state is assigned its own transpose, tile by tile": (
        FOUR,
        "v0 = s.square.value.T + 1.0",
        "xp.assign(s.square.value, v0)",
    ),
    "state is assigned itself, turned round": (
        FOUR,
        "v0 = xp.flip(s.square.value, axis=0) * 2.0",
        "v1 = v0 + 1.0",
        "xp.assign(s.square.value, v1)",
    ),
    "a value is written over while its transpose is read by other tiles": (
        FOUR,
        "v0 = y @ y",
        "v1 = v0.T * 2.0",
        "v2 = v0 - v1",
        "v3 = v2 - 1.0",
    ),
    "a value is written over while its rows are read in another order": (
        FOUR,
        "v0 = y @ y",
        "v1 = v0[::-1] - 1.0",
        "v2 = v0 - v1",
        "v3 = v2 - 1.0",
    ),
    "what overlaps is assigned in turn, tile by tile": (
        OBLONG,
        "xp.assign(s.kernel.value, 0.0)",
        "xp.assign(s.shifted.value, 1)",
    ),
    "a value that state was assigned is returned as it was then": (
        FOUR,
        "v0 = xp.remainder(x @ y, 8.0)",
        "xp.assign(s.square.value, v0)",
        "xp.assign(s.square.value, 2.0)",
        "v3 = v0.T",
    ),
    "a value that state was assigned is read after state was written again": (
        FOUR,
        "v0 = xp.remainder(x @ y, 8.0)",
        "xp.assign(s.square.value, v0)",
        "xp.assign_add(s.square.value, 1.0)",
        "v3 = v0 + s.square.value",
    ),
    "state is read between a value and its assignment": (
        FOUR,
        "v0 = x + 1.0",
        "v1 = s.kernel.value * 2.0",
        "v2 = s.bias.value + s.shifted.value",
        "xp.assign(s.kernel.value, v0)",
        "v4 = v1 + v2",
    ),
    "a row of a value that is written over": (
        FOUR,
        "v0 = x @ y",
        "v1 = v0[1:2, :] + x * 2.0",
        "v2 = v0 - v1",
        "v3 = v2 + v1",
    ),
    "the mean of one number of state that is written": (
        Size(rows=4, columns=1, tile=4, few=0),
        "v0 = xp.mean(s.kernel.value, axis=1)",
        "v1 = xp.mean(s.kernel.value, axis=1, keepdims=True)",
        "xp.assign(s.kernel.value, 0.0)",
        "v3 = xp.concat([v0, v1[:, 0]])",
    ),
    "a number of state that is written, and a view of it": (
        FOUR,
        "v0 = s.flat.value[3]",
        "v1 = s.flat.value[3, ...]",
        "v2 = s.total.value[()]",
        "v3 = xp.unstack(s.bias.value)[0]",
        "xp.assign(s.flat.value, 7.0)",
        "xp.assign(s.total.value, 5.0)",
        "xp.assign(s.bias.value, 6.0)",
        "v7 = xp.stack([v0, v1, xp.astype(v2, xp.float32), v3])",
    ),
    "state that is halved, written, and doubled": (
        FOUR,
        "v0 = s.kernel.value / 2.0",
        "xp.assign(s.kernel.value, x)",
        "v2 = v0 * 2.0",
    ),
    "words whose results share memory with their arguments": (
        FOUR,
        "v0 = x @ y",
        "v1 = xp.broadcast_arrays(v0, x)[0]",
        "v2 = xp.linalg.diagonal(x + 1.0)",
        "v3 = xp.real(x * 2.0)",
        "v4 = xp.unstack(x * 3.0)[1]",
        "v5 = xp.einsum('ij->ji', y * 2.0)",
        "v6 = x @ x",
        "v7 = v1 + v2 + v3 + v4 + v5 + v6",
    ),
    "a step without a number": (FOUR, "v0 = x[None, :][1:, :, 0]", "v1 = xp.equal(v0, 1)"),
    "a number that is returned": (FOUR, "v0 = xp.sum(x)", "v1 = v0 * -0.0"),
    "an input that is returned": (FOUR, "v0 = x"),
    "state that is returned, and then written by the next step": (
        FOUR,
        "xp.assign(s.square.value, y)",
        "v1 = s.square.value",
    ),
}


@pytest.mark.parametrize("tile", [1, 4, 8, 1 << 15])
@pytest.mark.parametrize(("few", "threads"), [(0, 1), (0, 3), (4096, 1)])
@pytest.mark.parametrize("name", HARD_STEPS)
def test_hard_steps_are_replayed_with_the_same_bits(name, few, threads, tile):
    size, *lines = HARD_STEPS[name]
    last = lines[-1].partition(" = ")
    size = size._replace(few=few, threads=threads, tile=tile)
    compare(Step(size, tuple(lines), last[0] if last[1] else "None"))


# Whole models.

LEARNT = np.random.default_rng(0)
X = LEARNT.normal(size=(64, 20)).astype("float32")
LABELS = LEARNT.integers(0, 5, 64)


def trained(*layers, optimizer="adam", loss="sparse_categorical_crossentropy", x=X, y=LABELS, **how):
    """Return a model whose training step is replayed: of three steps on these rows."""
    model = Sequential(list(layers) or [Dense(16, "relu"), Dense(5, "softmax")], seed=1)
    model.compile(optimizer, loss, metrics=["accuracy"] if "crossentropy" in loss else [], **how)
    for _ in range(3):
        model.train_on_batch(x, y)
    return model


MODELS = {
    "MLP": lambda: trained(),
    "deep": lambda: trained(*(Dense(8, "tanh") for _ in range(6)), Dense(5, "softmax")),
    "normalized": lambda: trained(Dense(16), BatchNormalization(), Dropout(0.4), Dense(5, "softmax"), optimizer="sgd"),
    "composed": lambda: trained(Dense(16, "gelu"), LayerNormalization(), Dense(5, "softmax"), optimizer="rmsprop"),
    "large": lambda: trained(Dense(512, "relu"), Dense(512, "swish"), Dense(5, "softmax")),
}


def allocated(function):
    """Return the bytes that were held at most while a function ran, and the bytes that are kept."""
    gc.collect()
    tracemalloc.start()
    try:
        for _ in range(10):  # what is made once, and what Python and NumPy keep for the next time
            function()
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(100):
            function()
        after, peak = tracemalloc.get_traced_memory()
        return peak - before, after - before
    finally:
        tracemalloc.stop()


def fitted_to(program):
    """Return the rows above as the arrays that a training program takes."""
    specs = [program.program.specs[place] for place in program.program.inputs]
    return [np.asarray(a, spec.dtype).reshape(spec.shape) for a, spec in zip((X, LABELS), specs, strict=True)]


@pytest.mark.parametrize("name", ["MLP", "deep", "large"])
def test_nothing_is_allocated_after_the_second_step(name):
    """The largest arrays of the large model have 128 KiB, and its weights 1 MiB."""
    model = MODELS[name]()
    program = NumpyProgram(model.program("train").program, model.xp, threads=1)
    arrays = fitted_to(program)
    peak, kept = allocated(lambda: program(*arrays))
    inside_numpy = 2 * 4 * np.getbufsize()  # where an operand is broadcast, NumPy works in pieces of so many elements
    assert peak < inside_numpy + 4096  # views of this step's inputs, numbers of Python's
    # Of a hundred steps, less than an array for each. NumPy keeps the memory of shapes for the next array, some of
    # which tracemalloc takes for new.
    assert kept < 100 * 96


@pytest.mark.parametrize("name", ["MLP", "deep", "normalized", "composed", "large"])
def test_a_step_takes_no_more_memory_at_its_peak_than_eagerly(name):
    """What a replayed step allocates, and the buffers that it keeps, are less than what an eager step allocates."""
    model = MODELS[name]()
    planned = model.program("train").nbytes
    replayed, _ = allocated(lambda: model.train_on_batch(X, LABELS))
    model.compile(model.optimizer, model.loss, run_eagerly=True)
    eager, _ = allocated(lambda: model.train_on_batch(X, LABELS))
    assert replayed + planned < eager + 64 * 1024  # what belongs to a batch is the same for both


def _in_use(program):
    """Return the storages of a program that need memory."""
    return [storage for storage in program.plan.storages if storage.nbytes]


def check_buffers(program):
    """Check that memory that is needed at the same time does not overlap, and that all lies in one stretch."""
    storages = _in_use(program)
    for one_storage, other in itertools.combinations(storages, 2):
        at_once = one_storage.first <= other.last and other.first <= one_storage.last
        apart = (
            one_storage.offset + one_storage.nbytes <= other.offset or other.offset + other.nbytes <= one_storage.offset
        )
        assert apart or not at_once
    assert all(storage.offset % 64 == 0 and storage.offset + storage.nbytes <= program.nbytes for storage in storages)
    offsets = {storage.offset for storage in storages}
    assert {buffer.offset for buffer in program.buffers if math.prod(buffer.shape)} <= offsets
    assert len({buffer.name for buffer in program.buffers}) == len(program.buffers)


@pytest.mark.parametrize("name", MODELS)
def test_buffers_that_are_needed_at_once_do_not_overlap(name):
    program = MODELS[name]().program("train")
    check_buffers(program)
    assert program.nbytes < sum(storage.nbytes for storage in _in_use(program))


@pytest.mark.parametrize("first", [1000, 1010, 1020])
def test_buffers_of_random_steps_do_not_overlap(first):
    for seed in range(first, first + 10):
        check_buffers(compare(random_step(seed), steps=1))


def test_flops_of_a_step_are_those_of_its_products_as_a_rule():
    """Of a product of an n × k and a k × m matrix: 2 n k m. Each layer has three, but the first, which needs no dx."""
    rows, widths = 64, (20, 256, 256, 5)
    program = trained(Dense(256, "relu"), Dense(256, "relu"), Dense(5, "softmax"), optimizer="sgd").program("train")
    pairs = list(itertools.pairwise(widths))
    products = sum(2 * rows * n * m for n, m in pairs) * 3 - 2 * rows * widths[0] * widths[1]
    products += sum(2 * rows * m for _, m in pairs)  # the gradients of biases, sums over rows
    found = [line for line in program.plan.lines if ".dot(" in line.text or "np.matmul(" in line.text]
    assert sum(line.flops for line in found) == products
    assert products < program.flops < 1.05 * products


def test_work_of_a_line():
    """A product of 2 · 6 · 4 · 3 operations, two lines of 18 numbers, and a sum of 18."""
    xp, x, y = layerkit.backend("numpy"), np.ones((6, 4), "float32"), np.ones((4, 3), "float32")
    _, _, program = record(xp, lambda xp, x, y: xp.sum(xp.exp(x @ y) + x[:, :3], axis=0), [x, y], "predict")
    planned = xp.capture(program)
    assert planned.flops == 2 * 6 * 4 * 3 + 18 + 18 + 18
    assert planned.bytes_moved == 4 * ((24 + 12 + 18) + (18 + 18) + (18 + 18 + 18) + (18 + 3))


# Loops.


def planned_over(function, *shapes):
    """Return the plan of a step over state of these shapes."""
    xp = layerkit.backend("numpy")
    states = [Variable(np.zeros(shape), "float32", f"s{n}", trainable=False, xp=xp) for n, shape in enumerate(shapes)]
    _, _, program = record(xp, lambda xp: function(xp, *[state.value for state in states]), [], "step")
    return xp.capture(program).plan


def test_tiles_of_a_long_vector_begin_on_cache_lines():
    """21 tiles of 31,891 numbers would be of one size, but only the first would begin as the vector does."""

    def momentum(xp, w, m):
        xp.assign(m, m * 0.9 - w)
        xp.assign_add(w, m)

    (group,) = planned_over(momentum, (669_706,), (669_706,)).groups
    assert group.rows == 31_904


def test_lines_that_need_no_loop_stand_before_and_after_it():
    def step(xp, small, large, last):
        xp.assign(small, xp.sqrt(small * 2.0))
        xp.assign(large, xp.sqrt(large * 2.0 + xp.expand_dims(small, axis=-1)))
        xp.assign(last, xp.sqrt(last * 2.0))

    plan = planned_over(step, (512,), (512, 512), (512,))
    (group,) = plan.groups
    assert [line.out.shape for line in plan.lines] == [(512,)] * 2 + [(512, 512)] * 3 + [(512,)] * 2
    assert (group.first, group.last) == (2, 4)


# The text.


def copied(held):
    """Return copies of arrays by name, which share memory as they do."""
    copies = {}

    def copy_of(array):
        base = array
        while isinstance(base.base, np.ndarray):
            base = base.base
        if id(base) not in copies:
            copies[id(base)] = base, base.copy()
        offset = array.ctypes.data - base.ctypes.data
        return np.ndarray(array.shape, array.dtype, copies[id(base)][1], offset, array.strides)

    return {name: copy_of(array) for name, array in held.items()}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_text_alone_takes_the_step(optimizer):
    """Run where there is NumPy, and the state by its names."""
    program = trained(Dense(6, "tanh"), Dropout(0.2), Dense(5, "softmax"), optimizer=optimizer).program("train")
    held = copied(program.written.held)
    namespace = {"np": np, **held}
    assert not program.written.functions
    exec(program.source, namespace)
    for _ in range(3):
        assert namespace["train"](*fitted_to(program)) is None
        program(*fitted_to(program))
    for name, array in program.written.held.items():
        np.testing.assert_array_equal(held[name], array)
    assert {"dense_kernel", "dense_bias", "dense_1_kernel", "dense_1_bias", "learning_rate"} <= {*held}


def test_the_text_is_there_for_tracebacks_as_long_as_the_program_is():
    """A process that fits thousands of models would else keep the text of each."""
    before = {*linecache.cache}
    model = trained()
    program = model.program("train")
    program(*fitted_to(program))
    file = f"<layerkit: train, {id(program):x}>"
    assert linecache.cache[file][2] == program.source.splitlines(keepends=True)
    del model, program
    gc.collect()
    assert {name for name in {*linecache.cache} - before if name.startswith("<layerkit")} == set()


def test_numbers_are_written_out():
    """Who reads the text sees which number `number` is, and what a constant is full of; state stays state."""
    model = Sequential([Dense(2), ReLU()], seed=1)
    model.compile(SGD(0.3, momentum=0.9), "mse")
    for _ in range(3):
        model.train_on_batch(X[:4, :3], X[:4, 3:5])
    program = model.program("train")
    head = program.source.partition("def ")[0].splitlines()
    assert {"number = np.array(0.9, np.float32)", "two = np.array(2.0, np.float32)"} <= {*head}
    assert "# constant: (4, 1), 0.25 everywhere" in head  # dv 2 / n: 1 / 4 of a mean over 2
    assert {"number", "two"}.isdisjoint(program.written.held)
    assert {"constant", "learning_rate", "iterations", "loss_total"} <= {*program.written.held}


NAMES = [
    *(["class", "lambda", "None"], ["np", "memory", "cut"], ["train", "predict", "x"], ["list", "zip", "len"]),
    *(["ﬁ", "fi", "Fi"], ["x²", "ä", "Ⅷ"], ["a\nimport os", "b\\", "c\x00d"], ["int", "range", "reused"]),
    *(["{0}", "{out}", "%s"], ["clock", "spent", "began"], ["İ", "1", "--"], ['"""', "#", "'"], ["y", "1", "_"]),
]


@pytest.mark.parametrize("names", NAMES, ids=repr)
def test_layers_may_have_any_names(names):
    models = []
    for how in (True, False):
        layers = [Dense(3, name=names[0]), ReLU(name=names[1]), Dense(3, name=names[2])]
        models.append(trained(*layers, loss="mse", y=X[:, :3], jit_compile=how))
    program = models[0].program("train")
    for mine, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)
    tree = ast.parse(program.source)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert all(name.isidentifier() and unicodedata.normalize("NFKC", name) == name for name in used)
    assert not used & {"class", "lambda"}
    program.profile(2)


def test_layers_of_one_name_inside_others():
    class Pair(Layer):
        def build(self, input_shape):
            self.first, self.second = Dense(3, name="same"), Dense(3, name="same_2")

        def call(self, xp, x):
            return self.second(self.first(x))

    models = [
        trained(Pair(name="pair"), Pair(name="pair_"), loss="mse", y=X[:, :3], jit_compile=how) for how in (True, False)
    ]
    for mine, theirs in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6)


def test_a_function_of_a_users_own_may_have_any_name():
    def made(name):
        def function(x):
            return np.tanh(x)

        function.__name__ = name
        return layerkit.differentiable(lambda xp, dy, y, x: (dy * (1.0 - y * y),))(function)

    functions = [made(name) for name in ("np", "memory", "predict", "x", "xp", "x", "<lambda>", "len", "class", "ä")]

    def step(xp, x):
        for function in functions:
            x = function(x * 2.0) + xp.sort(x)
        return x

    xp = layerkit.backend("numpy")
    _, _, program = record(xp, step, [X], "predict")
    planned = xp.capture(program)
    for x in (X, -X):
        np.testing.assert_array_equal(planned(x), step(xp, x))


# The time of each line.


@pytest.mark.parametrize("name", MODELS)
def test_a_profile_has_the_lines_in_order_and_changes_nothing(name):
    model = MODELS[name]()
    before = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    program = model.program("train")
    profile = program.profile(3)
    for old, variable in zip(before, (*model.variables, *model.optimizer.variables), strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    texts = [line.strip() for line in NumpyProgram(program.program, model.xp, threads=1).source.splitlines()]
    places = [texts.index(row.text) for row in profile.rows]
    assert len(profile.rows) == len(program.plan.lines)
    assert sum(a < b for a, b in itertools.pairwise(places)) > 0.8 * len(places)  # but where a text occurs twice
    assert all(row.microseconds >= 0.0 for row in profile.rows)
    owners = {row.origin.partition(":")[0] for row in profile.rows}
    assert {layer.name for layer in model.layers if layer.weights} | {model.optimizer.name} <= owners
    assert profile.microseconds == pytest.approx(sum(profile.by_layer.values()))
    assert 0.0 < profile.share_of_products < 1.0
    assert str(profile).count("\n") >= len(profile.rows)


# A plan that fails.


def test_a_step_that_cannot_be_planned_runs_eagerly(monkeypatch):
    def fails(self, program):
        raise IndexError("no place")

    monkeypatch.setattr(NumpyBackend, "capture", fails)
    sentence = (
        "A step that is replayed must do the same each time, in words of xp. Received: IndexError while it was "
        "planned: no place. This model's train step runs eagerly from now on; "
        "compile(jit_compile=False) says that this is meant."
    )
    with pytest.warns(CaptureWarning, match=f"^{re.escape(sentence)}$"):
        model = trained()
    eager = trained(run_eagerly=True)
    for mine, theirs in zip(model.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
