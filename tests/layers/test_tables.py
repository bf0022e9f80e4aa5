"""Activations against numbers made with Keras and PyTorch: `tests/tables/activations.json`."""

from __future__ import annotations

import functools
import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import activations, layers

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "activations.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]


def name_of(case):
    return "-".join([case["group"], case["name"], *(f"{key}={value}" for key, value in case["kwargs"].items())])


RELATIVE = {"float32": 1e-6, "float64": 1e-12}
EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}

# These derivatives are differences of numbers of the size of (1 + |x|) dy, such as 1 - tanh(x)²: where they nearly
# cancel, what is left of their rounding is measured by that size. So are the values of log_softmax near 0, log(1 - …).
CANCELLING = {"sigmoid", "tanh", "elu", "selu", "gelu", "silu", "softmax", "log_softmax"}
CANCELLING |= {"celu", "glu", "hard_silu", "mish", "sparse_plus", "squareplus"}

# So are these values, where x is as large as what is taken from it.
CANCELLING_VALUES = {"hard_silu", "soft_shrink", "sparse_plus", "sparse_sigmoid", "tanh_shrink"}


def allowed_y(case, dtype):
    x, y = np.abs(np.array(case["x"])), np.abs(np.array(case["y"]))
    allowed = RELATIVE[dtype] * y + np.finfo(dtype).tiny
    if case["name"] == "log_softmax":
        allowed += 2 * EPSILON[dtype]
    if case["name"] in CANCELLING_VALUES:
        allowed += 2 * EPSILON[dtype] * (1 + x if case["name"] != "tanh_shrink" else x)
    if case["name"] == "squareplus":
        allowed += 2 * EPSILON["float64"] * x  # the table's x + √(x² + b) has few digits for x << 0
    if case["name"] == "gelu":
        # exp(-x² / 2) turns a rounding ε of its argument into x² ε. The table's own approximate form, with 1 + tanh,
        # has no digits where tanh is near -1.
        allowed += RELATIVE[dtype] * x * x * y + (
            2 * EPSILON["float64"] * x if case["kwargs"].get("approximate") else 0
        )
    return allowed


def allowed_dx(case, dtype):
    x, dy, dx = (np.abs(np.array(case[key])) for key in ("x", "dy", "dx"))
    allowed = RELATIVE[dtype] * dx + np.finfo(dtype).tiny
    if case["name"] == "tanh_shrink":
        allowed += 2 * EPSILON["float64"] * dy  # the table's 1 - (1 - tanh(x)²) has few digits near 0
    elif case["name"] == "glu":
        allowed += 2 * EPSILON[dtype] * (1 + np.max(x)) * np.max(dy)
    elif case["name"] in ("softmax", "log_softmax"):
        allowed += 2 * EPSILON[dtype] * np.sum(dy, axis=case["kwargs"].get("axis", -1), keepdims=True)
    elif case["name"] in CANCELLING:
        # tanh's argument has x³, and so its derivative x².
        allowed += 2 * EPSILON[dtype] * (1 + (x**3 if case["kwargs"].get("approximate") else x)) * dy
    return allowed


def assert_within(found, expected, allowed):
    assert found.shape == np.shape(expected)
    worst = np.max(np.abs(found - np.array(expected)) / allowed, initial=0.0)
    assert worst <= 1, f"{worst} times the error that is allowed: {found} where the table has {expected}"


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_y_is_that_of_keras(xp, case, dtype):
    x = xp.asarray(np.array(case["x"], dtype))
    y = getattr(activations, case["name"])(x, **case["kwargs"])
    assert y.dtype == x.dtype
    assert_within(xp.to_numpy(y), case["y"], allowed_y(case, dtype))


@pytest.mark.parametrize("case", [case for case in CASES if not case["kwargs"]], ids=name_of)
def test_a_name_stands_for_the_function_of_keras(case):
    """Also where the layer of that name has another default."""
    x = np.array(case["x"], "float32")
    for activation in (activations.get(case["name"]), layers.Activation(case["name"])):
        assert_within(activation(x), case["y"], allowed_y(case, "float32"))


WITH_GRADIENT = [case for case in CASES if "dx" in case]


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("case", WITH_GRADIENT, ids=name_of)
def test_dx_is_that_of_keras(xp, case, dtype):
    options = {**TABLE["function_defaults"][case["name"]], **case["kwargs"]}
    names = layers.activations.NAMES
    layer = (names.find(case["name"]) if case["name"] in names else layers.Threshold)(**options)
    x, dy = xp.asarray(np.array(case["x"], dtype)), xp.asarray(np.array(case["dy"], dtype))
    _, saved = layer.run_forward(xp, x)
    dx, gradients = layer.run_backward(xp, saved, dy)
    assert dx.dtype == x.dtype
    assert gradients == {}
    assert_within(xp.to_numpy(dx), case["dx"], allowed_dx(case, dtype))


def test_every_activation_has_its_numbers():
    in_table = {case["name"] for case in CASES}
    others = ("deserialize", "get", "hard_swish", "serialize", "sparsemax", "swish")
    in_layerkit = {name for name in activations.__all__ if name not in others}
    assert in_table == in_layerkit
    assert activations.swish is activations.silu
    assert activations.hard_swish is activations.hard_silu


@pytest.mark.parametrize("name", TABLE["layer_defaults"])
def test_defaults_of_layers_are_those_of_keras(name):
    parameters = inspect.signature(getattr(layers, name)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    if name == "LeakyReLU":  # Keras takes its older word too, among its further arguments
        assert defaults.pop("alpha") is None
    assert defaults == TABLE["layer_defaults"][name]


@pytest.mark.parametrize("name", TABLE["function_defaults"])
def test_defaults_of_functions_are_those_of_keras(name):
    function = getattr(activations, name)
    if name == "threshold":  # which has none
        function = functools.partial(function, threshold=0.5, default_value=1.0)
    x = np.array([[-2.0, -0.5, 0.5, 3.0]])
    np.testing.assert_array_equal(function(x), function(x, **TABLE["function_defaults"][name]))
    np.testing.assert_array_equal(function(x), function(x, *TABLE["function_defaults"][name].values()))


@pytest.mark.parametrize("axis", [-1, 0, 1])
def test_sparsemax_is_the_nearest_point_among_probabilities(xp, axis):
    """y is a projection on the simplex just where x - y is one number t where y > 0, and x ≤ t elsewhere."""
    x = np.moveaxis(3.0 * np.random.default_rng(0).standard_normal((6, 5, 7)), -1, axis)
    x += 100.0
    y = xp.to_numpy(activations.sparsemax(xp.asarray(x), axis=axis))
    np.testing.assert_allclose(y.sum(axis), 1.0, rtol=1e-12)
    assert (y >= 0).all()
    x, y = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]), np.moveaxis(y, axis, -1).reshape(-1, x.shape[axis])
    assert len({int((row > 0).sum()) for row in y}) > 2
    for row, found in zip(x, y, strict=True):
        (t, *others) = (row - found)[found > 0]
        np.testing.assert_allclose(others, t, rtol=1e-12, atol=1e-12)
        assert (row[found == 0] <= t).all()
