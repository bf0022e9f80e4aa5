"""What all metrics share: totals, weights, moves; those that Keras's table leaves out; and writing one's own."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential, losses, metrics
from layerkit.layers import Linear
from layerkit.metrics import Accuracy, BinaryAccuracy, Mean, MeanMetricWrapper, MeanSquaredError, Metric

RNG = np.random.default_rng(0)
Y_TRUE, Y_PRED = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 4))
WEIGHTS = RNG.uniform(0.5, 2.0, size=6)


class LargestError(Metric):
    """The largest error of all samples: a metric of a user, whose total is no sum."""

    def __init__(self, name=None):
        super().__init__(name)
        self.largest = self.add_variable("largest")

    def update(self, xp, y_true, y_pred, sample_weight=None):
        error = xp.max(xp.abs(xp.astype(y_true, y_pred.dtype) - y_pred))
        xp.assign(self.largest, xp.maximum(self.largest, xp.astype(error, xp.float64)))

    def compute(self, xp):
        return self.largest


def test_accuracy_is_how_often_predictions_equal_targets(xp):
    metric = Accuracy().to(xp)
    metric.update_state(xp.asarray([[1], [2], [3], [4]]), xp.asarray([[0], [2], [3], [4]]))
    assert metric.result() == 0.75
    metric.update_state([0.0, 1.0], [[0.0], [0.0]], sample_weight=[3.0, 1.0])
    assert metric.result() == (3 + 3) / (4 + 4)


@pytest.mark.parametrize("function", [losses.MeanSquaredError(), losses.mean_squared_error])
def test_the_mean_of_a_loss_is_a_metric(xp, function):
    metric = MeanMetricWrapper(function).to(xp)
    metric.update_state(Y_TRUE[:4], Y_PRED[:4])
    metric.update_state(Y_TRUE[4:], Y_PRED[4:])
    assert metric.name == "mean_squared_error"
    assert metric.result() == pytest.approx(np.mean((Y_TRUE - Y_PRED) ** 2), rel=1e-14)


def test_the_mean_of_a_function_is_a_metric():
    def largest_error(y_true, y_pred):
        return abs(y_true - y_pred).max(axis=-1)

    metric = MeanMetricWrapper(largest_error)
    metric.update_state(Y_TRUE, Y_PRED, sample_weight=WEIGHTS)
    assert metric.name == "largest_error"
    expected = np.average(np.abs(Y_TRUE - Y_PRED).max(axis=-1), weights=WEIGHTS)
    assert metric.result() == pytest.approx(expected, rel=1e-14)


def test_a_metric_of_ones_own_is_measured_over_each_epoch(xp):
    model = Sequential([Input((4,)), Linear()], backend=xp, dtype="float64")
    model.compile(loss="mse", metrics=[LargestError()])
    errors = np.abs(Y_TRUE - Y_PRED)
    for rows in (slice(0, 6), slice(0, 3)):
        found = model.evaluate(Y_PRED[rows], Y_TRUE[rows], batch_size=2, verbose=0, return_dict=True)
        assert found["largest_error"] == pytest.approx(errors[rows].max(), rel=1e-15)


@pytest.mark.parametrize(
    "make", [lambda w: w, lambda w: w[:, None], lambda w: w.tolist(), lambda w: w.astype("float32")]
)
def test_weights_are_one_for_each_sample(xp, make):
    metric = MeanSquaredError().to(xp)
    metric.update_state(Y_TRUE, Y_PRED, make(WEIGHTS))
    expected = np.average(np.mean((Y_TRUE - Y_PRED) ** 2, axis=-1), weights=WEIGHTS)
    assert metric.result() == pytest.approx(expected, rel=1e-6)


def test_weights_may_be_one_for_each_value():
    values, weights = RNG.normal(size=(6, 4)), RNG.uniform(size=(6, 4))
    metric = Mean()
    metric.update_state(values, sample_weight=weights)
    assert metric.result() == pytest.approx(np.average(values, weights=weights), rel=1e-14)


def test_totals_lose_nothing_over_many_batches():
    """0.1 in float32 is 0.100000001490116…; a total in float32 would be off by a thousandth."""
    metric = Mean()
    for _ in range(20_000):
        metric.update(metric.xp, np.full((1,), 0.1, np.float32))
    assert metric.result() == pytest.approx(float(np.float32(0.1)), rel=1e-12)


def test_a_call_adds_and_returns_the_number_so_far():
    metric = Mean()
    assert metric([1.0, 3.0]) == 2.0
    assert metric([5.0]) == 3.0
    metric.reset_state()
    assert metric.result() == 0.0
    assert metric([7.0], sample_weight=[2.0]) == 7.0


def test_totals_move_to_where_the_arrays_are(xp):
    metric = BinaryAccuracy()
    metric.update_state([1.0], [0.9])
    metric.update_state(xp.asarray([[1.0], [0.0]]), xp.asarray([[0.2], [0.1]]))
    assert metric.xp is xp
    assert metric.result() == pytest.approx(2 / 3)
    assert metric.to("numpy").result() == pytest.approx(2 / 3)


def test_a_copy_counts_by_itself():
    metric = Mean()
    metric([1.0])
    twin = copy.deepcopy(metric)
    twin([3.0])
    assert (metric.result(), twin.result()) == (1.0, 2.0)


def test_a_metric_is_made_on_the_current_backend():
    with layerkit.use_backend("strict"):
        metric = Mean()
    assert str(metric.xp) == "strict:0"
    assert metric([1.0, 2.0]) == 1.5


@pytest.mark.parametrize("name", [name for name in metrics.__all__ if name.endswith(("Accuracy", "Error"))])
def test_names_are_those_of_keras(name):
    cls = getattr(metrics, name)
    assert type(metrics.get(name)) is cls
    assert type(metrics.get(cls)) is cls
    made = cls(name="mine")
    assert metrics.get(made) is made
    assert made.name == "mine"
    assert type(made).from_config(made.get_config()).name == "mine"
