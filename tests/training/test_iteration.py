"""`fit_iter`: the same training as `fit`, in a loop of the caller's, however that is left."""

from __future__ import annotations

import gc
import inspect
import re
import signal
import threading
from typing import Any

import numpy as np
import pytest

from layerkit import Layer, Sequential
from layerkit.callbacks import Callback, LearningRateScheduler
from layerkit.data import timeseries_dataset_from_array
from layerkit.errors import ArgumentError, DataError, NonFiniteWarning, NotReadyError, ShapeError
from layerkit.layers import Dense, Dropout, Flatten
from layerkit.optimizers import SGD

X = np.arange(24.0).reshape(12, 2) / 24
Y = X[:, :1]
CALL = {"batch_size": 5, "verbose": 0}


def compiled(optimizer: Any = "adam", backend: Any = "numpy") -> Sequential:
    model = Sequential([Dense(4, activation="tanh"), Dropout(0.2), Dense(1)], seed=0, backend=backend)
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


class Ends(Callback):
    """Counts the beginnings and ends of trainings."""

    def __init__(self) -> None:
        self.begun = self.ended = 0

    def on_train_begin(self, logs: Any = None) -> None:
        self.begun += 1

    def on_train_end(self, logs: Any = None) -> None:
        self.ended += 1


def same(a: Sequential, b: Sequential) -> None:
    for weight, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_it_is_the_training_of_fit(xp: Any) -> None:
    model, other = compiled(backend=xp), compiled(backend=xp)
    history = other.fit(X, Y, epochs=4, validation_data=(X, Y), **CALL)
    seen = list(model.fit_iter(X, Y, epochs=4, validation_data=(X, Y), **CALL))
    same(model, other)
    assert [epoch.epoch for epoch in seen] == [0, 1, 2, 3]
    assert [epoch.logs for epoch in seen] == [
        {name: values[n] for name, values in history.history.items()} for n in range(4)
    ]
    assert seen[0].model is model
    assert seen[0].history is model.history
    assert model.history.history == history.history
    assert repr(seen[0]).startswith("epoch=0, loss=0.")


def test_the_loop_may_be_left_and_the_next_fit_goes_on() -> None:
    model, other = compiled(), compiled()
    ends = Ends()
    for epoch in model.fit_iter(X, Y, epochs=10, callbacks=[ends], **CALL):
        if epoch.epoch == 2:
            assert ends.ended == 0
            break
    assert (ends.begun, ends.ended) == (1, 1)
    assert model.history.epoch == [0, 1, 2]
    other.fit(X, Y, epochs=3, **CALL)
    same(model, other)
    assert model.fit(X, Y, epochs=2, **CALL).history == other.fit(X, Y, epochs=2, **CALL).history
    same(model, other)
    gc.collect()
    assert ends.ended == 1


@pytest.mark.parametrize("end", ["close", "run"])
def test_a_training_that_has_ended_does_not_begin_again(end: str) -> None:
    model, ends = compiled(), Ends()
    training = model.fit_iter(X, Y, epochs=2, callbacks=[ends], **CALL)
    getattr(training, end)()
    begun = ends.begun
    assert begun == (end == "run")
    assert list(training) == []
    assert (ends.begun, ends.ended) == (begun, begun)


def test_fit_takes_what_fit_iter_takes() -> None:
    parameters = inspect.signature(Sequential.fit).parameters
    assert parameters == inspect.signature(Sequential.fit_iter).parameters
    for name in parameters:  # each is passed on: a value that is wrong is refused
        if name not in ("self", "x", "y"):
            with pytest.raises((ArgumentError, DataError, ShapeError), match=name.partition("_")[0]):
                compiled().fit(X, Y, **{name: object()})


@pytest.mark.parametrize("leave", ["break", "stop", "last"])
def test_averages_take_their_place_however_the_loop_ends(leave: str) -> None:
    model, other = (compiled(SGD(0.1, use_ema=True)) for _ in range(2))
    for epoch in model.fit_iter(X, Y, epochs=3 if leave == "last" else 9, **CALL):
        if epoch.epoch == 2 and leave == "break":
            break
        model.stop_training = epoch.epoch == 2
    other.fit(X, Y, epochs=3, **CALL)
    same(model, other)


def test_the_learning_rate_is_set_in_between() -> None:
    model, other = compiled(), compiled()
    for epoch in model.fit_iter(X, Y, epochs=5, **CALL):
        assert epoch.learning_rate == 0.001 / 2**epoch.epoch
        epoch.learning_rate /= 2
    other.fit(X, Y, epochs=5, callbacks=[LearningRateScheduler(lambda epoch: 0.001 / 2**epoch)], **CALL)
    same(model, other)


def test_what_is_done_in_the_loop_is_seen_by_the_next_step() -> None:
    model = compiled()
    losses = []
    for epoch in model.fit_iter(X, Y, epochs=8, **CALL):
        losses.append(epoch.logs["loss"])
        if epoch.epoch == 5:
            model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
            model.optimizer.learning_rate = 0.0
    assert losses[6:] == pytest.approx([np.mean(Y**2)] * 2, rel=1e-6)
    assert losses[5] != pytest.approx(losses[6], rel=1e-3)


class Scaled(Layer):
    def __init__(self) -> None:
        super().__init__()
        self.factors = [0.0]

    def call(self, xp: Any, x: Any) -> Any:
        return x * self.factors[0]


def test_an_item_of_a_list_that_is_set_in_the_loop_is_seen() -> None:
    model = Sequential([Dense(1, kernel_initializer="ones", use_bias=False), Scaled()], seed=0)
    model.compile(SGD(0.0), "mae")
    losses = []
    for epoch in model.fit_iter(X, np.zeros((12, 1)), epochs=8, batch_size=12, verbose=0):
        losses.append(epoch.logs["loss"])
        model.layers[1].factors[0] = 1.0 if epoch.epoch > 5 else 0.0
    assert losses == pytest.approx([0.0] * 7 + [X.sum(axis=1).mean()])


def test_the_model_may_be_evaluated_and_asked_in_the_loop() -> None:
    model, other = compiled(), compiled()
    found = [
        (model.evaluate(X, Y, verbose=0)[0], model.predict(X, verbose=0).shape)
        for _ in model.fit_iter(X, Y, epochs=3, **CALL)
    ]
    history = other.fit(X, Y, epochs=3, validation_data=(X, Y), validation_batch_size=32, **CALL)
    same(model, other)
    assert [loss for loss, _ in found] == pytest.approx(history.history["val_loss"], rel=1e-6)


def test_an_exception_in_the_loop_ends_the_training() -> None:
    model, ends = compiled(), Ends()

    def train() -> None:
        for _ in model.fit_iter(X, Y, epochs=3, callbacks=ends, **CALL):
            raise LookupError

    with pytest.raises(LookupError) as raised:  # whose traceback holds the frames
        train()
    assert raised.value is not None
    assert (ends.begun, ends.ended) == (1, 1)


def test_another_fit_ends_an_iterator_that_somebody_holds() -> None:
    model, ends = compiled(SGD(0.1, use_ema=True)), Ends()
    epochs = model.fit_iter(X, Y, epochs=3, callbacks=ends, **CALL)
    next(epochs)
    assert model.fit(X, Y, **CALL).epoch == [0]
    assert (ends.begun, ends.ended) == (1, 1)
    with pytest.raises(NotReadyError) as raised:
        next(epochs)
    assert str(raised.value) == (
        "fit_iter: a model is trained by one loop at a time. Received: another fit of it within the loop, which ended "
        "this training."
    )
    with model.fit_iter(X, Y, epochs=3, callbacks=ends, **CALL) as epochs:
        next(epochs)
    assert (ends.begun, ends.ended) == (2, 2)
    assert list(epochs) == []
    epochs = model.fit_iter(X, Y, callbacks=ends, **CALL)  # never begun
    del epochs
    assert (ends.begun, ends.ended) == (2, 2)


def test_a_bad_argument_is_refused_when_it_is_given() -> None:
    model = compiled()
    with pytest.raises(ArgumentError, match=r"^fit: epochs must be an integer of at least 0\. Received: epochs=-1$"):
        model.fit_iter(X, Y, epochs=-1)
    running = model.fit_iter(X, Y, epochs=3, **CALL)
    next(running)
    with pytest.raises(ArgumentError):
        model.fit(X, Y, epochs=-1)
    assert next(running).epoch == 1  # goes on


def test_between_epochs_the_process_is_as_it_was() -> None:
    before = signal.getsignal(signal.SIGINT), np.geterr()
    model = compiled()
    for _ in model.fit_iter(X, Y, epochs=2, **CALL):
        assert (signal.getsignal(signal.SIGINT), np.geterr()) == before
    assert (signal.getsignal(signal.SIGINT), np.geterr()) == before


def test_ctrl_c_in_an_epoch_ends_the_loop() -> None:
    class Press(Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            if batch == 1:
                signal.raise_signal(signal.SIGINT)

    model, ends = compiled(), Ends()
    with pytest.raises(KeyboardInterrupt):
        list(model.fit_iter(X, Y, epochs=3, callbacks=[Press(), ends], **CALL))
    assert ends.ended == 1
    assert model.optimizer.iterations == 2


def test_threads_that_load_batches_end_with_the_loop() -> None:
    dataset = timeseries_dataset_from_array(X, Y[3:], 2, batch_size=2)
    dataset.workers = 3
    model = Sequential([Flatten(), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    for _ in model.fit_iter(dataset, epochs=3, steps_per_epoch=2, verbose=0):
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("layerkit-batches")]


@pytest.mark.filterwarnings("ignore:overflow")
@pytest.mark.parametrize("method", ["fit", "fit_iter"])
def test_a_warning_points_to_the_callers_line(method: str) -> None:
    model = compiled(SGD(1e30))
    run = model.fit if method == "fit" else lambda *args, **kwargs: list(model.fit_iter(*args, **kwargs))
    with pytest.warns(NonFiniteWarning) as caught:
        run(X, Y, epochs=2, **CALL)
    assert [warning.filename for warning in caught if warning.category is NonFiniteWarning] == [__file__]


def test_what_is_printed_in_the_loop_stands_between_the_lines_of_epochs(capsys: pytest.CaptureFixture[str]) -> None:
    for epoch in compiled().fit_iter(X, Y, epochs=2):
        print("mine", epoch.epoch)
    lines = [re.sub(r" - .*", "", line) for line in capsys.readouterr().out.splitlines()]
    assert lines == ["Epoch 1/2", "mine 0", "Epoch 2/2", "mine 1"]
