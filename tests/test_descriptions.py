"""`serialize`, `deserialize` and `get` with dictionaries: objects as plain dictionaries, in Keras's form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerkit import (
    Layer,
    Sequential,
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    regularizers,
)
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError, UnknownNameError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, schedules
from layerkit.saving import table
from tests.saving.test_round_trip import OWN, described, example

ROOMS: dict[str, Any] = {**table.ROOMS, "schedules": schedules}
CLASSES = sorted(name for name in table.built_in() if not name.startswith("models."))


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_goes_through_json_and_back(name: str) -> None:
    made, room = example(name), ROOMS[name.partition(".")[0]]
    text = json.dumps(room.serialize(made))
    again = room.deserialize(json.loads(text), custom_objects=OWN)
    assert type(again) is type(made)
    assert json.dumps(room.serialize(again)) == text


def test_the_form_is_that_of_keras() -> None:
    rate = schedules.ExponentialDecay(0.1, 10, 0.5)
    found = optimizers.serialize(SGD(rate, momentum=0.9))
    assert (found["module"], found["class_name"]) == ("layerkit.optimizers", "SGD")
    assert found["config"]["momentum"] == 0.9
    assert found["config"]["learning_rate"] == {
        "module": "layerkit.optimizers.schedules",
        "class_name": "ExponentialDecay",
        "config": {
            **{"initial_learning_rate": 0.1, "decay_steps": 10, "decay_rate": 0.5, "staircase": False},
            "name": "ExponentialDecay",
        },
    }
    again = optimizers.deserialize(found)
    assert described(again) == described(SGD(rate, momentum=0.9))
    assert activations.serialize(activations.relu) == "relu"
    assert losses.serialize(losses.huber) == "huber"
    assert constraints.serialize(None) is None
    assert regularizers.deserialize(None) is None


def test_what_is_inside_is_made_too() -> None:
    inner = Dense(3, kernel_initializer=initializers.Constant(np.float64(0.5)), kernel_regularizer="l2")
    again = layers.deserialize(layers.serialize(layers.Wrapper(inner)))
    assert isinstance(again.layer, Dense)
    assert again.layer is not inner
    assert described(again.layer) == described(inner)


def test_a_dictionary_may_stand_wherever_a_name_may() -> None:
    model = Sequential([Dense(1, kernel_initializer={"class_name": "Constant", "config": {"value": 2.0}})])
    model.compile(
        {"class_name": "sgd", "config": {"learning_rate": 0.5}},
        {"class_name": "MeanSquaredError", "config": {"reduction": "sum"}},
        metrics=[{"class_name": "MeanAbsoluteError", "config": {"name": "error"}}],
    )
    x = np.ones((3, 2))
    assert model.evaluate(x, np.zeros((3, 1)), verbose=0, return_dict=True) == {"loss": 48.0, "error": 4.0}
    assert model.optimizer.learning_rate == 0.5
    assert activations.get({"class_name": "LeakyReLU", "config": {"negative_slope": 0.5}}).negative_slope == 0.5


KERAS: dict[str, Any] = json.loads((Path(__file__).parent / "tables/dictionaries.json").read_text())
KINDS = ("layers", "initializers", "regularizers", "constraints")


def attributes(thing: Any) -> dict[str, Any]:
    """What an object holds under public names, with the objects among it taken apart too."""
    return {
        name: (type(value), attributes(value)) if isinstance(value, Configurable) else value
        for name, value in vars(thing).items()
        if not name.startswith("_") and name != "name"
    }


@pytest.mark.parametrize(("kind", "case"), [(kind, case) for kind in KINDS for case in KERAS[kind]])
def test_dictionaries_of_keras_are_read(kind: str, case: tuple[str, dict[str, Any]]) -> None:
    expression, description = case
    room: Any = ROOMS[kind]
    wanted = eval(expression, {"layers": layers, **{name: getattr(room, name) for name in room.__all__}})
    for found in (room.deserialize(description), type(wanted).from_config(description["config"])):
        assert type(found) is type(wanted)
        assert attributes(found) == attributes(wanted)
        if isinstance(wanted, Layer):
            assert found.name == description["config"]["name"]
            assert found.dtype_policy == wanted.dtype_policy


@pytest.mark.parametrize(("name", "layer_names"), [("given", ["n", "d"]), ("built", "ab"), ("outer", ["inner", "e"])])
def test_models_of_keras_are_read(name: str, layer_names: list[str]) -> None:
    description: Any = dict(KERAS["models"])[name]
    for model in (layers.deserialize(description), Sequential.from_config(description["config"])):
        assert (model.name, [layer.name for layer in model.layers]) == (name, list(layer_names))
        assert (model.input_shape, model.output_shape) == ((None, 4), (None, 2))


def test_what_keras_describes_and_layerkit_does_not_have_is_refused() -> None:
    description = dict(KERAS["layers"])["BatchNormalization(1, 0.9)"]
    with pytest.raises(
        ArgumentError,
        match=r"^BatchNormalization: an argument must be one of the constructor's\. Received: synchronized=True\.",
    ):
        layers.deserialize({**description, "config": {**description["config"], "synchronized": True}})


class Scale(Layer):
    """As a layer is written for Keras: it describes itself."""

    def __init__(self, initializer: Any = "ones", activation: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.initializer = initializers.get(initializer)
        self.activation = activation

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight("scale", (), self.initializer)

    def call(self, xp: Any, x: Any) -> Any:
        return self.activation(x * self.scale)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initializer": initializers.serialize(self.initializer)}


def bent(x: Any) -> Any:
    return x - 1.0


def test_ones_own_classes_and_functions_are_given_by_name() -> None:
    layer = Scale(initializers.Constant(3.0), bent, name="scale")
    text = json.dumps(layers.serialize(layer))
    again = layers.deserialize(json.loads(text), custom_objects={"Scale": Scale, "bent": bent})
    assert again(np.array([2.0])).tolist() == [5.0]
    assert losses.deserialize("own", custom_objects={"own": lambda y_true, y_pred: y_pred - y_true}).name == "lambda"
    with pytest.raises(UnknownNameError, match=r"^layer: the name must be a known one\. Received: 'Scale'\. "):
        layers.deserialize(json.loads(text))
    with pytest.raises(
        ArgumentError,
        match=r"^deserialize: a function must be among custom_objects\. Received: 'bent', and 'Scale' there$",
    ):
        layers.deserialize(json.loads(text), custom_objects={"Scale": Scale})


def test_a_dictionary_names_nothing_but_what_is_in_the_tables() -> None:
    for name in ("os.system", "eval", "Layer", "__class__"):
        with pytest.raises(UnknownNameError, match="the name must be a known one"):
            layers.deserialize({"module": "os", "class_name": name, "config": {"command": "true"}})


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: optimizers.deserialize({"config": {}}),
            "optimizer: a description must be a name, or a dictionary with class_name and config. "
            "Received: {'config': {}}",
        ),
        (
            lambda: losses.deserialize(3),
            "loss: a description must be a name, or a dictionary with class_name and config. Received: 3",
        ),
        (
            lambda: metrics.deserialize({"class_name": "AUC", "config": [1]}),
            "deserialize: config must be a dictionary of the arguments of AUC. Received: [1]",
        ),
        (
            lambda: initializers.serialize(lambda shape, dtype: 0),
            "serialize: it must be an object of layerkit, a function with a name, or plain numbers, text and lists. "
            "Received: <function",
        ),
        (
            lambda: optimizers.get({"class_name": "SGD", "config": {"rate": 1}}),
            "SGD: an argument must be one of the constructor's. Received: rate=1. Known names: clipnorm",
        ),
    ],
)
def test_bad_descriptions_get_a_sentence(call: Any, sentence: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call()
    assert str(caught.value).startswith(sentence)
