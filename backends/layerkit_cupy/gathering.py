"""Batches that are gathered as a part of the step: its graph is launched, and nothing else.

The number of the row, or of the place in an order, at which the next batch begins is kept on the device, and moved on
by the graph itself.
"""

from __future__ import annotations

import functools
import math
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.xp.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

cupy: Any = import_module("cupy")

THREADS = 256
WORDS = {1: "unsigned char", 2: "unsigned short", 4: "unsigned int", 8: "unsigned long long"}
"""Types by their bytes: a row is copied in the widest words that it consists of."""

_GATHER = """extern "C" __global__ void {name}(const {word} *source, {parameter}const unsigned long long *first,
    {word} *target, unsigned long long size, unsigned long long width)
{{
    const unsigned long long step = (unsigned long long)gridDim.x * blockDim.x;
    for (unsigned long long i = (unsigned long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step)
        target[i] = source[{row} * width + i % width];
}}
"""

ADVANCE = """extern "C" __global__ void layerkit_advance(unsigned long long *first, unsigned long long rows,
    unsigned long long last)
{
    *first = *first + rows > last ? 0 : *first + rows;
}
"""

_advance = cupy.RawKernel(ADVANCE, "layerkit_advance")


@functools.cache
def _kernel(size: int, *, ordered: bool) -> Any:
    name, source = gather_source(size, ordered=ordered)
    return cupy.RawKernel(source, name)


def gather_source(size: int, *, ordered: bool) -> tuple[str, str]:
    """Return the name and source of the kernel that copies rows in words of so many bytes."""
    name = f"layerkit_gather_{'ordered' if ordered else 'rows'}_{size}"
    return name, _GATHER.format(
        name=name,
        word=WORDS[size],
        parameter="const long long *order, " if ordered else "",
        row="order[*first + i / width]" if ordered else "(*first + i / width)",
    )


class Gathering:
    """Which rows of which arrays a graph gathers.

    Args:
        batch: the first of them.
        targets: where they go.
    """

    def __init__(self, batch: Sequence[Rows], targets: Sequence[Any]) -> None:
        self._arrays = [weakref.ref(rows.array) for rows in batch]  # they belong to the data set
        self._targets = targets
        self._rows = len(targets[0])
        order = batch[0].order
        self._count = len(batch[0].array) if order is None else len(order)
        self._order = None if order is None else cupy.empty(order.shape, order.dtype)
        self._filled: Any = None
        self._first = cupy.empty((), dtype=cupy.uint64)
        self._next = -1

    @staticmethod
    def takes(batch: Sequence[Any]) -> bool:
        """Tell whether these are rows of the same numbers, of arrays that lie row by row."""
        return len(batch) > 0 and all(
            isinstance(rows, Rows)
            and rows.order is batch[0].order
            and rows.start == batch[0].start
            and rows.array.flags.c_contiguous
            and rows.array.size > 0
            for rows in batch
        )

    def fits(self, batch: Sequence[Rows]) -> bool:
        """Tell whether these rows are of the same arrays, in an order as long."""
        count = len(batch[0].array) if batch[0].order is None else len(batch[0].order)
        return (
            count == self._count
            and (self._order is None) == (batch[0].order is None)
            and all(ref() is rows.array for ref, rows in zip(self._arrays, batch, strict=True))
        )

    def launch(self) -> None:
        """Gather, and move on: called once before the graph is captured, so that the kernels are there, and in it."""
        order = () if self._order is None else (self._order,)
        for ref, target in zip(self._arrays, self._targets, strict=True):
            source: Any = ref()
            row_bytes = math.prod(source.shape[1:]) * source.dtype.itemsize
            # Powers of two that divide each: a row's bytes, and where the arrays begin.
            aligned = row_bytes | source.data.ptr | target.data.ptr | max(WORDS)
            word = min(aligned & -aligned, max(WORDS))
            width = row_bytes // word
            size = self._rows * width
            arguments = (source, *order, self._first, target, cupy.uint64(size), cupy.uint64(width))
            blocks = min(-(-size // THREADS), 32 * cupy.cuda.Device().attributes["MultiProcessorCount"])
            _kernel(word, ordered=bool(order))((blocks,), (THREADS,), arguments)
        _advance((1,), (1,), (self._first, cupy.uint64(self._rows), cupy.uint64(self._last)))

    @property
    def _last(self) -> int:
        """The last row at which a whole batch begins."""
        return self._count - self._rows

    def begin(self, batch: Sequence[Rows]) -> None:
        """Before the graph is launched: bring what is not as the graph left it. Within a pass, that is nothing."""
        order, start = batch[0].order, batch[0].start
        if order is not self._filled:
            cupy.copyto(self._order, order)
            self._filled = order
        if start != self._next:
            cupy.copyto(self._first, start)
        self._next = 0 if start + self._rows > self._last else start + self._rows
