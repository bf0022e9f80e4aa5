"""Losses: how far predictions are from targets, under Keras's names, as classes and as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.functions import function_of
from layerkit.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from layerkit.losses.loss import FunctionLoss, Loss
from layerkit.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError
from layerkit.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend

NAMES = Names[Loss](
    Loss,
    (
        *(BinaryCrossentropy, CategoricalCrossentropy, Huber, MeanAbsoluteError, MeanSquaredError),
        SparseCategoricalCrossentropy,
    ),
    {
        "mse": MeanSquaredError,
        "MSE": MeanSquaredError,
        "mae": MeanAbsoluteError,
        "MAE": MeanAbsoluteError,
        "bce": BinaryCrossentropy,
        "BCE": BinaryCrossentropy,
        "huber_loss": Huber,
    },
    accepted="a name, a Loss, or a function f(y_true, y_pred)",
    from_function=FunctionLoss,
)

get = NAMES.get


def _values(loss: Loss, xp: Backend, y_true: Any, y_pred: Any) -> Array:
    return loss.values(xp, y_true, y_pred)


def _function(cls: type[Loss], name: str, **defaults: Any) -> Callable[..., Any]:
    return function_of(cls, name, ("y_true", "y_pred"), _values, **defaults)


mean_squared_error = _function(MeanSquaredError, "mean_squared_error")
mean_absolute_error = _function(MeanAbsoluteError, "mean_absolute_error")
huber = _function(Huber, "huber", delta=1.0)
binary_crossentropy = _function(
    BinaryCrossentropy, "binary_crossentropy", from_logits=False, label_smoothing=0.0, axis=-1
)
categorical_crossentropy = _function(
    CategoricalCrossentropy, "categorical_crossentropy", from_logits=False, label_smoothing=0.0, axis=-1
)
sparse_categorical_crossentropy = _function(
    SparseCategoricalCrossentropy, "sparse_categorical_crossentropy", from_logits=False, ignore_class=None, axis=-1
)

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "Huber",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "SparseCategoricalCrossentropy",
    "binary_crossentropy",
    "categorical_crossentropy",
    "get",
    "huber",
    "mean_absolute_error",
    "mean_squared_error",
    "sparse_categorical_crossentropy",
]
