"""Losses against numbers made with Keras: `tests/tables/losses.json`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import losses

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "losses.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}


def name_of(case):
    shape = "x".join(map(str, np.shape(case["y_pred"])))
    return "-".join([case["group"], case["class"], shape, *(f"{key}={value}" for key, value in case["kwargs"].items())])


def arrays(xp, case, dtype):
    """Return targets, predictions and sample weights on the backend; None for weights where the case has none."""
    labels = getattr(losses, case["class"]).labels
    y_true = xp.asarray(np.array(case["y_true"], "int64" if labels else dtype))
    weights = np.array(case["sample_weight"], dtype) if "sample_weight" in case else None
    return y_true, xp.asarray(np.array(case["y_pred"], dtype)), None if weights is None else xp.asarray(weights)


def options_of(case):
    """Return the arguments, with the tuples that JSON has turned into lists."""
    return {
        name: tuple(value) if name == "axis" and type(value) is list else value
        for name, value in case["kwargs"].items()
    }


def runs(case, sample_weight, plain, weighted):
    """Return under which key the table has the unweighted and the weighted numbers, and the weights of each."""
    return [(plain, None), *([] if sample_weight is None else [(weighted, sample_weight)])]


def expected_of(case, dtype):
    """Return Keras's numbers: its float64 ones, or where float32 is a matter of 1e-7 being kept from 1, its own."""
    is_crossentropy = "crossentropy" in case["function"] and "focal" not in case["function"]
    from_probabilities = is_crossentropy and not case["kwargs"].get("from_logits")
    return case["float32"] if dtype == "float32" and from_probabilities else case


def assert_close(found, expected, dtype, scale=0.0):
    """Compare, with a rounding or two of numbers of this size besides."""
    absolute = np.finfo(dtype).tiny + 2 * np.finfo(dtype).eps * scale
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=absolute)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", [case for case in CASES if "values" in case], ids=name_of)
def test_values_are_those_of_keras(xp, case, dtype):
    y_true, y_pred, _ = arrays(xp, case, dtype)
    values = getattr(losses, case["function"])(y_true, y_pred, **options_of(case))
    assert values.dtype == y_pred.dtype
    assert_close(xp.to_numpy(values), expected_of(case, dtype)["values"], dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_reductions_are_those_of_keras(xp, case, dtype):
    y_true, y_pred, sample_weight = arrays(xp, case, dtype)
    for key, weight in runs(case, sample_weight, "reductions", "weighted"):
        for reduction, expected in expected_of(case, dtype)[key].items():
            loss = getattr(losses, case["class"])(**options_of(case), reduction=reduction)
            # A sum of values of both signs keeps the rounding of the greatest.
            scale = np.max(np.abs(expected_of(case, dtype)[key]["none"]))
            assert_close(xp.to_numpy(loss(y_true, y_pred, weight)), expected, dtype, scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_gradients_are_those_of_keras(xp, case, dtype):
    y_true, y_pred, sample_weight = arrays(xp, case, dtype)
    loss = getattr(losses, case["class"])(**options_of(case))
    y_true = xp.reshape(y_true, loss.align(y_true.shape, y_pred.shape))
    for key, weight in runs(case, sample_weight, "gradient", "weighted_gradient"):
        values, saved = loss.forward(xp, y_true, y_pred)
        _, dvalues = loss.reduce(xp, y_true, values, weight)
        gradient = xp.to_numpy(loss.backward(xp, saved, dvalues))
        expected = expected_of(case, dtype)[key]
        # p - t keeps the rounding of p where both are near 1.
        assert_close(gradient, expected, dtype, scale=np.max(np.abs(expected)))


def test_every_loss_has_its_numbers():
    in_layerkit = {name for name in losses.__all__ if inspect.isclass(getattr(losses, name))} - {"Loss"}
    assert {case["class"] for case in CASES} == in_layerkit
    assert {case["function"] for case in CASES} <= set(losses.__all__)


@pytest.mark.parametrize("name", TABLE["class_defaults"])
def test_defaults_are_those_of_keras(name):
    config = getattr(losses, name)().get_config()
    keras = TABLE["class_defaults"][name]
    assert config == {argument: keras[argument] for argument in config}
    assert set(keras) - set(config) <= {"dtype"}
