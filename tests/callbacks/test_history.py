"""The record of training."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import Callback, History
from layerkit.layers import Dense

X = np.arange(8.0).reshape(4, 2)
Y = X[:, :1]


def compiled() -> Sequential:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def test_fit_returns_the_history_that_the_model_keeps() -> None:
    model = compiled()
    history = model.fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y))
    assert isinstance(history, History)
    assert model.history is history
    assert history.model is model
    assert history.params == {"verbose": 0, "epochs": 3, "steps": 1}
    assert history.epoch == [0, 1, 2]
    assert list(history.history) == ["loss", "mae", "val_loss", "val_mae"]
    for values in history.history.values():
        assert len(values) == 3
        assert all(type(value) is float for value in values)


def test_history_counts_epochs_from_initial_epoch() -> None:
    assert compiled().fit(X, Y, epochs=7, initial_epoch=5, verbose=0).epoch == [5, 6]


def test_validation_every_second_epoch_is_recorded_as_often() -> None:
    history = compiled().fit(X, Y, epochs=5, verbose=0, validation_data=(X, Y), validation_freq=2)
    assert {name: len(values) for name, values in history.history.items()} == {
        "loss": 5,
        "mae": 5,
        "val_loss": 2,
        "val_mae": 2,
    }


def test_each_fit_makes_a_history_of_its_own() -> None:
    model = compiled()
    first = model.fit(X, Y, epochs=2, verbose=0)
    second = model.fit(X, Y, epochs=3, verbose=0)
    assert first is not second
    assert model.history is second
    assert [len(history.history["loss"]) for history in (first, second)] == [2, 3]


def test_a_history_among_the_callbacks_is_the_one_and_starts_anew_each_time() -> None:
    model, mine = compiled(), History()
    assert model.fit(X, Y, epochs=2, verbose=0, callbacks=[mine]) is mine
    assert model.fit(X, Y, epochs=3, verbose=0, callbacks=[mine]) is mine
    assert model.history is mine
    assert mine.epoch == [0, 1, 2]
    assert len(mine.history["loss"]) == 3


def test_no_epoch_leaves_an_empty_history() -> None:
    model = compiled()
    history = model.fit(X, Y, epochs=0, verbose=0)
    assert model.history is history
    assert history.history == {}
    assert history.epoch == []


def test_bad_data_leaves_the_history_of_the_fit_before() -> None:
    model = compiled()
    history = model.fit(X, Y, verbose=0)
    with pytest.raises(ValueError, match="Received"):
        model.fit(X, Y[:2], verbose=0)
    assert model.history is history


def test_a_fit_within_a_callback_does_not_take_the_history_away() -> None:
    inner: list[History] = []

    class FitsFirst(Callback):
        def on_train_begin(self, logs: object = None) -> None:
            inner.append(model.fit(X, Y, epochs=2, verbose=0))

    model = compiled()
    history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[FitsFirst()])
    assert model.history is history
    assert history.epoch == [0, 1, 2]
    assert inner[0].epoch == [0, 1]
