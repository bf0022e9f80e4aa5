"""Compute the reference tables in this folder with Keras 3 on JAX, cross-checked with PyTorch.

Run ``python tests/tables/make_tables.py`` where ``pip install keras jax torch`` has been done, with the names of
tables (``losses metrics``) for some alone.  Nothing here imports
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
import sys
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
    ("celu", {}),
    ("celu", {"alpha": 0.5}),
    ("hard_shrink", {}),
    ("hard_shrink", {"threshold": 2.0}),
    ("hard_silu", {}),
    ("hard_tanh", {}),
    ("log_sigmoid", {}),
    ("mish", {}),
    ("relu6", {}),
    ("soft_shrink", {}),
    ("soft_shrink", {"threshold": 2.0}),
    ("sparse_plus", {}),
    ("sparse_sigmoid", {}),
    ("squareplus", {}),
    ("squareplus", {"b": 0.5}),
    ("tanh_shrink", {}),
    ("threshold", {"threshold": 0.5, "default_value": -2.0}),
]
# Without sparsemax: that of Keras 3.15 sums to less than 1 where more than one element is above 0.
ALONG_AN_AXIS = ("softmax", "log_softmax", "glu")

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
    "celu": F.celu,
    "glu": lambda x, axis=-1: F.glu(x, axis),
    "hard_shrink": F.hardshrink,
    "hard_silu": lambda x: x * F.relu6(x + 3) / 6,
    "hard_tanh": F.hardtanh,
    "log_sigmoid": F.logsigmoid,
    "mish": F.mish,
    "relu6": F.relu6,
    "soft_shrink": F.softshrink,
    "sparse_plus": lambda x: torch.where(x >= 1, x, torch.where(x > -1, (x + 1) ** 2 / 4, 0 * x)),
    "sparse_sigmoid": lambda x: F.hardtanh((x + 1) / 2, 0.0, 1.0),
    "squareplus": lambda x, b=4: (x + torch.sqrt(x * x + b)) / 2,
    "tanh_shrink": F.tanhshrink,
}


def activation_and_gradient(name, kwargs, x, dy):
    """y and dx of one activation, float64 and float32; float64 is checked with PyTorch."""
    function = keras.activations.get(name)

    def compute(dtype):
        y, pull_back = jax.vjp(lambda v: function(v, **kwargs), jax.numpy.asarray(x, dtype))
        (dx,) = pull_back(jax.numpy.asarray(dy, dtype))
        return {"y": plain(y), "dx": plain(dx)}

    result = in_both_dtypes(compute)
    if name in TORCH_ACTIVATIONS and not {"max_value", "threshold"} & set(kwargs):
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
    # No kink of any function here: not 0, not the 0.5, 2, 6 of the relus, not the -3, 3 of hard_sigmoid, not -1 and 1.
    x = np.array(
        [
            [-50.0, -20.0, -8.5, -4.25, -2.75, -1.5],
            [-0.9375, -0.75, -0.3125, -(2.0**-10), -(2.0**-20), -(2.0**-30)],
            [2.0**-30, 2.0**-20, 2.0**-10, 0.3125, 0.75, 0.9375],
            [1.5, 2.75, 4.25, 8.5, 20.0, 50.0],
        ]
    )
    dy = grid(rng, x.shape)
    kinks = np.array([-6.0, -3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0, 6.0])
    cases = []
    for name, kwargs in ELEMENTWISE:
        case = {"group": "values", "name": name, "kwargs": kwargs, "x": plain(x), "dy": plain(dy)}
        cases.append({**case, **activation_and_gradient(name, kwargs, x, dy)})
    for name, kwargs in ELEMENTWISE:
        case = {"group": "kinks", "name": name, "kwargs": kwargs, "x": plain(kinks)}
        cases.append({**case, **activation_only(name, kwargs, kinks)})
    for name in ALONG_AN_AXIS:
        shapes = ((4, 5), (2, 3, 4), (2, 3, 4)) if name != "glu" else ((4, 6), (2, 3, 4), (2, 6, 4))
        for shape, kwargs in zip(shapes, ({}, {"axis": -1}, {"axis": 1}), strict=True):
            x = grid(rng, shape, scale=3.0)
            dy = grid(rng, jax.eval_shape(lambda v, n=name, k=kwargs: keras.activations.get(n)(v, **k), x).shape)
            case = {"group": "values", "name": name, "kwargs": kwargs, "x": plain(x), "dy": plain(dy)}
            cases.append({**case, **activation_and_gradient(name, kwargs, x, dy)})
    # Extreme inputs; upstream gradient all ones, so that "dx" is the derivative itself.
    points = np.array([-1e4, -100.0, -30.0, -1.0, 0.125, 1.0, 30.0, 100.0, 1e4])
    for name, kwargs in ELEMENTWISE:
        if name in ("linear", "relu", "leaky_relu", "exponential", "sparse_plus", "sparse_sigmoid", "hard_tanh"):
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
    names = dict.fromkeys([*(name for name, _ in ELEMENTWISE), *ALONG_AN_AXIS])
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


# The functions of classes, by Keras's rule.
SNAKE = {name: keras.src.utils.naming.to_snake_case(name) for name in dir(keras.losses) if name[0].isupper()}

TORCH_CROSSENTROPIES = ("binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy")


def torch_loss(
    name, y_true, y_pred, from_logits=False, label_smoothing=0.0, delta=1.0, ignore_class=None, axis=-1, **others
):
    """The mean loss of PyTorch, None where it has no such loss; y_pred is a tensor, y_true an array.

    PyTorch keeps the classes on axis 1.
    """
    target = torch.tensor(y_true)
    epsilon = keras.config.epsilon()
    if name == "mean_squared_error":
        return F.mse_loss(y_pred, target)
    if name == "mean_absolute_error":
        return F.l1_loss(y_pred, target)
    if name == "huber":
        return F.huber_loss(y_pred, target, delta=delta)
    if name == "kl_divergence":
        return F.kl_div(y_pred.log(), target, reduction="none").sum(-1).mean()
    if name == "poisson":
        return F.poisson_nll_loss(y_pred, target, log_input=False, eps=epsilon)
    if name == "cosine_similarity":
        return -F.cosine_similarity(y_pred, target, axis, eps=epsilon).mean()
    if name == "hinge" and set(np.unique(y_true)) <= {-1, 1}:
        return F.relu(1 - target * y_pred).mean()
    if name == "ctc":
        log_p = F.log_softmax(y_pred, -1).movedim(1, 0)
        rows, steps = len(target), y_pred.shape[1]
        found = F.ctc_loss(log_p, target, torch.full((rows,), steps), (target > 0).sum(-1), reduction="none")
        return found.mean()
    if name not in TORCH_CROSSENTROPIES:
        return None
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
        if value is not None:
            value.backward()
            assert_close(case["reductions"]["sum_over_batch_size"], value.detach(), f"{function} {kwargs}")
            assert_close(case["gradient"], leaf.grad, f"the gradient of {function} {kwargs}")
    return case


def further_losses():
    """Cases of the losses beyond those of regression and crossentropy."""
    rng = np.random.default_rng(7)
    cases = []

    def add(class_name, function, kwargs, y_true, y_pred, weights, group="values"):
        cases.append(loss_case(group, class_name, function, kwargs, y_true, y_pred, weights))

    row_weights = np.array([0.5, 2.0, 0.0, 1.25])
    step_weights = np.array([[0.5, 2.0], [0.0, 1.25], [3.0, 1.0]])
    for shape, weights in (((4, 3), row_weights), ((3, 2, 4), step_weights)):
        rows, classes = math.prod(shape[:-1]), shape[-1]
        y_true, y_pred = grid(rng, shape, scale=2.0), grid(rng, shape, scale=2.0)
        for name in ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "LogCosh", "CosineSimilarity"):
            add(name, SNAKE[name], {}, y_true, y_pred, weights)
        add("MeanSquaredLogarithmicError", "mean_squared_logarithmic_error", {}, abs(y_true), abs(y_pred), weights)
        if len(shape) == 3:  # the axis of vectors is 1: there is a value for each of the others
            along = {"axis": 1}
            add("CosineSimilarity", "cosine_similarity", along, y_true, y_pred, rng.integers(1, 9, (3, 4)) / 4)
        signs = np.sign(grid(rng, shape))
        for targets in (signs, (signs + 1) / 2, y_true):
            add("Hinge", "hinge", {}, targets, y_pred, weights)
            add("SquaredHinge", "squared_hinge", {}, targets, y_pred, weights)
        one_hot = np.eye(classes)[rng.integers(0, classes, shape[:-1])]
        add("CategoricalHinge", "categorical_hinge", {}, one_hot, y_pred, weights)
        soft = probabilities(rng, rows, classes).reshape(shape)
        chances = probabilities(rng, rows, classes).reshape(shape)
        add("KLDivergence", "kl_divergence", {}, soft, chances, weights)
        counts = rng.integers(0, 6, shape).astype("float64")
        add("Poisson", "poisson", {}, counts, rng.integers(1, 1024, shape) / 256, weights)

        binary = rng.integers(0, 2, shape).astype("float64")
        # Not near certainty, where float32 keeps few digits of 1 - p.
        chances_of_one, logits = rng.integers(32, 224, shape) / 256, grid(rng, shape)
        for from_logits in (False, True):
            y_pred = logits if from_logits else chances_of_one
            for kwargs in (
                {},
                {"gamma": 1.5, "label_smoothing": 0.1},
                {"apply_class_balancing": True, "alpha": 0.3, "gamma": 3.0},
            ):
                options = {"from_logits": from_logits, **kwargs}
                add("BinaryFocalCrossentropy", "binary_focal_crossentropy", options, binary, y_pred, weights)
            y_pred = logits if from_logits else chances
            for kwargs in (
                {},
                {"gamma": 1.5, "label_smoothing": 0.1},
                {"alpha": [0.5, 0.25, 1.0, 2.0][:classes], "gamma": 3.0},
            ):
                options = {"from_logits": from_logits, **kwargs}
                add("CategoricalFocalCrossentropy", "categorical_focal_crossentropy", options, one_hot, y_pred, weights)
        labels = rng.integers(0, classes, shape[:-1])
        generalised = ("CategoricalGeneralizedCrossEntropy", "categorical_generalized_cross_entropy")
        for q in (0.5, 0.7):
            add(*generalised, {"q": q}, labels, chances, weights)

        for options in ({}, {"axis": tuple(range(1, len(shape)))}):
            own_weights = np.array([0.5, 2.0, 1.0, 1.25])[: shape[0]] if options else None
            add("Dice", "dice", options, binary, chances_of_one, own_weights)
            add("Tversky", "tversky", options, binary, chances_of_one, own_weights)
            add("Tversky", "tversky", {"alpha": 0.25, "beta": 0.75, **options}, binary, chances_of_one, own_weights)

    # One of y_true and y_pred has a last axis of length 1 more than the other.
    y_true, y_pred = grid(rng, (4,)), grid(rng, (4, 1))
    for name in ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "LogCosh", "Hinge", "SquaredHinge"):
        add(name, SNAKE[name], {}, y_true, y_pred, row_weights, group="shapes")

    # Embeddings, nearly of length 1. The last class has a single row, and the first of the labels never a positive.
    embeddings = grid(rng, (8, 4))
    embeddings = np.round(embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True) * 256) / 256
    weights = rng.integers(1, 9, 8) / 4
    for labels in (np.array([0, 1, 2, 0, 1, 2, 0, 1]), np.array([5, 1, 1, 1, 2, 2, 1, 9])):
        for kwargs in ({"gamma": 8.0}, {"gamma": 4.0, "margin": 0.25}, {"gamma": 8.0, "remove_diagonal": False}):
            add("Circle", "circle", kwargs, labels, embeddings, weights)
    add("Circle", "circle", {"gamma": 8.0}, np.array([3, 3, 3, 3]), embeddings[:4], weights[:4])

    # Sequences: no repetition, some, padding by 0, and a target of the greatest length that fits.
    targets = np.array([[1, 2, 3, 4], [2, 2, 3, 0], [1, 1, 1, 0], [4, 0, 0, 0]])
    for steps in (5, 8):
        add("CTC", "ctc", {}, targets, grid(rng, (4, steps, 5)), row_weights)

    # Large errors, probabilities of exactly 0, and a short vector (at 0, Keras's gradient is no number).
    large = np.array([[1e4, -1e4, 0.0], [-100.0, 100.0, 0.5], [-30.0, 30.0, 2.0**-10], [2.0**-20, -(2.0**-20), 1.0]])
    add("LogCosh", "log_cosh", {}, np.zeros((4, 3)), large, row_weights, group="stability")
    certain = np.array([[0.75, 0.25, 0.0], [0.0, 0.5, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]])
    add("KLDivergence", "kl_divergence", {}, np.eye(4, 3), certain, row_weights, group="stability")
    short = np.array([[1.0, 2.0, 2.0], [1e3, 0.0, 1e3], [3.0, 0.0, 4.0], [2.0**-30, 0.0, 0.0]])
    add("CosineSimilarity", "cosine_similarity", {}, grid(rng, (4, 3)), short, row_weights, group="stability")
    return cases


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

    cases += further_losses()
    write(
        "losses.json",
        cases,
        class_defaults={name: defaults_of(getattr(keras.losses, name)) for name in sorted({c["class"] for c in cases})},
        epsilon=keras.config.epsilon(),
    )


# ---------------------------------------------------------------------------------------------------------- metrics


def metric_case(class_name, kwargs, batches):
    """Results of one metric after each batch; a batch is the dictionary of update_state's arguments."""

    def finite(value):
        return plain(value) if np.isfinite(value).all() else None

    def compute(dtype):
        metric = getattr(keras.metrics, class_name)(**kwargs)
        # None where Keras has no number: before the shapes are known, and for 0 / 0.
        before = finite(metric.result()) if getattr(metric, "_built", True) else None
        results = []
        for batch in batches:
            arrays = {k: v.astype(dtype) if v.dtype.kind == "f" else v for k, v in batch.items()}
            metric.update_state(**arrays)
            results.append(plain(metric.result()))
        metric.reset_state()
        return {"result_before": before, "results": results, "result_after_reset": finite(metric.result())}

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
        "mape",
        "MSLE",
        "auc",
        "AUC",
        "precision",
        "cosine_similarity",
        "root_mean_squared_error",
        "poisson",
        keras.metrics.AUC,
        keras.metrics.LogCoshError,
        keras.losses.kl_divergence,
    ]:
        keras.backend.clear_session()  # which numbers the names of like objects
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


def further_metrics():
    """Cases of the metrics beyond means, accuracies and squared and absolute errors."""
    rng = np.random.default_rng(8)
    sizes = (5, 3, 1)
    weights = [rng.integers(1, 9, size) / 4 for size in sizes]
    weights[0][1] = 0.0
    # Keras cuts the weights of a confusion matrix to integers, unless told otherwise.
    whole_weights = [rng.integers(0, 4, size).astype("float64") for size in sizes]
    cases = []

    def add(class_name, kwargs, make_true, make_pred, weights=weights):
        batches = [{"y_true": make_true(size), "y_pred": make_pred(size)} for size in sizes]
        cases.append(metric_case(class_name, kwargs, batches))
        if weights is not None:
            weighted = [{**b, "sample_weight": w} for b, w in zip(batches, weights, strict=True)]
            cases.append(metric_case(class_name, kwargs, weighted))

    # Multiples of 1/4, so that predictions of 0 and 1, equal ones, and ones equal to a threshold occur.
    def chances(*shape):
        return lambda n: rng.integers(0, 5, (n, *shape)) / 4

    def fine_chances(*shape):
        return lambda n: rng.integers(0, 257, (n, *shape)) / 256

    def zero_one(*shape):
        return lambda n: rng.integers(0, 2, (n, *shape)).astype("float64")

    def labels(*shape, classes=4):
        return lambda n: rng.integers(0, classes, (n, *shape))

    def one_hot(*shape):
        return lambda n: np.eye(4)[rng.integers(0, 4, (n, *shape))]

    def numbers(*shape):
        return lambda n: grid(rng, (n, *shape))

    def positive(*shape):
        return lambda n: np.abs(grid(rng, (n, *shape)))

    def soft(*shape):
        return lambda n: probabilities(rng, n * math.prod(shape[:-1]), shape[-1]).reshape(n, *shape)

    add("Accuracy", {}, labels(), labels())
    add("Accuracy", {}, labels(3), labels(3))
    batches = [{"values": grid(rng, (size, 2))} for size in sizes]
    cases.append(metric_case("Sum", {}, batches))
    cases.append(metric_case("Sum", {}, [{**b, "sample_weight": w} for b, w in zip(batches, weights, strict=True)]))

    for name in ("MeanAbsolutePercentageError", "MeanSquaredLogarithmicError", "LogCoshError", "RootMeanSquaredError"):
        for shape in ((3,), (2, 3)):
            add(name, {}, positive(*shape), positive(*shape))
        add(name, {}, positive(), positive(1))
    for kwargs, shape in (({}, (3,)), ({}, (2, 3)), ({"axis": 1}, (3,))):
        add("CosineSimilarity", kwargs, positive(*shape), positive(*shape))
    for name in ("Hinge", "SquaredHinge"):
        add(name, {}, zero_one(3), numbers(3))
    add("CategoricalHinge", {}, one_hot(), numbers(4))
    add("KLDivergence", {}, soft(4), soft(4))
    add("Poisson", {}, lambda n: rng.integers(0, 6, (n, 3)).astype("float64"), positive(3))
    add("BinaryCrossentropy", {}, zero_one(3), soft(3))
    add("BinaryCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, zero_one(3), numbers(3))
    add("CategoricalCrossentropy", {}, one_hot(), soft(4))
    add("CategoricalCrossentropy", {"from_logits": True, "label_smoothing": 0.1}, one_hot(2), numbers(2, 4))
    add("SparseCategoricalCrossentropy", {}, labels(), soft(4))
    add("SparseCategoricalCrossentropy", {"from_logits": True}, labels(2), numbers(2, 4))
    for k in (1, 2, 3):
        add("TopKCategoricalAccuracy", {"k": k}, one_hot(), chances(4))
        add("SparseTopKCategoricalAccuracy", {"k": k}, labels(), chances(4))
    add("TopKCategoricalAccuracy", {"k": 2}, one_hot(2), chances(2, 4))
    add("SparseTopKCategoricalAccuracy", {"k": 2}, labels(2), chances(2, 4))
    ranked = {"k": 2, "from_sorted_ids": True}
    add(
        "SparseTopKCategoricalAccuracy",
        ranked,
        labels(),
        lambda n: rng.permuted(np.tile(np.arange(4.0), (n, 1)), axis=1),
    )

    for name in ("TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"):
        add(name, {}, zero_one(), chances())
        add(name, {"thresholds": 0.25}, zero_one(2), chances(2))
        add(name, {"thresholds": [0.75, 0.1]}, zero_one(2), chances(2))
        add(name, {"thresholds": [0.0, 0.5, 1.0]}, zero_one(1), chances(1))
    for name in ("Precision", "Recall"):
        add(name, {}, zero_one(), chances(1))
        add(name, {"thresholds": [0.7, 0.2, 0.5]}, zero_one(3), chances(3))
        add(name, {"class_id": 2}, one_hot(), chances(4))
        add(name, {"top_k": 2}, one_hot(), chances(4))
        add(name, {"top_k": 3, "class_id": 1, "thresholds": 0.3}, one_hot(), chances(4))
        add(name, {"top_k": 1}, one_hot(2), chances(2, 4), weights=None)
    trades = (
        ("SensitivityAtSpecificity", "specificity"),
        ("SpecificityAtSensitivity", "sensitivity"),
        ("PrecisionAtRecall", "recall"),
        ("RecallAtPrecision", "precision"),
    )
    for name, argument in trades:
        add(name, {argument: 0.4}, zero_one(3), fine_chances(3))
        add(name, {argument: 0.6, "num_thresholds": 5, "class_id": 1}, zero_one(3), chances(3))
        add(name, {argument: 0.5, "num_thresholds": 1}, zero_one(2), chances(2))
    for curve in ("ROC", "PR", "PRGAIN"):
        for method in ("interpolation", "majoring", "minoring"):
            kwargs = {"curve": curve, "summation_method": method}
            add("AUC", kwargs, zero_one(4), fine_chances(4))
            add("AUC", {**kwargs, "num_thresholds": 6, "multi_label": True}, zero_one(3), chances(3))
    add("AUC", {}, zero_one(), fine_chances(1))
    add("AUC", {"num_thresholds": 3}, zero_one(), chances())
    add("AUC", {"thresholds": [0.8, 0.25, 0.3]}, zero_one(2), chances(2))
    add("AUC", {"thresholds": [0.5], "multi_label": True}, zero_one(2), chances(2))
    add("AUC", {"label_weights": [0.5, 2.0, 1.0]}, zero_one(3), fine_chances(3))
    labelled = {"multi_label": True, "num_labels": 3, "label_weights": [0.5, 2.0, 1.0]}
    for curve in ("ROC", "PR"):
        add("AUC", {"curve": curve, **labelled}, zero_one(3), fine_chances(3))
    add("AUC", {"from_logits": True}, zero_one(3), numbers(3))

    for average in (None, "micro", "macro", "weighted"):
        add("F1Score", {"average": average}, one_hot(), chances(4))
        add("FBetaScore", {"average": average, "beta": 2.0, "threshold": 0.5}, zero_one(3), chances(3))
    add("FBetaScore", {"beta": 0.5}, one_hot(), chances(4))

    for aggregation in ("uniform_average", "variance_weighted_average", None):
        add("R2Score", {"class_aggregation": aggregation}, numbers(3), numbers(3))
        add("R2Score", {"class_aggregation": aggregation, "num_regressors": 2}, numbers(2), numbers(2))
    add("R2Score", {}, numbers(1), numbers(1))
    for name in ("PearsonCorrelation", "ConcordanceCorrelation"):
        add(name, {}, numbers(4), numbers(4))
        add(name, {}, numbers(2, 4), numbers(2, 4))
        add(name, {"axis": 1}, numbers(4), numbers(4))

    four = {"num_classes": 4}
    add("IoU", {**four, "target_class_ids": [0, 2]}, labels(), labels(), whole_weights)
    add("IoU", {**four, "target_class_ids": [3], "sparse_y_pred": False}, labels(), chances(4), whole_weights)
    add("MeanIoU", four, labels(), labels(), whole_weights)
    add("MeanIoU", {**four, "ignore_class": 1}, labels(classes=5), labels(), whole_weights)
    add("BinaryIoU", {}, zero_one(), chances(), whole_weights)
    add("BinaryIoU", {"target_class_ids": [1], "threshold": 0.25}, zero_one(), chances(), whole_weights)
    add("OneHotIoU", {**four, "target_class_ids": [0, 2]}, one_hot(), chances(4), whole_weights)
    add("OneHotMeanIoU", four, one_hot(), chances(4), whole_weights)
    add("OneHotMeanIoU", {**four, "sparse_y_pred": True, "ignore_class": 0}, one_hot(), labels(), whole_weights)
    return cases


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

    cases += further_metrics()
    use_dtype("float64")
    names = {}
    for case in cases:
        keras.backend.clear_session()
        names[case["class"]] = getattr(keras.metrics, case["class"])(**case["kwargs"]).name
    write(
        "metrics.json",
        cases,
        class_defaults={
            name: defaults_of(getattr(keras.metrics, name)) for name in sorted({c["class"] for c in cases})
        },
        names=names,
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


def main(*names):
    """Make the tables of these names, or all."""
    makers = (make_activations, make_losses, make_metrics, make_initializers, make_training)
    for make in makers:
        if not names or make.__name__.removeprefix("make_") in names:
            make()


if __name__ == "__main__":
    main(*sys.argv[1:])
