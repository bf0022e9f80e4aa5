"""The PyTorch backend.

It is imported when a backend of the name "torch" is asked for, and says in one sentence what is missing where it cannot
be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit_torch.backend import TorchBackend

__all__ = ["TorchBackend"]


def __getattr__(name: str) -> Any:
    if name != "TorchBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from layerkit_torch.installation import check_installation

    check_installation()
    from layerkit_torch.backend import TorchBackend

    return TorchBackend
