"""Record what Keras tells its callbacks, and when its EarlyStopping stops, into keras.json beside this script.

Run with Keras on JAX installed: ``python tests/callbacks/make_keras_json.py``. The tests only read the file.
"""

import json
import os
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
    """Has the number of the last epoch for its only weight."""

    def __init__(self):
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


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    table = {
        "made_with": {"keras": keras.__version__, "jax": jax.__version__},
        "moments": moments(),
        "early_stopping": [
            {"values": " ".join(map(str, values)), "arguments": arguments, "result": early_stopping(values, arguments)}
            for values, arguments in EARLY_STOPPING
        ],
    }
    lines = json.dumps(table, indent=1)
    (Path(__file__).parent / "keras.json").write_text(lines + "\n")
