"""What is NumPy's own in the NumPy backend: memory, machine words, and network words on awkward arrays."""

import copy
import pickle

import numpy as np
import pytest

import layerkit
from layerkit.errors import ArgumentError, BackendUnavailableError, ShapeError
from layerkit.xp import reference, words

xp = layerkit.backend("numpy")


def test_there_is_one(monkeypatch):
    assert layerkit.backend("numpy:cpu") is xp
    assert pickle.loads(pickle.dumps(xp)) is copy.deepcopy(xp) is xp
    assert str(xp) == "numpy"
    assert xp.devices() == ("cpu",)
    monkeypatch.setenv("LAYERKIT_BACKEND", "numpy")
    assert layerkit.backend() is xp


@pytest.mark.parametrize("name", ["numpy:1", "numpy:cuda", "numpy:cpu:0"])
def test_no_other_device(name):
    with pytest.raises(BackendUnavailableError) as caught:
        layerkit.backend(name)
    assert str(caught.value) == (f"backend 'numpy': the device must be 'cpu'. Received: '{name}'. Use backend='numpy'.")


# Machine words.


def test_asarray_shares_memory_where_it_can():
    values = np.arange(6.0)
    assert xp.asarray(values) is values
    assert xp.asarray(values, "float64") is values
    assert xp.asarray(values, "float32").dtype == np.float32
    assert xp.to_numpy(values) is values


@pytest.mark.parametrize("values", [[1, 2], 3, np.float32(1.5), (np.True_,)])
def test_asarray_takes_what_numpy_takes(values):
    array = xp.asarray(values, "float64")
    assert type(array) is np.ndarray
    assert array.dtype == np.float64
    np.testing.assert_array_equal(array, values)


def test_owns_scalars_too():
    assert xp.owns(np.ones(2))
    assert xp.owns(np.float32(1))  # what NumPy returns for sums
    assert not xp.owns([1.0])
    assert not xp.owns(1.0)


@pytest.mark.parametrize("values", [np.arange(6.0).reshape(2, 3).T, [[1, 2], [3, 4]], 5, np.zeros((0, 3))])
def test_state_is_a_copy_that_lies_row_by_row(values):
    state = xp.state(values, "float32")
    assert state.dtype == np.float32
    assert state.flags.c_contiguous
    assert state.flags.writeable
    assert not np.shares_memory(state, np.asarray(values))
    np.testing.assert_array_equal(state, values)


@pytest.mark.parametrize("shape", [(), (0, 3), (1,), (16,), (3, 700), (100_000,)])
def test_state_begins_on_a_cache_line(shape):
    for state in [xp.state(np.zeros(shape), "float32") for _ in range(3)]:
        assert state.ctypes.data % 64 == 0
        assert isinstance(state.base.base, memoryview)  # so that `export` finds no other memory than this
        assert state.base.shape == (state.size,)


def test_state_copies_an_array_of_the_same_dtype():
    values = np.ones(3)
    xp.assign(xp.state(values, "float64"), 2)
    assert values.max() == 1


@pytest.mark.parametrize(("start", "stop", "shape"), [(0, 6, (2, 3)), (9, 10, ()), (4, 4, (0, 3)), (2, 10, (2, 2, 2))])
def test_views_share_memory(start, stop, shape):
    flat = xp.state(np.arange(10), "float64")
    view = xp.view(flat, start, stop, shape)
    assert view.shape == shape
    xp.assign(view, -1)
    xp.assign_add(view, np.full(shape, -1.0))
    expected = np.arange(10.0)
    expected[start:stop] = -2
    np.testing.assert_array_equal(flat, expected)


@pytest.mark.parametrize("shape", [(), (1,), (2, 3), (0, 3)])
@pytest.mark.parametrize("value", [2, 2.5, True, np.float64(2.5), np.array(2.5, np.float32)])
def test_a_number_fills(shape, value):
    state = xp.state(np.ones(shape), "float32")
    address = state.ctypes.data
    xp.assign(state, value)
    np.testing.assert_array_equal(state, np.full(shape, value, np.float32))
    xp.assign_add(state, value)
    np.testing.assert_array_equal(state, np.full(shape, 2 * value, np.float32))
    assert state.ctypes.data == address


def test_numbers_are_added_to_counters_in_their_dtype():
    for dtype in ("int64", "uint64"):
        counter = xp.state(2**53, dtype)
        xp.assign_add(counter, 1)
        assert counter.dtype == dtype
        assert int(counter) == 2**53 + 1  # which float64 does not hold


def test_assign_converts_and_takes_its_own_memory():
    state = xp.state(np.arange(6).reshape(2, 3), "float32")
    xp.assign(state, np.full((2, 3), 1 / 3))
    assert (state == np.float32(1 / 3)).all()
    flat = xp.state(np.arange(4), "float32")
    xp.assign(flat, flat[::-1])
    np.testing.assert_array_equal(flat, [3, 2, 1, 0])


@pytest.mark.parametrize("word", ["assign", "assign_add"])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (2, 1), (3, 2), (1, 2, 3), (1,), (0,)])
def test_values_are_never_broadcast(word, shape):
    state = xp.state(np.zeros((2, 3)), "float32")
    with pytest.raises(ShapeError) as caught:
        getattr(xp, word)(state, np.ones(shape))
    assert str(caught.value) == f"{word}: the value must have the shape of the state, (2, 3). Received: shape {shape}"
    assert not state.any()


@pytest.mark.parametrize("word", ["assign", "assign_add"])
@pytest.mark.parametrize("value", [[1, 2, 3], None, "1"])
def test_values_are_arrays_or_numbers(word, value):
    state = xp.state(np.zeros(3), "float32")
    with pytest.raises(ArgumentError) as caught:
        getattr(xp, word)(state, value)
    assert str(caught.value) == (
        f"{word}: the value must be an array or a number. Received: {value!r}. Make it one with xp.asarray."
    )
    assert not state.any()


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000])
@pytest.mark.parametrize("counter", [0, 5, 2**64 - 1])
def test_random_bits(size, counter):
    key = (2**64 - 1, 3)
    state = xp.state(counter, "uint64")
    bits = xp.random_bits(key, state, size)
    assert bits.dtype == np.uint32
    assert bits.shape == (size,)
    assert state == counter
    # `Generator.integers` takes 32 bits at a time from the same generator, low half first.
    generator = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64), counter=counter))
    np.testing.assert_array_equal(bits, generator.integers(0, 2**32, size, dtype=np.uint32))


def test_random_bits_go_on_at_the_next_block():
    key = (1, 2)
    whole = xp.random_bits(key, xp.state(7, "uint64"), 24)
    np.testing.assert_array_equal(xp.random_bits(key, xp.state(9, "uint64"), 8), whole[16:])


# Network words. Warnings are errors: no word may overflow aloud.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_far_out_no_word_warns(dtype):
    x = np.array([[-1e4, 1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4]], dtype)
    np.testing.assert_array_equal(xp.sigmoid(x)[0], [0, 1, 0.5])
    np.testing.assert_array_equal(xp.softplus(x)[0], np.array([0, 1e4, np.log(2)], dtype))
    np.testing.assert_array_equal(xp.softmax(x)[0], [0, 1, 0])
    np.testing.assert_array_equal(xp.log_softmax(x)[0], [-2e4, 0, -1e4])
    np.testing.assert_array_equal(xp.erfc(x)[0], [2, 0, 1])


AWKWARD = {
    "transposed": np.random.default_rng(0).normal(size=(5, 4)).T,
    "every second": np.random.default_rng(1).normal(size=(8, 10))[::2, ::2],
    "backwards": np.random.default_rng(2).normal(size=(4, 5))[::-1, ::-1],
    "repeated": np.broadcast_to(np.array([1.0, -2.0, 3.0, 0.0, 0.5]), (4, 5)),
    "no rows": np.zeros((0, 5)),
    "a number": np.array(-1.5),
    "scalar": np.float64(1.5),
}


CASES = [(word, kind) for word in ("sigmoid", "softplus", "erfc") for kind in AWKWARD]
CASES += [(word, kind) for word in ("softmax", "log_softmax") for kind, x in AWKWARD.items() if x.ndim]


@pytest.mark.parametrize(("word", "kind"), CASES)
def test_awkward_arrays(word, kind):
    x = AWKWARD[kind]
    before = np.array(x)
    y = getattr(xp, word)(x)
    np.testing.assert_allclose(y, getattr(reference, word)(xp, np.array(x)), rtol=1e-14, atol=1e-300)
    assert not np.shares_memory(y, x)
    np.testing.assert_array_equal(x, before)


@pytest.mark.parametrize("kind", [kind for kind in AWKWARD if AWKWARD[kind].ndim == 2])
def test_linear_on_awkward_arrays(kind):
    x, kernel, bias = AWKWARD[kind], np.arange(15.0).reshape(3, 5).T, np.arange(6.0)[::2]
    np.testing.assert_allclose(
        xp.linear(x, kernel, bias), np.array(x) @ np.array(kernel) + bias, rtol=1e-13, atol=1e-13
    )
    np.testing.assert_array_equal(bias, [0, 2, 4])
    np.testing.assert_array_equal(kernel, np.arange(15.0).reshape(3, 5).T)


def test_what_the_backend_replaces_is_a_word():
    """Whatever stands in the way of the standard's name must be that word: callable, or the dtype or constant."""
    for word in words.ARRAY_WORDS:
        mine, theirs = getattr(xp, word), getattr(np, word)
        assert mine is theirs or (callable(mine) and callable(theirs)), word
