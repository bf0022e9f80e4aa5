"""Compute precision.json with Keras 3 on JAX: loss scaling, dtype policies, and trainings in mixed precision.

Run ``python tests/tables/make_precision_tables.py`` where ``pip install keras jax torch`` has been done. As in
make_tables.py, whose tools are used: nothing here imports the framework under test.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import keras
import numpy as np
from make_tables import plain, write

INF, NAN = float("inf"), float("nan")

SCALED = [
    ("SGD", {"learning_rate": 0.5}),
    ("SGD", {"learning_rate": 0.5, "momentum": 0.75, "clipnorm": 0.5}),
    ("Adam", {"learning_rate": 0.125}),
    ("Adam", {"learning_rate": 0.125, "use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 3}),
    ("Adagrad", {"learning_rate": 0.125, "weight_decay": 0.25}),
    ("Lamb", {"learning_rate": 0.125}),
]

# The gradients of a step, divided by the scale, or what replaces an element of theirs.
SPOILT = [INF, None, None, NAN, None, None, None, None, -INF, None]


def scaled(name, settings):
    """Return what a loss-scaling optimizer makes of gradients, some of which are not finite."""
    random = np.random.default_rng(3)
    first = [random.integers(-8, 9, (2, 3)) / 8.0, random.integers(-8, 9, (3,)) / 8.0]
    variables = [keras.Variable(values, dtype="float32") for values in first]
    inner = getattr(keras.optimizers, name)(**settings)
    optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=64.0, dynamic_growth_steps=3)
    optimizer.build(variables)
    values, state = [v.value for v in variables], [v.value for v in optimizer.variables]
    places = {v.name: place for place, v in enumerate(optimizer.variables) if v.name != "iteration"}
    counted = [place for place, v in enumerate(optimizer.variables) if v.name == "iteration"][-1]  # the inner one's
    steps = []
    for spoilt in SPOILT:
        gradients = [random.integers(-64, 65, values.shape) * 1.0 for values in first]
        if spoilt is not None:
            gradients[1][1] = spoilt
        values, state = optimizer.stateless_apply(state, [np.asarray(g, "float32") for g in gradients], values)
        steps.append(
            {
                "gradients": [[repr(float(value)) for value in g.ravel()] for g in gradients],
                "variables": [plain(np.asarray(value)) for value in values],
                "scale": float(state[places["dynamic_scale"]]),
                "counter": int(state[places["step_counter"]]),
                "iterations": int(state[counted]),
            }
        )
    return {"class": name, "settings": settings, "first": [plain(values) for values in first], "steps": steps}


def policies():
    """Return the dtypes of each policy, and of layers within models."""
    names = ["float16", "float32", "float64", "mixed_float16", "mixed_bfloat16"]
    found = []
    for name in names:
        policy = keras.dtype_policies.DTypePolicy(name)
        layer = keras.layers.Dense(2, dtype=name)
        layer.build((None, 3))
        y = layer(np.ones((1, 3), "float32"))
        found.append(
            {
                "name": name,
                "compute_dtype": policy.compute_dtype,
                "variable_dtype": policy.variable_dtype,
                "layer": [layer.dtype, layer.compute_dtype, layer.variable_dtype],
                "kernel": str(layer.kernel.dtype),
                "y": str(y.dtype),
            }
        )
    return found


STACKS = {
    "plain": [("Dense", {"units": 8, "activation": "tanh"}), ("Dense", {"units": 2})],
    "wide end": [("Dense", {"units": 8, "activation": "relu"}), ("Dense", {"units": 2, "dtype": "float32"})],
    "normalized": [
        ("Dense", {"units": 8}),
        ("BatchNormalization", {}),
        ("Activation", {"activation": "tanh"}),
        ("LayerNormalization", {}),
        ("Dense", {"units": 2}),
    ],
    "penalized": [
        ("Dense", {"units": 8, "activation": "tanh", "activity_regularizer": "l2", "kernel_regularizer": "l2"}),
        ("Dense", {"units": 2, "kernel_regularizer": "l1"}),
    ],
}


def trained(stack, policy, optimizer):
    """Return the training of a small model."""
    random = np.random.default_rng(5)
    x, y = random.integers(-16, 17, (24, 3)) / 8.0, random.integers(-16, 17, (24, 2)) / 8.0
    keras.utils.set_random_seed(0)
    layers = [getattr(keras.layers, name)(**options) for name, options in STACKS[stack]]
    model = keras.Sequential([keras.Input((3,)), *layers])
    first = [random.integers(-8, 9, w.shape) / 8.0 if w.trainable else np.asarray(w.value) for w in model.weights]
    model.set_weights(first)
    model.compile(getattr(keras.optimizers, optimizer[0])(**optimizer[1]), "mse", metrics=["mae"])
    history = model.fit(x, y, batch_size=8, epochs=4, shuffle=False, verbose=0).history
    scale = getattr(model.optimizer, "dynamic_scale", None)
    return {
        "stack": STACKS[stack],
        "policy": policy,
        "optimizer": optimizer,
        "x": plain(x),
        "y": plain(y),
        "first": [plain(values) for values in first],
        "history": {name: [float(value) for value in values] for name, values in history.items()},
        "weights": [plain(np.asarray(values, "float64")) for values in model.get_weights()],
        "predictions": plain(np.asarray(model.predict(x, verbose=0), "float64")),
        "predicted": str(np.asarray(model.predict(x, verbose=0)).dtype),
        "scaled": type(model.optimizer).__name__ == "LossScaleOptimizer",
        "scale": None if scale is None else float(scale.value),
    }


def trainings():
    found = []
    for policy in ("mixed_float16", "float16"):
        keras.config.set_dtype_policy(policy)
        for stack in STACKS:
            for optimizer in (
                ("SGD", {"learning_rate": 0.0625, "momentum": 0.5}),
                ("Adam", {"learning_rate": 0.03125}),
            ):
                found.append(trained(stack, policy, optimizer))
    keras.config.set_dtype_policy("float32")
    return found


if __name__ == "__main__":
    tables = {"policies": policies(), "scaled": [scaled(*case) for case in SCALED], "trained": trainings()}
    write("precision.json", tables["trained"], policies=tables["policies"], scaled=tables["scaled"])
