"""L-BFGS: on functions with known minima, on least squares, beside SciPy's, and what it asks of `fit`."""

from __future__ import annotations

import itertools
import pickle
import re

import numpy as np
import pytest
import scipy.optimize

import layerkit
from layerkit import Input, Sequential, Variable
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.losses import BinaryCrossentropy
from layerkit.optimizers import LBFGS, OptimizerMap
from layerkit.optimizers.line_search import CURVATURE, DECREASE, Point, strong_wolfe

X = np.random.default_rng(0).standard_normal((40, 3))
Y = np.sin(X.sum(axis=1, keepdims=True))


def rosenbrock(w):
    """Rosenbrock, Comput. J. 3 (1960): the minimum 0 at (1, …, 1)."""
    return (100.0 * (w[1:] - w[:-1] ** 2) ** 2 + (1.0 - w[:-1]) ** 2).sum()


def beale(w):
    """Beale (1958), number 5 of Moré, Garbow and Hillstrom, TOMS 7 (1981): 0 at (3, 1/2)."""
    x, y = w[0], w[1]
    return (1.5 - x * (1 - y)) ** 2 + (2.25 - x * (1 - y**2)) ** 2 + (2.625 - x * (1 - y**3)) ** 2


def powell(w):
    """Powell's singular function, number 13 there, whose Hessian at the minimum 0 is singular."""
    a, b, c, d = w[0], w[1], w[2], w[3]
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


PROBLEMS = {
    "rosenbrock": (rosenbrock, [-1.2, 1.0], [1.0, 1.0]),
    "rosenbrock of 10": (rosenbrock, [-1.2, 1.0] * 5, [1.0] * 10),
    "beale": (beale, [1.0, 1.0], [3.0, 0.5]),
    "powell": (powell, [3.0, -1.0, 0.0, 1.0], None),
}


def minimized(xp, function, first, steps, optimizer=None, dtype="float64"):
    w = Variable(np.array(first), dtype, "w", xp=layerkit.backend(xp))
    gradient_of = layerkit.value_and_grad(function)

    def evaluate():
        loss, gradient = gradient_of(w.value)
        return loss, [gradient]

    return (optimizer or LBFGS()).minimize(evaluate, [w], steps), w


@pytest.mark.parametrize("name", PROBLEMS)
def test_known_minima_are_found(name):
    function, first, expected = PROBLEMS[name]
    loss, w = minimized("numpy", function, first, 100)
    assert loss < 1e-12
    if expected is not None:
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-6)
    theirs = scipy.optimize.minimize(function, first, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    assert loss <= theirs.fun + 1e-9


def test_a_minimum_is_found_on_each_backend(xp):
    _, w = minimized(xp, beale, [1.0, 1.0], 15)
    np.testing.assert_allclose(w.numpy(), [3.0, 0.5], rtol=1e-4)


def model_of(xp="numpy", dtype="float64", optimizer=None, **options):
    stack = [Input((3,)), Dense(8, "tanh", kernel_regularizer="l2"), Dense(1)]
    model = Sequential(stack, seed=1, dtype=dtype, backend=xp)
    model.compile(optimizer or LBFGS(), "mse", metrics=["mae"], **options)
    return model


def test_a_linear_regression_reaches_least_squares(xp):
    model = Sequential([Input((3,)), Dense(1)], dtype="float64", backend=xp)
    model.compile("lbfgs", "mse")
    history = model.fit(X, Y, epochs=30, verbose=0).history["loss"]
    solution, squares, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]), Y, rcond=None)
    np.testing.assert_allclose(
        np.concatenate([model.get_weights()[0], model.get_weights()[1][None]]), solution, rtol=1e-6
    )
    np.testing.assert_allclose(history[-1], squares[0] / len(X), rtol=1e-12)


def test_a_logistic_regression_reaches_the_optimum_that_scipy_finds(xp):
    flags = (Y > 0.1).astype(float)
    model = Sequential([Input((3,)), Dense(1, kernel_regularizer="l2")], dtype="float64", backend=xp)
    model.compile(LBFGS(), BinaryCrossentropy(from_logits=True))

    def loss_of(w):
        z = X @ w[:3, None] + w[3]
        return np.mean(np.logaddexp(0.0, z) - flags * z) + 0.01 * np.sum(w[:3] ** 2)

    first = np.concatenate([weight.ravel() for weight in model.get_weights()])
    history = model.fit(X, flags, epochs=25, verbose=0).history["loss"]
    theirs = scipy.optimize.minimize(loss_of, first, method="L-BFGS-B", options={"ftol": 1e-16, "gtol": 1e-9})
    np.testing.assert_allclose(history[0], loss_of(first), rtol=1e-12)
    np.testing.assert_allclose(history[-1], theirs.fun, rtol=1e-10)
    found = np.concatenate([weight.ravel() for weight in model.get_weights()])
    np.testing.assert_allclose(found, theirs.x, rtol=1e-4)
    np.testing.assert_allclose(model.optimizer.loss.numpy(), loss_of(found), rtol=1e-12)  # what the search went by


def test_a_network_is_trained_far_in_few_steps(xp):
    history = model_of(xp).fit(X, Y, epochs=60, verbose=0).history["loss"]
    assert all(b <= a for a, b in itertools.pairwise(history))
    assert history[-1] < 0.05 * history[0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_captured_and_eager_steps_are_the_same(xp, dtype):
    found = []
    for options in ({"jit_compile": True}, {"run_eagerly": True}):
        model = model_of(xp, dtype, **options)
        model.fit(X, Y, epochs=6, verbose=0)
        found.append(model.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(
            a, b, rtol=1e-3 if dtype == "float32" else 1e-8, atol=1e-4 if dtype == "float32" else 0
        )


def test_a_frozen_layer_stays_and_parts_of_a_model_are_searched(xp):
    model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(4, "tanh"), Dense(1)], seed=0, dtype="float64", backend=xp)
    model.layers[1].trainable = False
    before = model.layers[1].get_weights()
    model.compile(LBFGS(), "mse")
    history = model.fit(X, Y, epochs=20, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]
    for a, b in zip(before, model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_that_is_saved_goes_on_as_it_would_have(tmp_path):
    whole = model_of()
    whole.fit(X, Y, epochs=8, verbose=0)
    for again in (
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: (model.save(tmp_path / "m.layerkit"), layerkit.load_model(tmp_path / "m.layerkit"))[1],
    ):
        parts = model_of()
        parts.fit(X, Y, epochs=4, verbose=0)
        parts = again(parts)
        parts.fit(X, Y, epochs=4, verbose=0)
        for a, b in zip(whole.get_weights(), parts.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10)


def test_a_constraint_holds_after_each_step():
    w = Variable(np.array([-1.2, 1.0]), "float64", "w")
    w.constraint = layerkit.constraints.NonNeg()
    gradient_of = layerkit.value_and_grad(lambda w: ((w + 1.0) ** 2).sum())

    def evaluate():
        loss, gradient = gradient_of(w.value)
        return loss, [gradient]

    assert LBFGS().minimize(evaluate, [w], 5) == 2.0
    np.testing.assert_array_equal(w.numpy(), [0.0, 0.0])


def test_where_nothing_is_lower_the_weights_stay():
    loss, w = minimized("numpy", lambda w: (w * w).sum(), [0.0, 0.0], 3)
    assert loss == 0
    np.testing.assert_array_equal(w.numpy(), [0.0, 0.0])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_line_search_fulfils_the_conditions(scale):
    """The functions of Moré and Thuente, TOMS 20 (1994), section 5, numbers 5.1 and 5.2."""
    for value, slope in (
        (lambda a: -a / (a * a + 2), lambda a: (a * a - 2) / (a * a + 2) ** 2),
        (lambda a: (a + 0.004) ** 5 - 2 * (a + 0.004) ** 4, lambda a: 5 * (a + 0.004) ** 4 - 8 * (a + 0.004) ** 3),
    ):
        start = Point(0.0, value(0.0), slope(0.0))
        count = []

        def at(a, value=value, slope=slope, count=count):
            count.append(a)
            return Point(a, value(a), slope(a))

        found = strong_wolfe(at, start, scale, 60)
        assert found.value <= start.value + DECREASE * found.length * start.slope
        assert abs(found.slope) <= CURVATURE * abs(start.slope)
        assert len(count) < 60


def test_what_is_refused():
    model = model_of()
    for function, sentence in (
        (
            lambda: model.fit(X, Y, batch_size=10, verbose=0),
            "fit: lbfgs needs all rows in each step. Received: 4 batches an epoch. Leave out batch_size, or give an "
            "iterable of one batch.",
        ),
        (
            lambda: LBFGS().apply([np.ones(2)]),
            "lbfgs: a step needs the gradient at several points. Received: apply, with that at one. Use "
            "minimize(function, variables).",
        ),
        (
            lambda: model.explain(X[:2], Y[:2]),
            "explain: a step is shown that computes its gradient once. Received: one of lbfgs, which searches. Compile "
            "with another optimizer.",
        ),
        (
            lambda: LBFGS(history_size=0),
            "lbfgs: history_size must be an integer of at least 1. Received: history_size=0",
        ),
        (
            lambda: LBFGS(history_size=1001),
            "lbfgs: history_size must be at most 1000. Received: history_size=1001",
        ),
        (
            lambda: LBFGS(max_evaluations=1),
            "lbfgs: max_evaluations must be an integer of at least 2. Received: max_evaluations=1",
        ),
        (
            lambda: OptimizerMap(LBFGS()),
            "OptimizerMap: lbfgs needs all parameters of a model. Received: it, for default_optimizer",
        ),
    ):
        before = model.get_weights()
        with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
            function()
        for a, b in zip(before, model.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
