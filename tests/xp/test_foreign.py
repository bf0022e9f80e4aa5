"""Arrays of any library are read, without a copy where they lie on the host."""

from __future__ import annotations

import array_api_strict
import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential
from layerkit.errors import DataError
from layerkit.layers import Dense
from layerkit.losses import MeanSquaredError
from layerkit.training.arrays import as_array
from layerkit.xp.foreign import HOST, brought, on_host, place_of, place_of_backend
from tests.xp.made_up import Converted, Exchanged, Far, Stuck, Tensor

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(6, 2)).astype("float32")

KINDS = [Exchanged, Far, Converted, Tensor, array_api_strict.asarray]


def made(xp):
    model = Sequential([Input((3,)), Dense(2)], seed=0, backend=xp)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_every_call_takes_arrays_of_any_library(xp, kind):
    model, twin = made(xp), made(xp)
    for each, x, y, weight in ((model, kind(X), kind(Y), kind(Y[:, 0] ** 2)), (twin, X, Y, Y[:, 0] ** 2)):
        each.fit(x, y, sample_weight=weight, validation_data=(x, y), batch_size=4, epochs=2, verbose=0)
        each.train_on_batch(x, y)
        each.layers[0].weights[1].assign(kind(Y[0]) if each is model else Y[0])
    assert model.history.history == twin.history.history
    assert model.evaluate(kind(X), kind(Y), verbose=0) == twin.evaluate(X, Y, verbose=0)
    assert model.test_on_batch(kind(X), kind(Y)) == twin.test_on_batch(X, Y)
    for found in (model.predict(kind(X), verbose=0), model.predict_on_batch(kind(X))):
        assert type(found) is np.ndarray
        np.testing.assert_array_equal(found, twin.predict(X, verbose=0))
    found = model(kind(X))
    assert xp.owns(found)
    np.testing.assert_array_equal(xp.to_numpy(found), twin.predict(X, verbose=0))


@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_layers_take_arrays_of_any_library(kind):
    assert float(MeanSquaredError()(kind(Y), kind(X[:, :2]))) == pytest.approx(np.mean((Y - X[:, :2]) ** 2), rel=1e-6)
    layer = Dense(2)
    np.testing.assert_array_equal(layer(kind(X)), layer(X))


@pytest.mark.parametrize("kind", [np.asarray, Exchanged, array_api_strict.asarray])
def test_memory_of_the_host_is_shared(kind):
    """The same address: nothing is copied."""
    array = kind(X)
    memory = getattr(array, "values", None) if kind is Exchanged else np.asarray(array)
    assert as_array(array, "x").__array_interface__["data"][0] == memory.__array_interface__["data"][0]
    assert on_host(array).ctypes.data == memory.ctypes.data


def test_batches_of_any_library_are_taken():
    model, twin = made("numpy"), made("numpy")
    model.fit(iter([(Exchanged(X[:3]), Far(Y[:3])), (Tensor(X[3:]), Converted(Y[3:]))]), verbose=0)
    twin.fit(X, Y, batch_size=3, shuffle=False, verbose=0)
    assert model.history.history == twin.history.history


def test_where_an_array_lies():
    places = [place_of(value) for value in (X, X.tolist(), 1.0, Exchanged(X), Far(X), Converted(X))]
    assert places == [HOST, HOST, HOST, HOST, "cuda:0", HOST]
    strict = layerkit.backend("strict")
    assert place_of(strict.asarray(X)) == place_of_backend(strict) == "strict:0"
    assert place_of_backend(layerkit.backend("numpy")) == HOST


class Accelerator(type(layerkit.backend("numpy"))):
    """A backend whose arrays say that they are on the device of `Far`, and which takes its arrays over there."""

    name = "accelerator"
    on_host = False

    def empty(self, shape, *, dtype=None, device=None):
        return Far(np.empty(shape))

    def owns(self, array):
        return False

    def from_dlpack(self, array):
        return "the same memory", array


def test_what_lies_on_the_devices_own_memory_stays_there():
    array = Far(X)
    found = brought(Accelerator(), array, "x")
    assert found[0] == "the same memory"
    assert found[1] is array
    np.testing.assert_array_equal(brought(Accelerator(), Exchanged(X), "x"), X)


# What cannot be read.


class Sparse(Converted):
    def todense(self):
        return self


class SparseTensor(Tensor):
    layout = "torch.sparse_coo"


REFUSED = [
    (
        Tensor(X, requires_grad=True),
        "{} must not wait for a derivative: that of another library does not reach through layerkit. "
        "Received: a Tensor with requires_grad=True. Give it as detach().",
    ),
    (SparseTensor(X), "{} must be dense. Received: a sparse matrix, SparseTensor. Convert it with to_dense()."),
    (Sparse(X), "{} must be dense. Received: a sparse matrix, Sparse. Convert it with todense()."),
]


class Brain(Tensor):
    def __init__(self, values):
        super().__init__(values)
        self.dtype = "torch.bfloat16"


class BrainArray(Converted):
    def __init__(self, values):
        super().__init__(values)
        self.dtype = "bfloat16"


REFUSED += [
    (Brain(X), "{} must have a dtype that NumPy has. Received: bfloat16. Convert it with float()."),
    (BrainArray(X), "{} must have a dtype that NumPy has. Received: bfloat16. Convert it with astype('float32')."),
]


@pytest.mark.parametrize(("array", "sentence"), REFUSED, ids=lambda value: type(value).__name__)
def test_what_cannot_be_read_is_refused(array, sentence):
    model = made("numpy")
    before = model.get_weights()
    for use in (lambda: model.fit(array, Y, verbose=0), lambda: model.predict(array, verbose=0)):
        with pytest.raises(DataError) as caught:
            use()
        assert str(caught.value) == sentence.format("x")
    for use in (lambda: model(array), lambda: model.layers[0](array)):
        with pytest.raises(DataError) as caught:
            use()
        assert str(caught.value).endswith(sentence.format("x"))
    np.testing.assert_equal(model.get_weights(), before)


def test_what_stays_on_its_device_is_refused():
    with pytest.raises(DataError) as caught:
        made("numpy").predict(Stuck(X), verbose=0)
    assert str(caught.value) == (
        "x must be an array, or lists of rows of equal length. Received: an array of shape (6, 3). "
        "NumPy says: it stays where it is"
    )
