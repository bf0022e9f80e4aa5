"""Metrics that are means of a loss."""

from __future__ import annotations

from layerkit import losses
from layerkit.metrics.mean import MeanMetricWrapper


class MeanSquaredError(MeanMetricWrapper):
    """The mean of ``(y_pred - y_true)²``."""

    def __init__(self, name: str | None = "mean_squared_error", dtype: str | None = None) -> None:
        super().__init__(losses.MeanSquaredError(), name, dtype)


class MeanAbsoluteError(MeanMetricWrapper):
    """The mean of ``|y_pred - y_true|``."""

    def __init__(self, name: str | None = "mean_absolute_error", dtype: str | None = None) -> None:
        super().__init__(losses.MeanAbsoluteError(), name, dtype)
