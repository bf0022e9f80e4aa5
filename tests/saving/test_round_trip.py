"""What is saved comes back: every class with its configuration, every bit of state, and training goes on with it."""

from __future__ import annotations

import copy
import importlib
import inspect
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential, clone_model, load_model, model_from_json
from layerkit.callbacks import Callback
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError, ModelFormatError
from layerkit.initializers import Constant, HeNormal
from layerkit.layers import Activation, Dense, Dropout, Flatten, ReLU, Reshape
from layerkit.metrics import MeanSquaredError
from layerkit.optimizers import SGD, Adam, RMSprop
from layerkit.saving import document, table
from layerkit.saving.decoding import Decoder
from layerkit.saving.encoding import Encoder
from layerkit.saving.place import Place
from tests.saving.models import ROWS, Scale, X, Y, assert_same, clipped, momentum, squared, trained

if TYPE_CHECKING:
    from pathlib import Path

    from layerkit.xp import Backend


def again(model: Any, folder: Path, **given: Any) -> Any:
    model.save(folder / "model.layerkit")
    return load_model(folder / "model.layerkit", **given)


OPTIMIZERS = [
    SGD(0.05),
    momentum(),
    SGD(0.05, weight_decay=0.01, global_clipnorm=0.5),
    Adam(0.01, amsgrad=True, clipnorm=1.0),
    RMSprop(0.01, momentum=0.5, centered=True),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=repr)
def test_a_loaded_model_is_the_saved_one_and_trains_on_as_it_would(optimizer: Any, tmp_path: Path) -> None:
    model = trained(optimizer=copy.deepcopy(optimizer))
    twin = again(model, tmp_path)
    assert_same(model, twin)
    for each in (model, twin):
        each.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert_same(model, twin)
    np.testing.assert_array_equal(model.predict(X, verbose=0), twin.predict(X, verbose=0))


def test_on_every_backend(xp: Backend, tmp_path: Path) -> None:
    model = trained().to(xp)
    twin = again(model, tmp_path, backend=xp)
    assert twin.xp is xp
    assert_same(model, twin)
    elsewhere = again(model, tmp_path)
    assert str(elsewhere.xp) == "numpy"
    assert_same(model, elsewhere)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    model = trained()
    for name in ("a", "b"):
        model.save(tmp_path / f"{name}.layerkit")
    again(model, tmp_path).save(tmp_path / "c.layerkit")
    first, *others = ((tmp_path / f"{name}.layerkit").read_bytes() for name in "abc")
    assert others == [first, first]


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
def test_a_copy_goes_through_the_reader_and_has_all_state(copied: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from layerkit.saving import reader

    made = []
    monkeypatch.setattr(reader, "read", lambda *a, _read=reader.read, **k: made.append(a) or _read(*a, **k))
    model = trained(loss=squared, metrics=[squared])
    model.add(Scale(2.0))
    twin = copied(model)
    assert len(made) == 1
    assert_same(model, twin)
    assert isinstance(twin.layers[-1], Scale)
    assert twin.get_weights()[0] is not model.get_weights()[0]


def test_a_copy_in_memory_takes_along_what_no_file_can_hold() -> None:
    class Local(Scale):
        pass

    model = Sequential([Input((3,)), Local(2.0), Activation(lambda x: x * 2.0), Dense(1)], seed=0)
    twin = copy.deepcopy(model)
    np.testing.assert_array_equal(model.predict(X, verbose=0), twin.predict(X, verbose=0))
    assert type(twin.layers[0]) is Local


def test_an_uncompiled_an_unbuilt_and_an_untrained_model(tmp_path: Path) -> None:
    unbuilt = Sequential([Dense(4), Dense(1)], seed=1)
    assert not again(unbuilt, tmp_path).built
    twin = again(unbuilt, tmp_path)
    for model in (unbuilt, twin):
        model.build((None, 3))
    for a, b in zip(unbuilt.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not again(unbuilt, tmp_path).compiled
    unbuilt.compile("adam", "mse")
    twin = again(unbuilt, tmp_path)
    assert (twin.compiled, twin.optimizer.built, twin.history) == (True, False, None)
    assert_same(unbuilt, twin)


def test_a_layer_that_was_built_before_its_model_keeps_its_weights(tmp_path: Path) -> None:
    layer = Dense(4)
    layer.build((None, 3))
    model = Sequential([layer, Dense(1)])
    twin = again(model, tmp_path)
    assert not twin.built
    for a, b in zip(layer.get_weights(), twin.layers[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_without_the_optimizer_or_uncompiled(tmp_path: Path) -> None:
    model = trained()
    whole = (tmp_path / "whole.layerkit", tmp_path / "weights.layerkit")
    model.save(whole[0])
    model.save(whole[1], include_optimizer=False)
    assert whole[1].stat().st_size < whole[0].stat().st_size
    for twin in (load_model(whole[0], compile=False), load_model(whole[1])):
        assert not twin.compiled
        np.testing.assert_array_equal(model.predict(X, verbose=0), twin.predict(X, verbose=0))
    assert load_model(whole[0], compile=False).shuffles == model.shuffles


def test_what_is_frozen_stays_so(tmp_path: Path) -> None:
    model = Sequential([Input((3,)), Dense(4, name="a"), Dense(4, name="b"), Scale(), Dense(1)], seed=0)
    model.layers[0].trainable = False
    model.layers[2].trainable = False
    model.layers[1].weights[1].trainable = False
    twin = again(model, tmp_path, custom_objects={"Scale": Scale})
    assert [layer.trainable for layer in twin.layers] == [False, True, False, True]
    assert [w.path for w in twin.trainable_weights] == [w.path for w in model.trainable_weights]
    model.trainable = False
    assert again(model, tmp_path, custom_objects={"Scale": Scale}).trainable_weights == []


def test_a_layer_that_stands_twice_and_models_in_models(tmp_path: Path) -> None:
    shared = Dense(3, "tanh", kernel_initializer=HeNormal(seed=1))
    inner = Sequential([shared, Dropout(0.5)], seed=5)
    model = Sequential([Input((3,)), shared, inner, shared, Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    twin = again(model, tmp_path)
    assert twin.layers[0] is twin.layers[2] is twin.layers[1].layers[0]
    assert twin.layers[1].seed == 5
    assert_same(model, twin)


def test_a_seed_from_the_operating_system_is_saved(tmp_path: Path) -> None:
    model = Sequential([Dense(2), Dropout(0.5)])
    assert again(model, tmp_path).seed == model.seed


def test_custom_classes_and_functions_are_given_by_the_caller(tmp_path: Path) -> None:
    model = Sequential([Input((3,)), Scale(2.0), Dense(1, clipped)], seed=0)
    model.compile("sgd", squared, metrics=[squared])
    model.fit(X, Y, verbose=0)
    own = {"Scale": Scale, "squared": squared, "clipped": clipped}
    assert_same(model, again(model, tmp_path, custom_objects=own))
    path = tmp_path / "model.layerkit"
    del own["Scale"]
    with pytest.raises(ModelFormatError) as refusal:
        load_model(path, own)
    assert str(refusal.value) == (
        f"{path}: architecture.json: $.model.config.layers[1].class must be among the custom objects that the caller "
        f"gives. Received: 'Scale', and of the caller 'squared', 'clipped'. Give custom_objects={{'Scale': Scale}}, "
        f"if you trust the file."
    )


def test_a_custom_class_does_not_take_the_place_of_a_built_in_one(tmp_path: Path) -> None:
    class Dense(Scale):
        pass

    model = Sequential([Input((3,)), layerkit.layers.Dense(1), Dense(3.0)], seed=0)
    twin = again(model, tmp_path, custom_objects={"Dense": Dense})
    assert [type(layer) for layer in twin.layers] == [layerkit.layers.Dense, Dense]


def test_history_holds_all_that_callbacks_put_there(tmp_path: Path) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["rate"] = "slow" if epoch else None
            logs["not finite"] = float("nan")

    model = trained()
    model.fit(X, Y, epochs=2, callbacks=[Adds()], verbose=0)
    history = again(model, tmp_path).history
    assert history.epoch == model.history.epoch
    assert history.history["rate"] == [None, "slow"]
    np.testing.assert_equal(history.history, model.history.history)


# Configurations.


def again_as_json(value: Any) -> Any:
    told = document.loads(document.dumps(Encoder().encode(value, "value")), Place("test"))
    return Decoder({}).decode(told, Place("test"))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 0, -(2**63), 2**64 - 1, 0.1, 1e-300, "", "a\u00e9\U0001f600\ud800", [], [1, [2]], (), (1, (2,))),
        *({}, {"a": 1, 2: (3,)}, float("inf"), float("-inf"), -0.0),
    ],
    ids=repr,
)
def test_a_value_keeps_its_kind(value: Any) -> None:
    found = again_as_json(value)
    assert found == value
    assert repr(found) == repr(value)


def test_arrays_and_numbers_of_numpy() -> None:
    assert again_as_json(np.float32(0.1)) == np.float32(0.1).item()
    assert again_as_json(np.dtype("float32")) == again_as_json(np.float32) == "float32"
    for dtype in ("float32", "float64", "int8", "uint64", "bool"):
        array = np.array([[0, 1, 1]]).astype(dtype)
        found = again_as_json(array)
        assert (found.dtype, found.shape, found.tolist()) == (array.dtype, array.shape, array.tolist())


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {1, 2},
            "save: Dense.x must be something that a file can hold: numbers, text, lists, layers and the like. "
            "Received: {1, 2}. Give the constructor plain arguments instead.",
        ),
        (2**64, "save: Dense.x must be an integer of 64 bits. Received: 18446744073709551616"),
        (
            lambda x: x,
            "save: Dense.x must be a function or class with a name, by which it can be found again. "
            "Received: <function <lambda> at",
        ),
    ],
    ids=["set", "integer", "lambda"],
)
def test_what_no_file_can_hold_is_named(value: Any, sentence: str) -> None:
    with pytest.raises(ArgumentError) as refusal:
        Encoder().encode(value, "Dense.x")
    assert str(refusal.value).startswith(sentence)


def test_two_custom_objects_of_one_name_are_refused() -> None:
    one, other = (type("Scale", (Scale,), {}) for _ in range(2))
    with pytest.raises(ArgumentError, match=r"^save: custom functions and classes must have names of their own\. "):
        Encoder().encode([one(1.0), other(1.0)], "layers")


def falling(step: Any) -> Any:
    return 0.1 / (step + 1)


# What is given for arguments that have no default: by name, or for one class alone.
ARGUMENTS: dict[str, Any] = {
    **dict.fromkeys(
        ("units", "filters", "num_heads", "key_dim", "output_dim", "input_dim", "n", "groups", "max_length"), 3
    ),
    **dict.fromkeys(
        ("kernel_size", "size", "target_height", "target_width", "num_classes", "num_tokens", "num_bins"), 2
    ),
    **dict.fromkeys(("rate", "stddev", "recall", "precision", "specificity", "sensitivity"), 0.5),
    **dict.fromkeys(("function", "fn"), squared),
    "activation": "relu",
    "decay_rate": 0.9,
    "decay_steps": 100,
    "default_optimizer": SGD(0.1),
    "inner_optimizer": SGD(0.1),
    "axes": -1,
    "dims": (2, 1),
    "equation": "ab,bc->ac",
    "output_shape": 4,
    "first_decay_steps": 100,
    "initial_learning_rate": 0.1,
    "layer": Dense(2),
    "learning_rate": 0.1,
    "target_class_ids": [0, 1],
    "target_shape": (3, 1),
    "threshold": 0.5,
    "layers.Discretization": {"bin_boundaries": [0.0, 1.0]},
    "layers.Input": {"shape": (3,)},
    "models.Sequential": {"seed": 1},
    "optimizers.MultiOptimizer": {"optimizer_map": falling},
    "schedules.FunctionSchedule": {"function": falling},
    "schedules.PiecewiseConstantDecay": {"boundaries": [10], "values": [0.1, 0.01]},
}
# Those to which no object that layerkit knows can be given, so that one of the caller's own is.
OWN = {"falling": falling, "squared": squared}


def test_every_public_class_that_has_a_configuration_is_in_the_table() -> None:
    rooms = {name: importlib.import_module(f"layerkit.{name}") for name in (*table.ROOMS, "models")}
    for name in layerkit.__all__:
        module = getattr(layerkit, name)
        if getattr(module, "__name__", "") == f"layerkit.{name}" and hasattr(module, "__all__"):
            rooms[name] = module
    for private in ("activations", "callbacks"):  # functions of layers; not part of a model
        del rooms[private]
    known = set(table.built_in().values())
    bases = {
        layerkit.Model,
        layerkit.Layer,
        *(getattr(room, "NAMES", layerkit.losses.NAMES).base for room in rooms.values()),
    }
    for room in rooms.values():
        for name in room.__all__:
            value = getattr(room, name)
            if isinstance(value, type) and issubclass(value, Configurable) and value not in bases:
                assert value in known, f"{room.__name__}.{name}"


def described(value: Any) -> Any:
    if isinstance(value, Configurable):
        return type(value), {name: described(each) for name, each in value.get_config().items()}
    return value


def example(name: str) -> Any:
    """An object of a class, with an argument for whatever has no default."""
    cls: Any = table.built_in()[name]
    if name in ARGUMENTS:
        return cls(**ARGUMENTS[name])
    given: dict[str, Any] = {}
    for parameter in inspect.signature(cls.__init__).parameters.values():
        if parameter.name != "self" and parameter.default is parameter.empty and parameter.kind not in (2, 4):
            given[parameter.name] = ARGUMENTS.get(parameter.name, 2 if "int" in str(parameter.annotation) else 0.5)
    return cls(**given)


def built_in_names() -> list[str]:
    import layerkit.models.files  # which adds the models  # noqa: F401

    return sorted(table.built_in())


@pytest.mark.parametrize("name", built_in_names())
def test_every_class_comes_back_with_its_configuration(name: str) -> None:
    made = example(name)
    told = document.loads(document.dumps(Encoder().encode(made, name)), Place("test"))
    found = Decoder(OWN).decode(told, Place("test"))
    assert type(found) is type(made)
    assert described(found) == described(made)


# From JSON, and clones.


def test_json_makes_a_model_with_first_weights() -> None:
    model = Sequential([Input((3,)), Dense(4, "relu"), ReLU(max_value=6.0), Flatten(), Reshape((2, 2))], seed=1)
    first = model.get_weights()
    model.set_weights([weight + 1 for weight in first])
    twin = model_from_json(model.to_json())
    assert twin.to_json() == model.to_json()
    for a, b in zip(first, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_clone_has_weights_of_its_own() -> None:
    model = trained()
    clone = clone_model(model)
    assert (clone.built, clone.compiled, clone.to_json()) == (True, False, model.to_json())
    assert not np.array_equal(clone.get_weights()[0], model.get_weights()[0])
    with pytest.raises(ArgumentError, match=r"^clone_model: it must be a model\. Received: 3$"):
        clone_model(3)  # type: ignore[arg-type]


def test_initializers_are_not_drawn_when_weights_come_from_a_file(tmp_path: Path) -> None:
    drawn = []

    def noted(shape: Any, dtype: Any) -> Any:
        drawn.append(shape)
        return np.ones(shape)

    model = Sequential([Input((3,)), Dense(2, kernel_initializer=noted, bias_initializer=Constant(np.arange(2)))])
    twin = again(model, tmp_path, custom_objects={"noted": noted})
    assert drawn == [(3, 2)]
    assert twin.get_weights()[1].tolist() == [0.0, 1.0]


def test_metrics_keep_their_totals(tmp_path: Path) -> None:
    model = trained(metrics=["accuracy", MeanSquaredError(name="mine")], weighted_metrics=["mae"])
    twin = again(model, tmp_path)
    assert twin.metrics_names == model.metrics_names
    assert [metric.result() for metric in twin.metrics] == [metric.result() for metric in model.metrics]
    assert twin.metrics[0].count == ROWS
