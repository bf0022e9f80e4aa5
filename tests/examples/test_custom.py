"""The examples of custom parts: their classes on every backend, and the scripts as a reader runs them."""

from __future__ import annotations

import copy
import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.layers import Dense, Input
from layerkit.losses import Loss
from layerkit.testing import check_layer, check_loss

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    """Import an example under its own name, where pickle will look for its classes."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


layers, losses, metrics, optimizers, initializers, callbacks = map(
    load,
    ("custom_layers", "custom_loss", "custom_metric", "custom_optimizer", "custom_initializer", "custom_callback"),
)

X = np.random.default_rng(0).standard_normal((6, 3))
Y = np.random.default_rng(1).standard_normal((6, 1))


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


# Layers.


@pytest.mark.parametrize("layer", layers.LAYERS, ids=lambda layer: type(layer).__name__)
def test_layers_keep_their_contract(xp, layer):
    check_layer(layer, layers.INPUT_SHAPES.get(type(layer).__name__, (7, 3)), xp=xp)


def test_check_layer_sees_the_weights_of_inner_layers(xp):
    """A gradient that is wrong in an inner layer is found, though that layer is built by the first pass only."""

    class Halved(layers.Scale):
        def backward(self, xp, saved, dy):
            dx, grads = super().backward(xp, saved, dy)
            return dx, {"scale": grads["scale"] / 2.0}

    with pytest.raises(AssertionError, match=r"Residual\.backward: gradient of inner_0/scale"):
        check_layer(layers.Residual([Halved()]), (7, 3), xp=xp)


def outputs(xp, layer, *, training=False):
    """Return y of the layer for X, in float64, and its weights as NumPy arrays by name."""
    model = Sequential([Input((3,)), layer], seed=4, backend=xp, dtype="float64")
    weights = {name: weight.numpy() for name, weight in layer.named_weights().items()}
    return xp.to_numpy(model(xp.asarray(X), training=training)), weights


def test_layers_compute_their_formula(xp):
    y, _ = outputs(xp, layers.Swish())
    np.testing.assert_allclose(y, X * sigmoid(X), rtol=1e-12)

    y, w = outputs(xp, layers.WeightNormalised(4))
    v = w["direction"]
    np.testing.assert_allclose(y, X @ (v * w["length"] / np.linalg.norm(v, axis=0)), rtol=1e-12)

    y, w = outputs(xp, layers.Residual([Dense(5, activation="tanh"), Dense(3)]))
    h = np.tanh(X @ w["inner_0/kernel"] + w["inner_0/bias"])
    np.testing.assert_allclose(y, X + h @ w["inner_1/kernel"] + w["inner_1/bias"], rtol=1e-12)

    y, w = outputs(xp, layers.GatedUnit(4))
    gate = sigmoid(X @ w["gate/kernel"] + w["gate/bias"])
    np.testing.assert_allclose(y, (X @ w["value/kernel"] + w["value/bias"]) * gate, rtol=1e-12)

    y, w = outputs(xp, layers.Twice(3))
    kernel, bias = w["shared/kernel"], w["shared/bias"]
    assert list(w) == ["shared/kernel", "shared/bias"]
    np.testing.assert_allclose(y, np.tanh(np.tanh(X @ kernel + bias) @ kernel + bias), rtol=1e-12)


def test_layers_of_several_inputs_and_outputs_compute_their_formula(xp):
    a, b = layers.Halves(dtype="float64")(xp.asarray(np.hstack([X, X[:, :1]])))
    np.testing.assert_array_equal(xp.to_numpy(a), X[:, :2])
    np.testing.assert_array_equal(xp.to_numpy(b), X[:, [2, 0]])
    layer = layers.Bilinear(4, dtype="float64")
    y = xp.to_numpy(layer([a, b]))
    kernel = layer.weights[0].numpy()
    for n, k in np.ndindex(6, 4):
        np.testing.assert_allclose(y[n, k], X[n, :2] @ kernel[:, :, k] @ X[n, [2, 0]], rtol=1e-12)


def test_a_running_mean_is_kept_in_training_alone(xp):
    layer = layers.Centred(momentum=0.75)
    model = Sequential([layer, Dense(1)], backend=xp, dtype="float64")
    model.compile("sgd", "mse")
    for _ in range(2):
        model.train_on_batch(X, Y)
    mean = X.mean(axis=0)
    running = 0.75 * (0.25 * mean) + 0.25 * mean
    np.testing.assert_allclose(xp.to_numpy(layer.mean), running, rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(layer(xp.asarray(X))), X - running, rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(layer.mean), running, rtol=1e-12)
    assert [weight.name for weight in layer.trainable_weights] == []


def test_noise_comes_in_training_alone_and_has_its_deviation(xp):
    layer = layers.GaussianNoise(0.5)
    model = Sequential([Input((100,)), layer], seed=0, backend=xp)
    x = xp.asarray(np.zeros((200, 100)), "float32")
    assert not np.any(xp.to_numpy(model(x)))
    first, second = (xp.to_numpy(model(x, training=True)) for _ in range(2))
    # 20,000 numbers: the standard error of their mean is 0.0035, that of their deviation 0.0025.
    assert abs(np.mean(first)) < 5 * 0.0035
    assert abs(np.std(first) - 0.5) < 5 * 0.0025
    assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 5 / np.sqrt(first.size)


def network(xp):
    model = Sequential(
        [
            layers.GaussianNoise(0.1),
            layers.Centred(),
            layers.Scale(),
            layers.WeightNormalised(4),
            layers.Swish(),
            layers.Residual([Dense(5, activation="tanh"), Dense(4)]),
            layers.GatedUnit(3),
            layers.Twice(3),
            layers.Halves(),
            layers.Bilinear(2),
            Dense(1),
        ],
        seed=3,
        backend=xp,
        dtype="float64",
    )
    model.compile("adam", "mse")
    return model


def test_custom_layers_train_to_the_same_weights_on_every_backend_and_in_a_copy(xp):
    model, reference = network(xp), network("numpy")
    for each in (model, reference):
        each.fit(X, Y, epochs=3, batch_size=4, verbose=0)
    twin = copy.deepcopy(model)
    for each in (model, reference, twin):
        each.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    for here, there, copied in zip(model.get_weights(), reference.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(here, there, rtol=1e-9)
        np.testing.assert_array_equal(here, copied)


def test_custom_layers(run):
    output = run("custom_layers")
    assert [f"check_layer finds no mistake in {type(layer).__name__}." for layer in layers.LAYERS] == output.split(
        "\n"
    )[: len(layers.LAYERS)]
    loss, accuracy = numbers(output)
    assert loss < 0.2
    assert accuracy >= 0.95


# Losses.


@pytest.mark.parametrize("loss", losses.LOSSES, ids=lambda loss: type(loss).__name__)
def test_losses_keep_their_contract(xp, loss):
    check_loss(loss, X, X[::-1] / 2, xp=xp)


def test_losses_compute_their_formula(xp):
    y_true, y_pred = xp.asarray(X), xp.asarray(X[::-1] / 2)
    e = X[::-1] / 2 - X
    for loss, expected in (
        (losses.LogCosh(2.0), np.log(np.cosh(2.0 * e)) / 2.0),
        (losses.Quantile(0.3), np.where(e < 0, -0.3 * e, 0.7 * e)),
    ):
        np.testing.assert_allclose(xp.to_numpy(loss.values(xp, y_true, y_pred)), expected.mean(axis=1), rtol=1e-12)
    expected = np.log(1 + e**2 / 2).mean(axis=1)
    np.testing.assert_allclose(xp.to_numpy(losses.cauchy(xp, y_true, y_pred)), expected, rtol=1e-12)


def squared(y_true, y_pred):
    """A function that needs no word of the backend."""
    error = y_pred[..., 0] - y_true[..., 0]
    return error * error


@pytest.mark.parametrize(
    ("function", "slope"), [(losses.cauchy, lambda e: e / (1 + e**2 / 2)), (squared, lambda e: 2 * e)]
)
def test_a_function_is_a_loss_and_its_derivative_is_found(xp, function, slope):
    model = Sequential([Dense(1, use_bias=False, kernel_initializer="ones")], backend=xp, dtype="float64")
    model.compile(optimizers.SGD(learning_rate=0.5), function, metrics=[function])
    model.train_on_batch(X, Y)
    e = X.sum(axis=1, keepdims=True) - Y
    np.testing.assert_allclose(model.get_weights()[0], 1.0 - 0.5 * X.T @ slope(e) / 6, rtol=1e-12)
    assert isinstance(model.loss, Loss)
    loss, measured = model.test_on_batch(X, Y)
    assert loss == pytest.approx(measured, rel=1e-12)


def test_custom_loss(run):
    output = run("custom_loss")
    rows = {name: values for name, *values in re.findall(r"^(\w+) +(\d\.\d+) +(\d\.\d+)$", output, re.MULTILINE)}
    assert list(rows) == ["mean_squared_error", "cauchy", "log_cosh", "quantile"]
    # One point in ten lies 20 higher: least squares moves the line by 2, the others stay near (2, 1).
    assert float(rows.pop("mean_squared_error")[1]) == pytest.approx(3.0, abs=0.1)
    for slope, intercept in rows.values():
        assert float(slope) == pytest.approx(2.0, abs=0.1)
        assert float(intercept) == pytest.approx(1.0, abs=0.15)


# Metrics.


def test_the_f_score_is_that_of_scikit_learn(xp):
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(0)
    y, p, weight = random.integers(0, 2, (40, 1)), random.uniform(size=(40, 1)), random.uniform(0.5, 2.0, 40)
    for b, weights in ((1.0, None), (2.0, weight)):
        metric = metrics.FScore(b=b).to(xp)
        for rows in (slice(0, 15), slice(15, 40)):  # not the mean of two batches, but the score of all rows
            metric.update_state(
                *(xp.asarray(part[rows]) for part in (y, p)),
                sample_weight=None if weights is None else xp.asarray(weights[rows]),
            )
        expected = sklearn_metrics.fbeta_score(y[:, 0], p[:, 0] > 0.5, beta=b, sample_weight=weights)
        assert metric.result() == pytest.approx(expected, rel=1e-12)
        metric.reset_state()
        assert metric.result() == 0.0


def test_metrics_are_measured_in_training(xp):
    model = Sequential([Dense(1, "sigmoid")], seed=0, backend=xp)
    measured = [metrics.FScore(name="f1"), metrics.doubt]
    model.compile("sgd", "binary_crossentropy", metrics=measured, weighted_metrics=[metrics.FScore()])
    y = (Y > 0).astype(int)
    model.fit(X, y, sample_weight=np.arange(6.0), epochs=2, batch_size=4, verbose=0)
    measured = model.evaluate(X, y, batch_size=4, verbose=0, return_dict=True)
    p = model.predict(X, verbose=0)
    hits, wrong = np.sum((p > 0.5) & (y == 1)), np.sum((p > 0.5) != y)
    assert measured["f1"] == pytest.approx(2 * hits / (2 * hits + wrong))
    assert measured["doubt"] == pytest.approx(np.mean(1 - np.abs(2 * p - 1)), rel=1e-6)
    assert list(measured) == ["loss", "f1", "doubt", "f_score"]


def test_custom_metric(run):
    rows = [numbers(row) for row in run("custom_metric").splitlines()[3:]]
    assert len(rows) == 12
    accuracy, score, doubt = rows[-1]
    assert accuracy > 0.97
    assert score > 0.6
    assert doubt < 0.2


# Optimizers.


@pytest.mark.parametrize("weight_decay", [None, 0.1])
def test_optimizers_take_the_steps_of_their_formula(xp, weight_decay):
    made = {
        "sign": optimizers.SignSGD(0.1, weight_decay=weight_decay),
        "lion": optimizers.Lion(0.1, b1=0.8, b2=0.6, weight_decay=weight_decay),
        "decaying": optimizers.DecayingSGD(0.1, weight_decay=weight_decay),
    }
    for name, optimizer in made.items():
        model = Sequential([Input((3,)), Dense(2), Dense(1)], seed=1, backend=xp, dtype="float64")
        model.compile(optimizer, "mse")
        w = [weight.copy() for weight in model.get_weights()]
        m = [np.zeros_like(weight) for weight in w]
        for t in (1, 2, 3):
            e = 2 * ((X @ w[0] + w[1]) @ w[2] + w[3] - Y) / 6
            dh = e @ w[2].T
            g = [X.T @ dh, dh.sum(axis=0), (X @ w[0] + w[1]).T @ e, e.sum(axis=0)]
            step = {
                "sign": [np.sign(a) for a in g],
                "lion": [np.sign(0.8 * b + 0.2 * a) for a, b in zip(g, m, strict=True)],
                "decaying": [a / np.sqrt(t) for a in g],
            }[name]
            w = [a - 0.1 * ((weight_decay or 0.0) * a + b) for a, b in zip(w, step, strict=True)]
            m = [0.6 * b + 0.4 * a for a, b in zip(g, m, strict=True)]
            model.train_on_batch(X, Y)
            for ours, expected in zip(model.get_weights(), w, strict=True):
                np.testing.assert_allclose(ours, expected, rtol=1e-9, atol=1e-12)


def test_custom_optimizer(run):
    rows = [numbers(row) for row in run("custom_optimizer").splitlines()[1:]]
    assert len(rows) == 3
    for _, *learnt in rows:
        np.testing.assert_allclose(learnt, [0, 1, 1, 0], atol=0.05)


# Initializers.


def test_initializers_draw_what_they_say(xp):
    sparse = initializers.Sparse(4)
    model = Sequential(
        [Input((50,)), Dense(400, kernel_initializer=sparse), Dense(2, kernel_initializer=initializers.ramp)],
        seed=0,
        backend=xp,
    )
    kernel, _, second, _ = model.get_weights()
    assert np.all(np.count_nonzero(kernel, axis=0) == 4)
    # 1,600 numbers of variance 1 / 4: the standard error of the variance is 0.25 sqrt(2 / 1600).
    assert abs(np.var(kernel[kernel != 0]) - 0.25) < 5 * 0.25 * np.sqrt(2 / 1600)
    np.testing.assert_allclose(second.ravel(), np.linspace(-1, 1, 800), rtol=1e-6)
    again = Sequential([Input((50,)), Dense(400, kernel_initializer=initializers.Sparse(4))], seed=0)
    np.testing.assert_array_equal(again.get_weights()[0], kernel)  # on each backend the same
    assert sparse.get_config() == {"count": 4, "seed": None}


def test_custom_initializer(run):
    rows = run("custom_initializer").splitlines()[1:]
    assert [row.split()[0] for row in rows] == ["Sparse", "glorot_uniform", "ramp"]
    assert all(0.05 < spread < 1.0 for row in rows for spread in numbers(row))


# Callbacks.


def test_the_schedule_sets_the_learning_rate_of_each_step(xp):
    model = Sequential([Dense(1)], seed=0, backend=xp)
    model.compile("sgd", "mse")
    schedule = callbacks.WarmUpAndCosine(peak=0.4, warm_up=2, steps=6)
    model.fit(X, Y, batch_size=2, epochs=2, verbose=0, callbacks=[schedule])
    # Up in a line, then (1 + cos(π k / 4)) / 2 of the peak, for k = 1, 2, 3, 4.
    expected = [0.2, 0.4, *(0.4 * (1 + np.cos(np.pi * np.arange(1, 5) / 4)) / 2)]
    np.testing.assert_allclose(schedule.rates, expected, atol=1e-12)
    assert model.optimizer.learning_rate == pytest.approx(0.0, abs=1e-12)


def test_the_best_weights_are_kept(xp):
    model = Sequential([Dense(1)], seed=0, backend=xp)
    model.compile(optimizers.SGD(learning_rate=0.9), "mse")  # too large a step: epochs get better, and worse
    keep = callbacks.KeepBest()
    history = model.fit(X, Y, batch_size=2, epochs=8, verbose=0, validation_data=(X, Y), callbacks=keep).history
    assert keep.best_epoch == int(np.argmin(history["val_loss"]))
    assert keep.best_epoch != 7
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(min(history["val_loss"]), rel=1e-6)


def test_custom_callback(run):
    output = run("custom_callback")
    rates = [float(row[3]) for row in re.findall(r"^ +(\d+)   (\S+)   (\S+)   (\S+)", output, re.MULTILINE)]
    assert rates == sorted(rates, reverse=True)
    assert len(rates) == 6
    best, measured = numbers(output[output.index("The best epoch") :])
    assert best == measured < 0.1
