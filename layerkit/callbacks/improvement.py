"""Whether a number has improved: for callbacks that watch one."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

# Words in the names of numbers of which less is better, and of those of which more is.
_FALLING = {"loss", "error", "mse", "mae", "mape", "msle", "rmse", "crossentropy", "entropy", "divergence", "hinge"}
_RISING = {"acc", "accuracy", "auc", "precision", "recall", "f1", "fbeta", "iou", "r2", "cosine", "correlation"}


def rises(owner: str, monitor: str, mode: str) -> bool:
    """Tell whether more of a number is better: as `mode` says ("min", "max"), or with "auto" its name.

    Raises:
        ArgumentError: the mode is none of these, or "auto" for a name that does not tell.
    """
    if mode not in ("auto", "min", "max"):
        raise ArgumentError(f"{owner}: mode must be 'auto', 'min' or 'max'. Received: mode={mode!r}")
    if mode != "auto":
        return mode == "max"
    words = set(monitor.lower().split("_"))
    if words & _FALLING:
        return False
    if words & _RISING:
        return True
    raise ArgumentError(
        f"{owner}: mode must be given where the name of a number does not tell whether more of it is better. "
        f"Received: monitor={monitor!r}, mode='auto'. Give mode='min' or mode='max'."
    )


def improves(value: float, reference: float | None, *, rising: bool, min_delta: float = 0.0) -> bool:
    """Tell whether a number is better than another by more than `min_delta`. NaN never is; None is worse than any."""
    if reference is None:
        return not math.isnan(value)
    return value > reference + min_delta if rising else value < reference - min_delta


def monitored(owner: str, logs: Mapping[str, Any] | None, monitor: str, *, known: bool) -> float | None:
    """Return a number of the logs; None where it is not among them, which is warned of unless it is known already.

    Known it is where it was there before: with `validation_freq`, some epochs have no validation.

    Raises:
        ArgumentError: what stands there is several numbers.
    """
    value = (logs or {}).get(monitor)
    if value is None:
        if not known:
            from layerkit.program import users_frame  # seldom needed

            warnings.warn(
                f"{owner}: monitor must be among the logs. Received: monitor={monitor!r}, logs of "
                f"{', '.join(logs or ())}. Names that begin with 'val_' need validation data.",
                stacklevel=users_frame()[1] + 1,
            )
        return None
    if getattr(value, "ndim", 0):  # a metric of several numbers
        raise ArgumentError(
            f"{owner}: monitor must name one number. Received: monitor={monitor!r}, of shape {value.shape}"
        )
    return float(value)
