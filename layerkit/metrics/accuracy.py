"""Accuracies: the share of samples whose class is predicted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.checks import check_count, check_flag, check_fraction
from layerkit.errors import ArgumentError
from layerkit.metrics.mean import MeanMetric
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class MatchMetric(MeanMetric):
    """Base of accuracies: the mean of where ``matches(xp, y_true, y_pred)`` is true."""

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        self.add(xp, self.values(xp, y_true, y_pred), sample_weight)

    def values(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return, for each sample, 1 where the prediction is right, and 0 elsewhere."""
        return xp.astype(self.matches(xp, y_true, y_pred), xp.float64)

    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return, for each sample, whether the prediction is right."""
        raise ArgumentError(
            f"{type(self).__name__}: an accuracy must define matches(self, xp, y_true, y_pred). Received: none."
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


class TopKCategoricalAccuracy(MatchMetric):
    """How often fewer than `k` of a sample's predictions exceed that where its one-hot target has the 1.

    Args:
        k: at least 1.
        name: the key in History.
        dtype: see `Metric`.

    Shapes:
        y_true, y_pred: (batch, ..., classes).

    Raises:
        ArgumentError: `k` is below 1.
    """

    def __init__(self, k: int = 5, name: str | None = "top_k_categorical_accuracy", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.k = check_count("TopKCategoricalAccuracy", 1, k=k)

    @override
    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return _among_first(xp, xp.argmax(self.same_shape(xp, y_true, y_pred), axis=-1), y_pred, self.k)


class SparseTopKCategoricalAccuracy(MatchMetric):
    """How often fewer than `k` of a sample's predictions exceed that of the class that y_true names.

    Args:
        k: at least 1.
        name: the key in History.
        dtype: see `Metric`.
        from_sorted_ids: whether y_pred holds classes, the likeliest first, in place of a number for each class.

    Shapes:
        y_true: (batch, ...) or (batch, ..., 1). y_pred: (batch, ..., classes).

    Raises:
        ArgumentError: `k` is below 1.
    """

    def __init__(
        self,
        k: int = 5,
        name: str | None = "sparse_top_k_categorical_accuracy",
        dtype: str | None = None,
        from_sorted_ids: bool = False,
    ) -> None:
        super().__init__(name, dtype)
        self.k = check_count("SparseTopKCategoricalAccuracy", 1, k=k)
        self.from_sorted_ids = check_flag("SparseTopKCategoricalAccuracy", from_sorted_ids=from_sorted_ids)

    @override
    def matches(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        label = self.same_shape(xp, y_true, y_pred[..., 0])
        if self.from_sorted_ids:
            return xp.any(y_pred[..., : self.k] == xp.expand_dims(xp.astype(label, y_pred.dtype), axis=-1), axis=-1)
        return _among_first(xp, xp.astype(label, xp.int64), y_pred, self.k)


def _among_first(xp: Backend, label: Array, y_pred: Array, k: int) -> Array:
    of_label = xp.take_along_axis(y_pred, xp.expand_dims(label, axis=-1), axis=-1)
    return xp.sum(xp.astype(y_pred > of_label, xp.int64), axis=-1) < k
