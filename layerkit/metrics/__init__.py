"""Metrics: numbers about all samples of an epoch, under Keras's names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit import losses
from layerkit.descriptions import serialize
from layerkit.errors import UnknownNameError
from layerkit.functions import as_float, function_of
from layerkit.metrics.mean import Mean, MeanMetricWrapper, Sum
from layerkit.metrics.metric import Metric
from layerkit.names import Names, loaded_later, nearest

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.losses import (
        binary_crossentropy,
        binary_focal_crossentropy,
        categorical_crossentropy,
        categorical_focal_crossentropy,
        categorical_hinge,
        hinge,
        huber,
        kl_divergence,
        log_cosh,
        mean_absolute_error,
        mean_absolute_percentage_error,
        mean_squared_error,
        mean_squared_logarithmic_error,
        poisson,
        sparse_categorical_crossentropy,
        squared_hinge,
    )
    from layerkit.metrics.accuracy import (
        Accuracy,
        BinaryAccuracy,
        CategoricalAccuracy,
        SparseCategoricalAccuracy,
        SparseTopKCategoricalAccuracy,
        TopKCategoricalAccuracy,
    )
    from layerkit.metrics.confusion import (
        FalseNegatives,
        FalsePositives,
        Precision,
        Recall,
        TrueNegatives,
        TruePositives,
    )
    from layerkit.metrics.correlation import ConcordanceCorrelation, PearsonCorrelation
    from layerkit.metrics.curves import (
        AUC,
        PrecisionAtRecall,
        RecallAtPrecision,
        SensitivityAtSpecificity,
        SpecificityAtSensitivity,
    )
    from layerkit.metrics.fscore import F1Score, FBetaScore
    from layerkit.metrics.mean_losses import (
        BinaryCrossentropy,
        CategoricalCrossentropy,
        CategoricalHinge,
        Hinge,
        KLDivergence,
        LogCoshError,
        MeanAbsoluteError,
        MeanAbsolutePercentageError,
        MeanSquaredError,
        MeanSquaredLogarithmicError,
        Poisson,
        SparseCategoricalCrossentropy,
        SquaredHinge,
    )
    from layerkit.metrics.overlap import BinaryIoU, IoU, MeanIoU, OneHotIoU, OneHotMeanIoU
    from layerkit.metrics.regression import CosineSimilarity, R2Score, RootMeanSquaredError
    from layerkit.xp.backend import Array, Backend

    binary_accuracy: Callable[..., Array]
    categorical_accuracy: Callable[..., Array]
    concordance_correlation: Callable[..., Array]
    pearson_correlation: Callable[..., Array]
    sparse_categorical_accuracy: Callable[..., Array]
    sparse_top_k_categorical_accuracy: Callable[..., Array]
    top_k_categorical_accuracy: Callable[..., Array]

# Loaded when they are asked for.
_LATER = {
    "accuracy": (
        "Accuracy",
        "BinaryAccuracy",
        "CategoricalAccuracy",
        "SparseCategoricalAccuracy",
        "SparseTopKCategoricalAccuracy",
        "TopKCategoricalAccuracy",
    ),
    "confusion": (
        "FalseNegatives",
        "FalsePositives",
        "Precision",
        "Recall",
        "TrueNegatives",
        "TruePositives",
    ),
    "correlation": (
        "ConcordanceCorrelation",
        "PearsonCorrelation",
    ),
    "curves": (
        "AUC",
        "PrecisionAtRecall",
        "RecallAtPrecision",
        "SensitivityAtSpecificity",
        "SpecificityAtSensitivity",
    ),
    "fscore": (
        "F1Score",
        "FBetaScore",
    ),
    "mean_losses": (
        "BinaryCrossentropy",
        "CategoricalCrossentropy",
        "CategoricalHinge",
        "Hinge",
        "KLDivergence",
        "LogCoshError",
        "MeanAbsoluteError",
        "MeanAbsolutePercentageError",
        "MeanSquaredError",
        "MeanSquaredLogarithmicError",
        "Poisson",
        "SparseCategoricalCrossentropy",
        "SquaredHinge",
    ),
    "overlap": (
        "BinaryIoU",
        "IoU",
        "MeanIoU",
        "OneHotIoU",
        "OneHotMeanIoU",
    ),
    "regression": (
        "CosineSimilarity",
        "R2Score",
        "RootMeanSquaredError",
    ),
}
_load, __dir__ = loaded_later(__name__, _LATER)

NAMES = Names[Metric](
    Metric,
    (Mean, Sum),
    {
        **dict.fromkeys(("bce", "BCE"), "BinaryCrossentropy"),
        **dict.fromkeys(("mae", "MAE"), "MeanAbsoluteError"),
        **dict.fromkeys(("mape", "MAPE"), "MeanAbsolutePercentageError"),
        **dict.fromkeys(("mse", "MSE"), "MeanSquaredError"),
        **dict.fromkeys(("msle", "MSLE"), "MeanSquaredLogarithmicError"),
    },
    accepted="a name, a Metric, a Loss, or a function f(y_true, y_pred)",
    from_function=MeanMetricWrapper,
    later=[name for names in _LATER.values() for name in names],
    load=_load,
    room=__name__,
)

deserialize = NAMES.deserialize


BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")
"""Names that stand for one metric or another, by the shapes of targets and outputs."""


def get(identifier: Any) -> Metric:
    """Return a metric: by name, from a class, a loss, a function f(y_true, y_pred), or itself.

    A name that is not a metric's may be a loss's: its mean is the metric. A string becomes the metric's name, as in
    Keras: ``"mse"`` is reported as "mse".

    Raises:
        UnknownNameError: no metric and no loss has this name.
        ArgumentError: it is none of these, or a metric that cannot be made without arguments.
    """
    if isinstance(identifier, losses.Loss) or (isinstance(identifier, type) and issubclass(identifier, losses.Loss)):
        return MeanMetricWrapper(losses.get(identifier))
    if not isinstance(identifier, str):
        return NAMES.get(identifier)
    if identifier in NAMES:
        return NAMES.made(identifier, name=identifier)
    if identifier in losses.NAMES:
        return MeanMetricWrapper(losses.get(identifier), name=identifier)
    raise UnknownNameError(
        f"metric: the name must be a known one. Received: {identifier!r}. "
        f"{nearest(identifier, [*NAMES, *losses.NAMES])}"
    )


def resolve(identifier: Any, target_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]) -> Metric:
    """Return a metric as `get` does, ready for these shapes, with "accuracy" resolved as Keras resolves it.

    It is binary for an output of width 1, sparse categorical for targets of fewer axes than the output or of width 1,
    and categorical otherwise. "crossentropy" is resolved in the same way.
    """
    if not isinstance(identifier, str) or identifier.lower() not in BY_SHAPE:
        metric = get(identifier)
        metric.build(target_shape, output_shape)
        return metric
    if output_shape[-1] == 1:
        kind = 0
    elif len(target_shape) < len(output_shape) or target_shape[-1] == 1:
        kind = 1
    else:
        kind = 2
    ends = "accuracy" if identifier.lower() in ("accuracy", "acc") else "crossentropy"
    return NAMES.find(f"{('binary', 'sparse_categorical', 'categorical')[kind]}_{ends}")(name=identifier)


# Functions that are losses as well.
_OF_LOSSES = frozenset(
    (
        "binary_crossentropy",
        "binary_focal_crossentropy",
        "categorical_crossentropy",
        "categorical_focal_crossentropy",
        "categorical_hinge",
        "hinge",
        "huber",
        "kl_divergence",
        "log_cosh",
        "mean_absolute_error",
        "mean_absolute_percentage_error",
        "mean_squared_error",
        "mean_squared_logarithmic_error",
        "poisson",
        "sparse_categorical_crossentropy",
        "squared_hinge",
    )
)


def _values(metric: Any, xp: Backend, y_true: Any, y_pred: Any) -> Array:
    y_pred = as_float(xp, y_pred)
    return xp.astype(metric.values(xp, xp.asarray(y_true), y_pred), y_pred.dtype)


# The metrics that are functions too: what each takes besides y_true and y_pred, with the defaults.
_FUNCTIONS: dict[str, dict[str, Any]] = {
    "binary_accuracy": {"threshold": 0.5},
    "categorical_accuracy": {},
    "concordance_correlation": {"axis": -1},
    "pearson_correlation": {"axis": -1},
    "sparse_categorical_accuracy": {},
    "sparse_top_k_categorical_accuracy": {"k": 5, "from_sorted_ids": False},
    "top_k_categorical_accuracy": {"k": 5},
}


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:
        function = function_of(NAMES.find(name), name, ("y_true", "y_pred"), _values, **_FUNCTIONS[name])
        return globals().setdefault(name, function)
    return getattr(losses, name) if name in _OF_LOSSES else _load(name)


__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BinaryCrossentropy",
    "BinaryIoU",
    "CategoricalAccuracy",
    "CategoricalCrossentropy",
    "CategoricalHinge",
    "ConcordanceCorrelation",
    "CosineSimilarity",
    "F1Score",
    "FBetaScore",
    "FalseNegatives",
    "FalsePositives",
    "Hinge",
    "IoU",
    "KLDivergence",
    "LogCoshError",
    "Mean",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanIoU",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Metric",
    "OneHotIoU",
    "OneHotMeanIoU",
    "PearsonCorrelation",
    "Poisson",
    "Precision",
    "PrecisionAtRecall",
    "R2Score",
    "Recall",
    "RecallAtPrecision",
    "RootMeanSquaredError",
    "SensitivityAtSpecificity",
    "SparseCategoricalAccuracy",
    "SparseCategoricalCrossentropy",
    "SparseTopKCategoricalAccuracy",
    "SpecificityAtSensitivity",
    "SquaredHinge",
    "Sum",
    "TopKCategoricalAccuracy",
    "TrueNegatives",
    "TruePositives",
    "binary_accuracy",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_accuracy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_hinge",
    "concordance_correlation",
    "deserialize",
    "get",
    "hinge",
    "huber",
    "kl_divergence",
    "log_cosh",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_error",
    "mean_squared_logarithmic_error",
    "pearson_correlation",
    "poisson",
    "resolve",
    "serialize",
    "sparse_categorical_accuracy",
    "sparse_categorical_crossentropy",
    "sparse_top_k_categorical_accuracy",
    "squared_hinge",
    "top_k_categorical_accuracy",
]
