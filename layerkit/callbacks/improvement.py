"""Whether a number has improved: for callbacks that watch one."""

from __future__ import annotations

import math

from layerkit.errors import ArgumentError

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
