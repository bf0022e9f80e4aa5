"""Settings of the process, under Keras's names."""

from __future__ import annotations

from layerkit.dtype_policies import dtype_policy, set_dtype_policy

__all__ = ["dtype_policy", "set_dtype_policy"]
