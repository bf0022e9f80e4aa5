"""Losses as metrics: the mean of a loss's values."""

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


class MeanAbsolutePercentageError(MeanMetricWrapper):
    """The mean of ``100 |y_pred - y_true| / |y_true|``."""

    def __init__(self, name: str | None = "mean_absolute_percentage_error", dtype: str | None = None) -> None:
        super().__init__(losses.MeanAbsolutePercentageError(), name, dtype)


class MeanSquaredLogarithmicError(MeanMetricWrapper):
    """The mean of ``(log(1 + y_pred) - log(1 + y_true))²``."""

    def __init__(self, name: str | None = "mean_squared_logarithmic_error", dtype: str | None = None) -> None:
        super().__init__(losses.MeanSquaredLogarithmicError(), name, dtype)


class LogCoshError(MeanMetricWrapper):
    """The mean of ``log cosh(y_pred - y_true)``."""

    def __init__(self, name: str | None = "logcosh", dtype: str | None = None) -> None:
        super().__init__(losses.LogCosh(), name, dtype)


class Hinge(MeanMetricWrapper):
    """The mean of ``max(1 - y_true y_pred, 0)``, for targets of -1 or 1 (or 0 or 1: see `losses.Hinge`)."""

    def __init__(self, name: str | None = "hinge", dtype: str | None = None) -> None:
        super().__init__(losses.Hinge(), name, dtype)


class SquaredHinge(MeanMetricWrapper):
    """The mean of ``max(1 - y_true y_pred, 0)²``, for targets of -1 or 1 (or 0 or 1: see `losses.SquaredHinge`)."""

    def __init__(self, name: str | None = "squared_hinge", dtype: str | None = None) -> None:
        super().__init__(losses.SquaredHinge(), name, dtype)


class CategoricalHinge(MeanMetricWrapper):
    """The mean of what the class that is right lacks to the best of the others plus 1, for one-hot targets."""

    def __init__(self, name: str | None = "categorical_hinge", dtype: str | None = None) -> None:
        super().__init__(losses.CategoricalHinge(), name, dtype)


class KLDivergence(MeanMetricWrapper):
    """The mean of ``Σ t log(t / p)``, for distributions t and p."""

    def __init__(self, name: str | None = "kl_divergence", dtype: str | None = None) -> None:
        super().__init__(losses.KLDivergence(), name, dtype)


class Poisson(MeanMetricWrapper):
    """The mean of ``y_pred - y_true log y_pred``, for counts and their expected number."""

    def __init__(self, name: str | None = "poisson", dtype: str | None = None) -> None:
        super().__init__(losses.Poisson(), name, dtype)


class BinaryCrossentropy(MeanMetricWrapper):
    """The mean of `losses.BinaryCrossentropy`.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        from_logits: whether y_pred is the input of a sigmoid, rather than probabilities.
        label_smoothing: from 0 to 1.
    """

    def __init__(
        self,
        name: str | None = "binary_crossentropy",
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
    ) -> None:
        super().__init__(losses.BinaryCrossentropy(from_logits, label_smoothing), name, dtype)


class CategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.CategoricalCrossentropy`.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        from_logits: whether y_pred is the input of a softmax, rather than probabilities.
        label_smoothing: from 0 to 1.
        axis: the axis of classes.
    """

    def __init__(
        self,
        name: str | None = "categorical_crossentropy",
        dtype: str | None = None,
        from_logits: bool = False,
        label_smoothing: float = 0,
        axis: int = -1,
    ) -> None:
        super().__init__(losses.CategoricalCrossentropy(from_logits, label_smoothing, axis), name, dtype)


class SparseCategoricalCrossentropy(MeanMetricWrapper):
    """The mean of `losses.SparseCategoricalCrossentropy`.

    A class that is ignored does not count, as in the loss; Keras's metric counts it as 0 where there are no weights.

    Args:
        name: the key in History.
        dtype: see `Metric`.
        from_logits: whether y_pred is the input of a softmax, rather than probabilities.
        ignore_class: an index whose values do not count.
        axis: the axis of classes: the last.
    """

    def __init__(
        self,
        name: str | None = "sparse_categorical_crossentropy",
        dtype: str | None = None,
        from_logits: bool = False,
        ignore_class: int | None = None,
        axis: int = -1,
    ) -> None:
        super().__init__(losses.SparseCategoricalCrossentropy(from_logits, ignore_class, axis=axis), name, dtype)
