"""A step that is replayed does what it would do eagerly; one that cannot be replayed is run eagerly, and that is said.

Every test trains the same model both ways, in float64, and compares weights, slots, totals of metrics and random
counters. `passes` counts how often the model's own Python runs: a step that is replayed does not run it.
"""

from __future__ import annotations

import copy
import inspect
import itertools
import multiprocessing
import os
import pickle
import random
import re
import signal
import sys
import threading
import warnings

import numpy as np
import pytest

import layerkit
from layerkit import Sequential, optimizers
from layerkit.callbacks import Callback
from layerkit.errors import CaptureError, CaptureWarning, NonFiniteWarning
from layerkit.layers import Dense, Dropout, Identity, Layer, LeakyReLU, ReLU, Sigmoid
from layerkit.losses import Loss, MeanSquaredError
from layerkit.metrics import Metric
from layerkit.optimizers import SGD, Adam, RMSprop

SEED = 7
_random = np.random.default_rng(SEED)
X = _random.normal(size=(24, 3))
Y = _random.normal(size=(24, 2))
WEIGHTS = _random.uniform(0.5, 2.0, size=24)
EAGERLY = {"run_eagerly": True}
REPLAYED = {"jit_compile": True}  # an error where a step cannot be replayed


# What is compared.


def sequential(layers=None, optimizer=None, loss="mse", metrics=("mae",), dtype="float64", **how):
    """Return a compiled model that is the same each time, but for how it is compiled."""
    given = [Dense(4, "tanh"), Dense(2)] if layers is None else [layer() for layer in layers]
    model = Sequential(given, seed=SEED, dtype=dtype)
    made = Adam(0.05) if optimizer is None else optimizer()
    model.compile(made, loss() if isinstance(loss, type) else loss, metrics=[*metrics], **how)
    return model


def state_of(model):
    """Return all state: weights, random counters, slots, learning rate, step count, totals."""
    totals = [variable for metric in model.metrics for variable in metric.variables]
    variables = [*model.variables, *model.optimizer.variables, *totals]
    return [(variable.path, variable.numpy()) for variable in variables]


def assert_same(model, other):
    """Check that two models are in the same state, but for rounding in float64."""
    mine, theirs = state_of(model), state_of(other)
    assert [path for path, _ in mine] == [path for path, _ in theirs]
    for (path, a), (_, b) in zip(mine, theirs, strict=True):
        assert a.dtype == b.dtype, path
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13, err_msg=path)
        else:
            np.testing.assert_array_equal(a, b, err_msg=path)


def both_ways(train, *made, how=REPLAYED, **options):
    """Train a model eagerly, and the same captured; compare them and what `train` returns; return the captured one."""
    eager = sequential(*made, **options, **EAGERLY)
    expected = train(eager)
    captured = sequential(*made, **options, **how)
    found = train(captured)
    assert_same(captured, eager)
    if expected is not None:
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    return captured


def passes(function):
    """Return how often a model's forward pass ran in Python meanwhile."""
    count = 0

    def watch(frame, event, _):
        nonlocal count
        count += event == "call" and frame.f_code is Sequential._pass.__code__

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


def steps(model, number=5, x=X, y=Y, weight=None):
    """Take a number of steps on all rows."""
    return [model.train_on_batch(x, y, sample_weight=weight) for _ in range(number)]


def replays(model, x=X, y=Y, weight=None):
    """Tell whether a training step on these rows is replayed; it is taken."""
    return passes(lambda: model.train_on_batch(x, y, sample_weight=weight)) == 0


class At(Callback):
    """Does something to the model at the beginning of a batch, counted from 0 over all epochs."""

    def __init__(self, batch, do):
        self.batch, self.do, self.seen = batch, do, 0

    def on_train_batch_begin(self, batch, logs=None):
        if self.seen == self.batch:
            self.do(self.model)
        self.seen += 1


def fitted(*callbacks, epochs=3, batch_size=6):
    """Return a function that fits a model with fresh copies of callbacks."""

    def train(model):
        model.fit(X, Y, batch_size, epochs, verbose=0, callbacks=copy.deepcopy([*callbacks]))

    return train


# Steps that are replayed.


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD,
        lambda: SGD(0.1, momentum=0.9),
        lambda: SGD(0.1, momentum=0.9, nesterov=True),
        lambda: SGD(clipnorm=0.1),
        lambda: SGD(clipvalue=0.01),
        Adam,
        lambda: Adam(amsgrad=True, weight_decay=0.01),
        lambda: Adam(global_clipnorm=0.05),
        RMSprop,
        lambda: RMSprop(momentum=0.5, centered=True),
    ],
    ids=range(10),
)
def test_from_the_third_step_on_it_is_replayed_with_the_same_numbers(optimizer):
    model = both_ways(lambda model: steps(model, 8), optimizer=optimizer)
    assert replays(model)
    counted = sequential(optimizer=optimizer, **REPLAYED)
    assert [passes(lambda: steps(counted, 1)) for _ in range(4)] == [1, 1, 0, 0]


TO_REPLAY = {found.name for found in map(optimizers.get, optimizers.NAMES) if not found.searches}


@pytest.mark.parametrize("name", sorted(TO_REPLAY))
def test_every_optimizer_replays_what_it_does_eagerly(name):
    model = both_ways(lambda model: steps(model, 6), optimizer=lambda: optimizers.get(name))
    assert replays(model)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: SGD(optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)),
        lambda: Adam(optimizers.schedules.CosineDecay(0.1, 8)),
        lambda: SGD(lambda t: 0.1 / (1.0 + t)),
        lambda: Adam(0.01, use_ema=True, ema_overwrite_frequency=3),
        lambda: SGD(0.1, gradient_accumulation_steps=2),
    ],
    ids=["exponential", "cosine", "function", "ema", "accumulation"],
)
def test_what_counts_steps_is_replayed(optimizer):
    def train(model):
        fitted()(model)
        return steps(model, 9)

    assert replays(both_ways(train, optimizer=optimizer))


@pytest.mark.parametrize("how", [{}, {"jit_compile": "auto"}, REPLAYED])
def test_auto_is_the_default_and_replays_in_silence(how):
    model = sequential(**how)
    # Two steps are recorded; before them, one runs eagerly, unless jit_compile=True asks for an error at once.
    assert passes(lambda: steps(model, 6)) == (2 if how.get("jit_compile") is True else 3)


@pytest.mark.parametrize("how", [EAGERLY, {"jit_compile": False}, {"run_eagerly": True, "jit_compile": "auto"}])
def test_false_and_run_eagerly_never_record(how):
    model = both_ways(steps, how=how)
    assert passes(lambda: steps(model, 6)) == 6


def test_fit_evaluate_and_predict_agree_with_eager():
    def train(model):
        history = model.fit(X, Y, 5, 4, verbose=0, validation_split=0.25)
        evaluated = [model.evaluate(X, Y, batch_size=7, verbose=0) for _ in range(3)]
        predicted = [model.predict(X, batch_size=7, verbose=0) for _ in range(3)]
        return np.concatenate([np.ravel(list(history.history.values())), np.ravel(evaluated), np.ravel(predicted)])

    model = both_ways(train)
    assert passes(lambda: model.fit(X, Y, 5, 4, verbose=0, validation_split=0.25)) == 0
    assert passes(lambda: model.evaluate(X, Y, batch_size=7, verbose=0)) == 0
    assert passes(lambda: model.predict(X, batch_size=7, verbose=0)) == 0


def test_a_last_short_batch_has_a_program_of_its_own():
    assert len(X) % 10 == 4

    def train(model):
        return model.fit(X, Y, 10, 5, verbose=0).history["loss"]

    model = both_ways(train)
    assert passes(lambda: train(model)) == 0
    fresh = sequential(**REPLAYED)
    assert passes(lambda: train(fresh)) == 4  # two of each length


def test_signatures_come_and_go():
    def train(model):
        rows = [4, 24, 4, 1, 24, 4, 1, 24, 1, 4, 24, 7, 4]
        return [model.train_on_batch(X[:n], Y[:n]) for n in rows]

    model = both_ways(train)
    assert replays(model, X[:4], Y[:4])
    assert not replays(model, X[:9], Y[:9])


def test_more_signatures_than_are_kept():
    def train(model):
        return [model.train_on_batch(X[:n], Y[:n]) for _ in range(3) for n in range(1, 21)]

    both_ways(train)


def test_sample_weights_that_appear_and_disappear():
    def train(model):
        given = [None, WEIGHTS, None, WEIGHTS, None, WEIGHTS, WEIGHTS, None, None]
        return [model.train_on_batch(X, Y, sample_weight=weight) for weight in given]

    model = both_ways(train)
    assert replays(model)
    assert replays(model, weight=WEIGHTS)


def test_sample_weights_and_class_weights_are_inputs_and_no_constants():
    def train(model):
        return [model.train_on_batch(X, Y, sample_weight=WEIGHTS * factor) for factor in (1.0, 2.0, 0.0, 0.5, 1e3)]

    assert replays(both_ways(train), weight=WEIGHTS)


@pytest.mark.parametrize("convert", [np.float32, np.float64, np.int64, np.bool_, lambda x: x[::-1], np.asfortranarray])
def test_a_changed_dtype_or_layout_of_x(convert):
    def train(model):
        losses = steps(model, 4)
        losses += steps(model, 4, x=convert(X * 10))
        return losses + steps(model, 3)

    assert replays(both_ways(train))


class LooksUp(Layer):
    """Takes rows of a table by whole numbers of any kind."""

    autocast = False

    def build(self, input_shape):
        self.table = self.add_weight("table", (10, 4))

    def call(self, xp, x):
        index = xp.reshape(xp.astype(x, xp.int64), (-1,))
        return xp.sum(xp.take(self.table, index, axis=0), axis=1, keepdims=True)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)


def test_whole_numbers_of_changing_kinds():
    numbers = np.arange(24).reshape(24, 1) % 10
    kinds = [np.int64, np.int32, np.uint8, np.int64, np.uint8, np.int32, np.int64, np.uint8, np.int32, np.uint8]

    def train(model):
        given = [(numbers + index) % 10 for index in range(len(kinds))]
        losses = [model.train_on_batch(x.astype(kind), Y) for x, kind in zip(given, kinds, strict=True)]
        predicted = [model.predict(x.astype(kind), verbose=0).sum() for x, kind in zip(given, kinds, strict=True)]
        return [*np.ravel(losses), *predicted]

    model = both_ways(train, [LooksUp, lambda: Dense(2)])
    assert replays(model, numbers.astype(np.uint8))


@pytest.mark.parametrize("kind", [np.int64, np.int32, np.uint8, np.float64])
def test_labels_of_changing_kinds(kind):
    labels = np.arange(24) % 3

    def train(model):
        return [model.train_on_batch(X, labels.astype(each)) for each in (np.int64, kind, np.int64, kind, kind, kind)]

    options = {"loss": "sparse_categorical_crossentropy", "metrics": ("accuracy",)}
    model = both_ways(train, [lambda: Dense(3, "softmax")], **options)
    assert replays(model, X, labels.astype(kind))


def test_x_is_read_anew_in_each_step():
    def train(model):
        x = X.copy()
        losses = []
        for _ in range(6):
            losses.append(model.train_on_batch(x, Y))
            x += 0.1
        return losses

    assert replays(both_ways(train))


def test_on_each_backend(xp):
    def made(**how):
        layers = [Dense(5, "relu"), Dropout(0.5), Moving(), Dense(2)]
        model = Sequential(layers, seed=SEED, dtype="float64", backend=xp)
        model.compile(Adam(0.05, clipnorm=0.1), "mse", metrics=["mae"], **how)
        return model

    eager, captured = made(**EAGERLY), made(**REPLAYED)
    for model in (eager, captured):
        fitted(epochs=3, batch_size=10)(model)
        steps(model, 4, weight=WEIGHTS)
        for _ in range(3):
            model.predict(X, verbose=0)
    assert_same(captured, eager)
    assert replays(captured, weight=WEIGHTS)


def test_callbacks_that_use_the_model_in_mid_fit():
    class Uses(Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            self.seen += [*np.ravel(self.model.predict(X[:7], verbose=0)), *self.model.evaluate(X, Y, verbose=0)]

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append(logs["loss"])
            if batch == 2:
                self.model.train_on_batch(X, Y)

    def train(model):
        uses = Uses()
        model.fit(X, Y, 6, 5, verbose=0, callbacks=[uses], validation_data=(X[:5], Y[:5]))
        return uses.seen

    assert replays(both_ways(train, [lambda: Dense(4), half_dropped, lambda: Dense(2)]))


def test_a_model_that_asks_another():
    teacher = sequential(**EAGERLY)
    steps(teacher, 3)

    class Distilled(Layer):
        def call(self, xp, x):
            return xp.concat([x, teacher(x)], axis=1)

    model = both_ways(steps, [Distilled, lambda: Dense(2)])
    assert replays(model)
    before = teacher.predict(X, verbose=0)
    steps(teacher, 2)
    assert not np.array_equal(teacher.predict(X, verbose=0), before)

    def train(model):
        losses = steps(model, 4)
        teacher.set_weights([weight * 0.5 for weight in teacher.get_weights()])
        losses += steps(model, 4)
        teacher.set_weights([weight * 2 for weight in teacher.get_weights()])
        return losses

    assert replays(both_ways(train, [Distilled, lambda: Dense(2)]))


# Random state.


@pytest.mark.parametrize("rate", [0.25, 0.0, 1.0])
def test_dropout_draws_the_masks_that_it_draws_eagerly(rate):
    layers = [lambda: Dense(8), lambda: Dropout(rate), lambda: Dense(2)]
    model = both_ways(lambda model: steps(model, 7), layers)
    assert replays(model)


def test_masks_go_on_where_eager_steps_and_other_signatures_left_them():
    def train(model):
        fitted(epochs=2, batch_size=10)(model)
        model.evaluate(X, Y, verbose=0)
        steps(model, 3)

    both_ways(
        train, [lambda: Dropout(0.5), lambda: Dense(8, "relu"), lambda: Dropout(0.25, (None, 1)), lambda: Dense(2)]
    )


def half_dropped():
    return Dropout(0.5)


class Noise(Layer):
    """Draws in `call` from a stream of its own, in training."""

    def build(self, input_shape):
        self.noise = self.add_stream("noise")

    def call(self, xp, x, training=False):
        if not training:
            return x
        y = x + 0.1 * self.noise.normal(xp, x.shape, self.dtype)
        return y * self.noise.uniform(xp, (1, x.shape[-1]), self.dtype)


def test_a_user_s_own_random_numbers_are_those_of_eager():
    model = both_ways(lambda model: steps(model, 6), [Noise, lambda: Dense(2)])
    assert replays(model)


class Moving(Layer):
    """Keeps state that its forward pass writes: a mean of what it saw."""

    def build(self, input_shape):
        self.mean = self.add_weight("mean", (input_shape[-1],), "zeros", trainable=False)

    def call(self, xp, x, training=False):
        if training:
            xp.assign(self.mean, 0.9 * self.mean + 0.1 * xp.mean(x, axis=0))
        return x - self.mean


def test_state_that_a_layer_writes_goes_on():
    def train(model):
        losses = steps(model, 5)
        model.evaluate(X, Y, verbose=0)
        fitted(epochs=2)(model)
        return losses

    assert replays(both_ways(train, [Moving, lambda: Dense(4), Moving, lambda: Dense(2)]))


# What changes between steps.


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.optimizer, "learning_rate", 0.3),
        lambda m: setattr(m.optimizer, "momentum", 0.5),
        lambda m: setattr(m.optimizer, "nesterov", True),
        lambda m: setattr(m.optimizer, "clipnorm", 0.01),
        lambda m: setattr(m.optimizer, "weight_decay", 0.1),
        lambda m: setattr(m.layers[0], "trainable", False),
        lambda m: setattr(m.weights[1], "trainable", False),
        lambda m: setattr(m, "trainable", False),
        lambda m: setattr(m.layers[1], "negative_slope", 0.5),
        lambda m: setattr(m.layers[0], "activation", Sigmoid()),
        lambda m: setattr(m.loss, "delta", 0.25),
        lambda m: m.set_weights([weight * 0.5 for weight in m.get_weights()]),
        lambda m: m.weights[0].assign(m.weights[0].numpy() + 1),
        lambda m: setattr(m.layers[0], "kernel", np.ones((3, 4))),
        lambda m: m.optimizer.variables[-1].assign(np.ones(m.optimizer.variables[-1].shape)),
        lambda m: m.reset_metrics(),
        lambda m: m.add(Dense(2)),
        lambda m: m.pop(),
        lambda m: m.to("strict").to("numpy"),
        lambda m: setattr(m.layers[1], "forward", lambda xp, x: (2.0 * x, x)),
        lambda m: setattr(m.layers[1], "call", None),
    ],
    ids=range(21),
)
def test_a_change_between_steps_takes_effect_with_the_next(change):
    layers = [lambda: Dense(4), LeakyReLU, lambda: Dense(2), lambda: Dense(2)]

    def train(model):
        losses = steps(model, 4)
        change(model)
        losses += steps(model, 4)
        model.trainable = True
        return losses + steps(model, 4)

    model = both_ways(train, layers, optimizer=lambda: SGD(0.1, momentum=0.9), loss="huber")
    assert replays(model)


@pytest.mark.parametrize("rows", [6, 24])
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 9])
@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.optimizer, "learning_rate", 0.3),
        lambda m: setattr(m.optimizer, "momentum", 0.5),
        lambda m: setattr(m.layers[0], "trainable", False),
        lambda m: setattr(m.layers[1], "negative_slope", 0.5),
        lambda m: m.set_weights([weight * 0.5 for weight in m.get_weights()]),
        lambda m: m.to("strict").to("numpy"),
    ],
    ids=["rate", "momentum", "trainable", "slope", "weights", "moved"],
)
def test_a_change_by_a_callback_takes_effect_with_the_next_batch(change, batch, rows):
    layers = [lambda: Dense(4), LeakyReLU, lambda: Dense(2)]
    train = fitted(At(batch, change), epochs=rows // 2, batch_size=rows)
    both_ways(train, layers, optimizer=lambda: SGD(0.1, momentum=0.9))


@pytest.mark.parametrize("epoch", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("moment", ["on_epoch_begin", "on_epoch_end"])
def test_a_change_between_epochs_takes_effect_with_the_next(moment, epoch):
    class Changes(Callback):
        def change(self, number, logs=None):
            if number == epoch:
                self.model.layers[1].negative_slope = 0.5
                self.model.optimizer.momentum = 0.5

    setattr(Changes, moment, Changes.change)
    layers = [lambda: Dense(4), LeakyReLU, lambda: Dense(2)]
    for rows in (6, 24):
        both_ways(fitted(Changes(), epochs=8, batch_size=rows), layers, optimizer=lambda: SGD(0.1, momentum=0.9))


def test_a_momentum_that_is_set_later_gets_its_slot():
    def train(model):
        losses = steps(model, 4)
        model.optimizer.momentum = 0.9
        losses += steps(model, 4)
        model.optimizer.momentum = 0.0
        return losses + steps(model, 4)

    model = both_ways(train, optimizer=lambda: SGD(0.1))
    assert replays(model)
    later, first = sequential(optimizer=lambda: SGD(0.1)), sequential(optimizer=lambda: SGD(0.1, momentum=0.9))
    for _ in range(3):
        steps(first, 1)
        slot = first.optimizer.variables[-1]
        slot.assign(np.zeros(slot.shape))
    steps(later, 3)
    later.optimizer.momentum = 0.9
    for each in (later, first):
        steps(each, 5)
    np.testing.assert_allclose(later.get_weights()[0], first.get_weights()[0], rtol=1e-10)


def test_a_move_to_another_backend_in_mid_fit_and_back():
    callbacks = [At(4, lambda model: model.to("strict")), At(9, lambda model: model.to("numpy"))]
    model = both_ways(fitted(*callbacks, epochs=5), how={})
    assert str(model.xp) == "numpy"
    assert replays(model, X[:6], Y[:6])


def test_schedules_change_an_input_and_no_constant():
    class Schedule(Callback):
        def on_train_batch_begin(self, batch, logs=None):
            self.model.optimizer.learning_rate *= 0.9

    model = both_ways(fitted(Schedule()))
    assert passes(lambda: fitted(Schedule())(model)) == 0


GLOBAL = 1.0
ITEMS = [1.0]


class FromGlobals(Layer):
    def call(self, xp, x):
        return x * GLOBAL * ITEMS[0]


def test_a_global_that_is_changed_between_fits(monkeypatch):
    def train(model):
        fitted()(model)
        monkeypatch.setitem(globals(), "GLOBAL", 2.0)
        fitted()(model)
        ITEMS[0] = 0.5
        fitted()(model)
        monkeypatch.setitem(globals(), "GLOBAL", 1.0)
        ITEMS[0] = 1.0

    model = both_ways(train, [FromGlobals, lambda: Dense(2)])
    fitted()(model)
    assert passes(lambda: fitted()(model)) == 0


class Factor(Layer):
    """Reads what belongs to its class, a list, an array, and a function's variable."""

    factor = 1.0

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.items, self.table, around = [1.0], np.ones(2), [1.0]
        self.function = lambda: around[0]
        self.around = lambda value: around.__setitem__(0, value)

    def call(self, xp, x):
        return x * self.factor * self.items[0] * self.function() * xp.asarray(self.table)


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: setattr(Factor, "factor", 2.0),
        lambda layer: layer.items.__setitem__(0, 2.0),
        lambda layer: layer.table.__setitem__(1, 2.0),
        lambda layer: layer.around(2.0),
    ],
    ids=range(4),
)
def test_what_changes_without_being_set_takes_effect(change):
    def changed(between):
        def train(model):
            Factor.factor = 1.0
            steps(model, 4)
            before = [np.array(model.predict(X, verbose=0)) for _ in range(3)] + [model.evaluate(X, Y, verbose=0)[0]]
            change(model.layers[1])
            after = [model.predict(X, verbose=0), model.evaluate(X, Y, verbose=0)[0]]
            between(model)
            return [np.mean(value) for value in (*before, *after)]

        return train

    layers = [lambda: Dense(2), Factor]
    both_ways(changed(lambda model: steps(model, 3)), layers)
    both_ways(changed(lambda model: fitted()(model)), layers)
    for batch in (3, 6):

        def train(model, batch=batch):
            Factor.factor = 1.0
            fitted(At(batch, lambda model: change(model.layers[1])), epochs=9, batch_size=12)(model)

        both_ways(train, layers)

    class Between(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 5:
                change(self.model.layers[1])

    def train(model):
        Factor.factor = 1.0
        fitted(Between(), epochs=9, batch_size=24)(model)

    both_ways(train, layers)


def test_another_compile_begins_anew():
    def train(model):
        steps(model)
        how = EAGERLY if model.step.jit_compile is False else REPLAYED
        model.compile(SGD(0.5), "mae", **how)
        return steps(model)

    assert replays(both_ways(train))


# Models that share.


def test_two_models_that_share_a_layer_are_trained_in_turn():
    def trained(**how):
        shared = Dense(4, "tanh")
        one = Sequential([shared, Dense(2)], seed=1, dtype="float64")
        two = Sequential([shared, Sigmoid(), Dense(2)], seed=2, dtype="float64")
        for model in (one, two):
            model.compile(SGD(0.1, momentum=0.9), "mse", metrics=["mae"], **how)
        for _ in range(6):
            one.train_on_batch(X, Y)
            two.train_on_batch(X, Y)
            two.train_on_batch(X, Y)
        shared.trainable = False
        for _ in range(4):
            one.train_on_batch(X, Y)
            two.train_on_batch(X, Y)
        return one, two

    for eager, captured in zip(trained(**EAGERLY), trained(**REPLAYED), strict=True):
        assert_same(captured, eager)
        assert replays(captured)


def test_two_models_in_turn_do_not_make_each_other_record_again():
    one, two = sequential(**REPLAYED), sequential(**REPLAYED)
    for model in (one, two, one, two):
        steps(model, 1)
    assert passes(lambda: [steps(model, 1) for model in (one, two) * 5]) == 0


def test_a_layer_that_stands_twice():
    shared = []

    def train(model):
        return steps(model, 6)

    def again():
        shared.append(Dense(3)) if len(shared) % 2 == 0 else shared.append(shared[-1])
        return shared[-1]

    assert replays(both_ways(train, [again, lambda: ReLU(), again, lambda: Dense(2)]))


# Errors, interrupts, copies, threads, processes.


class Fails(Layer):
    """Raises when it is told to."""

    failing = False

    def call(self, xp, x):
        if Fails.failing:
            raise ValueError("it fails")
        return x


class FailsIn(Metric):
    """Raises when it is told to, after the layers have run."""

    failing = False

    def update(self, xp, y_true, y_pred, sample_weight=None):
        if FailsIn.failing:
            raise ValueError("it fails")

    def compute(self, xp):
        return xp.asarray(0.0)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
@pytest.mark.parametrize("owner", [Fails, FailsIn])
def test_an_error_in_a_step_leaves_the_state_as_it_was(number, owner, monkeypatch):
    layers, metrics = [lambda: Dense(4), half_dropped, Fails, Moving, lambda: Dense(2)], ["mae", FailsIn()]
    model = sequential(layers, metrics=metrics, **REPLAYED)
    steps(model, number)
    model.layers[0].note = number  # the step is looked at again
    model.reset_metrics()
    before = state_of(model)
    monkeypatch.setattr(owner, "failing", True)
    with pytest.raises(ValueError, match=r"^it fails"):
        model.train_on_batch(X, Y)
    monkeypatch.setattr(owner, "failing", False)
    for (path, a), (_, b) in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)
    eager = sequential(layers, metrics=["mae", FailsIn()], **EAGERLY)
    steps(eager, number)
    for each in (eager, model):
        fitted()(each)
    assert_same(model, eager)


def test_an_error_in_a_certain_batch_of_fit_reaches_the_caller_and_the_next_fit_works():
    class Refuses(Layer):
        def call(self, xp, x):
            if x.shape[0] == 4:
                raise ValueError("four rows")
            return x

    model = sequential([Refuses, lambda: Dense(2)], **REPLAYED)
    with pytest.raises(ValueError, match=r"^four rows\n"):
        model.fit(X, Y, 10, 3, verbose=0)
    eager = sequential([Refuses, lambda: Dense(2)], **EAGERLY)
    with pytest.raises(ValueError, match=r"^four rows\n"):
        eager.fit(X, Y, 10, 3, verbose=0)
    for each in (model, eager):
        each.fit(X, Y, 12, 3, verbose=0)
    assert_same(model, eager)
    assert replays(model, X[:12], Y[:12])


def test_wrong_data_between_replayed_steps_changes_nothing():
    model = sequential(**REPLAYED)
    steps(model, 4)
    before = state_of(model)
    with pytest.raises(ValueError, match="Received: shape"):
        model.train_on_batch(X[:, :2], Y)
    with pytest.raises(ValueError, match="Received:"):
        model.train_on_batch(X, Y[:5])
    for (path, a), (_, b) in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)
    assert replays(model)


def test_ctrl_c_in_a_replayed_step_ends_fit_between_two_steps():
    class Press(Callback):
        def __init__(self):
            self.seen = 0

        def on_train_batch_begin(self, batch, logs=None):
            self.seen += 1
            if self.seen == 7:
                os.kill(os.getpid(), signal.SIGINT)

    def train(model):
        with pytest.raises(KeyboardInterrupt):
            model.fit(X, Y, 6, 5, verbose=0, callbacks=[Press()])
        assert model.optimizer.iterations == 7
        fitted()(model)

    assert replays(both_ways(train), X[:6], Y[:6])


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
@pytest.mark.parametrize("number", [1, 2, 4])
def test_a_copy_after_capture_is_a_model_of_its_own(copied, number):
    layers = [lambda: Dense(8), half_dropped, lambda: Dense(2)]
    model = sequential(layers, **REPLAYED)
    steps(model, number)
    twin = copied(model)
    assert_same(twin, model)
    before = state_of(model)
    eager = sequential(layers, **EAGERLY)
    steps(eager, number)
    steps(eager, 5)
    steps(twin, 5)
    assert_same(twin, eager)
    for (path, a), (_, b) in zip(before, state_of(model), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)
    steps(model, 5)
    assert_same(model, eager)
    assert replays(model)
    assert replays(twin)


def test_a_model_whose_optimizer_or_metric_was_used_before_by_another():
    optimizer = SGD(0.1, momentum=0.9)
    one = Sequential([Dense(2)], seed=1, dtype="float64")
    one.compile(optimizer, "mse", **REPLAYED)
    steps(one, 4)
    two = Sequential([Dense(2)], seed=1, dtype="float64")
    two.compile(optimizer, "mse", **REPLAYED)
    steps(two, 4)
    steps(one, 2)
    steps(two, 2)
    eager = Sequential([Dense(2)], seed=1, dtype="float64")
    eager.compile(SGD(0.1, momentum=0.9), "mse", **EAGERLY)
    steps(eager, 6)
    for model in (one, two):
        np.testing.assert_allclose(model.get_weights()[0], eager.get_weights()[0], rtol=1e-10)


@pytest.mark.parametrize("warm", [0, 1, 2, 5])
def test_predict_from_many_threads_gives_the_bits_of_one(warm):
    model = sequential([lambda: Dense(64, "relu"), lambda: Dense(64, "tanh"), lambda: Dense(2)], dtype="float32")
    inputs = [np.random.default_rng(i).normal(size=(50 + i % 3, 3)).astype("f4") for i in range(16)]
    serial = sequential([lambda: Dense(64, "relu"), lambda: Dense(64, "tanh"), lambda: Dense(2)], dtype="float32")
    expected = [[serial.predict(x, batch_size=16, verbose=0) for _ in range(4)][-1] for x in inputs]
    model.predict(inputs[0], batch_size=16, verbose=0)
    for _ in range(warm):
        model.predict(inputs[0], batch_size=16, verbose=0)
    wrong: list[int] = []
    barrier = threading.Barrier(16)

    def work(index):
        barrier.wait()
        for _ in range(10):
            if not np.array_equal(model.predict(inputs[index], batch_size=16, verbose=0), expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_predict_runs_beside_fit():
    """What it predicts meanwhile depends on the moment; what is trained does not."""
    eager = sequential(**EAGERLY)
    fitted(epochs=20)(eager)
    model = sequential(**REPLAYED)
    model.build((None, 3))
    running, failed = threading.Event(), []

    def predict():
        while running.is_set():
            try:
                assert np.isfinite(model.predict(X, batch_size=5, verbose=0)).all()
            except BaseException as error:
                failed.append(error)
                raise

    running.set()
    threads = [threading.Thread(target=predict) for _ in range(3)]
    for thread in threads:
        thread.start()
    fitted(epochs=20)(model)
    running.clear()
    for thread in threads:
        thread.join()
    assert failed == []
    assert_same(model, eager)


def test_what_predict_returned_is_not_overwritten_by_the_next():
    model = sequential()
    results = [model.predict(X + shift, verbose=0) for shift in range(6)]
    again = [model.predict(X + shift, verbose=0) for shift in range(6)]
    np.testing.assert_array_equal(results, again)
    assert not any(np.shares_memory(a, b) for a in results for b in again)
    results[0][:] = 0
    np.testing.assert_array_equal(model.predict(X, verbose=0), again[0])


def test_many_models_train_in_threads_of_their_own():
    eager = sequential(**EAGERLY)
    fitted()(eager)
    models = [sequential(**REPLAYED) for _ in range(8)]
    barrier = threading.Barrier(8)

    def work(model):
        barrier.wait()
        fitted()(model)

    threads = [threading.Thread(target=work, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for model in models:
        assert_same(model, eager)


def _in_the_child(model, pipe):
    predicted = model.predict(X, verbose=0)
    fitted()(model)
    pipe.send((predicted, state_of(model)))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("width", [8, 500])
def test_a_child_that_was_forked_after_capture_goes_on_with_the_same_bits(width, monkeypatch):
    monkeypatch.setenv("LAYERKIT_NUM_THREADS", "3")  # which share the loops of the wide one
    model = sequential([lambda: Dense(width), half_dropped, lambda: Dense(width), lambda: Dense(2)], **REPLAYED)
    steps(model, 4)
    for _ in range(3):
        model.predict(X, verbose=0)
    context = multiprocessing.get_context("fork")
    received, pipe = context.Pipe(duplex=False)
    child = context.Process(target=_in_the_child, args=(model, pipe))
    child.start()
    pipe.close()
    answered = received.poll(60)
    predicted, state = received.recv() if answered else (None, [])
    child.kill()
    child.join()
    assert answered
    np.testing.assert_array_equal(model.predict(X, verbose=0), predicted)
    fitted()(model)
    for (path, a), (_, b) in zip(state, state_of(model), strict=True):
        np.testing.assert_array_equal(a, b, err_msg=path)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_while_another_thread_records():
    recording, over = threading.Event(), threading.Event()

    class Waits(Layer):
        def call(self, xp, x):
            recording.set()
            over.wait()
            return 2 * x

        def compute_output_shape(self, input_shape):
            return input_shape

    thread = threading.Thread(target=steps, args=(sequential([Waits, lambda: Dense(2)]), 1))
    thread.start()
    recording.wait()
    child = multiprocessing.get_context("fork").Process(target=steps, args=(sequential(), 3))
    child.start()
    child.join(60)
    stuck = child.is_alive()
    child.kill()
    over.set()
    thread.join()
    assert not stuck
    assert child.exitcode == 0


# Steps that are hard to plan: values that share memory, die late, or belong to state or to the caller.


class Hard(Layer):
    """Base of layers with a weight and two arrays of state, as wide as x."""

    def build(self, input_shape):
        width = input_shape[-1]
        self.kernel = self.add_weight("kernel", (width, width))
        self.mean = self.add_weight("mean", (width,), "zeros", trainable=False)
        self.count = self.add_weight("count", (), "zeros", dtype="int64", trainable=False)


def hard(call):
    """Return a layer of this `call`."""
    return type(call.__name__.title().replace("_", ""), (Hard,), {"call": call})


def state_read_before_it_is_written(self, xp, x):
    old = self.mean
    xp.assign(self.mean, xp.mean(x, axis=0))
    return x - old  # which is state, and has changed


def a_copy_of_state_before_it_is_written(self, xp, x):
    old = self.mean + 0.0
    xp.assign(self.mean, xp.mean(x, axis=0))
    return x - old + self.mean


def a_part_of_state_before_it_is_written(self, xp, x):
    first, rest = self.mean[:1], xp.flip(self.mean)
    xp.assign_add(self.mean, xp.mean(x, axis=0))
    return x - first + rest * self.mean


def state_written_twice(self, xp, x):
    xp.assign(self.mean, xp.sum(x, axis=0))
    y = x + self.mean
    xp.assign(self.mean, self.mean * 0.5)
    xp.assign_add(self.mean, self.mean)
    return y * self.mean


def state_that_swaps(self, xp, x):
    old = self.mean * 1.0
    xp.assign(self.mean, xp.flip(self.mean) + x[0, :])
    return x + old


def a_counter_that_is_read(self, xp, x):
    xp.assign_add(self.count, x.shape[0])
    return x / xp.astype(self.count, x.dtype)


def a_value_that_is_used_late(self, xp, x):
    a = xp.tanh(x)
    b = a * a
    c = xp.exp(b) - a
    return c * b + a - x


def x_alone(self, xp, x):
    return x


def a_view_of_x(self, xp, x):
    return xp.flip(xp.permute_dims(xp.reshape(xp.permute_dims(x, (1, 0)), (x.shape[1], -1)), (1, 0)), axis=1)


def views_of_a_value_that_dies(self, xp, x):
    a = x * 2.0
    left, right = a[:, :1], a[:, 1:]
    b = a + 1.0
    return xp.concat([left * b[:, :1], right - b[:, 1:]], axis=1)


def a_value_and_its_transpose(self, xp, x):
    a = x @ self.kernel
    return 0.01 * a @ (a.T @ a) + x


def many_outputs(self, xp, x):
    columns = xp.unstack(x, axis=1)
    return xp.stack([column * index for index, column in enumerate(columns)][::-1], axis=1)


def constants(self, xp, x):
    a = xp.zeros(x.shape, dtype=x.dtype)
    b = a + 1.0
    c = xp.arange(x.shape[1], dtype=x.dtype) * 2.0
    d = xp.eye(x.shape[1], dtype=x.dtype)
    e = xp.astype(xp.asarray([[0.5]]), x.dtype) + c
    return (x + b + e) @ d - xp.ones_like(x) * c


def numbers_only(self, xp, x):
    return x * 0.0 + xp.cumulative_sum(xp.ones(x.shape, dtype=x.dtype), axis=1)


def other_dtypes(self, xp, x):
    large = x > 0.5
    whole = xp.astype(xp.floor(x * 10.0), xp.int32)
    narrow = xp.astype(xp.astype(x, xp.float32) * 3, x.dtype)
    return xp.where(large, x, -x) + xp.astype(whole % 3, x.dtype) + narrow * xp.astype(~large, x.dtype)


def reductions(self, xp, x):
    shifted = x - xp.max(x, axis=1, keepdims=True)
    weights = xp.exp(shifted)
    return weights / xp.sum(weights, axis=1, keepdims=True) + xp.var(x) * xp.std(x, axis=0)


def indices(self, xp, x):
    best = xp.argmax(x, axis=1)
    return x + xp.take(self.kernel, best, axis=0)


def sorted_and_clipped(self, xp, x):
    return xp.clip(xp.sort(x, axis=0), -0.5, 0.5) + xp.take_along_axis(x, xp.argsort(x, axis=1), axis=1)


def linear_algebra(self, xp, x):
    gram = x.T @ x + 2.0 * xp.eye(x.shape[1], dtype=x.dtype)
    return xp.linalg.solve(gram, x.T).T + xp.linalg.inv(gram)[:1, :]


def three_axes(self, xp, x):
    a = xp.expand_dims(x, axis=2) * xp.expand_dims(x, axis=1)
    return xp.sum(xp.matmul(a, self.kernel), axis=2) + xp.squeeze(xp.mean(a, axis=(1, 2), keepdims=True), axis=2)


def numpy_on_recorded_arrays(self, xp, x):
    return x * np.sin(x) + np.maximum(x, 0.0) - x.mean(axis=0)


def one_word_twice(self, xp, x):
    return xp.exp(x) * xp.exp(x) + (xp.exp(x) - xp.exp(-x))


HARD = [
    state_read_before_it_is_written, a_copy_of_state_before_it_is_written, a_part_of_state_before_it_is_written,
    state_written_twice, state_that_swaps, a_counter_that_is_read, a_value_that_is_used_late, x_alone, a_view_of_x,
    views_of_a_value_that_dies, a_value_and_its_transpose, many_outputs, constants, numbers_only, other_dtypes,
    reductions, indices, sorted_and_clipped, linear_algebra, three_axes, numpy_on_recorded_arrays, one_word_twice,
]  # fmt: skip


@pytest.mark.parametrize("call", HARD, ids=lambda call: call.__name__)
@pytest.mark.parametrize("place", ["first", "between", "last", "alone"])
def test_a_step_that_is_hard_to_plan(call, place):
    layer = hard(call)
    layers = {
        "first": [layer, lambda: Dense(2)],
        "between": [lambda: Dense(4, "tanh"), layer, lambda: Dense(2)],
        "last": [lambda: Dense(2, "tanh"), layer],
        "alone": [layer],
    }[place]
    targets = X if place == "alone" else Y

    def train(model):
        losses = [model.train_on_batch(X * factor, targets, sample_weight=WEIGHTS) for factor in (1, 2, -1, 0.5, 3)]
        evaluated = [model.evaluate(X * factor, targets, verbose=0) for factor in (1, 2, -1, 0.5)]
        predicted = [np.mean(model.predict(X * factor, verbose=0)) for factor in (1, 2, -1, 0.5)]
        return np.concatenate([np.ravel(losses), np.ravel(evaluated), predicted])

    given = X.copy(), Y.copy(), WEIGHTS.copy()
    model = both_ways(train, layers, optimizer=lambda: SGD(0.01, momentum=0.5))
    for before, after in zip(given, (X, Y, WEIGHTS), strict=True):
        np.testing.assert_array_equal(before, after)
    assert replays(model, X, targets, WEIGHTS)


@pytest.mark.parametrize("call", HARD, ids=lambda call: call.__name__)
def test_what_is_predicted_belongs_to_the_caller(call):
    model = sequential([hard(call)])
    results = [model.predict(X, verbose=0) for _ in range(4)]
    kept = [result.copy() for result in results]
    model.predict(X * 3 + 1, verbose=0)
    for variable in model.variables:
        variable.assign(variable.numpy() + 1)
    for result, before in zip(results, kept, strict=True):
        np.testing.assert_array_equal(result, before)
        result[:] = 7
    assert not np.any(X == 7)


@pytest.mark.parametrize("threads", ["1", "3"])
@pytest.mark.parametrize("rows", [1, 2, 257])
@pytest.mark.parametrize("width", [1, 97, 700])
def test_sizes_around_the_tiles_of_the_cache(rows, width, threads, monkeypatch):
    monkeypatch.setenv("LAYERKIT_NUM_THREADS", threads)
    random = np.random.default_rng(SEED)
    x, y = random.normal(size=(rows, width)), random.normal(size=(rows, width))
    layers = [lambda: Dense(width + 3, "relu"), half_dropped, lambda: Dense(width, "tanh"), lambda: LeakyReLU(0.1)]

    def train(model):
        return [model.train_on_batch(x * factor, y) for factor in (1, 2, 3, 0.5)]

    assert replays(both_ways(train, layers, optimizer=lambda: Adam(0.01, weight_decay=0.1, global_clipnorm=1.0)), x, y)


# What cannot be replayed.


class Counts(Layer):
    """A Python number that its pass changes, and uses."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, xp, x):
        self.calls += 1
        return x * (1.0 + 0.1 * self.calls)


class Lists(Layer):
    """A list that its pass fills."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.shapes = []

    def call(self, xp, x):
        self.shapes.append(x.shape)
        return x * len(self.shapes)


class Keeps(Layer):
    """Keeps its input, as one does to look at it later."""

    def call(self, xp, x):
        self.last = x
        return 2 * x


class Late(Layer):
    """Changes what it does after many steps, of which the first are alike."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, xp, x):
        self.calls += 1
        return x if self.calls < 5 else 2 * x


COUNTED = 0


class CountsGlobally(Layer):
    def call(self, xp, x):
        global COUNTED
        COUNTED += 1
        return x * COUNTED


class Iterates(Layer):
    """Takes what comes next of something that tells nobody how far it is."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.numbers = itertools.count(1)

    def call(self, xp, x):
        return x / next(self.numbers)


class Alternates(Layer):
    """Does one thing and then another."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.turns = itertools.cycle([True, False])

    def call(self, xp, x):
        return xp.tanh(x) if next(self.turns) else xp.sin(x)


class DrawsAnArray(Layer):
    def call(self, xp, x):
        return x + np.random.normal(size=(1, x.shape[-1]))  # noqa: NPY002


class DrawsANumber(Layer):
    def call(self, xp, x):
        return x * np.random.uniform(0.5, 1.5)  # noqa: NPY002


class DrawsWithPython(Layer):
    def call(self, xp, x):
        return x * random.uniform(0.5, 1.5)


class DrawsFromAGenerator(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.random = np.random.default_rng(SEED)

    def call(self, xp, x):
        return x * self.random.uniform(0.5, 1.5)


class DrawsABranch(Layer):
    """Leaves itself out half of the time: two steps may well be alike."""

    def call(self, xp, x):
        return x if np.random.uniform() < 0.5 else 2 * x  # noqa: NPY002


class Branches(Layer):
    def call(self, xp, x):
        return x if xp.sum(x) > 0 else 2 * x  # a branch on a value


class Floats(Layer):
    def call(self, xp, x):
        return x * float(xp.max(x))


class Ints(Layer):
    def call(self, xp, x):
        return x * int(xp.max(x))


class Items(Layer):
    def call(self, xp, x):
        return x * xp.max(x).item()


class Bools(Layer):
    def call(self, xp, x):
        return x * bool(xp.max(x) > 1)


class Arrays(Layer):
    def forward(self, xp, x):
        return 2 * x, np.asarray(x)

    def backward(self, xp, saved, dy):
        return 2 * dy * saved.max(), {}

    def compute_output_shape(self, input_shape):
        return input_shape


class ToNumpy(Layer):
    def call(self, xp, x):
        return x * xp.asarray(xp.to_numpy(xp.max(x)))


class Lengths(Layer):
    """Has an output whose shape depends on values."""

    def call(self, xp, x):
        return x * xp.unique_values(xp.astype(x > 100, xp.int32)).shape[0]


class Prints(Layer):
    def call(self, xp, x):
        str(x)
        return 2 * x


class ReadsItsWeight(Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1],), "ones")

    def call(self, xp, x):
        return x * self.kernel * (1.0 + float(xp.sum(self.kernel)))


class ReadsInBackward(Layer):
    def forward(self, xp, x):
        return 2 * x, x

    def backward(self, xp, saved, dy):
        return 2 * dy * float(xp.mean(xp.abs(saved))), {}

    def compute_output_shape(self, input_shape):
        return input_shape


class CountingLoss(Loss):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = 0

    def call(self, xp, y_true, y_pred):
        self.calls += 1
        return xp.mean((y_pred - y_true) ** 2, axis=-1) * self.calls


class ReadingMetric(Metric):
    def __init__(self, name="reading"):
        super().__init__(name)
        self.total = self.add_variable("total")

    def update(self, xp, y_true, y_pred, sample_weight=None):
        xp.assign_add(self.total, float(xp.max(y_pred)))

    def compute(self, xp):
        return self.total


class CountingSGD(SGD):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.calls = 0

    def rule(self, xp, w, g, slots, step_size):
        self.calls += 1
        return -step_size * g / self.calls, {}


def line_of(function, text):
    """Return where a text first stands in a function: "test_capture.py, line 12"."""
    lines, first = inspect.getsourcelines(function)
    return f"test_capture.py, line {first + next(i for i, line in enumerate(lines) if text in line)}"


READ = "of a value, which reads it on the host"
LOST = f"{READ} and loses its derivative"
DRAWN = "numbers drawn from Python's or NumPy's random, and not from a stream of the layer (add_stream)"
IMPURE = [
    (Counts, "counts", "counts.calls: "),
    (Lists, "lists", "lists.shapes: list of "),
    (Keeps, "keeps", "keeps.last: "),
    (Late, "late", "late.calls: "),
    (CountsGlobally, "", "the global `COUNTED` that CountsGlobally.call reads: "),
    (Iterates, "iterates", "xp.divide with "),
    (Alternates, "alternates", "in two steps of the same kind"),
    (DrawsAnArray, "draws_an_array", DRAWN),
    (DrawsANumber, "draws_a_number", DRAWN),
    (DrawsWithPython, "draws_with_python", DRAWN),
    (DrawsABranch, "draws_a_branch", DRAWN),
    (DrawsFromAGenerator, "draws_from_a_generator", "draws_from_a_generator.random: Generator, then another"),
    (Branches, "branches", READ),
    (Floats, "floats", LOST),
    (Ints, "ints", READ),
    (Items, "items", LOST),
    (Bools, "bools", READ),
    (Arrays, "arrays", READ),
    (ToNumpy, "to_numpy", READ),
    (Prints, "prints", READ),
    (ReadsItsWeight, "reads_its_weight", LOST),
    (ReadsInBackward, "reads_in_backward", READ),
]


def seeded(train):
    """Return a function that trains after the process's random numbers and counts were set to their beginnings."""

    def run(model):
        np.random.seed(SEED)  # noqa: NPY002
        random.seed(SEED)
        globals()["COUNTED"] = 0
        return train(model)

    return run


@pytest.mark.parametrize(("layer", "owner", "said"), IMPURE, ids=[row[0].__name__ for row in IMPURE])
def test_a_step_that_cannot_be_replayed_warns_once_and_has_the_numbers_of_eager(layer, owner, said):
    eager = sequential([layer, lambda: Dense(2)], **EAGERLY)
    captured = sequential([layer, lambda: Dense(2)])
    train = seeded(lambda model: steps(model, 8))
    expected = train(eager)
    with pytest.warns(CaptureWarning) as caught:
        found = train(captured)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert_same(captured, eager)
    (warning,) = caught
    text = str(warning.message)
    assert text.startswith(f"{owner}: a step" if owner else "A step"), text
    assert said in text
    assert passes(lambda: steps(captured, 2)) == 2  # and in silence


@pytest.mark.parametrize(("layer", "owner", "said"), IMPURE, ids=[row[0].__name__ for row in IMPURE])
def test_with_jit_compile_true_it_is_an_error_and_the_step_has_changed_nothing(layer, owner, said):
    model = sequential([layer, lambda: Dense(2)], **REPLAYED)
    model.build((None, 3))

    def train(model):
        for number in range(3):
            model.reset_metrics()
            before = state_of(model)
            try:
                model.train_on_batch(X, Y)
            except CaptureError as error:
                for (path, a), (_, b) in zip(before, state_of(model), strict=False):
                    np.testing.assert_array_equal(a, b, err_msg=path)
                return number, str(error)
        return None

    number, text = seeded(train)(model)
    assert number < 2
    assert text.startswith(f"{owner}: a step" if owner else "A step")
    assert said in text


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (Branches, "xp.sum(x) > 0"), (Floats, "float("), (Ints, "int("), (Items, ".item()"), (Bools, "bool("),
        (ToNumpy, "xp.to_numpy("), (Prints, "str(x)"), (ReadsItsWeight, "float("),
    ],
    ids=lambda item: getattr(item, "__name__", None),
)  # fmt: skip
def test_the_warning_names_the_user_s_own_line(layer, text):
    with pytest.warns(CaptureWarning, match=re.escape(f"({line_of(layer.call, text)})")):
        steps(sequential([layer, lambda: Dense(2)]))


def test_whole_sentences():
    line = line_of(Floats.call, "float(")
    received = f"floats: a step that is replayed must do the same each time, in words of xp. Received: float() {LOST}"
    with pytest.warns(CaptureWarning) as caught:
        steps(sequential([Floats, lambda: Dense(2)]))
    assert str(caught[0].message) == (
        f"{received} ({line}). This model's train step runs eagerly from now on; compile(jit_compile=False) says "
        f"that this is meant."
    )
    with pytest.raises(CaptureError) as error:
        steps(sequential([Floats, lambda: Dense(2)], **REPLAYED))
    assert str(error.value) == (
        f"{received} ({line}). Write it with xp, or use jit_compile='auto', which runs such a step eagerly."
    )


class OutOfPlace(Layer):
    """Calls a function of NumPy that has no word of the same meaning, which a recording refuses."""

    def forward(self, xp, x):
        return np.subtract(x, 1.0, out=np.empty(x.shape)), None

    def backward(self, xp, saved, dy):
        return dy, {}

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize("owner", ["out_of_place", "a part of shape (4)"])
def test_an_error_while_it_is_recorded_is_said_of_the_layer_in_which_it_happened(owner):
    with pytest.warns(CaptureWarning) as caught:
        steps(sequential([lambda: Dense(2), lambda: OutOfPlace(name=owner)]))
    line = line_of(OutOfPlace.forward, "out=")
    assert str(caught[0].message) == (
        f"{owner}: a step that is replayed must do the same each time, in words of xp. Received: ArgumentError while "
        f"it was recorded: A NumPy function on a recorded array must have a word of the same meaning. "
        f"Received: numpy.subtract with out. Use the words of xp. ({line}). This model's train step runs eagerly from "
        f"now on; compile(jit_compile=False) says that this is meant."
    )


class WritesToX(Layer):
    """Takes 1 from x where it lies."""

    def forward(self, xp, x):
        x -= 1
        return x, None

    def backward(self, xp, saved, dy):
        return dy, {}

    def compute_output_shape(self, input_shape):
        return input_shape


class WritesToTargets(Loss):
    def call(self, xp, y_true, y_pred):
        y_true *= 2
        return xp.mean(xp.square(y_true - y_pred), axis=-1)


@pytest.mark.parametrize("how", [{}, EAGERLY], ids=["recorded", "eagerly"])
@pytest.mark.parametrize(("owner", "loss"), [([WritesToX], "mse"), ([], WritesToTargets)], ids=["layer", "loss"])
@pytest.mark.parametrize(
    "call",
    [
        lambda model, x, y: model.fit(x, y, batch_size=24, verbose=0),
        lambda model, x, y: model.fit(x, y, batch_size=5, verbose=0),
        lambda model, x, y: model.train_on_batch(x, y),
        lambda model, x, y: model.evaluate(x, y, verbose=0),
    ],
    ids=["fit", "fit in batches", "train_on_batch", "evaluate"],
)
def test_what_a_step_is_given_cannot_be_written_to(call, owner, loss, how):
    """It may be the user's own array, which has the dtype of the model here."""
    model = sequential([*owner, lambda: Dense(2)], loss=loss, **how)
    x, y = X.copy(), Y.copy()
    with pytest.raises(ValueError, match="read-only") as caught:
        call(model, x, y)
    assert caught.value.__notes__[1] == (
        "What it is given is not its own: x = x + y makes a new value, where x += y writes into x."
    )
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("how", [{}, EAGERLY], ids=["recorded", "eagerly"])
def test_what_predict_returns_can_be_written_to(how):
    x = X.copy()
    model = sequential([lambda: Identity()], **how)
    for _ in range(5):
        y = model.predict_on_batch(x)
        y += 1
        np.testing.assert_array_equal(x, X)


def test_the_warning_points_at_the_user_s_call():
    model = sequential([Floats, lambda: Dense(2)])
    model.train_on_batch(X, Y)
    with pytest.warns(CaptureWarning) as caught:
        model.train_on_batch(X, Y)
    assert caught[0].filename == __file__
    model = sequential([Floats, lambda: Dense(2)])
    with pytest.warns(CaptureWarning) as caught:
        model.fit(X, Y, epochs=2, verbose=0)
    assert caught[0].filename == __file__


def coin_loss(xp, y_true, y_pred):
    error = y_pred - y_true
    return xp.mean(error * error if np.random.uniform() < 0.5 else xp.abs(error), axis=-1)  # noqa: NPY002


@pytest.mark.parametrize(
    "options", [{"layers": [DrawsABranch, lambda: Dense(2)]}, {"loss": coin_loss}], ids=["layer", "loss"]
)
def test_a_branch_that_chance_takes_the_same_way_twice_is_seen(options):
    for seed in range(4):
        model, eager = (sequential(**options, **how) for how in ({}, EAGERLY))
        for each in (model, eager):
            np.random.seed(seed)  # noqa: NPY002
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                steps(each, 12)
            assert [warning.category for warning in caught] == ([CaptureWarning] if each is model else [])
        assert_same(model, eager)


@pytest.mark.parametrize(
    "options",
    [{"loss": CountingLoss}, {"metrics": (ReadingMetric,)}, {"optimizer": lambda: CountingSGD(0.1)}],
    ids=["loss", "metric", "optimizer"],
)
def test_a_loss_a_metric_or_an_optimizer_that_cannot_be_replayed(options):
    def made(**how):
        given = {key: [item() for item in value] if key == "metrics" else value for key, value in options.items()}
        return sequential(**given, **how)

    eager, captured = made(**EAGERLY), made()
    expected = steps(eager, 6)
    with pytest.warns(CaptureWarning) as caught:
        found = steps(captured, 6)
    assert len(caught) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert_same(captured, eager)


def test_a_shape_that_depends_on_values_is_not_taken_for_granted():
    eager, captured = (sequential([Lengths, lambda: Dense(2)], **how) for how in (EAGERLY, {}))
    inputs = [X, X, X, X * 1000, X, X * 1000]
    expected = [eager.train_on_batch(x, Y) for x in inputs]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        found = [captured.train_on_batch(x, Y) for x in inputs]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert_same(captured, eager)


def test_what_cannot_be_replayed_in_evaluate_and_predict():
    for use in (lambda m: m.evaluate(X, Y, verbose=0), lambda m: m.predict(X, verbose=0)):
        eager, captured = (sequential([Floats, lambda: Dense(2)], **how) for how in (EAGERLY, {}))
        expected = [use(eager) for _ in range(4)]
        with pytest.warns(CaptureWarning) as caught:
            found = [use(captured) for _ in range(4)]
        assert len(caught) == 1
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_what_is_impure_in_training_alone_may_be_replayed_in_predict():
    class InTraining(Layer):
        def call(self, xp, x, training=False):
            return x * float(xp.max(x)) if training else 2 * x

    model = sequential([InTraining, lambda: Dense(2)])
    with pytest.warns(CaptureWarning):
        steps(model, 2)
    for _ in range(3):
        model.predict(X, verbose=0)
    assert passes(lambda: model.predict(X, verbose=0)) == 0


def test_after_a_fit_that_fell_back_a_compile_gives_another_chance():
    model = sequential([Counts, lambda: Dense(2)])
    with pytest.warns(CaptureWarning):
        steps(model, 3)
    model.layers[0].call = lambda xp, x: 2 * x
    model.compile(SGD(), "mse", **REPLAYED)
    steps(model, 3)
    assert "call" in model.layers[0].__dict__
    assert replays(model)


def _does_nothing(model, run, arrays):
    return None


def _runs_twice(model, run, arrays):
    run(*arrays)
    return run(*arrays)


def _leaves_out_the_totals(model, run, arrays):
    before = [variable.numpy() for variable in model.metrics[0].variables]
    result = run(*arrays)
    for variable, value in zip(model.metrics[0].variables, before, strict=True):
        variable.assign(value)
    return result


def _errs_by_a_millionth(model, run, arrays):
    result = run(*arrays)
    model.weights[0].assign(model.weights[0].numpy() * (1 + 1e-6))
    return result


def _fails(model, run, arrays):
    run(*arrays)
    raise ZeroDivisionError("it was divided")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (_does_nothing, "dense/kernel"),
        (_runs_twice, "dense/kernel"),
        (_leaves_out_the_totals, "loss/total"),
        (_errs_by_a_millionth, "dense/kernel"),
        (_fails, "ZeroDivisionError: it was divided"),
    ],
)
def test_a_program_that_does_something_else_than_the_step_is_refused(wrong, said, monkeypatch):
    backend = type(layerkit.backend("numpy"))
    capture, models = backend.capture, []

    def wrongly(self, program):
        run = capture(self, program)
        return lambda *arrays: wrong(models[-1], run, arrays)

    layers = [lambda: Dense(4, "tanh"), half_dropped, lambda: Dense(2)]
    eager = sequential(layers, **EAGERLY)
    expected = steps(eager, 6)
    monkeypatch.setattr(backend, "capture", wrongly)
    models.append(sequential(layers))
    received = f"another result of the program than of the step: {said}. This model's train step"
    with pytest.warns(CaptureWarning, match=re.escape(received)) as caught:
        found = steps(models[-1], 6)
    assert len(caught) == 1
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert_same(models[-1], eager)
    models.append(sequential(layers, **REPLAYED))
    steps(models[-1], 1)
    before = state_of(models[-1])
    with pytest.raises(CaptureError, match=re.escape(f"than of the step: {said}. Write it with xp")):
        models[-1].train_on_batch(X, Y)
    for (path, a), (_, b) in zip(before, state_of(models[-1]), strict=True):
        if not path.startswith(("loss/", "mae/")):  # train_on_batch begins with new totals
            np.testing.assert_array_equal(a, b, err_msg=path)


@pytest.mark.parametrize("wrong_from", [1, 2, 3])
def test_a_program_is_compared_as_often_as_its_backend_says(monkeypatch, wrong_from):
    """One that becomes something else when it is replayed: a graph, say."""
    backend = type(layerkit.backend("numpy"))
    capture, runs = backend.capture, []

    def wrongly(self, program):
        run = capture(self, program)

        def called(*arrays):
            runs.append(run)
            return run(*arrays) if len(runs) < wrong_from else None  # then it does nothing

        return called

    eager, model = sequential(**EAGERLY), sequential()
    monkeypatch.setattr(backend, "capture", wrongly)
    monkeypatch.setattr(backend, "replays_to_trust", 2)
    expected = steps(eager, 3)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = steps(model, 3)
    assert [warning.category for warning in caught] == [CaptureWarning] * (wrong_from <= 2)
    assert len(runs) == min(wrong_from, 2)
    np.testing.assert_allclose(found, expected, rtol=1e-10)  # the third step is that of the model itself
    assert_same(model, eager)


def test_a_program_whose_output_is_another_is_refused(monkeypatch):
    backend = type(layerkit.backend("numpy"))
    capture = backend.capture

    def wrongly(self, program):
        run = capture(self, program)
        return lambda *arrays: run(*arrays) * (1 + 1e-6)

    expected = sequential(**EAGERLY).predict(X, verbose=0)
    monkeypatch.setattr(backend, "capture", wrongly)
    model = sequential()
    with pytest.warns(CaptureWarning, match=r"than of the step: the output\. This model's predict step"):
        found = [model.predict(X, verbose=0) for _ in range(4)]
    for each in found:
        np.testing.assert_array_equal(each, expected)


def test_numbers_that_are_no_longer_finite_are_traced_to_their_layer():
    def told(**how):
        layers = [lambda: Dense(4, name="first"), lambda: ReLU(name="second"), lambda: Dense(2, name="third")]
        model = sequential(layers, optimizer=lambda: SGD(1e10), **how)
        with np.errstate(all="ignore"), pytest.warns(NonFiniteWarning) as caught:
            model.fit(X, Y, 6, 12, verbose=0)
        return str(caught[0].message)

    assert re.search(r" in batch [1-4] of epoch [2-9]; .* is not finite", told(**REPLAYED))
    assert told(**REPLAYED) == told(**EAGERLY)


def test_numpys_warnings_are_those_of_eager():
    def train(**how):
        model = sequential([lambda: Dense(4), lambda: Dense(2)], optimizer=lambda: SGD(1e200), **how)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            steps(model, 6)
        return {warning.category for warning in caught}

    assert train(**REPLAYED) == train(**EAGERLY)


def test_state_is_compared_where_the_loss_alone_would_not_show_a_difference():
    model = both_ways(lambda model: steps(model, 9), loss=MeanSquaredError, metrics=("mae", "mse"))
    assert model.optimizer.iterations == 9
