"""Copies between devices: silent, told, or refused; and none where data lie on the model's own device."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential
from layerkit.callbacks import Callback
from layerkit.errors import DataError, ShapeError, TransferError, TransferWarning
from layerkit.layers import Dense, Dropout
from layerkit.training import guard
from tests.xp.made_up import Far

X = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(7, 2)).astype("float32")


def made(place="strict", transfer="auto", loss="mse", dtype=None, last="linear") -> Sequential:
    model = Sequential(
        [Input((3,)), Dense(4, "tanh"), Dropout(0.25), Dense(2, last)], seed=0, backend=place, dtype=dtype
    )
    model.compile("adam", loss, metrics=["mae"] if loss == "mse" else ["accuracy"], transfer=transfer)
    return model


def on(place, *arrays):
    return [layerkit.backend(place).asarray(array) for array in arrays]


CALLS = {
    "fit": lambda model, x, y: model.fit(x, y, epochs=2, batch_size=4, validation_data=(x, y), verbose=0),
    "evaluate": lambda model, x, y: model.evaluate(x, y, verbose=0),
    "predict": lambda model, x, y: model.predict(x, verbose=0),
    "train_on_batch": lambda model, x, y: model.train_on_batch(x, y),
    "test_on_batch": lambda model, x, y: model.test_on_batch(x, y),
    "call": lambda model, x, y: model(x),
}

NAMED = {
    "fit": "x, 84 bytes on {0}; y, 56 bytes on {0}; x of validation_data, 84 bytes on {0}; "
    "y of validation_data, 56 bytes on {0}; ",
    **dict.fromkeys(("evaluate", "train_on_batch", "test_on_batch"), "x, 84 bytes on {0}; y, 56 bytes on {0}; "),
    **dict.fromkeys(("predict", "call"), "x, 84 bytes on {0}; "),
}


def sentence(call, place, source) -> str:
    each = "each epoch copies it there" if call == "fit" and place != "the host" else "it is copied there"
    return (
        f"{'predict' if call == 'predict_on_batch' else call}: the data must be where the model is, on {place}, unless "
        f"it may be copied. Received: {NAMED[call].format(source)}{each}. Bring it there once, with model.xp.asarray, "
        f"or move the model with model.to; compile(transfer='auto') copies without a word."
    )


def test_more_data_than_the_device_keeps_is_told_with_the_bound(monkeypatch):
    model = made("strict:0", "error")
    monkeypatch.setattr(type(model.xp), "room_for_data", lambda self: 139)  # of 140 bytes
    with pytest.raises(TransferError, match=r"copies it there, as fit keeps no more than 139 bytes of data on the d"):
        CALLS["fit"](model, X, Y)
    monkeypatch.setattr(type(model.xp), "room_for_data", lambda self: 140)
    with pytest.raises(TransferError, match=r"; it is copied there\. Bring"):
        CALLS["fit"](model, X, Y)


@pytest.mark.parametrize(
    ("place", "source"), [("strict:0", "the host"), ("the host", "strict:1"), ("strict:0", "strict:1")]
)
@pytest.mark.parametrize("call", CALLS)
def test_a_copy_is_told_or_refused(call, place, source):
    backend = "numpy" if place == "the host" else place
    x, y = (X, Y) if source == "the host" else on(source, X, Y)
    model = made(backend, "error")
    before = [variable.numpy() for variable in model.step.state()]
    with pytest.raises(TransferError) as caught:
        CALLS[call](model, x, y)
    assert str(caught.value) == sentence(call, place, source)
    np.testing.assert_equal([variable.numpy() for variable in model.step.state()], before)
    assert model.history is None

    silent, told = made(backend), made(backend, "warn")
    CALLS[call](silent, x, y)
    with pytest.warns(TransferWarning) as warned:
        CALLS[call](told, x, y)
    assert [str(each.message) for each in warned] == [sentence(call, place, source)]
    assert warned[0].filename == __file__
    for one, other in zip(told.step.state(), silent.step.state(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


@pytest.mark.parametrize("place", ["numpy", "strict:1"])
@pytest.mark.parametrize("call", CALLS)
def test_data_where_the_model_is_may_always_be_used(call, place):
    result = CALLS[call](made(place, "error"), *on(place, X, Y))
    expected = CALLS[call](made(place), X, Y)
    if call == "fit":
        assert result.history == expected.history
    else:
        np.testing.assert_array_equal(
            *(
                np.asarray(r if isinstance(r, (float, list, np.ndarray)) else layerkit.backend(place).to_numpy(r))
                for r in (result, expected)
            )
        )


def test_data_of_another_library_on_the_host_are_no_copy():
    CALLS["fit"](made("numpy", "error"), X.tolist(), Y.tolist())


def test_a_device_of_another_library_is_named():
    with pytest.raises(TransferError, match=r"Received: x, 84 bytes on cuda:0; it is copied there\."):
        made("numpy", "error").predict(Far(X), verbose=0)


def test_batches_are_looked_at_as_they_come():
    def batches():
        x, y = on("strict", X, Y)
        yield x, y
        yield X, y

    model = made(transfer="error")
    with pytest.raises(TransferError, match=r"^fit: .* Received: x of batch 1, 84 bytes on the host; "):
        model.fit(batches(), verbose=0)
    with pytest.warns(TransferWarning) as warned:
        made(transfer="warn").fit(iter([(X, Y)] * 6), epochs=2, steps_per_epoch=3, verbose=0)
    assert len(warned) == 1


def test_what_is_asked_for_by_name_is_no_hidden_copy():
    model = made("numpy", "error")
    model.fit(X, Y, verbose=0)
    model.to("strict")
    model.set_weights(model.get_weights())
    x, y = on("strict", X, Y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y, verbose=0)
        assert type(model.predict(x, verbose=0)) is np.ndarray


def test_what_was_predicted_before_is_told_again():
    model = made("numpy", "error")
    for _ in range(6):  # an array like the last one is answered for in fewer steps
        model.predict(X, verbose=0)
    model.to("strict")
    for _ in range(6):
        with pytest.raises(TransferError):
            model.predict(X, verbose=0)


# Data on the model's device stay there.


def counted(action):
    """Return how many bytes went to the device and back."""
    transfers = layerkit.backend("strict").transfers
    transfers.reset()
    action()
    return transfers.to_device_bytes, transfers.to_host_bytes


def test_an_epoch_over_data_on_the_device_brings_their_order_there_and_the_totals_back(monkeypatch):
    """8 bytes a row, and for loss and metric two totals of 8 bytes each."""
    monkeypatch.setattr(guard, "SHARE", 1e-9)  # else they come whenever a hundredth of the time allows
    x, y = on("strict", X, Y)
    model = made()
    model.fit(x, y, epochs=3, batch_size=4, verbose=0)

    def fit(epochs):
        return counted(lambda: model.fit(x, y, epochs=epochs, batch_size=4, verbose=0))

    (few_there, few_back), (many_there, many_back) = fit(1), fit(5)
    assert many_back - few_back == 4 * 2 * 2 * 8
    assert many_there - few_there == 4 * 7 * 8


def test_predictions_are_all_that_comes_back():
    model = made()
    (x,) = on("strict", X)
    model.predict(x, batch_size=4, verbose=0)
    there, back = counted(lambda: model.predict(x, batch_size=4, verbose=0))
    assert there == 0
    assert back <= 7 * 2 * 4 + 8  # and one number: whether x is finite


OPTIONS = [
    {},
    {"shuffle": False},
    {"validation_split": 0.3},
    {"sample_weight": np.linspace(0, 1, 7)},
    {"steps_per_epoch": 3},
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(options) or "plain")
def test_training_on_data_on_the_device_is_that_on_the_hosts(options, dtype):
    x, y = on("strict", X, Y)
    results = []
    for a, b in ((X, Y), (x, y)):
        given = dict(options)
        if a is x and "sample_weight" in given:
            (given["sample_weight"],) = on("strict", given["sample_weight"])
        model = made(dtype=dtype)
        model.fit(a, b, batch_size=2, epochs=3, verbose=0, **given)
        results.append((model.history.history, [variable.numpy() for variable in model.step.state()]))
    np.testing.assert_equal(results[1], results[0])


def test_labels_on_the_device():
    labels = np.array([0, 1, 1, 0, 1, 0, 0])
    x, y = on("strict", X, labels)
    results = []
    for a, b in ((X, labels), (x, y)):
        model = made(loss="sparse_categorical_crossentropy", last="softmax")
        model.fit(a, b, batch_size=4, class_weight={0: 2.0, 1: 0.5}, verbose=0)
        results.append((model.history.history, model.get_weights()))
    np.testing.assert_equal(results[1], results[0])


class Moves(Callback):
    def __init__(self, moment, *places):
        self.places, self.count = places, 0
        setattr(self, moment, self.go)

    def go(self, *_, **__):
        self.model.to(self.places[self.count % len(self.places)])
        self.count += 1


@pytest.mark.parametrize(
    "moment", ["on_train_batch_begin", "on_train_batch_end", "on_epoch_end", "on_test_batch_begin"]
)
def test_data_on_a_device_follow_their_model(moment):
    x, y = on("strict", X, Y)
    histories = []
    for callbacks in ([], [Moves(moment, "strict:1", "strict:0")]):
        model = made()
        model.fit(x, y, batch_size=3, epochs=3, validation_data=(x, y), callbacks=callbacks, verbose=0)
        histories.append(model.history.history)
    assert histories[1] == histories[0]


def test_predictions_from_data_on_a_device_that_the_model_leaves():
    (x,) = on("strict", X)
    model = made()
    expected = model.predict(x, verbose=0)
    for moment in ("on_predict_batch_begin", "on_predict_batch_end"):
        found = model.predict(x, batch_size=2, callbacks=Moves(moment, "numpy", "strict"), verbose=0)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


BAD = [
    ((np.where(X > 1, np.nan, X), Y), DataError, r"^x must hold finite numbers\. Received: nan at \["),
    ((X[:, :2], Y), ShapeError, r"^dense: the last axis of x must have length 3"),
    ((X, Y[:5]), ShapeError, r"^y must have a row for each row of x, 7\. Received: 5 rows, shape \(5, 2\)$"),
    ((X[:0], Y[:0]), DataError, r"^x must have at least one row and one column\. Received: shape \(0, 3\)$"),
    ((X[0, 0], Y), DataError, r"^x must have a row for each sample\. Received: a single number"),
    ((X + 1j, Y), DataError, r"^x must hold numbers\. Received: an array of dtype .*complex64"),
]


@pytest.mark.parametrize(("data", "error", "message"), BAD, ids=["nan", "width", "rows", "empty", "number", "complex"])
def test_data_on_the_device_are_checked_as_others_are(data, error, message):
    model = made()
    before = model.get_weights()
    with pytest.raises(error, match=message):
        model.fit(*on("strict", *data), verbose=0)
    np.testing.assert_equal(model.get_weights(), before)


def test_labels_on_the_device_are_checked_as_others_are():
    model = made(loss="sparse_categorical_crossentropy", last="softmax")
    with pytest.raises(DataError, match=r"whole numbers from 0 to 1\. Received: 2 at \[6\]\.$"):
        model.fit(*on("strict", X, np.array([0, 1, 1, 0, 1, 0, 2])), verbose=0)
