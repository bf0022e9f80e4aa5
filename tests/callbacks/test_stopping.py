"""EarlyStopping against Keras's (keras.json), and TerminateOnNaN."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import Callback, EarlyStopping, LambdaCallback, TerminateOnNaN
from layerkit.errors import ArgumentError, NonFiniteWarning
from layerkit.layers import Dense

if TYPE_CHECKING:
    from layerkit.xp import Backend

KERAS = json.loads((Path(__file__).parent / "keras.json").read_text())["early_stopping"]

X = np.arange(8.0).reshape(4, 2)
Y = X[:, :1]


class FakeModel:
    """Has the number of the last epoch for its only weight."""

    def __init__(self) -> None:
        self.stop_training = False
        self.weight = -1

    def get_weights(self) -> list[int]:
        return [self.weight]

    def set_weights(self, weights: list[int]) -> None:
        (self.weight,) = weights


def play(callback: EarlyStopping, values: list[float | None]) -> dict[str, Any]:
    """Give the callback one value an epoch, and return where that ended."""
    model, epochs = FakeModel(), 0
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        model.weight, epochs = epoch, epoch + 1
        callback.on_epoch_end(epoch, {} if value is None else {callback.monitor: value})
        if model.stop_training:
            break
    callback.on_train_end({})
    return {
        "epochs": epochs,
        "stopped_epoch": callback.stopped_epoch,
        "best": callback.best,
        "best_epoch": callback.best_epoch,
        "wait": callback.wait,
        "weight": model.weight,
    }


@pytest.mark.filterwarnings("ignore:EarlyStopping. monitor must be among the logs")
@pytest.mark.parametrize("case", KERAS, ids=lambda case: " ".join(f"{k}={v}" for k, v in case["arguments"].items()))
def test_it_stops_where_keras_does(case: dict[str, Any]) -> None:
    values = [None if value == "None" else float(value) for value in case["values"].split()]
    assert play(EarlyStopping(**case["arguments"]), values) == case["result"]


def test_the_same_object_starts_anew_with_each_fit() -> None:
    callback = EarlyStopping(patience=1, restore_best_weights=True)
    first = play(callback, [1.0, 2.0, 3.0])
    assert play(callback, [1.0, 2.0, 3.0]) == first
    assert play(callback, [5.0, 4.0, 3.0])["best"] == 3.0


def test_a_nan_at_first_is_not_the_best() -> None:
    # Keras takes it for the best one, which nothing improves on: it stops at epoch 2 here.
    assert play(EarlyStopping(patience=2), [math.nan, 1.0, 0.5, 0.4])["best"] == 0.4
    assert play(EarlyStopping(), [math.nan, 1.0, 0.5])["best"] == 0.5  # the first epoch never stops
    assert play(EarlyStopping(patience=2), [math.nan] * 5)["stopped_epoch"] == 1


@pytest.mark.parametrize(
    ("monitor", "rises"),
    [
        ("loss", False),
        ("val_loss", False),
        ("accuracy", True),
        ("val_sparse_categorical_accuracy", True),
        ("val_acc", True),
        ("mae", False),
        ("val_mean_squared_error", False),
        ("binary_crossentropy", False),
        ("auc_1", True),
        ("val_f1_score", True),
        ("cosine_similarity", True),
        ("accuracy_loss", False),
    ],
)
def test_auto_tells_from_the_name_whether_more_is_better(monitor: str, rises: bool) -> None:
    assert play(EarlyStopping(monitor), [1.0, 2.0])["best"] == (2.0 if rises else 1.0)


def test_a_name_that_does_not_tell_is_refused_and_a_mode_helps() -> None:
    with pytest.raises(ArgumentError) as raised:
        EarlyStopping("val_kappa")
    assert str(raised.value) == (
        "EarlyStopping: mode must be given where the name of a number does not tell whether more of it is better. "
        "Received: monitor='val_kappa', mode='auto'. Give mode='min' or mode='max'."
    )
    assert play(EarlyStopping("val_kappa", mode="max"), [1.0, 2.0])["best"] == 2.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mode": "maximum"}, "EarlyStopping: mode must be 'auto', 'min' or 'max'. Received: mode='maximum'"),
        ({"patience": -1}, "EarlyStopping: patience must be an integer of at least 0. Received: patience=-1"),
        ({"patience": 1.5}, "EarlyStopping: patience must be an integer of at least 0. Received: patience=1.5"),
        (
            {"start_from_epoch": -1},
            "EarlyStopping: start_from_epoch must be an integer of at least 0. Received: start_from_epoch=-1",
        ),
        ({"min_delta": math.nan}, "EarlyStopping: min_delta must be a finite number. Received: min_delta=nan"),
        (
            {"patiance": 3},
            "EarlyStopping: an argument must be one of the constructor's. "
            "Received: patiance=3. Did you mean 'patience'?",
        ),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        EarlyStopping(**arguments)
    assert str(raised.value) == message


def test_a_monitor_that_is_not_among_the_logs_warns_and_never_stops() -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    with pytest.warns(UserWarning, match="EarlyStopping") as caught:
        history = model.fit(X, Y, epochs=3, verbose=0, callbacks=[EarlyStopping()])
    assert str(caught[0].message) == (
        "EarlyStopping: monitor must be among the logs. Received: monitor='val_loss', logs of loss. "
        "Names that begin with 'val_' need validation data."
    )
    assert history.epoch == [0, 1, 2]


def test_epochs_without_validation_are_passed_over_in_silence() -> None:
    callback = EarlyStopping(patience=0)
    callback.set_model(FakeModel())
    callback.on_train_begin({})
    callback.on_epoch_end(0, {"loss": 1.0, "val_loss": 1.0})
    callback.on_epoch_end(1, {"loss": 1.0})  # warnings are errors here
    assert not callback.model.stop_training


def test_the_weights_of_the_best_epoch_come_back(xp: Backend, capsys: pytest.CaptureFixture[str]) -> None:
    after: list[list[Any]] = []
    falling = [3.0, 1.0, 2.0, 2.0, 0.0]

    class Judge(Callback):
        """Puts its own numbers into the logs, before EarlyStopping looks at them."""

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_loss"] = falling[epoch]
            after.append(self.model.get_weights())

    model = Sequential([Dense(1)], seed=0, backend=xp)
    model.compile("sgd", "mse")
    stopping = EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[Judge(), stopping])
    assert history.history["val_loss"] == [3.0, 1.0, 2.0, 2.0]
    for restored, best, last in zip(model.get_weights(), after[1], after[3], strict=True):
        np.testing.assert_array_equal(restored, best)
        assert not np.array_equal(restored, last)
    assert capsys.readouterr().out == (
        "Epoch 4: early stopping\nRestoring model weights from the end of the best epoch: 2.\n"
    )


# TerminateOnNaN.


def diverging(backend: Any) -> Sequential:
    """A model whose loss overflows in the second batch of three."""
    model = Sequential([Dense(1, kernel_initializer="ones")], seed=0, backend=backend)
    model.compile("sgd", "mse")
    model.optimizer.learning_rate = 1e30
    return model


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_training_ends_after_the_batch_whose_loss_is_not_finite(
    xp: Backend, capsys: pytest.CaptureFixture[str]
) -> None:
    batches: list[int] = []
    model = diverging(xp)
    with pytest.warns(NonFiniteWarning, match=r" in batch 2 of epoch 1; the loss mean_squared_error "):
        history = model.fit(
            np.ones((6, 2)) * 100,
            np.zeros((6, 1)),
            batch_size=2,
            epochs=3,
            verbose=0,
            callbacks=[TerminateOnNaN(), LambdaCallback(on_train_batch_end=lambda batch, logs: batches.append(batch))],
        )
    assert batches == [0, 1]
    assert history.epoch == []
    assert model.optimizer.iterations == 1
    assert capsys.readouterr().out == "Batch 1: Invalid loss, terminating training\n"


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_raise_error_raises_instead() -> None:
    with pytest.raises(RuntimeError) as raised:
        diverging("numpy").fit(
            np.ones((6, 2)) * 100,
            np.zeros((6, 1)),
            batch_size=2,
            verbose=0,
            callbacks=[TerminateOnNaN(raise_error=True)],
        )
    assert str(raised.value) == "TerminateOnNaN: the loss must be finite. Received: loss=inf at batch 1."


def test_a_finite_loss_goes_on() -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    assert model.fit(X, Y, epochs=2, verbose=0, callbacks=[TerminateOnNaN()]).epoch == [0, 1]


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_nan_and_both_infinities_count(loss: float, capsys: pytest.CaptureFixture[str]) -> None:
    callback = TerminateOnNaN()
    callback.set_model(FakeModel())
    callback.on_train_batch_end(7, {"loss": loss})
    assert callback.model.stop_training
    assert capsys.readouterr().out == "Batch 7: Invalid loss, terminating training\n"
    callback.on_train_batch_end(8, {})  # no loss at all
