"""Callbacks made from functions."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.callbacks.callback import MOMENTS
from layerkit.errors import ArgumentError
from layerkit.layers import Dense

X = np.arange(8.0).reshape(4, 2)
Y = X[:, :1]


def compiled() -> Sequential:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("moment", [*MOMENTS, "on_batch_begin", "on_batch_end"])
def test_a_function_is_called_at_its_moment_with_its_arguments(moment: str) -> None:
    calls: list[tuple[Any, ...]] = []
    callback = LambdaCallback(**{moment: lambda *arguments: calls.append(arguments)})
    model = compiled()
    model.fit(X, Y, verbose=0, validation_data=(X, Y), callbacks=[callback])
    model.predict(X, verbose=0, callbacks=[callback])
    has_index = "batch" in moment or "epoch" in moment
    assert len(calls) == 1
    *index, logs = calls[0]
    assert index == ([0] if has_index else [])
    assert isinstance(logs, dict) or "batch" in moment


def test_the_example_of_the_docstring() -> None:
    losses: list[tuple[int, float]] = []
    model = compiled()
    history = model.fit(
        X,
        Y,
        epochs=2,
        verbose=0,
        callbacks=[LambdaCallback(on_epoch_end=lambda epoch, logs: losses.append((epoch, logs["loss"])))],
    )
    assert losses == list(enumerate(history.history["loss"]))


def test_arguments_come_in_the_order_of_keras() -> None:
    # keras.callbacks.LambdaCallback of Keras 3.15.1
    assert list(inspect.signature(LambdaCallback.__init__).parameters)[1:7] == [
        "on_epoch_begin",
        "on_epoch_end",
        "on_train_begin",
        "on_train_end",
        "on_train_batch_begin",
        "on_train_batch_end",
    ]


def test_none_leaves_a_moment_out() -> None:
    compiled().fit(X, Y, verbose=0, callbacks=[LambdaCallback(on_epoch_end=None, on_test_begin=None)])


def test_a_name_that_is_no_moment_is_refused_with_the_nearest() -> None:
    with pytest.raises(ArgumentError) as raised:
        LambdaCallback(on_epoch_ende=print)  # type: ignore[call-arg]
    assert str(raised.value) == (
        "LambdaCallback: an argument must be the name of a moment. "
        "Received: on_epoch_ende=<built-in function print>. Did you mean 'on_epoch_end'?"
    )


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ArgumentError) as raised:
        LambdaCallback(on_train_end="done")  # type: ignore[arg-type]
    assert str(raised.value) == "LambdaCallback: on_train_end must be a function. Received: 'done'"
