"""A step worked out by hand: its numbers are those of the tutorial, of NumPy, and of the step that is really taken."""

from __future__ import annotations

import copy
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.errors import ArgumentError, ContractError, NotReadyError, ShapeError
from layerkit.initializers import Constant
from layerkit.layers import Dense, Dropout, Input, Layer, Sigmoid, Softmax
from layerkit.losses import Loss
from layerkit.models import explain as room
from layerkit.optimizers import SGD, Adam, MultiOptimizer, OptimizerMap

XOR_X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
XOR_Y = np.array([[0], [1], [1], [0]])


class HalfSquares(Loss):
    """``v = sum((y_true - y_pred)²) / 2``; ``dy_pred = dv (y_pred - y_true)``."""

    def forward(self, xp, y_true, y_pred):
        error = y_pred - y_true
        return xp.sum(error * error, axis=-1) / 2.0, error

    def backward(self, xp, saved, dvalues):
        return xp.expand_dims(dvalues, axis=-1) * saved


class Restless(Layer):
    """``y = x + c``, with c from a counter of its own that no seed knows: each pass has another."""

    passes = 0

    def call(self, xp, x):
        type(self).passes += 1
        return x + float(self.passes)


def by_hand(xp, **compiled):
    """Return the network of the tutorial that is worked by hand, with a Sigmoid layer and one as an activation."""
    hidden = Dense(2, kernel_initializer=Constant([[0.11, 0.19], [0.27, 0.52]]), bias_initializer=Constant(0.39))
    output = Dense(
        2, "sigmoid", kernel_initializer=Constant([[0.44, 0.23], [0.48, 0.29]]), bias_initializer=Constant(0.42)
    )
    model = Sequential([Input((2,)), hidden, Sigmoid(), output], dtype="float64", backend=xp)
    for layer in (hidden, output):
        layer.weights[1].trainable = False
    model.compile(**{"optimizer": SGD(learning_rate=0.3), "loss": HalfSquares(reduction="sum"), **compiled})
    return model


TUTORIAL = ([[0.03, 0.09]], [[0.01, 0.99]])


def xor(xp, *layers, **compiled):
    layers = layers or (Dense(3, "tanh"), Dense(1), Sigmoid())
    model = Sequential([Input((2,)), *layers], seed=0, backend=xp)
    model.compile(**{"optimizer": SGD(learning_rate=2.0), "loss": "mse", **compiled})
    return model


def part(text, start, end=None):
    return text[text.index(f"\n{start}") : None if end is None else text.index(f"\n{end}")]


def numbers_under(text, label):
    """Return the block of numbers that stands under a label for the first time."""
    lines = iter(text.splitlines())
    block = [next(line for line in lines if line.startswith(f"  {label} "))[len(label) + 2 :]]
    for line in lines:
        if not re.match(r" {8,}[-\d.]", line):
            break
        block.append(line)
    return np.array([[float(number) for number in row.split()] for row in block])


def test_it_shows_the_numbers_of_the_tutorial(xp):
    text = re.sub(" {2,}", "  ", str(by_hand(xp).explain(*TUTORIAL)))
    forward = part(text, "FORWARD", "LOSS")
    assert "y[0, 0]  0.03 * 0.11 + 0.09 * 0.27 + 0.39 = 0.4176\n" in forward
    assert "y[0, 1]  0.03 * 0.19 + 0.09 * 0.52 + 0.39 = 0.4425\n" in forward
    assert "y  0.60290881  0.60885457\n" in forward  # out h1, out h2
    assert "0.60290881 * 0.44 + 0.60885457 * 0.48 + 0.42 = 0.97753007\n" in forward  # y1
    assert "0.60290881 * 0.23 + 0.60885457 * 0.29 + 0.42 = 0.73523685\n" in forward  # y2
    assert "0.72661785" in forward  # out y1
    assert re.search(r"\n  L +sum of v = 0\.3060832\n", part(text, "LOSS", "BACKWARD"))
    assert re.search(r"\n  dy/dx +0\.19864435 ", part(text, "BACKWARD", "UPDATE"))
    assert re.search(r"\n  w\[0, 0\] +0\.44 - 0\.3 \* 0\.08582533 = 0\.4142524\n", part(text, "UPDATE"))  # w5
    assert re.search(r"\ndense/bias +is not trained\.\n", text)


def test_it_gives_each_formula(xp):
    text = str(by_hand(xp).explain(*TUTORIAL))
    found = [tuple(re.split(r" {2,}", line)) for line in text.splitlines()[1:] if line and line[0] != " "]
    dense = "dx = dy @ kernel.T, dkernel = x.T @ dy, dbias = sum of dy over the rows"
    assert found == [
        ("FORWARD", "The x of a layer is the y of the layer before."),
        ("dense", "y = x @ kernel + bias"),
        ("sigmoid", "y = 1 / (1 + exp(-x))"),
        ("dense_1", "y = x @ kernel + bias"),
        ("dense_1 (Sigmoid)", "y = 1 / (1 + exp(-x))"),
        ("LOSS", "v has a value for each sample; L is one number."),
        ("half_squares", "v = sum((y_true - y_pred)²) / 2"),
        ("BACKWARD", "dx stands for dL/dx. The dy of a layer is the dx of the layer behind it."),
        ("half_squares", "dy_pred = dv (y_pred - y_true)"),
        ("dense_1 (Sigmoid)", "dx = dy y (1 - y)"),
        ("dense_1", dense),
        ("sigmoid", "dx = dy y (1 - y)"),
        ("dense", dense),
        ("UPDATE", "w_new = w - learning_rate * dw, with learning_rate = 0.3."),
        ("dense/kernel",),
        ("dense/bias", "is not trained."),
        ("dense_1/kernel",),
        ("dense_1/bias", "is not trained."),
    ]


def test_its_numbers_are_those_of_numpy(xp):
    model = xor(xp)
    w1, b1, w2, b2 = (weight.astype("float64") for weight in model.get_weights())
    text = str(model.explain(XOR_X, XOR_Y))
    h = np.tanh(XOR_X @ w1 + b1)
    o = 1 / (1 + np.exp(-(h @ w2 + b2)))
    d2 = 2 * (o - XOR_Y) / 4 * o * (1 - o)
    d1 = d2 @ w2.T * (1 - h**2)
    forward, backward = part(text, "FORWARD", "LOSS"), part(text, "BACKWARD", "UPDATE")
    expected = (
        (numbers_under(forward[forward.index("Tanh") :], "y"), h),
        (numbers_under(forward[forward.index("\nsigmoid") :], "y"), o),
        (numbers_under(text, "v"), (o - XOR_Y) ** 2),
        (numbers_under(backward, "dy_pred"), 2 * (o - XOR_Y) / 4),
        (numbers_under(backward, "dv"), np.full((4, 1), 0.25)),
        (numbers_under(backward, "dkernel"), h.T @ d2),
        (numbers_under(backward[backward.index("Tanh") :], "dy/dx"), 1 - h**2),
        (numbers_under(backward[backward.index("Tanh") :], "dkernel"), XOR_X.T @ d1),
        (numbers_under(backward[backward.index("Tanh") :], "dbias"), d1.sum(axis=0, keepdims=True)),
    )
    loss = re.search(r"\n  L +sum of v / 4 = (\S+)\n", text)
    assert float(loss[1]) == pytest.approx(np.mean((o - XOR_Y) ** 2), abs=1e-6)
    assert re.search(r"\n  y\[3, 0\] +1 \* \S+ \+ 1 \* \S+ \+ 0 = ", forward)  # not the row of zeros
    for shown, value in expected:
        np.testing.assert_allclose(shown, value, atol=1e-6)
    new = [float(number) for number in re.findall(r"^  w\[.* = (\S+)$", text, re.MULTILINE)]
    gradients = (XOR_X.T @ d1, d1.sum(axis=0), h.T @ d2, d2.sum(axis=0))
    after = [w - 2.0 * g for w, g in zip((w1, b1, w2, b2), gradients, strict=True)]
    np.testing.assert_allclose(new, np.concatenate([w.ravel() for w in after]), atol=1e-6)


@pytest.mark.parametrize(
    "optimizer", [SGD(0.5, momentum=0.9), SGD(0.5, weight_decay=0.1), SGD(0.5, clipnorm=0.01), Adam(0.01)], ids=str
)
def test_other_rules_show_the_weights_of_the_step_that_is_taken(xp, optimizer):
    model = xor(xp, optimizer=copy.deepcopy(optimizer))
    model.train_on_batch(XOR_X, XOR_Y)  # so that the slots hold something
    text = str(model.explain(XOR_X, XOR_Y))
    new = [float(number) for number in re.findall(r"^  w\[.* = (\S+)   \(dw = \S+\)$", text, re.MULTILINE)]
    model.train_on_batch(XOR_X, XOR_Y)
    np.testing.assert_allclose(new, np.concatenate([w.ravel() for w in model.get_weights()]), atol=1e-6)
    name = type(optimizer).__name__
    assert f"w_new = w + the change that {name} makes of g = dw, with learning_rate = " in text
    assert ("m ← m + (1 - β₁)(g - m)\n" in text) == (name == "Adam")


def test_the_model_stays_as_it_is(xp):
    model = xor(xp, Dense(3, "tanh"), Dropout(0.5), Dense(1), Sigmoid(), metrics=["accuracy"])
    model.train_on_batch(XOR_X, XOR_Y)
    state = [*model.variables, *model.optimizer.variables, *(v for metric in model.metrics for v in metric.variables)]
    before = [variable.numpy() for variable in state]
    first = str(model.explain(XOR_X, XOR_Y))
    for variable, values in zip(state, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), values)
    assert str(model.explain(XOR_X, XOR_Y)) == first  # the same mask of dropout, too
    assert isinstance(model.layers[0].activation, type(copy.deepcopy(model).layers[0].activation))


def test_a_model_that_is_not_built_stays_so():
    model = Sequential([Dense(2), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    text = str(model.explain(XOR_X, XOR_Y))
    assert not model.built
    assert text.startswith('One training step of "sequential", worked out: 4 rows, 9 weights\n')


def test_a_layer_that_stands_twice_and_classes_as_targets(xp):
    twice = Dense(2, "tanh")
    model = xor(xp, twice, twice, Dense(3), Softmax(), loss="sparse_categorical_crossentropy")
    text = str(model.explain(XOR_X, [0, 1, 2, 0]))
    assert text.count("\ndense (Tanh) ") == 4  # twice forward, twice backward
    assert re.search(r"\n  y_true +0\n +1\n +2\n +0\n", text)
    assert re.search(r"\nsoftmax +y = exp\(x\) / sum\(exp\(x\)\)\n", text)


def test_small_and_large_numbers_keep_their_digits():
    model = Sequential([Input((1,)), Dense(1, use_bias=False, kernel_initializer=Constant(1e-10))], dtype="float64")
    model.compile(SGD(1e-9), "mse")
    text = str(model.explain([[2e6]], [[0.0]]))
    # y = 2e-4, dw = 2 y x = 800, w_new = 1e-10 - 8e-7.
    assert re.search(r"y\[0, 0\] +2\.0000e\+06 \* 1\.0000e-10 = 0\.0002\n", text)
    assert text.endswith("1.0000e-10 - 1e-09 * 800 = -7.9990e-07")


class Checker(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_a_notebook_shows_a_table_that_is_well_formed():
    model = by_hand("numpy")
    model._name = "<a & b>"
    explanation = model.explain(*TUTORIAL)
    page = explanation._repr_html_()
    checker = Checker()
    checker.feed(page)
    checker.close()
    assert checker.open == []
    assert "<a & b>" not in page
    assert "&lt;a &amp; b&gt;" in page
    words = " ".join(checker.cells).split()
    assert words == " ".join(str(explanation).splitlines()[1:]).split()


# What is refused.


@pytest.mark.parametrize(
    ("units", "rows", "received"), [(67, 4, "201 weights, 4 rows"), (66, 21, "198 weights, 21 rows")]
)
def test_what_nobody_could_read_is_refused(units, rows, received):
    model = Sequential([Dense(units)])
    model.compile("sgd", "mse")
    message = re.escape(
        "explain: a step is worked out for at most 200 weights and 20 rows, as a reader can follow. "
        f"Received: {received}. Give a small model, and a few rows: x[:4], y[:4]."
    )
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        model.explain(np.ones((rows, 2)), np.ones((rows, units)))


def test_what_cannot_be_trained_on_is_refused():
    with pytest.raises(NotReadyError, match=r"^explain: the model must be compiled first\. "):
        Sequential([Dense(1)]).explain(XOR_X, XOR_Y)
    with pytest.raises(NotReadyError, match=r"^Training needs a loss\. "):
        xor("numpy", loss=None).explain(XOR_X, XOR_Y)
    with pytest.raises(ShapeError, match="targets must have shape"):
        xor("numpy").explain(XOR_X, np.ones((4, 3)))


def test_numbers_that_are_not_those_of_the_step_are_not_shown():
    model = xor("numpy", Dense(1), Restless())
    message = (
        r"^explain: the numbers shown must be those of a real step\. Received: for the loss, \S+, where a step gives "
        r"\S+\. Layers with random numbers of their own, or values kept on self, do this; check_layer finds them\.$"
    )
    with pytest.raises(ContractError, match=message):
        model.explain(XOR_X, XOR_Y)


@pytest.mark.parametrize("factor", [1.001, -1.0])
def test_a_wrong_gradient_or_weight_is_not_shown(monkeypatch, factor):
    model = xor("numpy")
    monkeypatch.setattr(room, "_stages", lambda model: [(name, Wrong(layer, factor)) for name, layer in stages(model)])
    with pytest.raises(ContractError, match=r"Received: for the gradient of dense/kernel, \[\["):
        model.explain(XOR_X, XOR_Y)


stages = room._stages


class Wrong:
    """A layer whose gradients are off by a factor."""

    def __init__(self, layer, factor):
        self.__dict__.update(layer=layer, factor=factor)

    def __getattr__(self, name):
        return getattr(self.layer, name)

    def run_backward(self, xp, saved, dy):
        dx, gradients = self.layer.run_backward(xp, saved, dy)
        return dx, {name: gradient * self.factor for name, gradient in gradients.items()}


@pytest.mark.parametrize(
    ("optimizer", "told"),
    [
        (SGD(0.5, gradient_accumulation_steps=2), "SGD makes of g = dw, with learning_rate = 0.5."),
        (SGD(0.5, use_ema=True, ema_overwrite_frequency=1), "SGD makes of g = dw, with learning_rate = 0.5."),
        (MultiOptimizer(OptimizerMap(SGD(0.5))), "MultiOptimizer makes of g = dw."),
    ],
    ids=["accumulated", "averaged", "several"],
)
def test_an_update_that_is_not_plain_is_told_as_it_was_made(optimizer, told):
    model = Sequential([Input((2,)), Dense(1)], seed=0)
    model.compile(optimizer, "mse")
    assert f"w_new = w + the change that {told}" in str(model.explain(np.ones((1, 2)), np.ones((1, 1))))
