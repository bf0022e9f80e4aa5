"""Trouble is named: where an error came from, what backward returned, and where a number stopped being finite."""

from __future__ import annotations

import math
import re
import traceback

import numpy as np
import pytest

from layerkit import Layer, Sequential
from layerkit.errors import NonFiniteWarning, ShapeError, UnknownNameError
from layerkit.layers import Dense, Sigmoid
from layerkit.losses import Loss
from layerkit.metrics import Metric
from layerkit.training import guard
from layerkit.training.loop import row_order

X = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]], np.float32)
Y = np.array([[1], [1], [0], [0]], np.float32)


def compiled(*layers, loss="mse", metrics=None, backend="numpy"):
    model = Sequential(list(layers), seed=0, backend=backend)
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


# Numbers that are not finite.

RULE = "fit: the loss and the weights must be finite. Received: a mean loss of "
STOPPED = (
    "The weights are those before that batch. Training stopped. A smaller learning rate, or global_clipnorm in the "
    "optimizer, often helps."
)
ROWS = np.arange(24, dtype=np.float32).reshape(8, 3) / 24
TARGETS = np.ones((8, 1), np.float32)
BAD_ROW = ROWS.copy()
BAD_ROW[5] = 7.0


class Fragile(Layer):
    """y = x, but NaN for x above 5."""

    def call(self, xp, x):
        return xp.where(x > 5, xp.nan, x)


class FragileBackward(Layer):
    def build(self, input_shape):
        self.shift = self.add_weight("shift", (), "zeros")

    def forward(self, xp, x):
        return x + self.shift, x

    def backward(self, xp, saved, dy):
        return dy, {"shift": xp.sum(xp.where(saved > 5, xp.nan, dy))}


class FragileInput(Layer):
    def forward(self, xp, x):
        return x, x

    def backward(self, xp, saved, dy):
        return xp.where(saved > 5, xp.nan, dy), {}


class Masked(Layer):
    """Its output is infinite, and that does no harm."""

    def call(self, xp, x):
        return xp.where(x >= 0, -xp.inf, x)


class Unmasked(Layer):
    def call(self, xp, x):
        return xp.exp(x)


class FragileLoss(Loss):
    def forward(self, xp, y_true, y_pred):
        values = xp.sum(y_pred * 0.0 + y_true, axis=-1)
        return xp.where(values > 5, xp.inf, values), y_pred

    def backward(self, xp, saved, dvalues):
        return saved * 0.0


class Holder(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Fragile()

    def build(self, input_shape):
        self.inner.build(input_shape)

    def forward(self, xp, x):
        return self.inner.forward(xp, x)

    def backward(self, xp, saved, dy):
        return self.inner.backward(xp, saved, dy)


def warning_of(model, x=BAD_ROW, y=TARGETS, **options):
    """Train, and return the sentence of the only warning."""
    options = {"batch_size": 2, "epochs": 3, "shuffle": False, "verbose": 0, **options}
    with pytest.warns(NonFiniteWarning) as caught:
        model.fit(x, y, **options)
    (warning,) = [each for each in caught if each.category is NonFiniteWarning]
    assert warning.filename == __file__
    return str(warning.message)


@pytest.mark.parametrize(
    ("layers", "where"),
    [
        ([Fragile, Dense], "the output of fragile (Fragile) in the forward pass"),
        ([Holder, Dense], "the output of fragile (Fragile) in the forward pass"),
        ([Masked, Unmasked, Dense, Fragile], None),
        ([FragileBackward, Dense], "the gradient of shift in the backward pass of fragile_backward (FragileBackward)"),
    ],
)
def test_where_it_began_is_named(layers, where):
    if where is None:  # an infinite value that does no harm comes first
        model = compiled(Masked(), Unmasked(), Dense(1, bias_initializer="ones"), Fragile())
        expected = "nan in batch 1 of epoch 1; the output of fragile (Fragile) in the forward pass is not finite."
        model.layers[2].build((None, 3))
        model.layers[2].bias = np.full(1, 6.0)
    else:
        model = compiled(*(kind(1) if kind is Dense else kind() for kind in layers))
        loss = "nan" if "output" in where else r"[-.0-9e]+"  # of a gradient that breaks, the loss is well
        expected = rf"{loss} in batch 3 of epoch 1; {re.escape(where)} is not finite\."
        assert re.fullmatch(rf"{re.escape(RULE)}{expected} {re.escape(STOPPED)}", warning_of(model))
        return
    assert warning_of(model) == f"{RULE}{expected} {STOPPED}"


def test_the_gradient_of_an_input_is_named(xp):
    model = compiled(Dense(3, kernel_initializer="identity"), FragileInput(), Dense(1), backend=xp)
    message = warning_of(model)
    assert message.startswith(RULE)
    assert message.endswith(
        " in batch 3 of epoch 1; the gradient of the input in the backward pass of fragile_input (FragileInput) is not "
        f"finite. {STOPPED}"
    )


def test_a_loss_is_named():
    targets = TARGETS.copy()
    targets[6] = 9.0
    assert warning_of(compiled(Dense(1), loss=FragileLoss()), y=targets) == (
        f"{RULE}inf in batch 4 of epoch 1; the loss fragile_loss (FragileLoss) is not finite. {STOPPED}"
    )


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_an_update_is_named():
    model = compiled(Dense(1, kernel_initializer="ones"))
    model.optimizer.learning_rate = 1e39  # beyond float32
    message = warning_of(model, x=ROWS)
    assert message.startswith(RULE)
    assert message.endswith(f" in batch 1 of epoch 1; dense/kernel, after the update by sgd, is not finite. {STOPPED}")
    np.testing.assert_array_equal(model.get_weights()[0], np.ones((3, 1)))


def test_weights_that_were_not_finite_at_first_are_named():
    model = compiled(Dense(2), Dense(1))
    model.build((None, 3))
    model.layers[1].bias = np.array([np.nan])
    assert warning_of(model, x=ROWS) == (
        f"{RULE}nan in batch 1 of epoch 1; 'dense_1/bias' had not been finite before. {STOPPED}"
    )
    assert model.optimizer.iterations == 0


def test_weights_that_are_infinite_and_do_no_harm_are_let_be():
    class Least(Layer):
        def build(self, input_shape):
            self.least = self.add_weight("least", (), "zeros")

        def call(self, xp, x):
            return xp.maximum(x, self.least)

    model = compiled(Least(), Dense(1))
    model.build((None, 3))
    model.layers[0].least = np.array(-np.inf)
    history = model.fit(ROWS, TARGETS, batch_size=2, epochs=3, verbose=0)
    assert history.epoch == [0, 1, 2]
    assert np.isfinite(history.history["loss"]).all()


@pytest.mark.parametrize("share", [math.inf, 1e-9])  # a look after each step, and only where the loss is read anyway
def test_batches_of_later_epochs_are_found_again_in_their_order(share, monkeypatch):
    monkeypatch.setattr(guard, "SHARE", share)
    message = warning_of(compiled(Grow(), Fragile(), Dense(1)), x=GROWING_ROW, epochs=8, shuffle=True)
    batch_of_row = [list(row_order(0, 8)(number)).index(4) // 2 for number in range(1, 9)]
    steps = [(epoch, batch) for epoch in range(8) for batch in range(4)]
    first = next(
        (epoch + 1, batch + 1)
        for step, (epoch, batch) in enumerate(steps, start=1)
        if batch == batch_of_row[epoch] and 4.1 * (1 + 0.05 * step) > 5
    )
    assert first[0] > 1
    assert first[1] != batch_of_row[0] + 1
    assert message == (
        f"{RULE}nan in batch {first[1]} of epoch {first[0]}; the output of fragile (Fragile) in the forward pass is "
        f"not finite. {STOPPED}"
    )


GROWING_ROW = ROWS.copy()
GROWING_ROW[4] = 4.1


class Grow(Layer):
    """x times a factor that grows by 0.05 in each step of training, beginning with the first."""

    def build(self, input_shape):
        self.factor = self.add_weight("factor", (), "ones", dtype="float64", trainable=False)

    def forward(self, xp, x, *, training=False):
        if training:
            xp.assign_add(self.factor, 0.05)
        return x * xp.astype(self.factor, x.dtype), xp.astype(self.factor + 0.0, x.dtype)

    def backward(self, xp, saved, dy):
        return dy * saved, {}
