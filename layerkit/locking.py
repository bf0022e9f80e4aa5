"""Locks on files: held until the file is closed, or its process ends, however it does."""

from __future__ import annotations

import os
import sys
from typing import IO, Any

_FAR = 2**40
"""Where nobody writes: on Windows, a locked byte can be read by its owner alone."""


def try_lock(file: IO[Any]) -> bool:
    """Lock a file, unless somebody else has done so; tell whether it is locked now."""
    if sys.platform == "win32":
        return _try_lock_on_windows(file)
    import fcntl  # is not everywhere

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_on_windows(file: IO[Any]) -> bool:
    import msvcrt  # is there alone

    locking: Any = msvcrt
    descriptor = file.fileno()
    place = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _FAR, os.SEEK_SET)  # what is locked begins where the file stands
    try:
        locking.locking(descriptor, locking.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        os.lseek(descriptor, place, os.SEEK_SET)
    return True
