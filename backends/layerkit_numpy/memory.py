"""How much memory the host has left for this process."""

from __future__ import annotations

import contextlib
import re
from importlib import import_module
from pathlib import Path
from typing import Any


def free_memory() -> int | None:
    """Return how many bytes can still be had, where the system tells.

    That is what Linux says is available, or what the limit of the process's addresses (``ulimit -v``) leaves, if less.
    """
    found: list[int] = []
    with contextlib.suppress(OSError, TypeError):  # no Linux
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        found += [int(kib) << 10 for kib in re.findall(r"^MemAvailable: +(\d+) kB", text, re.MULTILINE)]
    with contextlib.suppress(ImportError, OSError):
        resource: Any = import_module("resource")
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit != resource.RLIM_INFINITY:
            pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
            found.append(max(limit - pages * resource.getpagesize(), 0))
    return min(found, default=None)
