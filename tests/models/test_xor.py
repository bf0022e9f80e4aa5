"""XOR on every backend: it is learnt, and the same seed and data give the same bits and numbers."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.layers import Dense, Dropout, Sigmoid, Tanh
from layerkit.losses import BinaryCrossentropy, MeanSquaredError
from layerkit.optimizers import SGD, Adam, RMSprop
from layerkit.training import guard
from layerkit.xp import backend

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
Y = np.array([[0], [1], [1], [0]])


def xor_model(xp, seed=0, **options):
    model = Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=seed, backend=xp, **options)
    model.compile(optimizer=SGD(learning_rate=2.0), loss=MeanSquaredError(), metrics=["accuracy"])
    return model


def fit(model, epochs, **options):
    return model.fit(X, Y, epochs=epochs, batch_size=4, verbose=0, **options).history


def test_xor_is_learnt(xp):
    model = xor_model(xp)
    history = fit(model, 800)
    assert history["loss"][-1] < 0.01
    assert history["accuracy"][-1] == 1.0
    np.testing.assert_array_equal(np.round(model.predict(X, verbose=0)), Y)
    loss, accuracy = model.evaluate(X, Y, verbose=0)
    assert loss < 0.01
    assert accuracy == 1.0


@pytest.mark.parametrize(
    "optimizer", [SGD(0.5, momentum=0.9), SGD(0.5, momentum=0.9, nesterov=True), Adam(0.05), RMSprop(0.02)]
)
def test_xor_is_learnt_by_other_rules(xp, optimizer):
    model = Sequential([Dense(8, activation="tanh"), Dense(1)], seed=3, backend=xp)
    model.compile(
        optimizer=type(optimizer).from_config(optimizer.get_config()), loss=BinaryCrossentropy(from_logits=True)
    )
    assert fit(model, 250)["loss"][-1] < 0.05
    np.testing.assert_array_equal(model.predict(X, verbose=0) > 0, Y == 1)


# The same bits.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_seed_gives_the_same_first_weights(xp, dtype):
    here, there = (xor_model(place, seed=5, dtype=dtype) for place in (xp, "numpy"))
    for model in (here, there):
        model.build((None, 2))
    assert here.weights
    for ours, theirs in zip(here.get_weights(), there.get_weights(), strict=True):
        assert ours.dtype == theirs.dtype == dtype
        np.testing.assert_array_equal(ours, theirs)


def test_another_seed_gives_other_weights(xp):
    models = [xor_model(xp, seed=seed) for seed in (0, 1)]
    for model in models:
        model.build((None, 2))
    assert (models[0].get_weights()[0] != models[1].get_weights()[0]).any()


def test_layers_of_one_shape_have_weights_of_their_own(xp):
    model = Sequential([Dense(3), Dense(3), Dense(3)], seed=0, backend=xp)
    model.build((None, 3))
    kernels = [layer.get_weights()[0] for layer in model.layers]
    assert (kernels[0] != kernels[1]).any()
    assert (kernels[1] != kernels[2]).any()


def masks(place, passes=3):
    """Return which elements each pass dropped, for two dropout layers."""
    model = Sequential([Dropout(0.5), Dropout(0.25)], seed=11, backend=place)
    x = np.ones((6, 5), np.float32)
    xp = model.xp
    return [xp.to_numpy(model(xp.asarray(x), training=True)) == 0 for _ in range(passes)]


def test_the_same_seed_gives_the_same_masks(xp):
    here, there = masks(xp), masks("numpy")
    for ours, theirs in zip(here, there, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (here[0] != here[1]).any()


def test_the_same_seed_gives_the_same_history(xp):
    first, second = (fit(xor_model(xp, seed=2), 20) for _ in range(2))
    assert first == second


# The same numbers.


def trained(place, optimizer, dtype="float64", epochs=30, batch_size=2):
    layers = [Dense(8), Tanh(), Dropout(0.2), Dense(1), Sigmoid()]
    model = Sequential(layers, seed=4, backend=place, dtype=dtype)
    model.compile(optimizer=optimizer, loss="mse")
    history = model.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0).history["loss"]
    return history, model.get_weights()


RULES = [
    lambda: SGD(0.5),
    lambda: SGD(0.5, momentum=0.9, nesterov=True, weight_decay=0.01),
    lambda: SGD(0.5, clipnorm=0.1),
    lambda: SGD(0.5, global_clipnorm=0.1),
    lambda: SGD(0.5, clipvalue=0.01),
    lambda: Adam(0.05, amsgrad=True),
]


@pytest.mark.parametrize("make", RULES)
def test_training_agrees_with_numpy_to_rounding(xp, make):
    """Shuffles and masks are equal bit for bit, so that what differs is the rounding of 60 steps."""
    history, weights = trained(xp, make())
    expected_history, expected_weights = trained("numpy", make())
    np.testing.assert_allclose(history, expected_history, rtol=1e-11)
    for ours, theirs in zip(weights, expected_weights, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11)


def test_training_in_float32_agrees_with_numpy(xp):
    history, weights = trained(xp, SGD(0.5), "float32")
    expected_history, expected_weights = trained("numpy", SGD(0.5), "float32")
    np.testing.assert_allclose(history, expected_history, rtol=1e-4)
    for ours, theirs in zip(weights, expected_weights, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "make",
    # Rates at which training converges: where it does not, it makes much of any rounding.
    [lambda: SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.01), lambda: Adam(0.05, amsgrad=True)],
    ids=["SGD", "Adam"],
)
def test_a_model_may_move_between_two_fits(xp, make):
    """Weights, slots and counters go along, so that the second half is as if it had never moved."""

    def run(*places):
        model = Sequential([Dense(8), Tanh(), Dropout(0.2), Dense(1)], seed=4, backend="numpy", dtype="float64")
        model.compile(optimizer=make(), loss="mse", metrics=["mae"])
        for place in places:
            model.to(place)
            model.fit(X, Y, epochs=5, batch_size=2, verbose=0)
        assert model.xp is backend(places[-1])
        return model.get_weights()

    for ours, theirs in zip(run(xp, "numpy", xp), run("numpy", "numpy", "numpy"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


# Nothing is read on the host within a step.


def test_an_epoch_reads_the_loss_once_however_many_batches_it_has(monkeypatch):
    monkeypatch.setattr(guard, "SHARE", 1e-9)  # else it is read again whenever a hundredth of the time allows
    xp = backend("strict")
    model = xor_model(xp)
    fit(model, 4)  # until the step is recorded, whose check reads on the host
    reads = []
    for copies in (1, 8):
        xp.transfers.reset()
        model.fit(np.tile(X, (copies, 1)), np.tile(Y, (copies, 1)), epochs=1, batch_size=4, verbose=0)
        reads.append(xp.transfers.to_host)
        batches = copies
        assert xp.transfers.to_device >= 2 * batches
        assert xp.transfers.to_device_bytes < 2000 * batches  # the batches, and no weights
    assert reads[0] == reads[1]
