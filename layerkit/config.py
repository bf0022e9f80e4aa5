"""Settings of the process, under Keras's names."""

from __future__ import annotations

from layerkit.dtype_policies import FLOATS, dtype_policy, set_dtype_policy
from layerkit.errors import ArgumentError
from layerkit.losses.loss import EPSILON

__all__ = ["dtype_policy", "epsilon", "floatx", "set_dtype_policy", "set_floatx"]


def floatx() -> str:
    """Return the dtype of the weights of new models: "float32" unless that was set."""
    return dtype_policy().variable_dtype


def set_floatx(value: str) -> None:
    """Let new models compute in a dtype, and keep their weights in it; the same as `set_dtype_policy` with its name.

    Args:
        value: "float32", "float64" or "float16".

    Raises:
        ArgumentError: it is none of these.
    """
    if value not in FLOATS:
        raise ArgumentError(f"set_floatx: value must be one of {', '.join(FLOATS)}. Received: {value!r}")
    set_dtype_policy(value)


def epsilon() -> float:
    """Return what losses and metrics keep from 0: probabilities from 0 and 1, and denominators. It cannot be set."""
    return EPSILON
