"""Loops over tiles that several threads share: NumPy lets other threads run while it computes."""

from __future__ import annotations

import contextvars
import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST = 8
"""How many threads are of use: elementwise work is soon held up by memory."""

_pool: ThreadPoolExecutor | None = None


def threads() -> int:
    """Return how many threads share a loop: as many as there are processors, or as the user lets BLAS have."""
    for name in ("LAYERKIT_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        if os.environ.get(name, "").isdigit():
            return min(max(int(os.environ[name]), 1), MOST)
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, MOST)


def in_parallel(function: Callable[[Sequence[Any]], None], tiles: Sequence[Any], count: int) -> None:
    """Call a function with every `count`-th tile, in as many threads.

    Args:
        function: of tiles; it writes to other memory for each of them.
        tiles: all of them; those of one thread share what they reuse.
        count: of threads.
    """
    pool = _opened()
    others = [
        # What NumPy does about overflow, say, belongs to the context.
        pool.submit(contextvars.copy_context().run, function, tiles[number::count])
        for number in range(1, count)
    ]
    try:
        function(tiles[::count])
    finally:
        for other in others:
            other.result()


def _opened() -> ThreadPoolExecutor:
    global _pool  # one for the process
    if _pool is None:
        _pool = ThreadPoolExecutor(MOST - 1, thread_name_prefix="layerkit")
    return _pool


def _forget() -> None:
    """After a fork, open a new one: the threads of the old one are not there."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
