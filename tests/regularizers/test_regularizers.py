"""Regularizers against Keras's numbers (`tests/tables/regularizers.json`), and what all of them share."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import regularizers
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers import Dense
from layerkit.regularizers import L1, L1L2, L2, OrthogonalRegularizer, Regularizer
from layerkit.xp.registry import backend

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "regularizers.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
RELATIVE = {"float32": 1e-6, "float64": 1e-12}
# Gradients of cosines are differences of numbers of the size of the gradient.
EPSILON = {"float32": 1e-7, "float64": 1e-15}

CLASSES = {getattr(regularizers, name) for name in regularizers.__all__ if inspect.isclass(getattr(regularizers, name))}
CLASSES.remove(Regularizer)


def name_of(case):
    return "-".join([case["class"], *(f"{key}={value}" for key, value in case["kwargs"].items())])


class Cubes(Regularizer):
    """``Σ|x|³``: a regularizer of a user, without a gradient."""

    def call(self, xp, x):
        return xp.sum(xp.abs(x) ** 3)


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_penalties_and_gradients_are_those_of_keras(xp, case, dtype):
    regularizer = getattr(regularizers, case["class"])(**case["kwargs"])
    x = xp.asarray(np.array(case["x"], dtype))
    penalty, gradient = regularizer.penalty_and_gradient(xp, x)
    assert xp.to_numpy(regularizer(x)) == xp.to_numpy(penalty)
    np.testing.assert_array_equal(xp.to_numpy(regularizer.gradient(xp, x)), xp.to_numpy(gradient))
    assert penalty.dtype == gradient.dtype == x.dtype
    assert penalty.shape == ()
    np.testing.assert_allclose(xp.to_numpy(penalty), case["penalty"], rtol=RELATIVE[dtype])
    np.testing.assert_allclose(xp.to_numpy(gradient), case["gradient"], rtol=RELATIVE[dtype], atol=EPSILON[dtype])


@pytest.mark.parametrize("name", TABLE["defaults"])
def test_names_and_defaults_are_those_of_keras(name):
    assert regularizers.get(name).get_config() == TABLE["defaults"][name]


def test_every_regularizer_has_its_numbers():
    assert {case["class"] for case in CASES} == {cls.__name__ for cls in CLASSES}


@pytest.mark.parametrize("cls", sorted(CLASSES, key=lambda cls: cls.__name__))
def test_regularizers_are_given_by_name_class_or_object(cls):
    assert type(regularizers.get(cls.__name__)) is cls
    assert type(regularizers.get(cls)) is cls
    made = cls()
    assert regularizers.get(made) is made
    assert cls.from_config(made.get_config()).get_config() == made.get_config()


def test_short_names_are_those_of_keras():
    for name, cls in {"l1": L1, "l2": L2, "l1l2": L1L2, "orthogonal_regularizer": OrthogonalRegularizer}.items():
        assert type(regularizers.get(name)) is cls
    assert (regularizers.l1, regularizers.l2, regularizers.l1_l2) == (L1, L2, L1L2)
    assert regularizers.get(None) is None


@pytest.mark.parametrize(
    "own",
    [Cubes(), regularizers.get(lambda x: (abs(x) ** 3).sum()), regularizers.get(lambda xp, x: xp.sum(abs(x) ** 3))],
)
def test_the_derivative_of_ones_own_is_found(xp, own):
    """The derivative of |x|³ is 3 x |x|."""
    x = np.array([[1.0, -2.0], [0.5, 3.0]])
    np.testing.assert_allclose(xp.to_numpy(own(xp.asarray(x))), 36.125)
    np.testing.assert_allclose(xp.to_numpy(own.gradient(xp, xp.asarray(x))), 3 * x * np.abs(x), rtol=1e-15)


def test_a_list_will_do():
    assert float(L2(0.5)([1, 2, 3])) == 7.0


def test_a_matrix_of_one_row_has_no_angles():
    """Where Keras divides 0 by 0."""
    assert float(OrthogonalRegularizer()([[1.0, 2.0]])) == 0.0


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda: L1(-1), ArgumentError, "L1: l1 must be at least 0. Received: l1=-1"),
        (lambda: L2(float("nan")), ArgumentError, "L2: l2 must be at least 0. Received: l2=nan"),
        (
            lambda: L2(l1=0.1),
            ArgumentError,
            "L2: an argument must be one of the constructor's. Received: l1=0.1. Known names: l2.",
        ),
        (
            lambda: OrthogonalRegularizer(mode="row"),
            ArgumentError,
            "OrthogonalRegularizer: mode must be one of rows, columns. Received: mode='row'. Did you mean 'rows'?",
        ),
        (
            lambda: OrthogonalRegularizer()([1.0, 2.0]),
            ShapeError,
            "OrthogonalRegularizer: the weight must be a matrix. Received: shape (2,)",
        ),
        (
            lambda: regularizers.get("l3"),
            ArgumentError,
            "regularizer: the name must be a known one. Received: 'l3'. Known names: L1, L1L2, L2, "
            "OrthogonalRegularizer, l1, l1_l2, l1l2, l2, orthogonal, orthogonal_regularizer.",
        ),
        (
            lambda: regularizers.get(0.01),
            ArgumentError,
            "regularizer: it must be a name, a Regularizer, or a function f(x) or f(xp, x). Received: 0.01",
        ),
        (
            lambda: Regularizer()([1.0]),
            ArgumentError,
            "Regularizer: a regularizer must define call(self, xp, x). Received: none. "
            "See layerkit.regularizers.L2 for an example.",
        ),
        (
            lambda: regularizers.get(abs)([1.0, 2.0]),
            ShapeError,
            "FunctionRegularizer(<built-in function abs>): a penalty must be one number, an array of shape (). "
            "Received: shape (2,)",
        ),
    ],
)
def test_bad_input_gets_a_sentence(make, error, sentence):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == sentence


class SquaresOfKeras(Regularizer):
    """As a regularizer is written for Keras."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * np.sum(np.square(x))


def test_one_written_for_keras_is_taken():
    x = np.array([[1.0, -2.0], [0.5, 0.0]])
    penalty, gradient = SquaresOfKeras(0.5).penalty_and_gradient(backend("numpy"), x)
    np.testing.assert_allclose(penalty, 0.5 * 5.25)
    np.testing.assert_allclose(gradient, x)
    dense = Dense(2, kernel_initializer=x, kernel_regularizer=SquaresOfKeras(0.5))
    dense.build((None, 2))
    np.testing.assert_allclose(dense.losses, [0.5 * 5.25])
