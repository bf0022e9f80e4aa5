"""Losses: how far predictions are from targets, under Keras's names, as classes and as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.functions import function_of
from layerkit.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    SparseCategoricalCrossentropy,
)
from layerkit.losses.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from layerkit.losses.hinge import CategoricalHinge, Hinge, SquaredHinge
from layerkit.losses.loss import FunctionLoss, Loss
from layerkit.losses.probabilistic import KLDivergence, Poisson
from layerkit.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from layerkit.losses.segmentation import Dice, Tversky
from layerkit.losses.sequence import CTC
from layerkit.losses.similarity import Circle, CosineSimilarity
from layerkit.names import Names

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend

NAMES = Names[Loss](
    Loss,
    (
        *(BinaryCrossentropy, BinaryFocalCrossentropy, CategoricalCrossentropy, CategoricalFocalCrossentropy),
        *(CTC, CategoricalGeneralizedCrossEntropy, CategoricalHinge, Circle, CosineSimilarity, Dice, Hinge, Huber),
        *(KLDivergence, LogCosh, MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError),
        *(MeanSquaredLogarithmicError, Poisson, SparseCategoricalCrossentropy, SquaredHinge, Tversky),
    ),
    {
        **dict.fromkeys(("bce", "BCE"), BinaryCrossentropy),
        **dict.fromkeys(("kld", "KLD"), KLDivergence),
        **dict.fromkeys(("mae", "MAE"), MeanAbsoluteError),
        **dict.fromkeys(("mape", "MAPE"), MeanAbsolutePercentageError),
        **dict.fromkeys(("mse", "MSE"), MeanSquaredError),
        **dict.fromkeys(("msle", "MSLE"), MeanSquaredLogarithmicError),
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


_logits = {"from_logits": False, "label_smoothing": 0.0, "axis": -1}
_focal = {"alpha": 0.25, "gamma": 2.0, **_logits}

binary_crossentropy = _function(BinaryCrossentropy, "binary_crossentropy", **_logits)
binary_focal_crossentropy = _function(
    BinaryFocalCrossentropy, "binary_focal_crossentropy", apply_class_balancing=False, **_focal
)
categorical_crossentropy = _function(CategoricalCrossentropy, "categorical_crossentropy", **_logits)
categorical_focal_crossentropy = _function(CategoricalFocalCrossentropy, "categorical_focal_crossentropy", **_focal)
categorical_generalized_cross_entropy = _function(
    CategoricalGeneralizedCrossEntropy, "categorical_generalized_cross_entropy", q=0.5
)
categorical_hinge = _function(CategoricalHinge, "categorical_hinge")
circle = _function(Circle, "circle", remove_diagonal=True, gamma=80.0, margin=0.4)
cosine_similarity = _function(CosineSimilarity, "cosine_similarity", axis=-1)
ctc = _function(CTC, "ctc")
dice = _function(Dice, "dice", axis=None)
hinge = _function(Hinge, "hinge")
huber = _function(Huber, "huber", delta=1.0)
kl_divergence = _function(KLDivergence, "kl_divergence")
log_cosh = _function(LogCosh, "log_cosh")
mean_absolute_error = _function(MeanAbsoluteError, "mean_absolute_error")
mean_absolute_percentage_error = _function(MeanAbsolutePercentageError, "mean_absolute_percentage_error")
mean_squared_error = _function(MeanSquaredError, "mean_squared_error")
mean_squared_logarithmic_error = _function(MeanSquaredLogarithmicError, "mean_squared_logarithmic_error")
poisson = _function(Poisson, "poisson")
sparse_categorical_crossentropy = _function(
    SparseCategoricalCrossentropy, "sparse_categorical_crossentropy", from_logits=False, ignore_class=None, axis=-1
)
squared_hinge = _function(SquaredHinge, "squared_hinge")
tversky = _function(Tversky, "tversky", alpha=0.5, beta=0.5, axis=None)

__all__ = [
    "CTC",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalGeneralizedCrossEntropy",
    "CategoricalHinge",
    "Circle",
    "CosineSimilarity",
    "Dice",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
    "Tversky",
    "binary_crossentropy",
    "binary_focal_crossentropy",
    "categorical_crossentropy",
    "categorical_focal_crossentropy",
    "categorical_generalized_cross_entropy",
    "categorical_hinge",
    "circle",
    "cosine_similarity",
    "ctc",
    "dice",
    "get",
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
    "tversky",
]
