"""Every bad input gets a sentence (the rule, what was received, and often the remedy), and changes nothing.

The table is bad_input.txt: what a user types and, indented below it, the exception's class and its whole message. Each
row acts on a model of its own, of the kind that stands in brackets above; its state before and after must be the same.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

import layerkit
from layerkit import Input, Layer, Model, Sequential, errors, layers, losses, optimizers
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers import Dense

if TYPE_CHECKING:
    from collections.abc import Callable

x = np.linspace(-1, 1, 18).reshape(6, 3)
y = np.linspace(0, 1, 6).reshape(6, 1)
labels = np.array([0, 1, 2, 0, 1, 2])
one_hot = np.eye(3)[labels]
flags = np.array([0, 1, 0, 1, 0, 1])


# What the statements use.


def with_one(array, place, value):
    """Return a copy in which one element is `value`."""
    copy = np.array(array, float)
    copy[place] = value
    return copy


def ones_1_1(shape, dtype):
    return np.ones((1, 1))


def text(shape, dtype):
    return np.full(shape, "a")


class Batches:
    """An empty sequence of batches."""

    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError


class Doubled(Layer):
    """A layer of a user, who gives neither a derivative nor the shape of the output."""

    def build(self, input_shape):
        self.factor = self.add_weight("factor", (input_shape[-1],), "ones")

    def call(self, xp, x):
        return x * self.factor * 2.0


class ForwardAlone(Layer):
    def forward(self, xp, x):
        return 2.0 * x, None


class NoPair(Layer):
    def forward(self, xp, x):
        return x

    def backward(self, xp, saved, dy):
        return dy, {}


class NoGradients(Layer):
    def build(self, input_shape):
        self.factor = self.add_weight("factor", (input_shape[-1],), "ones")

    def forward(self, xp, x):
        return x * self.factor, x

    def backward(self, xp, saved, dy):
        return dy * self.factor


class UnsummedGradient(NoGradients):
    def backward(self, xp, saved, dy):
        return dy * self.factor, {"factor": dy * saved}


class MisnamedGradient(NoGradients):
    def backward(self, xp, saved, dy):
        return dy * self.factor, {"factors": xp.sum(dy * saved, axis=0)}


def layer_with(method: str) -> Layer:
    """Return a layer with a method of this source."""
    names: dict[str, Any] = {}
    exec(f"def {method}", {}, names)
    return type("Own", (Layer,), {"call": lambda self, xp, x: x, **names})()


def training(layer: Layer) -> Sequential:
    """Return a model that trains with this layer."""
    model = Sequential([Input((3,)), layer, Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


def on_strict(optimizer: Any = "sgd") -> Sequential:
    """Return a model on the strict backend."""
    model = Sequential([Input((1,)), Dense(1, name="other")], seed=0, backend="strict")
    model.compile(optimizer, "mse")
    return model


def forbidding() -> Sequential:
    """Return a model that lets no data be copied from device to device."""
    model = Sequential([Input((3,)), Dense(1, name="other")], seed=0)
    model.compile("sgd", "mse", transfer="error")
    return model


# The models they act on.


def trained(width: int, activation: str | None, loss: str, targets: Any) -> Callable[[], Sequential]:
    """Return a function that makes a model which is built, compiled, and trained for an epoch."""

    def make() -> Sequential:
        model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(width, activation)], seed=0)
        model.compile("adam", loss, metrics=["accuracy"])
        model.fit(x, targets, batch_size=3, verbose=0)
        return model

    return make


def untrained(*layers: Any, **options: Any) -> Callable[[], Sequential]:
    """Return a function that makes a model of layers from `layers`, and compiles it if there are options for that."""

    def make() -> Sequential:
        model = Sequential([make_layer() for make_layer in layers], seed=0)
        if options:
            model.compile(**options)
        return model

    return make


class TwoHeads(Model):
    """A model with two outputs, in a dictionary."""

    def __init__(self, **options):
        super().__init__(**options)
        self.a, self.b = Dense(1), Dense(3, "softmax")

    def call(self, xp, x):
        return {"price": self.a(x), "kind": self.b(x)}


class TwoListed(TwoHeads):
    """The same in a list."""

    def call(self, xp, x):
        return [self.a(x), self.b(x)]


KINDS = "sparse_categorical_crossentropy"


def two(kind: type[TwoHeads], loss: Any, targets: Any) -> Callable[[], Model]:
    """Return a function that makes a model with two outputs, which is trained for an epoch."""

    def make() -> Model:
        model = kind(seed=0)
        model.compile("adam", loss)
        model.fit(x, targets, verbose=0)
        return model

    return make


def first() -> Dense:
    return Dense(4, "tanh")


def last() -> Dense:
    return Dense(1)


def three() -> Input:
    return Input((3,))


MODELS: dict[str, Callable[[], Any]] = {
    "regression": trained(1, None, "mse", y),
    "classes": trained(3, "softmax", "sparse_categorical_crossentropy", labels),
    "probabilities": trained(3, "softmax", "categorical_crossentropy", one_hot),
    "flags": trained(1, "sigmoid", "binary_crossentropy", flags),
    "uncompiled": untrained(three, first, last),
    "without_loss": untrained(three, first, last, optimizer="sgd", loss=None),
    "unreduced": untrained(three, first, last, optimizer="sgd", loss=losses.MeanSquaredError(reduction="none")),
    "unbuilt": untrained(first, last, optimizer="adam", loss="mse"),
    "unbuilt_custom": untrained(Doubled, last, optimizer="adam", loss="mse"),
    "lookup": untrained(lambda: layers.Embedding(3, 2), layers.Flatten, last, optimizer="adam", loss="mse"),
    "empty": untrained(optimizer="adam", loss="mse"),
    "two": two(TwoHeads, {"price": "mse", "kind": KINDS}, {"price": y, "kind": labels}),
    "two_listed": two(TwoListed, ["mse", KINDS], [y, labels]),
}


def state_of(model: Any) -> list[Any]:
    """Return all that building and training change."""
    state: list[Any] = [model.built, [(layer, layer.name, layer.built) for layer in model.layers], model.history]
    variables = list(model.variables)
    if model.compiled:
        state += [model.optimizer, model.loss, model.metrics_names, model.optimizer.built]
        variables += model.optimizer.variables
        variables += [total for metric in model.metrics for total in metric.variables]
    return [*state, [(variable, variable.xp, variable.numpy().tobytes()) for variable in variables]]


TOOLS = (with_one, ones_1_1, text, layer_with, training, on_strict, forbidding, Batches)
LAYERS = (Doubled, ForwardAlone, NoPair, NoGradients, UnsummedGradient, MisnamedGradient)
NAMES: dict[str, Any] = {
    **vars(errors),
    **vars(layers),
    **{"np": np, "pd": pd, "scipy": scipy, "nan": math.nan, "inf": math.inf, "AttributeError": AttributeError},
    **{"x": x, "y": y, "labels": labels, "one_hot": one_hot, "flags": flags},
    **{name: getattr(layerkit, name) for name in layerkit.__all__},
    **{name: getattr(optimizers, name) for name in optimizers.__all__},
    **{item.__name__: item for item in (*TOOLS, *LAYERS)},
    "layerkit": layerkit,
    "KINDS": KINDS,
}


def table() -> list[Any]:
    """Read the rows: a statement, and indented below it the exception's class and its message."""
    rows: list[Any] = []
    model = statement = ""
    for line in Path(__file__).with_name("bad_input.txt").read_text().splitlines():
        if line.startswith("["):
            model = line[1:].partition("]")[0]
        elif line.startswith("    "):
            error, _, message = line.strip().partition(": ")
            rows.append(pytest.param(model, statement, NAMES[error], message, id=f"{model}: {statement}"))
        elif line and not line.startswith("#"):
            statement = line
    return rows


@pytest.mark.parametrize(("model", "statement", "error", "message"), table())
def test_a_bad_input_gets_a_sentence_and_changes_nothing(model, statement, error, message):
    made = MODELS[model]()
    before = state_of(made)
    with pytest.raises(error) as caught:
        exec(statement, dict(NAMES, model=made))
    assert str(caught.value) == message
    assert type(caught.value) is error
    assert state_of(made) == before


@pytest.mark.parametrize(
    ("batches", "options", "message"),
    [
        (
            lambda: iter([(x, y)]),
            {"epochs": 2},
            "x must yield at least one batch in each epoch. Received: 0 in pass 2, and then its end. A generator runs "
            "once: give an object that can be iterated again, or an endless generator and steps_per_epoch.",
        ),
        (
            lambda: iter([(x, y)]),
            {"steps_per_epoch": 2},
            "x must yield 2 batches in each epoch. Received: 1 in pass 2, and then its end. A generator runs "
            "once: give an object that can be iterated again, or an endless generator and steps_per_epoch.",
        ),
        (
            lambda: iter([(x, y), (x[:, :2], y)]),
            {},
            "dense: the last axis of x must have length 3, for which the layer was built. Received: shape (None, 2)",
        ),
        (
            lambda: iter([(x, y), (x, with_one(y, (3, 0), math.nan))]),
            {},
            "y of batch 1 must hold finite numbers. Received: nan at [3, 0]. Fill or remove such rows.",
        ),
    ],
    ids=["a second epoch", "a second step", "another width", "no number"],
)
def test_a_bad_batch_after_a_good_one_leaves_the_model_as_the_good_one_made_it(batches, options, message):
    model, twin = MODELS["regression"](), MODELS["regression"]()
    with pytest.raises(ArgumentError) as caught:
        model.fit(batches(), verbose=0, **options)
    assert str(caught.value) == message
    twin.train_on_batch(x, y)
    for left, right in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
    assert model.optimizer.iterations == twin.optimizer.iterations


def test_a_metric_that_does_not_fit_is_found_before_the_weights_change():
    model = MODELS["classes"]()
    before = model.get_weights()
    model.compile("sgd", "sparse_categorical_crossentropy", metrics=["categorical_accuracy"])
    with pytest.raises(ShapeError) as caught:
        model.fit(x, labels, verbose=0)
    assert str(caught.value) == (
        "categorical_accuracy: targets must have the shape of the predictions, (6, 3). Received: shape (6,)"
    )
    for left, right in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


def test_a_layer_that_was_refused_a_place_can_be_given_another():
    layer = layers.Reshape((7,))
    model = MODELS["regression"]()
    with pytest.raises(ShapeError):
        model.add(layer)
    model.add(Dense(7))
    model.add(layer)
    assert model.output_shape == (None, 7)


def test_what_was_refused_before_build_trains_once_it_is_right():
    """The weights are those of a model that was never given a bad input."""
    refused, twin = MODELS["unbuilt_custom"](), MODELS["unbuilt_custom"]()
    with pytest.raises(ShapeError):
        refused.fit(x[:, :2], one_hot)
    refused.fit(x, y, verbose=0)
    twin.fit(x, y, verbose=0)
    for left, right in zip(refused.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)
