"""Losses: how far predictions are from targets, under Keras's names, as classes and as functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.descriptions import serialize
from layerkit.functions import function_of
from layerkit.losses.crossentropy import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    SparseCategoricalCrossentropy,
)
from layerkit.losses.loss import FunctionLoss, Loss
from layerkit.losses.regression import (
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
)
from layerkit.names import Names, loaded_later

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.losses.focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
    from layerkit.losses.margin import CategoricalHinge, Hinge, SquaredHinge
    from layerkit.losses.probabilistic import KLDivergence, Poisson
    from layerkit.losses.segmentation import Dice, Tversky
    from layerkit.losses.sequence import CTC
    from layerkit.losses.similarity import Circle, CosineSimilarity
    from layerkit.xp.backend import Array, Backend

    binary_crossentropy: Callable[..., Array]
    binary_focal_crossentropy: Callable[..., Array]
    categorical_crossentropy: Callable[..., Array]
    categorical_focal_crossentropy: Callable[..., Array]
    categorical_generalized_cross_entropy: Callable[..., Array]
    categorical_hinge: Callable[..., Array]
    circle: Callable[..., Array]
    cosine_similarity: Callable[..., Array]
    ctc: Callable[..., Array]
    dice: Callable[..., Array]
    hinge: Callable[..., Array]
    huber: Callable[..., Array]
    kl_divergence: Callable[..., Array]
    log_cosh: Callable[..., Array]
    mean_absolute_error: Callable[..., Array]
    mean_absolute_percentage_error: Callable[..., Array]
    mean_squared_error: Callable[..., Array]
    mean_squared_logarithmic_error: Callable[..., Array]
    poisson: Callable[..., Array]
    sparse_categorical_crossentropy: Callable[..., Array]
    squared_hinge: Callable[..., Array]
    tversky: Callable[..., Array]

# Families that many trainings do without.
_LATER = {
    "focal": ("BinaryFocalCrossentropy", "CategoricalFocalCrossentropy"),
    "margin": ("CategoricalHinge", "Hinge", "SquaredHinge"),
    "probabilistic": ("KLDivergence", "Poisson"),
    "segmentation": ("Dice", "Tversky"),
    "sequence": ("CTC",),
    "similarity": ("Circle", "CosineSimilarity"),
}
_load, __dir__ = loaded_later(__name__, _LATER)

NAMES = Names[Loss](
    Loss,
    (
        *(BinaryCrossentropy, CategoricalCrossentropy, CategoricalGeneralizedCrossEntropy, Huber, LogCosh),
        *(MeanAbsoluteError, MeanAbsolutePercentageError, MeanSquaredError, MeanSquaredLogarithmicError),
        SparseCategoricalCrossentropy,
    ),
    {
        **dict.fromkeys(("bce", "BCE"), BinaryCrossentropy),
        **dict.fromkeys(("kld", "KLD"), "KLDivergence"),
        **dict.fromkeys(("mae", "MAE"), MeanAbsoluteError),
        **dict.fromkeys(("mape", "MAPE"), MeanAbsolutePercentageError),
        **dict.fromkeys(("mse", "MSE"), MeanSquaredError),
        **dict.fromkeys(("msle", "MSLE"), MeanSquaredLogarithmicError),
        "huber_loss": Huber,
    },
    accepted="a name, a Loss, or a function f(y_true, y_pred)",
    from_function=FunctionLoss,
    later=[name for names in _LATER.values() for name in names],
    load=_load,
    room=__name__,
)

get = NAMES.get
deserialize = NAMES.deserialize

_logits = {"from_logits": False, "label_smoothing": 0.0, "axis": -1}
_focal = {"alpha": 0.25, "gamma": 2.0, **_logits}

# The losses as functions: what each takes besides y_true and y_pred, with the defaults.
_FUNCTIONS: dict[str, dict[str, Any]] = {
    "binary_crossentropy": {**_logits},
    "binary_focal_crossentropy": {"apply_class_balancing": False, **_focal},
    "categorical_crossentropy": {**_logits},
    "categorical_focal_crossentropy": {**_focal},
    "categorical_generalized_cross_entropy": {"q": 0.5},
    "categorical_hinge": {},
    "circle": {"remove_diagonal": True, "gamma": 80.0, "margin": 0.4},
    "cosine_similarity": {"axis": -1},
    "ctc": {},
    "dice": {"axis": None},
    "hinge": {},
    "huber": {"delta": 1.0},
    "kl_divergence": {},
    "log_cosh": {},
    "mean_absolute_error": {},
    "mean_absolute_percentage_error": {},
    "mean_squared_error": {},
    "mean_squared_logarithmic_error": {},
    "poisson": {},
    "sparse_categorical_crossentropy": {"from_logits": False, "ignore_class": None, "axis": -1},
    "squared_hinge": {},
    "tversky": {"alpha": 0.5, "beta": 0.5, "axis": None},
}


def _values(loss: Loss, xp: Backend, y_true: Any, y_pred: Any) -> Array:
    return loss.values(xp, y_true, y_pred)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        return _load(name)
    function = function_of(NAMES.find(name), name, ("y_true", "y_pred"), _values, **_FUNCTIONS[name])
    return globals().setdefault(name, function)


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
    "deserialize",
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
    "serialize",
    "sparse_categorical_crossentropy",
    "squared_hinge",
    "tversky",
]
