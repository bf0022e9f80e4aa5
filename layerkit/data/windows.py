"""Windows over a series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import check_count, check_flag
from layerkit.data.encoding import as_numbers
from layerkit.data.py_dataset import PyDataset
from layerkit.errors import ArgumentError, DataError
from layerkit.overriding import override

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Windows(PyDataset):
    """What `timeseries_dataset_from_array` returns."""

    def __init__(
        self,
        data: NDArray[Any],
        targets: NDArray[Any] | None,
        starts: NDArray[Any],
        steps: NDArray[Any],
        batch_size: int | None,
        random: np.random.RandomState | None,
    ) -> None:
        super().__init__()
        self._data, self._targets = data, targets
        self._starts, self._steps = starts, steps
        self._batch_size = batch_size
        self._random = random
        self._shuffle()

    def _shuffle(self) -> None:
        if self._random is not None:
            self._random.shuffle(self._starts)

    def __len__(self) -> int:
        return -(-len(self._starts) // (self._batch_size or 1))

    @override
    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"index must be from 0 to {len(self) - 1}. Received: {index}")
        if self._batch_size is None:
            starts = self._starts[index]
        else:
            starts = self._starts[index * self._batch_size : (index + 1) * self._batch_size]
        x = self._data[starts[..., None] + self._steps]
        return x if self._targets is None else (x, self._targets[starts])

    @override
    def on_epoch_end(self) -> None:
        self._shuffle()


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
) -> Windows:
    """Return batches of windows over a series, for `fit` and `predict`; each is cut out when it is needed.

    With i the start of a window, from 0 in steps of `sequence_stride`: ``x = data[i], data[i + sampling_rate], …``,
    `sequence_length` of them, and ``y = targets[i]``. So the target of the step that follows a window of n steps is
    ``data[n:]``, and of such targets there are n fewer than of data.

    Args:
        data: the series, one step a row.
        targets: that of the window which begins at the same row; None for none.
        sequence_length: steps in a window.
        sequence_stride: rows from the start of a window to that of the next.
        sampling_rate: rows from one step of a window to the next.
        batch_size: windows in a batch; the last one may have fewer. None for single windows, without the first axis.
        shuffle: whether the windows come in random order, another one in each epoch.
        seed: of that order.
        start_index: the first row of data and targets that is used.
        end_index: the row behind the last.

    Shapes:
        data: (rows, ...). targets: (rows, ...). x: (batch, sequence_length, ...). y: (batch, ...).

    Raises:
        ArgumentError: an argument is out of its range.
        DataError: no window fits in, or the data holds no numbers.
    """
    name = "timeseries_dataset_from_array"
    rows = as_numbers(data, f"{name}: data")
    goals = None if targets is None else as_numbers(targets, f"{name}: targets")
    check_flag(name, shuffle=shuffle)
    for key, value in (
        ("sequence_length", sequence_length),
        ("sequence_stride", sequence_stride),
        ("sampling_rate", sampling_rate),
        ("batch_size", 1 if batch_size is None else batch_size),
    ):
        check_count(name, 1, **{key: value})
    start = 0 if start_index is None else check_count(name, 0, start_index=start_index)
    end = len(rows) if end_index is None else check_count(name, 1, end_index=end_index)
    if not start < end <= len(rows):
        raise ArgumentError(
            f"{name}: start_index must be below end_index, and that at most the number of rows, {len(rows)}. "
            f"Received: start_index={start_index}, end_index={end_index}"
        )
    rows, goals = rows[start:end], None if goals is None else goals[start:end]
    count = len(rows) - (sequence_length - 1) * sampling_rate
    if goals is not None:
        count = min(count, len(goals))
    if count < 1:
        raise DataError(
            f"{name}: a window must fit into the data. Received: windows over "
            f"{(sequence_length - 1) * sampling_rate + 1} rows, {len(rows)} rows"
            f"{'' if goals is None else f' and {len(goals)} targets'}"
        )
    random = np.random.RandomState(seed) if shuffle else None  # Keras's, for the same order
    starts = np.arange(0, count, sequence_stride)
    return Windows(rows, goals, starts, np.arange(sequence_length) * sampling_rate, batch_size, random)
