"""Record what Keras tells its callbacks, and what they do: stops, learning rates, files, into keras.json beside this.

Run with Keras on JAX installed: ``python tests/callbacks/make_keras_json.py``. The tests only read the file.
"""

import json
import os
import tempfile
import warnings
from pathlib import Path

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

MOMENTS = [name for name in dir(keras.callbacks.Callback) if name.startswith("on_")]


class Recorder(keras.callbacks.Callback):
    """Notes each call on a line: its name, its index if it has one, and the names in its logs."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def set_model(self, model):
        super().set_model(model)
        self.calls.append("set_model")

    def set_params(self, params):
        super().set_params(params)
        self.calls.append(f"set_params {params}")


def _recording(moment):
    def record(self, *args, **kwargs):
        *index, logs = (*args, kwargs["logs"]) if "logs" in kwargs else args
        self.calls.append(" ".join([moment, *map(str, index), *sorted(logs)]))
        getattr(keras.callbacks.Callback, moment)(self, *args, **kwargs)  # calls the older name

    return record


for name in MOMENTS:
    setattr(Recorder, name, _recording(name))


def moments():
    """Record fit with and without validation, evaluate, and predict."""
    x = np.arange(10.0).reshape(5, 2)
    y = x[:, :1]
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    runs = {}
    for name, run in {
        "fit": lambda callback: model.fit(x, y, batch_size=3, epochs=2, verbose=0, callbacks=[callback]),
        "fit_with_validation": lambda callback: model.fit(
            x,
            y,
            batch_size=3,
            epochs=2,
            verbose=0,
            validation_data=(x[:4], y[:4]),
            validation_batch_size=2,
            callbacks=[callback],
        ),
        "fit_from_epoch_3_to_4": lambda callback: model.fit(
            x, y, epochs=4, initial_epoch=3, verbose=0, callbacks=[callback]
        ),
        "fit_no_epoch": lambda callback: model.fit(x, y, epochs=0, verbose=0, callbacks=[callback]),
        "evaluate": lambda callback: model.evaluate(x, y, batch_size=3, verbose=0, callbacks=[callback]),
        "predict": lambda callback: model.predict(x, batch_size=3, verbose=0, callbacks=[callback]),
    }.items():
        recorder = Recorder()
        run(recorder)
        runs[name] = recorder.calls
    return runs


FALLING = [1.0, 0.8, 0.85, 0.75, 0.76, 0.755, 0.7499, 0.74, 0.9, 0.95, 0.5, 1.0, 1.1, 1.2, 1.3]
RISING = [0.1, 0.3, 0.2, 0.25, 0.31, 0.3, 0.29, 0.28, 0.27, 0.9]
NAN, INFINITY = float("nan"), float("inf")
EARLY_STOPPING = [
    (FALLING, {}),
    (FALLING, {"patience": 1}),
    (FALLING, {"patience": 2}),
    (FALLING, {"patience": 3}),
    (FALLING, {"patience": 3, "restore_best_weights": True}),
    (FALLING, {"patience": 2, "min_delta": 0.01}),
    (FALLING, {"patience": 2, "min_delta": -0.01}),
    (FALLING, {"patience": 2, "min_delta": 0.06, "restore_best_weights": True}),
    (FALLING, {"patience": 2, "baseline": 0.5}),
    (FALLING, {"patience": 4, "baseline": 0.76}),
    (FALLING, {"patience": 2, "baseline": 0.5, "restore_best_weights": True}),
    (FALLING, {"patience": 2, "start_from_epoch": 3}),
    (FALLING, {"patience": 1, "start_from_epoch": 8, "restore_best_weights": True}),
    (FALLING, {"start_from_epoch": 20, "restore_best_weights": True}),
    (FALLING, {"patience": 2, "mode": "min"}),
    (FALLING, {"patience": 2, "mode": "max"}),
    (RISING, {"patience": 2, "mode": "max"}),
    (RISING, {"patience": 4, "mode": "max", "restore_best_weights": True}),
    (RISING, {"patience": 3, "mode": "max", "min_delta": 0.05}),
    ([3.0, 2.0, 1.0], {"patience": 1, "restore_best_weights": True}),
    ([1.0] * 6, {"patience": 3}),
    ([1.0], {}),
    ([1.0, NAN, NAN, 0.5], {"patience": 2}),
    ([1.0, NAN, 0.5, 0.4], {"patience": 2, "restore_best_weights": True}),
    ([INFINITY, 2.0, 1.0, INFINITY, INFINITY], {"patience": 1}),
    ([2.0, None, 1.0, None, 1.5, None, 1.6, None], {"patience": 2}),
]


class Model:
    """Has the number of the last epoch for its only weight, and an optimizer."""

    def __init__(self, learning_rate=0.1):
        self.optimizer = keras.optimizers.SGD(learning_rate)
        self.stop_training = False
        self.weight = None

    def get_weights(self):
        """Return the weight in a list."""
        return [self.weight]

    def set_weights(self, weights):
        """Take the weight from a list."""
        (self.weight,) = weights


def early_stopping(values, arguments):
    """Give EarlyStopping one value an epoch, and return where that ended."""
    callback, model = keras.callbacks.EarlyStopping(**arguments), Model()
    callback.set_model(model)
    callback.on_train_begin({})
    epochs = 0
    for epoch, value in enumerate(values):
        model.weight, epochs = epoch, epoch + 1
        callback.on_epoch_end(epoch, {} if value is None else {"val_loss": value})
        if model.stop_training:
            break
    callback.on_train_end({})
    return {
        "epochs": epochs,
        "stopped_epoch": callback.stopped_epoch,
        "best": None if callback.best is None else float(callback.best),
        "best_epoch": callback.best_epoch,
        "wait": callback.wait,
        "weight": model.weight,
    }


PLATEAU = [
    (FALLING, {"patience": 1}),
    (FALLING, {"patience": 2, "factor": 0.5}),
    (FALLING, {"patience": 0, "factor": 0.5, "cooldown": 2}),
    (FALLING, {"patience": 1, "factor": 0.5, "cooldown": 3, "min_lr": 0.03}),
    (FALLING, {"patience": 2, "factor": 0.2, "min_delta": 0.06}),
    (FALLING, {"patience": 2, "factor": 0.2, "min_delta": 0}),
    (FALLING, {"patience": 3, "factor": 0.5, "mode": "max"}),
    (RISING, {"patience": 2, "factor": 0.5, "mode": "max"}),
    (RISING, {"patience": 2, "factor": 0.5, "mode": "max", "cooldown": 1, "min_delta": 0.05}),
    ([1.0] * 8, {"patience": 1, "factor": 0.1, "min_lr": 0.001}),
    ([1.0] * 8, {"patience": 3, "factor": 0.0}),
    ([1.0] * 8, {"patience": 1, "factor": 0.5, "min_lr": 0.1}),
    ([1.0, NAN, NAN, 0.5, 0.6], {"patience": 2}),
    ([2.0, None, 2.0, None, 2.0, None, 1.0, None], {"patience": 2, "factor": 0.5}),
]


def plateau(values, arguments):
    """Give ReduceLROnPlateau one value an epoch, and return the learning rate in the logs of each, and after all."""
    callback, model = keras.callbacks.ReduceLROnPlateau(**arguments), Model()
    callback.set_model(model)
    callback.on_train_begin({})
    rates = []
    for epoch, value in enumerate(values):
        logs = {} if value is None else {"val_loss": value}
        logs["loss"] = 0.0  # Keras takes empty logs for none
        callback.on_epoch_end(epoch, logs)
        rates.append(logs["learning_rate"])
    return {"rates": rates, "last": float(model.optimizer.learning_rate), "wait": callback.wait}


SCHEDULES = ["lambda epoch, rate: rate if epoch < 3 else rate * 0.5", "lambda epoch: 0.1 / (epoch + 1)"]


def scheduler(schedule, epochs=6):
    """Return the learning rate that is set for each epoch."""
    callback, model = keras.callbacks.LearningRateScheduler(eval(schedule)), Model()
    callback.set_model(model)
    rates = []
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch)
        logs = {"loss": 0.0}
        callback.on_epoch_end(epoch, logs)
        rates.append(logs["learning_rate"])
    return rates


CSV = [
    ({}, [{"loss": 0.5, "accuracy": 0.25}, {"loss": 0.1, "accuracy": 1.0}]),
    ({}, [{"loss": 0.5, "val_loss": 1e-07}, {"loss": 12345678.9}]),
    ({}, [{"loss": 0.5}, {"loss": 0.25, "val_loss": 0.75, "more": 1}]),
    ({"separator": ";"}, [{"loss": 0.5, "note": "a;b"}, {"loss": 0.25, "note": 'say "a"'}]),
    ({"separator": "\t"}, [{"loss": 0.5, "scores": [0.25, 0.75]}]),
]


def csv_bytes(arguments, epochs, appended):
    """Return what CSVLogger writes, in one training or in two."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.csv"
        for append in (False, True) if appended else (False,):
            callback = keras.callbacks.CSVLogger(path, append=append, **arguments)
            callback.on_train_begin()
            for epoch, logs in enumerate(epochs):
                callback.on_epoch_end(epoch, logs)
            callback.on_train_end()
        return path.read_bytes().decode()


def averages(swap_on_epoch):
    """Return the validation losses, and the last weights, of a model whose averages are measured."""
    x = np.linspace(-1, 1, 12).reshape(6, 2)
    y = x[:, :1] * 2 + 1
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.2, use_ema=True, ema_momentum=0.8), "mse")
    swap = keras.callbacks.SwapEMAWeights(swap_on_epoch)
    between = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: between.append(model.get_weights()))
    history = model.fit(
        x, y, batch_size=6, epochs=5, shuffle=False, verbose=0, validation_data=(x, y), callbacks=[swap, look]
    )
    return {
        "loss": history.history["loss"],
        "val_loss": history.history["val_loss"],
        "between": [[weight.tolist() for weight in weights] for weights in between],
        "last": [weight.tolist() for weight in model.get_weights()],
    }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    table = {
        "made_with": {"keras": keras.__version__, "jax": jax.__version__},
        "moments": moments(),
        "early_stopping": [
            {"values": " ".join(map(str, values)), "arguments": arguments, "result": early_stopping(values, arguments)}
            for values, arguments in EARLY_STOPPING
        ],
        "plateau": [
            {"values": " ".join(map(str, values)), "arguments": arguments, "result": plateau(values, arguments)}
            for values, arguments in PLATEAU
        ],
        "schedules": [{"schedule": schedule, "rates": scheduler(schedule)} for schedule in SCHEDULES],
        "csv": [
            {
                "arguments": arguments,
                "epochs": epochs,
                "once": csv_bytes(arguments, epochs, appended=False),
                "twice": csv_bytes(arguments, epochs, appended=True),
            }
            for arguments, epochs in CSV
        ],
        "averages": {str(swap_on_epoch): averages(swap_on_epoch) for swap_on_epoch in (False, True)},
    }
    lines = json.dumps(table, indent=1)
    (Path(__file__).parent / "keras.json").write_text(lines + "\n")
