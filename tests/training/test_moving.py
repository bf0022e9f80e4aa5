"""A model that moves trains as one that stays: between the batches, the epochs and the calls, and back again."""

from __future__ import annotations

import copy
import functools
import re
import warnings

import numpy as np
import pytest

import layerkit
from layerkit import Input, Layer, Sequential, callbacks, optimizers
from layerkit.callbacks import Callback
from layerkit.errors import BackendUnavailableError, MixedBackendsError, NonFiniteWarning, UnknownNameError
from layerkit.layers import BatchNormalization, Dense, Dropout
from layerkit.optimizers import SGD, Adam, MultiOptimizer, OptimizerMap, schedules

X = np.random.default_rng(0).normal(size=(6, 3))
Y = np.random.default_rng(1).normal(size=(6, 2))

MOMENTS = ("on_train_batch_begin", "on_train_batch_end", "on_epoch_begin", "on_epoch_end", "on_test_batch_end")

ROUNDING = {"rtol": 1e-9, "atol": 1e-12}
"""NumPy and the strict backend compute in words of their own."""


class Swish(Layer):
    """With a backward of its own."""

    def build(self, input_shape):
        self.beta = self.add_weight("beta", (), "ones")

    def forward(self, xp, x):
        gate = xp.sigmoid(self.beta * x)
        return x * gate, (x, gate)

    def backward(self, xp, saved, dy):
        x, gate = saved
        slope = x * gate * (1 - gate)
        return dy * (gate + self.beta * slope), {"beta": xp.sum(dy * x * slope)}


def made(optimizer=None, backend="numpy", **how) -> Sequential:
    first = [Input((3,)), Dense(6), Swish(), Dense(4, "tanh")]
    stack = [*first, BatchNormalization(), Dropout(0.25), Dense(2)]
    model = Sequential(stack, seed=0, dtype="float64", backend=backend)
    model.compile(optimizer or Adam(0.05), "mse", metrics=["mae", "r2_score"], **how)
    return model


class Moves(Callback):
    """Goes to one place after the other, each time that something happens."""

    def __init__(self, moment, *places):
        self.places = places
        self.count = 0
        setattr(self, moment, self.go)

    def go(self, *_, **__):
        self.model.to(self.places[self.count % len(self.places)])
        self.count += 1


def state(model) -> dict[str, np.ndarray]:
    return {variable.path: variable.numpy() for variable in model.step.state()}


def assert_same_training(one, other, **tolerance):
    ours, theirs = state(one), state(other)
    assert ours.keys() == theirs.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(values, theirs[name], **tolerance, err_msg=name)
    assert one.history.history.keys() == other.history.history.keys()
    for name, values in one.history.history.items():
        np.testing.assert_allclose(values, other.history.history[name], **tolerance, err_msg=name)


def fit(model, *moves, epochs=3):
    model.fit(X, Y, batch_size=3, epochs=epochs, validation_data=(X, Y), callbacks=list(moves), verbose=0)
    return model


@functools.cache
def stayed(backend):
    """Return a model that was trained in one place."""
    return fit(made(backend=backend))


@pytest.mark.parametrize("moment", MOMENTS)
def test_devices_are_changed_within_fit_without_a_trace(moment):
    """From one device of a library to another: the same bits."""
    moves = Moves(moment, "strict:1", "strict:0", "strict:0")
    assert_same_training(fit(made(backend="strict"), moves), stayed("strict"), rtol=0, atol=0)
    assert moves.count >= 3


@pytest.mark.parametrize("moment", MOMENTS)
def test_libraries_are_changed_within_fit(moment):
    moves = Moves(moment, "strict:1", "numpy", "numpy", "strict")
    assert_same_training(fit(made(), moves), stayed("numpy"), **ROUNDING)


FOUND = [optimizers.NAMES.find(name) for name in optimizers.__all__ if name in optimizers.NAMES]
CLASSES = [cls for cls in FOUND if not cls.searches]
OPTIONS = [
    {"learning_rate": schedules.ExponentialDecay(0.05, 2, 0.9), "weight_decay": 0.1, "clipnorm": 0.5},
    {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 3},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["scheduled", "averaged"])
@pytest.mark.parametrize("cls", CLASSES)
def test_every_optimizer_moves_with_its_model(cls, options):
    stack = [Input((3,)), Dense(4, "tanh"), Dense(2)]
    moved, kept = (Sequential(copy.deepcopy(stack), seed=0, dtype="float64") for _ in range(2))
    for model in (moved, kept):
        model.compile(cls(**options), "mse")
    fit(moved, Moves("on_train_batch_end", "numpy", "strict", "strict:1", "numpy"))
    assert_same_training(moved, fit(kept), **ROUNDING)


@pytest.mark.parametrize("name", ["LBFGS", "LevenbergMarquardt"])
def test_an_optimizer_that_searches_moves_with_its_model(name):
    models = []
    for places in ((), ("strict", "numpy")):
        model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(2)], seed=0, dtype="float64")
        model.compile(getattr(optimizers, name)(), "mse")
        moves = [Moves("on_epoch_end", *places)] if places else []
        model.fit(X, Y, epochs=3, callbacks=moves, verbose=0)
        models.append(model)
    np.testing.assert_allclose(models[1].history.history["loss"], models[0].history.history["loss"], rtol=1e-6)


def test_optimizers_of_several_parts_move_with_their_model():
    def several():
        return MultiOptimizer(OptimizerMap(SGD(0.1, momentum=0.9), {"dense/.*": Adam(0.01)}))

    moved = fit(made(several()), Moves("on_train_batch_end", "strict", "numpy", "numpy"))
    assert_same_training(moved, fit(made(several())), **ROUNDING)


def test_what_is_frozen_or_changed_meanwhile_is_so_after_a_move():
    def change(model, move):
        fit(model, epochs=1)
        model.layers[0].trainable = False
        move("strict")
        fit(model, epochs=1)
        model.optimizer.learning_rate = 0.01
        model.layers[0].trainable = True
        move("strict:1")
        fit(model, epochs=2)
        move("numpy")
        return fit(model, epochs=1)

    moved = made()
    assert_same_training(change(moved, moved.to), change(made(), str), **ROUNDING)


def test_what_moves_lies_side_by_side_again():
    """One call of a word reaches all parameters, whatever the number of moves."""
    model = fit(made(SGD(0.1)), Moves("on_train_batch_end", "strict", "numpy"))
    flats = {id(variable.flat) for variable in model.trainable_weights}
    assert len(flats) == 1
    assert len(model.optimizer._segments) == 1


def test_a_step_is_replayed_after_a_move():
    moved = made(jit_compile=True)
    fit(moved, Moves("on_epoch_begin", "numpy", "strict", "numpy"), epochs=3)
    assert moved.program("train") is not None


@pytest.mark.parametrize("moment", ["before build", "before compile", "before fit"])
def test_a_model_may_move_before_it_trains(moment):
    def of(move):
        model = Sequential([Dense(4), BatchNormalization(), Dropout(0.5), Dense(2)], seed=1, dtype="float64")
        if moment == "before build":
            move(model)
        model.build((None, 3))
        if moment == "before compile":
            move(model)
        model.compile("adam", "mse", metrics=["mae"])
        if moment == "before fit":
            move(model)
        return fit(model)

    moved = of(lambda model: model.to("strict:1"))
    assert {str(variable.xp) for variable in moved.step.state()} == {"strict:1"}
    assert_same_training(moved, of(lambda model: model), **ROUNDING)


@pytest.mark.parametrize("moment", ["on_predict_batch_begin", "on_predict_batch_end"])
def test_a_model_may_move_while_it_predicts(moment):
    model = made()
    expected = model.predict(X, verbose=0)
    moves = Moves(moment, "strict", "numpy", "strict:1")
    found = model.predict(X, batch_size=2, callbacks=moves, verbose=0)
    assert moves.count == 3
    np.testing.assert_allclose(found, expected, **ROUNDING)


@pytest.mark.parametrize("moment", ["on_test_batch_begin", "on_test_batch_end"])
def test_a_model_may_move_while_it_is_measured(moment):
    model = made()
    expected = model.evaluate(X, Y, verbose=0)
    moves = Moves(moment, "strict", "numpy", "strict:1")
    found = model.evaluate(X, Y, batch_size=2, callbacks=moves, verbose=0)
    assert moves.count == 3
    np.testing.assert_allclose(found, expected, **ROUNDING)


def test_a_loss_that_is_not_finite_is_traced_after_a_move():
    class Breaks(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                self.model.to("strict")
            if epoch == 2:
                self.model.optimizer.learning_rate = 1e200

    model = made(SGD(0.1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, Breaks())
    said = [str(each.message) for each in caught if each.category is NonFiniteWarning]
    assert len(said) == 1
    assert re.match(
        r"fit: the loss and the weights must be finite\. Received: a mean loss of inf in batch 2 of epoch 3; ",
        said[0],
    )


def test_what_is_kept_for_later_is_put_back_where_the_model_is_now():
    """Weights that a callback keeps on the host go back to wherever the model lives by then."""
    model = made(SGD(0.1))
    kept = callbacks.EarlyStopping("loss", patience=1, mode="max", restore_best_weights=True)
    fit(model, kept, Moves("on_epoch_end", "strict"), epochs=5)
    assert {str(weight.xp) for weight in model.weights} == {"strict:0"}


# Refused, with nothing changed.


@pytest.mark.parametrize(
    ("place", "error"),
    [("nunpy", UnknownNameError), ("strict:7", BackendUnavailableError), (3, UnknownNameError)],
)
def test_a_place_that_does_not_exist_changes_nothing(place, error):
    model = fit(made(), epochs=1)
    before, arrays = state(model), [variable.array for variable in model.step.state()]
    with pytest.raises(error):
        model.to(place)
    assert str(model.xp) == "numpy"
    assert all(a is v.array for a, v in zip(arrays, model.step.state(), strict=True))
    np.testing.assert_equal(state(model), before)
    assert_same_training(fit(model), fit(fit(made(), epochs=1)), rtol=0, atol=0)


@pytest.mark.parametrize("fits", [0, 3, 10])
def test_a_model_that_does_not_fit_stays_whole(fits, monkeypatch):
    """Each array is brought over before the first is given up."""
    model = fit(made(), epochs=1)
    full = layerkit.backend("strict:1")
    allocate, calls = full.state, iter(range(fits))

    def until_full(values, dtype):
        if next(calls, None) is None:
            raise MemoryError("the device is full")
        return allocate(values, dtype)

    monkeypatch.setattr(full, "state", until_full)
    with pytest.raises(MemoryError, match="the device is full"):
        model.to(full)
    monkeypatch.undo()
    states = (*model.step.state(), *model.optimizer.held())
    assert {str(each.xp) for each in (model, *model.layers, model.optimizer, *model.metrics, *states)} == {"numpy"}
    assert_same_training(fit(model), fit(fit(made(), epochs=1)), rtol=0, atol=0)


# What two models share.


def two_with_one_layer():
    shared = Dense(4, "tanh", name="shared")
    models = [Sequential([Input((3,)), shared, Dense(2)], seed=0, dtype="float64", name=name) for name in "ab"]
    for model in models:
        model.compile(SGD(0.1), "mse")
        fit(model, epochs=1)
    return models


@pytest.mark.parametrize(
    "use",
    [fit, lambda b: b.predict(X, verbose=0), lambda b: b.evaluate(X, Y, verbose=0), lambda b: b(X.tolist())],
    ids=["fit", "predict", "evaluate", "call"],
)
def test_a_layer_that_moved_with_another_model_is_named(use):
    a, b = two_with_one_layer()
    a.to("strict")
    sentence = (
        "b: a model and its layers must live on one backend. Received: shared/kernel on strict:0, in a model on numpy. "
        "Move it all with b.to('numpy')."
    )
    with pytest.raises(MixedBackendsError, match=f"^{re.escape(sentence)}"):
        use(b)
    fit(a)
    for model, other in ((b, a), (a, b)):  # each may have it back
        model.to(model.xp)
        use(model)
        with pytest.raises(MixedBackendsError, match=f"^{other.name}: a model and its layers must live on one backend"):
            use(other)


def test_models_that_move_together_share_their_layer_still():
    (a, b), (c, d) = two_with_one_layer(), two_with_one_layer()
    for model in (a, b):
        model.to("strict")
    for model in (a, b, c, d):
        fit(model)
    assert_same_training(a, c, **ROUNDING)
    assert_same_training(b, d, **ROUNDING)


def test_an_optimizer_of_two_models_serves_those_of_one_place():
    optimizer = SGD(0.1)
    a, b = made(optimizer), made(optimizer)
    fit(a, epochs=1)
    fit(b, epochs=1)
    a.to("strict")
    fit(a)
    with pytest.raises(MixedBackendsError) as caught:
        fit(b)
    assert str(caught.value) == (
        "sgd: an optimizer serves variables of one backend. Received: variables on strict:0 and numpy. "
        "Give each model an optimizer of its own."
    )
    assert {str(weight.xp) for weight in b.weights} == {"numpy"}
    b.to("strict")
    fit(b)


def test_a_metric_of_two_models_measures_each_where_it_is():
    metric = layerkit.metrics.MeanAbsoluteError()
    a, b = made(), made()
    for model in (a, b):
        model.compile("sgd", "mse", metrics=[metric])
    a.to("strict")
    expected = b.evaluate(X, Y, verbose=0)
    np.testing.assert_allclose(a.evaluate(X, Y, verbose=0), expected, **ROUNDING)
    assert b.evaluate(X, Y, verbose=0) == expected


def test_an_optimizer_without_a_model_follows_its_variables():
    moved, kept = Dense(2), Dense(2)
    results = []
    for layer in (moved, kept):
        layer.build((None, 3))
        layer.set_weights([X[:3, :2], Y[0]])
        optimizer = Adam(0.1)
        for step in range(4):
            if layer is moved:
                layer.to(("numpy", "strict", "strict:1", "numpy")[step])
            optimizer.apply([X[:3, 1:], Y[1]], layer.trainable_weights)
        results.append(layer.get_weights())
    for one, other in zip(*results, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_layer_that_was_taken_out_does_not_hold_its_model_back():
    model = made()
    fit(model, epochs=1)
    model.pop()
    model.to("strict")
    model.add(Dense(2))
    fit(model)
    assert {str(variable.xp) for variable in model.step.state()} == {"strict:0"}


class Tears(Callback):
    """Moves one layer alone."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.layers[0].to("strict")

    on_test_batch_end = on_predict_batch_end = on_train_batch_end


@pytest.mark.parametrize(
    "use",
    [
        lambda model, tears: model.fit(X, Y, batch_size=2, callbacks=tears, verbose=0),
        lambda model, tears: model.evaluate(X, Y, batch_size=2, callbacks=tears, verbose=0),
        lambda model, tears: model.predict(X, batch_size=2, callbacks=tears, verbose=0),
    ],
    ids=["fit", "evaluate", "predict"],
)
def test_a_layer_that_is_moved_alone_is_named(use):
    with pytest.raises(MixedBackendsError) as caught:
        use(made(), Tears())
    assert str(caught.value) == (
        "sequential: a model and its layers must live on one backend. Received: dense/kernel on strict:0, in a model "
        "on numpy. Move it all with sequential.to('numpy')."
    )
