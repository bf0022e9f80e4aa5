"""The pools from which a device's memory is taken, and the limit that they share."""

from __future__ import annotations

import weakref
from importlib import import_module
from typing import Any

cupy: Any = import_module("cupy")


class Pools:
    """CuPy's own pool of one device, which is current, and those of captured steps.

    A pool of CuPy's knows a limit for itself alone: each is given what the others leave.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        """How many bytes they take together, at most."""
        self._of_steps: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()

    def new(self, owner: object) -> Any:
        """Return one more pool, which counts as long as its owner is there."""
        pool = self._of_steps[owner] = cupy.cuda.MemoryPool()
        self.share()
        return pool

    def set_limit(self, limit: int | None) -> None:
        """Set how many bytes the pools take together, from now on."""
        before, self.limit = self.limit, limit
        if limit is not None:
            self.share()
        elif before is not None:
            for pool in self._all():
                pool.set_limit(size=0)  # none

    def share(self) -> None:
        """Let each pool have what the others leave: called when one of them may have grown."""
        if self.limit is None:
            return
        pools = self._all()
        taken = sum(pool.total_bytes() for pool in pools)
        for pool in pools:
            pool.set_limit(size=max(self.limit - taken + pool.total_bytes(), 1))  # 0 would be no limit

    def free_memory(self) -> int:
        """Return how many bytes can be had, of CuPy's own pool or of what it may still take."""
        own = cupy.get_default_memory_pool()
        free: int = cupy.cuda.runtime.memGetInfo()[0]
        if self.limit is not None:
            free = min(free, max(self.limit - sum(pool.total_bytes() for pool in self._all()), 0))
        return free + own.free_bytes()

    def _all(self) -> list[Any]:
        return [cupy.get_default_memory_pool(), *self._of_steps.values()]
