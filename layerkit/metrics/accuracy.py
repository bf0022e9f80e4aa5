"""Accuracies: the share of samples whose class is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from layerkit.checks import check_fraction
from layerkit.errors import ArgumentError, ShapeError
from layerkit.metrics.mean import MeanMetric

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class MatchMetric(MeanMetric):
    """Base of accuracies: the mean of where ``matches(xp, y_true, y_pred)`` is true."""

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        self.add(xp, xp.astype(self.matches(xp, y_true, y_pred), xp.float64), sample_weight)

    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return, for each sample, whether the prediction is right."""
        raise ArgumentError(
            f"{type(self).__name__}: an accuracy must define matches(self, xp, y_true, y_pred). Received: none."
        )

    def same_shape(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return y_true in the shape of y_pred, from which it may differ by a last axis of length 1."""
        shape, wanted = tuple(y_true.shape), tuple(y_pred.shape)
        if shape == wanted:
            return y_true
        if shape == (*wanted, 1) or (*shape, 1) == wanted:
            return xp.reshape(y_true, wanted)
        raise ShapeError(
            f"{self.name}: targets must have the shape of the predictions, {wanted}. Received: shape {shape}"
        )


class Accuracy(MatchMetric):
    """How often predictions equal targets.

    Shapes:
        y_true, y_pred: (batch, ...).
    """

    def __init__(self, name: str | None = "accuracy", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    @override
    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return xp.astype(self.same_shape(xp, y_true, y_pred), y_pred.dtype) == y_pred


class BinaryAccuracy(MatchMetric):
    """How often ``y_pred > threshold`` is what y_true, 0 or 1, says.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        threshold: from 0 to 1.

    Shapes:
        y_true, y_pred: (batch, ...).

    Raises:
        ArgumentError: `threshold` is not from 0 to 1.
    """

    def __init__(self, name: str | None = "binary_accuracy", dtype: str | None = None, threshold: float = 0.5) -> None:
        super().__init__(name, dtype)
        self.threshold = check_fraction("BinaryAccuracy", threshold=threshold)

    @override
    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        y_true = self.same_shape(xp, y_true, y_pred)
        return y_true == xp.astype(y_pred > self.threshold, y_true.dtype)


class CategoricalAccuracy(MatchMetric):
    """How often the largest of a sample's predictions stands where its one-hot target has the 1.

    Shapes:
        y_true, y_pred: (batch, ..., classes).
    """

    def __init__(self, name: str | None = "categorical_accuracy", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    @override
    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return xp.argmax(self.same_shape(xp, y_true, y_pred), axis=-1) == xp.argmax(y_pred, axis=-1)


class SparseCategoricalAccuracy(MatchMetric):
    """How often the largest of a sample's predictions stands at the index that y_true names.

    Shapes:
        y_true: (batch, ...) or (batch, ..., 1). y_pred: (batch, ..., classes).
    """

    def __init__(self, name: str | None = "sparse_categorical_accuracy", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    @override
    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        predicted = xp.argmax(y_pred, axis=-1)
        return xp.astype(self.same_shape(xp, y_true, predicted), predicted.dtype) == predicted
