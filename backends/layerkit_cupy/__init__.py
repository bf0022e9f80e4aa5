"""The GPU backend: CuPy.

It is imported when a backend of the name "cupy" is asked for, and says in one sentence what is missing where it cannot
be had.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit_cupy.backend import CupyBackend

__all__ = ["CupyBackend"]


def __getattr__(name: str) -> Any:
    if name != "CupyBackend":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from layerkit_cupy.installation import check_installation

    check_installation()
    from layerkit_cupy.backend import CupyBackend

    return CupyBackend
