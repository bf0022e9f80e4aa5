"""Every layer keeps its contract, on every backend: batches of 0, 1 and 7 rows, and several ranks."""

from __future__ import annotations

import inspect

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from layerkit import Sequential, activations, layers
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers import (
    ELU,
    GELU,
    SELU,
    Activation,
    ActivityRegularization,
    Cropping1D,
    Cropping2D,
    Dense,
    Dropout,
    Exponential,
    Flatten,
    HardSigmoid,
    Input,
    Layer,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Reshape,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
    ZeroPadding1D,
    ZeroPadding2D,
)
from layerkit.layers.host_layer import HostLayer
from layerkit.testing import check_layer
from layerkit.xp import backend
from tests.layers import rows

# A new layer joins this table: what makes it, and the shapes of one row that it takes.
VECTORS = [(3,), (2, 3), (2, 1, 3)]
ANY = [(), (3,), (2, 3), (2, 1, 3)]
TABLE = {
    "dense": (lambda: Dense(5), VECTORS),
    "dense of one unit": (lambda: Dense(1), VECTORS),
    "dense without bias": (lambda: Dense(2, use_bias=False), VECTORS),
    "dense with an activation": (lambda: Dense(4, activation="tanh"), VECTORS),
    "dense with a kink": (lambda: Dense(4, activation="relu", bias_initializer="random_normal"), VECTORS),
    "dense with an activation that mixes": (lambda: Dense(4, activation="softmax"), VECTORS),
    "dense with an activation layer": (lambda: Dense(4, activation=LeakyReLU(0.2)), VECTORS),
    "dense with initializers": (lambda: Dense(4, kernel_initializer="he_normal", bias_initializer="ones"), VECTORS),
    "frozen dense": (lambda: Dense(4, trainable=False), VECTORS),
    "activation by name": (lambda: Activation("sigmoid"), ANY),
    "activation by function": (lambda: Activation(activations.gelu), ANY),
    "activation by layer": (lambda: Activation(ReLU(max_value=1.0)), ANY),
    "linear": (Linear, ANY),
    "sigmoid": (Sigmoid, ANY),
    "tanh": (Tanh, ANY),
    "relu": (ReLU, ANY),
    "relu with options": (lambda: ReLU(max_value=1.0, negative_slope=0.1, threshold=0.25), ANY),
    "relu with a bound": (lambda: ReLU(max_value=0.5), ANY),
    "leaky relu": (LeakyReLU, ANY),
    "leaky relu with a slope": (lambda: LeakyReLU(negative_slope=0.01), ANY),
    "elu": (ELU, ANY),
    "elu with alpha": (lambda: ELU(alpha=0.3), ANY),
    "selu": (SELU, ANY),
    "gelu": (GELU, ANY),
    "approximate gelu": (lambda: GELU(approximate=True), ANY),
    "silu": (SiLU, ANY),
    "softplus": (Softplus, ANY),
    "softsign": (Softsign, ANY),
    "hard sigmoid": (HardSigmoid, ANY),
    "exponential": (Exponential, ANY),
    "softmax": (Softmax, VECTORS),
    "softmax over axis 1": (lambda: Softmax(axis=1), VECTORS),
    "softmax over two axes": (lambda: Softmax(axis=(-1, -2)), [(2, 3), (2, 1, 3)]),
    "log softmax": (LogSoftmax, VECTORS),
    "log softmax over axis 1": (lambda: LogSoftmax(axis=1), VECTORS),
    "dropout": (lambda: Dropout(0.4), ANY),
    "dropout of nothing": (lambda: Dropout(0), VECTORS),
    "dropout of all": (lambda: Dropout(1.0), VECTORS),
    "dropout with a seed": (lambda: Dropout(0.5, seed=7), VECTORS),
    "dropout of whole rows": (lambda: Dropout(0.5, noise_shape=(None, 1)), [(3,)]),
    "dropout of whole columns": (lambda: Dropout(0.5, noise_shape=(None, None, 1)), [(4, 3)]),
    "flatten": (Flatten, [*ANY, (0, 3)]),
    "flatten of features first": (lambda: Flatten("channels_first"), [(3,), (3, 4), (3, 4, 2)]),
    "reshape": (lambda: Reshape((3, 2)), [(6,), (2, 3), (1, 6, 1)]),
    "reshape with what is left": (lambda: Reshape((-1, 2)), [(6,), (2, 3), (1, 6, 1)]),
    "reshape to a column": (lambda: Reshape((-1,)), [(6,), (2, 3)]),
    "a model": (lambda: Sequential([Dense(4, activation="relu"), Dropout(0.3), Dense(2), Softmax()]), [(3,)]),
    **rows.TABLE,
}
CASES = [(name, (7, *row)) for name, (_, rows) in TABLE.items() for row in rows]
CASES += [(name, (batch, *rows[-1])) for name, (_, rows) in TABLE.items() for batch in (0, 1)]


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_every_layer_keeps_its_contract(xp, name, shape):
    make, _ = TABLE[name]
    check_layer(make(), shape, xp=xp)


@pytest.mark.parametrize("name", rows.MERGING)
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_layers_of_several_inputs_keep_their_contract(xp, name, batch):
    make, several = rows.MERGING[name]
    for shapes in several:
        check_layer(make(), [(batch, *row) for row in shapes], xp=xp)


@pytest.mark.parametrize("name", rows.INDEXED)
@pytest.mark.parametrize("batch", [0, 1, 7])
def test_layers_that_read_indices_keep_their_contract(xp, name, batch):
    make, row = rows.INDEXED[name]
    x = np.random.default_rng(0).integers(0, 5, (batch, *row))
    check_layer(make(), x.shape, xp=xp, x=x)


@pytest.mark.parametrize("layer", [Softmax(axis=0), LogSoftmax(axis=0), Softmax(axis=(0, 1))])
def test_layers_that_mix_rows_keep_the_rest(xp, layer):
    check_layer(layer, (7, 3), xp=xp, rows_independent=False)


def test_the_table_is_complete():
    public = {cls for name in layers.__all__ if inspect.isclass(cls := getattr(layers, name))}
    # Those that work on the host, on text, stand in no model.
    wanted = {cls for cls in public if issubclass(cls, Layer) and not issubclass(cls, HostLayer)} - {Layer}
    checked = {type(make()) for table in (TABLE, rows.INDEXED, rows.MERGING) for make, _ in table.values()}
    assert wanted <= checked, f"no row for {sorted(cls.__name__ for cls in wanted - checked)}"


@pytest.mark.parametrize(
    "layer",
    [Sigmoid(), Tanh(), ELU(), SELU(), GELU(), GELU(approximate=True), SiLU(), Softplus(), Softsign(), HardSigmoid(),
     ReLU(), LeakyReLU(), Linear(), Softmax(), LogSoftmax(), layers.CELU(), layers.GLU(), layers.HardSiLU(),
     layers.HardTanh(), layers.LogSigmoid(), layers.Mish(), layers.ReLU6(), layers.SoftShrink(), layers.SparsePlus(),
     layers.Sparsemax(), layers.Squareplus(), layers.TanhShrink()],
    ids=lambda layer: f"{type(layer).__name__}{'-approximate' if getattr(layer, 'approximate', False) else ''}",
)  # fmt: skip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_activations_and_their_derivatives_are_finite_far_out(xp, layer, dtype):
    x = xp.asarray(np.array([[-1e4, -100.0, -1.0, 0.0, 0.5, 1.0, 100.0, 1e4]], dtype))
    y, saved = layer.run_forward(xp, x)
    dx, _ = layer.run_backward(xp, saved, xp.ones(y.shape, dtype=x.dtype))
    assert np.isfinite(xp.to_numpy(y)).all()
    assert np.isfinite(xp.to_numpy(dx)).all()


# Dense.


def test_dense_is_a_matrix_product(xp):
    layer = Dense(2)
    layer(xp.asarray(np.zeros((1, 3), np.float32)))
    layer.set_weights([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [0.5, -0.5]])
    y = layer(xp.asarray(np.array([[1.0, 0.0, -1.0]], np.float32)))
    # 1·1 + 0·3 - 1·5 + 0.5 and 1·2 + 0·4 - 1·6 - 0.5
    np.testing.assert_array_equal(xp.to_numpy(y), [[-3.5, -4.5]])


def test_dense_gradients_are_those_worked_by_hand(xp):
    layer = Dense(2, dtype="float64")
    layer(xp.asarray(np.zeros((1, 2))))
    layer.set_weights([[[1.0, 2.0], [3.0, 4.0]], [0.0, 0.0]])
    x, dy = xp.asarray([[1.0, 2.0], [3.0, 5.0]]), xp.asarray([[1.0, 0.0], [0.0, 1.0]])
    _, saved = layer.run_forward(xp, x)
    dx, gradients = layer.run_backward(xp, saved, dy)
    np.testing.assert_array_equal(xp.to_numpy(dx), [[1, 3], [2, 4]])  # the columns of the kernel
    np.testing.assert_array_equal(xp.to_numpy(gradients["kernel"]), [[1, 3], [2, 5]])
    np.testing.assert_array_equal(xp.to_numpy(gradients["bias"]), [1, 1])


@pytest.mark.parametrize("units", [0, -3])
def test_dense_needs_a_unit(units):
    with pytest.raises(ArgumentError) as caught:
        Dense(units)
    assert str(caught.value) == f"Dense: units must be an integer of at least 1. Received: units={units}"


def test_dense_keeps_to_its_width(xp):
    layer = Dense(2)
    layer(xp.zeros((1, 3)))
    with pytest.raises(ShapeError) as caught:
        layer(xp.zeros((1, 4)))
    assert str(caught.value) == (
        "dense: the last axis of x must have length 3, for which the layer was built. Received: shape (1, 4)"
    )


# Dropout.


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_scales_the_rest(xp, rate):
    layer = Dropout(rate, seed=1)
    size = 100_000
    y = xp.to_numpy(layer(xp.ones((size,)), training=True))
    kept = y != 0
    np.testing.assert_allclose(y[kept], 1 / (1 - rate), rtol=1e-6)
    assert abs(kept.mean() - (1 - rate)) < 6 * np.sqrt(rate * (1 - rate) / size)


def test_dropout_is_nothing_in_inference(xp):
    x = xp.asarray(np.random.default_rng(0).standard_normal((4, 3)))
    np.testing.assert_array_equal(xp.to_numpy(Dropout(0.5, dtype="float64")(x)), xp.to_numpy(x))


def test_dropout_draws_anew_in_each_pass(xp):
    layer = Dropout(0.5, seed=1)
    x = xp.ones((100,))
    first, second = (xp.to_numpy(layer(x, training=True)) for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("rate", [0.25, 0.5, 0.75])
def test_dropout_keeps_where_the_bits_of_philox_say(xp, rate):
    """Kept are the elements whose 32 bits, as a number in [0, 1), are not below the rate."""
    layer = Dropout(rate)
    y = xp.to_numpy(layer(xp.ones((500, 200)), training=True))
    key = np.array(layer.mask.key, np.uint64)
    bits = np.random.Philox(key=key, counter=0).random_raw(50_000).astype("<u8").view("<u4")
    np.testing.assert_array_equal(y != 0, (bits / 2.0**32 >= rate).reshape(500, 200))


@pytest.mark.parametrize(("noise_shape", "same"), [((None, 1), 1), ((1, None), 0)])
def test_dropout_of_whole_rows_or_columns(xp, noise_shape, same):
    y = xp.to_numpy(Dropout(0.5, noise_shape=noise_shape, seed=2)(xp.ones((40, 30)), training=True))
    dropped = y == 0
    np.testing.assert_array_equal(dropped.any(axis=same), dropped.all(axis=same))
    assert dropped.any()
    assert not dropped.all()


# Shapes and dtypes of any kind.

ROWS = st.lists(st.integers(1, 4), max_size=3).map(tuple)
BATCHES = st.integers(0, 4)
DTYPES = st.sampled_from(["float32", "float64"])
PLACES = st.sampled_from(["numpy", "strict"])
quick = hypothesis.settings(max_examples=40, deadline=None, derandomize=True)


@quick
@hypothesis.given(PLACES, BATCHES, ROWS, st.integers(1, 5), st.integers(1, 5), DTYPES, st.booleans())
def test_dense_takes_any_rank(place, batch, row, features, units, dtype, use_bias):
    xp = backend(place)
    layer = Dense(units, use_bias=use_bias, dtype=dtype)
    shape = (batch, *row, features)
    x = np.random.default_rng(0).standard_normal(shape)
    y = layer(xp.asarray(x, dtype))
    assert y.shape == layer.compute_output_shape(shape) == (*shape[:-1], units)
    assert y.dtype == getattr(xp, dtype)
    kernel, *bias = (weight.astype(np.float64) for weight in layer.get_weights())
    expected = np.einsum("...i,ij->...j", x, kernel) + (bias[0] if bias else 0.0)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(xp.to_numpy(y), expected, rtol=tolerance, atol=tolerance)
    y, saved = layer.run_forward(xp, xp.asarray(x, dtype))
    dx, gradients = layer.run_backward(xp, saved, xp.ones(y.shape, dtype=y.dtype))
    assert (dx.shape, dx.dtype) == (shape, getattr(xp, dtype))
    assert {name: gradient.shape for name, gradient in gradients.items()} == {
        name: weight.shape for name, weight in layer.named_weights().items()
    }


@quick
@hypothesis.given(PLACES, BATCHES, ROWS, DTYPES, st.data())
def test_flatten_and_reshape_there_and_back(place, batch, row, dtype, data):
    xp = backend(place)
    shape = (batch, *row)
    x = xp.asarray(np.arange(np.prod(shape)).reshape(shape), dtype)
    flat = Flatten(dtype=dtype)(x)
    assert flat.shape == (batch, int(np.prod(row)))
    unknown = data.draw(st.integers(0, len(row) - 1)) if row else None
    target = tuple(-1 if place == unknown else n for place, n in enumerate(row))
    back = Reshape(target, dtype=dtype)(flat)
    assert back.shape == shape
    assert back.dtype == x.dtype
    np.testing.assert_array_equal(xp.to_numpy(back), xp.to_numpy(x))


# Not those that take arguments, or halve an axis.
ACTIVATIONS = sorted(
    name for name in activations.__all__ if name not in ("deserialize", "get", "glu", "serialize", "threshold")
)


@quick
@hypothesis.given(PLACES, st.sampled_from(ACTIVATIONS), BATCHES, ROWS, DTYPES)
def test_activations_keep_shape_and_dtype(place, name, batch, row, dtype):
    xp = backend(place)
    shape = (batch, *row, 3)
    x = xp.asarray(3.0 * np.random.default_rng(0).standard_normal(shape), dtype)
    layer = Activation(name, dtype=dtype)
    for y in (layer(x), getattr(activations, name)(x)):
        assert y.shape == shape == layer.compute_output_shape(shape)
        assert y.dtype == x.dtype


def test_input_is_not_a_layer():
    """It says what x will look like, and computes nothing."""
    assert not issubclass(Input, Layer)


def test_attributes_that_keras_has():
    assert (ZeroPadding1D((1, 2)).padding, ZeroPadding2D((1, 2)).padding) == ((1, 2), ((1, 1), (2, 2)))
    assert (Cropping1D((1, 2)).cropping, Cropping2D((1, 2)).cropping) == ((1, 2), ((1, 1), (2, 2)))
    penalty = ActivityRegularization(0.5, 0.25)
    assert (penalty.l1, penalty.l2) == (0.5, 0.25)
    assert LeakyReLU(alpha=0.125).negative_slope == 0.125  # Keras's older word


def test_features_that_come_first_are_flattened_as_if_they_came_last():
    x = np.arange(24.0).reshape(2, 3, 4, 1)
    np.testing.assert_array_equal(Flatten("channels_first")(x), np.moveaxis(x, 1, -1).reshape(2, 12))


def test_what_is_left_of_rows_of_varying_length():
    layer = Reshape((None, 4))
    assert layer.compute_output_shape((None, None, 2)) == (None, None, 4)
    model = Sequential([Input((None, 2)), layer], seed=0)
    for rows_ in (4, 10):
        assert model.predict(np.ones((3, rows_, 2)), verbose=0).shape == (3, rows_ // 2, 4)
