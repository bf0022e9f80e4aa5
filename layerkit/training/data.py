"""What `fit`, `evaluate` and `predict` are given, cut into batches.

The rows of arrays are gathered straight into buffers that are allocated once; a source of batches (a generator, a
loader) is asked for one batch after the other. Both end as tuples (x, y, sample_weight) of host arrays; for a model
with several outputs, y and sample_weight are tuples of arrays, one for each output that has a loss or metrics.
"""

from __future__ import annotations

import contextlib
import math
import sys
from functools import partial
from itertools import islice, repeat
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from layerkit.checks import is_a, is_integer
from layerkit.errors import ArgumentError, DataError, ShapeError
from layerkit.nested import is_nest, leaves, mapped
from layerkit.training.arrays import CHUNK_BYTES, as_array, check_finite, check_range, is_array, stretches
from layerkit.training.outputs import Outputs
from layerkit.training.resident import Order, ResidentColumn, as_resident, is_finite
from layerkit.xp.foreign import brought, place_of, place_of_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from layerkit.training.goals import Goal, Goals
    from layerkit.training.transfer import Transfers
    from layerkit.xp import Backend

Shape = tuple[int | None, ...]
Batch = tuple[Any, Any, Any]

LABEL_DTYPE = "int32"

DEFAULT_ROWS = 32
"""Rows a batch where nothing is said, as in Keras."""

MANY_ROWS = 4096
MANY_BYTES = 1 << 22
LEAST_BATCHES = 16
"""Where nobody counts batches: rows a batch and their bytes, beside which a step's fixed cost is small, and of how many
batches the last, whose size may be new to a recorded step, is a small part."""


class Rules:
    """What the model asks of its data: the shape of x, the shape and range of y, the dtypes.

    Args:
        dtype: of the model's computation.
        output_shape: a function from the shape of x to that of the output; it refuses an x that does not fit.
        goals: say what targets must look like; None where there are no targets.
        input_dtype: of x; None leaves integers as they are.
        input_shape: the shape of x if the model is built for it.
        index_count: how many indices there are, where x holds indices.
        output_names: the model's own names for its outputs.
        home: returns the backend on which the model lives now.
        transfers: is told what lies elsewhere.
    """

    def __init__(
        self,
        dtype: str,
        output_shape: Callable[[Shape], Any],
        goals: Goals | None,
        input_dtype: str | None,
        input_shape: Shape | None,
        home: Callable[[], Backend],
        transfers: Transfers,
        index_count: int | None = None,
        output_names: Sequence[str] | None = None,
    ) -> None:
        self.home = home
        self.transfers = transfers
        self.dtype = dtype
        self.goals = goals
        self.input_dtype = input_dtype
        self.input_shape = input_shape
        self.index_count = index_count
        self._output_shape = output_shape
        self._output_names = output_names
        self._outputs: dict[Shape, Outputs] = {}

    @property
    def dtypes(self) -> tuple[str | None, Any, str]:
        """The dtypes of x, y and weights within the model; for several outputs a tuple of those of y."""
        found = self._goals
        dtypes = [LABEL_DTYPE if goal.loss is not None and goal.loss.labels else self.dtype for goal in found]
        several = any(outputs.several for outputs in self._outputs.values())
        return self.input_dtype, tuple(dtypes) if several else dtypes[0] if dtypes else self.dtype, self.dtype

    @property
    def _goals(self) -> list[Goal]:
        """Those for which there must be targets, as far as the outputs are known."""
        if self.goals is None or not self._outputs:
            return []
        return [goal for goal in self.goals.of(next(iter(self._outputs.values()))) if goal.wanted]

    def outputs(self, x: Any) -> Outputs:
        """Return the outputs for x, which is refused if it does not fit."""
        shape = tuple(x.shape) if x.ndim == 1 else (None, *x.shape[1:])
        if shape not in self._outputs:
            self._outputs[shape] = Outputs(self._output_shape(shape), self._output_names)
        return self._outputs[shape]

    def _read(self, value: Any, name: str) -> Any:
        """Return an argument as an array, of the model's backend if it lies on its device, else of the host."""
        xp = self.home()
        if not xp.on_host and (xp.owns(value) or (is_array(value) and place_of(value) == place_of_backend(xp))):
            return as_resident(xp, brought(xp, value, name), name)
        array = as_array(value, name)
        self.transfers.note(value, array, name)
        return array

    def _check_finite(self, array: Any, name: str, dtype: str) -> None:
        with self.home().on_device():
            if is_a(array, np.ndarray) or not is_finite(self.home(), array, dtype):
                check_finite(self.on_host(array), name, dtype)  # which says where

    def _check_range(self, array: Any, low: float, high: float, rule: str, **how: Any) -> None:
        # On a device it is as rare as it is short: labels are brought to the host to be looked at.
        check_range(self.on_host(array), low, high, rule, **how)

    def on_host(self, array: Any) -> NDArray[Any]:
        """Return what was read, as an array of the host."""
        return array if is_a(array, np.ndarray) else self.home().to_numpy(array)

    def _reshaped(self, array: Any, shape: tuple[int, ...]) -> Any:
        return array.reshape(shape) if is_a(array, np.ndarray) else self.home().reshape(array, shape)

    def inputs(self, value: Any, name: str = "x") -> Any:
        """Return x, checked."""
        x = self._read(value, name)
        if x.ndim == 1 and self.input_shape is not None and self.input_shape[1:] == (1,):
            x = self._reshaped(x, (-1, 1))  # as Keras does: a column, where the model takes rows of one number
        self.outputs(x)
        self._check_finite(x, name, self.input_dtype or self.dtype)
        if self.index_count is not None:
            last = self.index_count - 1
            self._check_range(x, 0, last, f"{name} must hold indices, whole numbers from 0 to {last}.", whole=True)
        return x

    def targets(self, value: Any, x: Any, name: str = "y") -> Any:
        """Return y, checked against x and the losses, in the shapes that these need; of several outputs in a tuple.

        Outputs without a loss and without metrics need none.
        """
        outputs = self.outputs(x)
        if self.goals is None:
            return self._read(value, name)
        goals = self.goals.of(outputs)
        if not outputs.several:
            return self._target(value, x, goals[0], outputs.shapes[0], name)
        given = outputs.flat(value, name, partial=True, error=DataError)
        found: list[Any] = []
        for goal, part, shape, place in zip(goals, given, outputs.shapes, outputs.places, strict=True):
            own = _within(name, place)
            if goal.wanted and part is None:
                raise DataError(
                    f"{own} must be given: the output has a loss or metrics. Received: none. "
                    f"An output that is not trained has the loss None."
                )
            if goal.wanted:
                found.append(self._target(part, x, goal, shape, own))
        return tuple(found)

    def _target(self, value: Any, x: Any, goal: Goal, output: Shape, name: str) -> Any:
        """Return the targets of one output."""
        y = self._read(value, name)
        rows = x.shape[0]
        if y.shape[0] != rows:
            raise ShapeError(
                f"{name} must have a row for each row of x, {rows}. Received: {y.shape[0]} rows, shape {tuple(y.shape)}"
            )
        self._check_finite(y, name, self.dtype)
        loss = goal.loss
        if loss is None:
            return y
        try:
            wanted = loss.align((None, *y.shape[1:]), output)
        except ShapeError as error:
            if not name.startswith("y["):
                raise
            raise ShapeError(f"{name}: {error}") from None
        if loss.labels:
            classes = output[-1] or np.iinfo(LABEL_DTYPE).max
            rule = f"{loss.name}: {name} must hold class indices, whole numbers from 0 to {classes - 1}."
            self._check_range(y, 0, classes - 1, rule, ignored=getattr(loss, "ignore_class", None), whole=True)
        elif loss.target_range is not None:
            low, high = loss.target_range
            self._check_range(y, low, high, f"{loss.name}: {name} must hold numbers from {low:g} to {high:g}.")
        return y if None in wanted[1:] else self._reshaped(y, (rows, *(n or 0 for n in wanted[1:])))

    def weights(self, value: Any, x: Any, name: str = "sample_weight") -> Any:
        """Return sample weights, checked: one for each row of x, or for each value of the loss.

        Those of several outputs are in a tuple. There, one array stands for all, with a weight for each row.
        """
        outputs = self.outputs(x)
        if not outputs.several or self.goals is None:
            return self._weight(value, x, outputs.shapes[0], name)
        goals = self.goals.of(outputs)
        if not is_nest(value):
            one = self._weight(value, x, (None, None), name)
            return tuple([one for goal in goals if goal.wanted])
        given = outputs.flat(value, name, error=DataError)
        if all(part is None for part in given):
            return None
        return tuple(
            [
                # Where there are none, each counts once: NumPy's ones, which cost a step as much as weights do.
                np.ones(x.shape[0], self.dtype) if part is None else self._weight(part, x, shape, _within(name, place))
                for goal, part, shape, place in zip(goals, given, outputs.shapes, outputs.places, strict=True)
                if goal.wanted
            ]
        )

    def _weight(self, value: Any, x: Any, output: Shape, name: str) -> Any:
        """Return the sample weights of one output."""
        weights = self._read(value, name)
        while weights.ndim > 1 and weights.shape[-1] == 1:
            weights = weights[..., 0]
        # The loss of an output (batch, steps, units) has a value for each step.
        rows = x.shape[0]
        values = (rows, *output[1:-1])
        if tuple(weights.shape) != values[: weights.ndim]:
            steps = f", or for each of its values, {values}" if len(values) > 1 else ""
            raise ShapeError(
                f"{name} must have a weight for each row of x, ({rows},){steps}. Received: shape {tuple(weights.shape)}"
            )
        self._check_finite(weights, name, self.dtype)
        return weights

    def require_one_output(self, argument: str, remedy: str) -> None:
        """Refuse an argument that is for models with one output.

        Raises:
            ArgumentError: there are several.
        """
        several = next((outputs for outputs in self._outputs.values() if outputs.several), None)
        if several is not None:
            raise ArgumentError(
                f"fit: {argument} needs a model with one output. Received: outputs {several.pattern}. {remedy}"
            )

    def class_weights(
        self, class_weight: dict[int, float], y: NDArray[Any], weights: NDArray[Any] | None
    ) -> NDArray[Any]:
        """Return the weight of each sample's class, times the sample's own."""
        loss = self._goals[0].loss
        classes: float = 2 if loss is not None and loss.target_range else math.inf
        if loss is not None and loss.labels:
            classes = max(outputs.shapes[0][-1] or math.inf for outputs in self._outputs.values())
        elif y.ndim > 1:
            classes = y.shape[-1] if y.shape[-1] > 1 else classes
            y = np.argmax(y, axis=-1) if y.shape[-1] > 1 else y[..., 0]
        check_range(y, -np.inf, np.inf, "fit: class_weight needs targets that are classes, whole numbers.", whole=True)
        if max(class_weight, default=0) >= classes:
            raise ArgumentError(
                f"fit: class_weight must have indices of classes, from 0 to {classes - 1}. "
                f"Received: class_weight={class_weight}"
            )
        found = np.ones(y.shape, self.dtype)
        for index, weight in class_weight.items():
            found[y == index] = weight
        return found if weights is None else found * weights.reshape(weights.shape + (1,) * (found.ndim - weights.ndim))


def _within(name: str, place: str) -> str:
    """Return what a part of an argument is called: "y['left'] of batch 3"."""
    first, space, rest = name.partition(" ")
    return f"{first}{place}{space}{rest}"


def check_class_weight(class_weight: Any) -> dict[int, float] | None:
    """Return class weights by index.

    Raises:
        ArgumentError: it is no dictionary from indices to numbers of at least 0.
    """
    if class_weight is None:
        return None
    right = is_a(class_weight, dict) and all(
        is_integer(index) and index >= 0 and is_a(weight, int, float, np.number) and 0 <= weight < math.inf
        for index, weight in class_weight.items()
    )
    if not right:
        raise ArgumentError(
            f"fit: class_weight must be a dictionary from class indices, from 0 on, to numbers of at least 0. "
            f"Received: class_weight={class_weight!r}"
        )
    return {int(index): float(weight) for index, weight in class_weight.items()}


class Data(Protocol):
    """A source of batches."""

    steps: int | None
    """Batches an epoch, where that is known."""

    @property
    def in_order(self) -> int | None:
        """How many rows, or batches, may be put in another order; None where there are none, or it has no effect."""
        ...

    def row_shapes(self) -> tuple[Shape, list[Shape] | None]:
        """Return the shape of x, and those of the targets of the outputs that have some, with None for the rows."""
        ...

    def weigh_classes(self, class_weight: dict[int, float]) -> None:
        """Multiply the sample weights by those of the samples' classes."""
        ...

    def batches(self, order: NDArray[Any] | None = None, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from the number `first` on. A batch may be overwritten by the next."""
        ...


class ArrayData:
    """Whole arrays, checked, cut into batches.

    Args:
        arrays: x, y and sample weights; the latter two may be None, or tuples for several outputs.
        batch_size: rows a batch.
        rules: say to which dtypes the arrays are converted.
        chosen: the numbers of the rows that count; None for all.
    """

    def __init__(
        self,
        arrays: tuple[Any, Any, Any],
        batch_size: int,
        rules: Rules,
        chosen: NDArray[Any] | None = None,
    ) -> None:
        self.rules = rules
        self._chosen = chosen
        self.rows: int = arrays[0].shape[0] if chosen is None else len(chosen)
        self.batch_size = min(batch_size, self.rows)
        self.steps: int = -(-self.rows // self.batch_size)
        x, y, weights = arrays
        x_dtype, y_dtype, weights_dtype = rules.dtypes
        self._x = self._column(x, x_dtype)
        self._y: Any = mapped(self._column, y, y_dtype)
        self._weights: Any = mapped(partial(self._column, dtype=weights_dtype), weights)
        self._whole: Batch | None = None  # where there is one batch, which is the same each time
        self.in_order: int | None = self.rows if self.steps > 1 else None

    # Of several outputs there are tuples of columns.

    def _column(self, array: Any, dtype: str | None) -> Any:
        if array is None:
            return None
        if is_a(array, np.ndarray):
            return _Column(array, dtype, self.batch_size)
        return ResidentColumn(self.rules.home(), array, dtype, self.batch_size, self.rules.home)

    @property
    def _columns(self) -> tuple[Any, Any, Any]:
        return self._x, self._y, self._weights

    @property
    def fits(self) -> bool:
        """Whether the model's device has room for all of it: see `Backend.room_for_data`."""
        on_host = [column for column in leaves(self._columns) if isinstance(column, _Column)]
        sizes = [column.array.size * column.dtype.itemsize for column in on_host]
        return 0 < sum(sizes) <= self.rules.home().room_for_data()

    def keep(self) -> None:
        """Bring the arrays to the model's device, once for all epochs, if they fit there."""
        if self.fits:
            self._x, self._y, self._weights = mapped(self._resident, self._columns)
            self._whole = None

    def _resident(self, column: Any) -> Any:
        if not isinstance(column, _Column):
            return column
        xp = self.rules.home()
        array = xp.asarray(column.array, column.dtype.name)
        return ResidentColumn(xp, array, None, self.batch_size, self.rules.home)

    def row_shapes(self) -> tuple[Shape, list[Shape] | None]:
        """Return the shape of x, and those of the targets of the outputs that have some, with None for the rows."""
        return row_shapes(self._x.array, mapped(_whole, self._y))

    def one_batch_of(self, x: Any) -> str | None:
        """Return the dtype in which x is the only batch, with nothing else to be done to it; None if it is not."""
        if type(x) is not np.ndarray or not isinstance(self._x, _Column) or self.steps != 1:
            return None
        plain = x.dtype.kind in "fiub" and self.rules.index_count is None
        return self._x.dtype.name if plain and x.shape == self._x.array.shape else None

    def split(self, share: Any, batch_size: int | None, strategy: str, seed: int) -> tuple[ArrayData, ArrayData]:
        """Return the rows to train on, and a `share` of them to validate, in batches of `batch_size`.

        Args:
            share: how many of the rows.
            batch_size: of validation; by default the same.
            strategy: the "last" rows, or see `division.divided`.
            seed: of the strategies that draw.
        """
        if is_a(share, bool) or not is_a(share, int, float, np.number) or not 0 < share < 1:
            raise ArgumentError(
                f"fit: validation_split must be from 0 to below 1. Received: validation_split={share!r}"
            )
        first = int(self.rows * (1.0 - float(share)))
        if first in (0, self.rows):
            raise ArgumentError(
                f"fit: validation_split must leave rows on both sides. "
                f"Received: validation_split={share} of {self.rows} rows, {first} left to train on"
            )
        if strategy != "last":
            from layerkit.training.division import divided  # seldom needed

            if strategy == "stratified":
                self.rules.require_one_output("validation_strategy='stratified'", "Use 'random'.")
            arrays = self._part(slice(None))
            y = self._y.on_host() if strategy == "stratified" and self._y is not None else None
            to_train, to_hold = divided(strategy, self.rows, first, y, seed)
            return (
                ArrayData(arrays, self.batch_size, self.rules, to_train),
                ArrayData(arrays, batch_size or self.batch_size, self.rules, to_hold),
            )
        return (
            ArrayData(self._part(slice(first)), self.batch_size, self.rules),
            ArrayData(self._part(slice(first, None)), batch_size or self.batch_size, self.rules),
        )

    def _part(self, rows: slice) -> tuple[Any, Any, Any]:
        return mapped(partial(_part, rows), self._columns)

    def on_host(self) -> tuple[NDArray[Any], Any, Any] | None:
        """Return x, y and sample weights, unless they lie on a device."""
        if any(isinstance(column, ResidentColumn) for column in leaves((self._x, self._y))):
            return None
        return mapped(_on_host, self._columns)

    def weigh_classes(self, class_weight: dict[int, float]) -> None:
        """Multiply the sample weights by those of the samples' classes."""
        self.rules.require_one_output("class_weight", "Use sample_weight.")
        if self._y is not None:
            given = None if self._weights is None else self._weights.on_host()
            weights = self.rules.class_weights(class_weight, self._y.on_host(), given)
            self._weights = _Column(weights, self.rules.dtype, self.batch_size)
            self._whole = None

    def batches(self, order: NDArray[Any] | None = None, first: int = 0) -> Iterator[Batch]:
        """Return the batches from the number `first` on, with the rows in this order."""
        if self._chosen is not None:
            order = self._chosen if order is None else self._chosen[order]
        if first:
            return islice(self._cut(order), first, None)
        if order is not None or self.steps > 1:
            return self._cut(order)
        if self._whole is None:
            self._whole = next(self._cut(None))
        return iter((self._whole,))

    def _cut(self, order: NDArray[Any] | None) -> Iterator[Batch]:
        shared = None if order is None else Order(order)
        columns = self._x, self._y, self._weights
        return zip(*(_batches(column, order, shared) for column in columns), strict=False)


def _batches(column: Any, order: NDArray[Any] | None, shared: Order | None) -> Iterator[Any]:
    """Return the batches of a column, of a tuple of columns, or of nothing."""
    if column is None:
        return repeat(None)
    if type(column) is tuple:
        return zip(*(_batches(each, order, shared) for each in column), strict=True)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return column.batches(shared) if isinstance(column, ResidentColumn) else column.batches(order)


class _Column:
    def __init__(self, array: NDArray[Any], dtype: str | None, batch_size: int) -> None:
        self.dtype = np.dtype(dtype or array.dtype)
        # Little data is converted once; of much, each batch is, so that memory holds no second copy of all.
        little = array.size * max(array.itemsize, self.dtype.itemsize) <= CHUNK_BYTES
        self.array = np.ascontiguousarray(array, self.dtype) if little else array
        self._batch_size = batch_size
        self._buffer: NDArray[Any] | None = None

    def part(self, rows: slice) -> NDArray[Any]:
        return self.array[rows]

    def on_host(self) -> NDArray[Any]:
        return self.array

    def batches(self, order: NDArray[Any] | None) -> Iterator[NDArray[Any]]:
        array, size = self.array, self._batch_size
        if order is not None or array.dtype != self.dtype:
            return self._gathered(order)
        return iter((array,)) if len(array) <= size else stretches(array, size)

    def _gathered(self, order: NDArray[Any] | None) -> Iterator[NDArray[Any]]:
        array, size = self.array, self._batch_size
        count = len(array if order is None else order)
        if self._buffer is None:
            self._buffer = np.empty((size, *array.shape[1:]), self.dtype)
        buffer = self._buffer
        if order is not None and array.dtype == self.dtype and array.flags.c_contiguous:
            for start in range(0, count, size):
                # mode="clip" writes straight into the buffer; "raise" would go through another one. Of an array that
                # is not contiguous, `take` would copy the whole.
                yield array.take(order[start : start + size], 0, buffer[: count - start], "clip")
            return
        picked = None if order is None else (array[order[start : start + size]] for start in range(0, count, size))
        for rows in picked or stretches(array, size):
            target = buffer[: len(rows)]
            np.copyto(target, rows, casting="unsafe")
            yield target


def _whole(column: _Column | ResidentColumn | None) -> Any:
    return None if column is None else column.array


def _part(rows: slice, column: _Column | ResidentColumn | None) -> Any:
    return None if column is None else column.part(rows)


def _on_host(column: _Column | ResidentColumn | None) -> Any:
    return None if column is None else column.on_host()


class JoinedRows:
    """Rows that come in batches, copied into one array: allocated once if their number is known, else joined at last.

    Args:
        count: how many there will be; None where that is not known.
    """

    def __init__(self, count: int | None) -> None:
        self._count = count
        self._all: NDArray[Any] | None = None
        self._stop = 0
        self._parts: list[NDArray[Any]] = []

    def add(self, batch: NDArray[Any], rows: int) -> NDArray[Any]:
        """Keep what a batch of so many rows gave, as a rule as many; return the copy."""
        if self._all is None and not self._parts and self._count is not None and batch.shape[:1] == (rows,):
            self._all = np.empty((self._count, *batch.shape[1:]), batch.dtype)
        if self._all is None:
            self._parts.append(batch.copy())
            return self._parts[-1]
        kept = self._all[self._stop : self._stop + rows]
        kept[...] = batch
        self._stop += rows
        return kept

    def whole(self) -> NDArray[Any]:
        """Return all of them."""
        if self._all is None:
            return self._parts[0] if len(self._parts) == 1 else np.concatenate(self._parts)
        return self._all


class BatchData:
    """A source of batches: a generator, a loader, or an object with ``__len__`` and ``__getitem__``.

    Each batch is x, (x, y) or (x, y, sample_weight), and is checked as it comes. As loaders of PyTorch do, it may be a
    list of these arrays. After each pass, `on_epoch_end` of the source is called, if it has one.
    """

    def __init__(self, source: Any, rules: Rules, *, targets: bool, name: str = "x") -> None:
        self.source = source
        self.name = name
        self.rules = rules
        self.targets = targets
        self.steps: int | None = None
        if hasattr(source, "__len__"):
            with contextlib.suppress(TypeError):  # what a loader raises whose data has no length
                self.steps = len(source)
        self._class_weight: dict[int, float] | None = None
        self._first: tuple[Batch, Iterator[Any]] | None = None

    @property
    def in_order(self) -> int | None:
        """None: batches come as they come."""
        return None

    def row_shapes(self) -> tuple[Shape, list[Shape] | None]:
        """Return what `Data.row_shapes` does, from the first batch; the first pass yields it too."""
        if self._first is None:
            rest = iter(self._raw())
            try:
                raw = next(rest)
            except StopIteration:
                raise self._empty() from None
            self._first = self._checked(raw, 0), rest
        return row_shapes(*self._first[0][:2])

    def _empty(self) -> DataError:
        return DataError(f"{self.name} must yield at least one batch. Received: an empty iterable")

    def weigh_classes(self, class_weight: dict[int, float]) -> None:
        """Multiply the sample weights by those of the samples' classes."""
        self.row_shapes()  # by which the outputs are known
        self.rules.require_one_output("class_weight", "Use sample_weight.")
        self._class_weight = class_weight

    def split(self, share: Any, batch_size: int | None, strategy: str, seed: int) -> tuple[ArrayData, ArrayData]:
        """Refuse: the rows of batches to come cannot be divided."""
        raise ArgumentError(
            f"fit: validation_split needs arrays, whose rows it can divide. "
            f"Received: x of type {type(self.source).__name__}. Use validation_data."
        )

    def _raw(self) -> Iterable[Any]:
        if hasattr(self.source, "__iter__"):
            return self.source
        return (self.source[index] for index in range(len(self.source)))

    @property
    def indexed(self) -> bool:
        """Whether a pass can begin in the middle: each batch is asked for by its number."""
        return hasattr(self.source, "__getitem__") and self.steps is not None

    def go_on(self, passes: int) -> None:
        """Let the source be what it was after so many passes, of whose ends it is told."""
        self._first = None
        for _ in range(passes if hasattr(self.source, "on_epoch_end") else 0):
            self.source.on_epoch_end()

    def batches(self, order: NDArray[Any] | None = None, first: int = 0) -> Iterator[Batch]:
        """Yield the batches as they come; from a number above 0 on only if they are `indexed`."""
        index = 0
        if first:
            self._first = None
            index, rest = first, (self.source[number] for number in range(first, len(self.source)))
        elif self._first is None:
            rest = iter(self._raw())
        else:
            (begun, rest), self._first = self._first, None
            yield self._weighed(begun)
            del begun  # or it would be kept until the last
            index = 1
        for number, raw in enumerate(rest, index):
            yield self._weighed(self._checked(raw, number))
        if hasattr(self.source, "on_epoch_end"):
            self.source.on_epoch_end()

    def _checked(self, raw: Any, index: int) -> Batch:
        listed = is_a(raw, tuple) or (is_a(raw, list) and all(hasattr(part, "shape") for part in leaves(raw)))
        parts: tuple[Any, ...] = tuple(raw) if listed else (raw,)
        if self.targets and len(parts) not in (2, 3):
            raise DataError(
                f"{self.name} must yield batches (x, y) or (x, y, sample_weight). Received: batch {index} is "
                f"{f'a {type(raw).__name__} of {len(parts)}' if len(parts) != 1 else type(raw).__name__}"
            )
        place = self.name.removeprefix("x")
        names = [f"{name} of batch {index}{place}" for name in ("x", "y", "sample_weight")]
        rules = self.rules
        x = rules.inputs(parts[0], names[0])
        y = weights = None
        if self.targets:
            y = rules.targets(parts[1], x, names[1])
            if len(parts) == 3 and parts[2] is not None:
                weights = rules.weights(parts[2], x, names[2])
        rules.transfers.tell()
        x_dtype, y_dtype, weights_dtype = rules.dtypes
        return (
            self._converted(x, x_dtype),
            mapped(self._converted, y, y_dtype),
            mapped(partial(self._converted, dtype=weights_dtype), weights),
        )

    def _converted(self, array: Any, dtype: str | None) -> Any:
        if array is None or dtype is None:
            return array
        if is_a(array, np.ndarray):
            return array.astype(dtype, copy=False)
        xp = self.rules.home()
        return xp.astype(array, getattr(xp, dtype), copy=False)

    def _weighed(self, batch: Batch) -> Batch:
        x, y, weights = batch
        if self._class_weight is None or y is None:
            return batch
        here = self.rules.on_host
        return x, y, self.rules.class_weights(self._class_weight, here(y), None if weights is None else here(weights))


def row_shapes(x: Any, y: Any) -> tuple[Shape, list[Shape] | None]:
    """Return what `Data.row_shapes` does, of these arrays."""
    if y is None:
        return (None, *x.shape[1:]), None
    return (None, *x.shape[1:]), [(None, *array.shape[1:]) for array in leaves(y)]


def _many_rows(x: Any) -> int:
    """Return a power of two."""
    count = x.shape[0]
    row_bytes = math.prod(x.shape[1:]) * getattr(x.dtype, "itemsize", 4)
    rows = min(MANY_ROWS, MANY_BYTES // row_bytes, count // LEAST_BATCHES)
    return max(DEFAULT_ROWS, 1 << rows.bit_length() >> 1)


def make_data(
    rules: Rules,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int | None,
    targets: bool = True,
    counted: bool = True,
    caller: str = "fit",
    place: str = "",
) -> ArrayData | BatchData:
    """Return the data of one call, checked.

    Args:
        rules: what the model asks of it.
        x: an array, or an iterable of batches.
        y: targets, beside an array.
        sample_weight: weights, beside an array.
        batch_size: rows a batch of arrays; 32 by default.
        targets: whether there are any.
        counted: whether anybody counts batches; else they may be larger by default.
        caller: the method that is called, for error messages.
        place: where the arrays stand if not in its arguments: " of validation_data".

    Raises:
        ArgumentError: arguments exclude each other.
        ShapeError, DataError: the data does not fit the model.
    """
    if is_array(x):
        inputs = rules.inputs(x, f"x{place}")
        if not targets:
            default = DEFAULT_ROWS if counted else _many_rows(inputs)
            return ArrayData((inputs, None, None), batch_size or default, rules)
        if y is None:
            raise DataError(f"{caller}: y{place} must be given beside an array x. Received: y=None")
        goals = rules.targets(y, inputs, f"y{place}")
        weights = None if sample_weight is None else rules.weights(sample_weight, inputs, f"sample_weight{place}")
        return ArrayData((inputs, goals, weights), batch_size or DEFAULT_ROWS, rules)
    yields = hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))
    if not yields or is_a(x, str, bytes, bytearray, dict, set):
        remedy = ". Lay several inputs side by side, and take them apart in call: x[:, :3]." if is_a(x, dict) else ""
        raise DataError(
            f"{caller}: x{place} must be an array, nested lists, or an iterable of batches. "
            f"Received: {'None' if x is None else type(x).__name__}{remedy}"
        )
    for name, value in (("y", y), ("sample_weight", sample_weight), ("batch_size", batch_size)):
        if value is not None:
            raise ArgumentError(
                f"{caller}: {name}{place} must be left out where x yields batches, which bring their own. "
                f"Received: x of type {type(x).__name__} and {name}"
            )
    if _is_py_dataset(x):
        from layerkit.training.indexed import IndexedData  # with threads and processes, seldom needed

        return IndexedData(x, rules, targets=targets, name=f"x{place}")
    return BatchData(x, rules, targets=targets, name=f"x{place}")


def _is_py_dataset(x: Any) -> bool:
    module = sys.modules.get("layerkit.data.py_dataset")  # where it is not loaded, x cannot be one
    return module is not None and isinstance(x, module.PyDataset)
