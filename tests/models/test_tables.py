"""Whole runs against numbers made with Keras: `tests/tables/training.json`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, losses, optimizers
from layerkit.layers import Dense

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "training.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
TOLERANCE = {"float32": 2e-5, "float64": 1e-11}


def name_of(case):
    return "-".join([case["problem"], case["optimizer"]["class"], str(case["batch_size"]), case["variant"]])


def model_of(xp, case, dtype):
    problem = TABLE["problems"][case["problem"]]
    weights = [np.array(values) for values in problem["weights"]]
    hidden, output = (
        Dense(bias.size, activation) for bias, activation in zip(weights[1::2], problem["activations"], strict=True)
    )
    model = Sequential([Input((3,)), hidden, output], dtype=dtype, backend=xp)
    model.set_weights(weights)
    optimizer = getattr(optimizers, case["optimizer"]["class"])(**case["optimizer"]["kwargs"])
    weighted = case.get("weighted_metrics")
    model.compile(optimizer, case["problem"], metrics=problem["metrics"], weighted_metrics=weighted)
    return model


def data_of(case):
    problem = TABLE["problems"][case["problem"]]
    arrays = {key: np.array(problem[key]) for key in problem if key.endswith(("x", "y", "weight")) and problem[key]}
    options = {}
    if "validation_data" in case:
        options["validation_data"] = tuple(arrays[f"validation_{key}"] for key in case["validation_data"].split(", "))
    if case.get("class_weight"):
        options["class_weight"] = {int(index): weight for index, weight in problem["class_weight"].items()}
    return arrays["x"], arrays["y"], arrays["sample_weight"] if case.get("sample_weight") else None, options


def assert_close(found, expected, dtype):
    np.testing.assert_allclose(found, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_run_is_that_of_keras(xp, case, dtype):
    """History, final weights, evaluation and predictions of five epochs, unshuffled."""
    x, y, sample_weight, options = data_of(case)
    model = model_of(xp, case, dtype)
    history = model.fit(
        x,
        y,
        batch_size=case["batch_size"],
        epochs=case["epochs"],
        shuffle=False,
        verbose=0,
        sample_weight=sample_weight,
        validation_split=case.get("validation_split", 0.0),
        **options,
    ).history

    assert set(history) == set(case["history"])
    for key, expected in case["history"].items():
        assert_close(history[key], expected, dtype)
    for found, expected in zip(model.get_weights(), case["final_weights"], strict=True):
        assert_close(found, expected, dtype)
    evaluated = {"batch_size": case["batch_size"], "sample_weight": sample_weight, "verbose": 0}
    by_name = model.evaluate(x, y, return_dict=True, **evaluated)
    assert set(by_name) == set(case["evaluate"])
    assert list(by_name) == model.metrics_names
    for key, expected in case["evaluate"].items():
        assert_close(by_name[key], expected, dtype)
    assert model.evaluate(x, y, **evaluated) == list(by_name.values())
    if "evaluate_list" in case:
        assert_close(list(by_name.values()), case["evaluate_list"], dtype)
    assert_close(model.predict(x, batch_size=case["batch_size"], verbose=0), case["predict"], dtype)


def test_every_kind_of_loss_and_of_argument_has_its_run():
    """The two crossentropies of one-hot and sparse targets share all but the targets; see tests/losses."""
    assert set(TABLE["problems"]) <= set(losses.__all__)
    assert {case["optimizer"]["class"] for case in CASES} == {"SGD", "Adam"}
    assert {case["variant"] for case in CASES} >= {
        *("plain", "sample_weight", "class_weight", "weighted_metrics", "validation_split"),
        *("validation_split_and_sample_weight", "class_weight_and_validation_split"),
        *("validation_data", "validation_data_with_weights"),
    }
