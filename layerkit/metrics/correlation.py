"""How predictions vary along with targets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.checks import check_one_axis
from layerkit.errors import ArgumentError
from layerkit.losses.loss import EPSILON
from layerkit.metrics.mean import MeanMetric, ratio
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Correlation(MeanMetric):
    """Base of the two below: the mean of a correlation that each sample has along an axis.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        axis: along which targets and predictions of a sample are correlated.
    """

    def __init__(self, name: str | None = None, dtype: str | None = None, axis: int = -1) -> None:
        super().__init__(name, dtype)
        self.axis = check_one_axis(type(self).__name__, axis=axis)

    @override
    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        self.add(xp, self.values(xp, y_true, y_pred), sample_weight)

    def values(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return one value for each sample."""
        raise ArgumentError(
            f"{type(self).__name__}: a correlation must define values(self, xp, y_true, y_pred). Received: none. "
            f"See layerkit.metrics.PearsonCorrelation for an example."
        )

    def moments(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, ...]:
        """Return, for each sample, the two variances, the covariance and the difference of the means."""
        y_pred = xp.astype(y_pred, xp.float64)
        y_true = xp.astype(self.same_shape(xp, y_true, y_pred), xp.float64)
        means = [xp.mean(y, axis=self.axis, keepdims=True) for y in (y_true, y_pred)]
        t, p = y_true - means[0], y_pred - means[1]
        apart = xp.squeeze(means[0] - means[1], axis=self.axis)
        return (*(xp.mean(product, axis=self.axis) for product in (t * t, p * p, t * p)), apart)


class PearsonCorrelation(Correlation):
    """``cov(t, y) / (σ_t σ_y)`` of targets t and predictions y: 1 where one is the other scaled and moved.

    It is 0 for a sample of which either does not vary, where Keras has NaN.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        axis: along which targets and predictions of a sample are correlated.

    Shapes:
        y_true, y_pred: (batch, ..., n).
    """

    def __init__(self, name: str | None = "pearson_correlation", dtype: str | None = None, axis: int = -1) -> None:
        super().__init__(name, dtype, axis)

    @override
    def values(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        true_variance, variance, covariance, _ = self.moments(xp, y_true, y_pred)
        return ratio(xp, covariance, xp.sqrt(true_variance) * xp.sqrt(variance))


class ConcordanceCorrelation(Correlation):
    """``2 cov(t, y) / (σ_t² + σ_y² + (mean t - mean y)² + 1e-7)``: 1 where predictions equal targets (Lin, 1989).

    Args:
        name: the key in History.
        dtype: see `Metric`.
        axis: along which targets and predictions of a sample are correlated.

    Shapes:
        y_true, y_pred: (batch, ..., n).
    """

    def __init__(self, name: str | None = "concordance_correlation", dtype: str | None = None, axis: int = -1) -> None:
        super().__init__(name, dtype, axis)

    @override
    def values(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        true_variance, variance, covariance, apart = self.moments(xp, y_true, y_pred)
        return 2.0 * covariance / (true_variance + variance + apart * apart + EPSILON)
