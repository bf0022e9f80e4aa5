"""ReduceLROnPlateau and LearningRateScheduler against Keras's (keras.json), and within `fit`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import LearningRateScheduler, ReduceLROnPlateau
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, MultiOptimizer, OptimizerMap
from layerkit.optimizers.schedules import ExponentialDecay

KERAS = json.loads((Path(__file__).parent / "keras.json").read_text())

X = np.arange(8.0).reshape(4, 2) / 8
Y = X[:, :1]


class FakeModel:
    def __init__(self) -> None:
        self.optimizer = SGD(0.1)


@pytest.mark.filterwarnings("ignore:ReduceLROnPlateau. monitor must be among the logs")
@pytest.mark.parametrize(
    "case", KERAS["plateau"], ids=lambda case: " ".join(f"{k}={v}" for k, v in case["arguments"].items())
)
def test_it_reduces_where_keras_does_and_to_what(case: dict[str, Any]) -> None:
    callback, model = ReduceLROnPlateau(**case["arguments"]), FakeModel()
    callback.set_model(model)
    callback.on_train_begin({})
    rates: list[float] = []
    for epoch, text in enumerate(case["values"].split()):
        logs: dict[str, float] = {} if text == "None" else {"val_loss": float(text)}
        callback.on_epoch_end(epoch, logs)
        rates.append(logs["learning_rate"])
    # Keras keeps the learning rate in float32.
    assert rates == pytest.approx(case["result"]["rates"], rel=2e-6)
    assert model.optimizer.learning_rate == pytest.approx(case["result"]["last"], rel=2e-6)
    assert callback.wait == case["result"]["wait"]


@pytest.mark.parametrize("case", KERAS["schedules"], ids=lambda case: case["schedule"])
def test_the_rates_of_a_schedule_are_those_of_keras(case: dict[str, Any]) -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile(SGD(0.1), "mse")
    history = model.fit(
        X, Y, epochs=len(case["rates"]), verbose=0, callbacks=[LearningRateScheduler(eval(case["schedule"]))]
    )
    assert history.history["learning_rate"] == pytest.approx(case["rates"], rel=1e-7)


def test_what_is_set_is_what_the_next_steps_take(xp: Any) -> None:
    model = Sequential([Dense(1)], seed=0, backend=xp)
    model.compile(SGD(0.1), "mse")
    model.fit(X, Y, epochs=6, verbose=0, callbacks=LearningRateScheduler(lambda epoch: 0.1 if epoch < 5 else 0.0))
    after = model.get_weights()
    model.fit(X, Y, epochs=2, verbose=0)  # the rate is 0 still
    for before, now in zip(after, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, now)
    assert model.optimizer.learning_rate == 0.0


def test_each_optimizer_of_several_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([Dense(2), Dense(1)], seed=0)
    model.compile(MultiOptimizer(OptimizerMap(SGD(0.1, name="slow"), {".*bias": SGD(0.2, name="fast")})), "mse")
    plateau = ReduceLROnPlateau("loss", factor=0.5, patience=0, mode="max", verbose=1)
    history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[plateau])
    assert history.history["learning_rate_slow"] == [0.1, 0.1]
    assert history.history["learning_rate_fast"] == [0.2, 0.2]
    assert [optimizer.learning_rate for optimizer in model.optimizer.optimizers] == [0.05, 0.1]
    model.fit(X, Y, verbose=0, callbacks=[LearningRateScheduler(lambda epoch, rate: rate * 4, verbose=1)])
    assert capsys.readouterr().out == (
        "Epoch 2: ReduceLROnPlateau reducing slow learning rate to 0.05.\n"
        "Epoch 2: ReduceLROnPlateau reducing fast learning rate to 0.1.\n"
        "Epoch 1: LearningRateScheduler setting slow learning rate to 0.2.\n"
        "Epoch 1: LearningRateScheduler setting fast learning rate to 0.4.\n"
    )


@pytest.mark.parametrize("callback", [ReduceLROnPlateau("loss"), LearningRateScheduler(lambda epoch: 0.1)])
def test_a_schedule_of_the_optimizer_is_not_overwritten_in_silence(callback: Any) -> None:
    model = Sequential([Dense(1)], seed=0)
    schedule = ExponentialDecay(0.1, 10, 0.5)
    model.compile(SGD(schedule), "mse")
    with pytest.raises(ArgumentError) as raised:
        model.fit(X, Y, verbose=0, callbacks=[callback])
    assert str(raised.value) == (
        f"{type(callback).__name__}: the learning rate must be a number, to be set. Received: the schedule {schedule!r}"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: ReduceLROnPlateau(factor=1.0),
            "ReduceLROnPlateau: factor must be from 0 to below 1. Received: factor=1.0",
        ),
        (
            lambda: ReduceLROnPlateau(min_lr=-1),
            "ReduceLROnPlateau: min_lr must be at least 0. Received: min_lr=-1",
        ),
        (
            lambda: ReduceLROnPlateau(cooldown=1.5),
            "ReduceLROnPlateau: cooldown must be an integer of at least 0. Received: cooldown=1.5",
        ),
        (
            lambda: ReduceLROnPlateau(epsilon=1e-3),  # type: ignore[call-arg]
            "ReduceLROnPlateau: an argument must be one of the constructor's. Received: epsilon=0.001. Known names: "
            "cooldown, factor, min_delta, min_lr, mode, monitor, patience, verbose.",
        ),
        (
            lambda: LearningRateScheduler(0.1),  # type: ignore[arg-type]
            "LearningRateScheduler: schedule must be a function of (epoch, learning_rate). Received: schedule=0.1",
        ),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        make()
    assert str(raised.value) == message


@pytest.mark.parametrize("value", [None, -0.1, float("nan"), float("inf"), "fast"])
def test_a_schedule_that_returns_no_rate(value: Any) -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError) as raised:
        model.fit(X, Y, verbose=0, callbacks=[LearningRateScheduler(lambda epoch, rate: value)])
    assert str(raised.value) == (
        f"LearningRateScheduler: schedule must return a number of at least 0. Received: {value!r} for epoch 0"
    )


def test_an_error_inside_a_schedule_is_the_users() -> None:
    """Keras takes a TypeError for a schedule of one argument, and calls it again."""
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    with pytest.raises(TypeError, match="unsupported operand"):
        model.fit(X, Y, verbose=0, callbacks=[LearningRateScheduler(lambda epoch, rate=0.1: rate * None)])


def test_a_number_of_several_is_refused() -> None:
    callback = ReduceLROnPlateau("f1_score")
    callback.set_model(FakeModel())
    with pytest.raises(ArgumentError) as raised:
        callback.on_epoch_end(0, {"f1_score": np.ones(3)})
    assert str(raised.value) == (
        "ReduceLROnPlateau: monitor must name one number. Received: monitor='f1_score', of shape (3,)"
    )
