"""Compute outputs.json with Keras 3 on JAX: trainings of models with several outputs.

Run ``python tests/tables/make_output_tables.py`` where ``pip install keras jax torch`` has been done. As in
make_tables.py, whose tools are used: nothing here imports the framework under test, and inputs lie on a binary grid.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np
from make_tables import grid, in_both_dtypes, plain, probabilities, write

MSE, SPARSE = "mse", "sparse_categorical_crossentropy"
ROWS, BATCH = 10, 4  # the last batch is shorter

# How outputs are nested ("names": a list, with names of the model's own), and what `compile` and `fit` are given.
# "each" stands for sample weights of each output, nested as the outputs are; "one" for an array for all of them.
CASES = [
    ("dict", {"loss": {"left": MSE, "right": SPARSE}}, {}),
    ("dict", {"loss": {"right": SPARSE, "left": MSE}, "loss_weights": {"right": 2.0, "left": 0.5}}, {}),
    (
        "dict",
        {
            "loss": {"left": MSE, "right": SPARSE},
            "loss_weights": {"left": 0.5, "right": 2.0},
            "metrics": {"left": ["mae", "RootMeanSquaredError"], "right": ["accuracy"]},
        },
        {},
    ),
    ("dict", {"loss": {"left": "huber", "right": SPARSE}, "metrics": {"right": "accuracy"}}, {"optimizer": "Adam"}),
    (
        "dict",
        {
            "loss": {"left": MSE, "right": SPARSE},
            "loss_weights": {"left": 0.5, "right": 2.0},
            "metrics": {"left": ["mae"], "right": ["accuracy"]},
            "weighted_metrics": {"left": ["mae", "mse"], "right": ["accuracy"]},
        },
        {"sample_weight": "each"},
    ),
    (
        "dict",
        {"loss": {"left": MSE, "right": SPARSE}, "weighted_metrics": {"left": ["mae"], "right": ["accuracy"]}},
        {"sample_weight": "one"},
    ),
    (
        "dict",
        {"loss": {"left": MSE, "right": SPARSE}, "metrics": {"left": ["mae"], "right": ["accuracy"]}},
        {"validation_split": 0.3, "sample_weight": "each"},
    ),
    ("dict", {"loss": {"left": MSE, "right": None}, "metrics": {"right": ["accuracy"]}}, {}),
    ("dict", {"loss": {"left": MSE}, "metrics": {"right": ["accuracy"]}, "loss_weights": {"left": 0.25}}, {}),
    ("dict", {"loss": [MSE, SPARSE], "loss_weights": [0.5, 2.0], "metrics": [["mae"], ["accuracy"]]}, {}),
    ("dict", {"loss": "mse", "metrics": ["mae", "mse"]}, {"one_hot": True}),
    ("list", {"loss": [MSE, SPARSE]}, {}),
    ("list", {"loss": [MSE, SPARSE], "loss_weights": [0.5, 2.0], "metrics": [["mae"], ["accuracy"]]}, {}),
    (
        "list",
        {
            "loss": [MSE, SPARSE],
            "metrics": [["mae"], ["accuracy"]],
            "weighted_metrics": [["mae"], ["accuracy"]],
        },
        {"sample_weight": "each"},
    ),
    ("list", {"loss": [MSE, SPARSE], "weighted_metrics": [["mae"], None]}, {"sample_weight": "one"}),
    ("list", {"loss": [None, SPARSE], "metrics": [["mae"], ["accuracy"]]}, {}),
    ("list", {"loss": [MSE, "categorical_crossentropy"], "metrics": [["mae"], ["mae"]]}, {"one_hot": True}),
    ("tuple", {"loss": (MSE, SPARSE), "loss_weights": (0.5, 2.0), "metrics": (["mae"], ["accuracy"])}, {}),
    ("tuple", {"loss": [MSE, SPARSE], "metrics": [["mae"], ["accuracy"]]}, {"validation_split": 0.3}),
    ("names", {"loss": [MSE, SPARSE], "metrics": [["mae"], ["accuracy"]]}, {}),
    (
        "names",
        {
            "loss": {"left": MSE, "right": SPARSE},
            "loss_weights": {"left": 0.5, "right": 2.0},
            "metrics": {"left": ["mae"], "right": ["accuracy"]},
        },
        {"by_name": True},
    ),
]


class Branches(keras.Model):
    """A dense layer, and two behind it: one unit, and a softmax over three."""

    def __init__(self, kind):
        super().__init__()
        self.kind = kind
        if kind == "names":
            self.output_names = ["left", "right"]
        self.trunk = keras.layers.Dense(3, "tanh")
        self.left = keras.layers.Dense(1)
        self.right = keras.layers.Dense(3, "softmax")

    def call(self, x):
        hidden = self.trunk(x)
        return nested(self.kind, self.left(hidden), self.right(hidden))


def nested(kind, left, right):
    """Both, as the outputs of such a model are."""
    return {"dict": {"left": left, "right": right}, "tuple": (left, right)}.get(kind, [left, right])


def case_of(kind, compiled, options, seed):
    """Three epochs, an evaluation, and predictions."""
    rng = np.random.default_rng(seed)
    x, left = grid(rng, (ROWS, 2)), grid(rng, (ROWS, 1))
    right = probabilities(rng, ROWS, 3) if options.get("one_hot") else rng.integers(0, 3, ROWS)
    each = [np.round(rng.uniform(0.25, 2.0, ROWS) * 64) / 64 for _ in range(2)]
    case = {"kind": kind, "compile": compiled, "options": options}
    case |= {"x": plain(x), "left": plain(left), "right": plain(right), "sample_weight": [plain(w) for w in each]}
    weights = {"each": nested(kind, *each), "one": each[0]}.get(options.get("sample_weight"))
    target = nested("dict" if options.get("by_name") else kind, left, right)

    def compute(dtype):
        model = Branches(kind)
        model(np.zeros((1, 2), dtype))  # which makes the weights
        if "weights" not in case:
            case["weights"] = [plain(grid(rng, variable.shape, 0.5)) for variable in model.weights]
        model.set_weights([np.asarray(value, dtype) for value in case["weights"]])
        optimizer = keras.optimizers.Adam(0.0625) if "optimizer" in options else keras.optimizers.SGD(0.0625)
        model.compile(optimizer, run_eagerly=True, **compiled)  # which takes a fraction of the time
        given = {"batch_size": BATCH, "verbose": 0, "sample_weight": weights}
        split = options.get("validation_split", 0.0)
        history = model.fit(x, target, epochs=3, shuffle=False, validation_split=split, **given).history
        evaluated = model.evaluate(x, target, return_dict=True, **given)
        predicted = model.predict(x, verbose=0)
        assert type(predicted) is {"dict": dict, "tuple": tuple}.get(kind, list)
        predicted = list(predicted.values()) if kind == "dict" else predicted
        return {
            "history": {key: [float(value) for value in values] for key, values in history.items()},
            "final_weights": [plain(value) for value in model.get_weights()],
            "evaluate": {key: float(value) for key, value in evaluated.items()},
            "predict": [plain(value) for value in predicted],
        }

    results = in_both_dtypes(compute)  # which completes the case
    return {**case, **results}


if __name__ == "__main__":
    write("outputs.json", [case_of(*row, seed) for seed, row in enumerate(CASES)])
