"""Compute the reference tables in this folder with Keras 3 on JAX, cross-checked with PyTorch.

Run ``python tests/tables/make_tables.py`` where ``pip install keras jax torch`` has been done.  Nothing here imports
the framework under test: every expected number comes from Keras (or JAX's gradient of it).  PyTorch, an independent
implementation, only checks the float64 numbers wherever it has the same function; a disagreement stops the script.

Inputs lie on a binary grid (multiples of 1/1024 or so), so that float32 and float64 runs see exactly the same inputs.

Outside TensorFlow, Keras's type promotion turns float64 into float32 inside many operations (mean and tanh among
them), whatever floatx is.  For the float64 numbers `use_dtype` sets that one rule to what it is under TensorFlow; the
float32 numbers are Keras's as it stands.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import inspect
import json
import math
from pathlib import Path
from unittest import mock

import jax
import keras
import numpy as np
import torch
import torch.nn.functional as F
from keras.src.backend.common import dtypes
from keras.src.initializers import random_initializers

HERE = Path(__file__).resolve().parent
REDUCTIONS = ("sum", "sum_over_batch_size", "mean", "mean_with_sample_weight", "none")
TORCH_TOLERANCE = 1e-12


# ---------------------------------------------------------------------------------------------------------- helpers


def use_dtype(dtype):
    """Make JAX and Keras compute in `dtype`: all of it, and nothing wider."""
    jax.config.update("jax_enable_x64", dtype == "float64")
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = dtype  # "float32" is Keras's own value
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)  # set_floatx leaves the policy, once read, as it was


def in_both_dtypes(compute):
    """Call compute(dtype) for both dtypes: float64 results at the top, float32 results under "float32"."""
    results = {}
    for dtype in ("float64", "float32"):
        use_dtype(dtype)
        results[dtype] = compute(dtype)
    return {**results["float64"], "float32": results["float32"]}


def plain(value):
    """Turn arrays into lists of Python numbers (a float32 becomes the equal double, so that nothing is lost)."""
    return np.asarray(value).tolist()


def grid(rng, shape, scale=1.0, steps=1024):
    """Draw normal numbers rounded to multiples of 1/steps, never exactly 0."""
    units = np.round(rng.normal(size=shape) * scale * steps)
    return np.where(units == 0, 1, units) / steps


def probabilities(rng, rows, classes, steps=256):
    """Draw rows of positive multiples of 1/steps which sum to exactly 1."""
    shares = rng.dirichlet(np.ones(classes), size=rows)
    return np.stack([rng.multinomial(steps - classes, share) + 1 for share in shares]) / steps


def defaults_of(function):
    """The keyword defaults in a signature."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}


def assert_close(ours, theirs, what):
    """Stop unless Keras and PyTorch agree (relative to 1 or to the size of the number)."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    error = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    if ours.shape != theirs.shape or error.max() > TORCH_TOLERANCE:
        raise AssertionError(f"Keras and PyTorch disagree on {what}: {error.max() if error.size else 'shapes'}")


def write(name, cases, **extra):
    """Write one table, one case a line."""
    made_with = {
        "keras": keras.__version__,
        "jax": jax.__version__,
        "torch": torch.__version__.partition("+")[0],
        "numpy": np.__version__,
    }
    head = "".join(f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)},\n" for k, v in extra.items())
    lines = ",\n".join(json.dumps(case, allow_nan=False) for case in cases)
    text = f'{{"made_with": {json.dumps(made_with)},\n{head}"cases": [\n{lines}\n]}}\n'
    (HERE / name).write_text(text)
    print(f"{name}: {len(cases)} cases, {len(text) / 1024:.0f} KiB")


# ------------------------------------------------------------------------------------------------------ activations

ELEMENTWISE = [
    ("linear", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("relu", {}),
    ("relu", {"negative_slope": 0.1}),
    ("relu", {"max_value": 2.0}),
    ("relu", {"max_value": 6.0}),
    ("relu", {"threshold": 0.5}),
    ("relu", {"negative_slope": 0.1, "max_value": 2.0, "threshold": 0.5}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.3}),
    ("elu", {}),
    ("elu", {"alpha": 1.0}),
    ("elu", {"alpha": 0.5}),
    ("selu", {}),
    ("gelu", {}),
    ("gelu", {"approximate": False}),
    ("gelu", {"approximate": True}),
    ("silu", {}),
    ("softplus", {}),
    ("softsign", {}),
    ("hard_sigmoid", {}),
    ("exponential", {}),
]

TORCH_ACTIVATIONS = {
    "linear": lambda x: x,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "relu": lambda x, negative_slope=0.0: F.leaky_relu(x, negative_slope),
    "leaky_relu": lambda x, negative_slope=0.2: F.leaky_relu(x, negative_slope),
    "elu": F.elu,
    "selu": F.selu,
    "gelu": lambda x, approximate=False: F.gelu(x, approximate="tanh" if approximate else "none"),
    "silu": F.silu,
    "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    "softsign": F.softsign,
    "hard_sigmoid": lambda x: F.relu6(x + 3) / 6,  # the gradient of F.hardsigmoid holds a float32 1/6
    "exponential": torch.exp,
    "softmax": lambda x, axis=-1: F.softmax(x, axis),
    "log_softmax": lambda x, axis=-1: F.log_softmax(x, axis),
}


def activation_and_gradient(name, kwargs, x, dy):
    """y and dx of one activation, float64 and float32; float64 is checked with PyTorch."""
    function = keras.activations.get(name)

    def compute(dtype):
        y, pull_back = jax.vjp(lambda v: function(v, **kwargs), jax.numpy.asarray(x, dtype))
        (dx,) = pull_back(jax.numpy.asarray(dy, dtype))
        return {"y": plain(y), "dx": plain(dx)}

    result = in_both_dtypes(compute)
    if not {"max_value", "threshold"} & set(kwargs):
        leaf = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        y = TORCH_ACTIVATIONS[name](leaf, **kwargs)
        y.backward(torch.tensor(dy, dtype=torch.float64))
        assert_close(result["y"], y.detach(), f"{name} {kwargs}")
        assert_close(result["dx"], leaf.grad, f"the gradient of {name} {kwargs}")
    return result


def activation_only(name, kwargs, x):
    """y of one activation, float64 and float32."""
    function = keras.activations.get(name)
    return in_both_dtypes(lambda dtype: {"y": plain(function(jax.numpy.asarray(x, dtype), **kwargs))})


def make_activations():
    """activations.json"""
    rng = np.random.default_rng(1)
    # No kink of any function here: not 0, not the 0.5, 2, 6 of the relus, not the -3, 3 of hard_sigmoid.
    x = np.array(
        [
            [-50.0, -20.0, -8.5, -4.25, -2.75, -1.5],
            [-1.0, -0.75, -0.3125, -(2.0**-10), -(2.0**-20), -(2.0**-30)],
            [2.0**-30, 2.0**-20, 2.0**-10, 0.3125, 0.75, 1.0],
            [1.5, 2.75, 4.25, 8.5, 20.0, 50.0],
        ]
    )
    dy = grid(rng, x.shape)
    kinks = np.array([-6.0, -3.0, -2.0, -0.5, 0.0, 0.5, 2.0, 3.0, 6.0])
    cases = []
    for name, kwargs in ELEMENTWISE:
        case = {"group": "values", "name": name, "kwargs": kwargs, "x": plain(x), "dy": plain(dy)}
        cases.append({**case, **activation_and_gradient(name, kwargs, x, dy)})
    for name, kwargs in ELEMENTWISE:
        case = {"group": "kinks", "name": name, "kwargs": kwargs, "x": plain(kinks)}
        cases.append({**case, **activation_only(name, kwargs, kinks)})
    for name in ("softmax", "log_softmax"):
        for shape, kwargs in (((4, 5), {}), ((2, 3, 4), {"axis": -1}), ((2, 3, 4), {"axis": 1})):
            x, dy = grid(rng, shape, scale=3.0), grid(rng, shape)
            case = {"group": "values", "name": name, "kwargs": kwargs, "x": plain(x), "dy": plain(dy)}
            cases.append({**case, **activation_and_gradient(name, kwargs, x, dy)})
    # Extreme inputs; upstream gradient all ones, so that "dx" is the derivative itself.
    points = np.array([-1e4, -100.0, -30.0, -1.0, 0.125, 1.0, 30.0, 100.0, 1e4])
    for name, kwargs in ELEMENTWISE:
        if name in ("linear", "relu", "leaky_relu", "exponential"):
            continue
        case = {"group": "stability", "name": name, "kwargs": kwargs, "x": plain(points), "dy": [1.0] * points.size}
        cases.append({**case, **activation_and_gradient(name, kwargs, points, np.ones_like(points))})
    rows = np.array(
        [
            [1e4, -1e4, 0.0],
            [100.0, -100.0, 30.0],
            [30.0, -30.0, 0.0],
            [1e4, 1e4, 1e4],
            [-1e4, -1e4, -1e4],
            [90.0, -105.0, 0.0],
        ]
    )
    upstream = grid(rng, rows.shape)
    for name in ("softmax", "log_softmax"):
        case = {"group": "stability", "name": name, "kwargs": {}, "x": plain(rows), "dy": plain(upstream)}
        cases.append({**case, **activation_and_gradient(name, {}, rows, upstream)})
    names = dict.fromkeys([name for name, _ in ELEMENTWISE] + ["softmax", "log_softmax"])
    layers = ("ReLU", "LeakyReLU", "ELU", "Softmax")
    write(
        "activations.json",
        cases,
        function_defaults={name: defaults_of(keras.activations.get(name)) for name in names},
        layer_defaults={name: defaults_of(getattr(keras.layers, name)) for name in layers},
    )


# ----------------------------------------------------------------------------------------------------------- losses


def smooth(y_true, label_smoothing, classes):
    return y_true * (1 - label_smoothing) + label_smoothing / classes


def torch_loss(name, y_true, y_pred, from_logits=False, label_smoothing=0.0, delta=1.0, ignore_class=None):
    """The mean loss of PyTorch; y_pred is a tensor, y_true an array.  PyTorch keeps the classes on axis 1."""
    target = torch.tensor(y_true)
    epsilon = keras.config.epsilon()
    if name == "mean_squared_error":
        return F.mse_loss(y_pred, target)
    if name == "mean_absolute_error":
        return F.l1_loss(y_pred, target)
    if name == "huber":
        return F.huber_loss(y_pred, target, delta=delta)
    if name == "binary_crossentropy":
        target = smooth(target, label_smoothing, 2)
        if from_logits:
            return F.binary_cross_entropy_with_logits(y_pred, target)
        return F.binary_cross_entropy(y_pred.clamp(epsilon, 1 - epsilon), target)
    ignore_index = -100 if ignore_class is None else ignore_class
    if from_logits:
        logits = torch.movedim(y_pred, -1, 1)
        if name == "categorical_crossentropy":
            return F.cross_entropy(logits, torch.movedim(target, -1, 1), label_smoothing=label_smoothing)
        return F.cross_entropy(logits, target, ignore_index=ignore_index)
    log_chances = torch.log((y_pred / y_pred.sum(-1, keepdim=True)).clamp(epsilon, 1 - epsilon))
    if name == "categorical_crossentropy":
        return -(smooth(target, label_smoothing, target.shape[-1]) * log_chances).sum(-1).mean()
    return F.nll_loss(torch.movedim(log_chances, -1, 1), target, ignore_index=ignore_index)


def loss_case(group, class_name, function, kwargs, y_true, y_pred, sample_weight=None):
    """Values, reductions and gradients of one loss.

    "gradient" is that of the class with its default reduction, "sum_over_batch_size"; so is "weighted_gradient", with
    the sample weights.
    """
    loss_class = getattr(keras.losses, class_name)

    def compute(dtype):
        prediction = jax.numpy.asarray(y_pred, dtype)

        def loss(predicted, reduction="sum_over_batch_size", weights=None):
            if weights is not None:
                weights = np.asarray(weights, dtype)
            return loss_class(**kwargs, reduction=reduction)(y_true, predicted, sample_weight=weights)

        result = {}
        if group != "shapes":
            labels = y_true if y_true.dtype.kind == "i" else y_true.astype(dtype)
            result["values"] = plain(getattr(keras.losses, function)(labels, prediction, **kwargs))
        result["reductions"] = {r: plain(loss(prediction, r)) for r in REDUCTIONS}
        result["gradient"] = plain(jax.grad(loss)(prediction))
        if sample_weight is not None:
            result["weighted"] = {r: plain(loss(prediction, r, sample_weight)) for r in REDUCTIONS}
            result["weighted_gradient"] = plain(jax.grad(lambda p: loss(p, weights=sample_weight))(prediction))
        return result

    case = {
        "group": group,
        "class": class_name,
        "function": function,
        "kwargs": kwargs,
        "y_true": plain(y_true),
        "y_pred": plain(y_pred),
    }
    if sample_weight is not None:
        case["sample_weight"] = plain(sample_weight)
    case.update(in_both_dtypes(compute))
    if group == "values":
        leaf = torch.tensor(y_pred, requires_grad=True)
        value = torch_loss(function, y_true, leaf, **kwargs)
        value.backward()
        assert_close(case["reductions"]["sum_over_batch_size"], value.detach(), f"{function} {kwargs}")
        assert_close(case["gradient"], leaf.grad, f"the gradient of {function} {kwargs}")
    return case


def make_losses():
    """losses.json"""
    rng = np.random.default_rng(2)
    weights = {2: np.array([0.5, 2.0, 0.0, 1.25]), 3: np.array([[0.5, 2.0], [0.0, 1.25], [3.0, 1.0]])}
    cases = []

    def add(class_name, function, kwargs, y_true, y_pred, group="values"):
        cases.append(loss_case(group, class_name, function, kwargs, y_true, y_pred, weights[np.ndim(y_pred)]))

    regression = [
        ("MeanSquaredError", "mean_squared_error", {}),
        ("MeanAbsoluteError", "mean_absolute_error", {}),
        ("Huber", "huber", {}),
        ("Huber", "huber", {"delta": 0.3}),
    ]
    binary = ("BinaryCrossentropy", "binary_crossentropy")
    categorical = ("CategoricalCrossentropy", "categorical_crossentropy")
    sparse = ("SparseCategoricalCrossentropy", "sparse_categorical_crossentropy")
    crossentropy_options = [
        {"from_logits": from_logits, "label_smoothing": smoothing}
        for from_logits in (False, True)
        for smoothing in (0.0, 0.1)
    ]

    for shape in ((4, 3), (3, 2, 4)):
        y_true, y_pred = grid(rng, shape), grid(rng, shape)
        for loss in regression:
            add(*loss, y_true, y_pred)

        y_true = rng.integers(0, 2, shape).astype("float64")
        logits, chances = grid(rng, shape, scale=2.0), rng.integers(1, 256, shape) / 256
        for kwargs in crossentropy_options:
            add(*binary, kwargs, y_true, logits if kwargs["from_logits"] else chances)

        rows, classes = math.prod(shape[:-1]), shape[-1]
        labels = rng.integers(0, classes, shape[:-1])
        y_true = np.eye(classes)[labels]
        soft = probabilities(rng, rows, classes).reshape(shape)
        logits = grid(rng, shape, scale=2.0)
        chances = probabilities(rng, rows, classes).reshape(shape)
        unnormalised = rng.integers(1, 512, shape) / 256
        for kwargs in crossentropy_options:
            add(*categorical, kwargs, y_true, logits if kwargs["from_logits"] else chances)
            add(*categorical, kwargs, soft, logits if kwargs["from_logits"] else unnormalised)

        ignoring = labels.copy()
        ignoring.reshape(-1)[1] = -1
        zero_ignoring = np.where(ignoring == -1, 0, ignoring)
        for from_logits in (False, True):
            y_pred = logits if from_logits else chances
            add(*sparse, {"from_logits": from_logits}, labels, y_pred)
            add(*sparse, {"from_logits": from_logits, "ignore_class": -1}, ignoring, y_pred)
            add(*sparse, {"from_logits": from_logits, "ignore_class": 0}, zero_ignoring, y_pred)
        add(*sparse, {"from_logits": False}, labels, unnormalised)

    # One of y_true and y_pred has a last axis of length 1 more than the other: the class makes the ranks equal.
    y_true, y_pred = grid(rng, (4,)), grid(rng, (4, 1))
    for loss in regression:
        add(*loss, y_true, y_pred, group="shapes")
    y_true = np.array([0.0, 1.0, 1.0, 0.0])
    add(*binary, {"from_logits": False}, y_true, np.array([[0.25], [0.75], [0.125], [0.5]]), group="shapes")
    add(*binary, {"from_logits": True}, y_true, y_pred, group="shapes")
    labels = np.array([[2], [0], [1], [2]])
    add(*sparse, {"from_logits": False}, labels, probabilities(rng, 4, 3), group="shapes")
    add(*sparse, {"from_logits": True}, labels, grid(rng, (4, 3)), group="shapes")

    # Saturated predictions: logits of +-1e4, and probabilities of exactly 0 and 1.
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, 1e4, 100.0], [1e4, 1e4, -100.0], [30.0, -30.0, 90.0]])
    y_true = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    labels = np.array([0, 2, 1, 1])
    add(*binary, {"from_logits": True}, y_true, logits, group="stability")
    add(*categorical, {"from_logits": True}, np.eye(3)[labels], logits, group="stability")
    add(*sparse, {"from_logits": True}, labels, logits, group="stability")
    chances = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    add(*binary, {"from_logits": False}, y_true, chances, group="stability")
    add(*categorical, {"from_logits": False}, np.eye(3)[labels], chances, group="stability")
    add(*sparse, {"from_logits": False}, labels, chances, group="stability")

    write(
        "losses.json",
        cases,
        class_defaults={name: defaults_of(getattr(keras.losses, name)) for name in sorted({c["class"] for c in cases})},
        epsilon=keras.config.epsilon(),
    )


# ------------------------------------------------------------------------------------------------------- optimizers

OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.01}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.1}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "clipnorm": 0.5, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "amsgrad": True}),
    ("Adam", {"weight_decay": 0.01}),
    ("Adam", {"clipnorm": 0.5}),
    ("Adam", {"clipvalue": 0.1}),
    ("Adam", {"global_clipnorm": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 0.01, "rho": 0.8}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"learning_rate": 0.01, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-5, "centered": True}),
    ("RMSprop", {"weight_decay": 0.01}),
    ("RMSprop", {"clipnorm": 0.5}),
]
CHANGED_LEARNING_RATE = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"learning_rate": 0.01}),
    ("RMSprop", {"learning_rate": 0.01, "momentum": 0.9}),
]


def check_with_torch(case):
    """PyTorch must go the same way, where it has the same rule: SGD, Adam and AdamW without clipping.

    PyTorch's Adam adds epsilon after the bias correction, Keras's before; passing it epsilon/sqrt(1 - beta_2^t) makes
    the two the same.
    """
    options = dict(case["kwargs"])
    if case["class"] == "SGD" and case["change"] is None and "weight_decay" not in options:
        names = {"learning_rate": "lr", "momentum": "momentum", "nesterov": "nesterov"}
        settings, rule = {"lr": 0.01}, torch.optim.SGD
    elif case["class"] == "Adam":
        names = {"learning_rate": "lr", "amsgrad": "amsgrad", "weight_decay": "weight_decay"}
        settings, rule = {"lr": 0.001, "weight_decay": 0.0}, torch.optim.AdamW
        settings["betas"] = (options.pop("beta_1", 0.9), options.pop("beta_2", 0.999))
        epsilon = options.pop("epsilon", 1e-7)
    else:
        return
    if not set(options) <= set(names):
        return
    settings.update({names[key]: value for key, value in options.items()})
    variables = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in case["initial"]]
    optimizer = rule(variables, **settings)
    (group,) = optimizer.param_groups
    for number, (gradients, expected) in enumerate(zip(case["gradients"], case["steps"], strict=True), start=1):
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = torch.tensor(gradient, dtype=torch.float64)
        if case["class"] == "Adam":
            group["eps"] = epsilon / math.sqrt(1 - group["betas"][1] ** number)
        optimizer.step()
        for variable, value in zip(variables, expected, strict=True):
            assert_close(value, variable.detach(), f"{case['class']} {case['kwargs']}")
        if case["change"] and number == case["change"]["after_step"]:
            group["lr"] = case["change"]["learning_rate"]


def optimizer_case(name, kwargs, change, initial, gradients):
    """The variables after each step of one optimizer."""

    def compute(dtype):
        variables = [keras.Variable(value, dtype=dtype, name=f"v{i}") for i, value in enumerate(initial)]
        optimizer = getattr(keras.optimizers, name)(**kwargs)
        steps = []
        for number, arrays in enumerate(gradients, start=1):
            optimizer.apply([jax.numpy.asarray(g, dtype) for g in arrays], variables)
            steps.append([plain(v.numpy()) for v in variables])
            if change and number == change["after_step"]:
                optimizer.learning_rate = change["learning_rate"]
        return {"steps": steps}

    case = {
        "class": name,
        "kwargs": kwargs,
        "change": change,
        "initial": [plain(v) for v in initial],
        "gradients": [[plain(g) for g in arrays] for arrays in gradients],
        **in_both_dtypes(compute),
    }
    check_with_torch(case)
    return case


def make_optimizers():
    """optimizers.json"""
    rng = np.random.default_rng(3)
    shapes = [(3, 2), (2,)]
    initial = [grid(rng, shape) for shape in shapes]
    gradients = [[grid(rng, shape) for shape in shapes] for _ in range(6)]
    gradients[2][1][:] = 0.0  # a step without gradient for one variable
    gradients[4] = [g / 256 for g in gradients[4]]  # too small to be clipped
    change = {"after_step": 3, "learning_rate": 0.025}
    cases = [optimizer_case(name, kwargs, None, initial, gradients) for name, kwargs in OPTIMIZERS]
    cases += [optimizer_case(name, kwargs, change, initial, gradients) for name, kwargs in CHANGED_LEARNING_RATE]
    names = ("SGD", "Adam", "RMSprop")
    write(
        "optimizers.json",
        cases,
        class_defaults={name: defaults_of(getattr(keras.optimizers, name)) for name in names},
    )


# ---------------------------------------------------------------------------------------------------------- metrics


def metric_case(class_name, kwargs, batches):
    """Results of one metric after each batch; a batch is the dictionary of update_state's arguments."""

    def compute(dtype):
        metric = getattr(keras.metrics, class_name)(**kwargs)
        before = plain(metric.result())
        results = []
        for batch in batches:
            arrays = {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in batch.items()}
            metric.update_state(**arrays)
            results.append(plain(metric.result()))
        metric.reset_state()
        return {"result_before": before, "results": results, "result_after_reset": plain(metric.result())}

    listed = [{k: plain(v) for k, v in batch.items()} for batch in batches]
    return {"class": class_name, "kwargs": kwargs, "batches": listed, **in_both_dtypes(compute)}


def accuracy_string():
    """Which metric class "accuracy" stands for, by the shapes of y_true and y_pred."""
    rows = []
    for y_true, y_pred in [
        ((4,), (4, 1)),
        ((4, 1), (4, 1)),
        ((4,), (4, 3)),
        ((4, 1), (4, 3)),
        ((4, 3), (4, 3)),
        ((4, 2), (4, 2)),
        ((4, 5), (4, 5, 1)),
        ((4, 5, 1), (4, 5, 1)),
        ((4, 5), (4, 5, 3)),
        ((4, 5, 1), (4, 5, 3)),
        ((4, 5, 3), (4, 5, 3)),
    ]:
        row = {"y_true_shape": y_true, "y_pred_shape": y_pred}
        for text in ("accuracy", "acc"):
            model = keras.Sequential([keras.Input(y_pred[1:]), keras.layers.Activation("linear")])
            model.compile(loss=None, metrics=[text])
            model.evaluate(np.zeros(y_pred), np.zeros(y_true), verbose=0)
            (metric,) = model._compile_metrics.metrics
            row[text] = {"class": type(metric).__name__, "name": metric.name}
        rows.append(row)
    return rows


def metric_names():
    """Under which key fit() reports a metric, by how it was given to compile()."""
    rows = []
    for given in [
        "mse",
        "mae",
        "mean_squared_error",
        "mean_absolute_error",
        "MeanSquaredError",
        "binary_accuracy",
        keras.metrics.MeanSquaredError,
        keras.metrics.MeanSquaredError(),
        keras.metrics.MeanAbsoluteError(name="mine"),
        keras.losses.mean_squared_error,
    ]:
        if isinstance(given, str):
            text = repr(given)
        elif isinstance(given, type):
            text = given.__name__
        elif isinstance(given, keras.metrics.Metric):
            text = f"{type(given).__name__}({'name=' + repr(given.name) if given.name == 'mine' else ''})"
        else:
            text = f"function {given.__name__}"
        model = keras.Sequential([keras.Input((1,)), keras.layers.Activation("linear")])
        model.compile(loss="mse", metrics=[given])
        logs = model.evaluate(np.zeros((2, 1)), np.zeros((2, 1)), verbose=0, return_dict=True)
        (metric,) = model._compile_metrics.metrics
        (reported,) = [key for key in logs if key != "loss"]
        rows.append({"given": text, "class": type(metric).__name__, "reported": reported})
    return rows


def make_metrics():
    """metrics.json"""
    rng = np.random.default_rng(4)
    sizes = (5, 3, 1)
    weights = [rng.integers(1, 9, size) / 4 for size in sizes]
    weights[0][1] = 0.0
    cases = []

    def add(class_name, kwargs, batches, weights=weights):
        cases.append(metric_case(class_name, kwargs, batches))
        weighted = [{**b, "sample_weight": w} for b, w in zip(batches, weights, strict=False)]
        cases.append(metric_case(class_name, kwargs, weighted))

    def pairs(make_true, make_pred):
        return [{"y_true": make_true(size), "y_pred": make_pred(size)} for size in sizes]

    add("Mean", {}, [{"values": grid(rng, (size,))} for size in (5, 3)])
    add("Mean", {}, [{"values": grid(rng, (size, 2))} for size in (5, 3)])
    add("Mean", {}, [{"values": grid(rng, ())} for _ in range(2)], weights=[np.array(2.0), np.array(0.5)])
    all_zero = [{"values": grid(rng, (3,)), "sample_weight": np.zeros(3)}]
    cases.append(metric_case("Mean", {}, all_zero))

    # Multiples of 1/4: a prediction of exactly 0.5 occurs, and does not exceed the threshold of 0.5.
    def chances(*shape):
        return lambda n: rng.integers(0, 5, (n, *shape)) / 4

    def zero_one(*shape):
        return lambda n: rng.integers(0, 2, (n, *shape)).astype("float64")

    for kwargs in ({}, {"threshold": 0.3}):
        add("BinaryAccuracy", kwargs, pairs(zero_one(1), chances(1)))
        add("BinaryAccuracy", kwargs, pairs(zero_one(), chances(1)))
        add("BinaryAccuracy", kwargs, pairs(zero_one(3), chances(3)))

    # Scores on a coarse grid, so that ties occur: the first of equal scores wins.
    def scores(*shape):
        return lambda n: rng.integers(-2, 3, (n, *shape)) / 2

    def labels(*shape):
        return lambda n: rng.integers(0, 4, (n, *shape))

    def one_hot(*shape):
        return lambda n: np.eye(4)[rng.integers(0, 4, (n, *shape))]

    add("CategoricalAccuracy", {}, pairs(one_hot(), scores(4)))
    add("CategoricalAccuracy", {}, pairs(one_hot(2), scores(2, 4)))
    add("SparseCategoricalAccuracy", {}, pairs(labels(), scores(4)))
    add("SparseCategoricalAccuracy", {}, pairs(labels(1), scores(4)))
    add("SparseCategoricalAccuracy", {}, pairs(labels(2), scores(2, 4)))

    def numbers(*shape):
        return lambda n: grid(rng, (n, *shape))

    for name in ("MeanSquaredError", "MeanAbsoluteError"):
        for shape in ((1,), (3,), (2, 3)):
            add(name, {}, pairs(numbers(*shape), numbers(*shape)))
        add(name, {}, pairs(numbers(), numbers(1)))

    use_dtype("float64")
    write(
        "metrics.json",
        cases,
        class_defaults={
            name: defaults_of(getattr(keras.metrics, name)) for name in sorted({c["class"] for c in cases})
        },
        accuracy_string=accuracy_string(),
        metric_names=metric_names(),
    )


# ----------------------------------------------------------------------------------------------------- initializers

INITIALIZERS = [
    ("zeros", {}),
    ("ones", {}),
    ("constant", {}),
    ("constant", {"value": 0.25}),
    ("random_normal", {}),
    ("random_normal", {"mean": 1.0, "stddev": 0.5}),
    ("random_uniform", {}),
    ("random_uniform", {"minval": 1.0, "maxval": 3.0}),
    ("truncated_normal", {}),
    ("truncated_normal", {"mean": 1.0, "stddev": 0.5}),
    ("glorot_uniform", {}),
    ("glorot_normal", {}),
    ("he_uniform", {}),
    ("he_normal", {}),
    ("lecun_uniform", {}),
    ("lecun_normal", {}),
    ("variance_scaling", {}),
    *[
        ("variance_scaling", {"scale": 2.0, "mode": mode, "distribution": distribution})
        for mode in ("fan_in", "fan_out", "fan_avg")
        for distribution in ("truncated_normal", "untruncated_normal", "uniform")
    ],
    ("orthogonal", {}),
    ("orthogonal", {"gain": 2.0}),
]
# Documented: scale, the fan that divides it, and the distribution.
VARIANCE_SCALINGS = {
    "glorot_uniform": (1.0, "fan_avg", "uniform"),
    "glorot_normal": (1.0, "fan_avg", "truncated_normal"),
    "he_uniform": (2.0, "fan_in", "uniform"),
    "he_normal": (2.0, "fan_in", "truncated_normal"),
    "lecun_uniform": (1.0, "fan_in", "uniform"),
    "lecun_normal": (1.0, "fan_in", "truncated_normal"),
    "variance_scaling": (1.0, "fan_in", "truncated_normal"),
}


def drawn_from(initializer, shape):
    """What the initializer asks Keras's random module for: the name of the distribution and its parameters."""
    calls = []

    def spy(name):
        real = getattr(random_initializers.random, name)

        def spied(shape, **kwargs):
            calls.append({"distribution": name, **{k: v for k, v in kwargs.items() if k not in ("dtype", "seed")}})
            return real(shape, **kwargs)

        return mock.patch.object(random_initializers.random, name, spied)

    with spy("normal"), spy("uniform"), spy("truncated_normal"):
        initializer(shape)
    return calls[0] if calls else None


def by_formula(name, kwargs, fans):
    """Limit, or standard deviation, of a variance scaling by its documented formula."""
    if name not in VARIANCE_SCALINGS:
        return {}
    scale, mode, distribution = VARIANCE_SCALINGS[name]
    scale = kwargs.get("scale", scale)
    mode = kwargs.get("mode", mode)
    distribution = kwargs.get("distribution", distribution)
    fan = {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[mode]
    if distribution == "uniform":
        return {"limit": math.sqrt(3 * scale / fan)}
    return {"stddev": math.sqrt(scale / fan)}


def make_initializers():
    """initializers.json"""
    use_dtype("float64")
    cases = []
    for name, kwargs in INITIALIZERS:
        initializer = getattr(keras.initializers, name)
        seeded = {**kwargs, "seed": 1} if "seed" in inspect.signature(initializer).parameters else kwargs
        shapes = []
        for shape in ((20, 30), (3, 3, 4, 8), (7,)):
            fans = random_initializers.compute_fans(shape)
            row = {"shape": shape, "fan_in": fans[0], "fan_out": fans[1]}
            try:
                row["drawn_from"] = drawn_from(initializer(**seeded), shape)
            except ValueError as error:
                row["error"] = str(error)
            else:
                row.update(by_formula(name, kwargs, fans))
                check_formula(row)
            shapes.append(row)
        draw = np.asarray(initializer(**seeded)((400, 500)))
        case = {
            "name": name,
            "class": initializer.__name__,
            "defaults": defaults_of(initializer),
            "kwargs": kwargs,
            "shapes": shapes,
            "draw": {
                "shape": draw.shape,
                "mean": float(draw.mean()),
                "std": float(draw.std()),
                "min": float(draw.min()),
                "max": float(draw.max()),
            },
        }
        if name == "orthogonal":
            gain = kwargs.get("gain", 1.0)
            np.testing.assert_allclose(draw @ draw.T, gain**2 * np.eye(400), atol=1e-12)
            case["draw"]["rows_orthogonal_with_norm"] = gain
        cases.append(case)
    write("initializers.json", cases)


def check_formula(row):
    """The documented formula and what Keras really draws must be the same."""
    drawn = row["drawn_from"]
    if "limit" in row:
        np.testing.assert_allclose([-drawn["minval"], drawn["maxval"]], row["limit"], rtol=1e-14)
    elif "stddev" in row:
        cut = 0.87962566103423978 if drawn["distribution"] == "truncated_normal" else 1.0
        np.testing.assert_allclose(drawn["stddev"] * cut, row["stddev"], rtol=1e-14)


# --------------------------------------------------------------------------------------------------------- training

SGD = ("SGD", {"learning_rate": 0.0625, "momentum": 0.9})
ADAM = ("Adam", {"learning_rate": 0.03125})
ADAM_VARIANTS = ("plain", "sample_weight", "class_weight")
EPOCHS = 5


def training_problems():
    """Ten rows of data and a 3-5-k network for each loss."""
    rng = np.random.default_rng(6)
    x = grid(rng, (10, 3))
    hidden = x @ grid(rng, (3, 2))
    sample_weight = np.array([0.5, 2.0, 1.0, 0.0, 1.5, 0.25, 1.0, 3.0, 0.75, 1.25])
    problems = {
        "mean_squared_error": {
            "y": np.round(hidden * 64) / 64,
            "activations": ["tanh", "linear"],
            "metrics": ["mae"],
            "class_weight": None,
        },
        "binary_crossentropy": {
            "y": (hidden[:, :1] > 0).astype("float64"),
            "activations": ["relu", "sigmoid"],
            "metrics": ["accuracy"],
            "class_weight": {0: 0.5, 1: 2.0},
        },
        "sparse_categorical_crossentropy": {
            "y": np.digitize(hidden[:, 0], np.quantile(hidden[:, 0], [0.3, 0.7])),
            "activations": ["tanh", "softmax"],
            "metrics": ["accuracy"],
            "class_weight": {1: 2.5, 2: 0.5},  # class 0 is left out: weight 1
        },
    }
    for (_, problem), units in zip(problems.items(), (2, 1, 3), strict=True):
        problem["x"] = x
        problem["sample_weight"] = sample_weight
        shapes_and_scales = (((3, 5), 0.5), ((5,), 0.1), ((5, units), 0.5), ((units,), 0.1))
        problem["weights"] = [grid(rng, shape, scale) for shape, scale in shapes_and_scales]
        problem["validation_x"] = grid(rng, (5, 3))
        pick = rng.integers(0, 10, 5)
        problem["validation_y"] = problem["y"][pick]
        problem["validation_sample_weight"] = sample_weight[pick] + 0.25
    return problems


def training_variants(problem):
    """What else is asked of fit(): name -> which of the problem's arrays and numbers are used."""
    variants = {
        "plain": {},
        "sample_weight": {"sample_weight": True},
        "validation_split": {"validation_split": 0.3},
        "validation_split_and_sample_weight": {"validation_split": 0.3, "sample_weight": True},
        "validation_data": {"validation_data": "x, y"},
        "validation_data_with_weights": {"validation_data": "x, y, sample_weight"},
    }
    if problem["class_weight"]:
        variants["class_weight"] = {"class_weight": True}
        variants["class_weight_and_validation_split"] = {"validation_split": 0.3, "class_weight": True}
    if problem["metrics"] == ["accuracy"]:
        variants["weighted_metrics"] = {"sample_weight": True, "weighted_metrics": ["accuracy"]}
    return variants


def train(loss, problem, optimizer, batch_size, variant, dtype):
    """One whole run: fit, evaluate, predict."""
    name, kwargs = optimizer
    model = keras.Sequential([keras.Input((3,))])
    for weights, activation in zip(problem["weights"][1::2], problem["activations"], strict=True):
        model.add(keras.layers.Dense(weights.size, activation=activation))
    model.set_weights(problem["weights"])
    model.compile(
        optimizer=getattr(keras.optimizers, name)(**kwargs),
        loss=loss,
        metrics=problem["metrics"],
        weighted_metrics=variant.get("weighted_metrics"),
    )
    sample_weight = problem["sample_weight"] if "sample_weight" in variant else None
    validation_data = None
    if "validation_data" in variant:
        keys = variant["validation_data"].split(", ")
        validation_data = tuple(problem[f"validation_{key}"] for key in keys)
    history = model.fit(
        problem["x"],
        problem["y"],
        batch_size=batch_size,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        sample_weight=sample_weight,
        class_weight=problem["class_weight"] if "class_weight" in variant else None,
        validation_split=variant.get("validation_split", 0.0),
        validation_data=validation_data,
    )
    evaluated = {"batch_size": batch_size, "sample_weight": sample_weight, "verbose": 0}
    as_dict = model.evaluate(problem["x"], problem["y"], return_dict=True, **evaluated)
    as_list = model.evaluate(problem["x"], problem["y"], **evaluated)
    assert model.weights[0].dtype == dtype
    result = {
        "history": {key: [float(v) for v in values] for key, values in history.history.items()},
        "final_weights": [plain(w) for w in model.get_weights()],
        "evaluate": {key: float(v) for key, v in as_dict.items()},
        "predict": plain(model.predict(problem["x"], batch_size=batch_size, verbose=0)),
    }
    # Where a weighted metric has the name of an unweighted one, the list of Keras 3.15 holds the latter twice: a bug.
    if len(as_list) == len(as_dict):
        result["evaluate_list"] = [float(v) for v in as_list]
    return result


def check_training(problem, loss, result):
    """A plain run of SGD with whole batches, done again by PyTorch, must end with the same weights and losses."""
    weights = [torch.tensor(w, requires_grad=True) for w in problem["weights"]]
    optimizer = torch.optim.SGD(weights, lr=SGD[1]["learning_rate"], momentum=SGD[1]["momentum"])
    hidden, final = (TORCH_ACTIVATIONS[name] for name in problem["activations"])
    losses = []
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        y_pred = final(hidden(torch.tensor(problem["x"]) @ weights[0] + weights[1]) @ weights[2] + weights[3])
        value = torch_loss(loss, problem["y"], y_pred)
        value.backward()
        optimizer.step()
        losses.append(value.item())
    assert_close(result["history"]["loss"], losses, f"the losses while training with {loss}")
    for ours, theirs in zip(result["final_weights"], weights, strict=True):
        assert_close(ours, theirs.detach(), f"the weights after training with {loss}")


def training_case(loss, problem, optimizer, batch_size, name, variant):
    """One whole run in both dtypes."""
    result = in_both_dtypes(lambda dtype: train(loss, problem, optimizer, batch_size, variant, dtype))
    if name == "plain" and batch_size == len(problem["x"]):
        check_training(problem, loss, result)
    keras.backend.clear_session()
    jax.clear_caches()
    return {
        "problem": loss,
        "optimizer": {"class": optimizer[0], "kwargs": optimizer[1]},
        "batch_size": batch_size,
        "epochs": EPOCHS,
        "variant": name,
        **variant,
        **result,
    }


def make_training():
    """training.json"""
    problems = training_problems()
    cases = [
        training_case(loss, problem, optimizer, batch_size, name, variant)
        for loss, problem in problems.items()
        for optimizer, batch_size in ((SGD, 10), (SGD, 4), (ADAM, 4))
        for name, variant in training_variants(problem).items()
        if optimizer is SGD or name in ADAM_VARIANTS
    ]
    listed = {}
    for loss, problem in problems.items():
        listed[loss] = {k: plain(v) if isinstance(v, np.ndarray) else v for k, v in problem.items()}
        listed[loss]["weights"] = [plain(w) for w in problem["weights"]]
    write("training.json", cases, problems=listed)


def main():
    make_activations()
    make_losses()
    make_optimizers()
    make_metrics()
    make_initializers()
    make_training()


if __name__ == "__main__":
    main()
