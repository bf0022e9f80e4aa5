"""Epochs as lines of a CSV file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_flag, is_a, shown
from layerkit.errors import ArgumentError
from layerkit.overriding import override

if TYPE_CHECKING:
    from typing import TextIO


class CSVLogger(Callback):
    """Write the logs of each epoch to a CSV file, byte by byte as Keras does.

    The columns are "epoch", from 0, and the names of the first epoch's logs, sorted, with ``val_`` before each again
    where the first epoch had no validation; "NA" stands for what an epoch does not have. A line reaches the file when
    its epoch ends, so that a crash loses none. Where `BackupAndRestore` goes on with a training, lines of epochs that
    are trained again are taken out first.

    Args:
        filename: the file; folders are made.
        separator: one character, between columns.
        append: whether lines are added to what the file holds, rather than replacing it.

    Raises:
        ArgumentError: an argument is out of its range.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not is_a(filename, str, os.PathLike):
            raise ArgumentError(f"CSVLogger: filename must be text or a path. Received: filename={shown(filename)}")
        if not is_a(separator, str) or len(separator) != 1 or separator in '"\r\n':
            raise ArgumentError(
                f"CSVLogger: separator must be one character, and no quote or line end. "
                f"Received: separator={shown(separator)}"
            )
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = check_flag("CSVLogger", append=append)
        self.keys: list[str] | None = None
        self._file: TextIO | None = None
        self._size = 0  # of the part of the file that stays

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()
        from pathlib import Path  # with what it brings, slow to load

        path = Path(self.filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        # What is to be replaced is still there until the first line: a training that was cut off may go on with it.
        self._file = path.open("a", encoding="utf-8", newline="")
        self._size = self._file.tell() if self.append else 0
        self.keys = None

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        import csv  # slow to load

        logs = logs or {}
        file = self._cut()
        writer = csv.writer(file, delimiter=self.separator)
        if self.keys is None:
            self.keys = _columns(logs)
            if self._size == 0:
                writer.writerow(["epoch", *self.keys])
            else:
                self._compare(["epoch", *self.keys])
        writer.writerow([epoch, *[_cell(logs.get(key, "NA")) for key in self.keys]])
        file.flush()
        self._size = file.tell()

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._file is not None:
            self._cut()
        self._close()

    def _cut(self) -> TextIO:
        """Return the file, without what is not to stay."""
        file = self._file
        if file is None:
            raise ArgumentError("CSVLogger: on_train_begin must be called first. Received: on_epoch_end")
        if file.tell() > self._size:
            file.truncate(self._size)
            file.seek(self._size)
        return file

    def _compare(self, columns: list[str]) -> None:
        import csv

        with open(self.filename, encoding="utf-8", newline="") as file:  # noqa: PTH123 - pathlib is slow to load
            there = next(csv.reader(file, delimiter=self.separator))
        if there != columns:
            warnings.warn(
                f"CSVLogger: lines that are added must have the columns of the file, {self.separator.join(there)}. "
                f"Received: {self.separator.join(columns)} for {self.filename!r}. They are added as they are.",
                stacklevel=3,
            )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _columns(logs: Logs) -> list[str]:
    names = sorted(logs)
    return names if any(name.startswith("val_") for name in names) else [*names, *[f"val_{name}" for name in names]]


def _cell(value: Any) -> Any:
    if is_a(value, str) or not is_a(value, Iterable) or getattr(value, "ndim", 1) == 0:
        return value
    return f'"[{", ".join(map(str, value))}]"'
