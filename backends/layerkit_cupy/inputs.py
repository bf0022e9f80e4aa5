"""The arrays that a captured step reads, and how batches of the host come there beside the step before."""

from __future__ import annotations

import contextlib
import itertools
import math
from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.xp.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.program import Spec
    from layerkit_cupy.backend import CupyBackend

cupy: Any = import_module("cupy")
cupyx: Any = import_module("cupyx")

ALIGNED = 256
"""Bytes: where each array begins, as in CuPy's own memory. Kernels read 16 at a time."""


class Inputs:
    """Arrays at addresses that stay, side by side in one stretch of memory.

    A graph reads its inputs where they lay when it was made, and kernels read 128 bits at a time: so batches are copied
    to where both hold.

    Args:
        specs: the shape and dtype of each.
    """

    def __init__(self, specs: Sequence[Spec]) -> None:
        self._places: list[tuple[Spec, slice]] = []
        end = 0
        for spec in specs:
            size = math.prod(spec.shape) * spec.dtype.itemsize
            self._places.append((spec, slice(end, end + size)))
            end += -(-size // ALIGNED) * ALIGNED
        self._memory = cupy.empty((end,), cupy.uint8)
        self.arrays = self.cut(self._memory)
        self._dock: Dock | None = None
        self._may_dock = end > 0

    def cut(self, memory: Any) -> list[Any]:
        """Return the arrays as views of so many bytes."""
        return [memory[place].view(spec.dtype).reshape(spec.shape) for spec, place in self._places]

    def fill(self, batch: Sequence[Any], xp: CupyBackend) -> None:
        """Bring a batch, of arrays of the host or of the backend: what is asked of the current stream next sees it."""
        dock = None if any(isinstance(array, (Rows, cupy.ndarray)) for array in batch) else self._opened()
        if dock is not None:
            dock.bring(batch, self._memory)
            return
        for target, array in zip(self.arrays, batch, strict=True):
            cupy.copyto(target, xp.asarray(array))

    def _opened(self) -> Dock | None:
        if self._dock is None and self._may_dock:
            try:
                self._dock = Dock(self, self._memory.size)
            except cupy.cuda.runtime.CUDARuntimeError:  # the host has no page-locked memory to give
                self._may_dock = False
        return self._dock


class Dock:
    """Where batches land on their way from the host.

    The host puts a batch into page-locked memory, of which there are two pieces: it fills one while the other is read.
    A stream of its own copies it to the device, while the device takes the step before; it is the device that waits for
    the copy. There, it is moved to where the step reads it.

    Args:
        inputs: how a batch lies in memory.
        size: its bytes.
    """

    def __init__(self, inputs: Inputs, size: int) -> None:
        memories = [cupyx.empty_pinned((size,), cupy.uint8) for _ in range(2)]
        pieces = [(memory, inputs.cut(memory), cupy.cuda.Event(disable_timing=True)) for memory in memories]
        self._pieces = itertools.cycle(pieces)
        self._landed = cupy.empty((size,), cupy.uint8)
        self._stream = cupy.cuda.Stream(non_blocking=True)
        self._moved = cupy.cuda.Event(disable_timing=True)
        # The pool may give memory that the current stream has still to read for who had it before: first that, then us.
        self._moved.record(cupy.cuda.get_current_stream())

    def bring(self, batch: Sequence[Any], target: Any) -> None:
        """Copy a batch of the host to the target, in time for what is asked of the current stream from now on."""
        memory, arrays, copied = next(self._pieces)
        copied.synchronize()
        for array, values in zip(arrays, batch, strict=True):
            array[...] = values
        self._stream.wait_event(self._moved)
        self._landed.set(memory, self._stream)
        copied.record(self._stream)
        current = cupy.cuda.get_current_stream()
        current.wait_event(copied)
        cupy.copyto(target, self._landed)
        self._moved.record(current)

    def __del__(self) -> None:
        # Page-locked memory goes back to a pool: nobody may be given it while it is read.
        with contextlib.suppress(Exception):
            self._stream.synchronize()
