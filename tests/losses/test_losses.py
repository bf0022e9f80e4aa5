"""Every loss keeps its contract, on every backend; logits of any size are safe; targets are never broadcast."""

from __future__ import annotations

import inspect
import itertools
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest

from layerkit import Sequential, losses
from layerkit.dtype_policies import DTypePolicy
from layerkit.errors import ArgumentError, ContractError, GradientMismatch, MixedBackendsError, ShapeError
from layerkit.layers import Dense
from layerkit.losses import (
    CTC,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    CategoricalHinge,
    Circle,
    CosineSimilarity,
    Dice,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    Loss,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SparseCategoricalCrossentropy,
    SquaredHinge,
    Tversky,
)
from layerkit.optimizers import SGD
from layerkit.testing import check_loss
from layerkit.xp import backend

RANDOM = np.random.default_rng(0)


def numbers(*shape):
    return RANDOM.standard_normal(shape), RANDOM.standard_normal(shape)


def binary(*shape, logits=False):
    targets = RANDOM.integers(0, 2, shape).astype(float)
    return targets, RANDOM.standard_normal(shape) if logits else RANDOM.uniform(0.05, 0.95, shape)


def soft(*shape, logits=False):
    """Targets that are themselves probabilities, on the last axis."""
    targets = RANDOM.dirichlet(np.ones(shape[-1]), shape[:-1])
    return targets, RANDOM.standard_normal(shape) if logits else RANDOM.uniform(0.05, 0.95, shape)


def labels(*shape, logits=False):
    targets = RANDOM.integers(0, shape[-1], shape[:-1])
    return targets, RANDOM.standard_normal(shape) if logits else RANDOM.uniform(0.05, 0.95, shape)


def one_hot(*shape):
    return np.eye(shape[-1])[RANDOM.integers(0, shape[-1], shape[:-1])], RANDOM.standard_normal(shape)


def signs(*shape):
    return RANDOM.choice([-1.0, 1.0], shape), RANDOM.standard_normal(shape)


def counts(*shape):
    return RANDOM.integers(1, 6, shape).astype(float), RANDOM.uniform(0.2, 5.0, shape)


def embeddings(*shape):
    """Rows of length 1, each with the number of its class."""
    rows = RANDOM.standard_normal((np.prod(shape[:-1]), 4))
    return RANDOM.integers(5, 8, len(rows)), rows / np.linalg.norm(rows, axis=1, keepdims=True)


def sequences(*shape):
    """Logits of six steps, and up to three labels, 0 where there are fewer."""
    rows = np.prod(shape[:-1])
    targets = RANDOM.integers(1, shape[-1] + 1, (rows, 3)) * (np.arange(3) < RANDOM.integers(0, 4, (rows, 1)))
    return targets, RANDOM.standard_normal((rows, 6, shape[-1] + 1))


# A new loss joins this table: what makes it, given a reduction, and its targets and predictions.
SHAPES = [(7, 3), (1, 3), (4, 1), (3, 2, 4)]
TABLE = {
    "mse": (MeanSquaredError, numbers, {}),
    "mae": (MeanAbsoluteError, numbers, {}),
    "huber": (Huber, numbers, {}),
    "narrow huber": (Huber, numbers, {"delta": 0.3}),
    "bce": (BinaryCrossentropy, binary, {}),
    "smoothed bce": (BinaryCrossentropy, binary, {"label_smoothing": 0.2}),
    "bce of logits": (BinaryCrossentropy, binary, {"from_logits": True}),
    "smoothed bce of logits": (BinaryCrossentropy, binary, {"from_logits": True, "label_smoothing": 0.2}),
    "cce": (CategoricalCrossentropy, soft, {}),
    "smoothed cce": (CategoricalCrossentropy, soft, {"label_smoothing": 0.2}),
    "cce of logits": (CategoricalCrossentropy, soft, {"from_logits": True}),
    "smoothed cce of logits": (CategoricalCrossentropy, soft, {"from_logits": True, "label_smoothing": 0.2}),
    "scce": (SparseCategoricalCrossentropy, labels, {}),
    "scce of logits": (SparseCategoricalCrossentropy, labels, {"from_logits": True}),
    "scce that ignores": (SparseCategoricalCrossentropy, labels, {"ignore_class": 1}),
    "scce of logits that ignores": (SparseCategoricalCrossentropy, labels, {"from_logits": True, "ignore_class": 0}),
    "mape": (MeanAbsolutePercentageError, numbers, {}),
    "msle": (MeanSquaredLogarithmicError, numbers, {}),
    "log cosh": (LogCosh, numbers, {}),
    "hinge": (Hinge, signs, {}),
    "hinge of 0 and 1": (Hinge, binary, {}),
    "squared hinge": (SquaredHinge, signs, {}),
    "categorical hinge": (CategoricalHinge, one_hot, {}),
    "kld": (KLDivergence, soft, {}),
    "poisson": (Poisson, counts, {}),
    "cosine": (CosineSimilarity, numbers, {}),
    "circle": (Circle, embeddings, {"gamma": 4.0}),
    "circle with itself": (Circle, embeddings, {"gamma": 4.0, "remove_diagonal": False}),
    "dice": (Dice, binary, {}),
    "dice of each row": (Dice, binary, {"axis": -1}),
    "tversky": (Tversky, binary, {"alpha": 0.3, "beta": 0.7}),
    "tversky of each row": (Tversky, binary, {"axis": -1}),
    "binary focal": (BinaryFocalCrossentropy, binary, {}),
    "balanced binary focal": (BinaryFocalCrossentropy, binary, {"apply_class_balancing": True, "label_smoothing": 0.2}),
    "binary focal of logits": (BinaryFocalCrossentropy, binary, {"from_logits": True, "gamma": 1.5}),
    "focal": (CategoricalFocalCrossentropy, soft, {}),
    "smoothed focal": (CategoricalFocalCrossentropy, soft, {"label_smoothing": 0.2, "gamma": 3.0}),
    "focal of logits": (CategoricalFocalCrossentropy, soft, {"from_logits": True}),
    "generalised crossentropy": (CategoricalGeneralizedCrossEntropy, labels, {"q": 0.6}),
    "ctc": (CTC, sequences, {}),
}


def sample(make, options, *shape):
    return make(*shape, **({"logits": True} if options.get("from_logits") else {}))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", TABLE)
def test_every_loss_keeps_its_contract(xp, name, shape):
    cls, make, options = TABLE[name]
    check_loss(cls(**options), *sample(make, options, *shape), xp=xp)


@pytest.mark.parametrize("reduction", ["sum", "mean", "mean_with_sample_weight", "none", None])
@pytest.mark.parametrize("name", TABLE)
def test_every_reduction_has_its_derivative(xp, name, reduction):
    cls, make, options = TABLE[name]
    check_loss(cls(**options, reduction=reduction), *sample(make, options, 7, 3), xp=xp)


@pytest.mark.parametrize("cls", [BinaryCrossentropy, CategoricalCrossentropy])
@pytest.mark.parametrize("from_logits", [False, True])
def test_classes_may_lie_on_another_axis(xp, cls, from_logits):
    targets, predictions = binary(5, 3, 2, logits=from_logits)
    check_loss(cls(axis=1, from_logits=from_logits), targets, predictions, xp=xp)
    moved = [np.moveaxis(array, 1, -1) for array in (targets, predictions)]
    found = cls(axis=1, from_logits=from_logits)(xp.asarray(targets), xp.asarray(predictions))
    expected = cls(from_logits=from_logits)(*map(xp.asarray, moved))
    np.testing.assert_allclose(xp.to_numpy(found), xp.to_numpy(expected), rtol=1e-14)


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row[1] not in (embeddings, sequences)])
def test_where_predictions_are_exact_the_check_steps_over_the_kink(xp, name):
    cls, make, options = TABLE[name]
    targets, predictions = sample(make, options, 7, 3)
    if make in (soft, labels):  # all the probability on the likeliest class
        predictions = np.eye(3)[targets if targets.ndim == 1 else np.argmax(targets, axis=-1)]
    else:
        predictions = targets
    check_loss(cls(**options), targets, predictions, xp=xp)


def test_the_table_is_complete():
    public = {cls for name in losses.__all__ if inspect.isclass(cls := getattr(losses, name))}
    wanted = {cls for cls in public if issubclass(cls, Loss)} - {Loss}
    assert wanted == {cls for cls, _, _ in TABLE.values()}


# The judge is judged.


class Wrong(MeanSquaredError):
    def backward(self, xp, saved, dvalues):
        return super().backward(xp, saved, dvalues) * 1.001


class WrongReduction(MeanSquaredError):
    def reduce(self, xp, y_true, values, sample_weight=None):
        total, dvalues = super().reduce(xp, y_true, values, sample_weight)
        return total, dvalues if sample_weight is None else dvalues * 0.999


class Keeps(MeanSquaredError):
    def forward(self, xp, y_true, y_pred):
        self.error = y_pred - y_true
        return super().forward(xp, y_true, y_pred)


class Widens(MeanSquaredError):
    def forward(self, xp, y_true, y_pred):
        values, saved = super().forward(xp, y_true, y_pred)
        return xp.astype(values, xp.float64), saved


class Unexpanded(MeanSquaredError):
    def backward(self, xp, saved, dvalues):
        return super().backward(xp, saved, dvalues)[:, 0]


class Reduced(MeanSquaredError):
    def forward(self, xp, y_true, y_pred):
        values, saved = super().forward(xp, y_true, y_pred)
        return xp.mean(values, keepdims=True), saved


class Mutates(MeanSquaredError):
    def forward(self, xp, y_true, y_pred):
        y_pred -= y_true
        return xp.mean(y_pred * y_pred, axis=-1), y_pred


class SavedOnClass(MeanSquaredError):
    def forward(self, xp, y_true, y_pred):
        values, SavedOnClass.saved = super().forward(xp, y_true, y_pred)
        return values, None

    def backward(self, xp, saved, dvalues):
        return super().backward(xp, SavedOnClass.saved, dvalues)


@pytest.mark.parametrize(
    ("loss", "error", "sentence"),
    [
        (Wrong(), GradientMismatch, r"^Wrong\.backward: gradient of y_pred must be the derivative of forward\."),
        (WrongReduction(), GradientMismatch, r"^WrongReduction\.backward: .* \(weighted, float64 on "),
        (Keeps(), ContractError, r"^Keeps\.forward: nothing may be kept on self .* a change of self\.error\."),
        (Widens(), ContractError, r"^Widens\.forward: values must keep the dtype float32\. Received: .*float64$"),
        (Unexpanded(), ContractError, r"^Unexpanded\.backward: gradient of y_pred must have shape \(7, 3\)\. "
         r"Received: shape \(7,\)$"),
        (Reduced(), ContractError, r"^Reduced\.forward: there must be a value for each row of y_pred, \(7, 3\)\. "
         r"Received: values of shape \(1,\)$"),
        (SavedOnClass(), ContractError, r"^SavedOnClass\.backward: gradient of y_pred: it must not depend on "),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Loss) else None,
)  # fmt: skip
def test_a_planted_mistake_is_found(xp, loss, error, sentence):
    with pytest.raises(error, match=sentence):
        check_loss(loss, *numbers(7, 3), xp=xp)


def test_writing_to_y_pred_is_found():
    with pytest.raises(
        ContractError, match=r"^Mutates: y_pred must not be written to\. Received: a change of 21 of 21 "
    ):
        check_loss(Mutates(), *numbers(7, 3), xp="numpy")


# Stability.


def exact_binary(logit, target):
    p = 1 / (1 + (-logit).exp())
    q = 1 / (1 + logit.exp())
    return -(target * p.ln() + (1 - target) * q.ln())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binary_crossentropy_of_any_logit(xp, dtype):
    logits = np.array([-1e4, -100.0, -30.0, -1.0, 0.0, 1.0, 30.0, 100.0, 1e4], dtype)
    for target in (0.0, 1.0, 0.25):
        with localcontext(prec=60, Emin=-(10**6)):
            expected = [float(exact_binary(Decimal(float(z)), Decimal(target))) for z in logits]
        loss = BinaryCrossentropy(from_logits=True)
        y_true, y_pred = xp.asarray(np.full((9, 1), target, dtype)), xp.asarray(logits.reshape(9, 1))
        values, saved = loss.forward(xp, y_true, y_pred)
        tolerance = 4 * float(np.finfo(dtype).eps)
        np.testing.assert_allclose(xp.to_numpy(values), expected, rtol=tolerance, atol=float(np.finfo(dtype).tiny))
        gradient = xp.to_numpy(loss.backward(xp, saved, xp.ones((9,), dtype=values.dtype)))
        assert np.isfinite(gradient).all()
        assert (np.abs(gradient) <= 1).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls", [CategoricalCrossentropy, SparseCategoricalCrossentropy])
def test_categorical_crossentropy_of_any_logits(xp, cls, dtype):
    logits = np.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [1e4, 1e4, 1e4], [0.0, 0.0, 1e4]], dtype)
    classes = np.array([0, 1, 2, 1, 0])
    # The largest logit less the logit of the truth, and log 3 where all are equal.
    expected = [0.0, 2e4, np.log(3.0), np.log(3.0), 1e4]
    targets = np.eye(3, dtype=dtype)[classes] if cls is CategoricalCrossentropy else classes
    loss = cls(from_logits=True)
    values, saved = loss.forward(xp, xp.asarray(targets), xp.asarray(logits))
    np.testing.assert_allclose(xp.to_numpy(values), expected, rtol=1e-6)
    gradient = xp.to_numpy(loss.backward(xp, saved, xp.ones((5,), dtype=values.dtype)))
    third = 1 / 3
    slopes = [[0, 0, 0], [1, -1, 0], [third, third, third - 1], [third, third - 1, third], [-1, 0, 1]]
    np.testing.assert_allclose(gradient, slopes, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["bce", "cce", "scce"])
def test_probabilities_of_0_and_1_are_safe(xp, name, dtype):
    cls, _, _ = TABLE[name]
    predictions = np.array([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], dtype)
    targets = np.array([0, 0, 1]) if cls is SparseCategoricalCrossentropy else np.eye(2, dtype=dtype)[[0, 0, 1]]
    loss = cls()
    values, saved = loss.forward(xp, xp.asarray(targets), xp.asarray(predictions))
    # Keras keeps probabilities 1e-7 away from 0 and 1.
    expected = [-np.log(1e-7), 0.0, 0.0]
    np.testing.assert_allclose(xp.to_numpy(values), expected, rtol=1e-2, atol=3e-7)
    assert np.isfinite(xp.to_numpy(loss.backward(xp, saved, xp.ones((3,), dtype=values.dtype)))).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_log_cosh_of_any_error(xp, dtype):
    errors = np.array([1e-18, 1e-9, 1e-4, 0.5, 0.999, 1.0, 1.001, 5.0, 100.0, 1e4], dtype)
    errors = np.concatenate([errors, -errors])
    with localcontext(prec=80, Emin=-(10**6), Emax=10**6):
        exact = [Decimal(float(e)) for e in errors]
        expected = [float(((e.exp() + (-e).exp()) / 2).ln()) for e in exact]
    values, saved = LogCosh().forward(
        xp, xp.zeros((20, 1), dtype=getattr(xp, dtype)), xp.asarray(errors.reshape(20, 1))
    )
    np.testing.assert_allclose(xp.to_numpy(values), expected, rtol=8 * float(np.finfo(dtype).eps), atol=1e-37)
    gradient = xp.to_numpy(LogCosh().backward(xp, saved, xp.ones((20,), dtype=values.dtype)))
    np.testing.assert_allclose(gradient[:, 0], np.tanh(errors), rtol=4 * float(np.finfo(dtype).eps))


def test_a_vector_of_zeros_has_no_direction(xp):
    loss, zero = CosineSimilarity(reduction="none"), xp.asarray([[0.0, 0.0], [3.0, 4.0]])
    np.testing.assert_array_equal(xp.to_numpy(loss(xp.asarray([[1.0, 2.0], [0.0, 0.0]]), zero)), [0.0, 0.0])
    _, saved = loss.forward(xp, xp.asarray([[1.0, 2.0], [0.0, 0.0]]), zero)
    assert np.isfinite(xp.to_numpy(loss.backward(xp, saved, xp.ones((2,))))).all()


def test_no_chance_for_the_truth_has_a_finite_derivative(xp):
    loss = CategoricalGeneralizedCrossEntropy(q=0.5)
    values, saved = loss.forward(xp, xp.asarray([1]), xp.asarray([[1.0, 0.0]]))
    assert xp.to_numpy(values).tolist() == [2.0]
    gradient = xp.to_numpy(loss.backward(xp, saved, xp.ones((1,))))
    np.testing.assert_allclose(gradient, [[0.0, -(1e-7**-0.5)]], rtol=1e-12)


# Relations.


@pytest.mark.parametrize(
    ("focal", "plain", "make"),
    [
        (BinaryFocalCrossentropy, BinaryCrossentropy, binary),
        (CategoricalFocalCrossentropy, CategoricalCrossentropy, soft),
    ],
)
@pytest.mark.parametrize("from_logits", [False, True])
def test_a_focal_loss_that_does_not_focus_is_crossentropy(xp, focal, plain, make, from_logits):
    targets, predictions = (xp.asarray(array) for array in make(7, 3, logits=from_logits))
    alpha = {"alpha": 1.0} if focal is CategoricalFocalCrossentropy else {}
    found = focal(gamma=0.0, from_logits=from_logits, **alpha)(targets, predictions)
    expected = plain(from_logits=from_logits)(targets, predictions)
    np.testing.assert_allclose(xp.to_numpy(found), xp.to_numpy(expected), rtol=1e-13)


def test_dice_is_tversky_of_equal_weights(xp):
    targets, predictions = (xp.asarray(array) for array in binary(7, 3))
    for axis in (None, -1):
        found = xp.to_numpy(Dice(axis=axis)(targets, predictions))
        np.testing.assert_allclose(found, xp.to_numpy(Tversky(axis=axis)(targets, predictions)), rtol=1e-6)


@pytest.mark.parametrize("cls", [Hinge, SquaredHinge])
def test_hinges_take_0_for_minus_1_where_a_batch_holds_nothing_else(xp, cls):
    predictions = xp.asarray([[0.5, -2.0], [1.5, 0.25]])
    signs = xp.to_numpy(cls()(xp.asarray([[1.0, -1.0], [-1.0, 1.0]]), predictions))
    assert xp.to_numpy(cls()(xp.asarray([[1, 0], [0, 1]]), predictions)) == signs
    mixed = xp.to_numpy(cls()(xp.asarray([[1.0, 0.0], [-1.0, 1.0]]), predictions))
    assert mixed != signs  # here 0 is 0


def test_rows_of_a_class_of_their_own_do_not_count_in_the_circle_loss(xp):
    _, rows = embeddings(6, 1)
    labels = np.array([4, 7, 7, 7, 9, 9])
    values = xp.to_numpy(Circle(gamma=4.0, reduction="none")(xp.asarray(labels), xp.asarray(rows)))
    assert values[0] == 0.0
    assert (values[1:] > 0.0).all()
    mean = float(xp.to_numpy(Circle(gamma=4.0)(xp.asarray(labels), xp.asarray(rows))))
    assert mean == pytest.approx(values.sum() / 5, rel=1e-14)


def ways(labels, steps, classes):
    """Every sequence of classes that becomes these labels once what repeats and then the blanks are left out."""
    for way in itertools.product(range(classes), repeat=steps):
        merged = [label for label, _ in itertools.groupby(way)]
        if [label for label in merged if label] == list(labels):
            yield way


@pytest.mark.parametrize("labels", [(1, 2), (1, 1), (2,), (), (1, 2, 1)])
def test_ctc_is_the_sum_over_every_way(xp, labels):
    logits = RANDOM.standard_normal((4, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    chance = sum(np.prod(p[np.arange(4), way]) for way in ways(labels, 4, 3))
    target = np.array([[*labels, 0, 0, 0][:3]])
    found = CTC()(xp.asarray(target), xp.asarray(logits[None]))
    assert float(xp.to_numpy(found)) == pytest.approx(-np.log(chance), rel=1e-13)


# Calling.


def test_a_loss_takes_arrays_of_any_backend_and_lists(xp):
    expected = (1 + 4 + 0 + 9) / 4
    for y_true, y_pred in (
        ([[1.0], [2.0], [3.0], [4.0]], [[0.0], [4.0], [3.0], [1.0]]),
        ([[1], [2], [3], [4]], [[0], [4], [3], [1]]),
    ):
        assert float(np.asarray(MeanSquaredError()(y_true, y_pred))) == expected
        on_device = MeanSquaredError()(xp.asarray(y_true), xp.asarray(y_pred))
        assert xp.owns(on_device)
        assert float(xp.to_numpy(on_device)) == expected
        np.testing.assert_array_equal(xp.to_numpy(losses.mean_squared_error(xp.asarray(y_true), y_pred)), [1, 4, 0, 9])


def test_arrays_of_two_backends_are_refused():
    ours, theirs = backend("numpy").asarray([[1.0]]), backend("strict").asarray([[1.0]])
    with pytest.raises(MixedBackendsError, match=r"Received: arrays of numpy and strict:0\."):
        MeanSquaredError()(ours, theirs)


@pytest.mark.parametrize(
    ("loss", "true_shape", "pred_shape"),
    [
        (MeanSquaredError(), (4, 3), (4, 1)),
        (MeanSquaredError(), (4, 1), (4, 3)),
        (MeanSquaredError(), (4,), (4, 3)),
        (MeanSquaredError(), (3,), (4, 3)),
        (MeanSquaredError(), (5, 3), (4, 3)),
        (MeanSquaredError(), (1, 3), (4, 3)),
        (MeanSquaredError(), (4, 3, 1), (4, 1, 3)),
        (BinaryCrossentropy(), (4,), (4, 2)),
        (CategoricalCrossentropy(), (4,), (4, 3)),
        (CategoricalCrossentropy(), (4, 1), (4, 3)),
        (SparseCategoricalCrossentropy(), (4, 3), (4, 3)),
        (SparseCategoricalCrossentropy(), (3,), (4, 3)),
    ],
)
def test_targets_are_never_broadcast(xp, loss, true_shape, pred_shape):
    kind = xp.int64 if loss.labels else xp.float64
    with pytest.raises(ShapeError, match=rf"^{loss.name}: .*Received: shape "):
        loss(xp.zeros(true_shape, dtype=kind), xp.ones(pred_shape))


def test_an_axis_of_one_may_be_left_out_of_targets(xp):
    y_pred = xp.asarray([[1.0], [2.0], [3.0]])
    for y_true in ([0.0, 0.0, 0.0], [[0.0], [0.0], [0.0]]):
        assert float(xp.to_numpy(MeanSquaredError()(xp.asarray(y_true), y_pred))) == pytest.approx(14 / 3, rel=1e-15)
    labels_column = xp.asarray(np.array([[0], [1]]))
    probabilities = xp.asarray([[0.5, 0.5], [0.75, 0.25]])
    found = SparseCategoricalCrossentropy()(labels_column, probabilities)
    assert float(xp.to_numpy(found)) == pytest.approx((np.log(2) + np.log(4)) / 2, rel=1e-12)


def test_a_sample_weight_is_one_a_row_or_one_a_value(xp):
    y_true, y_pred = xp.zeros((2, 3, 1)), xp.ones((2, 3, 1))
    for weights, expected in (
        ([1.0, 3.0], 2.0),
        ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], 3.5),
        ([[[1.0], [2.0], [3.0]], [[4.0], [5.0], [6.0]]], 3.5),
        ([[1.0], [3.0]], 2.0),  # as Keras spreads it
        ([[[1.0]], [[3.0]]], 2.0),
        ([[[[1.0]]], [[[3.0]]]], 2.0),
        (2.5, 2.5),
        (0.0, 0.0),
    ):
        assert float(xp.to_numpy(MeanSquaredError()(y_true, y_pred, xp.asarray(weights)))) == expected
    with pytest.raises(ShapeError) as caught:
        MeanSquaredError()(y_true, y_pred, xp.asarray([1.0, 2.0, 3.0]))
    assert str(caught.value) == (
        "sample_weight: there must be one weight for each sample, or for each value, (2, 3). Received: shape (3,)"
    )


def test_one_weight_in_a_list_is_not_that_of_several_rows(xp):
    with pytest.raises(ShapeError):
        MeanSquaredError()(xp.zeros((2, 1)), xp.ones((2, 1)), xp.asarray([2.0]))


def test_a_loss_of_a_whole_batch_takes_no_weights(xp):
    targets, predictions = binary(4, 3)
    with pytest.raises(ShapeError) as caught:
        Dice()(xp.asarray(targets), xp.asarray(predictions), xp.asarray([1.0, 2.0, 3.0, 4.0]))
    assert str(caught.value) == (
        "sample_weight: a loss with one value for a whole batch takes none. Received: shape (4,). "
        "Give the loss the axes of a sample: axis=(1, 2, 3)."
    )


def test_names_find_their_classes():
    for name, cls in {
        "mse": MeanSquaredError, "MSE": MeanSquaredError, "mean_squared_error": MeanSquaredError,
        "mae": MeanAbsoluteError, "mean_absolute_error": MeanAbsoluteError, "huber": Huber, "bce": BinaryCrossentropy,
        "binary_crossentropy": BinaryCrossentropy, "categorical_crossentropy": CategoricalCrossentropy,
        "sparse_categorical_crossentropy": SparseCategoricalCrossentropy, "MeanSquaredError": MeanSquaredError,
        "MAPE": MeanAbsolutePercentageError, "msle": MeanSquaredLogarithmicError, "kld": KLDivergence,
        "kl_divergence": KLDivergence, "log_cosh": LogCosh, "ctc": CTC, "cosine_similarity": CosineSimilarity,
    }.items():  # fmt: skip
        assert type(losses.get(name)) is cls
    assert type(losses.get(losses.huber)) is Huber
    assert type(losses.get(Huber)) is Huber
    with pytest.raises(
        ArgumentError, match=re.escape("Received: 'mean_square_error'. Did you mean 'mean_squared_error'?")
    ):
        losses.get("mean_square_error")


@pytest.mark.parametrize("cls", losses.NAMES.classes, ids=lambda cls: cls.__name__)
def test_reduction_name_and_dtype_may_be_given_by_place(cls):
    """In the order that Keras has, behind what a loss takes by itself."""
    order = list(inspect.signature(cls).parameters)
    assert [name for name in order if name in ("reduction", "name", "dtype")] == ["reduction", "name", "dtype"]
    assert order[-1] == "dtype"
    loss = cls(reduction="sum", name="own", dtype="float64")
    assert (loss.reduction, loss.name, loss.dtype) == ("sum", "own", "float64")


def test_the_base_takes_its_name_first_as_keras_has_it():
    loss = Loss("own", "sum", "float32")
    assert (loss.name, loss.reduction, loss.dtype) == ("own", "sum", "float32")


@pytest.mark.parametrize(
    ("dtype", "kept", "computed"),
    [
        (None, None, "float32"),
        ("float32", "float32", "float32"),
        (np.float64, "float64", "float64"),
        (DTypePolicy("mixed_float16"), "float32", "float32"),
    ],
)
def test_a_dtype_says_in_which_a_loss_is_computed(xp, dtype, kept, computed):
    loss = MeanSquaredError(dtype=dtype)
    assert loss.dtype == kept
    y_true, y_pred = xp.zeros((2, 1), dtype=xp.float32), xp.full((2, 1), 0.1, dtype=xp.float32)
    for found in (loss(y_true, y_pred), loss.values(xp, y_true, y_pred)):
        assert found.dtype == getattr(xp, computed)
    exact = np.float32(0.1).astype(computed) ** 2  # 0.1 has 24 bits in float32: its square needs more
    assert float(xp.to_numpy(loss(y_true, y_pred))) == exact


@pytest.mark.parametrize(("width", "loss"), [(1, MeanSquaredError), (3, SparseCategoricalCrossentropy)])
def test_a_model_of_another_dtype_trains_with_it(width, loss):
    """A loss in float64 of a model in float32, and the reverse, lose only what float32 does."""
    x, y = RANDOM.uniform(size=(20, 4)), RANDOM.integers(0, 3, 20)
    found = []
    for of_model, of_loss in (("float32", None), ("float32", "float64"), ("float64", "float32")):
        model = Sequential([Dense(width, "softmax" if width > 1 else None)], seed=0, dtype=of_model)
        model.compile(SGD(0.1), loss(dtype=of_loss))
        history = model.fit(x, y, epochs=3, batch_size=5, verbose=0)
        found.append([*history.history["loss"], model.evaluate(x, y, verbose=0), model.test_on_batch(x, y)])
    assert found[1] == pytest.approx(found[0], rel=1e-5)
    assert found[2] == pytest.approx(found[0], rel=1e-5)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Huber(delta=0.0), r"^Huber: delta must be .*above 0\. Received: delta=0\.0$"),
        (lambda: BinaryCrossentropy(label_smoothing=1.5), r"^BinaryCrossentropy: label_smoothing must be .* Received: "
         r"label_smoothing=1\.5$"),
        (lambda: MeanSquaredError(reduction="avg"), r"^MeanSquaredError: reduction must be one of .*Received: "
         r"(reduction=)?'avg'"),
        (lambda: MeanSquaredError(dtype="int8"), r"^MeanSquaredError: dtype must be one of .* Received: dtype='int8'$"),
        (lambda: SparseCategoricalCrossentropy(axis=1), r"^SparseCategoricalCrossentropy: .* Received: axis=1$"),
        (lambda: losses.mean_squared_error([1.0]), r"^mean_squared_error: the arguments are y_true, y_pred\. "
         r"Received: no y_pred\.$"),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()
