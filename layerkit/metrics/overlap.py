"""How much of what is predicted and of what is there overlaps, class by class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import check_count, check_flag, check_number, check_one_axis, is_a, is_integer, shown
from layerkit.errors import ArgumentError
from layerkit.metrics.mean import ratio
from layerkit.metrics.metric import Metric
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend


class IoU(Metric):
    """The mean over some classes of intersection over union, ``TP / (TP + FP + FN)`` (Jaccard, 1901).

    Counted in a confusion matrix of all batches. A class that neither occurs nor is predicted is left out of the mean.
    Weights count as they are given, where Keras cuts them to integers unless its `dtype` is a float's.

    Args:
        num_classes: the number of classes, at least 1. What is out of range does not count.
        target_class_ids: the indices of the classes of which the mean is taken.
        name: the key in History.
        dtype: see `Metric`.
        ignore_class: an index; where targets hold it, nothing counts.
        sparse_y_true: whether targets are indices, rather than one-hot.
        sparse_y_pred: whether predictions are indices, rather than a number for each class.
        axis: the axis of classes where they are no indices.

    Shapes:
        y_true, y_pred: (batch, ...), with an axis of classes where they are no indices.

    Raises:
        ArgumentError: `num_classes` is below 1, or a class is none of them.
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name, dtype)
        owner = type(self).__name__
        self.num_classes = check_count(owner, 1, num_classes=num_classes)
        self.target_class_ids = _classes(owner, target_class_ids, num_classes)
        self.ignore_class = None if ignore_class is None else check_number(owner, ignore_class=ignore_class)
        self.sparse_y_true = check_flag(owner, sparse_y_true=sparse_y_true)
        self.sparse_y_pred = check_flag(owner, sparse_y_pred=sparse_y_pred)
        self.axis = check_one_axis(owner, axis=axis)
        self.matrix = self.add_variable("total_confusion_matrix", (num_classes, num_classes))

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        y_true = xp.astype(y_true if self.sparse_y_true else xp.argmax(y_true, axis=self.axis), xp.int64)
        y_pred = xp.astype(y_pred if self.sparse_y_pred else xp.argmax(y_pred, axis=self.axis), xp.int64)
        y_true, classes = self.same_shape(xp, y_true, y_pred), self.num_classes
        counts = (y_true >= 0) & (y_true < classes) & (y_pred >= 0) & (y_pred < classes)
        if self.ignore_class is not None:
            counts = counts & (y_true != self.ignore_class)
        weights = xp.where(counts, self.weights(xp, y_pred, sample_weight), 0.0)
        places = xp.where(counts, y_true * classes + y_pred, 0)
        counted = xp.scatter_add(xp.reshape(places, (-1,)), xp.reshape(weights, (-1,)), classes * classes)
        xp.assign_add(self.matrix, xp.reshape(counted, (classes, classes)))

    @override
    def compute(self, xp: Backend) -> Array:
        both = xp.linalg.diagonal(self.matrix)
        union = xp.sum(self.matrix, axis=0) + xp.sum(self.matrix, axis=1) - both
        chosen = xp.asarray(self.target_class_ids)
        both, union = xp.take(both, chosen, axis=0), xp.take(union, chosen, axis=0)
        occur = xp.sum(xp.astype(union > 0.0, xp.float64))
        return ratio(xp, xp.sum(ratio(xp, both, union)), occur)


def _classes(owner: str, target_class_ids: Any, num_classes: int) -> list[int]:
    """Return indices of classes, checked."""
    right = is_a(target_class_ids, list, tuple, range) and len(target_class_ids) > 0
    if not right or not all(is_integer(index) and 0 <= index < num_classes for index in target_class_ids):
        raise ArgumentError(
            f"{owner}: target_class_ids must be indices of classes, from 0 to {num_classes - 1}. "
            f"Received: target_class_ids={shown(target_class_ids)}"
        )
    return [int(index) for index in target_class_ids]


class BinaryIoU(IoU):
    """The mean intersection over union of two classes: predictions of at least `threshold`, and others.

    Args:
        target_class_ids: the classes of which the mean is taken: 0, 1 or both.
        threshold: from which on a prediction is of class 1.
        name: the key in History.
        dtype: see `Metric`.

    Shapes:
        y_true, y_pred: (batch, ...).
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = check_number("BinaryIoU", threshold=threshold)

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        super().update(xp, y_true, xp.astype(y_pred >= self.threshold, xp.int64), sample_weight)


class MeanIoU(IoU):
    """The mean intersection over union of all classes: `IoU` of each of them.

    Args:
        num_classes: the number of classes, at least 1.
        name: the key in History.
        dtype: see `Metric`.
        ignore_class: an index; where targets hold it, nothing counts.
        sparse_y_true: whether targets are indices, rather than one-hot.
        sparse_y_pred: whether predictions are indices, rather than a number for each class.
        axis: the axis of classes where they are no indices.

    Shapes:
        y_true, y_pred: (batch, ...), with an axis of classes where they are no indices.
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        every = range(check_count(type(self).__name__, 1, num_classes=num_classes))
        super().__init__(num_classes, every, name, dtype, ignore_class, sparse_y_true, sparse_y_pred, axis)


class OneHotIoU(IoU):
    """The mean over some classes of intersection over union, for one-hot targets: `IoU` of the greatest elements.

    Args:
        num_classes: the number of classes, at least 1.
        target_class_ids: the indices of the classes of which the mean is taken.
        name: the key in History.
        dtype: see `Metric`.
        ignore_class: an index; where targets hold it, nothing counts.
        sparse_y_pred: whether predictions are indices, rather than a number for each class.
        axis: the axis of classes.

    Shapes:
        y_true, y_pred: (batch, ..., classes).
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        options: dict[str, Any] = {
            "ignore_class": ignore_class,
            "sparse_y_true": False,
            "sparse_y_pred": sparse_y_pred,
            "axis": axis,
        }
        super().__init__(num_classes, target_class_ids, name, dtype, **options)


class OneHotMeanIoU(MeanIoU):
    """The mean intersection over union of all classes, for one-hot targets: `MeanIoU` of the greatest elements.

    Args:
        num_classes: the number of classes, at least 1.
        name: the key in History.
        dtype: see `Metric`.
        ignore_class: an index; where targets hold it, nothing counts.
        sparse_y_pred: whether predictions are indices, rather than a number for each class.
        axis: the axis of classes.

    Shapes:
        y_true, y_pred: (batch, ..., classes).
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: str | None = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        options: dict[str, Any] = {
            "ignore_class": ignore_class,
            "sparse_y_true": False,
            "sparse_y_pred": sparse_y_pred,
            "axis": axis,
        }
        super().__init__(num_classes, name, dtype, **options)
