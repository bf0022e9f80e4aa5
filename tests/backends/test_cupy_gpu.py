"""The CuPy backend: each machine word, random bits, training and moving.

Each test runs on the first GPU, where there is one, and everywhere on an emulation of CuPy with two devices (the folder
`emulated`), which shows that the backend asks CuPy for the right things. To run what needs a GPU: ``pytest -m gpu``.
"""

import re
import sys

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.errors import ArgumentError, DeviceMemoryError, MixedBackendsError, ShapeError
from layerkit.layers import Dense, Dropout, Sigmoid
from layerkit.optimizers import SGD, Adam
from layerkit.xp import RandomStream, words

# Machine words.


def test_names(cupy):
    assert layerkit.backend("cupy") is layerkit.backend("cupy:0") is cupy
    assert str(cupy) == "cupy:0"
    assert cupy.devices()[0] == "0"


def test_every_word_is_there(cupy):
    for word in (*words.ARRAY_WORDS, *words.NETWORK_WORDS, *words.MACHINE_WORDS):
        assert hasattr(cupy, word), word
    for word in words.LINALG:
        assert hasattr(cupy.linalg, word), word
    for word in words.FFT:
        assert hasattr(cupy.fft, word), word


@pytest.mark.parametrize(
    "values",
    [[[1, 2], [3, 4]], 2.5, True, np.arange(6.0).reshape(2, 3).T, np.zeros((0, 3)), np.float32(3), np.array(7)],
    ids=["list", "number", "bool", "transposed", "empty", "scalar", "0-d"],
)
@pytest.mark.parametrize("dtype", [None, "float32", "int64", "uint64", "bool"])
def test_there_and_back(cupy, values, dtype):
    array = cupy.asarray(values, dtype)
    back = cupy.to_numpy(array)
    expected = np.asarray(values, dtype)
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype == expected.dtype
    assert tuple(array.shape) == expected.shape
    np.testing.assert_array_equal(back, expected)


def test_arrays_of_the_device_stay_as_they_are(cupy):
    array = cupy.asarray([1.0, 2.0])
    assert cupy.asarray(array) is array
    assert cupy.asarray(array, "float64") is array
    assert cupy.asarray(array, "float32").dtype == cupy.float32


def test_host_data_may_be_written_to_after_asarray(cupy):
    values = np.ones(1000, np.float32)
    array = cupy.asarray(values)
    values[:] = 2  # as `fit` does with its buffers
    assert cupy.to_numpy(array).max() == 1


def test_owns(cupy):
    assert cupy.owns(cupy.asarray(1.0))
    assert cupy.owns(cupy.asarray([1.0])[0])
    assert not cupy.owns(np.ones(1))
    assert not cupy.owns([1.0])
    assert layerkit.xp.backend_of(cupy.asarray(1.0)) is cupy


def test_state_is_a_copy_that_lies_row_by_row(cupy):
    source = cupy.asarray(np.arange(6.0).reshape(2, 3).T)
    state = cupy.state(source, "float64")
    cupy.assign(state, 0)
    assert cupy.to_numpy(source).max() == 5
    assert state.strides == (16, 8)


def test_views_share_memory(cupy):
    flat = cupy.state(np.arange(10), "float32")
    view = cupy.view(flat, 2, 8, (2, 3))
    scalar = cupy.view(flat, 9, 10, ())
    cupy.assign(view, cupy.asarray([[1, 2, 3], [4, 5, 6]], "float32"))
    cupy.assign(scalar, -1)
    np.testing.assert_array_equal(cupy.to_numpy(flat), [0, 1, 1, 2, 3, 4, 5, 6, 8, -1])


def test_assign(cupy):
    state = cupy.state(np.zeros((2, 3)), "float32")
    view = state[0, :]
    cupy.assign(state, cupy.asarray(np.arange(6.0).reshape(2, 3)))  # float64, which is converted
    np.testing.assert_array_equal(cupy.to_numpy(view), [0, 1, 2])
    cupy.assign(state, 7)
    cupy.assign_add(state, cupy.ones((2, 3)))
    cupy.assign_add(state, cupy.asarray(0.5))
    cupy.assign_add(state, 1)
    np.testing.assert_array_equal(cupy.to_numpy(state), np.full((2, 3), 9.5, np.float32))
    assert state.dtype == cupy.float32


def test_assign_refuses_what_does_not_fit(cupy):
    state = cupy.state(np.zeros((2, 3)), "float32")
    for word in ("assign", "assign_add"):
        with pytest.raises(ShapeError) as caught:
            getattr(cupy, word)(state, cupy.ones((3,)))
        assert str(caught.value) == (
            f"{word}: the value must have the shape of the state, (2, 3). Received: shape (3,)"
        )
        with pytest.raises(ArgumentError) as caught:
            getattr(cupy, word)(state, [1, 2, 3])
        assert str(caught.value) == (
            f"{word}: the value must be an array or a number. Received: [1, 2, 3]. Make it one with xp.asarray."
        )
    assert not cupy.to_numpy(state).any()


def test_arrays_of_two_libraries_do_not_mix(cupy):
    with pytest.raises(MixedBackendsError, match="Received: arrays of cupy:0 and numpy"):
        layerkit.losses.mean_squared_error(cupy.ones((2, 1)), np.ones((2, 1)))


@pytest.mark.parametrize("counter", [0, 2**32 - 1, 2**64 - 3])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 5000])
def test_random_bits_are_those_of_numpy(cupy, counter, size):
    numpy = layerkit.backend("numpy")
    key = (2**64 - 1, 2**63 + 5)
    state = cupy.state(counter, "uint64")
    bits = cupy.random_bits(key, state, size)
    assert bits.dtype == cupy.uint32
    np.testing.assert_array_equal(cupy.to_numpy(bits), numpy.random_bits(key, numpy.state(counter, "uint64"), size))
    assert int(cupy.to_numpy(state)) == counter


def test_a_stream_goes_on_where_it_was(cupy):
    numpy = layerkit.backend("numpy")
    streams = [RandomStream(xp, (1, 2), "mask") for xp in (cupy, numpy)]
    for shape in ((3, 5), (), (17,)):
        ours, theirs = (xp.to_numpy(stream.bits(xp, shape)) for xp, stream in zip((cupy, numpy), streams, strict=True))
        np.testing.assert_array_equal(ours, theirs)


def test_synchronize(cupy):
    x = cupy.ones((500, 500))
    for _ in range(3):
        x = cupy.matmul(x, x) * 0.002
    cupy.synchronize()
    np.testing.assert_allclose(cupy.to_numpy(x)[0, 0], 1.0, rtol=1e-12)


# Network words against their references on NumPy. The bounds are a few times the rounding error of the dtype.


@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-13)])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (7, 3)])
def test_elementwise_network_words(cupy, dtype, rtol, shape):
    numpy = layerkit.backend("numpy")
    x = np.asarray(np.random.default_rng(0).normal(size=shape) * 3, dtype)
    for word in ("sigmoid", "softplus", "erfc"):
        y = getattr(cupy, word)(cupy.asarray(x))
        assert y.dtype == getattr(cupy, dtype)
        expected = getattr(layerkit.xp.reference, word)(numpy, x.astype(np.float64))
        np.testing.assert_allclose(cupy.to_numpy(y), expected, rtol=rtol, err_msg=word)


@pytest.mark.parametrize("word", ["sigmoid", "erfc"])
def test_words_of_float16_stay_float16(cupy, word):
    """CuPy's own give float64."""
    numpy, x = layerkit.backend("numpy"), np.array([[-7.5, -1.0], [0.25, 9.0]], np.float16)
    y = getattr(cupy, word)(cupy.asarray(x))
    assert y.dtype == cupy.float16
    np.testing.assert_allclose(cupy.to_numpy(y), getattr(layerkit.xp.reference, word)(numpy, x), rtol=2e-3, atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "kinds"),
    [
        ("float64", {"real floating", "numeric"}),
        ("int32", {"integral", "signed integer", "numeric"}),
        ("bool", {"bool"}),
    ],
)
def test_dtypes_are_of_their_kinds(cupy, dtype, kinds):
    found = {kind for kind in ("bool", "integral", "signed integer", "unsigned integer", "real floating", "numeric")
             if cupy.isdtype(getattr(cupy, dtype), kind)}  # fmt: skip
    assert found == kinds
    if "real floating" in kinds:
        assert cupy.finfo(getattr(cupy, dtype)).bits == 64


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid_far_out(cupy, dtype):
    y = cupy.to_numpy(cupy.sigmoid(cupy.asarray([-1e4, -80, 0, 80, 1e4], dtype)))
    np.testing.assert_allclose(y, [0, 1.8048513878454153e-35, 0.5, 1, 1], rtol=1e-5)  # e**-80 = 1.80485e-35


# Two devices.


def test_words_compute_on_their_own_device(cupy, second):
    a, b = cupy.ones((2, 3)), second.ones((2, 3))
    assert second.owns(b)
    assert not cupy.owns(b)
    for xp, array, other in ((cupy, a, second), (second, b, cupy)):
        with other.on_device():
            results = [
                xp.state(array, "float32"), xp.asarray(array), xp.asarray([1.0]), xp.zeros(2), xp.arange(3),
                xp.exp(array), xp.linear(array, xp.ones((3, 4)), xp.ones((4,))), xp.sigmoid(array), xp.softmax(array),
                xp.linalg.matrix_norm(array), xp.fft.fft(array), xp.random_bits((1, 2), xp.state(0, "uint64"), 9),
                xp.view(xp.state(np.zeros(4), "float32"), 0, 4, (2, 2)),
            ]  # fmt: skip
            xp.assign_add(results[0], array)
            assert xp.to_numpy(results[0]).min() == 2
        assert all(xp.owns(result) for result in results)


def test_arrays_of_two_devices_do_not_mix(cupy, second):
    with pytest.raises(MixedBackendsError) as caught:
        cupy.asarray(second.ones((2,)))
    assert str(caught.value) == (
        "One computation takes arrays of one backend. Received: an array of cupy:1 in a computation on cupy:0. "
        "Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
    )


def test_a_full_device(emulation, monkeypatch):
    cupy = layerkit.backend("cupy:1")
    library = sys.modules["cupy"]

    def full(*args, **kwargs):
        raise library.cuda.memory.OutOfMemoryError(4_000, 79_999_999_000)

    sentence = (
        "cupy:1: the device must have room for what is computed. Received: Out of memory allocating 4,000 bytes "
        "(allocated so far: 79,999,999,000 bytes), with 1,000 of the device's 80,000,000,000 bytes free. "
        "Use a smaller batch_size, or end what else runs on the device."
    )
    monkeypatch.setattr(library, "empty", full)
    with pytest.raises(DeviceMemoryError) as caught:
        cupy.random_bits((1, 2), cupy.asarray(0, "uint64"), 1000)
    assert str(caught.value) == sentence
    with pytest.raises(DeviceMemoryError) as caught, cupy.on_device():  # as an operator does
        full()
    assert str(caught.value) == sentence
    assert library._current == [0]


@pytest.fixture
def unlimited(cupy):
    yield
    cupy.memory_limit = None


def test_a_limit_holds_for_all_pools_together(cupy, unlimited, monkeypatch):
    cupy.synchronize()
    library = sys.modules["cupy"]
    own = library.get_default_memory_pool()
    with cupy.on_device():
        own.free_all_blocks()
        taken = cupy.pools.taken()  # other tests' models may still be there
        cupy.memory_limit = limit = taken + (8 << 20)
        monkeypatch.setattr(library.cuda.runtime, "memGetInfo", lambda: (1 << 30, 80_000_000_000))
        assert cupy.free_memory() >= 8 << 20
        pool = cupy.pools.new()
        with library.cuda.using_allocator(pool.malloc):
            kept = library.empty((6 << 20,), dtype=library.uint8)
        cupy.pools.share()
        assert cupy.free_memory() - own.free_bytes() <= 2 << 20
        with pytest.raises(DeviceMemoryError) as caught, cupy.on_device():
            library.empty((6 << 20,), dtype=library.uint8)
    assert re.fullmatch(
        r"cupy:0: the device must have room for what is computed\. Received: Out of memory allocating 6,291,456 bytes "
        r"\(allocated so far: [\d,]+ bytes, limit set to: [\d,]+ bytes\), with [\d,]+ of the device's [\d,]+ bytes "
        r"free\. Use a smaller batch_size, or a larger memory_limit\.",
        str(caught.value),
    )
    assert cupy.memory_limit == limit
    cupy.memory_limit = None
    with cupy.on_device():
        library.empty((6 << 20,), dtype=library.uint8)
    assert kept.nbytes == 6 << 20


@pytest.mark.parametrize("limit", [0, -1, 2.5, True, "1 GB"])
def test_a_limit_that_is_none(cupy, limit):
    with pytest.raises(ArgumentError) as caught:
        cupy.memory_limit = limit
    assert str(caught.value) == (
        f"cupy:0: memory_limit must be a whole number of bytes, at least 1, or None for all that the device has. "
        f"Received: memory_limit={limit!r}"
    )
    assert cupy.memory_limit is None


def test_the_environment_sets_the_limit(emulation, monkeypatch):
    monkeypatch.setenv("LAYERKIT_MEMORY_LIMIT", "123456789")
    assert layerkit.backend("cupy:1").memory_limit == 123_456_789
    assert sys.modules["cupy"].get_default_memory_pool().limit == 123_456_789


def test_a_step_beyond_the_limit_says_how_large_a_batch_fits(emulation, monkeypatch):
    """A batch of 4,096 rows has 800 kB of hidden units; where 100 kB are free, 200 rows or so fit."""
    cupy = layerkit.backend("cupy:0")
    library = sys.modules["cupy"]
    model = Sequential([layerkit.Input((3,)), Dense(50), Dense(1)], seed=0, backend=cupy)
    model.compile("sgd", "mse")
    matmul = cupy.matmul

    def limited(a, b):
        if max(a.shape[0], a.shape[-1]) > 1000:
            raise library.cuda.memory.OutOfMemoryError(819_200, 1_000)
        return matmul(a, b)

    monkeypatch.setattr(cupy, "matmul", cupy._here(limited))
    monkeypatch.setattr(cupy, "free_memory", lambda: 100_000)
    with pytest.raises(DeviceMemoryError) as caught:
        model.fit(np.ones((4096, 3), "f"), np.ones((4096, 1), "f"), batch_size=4096, verbose=0)
    assert re.fullmatch(
        r"cupy:0: the device must have room for what is computed\. Received: Out of memory allocating 819,200 bytes "
        r"\(allocated so far: 1,000 bytes\), with 1,000 of the device's 80,000,000,000 bytes free\. Use a smaller "
        r"batch_size, or end what else runs on the device\. A train step on 4,096 rows takes about 1\.\d MiB for 64\.0 "
        r"KiB of data, beside \d\.\d KiB of weights and other state; 97\.7 KiB are free\. Largest batch that fits: "
        r"about (1[5-9]0|2[01]0)\.",
        str(caught.value),
    ), str(caught.value)


# Models.

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


def xor(backend, **kwargs):
    model = Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=0, backend=backend, **kwargs)
    model.compile(optimizer=SGD(learning_rate=2.0), loss="mean_squared_error", metrics=["accuracy"])
    return model


def test_xor_is_learnt_as_on_numpy(cupy):
    models = [xor(backend, dtype="float64") for backend in (cupy, "numpy")]
    for model in models:
        model.fit(X, Y, epochs=1500, batch_size=4, verbose=0)
    ours, theirs = (model.predict(X, verbose=0) for model in models)
    np.testing.assert_array_equal(np.round(ours), Y)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert cupy.owns(models[0].weights[0].value)


def test_a_model_moves_in_the_middle_of_training(cupy):
    def trained(*moves):
        model = Sequential([Dense(8, activation="gelu"), Dropout(0.2), Dense(3)], seed=3, dtype="float64")
        model.compile(Adam(0.01), "mse", metrics=["mae"])
        x = np.random.default_rng(1).normal(size=(50, 4))
        y = np.stack([x[:, 0], x[:, 1] * x[:, 2], np.abs(x[:, 3])], axis=1)
        for move in moves:
            model.to(move)
            model.fit(x, y, epochs=3, batch_size=16, verbose=0)
        return [variable.numpy() for variable in model.weights], model.evaluate(x, y, verbose=0), model.xp

    weights, measured, xp = trained(cupy, "numpy", "cupy:0")
    expected, expected_measured, _ = trained("numpy", "numpy", "numpy")
    assert xp is cupy
    np.testing.assert_allclose(measured, expected_measured, rtol=1e-8)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8)


def test_arrays_of_the_device_are_inputs(cupy):
    model = xor(cupy)
    model.fit(cupy.asarray(X), cupy.asarray(Y), epochs=2, verbose=0)
    assert cupy.owns(model(cupy.asarray(X)))
    assert type(model.predict(cupy.asarray(X), verbose=0)) is np.ndarray


def test_models_on_two_devices_take_turns(cupy, second):
    models = [xor(backend, dtype="float64") for backend in (cupy, second)]
    for _ in range(2):
        for model in models:
            model.fit(X, Y, epochs=3, verbose=0)
            model.train_on_batch(X, Y)
    first, other = models
    for ours, theirs in zip(first.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    assert second.owns(other.weights[0].value)
    assert second.owns(other(second.asarray(X)))
    np.testing.assert_array_equal(first.predict(X, verbose=0), other.predict(X, verbose=0))
    assert first.evaluate(X, Y, verbose=0) == other.evaluate(X, Y, verbose=0)


@pytest.mark.parametrize("shuffle", [False, True])
def test_data_is_kept_on_the_models_own_device(second, monkeypatch, shuffle):
    monkeypatch.setattr(second, "data_budget", 1 << 20)
    ours, theirs = (xor(backend, dtype="float64") for backend in (second, "numpy"))
    for model in (ours, theirs):
        model.fit(X, Y, batch_size=2, epochs=3, verbose=0, shuffle=shuffle)
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9)


def test_what_is_called_by_itself_computes_on_the_device_of_its_arrays(second):
    a, b = second.asarray([[1.0], [2.0]]), second.asarray([[0.0], [4.0]])
    assert second.owns(layerkit.activations.gelu(a))
    assert second.owns(layerkit.losses.mean_squared_error(a, b))
    assert float(second.to_numpy(layerkit.losses.MeanSquaredError()(a, b))) == 2.5
    metric = layerkit.metrics.MeanAbsoluteError()
    metric.update_state(a, b)
    assert metric.result() == 1.5
    weight = layerkit.Variable([1.0, 2.0], "float64", "weight", xp=second)
    SGD(learning_rate=0.5).apply([second.asarray([2.0, 4.0])], [weight])
    np.testing.assert_array_equal(weight.numpy(), [0, 0])
    with layerkit.use_backend("cupy:1"):
        assert second.owns(a * b)
