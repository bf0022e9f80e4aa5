"""Compute layers.json, regularizers.json and constraints.json with Keras 3 on JAX.

Run ``python tests/tables/make_layer_tables.py`` where ``pip install keras jax torch`` has been done; names of tables
after it choose some. As in make_tables.py, whose tools are used: nothing here imports the framework under test, every
number comes from Keras or from JAX's gradient of it, and inputs lie on a binary grid.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import sys

import jax
import keras
import numpy as np
from make_tables import defaults_of, grid, in_both_dtypes, plain, write

# ---------------------------------------------------------------------------------------------------------- layers

# Class, arguments, shape of x, and whether in training (None: the layer does the same in both).
LAYERS = [
    *[
        ("BatchNormalization", kwargs, shape, training)
        for kwargs, shape in (
            ({}, (5, 3)),
            ({}, (4, 2, 3)),
            ({"axis": 1}, (4, 2, 3)),
            ({"momentum": 0.5, "epsilon": 0.125}, (5, 3)),
            ({"center": False}, (5, 3)),
            ({"scale": False}, (5, 3)),
            ({"center": False, "scale": False}, (2, 3, 2, 2)),
        )
        for training in (False, True)
    ],
    ("BatchNormalization", {"trainable": False}, (5, 3), True),
    ("LayerNormalization", {}, (5, 3), None),
    ("LayerNormalization", {}, (4, 2, 3), None),
    ("LayerNormalization", {"axis": 1}, (4, 2, 3), None),
    ("LayerNormalization", {"axis": [1, 2]}, (4, 2, 3), None),
    ("LayerNormalization", {"axis": [-1, -2]}, (4, 2, 3), None),
    ("LayerNormalization", {"epsilon": 0.125}, (5, 3), None),
    ("LayerNormalization", {"center": False}, (5, 3), None),
    ("LayerNormalization", {"scale": False}, (5, 3), None),
]

# Layers that read integers: class, arguments, values of x.
INDEXED = [
    ("Embedding", {"input_dim": 5, "output_dim": 3}, [[0, 4, 2], [1, 1, 0]]),
    ("Embedding", {"input_dim": 5, "output_dim": 2}, [3, 3, 3, 0]),
    ("Embedding", {"input_dim": 4, "output_dim": 2}, [[[0, 1], [2, 3]]]),
]


def first_weights(layer, rng):
    """Values on the grid for each weight; variances are above 0."""
    values = [grid(rng, variable.shape) for variable in layer.weights]
    return [
        abs(value) + 0.5 if "variance" in variable.name else value
        for variable, value in zip(layer.weights, values, strict=True)
    ]


def layer_case(name, kwargs, x, training, seed):
    """The output of one layer, its gradients for a given dy, and the weights that a training pass changes."""
    rng = np.random.default_rng(seed)
    case = {"class": name, "kwargs": kwargs, "training": training, "x": plain(x)}

    def compute(dtype):
        layer = getattr(keras.layers, name)(**kwargs)
        layer.build(x.shape)
        if "weights" not in case:
            case["weights"] = [plain(value) for value in first_weights(layer, rng)]
            case["names"] = [variable.name for variable in layer.weights]
        layer.set_weights([np.asarray(value, dtype) for value in case["weights"]])
        options = {} if training is None else {"training": training}
        trainable = [variable.value for variable in layer.trainable_variables]
        other = [variable.value for variable in layer.non_trainable_variables]
        floats = x.dtype.kind == "f"
        given = jax.numpy.asarray(x, dtype if floats else "int32")

        def run(trainable, value):
            return layer.stateless_call(trainable, other, value, **options)

        if floats:
            y, pull_back, new = jax.vjp(run, trainable, given, has_aux=True)
        else:
            y, pull_back, new = jax.vjp(lambda weights: run(weights, given), trainable, has_aux=True)
        if "dy" not in case:
            case["dy"] = plain(grid(rng, y.shape))
        gradients = pull_back(jax.numpy.asarray(case["dy"], dtype))
        result = {"y": plain(y), "gradients": {}}
        if floats:
            result["dx"] = plain(gradients[1])
        for variable, gradient in zip(layer.trainable_variables, gradients[0], strict=True):
            result["gradients"][variable.name] = plain(gradient)
        result["state"] = {
            variable.name: plain(value) for variable, value in zip(layer.non_trainable_variables, new, strict=True)
        }
        return result

    return {**case, **in_both_dtypes(compute)}


def make_layers():
    """layers.json"""
    rng = np.random.default_rng(11)
    cases = [
        layer_case(name, kwargs, grid(rng, shape), training, seed)
        for seed, (name, kwargs, shape, training) in enumerate(LAYERS)
    ]
    cases += [layer_case(name, kwargs, np.array(x), None, 1000 + n) for n, (name, kwargs, x) in enumerate(INDEXED)]
    names = dict.fromkeys(case["class"] for case in cases)
    write("layers.json", cases, defaults={name: defaults_of(getattr(keras.layers, name)) for name in names})


# ------------------------------------------------------------------------------------- regularizers and constraints

REGULARIZERS = [
    ("L1", {}, (3, 4)),
    ("L1", {"l1": 0.25}, (5,)),
    ("L2", {}, (3, 4)),
    ("L2", {"l2": 0.25}, (5,)),
    ("L1L2", {}, (3, 4)),
    ("L1L2", {"l1": 0.25}, (3, 4)),
    ("L1L2", {"l2": 0.25}, (3, 4)),
    ("L1L2", {"l1": 0.5, "l2": 0.25}, (3, 4)),
    ("OrthogonalRegularizer", {}, (3, 4)),
    ("OrthogonalRegularizer", {"mode": "columns"}, (3, 4)),
    ("OrthogonalRegularizer", {"factor": 0.5, "mode": "rows"}, (4, 2)),
]


def regularizer_case(name, kwargs, x):
    """The penalty on x, and its gradient."""

    def compute(dtype):
        regularizer = getattr(keras.regularizers, name)(**kwargs)
        penalty, gradient = jax.value_and_grad(regularizer)(jax.numpy.asarray(x, dtype))
        return {"penalty": plain(penalty), "gradient": plain(gradient)}

    return {"class": name, "kwargs": kwargs, "x": plain(x), **in_both_dtypes(compute)}


def make_regularizers():
    """regularizers.json"""
    rng = np.random.default_rng(12)
    cases = [regularizer_case(name, kwargs, grid(rng, shape)) for name, kwargs, shape in REGULARIZERS]
    names = dict.fromkeys(case["class"] for case in cases)
    write("regularizers.json", cases, defaults={name: defaults_of(getattr(keras.regularizers, name)) for name in names})


CONSTRAINTS = [
    ("MaxNorm", {}, (3, 4)),
    ("MaxNorm", {"max_value": 0.5}, (3, 4)),
    ("MaxNorm", {"max_value": 0.5, "axis": 1}, (3, 4)),
    ("MaxNorm", {"max_value": 0.5, "axis": [0, 1]}, (2, 3, 4)),
    ("NonNeg", {}, (3, 4)),
    ("UnitNorm", {}, (3, 4)),
    ("UnitNorm", {"axis": 1}, (3, 4)),
    ("MinMaxNorm", {}, (3, 4)),
    ("MinMaxNorm", {"min_value": 0.5, "max_value": 1.5, "rate": 0.75}, (3, 4)),
    ("MinMaxNorm", {"min_value": 2.0, "max_value": 3.0, "axis": 1}, (3, 4)),
]


def make_constraints():
    """constraints.json"""
    rng = np.random.default_rng(13)
    cases = []
    for name, kwargs, shape in CONSTRAINTS:
        x = grid(rng, shape)
        x[0] = np.abs(x[0])

        def compute(dtype, name=name, kwargs=kwargs, x=x):
            return {"y": plain(getattr(keras.constraints, name)(**kwargs)(jax.numpy.asarray(x, dtype)))}

        cases.append({"class": name, "kwargs": kwargs, "x": plain(x), **in_both_dtypes(compute)})
    names = dict.fromkeys(case["class"] for case in cases)
    write("constraints.json", cases, defaults={name: defaults_of(getattr(keras.constraints, name)) for name in names})


TABLES = {"layers": make_layers, "regularizers": make_regularizers, "constraints": make_constraints}

if __name__ == "__main__":
    for table in sys.argv[1:] or TABLES:
        TABLES[table]()
