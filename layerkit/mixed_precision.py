"""Mixed precision, under Keras's older names: see `layerkit.dtype_policies`."""

from __future__ import annotations

from layerkit.dtype_policies import DTypePolicy, dtype_policy, set_dtype_policy
from layerkit.optimizers.loss_scale_optimizer import LossScaleOptimizer

Policy = DTypePolicy
global_policy = dtype_policy
set_global_policy = set_dtype_policy

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
