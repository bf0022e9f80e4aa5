"""Means and sums: of numbers, and of a value for each sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.errors import ShapeError
from layerkit.functions import call_function
from layerkit.losses.loss import Loss, reaches, spread, squeezed
from layerkit.metrics.metric import Metric
from layerkit.names import name_of_function
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


TINY = 1e-300
"""Below every count, so that no samples give 0 / TINY = 0."""


def ratio(xp: Backend, part: Array, whole: Array) -> Array:
    """Return ``part / whole``, and 0 where whole is 0."""
    nothing = whole == 0.0
    return xp.where(nothing, 0.0, part / xp.where(nothing, 1.0, whole))


class MeanMetric(Metric):
    """``Σ w v / Σ w`` over all samples, for values v and weights w (1 where none are given); 0 of no samples.

    Values with inner axes are first averaged over those that the weights do not have, as in Keras.
    """

    masked: ClassVar[bool] = True

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable("total")
        self.count = self.add_variable("count")

    def add(self, xp: Backend, values: Any, sample_weight: Array | None = None) -> None:
        """Add values, one a sample, or a single number."""
        shape = tuple(values.shape)
        if sample_weight is None:
            count: Any = shape[0] if shape else 1
            total = xp.sum(values)
            inner = math.prod(shape[1:])
            if inner > 1:
                total = total / inner
        else:
            sample_weight = squeezed(xp, sample_weight, max(1, len(shape)))
            weight_shape = tuple(sample_weight.shape)
            if not reaches(weight_shape, shape):
                raise ShapeError(
                    f"{self.name}: there must be one weight for each sample, or for each value, {shape}. "
                    f"Received: weights of shape {weight_shape}"
                )
            if len(weight_shape) < len(shape):
                values = xp.mean(values, axis=tuple(range(len(weight_shape), len(shape))))
            weighted = values * xp.astype(sample_weight, values.dtype)
            total = xp.sum(weighted) / math.prod(tuple(values.shape)[1:])
            count = xp.sum(xp.astype(sample_weight, xp.float64)) / math.prod(weight_shape[1:])
        xp.assign_add(self.total, xp.astype(total, xp.float64))
        xp.assign_add(self.count, count)

    @override
    def compute(self, xp: Backend) -> Array:
        return self.total / xp.maximum(self.count, TINY)


class Mean(MeanMetric):
    """The mean of numbers: ``update_state(values, sample_weight=None)``."""

    operands: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(self, name: str | None = "mean", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    @override
    def update(self, xp: Backend, values: Array, sample_weight: Array | None = None) -> None:  # type: ignore[override]
        if values.dtype not in (xp.float32, xp.float64):
            values = xp.astype(values, xp.float64)
        self.add(xp, values, sample_weight)


class Sum(Metric):
    """The sum of numbers, ``Σ w v``: ``update_state(values, sample_weight=None)``, with a weight for each row."""

    operands: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(self, name: str | None = "sum", dtype: str | None = None) -> None:
        super().__init__(name, dtype)
        self.total = self.add_variable("total")

    @override
    def update(self, xp: Backend, values: Array, sample_weight: Array | None = None) -> None:  # type: ignore[override]
        values = xp.astype(values, xp.float64)
        if sample_weight is not None:
            values = values * spread(xp, xp.astype(sample_weight, xp.float64), values)
        xp.assign_add(self.total, xp.sum(values))

    @override
    def compute(self, xp: Backend) -> Array:
        return self.total


class MeanMetricWrapper(MeanMetric):
    """The mean of a function of a sample's target and prediction.

    Where a loss says that a value does not count, as with an ``ignore_class``, it does not count in this mean either.

    Args:
        fn: a function ``f(y_true, y_pred)`` or ``f(xp, y_true, y_pred)`` of arrays of the backend, or a `Loss`.
        name: the key in History.
        dtype: see `Metric`.
        options: what else the function is given, by name: ``MeanMetricWrapper(losses.huber, delta=0.5)``.
    """

    _keeps_keywords: ClassVar[bool] = True

    def __init__(
        self, fn: Callable[..., Any] | Loss, name: str | None = None, dtype: str | None = None, **options: Any
    ) -> None:
        super().__init__(name or getattr(fn, "name", None) or name_of_function(fn), dtype)
        make = getattr(fn, "made_from", None)
        made = make(**options) if make else fn
        self.fn: Any = made if isinstance(made, Loss) else fn
        self._options = options

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        values = self.values(xp, y_true, y_pred)
        if isinstance(self.fn, Loss):
            y_true = self.fn.aligned(xp, y_true, y_pred)
            counted = self.fn.counted(xp, y_true, values)
            if counted is not None:
                counted = xp.astype(counted, values.dtype)
                weights = None if sample_weight is None else spread(xp, xp.astype(sample_weight, values.dtype), values)
                sample_weight = counted if weights is None else counted * weights
        self.add(xp, values, sample_weight)

    def values(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return one value for each sample."""
        if isinstance(self.fn, Loss):
            return self.fn.values(xp, y_true, y_pred)
        return call_function(self.fn, xp, y_true, y_pred, **self._options)
