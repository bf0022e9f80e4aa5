"""Spectral normalization: against Keras, and what the paper says of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, layers, optimizers
from layerkit.layers import Dense, Embedding, Layer, SpectralNormalization
from layerkit.layers.layer import Home
from layerkit.testing import check_layer

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "preprocessing.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
X = np.random.default_rng(0).standard_normal((6, 3))


class Plain(Layer):
    """A layer whose derivative is recorded."""

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], 2), "ones")
        self.inner = Dense(2)

    def call(self, xp, x):
        return self.inner(xp.tanh(x @ self.kernel))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["class"] + str(case["power_iterations"]))
def test_passes_in_training_are_those_of_keras(xp, case, dtype):
    relative = {"float32": 1e-6, "float64": 1e-12}[dtype]
    layer = SpectralNormalization(getattr(layers, case["class"])(**case["kwargs"]), case["power_iterations"])
    layer.settle(Home(xp, dtype, 0, "layer"))
    x = np.array(case["x"])
    layer.build((None, *x.shape[1:]))
    layer.set_weights([np.array(case["vector_u"]), *map(np.array, case["weights"])])
    y, saved = layer.run_forward(xp, xp.asarray(x.astype(dtype)), training=True)
    _, gradients = layer.run_backward(xp, saved, xp.asarray(np.array(case["dy"], dtype)))
    close(xp.to_numpy(y), case["y"], relative)
    close(xp.to_numpy(layer.vector_u), case["new_u"], relative)
    inner = layer.layer.named_weights()
    for name, expected in zip(inner, case["gradients"], strict=True):
        close(xp.to_numpy(gradients[f"layer/{name}"]), expected, 10 * relative)


def close(found, expected, relative):
    expected = np.array(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * np.max(np.abs(expected)))


@pytest.mark.parametrize("inner", [Dense(2), Dense(4, "tanh"), Plain(), layers.EinsumDense("ab,bc->ac", 2)])
def test_check_layer(inner, xp):
    """With so many iterations the vectors are the singular ones, of which the derivative of σ is made."""

    layer = SpectralNormalization(copy.deepcopy(inner), power_iterations=200)
    check_layer(layer, (4, 3), xp=xp)


def test_an_embedding_is_divided(xp):
    layer = SpectralNormalization(Embedding(5, 3), power_iterations=100)
    y = xp.to_numpy(layer(xp.asarray(np.arange(5))))
    assert np.linalg.norm(y, 2) == pytest.approx(1.0, rel=1e-5)


def test_after_some_steps_the_kernel_is_one_of_spectral_norm_1(xp):
    model = Sequential([Input((3,)), SpectralNormalization(Dense(4, use_bias=False), 5)], dtype="float64", backend=xp)
    model.compile(optimizers.SGD(0.01), "mse", jit_compile=True)
    before = model.layers[0].vector_u.copy() if hasattr(model.layers[0].vector_u, "copy") else None
    model.fit(X, X @ np.ones((3, 4)), epochs=100, verbose=0)
    assert before is None or not np.array_equal(xp.to_numpy(before), xp.to_numpy(model.layers[0].vector_u))
    used = model.predict(np.eye(3), verbose=0)
    assert np.linalg.norm(used, 2) == pytest.approx(1.0, rel=1e-3)
    kernel = model.layers[0].layer.kernel
    np.testing.assert_allclose(used * np.linalg.norm(xp.to_numpy(kernel), 2), xp.to_numpy(kernel), rtol=2e-3)


def test_captured_and_eager_steps_are_the_same(xp):
    found = []
    for options in ({"jit_compile": True}, {"run_eagerly": True}):
        stack = [Input((3,)), SpectralNormalization(Plain()), SpectralNormalization(Dense(1))]
        model = Sequential(stack, seed=0, dtype="float64", backend=xp)
        model.compile(optimizers.SGD(0.1), "mse", **options)
        model.fit(X, X[:, :1], epochs=6, verbose=0)
        found.append(model.get_weights())
    for first, second in zip(*found, strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-10)


def test_a_kernel_of_zeros_stays(xp):
    layer = SpectralNormalization(Dense(2, kernel_initializer="zeros"))
    x = xp.asarray(X.astype("float32"))
    u = None
    for _ in range(2):
        np.testing.assert_array_equal(xp.to_numpy(layer(x, training=True)), np.zeros((6, 2)))
        u = xp.to_numpy(layer.vector_u).copy() if u is None else u
    np.testing.assert_array_equal(xp.to_numpy(layer.vector_u), u)
