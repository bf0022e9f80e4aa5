"""Backpropagation through whole models, on every backend."""

from __future__ import annotations

import math

import numpy as np
import pytest

from layerkit import Sequential, losses
from layerkit.layers import Dense, Dropout, Flatten, Input, Layer, ReLU, Reshape, Sigmoid, Softmax, Tanh
from layerkit.optimizers import SGD, Adam
from layerkit.testing import check_layer

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((6, 3))
Y = RANDOM.standard_normal((6, 2))
CLASSES = np.array([0, 1, 2, 2, 1, 0])


def double(xp, layers, seed=0, input_shape=(3,)):
    """Return a float64 model with its weights made."""
    model = Sequential(layers, seed=seed, backend=xp, dtype="float64")
    model.build((None, *input_shape))
    return model


def gradients_of(model, x, y, loss="mse", *, training=False):
    """Return the reduced loss and its gradients by name of weight, on the host."""
    xp, loss = model.xp, losses.get(loss)
    y_pred, saved = model.run_forward(xp, xp.asarray(x), training=training)
    values, loss_saved = loss.forward(xp, xp.asarray(y), y_pred)
    total, dvalues = loss.reduce(xp, xp.asarray(y), values)
    dx, gradients = model.run_backward(xp, saved, loss.backward(xp, loss_saved, dvalues))
    return float(xp.to_numpy(total)), xp.to_numpy(dx), {name: xp.to_numpy(g) for name, g in gradients.items()}


def numeric_gradient(model, variable, x, y, loss):
    """Return central differences, one element after the other."""
    values = variable.numpy()
    gradient = np.zeros_like(values)
    step = 1e-5
    for place in np.ndindex(values.shape):
        ends = []
        for sign in (1, -1):
            moved = values.copy()
            moved[place] += sign * step
            variable.assign(moved)
            ends.append(gradients_of(model, x, y, loss)[0])
        gradient[place] = (ends[0] - ends[1]) / (2 * step)
    variable.assign(values)
    return gradient


# The whole chain.


@pytest.mark.parametrize(
    ("make", "loss", "y"),
    [
        (lambda: [Dense(4), Sigmoid(), Dense(2), Sigmoid()], "mse", Y),
        (lambda: [Dense(4, activation="tanh"), Dense(2)], "huber", Y),
        (lambda: [Dense(4, activation="relu"), Dense(4, activation="gelu"), Dense(2)], "mae", Y),
        (lambda: [Dense(3), Tanh(), Dense(2, activation="sigmoid")], "binary_crossentropy", (Y > 0).astype(float)),
        (lambda: [Dense(4, activation="elu"), Dense(3), Softmax()], "sparse_categorical_crossentropy", CLASSES),
        (lambda: [Dense(4, activation="swish"), Dense(3, "softmax")], "categorical_crossentropy", np.eye(3)[CLASSES]),
    ],
)
def test_the_gradient_of_every_weight_is_that_of_central_differences(xp, make, loss, y):
    model = double(xp, make())
    _, _, gradients = gradients_of(model, X, y, loss)
    named = model.named_weights()
    assert set(gradients) == set(named)
    for name, variable in named.items():
        expected = numeric_gradient(model, variable, X, y, loss)
        np.testing.assert_allclose(gradients[name], expected, rtol=1e-6, atol=1e-9, err_msg=name)


def test_one_neuron_worked_by_hand(xp):
    """y = σ(w x + b), E = (y - t)²: dE/dw = 2 (y - t) y (1 - y) x; one step of gradient descent follows it."""
    model = Sequential([Dense(1), Sigmoid()], backend=xp, dtype="float64")
    model.build((None, 1))
    model.set_weights([[[0.5]], [-0.25]])
    model.compile(optimizer=SGD(0.3), loss="mse")
    y = 1 / (1 + math.exp(-(0.5 * 2.0 - 0.25)))
    slope = 2 * (y - 1.0) * y * (1 - y)
    loss, dx, gradients = gradients_of(model, [[2.0]], [[1.0]])
    assert loss == pytest.approx((y - 1.0) ** 2, rel=1e-14)
    np.testing.assert_allclose(gradients["dense/kernel"], [[slope * 2.0]], rtol=1e-14)
    np.testing.assert_allclose(gradients["dense/bias"], [slope], rtol=1e-14)
    np.testing.assert_allclose(dx, [[slope * 0.5]], rtol=1e-14)
    model.train_on_batch([[2.0]], [[1.0]])
    kernel, bias = model.get_weights()
    np.testing.assert_allclose(kernel, [[0.5 - 0.3 * slope * 2.0]], rtol=1e-14)
    np.testing.assert_allclose(bias, [-0.25 - 0.3 * slope], rtol=1e-14)


def test_fit_takes_the_steps_of_gradient_descent(xp):
    """Each weight less the learning rate times its gradient, computed here in NumPy alone."""
    model = double(xp, [Dense(4), Sigmoid(), Dense(2)])
    w1, b1, w2, b2 = model.get_weights()
    model.compile(optimizer=SGD(0.1), loss="mse")
    model.fit(X, Y, epochs=5, batch_size=6, verbose=0)
    for _ in range(5):
        h = 1 / (1 + np.exp(-(X @ w1 + b1)))
        dy = 2 * (h @ w2 + b2 - Y) / Y.size
        dz = dy @ w2.T * h * (1 - h)
        w1, b1, w2, b2 = w1 - 0.1 * X.T @ dz, b1 - 0.1 * dz.sum(0), w2 - 0.1 * h.T @ dy, b2 - 0.1 * dy.sum(0)
    for found, expected in zip(model.get_weights(), (w1, b1, w2, b2), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


# A layer in two places.


def test_a_layer_used_twice_sums_its_gradients(xp):
    shared = Dense(3, name="shared")
    tied = double(xp, [shared, Tanh(), shared, Dense(2, name="last")])
    assert len(tied.weights) == 4
    free = double(xp, [Dense(3, name="first"), Tanh(), Dense(3, name="second"), Dense(2, name="last")])
    kernel, bias, *last = tied.get_weights()
    free.set_weights([kernel, bias, kernel, bias, *last])
    _, dx, summed = gradients_of(tied, X, Y)
    _, expected_dx, apart = gradients_of(free, X, Y)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-14)
    for weight in ("kernel", "bias"):
        both = apart[f"first/{weight}"] + apart[f"second/{weight}"]
        np.testing.assert_allclose(summed[f"shared/{weight}"], both, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(summed[f"last/{weight}"], apart[f"last/{weight}"], rtol=1e-12, atol=1e-14)


def test_a_layer_used_three_times_is_trained_as_one(xp):
    shared = Dense(3, activation="tanh", name="shared")
    model = double(xp, [shared, shared, shared, Dense(2)])
    before = model.get_weights()
    _, _, gradients = gradients_of(model, X, Y)
    model.compile(optimizer=SGD(0.1), loss="mse")
    model.train_on_batch(X, Y)
    for name, old, new in zip(model.named_weights(), before, model.get_weights(), strict=True):
        np.testing.assert_allclose(new, old - 0.1 * gradients[name], rtol=1e-12, atol=1e-14)


# Models within models.


def nested(xp, seed=0):
    inner = Sequential([Dense(4), Tanh(), Dense(3)], name="inner")
    return double(xp, [Dense(3, activation="sigmoid"), inner, ReLU(), Dense(2)], seed)


def flat(xp, seed=0):
    return double(xp, [Dense(3, activation="sigmoid"), Dense(4), Tanh(), Dense(3), ReLU(), Dense(2)], seed)


def test_a_model_within_a_model_computes_what_its_layers_do(xp):
    inside, outside = nested(xp), flat(xp)
    assert [w.shape for w in inside.weights] == [w.shape for w in outside.weights]
    outside.set_weights(inside.get_weights())
    found, expected = gradients_of(inside, X, Y), gradients_of(outside, X, Y)
    assert found[0] == pytest.approx(expected[0], rel=1e-14)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-14)
    assert set(found[2]) == {
        *(f"dense/{w}" for w in ("kernel", "bias")),
        *(f"inner/{layer}/{w}" for layer in ("dense", "dense_1") for w in ("kernel", "bias")),
        *(f"dense_1/{w}" for w in ("kernel", "bias")),
    }
    for ours, theirs in zip(inside.named_weights(), outside.named_weights(), strict=True):
        np.testing.assert_allclose(found[2][ours], expected[2][theirs], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "make", [lambda: SGD(0.1, momentum=0.9), lambda: Adam(0.01), lambda: SGD(0.1, global_clipnorm=0.1)]
)
def test_a_model_within_a_model_trains_as_its_layers_do(xp, make):
    inside, outside = nested(xp), flat(xp)
    outside.set_weights(inside.get_weights())
    for model in (inside, outside):
        model.compile(optimizer=make(), loss="mse")
        model.fit(X, Y, epochs=4, batch_size=3, shuffle=False, verbose=0)
    for ours, theirs in zip(inside.get_weights(), outside.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-11, atol=1e-13)


def test_a_model_within_a_model_is_a_layer_that_keeps_its_contract(xp):
    inner = Sequential([Dense(4, activation="relu"), Dropout(0.5)])
    check_layer(Sequential([Reshape((3, 2)), inner, Flatten(), Dense(2)]), (5, 6), xp=xp)


# Frozen layers.


def test_frozen_layers_do_not_move_and_the_others_do(xp):
    model = double(xp, [Dense(4, name="a"), Tanh(), Dense(4, name="b"), Tanh(), Dense(2, name="c")])
    model.get_layer("b").trainable = False
    before = dict(zip(model.named_weights(), model.get_weights(), strict=True))
    _, _, gradients = gradients_of(model, X, Y)
    model.compile(optimizer=SGD(0.1), loss="mse")
    model.train_on_batch(X, Y)
    for name, new in zip(model.named_weights(), model.get_weights(), strict=True):
        if name.startswith("b/"):
            np.testing.assert_array_equal(new, before[name])
        else:
            np.testing.assert_allclose(new, before[name] - 0.1 * gradients[name], rtol=1e-12, atol=1e-14)


def test_a_layer_may_thaw(xp):
    model = double(xp, [Dense(4, name="a"), Dense(2, name="b")])
    model.compile(optimizer=SGD(0.1, momentum=0.9), loss="mse")
    for frozen in (("a",), (), ("b",), ("a", "b"), ()):
        for layer in model.layers:
            layer.trainable = layer.name not in frozen
        before = dict(zip(model.named_weights(), model.get_weights(), strict=True))
        model.fit(X, Y, epochs=2, batch_size=3, verbose=0)
        for name, new in zip(model.named_weights(), model.get_weights(), strict=True):
            moved = (new != before[name]).any()
            assert moved == (name.split("/")[0] not in frozen), (name, frozen)


def test_a_frozen_model_within_a_model_does_not_move(xp):
    model = nested(xp)
    model.get_layer("inner").trainable = False
    before = dict(zip(model.named_weights(), model.get_weights(), strict=True))
    model.compile(optimizer=Adam(0.01), loss="mse")
    model.fit(X, Y, epochs=2, verbose=0)
    for name, new in zip(model.named_weights(), model.get_weights(), strict=True):
        assert (new == before[name]).all() == name.startswith("inner/")


def test_a_layer_that_is_frozen_from_the_start(xp):
    model = double(xp, [Dense(4, trainable=False), Dense(2)])
    before = model.get_weights()
    model.compile(optimizer=SGD(0.1), loss="mse")
    model.fit(X, Y, epochs=2, verbose=0)
    after = model.get_weights()
    np.testing.assert_array_equal(after[0], before[0])
    assert (after[2] != before[2]).any()


# The flat vectors of the optimizer.


class Own(Layer):
    """A layer whose weights are not all trainable: they interrupt the stretch of parameters."""

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")
        self.offset = self.add_weight("offset", (input_shape[-1],), "zeros", trainable=False)
        self.power = self.add_weight("power", (input_shape[-1],), "ones")

    def forward(self, xp, x):
        return self.scale * x + self.offset + self.power, x

    def backward(self, xp, saved, dy):
        return dy * self.scale, {"scale": xp.sum(dy * saved, axis=0), "power": xp.sum(dy, axis=0)}

    def compute_output_shape(self, input_shape):
        return input_shape


def momentum_by_hand(values, slots, gradients, names, rate=0.1, momentum=0.9):
    """Polyak's rule, one weight after the other: m ← μ m - η g, w ← w + m."""
    for name in names:
        slots[name] = momentum * slots.get(name, 0.0) - rate * gradients[name]
        values[name] = values[name] + slots[name]


@pytest.mark.parametrize("frozen", [(), ("a",), ("b",), ("own",), ("a", "c"), ("b", "own")])
def test_stretches_of_parameters_are_updated_as_single_ones(xp, frozen):
    model = double(xp, [Dense(4, name="a"), Dense(4, name="b"), Own(name="own"), Dense(2, name="c")])
    for name in frozen:
        model.get_layer(name).trainable = False
    model.compile(optimizer=SGD(0.1, momentum=0.9), loss="mse")
    values = dict(zip(model.named_weights(), model.get_weights(), strict=True))
    trained = [n for n, v in model.named_weights().items() if v.trainable and n.split("/")[0] not in frozen]
    slots = {}
    for _ in range(3):
        _, _, gradients = gradients_of(model, X, Y)
        momentum_by_hand(values, slots, gradients, trained)
        model.train_on_batch(X, Y)
        for name, found in zip(model.named_weights(), model.get_weights(), strict=True):
            np.testing.assert_allclose(found, values[name], rtol=1e-12, atol=1e-14, err_msg=name)


def test_parameters_lie_side_by_side_and_are_updated_in_one_call(xp):
    model = double(xp, [Dense(4), Dense(4), Dense(2)])
    flats = {id(variable.flat) for variable in model.trainable_weights}
    assert len(flats) == 1
    assert [v.offset for v in model.trainable_weights] == list(np.cumsum([0, *[v.size for v in model.weights]])[:-1])
    calls = []

    class Counting(SGD):
        def rule(self, xp, w, g, slots, step_size):
            calls.append(w.shape)
            return super().rule(xp, w, g, slots, step_size)

    model.compile(optimizer=Counting(0.1), loss="mse", run_eagerly=True)
    model.train_on_batch(X, Y)
    assert calls == [(sum(v.size for v in model.weights),)]
    calls.clear()
    model.layers[1].trainable = False
    model.train_on_batch(X, Y)
    assert calls == [(3 * 4 + 4,), (4 * 2 + 2,)]


# Two models that share a layer.


def test_two_models_that_share_a_layer_see_each_others_training(xp):
    shared = Dense(4, activation="tanh", name="shared")
    first, second = double(xp, [shared, Dense(2, name="head")]), double(xp, [shared, Dense(1, name="other")], seed=1)
    assert first.weights[0] is second.weights[0]
    first.compile(optimizer=SGD(0.1, momentum=0.9), loss="mse")
    second.compile(optimizer=SGD(0.05, momentum=0.5), loss="mse")
    values = {f"1/{n}": v for n, v in zip(first.named_weights(), first.get_weights(), strict=True)}
    values |= {f"2/{n}": v for n, v in zip(second.named_weights(), second.get_weights(), strict=True)}
    slots = {}
    for _ in range(3):
        for number, model, y, rate, momentum in ((1, first, Y, 0.1, 0.9), (2, second, Y[:, :1], 0.05, 0.5)):
            _, _, gradients = gradients_of(model, X, y)
            named = {f"{number}/{name}": gradient for name, gradient in gradients.items()}
            momentum_by_hand(values, slots, named, named, rate, momentum)
            for name in gradients:  # one weight under two names
                if name.startswith("shared/"):
                    values[f"1/{name}"] = values[f"2/{name}"] = values[f"{number}/{name}"]
            model.train_on_batch(X, y)
            for prefix, owner in ((1, first), (2, second)):
                for name, found in zip(owner.named_weights(), owner.get_weights(), strict=True):
                    np.testing.assert_allclose(found, values[f"{prefix}/{name}"], rtol=1e-12, atol=1e-14, err_msg=name)


def test_a_model_that_leaves_out_a_layer_of_another_leaves_its_weights_alone(xp):
    """Its weights lie side by side with those between them, which are not its own."""
    first, middle, last = Dense(3, name="first"), Dense(3, name="middle"), Dense(2, name="last")
    long, short = double(xp, [first, middle, last]), double(xp, [first, last])
    assert long.weights[0].flat is long.weights[2].flat is short.weights[2].flat
    before = dict(zip(long.named_weights(), long.get_weights(), strict=True))
    _, _, gradients = gradients_of(short, X, Y)
    short.compile(optimizer=SGD(0.1), loss="mse")
    short.train_on_batch(X, Y)
    for name, found in zip(long.named_weights(), long.get_weights(), strict=True):
        np.testing.assert_allclose(found, before[name] - 0.1 * gradients.get(name, 0.0), rtol=1e-12, atol=1e-14)


def test_a_model_on_a_stretch_of_another(xp):
    """An encoder's layers within a longer model: training the whole moves the part."""
    encoder = double(xp, [Dense(4, activation="tanh"), Dense(2)])
    whole = double(xp, [encoder, Dense(4, activation="tanh"), Dense(3)])
    before = encoder.predict(X, verbose=0)
    whole.compile(optimizer=Adam(0.01), loss="mse")
    history = whole.fit(X, X, epochs=30, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert (encoder.predict(X, verbose=0) != before).any()


# Batches and ranks.


@pytest.mark.parametrize("batch_size", [1, 2, 4, 6])
def test_the_gradient_of_a_batch_is_the_mean_of_its_rows(xp, batch_size):
    model = double(xp, [Dense(4, activation="tanh"), Dense(2)])
    _, _, whole = gradients_of(model, X[:batch_size], Y[:batch_size])
    rows = [gradients_of(model, X[n : n + 1], Y[n : n + 1])[2] for n in range(batch_size)]
    for name, gradient in whole.items():
        np.testing.assert_allclose(gradient, np.mean([row[name] for row in rows], axis=0), rtol=1e-12, atol=1e-14)


def test_inputs_of_higher_rank_are_more_rows(xp):
    model = double(xp, [Dense(4, activation="tanh"), Dense(2)])
    x, y = RANDOM.standard_normal((5, 2, 3)), RANDOM.standard_normal((5, 2, 2))
    high, low = gradients_of(model, x, y), gradients_of(model, x.reshape(10, 3), y.reshape(10, 2))
    assert high[0] == pytest.approx(low[0], rel=1e-14)
    np.testing.assert_allclose(high[1].reshape(10, 3), low[1], rtol=1e-12, atol=1e-14)
    for name in high[2]:
        np.testing.assert_allclose(high[2][name], low[2][name], rtol=1e-12, atol=1e-14)


def test_a_model_with_input_has_its_weights_from_the_start(xp):
    early = Sequential([Input((3,)), Dense(4), Dense(2)], seed=9, backend=xp, dtype="float64")
    late = Sequential([Dense(4), Dense(2)], seed=9, backend=xp, dtype="float64")
    assert early.built
    assert not late.built
    late.predict(X, verbose=0)
    for ours, theirs in zip(early.get_weights(), late.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
