"""F scores: precision and recall in one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from layerkit.checks import check_fraction, check_name, check_positive
from layerkit.losses.loss import EPSILON
from layerkit.metrics.outputs import PerOutput
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class FBetaScore(PerOutput):
    """``(1 + β²) P R / (β² P + R)`` of precision P and recall R, for each class (van Rijsbergen, 1979).

    With ``P = TP / (TP + FP + 1e-7)`` and ``R = TP / (TP + FN + 1e-7)``; as in Keras, 1e-7 is added to each divisor.

    Args:
        average: None gives a vector, one score a class; "macro" their mean; "weighted" their mean by the number of
            samples of each class; "micro" one score of all classes counted together.
        beta: how many times as important recall is as precision; above 0.
        threshold: what a prediction must be above; by default a sample's greatest are taken.
        name: the key in History.
        dtype: see `Metric`.

    Shapes:
        y_true, y_pred: (batch, classes).

    Raises:
        ArgumentError: one of these is not as described.
    """

    totals: ClassVar[tuple[str, ...]] = ("true_positives", "false_positives", "false_negatives", "positives")

    def __init__(
        self,
        average: str | None = None,
        beta: float = 1.0,
        threshold: float | None = None,
        name: str | None = "fbeta_score",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        owner = type(self).__name__
        known = ("micro", "macro", "weighted")
        self.average = None if average is None else check_name(owner, known, average=average)
        self.beta = check_positive(owner, beta=beta)
        self.threshold = threshold
        if threshold is not None:
            self.threshold = check_positive(owner, threshold=check_fraction(owner, threshold=threshold))

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        y_true = xp.astype(self.same_shape(xp, y_true, y_pred), xp.float64)
        if self.threshold is None:
            chosen = (y_pred >= xp.max(y_pred, axis=-1, keepdims=True)) & (xp.abs(y_pred) > 1e-9)
        else:
            chosen = y_pred > self.threshold
        weights = self.weights(xp, y_pred, sample_weight)
        chosen = xp.astype(chosen, xp.float64) * weights
        true_chosen, true = chosen * y_true, weights * y_true
        for name, counted in zip(
            self.totals, (true_chosen, chosen - true_chosen, true - true_chosen, true), strict=True
        ):
            xp.assign_add(getattr(self, name), xp.sum(counted, axis=0))

    @override
    def compute(self, xp: Backend) -> Array:
        tp, fp, fn, positives = (getattr(self, name) for name in self.totals)
        if self.average == "micro":
            tp, fp, fn = map(xp.sum, (tp, fp, fn))
        precision, recall = tp / (tp + fp + EPSILON), tp / (tp + fn + EPSILON)
        square = self.beta**2
        scores = precision * recall / (square * precision + recall + EPSILON) * (1.0 + square)
        if self.average == "weighted":
            return xp.sum(scores * (positives / (xp.sum(positives) + EPSILON)))
        return xp.mean(scores) if self.average == "macro" else scores


class F1Score(FBetaScore):
    """``2 P R / (P + R)`` of precision P and recall R, for each class: `FBetaScore` with a beta of 1.

    Args:
        average: see `FBetaScore`.
        threshold: see `FBetaScore`.
        name: the key in History.
        dtype: see `Metric`.

    Shapes:
        y_true, y_pred: (batch, classes).
    """

    def __init__(
        self,
        average: str | None = None,
        threshold: float | None = None,
        name: str | None = "f1_score",
        dtype: str | None = None,
    ) -> None:
        super().__init__(average=average, threshold=threshold, name=name, dtype=dtype)
