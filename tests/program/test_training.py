"""Layers and losses that give `call` alone: trained by what is recorded."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

from layerkit import Sequential, grad
from layerkit.layers import Dense, Layer, Sigmoid
from layerkit.losses import Loss, MeanSquaredError
from layerkit.optimizers import SGD
from layerkit.program import Recorder, Tape

XOR = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32), np.array([[0], [1], [1], [0]], np.float32)


class LinearCall(Layer):
    """Dense by its formula in the network word: its rule is the arithmetic that Dense's own backward has."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.bias = self.add_weight("bias", (self.units,), "zeros")

    def call(self, xp, x):
        return xp.linear(x, self.kernel, self.bias)


class OperatorsCall(LinearCall):
    def call(self, xp, x):
        return x @ self.kernel + self.bias


class SigmoidCall(Layer):
    def call(self, xp, x):
        return xp.sigmoid(x)


class FormulaCall(Layer):
    def call(self, xp, x):
        return 1.0 / (1.0 + xp.exp(-x))


class SquaredCall(Loss):
    def call(self, xp, y_true, y_pred):
        return xp.mean((y_pred - y_true) ** 2, axis=-1)


def trained(backend, dense, sigmoid, loss=MeanSquaredError, steps=20, dtype="float32"):
    kinds = [dense(8, name="a"), sigmoid(name="b"), dense(1, name="c"), sigmoid(name="d")]
    model = Sequential(kinds, seed=0, backend=backend, dtype=dtype)
    model.compile(optimizer=SGD(2.0), loss=loss())
    for _ in range(steps):
        model.train_on_batch(*XOR)
    return model.get_weights()


def test_xor_trained_by_what_is_recorded_has_the_bits_of_the_hand_written_layers(xp):
    eager = trained(xp, Dense, Sigmoid)
    recorded = trained(xp, LinearCall, SigmoidCall)
    for a, b in zip(eager, recorded, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("dense", "sigmoid", "loss"),
    [
        (OperatorsCall, SigmoidCall, MeanSquaredError),
        (Dense, FormulaCall, MeanSquaredError),
        (OperatorsCall, FormulaCall, SquaredCall),
    ],
)
def test_other_formulas_agree_to_rounding(xp, dense, sigmoid, loss):
    eager = trained(xp, Dense, Sigmoid, dtype="float64")
    recorded = trained(xp, dense, sigmoid, loss, dtype="float64")
    for a, b in zip(eager, recorded, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_nothing_of_a_step_outlives_it():
    model = Sequential([OperatorsCall(8), FormulaCall(), LinearCall(1), SigmoidCall()], seed=0)
    model.compile(optimizer=SGD(0.1), loss=SquaredCall())
    random = np.random.default_rng(0)
    x, y = random.random((256, 2), np.float32), random.random((256, 1), np.float32)

    def memory_after(steps):
        gc.collect()
        for _ in range(steps):
            model.train_on_batch(x, y)
        assert gc.collect() == 0  # nothing was left in a cycle; what the interpreter keeps for reuse is given back
        return tracemalloc.get_traced_memory()[0]

    model.train_on_batch(x, y)
    gc.disable()
    tracemalloc.start()
    try:
        early = memory_after(500)  # by then, what is kept for reuse has its full size
        late = memory_after(990)
    finally:
        tracemalloc.stop()
        gc.enable()
    # Not one activation of 990 steps is kept.
    assert late - early < 256 * 8 * 4


def test_variables_are_differentiated_through_derivatives_of_derivatives(xp):
    # A gradient penalty: L = Σ (d/dx Σ tanh(k x))² = Σ (k (1 - tanh²(k x)))²; dL/dk by the formula.
    class Penalised(Layer):
        def build(self, input_shape):
            self.k = self.add_weight("k", (), "ones")

        def call(self, xp, x):
            return grad(lambda xp, x: xp.sum(xp.tanh(self.k * x)))(x) ** 2

    layer = Penalised()
    x = np.array([[0.3, -0.7]])
    layer = Penalised(dtype="float64")
    layer(xp.asarray(x))
    layer.set_weights([np.array(0.8)])
    layer.to(xp)
    y, saved = layer.forward(xp, xp.asarray(x))
    dx, gradients = layer.backward(xp, saved, xp.ones_like(y))
    k, t = 0.8, np.tanh(0.8 * x)
    slope = k * (1 - t * t)
    np.testing.assert_allclose(xp.to_numpy(y), slope**2)
    np.testing.assert_allclose(xp.to_numpy(dx), 2 * slope * (-2 * k * k * t * (1 - t * t)))
    expected = np.sum(2 * slope * (1 - t * t) * (1 - 2 * k * x * t))
    np.testing.assert_allclose(xp.to_numpy(gradients["k"]), expected)


def test_state_assigned_in_a_pass_keeps_the_values_that_were_read(xp):
    class Centred(Layer):
        def build(self, input_shape):
            self.mean = self.add_weight("mean", (input_shape[-1],), "ones", trainable=False)

        def call(self, xp, x):
            y = x * self.mean
            xp.assign(self.mean, self.mean * 3.0)
            return y + x * self.mean  # the new one

    layer = Centred()
    x = xp.asarray(np.ones((2, 3), np.float32))
    layer(x)
    layer.set_weights([np.ones(3)])
    layer.to(xp)
    y, saved = layer.forward(xp, x)
    np.testing.assert_array_equal(xp.to_numpy(y), np.full((2, 3), 4.0))
    dx, _ = layer.backward(xp, saved, xp.ones_like(y))
    np.testing.assert_array_equal(xp.to_numpy(dx), np.full((2, 3), 4.0))
    np.testing.assert_array_equal(layer.get_weights()[0], np.full(3, 3.0))


def test_inference_does_not_record(monkeypatch):
    seen = []

    class Spy(Layer):
        def call(self, xp, x):
            seen.append(isinstance(xp, Recorder))
            return x * 2.0

    model = Sequential([Spy()], seed=0)
    model.compile(loss=SquaredCall(), run_eagerly=True)
    model.predict(XOR[0], verbose=0)
    model.evaluate(XOR[0], XOR[0], verbose=0)
    model.predict_on_batch(XOR[0])
    model.test_on_batch(XOR[0], XOR[0])
    model(XOR[0])
    assert seen
    assert not any(seen)


def test_a_tape_is_of_one_call_only(xp):
    x = xp.asarray(np.array([1.0, 2.0]))
    y, tape = Tape.record(xp, lambda xp, x: x * x, x)
    assert xp.owns(y)
    first = tape.gradients(xp.ones_like(y))[0][0]
    second = tape.gradients(xp.ones_like(y))[0][0]  # a tape can be read again
    np.testing.assert_array_equal(xp.to_numpy(first), xp.to_numpy(second))
