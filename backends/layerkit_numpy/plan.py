"""Where a program's values lie: results straight in state, in place, in tiles that stay in cache, in shared memory."""

from __future__ import annotations

import bisect
from typing import TYPE_CHECKING, Any, NamedTuple

from numpy.lib.array_utils import byte_bounds

from layerkit_numpy.lines import COPY, Line, Lines, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ALIGNMENT = 64
"""Bytes: a cache line, and the widest vector register."""

LONG = 1 << 22
"""Results of elements. Of a loop with fewer (SGD's, over 670,000 parameters), another thread took off nothing: it has
to find a processor first on which BLAS is not waiting."""

SMALL = 4096
"""Bytes. Of fewer, NumPy takes longer to see that a result may be written over an operand than to compute it."""


class Storage:
    """Memory that one value, or several after one another, are written into.

    Args:
        nbytes: how much.
        first: the number of the first line that needs it.
    """

    __slots__ = ("first", "last", "nbytes", "offset", "rows")

    def __init__(self, nbytes: int, first: int, rows: int | None) -> None:
        self.nbytes = nbytes
        self.first = self.last = first
        self.offset = 0
        self.rows = rows
        """How many rows it holds, if it holds a tile only."""


class Group(NamedTuple):
    """Lines `first` to `last`, which are run over some rows of all their arrays at a time."""

    first: int
    last: int
    length: int
    """How many rows there are."""
    rows: int
    """How many of them at a time."""


class Plan:
    """The lines of a program and the memory they work in.

    Args:
        lines: what is to be planned; the list is shortened where a line is not needed.
        tile_size: over how many elements a chain of lines is run at a time.
        threads: how many threads share a long loop.
    """

    def __init__(self, lines: Lines, tile_size: int, threads: int = 1) -> None:
        self.threads = threads
        self.lines = lines.lines
        self.outputs = lines.outputs
        self._write_straight_into_state()
        self._gather_loops()
        self.groups = list(self._grouped(tile_size))
        self._last_uses()
        self.storages = self._stored()
        self.nbytes = _placed(self.storages)

    # Results straight in state.

    def _write_straight_into_state(self) -> None:
        """Let a value that is copied into state be computed there, where nothing reads the state in between."""
        touches = _Touches(self.lines)
        kept: list[Line] = []
        for number, line in enumerate(self.lines):
            if line.text == COPY and line.out.root.kind == "held" and self._may_move(number, touches):
                line.operands[0].storage = line.out
                touches.move(number)
            else:
                kept.append(line)
        self.lines = kept

    def _may_move(self, number: int, touches: _Touches) -> bool:
        state, value = self.lines[number].out, self.lines[number].operands[0]
        if not isinstance(value, Value) or value.kind != "made" or value.storage is not None:
            return False
        if (
            value.shape != state.shape
            or value.dtype != state.dtype
            or not state.array.flags.c_contiguous
            or any(output.root is value for output in self.outputs)
            or len(touches.writers[id(value)]) > 1
        ):
            return False
        span = _span(state)
        (first,) = touches.writers[id(value)]
        line = self.lines[first]
        # Where it is computed from the state itself, element by element, it may be written over it.
        if any(_overlaps(operand, span) and not (line.elementwise and _is(operand, state)) for operand in line.values):
            return False
        if touches.state(span, first + 1, number):
            return False
        last = max(touches.readers[id(value)])
        return not touches.state(span, number + 1, last + 1, written=True)

    # Tiles.

    def _gather_loops(self) -> None:
        """Let lines about single numbers stand before the long lines around them, which can then share a loop."""
        lines = self.lines
        for number, line in enumerate(lines):
            if any(value.shape for value in line.values) or any(out.shape or out.kind != "made" for out in line.outs):
                continue
            place = number
            while place and lines[place - 1].rowwise and lines[place - 1].out.size > 1:
                span = _span(lines[place - 1].out)
                needed = (*line.values, *line.outs)
                if any(value.root is lines[place - 1].out.root or _overlaps(value, span) for value in needed):
                    break
                place -= 1
            lines.insert(place, lines.pop(number))

    def _grouped(self, tile_size: int) -> Iterable[Group]:
        first = 0
        while first < len(self.lines):
            last, widest = self._run(first, tile_size)
            length = self.lines[first].outs[0].shape[0] if self.lines[first].outs[0].shape else 0
            rows = max(1, tile_size // max(widest, 1))
            if last > first and rows < length:
                # Tiles of one size, rather than a small one at the end.
                count = -(-length // rows)
                rows = -(-length // count)
                # Where rows are many, each tile of 4-byte numbers begins as its array does, on a cache line.
                yield Group(first, last, length, rows if rows < ALIGNMENT else -(-rows // 16) * 16)
            first = last + 1

    def _run(self, first: int, tile_size: int) -> tuple[int, int]:
        """Return the number of the last line that is to share a loop with this one, and the widest row among them."""
        line = self.lines[first]
        if not _tiles(line, None) or _fits(line, tile_size):
            return first, 1
        length = line.out.shape[0]
        last, widest = first, 1
        for number in range(first, len(self.lines)):
            line = self.lines[number]
            if not _tiles(line, length) or _crosses(line, self.lines[first:number]):
                break
            last = number
            widest = max(widest, *(value.size // length for value in (line.out, *line.values) if has_rows(value, line)))
        while _fits(self.lines[last], tile_size):
            last -= 1
        return last, widest

    def shared(self, group: Group) -> bool:
        """Tell whether a loop is long enough to be shared among threads."""
        work = sum(line.out.size for line in self.lines[group.first : group.last + 1])
        return self.threads > 1 and work >= LONG and group.length > group.rows

    # Memory.

    def _last_uses(self) -> None:
        for number, line in enumerate(self.lines):
            for value in (*line.values, *line.outs):
                value.root.last = number
        for value in self.outputs:
            value.root.last = len(self.lines)

    def _stored(self) -> list[Storage]:
        storages: list[Storage] = []
        inside = {number: group for group in self.groups for number in range(group.first, group.last + 1)}
        views: dict[int, list[Value]] = {}
        for line in self.lines:
            for value in line.values:
                views.setdefault(id(value.root), []).append(value)
        for number, line in enumerate(self.lines):
            for out in line.outs:
                value = out.root
                if value.kind != "made" or value.storage is not None:
                    continue
                group = inside.get(number)
                whole = group is None or value.last > group.last or not all(map(_of_any_rows, views.get(id(value), ())))
                loop = [] if group is None else self.lines[group.first : group.last + 1]
                earlier = self._in_place(line, number, value, loop, whole=whole)
                if earlier is None:
                    rows = None if whole or group is None else group.rows
                    nbytes = value.nbytes
                    if rows is not None:  # for each thread
                        nbytes = aligned(value.nbytes // max(value.shape[0], 1) * rows) * self.threads
                    earlier = Storage(nbytes, number, rows)
                    storages.append(earlier)
                value.storage = earlier
                earlier.last = max(earlier.last, value.last)
        for storage in storages:
            # What is needed whole is needed in all rounds of a loop.
            if storage.rows is None:
                storage.first = inside[storage.first].first if storage.first in inside else storage.first
                storage.last = inside[storage.last].last if storage.last in inside else storage.last
        return storages

    def _in_place(self, line: Line, number: int, value: Value, loop: Sequence[Line], *, whole: bool) -> Any:
        """Return the memory of an operand that is not needed any more, and that the result may be written over."""
        if not line.elementwise or line.out is not value or value.nbytes < SMALL:
            return None
        for operand in line.values:
            root = operand.root
            storage = root.storage
            if (
                isinstance(storage, Storage)
                and (operand is root or operand.nbytes == root.nbytes)
                and operand.array.flags.c_contiguous
                and operand.shape == value.shape
                and operand.dtype.itemsize == value.dtype.itemsize
                and storage.last == number
                and root.last == number
                and whole is (storage.rows is None)  # a tile's memory is in cache; elsewhere, it would be written back
                and all(other is operand or other.root.storage is not storage for other in line.values)
                and not any(other.root.storage is storage for each in loop for other in _of_other_rows(each))
            ):
                return storage
        return None


class _Touches:
    """Which lines read and write what, so that a long program is not looked through for each of its copies."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self.writers: dict[int, list[int]] = {}
        self.readers: dict[int, list[int]] = {}
        self._lines = lines
        self._spans: dict[int, list[tuple[tuple[int, int], bool]]] = {}
        for number, line in enumerate(lines):
            for out in line.outs:
                self.writers.setdefault(id(out), []).append(number)
                self._touch(number, _span(out), written=True)
            for value in line.values:
                self.readers.setdefault(id(value.root), []).append(number)
                self._touch(number, _span(value), written=False)
        self._numbers = sorted(self._spans)

    def _touch(self, number: int, span: tuple[int, int] | None, *, written: bool) -> None:
        if span is not None:
            self._spans.setdefault(number, []).append((span, written))

    def state(self, span: tuple[int, int] | None, start: int, stop: int, *, written: bool = False) -> bool:
        """Tell whether any line from `start` to before `stop` reads or writes this state (or only, writes it)."""
        if span is None:
            return False
        places = range(bisect.bisect_left(self._numbers, start), bisect.bisect_left(self._numbers, stop))
        return any(
            low < span[1] and span[0] < high and (writes or not written)
            for place in places
            for (low, high), writes in self._spans[self._numbers[place]]
        )

    def move(self, number: int) -> None:
        """Note that what this line copies into state is computed there, and the line left out."""
        value, span = self._lines[number].operands[0], _span(self._lines[number].out)
        self._spans[number] = []
        for other in (*self.writers[id(value)], *self.readers[id(value)]):
            if other != number:
                if other not in self._spans:
                    bisect.insort(self._numbers, other)
                self._touch(other, span, written=other in self.writers[id(value)])


def _placed(storages: Sequence[Storage]) -> int:
    """Give each storage its place in one stretch of memory, the largest first; return how many bytes that needs.

    Two that are needed at the same time do not overlap. This is the "greedy by size" of Pisarchyk and Lee, "Efficient
    memory management for deep neural net inference" (2020).
    """
    placed: list[Storage] = []  # by offset
    total = 0
    for storage in sorted(storages, key=lambda s: -s.nbytes):
        offset = 0
        for other in placed:
            if storage.last < other.first or other.last < storage.first:
                continue
            if offset + storage.nbytes <= other.offset:
                break
            offset = max(offset, aligned(other.offset + other.nbytes))
        storage.offset = offset
        bisect.insort(placed, storage, key=lambda s: s.offset)
        total = max(total, offset + storage.nbytes)
    return total


def aligned(nbytes: int) -> int:
    """Return the number of bytes after which the next array may begin."""
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def _span(value: Value) -> tuple[int, int] | None:
    """Return the addresses of state that a value's memory lies between; None if it is not in state."""
    root = value.root
    held = root.storage if isinstance(root.storage, Value) else root
    if held.kind != "held":
        return None
    where = value if held is root else held
    if where.bounds is None:
        where.bounds = byte_bounds(where.array) if where.size else (0, 0)
    return where.bounds if where.size else None


def _overlaps(value: Value, span: tuple[int, int] | None) -> bool:
    mine = _span(value)
    return mine is not None and span is not None and mine[0] < span[1] and span[0] < mine[1]


def _is(value: Value, state: Value) -> bool:
    """Tell whether a value is this very state, element for element."""
    return (
        value.shape == state.shape
        and value.dtype == state.dtype
        and _span(value) == _span(state)
        and value.array.strides == state.array.strides  # and not its transpose
    )


def has_rows(value: Value, line: Line) -> bool:
    """Tell whether a value has a row for each row of the line's result."""
    deepest = max(len(line.out.shape), *(len(operand.shape) for operand in line.values), 0)
    return (
        len(value.shape) == deepest and bool(value.shape) and value.shape[0] == line.out.shape[0]
    ) or value is line.out


def _of_other_rows(line: Line) -> list[Value]:
    """Return the operands of which a line takes more, or others, than the rows that it is run over."""
    return [value for value in line.values if not has_rows(value, line) or not _of_any_rows(value)]


def _of_any_rows(value: Value) -> bool:
    """Tell whether a view can be taken of some rows as it is of all."""
    while value.base is not None:
        if not value.text.startswith(("{0}.view(", "{0}[:, ", "np.squeeze(")):
            return False
        if value.shape[:1] != value.base.shape[:1]:
            return False
        value = value.base
    return True


def _crosses(line: Line, loop: Sequence[Line]) -> bool:
    """Tell whether a line, in one loop with these, would meet rows that another round has written, or is to write."""
    for one, other in [(line, line), *((line, each) for each in loop), *((each, line) for each in loop)]:
        span = _span(other.out)
        if _overlaps(one.out, span) and not _is(one.out, other.out):
            return True
        for value in one.values:
            whole = not has_rows(value, one)
            if value.root is other.out.root and value.root.kind == "made":
                if whole or not _of_any_rows(value):
                    return True
            elif _overlaps(value, span) and (whole or not _is(value, other.out)):
                return True
    return False


def _fits(line: Line, tile_size: int) -> bool:
    """Tell whether all that a line reads and writes is no more than a tile, so that one call is better than a loop."""
    return all(value.size <= tile_size for value in (line.out, *line.values))


def _tiles(line: Line, length: int | None) -> bool:
    """Tell whether a line can be run over some rows at a time."""
    if not line.rowwise or len(line.outs) != 1 or not line.out.shape:
        return False
    if length is not None and line.out.shape[0] != length:
        return False
    if line.out.shape[0] < 2:
        return False
    return all(value.root.kind not in ("given", "fresh") or not has_rows(value, line) for value in line.values)
