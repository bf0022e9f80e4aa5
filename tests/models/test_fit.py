"""fit, evaluate, predict and their kin: each argument means what it does in Keras 3, and each number has a formula."""

from __future__ import annotations

import copy
import pickle
import threading

import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential, callbacks, losses, metrics, optimizers
from layerkit.errors import ArgumentError, NotReadyError
from layerkit.layers import Dense, Dropout, ReLU, Sigmoid
from layerkit.optimizers import SGD, Adam

ROWS = 10
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, 3))
Y = RNG.normal(size=(ROWS, 2))
LABELS = np.arange(ROWS) % 3
ONE_HOT = np.eye(3)[LABELS]
FLAGS = (np.arange(ROWS) % 2)[:, None]
WEIGHTS = np.linspace(0.5, 2.0, ROWS)


def linear(optimizer="sgd", **options) -> Sequential:
    """Return y = x @ kernel + bias, in float64, compiled with the mean squared error."""
    model = Sequential([Input((3,)), Dense(2)], seed=3, dtype="float64")
    model.compile(optimizer, **{"loss": "mse", **options})
    return model


def deep(seed=3, optimizer="adam", loss="mse", width=2, activation=None, **options) -> Sequential:
    """Return a model with everything that has state: weights, slots, dropout masks, metrics."""
    model = Sequential(
        [Input((3,)), Dense(8, "relu"), Dropout(0.3), Dense(width, activation)], seed=seed, dtype="float64", **options
    )
    model.compile(optimizer, loss, metrics=["mae"] if loss == "mse" else ["accuracy"])
    return model


def assert_same_weights(left, right, rtol=0.0):
    for a, b in zip(left.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


class Spy:
    """A metric function that keeps the targets of each batch; the targets are the numbers of the rows."""

    def __init__(self):
        self.batches = []

    def __call__(self, y_true, y_pred):
        self.batches.append(np.asarray(y_true)[:, 0].astype(int).tolist())
        return y_pred[:, 0]


def flat(batches: list[list[int]]) -> list[int]:
    return [row for batch in batches for row in batch]


def rows_seen(seed=3, rows=ROWS, model=None, **options) -> list[list[int]]:
    """Return the numbers of the rows of each batch that `fit` takes."""
    spy = Spy()
    model = model or Sequential([Input((1,)), Dense(1)], seed=seed)
    model.compile(SGD(0.0), "mse", metrics=[spy], run_eagerly=True)
    numbers = np.arange(rows)[:, None]
    model.fit(numbers, numbers, verbose=0, **{"batch_size": 4, **options})
    return spy.batches


# Batches and epochs.


def test_batches_are_of_32_rows_unless_said_otherwise():
    assert [len(batch) for batch in rows_seen(rows=70, batch_size=None)] == [32, 32, 6]
    assert [len(batch) for batch in rows_seen(rows=70, batch_size=50)] == [50, 20]
    assert [len(batch) for batch in rows_seen(rows=70, batch_size=100)] == [70]


def test_rows_stay_in_order_without_shuffle():
    assert rows_seen(shuffle=False, epochs=2) == 2 * [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_shuffled_epochs_are_permutations_each_of_its_own():
    seen = rows_seen(epochs=20)
    epochs = [tuple(flat(seen[start : start + 3])) for start in range(0, 60, 3)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len(set(epochs)) == 20


def test_a_seed_decides_the_order():
    assert rows_seen(seed=3, epochs=3) == rows_seen(seed=3, epochs=3)
    assert rows_seen(seed=3, epochs=3) != rows_seen(seed=4, epochs=3)


def test_one_batch_of_all_rows_is_not_shuffled():
    assert rows_seen(batch_size=ROWS, epochs=2) == 2 * [list(range(ROWS))]


def test_a_second_fit_goes_on_with_new_orders():
    model = Sequential([Input((1,)), Dense(1)], seed=3)
    once = rows_seen(epochs=4)
    assert rows_seen(model=model, epochs=2) + rows_seen(model=model, epochs=2) == once


def test_every_row_comes_as_often_with_shuffle_when_rows_are_many():
    """Each row is as likely in the first of two batches: a chi-squared test at five standard deviations.

    Of 1000 epochs a row is in it in 500 on average, with variance 250; all eight numbers have the sum 4000.
    """
    seen = rows_seen(rows=8, batch_size=4, epochs=1000)
    counts = np.bincount(np.ravel(seen[::2]), minlength=8)
    chi_squared = np.sum((counts - 500.0) ** 2) / 250.0 * 7 / 8
    assert abs(chi_squared - 7.0) < 5 * np.sqrt(2 * 7.0)


def test_steps_per_epoch_goes_on_where_the_last_epoch_ended_and_shuffles_each_pass():
    seen = rows_seen(steps_per_epoch=2, epochs=6)
    assert len(seen) == 12
    passes = [flat(seen[start : start + 3]) for start in range(0, 12, 3)]
    assert all(sorted(rows) == list(range(ROWS)) for rows in passes)
    assert len({tuple(rows) for rows in passes}) == 4


def test_steps_per_epoch_may_be_more_than_one_pass():
    seen = rows_seen(steps_per_epoch=5, epochs=1, shuffle=False)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9], [0, 1, 2, 3], [4, 5, 6, 7]]


def test_epochs_are_numbered_from_initial_epoch_to_epochs():
    seen = []
    log = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    history = linear().fit(X, Y, initial_epoch=2, epochs=5, callbacks=log, verbose=0)
    assert seen == history.epoch == [2, 3, 4]
    assert len(history.history["loss"]) == 3


@pytest.mark.parametrize("options", [{"epochs": 0}, {"epochs": 3, "initial_epoch": 3}])
def test_no_epoch_is_no_training(options):
    model = linear()
    before = model.get_weights()
    history = model.fit(X, Y, verbose=0, **options)
    assert (history.epoch, history.history) == ([], {})
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_several_fits_in_a_row_continue_as_one(xp):
    """Weights, slots, orders and dropout masks: two epochs and three are five."""
    parts, whole = deep(backend=xp), deep(backend=xp)
    first = parts.fit(X, Y, batch_size=4, epochs=2, verbose=0).history
    second = parts.fit(X, Y, batch_size=4, initial_epoch=2, epochs=5, verbose=0).history
    history = whole.fit(X, Y, batch_size=4, epochs=5, verbose=0).history
    assert {key: first[key] + second[key] for key in history} == history
    assert_same_weights(parts, whole)


# What a step does.


def test_steps_of_gradient_descent_are_those_of_the_formula(xp):
    """Two epochs over batches of 4, 4 and 2 rows: w ← w - η dL/dw of each batch's mean loss."""
    model = Sequential([Input((3,)), Dense(2)], seed=3, dtype="float64", backend=xp)
    model.compile(SGD(0.1), "mse")
    kernel, bias = model.get_weights()
    history = model.fit(X, Y, batch_size=4, epochs=2, shuffle=False, verbose=0).history
    for epoch in range(2):
        squares = []
        for rows in (slice(0, 4), slice(4, 8), slice(8, 10)):
            error = X[rows] @ kernel + bias - Y[rows]
            squares.extend(np.mean(error**2, axis=1))
            kernel = kernel - 0.1 * X[rows].T @ (2.0 * error / error.size)
            bias = bias - 0.1 * np.sum(2.0 * error / error.size, axis=0)
        # The loss of an epoch is the mean over its rows, each with the weights of its time.
        assert history["loss"][epoch] == pytest.approx(np.mean(squares), rel=1e-12)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-12)
    np.testing.assert_allclose(model.get_weights()[1], bias, rtol=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10])
def test_a_loss_of_uneven_batches_is_the_mean_over_rows(batch_size):
    model = linear(SGD(0.0), metrics=["mae"])
    kernel, bias = model.get_weights()
    error = X @ kernel + bias - Y
    history = model.fit(X, Y, batch_size=batch_size, verbose=0).history
    assert history["loss"] == [pytest.approx(np.mean(error**2), rel=1e-12)]
    assert history["mae"] == [pytest.approx(np.mean(np.abs(error)), rel=1e-12)]
    assert model.evaluate(X, Y, batch_size=batch_size, verbose=0) == [
        pytest.approx(np.mean(error**2), rel=1e-12),
        pytest.approx(np.mean(np.abs(error)), rel=1e-12),
    ]
    np.testing.assert_allclose(model.predict(X, batch_size=batch_size, verbose=0), error + Y, rtol=1e-12)


def test_the_learning_rate_may_be_set_during_training():
    """A callback halves it after each epoch; one batch an epoch, so that the steps are those of the formula."""
    model = linear(SGD(0.4))
    kernel, bias = model.get_weights()

    def halve(epoch, logs):
        model.optimizer.learning_rate = model.optimizer.learning_rate / 2

    model.fit(X, Y, batch_size=ROWS, epochs=3, callbacks=[callbacks.LambdaCallback(on_epoch_end=halve)], verbose=0)
    for rate in (0.4, 0.2, 0.1):
        error = X @ kernel + bias - Y
        kernel = kernel - rate * X.T @ (2.0 * error / error.size)
        bias = bias - rate * np.sum(2.0 * error / error.size, axis=0)
    np.testing.assert_allclose(model.get_weights()[0], kernel, rtol=1e-12)
    assert model.optimizer.learning_rate == 0.05


def test_the_learning_rate_may_be_set_before_each_batch():
    model, twin = linear(SGD(0.0)), linear(SGD(0.1))

    def switch(batch, logs):
        model.optimizer.learning_rate = 0.1 if batch == 1 else 0.0

    options = {"batch_size": 4, "shuffle": False, "verbose": 0}
    model.fit(X, Y, callbacks=callbacks.LambdaCallback(on_train_batch_begin=switch), **options)
    twin.fit(X[4:8], Y[4:8], **options)
    assert_same_weights(model, twin)


def test_dropout_acts_in_training_alone():
    model = Sequential([Input((100,)), Dropout(0.5)], seed=0)
    x = np.ones((1, 100))
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)
    np.testing.assert_array_equal(model(x), x)
    first, second = model(x, training=True), model(x, training=True)
    assert set(np.unique(first)) == {0.0, 2.0}
    assert not np.array_equal(first, second)


def test_evaluation_and_prediction_change_nothing():
    model, twin = deep(), deep()
    for one in (model, twin):
        one.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    history = copy.deepcopy(model.history.history)
    model.evaluate(X, Y, verbose=0)
    model.predict(X, verbose=0)
    model.test_on_batch(X, Y)
    model.predict_on_batch(X)
    assert model.history.history == history
    assert model.optimizer.iterations == twin.optimizer.iterations
    for one in (model, twin):
        one.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    assert_same_weights(model, twin)


# Validation.


def test_validation_split_holds_out_the_last_rows_before_shuffling():
    model, twin = linear(metrics=["mae"]), linear()
    history = model.fit(X, Y, validation_split=0.25, epochs=3, batch_size=3, verbose=0).history
    twin.fit(X[:7], Y[:7], epochs=3, batch_size=3, verbose=0)
    assert_same_weights(model, twin)
    error = X[7:] @ model.get_weights()[0] + model.get_weights()[1] - Y[7:]
    assert history["val_loss"][-1] == pytest.approx(np.mean(error**2), rel=1e-12)
    assert history["val_mae"][-1] == pytest.approx(np.mean(np.abs(error)), rel=1e-12)
    assert list(history) == ["loss", "mae", "val_loss", "val_mae"]


@pytest.mark.parametrize(("share", "trained"), [(0.1, 9), (0.3, 7), (0.5, 5), (0.8, 1), (0.01, 9), (1 / 3, 6)])
def test_validation_split_trains_on_the_rows_that_keras_leaves(share, trained):
    """Keras: int(rows * (1 - share)), the rest is held out."""
    seen = rows_seen(validation_split=share, batch_size=1)  # the metric sees the training rows, then the others
    assert sorted(flat(seen)[:trained]) == list(range(trained))
    assert flat(seen)[trained:] == list(range(trained, ROWS))


def test_validation_split_takes_the_weights_of_its_rows_but_not_the_classes_weights():
    options = {"loss": "sparse_categorical_crossentropy", "width": 3, "activation": "softmax"}
    model, twin = deep(**options), deep(**options)
    split = {"validation_split": 0.3, "class_weight": {0: 5.0}, "sample_weight": WEIGHTS}
    history = model.fit(X, LABELS, verbose=0, **split).history
    given = (X[7:], LABELS[7:], WEIGHTS[7:])
    weights = WEIGHTS[:7] * np.where(LABELS[:7] == 0, 5.0, 1.0)
    expected = twin.fit(X[:7], LABELS[:7], sample_weight=weights, validation_data=given, verbose=0).history
    assert history == expected


def test_validation_data_is_evaluated_after_each_epoch():
    model = linear(metrics=["mae"])
    found = []
    other_x, other_y, weights = X[:5] + 1.0, Y[:5], WEIGHTS[:5]
    look = callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: found.append(
            model.evaluate(other_x, other_y, sample_weight=weights, verbose=0, return_dict=True)
        )
    )
    given = (other_x, other_y, weights)
    history = model.fit(X, Y, epochs=3, validation_data=given, callbacks=look, verbose=0).history
    assert history["val_loss"] == [logs["loss"] for logs in found]
    assert history["val_mae"] == [logs["mae"] for logs in found]


@pytest.mark.parametrize(
    ("freq", "epochs_validated"),
    [(1, [1, 2, 3, 4, 5]), (2, [2, 4]), (5, [5]), (6, []), ([1, 4], [1, 4]), ((5, 9), [5])],
)
def test_validation_freq_says_after_which_epochs(freq, epochs_validated):
    found = []
    look = callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: found.append("val_loss" in logs))
    options = {"validation_data": (X, Y), "validation_freq": freq, "callbacks": look}
    history = linear().fit(X, Y, epochs=5, verbose=0, **options).history
    assert [number for number, validated in enumerate(found, 1) if validated] == epochs_validated
    assert len(history.get("val_loss", [])) == len(epochs_validated)


def test_validation_steps_and_batch_size():
    model = linear(SGD(0.0))
    error = X @ model.get_weights()[0] + model.get_weights()[1] - Y
    options = {"validation_data": (X, Y), "validation_batch_size": 3, "validation_steps": 2, "verbose": 0}
    history = model.fit(X, Y, batch_size=5, epochs=2, **options).history
    assert history["val_loss"] == 2 * [pytest.approx(np.mean(error[:6] ** 2), rel=1e-12)]
    assert history["loss"] == 2 * [pytest.approx(np.mean(error**2), rel=1e-12)]


def test_validation_batches_are_as_large_as_those_of_training_unless_said_otherwise():
    sizes = []
    count = callbacks.LambdaCallback(on_test_batch_end=lambda batch, logs: sizes.append(batch))
    linear().fit(X, Y, batch_size=4, validation_data=(X, Y), callbacks=count, verbose=0)
    assert sizes == [0, 1, 2]


# Weights of samples and classes.


def test_sample_weights_multiply_the_losses_of_their_rows():
    model = linear(SGD(0.0), metrics=["mae"], weighted_metrics=["mse"])
    error = X @ model.get_weights()[0] + model.get_weights()[1] - Y
    squares = np.mean(error**2, axis=1)
    expected = {
        "loss": np.sum(WEIGHTS * squares) / ROWS,  # divided by the number of rows, as in Keras
        "mae": np.mean(np.abs(error)),
        "mse": np.sum(WEIGHTS * squares) / np.sum(WEIGHTS),
    }
    for logs in (
        {key: value[0] for key, value in model.fit(X, Y, sample_weight=WEIGHTS, verbose=0).history.items()},
        model.evaluate(X, Y, sample_weight=WEIGHTS, verbose=0, return_dict=True),
        model.train_on_batch(X, Y, sample_weight=WEIGHTS, return_dict=True),
        model.test_on_batch(X, Y, sample_weight=WEIGHTS, return_dict=True),
    ):
        assert logs == pytest.approx(expected, rel=1e-12)


def test_a_weight_for_each_value_of_a_sequence():
    """Outputs (batch, steps, units) have a loss for each step, and may have a weight for each."""
    x, y = RNG.normal(size=(6, 4, 3)), RNG.normal(size=(6, 4, 2))
    weights = RNG.uniform(0.1, 2.0, size=(6, 4))
    model = Sequential([Dense(2)], seed=0, dtype="float64")
    model.compile(SGD(0.0), "mse")
    model.build((None, 4, 3))
    squares = np.mean((x @ model.get_weights()[0] + model.get_weights()[1] - y) ** 2, axis=-1)
    for given in (weights, weights[..., None], weights[..., None, None]):
        assert model.evaluate(x, y, sample_weight=given, verbose=0) == pytest.approx(np.mean(weights * squares))
    by_row = np.mean(weights[:, :1] * squares)
    assert model.evaluate(x, y, sample_weight=weights[:, 0], verbose=0) == pytest.approx(by_row)


@pytest.mark.parametrize(
    ("loss", "activation", "width", "y"),
    [
        ("sparse_categorical_crossentropy", "softmax", 3, LABELS),
        ("sparse_categorical_crossentropy", "softmax", 3, LABELS[:, None]),
        ("categorical_crossentropy", "softmax", 3, ONE_HOT),
        ("binary_crossentropy", "sigmoid", 1, FLAGS),
        ("binary_crossentropy", "sigmoid", 1, FLAGS[:, 0]),
    ],
)
def test_class_weights_are_sample_weights_by_class(loss, activation, width, y):
    classes = LABELS if width == 3 else FLAGS[:, 0]
    weights = np.choose(classes, [1.0, 3.0, 0.25])  # class 0 is left out below: its weight is 1
    given = {1: 3.0, 2: 0.25} if width == 3 else {1: 3.0}
    options = {"loss": loss, "activation": activation, "width": width}
    by_class, by_sample, both, product = (deep(**options) for _ in range(4))
    by_class.fit(X, y, class_weight=given, epochs=3, batch_size=4, verbose=0)
    by_sample.fit(X, y, sample_weight=weights, epochs=3, batch_size=4, verbose=0)
    assert_same_weights(by_class, by_sample)
    both.fit(X, y, class_weight=given, sample_weight=WEIGHTS, epochs=3, batch_size=4, verbose=0)
    product.fit(X, y, sample_weight=weights * WEIGHTS, epochs=3, batch_size=4, verbose=0)
    assert_same_weights(both, product)
    by_class.train_on_batch(X, y, class_weight=given)
    by_sample.train_on_batch(X, y, sample_weight=weights)
    assert_same_weights(by_class, by_sample)


# What is returned.


def test_evaluate_returns_a_number_a_list_or_names():
    model = linear()
    assert isinstance(model.evaluate(X, Y, verbose=0), float)
    model.compile("sgd", "mse", metrics=["mae", "mse"])
    values = model.evaluate(X, Y, verbose=0)
    by_name = model.evaluate(X, Y, verbose=0, return_dict=True)
    assert isinstance(values, list)
    assert list(by_name) == ["loss", "mae", "mse"] == model.metrics_names
    assert values == list(by_name.values())
    assert values[0] == values[2] != values[1]


def test_without_a_loss_the_metrics_are_measured_alone():
    model = linear(loss=None, metrics=["mae", "mse"])
    error = X @ model.get_weights()[0] + model.get_weights()[1] - Y
    expected = {"mae": np.mean(np.abs(error)), "mse": np.mean(error**2)}
    assert model.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-12)
    model.compile(loss=None, metrics=["mae"])
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected["mae"], rel=1e-12)


def test_history_is_returned_and_kept():
    model = linear(metrics=["mae"])
    history = model.fit(X, Y, epochs=2, verbose=0)
    assert model.history is history
    assert history.model is model
    assert list(history.history) == ["loss", "mae"]
    assert all(type(value) is float for values in history.history.values() for value in values)
    assert {"epochs": 2, "steps": 1}.items() <= history.params.items()
    assert model.fit(X, Y, verbose=0) is not history


def test_a_history_of_ones_own_is_the_one_returned():
    own = callbacks.History()
    assert linear().fit(X, Y, callbacks=[own], verbose=0) is own
    assert list(own.history) == ["loss"]


def test_a_weighted_metric_of_the_same_name_is_marked():
    model = linear(metrics=["mae"], weighted_metrics=["mae", "mse"])
    history = model.fit(X, Y, sample_weight=WEIGHTS, verbose=0).history
    assert list(history) == ["loss", "mae", "weighted_mae", "mse"] == model.metrics_names


def test_metrics_of_one_name_are_numbered():
    """As Keras does within a model: two of a class tell of different things."""

    def classes():
        return [metrics.Recall(thresholds=0.01), metrics.Recall(thresholds=0.99), metrics.TopKCategoricalAccuracy(1)]

    given = [*classes(), "mae", metrics.MeanAbsoluteError(name="mae"), losses.mean_absolute_error]
    model = Sequential([Dense(3, "softmax")], seed=0)
    model.compile(SGD(0.0), "mse", metrics=given, weighted_metrics=classes()[:2])
    found = model.fit(X, ONE_HOT, verbose=0).history
    assert list(found) == [
        *("loss", "recall", "recall_1", "top_k_categorical_accuracy", "mae", "mae_1", "mean_absolute_error"),
        *("weighted_recall", "weighted_recall_1"),
    ]
    predicted = model.predict(X, verbose=0)
    for name, metric in (("recall", classes()[0]), ("recall_1", classes()[1])):
        assert found[name] == [metric(ONE_HOT, predicted)] == found[f"weighted_{name}"]
    assert found["recall"] != found["recall_1"]


def test_a_function_is_reported_by_its_name_in_snake_case():
    """The names that Keras 3.15 gives these metrics."""

    def LargestError(y_true, y_pred):
        return abs(y_true - y_pred).max(axis=-1)

    class SmallestError:
        def __call__(self, y_true, y_pred):
            return abs(y_true - y_pred).min(axis=-1)

    model = Sequential([Dense(2)], seed=0)
    own = [LargestError, SmallestError(), lambda y_true, y_pred: abs(y_true - y_pred)]
    model.compile(SGD(0.0), LargestError, metrics=own)
    history = model.fit(X, Y, verbose=0).history
    assert list(history) == ["loss", "largest_error", "smallest_error", "lambda"]
    assert model.loss.name == "largest_error"
    assert model.get_metrics_result() == {name: values[-1] for name, values in history.items()}


@pytest.mark.parametrize("more", [{"metrics": 2}, {"metrics": 1, "weighted_metrics": 1}])
def test_a_metric_is_not_given_twice(more):
    """Its totals would count each batch twice."""
    metric = metrics.Precision()
    model = Sequential([Input((3,)), Dense(2)])
    with pytest.raises(ArgumentError) as caught:
        model.compile("sgd", "mse", **{name: [metric] * count for name, count in more.items()})
    assert str(caught.value) == (
        "compile: each metric keeps totals of its own. Received: the same object twice, 'precision'. "
        "Make an object for each, or give its name."
    )


def test_predictions_are_arrays_of_numpy(xp):
    model = Sequential([Input((3,)), Dense(2)], seed=3, backend=xp)
    predicted = model.predict(X, batch_size=4, verbose=0)
    assert isinstance(predicted, np.ndarray)
    assert (predicted.shape, predicted.dtype) == ((ROWS, 2), np.float32)
    np.testing.assert_allclose(predicted, X @ model.get_weights()[0] + model.get_weights()[1], rtol=1e-5, atol=1e-6)


def test_predict_needs_no_compile_and_builds_from_its_data():
    model = Sequential([Dense(2)], seed=3)
    twin = Sequential([Input((3,)), Dense(2)], seed=3)
    np.testing.assert_array_equal(model.predict(X, verbose=0), twin.predict(X, verbose=0))
    assert model.built
    assert not model.compiled


@pytest.mark.parametrize("verbose", [0, 1, 2, "auto"])
def test_silence_is_verbose_0(verbose, capsys):
    model = linear()
    model.fit(X, Y, epochs=2, verbose=verbose)
    model.evaluate(X, Y, verbose=verbose)
    model.predict(X, verbose=verbose)
    assert (capsys.readouterr().out == "") == (verbose == 0)


# Single batches.


def test_train_on_batch_is_a_step_of_fit():
    model, twin = deep(), deep()
    for start in (0, 4, 8):
        model.train_on_batch(X[start : start + 4], Y[start : start + 4])
    twin.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    assert_same_weights(model, twin)
    assert model.optimizer.iterations == 3


def test_batches_are_measured_each_by_itself():
    model = linear(SGD(0.0), metrics=["mae"])
    error = X @ model.get_weights()[0] + model.get_weights()[1] - Y
    for rows in (slice(0, 4), slice(4, 10)):
        expected = [np.mean(error[rows] ** 2), np.mean(np.abs(error[rows]))]
        assert model.train_on_batch(X[rows], Y[rows]) == pytest.approx(expected, rel=1e-12)
        assert model.test_on_batch(X[rows], Y[rows]) == pytest.approx(expected, rel=1e-12)
    by_name = model.test_on_batch(X, Y, return_dict=True)
    assert by_name == pytest.approx({"loss": np.mean(error**2), "mae": np.mean(np.abs(error))}, rel=1e-12)
    model.compile(SGD(0.0), "mse")
    assert isinstance(model.train_on_batch(X, Y), float)
    np.testing.assert_array_equal(model.predict_on_batch(X), model.predict(X, batch_size=ROWS, verbose=0))


# compile.


@pytest.mark.parametrize(
    "loss", ["mse", "mean_squared_error", losses.MeanSquaredError, losses.MeanSquaredError(), losses.mean_squared_error]
)
@pytest.mark.parametrize("optimizer", ["adam", "Adam", Adam, Adam()])
def test_optimizers_and_losses_are_given_by_name_class_object_or_function(optimizer, loss):
    model, twin = linear(copy.deepcopy(optimizer), loss=loss), linear(Adam(), loss=losses.MeanSquaredError())
    for one in (model, twin):
        one.fit(X, Y, epochs=2, verbose=0)
    assert_same_weights(model, twin)


def test_the_optimizer_is_rmsprop_unless_said_otherwise():
    model = Sequential([Input((3,)), Dense(2)])
    model.compile(loss="mse")
    assert type(model.optimizer) is optimizers.RMSprop


@pytest.mark.parametrize(
    "given",
    [
        "mae",
        ["mae"],
        ("mean_absolute_error",),
        [metrics.MeanAbsoluteError],
        [metrics.MeanAbsoluteError()],
        [losses.MeanAbsoluteError()],
        [losses.MeanAbsoluteError],
        [losses.mean_absolute_error],
        [lambda y_true, y_pred: abs(y_true - y_pred).mean(axis=-1)],
    ],
)
def test_metrics_are_given_by_name_class_object_or_function(given):
    model = linear(SGD(0.0), metrics=given)
    error = X @ model.get_weights()[0] + model.get_weights()[1] - Y
    assert model.evaluate(X, Y, verbose=0)[1] == pytest.approx(np.mean(np.abs(error)), rel=1e-12)


def test_compile_takes_its_arguments_by_place():
    """In Keras's order; steps_per_execution says nothing of results."""
    histories = []
    for more in ((), ("mse", None, ["mae"], None, False, 3, True, True)):
        model = Sequential([Dense(2)], seed=0)
        model.compile(SGD(0.1), *(more or ("mse",)), **({} if more else {"metrics": ["mae"]}))
        histories.append(model.fit(X, Y, epochs=2, verbose=0).history)
    assert histories[0] == histories[1]
    assert model.jit_compile is True


def test_steps_may_be_run_eagerly_from_any_time_on():
    """As Keras's attribute says; before, it was one that nobody read."""
    model, twin = (Sequential([Dense(2)], seed=0) for _ in range(2))
    for each in (model, twin):
        each.compile(SGD(0.1), "mse")
    whole = twin.fit(X, Y, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert model.run_eagerly is False
    losses = []
    for eagerly in (False, True, False):
        model.run_eagerly = eagerly
        assert model.run_eagerly is eagerly
        losses += model.fit(X, Y, batch_size=4, verbose=0).history["loss"]
        if eagerly:
            with pytest.raises(NotReadyError):
                model.program("train")
        else:
            assert model.program("train") is not None
    assert losses == pytest.approx(whole, rel=1e-6)


def test_compiling_again_starts_the_optimizer_anew():
    model = deep()
    model.fit(X, Y, verbose=0)
    weights = model.get_weights()
    model.compile("adam", "mse")
    assert model.optimizer.iterations == 0
    twin = deep()
    twin.fit(X, Y, verbose=0)  # so that dropout goes on from the same place
    twin.compile("adam", "mse")
    twin.set_weights(weights)
    for one in (model, twin):
        one.fit(X, Y, verbose=0)
    assert_same_weights(model, twin)


def test_compiling_again_with_the_same_optimizer_keeps_its_slots():
    model, twin = deep(), deep()
    for one in (model, twin):
        one.fit(X, Y, verbose=0)
    model.compile(model.optimizer, "mse", metrics=["mae"])
    for one in (model, twin):
        one.fit(X, Y, verbose=0)
    assert_same_weights(model, twin)


# Freezing.


def test_frozen_layers_keep_their_weights_from_the_next_fit_on():
    """Before compile or after it; Keras asks for another compile, layerkit does not."""
    model = deep()
    model.layers[0].trainable = False
    model.compile("adam", "mse")
    first, last = model.layers[0].get_weights(), model.layers[2].get_weights()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], first[0])
    assert not np.array_equal(model.layers[2].get_weights()[0], last[0])
    model.layers[0].trainable, model.layers[2].trainable = True, False
    last = model.layers[2].get_weights()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.layers[2].get_weights()[0], last[0])
    assert not np.array_equal(model.layers[0].get_weights()[0], first[0])


def test_a_model_is_frozen_whole_and_thawed_whole():
    model, twin = deep(), deep()
    model.trainable = False
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    model.trainable = True
    assert [layer.trainable for layer in model.layers] == [True, True, True]
    twin.fit(X, Y, verbose=0)
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(before[0], model.get_weights()[0])


def test_what_was_frozen_goes_on_with_its_slots():
    """Momentum of the frozen layer waits: thawed, it moves as if the steps between had not been."""
    model = Sequential([Input((3,)), Dense(2, name="a"), Dense(2, name="b")], seed=0, dtype="float64")
    model.compile(SGD(0.1, momentum=0.9), "mse")
    model.fit(X, Y, epochs=2, batch_size=ROWS, verbose=0)
    twin = copy.deepcopy(model)
    after = [layer.get_weights() for layer in model.layers]
    model.layers[0].trainable = False
    model.fit(X, Y, epochs=3, batch_size=ROWS, verbose=0)
    model.layers[0].trainable = True
    model.layers[1].set_weights(after[1])
    model.fit(X, Y, batch_size=ROWS, verbose=0)
    twin.fit(X, Y, batch_size=ROWS, verbose=0)
    np.testing.assert_allclose(model.layers[0].get_weights()[0], twin.layers[0].get_weights()[0], rtol=1e-12)


def test_freezing_within_a_callback_acts_from_the_next_epoch():
    model = deep()
    kept = []

    def freeze(epoch, logs):
        model.layers[0].trainable = epoch != 1
        kept.append(model.layers[0].get_weights()[0])

    model.fit(X, Y, epochs=3, callbacks=callbacks.LambdaCallback(on_epoch_begin=freeze), verbose=0)
    assert not np.array_equal(kept[0], kept[1])
    np.testing.assert_array_equal(kept[1], kept[2])


# Moving.


def test_a_model_that_moves_between_fits_trains_as_one_that_stays():
    """Weights, slots, metric totals and the state of dropout move; the words of both backends differ by rounding."""
    moved, stayed = deep(), deep()
    histories = []
    for model in (moved, stayed):
        model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    for backend in ("strict", "numpy", "strict:1"):
        moved.to(backend)
        assert str(moved.xp) == str(layerkit.backend(backend))
        states = (*moved.variables, *moved.optimizer.variables, *(v for m in moved.metrics for v in m.variables))
        assert {str(variable.xp) for variable in states} == {str(moved.xp)}
        for model in (moved, stayed):
            histories.append(model.fit(X, Y, batch_size=4, epochs=2, verbose=0).history)
        np.testing.assert_allclose(histories[-2]["loss"], histories[-1]["loss"], rtol=1e-9)
        assert_same_weights(moved, stayed, rtol=1e-9)
        assert moved.evaluate(X, Y, verbose=0) == pytest.approx(stayed.evaluate(X, Y, verbose=0), rel=1e-9)
        np.testing.assert_allclose(moved.predict(X, verbose=0), stayed.predict(X, verbose=0), rtol=1e-9)


def test_a_model_may_move_within_a_fit():
    moved, stayed = deep(), deep()
    go = callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: moved.to("strict" if epoch % 2 else "numpy"))
    history = moved.fit(X, Y, batch_size=4, epochs=4, callbacks=go, verbose=0).history
    expected = stayed.fit(X, Y, batch_size=4, epochs=4, verbose=0).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-9)
    assert_same_weights(moved, stayed, rtol=1e-9)


def test_metric_totals_move_with_the_model():
    model = linear(metrics=["mae"])
    before = model.evaluate(X, Y, verbose=0)
    model.to("strict")
    assert [metric.result() for metric in model.metrics] == before


# Copies.


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_a_copy_of_a_trained_model_trains_on_as_the_original_does(copied):
    model = deep()
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    twin = copied(model)
    assert twin.optimizer is not model.optimizer
    assert twin.metrics_names == model.metrics_names
    for one in (model, twin):
        one.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert_same_weights(model, twin)
    assert model.history.history == twin.history.history
    twin.fit(X, Y, verbose=0)
    assert not np.array_equal(twin.get_weights()[0], model.get_weights()[0])


@pytest.mark.parametrize("state", ["unbuilt", "built", "compiled"])
def test_a_model_is_copied_in_any_state(state):
    layers = [Dense(4, "tanh"), Dropout(0.5), Dense(2)]
    model = Sequential([*([] if state == "unbuilt" else [Input((3,))]), *layers], seed=3)
    if state == "compiled":
        model.compile("adam", "mse")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert (twin.built, twin.compiled) == (model.built, model.compiled)
        np.testing.assert_array_equal(twin.predict(X, verbose=0), copy.deepcopy(model).predict(X, verbose=0))


# Models in models, shared layers.


def gradient_of(model: Sequential, x, y) -> list[np.ndarray]:
    """Return the gradients that training follows: of plain gradient descent, a step with rate 1."""
    before = model.get_weights()
    model.compile(SGD(1.0), "mse")
    model.train_on_batch(x, y)
    after = model.get_weights()
    model.set_weights(before)
    return [a - b for a, b in zip(before, after, strict=True)]


def assert_gradient_is_right(model: Sequential):
    """Compare each element with a central difference of the loss."""
    gradients = gradient_of(model, X, Y)
    weights = model.get_weights()
    for place, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            values = []
            for sign in (1, -1):
                changed = [w.copy() for w in weights]
                changed[place][index] += sign * 1e-6
                model.set_weights(changed)
                values.append(model.evaluate(X, Y, verbose=0))
            model.set_weights(weights)
            assert gradient[index] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-8)


def test_a_layer_that_stands_twice_receives_the_sum_of_its_gradients():
    shared = Dense(2, "tanh")
    model = Sequential([Input((3,)), Dense(2), shared, Sigmoid(), shared], seed=0, dtype="float64")
    assert len(model.weights) == 4
    assert_gradient_is_right(model)


def test_a_model_inside_a_model_is_trained_with_it():
    inner = Sequential([Dense(4, "tanh"), Dense(3)], name="inner")
    model = Sequential([Input((3,)), Dense(3, "tanh"), inner, Dense(2)], seed=0, dtype="float64")
    assert len(model.weights) == 8
    assert_gradient_is_right(model)


def test_two_inner_models_of_one_kind_begin_with_other_weights():
    """The path of a weight is part of its seed."""
    model = Sequential(
        [Input((3,)), Sequential([Dense(3)], name="a"), Sequential([Dense(3)], name="b")], seed=0, dtype="float64"
    )
    first, second = model.weights[0].numpy(), model.weights[2].numpy()
    assert [w.path for w in model.weights] == ["a/dense/kernel", "a/dense/bias", "b/dense/kernel", "b/dense/bias"]
    assert not np.array_equal(first, second)


def test_a_trained_model_becomes_part_of_another():
    """Its weights stay, and move on as part of the whole; frozen, they stay for good."""
    inner = Sequential([Input((3,)), Dense(3, "tanh")], seed=1, dtype="float64")
    weights = inner.get_weights()
    model = Sequential([Input((3,)), inner, Dense(2)], seed=0, dtype="float64")
    np.testing.assert_array_equal(inner.get_weights()[0], weights[0])
    assert_gradient_is_right(model)
    inner.trainable = False
    model.compile("adam", "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_array_equal(inner.get_weights()[0], weights[0])
    inner.trainable = True
    model.fit(X, Y, epochs=2, verbose=0)
    assert not np.array_equal(inner.get_weights()[0], weights[0])


def test_a_nested_dropout_is_active_in_training_alone():
    model = Sequential([Input((100,)), Sequential([Dropout(0.5), ReLU()])], seed=0)
    x = np.ones((1, 100))
    np.testing.assert_array_equal(model.predict(x, verbose=0), x)
    assert set(np.unique(model(x, training=True))) == {0.0, 2.0}


# Threads.


def test_predictions_from_eight_threads_are_those_of_one(xp):
    model = Sequential([Input((16,)), Dense(64, "relu"), Dropout(0.5), Dense(8, "softmax")], seed=0, backend=xp)
    inputs = np.random.default_rng(1).normal(size=(8, 40, 16))
    expected = [model.predict(x, batch_size=7, verbose=0) for x in inputs]
    found: dict[int, list[np.ndarray]] = {}
    start = threading.Barrier(8)

    def work(number):
        start.wait()
        found[number] = [model.predict(inputs[number], batch_size=7, verbose=0) for _ in range(10)]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(8):
        for predicted in found[number]:
            np.testing.assert_array_equal(predicted, expected[number])


# Stopping.


@pytest.mark.parametrize(("moment", "steps", "epochs"), [("on_train_batch_end", 1, 1), ("on_epoch_end", 3, 1)])
def test_a_callback_may_stop_training(moment, steps, epochs):
    model = linear()

    def stop(number, logs):
        model.stop_training = True

    history = model.fit(
        X, Y, batch_size=4, epochs=5, callbacks=callbacks.LambdaCallback(**{moment: stop}), verbose=0
    ).history
    assert model.optimizer.iterations == steps
    assert len(history["loss"]) == epochs
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert model.optimizer.iterations == steps + 6


def test_a_model_without_weights_to_train_runs_on_each_backend(xp):
    """The optimizer has nobody whose backend it could follow, but counts its steps."""
    frozen = Dense(3, trainable=False)
    for stack in ([ReLU()], [frozen]):
        model = Sequential(stack, seed=0, backend=xp)
        model.compile("adam", "mse")
        losses = model.fit(X, X, batch_size=5, epochs=3, verbose=0).history["loss"]
        assert losses[0] == pytest.approx(losses[-1], rel=1e-6)
        assert int(model.optimizer.iterations) == 6
