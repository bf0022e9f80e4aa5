"""Where the user's own code stands among the calls that are being made."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

# What stands between a user's line and what it asks for: ourselves, and who calls us on the way.
_FRAMEWORK = {"layerkit", "layerkit_numpy", "layerkit_cupy", "layerkit_torch", "numpy", "contextlib", "functools"}


def users_frame(frame: FrameType | None = None) -> tuple[FrameType | None, int]:
    """Return the innermost frame that is not the framework's, from a frame on, and how many are within it."""
    frame = frame or sys._getframe(1)  # pyright: ignore[reportPrivateUsage] - a traceback's view, without raising
    within = 0
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _FRAMEWORK:
        frame, within = frame.f_back, within + 1
    return frame, within


def users_line(frame: FrameType | None = None) -> str:
    """Return the user's innermost line, from a frame on: "model.py, line 12"; empty where there is none."""
    found, _ = users_frame(frame)
    if found is None:
        return ""
    name = found.f_code.co_filename.replace("\\", "/").rpartition("/")[2]  # the module pathlib is slow to load
    return f"{name}, line {found.f_lineno}"
