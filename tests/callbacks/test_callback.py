"""The moments of callbacks, against those that Keras gives its own (keras.json), and what becomes of exceptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import Callback, History, LambdaCallback
from layerkit.callbacks.callback import MOMENTS, CallbackList
from layerkit.errors import ArgumentError, NotReadyError
from layerkit.layers import Dense
from layerkit.optimizers import SGD
from layerkit.testing import StrictBackend

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp import Backend

KERAS = json.loads((Path(__file__).parent / "keras.json").read_text())["moments"]

X = np.arange(10.0).reshape(5, 2)
Y = X[:, :1]


class Recorder(Callback):
    """Notes each call on a line: its name, its index if it has one, and the names in its logs."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        self.calls.append("set_model")

    def set_params(self, params: Any) -> None:
        super().set_params(params)
        self.calls.append(f"set_params {params}")


def _recording(moment: str) -> Callable[..., None]:
    def record(self: Recorder, *args: Any) -> None:
        *index, logs = args
        self.calls.append(" ".join([moment, *map(str, index), *sorted(logs)]))
        getattr(Callback, moment)(self, *args)  # calls the older name

    return record


for _moment in (*MOMENTS, "on_batch_begin", "on_batch_end"):
    setattr(Recorder, _moment, _recording(_moment))


def small_model(backend: str | Backend = "numpy", **compiled: Any) -> Sequential:
    model = Sequential([Dense(1)], seed=0, backend=backend)
    model.compile(**({"optimizer": "sgd", "loss": "mse", "metrics": ["mae"]} | compiled))
    return model


def test_every_moment_of_keras_is_one_of_ours() -> None:
    keras = {line.split()[0] for run in KERAS.values() for line in run} - {"set_model", "set_params"}
    assert keras == {*MOMENTS, "on_batch_begin", "on_batch_end"}
    assert keras == {name for name in dir(Callback) if name.startswith("on_")}


@pytest.mark.parametrize("run", KERAS)
def test_moments_come_in_the_order_of_keras_with_its_indices_and_logs(run: str, xp: Backend) -> None:
    model, recorder = small_model(xp), Recorder()
    model.build((None, 2))
    given: dict[str, Any] = {"verbose": 0, "callbacks": [recorder]}
    runs: dict[str, Callable[[], Any]] = {
        "fit": lambda: model.fit(X, Y, batch_size=3, epochs=2, **given),
        "fit_with_validation": lambda: model.fit(
            X, Y, batch_size=3, epochs=2, validation_data=(X[:4], Y[:4]), validation_batch_size=2, **given
        ),
        "fit_from_epoch_3_to_4": lambda: model.fit(X, Y, epochs=4, initial_epoch=3, **given),
        "fit_no_epoch": lambda: model.fit(X, Y, epochs=0, **given),
        "evaluate": lambda: model.evaluate(X, Y, batch_size=3, **given),
        "predict": lambda: model.predict(X, batch_size=3, **given),
    }
    runs[run]()
    assert recorder.calls == KERAS[run]


def test_a_callback_knows_the_model_and_the_parameters_of_its_run() -> None:
    model, callback = small_model(), Callback()
    assert callback.model is None
    model.fit(X, Y, batch_size=2, epochs=4, verbose=0, callbacks=callback)  # one alone needs no list
    assert callback.model is model
    assert callback.params == {"verbose": 0, "epochs": 4, "steps": 3}
    model.fit(((X, Y) for _ in range(3)), verbose=0, callbacks=[callback])
    assert callback.params == {"verbose": 0, "epochs": 1, "steps": None}
    model.evaluate(X, Y, steps=2, batch_size=2, verbose=0, callbacks=[callback])
    assert callback.params == {"verbose": 0, "epochs": 1, "steps": 2}


def test_callbacks_are_called_in_their_order_and_before_history() -> None:
    order: list[str] = []

    class Named(Callback):
        def __init__(self, name: str) -> None:
            self.name = name

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            order.append(self.name)
            logs[self.name] = len(order)

        def on_train_end(self, logs: Any = None) -> None:
            order.append(f"end of {self.name}")

    history = small_model().fit(X, Y, verbose=0, callbacks=[Named("first"), Named("second")])
    assert order == ["first", "second", "end of first", "end of second"]
    assert history.history["first"] == [1]  # what a callback adds to the logs is recorded
    assert history.history["second"] == [2]


def test_logs_of_an_epoch_and_of_its_last_batch_are_the_means_over_the_epoch(xp: Backend) -> None:
    seen: dict[str, dict[str, float]] = {}

    class Reader(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen[f"batch {batch}"] = dict(logs)

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            seen["epoch"] = dict(logs)

        def on_train_end(self, logs: Any = None) -> None:
            seen["train"] = dict(logs)

    model = Sequential([Dense(1, kernel_initializer="zeros")], seed=0, backend=xp)
    model.compile(SGD(learning_rate=0.0), "mse", metrics=["mae"])  # both batches meet the same weights
    model.fit(X, Y, batch_size=3, shuffle=False, verbose=0, callbacks=[Reader()])
    # y = 0, 2, 4, 6, 8 against predictions of 0.
    assert seen["batch 0"] == pytest.approx({"loss": (0 + 4 + 16) / 3, "mae": (0 + 2 + 4) / 3})
    assert seen["batch 1"] == pytest.approx({"loss": (0 + 4 + 16 + 36 + 64) / 5, "mae": 20 / 5})
    assert seen["epoch"] == seen["train"] == seen["batch 1"]


def test_logs_of_prediction_hold_its_outputs(xp: Backend) -> None:
    outputs: list[Any] = []

    class Reader(Callback):
        def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
            outputs.append(logs["outputs"])

    predicted = small_model(xp).predict(X, batch_size=2, verbose=0, callbacks=[Reader()])
    np.testing.assert_array_equal(np.concatenate(outputs), predicted)
    assert [len(batch) for batch in outputs] == [2, 2, 1]


# Batch logs are read from the device only where they are looked at.


class Looker(Callback):
    """Looks at the logs of some batches."""

    def __init__(self, batches: tuple[int, ...]) -> None:
        self.batches = batches

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch in self.batches:
            assert logs["loss"] >= 0
            assert logs.get("mae") >= 0


@pytest.mark.parametrize("batches", [(), (1,), (0, 1, 2)])
def test_batch_logs_are_read_from_the_device_once_and_only_where_looked_at(batches: tuple[int, ...]) -> None:
    xp = StrictBackend.open("")
    model = small_model(xp)
    model.fit(X, Y, batch_size=2, epochs=3, verbose=0)  # until the step of each shape is recorded and compared

    def reads(callbacks: list[Callback]) -> int:
        before = xp.transfers.to_host
        model.fit(X, Y, batch_size=2, verbose=0, callbacks=callbacks)
        return xp.transfers.to_host - before

    per_look = 1  # the totals of the loss and of one metric
    assert reads([Looker(batches), Looker(batches)]) == reads([]) + per_look * len(batches)


def test_batch_logs_that_were_kept_are_refused_later_rather_than_wrong() -> None:
    kept: list[Any] = []

    class Keeper(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            kept.append(logs)
            if batch == 1:
                assert len(logs) == 2
                assert "loss" in repr(logs)
                del logs["mae"]
                logs["mine"] = 1.0

    small_model().fit(X, Y, batch_size=2, verbose=0, callbacks=[Keeper()])
    assert list(kept[1]) == ["loss", "mine"]  # was looked at in time
    with pytest.raises(NotReadyError) as raised:
        kept[0]["loss"]
    assert str(raised.value) == (
        "logs: those of a batch must be read before the next batch. Received: a look at them later. Keep dict(logs)."
    )


# Ending training.


class StopAt(Callback):
    """Sets stop_training at one moment."""

    def __init__(self, moment: str) -> None:
        def stop(*args: Any) -> None:
            self.model.stop_training = True

        setattr(self, moment, stop)


@pytest.mark.parametrize(
    ("moment", "batches", "epochs"),
    [("on_train_batch_end", 1, 1), ("on_train_batch_begin", 1, 1), ("on_epoch_begin", 1, 1), ("on_epoch_end", 3, 1)],
)
def test_stop_training_ends_after_the_batch_and_still_ends_the_epoch(moment: str, batches: int, epochs: int) -> None:
    model, recorder = small_model(), Recorder()
    history = model.fit(
        X, Y, batch_size=2, epochs=5, verbose=0, validation_data=(X, Y), callbacks=[StopAt(moment), recorder]
    )
    names = [call.split()[0] for call in recorder.calls]
    assert names.count("on_train_batch_end") == batches
    assert names.count("on_epoch_end") == names.count("on_test_end") == epochs
    assert names[-1] == "on_train_end"
    assert history.epoch == [0]
    model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
    assert model.history is not None
    assert model.history.epoch == [0, 1]  # the next fit runs to its end


class Fails(Callback):
    """Raises at one moment."""

    def __init__(self, moment: str) -> None:
        def fail(*args: Any) -> None:
            raise LookupError(moment)

        setattr(self, moment, fail)


@pytest.mark.parametrize("moment", [name for name in MOMENTS if "predict" not in name and name != "on_train_end"])
def test_an_exception_surfaces_after_on_train_end_and_the_next_fit_works(moment: str, xp: Backend) -> None:
    model, before, after = small_model(xp), Recorder(), Recorder()
    with pytest.raises(LookupError, match=moment):
        model.fit(X, Y, batch_size=2, verbose=0, validation_data=(X, Y), callbacks=[before, Fails(moment), after])
    for recorder in (before, after):
        assert [call.split()[0] for call in recorder.calls].count("on_train_end") == 1
        assert recorder.calls[-1].startswith("on_train_end")
    assert moment in [call.split()[0] for call in before.calls]
    assert moment not in [call.split()[0] for call in after.calls]
    losses = model.fit(X, Y, batch_size=2, epochs=3, verbose=0).history["loss"]
    assert len(losses) == 3
    assert np.isfinite(losses).all()


def test_an_exception_in_on_train_end_reaches_the_caller_after_all_others_had_theirs() -> None:
    model, after = small_model(), Recorder()
    with pytest.raises(LookupError, match="on_train_end"):
        model.fit(X, Y, verbose=0, callbacks=[Fails("on_train_end"), after])
    assert after.calls[-1] == "on_train_end loss mae"
    model.fit(X, Y, verbose=0)


@pytest.mark.parametrize("moment", [name for name in MOMENTS if "predict" in name])
def test_an_exception_in_predict_surfaces_and_the_next_one_works(moment: str) -> None:
    model = small_model()
    with pytest.raises(LookupError, match=moment):
        model.predict(X, verbose=0, callbacks=[Fails(moment)])
    assert model.predict(X, verbose=0).shape == (5, 1)


def test_history_holds_the_whole_epochs_before_an_exception() -> None:
    model = small_model()

    class FailsInEpoch2(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise LookupError

    with pytest.raises(LookupError):
        model.fit(X, Y, epochs=5, verbose=0, callbacks=[FailsInEpoch2()])
    assert model.history is not None
    assert model.history.epoch == [0, 1]
    assert len(model.history.history["loss"]) == 2


# What is accepted as a callback.


def test_an_object_with_a_few_methods_is_a_callback() -> None:
    class Plain:
        calls = 0

        def set_model(self, model: Any) -> None: ...
        def set_params(self, params: Any) -> None: ...
        def on_epoch_end(self, epoch: int, logs: Any) -> None:
            self.calls += 1

    plain = Plain()
    small_model().fit(X, Y, epochs=3, verbose=0, callbacks=[plain])
    assert plain.calls == 3


def test_moments_that_nobody_defines_are_not_called() -> None:
    class BatchOnly(Callback):
        def on_batch_end(self, batch: int, logs: Any = None) -> None: ...

    called = CallbackList([History(), BatchOnly()])
    assert [moment for moment in MOMENTS if called.cares_for(moment)] == [
        "on_train_begin",
        "on_epoch_end",
        "on_train_batch_end",
    ]


def test_a_list_of_callbacks_serves_a_training_loop_of_ones_own() -> None:
    """As Keras's does."""
    calls: list[Any] = []
    note = LambdaCallback(
        on_train_begin=lambda logs: calls.append(logs),
        on_epoch_begin=lambda epoch, logs: calls.append((epoch, logs)),
        on_train_batch_end=lambda batch, logs: calls.append((batch, logs)),
    )
    model = small_model()
    called = CallbackList(note, add_history=True, model=model, epochs=1, steps=2, verbose=0)
    assert note.params == {"epochs": 1, "steps": 2, "verbose": 0}
    assert note.model is model
    called.on_train_begin()
    called.on_epoch_begin(0)
    called.on_train_batch_end(0, {"loss": 1.0})
    called.on_train_batch_end(1, logs={"loss": 0.5})
    called.append(LambdaCallback(on_epoch_end=lambda epoch, logs: calls.append("appended")))
    called.on_epoch_end(0, {"loss": 0.5})
    assert calls == [{}, (0, {}), (0, {"loss": 1.0}), (1, {"loss": 0.5}), "appended"]
    assert called.callbacks[1].history == {"loss": [0.5]}
    with pytest.raises(AttributeError, match=r"no attribute 'on_epoch_over'. Did you mean 'on_epoch_end'\?"):
        called.on_epoch_over()


def test_a_subclass_needs_no_init_of_its_base_and_may_take_any_argument() -> None:
    class Mine(Callback):
        def __init__(self, first: int, *rest: int, **more: int) -> None:
            self.given = (first, rest, more)

    assert Mine(1, 2, 3, four=4).given == (1, (2, 3), {"four": 4})


@pytest.mark.parametrize(
    ("given", "received"),
    [
        (History, "<class 'layerkit.callbacks.history.History'>. Make an object of it: History(…)."),
        ("early stopping", "'early stopping'."),
        ([None], "None."),
        ([print], "<built-in function print>."),
    ],
)
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_what_is_no_callback_is_refused_before_anything_is_built(given: Any, received: str, method: str) -> None:
    model = small_model()
    arguments = (X,) if method == "predict" else (X, Y)
    with pytest.raises(ArgumentError) as raised:
        getattr(model, method)(*arguments, verbose=0, callbacks=given)
    assert str(raised.value) == f"callbacks: each must be a Callback. Received: {received}"
    assert not model.built
