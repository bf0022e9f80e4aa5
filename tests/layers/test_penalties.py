"""Training with regularizers, constraints and normalization against Keras's runs: `tests/tables/penalties.json`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Layer, Sequential, constraints, layers, regularizers
from layerkit.errors import ShapeError
from layerkit.layers import ActivityRegularization, Dense
from layerkit.optimizers import SGD

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "penalties.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
X, Y = np.array(TABLE["x"]), np.array(TABLE["y"])
RELATIVE = {"float32": 1e-5, "float64": 1e-11}


def made(kind, kwargs):
    """Return a layer of the table, with regularizers and constraints made from their names and arguments."""
    options = {}
    for key, value in kwargs.items():
        options[key] = value
        if isinstance(value, list):
            room = constraints if "constraint" in key else regularizers
            names = {"UnitNorm": ["axis"], "MaxNorm": ["max_value"], "L1": ["l1"], "L2": ["l2"], "L1L2": ["l1", "l2"]}
            options[key] = getattr(room, value[0])(**dict(zip(names[value[0]], value[1:], strict=True)))
    return getattr(layers, kind)(**options)


def model_of(case, xp, dtype, **options):
    model = Sequential([Input((3,)), *(made(*each) for each in case["layers"])], seed=0, backend=xp, dtype=dtype)
    model.set_weights([np.array(values) for values in case["weights"]])
    model.compile(SGD(0.0625, momentum=0.5), "mse", **options)
    return model


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_run_is_that_of_keras(xp, case, dtype):
    model = model_of(case, xp, dtype)
    history = model.fit(X, Y, batch_size=4, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], case["loss"], rtol=RELATIVE[dtype])
    for found, expected in zip(model.get_weights(), case["final_weights"], strict=True):
        scale = np.max(np.abs(expected), initial=1.0)
        np.testing.assert_allclose(found, expected, rtol=RELATIVE[dtype], atol=RELATIVE[dtype] * scale)
    evaluated = model.evaluate(X, Y, batch_size=4, verbose=0)
    np.testing.assert_allclose(evaluated, case["evaluate"], rtol=RELATIVE[dtype])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_replayed_run_is_that_of_eager_steps(case):
    captured, eager = model_of(case, "numpy", "float64"), model_of(case, "numpy", "float64", run_eagerly=True)
    for model in (captured, eager):
        model.fit(X, Y, batch_size=5, epochs=4, verbose=0)
    for found, expected in zip(captured.get_weights(), eager.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_gradients_with_penalties_are_the_derivative_of_the_loss(case):
    if case["name"] != "a frozen layer":  # whose weights have no gradient
        model_of(case, "numpy", "float64").check_gradients(X, Y)


class Penalized(Layer):
    """``y = x w``, with ``Σw²`` and the mean of y² added to the loss."""

    def build(self, input_shape):
        self.w = self.add_weight("w", (input_shape[-1],), "ones")

    def call(self, xp, x):
        y = x * self.w
        self.add_loss([xp.sum(self.w * self.w), xp.mean(y * y)])
        return y


class Outer(Layer):
    """Layers with penalties inside a layer."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = [
            Penalized(),
            Dense(3, activity_regularizer="l2", kernel_regularizer="l1"),
            ActivityRegularization(0.5),
        ]

    def call(self, xp, x):
        for layer in self.inner:
            x = layer(x)
        return x


def trained(layer, **options):
    model = Sequential([Input((3,)), layer], seed=0, dtype="float64")
    model.compile(SGD(0.125), "mse", **options)
    return model


def test_add_loss_is_part_of_the_loss():
    model = trained(Penalized())
    y_true = np.zeros_like(X)
    mean = (X * X).mean()
    assert model.evaluate(X, y_true, verbose=0) == pytest.approx(3.0 + 2 * mean, rel=1e-12)
    assert model.train_on_batch(X, y_true) == pytest.approx(3.0 + 2 * mean, rel=1e-12)
    # d(Σw² + 2 mean(x² w²))/dw at w = 1
    expected = 1.0 - 0.125 * (2.0 + 4.0 * (X * X).mean(axis=0) / 3)
    np.testing.assert_allclose(model.get_weights()[0], expected, rtol=1e-12)


@pytest.mark.parametrize("layer", [Penalized, Outer])
def test_penalties_inside_layers_have_their_gradient(layer):
    trained(layer()).check_gradients(X, np.ones_like(X))


def test_penalties_of_inner_layers_are_part_of_the_loss_once():
    model = trained(Outer())
    flat = trained_flat()
    flat.set_weights(model.get_weights())
    y_true = np.ones_like(X)
    assert model.evaluate(X, y_true, verbose=0) == pytest.approx(flat.evaluate(X, y_true, verbose=0), rel=1e-12)
    for each in (model, flat):
        each.fit(X, y_true, epochs=3, shuffle=False, verbose=0)
    for found, expected in zip(model.get_weights(), flat.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def trained_flat():
    inner = [Penalized(), Dense(3, activity_regularizer="l2", kernel_regularizer="l1"), ActivityRegularization(0.5)]
    model = Sequential([Input((3,)), *inner], seed=0, dtype="float64")
    model.compile(SGD(0.125), "mse")
    return model


def test_a_penalty_of_other_shape_is_refused():
    class Wrong(Layer):
        def call(self, xp, x):
            self.add_loss(x)
            return x

    with pytest.raises(ShapeError) as caught:
        Wrong()(X)
    assert str(caught.value) == (
        "wrong: add_loss takes one number, an array of shape (). Received: an array of shape (10, 3)"
    )


def test_a_frozen_layers_weights_are_not_penalized():
    model = trained(Dense(3, kernel_regularizer="l2"))
    penalized = model.evaluate(X, X, verbose=0)
    model.layers[0].trainable = False
    kernel = model.get_weights()[0]
    assert model.evaluate(X, X, verbose=0) == pytest.approx(penalized - 0.01 * (kernel * kernel).sum(), rel=1e-12)


def test_the_penalties_on_weights_can_be_read(xp):
    layers = [Dense(2, kernel_regularizer="l2", bias_regularizer="l1", kernel_initializer="ones"), Dense(1)]
    model = Sequential([Input((3,)), *layers], backend=xp)
    np.testing.assert_allclose([xp.to_numpy(penalty) for penalty in model.losses], [0.01 * 6, 0.0], rtol=1e-6)
    layers[0].set_weights([np.full((3, 2), 2.0), np.array([1.0, -2.0])])
    np.testing.assert_allclose([xp.to_numpy(penalty) for penalty in layers[0].losses], [0.01 * 24, 0.03], rtol=1e-6)
    layers[0].trainable = False
    assert model.losses == layers[1].losses == []


def test_constraints_hold_after_each_step():
    model = trained(Dense(3, kernel_constraint="unit_norm", bias_constraint=lambda xp, x: xp.clip(x, -0.01, 0.01)))
    for _ in range(3):
        model.train_on_batch(X, 5.0 * X)
        kernel, bias = model.get_weights()
        np.testing.assert_allclose((kernel * kernel).sum(axis=0), 1.0, rtol=1e-6)
        assert np.abs(bias).max() == pytest.approx(0.01)


def test_copies_keep_regularizers_and_constraints():
    import copy

    model = trained(Dense(3, kernel_regularizer="l2", kernel_constraint="unit_norm"))
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each.fit(X, X, epochs=2, shuffle=False, verbose=0)
    for found, expected in zip(twin.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
