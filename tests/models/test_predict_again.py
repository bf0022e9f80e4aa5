"""`predict` of an array like an earlier one takes a shorter way, to the same numbers and the same refusals."""

from __future__ import annotations

import copy
import threading

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.errors import DataError
from layerkit.layers import Dense, Embedding, Identity, Layer, ReLU, Softmax
from layerkit.training import loop

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3)).astype("float32")


def network(**options) -> Sequential:
    return Sequential([Input((3,)), Dense(4), ReLU(), Dense(2)], seed=1, **options)


@pytest.fixture
def shortcuts(monkeypatch):
    """Count how often the shorter way was taken."""
    taken = []
    original = loop.predict_again

    def counting(step, x):
        outputs = original(step, x)
        taken.append(outputs is not None)
        return outputs

    monkeypatch.setattr(loop, "predict_again", counting)
    return taken


def predicted_often(model, x, times=6, **options) -> list[np.ndarray]:
    return [model.predict(x, verbose=0, **options) for _ in range(times)]


@pytest.mark.parametrize(
    "x", [X, X[:1], X.astype("float64"), np.asfortranarray(X), X[::2], (X * 9).astype(int), X > 0], ids=str
)
def test_the_numbers_are_those_of_the_first_call(x, shortcuts) -> None:
    first, *others = predicted_often(network(), x)
    assert shortcuts[-1]
    for other in others:
        np.testing.assert_array_equal(first, other)
        assert first.dtype == other.dtype


def test_each_call_returns_an_array_of_its_own(shortcuts) -> None:
    model = Sequential([Input((3,)), Identity()])
    outputs = predicted_often(model, X)
    assert shortcuts[-1]
    outputs[-1][...] = 0
    np.testing.assert_array_equal(outputs[-2], X)
    assert not np.may_share_memory(outputs[-2], X)


def test_indices_are_looked_at_each_time(shortcuts) -> None:
    model, x = Sequential([Embedding(7, 2)], seed=0), np.array([[1, 6], [0, 3]])
    first, *others = predicted_often(model, x)
    np.testing.assert_array_equal(first, others[-1])
    with pytest.raises(DataError, match=r"x must hold indices, whole numbers from 0 to 6. Received: 7 at \[0, 1\]."):
        model.predict(x + 1, verbose=0)
    assert not any(shortcuts)


def test_other_values_give_other_outputs(shortcuts) -> None:
    model = network()
    predicted_often(model, X)
    expected = network().predict(X + 1, verbose=0)  # and a new model makes the first look closely
    np.testing.assert_array_equal(model.predict(X + 1, verbose=0), expected)
    np.testing.assert_array_equal(model.predict(X + 1, verbose=0), expected)
    np.testing.assert_array_equal(model.predict_on_batch(X + 1), expected)
    assert shortcuts[-2:] == [True, True]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
@pytest.mark.parametrize("method", ["predict", "predict_on_batch"])
def test_what_is_refused_at_first_is_refused_later(bad, method) -> None:
    model, x = network(), X.astype("float64")
    predicted_often(model, x)
    x = x.copy()
    x[3, 1] = bad
    with pytest.raises(DataError) as first:
        getattr(network(), method)(x)
    with pytest.raises(DataError) as later:
        getattr(model, method)(x)
    assert str(first.value) == str(later.value)
    assert "[3, 1]" in str(later.value)


def test_a_change_of_the_model_is_seen() -> None:
    def changed(model) -> None:
        model.layers[0].kernel = np.ones((3, 4))

    def frozen(model) -> None:
        model.layers[1].trainable = False

    def longer(model) -> None:
        model.add(Softmax())

    def compiled(model) -> None:
        model.compile("sgd", "mse", run_eagerly=True)

    for change in (changed, frozen, longer, compiled):
        model, fresh = network(), network()
        predicted_often(model, X)
        change(model)
        change(fresh)
        for _ in range(5):
            np.testing.assert_array_equal(model.predict(X, verbose=0), fresh.predict(X, verbose=0))


def test_a_copy_of_a_model_computes_with_its_own_weights() -> None:
    model = network()
    predicted_often(model, X)
    twin = copy.deepcopy(model)
    twin.set_weights([weight + 1 for weight in model.get_weights()])
    fresh = network()
    fresh.set_weights(twin.get_weights())
    for found in predicted_often(twin, X):
        np.testing.assert_array_equal(found, fresh.predict(X, verbose=0))


class Scales(Layer):
    """A layer with a setting that is changed in place, which no count sees."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = [2.0]

    def call(self, xp, x):
        return x * self.factors[0]


def test_a_setting_that_is_changed_in_place_is_seen(shortcuts) -> None:
    layer = Scales()
    model = Sequential([Input((3,)), layer])
    predicted_often(model, X)
    layer.factors[0] = 3.0
    np.testing.assert_array_equal(model.predict(X, verbose=0), X * 3)
    assert not any(shortcuts)


def test_batches_that_are_asked_for_are_taken(shortcuts) -> None:
    outputs = predicted_often(network(), X, batch_size=2)
    np.testing.assert_allclose(outputs[-1], network().predict(X, verbose=0), rtol=1e-6)
    assert not any(shortcuts)


def test_many_rows_are_cut_as_at_first(shortcuts) -> None:
    x = np.repeat(X, 2000, axis=0)
    first, *others = predicted_often(network(), x)
    np.testing.assert_array_equal(first, others[-1])
    assert not any(shortcuts)


def test_threads_of_different_sizes_get_their_own_rows() -> None:
    model = network()
    sizes = [1, 2, 3, 4, 5]
    expected = {size: model.predict(X[:size], verbose=0) for size in sizes}
    wrong = []

    def ask(size) -> None:
        for _ in range(200):
            if not np.array_equal(model.predict(X[:size], verbose=0), expected[size]):
                wrong.append(size)

    threads = [threading.Thread(target=ask, args=(size,)) for size in sizes * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_other_backends_agree(xp) -> None:
    model = Sequential([Input((3,)), Dense(4), Dense(2)], seed=1, backend=xp)
    first, *others = predicted_often(model, X)
    for other in others:
        np.testing.assert_array_equal(first, other)
        assert isinstance(other, np.ndarray)
