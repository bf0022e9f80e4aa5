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
    ("GroupNormalization", {"groups": 2}, (3, 8), None),
    ("GroupNormalization", {"groups": 2}, (2, 3, 2, 4), None),
    ("GroupNormalization", {"groups": 2, "axis": 1}, (2, 4, 3), None),
    ("GroupNormalization", {"groups": -1, "center": False}, (2, 3, 4), None),
    ("GroupNormalization", {"groups": 1, "scale": False, "epsilon": 0.125}, (2, 3, 4), None),
    ("RMSNormalization", {}, (5, 3), None),
    ("RMSNormalization", {"epsilon": 0.125}, (4, 2, 3), None),
    ("RMSNormalization", {"axis": [-1, -2]}, (4, 2, 3), None),
    ("UnitNormalization", {}, (5, 3), None),
    ("UnitNormalization", {"axis": 1}, (4, 2, 3), None),
    ("UnitNormalization", {"axis": [1, 2]}, (4, 2, 3), None),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 4, "bias_axes": "c"}, (5, 3), None),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": [None, 4], "bias_axes": "d"}, (2, 3, 4), None),
    ("EinsumDense", {"equation": "...x,xy->...y", "output_shape": 4, "bias_axes": "y"}, (2, 3, 4), None),
    ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": [None, 2, 3], "bias_axes": "de"}, (2, 3, 4), None),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 4, "activation": "tanh"}, (5, 3), None),
    ("PReLU", {}, (5, 3), None),
    ("PReLU", {}, (4, 2, 3), None),
    ("PReLU", {"shared_axes": [1]}, (4, 2, 3), None),
    ("PReLU", {"shared_axes": [1, 2]}, (4, 2, 3, 2), None),
    ("Permute", {"dims": [2, 1]}, (4, 2, 3), None),
    ("Permute", {"dims": [3, 1, 2]}, (2, 2, 3, 4), None),
    ("RepeatVector", {"n": 3}, (4, 2), None),
    ("Identity", {}, (4, 2), None),
    ("Rescaling", {"scale": 0.25}, (4, 3), None),
    ("Rescaling", {"scale": 0.25, "offset": -1.0}, (4, 2, 3), None),
    ("Rescaling", {"scale": [0.5, 2.0, 4.0], "offset": [0.0, 1.0, -1.0]}, (4, 3), None),
    ("ZeroPadding1D", {}, (2, 3, 2), None),
    ("ZeroPadding1D", {"padding": 2}, (2, 3, 2), None),
    ("ZeroPadding1D", {"padding": [0, 3]}, (2, 3, 2), None),
    ("ZeroPadding1D", {"padding": [1, 0], "data_format": "channels_first"}, (2, 3, 2), None),
    ("ZeroPadding2D", {}, (2, 2, 3, 2), None),
    ("ZeroPadding2D", {"padding": 2}, (2, 2, 3, 1), None),
    ("ZeroPadding2D", {"padding": [0, 2]}, (2, 2, 3, 1), None),
    ("ZeroPadding2D", {"padding": [[1, 0], [0, 2]]}, (2, 2, 3, 1), None),
    ("ZeroPadding2D", {"padding": [[1, 0], [0, 2]], "data_format": "channels_first"}, (2, 2, 3, 1), None),
    ("ZeroPadding3D", {}, (1, 2, 1, 2, 2), None),
    ("ZeroPadding3D", {"padding": 2}, (1, 2, 1, 2, 1), None),
    ("ZeroPadding3D", {"padding": [0, 1, 2]}, (1, 2, 1, 2, 1), None),
    ("ZeroPadding3D", {"padding": [[0, 1], [1, 0], [2, 1]], "data_format": "channels_first"}, (1, 2, 1, 2, 1), None),
    ("Cropping1D", {}, (2, 5, 2), None),
    ("Cropping1D", {"cropping": 2}, (2, 5, 2), None),
    ("Cropping1D", {"cropping": [0, 3]}, (2, 5, 2), None),
    ("Cropping2D", {}, (2, 4, 3, 2), None),
    ("Cropping2D", {"cropping": 1}, (2, 4, 3, 2), None),
    ("Cropping2D", {"cropping": [1, 0]}, (2, 4, 3, 2), None),
    ("Cropping2D", {"cropping": [[1, 0], [0, 2]]}, (2, 4, 3, 2), None),
    ("Cropping2D", {"cropping": [[1, 0], [0, 2]], "data_format": "channels_first"}, (2, 1, 4, 3), None),
    ("Cropping3D", {}, (1, 3, 4, 3, 2), None),
    ("Cropping3D", {"cropping": [0, 1, 1]}, (1, 2, 4, 3, 1), None),
    ("Cropping3D", {"cropping": [[0, 1], [1, 0], [0, 0]], "data_format": "channels_first"}, (1, 2, 3, 3, 2), None),
    ("UpSampling1D", {}, (2, 3, 2), None),
    ("UpSampling1D", {"size": 3}, (2, 2, 2), None),
    ("UpSampling2D", {}, (2, 2, 3, 2), None),
    ("UpSampling2D", {"size": [1, 3]}, (2, 2, 3, 1), None),
    ("UpSampling2D", {"size": 3, "data_format": "channels_first"}, (2, 1, 2, 3), None),
    ("UpSampling2D", {"interpolation": "bilinear"}, (1, 3, 4, 2), None),
    (
        "UpSampling2D",
        {"size": [3, 2], "interpolation": "bilinear", "data_format": "channels_first"},
        (1, 2, 2, 3),
        None,
    ),
    ("UpSampling2D", {"interpolation": "bicubic"}, (1, 3, 4, 2), None),
    ("UpSampling2D", {"size": [3, 2], "interpolation": "lanczos3"}, (1, 3, 5, 1), None),
    ("UpSampling2D", {"interpolation": "lanczos5"}, (1, 2, 6, 1), None),
    ("UpSampling3D", {}, (1, 2, 1, 2, 2), None),
    ("UpSampling3D", {"size": [1, 2, 3], "data_format": "channels_first"}, (1, 2, 1, 2, 1), None),
]

# Layers of several inputs: class, arguments, and the shapes of x.
MERGING = [
    ("Add", {}, [(4, 3), (4, 3)]),
    ("Add", {}, [(4, 3), (4, 3), (4, 3)]),
    ("Add", {}, [(4, 2, 3), (4, 1, 3)]),
    ("Add", {}, [(4, 3), (4, 2, 3)]),
    ("Subtract", {}, [(4, 3), (4, 3)]),
    ("Subtract", {}, [(4, 3), (4, 1)]),
    ("Multiply", {}, [(4, 3), (4, 3), (4, 3)]),
    ("Multiply", {}, [(4, 2, 3), (4, 1, 3)]),
    ("Average", {}, [(4, 3), (4, 3), (4, 3)]),
    ("Maximum", {}, [(4, 3), (4, 3), (4, 3)]),
    ("Minimum", {}, [(4, 3), (4, 3)]),
    ("Minimum", {}, [(4, 2, 3), (4, 1, 3)]),
    ("Concatenate", {}, [(4, 3), (4, 2)]),
    ("Concatenate", {"axis": 1}, [(4, 2, 3), (4, 1, 3), (4, 3, 3)]),
    ("Dot", {"axes": 1}, [(4, 3), (4, 3)]),
    ("Dot", {"axes": -1}, [(4, 3), (4, 3)]),
    ("Dot", {"axes": 1, "normalize": True}, [(4, 3), (4, 3)]),
    ("Dot", {"axes": [2, 1]}, [(4, 2, 3), (4, 3, 5)]),
    ("Dot", {"axes": [1, 2]}, [(4, 3), (4, 5, 3)]),
    ("Dot", {"axes": 2}, [(4, 2, 3), (4, 5, 3)]),
    ("Dot", {"axes": 2, "normalize": True}, [(4, 2, 3), (4, 5, 3)]),
    ("Dot", {"axes": [3, 1]}, [(2, 2, 2, 3), (2, 3, 4)]),
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
    several = isinstance(x, list)
    case = {"class": name, "kwargs": kwargs, "training": training, "x": [plain(v) for v in x] if several else plain(x)}

    def compute(dtype):
        layer = getattr(keras.layers, name)(**kwargs)
        layer.build([v.shape for v in x] if several else x.shape)
        if "weights" not in case:
            case["weights"] = [plain(value) for value in first_weights(layer, rng)]
            case["names"] = [variable.name for variable in layer.weights]
        layer.set_weights([np.asarray(value, dtype) for value in case["weights"]])
        options = {} if training is None else {"training": training}
        trainable = [variable.value for variable in layer.trainable_variables]
        other = [variable.value for variable in layer.non_trainable_variables]
        floats = several or x.dtype.kind == "f"
        if several:
            given = [jax.numpy.asarray(v, dtype) for v in x]
        else:
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
            result["dx"] = [plain(v) for v in gradients[1]] if several else plain(gradients[1])
        for variable, gradient in zip(layer.trainable_variables, gradients[0], strict=True):
            result["gradients"][variable.name] = plain(gradient)
        result["state"] = {
            variable.name: plain(value) for variable, value in zip(layer.non_trainable_variables, new, strict=True)
        }
        return result

    results = in_both_dtypes(compute)  # which completes the case
    return {**case, **results}


def make_layers():
    """layers.json"""
    rng = np.random.default_rng(11)
    cases = [
        layer_case(name, kwargs, grid(rng, shape), training, seed)
        for seed, (name, kwargs, shape, training) in enumerate(LAYERS)
    ]
    cases += [layer_case(name, kwargs, np.array(x), None, 1000 + n) for n, (name, kwargs, x) in enumerate(INDEXED)]
    for n, (name, kwargs, shapes) in enumerate(MERGING):
        case = layer_case(name, kwargs, [grid(rng, shape) for shape in shapes], None, 2000 + n)
        cases.append({**case, "several": True})
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


# ------------------------------------------------------------------------------------------- training with penalties

TRAINED = {
    "weights": [
        ("Dense", {"units": 4, "activation": "tanh", "kernel_regularizer": "l2", "bias_regularizer": ("L1", 0.125)}),
        ("Dense", {"units": 2, "kernel_regularizer": ("L1L2", 0.0625, 0.125)}),
    ],
    "activities": [
        ("Dense", {"units": 4, "activation": "relu", "activity_regularizer": ("L2", 0.25)}),
        ("ActivityRegularization", {"l1": 0.125, "l2": 0.0625}),
        ("Dense", {"units": 2, "activity_regularizer": ("L1", 0.0625)}),
    ],
    "constraints": [
        (
            "Dense",
            {"units": 4, "activation": "tanh", "kernel_constraint": ("MaxNorm", 1.0), "bias_constraint": "non_neg"},
        ),
        ("Dense", {"units": 2, "kernel_constraint": ("UnitNorm", 1), "kernel_regularizer": ("L2", 0.125)}),
    ],
    "normalization": [
        ("Dense", {"units": 4}),
        ("BatchNormalization", {"gamma_regularizer": ("L2", 0.25), "beta_constraint": "non_neg"}),
        ("Activation", {"activation": "relu"}),
        ("LayerNormalization", {}),
        ("Dense", {"units": 2}),
    ],
    "a frozen layer": [
        ("Dense", {"units": 4, "kernel_regularizer": "l2", "trainable": False}),
        ("BatchNormalization", {"trainable": False}),
        ("Dense", {"units": 2, "kernel_regularizer": "l1"}),
    ],
}


def with_objects(kwargs):
    """Make regularizers and constraints of their names and arguments."""
    made = {}
    for key, value in kwargs.items():
        if isinstance(value, tuple):
            room = keras.constraints if "constraint" in key else keras.regularizers
            names = {"UnitNorm": ("axis",), "MaxNorm": ("max_value",)}.get(value[0])
            arguments = value[1:] if names is None else ()
            options = {} if names is None else dict(zip(names, value[1:], strict=True))
            value = getattr(room, value[0])(*arguments, **options)
        made[key] = value
    return made


def make_penalties():
    """penalties.json"""
    rng = np.random.default_rng(14)
    x, y = grid(rng, (10, 3)), grid(rng, (10, 2))
    cases = []
    for name, layers in TRAINED.items():
        case = {"name": name, "layers": layers}

        def compute(dtype, layers=layers, case=case):
            made = [getattr(keras.layers, kind)(**with_objects(kwargs)) for kind, kwargs in layers]
            model = keras.Sequential([keras.Input((3,)), *made])
            if "weights" not in case:
                values = [grid(rng, v.shape, 0.5) for v in model.weights]
                case["weights"] = [
                    plain(abs(value) + 0.5 if "variance" in v.name else value)
                    for v, value in zip(model.weights, values, strict=True)
                ]
            model.set_weights([np.asarray(value, dtype) for value in case["weights"]])
            model.compile(optimizer=keras.optimizers.SGD(0.0625, momentum=0.5), loss="mse")
            history = model.fit(x, y, batch_size=4, epochs=3, shuffle=False, verbose=0)
            return {
                "loss": [float(value) for value in history.history["loss"]],
                "final_weights": [plain(value) for value in model.get_weights()],
                "evaluate": float(model.evaluate(x, y, batch_size=4, verbose=0)),
            }

        results = in_both_dtypes(compute)
        cases.append({**case, **results})
    write("penalties.json", cases, x=plain(x), y=plain(y))


TABLES = {
    "layers": make_layers,
    "regularizers": make_regularizers,
    "constraints": make_constraints,
    "penalties": make_penalties,
}

if __name__ == "__main__":
    for table in sys.argv[1:] or TABLES:
        TABLES[table]()
