"""Compute masks.json with Keras 3 on JAX: layers that are given masks, and trainings in which masks reach the loss.

Run ``python tests/tables/make_mask_tables.py`` where ``pip install keras jax torch`` has been done. As in
make_tables.py, whose tools are used: nothing here imports the framework under test, and inputs lie on a binary grid.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import warnings

import jax
import keras
import numpy as np
from keras.src import backend
from keras.src.backend.common.stateless_scope import StatelessScope
from make_layer_tables import first_weights
from make_tables import grid, in_both_dtypes, plain, write

# Class, arguments, the shape of x (several: a list of shapes), which inputs have a mask, and whether in training.
LAYERS = [
    ("Masking", {}, [(3, 4, 2)], [False], None),
    ("Masking", {"mask_value": 0.5}, [(3, 4, 2)], [False], None),
    ("Dense", {"units": 2}, [(2, 3, 2)], [True], None),
    ("Dropout", {"rate": 0.5}, [(2, 3, 2)], [True], False),
    ("Activation", {"activation": "softmax"}, [(2, 3, 2)], [True], None),
    ("LayerNormalization", {}, [(2, 3, 2)], [True], None),
    ("BatchNormalization", {}, [(3, 4, 2)], [True], True),
    ("BatchNormalization", {}, [(3, 4, 2)], [True], False),
    ("BatchNormalization", {"scale": False, "momentum": 0.5}, [(5, 3)], [True], True),
    ("BatchNormalization", {"axis": 1, "center": False}, [(3, 4, 2)], [True], True),
    ("Reshape", {"target_shape": [6]}, [(2, 3, 2)], [True], None),
    ("RMSNormalization", {}, [(2, 3, 2)], [True], None),
    *[
        (name, {}, shapes, masked, None)
        for name in ("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
        for shapes, masked in (
            ([(2, 3, 2), (2, 3, 2)], [True, True]),
            ([(2, 3, 2), (2, 3, 2)], [True, False]),
            ([(2, 3, 2), (2, 3, 2)], [False, True]),
        )
    ],
    *[
        (name, {}, [(2, 3, 2)] * 3, [True, True, True], None)
        for name in ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate")
    ],
    ("Concatenate", {"axis": 1}, [(2, 3, 2), (2, 2, 2)], [True, True], None),
    ("Concatenate", {"axis": 1}, [(2, 3, 2), (2, 2, 2)], [False, True], None),
    ("Dot", {"axes": 2}, [(2, 3, 2), (2, 3, 2)], [True, True], None),
]


def layer_case(name, kwargs, shapes, masked, training, seed):
    """The output of a layer for inputs with masks, its mask, and the gradients for a given dy."""
    rng = np.random.default_rng(seed)
    xs = [grid(rng, shape) for shape in shapes]
    masks = [rng.uniform(size=x.shape[:-1]) < 0.6 if has else None for x, has in zip(xs, masked, strict=True)]
    if name == "Masking":
        xs[0][rng.uniform(size=xs[0].shape[:-1]) < 0.4] = kwargs.get("mask_value", 0.0)
        xs[0][0, 0, 0] = kwargs.get("mask_value", 0.0)
    several = len(xs) > 1
    case = {"class": name, "kwargs": kwargs, "training": training, "x": [plain(x) for x in xs]}
    case["mask"] = [None if mask is None else plain(mask) for mask in masks]

    def compute(dtype):
        layer = getattr(keras.layers, name)(**kwargs)
        layer.build([x.shape for x in xs] if several else xs[0].shape)
        if "weights" not in case:
            case["weights"] = [plain(value) for value in first_weights(layer, rng)]
        layer.set_weights([np.asarray(value, dtype) for value in case["weights"]])
        options = {} if training is None else {"training": training}
        trainable = [variable.value for variable in layer.trainable_variables]
        other = [variable.value for variable in layer.non_trainable_variables]
        found = {}

        def run(trainable, *given):
            for value, mask in zip(given, masks, strict=True):
                if mask is not None:
                    backend.set_keras_mask(value, jax.numpy.asarray(mask))
            state = zip([*layer.trainable_variables, *layer.non_trainable_variables], [*trainable, *other], strict=True)
            # `stateless_call` leaves out what happens to masks.
            with warnings.catch_warnings(), StatelessScope(state_mapping=state) as scope:
                warnings.simplefilter("ignore")  # where a mask ends
                y = layer(list(given) if several else given[0], **options)
            new = [scope.get_current_value(variable) for variable in layer.non_trainable_variables]
            new = [value if found is None else found for found, value in zip(new, other, strict=True)]
            mask = backend.get_keras_mask(y)
            return y, (new, mask)

        y, pull_back, (new, mask) = jax.vjp(run, trainable, *[jax.numpy.asarray(x, dtype) for x in xs], has_aux=True)
        if "dy" not in case:
            case["dy"] = plain(grid(rng, y.shape))
            case["output_mask"] = None if mask is None else plain(mask)
        gradients, *dx = pull_back(jax.numpy.asarray(case["dy"], dtype))
        found = {"y": plain(y), "dx": [plain(value) for value in dx]}
        named = zip(layer.trainable_variables, gradients, strict=True)
        found["gradients"] = {variable.name: plain(value) for variable, value in named}
        kept = zip(layer.non_trainable_variables, new, strict=True)
        found["state"] = {variable.name: plain(value) for variable, value in kept if "seed" not in variable.path}
        return found

    results = in_both_dtypes(compute)  # which completes the case
    return {**case, **results}


def softmax_case(shape, mask_shape, axis, seed):
    """Softmax with a mask that it is given."""
    rng = np.random.default_rng(seed)
    x, mask, dy = grid(rng, shape), rng.uniform(size=mask_shape) < 0.6, grid(rng, shape)

    def compute(dtype):
        layer = keras.layers.Softmax(axis=axis)
        y, pull_back = jax.vjp(lambda x: layer(x, mask=mask), jax.numpy.asarray(x, dtype))
        return {"y": plain(y), "dx": plain(pull_back(jax.numpy.asarray(dy, dtype))[0])}

    given = {"axis": axis, "x": plain(x), "mask": plain(mask), "dy": plain(dy)}
    return {**given, **in_both_dtypes(compute)}


# Layers, loss, metrics, weighted metrics, and the shape of sample weights: Keras takes a column beside a mask of steps.
EMBEDDED = [("Embedding", {"input_dim": 5, "output_dim": 3, "mask_zero": True}), ("Dense", {"units": 2})]
MASKED = [
    ("Masking", {"mask_value": 0.5}),
    ("Dense", {"units": 3, "activation": "tanh"}),
    ("BatchNormalization", {}),
    ("Dense", {"units": 2}),
]
METRICS = ["mae", "RootMeanSquaredError"]
TRAINED = [
    ("embedding", EMBEDDED, "mse", METRICS, ["mse", "RootMeanSquaredError"], None),
    ("embedding", EMBEDDED, "mse", METRICS, ["mse"], (6, 1)),
    ("embedding", EMBEDDED, "mse", METRICS, ["mse"], (6, 4)),
    ("masking", MASKED, "mae", METRICS, [], None),
    ("masking", MASKED, "huber", METRICS, ["mse"], (6, 1)),
    ("masking", MASKED, ("MeanSquaredError", "sum"), ["mae"], ["mse"], (6, 1)),
    ("masking", MASKED, ("MeanSquaredError", "mean_with_sample_weight"), ["mae"], ["mse"], (6, 4)),
    (
        "masking",
        [
            *MASKED[:2],
            ("Reshape", {"target_shape": [12]}),
            ("Reshape", {"target_shape": [4, 3]}),
            ("Dense", {"units": 2}),
        ],
        "mse",
        [],
        [],
        None,
    ),
]


def training_case(kind, layers, loss, metrics, weighted, weight_shape, seed):
    """Three epochs, and an evaluation."""
    rng = np.random.default_rng(seed)
    if kind == "embedding":
        x = rng.integers(0, 5, (6, 4))
        x[1] = [3, 0, 0, 0]
    else:
        x = grid(rng, (6, 4, 2))
        x[rng.uniform(size=(6, 4)) < 0.3] = 0.5
    y = grid(rng, (6, 4, 2))
    weight = None if weight_shape is None else np.round(rng.uniform(0.25, 2.0, weight_shape) * 64) / 64
    case = {"layers": layers, "loss": loss, "metrics": metrics, "weighted_metrics": weighted}
    case |= {"x": plain(x), "y": plain(y), "sample_weight": None if weight is None else plain(weight)}

    def compute(dtype):
        model = keras.Sequential([keras.Input(x.shape[1:]), *(getattr(keras.layers, n)(**k) for n, k in layers)])
        if "weights" not in case:
            values = [grid(rng, v.shape, 0.5) for v in model.weights]
            pairs = zip(model.weights, values, strict=True)
            case["weights"] = [plain(abs(value) + 0.5 if "variance" in v.name else value) for v, value in pairs]
        model.set_weights([np.asarray(value, dtype) for value in case["weights"]])
        made = loss if isinstance(loss, str) else getattr(keras.losses, loss[0])(reduction=loss[1])
        model.compile(
            keras.optimizers.SGD(0.0625, momentum=0.5), made, metrics=list(metrics), weighted_metrics=list(weighted)
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where a mask ends
            options = {"batch_size": 4, "sample_weight": weight, "verbose": 0}
            history = model.fit(x, y, epochs=3, shuffle=False, **options).history
            return {
                # On JAX the output loses its mask between the gradient and the metrics of `fit`; `evaluate` has it.
                "loss_of_epochs": [float(value) for value in history["loss"]],
                "final_weights": [plain(value) for value in model.get_weights()],
                "evaluate": {k: float(v) for k, v in model.evaluate(x, y, return_dict=True, **options).items()},
            }

    results = in_both_dtypes(compute)  # which completes the case
    return {**case, **results}


SUPPORTING = """
Activation ActivityRegularization Add AlphaDropout Average BatchNormalization CategoryEncoding Concatenate
Cropping1D Cropping2D Cropping3D Dense Discretization Dot Dropout ELU EinsumDense Embedding Flatten
GaussianDropout GaussianNoise GroupNormalization Identity Lambda LayerNormalization LeakyReLU Masking Maximum
Minimum Multiply Normalization PReLU Permute RMSNormalization ReLU RepeatVector Rescaling Reshape Softmax
SpatialDropout1D SpatialDropout2D SpatialDropout3D Subtract UnitNormalization UpSampling1D UpSampling2D
UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
"""

REQUIRED = {
    "Activation": ("relu",),
    "Discretization": ([0.0],),
    "Dot": (1,),
    "EinsumDense": ("ab,bc->ac", 2),
    "Embedding": (2, 2),
    "Lambda": (abs,),
    "Permute": ((1,),),
    "Reshape": ((1,),),
    **dict.fromkeys(
        (
            "AlphaDropout",
            "Dropout",
            "GaussianDropout",
            "GaussianNoise",
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
        ),
        (0.5,),
    ),
    **dict.fromkeys(("CategoryEncoding", "Dense", "RepeatVector", "Rescaling"), (1,)),
}

if __name__ == "__main__":
    cases = [layer_case(*row, seed) for seed, row in enumerate(LAYERS)]
    rows = [((3, 4), (3, 4), -1), ((2, 3, 4), (2, 3, 4), 1), ((2, 3, 4), (2, 1, 4), -1), ((3, 4), (3, 4), [0, 1])]
    softmax = [softmax_case(*row, 100 + seed) for seed, row in enumerate(rows)]
    trained = [training_case(*row, 200 + seed) for seed, row in enumerate(TRAINED)]
    supporting = {
        name: getattr(keras.layers, name)(*REQUIRED.get(name, ())).supports_masking for name in SUPPORTING.split()
    }
    write("masks.json", cases, supporting=supporting, softmax=softmax, trained=trained)
