"""Constraints against Keras's numbers (`tests/tables/constraints.json`), and what all of them share."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, constraints
from layerkit.constraints import Constraint, MaxNorm, MinMaxNorm, NonNeg, UnitNorm
from layerkit.constraints.norms import NormConstraint
from layerkit.errors import ArgumentError
from layerkit.layers import Dense

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "constraints.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
RELATIVE = {"float32": 1e-6, "float64": 1e-12}

CLASSES = {getattr(constraints, name) for name in constraints.__all__ if inspect.isclass(getattr(constraints, name))}
CLASSES.remove(Constraint)


def name_of(case):
    return "-".join([case["class"], *(f"{key}={value}" for key, value in case["kwargs"].items())])


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_projections_are_those_of_keras(xp, case, dtype):
    x = xp.asarray(np.array(case["x"], dtype))
    y = getattr(constraints, case["class"])(**case["kwargs"])(x)
    assert y.dtype == x.dtype
    np.testing.assert_allclose(xp.to_numpy(y), case["y"], rtol=RELATIVE[dtype])


@pytest.mark.parametrize("name", TABLE["defaults"])
def test_names_and_defaults_are_those_of_keras(name):
    assert constraints.get(name).get_config() == TABLE["defaults"][name]


def test_every_constraint_has_its_numbers():
    assert {case["class"] for case in CASES} == {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__))
def test_constraints_are_given_by_name_class_or_object(cls):
    assert type(constraints.get(cls.__name__)) is cls
    assert type(constraints.get(cls)) is cls
    made = cls()
    assert constraints.get(made) is made
    assert cls.from_config(made.get_config()).get_config() == made.get_config()


def test_short_names_are_those_of_keras():
    shorts = {"max_norm": MaxNorm, "min_max_norm": MinMaxNorm, "non_neg": NonNeg, "unit_norm": UnitNorm}
    for name, cls in shorts.items():
        assert type(constraints.get(name)) is cls
        assert getattr(constraints, name) is cls
    assert constraints.get(None) is None


def test_a_function_is_a_constraint(xp):
    clipped = constraints.get(lambda xp, x: xp.clip(x, -1.0, 1.0))
    np.testing.assert_array_equal(xp.to_numpy(clipped(xp.asarray([-3.0, 0.5, 2.0]))), [-1.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: MaxNorm(-1), "MaxNorm: max_value must be at least 0. Received: max_value=-1"),
        (lambda: MinMaxNorm(2.0, 1.0), "MinMaxNorm: max_value must be at least 2.0. Received: max_value=1.0"),
        (lambda: MinMaxNorm(rate=1.5), "MinMaxNorm: rate must be from 0 to 1. Received: rate=1.5"),
        (
            lambda: UnitNorm(axis="rows"),
            "UnitNorm: axis must be an integer, or a tuple of integers, each once. Received: axis='rows'",
        ),
        (
            lambda: UnitNorm(axis=(1, 1)),
            "UnitNorm: axis must be an integer, or a tuple of integers, each once. Received: axis=(1, 1)",
        ),
        (
            lambda: constraints.get("nonneg"),
            "constraint: the name must be a known one. Received: 'nonneg'. Did you mean 'NonNeg'?",
        ),
        (
            lambda: constraints.get(2),
            "constraint: it must be a name, a Constraint, or a function f(x) or f(xp, x). Received: 2",
        ),
        (
            lambda: Constraint()([1.0]),
            "Constraint: a constraint must define call(self, xp, x). Received: none. "
            "See layerkit.constraints.NonNeg for an example.",
        ),
        (
            lambda: NormConstraint()([1.0]),
            "NormConstraint: a constraint on lengths must define desired(self, xp, norm). Received: none.",
        ),
    ],
)
def test_bad_input_gets_a_sentence(make, sentence):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == sentence


class PositiveOfKeras(Constraint):
    """As a constraint is written for Keras."""

    def __call__(self, w):
        return w * (w > 0)


def test_one_written_for_keras_is_taken():
    ours, theirs = (
        Sequential([Input((2,)), Dense(3, kernel_constraint=constraint)], seed=0)
        for constraint in (NonNeg(), PositiveOfKeras())
    )
    x = np.array([[1.0, 2.0], [-1.0, 0.5]])
    for model in (ours, theirs):
        model.compile("sgd", "mse")
        model.fit(x, -np.ones((2, 3)), epochs=5, batch_size=1, shuffle=False, verbose=0)
    assert (theirs.get_weights()[0] == 0).any()
    np.testing.assert_array_equal(theirs.get_weights()[0], ours.get_weights()[0])
