"""What Keras's numbers do not tell of single families: shapes, moments, settings, and how they join."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from layerkit import Input, Sequential, layers
from layerkit.layers import (
    AlphaDropout,
    BatchNormalization,
    CategoryEncoding,
    Dense,
    Discretization,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    Lambda,
    LayerNormalization,
    Normalization,
    SpatialDropout1D,
    SpatialDropout2D,
)
from layerkit.testing import check_layer

X = np.random.default_rng(0).standard_normal((6, 3))


def test_each_lazy_name_is_that_of_its_file():
    for name in layers.__all__:
        if name in ("deserialize", "serialize"):  # of every room
            continue
        value = getattr(layers, name)
        assert value is getattr(importlib.import_module(value.__module__), value.__name__)
    with pytest.raises(AttributeError, match=r"^module 'layerkit.layers' has no attribute 'Desne'$"):
        _ = layers.Desne
    assert set(layers.__all__) <= set(dir(layers))


# Normalization.


def test_moving_statistics_follow_the_batches(xp):
    layer = BatchNormalization(momentum=0.75, dtype="float64")
    layer(xp.asarray(X))
    mean, variance = np.zeros(3), np.ones(3)
    for scale in (1.0, 3.0):
        layer(xp.asarray(scale * X), training=True)
        mean = 0.75 * mean + 0.25 * (scale * X).mean(axis=0)
        variance = 0.75 * variance + 0.25 * (scale * X).var(axis=0)
    np.testing.assert_allclose(xp.to_numpy(layer.moving_mean), mean, rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(layer.moving_variance), variance, rtol=1e-12)
    expected = (X - mean) / np.sqrt(variance + 1e-3)
    np.testing.assert_allclose(xp.to_numpy(layer(xp.asarray(X))), expected, rtol=1e-12)


def test_a_frozen_batch_normalization_keeps_its_statistics():
    """As in Keras, in training too."""
    model = Sequential([Input((3,)), BatchNormalization(), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.layers[0].trainable = False
    before = model.layers[0].get_weights()
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    for found, expected in zip(model.layers[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, expected)
    model.layers[0].trainable = True
    model.fit(X, X[:, :1], epochs=2, verbose=0)
    assert (model.layers[0].get_weights()[2] != before[2]).any()


def test_layer_normalization_forgets_scale_and_shift(xp):
    layer = LayerNormalization(epsilon=1e-12, dtype="float64")
    y = xp.to_numpy(layer(xp.asarray(X)))
    np.testing.assert_allclose(xp.to_numpy(layer(xp.asarray(5.0 * X + 3.0))), y, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(y.mean(axis=1), 0.0, atol=1e-12)
    np.testing.assert_allclose(y.var(axis=1), 1.0, rtol=1e-9)


# Noise: the moments of Keras's distributions, within six standard errors.

SIZE = 200_000


def drawn(layer, xp, x=1.0):
    return xp.to_numpy(layer(xp.ones((SIZE,)) * x, training=True)).astype(np.float64)


def test_gaussian_noise_has_its_deviation(xp):
    noise = drawn(GaussianNoise(0.5, seed=1), xp) - 1.0
    assert abs(noise.mean()) < 6 * 0.5 / np.sqrt(SIZE)
    assert noise.var() == pytest.approx(0.25, abs=6 * 0.25 * np.sqrt(2 / SIZE))
    assert (noise**4).mean() == pytest.approx(3 * 0.5**4, abs=6 * 0.5**4 * np.sqrt(96 / SIZE))


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_gaussian_dropout_has_the_moments_of_dropout(xp, rate):
    y = drawn(GaussianDropout(rate, seed=1), xp, x=2.0)
    variance = 4.0 * rate / (1 - rate)
    assert y.mean() == pytest.approx(2.0, abs=6 * np.sqrt(variance / SIZE))
    assert y.var() == pytest.approx(variance, abs=6 * variance * np.sqrt(2 / SIZE))


@pytest.mark.parametrize("rate", [0.1, 0.4])
def test_alpha_dropout_keeps_mean_0_and_variance_1(xp, rate):
    layer = AlphaDropout(rate, seed=1)
    x = np.random.default_rng(2).standard_normal(SIZE)
    y = xp.to_numpy(layer(xp.asarray(x.astype(np.float32)), training=True)).astype(np.float64)
    assert abs(y.mean()) < 0.02
    assert y.var() == pytest.approx(1.0, abs=0.03)
    # What is dropped has one value, and is so many.
    saturated = -1.0507009873554805 * 1.6732632423543772
    a = ((1 - rate) * (1 + rate * saturated**2)) ** -0.5
    dropped = np.isclose(y, a * saturated - a * saturated * rate, rtol=1e-5)
    assert dropped.mean() == pytest.approx(rate, abs=6 * np.sqrt(rate * (1 - rate) / SIZE))
    np.testing.assert_allclose(y[~dropped], a * x[~dropped] - a * saturated * rate, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("make", "shape", "places"),
    [
        (lambda: SpatialDropout1D(0.5, seed=3), (20, 7, 30), (1,)),
        (lambda: SpatialDropout2D(0.5, seed=3), (20, 4, 5, 30), (1, 2)),
        (lambda: SpatialDropout2D(0.5, "channels_first", seed=3), (20, 30, 4, 5), (2, 3)),
    ],
)
def test_spatial_dropout_drops_whole_maps(xp, make, shape, places):
    y = xp.to_numpy(make()(xp.ones(shape), training=True))
    np.testing.assert_array_equal((y == 0).all(axis=places), (y == 0).any(axis=places))
    assert set(np.unique(y)) == {0.0, 2.0}


@pytest.mark.parametrize("make", [lambda: GaussianNoise(0.5), lambda: GaussianDropout(0.5), lambda: AlphaDropout(0.5)])
def test_noise_is_drawn_anew_in_each_pass_and_not_in_inference(xp, make):
    layer = make()
    x = xp.ones((50,))
    first, second = (xp.to_numpy(layer(x, training=True)) for _ in range(2))
    assert (first != second).any()
    np.testing.assert_array_equal(xp.to_numpy(layer(x)), xp.to_numpy(x))


# Embedding.


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_embedding_looks_up_whole_numbers_of_any_dtype(xp, dtype):
    layer = Embedding(5, 2, weights=np.arange(10.0).reshape(5, 2))
    y = xp.to_numpy(layer(xp.asarray(np.array([[4, 0], [1, 1]]), dtype)))
    np.testing.assert_array_equal(y, [[[8, 9], [0, 1]], [[2, 3], [2, 3]]])


def test_a_model_that_starts_with_an_embedding_learns():
    rng = np.random.default_rng(0)
    words = rng.integers(0, 10, (200, 4))
    target = (words == 3).sum(axis=1, keepdims=True).astype(float)
    for options in ({}, {"run_eagerly": True}):
        model = Sequential([Input((4,), dtype="int32"), Embedding(10, 3), Flatten(), Dense(1)], seed=0)
        model.compile("adam", "mse", **options)
        losses = model.fit(words, target, epochs=100, batch_size=50, verbose=0).history["loss"]
        assert losses[-1] < 0.1 * losses[0]


# Preprocessing.


def test_normalization_adapts_to_data(xp):
    layer = Normalization(dtype="float64")
    layer.settle(layers.layer.Home(xp, "float64", 0, "layer"))
    layer.adapt(3.0 * X + 1.0)
    y = xp.to_numpy(layer(xp.asarray(3.0 * X + 1.0)))
    np.testing.assert_allclose(y, (X - X.mean(axis=0)) / X.std(axis=0), rtol=1e-12, atol=1e-12)
    inverse = Normalization(mean=X.mean(axis=0), variance=X.var(axis=0), invert=True, dtype="float64")
    np.testing.assert_allclose(xp.to_numpy(inverse(xp.asarray(y))), X, rtol=1e-12, atol=1e-12)


def test_normalization_of_a_constant_column_is_finite(xp):
    layer = Normalization()
    layer.adapt(np.ones((4, 2)))
    np.testing.assert_array_equal(np.asarray(layer([[1.0, 1.0]])), [[0.0, 0.0]])


def test_normalization_adapted_in_a_model_changes_what_it_computes():
    normalization = Normalization()
    model = Sequential([Input((3,)), normalization], seed=0)
    model.compile("sgd", "mse")
    np.testing.assert_array_equal(model.predict(X, verbose=0), X.astype("float32"))
    normalization.adapt(X)
    expected = (X - X.mean(axis=0)) / X.std(axis=0)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("multi_hot", [[0, 1, 1, 0], [0, 0, 0, 1]]),
        ("count", [[0, 1, 1, 0], [0, 0, 0, 2]]),
        ("one_hot", [[[0, 1, 0, 0], [0, 0, 1, 0]], [[0, 0, 0, 1], [0, 0, 0, 1]]]),
    ],
)
def test_category_encoding_is_that_of_its_docstring(xp, mode, expected):
    y = CategoryEncoding(4, mode)(xp.asarray(np.array([[1, 2], [3, 3]])))
    np.testing.assert_array_equal(xp.to_numpy(y), expected)


@pytest.mark.parametrize(
    ("mode", "x", "expected"),
    [
        ("int", [[-1.0, 0.0, 0.5], [1.0, 2.5, 2.0]], [[0, 1, 1], [2, 3, 3]]),
        ("one_hot", [[-1.0], [2.0]], [[1, 0, 0, 0], [0, 0, 0, 1]]),
        ("multi_hot", [[-1.0, 2.0]], [[1, 0, 0, 1]]),
        ("count", [[-1.0, 2.0, 2.0]], [[1, 0, 0, 2]]),
    ],
)
def test_discretization_is_that_of_keras(xp, mode, x, expected):
    """What Keras 3.15 returns."""
    y = Discretization([0.0, 1.0, 2.0], output_mode=mode)(xp.asarray(np.array(x, "float32")))
    np.testing.assert_array_equal(xp.to_numpy(y), expected)


# Lambda.


def test_lambda_takes_methods_of_arrays_and_keywords():
    layer = Lambda(lambda x, shift: x.sum(axis=1, keepdims=True) + shift, arguments={"shift": 2.0}, dtype="float64")
    np.testing.assert_allclose(layer(X), X.sum(axis=1, keepdims=True) + 2.0, rtol=1e-12)


def test_merged_inputs_may_differ_in_rank(xp):
    """As in Keras, axes of length 1 are put behind the batch."""
    check_layer(layers.Add(), [(4, 2, 3), (4, 3)], xp=xp)
    a, b = np.ones((2, 2, 3)), np.arange(6.0).reshape(2, 3)
    y = layers.add([xp.asarray(a), xp.asarray(b)])
    np.testing.assert_array_equal(xp.to_numpy(y), a + b[:, None])


def test_functions_of_merging_are_their_layers(xp):
    a, b = (xp.asarray(np.random.default_rng(seed).standard_normal((4, 3)).astype("float32")) for seed in (0, 1))
    for name in ("add", "subtract", "multiply", "average", "maximum", "minimum", "concatenate"):
        layer = getattr(layers, name.capitalize())()
        np.testing.assert_array_equal(xp.to_numpy(getattr(layers, name)([a, b])), xp.to_numpy(layer([a, b])))
    np.testing.assert_array_equal(xp.to_numpy(layers.dot([a, b], axes=1)), xp.to_numpy(layers.Dot(1)([a, b])))


@pytest.mark.parametrize("form", [lambda vectors: vectors, lambda vectors: [vectors], lambda vectors: vectors.tolist()])
def test_vectors_to_begin_with_may_stand_in_a_list(form):
    vectors = np.arange(6.0).reshape(3, 2)
    layer = Embedding(3, 2, weights=form(vectors), input_length=4)  # of which Keras's older models tell
    np.testing.assert_array_equal(layer(np.array([[2, 0]])), vectors[[[2, 0]]])


def test_given_statistics_are_broadcast_from_the_last_axis_on():
    layer = Normalization(axis=(1, 2), mean=[1.0, 2.0], variance=[1.0, 4.0])  # Keras's rule
    np.testing.assert_array_equal(layer(np.full((1, 3, 2), 4.0)), np.broadcast_to([3.0, 1.0], (1, 3, 2)))
