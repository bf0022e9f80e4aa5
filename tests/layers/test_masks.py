"""Masks: what makes them, who hands them on, and that they reach the loss, against Keras: `tests/tables/masks.json`."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, layers, losses, optimizers
from layerkit.errors import MaskWarning, ShapeError
from layerkit.layers import (
    Add,
    BatchNormalization,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Lambda,
    Layer,
    Masking,
    Softmax,
)
from layerkit.layers.layer import Home
from layerkit.testing import check_layer

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "masks.json").read_text(encoding="utf-8"))
FORWARD = {"float32": 1e-6, "float64": 1e-12}
TRAINED = {"float32": 2e-5, "float64": 1e-11}


def close(found, expected, relative):
    expected = np.array(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * np.max(np.abs(expected), initial=0.0))


def name_of(case):
    masks = "".join("m" if mask is not None else "-" for mask in case["mask"])
    options = [f"{key}={value}" for key, value in case["kwargs"].items()]
    return "-".join([case["class"], *map(str, map(np.shape, case["x"])), masks, *options, str(case["training"])])


@pytest.mark.parametrize("dtype", FORWARD)
@pytest.mark.parametrize("case", TABLE["cases"], ids=name_of)
def test_masked_passes_are_those_of_keras(xp, case, dtype):
    layer = getattr(layers, case["class"])(**case["kwargs"])
    layer.settle(Home(xp, dtype, 0, "layer"))
    x = [xp.asarray(np.array(value, dtype)) for value in case["x"]]
    mask = [None if value is None else xp.asarray(np.array(value)) for value in case["mask"]]
    several = len(x) > 1
    shapes = [(None, *value.shape[1:]) for value in x]
    layer.build(shapes if several else shapes[0])
    layer.set_weights([np.array(values, dtype) for values in case["weights"]])

    given = (x, mask) if several else (x[0], mask[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)
        y, saved, output_mask = layer.run_masked(xp, *given, training=bool(case["training"]))
    dx, gradients = layer.run_backward(xp, saved, xp.asarray(np.array(case["dy"], dtype)))

    close(xp.to_numpy(y), case[dtype]["y"] if dtype == "float32" else case["y"], FORWARD[dtype])
    assert (output_mask is None) == (case["output_mask"] is None)
    if output_mask is not None:
        np.testing.assert_array_equal(xp.to_numpy(output_mask), case["output_mask"])
    for found, expected in zip(dx if several else [dx], case["dx"], strict=True):
        close(xp.to_numpy(found), expected, 10 * FORWARD[dtype])
    for key, expected in case["gradients"].items():
        close(xp.to_numpy(gradients[key]), expected, 10 * FORWARD[dtype])
    for key, expected in case["state"].items():
        close(layer.named_weights()[key].numpy(), expected, FORWARD[dtype])


@pytest.mark.parametrize("dtype", FORWARD)
@pytest.mark.parametrize("case", TABLE["softmax"], ids=lambda case: f"{np.shape(case['mask'])} along {case['axis']}")
def test_softmax_over_what_is_not_masked_is_that_of_keras(xp, case, dtype):
    layer = Softmax(axis=case["axis"])
    x, dy = (xp.asarray(np.array(case[key], dtype)) for key in ("x", "dy"))
    y, saved = layer.forward(xp, x, mask=xp.asarray(np.array(case["mask"])))
    close(xp.to_numpy(y), case["y"], FORWARD[dtype])
    close(xp.to_numpy(layer.backward(xp, saved, dy)[0]), case["dx"], 10 * FORWARD[dtype])


@pytest.mark.parametrize("name", TABLE["supporting"])
def test_the_layers_of_keras_that_hand_masks_on_do_so_here(name):
    required = {"Discretization": ([0.0],), "Reshape": ((1,),), "Permute": ((1,),), "EinsumDense": ("ab,bc->ac", 2)}
    required |= {"Activation": ("relu",), "Lambda": (abs,), "Embedding": (2, 2)}
    half = ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise")
    required |= dict.fromkeys((*half, "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D"), (0.5,))
    required |= dict.fromkeys(("CategoryEncoding", "Dense", "Dot", "RepeatVector", "Rescaling"), (1,))
    layer = getattr(layers, name)(*required.get(name, ()))
    assert layer.supports_masking == TABLE["supporting"][name]


def model_of(case, xp, dtype, **options):
    stack = [getattr(layers, name)(**kwargs) for name, kwargs in case["layers"]]
    model = Sequential([Input(np.shape(case["x"])[1:]), *stack], dtype=dtype, backend=xp)
    model.set_weights([np.array(values) for values in case["weights"]])
    loss = case["loss"]
    made = loss if isinstance(loss, str) else getattr(losses, loss[0])(reduction=loss[1])
    optimizer = optimizers.SGD(0.0625, momentum=0.5)
    model.compile(optimizer, made, metrics=case["metrics"], weighted_metrics=case["weighted_metrics"], **options)
    return model


def trained(case, model):
    x, y = np.array(case["x"]), np.array(case["y"])
    weight = None if case["sample_weight"] is None else np.array(case["sample_weight"])
    given = {"batch_size": 4, "sample_weight": weight, "verbose": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MaskWarning)
        history = model.fit(x, y, epochs=3, shuffle=False, **given).history
        return history, model.evaluate(x, y, return_dict=True, **given)


@pytest.mark.parametrize(
    ("dtype", "run_eagerly"), [("float32", False), ("float64", True)], ids=["captured", "eager, float64"]
)
@pytest.mark.parametrize("number", range(len(TABLE["trained"])))
def test_a_training_with_masks_is_that_of_keras(xp, number, dtype, run_eagerly):
    case = TABLE["trained"][number]
    model = model_of(case, xp, dtype, **({"run_eagerly": True} if run_eagerly else {"jit_compile": True}))
    history, evaluated = trained(case, model)
    assert set(history) == set(evaluated) == set(case["evaluate"])
    close(np.array(history["loss"]), case["loss_of_epochs"], TRAINED[dtype])
    for key, expected in case["evaluate"].items():
        close(np.array(evaluated[key]), expected, TRAINED[dtype])
    for found, expected in zip(model.get_weights(), case["final_weights"], strict=True):
        close(found, expected, TRAINED[dtype])


def test_a_step_with_masks_is_replayed(xp):
    case = TABLE["trained"][1]
    model = model_of(case, xp, "float32", jit_compile=True)
    for _ in range(3):
        trained(case, model)
    assert model.program("train") is not None


class FirstSteps(Layer):
    """A user's layer that makes a mask: so many steps count."""

    def __init__(self, count, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, xp, x):
        return 1.0 * x

    def compute_mask(self, xp, x, mask):
        steps = xp.broadcast_to(xp.arange(x.shape[1]) < self.count, x.shape[:2])
        return steps if mask is None else steps & mask


class MeanOfSteps(Layer):
    """A user's layer that reads a mask, and ends it."""

    def call(self, xp, x, mask=None):
        if mask is None:
            return xp.mean(x, axis=1)
        counted = xp.astype(mask, x.dtype)[..., None]
        return xp.sum(x * counted, axis=1) / xp.maximum(xp.sum(counted, axis=1), 1.0)

    def compute_mask(self, xp, x, mask):
        return None

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])


X = np.random.default_rng(0).standard_normal((5, 4, 3))


@pytest.mark.parametrize("nested", [False, True])
def test_a_users_layers_make_and_read_masks(xp, nested):
    stack = [FirstSteps(2), Dense(2, use_bias=False), Dropout(0.5)]
    model = Sequential([Input((4, 3)), *([Sequential(stack)] if nested else stack), MeanOfSteps()], dtype="float64")
    kernel = model.get_weights()[0]
    expected = np.mean((X @ kernel)[:, :2], axis=1)
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-12)
    model.compile("sgd", "mse")
    model.fit(X, expected, epochs=5, verbose=0)  # dropout: it trains
    check_layer(Sequential([Input((4, 3)), FirstSteps(3), Dense(2), MeanOfSteps()]), (3, 4, 3), xp=xp)


class Within(Layer):
    """A layer inside a layer is given the mask by hand."""

    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, xp, x, training=False):
        return self.layer(x, mask=x[..., 0] > 0, training=training)


@pytest.mark.parametrize("inner", [Softmax, BatchNormalization, MeanOfSteps])
def test_check_layer_with_a_mask_inside(inner, xp):
    check_layer(Within(inner()), (4, 3, 2), xp=xp, rows_independent=inner is not BatchNormalization)


@pytest.mark.parametrize("layer", [Masking(), Masking(0.5), Embedding(5, 2, mask_zero=True)])
def test_check_layer_of_those_that_make_masks(layer, xp):
    indices = np.array([[0, 1, 2], [3, 0, 4], [0, 0, 0], [1, 0, 0]])
    check_layer(layer, (4, 3), xp=xp, x=indices if isinstance(layer, Embedding) else None)


def test_a_mask_is_given_to_a_layer_that_is_called(xp):
    x = xp.asarray(np.array([[1.0, 2.0, 3.0]]))
    expected = np.exp([1.0, 2.0]) / np.sum(np.exp([1.0, 2.0]))
    for mask in ([[True, True, False]], np.array([[1.0, 1.0, 0.0]]), xp.asarray(np.array([[True, True, False]]))):
        y = xp.to_numpy(Softmax(dtype="float64")(x, mask=mask))
        np.testing.assert_allclose(y, [[*expected, 0.0]], rtol=1e-12)


def test_whole_steps_are_masked_in_a_softmax(xp):
    """Keras refuses this."""
    model = Sequential([Input((3,), dtype="int32"), Embedding(5, 4, mask_zero=True), Softmax()], backend=xp)
    y = model.predict(np.array([[1, 2, 0], [0, 3, 0]]), verbose=0)
    np.testing.assert_allclose(np.sum(y, axis=-1), [[1, 1, 0], [0, 1, 0]], rtol=1e-6)


def test_a_function_of_the_user_makes_a_mask(xp):
    x = xp.asarray(X)
    for function in (lambda x, mask: x[..., 0] > 0, lambda xp, x, mask: xp.any(x > 2, axis=-1)):
        layer = Lambda(lambda xp, x, mask: xp.where(mask[..., None], x, 0.0), mask=function)
        y, _, mask = layer.run_masked(xp, x, xp.asarray(np.ones((5, 4), bool)))
        expected = X[..., 0] > 0 if function.__code__.co_argcount == 2 else np.any(X > 2, axis=-1)
        np.testing.assert_array_equal(xp.to_numpy(mask), expected)
        np.testing.assert_array_equal(xp.to_numpy(y), X)


def test_a_model_tells_the_mask_of_its_output(xp):
    model = Sequential([Input((4, 3)), FirstSteps(3), Dense(2), FirstSteps(1)], backend=xp)
    mask = model.compute_mask(xp, xp.asarray(X.astype("float32")), None)
    np.testing.assert_array_equal(xp.to_numpy(mask), np.arange(4) < np.ones((5, 1)))


def test_a_loss_takes_the_mask_of_predictions(xp):
    y_true, y_pred = np.zeros((2, 3, 1)), np.arange(6.0).reshape(2, 3, 1)
    mask = np.array([[True, False, True], [False, False, True]])
    found = losses.MeanSquaredError()(xp.asarray(y_true), xp.asarray(y_pred), mask=xp.asarray(mask))
    np.testing.assert_allclose(xp.to_numpy(found), (0 + 4 + 25) / 3)
    weight = xp.asarray(np.array([2.0, 1.0]))
    found = losses.MeanSquaredError()(xp.asarray(y_true), xp.asarray(y_pred), weight, xp.asarray(mask))
    np.testing.assert_allclose(xp.to_numpy(found), (0 + 8 + 25) / 3)


def test_where_a_mask_ends_is_said():
    model = Sequential([Input((2,), dtype="int32"), Embedding(5, 3, mask_zero=True), Flatten(), Dense(1)])
    sentence = (
        "flatten: a layer behind a mask should hand it on. Received: a mask, which Flatten does not support: what "
        "follows does not see it. Define compute_mask, or set supports_masking = True."
    )
    with pytest.warns(MaskWarning, match=f"^{re.escape(sentence)}$"):
        model.predict(np.array([[1, 0], [2, 3]]), verbose=0)


def test_masks_that_do_not_fit():
    x = X.astype("float32")
    for layer, given, sentence in (
        (
            Softmax(),
            np.ones((3, 5), bool),
            "softmax: mask must broadcast to x, (5, 4, 3). Received: a mask of shape (3, 5)",
        ),
        (
            BatchNormalization(),
            np.ones((5,), bool),
            "batch_normalization: mask must broadcast to the steps of x, (5, 4). Received: a mask of shape (5,)",
        ),
    ):
        with pytest.raises(ShapeError, match=f"^{re.escape(sentence)}$"):
            layer(x, mask=given, training=True)
    sentence = "add: mask must be a list, with a mask or None for each array. Received: mask=[None], 2 arrays"
    with pytest.raises(ShapeError, match=f"^{re.escape(sentence)}$"):
        Add()([x, x], mask=[None])
    sentence = "masking: x must have the shape (batch, ..., features). Received: shape (None,)"
    with pytest.raises(ShapeError, match=f"^{re.escape(sentence)}$"):
        Masking().build((None,))


def test_a_mask_of_more_steps_than_the_loss_has_values():
    model = Sequential([Input((4, 3)), FirstSteps(2), Lambda(lambda x: x[:, 0], mask=lambda x, mask: mask)])
    model.compile("sgd", "mse")
    sentence = "mask: there must be one weight for each sample, or for each value, (5,). Received: shape (5, 4)"
    with pytest.raises(ShapeError, match=f"^{re.escape(sentence)}\nThis happened in the loss mean_squared_error"):
        model.evaluate(X, X[:, 0], verbose=0)
