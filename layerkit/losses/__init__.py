"""Losses: how far predictions are from targets, under Keras's names, as classes and as functions of one value a sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError
from layerkit.functions import function_of
from layerkit.losses.crossentropy import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from layerkit.losses.loss import Loss
from layerkit.losses.regression import Huber, MeanAbsoluteError, MeanSquaredError
from layerkit.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = Names[Loss](
    "loss",
    (
        *(BinaryCrossentropy, CategoricalCrossentropy, Huber, MeanAbsoluteError, MeanSquaredError),
        SparseCategoricalCrossentropy,
    ),
    {
        "mse": MeanSquaredError, "MSE": MeanSquaredError, "mae": MeanAbsoluteError, "MAE": MeanAbsoluteError,
        "bce": BinaryCrossentropy, "BCE": BinaryCrossentropy, "huber_loss": Huber,
    },
)


def get(identifier: str | Loss | type[Loss] | Callable[..., Any]) -> Loss:
    """Return a loss: by name (``"mse"``), from a function of this module, a class, or itself.

    Raises:
        UnknownNameError: no loss has this name.
        ArgumentError: it is none of these.
    """
    if isinstance(identifier, Loss):
        return identifier
    if isinstance(identifier, str):
        return NAMES.find(identifier)()
    if isinstance(identifier, type) and issubclass(identifier, Loss):
        return identifier()
    make = getattr(identifier, "made_from", None)
    if make is not None:
        return make()
    raise ArgumentError(
        f"A loss must be a name, a Loss, or a function of layerkit.losses. Received: {identifier!r}. "
        f"Write a function of your own as a Loss with forward and backward."
    )


def _function(cls: type[Loss], name: str, **defaults: Any) -> Callable[..., Any]:
    return function_of(
        cls, name, ("y_true", "y_pred"), lambda loss, xp, y_true, y_pred: loss.values(xp, y_true, y_pred), **defaults
    )


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
