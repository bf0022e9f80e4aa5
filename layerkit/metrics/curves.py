"""Metrics of all thresholds at once: the area under a curve, and the best of one share where another is held."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.checks import check_count, check_flag, check_fraction, check_name, check_number
from layerkit.errors import ArgumentError, ShapeError
from layerkit.losses.loss import EPSILON
from layerkit.metrics.confusion import ConfusionMetric, as_thresholds
from layerkit.metrics.mean import ratio
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend


def _between(count: int) -> list[float]:
    """Return `count` thresholds that divide 0 to 1 evenly, without 0 and 1."""
    return [(n + 1) / (count + 1) for n in range(count)]


class AUC(ConfusionMetric):
    """The area under a curve, from counts at thresholds: the more of these, the closer to that of all predictions.

    "ROC" is the share of positives that are found over that of negatives which are mistaken for them; "PR" is
    precision over recall; "PRGAIN" is precision over recall as gains on always predicting the positive class (Flach
    and Kull, NeurIPS 2015). Between two thresholds, "interpolation" takes a straight line, but for "PR" the curve of
    Davis and Goadrich (ICML 2006); "majoring" takes the greater of both heights, "minoring" the smaller.

    Args:
        num_thresholds: at least 2. They divide 0 to 1 evenly, and the outermost lie just outside.
        curve: "ROC", "PR" or "PRGAIN".
        summation_method: "interpolation", "majoring" or "minoring".
        name: the key in History.
        dtype: see `Metric`.
        thresholds: thresholds from 0 to 1 in place of those.
        multi_label: whether each element of the last axis is a question of its own, and the result the mean of its
            areas, rather than all elements being answers to one.
        num_labels: the length of the last axis, with `multi_label`; by default that of the first batch.
        label_weights: how much each element of the last axis counts.
        from_logits: whether y_pred is the input of a sigmoid, rather than probabilities.

    Shapes:
        y_true, y_pred: (batch, ...); with `multi_label` (batch, labels).

    Raises:
        ArgumentError: one of these is not as described.
    """

    def __init__(
        self,
        num_thresholds: int = 200,
        curve: str = "ROC",
        summation_method: str = "interpolation",
        name: str | None = None,
        dtype: str | None = None,
        thresholds: Sequence[float] | None = None,
        multi_label: bool = False,
        num_labels: int | None = None,
        label_weights: Sequence[float] | None = None,
        from_logits: bool = False,
    ) -> None:
        if thresholds is None:
            listed = _between(check_count("AUC", 2, num_thresholds=num_thresholds) - 2)
        else:
            listed = sorted(as_thresholds("AUC", thresholds))
        self.curve = check_name("AUC", ("ROC", "PR", "PRGAIN", "roc", "pr", "prgain"), curve=curve).upper()
        methods = ("interpolation", "majoring", "minoring")
        small = {method.capitalize(): method for method in methods}.get(str(summation_method), summation_method)
        self.summation_method = check_name("AUC", methods, summation_method=small)
        self.multi_label = check_flag("AUC", multi_label=multi_label)
        self.from_logits = check_flag("AUC", from_logits=from_logits)
        self.label_weights = None
        if label_weights is not None:
            self.label_weights = [check_number("AUC", label_weights=weight) for weight in label_weights]
        self.num_labels: int | None = None
        if num_labels is not None and not self.multi_label:
            raise ArgumentError(
                f"AUC: num_labels is for multi_label=True. Received: multi_label=False, num_labels={num_labels}"
            )
        super().__init__([-EPSILON, *listed, 1.0 + EPSILON], name=name, dtype=dtype)
        self.built = not self.multi_label
        if num_labels is not None:
            self.build((None, check_count("AUC", 1, num_labels=num_labels)))

    @property
    def num_thresholds(self) -> int:
        """How many thresholds there are, with the two outermost."""
        return len(self.thresholds)

    @override
    def make_totals(self, shape: tuple[int, ...]) -> None:
        if not self.multi_label:
            super().make_totals(shape)
        elif self.num_labels is not None:  # called by build
            super().make_totals((*shape, self.num_labels))

    @override
    def build(self, *shapes: tuple[int | None, ...]) -> None:
        if not self.multi_label:
            return
        shape = shapes[-1]
        if len(shape) != 2 or shape[1] is None or self.num_labels not in (None, shape[1]):
            labels = "labels" if self.num_labels is None else str(self.num_labels)
            raise ShapeError(
                f"{self.name}: with multi_label, predictions must have shape (batch, {labels}). Received: shape {shape}"
            )
        if self.num_labels is None:
            self.num_labels = shape[1]
            self.built = True
            self.make_totals((len(self.thresholds),))

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        super().update(xp, y_true, xp.sigmoid(y_pred) if self.from_logits else y_pred, sample_weight)

    @override
    def weights(self, xp: Backend, y_pred: Array, sample_weight: Array | None) -> Array:
        weights = super().weights(xp, y_pred, sample_weight)
        if self.label_weights is None or self.multi_label:
            return weights
        return weights * xp.asarray(self.label_weights, "float64")

    @override
    def above(self, xp: Backend, weights: Array, exceeded: Array) -> tuple[Array, Array]:
        if not self.multi_label:
            return super().above(xp, weights, exceeded)
        labels = weights.shape[1]
        places = xp.reshape(exceeded * labels + xp.arange(labels), (-1,))
        rows = len(self.thresholds) + 1
        by_number = xp.reshape(xp.scatter_add(places, xp.reshape(weights, (-1,)), rows * labels), (rows, labels))
        summed = xp.cumulative_sum(xp.flip(by_number[1:, :], axis=0), axis=0)
        return xp.flip(summed, axis=0), xp.sum(weights, axis=0)

    @override
    def compute(self, xp: Backend) -> Array:
        is_davis = self.curve == "PR" and self.summation_method == "interpolation"
        areas = xp.sum(self._davis(xp) if is_davis else self._strips(xp), axis=0)
        if not self.multi_label:
            return areas
        if self.label_weights is None:
            return xp.mean(areas)
        weights = xp.asarray(self.label_weights, "float64")
        return ratio(xp, xp.sum(areas * weights), xp.sum(weights))

    def _strips(self, xp: Backend) -> Array:
        """Return the area between each threshold and the next."""
        x, y = self._curve(xp)
        left, right = y[:-1, ...], y[1:, ...]
        if self.summation_method == "interpolation":
            height = (left + right) / 2.0
        else:
            height = (xp.maximum if self.summation_method == "majoring" else xp.minimum)(left, right)
        return (x[:-1, ...] - x[1:, ...]) * height

    def _curve(self, xp: Backend) -> tuple[Array, Array]:
        """Return the curve's points, one for each threshold: x and y."""
        tp, fp, tn, fn = (getattr(self, name) for name in self.totals)
        if self.curve == "ROC":
            return ratio(xp, fp, fp + tn), ratio(xp, tp, tp + fn)
        if self.curve == "PR":
            return ratio(xp, tp, tp + fn), ratio(xp, tp, tp + fp)
        odds, found = ratio(xp, tp + fn, tn + fp), tp > 0.0
        recall_gain = xp.where(found, 1.0 - odds * ratio(xp, fn, tp), 0.0)
        precision_gain = xp.where(found, 1.0 - odds * ratio(xp, fp, tp), 1.0)
        return xp.maximum(recall_gain, 0.0), precision_gain

    def _davis(self, xp: Backend) -> Array:
        """Return the area under precision over recall between each threshold and the next.

        Between two points, true positives grow in proportion to all that is predicted positive, p = TP + FP:
        TP = a + b p. The area is ``∫ TP / p dTP = b (ΔTP + a log(p₁ / p₂))``, divided by the number of positives.
        """
        tp, fn, p = self.true_positives, self.false_negatives, self.true_positives + self.false_positives
        more, fewer = p[:-1, ...], p[1:, ...]
        grown = tp[:-1, ...] - tp[1:, ...]
        slope = ratio(xp, grown, xp.maximum(more - fewer, 0.0))
        start = tp[1:, ...] - slope * fewer
        both = (more > 0.0) & (fewer > 0.0)
        logarithm = xp.log(xp.where(both, ratio(xp, more, fewer), 1.0))
        return ratio(xp, slope * (grown + start * logarithm), tp[1:, ...] + fn[1:, ...])


class Trade(ConfusionMetric):
    """Base of metrics that hold one share and find the best of another, over thresholds that divide 0 to 1 evenly.

    Args:
        least: the least that the held share may be.
        num_thresholds: at least 1; one is 0.5.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.
    """

    def __init__(
        self,
        least: float,
        num_thresholds: int,
        class_id: int | None,
        name: str | None,
        dtype: str | None,
    ) -> None:
        owner = type(self).__name__
        self.least = least
        count = check_count(owner, 1, num_thresholds=num_thresholds)
        thresholds = [0.5] if count == 1 else [0.0, *_between(count - 2), 1.0]
        super().__init__(thresholds, class_id=class_id, name=name, dtype=dtype)

    def best(self, xp: Backend, held: Array, wanted: Array) -> Array:
        """Return the greatest of what is wanted, among thresholds at which what is held is enough; 0 at none."""
        return xp.max(xp.where(held >= self.least, wanted, 0.0))

    def sensitivity(self, xp: Backend) -> Array:
        """Return TP / (TP + FN), which is recall too, at each threshold."""
        return ratio(xp, self.true_positives, self.true_positives + self.false_negatives)

    def specificity(self, xp: Backend) -> Array:
        """Return TN / (TN + FP) at each threshold."""
        return ratio(xp, self.true_negatives, self.true_negatives + self.false_positives)

    def precision(self, xp: Backend) -> Array:
        """Return TP / (TP + FP) at each threshold."""
        return ratio(xp, self.true_positives, self.true_positives + self.false_positives)


class SensitivityAtSpecificity(Trade):
    """The greatest sensitivity, TP / (TP + FN), at a threshold where the specificity, TN / (TN + FP), is enough.

    Args:
        specificity: the least specificity, from 0 to 1.
        num_thresholds: how many thresholds divide 0 to 1 evenly; one is 0.5.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.

    Raises:
        ArgumentError: `specificity` is not from 0 to 1, or `num_thresholds` below 1.
    """

    def __init__(
        self,
        specificity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        least = check_fraction("SensitivityAtSpecificity", specificity=specificity)
        super().__init__(least, num_thresholds, class_id, name, dtype)

    @override
    def compute(self, xp: Backend) -> Array:
        return self.best(xp, self.specificity(xp), self.sensitivity(xp))


class SpecificityAtSensitivity(Trade):
    """The greatest specificity, TN / (TN + FP), at a threshold where the sensitivity, TP / (TP + FN), is enough.

    Args:
        sensitivity: the least sensitivity, from 0 to 1.
        num_thresholds: how many thresholds divide 0 to 1 evenly; one is 0.5.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.

    Raises:
        ArgumentError: `sensitivity` is not from 0 to 1, or `num_thresholds` below 1.
    """

    def __init__(
        self,
        sensitivity: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        least = check_fraction("SpecificityAtSensitivity", sensitivity=sensitivity)
        super().__init__(least, num_thresholds, class_id, name, dtype)

    @override
    def compute(self, xp: Backend) -> Array:
        return self.best(xp, self.sensitivity(xp), self.specificity(xp))


class PrecisionAtRecall(Trade):
    """The greatest precision, TP / (TP + FP), at a threshold where the recall, TP / (TP + FN), is enough.

    Args:
        recall: the least recall, from 0 to 1.
        num_thresholds: how many thresholds divide 0 to 1 evenly; one is 0.5.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.

    Raises:
        ArgumentError: `recall` is not from 0 to 1, or `num_thresholds` below 1.
    """

    def __init__(
        self,
        recall: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        least = check_fraction("PrecisionAtRecall", recall=recall)
        super().__init__(least, num_thresholds, class_id, name, dtype)

    @override
    def compute(self, xp: Backend) -> Array:
        return self.best(xp, self.sensitivity(xp), self.precision(xp))


class RecallAtPrecision(Trade):
    """The greatest recall, TP / (TP + FN), at a threshold where the precision, TP / (TP + FP), is enough.

    Args:
        precision: the least precision, from 0 to 1.
        num_thresholds: how many thresholds divide 0 to 1 evenly; one is 0.5.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.

    Raises:
        ArgumentError: `precision` is not from 0 to 1, or `num_thresholds` below 1.
    """

    def __init__(
        self,
        precision: float,
        num_thresholds: int = 200,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        least = check_fraction("RecallAtPrecision", precision=precision)
        super().__init__(least, num_thresholds, class_id, name, dtype)

    @override
    def compute(self, xp: Backend) -> Array:
        return self.best(xp, self.precision(xp), self.sensitivity(xp))
