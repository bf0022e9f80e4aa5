"""What a step depends on besides its inputs and its state is seen, and named."""

from __future__ import annotations

import functools
import math
import random
from collections import deque
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.layers import Dense, Dropout, Layer, LeakyReLU, ReLU, Sigmoid
from layerkit.losses import Huber
from layerkit.metrics import MeanMetricWrapper
from layerkit.optimizers import SGD, Adam
from layerkit.program.purity import snapshot
from layerkit.xp import Variable

NAN = math.nan


class Plain(Layer):
    """A user's layer, whose one setting may be anything."""

    factor = 2.0
    table: ClassVar[list[int]] = [1, 2]

    def __init__(self, setting=None, **kwargs):
        super().__init__(**kwargs)
        self.setting = setting

    def call(self, xp, x):
        return x * self.factor


class Swish(Layer):
    """A user's layer that depends on nothing but x."""

    def call(self, xp, x):
        return x * xp.sigmoid(x) * math.pi


def with_setting(setting):
    layer = Swish()
    layer.setting = setting
    return layer


class Holder:
    """A user's object that is no layer."""

    def __init__(self, number):
        self.number = number


def trained(*layers, optimizer="sgd", loss="mse", metrics=("mae",)):
    model = Sequential(list(layers) or [Dense(3), ReLU(name="bent"), Dense(2, "sigmoid")], seed=0)
    model.compile(optimizer, loss, metrics=list(metrics), run_eagerly=True)
    model.train_on_batch(np.ones((4, 3), np.float32), np.ones((4, model.layers[-1].units), np.float32))
    return model


def parts(model):
    return [model, model.loss, model.optimizer, *model.metrics]


def differences(objects, change):
    """Return what a change does, having seen that without it there is no difference."""
    before = snapshot(objects)
    assert snapshot(objects) == before
    assert snapshot(objects).differences(before) == []
    change()
    return before.differences(snapshot(objects))


# What has no meaning for a step.


@pytest.mark.parametrize("optimizer", ["sgd", "adam", SGD(momentum=0.9), SGD(clipnorm=1.0)], ids=str)
def test_training_and_all_else_that_a_model_does_makes_no_difference(optimizer):
    model = trained(Dense(3, "relu"), Dropout(0.5), Dense(2), optimizer=optimizer)
    x, y = np.ones((8, 3), np.float32), np.ones((8, 2), np.float32)

    def use():
        model.fit(x, y, batch_size=3, epochs=2, verbose=0, validation_split=0.25)
        model.evaluate(x, y, verbose=0)
        model.predict(x, verbose=0)
        model.train_on_batch(x, y)
        model.stop_training = True
        model.set_weights([weight + 1 for weight in model.get_weights()])
        model.optimizer.learning_rate = 0.125
        model.reset_metrics()
        model.summary(print_fn=lambda text: None)
        model.loss.__dict__.update(model.loss.__dict__)

    assert differences(parts(model), use) == []


# Attributes.


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (1, 2, "1, then 2"),
        (1, True, "1, then True"),
        (1, 1.0, "1, then 1.0"),
        (0.0, -0.0, "0.0, then -0.0"),
        (0.5, NAN, "0.5, then nan"),
        ("a", "b", "'a', then 'b'"),
        (None, "None", "None, then 'None'"),
        (b"a", b"b", "b'a', then b'b'"),
        (1j, 2j, "1j, then 2j"),
        (range(3), range(4), "range(0, 3), then range(0, 4)"),
        ("a" * 100, "b", f"'{'a' * 56}…, then 'b'"),
        ((1, 2), [1, 2], "tuple of 2, then list of 2"),
        ({1}, {2}, "set of 1, then another"),
        (sum, max, "builtin_function_or_method, then another"),
        (int, float, "type, then another"),
        (1, np.ones(2), "1, then array of shape (2,)"),
        (np.ones(2), np.ones(3), "array of shape (2,), then array of shape (3,)"),
        (np.ones(2), np.ones(2), "array of shape (2,), then another"),
        (np.float32(1), np.float32(2), "array of shape (), then another"),
        (Dense(2), ReLU(), "Dense, then ReLU"),
    ],
    ids=str,
)
def test_a_setting_that_changed_is_named(old, new, said):
    layer = Plain(old)
    assert differences([layer], lambda: setattr(layer, "setting", new)) == [f"plain.setting: {said}"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (NAN, float("nan")),
        (0.1 + 0.2, 0.2 + 0.1),
        ([1, (2, {"a": NAN})], [1, (2, {"a": float("nan")})]),
        (np.float32(1), np.float32(1)),
        ({1, 2}, {2, 1}),
        (LeakyReLU(0.1), LeakyReLU(0.1)),
    ],
    ids=str,
)
def test_an_equal_setting_is_no_difference(old, new):
    layer = Plain(old)
    assert differences([layer], lambda: setattr(layer, "setting", new)) == []


@pytest.mark.parametrize(
    ("setting", "change", "said"),
    [
        ([1], lambda held: held.append(2), ": list of 1, then list of 2"),
        ([1, 5], lambda held: held.__setitem__(1, 6), "[1]: 5, then 6"),
        (deque([1]), lambda held: held.append(2), ": deque of 1, then deque of 2"),
        ({"a": 1}, lambda held: held.update(a=2), "['a']: 1, then 2"),
        ({"a": 1}, lambda held: held.update(b=2), "['b']: nothing, then 2"),
        ({(1, "a"): 1}, lambda held: held.clear(), "[tuple of (<class 'int'>, 1)]: 1, then nothing"),
        ({1}, lambda held: held.add(2), ": set of 1, then set of 2"),
        ([[[{"a": [1]}]]], lambda held: held[0][0][0]["a"].append(2), "[0][0]['a']: list of 1, then list of 2"),
        (np.zeros(3), lambda held: held.__setitem__(1, 1), ": other values in the same array"),
        (Holder(1), lambda held: setattr(held, "number", 2), ".number: 1, then 2"),
        ([Holder(1)], lambda held: setattr(held[0], "other", 2), "holder.other: nothing, then 2"),
        (LeakyReLU(0.1), lambda held: setattr(held, "negative_slope", 0.2), ".negative_slope: 0.1, then 0.2"),
        (
            functools.partial(max, 1, key=[1]),
            lambda held: held.keywords["key"].append(2),
            "['key']: list of 1, then list of 2",
        ),
        (Holder(1).__init__, lambda held: setattr(held.__self__, "number", 2), ".number: 1, then 2"),
    ],
    ids=range(14),
)
def test_what_happens_inside_a_setting_is_seen(setting, change, said):
    found = differences([Plain(setting, name="mine")], lambda: change(setting))
    assert len(found) == 1
    assert found[0].endswith(said)


def test_what_a_step_cannot_see_does_not_stop_it():
    """Of objects of other packages it is known who they are; cycles have an end; large arrays are not read."""
    endless = []
    endless.append(endless)
    namespace, large = SimpleNamespace(a=1), np.zeros(5000)
    layer = Plain([endless, namespace, large, object(), np.array([object()]), iter([1])])

    def change():
        namespace.a = 2
        large[0] = 1

    assert differences([layer], change) == []


# The parts of a model.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: setattr(m.layers[1], "negative_slope", 0.25), "bent.negative_slope: 0.0, then 0.25"),
        (lambda m: setattr(m.layers[2], "activation", ReLU()), "dense_1.activation: Sigmoid, then ReLU"),
        (lambda m: setattr(m.layers[2].activation, "new", 1), "dense_1.activation.new: nothing, then 1"),
        (lambda m: delattr(m.layers[2], "units"), "dense_1.units: 2, then nothing"),
        (lambda m: setattr(m.weights[0], "trainable", False), "dense.kernel.trainable: True, then False"),
        (lambda m: m.weights[0].cast("float64"), "dense.kernel: state, then another"),
        (lambda m: setattr(m.layers[0], "kernel", m.weights[2]), "dense.kernel: state, then another"),
        (lambda m: setattr(m.optimizer, "momentum", 0.5), "sgd.momentum: 0.0, then 0.5"),
        (lambda m: setattr(m.optimizer, "clipnorm", 0.5), "sgd.clipnorm: None, then 0.5"),
        (
            lambda m: setattr(m.loss, "reduction", "sum"),
            "mean_squared_error.reduction: 'sum_over_batch_size', then 'sum'",
        ),
        (lambda m: m.add(Sigmoid()), "sequential.stack: list of 3, then list of 4"),
        (lambda m: m.pop(), "sequential.stack: list of 3, then list of 2"),
        (lambda m: setattr(m, "temperature", 2.0), "sequential.temperature: nothing, then 2.0"),
        (lambda m: setattr(m.metrics[1], "fn", Huber()), "mae.fn: MeanAbsoluteError, then Huber"),
    ],
    ids=range(14),
)
def test_what_is_changed_in_a_model_is_named(change, said):
    model = trained()
    assert said in differences(parts(model), lambda: change(model))


def test_a_frozen_layer_and_its_weights_are_named():
    model = trained()
    found = differences(parts(model), lambda: setattr(model.layers[0], "trainable", False))
    assert found == ["dense.trainable: True, then False", "dense.activation.trainable: True, then False"]


def test_a_move_to_another_backend_is_seen_in_all_that_moves():
    model = trained(Dense(2), Dropout(0.5), Dense(2), optimizer=Adam())
    found = differences(parts(model), lambda: model.to("strict"))
    for name in ("dense.kernel", "dropout.mask", "adam.vectors['float32']['momentum']", "adam.learning_rate"):
        assert f"{name}: state, then another" in found


def test_slots_that_grow_are_seen():
    model = trained(Dense(2), Dense(2), optimizer=Adam())
    further = Variable(np.zeros(3), "float32", "further", xp=layerkit.backend("numpy"))
    found = differences([model.optimizer], lambda: model.optimizer.build([further]))
    assert "adam.vectors['float32']['velocity']: state, then another" in found


def test_other_objects_are_another_step():
    model, other = trained(), trained()
    assert snapshot(parts(model)) != snapshot(parts(other))
    assert snapshot(parts(model)).differences(snapshot(parts(model)[1:])) == ["the parts of the step: 5, then 4"]
    assert snapshot([Dense(2)]).differences(snapshot([Dense(2)])) == []
    assert snapshot([Dense(2)]).differences(snapshot([ReLU()])) == ["dense: Dense, then ReLU"]


def test_a_snapshot_is_not_deceived_by_an_address_that_is_used_again():
    layer = Plain(object())
    before = snapshot([layer])
    for _ in range(100):
        layer.setting = None
        layer.setting = object()
        assert snapshot([layer]) != before


# What may change without being set.


@pytest.mark.parametrize(
    ("layer", "settled"),
    [
        (lambda: Dense(3, "relu"), True),
        (lambda: Dropout(0.5, (None, 1)), True),
        (lambda: Swish(), True),
        (lambda: Plain(1), False),  # its class has settings, which may be set on the class
        (lambda: Swish(name="a"), True),
        (lambda: with_setting([]), False),
        (lambda: with_setting({}), False),
        (lambda: with_setting(set()), False),
        (lambda: with_setting(frozenset({1})), True),
        (lambda: with_setting((1, "a", (2,))), True),
        (lambda: with_setting((1, [2])), False),
        (lambda: with_setting(np.ones(2)), False),
        (lambda: with_setting(ReLU()), True),
        (lambda: with_setting(Holder(1)), False),
        (lambda: with_setting(np.random.default_rng(0)), False),
        (lambda: with_setting(lambda x: x), True),
        (lambda: with_setting(lambda x: x + CALLS), False),
        (lambda: Reader(), False),
    ],
    ids=range(18),
)
def test_it_is_known_what_can_change_without_being_set(layer, settled):
    model = trained(layer(), Dense(2), optimizer="adam")
    assert snapshot(parts(model)).settled is settled


@pytest.mark.parametrize("source", [np.random.default_rng, np.random.RandomState, random.Random])
def test_a_source_of_random_numbers_is_its_state(source):
    drawn = source(1)
    layer = Plain(drawn)
    draw = getattr(drawn, "random", None) or drawn.random_sample
    assert differences([layer], draw) == [
        f"plain.setting: {source.__name__.replace('default_rng', 'Generator')}, then another"
    ]


# What a user's code finds around it.

CALLS = 0
SEEN: list[int] = []
SCALE = {"a": 1.0}
TABLE = np.ones(3)
HELD = Holder(1)
unrelated = 0


def scaled(x):
    return x * SCALE["a"]


class Reader(Plain):
    """Reads names of this module, some through a function, some in a function inside."""

    def call(self, xp, x):
        def inner(y):
            return y * TABLE.sum() * len(SEEN)

        return inner(scaled(x)) * self.factor * CALLS * HELD.number + self.unrelated()

    @property
    def twice(self):
        return 2 * DOUBLED

    @staticmethod
    def unrelated():
        return 0


DOUBLED = 1


READ = "that Reader.call reads"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda patch: patch.setitem(globals(), "CALLS", 1), f"the global `CALLS` {READ}: 0, then 1"),
        (lambda patch: SEEN.append(1), f"the global `SEEN` {READ}: list of 0, then list of 1"),
        (lambda patch: patch.setitem(SCALE, "a", 2.0), "the global `SCALE` that scaled reads['a']: 1.0, then 2.0"),
        (lambda patch: TABLE.__setitem__(0, 7.0), f"the global `TABLE` {READ}: other values in the same array"),
        (lambda patch: setattr(HELD, "number", 5), f"the global `HELD` {READ}.number: 1, then 5"),
        (lambda patch: patch.setattr(Plain, "factor", 3.0), "Plain.factor: 2.0, then 3.0"),
        (lambda patch: Plain.table.append(3), "Plain.table: list of 2, then list of 3"),
        (lambda patch: patch.setattr(Reader, "call", scaled), "Reader.call: function call, then function scaled"),
        (
            lambda patch: patch.setitem(globals(), "DOUBLED", 3),
            "the global `DOUBLED` that Reader.twice reads: 1, then 3",
        ),
    ],
    ids=range(9),
)
def test_what_methods_read_is_seen(monkeypatch, change, said):
    model = trained(Reader(), Dense(2))
    assert differences(parts(model), lambda: change(monkeypatch)) == [said]


def test_names_that_are_only_attributes_are_not_taken_for_globals(monkeypatch):
    model = trained(Reader(), Dense(2))
    assert differences(parts(model), lambda: monkeypatch.setitem(globals(), "unrelated", 1)) == []


def test_what_functions_close_over_is_seen():
    weight, calls = 1.0, []

    def loss(xp, y_true, y_pred, power=[2]):  # noqa: B006
        calls.append(1)
        return weight * xp.mean((y_true - y_pred) ** power[0], axis=-1)

    def further():
        nonlocal weight
        weight = 2.0
        loss.__defaults__[0].append(3)

    model = trained(Dense(2), loss=loss, metrics=[MeanMetricWrapper(lambda y_true, y_pred: y_true, "m")])
    assert differences(parts(model), further) == [
        "the default of `power` in loss: list of 1, then list of 2",
        "the variable `weight` around loss: 1.0, then 2.0",
    ]
    found = differences(parts(model), lambda: model.train_on_batch(np.ones((4, 3)), np.ones((4, 2))))
    assert found == [f"the variable `calls` around loss: list of {len(calls) - 1}, then list of {len(calls)}"]


def test_another_function_is_named():
    def one(y_true, y_pred):
        return y_pred

    model = trained(Dense(2), metrics=[MeanMetricWrapper(one, "m")])
    found = differences(parts(model), lambda: setattr(model.metrics[1], "fn", lambda y_true, y_pred: y_true))
    assert found == ["m.fn: function one, then function <lambda>"]


def test_a_variable_that_is_not_there_yet_is_none():
    class Later(Plain):
        def call(self, xp, x):
            return x * late

    layer = Later()
    assert differences([layer], lambda: None) == []
    late = 1.0
    assert snapshot([layer]).differences(snapshot([layer])) == []
    assert late == 1.0
