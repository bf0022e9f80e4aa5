"""The pools from which a device's memory is taken, and the limit that they share."""

from __future__ import annotations

import threading
import weakref
from importlib import import_module
from typing import Any

cupy: Any = import_module("cupy")

_OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class Pools:
    """CuPy's own pool of one device, which is current, and those of captured steps.

    A pool of CuPy's knows a limit for itself alone: its own is given what the others leave.
    """

    def __init__(self) -> None:
        self.limit: int | None = None
        """How many bytes they take together, at most."""
        self._of_steps: weakref.WeakSet[StepPool] = weakref.WeakSet()
        self._lock = threading.Lock()  # a set may not grow while another thread goes through it

    def new(self) -> StepPool:
        """Return one more pool, which counts as long as it is there."""
        pool = StepPool(self)
        with self._lock:
            self._of_steps.add(pool)
        return pool

    def set_limit(self, limit: int | None) -> None:
        """Set how many bytes the pools take together, from now on."""
        before, self.limit = self.limit, limit
        if limit is not None:
            self.share()
        elif before is not None:
            cupy.get_default_memory_pool().set_limit(size=0)  # none

    def share(self) -> None:
        """Let CuPy's own pool have what the others leave: called when one of them may have grown."""
        if self.limit is not None:
            own = cupy.get_default_memory_pool()
            own.set_limit(size=max(self.limit - self.taken() + own.total_bytes(), 1))  # 0 would be no limit

    def taken(self) -> int:
        """Return how many bytes the pools have together."""
        with self._lock:
            steps = list(self._of_steps)
        own: int = cupy.get_default_memory_pool().total_bytes()
        return own + sum(step.pool.total_bytes() for step in steps)

    def free_memory(self) -> int:
        """Return how many bytes can be had, of CuPy's own pool or of what it may still take."""
        free: int = cupy.cuda.runtime.memGetInfo()[0]
        if self.limit is not None:
            free = min(free, max(self.limit - self.taken(), 0))
        return free + cupy.get_default_memory_pool().free_bytes()


class StepPool:
    """The memory of a captured step.

    It is CuPy's pool that lets one value have the memory of another that is over. Two things it would do are not for
    graphs, which read and write at addresses of once. It keeps memory apart for each stream: here, all is that of the
    stream in which the step is captured, wherever it runs. And where it can get no more, it gives back what is at rest:
    that is the memory of a graph between two launches.

    Args:
        pools: the others.
    """

    def __init__(self, pools: Pools) -> None:
        self._pools = pools
        self.stream: Any = cupy.cuda.Stream(non_blocking=True)
        self.holds_graph = False
        """Whether a graph has addresses of this memory, so that none may be given back."""
        this = weakref.ref(self)  # without a circle, the memory is given back as soon as nobody has the pool

        def more(size: int) -> Any:
            return this()._more(size)  # pyright: ignore[reportOptionalMemberAccess] - it is there: its pool asks

        self.pool: Any = cupy.cuda.MemoryPool(more)
        self.pool.set_limit(size=0)  # of an environment variable of CuPy's: `_more` looks

    def malloc(self, size: int) -> Any:
        """Return memory for an array: what `cupy.cuda.using_allocator` takes."""
        with self.stream:
            return self.pool.malloc(size)

    def _more(self, size: int) -> Any:
        """Return memory from the device: asked for by CuPy's pool, where nothing at rest is large enough."""
        own = cupy.get_default_memory_pool()
        limit = own.get_limit() if self._pools.limit is None else self._pools.limit
        # What can be given back, until there is room.
        for give_back in (None, own.free_all_blocks, None if self.holds_graph else self.pool.free_all_blocks):
            if give_back is not None:
                give_back()
            if limit and self._pools.taken() > limit:  # this pool counts the new bytes already
                continue
            try:
                return cupy.cuda.MemoryPointer(cupy.cuda.Memory(size), 0)
            except cupy.cuda.runtime.CUDARuntimeError as error:
                if error.status != _OUT_OF_MEMORY:
                    raise
        raise cupy.cuda.memory.OutOfMemoryError(size, self._pools.taken() - size, limit)
