"""The two counts that tell what was planned or recorded to look again."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.callbacks import EarlyStopping
from layerkit.changes import changes, moves
from layerkit.initializers import RandomNormal
from layerkit.layers import Dense, Dropout, ReLU
from layerkit.losses import Huber
from layerkit.metrics import BinaryAccuracy
from layerkit.optimizers import SGD
from layerkit.xp import Variable

ONE = [
    (ReLU(), "negative_slope", 0.25),
    (Dropout(0.5), "rate", 0.25),
    (Dense(3), "activation", ReLU()),
    (Dense(3), "new", None),
    (SGD(), "momentum", 0.5),
    (Huber(), "delta", 2.0),
    (BinaryAccuracy(), "threshold", 0.25),
    (Sequential(seed=0), "temperature", 2.0),
]


@pytest.mark.parametrize(("owner", "attribute", "value"), ONE, ids=lambda item: type(item).__name__)
def test_an_attribute_that_is_set_counts_once(owner, attribute, value):
    owner = copy.deepcopy(owner)
    before, moved = changes(), moves()
    setattr(owner, attribute, value)
    after = changes()
    assert after != before
    setattr(owner, attribute, value)
    assert (changes(), moves()) == (after, moved)
    delattr(owner, attribute)
    assert changes() != after


@pytest.mark.parametrize(("old", "new"), [(1.5, 1.5 + 0.0), ("ab", "".join("ab")), (10**20, 10**10 * 10**10)])
def test_an_equal_number_is_no_change(old, new):
    layer = Dense(3)
    layer.setting = old
    before = changes()
    layer.setting = new
    assert changes() == before


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), ([1], [1]), ("1", 1), (None, 0)])
def test_an_equal_object_of_another_type_or_an_equal_list_is_a_change(old, new):
    layer = Dense(3)
    layer.setting = old
    before = changes()
    layer.setting = new
    assert changes() != before


def test_what_no_step_depends_on_does_not_count():
    model = Sequential([Dense(2)], seed=0)
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    stopping, initializer = EarlyStopping("loss"), RandomNormal()
    model.fit(x, y, verbose=0, batch_size=2, callbacks=[stopping])
    before = changes()
    model.fit(x, y, verbose=0, batch_size=2, epochs=3, callbacks=[stopping])
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    model.train_on_batch(x, y)
    model.stop_training = True
    initializer((2, 2))
    initializer.stddev = 3.0
    assert changes() == before


def test_state_that_is_made_moved_or_frozen_moves():
    def counted(change):
        before, moved = changes(), moves()
        change()
        assert changes() != before
        return moves() != moved

    numpy, strict = layerkit.backend("numpy"), layerkit.backend("strict")
    made: list[Variable] = []
    layer = Dense(3)
    assert counted(lambda: made.append(Variable(0.0, "float32", "w", trainable=False, xp=numpy)))
    assert counted(lambda: made[0].move(strict))
    assert counted(lambda: made[0].cast("float64"))
    assert counted(lambda: setattr(made[0], "trainable", True))
    assert counted(lambda: setattr(layer, "trainable", False))
    assert not counted(lambda: setattr(layer, "w", made[0]))
    before = changes()
    made[0].trainable = True
    layer.w = made[0]
    made[0].assign(2.0)
    layer.w = 3.0
    assert changes() == before
    assert made[0].numpy() == 3.0


def test_a_weight_that_is_frozen_by_itself_stays():
    model = Sequential([Dense(2)], seed=0)
    model.compile("sgd", "mse")
    x, y = np.ones((4, 3), np.float32), np.ones((4, 2), np.float32)
    model.fit(x, y, verbose=0)
    kernel, bias = model.weights
    kernel.trainable = False
    before = kernel.numpy(), bias.numpy()
    model.fit(x, y, verbose=0)
    assert (kernel.numpy() == before[0]).all()
    assert (bias.numpy() != before[1]).all()


def test_a_subclass_adds_to_what_its_bases_keep_for_themselves():
    class Counted(Dropout):
        _bookkeeping = frozenset({"seen"})

    layer = Counted(0.5)
    before = changes()
    layer.seen = 1
    layer.built = False
    assert changes() == before
    layer.rate = 0.75
    assert changes() != before
