"""What `fit`, `evaluate` and `predict` are given, cut into batches.

The rows of arrays are gathered straight into buffers that are allocated once; a source of batches (a generator, a
loader) is asked for one batch after the other. Both end as tuples (x, y, sample_weight) of host arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from layerkit.errors import ArgumentError, DataError, ShapeError
from layerkit.training.arrays import as_array, check_finite, check_range, is_array

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from layerkit.losses import Loss

Shape = tuple[int | None, ...]
Batch = tuple["NDArray[Any]", "NDArray[Any] | None", "NDArray[Any] | None"]


class Rules:
    """What the model asks of its data: the shape of x, the shape and range of y, the dtypes.

    Args:
        dtype: of the model's computation.
        output_shape: a function from the shape of x to that of the output; it refuses an x that does not fit.
        loss: says what targets must look like; None where there are no targets.
        input_dtype: of x; None leaves integers as they are.
        input_width: the shape of one row of x if the model is built for it.
    """

    def __init__(
        self,
        dtype: str,
        output_shape: Callable[[Shape], Shape],
        loss: Loss | None,
        input_dtype: str | None,
        input_shape: Shape | None,
    ) -> None:
        self.dtype = dtype
        self.output_shape = output_shape
        self.loss = loss
        self.input_dtype = input_dtype
        self.input_shape = input_shape

    def inputs(self, value: Any, name: str = "x") -> NDArray[Any]:
        """Return x, checked."""
        x = as_array(value, name)
        if x.ndim == 1 and self.input_shape is not None and self.input_shape[1:] == (1,):
            x = x.reshape(-1, 1)  # as Keras does: a column, where the model takes rows of one number
        self.output_shape((None, *x.shape[1:]) if x.ndim > 1 else x.shape)
        check_finite(x, name, self.input_dtype or self.dtype)
        return x

    def targets(self, value: Any, x: NDArray[Any], name: str = "y") -> NDArray[Any]:
        """Return y, checked against x and the loss, in the shape that the loss needs."""
        y = as_array(value, name)
        if len(y) != len(x):
            raise ShapeError(
                f"{name} must have a row for each row of x, {len(x)}. Received: {len(y)} rows, shape {y.shape}"
            )
        check_finite(y, name, self.dtype)
        if self.loss is None:
            return y
        output = self.output_shape((None, *x.shape[1:]))
        wanted = self.loss.align((None, *y.shape[1:]), output)
        if self.loss.labels:
            y = self._labels(y, name, int(output[-1] or 0))
        elif self.loss.target_range is not None:
            low, high = self.loss.target_range
            rule = f"{self.loss.name}: targets must be from {low:g} to {high:g}."
            check_range(y, name, low, high, rule)
        return y.reshape(len(y), *(n for n in wanted[1:] if n is not None)) if None not in wanted[1:] else y

    def _labels(self, y: NDArray[Any], name: str, classes: int) -> NDArray[Any]:
        assert self.loss is not None  # noqa: S101 - only called where there is one
        if y.dtype.kind == "f":
            whole = y.astype(np.int64)
            if not np.array_equal(whole, y):
                place = int(np.argwhere((whole != y).reshape(len(y), -1).any(axis=1))[0][0])
                raise DataError(
                    f"{self.loss.name}: targets must be class indices, whole numbers. "
                    f"Received: {y[place]} at {name}[{place}]. Real numbers go with MeanSquaredError."
                )
            y = whole
        ignored = getattr(self.loss, "ignore_class", None)
        checked = y if ignored is None else np.where(y == ignored, 0, y)
        rule = f"{self.loss.name}: targets must be class indices from 0 to {classes - 1}, for an output of width {classes}."
        check_range(checked, name, 0, classes - 1, rule)
        return y if y.dtype.kind in "iu" and y.dtype.itemsize >= 4 else y.astype(np.int64)

    def weights(self, value: Any, x: NDArray[Any], name: str = "sample_weight") -> NDArray[Any]:
        """Return sample weights, checked."""
        weights = as_array(value, name)
        if len(weights) != len(x):
            raise ShapeError(f"{name} must have a weight for each row of x, {len(x)}. Received: shape {weights.shape}")
        check_finite(weights, name, self.dtype)
        return weights

    def class_weights(
        self, class_weight: dict[int, float], y: NDArray[Any], weights: NDArray[Any] | None
    ) -> NDArray[Any]:
        """Return the weight of each sample's class, times the sample's own."""
        if self.loss is not None and not self.loss.labels and y.ndim > 1 and y.shape[-1] > 1:
            classes = np.argmax(y, axis=-1)
        else:
            classes = y.reshape(len(y), -1)[:, 0] if y.size == len(y) else y
            if not np.array_equal(classes, np.rint(classes)):
                raise DataError("class_weight needs targets that are classes. Received: targets that are not whole.")
        found = np.ones(classes.shape, self.dtype)
        for index, weight in class_weight.items():
            found[classes == index] = weight
        return found if weights is None else found * weights.reshape(weights.shape + (1,) * (found.ndim - weights.ndim))


def check_class_weight(class_weight: Any) -> dict[int, float] | None:
    """Return class weights by index.

    Raises:
        ArgumentError: it is no dictionary from indices to numbers of at least 0.
    """
    if class_weight is None:
        return None
    right = isinstance(class_weight, dict) and all(
        hasattr(index, "__index__") and isinstance(weight, (int, float, np.number)) and weight >= 0
        for index, weight in class_weight.items()  # pyright: ignore[reportUnknownVariableType]
    )
    if not right:
        raise ArgumentError(
            f"fit: class_weight must be a dictionary from class indices to numbers of at least 0. "
            f"Received: class_weight={class_weight!r}"
        )
    return {index.__index__(): float(weight) for index, weight in class_weight.items()}


class Data(Protocol):
    """A source of batches."""

    steps: int | None
    """Batches an epoch, where that is known."""

    rows: int | None

    def batches(self, order: NDArray[Any] | None = None) -> Iterator[Batch]:
        """Yield the batches of an epoch. A batch may be overwritten by the next."""
        ...


class ArrayData:
    """Whole arrays, cut into batches.

    Args:
        x: inputs.
        y: targets, or None.
        weights: sample weights, or None.
        batch_size: rows a batch.
        dtype: to which x, y and weights are converted as they are gathered; labels stay integers.
        input_dtype: the same for x alone.
    """

    def __init__(
        self,
        x: NDArray[Any],
        y: NDArray[Any] | None,
        weights: NDArray[Any] | None,
        batch_size: int,
        dtype: str,
        *,
        input_dtype: str | None = None,
        labels: bool = False,
    ) -> None:
        self.rows: int = len(x)
        self.batch_size = min(batch_size, self.rows)
        self.steps: int = -(-self.rows // self.batch_size)
        self._columns = (
            _Column(x, input_dtype or dtype, self.batch_size),
            None if y is None else _Column(y, None if labels else dtype, self.batch_size),
            None if weights is None else _Column(weights, dtype, self.batch_size),
        )

    def batches(self, order: NDArray[Any] | None = None) -> Iterator[Batch]:
        """Yield the batches, with the rows in this order."""
        x, y, weights = self._columns
        for start in range(0, self.rows, self.batch_size):
            stop = min(start + self.batch_size, self.rows)
            yield (
                x.rows(start, stop, order),
                None if y is None else y.rows(start, stop, order),
                None if weights is None else weights.rows(start, stop, order),
            )


class _Column:
    def __init__(self, array: NDArray[Any], dtype: str | None, batch_size: int) -> None:
        self.array = array
        self.dtype = np.dtype(dtype) if dtype else array.dtype
        self.converts = array.dtype != self.dtype
        self._shape = (batch_size, *array.shape[1:])
        self._buffer: NDArray[Any] | None = None

    @property
    def buffer(self) -> NDArray[Any]:
        if self._buffer is None:
            self._buffer = np.empty(self._shape, self.dtype)
        return self._buffer

    def rows(self, start: int, stop: int, order: NDArray[Any] | None) -> NDArray[Any]:
        if order is None:
            rows = self.array[start:stop]
            if not self.converts:
                return rows
            target = self.buffer[: stop - start]
            np.copyto(target, rows, casting="unsafe")
            return target
        target = self.buffer[: stop - start]
        if self.converts:
            np.copyto(target, self.array[order[start:stop]], casting="unsafe")
        else:
            # mode="clip" writes straight into the buffer; "raise" would go through another one.
            np.take(self.array, order[start:stop], axis=0, out=target, mode="clip")
        return target


class BatchData:
    """A source of batches: a generator, a loader, or an object with ``__len__`` and ``__getitem__``.

    Each batch is x, (x, y) or (x, y, sample_weight), and is checked as it comes.
    """

    def __init__(self, source: Any, rules: Rules, class_weight: dict[int, float] | None, *, targets: bool) -> None:
        self.source = source
        self.rules = rules
        self.class_weight = class_weight
        self.targets = targets
        self.rows: int | None = None
        self.steps: int | None = len(source) if hasattr(source, "__len__") else None
        self._first: Any = None

    def peek(self) -> Batch:
        """Return the first batch, which the first epoch will yield again."""
        iterator = iter(self._raw())
        try:
            raw = next(iterator)
        except StopIteration:
            raise DataError("x must yield at least one batch. Received: an empty iterable") from None
        if iter(self.source) is self.source if hasattr(self.source, "__iter__") else False:
            self._first = raw  # a generator: what was taken from it does not come back
        return self._checked(raw, 0)

    def _raw(self) -> Iterable[Any]:
        if hasattr(self.source, "__iter__"):
            return self.source
        return (self.source[index] for index in range(len(self.source)))

    def batches(self, order: NDArray[Any] | None = None) -> Iterator[Batch]:
        """Yield the batches as they come."""
        index = 0
        if self._first is not None:
            raw, self._first = self._first, None
            yield self._checked(raw, index)
            index += 1
        for raw in self._raw():
            yield self._checked(raw, index)
            index += 1

    def _checked(self, raw: Any, index: int) -> Batch:
        parts = raw if isinstance(raw, tuple) else (raw,)
        if self.targets and len(parts) not in (2, 3):
            raise DataError(
                f"x must yield batches (x, y) or (x, y, sample_weight). Received: batch {index} is "
                f"{f'a tuple of {len(parts)}' if isinstance(raw, tuple) else type(raw).__name__}"
            )
        names = [f"{name} of batch {index}" for name in ("x", "y", "sample_weight")]
        rules = self.rules
        x = rules.inputs(parts[0], names[0])
        y = rules.targets(parts[1], x, names[1]) if self.targets else None
        weights = (
            rules.weights(parts[2], x, names[2]) if self.targets and len(parts) > 2 and parts[2] is not None else None
        )
        if self.class_weight is not None and y is not None:
            weights = rules.class_weights(self.class_weight, y, weights)
        labels = rules.loss is not None and rules.loss.labels
        x = x.astype(rules.input_dtype or rules.dtype, copy=False)
        if y is not None and not labels:
            y = y.astype(rules.dtype, copy=False)
        return x, y, None if weights is None else weights.astype(rules.dtype, copy=False)


def make_data(
    rules: Rules,
    x: Any,
    y: Any,
    sample_weight: Any,
    *,
    batch_size: int | None,
    class_weight: dict[int, float] | None = None,
    targets: bool = True,
    caller: str = "fit",
    prefix: str = "",
) -> ArrayData | BatchData:
    """Return the data of one call, checked.

    Raises:
        ArgumentError: arguments exclude each other.
        ShapeError, DataError: the data does not fit the model.
    """
    if x is None:
        raise DataError(f"{caller}: x must be given. Received: x=None")
    if not is_array(x):
        if not (hasattr(x, "__iter__") or (hasattr(x, "__getitem__") and hasattr(x, "__len__"))) or isinstance(
            x, (str, bytes, dict)
        ):
            raise DataError(
                f"{caller}: x must be an array, nested lists, or an iterable of batches. Received: {type(x).__name__}"
            )
        for name, value in (("y", y), ("sample_weight", sample_weight), ("batch_size", batch_size)):
            if value is not None:
                raise ArgumentError(
                    f"{caller}: {name} must be left out where x yields batches, which bring their own. "
                    f"Received: x of type {type(x).__name__} and {name}"
                )
        return BatchData(x, rules, class_weight, targets=targets)
    inputs = rules.inputs(x, f"{prefix}x")
    labels = rules.loss is not None and rules.loss.labels
    goals = weights = None
    if targets:
        if y is None:
            raise DataError(f"{caller}: {prefix}y must be given beside an array x. Received: {prefix}y=None")
        goals = rules.targets(y, inputs, f"{prefix}y")
        if sample_weight is not None:
            weights = rules.weights(sample_weight, inputs, f"{prefix}sample_weight")
        if class_weight is not None:
            weights = rules.class_weights(class_weight, goals, weights)
    return ArrayData(
        inputs, goals, weights, batch_size or 32, rules.dtype, input_dtype=rules.input_dtype, labels=labels
    )
