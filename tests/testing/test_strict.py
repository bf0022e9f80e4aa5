"""The strict backend refuses what the contract forbids, each with its sentence."""

from __future__ import annotations

import contextlib
import copy
import operator
import re
import subprocess
import sys

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.errors import (
    BackendError,
    BackendUnavailableError,
    MixedBackendsError,
    ShapeError,
    UnsupportedWordError,
)
from layerkit.layers import Dense, Dropout
from layerkit.optimizers import Adam
from layerkit.testing import StrictBackend
from layerkit.xp import backend, words


@pytest.fixture
def strict():
    return StrictBackend.open("")


def sentence(text):
    return f"^{re.escape(text)}$"


@pytest.fixture
def value(strict):
    return strict.asarray([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "float32")


@pytest.fixture
def weight(strict):
    return strict.state([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], "float32")


def test_it_has_two_devices():
    assert str(backend("strict")) == "strict:0"
    assert backend("strict") is backend("strict:0")
    assert backend("strict:1") is not backend("strict:0")
    assert backend("strict").devices() == ("0", "1")
    text = "backend 'strict': the device must be '0' or '1'. Received: 'strict:2'. Use backend='strict:0'."
    with pytest.raises(BackendUnavailableError, match=sentence(text)):
        backend("strict:2")


def test_without_its_package_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "array_api_strict", None)
    with pytest.raises(BackendUnavailableError) as caught:
        StrictBackend.open("")
    assert re.fullmatch(
        r"backend 'strict': the package array_api_strict must be installed\. Received: .+\. "
        r'Run: pip install "layerkit\[testing\]"\.',
        str(caught.value),
    )


def test_the_room_loads_without_its_package():
    code = "import sys, layerkit.testing; assert 'array_api_strict' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_framework_does_not_load_this_room():
    code = "import sys, layerkit; from layerkit import Sequential; assert 'layerkit.testing' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


# Values are not written.


@pytest.mark.parametrize(
    "name", ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "imatmul", "iand", "ior", "ixor"]
)
def test_an_operator_in_place_is_refused(value, weight, name):
    for array, shape in ((value, (2, 3)), (weight, (2, 3))):
        text = (
            f"strict:0: a value is never written again. Received: __{name}__ of an array of shape {shape}. "
            f"Write x = x + y, or assign to state."
        )
        with pytest.raises(BackendError, match=sentence(text)):
            getattr(operator, name)(array, 1.0)


def test_writing_to_an_element_is_refused(value, weight):
    text = (
        "strict:0: a value is never written again. Received: __setitem__ of an array of shape (2, 3). "
        "Use xp.where, or xp.assign for state."
    )
    for array in (value, weight):
        with pytest.raises(BackendError, match=sentence(text)):
            array[0, 0] = 1.0


def test_the_memory_of_a_value_is_read_only(strict, value, weight):
    for array in (value, value + 1.0, strict.zeros((2,)), weight.T, strict.asarray(np.ones(2))):
        with pytest.raises(ValueError, match="read-only"):
            array.memory[0] = 1.0


def test_what_comes_from_the_host_is_copied_and_what_goes_there_is_read_only(strict):
    host = np.ones(3)
    value = strict.asarray(host)
    host[:] = 2.0
    back = strict.to_numpy(value)
    np.testing.assert_array_equal(back, [1.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="read-only"):
        back[0] = 5.0


# Nothing is read on the host.


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("float", float),
        ("int", int),
        ("bool", bool),
        ("complex", complex),
        ("index", operator.index),
        ("iter", list),
        ("array", np.asarray),
        ("array", np.array),
        ("dlpack", np.from_dlpack),
    ],
)
def test_a_read_on_the_host_is_refused(strict, name, read):
    for array in (strict.asarray(1.0), strict.state(1.0, "float32")):
        text = (
            f"strict:0: a step never reads on the host. Received: __{name}__ of an array of shape (). "
            f"Outside of a step, use xp.to_numpy."
        )
        with pytest.raises(BackendError, match=sentence(text)):
            read(array)


def test_a_branch_on_a_value_is_refused(strict, value):
    with pytest.raises(BackendError, match="a step never reads on the host"):
        _ = 1 if strict.sum(value) > 0 else 0


def test_length_and_hash_do_not_exist(value):
    with pytest.raises(TypeError):
        len(value)
    with pytest.raises(TypeError):
        hash(value)


# The standard, and nothing else.


@pytest.mark.parametrize(
    ("attribute", "remedy"),
    [
        *[(attribute, "Use a word of xp") for attribute in ("tolist", "item", "data", "copy", "linalg", "pi")],
        *[(attribute, f"Write xp.{attribute}(array, …)") for attribute in ("astype", "sum", "reshape")],
    ],
)
def test_methods_of_numpy_do_not_exist(value, attribute, remedy):
    text = (
        f"strict:0: an array has the attributes of the Array API standard only. Received: array.{attribute}. {remedy}."
    )
    with pytest.raises(UnsupportedWordError, match=sentence(text)):
        getattr(value, attribute)


def test_every_word_of_the_contract_exists(strict):
    for word in (*words.ARRAY_WORDS, *words.NETWORK_WORDS, *words.MACHINE_WORDS):
        assert hasattr(strict, word), word
    for group, listed in ((strict.linalg, words.LINALG), (strict.fft, words.FFT)):
        for word in listed:
            assert hasattr(group, word), word


def test_the_version_of_the_standard_is_that_of_the_contract(strict):
    assert strict.library.__array_api_version__ == "2024.12"


@pytest.mark.parametrize("word", ["vdot", "dot", "concatenate", "absolute", "float16", "random", "linalg_norm"])
def test_a_word_outside_of_the_contract_does_not_exist(strict, word):
    with pytest.raises(UnsupportedWordError, match=rf"^strict:0: .*Received: xp\.{word}\."):
        getattr(strict, word)


def test_keywords_of_numpy_do_not_exist(strict, value):
    with pytest.raises(TypeError, match="out"):
        strict.exp(value, out=value)
    with pytest.raises(TypeError, match="where"):
        strict.sum(value, where=value > 0)


def test_mixtures_of_dtypes_do_not_exist(strict, value):
    with pytest.raises(TypeError, match="promoted"):
        value + strict.asarray([1, 2, 3])
    with pytest.raises(TypeError, match="Only numeric dtypes are allowed"):
        strict.asarray([True]) + True
    with pytest.raises(TypeError, match="dtype"):
        strict.exp(strict.asarray([1, 2, 3]))


@pytest.mark.parametrize("values", [["a", "b"], [None], np.ones(2, np.float16), np.ones(2, "datetime64[s]")])
def test_dtypes_outside_of_the_standard_do_not_exist(strict, values):
    with pytest.raises(TypeError, match="dtype"):
        strict.asarray(values)


def test_an_array_has_the_attributes_of_the_standard(strict, value):
    assert (value.shape, value.ndim, value.size, value.device) == ((2, 3), 2, 6, "0")
    assert value.dtype == strict.float32
    np.testing.assert_array_equal(strict.to_numpy(value.T), [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(strict.to_numpy(value.mT), [[1, 4], [2, 5], [3, 6]])
    np.testing.assert_array_equal(strict.to_numpy(value[1, 1:]), [5, 6])
    assert value.__array_namespace__().sum is strict.sum


@pytest.mark.parametrize(
    "name", ["add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "eq", "ne", "lt", "le", "gt", "ge"]
)
def test_operators_are_those_of_the_standard(strict, name):
    function = getattr(operator, name)
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([2.0, 3.0])
    left, right = strict.asarray(a), strict.asarray(b)
    for got, expected in (
        (function(left, right), function(a, b)),
        (function(left, 2.0), function(a, 2.0)),
        (function(2.0, right), function(2.0, b)),
    ):
        np.testing.assert_array_equal(strict.to_numpy(got), expected)


@pytest.mark.parametrize("name", ["and_", "or_", "xor", "lshift", "rshift"])
def test_operators_of_integers_are_those_of_the_standard(strict, name):
    function = getattr(operator, name)
    a, b = np.array([12, 10]), np.array([1, 3])
    np.testing.assert_array_equal(strict.to_numpy(function(strict.asarray(a), strict.asarray(b))), function(a, b))
    np.testing.assert_array_equal(strict.to_numpy(function(strict.asarray(a), 2)), function(a, 2))
    np.testing.assert_array_equal(strict.to_numpy(function(2, strict.asarray(b))), function(2, b))
    np.testing.assert_array_equal(strict.to_numpy(~strict.asarray(a)), ~a)


def test_tuples_of_arrays_stay_tuples(strict, value):
    wide = strict.astype(value, strict.float64)
    result = strict.linalg.qr(wide)
    assert result._fields == ("Q", "R")
    np.testing.assert_allclose(strict.to_numpy(result.Q @ result.R), strict.to_numpy(wide), atol=1e-14)
    assert [part.shape for part in strict.unstack(value)] == [(3,), (3,)]


# One backend, one device.


def mixed(owner, place="strict:0"):
    return sentence(
        f"One computation takes arrays of one backend. Received: an array of {owner} in a computation on {place}. "
        f"Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
    )


@pytest.mark.parametrize(
    "combine",
    [
        lambda xp, ours, other: ours + other,
        lambda xp, ours, other: other * ours,
        lambda xp, ours, other: other @ ours,
        lambda xp, ours, other: xp.maximum(ours, other),
        lambda xp, ours, other: xp.concat([ours, other]),
        lambda xp, ours, other: xp.where(ours > 0, ours, other),
        lambda xp, ours, other: xp.sum(other),
        lambda xp, ours, other: xp.to_numpy(other),
        lambda xp, ours, other: xp.assign(xp.state([[0.0] * 2] * 2, "float64"), other),
    ],
)
def test_arrays_of_numpy_are_refused(strict, combine):
    ours = strict.asarray([[1.0, 2.0], [3.0, 4.0]])
    with pytest.raises(MixedBackendsError, match=mixed("numpy")):
        combine(strict, ours, np.ones((2, 2)))


def test_numbers_of_numpy_are_refused(strict, value):
    """They look like numbers of Python, and change the dtype of the result where those do not."""
    for combine in (
        lambda: value * np.float64(2.0),
        lambda: np.float32(2.0) * value,
        lambda: strict.pow(value, np.int64(2)),
    ):
        with pytest.raises(MixedBackendsError, match=mixed("numpy")):
            combine()


def test_functions_of_numpy_do_not_take_its_arrays(value):
    with pytest.raises(TypeError, match="StrictArray"):
        np.add(value, 1.0)


def test_arrays_of_another_device_are_refused():
    first, second = backend("strict:0"), backend("strict:1")
    here, there = first.asarray([1.0]), second.asarray([2.0])
    with pytest.raises(MixedBackendsError, match=mixed("strict:1")):
        here + there
    with pytest.raises(MixedBackendsError, match=mixed("strict:0", "strict:1")):
        there + here
    with pytest.raises(MixedBackendsError, match=mixed("strict:1")):
        first.asarray(there)
    with pytest.raises(MixedBackendsError, match=mixed("strict:1")):
        first.state(there, "float64")
    assert first.to_numpy(here + first.asarray(second.to_numpy(there))) == 3.0


# State.


def test_state_changes_by_assign_alone(strict, weight):
    doubled = weight * 2.0
    strict.assign(weight, doubled)
    np.testing.assert_array_equal(strict.to_numpy(weight), [[2, 4, 6], [8, 10, 12]])
    strict.assign_add(weight, doubled)
    np.testing.assert_array_equal(strict.to_numpy(weight), [[4, 8, 12], [16, 20, 24]])
    strict.assign(weight, 0.0)
    strict.assign_add(weight, 1)
    np.testing.assert_array_equal(strict.to_numpy(weight), np.ones((2, 3)))
    np.testing.assert_array_equal(strict.to_numpy(doubled), [[2, 4, 6], [8, 10, 12]])


def test_values_are_not_assigned_to(strict, value, weight):
    for target in (value, weight * 1.0, weight.T):
        text = f"strict:0: only state is written. Received: a value of shape {target.shape}. Make state with xp.state."
        for write in (strict.assign, strict.assign_add):
            with pytest.raises(BackendError, match=sentence(text)):
                write(target, 1.0)


def test_assign_takes_the_shape_and_dtype_of_the_state(strict, weight):
    text = "assign: the value must have the shape of the state, (2, 3). Received: shape (3,)"
    for write in (strict.assign, strict.assign_add):
        with pytest.raises(ShapeError, match=sentence(text)):
            write(weight, strict.asarray([1.0, 2.0, 3.0], "float32"))
        with pytest.raises(BackendError, match=r"^strict:0: the value must have the dtype of the state, .*float32\. "
                           r"Received: .*float64\. Convert it with xp\.astype\.$"):  # fmt: skip
            write(weight, strict.zeros((2, 3), dtype=strict.float64))


def test_views_of_state_are_state_and_share_memory(strict):
    flat = strict.state(np.zeros(6), "float32")
    first, second = strict.view(flat, 0, 2, (2,)), strict.view(flat, 2, 6, (2, 2))
    strict.assign(second, strict.asarray([[1.0, 2.0], [3.0, 4.0]], "float32"))
    strict.assign_add(first, 7.0)
    np.testing.assert_array_equal(strict.to_numpy(flat), [7, 7, 1, 2, 3, 4])
    with pytest.raises(BackendError, match="only state is written"):
        strict.view(flat * 1.0, 0, 2, (2,))


def test_state_is_a_copy_of_what_it_is_made_of(strict):
    host = np.ones(3)
    a = strict.state(host, "float64")
    b = strict.state(a, "float32")
    host[:] = 5.0
    strict.assign(a, 2.0)
    np.testing.assert_array_equal(strict.to_numpy(a), [2, 2, 2])
    np.testing.assert_array_equal(strict.to_numpy(b), [1, 1, 1])
    assert b.dtype == strict.float32


@pytest.mark.parametrize(
    "view",
    [
        lambda xp, w: w.T,
        lambda xp, w: w[0, :],
        lambda xp, w: xp.reshape(w, (6,)),
        lambda xp, w: xp.permute_dims(w, (1, 0)),
        lambda xp, w: xp.expand_dims(w, axis=0),
        lambda xp, w: xp.unstack(w)[0],
        lambda xp, w: xp.flip(w, axis=0)[0, :],
    ],
)
def test_a_value_in_the_memory_of_state_dies_when_that_is_assigned(strict, weight, view):
    """NumPy returns a view, other libraries a copy: after the assignment they differ on what it holds."""
    left_over = view(strict, weight)
    before = strict.sum(left_over)
    strict.assign(weight, 0.0)
    text = (
        f"strict:0: a value that lies in the memory of state must not be used after that state was assigned. "
        f"Received: an array of shape {left_over.shape}. Use it before assign, or copy it: xp.astype(x, x.dtype)."
    )
    for use in (lambda: left_over + 1.0, lambda: strict.sum(left_over), lambda: strict.to_numpy(left_over)):
        with pytest.raises(BackendError, match=sentence(text)):
            use()
    assert strict.to_numpy(before) != 0  # what was computed of it stays


def test_other_values_live_on(strict):
    flat = strict.state(np.arange(6.0), "float64")
    first, second = strict.view(flat, 0, 3, (3,)), strict.view(flat, 3, 6, (3,))
    kept = [strict.reshape(second, (3, 1)), first * 1.0, strict.astype(strict.reshape(first, (3, 1)), strict.float64)]
    strict.assign(first, 9.0)
    assert [strict.to_numpy(value).tolist() for value in kept] == [
        [[3.0], [4.0], [5.0]],
        [0.0, 1.0, 2.0],
        [[0], [1], [2]],
    ]


# Transfers.


def test_transfers_are_counted(strict):
    state = strict.state(np.zeros(4), "float32")
    value = strict.asarray([1.0, 2.0, 3.0, 4.0], "float32")
    assert (strict.transfers.to_device, strict.transfers.to_device_bytes) == (2, 32)
    strict.transfers.reset()
    strict.assign(state, strict.sigmoid(value * 2.0 + 1.0))
    strict.assign_add(state, 1)
    strict.asarray(value)
    strict.state(value, "float64")
    assert strict.transfers == type(strict.transfers)()
    strict.to_numpy(state)
    assert (strict.transfers.to_host, strict.transfers.to_host_bytes) == (1, 16)
    assert strict.transfers.to_device == 0


def test_what_goes_over_within_a_block_is_counted_by_itself(strict):
    value = strict.asarray([1.0, 2.0], "float32")
    with strict.transfers.counting() as outer:
        strict.to_numpy(value)
        with contextlib.suppress(ZeroDivisionError), strict.transfers.counting() as inner:
            strict.asarray([1.0], "float64")
            strict.to_numpy(value)
            _ = 1 / 0
    assert inner == type(inner)(1, 8, 1, 8)
    assert outer == type(inner)(1, 8, 2, 16)
    assert strict.transfers == type(inner)(2, 16, 2, 16)


@pytest.mark.parametrize("batches", [1, 3, 10])
def test_an_epoch_of_fit_transfers_its_batches_and_reads_the_loss_and_the_metrics_once(batches):
    xp = backend("strict:1")
    model = Sequential([Dense(16, activation="gelu"), Dropout(0.2), Dense(1)], seed=0, backend=xp)
    # Where steps are looked at, in a hundredth of the time, the mean loss and a truth value are read each time.
    model.compile(Adam(0.01), "mse", metrics=["mae", "cosine_similarity"], on_nonfinite="ignore")
    x, y = np.ones((8 * batches, 4), np.float32), np.ones((8 * batches, 1), np.float32)
    model.fit(x, y, epochs=4, batch_size=8, verbose=0)  # until steps are replayed: their checks read on the host
    with xp.transfers.counting() as epochs:
        model.fit(x, y, epochs=2, batch_size=8, verbose=0)
    totals = 3 * 2 * 8  # of the loss and two metrics, a sum and a count of 8 bytes each, which lie side by side
    assert (epochs.to_host, epochs.to_host_bytes) == (2, 2 * totals)
    assert (epochs.to_device, epochs.to_device_bytes) == (2 * 2 * batches, 2 * (x.nbytes + y.nbytes))


def test_it_can_be_pickled_and_copied():
    strict = backend("strict:1")
    assert copy.deepcopy(strict) is strict
    assert repr(strict) == "<backend strict:1>"


def test_arrays_show_what_they_are(strict, value, weight):
    assert repr(strict.sum(value)) == "<value of strict:0: array(21., dtype=float32)>"
    assert repr(strict.state(1.0, "float64")) == "<state of strict:0: array(1.)>"
