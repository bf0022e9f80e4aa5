"""Metrics for numbers that are more than the mean of a loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from layerkit import losses
from layerkit.checks import check_count, check_name
from layerkit.metrics.mean import MeanMetric, MeanMetricWrapper, ratio
from layerkit.metrics.outputs import PerOutput
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class RootMeanSquaredError(MeanMetric):
    """``√mean((y_pred - y_true)²)``, the root of the mean over all samples."""

    masked: ClassVar[bool] = False

    def __init__(self, name: str | None = "root_mean_squared_error", dtype: str | None = None) -> None:
        super().__init__(name, dtype)

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        y_pred = xp.astype(y_pred, xp.float64)
        error = y_pred - xp.astype(self.same_shape(xp, y_true, y_pred), xp.float64)
        self.add(xp, error * error, sample_weight)

    @override
    def compute(self, xp: Backend) -> Array:
        return xp.sqrt(super().compute(xp))


class CosineSimilarity(MeanMetricWrapper):
    """The mean of ``Σ (t / |t|) (y / |y|)`` along an axis: 1 for equal directions. The loss is minus that.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        axis: along which the vectors lie.
    """

    def __init__(self, name: str | None = "cosine_similarity", dtype: str | None = None, axis: int = -1) -> None:
        super().__init__(losses.CosineSimilarity(axis), name, dtype)

    @override
    def values(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return -super().values(xp, y_true, y_pred)


class R2Score(PerOutput):
    """The coefficient of determination of each output, ``1 - Σ (y_true - y_pred)² / Σ (y_true - mean)²``.

    Where targets do not vary, it is 1 if predictions are exact and 0 if not, as in scikit-learn; Keras has NaN for 1.

    Args:
        class_aggregation: "uniform_average" gives the mean over the outputs, "variance_weighted_average" their mean by
            ``Σ (y_true - mean)²``, None a vector.
        num_regressors: p, of the adjusted score ``1 - (1 - R²) (n - 1) / (n - p - 1)``, for n targets of all outputs
            together, as in Keras; 0 for the plain score, which is also returned where n - p - 1 is not above 0.
        name: the key in History.
        dtype: see `Metric`.

    Shapes:
        y_true, y_pred: (batch, outputs).

    Raises:
        ArgumentError: one of these is not as described.
    """

    totals: ClassVar[tuple[str, ...]] = ("squared_sum", "sum", "residual", "count", "num_samples")

    def __init__(
        self,
        class_aggregation: str | None = "uniform_average",
        num_regressors: int = 0,
        name: str | None = "r2_score",
        dtype: str | None = None,
    ) -> None:
        super().__init__(name, dtype)
        known = ("uniform_average", "variance_weighted_average")
        self.class_aggregation = class_aggregation
        if class_aggregation is not None:
            check_name("R2Score", known, class_aggregation=class_aggregation)
        self.num_regressors = check_count("R2Score", 0, num_regressors=num_regressors)

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        y_pred = xp.astype(y_pred, xp.float64)
        y_true = xp.astype(self.same_shape(xp, y_true, y_pred), xp.float64)
        weights = self.weights(xp, y_pred, sample_weight)
        weighted, error = weights * y_true, y_true - y_pred
        added = (weighted * y_true, weighted, weights * error * error, weights, xp.ones_like(y_true))
        for name, values in zip(self.totals, added, strict=True):
            xp.assign_add(getattr(self, name), xp.sum(values, axis=0))

    @override
    def compute(self, xp: Backend) -> Array:
        squared_sum, total, residual, count, num_samples = (getattr(self, name) for name in self.totals)
        spread = squared_sum - total * ratio(xp, total, count)
        exact = xp.astype((residual == 0.0) & (count > 0.0), xp.float64)
        scores = xp.where(spread == 0.0, exact, 1.0 - ratio(xp, residual, spread))
        if self.class_aggregation == "uniform_average":
            scores = xp.mean(scores)
        elif self.class_aggregation == "variance_weighted_average":
            scores = ratio(xp, xp.sum(spread * scores), xp.sum(spread))
        if self.num_regressors == 0:
            return scores
        n = xp.sum(num_samples)
        left = n - self.num_regressors - 1.0
        return xp.where(left > 0.0, 1.0 - (1.0 - scores) * ratio(xp, n - 1.0, left), scores)
