"""What a plug-in starts from: any library of the standard as a backend, whether or not its arrays can be written to."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.errors import BackendUnavailableError, MixedBackendsError
from layerkit.layers import BatchNormalization, Dense, Dropout
from layerkit.optimizers import Adam
from layerkit.testing import check_backend
from layerkit.testing.check_backend import EVERY_WORD
from layerkit.xp import registry
from layerkit.xp.array_api import ArrayApiBackend
from layerkit.xp.cells import present

PLACES = [place for place in array_api_strict.__array_namespace_info__().devices() if str(place) != "no_float64"]


class Foo(ArrayApiBackend):
    """A library that knows no more than the standard, and has several devices."""

    name = "foo"
    library = array_api_strict

    @classmethod
    def places(cls):
        return PLACES

    @classmethod
    def device_name(cls, place):
        return f"d{PLACES.index(place)}"


class Frozen(ArrayApiBackend):
    """NumPy, as if its arrays could not be written to."""

    name = "frozen"
    library = np
    writable = False

    def owns(self, array):
        return isinstance(array, np.generic) or super().owns(array)

    def to_numpy(self, array):
        return np.asarray(present(array))


@pytest.fixture(params=[Foo, Frozen], ids=["writable", "frozen"])
def xp(request, monkeypatch):
    """Return a backend of a library whose arrays can be written to, and of one whose arrays cannot."""
    monkeypatch.setattr(registry, "_opened", {})
    monkeypatch.setitem(registry.BUILT_IN, request.param.name, f"{__name__}:{request.param.__name__}")
    return layerkit.backend(request.param.name)


@pytest.fixture
def foo(monkeypatch):
    """Return a function that opens a device."""
    monkeypatch.setattr(registry, "_opened", {})
    monkeypatch.setitem(registry.BUILT_IN, "foo", f"{__name__}:Foo")
    return lambda device="": layerkit.backend(f"foo:{device}".removesuffix(":"))


def test_devices_are_those_of_the_library(foo):
    xp, other = foo(), foo("d1")
    assert xp is foo("d0")
    assert (str(xp), str(other)) == ("foo:d0", "foo:d1")
    assert xp.devices()[:2] == ("d0", "d1")
    for each, place in ((xp, PLACES[0]), (other, PLACES[1])):
        for made in (each.zeros((2,)), each.asarray([1.0]), each.arange(3), each.fft.fftfreq(4), each.eye(2)):
            assert made.device == place
            assert each.owns(made)
    with pytest.raises(BackendUnavailableError) as caught:
        foo("d9")
    assert str(caught.value).startswith(
        "backend 'foo': the device must be one of this machine's. Received: 'foo:d9'. Use 'foo:d0' or 'foo:d1'"
    )


def test_arrays_of_two_devices_do_not_mix(foo):
    xp, other = foo(), foo("d1")
    with pytest.raises(MixedBackendsError) as caught:
        xp.asarray(other.ones((2,)))
    assert str(caught.value) == (
        "One computation takes arrays of one backend. Received: an array of foo:d1 in a computation on foo:d0. "
        "Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
    )


def test_state_of_another_backend_is_refused():
    xp, other = Frozen.open(""), Frozen.open("")
    with pytest.raises(MixedBackendsError) as caught:
        xp.asarray(other.state([1.0], "float32"))
    assert str(caught.value).startswith(
        "One computation takes arrays of one backend. Received: an array of frozen:cpu in a computation on frozen:cpu. "
    )


def test_numbers_are_of_the_dtypes_that_numpy_gives(xp):
    for made, dtype in (
        *((xp.zeros((2,)), "float64"), (xp.full((2,), 1.0), "float64"), (xp.full((2,), 1), "int64")),
        *((xp.arange(3), "int64"), (xp.arange(0.0, 1.0, 0.5), "float64"), (xp.full((2,), 1j), "complex128")),
        *((xp.asarray([1.0]), "float64"), (xp.zeros((2,), dtype=xp.float32), "float32")),
    ):
        assert made.dtype == getattr(xp, dtype)


def test_every_word_is_right(xp):
    # As a library, NumPy lacks arguments of four words, and what comes from the host is its own already.
    lacking = {"clip", "sort", "argsort", "fft.fftfreq", "fft.rfftfreq", "state"} if xp.name == "frozen" else {}
    check_backend(xp, [word for word in EVERY_WORD if word not in lacking])


def test_data_may_be_written_to_after_asarray(foo):
    xp = foo()
    values = np.ones(3)
    array, state = xp.asarray(values), xp.state(values, "float64")
    values[:] = 2.0
    assert xp.to_numpy(array).tolist() == xp.to_numpy(state).tolist() == [1.0] * 3


def trained(place, **options):
    layers = [Dense(8, activation="tanh"), BatchNormalization(), Dropout(0.2), Dense(1)]
    model = Sequential(layers, seed=4, backend=place, dtype="float64")
    model.compile(Adam(0.02, clipnorm=1.0), "mse", metrics=["mae"], **options)
    random = np.random.default_rng(0)
    x = random.normal(size=(20, 3))
    history = model.fit(x, x[:, :1] * x[:, 1:2], epochs=4, batch_size=8, verbose=0).history
    return [*history["loss"], *history["mae"]], model.get_weights(), model


@pytest.mark.parametrize("jit_compile", [True, False])
def test_a_network_trains_as_on_numpy(xp, jit_compile):
    xp = layerkit.backend(f"{xp.name}:{xp.devices()[:2][-1]}")  # the second device, if there is one
    history, weights, model = trained(xp, jit_compile=jit_compile)
    expected_history, expected_weights, _ = trained("numpy")
    assert xp.owns(model.weights[0].array)
    np.testing.assert_allclose(history, expected_history, rtol=1e-10)
    for ours, theirs in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)
    model.to("numpy")
    assert all(np.array_equal(ours, theirs) for ours, theirs in zip(model.get_weights(), weights, strict=True))


def test_without_inspection_there_is_one_device():
    import types

    from layerkit.xp import words

    names = (*words.ARRAY_WORDS, "linalg", "fft")
    library = types.SimpleNamespace(**{word: getattr(np, word) for word in names}, asarray=np.asarray)
    plain = type("Plain", (ArrayApiBackend,), {"name": "plain", "library": library})
    xp = plain.open("")
    assert str(xp) == "plain"
    assert xp.devices() == ("cpu",)
    with pytest.raises(BackendUnavailableError) as caught:
        plain.open("1")
    assert str(caught.value) == (
        "backend 'plain': the device must be one of this machine's. Received: 'plain:1'. Use 'plain'."
    )
    check_backend(xp, ["asarray", "state", "assign", "view", "zeros", "reshape"])


def test_state_of_frozen_arrays_shows_what_it_holds():
    xp = Frozen.open("")
    state = xp.state([[1.0, 2.0]], "float32")
    assert (state.shape, state.ndim, state.size, state.dtype) == ((1, 2), 2, 2, xp.float32)
    assert repr(state).startswith("<state of frozen:cpu: ")
    assert xp.to_numpy(state.T).tolist() == xp.to_numpy(state.mT).tolist() == [[1.0], [2.0]]
    assert state.__array_namespace__() is xp.namespace
    assert xp.to_numpy(3.0 - state).tolist() == [[2.0, 1.0]]
    assert xp.to_numpy(state @ state.T).tolist() == [[5.0]]
    assert xp.to_numpy(-state + abs(state)).tolist() == [[0.0, 0.0]]
