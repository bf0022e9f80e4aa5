"""Metrics: numbers about all samples of an epoch, under Keras's names."""

from __future__ import annotations

from typing import Any

from layerkit import losses
from layerkit.errors import UnknownNameError
from layerkit.metrics.accuracy import Accuracy, BinaryAccuracy, CategoricalAccuracy, SparseCategoricalAccuracy
from layerkit.metrics.mean import Mean, MeanMetricWrapper
from layerkit.metrics.metric import Metric
from layerkit.metrics.regression import MeanAbsoluteError, MeanSquaredError
from layerkit.names import Names, nearest

NAMES = Names[Metric](
    Metric,
    (
        *(Accuracy, BinaryAccuracy, CategoricalAccuracy, Mean, MeanAbsoluteError, MeanSquaredError),
        SparseCategoricalAccuracy,
    ),
    {
        "mse": MeanSquaredError,
        "MSE": MeanSquaredError,
        "mae": MeanAbsoluteError,
        "MAE": MeanAbsoluteError,
    },
    accepted="a name, a Metric, a Loss, or a function f(y_true, y_pred)",
    from_function=MeanMetricWrapper,
)


BY_SHAPE = ("accuracy", "acc", "crossentropy", "ce")
"""Names that stand for one metric or another, by the shapes of targets and outputs."""


def get(identifier: Any) -> Metric:
    """Return a metric: by name, from a class, a loss, a function f(y_true, y_pred), or itself.

    A name that is not a metric's may be a loss's: its mean is the metric. A string becomes the metric's name, as in
    Keras: ``"mse"`` is reported as "mse".

    Raises:
        UnknownNameError: no metric and no loss has this name.
        ArgumentError: it is none of these.
    """
    if isinstance(identifier, losses.Loss) or (isinstance(identifier, type) and issubclass(identifier, losses.Loss)):
        return MeanMetricWrapper(losses.get(identifier))
    if not isinstance(identifier, str):
        return NAMES.get(identifier)
    if identifier in NAMES:
        return NAMES.find(identifier)(name=identifier)
    if identifier in losses.NAMES:
        return MeanMetricWrapper(losses.get(identifier), name=identifier)
    raise UnknownNameError(
        f"metric: the name must be a known one. Received: {identifier!r}. "
        f"{nearest(identifier, [*NAMES, *losses.NAMES])}"
    )


def resolve(identifier: Any, target_shape: tuple[int | None, ...], output_shape: tuple[int | None, ...]) -> Metric:
    """Return a metric as `get` does, with "accuracy" resolved as Keras resolves it.

    It is binary for an output of width 1, sparse categorical for targets of fewer axes than the output or of width 1,
    and categorical otherwise. "crossentropy" is resolved in the same way.
    """
    if not isinstance(identifier, str) or identifier.lower() not in BY_SHAPE:
        return get(identifier)
    if output_shape[-1] == 1:
        kind = 0
    elif len(target_shape) < len(output_shape) or target_shape[-1] == 1:
        kind = 1
    else:
        kind = 2
    if identifier.lower() in ("accuracy", "acc"):
        return (BinaryAccuracy, SparseCategoricalAccuracy, CategoricalAccuracy)[kind](name=identifier)
    crossentropies = (losses.BinaryCrossentropy, losses.SparseCategoricalCrossentropy, losses.CategoricalCrossentropy)
    return MeanMetricWrapper(crossentropies[kind](), name=identifier)


__all__ = [
    "Accuracy",
    "BinaryAccuracy",
    "CategoricalAccuracy",
    "Mean",
    "MeanAbsoluteError",
    "MeanMetricWrapper",
    "MeanSquaredError",
    "Metric",
    "SparseCategoricalAccuracy",
    "get",
    "resolve",
]
