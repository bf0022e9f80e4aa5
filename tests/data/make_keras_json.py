"""Record what Keras's functions around training return into keras.json beside this script.

Run with Keras on JAX installed: ``python tests/data/make_keras_json.py``. The tests only read the file.
"""

import json
import os
from pathlib import Path
from unittest import mock

os.environ["KERAS_BACKEND"] = "jax"

import jax
import keras
import numpy as np

CATEGORICAL = [
    ([0, 1, 2, 3], {"num_classes": 4}),
    ([0, 2, 1], {}),
    ([0, 2, 1], {"num_classes": 5}),
    ([[0], [2], [1]], {}),
    ([[0, 2], [1, 1]], {}),
    ([[[1], [0]]], {"num_classes": 2}),
    ([1.0, 0.0], {}),
    ([True, False], {}),
    (2, {"num_classes": 3}),
]
ROWS = [[3.0, -4.0, 0.0], [0.0, 0.0, 0.0], [1.0, 2.0, -2.0]]
NORMALIZE = [
    (ROWS, {}),
    (ROWS, {"order": 1}),
    (ROWS, {"order": 3}),
    (ROWS, {"axis": 1}),
    ([ROWS, [[1.0, 1.0, 1.0]] * 3], {"axis": 1}),
    ([1.0, 2.0, 2.0], {}),
    ([[1, 2], [3, 4]], {}),
]
SEQUENCES = [[1], [2, 3], [4, 5, 6], []]
PAD = [
    (SEQUENCES, {}),
    (SEQUENCES, {"value": -1}),
    (SEQUENCES, {"padding": "post"}),
    (SEQUENCES, {"maxlen": 2}),
    (SEQUENCES, {"maxlen": 2, "truncating": "post"}),
    (SEQUENCES, {"maxlen": 5, "padding": "post", "truncating": "post", "value": 9}),
    ([[0.5, 1.5], [2.5]], {"dtype": "float32", "value": 0.25}),
    ([[0.5, 1.75], [2.5]], {}),
    ([[[1, 2], [3, 4]], [[5, 6]]], {}),
    ([[[1, 2], [3, 4]], [[5, 6]], []], {"maxlen": 1, "padding": "post"}),
]
SPLIT = [
    {"left_size": 0.8},
    {"right_size": 0.25},
    {"left_size": 3},
    {"right_size": 4},
    {"left_size": 0.5, "right_size": 0.2},
    {"left_size": 2, "right_size": 0.35},
    {"left_size": 0.25},
    {"left_size": 0.35},
    {"left_size": 0.6, "shuffle": True, "seed": 0},
    {"left_size": 3, "right_size": 3, "shuffle": True, "seed": 123},
]


class Datasets:
    """What Keras needs of TensorFlow to return the two parts, which are then just the arrays."""

    AUTOTUNE = None

    def __init__(self, arrays):
        self.arrays = arrays

    @classmethod
    def from_tensor_slices(cls, arrays):
        """Return the arrays."""
        return cls(arrays)

    def prefetch(self, _):
        """Return the same."""
        return self


def split(arguments):
    """Return the rows of both parts of ten."""
    rows = np.arange(10)
    tensorflow = mock.Mock(**{"data.Dataset": Datasets, "data.AUTOTUNE": None})
    with (
        mock.patch("keras.src.utils.module_utils.tensorflow", tensorflow),
        mock.patch("keras.src.utils.dataset_utils.is_tf_dataset", return_value=False),
    ):
        parts = keras.utils.split_dataset((rows, rows * 10), **arguments, preferred_backend="tensorflow")
    return [[array.tolist() for array in part.arrays] for part in parts]


def main():
    """Write the file."""
    table = {
        "made_with": {"keras": keras.__version__, "jax": jax.__version__, "numpy": np.__version__},
        "to_categorical": [
            {"x": x, "arguments": given, "result": keras.utils.to_categorical(np.array(x), **given).tolist()}
            for x, given in CATEGORICAL
        ],
        "normalize": [
            {"x": x, "arguments": given, "result": keras.utils.normalize(np.array(x), **given).tolist()}
            for x, given in NORMALIZE
        ],
        "pad_sequences": [
            {"sequences": x, "arguments": given, "result": keras.utils.pad_sequences(x, **given).tolist()}
            for x, given in PAD
        ],
        "split_dataset": [{"arguments": given, "result": split(given)} for given in SPLIT],
    }
    lines = [f'"made_with": {json.dumps(table.pop("made_with"))}']
    joined = {name: ",\n".join(map(json.dumps, cases)) for name, cases in table.items()}
    lines += [f"{json.dumps(name)}: [\n{cases}\n]" for name, cases in joined.items()]
    (Path(__file__).parent / "keras.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
