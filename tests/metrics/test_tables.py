"""Metrics against numbers made with Keras: `tests/tables/metrics.json`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, losses, metrics
from layerkit.layers import Linear

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "metrics.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}

# Keras computes these in float32, whatever the data.
SINGLE = {"IoU", "MeanIoU", "BinaryIoU", "OneHotIoU", "OneHotMeanIoU"}

# Made of a function, which no table can hold: tested in test_metrics.py.
BY_FORMULA = {"MeanMetricWrapper"}


def name_of(case):
    batch = case["batches"][0]
    shapes = ["x".join(map(str, np.shape(values))) or "number" for values in batch.values()]
    options = [f"{key}={value}" for key, value in case["kwargs"].items()]
    return "-".join([case["class"], *options, *shapes, *(["weighted"] if "sample_weight" in batch else [])])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_results_are_those_of_keras(xp, case, dtype):
    """Totals are float64, so that float32 data gives Keras's float64 number, as far as the data is exact."""
    metric = getattr(metrics, case["class"])(**case["kwargs"]).to(xp)
    tolerance = TOLERANCE["float32" if case["class"] in SINGLE else dtype]
    if case["result_before"] is not None:
        np.testing.assert_array_equal(metric.result(), case["result_before"])
    for batch, expected in zip(case["batches"], case["results"], strict=True):
        arrays = {key: np.array(values) for key, values in batch.items()}
        arrays = {key: xp.asarray(a.astype(dtype) if a.dtype.kind == "f" else a) for key, a in arrays.items()}
        weight = arrays.pop("sample_weight", None)
        metric.update_state(*arrays.values(), sample_weight=weight)
        # A mean of values of both signs keeps the rounding of the greatest.
        absolute = 1e-7 if dtype == "float32" else 1e-15
        np.testing.assert_allclose(metric.result(), expected, rtol=tolerance, atol=absolute)
    metric.reset_state()
    if case["result_after_reset"] is not None:
        np.testing.assert_array_equal(metric.result(), case["result_after_reset"])


@pytest.mark.parametrize("text", ["accuracy", "acc"])
@pytest.mark.parametrize(
    "row", TABLE["accuracy_string"], ids=lambda row: f"{row['y_true_shape']}-{row['y_pred_shape']}"
)
def test_accuracy_stands_for_the_metric_that_keras_takes(row, text):
    metric = metrics.resolve(text, tuple(row["y_true_shape"]), tuple(row["y_pred_shape"]))
    assert (type(metric).__name__, metric.name) == (row[text]["class"], row[text]["name"])


@pytest.mark.parametrize(
    "row", TABLE["accuracy_string"], ids=lambda row: f"{row['y_true_shape']}-{row['y_pred_shape']}"
)
def test_a_model_resolves_accuracy_by_its_data(row):
    y_true, y_pred = np.zeros(row["y_true_shape"], int), np.zeros(row["y_pred_shape"])
    model = Sequential([Input(y_pred.shape[1:]), Linear()])
    model.compile(loss=None, metrics=["accuracy"])
    model.evaluate(y_pred, y_true, verbose=0)
    assert type(model.metrics[-1]).__name__ == row["accuracy"]["class"]


@pytest.mark.parametrize("row", TABLE["metric_names"], ids=lambda row: row["given"])
def test_a_metric_is_reported_as_by_keras(row):
    given = row["given"]
    name = given.removeprefix("function ")
    identifier = getattr(losses, name) if given != name else eval(given, dict(vars(metrics)))
    model = Sequential([Input((1,)), Linear()])
    model.compile("sgd", "mse", metrics=[identifier])
    assert list(model.evaluate([[1.0]], [[1.0]], verbose=0, return_dict=True))[1:] == [row["reported"]]
    assert type(model.metrics[-1]).__name__ == row["class"]


@pytest.mark.parametrize("name", TABLE["class_defaults"])
def test_defaults_are_those_of_keras(name):
    case = next(case for case in CASES if case["class"] == name)
    keras = {**TABLE["class_defaults"][name], "name": TABLE["names"][name]}
    required = {argument: value for argument, value in case["kwargs"].items() if argument not in keras}
    made = getattr(metrics, name)(**required)
    assert made.name == keras["name"]
    config = made.get_config()
    assert {argument: _listed(config[argument]) for argument in config if argument not in required} == keras
    assert type(made).from_config(config).get_config() == config


def _listed(value):
    """Return what JSON makes of a tuple."""
    return list(value) if isinstance(value, tuple) else value


def test_every_metric_has_its_numbers():
    classes = {name for name in metrics.__all__ if inspect.isclass(getattr(metrics, name))} - {"Metric"}
    assert {case["class"] for case in CASES} | BY_FORMULA == classes
    assert set(TABLE["class_defaults"]) | BY_FORMULA == classes
