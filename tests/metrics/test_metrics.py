"""What all metrics share: totals, weights, moves; those that Keras's table leaves out; and writing one's own."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import sklearn.metrics

import layerkit
from layerkit import Input, Sequential, losses, metrics
from layerkit.errors import ArgumentError, NotReadyError, ShapeError
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


@pytest.mark.parametrize("weights", [None, [1.0, 2.0, 0.5, 1.0]])
def test_a_class_that_a_loss_ignores_does_not_count_in_its_mean(xp, weights):
    labels, chances = np.array([0, 1, 2, 1]), RNG.dirichlet(np.ones(3), 4)
    metric = metrics.SparseCategoricalCrossentropy(ignore_class=1).to(xp)
    metric.update_state(xp.asarray(labels), xp.asarray(chances), sample_weight=weights)
    counts = np.where(labels == 1, 0.0, 1.0 if weights is None else weights)
    expected = np.average(-np.log(chances[np.arange(4), labels]), weights=counts)
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


def test_one_weight_may_be_that_of_all_samples(xp):
    """Weights of 2 count as 2 samples, as in Keras: the batch that follows counts half as much."""
    metric, total = Mean().to(xp), metrics.Sum().to(xp)
    for each in (metric, total):
        each.update_state(xp.asarray([1.0, 3.0]), sample_weight=2.0)
        each.update_state(xp.asarray([8.0]))
    assert (metric.result(), total.result()) == ((2 * 2 + 8) / (2 + 1), (1 + 3) * 2 + 8)
    count = metrics.TruePositives().to(xp)
    # Keras's own test: of four rows of two flags, two are true and found.
    found = xp.asarray([[0.9, 0.2], [0.8, 0.4], [0.6, 0.7], [0.1, 0.5]])
    assert count([[0, 1], [1, 0], [0, 0], [1, 1]], found, sample_weight=37.0) == 37.0


def test_a_weight_is_spread_along_an_axis_of_length_1(xp):
    metric, flags = Mean().to(xp), metrics.FalseNegatives(thresholds=[0.15, 0.5]).to(xp)
    values = np.array([[1.0, 3.0], [5.0, 7.0]])
    assert metric(xp.asarray(values), sample_weight=[[1.0], [3.0]]) == np.average([2.0, 6.0], weights=[1.0, 3.0])
    found = xp.asarray([[0.9, 0.2], [0.8, 0.4], [0.6, 0.7], [0.1, 0.5]])
    # Missed below 0.15 is 0.1, of weight 4; below 0.5 also 0.2, of weight 3, and 0.5 itself, of weight 4. Keras has it.
    flags.update_state([[0, 1], [1, 0], [0, 0], [1, 1]], found, sample_weight=[[3.0], [5.0], [7.0], [4.0]])
    assert flags.result().tolist() == [4.0, 11.0]


@pytest.mark.parametrize(("metric", "weights"), [(Mean(), [2.0]), (Mean(), [1.0, 2.0, 3.0]), (metrics.Sum(), [2.0])])
def test_weights_of_other_rows_are_refused(metric, weights):
    """One weight in a list is that of one row, and is not repeated."""
    with pytest.raises(ShapeError, match=r"there must be one weight for each sample, or for each value, \(2,\)\. "):
        metric.update_state([1.0, 3.0], sample_weight=weights)
    assert metric.result() == 0.0


@pytest.mark.parametrize("call", [MeanSquaredError.__call__, MeanSquaredError.update_state])
def test_arrays_may_be_given_by_name(call):
    metric, mean = MeanSquaredError(), Mean()
    call(metric, y_pred=Y_PRED, y_true=Y_TRUE, sample_weight=WEIGHTS)
    call(metric, Y_TRUE, y_pred=Y_PRED)
    both = np.mean((Y_TRUE - Y_PRED) ** 2, axis=-1)
    assert metric.result() == pytest.approx(np.average([*both, *both], weights=[*WEIGHTS, *np.ones(6)]), rel=1e-14)
    mean.update_state(values=[1.0, 2.0])
    assert mean.result() == 1.5


@pytest.mark.parametrize(
    ("arrays", "named", "received"),
    [
        ((1.0,), {}, "1 arrays"),
        ((1.0, 2.0, 3.0, 4.0), {}, "4 arrays"),
        ((1.0,), {"y_pred": 2.0, "y_fred": 3.0}, "y_fred="),
        ((1.0, 2.0), {"y_true": 2.0}, "y_true="),
    ],
)
def test_arrays_of_other_names_or_numbers_are_refused(arrays, named, received):
    metric = MeanSquaredError()
    with pytest.raises(ArgumentError) as caught:
        metric.update_state(*arrays, **named)
    assert str(caught.value) == f"mean_squared_error: update_state takes y_true, y_pred. Received: {received}"
    assert metric.result() == 0.0


@pytest.mark.parametrize("restored", [lambda m: type(m).from_config(m.get_config()), copy.deepcopy])
def test_a_function_may_be_given_more(xp, restored):
    """What Keras's wrapper hands on to its function."""

    def beyond(y_true, y_pred, margin):
        return (abs(y_true - y_pred) > margin).mean(axis=-1)

    errors = np.abs(Y_TRUE - Y_PRED)
    huber = np.where(errors <= 0.5, errors**2 / 2, 0.5 * (errors - 0.25))
    for fn, options, expected in (
        (losses.huber, {"delta": 0.5}, huber.mean()),
        (beyond, {"margin": 0.5}, (errors > 0.5).mean()),
        (metrics.binary_accuracy, {"threshold": 0.25}, ((Y_PRED > 0.25) == (Y_TRUE > 0)).mean()),
    ):
        metric = restored(MeanMetricWrapper(fn, "own", **options)).to("numpy" if fn is beyond else xp)
        assert metric(Y_TRUE > 0 if fn is metrics.binary_accuracy else Y_TRUE, Y_PRED) == pytest.approx(expected)
        assert metric.name == "own"


def test_a_loss_is_not_given_what_it_does_not_take():
    with pytest.raises(ArgumentError) as caught:
        MeanMetricWrapper(losses.huber, delt=0.5)
    assert str(caught.value) == (
        "Huber: an argument must be one of the constructor's. Received: delt=0.5. Did you mean 'delta'?"
    )


@pytest.mark.parametrize("method", ["interpolation", "majoring", "minoring"])
def test_the_ways_to_sum_an_area_may_be_capitalized(method):
    """Keras takes both."""
    assert metrics.AUC(summation_method=method.capitalize()).summation_method == method


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


# Several numbers, thresholds, and data of all kinds.


CHANCES, TRUTH = RNG.integers(0, 101, size=(40, 3)) / 100, RNG.integers(0, 2, size=(40, 3))
EXACT = [n / 100 for n in range(101)]  # every value that a chance has


def fed(metric, y_true, y_pred, xp, sizes=(7, 20, 13), weights=None):
    """Return the result of a metric after batches of these sizes."""
    metric.to(xp)
    start = 0
    for size in sizes:
        rows = slice(start, start + size)
        weight = None if weights is None else xp.asarray(weights[rows])
        metric.update_state(xp.asarray(y_true[rows]), xp.asarray(y_pred[rows]), sample_weight=weight)
        start += size
    return metric.result()


def test_the_area_under_a_curve_of_all_thresholds_is_that_of_scikit_learn(xp):
    weights = RNG.uniform(0.5, 2.0, 40)
    expected = sklearn.metrics.roc_auc_score(TRUTH[:, 0], CHANCES[:, 0], sample_weight=weights)
    found = fed(metrics.AUC(thresholds=EXACT), TRUTH[:, 0], CHANCES[:, 0], xp, weights=weights)
    assert found == pytest.approx(expected, rel=1e-13)
    several = sklearn.metrics.roc_auc_score(TRUTH, CHANCES, average="macro")
    assert fed(metrics.AUC(thresholds=EXACT, multi_label=True), TRUTH, CHANCES, xp) == pytest.approx(several, rel=1e-13)


def test_scores_are_those_of_scikit_learn(xp):
    chosen = CHANCES > 0.5
    for average in (None, "micro", "macro", "weighted"):
        expected = sklearn.metrics.fbeta_score(TRUTH, chosen, beta=2.0, average=average)
        found = fed(metrics.FBetaScore(average, beta=2.0, threshold=0.5), TRUTH, CHANCES, xp)
        np.testing.assert_allclose(found, expected, rtol=1e-6)  # Keras adds 1e-7 to each divisor
    for aggregation, multioutput in (
        (None, "raw_values"),
        *[(name, name) for name in ("uniform_average", "variance_weighted_average")],
    ):
        name = "variance_weighted" if multioutput == "variance_weighted_average" else multioutput
        expected = sklearn.metrics.r2_score(TRUTH, CHANCES, multioutput=name)
        found = fed(metrics.R2Score(aggregation), TRUTH.astype(float), CHANCES, xp)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
    labels, guesses = RNG.integers(0, 4, 40), RNG.integers(0, 4, 40)
    expected = sklearn.metrics.jaccard_score(labels, guesses, average="macro")
    assert fed(metrics.MeanIoU(4), labels, guesses, xp) == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("name", ["TruePositives", "FalsePositives", "TrueNegatives", "FalseNegatives"])
def test_counts_at_thresholds_in_any_order(xp, name):
    thresholds = [0.9, 0.1, 0.5, 0.31]
    found = fed(getattr(metrics, name)(thresholds=thresholds), TRUTH, CHANCES, xp)
    positive = np.array([threshold < CHANCES for threshold in thresholds])
    predicted = positive if name.endswith("Positives") else ~positive
    truth = (name in ("TruePositives", "FalseNegatives")) == TRUTH
    np.testing.assert_array_equal(found, (predicted & truth).sum(axis=(1, 2)))


def test_weights_of_overlap_are_not_cut_to_integers(xp):
    metric = metrics.MeanIoU(2).to(xp)
    metric.update_state([0, 0, 1, 1], [0, 1, 0, 1], sample_weight=[0.3, 0.3, 0.3, 0.1])
    assert metric.result() == pytest.approx((0.3 / 0.9 + 0.1 / 0.7) / 2, rel=1e-14)


def test_what_does_not_vary(xp):
    """Keras has NaN in each of these."""
    constant, varied = np.ones((4, 1)), np.array([[1.0], [2.0], [3.0], [4.0]])
    assert fed(metrics.R2Score(), constant, constant, xp, (4,)) == 1.0
    assert fed(metrics.R2Score(), constant, varied, xp, (4,)) == 0.0
    assert fed(metrics.PearsonCorrelation(axis=0), constant.T, varied.T, xp, (1,)) == 0.0


def test_the_number_of_outputs_is_known_from_the_first_batch_on(xp):
    metric = metrics.F1Score().to(xp)
    with pytest.raises(NotReadyError) as unready:
        metric.result()
    assert str(unready.value) == (
        "f1_score: how many numbers there are is known from the first batch on. Received: no batch yet. "
        "Call update_state first."
    )
    metric.update_state(xp.asarray(TRUTH), xp.asarray(CHANCES))
    assert metric.result().shape == (3,)
    metric.reset_state()
    np.testing.assert_array_equal(metric.result(), np.zeros(3))
    with pytest.raises(ShapeError) as caught:
        metric.update_state(xp.asarray(TRUTH[:, :2]), xp.asarray(CHANCES[:, :2]))
    assert str(caught.value) == "f1_score: predictions must have shape (batch, 3). Received: shape (40, 2)"


def test_a_metric_of_several_numbers_has_them_in_history(xp):
    model = Sequential([Input((3,)), Linear()], backend=xp, dtype="float64")
    model.compile(loss="mse", metrics=[metrics.Recall(thresholds=[0.2, 0.8]), metrics.AUC(multi_label=True)])
    found = model.evaluate(CHANCES, TRUTH, batch_size=16, verbose=0, return_dict=True)
    expected = [(threshold < CHANCES)[TRUTH == 1].mean() for threshold in (0.2, 0.8)]
    np.testing.assert_allclose(found["recall"], expected, rtol=1e-14)
    assert isinstance(found["auc"], float)
    again = model.evaluate(CHANCES, TRUTH, batch_size=40, verbose=0, return_dict=True)
    np.testing.assert_array_equal(again["recall"], found["recall"])


@pytest.mark.parametrize(
    ("thresholds", "shown"), [([0.0, 1.0], "[1.0000 0.0000]"), ([0.0] * 5, "[1.0000 1.0000 1.0000 1.0000 …]")]
)
def test_several_numbers_are_shown_on_one_line(capsys, thresholds, shown):
    model = Sequential([Input((1,)), Linear()])
    model.compile(loss="mse", metrics=[metrics.Recall(thresholds=thresholds)])
    model.evaluate([[0.5], [1.0]], [[1.0], [1.0]], verbose=2)
    assert capsys.readouterr().out.rstrip().endswith(f" - recall: {shown}")


@pytest.mark.parametrize(
    "name",
    [
        "binary_accuracy",
        "categorical_accuracy",
        "sparse_categorical_accuracy",
        "top_k_categorical_accuracy",
        "sparse_top_k_categorical_accuracy",
        "pearson_correlation",
        "concordance_correlation",
    ],
)
def test_a_function_has_the_values_of_which_the_metric_is_the_mean(xp, name):
    scores = RNG.normal(size=(5, 6)).astype(np.float32)
    targets = RNG.integers(0, 6, 5) if name.startswith("sparse") else np.eye(6, dtype=np.float32)[RNG.integers(0, 6, 5)]
    values = getattr(metrics, name)(xp.asarray(targets), xp.asarray(scores))
    assert (xp.owns(values), values.dtype, tuple(values.shape)[:1]) == (True, xp.float32, (5,))
    metric = metrics.get(name).to(xp)
    metric.update_state(xp.asarray(targets), xp.asarray(scores))
    assert metric.result() == pytest.approx(xp.to_numpy(values).mean(dtype=np.float64), rel=1e-6)
    assert type(metrics.get(getattr(metrics, name))) is type(metric)


def test_a_metric_that_needs_arguments_has_to_be_made():
    with pytest.raises(ArgumentError) as caught:
        metrics.get("one_hot_io_u")
    assert str(caught.value) == (
        "metric: OneHotIoU cannot be made without num_classes and target_class_ids. Received: the name "
        "'one_hot_io_u' alone. Make an object of it: OneHotIoU(num_classes=…, target_class_ids=…)."
    )


@pytest.mark.parametrize("name", [name for name in metrics.__all__ if name.endswith(("Accuracy", "Error"))])
def test_names_are_those_of_keras(name):
    cls = getattr(metrics, name)
    assert type(metrics.get(name)) is cls
    assert type(metrics.get(cls)) is cls
    made = cls(name="mine")
    assert metrics.get(made) is made
    assert made.name == "mine"
    assert type(made).from_config(made.get_config()).name == "mine"


def test_the_number_of_thresholds_counts_the_outermost():
    """As Keras has it."""
    assert metrics.AUC(num_thresholds=7).num_thresholds == 7
    assert metrics.AUC(thresholds=[0.3, 0.5]).num_thresholds == 4
