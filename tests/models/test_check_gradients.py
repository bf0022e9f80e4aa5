"""`check_gradients` judges every weight's gradient, names what is wrong, and leaves the model alone."""

from __future__ import annotations

import re

import numpy as np
import pytest

from layerkit import Layer, Sequential
from layerkit.errors import ArgumentError, GradientMismatch, NotReadyError, ShapeError
from layerkit.layers import Dense, Dropout, ReLU, Sigmoid, Tanh
from layerkit.losses import Loss, SparseCategoricalCrossentropy

X = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]])
Y = np.array([[1], [1], [0], [0]])


class TutorialSigmoid(Layer):
    """Its derivative is taken at y, and not at x."""

    def forward(self, xp, x):
        y = xp.sigmoid(x)
        return y, y

    def backward(self, xp, saved, dy):
        slope = xp.sigmoid(saved)
        return dy * slope * (1.0 - slope), {}


class NearlyDense(Dense):
    """The gradient of the kernel is 0.1 % too large."""

    def backward(self, xp, saved, dy, **options):
        dx, gradients = super().backward(xp, saved, dy, **options)
        return dx, {**gradients, "kernel": gradients["kernel"] * 1.001}


class ForgetfulDense(Dense):
    def backward(self, xp, saved, dy, **options):
        dx, gradients = super().backward(xp, saved, dy, **options)
        return dx, {"kernel": gradients["kernel"]}


class HalfSquares(Loss):
    """Σ ½ (y_pred - y_true)², whose backward forgets that ½ cancels."""

    def forward(self, xp, y_true, y_pred):
        difference = y_pred - y_true
        return 0.5 * xp.sum(difference * difference, axis=-1), difference

    def backward(self, xp, saved, dvalues):
        return 0.5 * saved * xp.expand_dims(dvalues, axis=-1)


class Block(Layer):
    """A layer that holds others."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.dense = Dense(4)
        self.inner = inner

    def forward(self, xp, x):
        y, first = self.dense.forward(xp, x)
        y, second = self.inner.forward(xp, y)
        return y, (first, second)

    def backward(self, xp, saved, dy):
        dy, _ = self.inner.backward(xp, saved[1], dy)
        dx, gradients = self.dense.backward(xp, saved[0], dy)
        return dx, {f"dense/{name}": gradient for name, gradient in gradients.items()}

    def build(self, input_shape):
        self.dense.build(input_shape)
        self.inner.build((None, 4))


def compiled(layers, loss="mse", backend="numpy"):
    model = Sequential(layers, seed=0, backend=backend)
    model.compile("adam", loss)
    return model


def test_each_weight_has_a_line_and_is_right(xp):
    model = compiled([Dense(4), Sigmoid(), Dense(1), Sigmoid()], backend=xp)
    table = model.check_gradients(X, Y, sample_weight=[1.0, 2.0, 0.5, 0.0])
    assert [found.of for found in table.comparisons] == [
        "dense/kernel",
        "dense/bias",
        "dense_1/kernel",
        "dense_1/bias",
    ]
    assert all(found.equal and found.relative_error < 1e-7 and found.analytic != 0 for found in table.comparisons)
    lines = str(table).split("\n")
    assert re.split(r"  +", lines[0]) == ["gradient of", "backward", "central differences", "relative error"]
    assert [re.split(r"  +", line)[0] for line in lines[1:]] == [found.of for found in table.comparisons]
    assert all(line.endswith("right") for line in lines[1:])
    assert repr(table) == str(table)


def test_the_mistake_of_the_tutorial_is_found_and_named():
    model = compiled([Dense(4), TutorialSigmoid(), Dense(1), TutorialSigmoid()])
    with pytest.raises(
        GradientMismatch,
        match=r"^check_gradients: the gradient of dense/kernel must be the derivative of the loss\. "
        r"Received: a derivative of -?[\d.e-]+ along a random line, where central differences give -?[\d.e-]+: "
        r"a relative error of [\d.e-]+\. "
        r"The mistake is in tutorial_sigmoid \(TutorialSigmoid\.backward: gradient of the input\) "
        r"and in tutorial_sigmoid_1 \(TutorialSigmoid\.backward: gradient of the input\)\.\n\n"
        r"gradient of +backward +central differences +relative error\n"
        r"dense/kernel  .*wrong\ndense/bias  .*wrong\ndense_1/kernel  .*wrong\ndense_1/bias  .*wrong$",
    ):
        model.check_gradients(X, Y)


def test_a_thousandth_is_found_and_only_there():
    model = compiled([Dense(4), Sigmoid(), NearlyDense(2), Tanh(), Dense(1)])
    with pytest.raises(GradientMismatch) as raised:
        model.check_gradients(X, Y)
    assert "The mistake is in nearly_dense (NearlyDense.backward: gradient of kernel).\n" in str(raised.value)
    verdicts = {line.split()[0]: line.split()[-1] for line in str(raised.value).split("\n")[3:]}
    assert verdicts == {
        "dense/kernel": "right",
        "dense/bias": "right",
        "nearly_dense/kernel": "wrong",
        "nearly_dense/bias": "right",
        "dense_1/kernel": "right",
        "dense_1/bias": "right",
    }


def test_the_tolerance_says_what_is_wrong():
    model = compiled([NearlyDense(2), Dense(1)])
    assert all(found.equal for found in model.check_gradients(X, Y, tolerance=2e-3).comparisons)
    with pytest.raises(GradientMismatch):
        model.check_gradients(X, Y, tolerance=5e-4)


def test_the_inner_layer_is_named_and_not_the_one_that_holds_it():
    model = compiled([Block(TutorialSigmoid()), Dense(1)])
    with pytest.raises(
        GradientMismatch,
        match=r" The mistake is in tutorial_sigmoid \(TutorialSigmoid\.backward: gradient of the input\)\.\n",
    ):
        model.check_gradients(X, Y)
    assert compiled([Block(Sigmoid()), Dense(1)]).check_gradients(X, Y)


def test_a_wrong_loss_is_named():
    with pytest.raises(
        GradientMismatch, match=r" The mistake is in the loss \(HalfSquares\.backward: gradient of y_pred\)\.\n"
    ):
        compiled([Dense(2), Dense(1)], HalfSquares()).check_gradients(X, Y)


def test_a_forgotten_gradient_is_named():
    with pytest.raises(
        ShapeError,
        match=r"^forgetful_dense/bias: backward must return the gradient of each trainable weight, this one as "
        r"'bias'\. Received: gradients of 'kernel'$",
    ):
        compiled([ForgetfulDense(2), Dense(1)]).check_gradients(X, Y)


def test_weights_that_are_not_trained_have_no_line():
    model = compiled([Dense(4, trainable=False), Dense(1)])
    assert [found.of for found in model.check_gradients(X, Y).comparisons] == ["dense_1/kernel", "dense_1/bias"]


def test_bends_of_many_units_are_no_mistakes():
    random = np.random.default_rng(0)
    x, y = random.standard_normal((200, 20)), random.integers(0, 5, 200)
    model = compiled([Dense(64), ReLU(), Dense(32), ReLU(), Dense(5)], SparseCategoricalCrossentropy(from_logits=True))
    assert len(model.check_gradients(x, y).comparisons) == 6


@pytest.mark.parametrize("trains_first", [False, True])
def test_the_model_stays_as_it_is(trains_first):
    """Training goes on as if nothing had been checked: weights, slots, masks and shuffles."""

    def run(checks):
        model = compiled([Dense(4), Dropout(0.5), Sigmoid(), Dense(1)])
        if trains_first:
            model.fit(X, Y, batch_size=2, epochs=2, verbose=0)
        if checks:
            table = model.check_gradients(X, Y)
            assert all(found.equal for found in table.comparisons)
            assert model.built is trains_first
            assert {weight.dtype for weight in model.weights} <= {"float32"}
        model.fit(X, Y, batch_size=2, epochs=3, verbose=0)
        return model

    plain, checked = run(checks=False), run(checks=True)
    assert checked.history.history == plain.history.history
    for ours, theirs in zip(checked.variables, plain.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_it_asks_for_a_loss_and_for_weights():
    model = Sequential([Dense(1)])
    with pytest.raises(
        NotReadyError,
        match=r"^check_gradients: the model must be compiled first\. Received: a model without loss and optimizer\. "
        r"Call compile\(optimizer, loss\)\.$",
    ):
        model.check_gradients(X, Y)
    with pytest.raises(
        NotReadyError,
        match=r"^check_gradients: there must be weights that training changes\. Received: a model without any\.$",
    ):
        compiled([Sigmoid(), Dense(1, trainable=False)]).check_gradients(X, Y)
    with pytest.raises(ArgumentError, match=r"tolerance"):
        compiled([Dense(1)]).check_gradients(X, Y, tolerance=0)
