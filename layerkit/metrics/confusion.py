"""How many predictions are right and wrong, of those that are positive and of those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_count, check_fraction, is_a, shown
from layerkit.errors import ArgumentError, ShapeError
from layerkit.metrics.mean import ratio
from layerkit.metrics.metric import Metric
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend

Thresholds = float | list[float] | tuple[float, ...] | None

_NEVER = -1e10  # below every prediction: that of a class which is not among the first


class ConfusionMetric(Metric):
    """Base of metrics made of counts: of the right and of the wrong, at each of some thresholds.

    A prediction above a threshold is positive, a target that is not 0 is. A pair counts as much as its sample weighs.

    Args:
        thresholds: the thresholds, in any order.
        top_k: take all predictions of a sample for negative, but its `top_k` greatest.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("true_positives", "false_positives", "true_negatives", "false_negatives")
    """Which counts there are; each is a vector with one for each threshold."""

    def __init__(
        self,
        thresholds: Sequence[float],
        *,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        owner = type(self).__name__
        self.thresholds = list(thresholds)
        self.top_k = None if top_k is None else check_count(owner, 1, top_k=top_k)
        self.class_id = None if class_id is None else check_count(owner, 0, class_id=class_id)
        self._ascending = sorted(self.thresholds)
        self._are_even = _are_even(self.thresholds)
        self.make_totals((len(self.thresholds),))

    def make_totals(self, shape: tuple[int, ...]) -> None:
        """Make the counts."""
        for name in self.totals:
            setattr(self, name, self.add_variable(name, shape))

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        if y_pred.dtype not in (xp.float32, xp.float64):
            y_pred = xp.astype(y_pred, xp.float64)
        is_true = xp.astype(self.same_shape(xp, y_true, y_pred), xp.bool)
        weights = self.weights(xp, y_pred, sample_weight)
        if self.top_k is not None:
            order = xp.argsort(y_pred, axis=-1, descending=True, stable=True)
            y_pred = xp.where(xp.argsort(order, axis=-1) < self.top_k, y_pred, _NEVER)
        if self.class_id is not None:
            if y_pred.ndim < 2 or self.class_id >= y_pred.shape[-1]:
                raise ShapeError(
                    f"{self.name}: predictions must have a last axis of classes, with one of index {self.class_id}. "
                    f"Received: shape {tuple(y_pred.shape)}"
                )
            is_true, y_pred, weights = (array[..., self.class_id] for array in (is_true, y_pred, weights))
        exceeded = self.exceeded(xp, y_pred)
        for chosen, above_name, below_name in (
            (is_true, "true_positives", "false_negatives"),
            (~is_true, "false_positives", "true_negatives"),
        ):
            if above_name in self.totals or below_name in self.totals:
                above, every = self.above(xp, xp.where(chosen, weights, 0.0), exceeded)
                for name, count in ((above_name, above), (below_name, every - above)):
                    if name in self.totals:
                        xp.assign_add(getattr(self, name), count)

    def exceeded(self, xp: Backend, y_pred: Array) -> Array:
        """Return how many thresholds each prediction is above."""
        if not self._are_even:
            thresholds = xp.astype(xp.asarray(self._ascending), y_pred.dtype)
            return xp.reshape(xp.searchsorted(thresholds, xp.reshape(y_pred, (-1,))), tuple(y_pred.shape))
        last = len(self.thresholds) - 1
        steps = xp.astype(xp.ceil(xp.clip(y_pred, 0.0, 1.0) * float(last)), xp.int64)
        return xp.maximum(steps, 1) if self.thresholds[0] < 0.0 else steps

    def above(self, xp: Backend, weights: Array, exceeded: Array) -> tuple[Array, Array]:
        """Return for each threshold the weight of what is above it, and the weight of all."""
        by_number = xp.scatter_add(xp.reshape(exceeded, (-1,)), xp.reshape(weights, (-1,)), len(self.thresholds) + 1)
        return self.in_order(xp, _summed_from_the_end(xp, by_number[1:])), xp.sum(weights)

    def in_order(self, xp: Backend, ascending: Array) -> Array:
        """Return what was counted for ascending thresholds in the order in which they were given."""
        if self.thresholds == self._ascending:
            return ascending
        return xp.take(ascending, xp.asarray([self._ascending.index(t) for t in self.thresholds]), axis=0)

    def single(self, values: Array) -> Array:
        """Return one number where there is one threshold."""
        return values[0] if len(self.thresholds) == 1 else values


def _are_even(thresholds: list[float]) -> bool:
    """Tell whether thresholds divide 0 to 1 evenly, from one end to the other, so that they need not be searched."""
    last = len(thresholds) - 1
    return last > 1 and all(abs(t - n / last) <= 1e-7 + 1e-5 * n / last for n, t in enumerate(thresholds))


def _summed_from_the_end(xp: Backend, values: Array) -> Array:
    return xp.flip(xp.cumulative_sum(xp.flip(values, axis=0), axis=0), axis=0)


def as_thresholds(owner: str, thresholds: Any, default: float = 0.5) -> list[float]:
    """Return thresholds as a list: one, several, or the default.

    Raises:
        ArgumentError: one is not from 0 to 1, or there is none.
    """
    if thresholds is None:
        return [default]
    listed = list(thresholds) if is_a(thresholds, list, tuple) else [thresholds]
    if not listed:
        raise ArgumentError(f"{owner}: there must be a threshold at least. Received: thresholds={shown(thresholds)}")
    return [check_fraction(owner, thresholds=threshold) for threshold in listed]


class Count(ConfusionMetric):
    """Base of the four counts.

    Args:
        thresholds: one or several, from 0 to 1; with several, the result is a vector. By default 0.5.
        name: the key in History.
        dtype: see `Metric`.
    """

    def __init__(self, thresholds: Thresholds = None, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(as_thresholds(type(self).__name__, thresholds), name=name, dtype=dtype)

    @override
    def compute(self, xp: Backend) -> Array:
        return self.single(getattr(self, self.totals[0]))


class TruePositives(Count):
    """How many positives are predicted to be: ``Σ w`` over predictions above the threshold, of targets that are 1.

    Args:
        thresholds: see `Count`.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("true_positives",)


class FalsePositives(Count):
    """How many negatives are predicted positive: ``Σ w`` over predictions above the threshold, of targets that are 0.

    Args:
        thresholds: see `Count`.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("false_positives",)


class TrueNegatives(Count):
    """How many negatives are predicted to be: ``Σ w`` over predictions not above the threshold, of targets that are 0.

    Args:
        thresholds: see `Count`.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("true_negatives",)


class FalseNegatives(Count):
    """How many positives are missed: ``Σ w`` over predictions not above the threshold, of targets that are 1.

    Args:
        thresholds: see `Count`.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("false_negatives",)


class Share(ConfusionMetric):
    """Base of precision and recall: ``first / (first + second)`` of two counts, and 0 of none.

    Args:
        thresholds: one or several, from 0 to 1; with several, the result is a vector. By default 0.5, and none with
            `top_k`.
        top_k: take all predictions of a sample for negative, but its `top_k` greatest.
        class_id: count one class only, by its index on the last axis.
        name: the key in History.
        dtype: see `Metric`.
    """

    def __init__(
        self,
        thresholds: Thresholds = None,
        top_k: int | None = None,
        class_id: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
    ) -> None:
        listed = as_thresholds(type(self).__name__, thresholds, 0.5 if top_k is None else _NEVER)
        super().__init__(listed, top_k=top_k, class_id=class_id, name=name, dtype=dtype)

    @override
    def compute(self, xp: Backend) -> Array:
        first, second = (getattr(self, name) for name in self.totals)
        return self.single(ratio(xp, first, first + second))


class Precision(Share):
    """How many of those that are predicted positive are: ``TP / (TP + FP)``; 0 where none is.

    Args:
        thresholds: see `Share`.
        top_k: see `Share`.
        class_id: see `Share`.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("true_positives", "false_positives")


class Recall(Share):
    """How many of the positives are predicted to be: ``TP / (TP + FN)``; 0 where there is none.

    Args:
        thresholds: see `Share`.
        top_k: see `Share`.
        class_id: see `Share`.
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ("true_positives", "false_negatives")
