"""Trouble is named: where an error came from, what backward returned, and where a number stopped being finite."""

from __future__ import annotations

import traceback

import numpy as np
import pytest

from layerkit import Layer, Sequential
from layerkit.errors import ShapeError, UnknownNameError
from layerkit.layers import Dense, Sigmoid
from layerkit.losses import Loss
from layerkit.metrics import Metric

X = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]], np.float32)
Y = np.array([[1], [1], [0], [0]], np.float32)


def compiled(*layers, loss="mse", metrics=None):
    model = Sequential(list(layers), seed=0)
    model.compile("sgd", loss, metrics=metrics)
    return model


# Notes.


class WrongForward(Layer):
    """A layer that fails as soon as it is run."""

    def call(self, xp, x):
        return x @ xp.ones((7, 2))  # the user's own line


class FailsInTraining(Layer):
    def forward(self, xp, x, *, training=False):
        if training:
            x = x + xp.ones((9, 9))
        return x, None

    def backward(self, xp, saved, dy):
        return dy, {}


class FailsBackward(Layer):
    def forward(self, xp, x):
        return xp.sum(x, axis=1, keepdims=True), x.shape

    def backward(self, xp, saved, dy):
        return xp.broadcast_to(dy, (11, 13)), {}


class FailingLoss(Loss):
    def call(self, xp, y_true, y_pred):
        return xp.sum(y_pred @ xp.ones((5, 1)), axis=-1)


class FailingMetric(Metric):
    def update(self, xp, y_true, y_pred, sample_weight=None):
        raise ZeroDivisionError("no rows")


def notes(raised):
    return getattr(raised.value, "__notes__", [])


def test_a_shape_error_while_building_names_the_layer_and_shows_the_users_line():
    with pytest.raises(ValueError, match="matmul") as raised:
        compiled(Dense(4), WrongForward(), Dense(1)).fit(X, Y, verbose=0)
    assert type(raised.value) is ValueError  # NumPy's own, as it was raised
    assert notes(raised) == [
        "This happened in computing the output shape of wrong_forward (WrongForward), for x of shape (None, 4)."
    ]
    shown = "".join(traceback.format_exception(raised.value))
    assert "return x @ xp.ones((7, 2))  # the user's own line" in shown
    assert notes(raised)[0] in shown


def test_a_shape_error_in_forward_names_layer_pass_and_shapes():
    with pytest.raises(ValueError, match="broadcast") as raised:
        compiled(Dense(4), FailsInTraining(), Dense(1)).fit(X, Y, batch_size=2, verbose=0)
    assert notes(raised) == [
        "This happened in the forward pass of fails_in_training (FailsInTraining), "
        "for x of shape (2, 4) and dtype float32."
    ]


def test_a_shape_error_in_backward_names_layer_pass_and_shapes():
    with pytest.raises(ValueError, match="broadcast") as raised:
        compiled(Dense(4), FailsBackward(), Dense(3), Dense(1)).fit(X, Y, verbose=0)
    assert notes(raised) == [
        "This happened in the backward pass of fails_backward (FailsBackward), "
        "for dy of shape (4, 1) and dtype float32."
    ]


def test_models_inside_models_are_named_from_within():
    inner = Sequential([FailsInTraining()], name="inner")
    with pytest.raises(ValueError, match="broadcast") as raised:
        compiled(Dense(4), inner, Dense(1)).fit(X, Y, verbose=0)
    assert [note.split(",")[0] for note in notes(raised)] == [
        "This happened in the forward pass of fails_in_training (FailsInTraining)",
        "This happened in the forward pass of inner (Sequential)",
    ]


def test_an_error_in_a_loss_or_a_metric_names_it():
    with pytest.raises(ValueError, match="matmul") as raised:
        compiled(Dense(1), loss=FailingLoss()).fit(X, Y, verbose=0)
    came = "for y_true of shape (4, 1) and dtype float32 and y_pred of shape (4, 1) and dtype float32."
    assert notes(raised) == [f"This happened in the loss failing_loss (FailingLoss), {came}"]
    with pytest.raises(ZeroDivisionError, match="no rows") as raised:
        compiled(Dense(1), metrics=[FailingMetric()]).fit(X, Y, verbose=0)
    assert notes(raised) == [f"This happened in the metric failing_metric (FailingMetric), {came}"]
    with pytest.raises(ZeroDivisionError, match="no rows") as raised:
        compiled(Dense(1), metrics=[FailingMetric()]).evaluate(X, Y, verbose=0)
    assert notes(raised) == [f"This happened in the metric failing_metric (FailingMetric), {came}"]


def test_an_error_that_names_the_layer_itself_has_no_note():
    with pytest.raises(ShapeError, match=r"^fixed: ") as raised:
        compiled(Dense(4, name="fixed", input_shape=(2,))).fit(X, Y, verbose=0)
    assert notes(raised) == []


# What backward returns.


class Scale(Layer):
    """y = scale x, with a backward that the tests replace."""

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

    def forward(self, xp, x):
        return x * self.scale, x

    def backward(self, xp, saved, dy):
        return dy * self.scale, {"scale": xp.sum(saved * dy, axis=0)}


class TransposedScale(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {"scale": xp.expand_dims(gradients["scale"], axis=0)}


class ScalarScale(Scale):
    """Its gradient would fill the weight's, if it were broadcast."""

    def backward(self, xp, saved, dy):
        return super().backward(xp, saved, dy)[0], {"scale": xp.sum(saved * dy)}


class FloatScale(Scale):
    def backward(self, xp, saved, dy):
        return super().backward(xp, saved, dy)[0], {"scale": 1.0}


class ForgottenScale(Scale):
    def backward(self, xp, saved, dy):
        return super().backward(xp, saved, dy)[0], {}


class MisspeltScale(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {"scael": gradients["scale"]}


class TalkativeScale(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, {**gradients, "scales": gradients["scale"]}


class ListedScale(Scale):
    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return dx, [gradients["scale"]]


class SummedInput(Scale):
    """Its dx would be broadcast by the layer in front."""

    def backward(self, xp, saved, dy):
        dx, gradients = super().backward(xp, saved, dy)
        return xp.sum(dx, axis=0, keepdims=True), gradients


class NoInput(Scale):
    def backward(self, xp, saved, dy):
        return None, super().backward(xp, saved, dy)[1]


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        (
            TransposedScale,
            ShapeError,
            "layer/scale: backward must return a gradient of the weight's shape, (4,). Received: shape (1, 4)",
        ),
        (
            ScalarScale,
            ShapeError,
            "layer/scale: backward must return a gradient of the weight's shape, (4,). Received: shape ()",
        ),
        (
            FloatScale,
            ShapeError,
            "layer/scale: backward must return a gradient of the weight's shape, (4,). Received: float",
        ),
        (
            ForgottenScale,
            ShapeError,
            "layer/scale: backward must return the gradient of each trainable weight, this one as 'scale'. "
            "Received: none",
        ),
        (
            MisspeltScale,
            ShapeError,
            "layer/scale: backward must return the gradient of each trainable weight, this one as 'scale'. "
            "Received: gradients of 'scael'",
        ),
        (
            TalkativeScale,
            UnknownNameError,
            "layer/scales: backward must return gradients by the names of weights. Received: 'layer/scales'. "
            "Did you mean 'layer/scale'?",
        ),
        (
            ListedScale,
            ShapeError,
            "layer: ListedScale.backward must return gradients as a dictionary, by the names of weights. "
            "Received: list. Return (dx, {}) where there are no weights.",
        ),
        (
            SummedInput,
            ShapeError,
            "layer: SummedInput.backward must return a dx of the shape of x, (2, 4). Received: shape (1, 4)",
        ),
        (
            NoInput,
            ShapeError,
            "layer: NoInput.backward must return a dx of the shape of x, (2, 4). Received: NoneType",
        ),
    ],
)
def test_what_backward_returns_is_checked(kind, error, message):
    model = compiled(Dense(4), Sigmoid(), kind(name="layer"), Dense(1))
    model.build((None, 3))
    before = model.get_weights()
    with pytest.raises(error) as raised:
        model.fit(X, Y, batch_size=2, verbose=0)
    assert str(raised.value) == message
    for ours, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_gradients_of_frozen_weights_are_welcome():
    model = compiled(Scale(trainable=False), Dense(1))
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], np.ones(3))


def test_a_first_layer_need_not_return_dx():
    compiled(NoInput(), Dense(1)).fit(X, Y, verbose=0)


class SummedLoss(Loss):
    """Its gradient has lost an axis."""

    def forward(self, xp, y_true, y_pred):
        return xp.sum(y_pred - y_true, axis=-1), None

    def backward(self, xp, saved, dvalues):
        return dvalues


def test_what_the_backward_of_a_loss_returns_is_checked():
    with pytest.raises(
        ShapeError,
        match=r"^summed_loss: SummedLoss\.backward must return a gradient of the shape of y_pred, \(4, 1\)\. "
        r"Received: shape \(4,\)$",
    ):
        compiled(Dense(1), loss=SummedLoss()).fit(X, Y, verbose=0)
