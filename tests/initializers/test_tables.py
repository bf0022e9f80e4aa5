"""Initializers against numbers made with Keras: `tests/tables/initializers.json`.

The random numbers are others than Keras's. So what is compared is what Keras draws from: the distribution, with its
parameters, for each shape. What layerkit draws must then have the moments of that distribution.
"""

from __future__ import annotations

import inspect
import json
import math
from pathlib import Path

import numpy as np
import pytest

from layerkit import initializers
from layerkit.errors import ShapeError
from layerkit.initializers.scaling import fans

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "initializers.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
ROWS = [(case, row) for case in CASES for row in case["shapes"]]
DRAWN = [(case, row) for case, row in ROWS if row.get("drawn_from") and case["name"] != "orthogonal"]

BY_FORMULA = {"Identity", "STFT"}  # Keras has them, the table does not: see test_initializers.py

# Five standard errors: a sound draw fails once in two million.
SIGMAS = 5.0


def name_of(case):
    return "-".join([case["name"], *(f"{key}={value}" for key, value in case["kwargs"].items())])


def made(case, **options):
    kwargs = {**case["kwargs"], **options}
    if case["name"] in ("zeros", "ones", "constant"):
        kwargs.pop("seed", None)
    return getattr(initializers, case["class"])(**kwargs)


def moments(drawn: dict) -> tuple[float, float, float, float, float]:
    """Return mean, variance, fourth central moment, lowest and highest value of a distribution."""
    if drawn["distribution"] == "uniform":
        low, high = drawn["minval"], drawn["maxval"]
        width = high - low
        return (low + high) / 2, width**2 / 12, width**4 / 80, low, high
    mean, sigma = drawn.get("mean", 0.0), drawn.get("stddev", 1.0)
    if drawn["distribution"] == "normal":
        return mean, sigma**2, 3 * sigma**4, -math.inf, math.inf
    # Of the standard normal distribution on [-2, 2], with density φ and probability P: E[z²] = 1 - 4 φ(2) / P, and by
    # parts E[z⁴] = 3 E[z²] - 16 φ(2) / P.
    ratio = math.exp(-2.0) / math.sqrt(2.0 * math.pi) / math.erf(math.sqrt(2.0))
    second = 1.0 - 4.0 * ratio
    return mean, sigma**2 * second, sigma**4 * (3.0 * second - 16.0 * ratio), mean - 2 * sigma, mean + 2 * sigma


@pytest.mark.parametrize(
    ("case", "row"), DRAWN, ids=lambda value: "x".join(map(str, value["shape"])) if "shape" in value else name_of(value)
)
def test_a_draw_has_the_moments_of_what_keras_draws_from(case, row):
    """Many draws of the shape: mean, variance, limits."""
    mean, variance, fourth, low, high = moments(row["drawn_from"])
    shape = tuple(row["shape"])
    initializer = made(case)
    count = min(1 + 200_000 // math.prod(shape), 400)
    values = np.concatenate([initializer.values(shape, "float64", 7, f"w{i}").ravel() for i in range(count)])
    n = values.size
    assert values.mean() == pytest.approx(mean, abs=SIGMAS * math.sqrt(variance / n))
    assert values.var() == pytest.approx(variance, abs=SIGMAS * math.sqrt((fourth - variance**2) / n))
    assert low <= values.min()
    assert values.max() <= high
    if math.isfinite(low) and n > 100_000:  # so many draws come close to the limits
        assert values.min() == pytest.approx(low, abs=1e-3 * (high - low))
        assert values.max() == pytest.approx(high, abs=1e-3 * (high - low))


@pytest.mark.parametrize(
    "row", [row for case, row in ROWS if case["name"] == "zeros"], ids=lambda row: str(row["shape"])
)
def test_fans_are_those_of_keras(row):
    assert fans(tuple(row["shape"])) == (row["fan_in"], row["fan_out"])


@pytest.mark.parametrize("case", [case for case in CASES if case["shapes"][0]["drawn_from"] is None], ids=name_of)
def test_constants_are_those_of_keras(case):
    drawn = case["draw"]
    values = made(case)(drawn["shape"])
    assert values.shape == tuple(drawn["shape"])
    assert np.unique(values).tolist() == [drawn["mean"]]


@pytest.mark.parametrize("case", [case for case in CASES if case["name"] == "orthogonal"], ids=name_of)
@pytest.mark.parametrize("shape", [(20, 30), (30, 20), (20, 20), (3, 3, 4, 8)])
def test_orthogonal_rows_or_columns_have_the_norm_that_keras_gives_them(case, shape):
    norm = case["draw"]["rows_orthogonal_with_norm"]
    matrix = made(case, seed=1)(shape, "float64").reshape(-1, shape[-1])
    gram = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(gram, norm**2 * np.eye(len(gram)), atol=1e-13)


def test_orthogonal_refuses_a_vector_as_keras_does():
    (row,) = (row for case, row in ROWS if "error" in row and not case["kwargs"])
    with pytest.raises(ShapeError) as caught:
        initializers.Orthogonal()(row["shape"])
    assert str(caught.value) == "Orthogonal: the weight must have at least two axes. Received: shape (7,)"


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_names_and_defaults_are_those_of_keras(case):
    made_by_name = initializers.get(case["name"])
    assert type(made_by_name).__name__ == case["class"]
    expected = case["defaults"]
    assert made_by_name.get_config() == expected
    assert list(inspect.signature(type(made_by_name)).parameters) == list(expected)


def test_every_initializer_has_its_numbers():
    public = [getattr(initializers, name) for name in initializers.__all__]
    classes = {item.__name__ for item in public if inspect.isclass(item)} - {"Initializer"}
    assert {case["class"] for case in CASES} | BY_FORMULA == classes
