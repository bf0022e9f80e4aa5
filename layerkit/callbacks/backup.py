"""Going on where a training that was cut off stood."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import warnings
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal, TextIO

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_flag, check_positive, is_a, is_integer
from layerkit.errors import ArgumentError, ModelFormatError
from layerkit.locking import try_lock
from layerkit.overriding import override

if TYPE_CHECKING:
    from pathlib import Path

_NAME = r"checkpoint-(\d{8})\.layerkit"
_KEPT = 2
_LOCK = ".lock"


class Restoring(Callback):
    """A callback that may bring a model to where a training stood, before `fit` begins. It is called after others."""

    def restore(self, model: Any, run: Any, epochs: int) -> Any:
        """Bring the model, which is built and compiled, to where training stood.

        Args:
            model: the model.
            run: what must be the same, and the callbacks whose memory was kept: see `layerkit.training.run`.
            epochs: the number of the last epoch.

        Returns:
            Where training goes on; None at the beginning.
        """
        raise ArgumentError(
            f"{type(self).__name__}: a callback that restores must define restore(self, model, run, epochs). "
            f"Received: none. See BackupAndRestore for an example."
        )


class BackupAndRestore(Restoring):
    """Keep checkpoints while `fit` runs, and begin at the newest one where there is one.

    The same program, run again after it was killed, goes on where the checkpoint was made, and ends with the same bits
    as if it had never been killed: weights, optimizer, random numbers, metrics, History, and what the other callbacks
    remember. It needs the same model, with the same seed and data; what differs is told. Or `layerkit.resume` goes on
    with the folder and the data alone. Data must be arrays, or an object with ``__len__`` and ``__getitem__`` whose
    batches follow from their numbers, and from how often its `on_epoch_end` was called.

    A training that is interrupted, by Ctrl-C or SIGTERM, makes a checkpoint before it ends.

    The last two checkpoints are kept: where the newest is damaged, the one before is taken, with a warning. A folder
    serves one training at a time.

    Args:
        backup_dir: the folder; it is made.
        save_freq: "epoch", or after how many batches, also within an epoch.
        double_checkpoint: accepted for Keras's sake; two are always kept.
        delete_checkpoint: whether the checkpoints are removed when training has come to its end.
        every_s: after how many seconds at least a batch is followed by a checkpoint, besides those of `save_freq`.

    Raises:
        ArgumentError: an argument is out of its range.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int | Literal["epoch"] = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
        *,
        every_s: float | None = None,
    ) -> None:
        name = type(self).__name__
        if not is_a(backup_dir, str, os.PathLike):
            raise ArgumentError(f"{name}: backup_dir must be text or a path. Received: backup_dir={backup_dir!r}")
        if save_freq != "epoch" and not (is_integer(save_freq) and save_freq > 0):
            raise ArgumentError(f"{name}: save_freq must be 'epoch' or a number of batches. Received: {save_freq!r}")
        check_flag(name, double_checkpoint=double_checkpoint)
        self.delete_checkpoint = check_flag(name, delete_checkpoint=delete_checkpoint)
        self.every_s = None if every_s is None else check_positive(name, every_s=every_s)
        from pathlib import Path  # with what it brings, slow to load

        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self._lock: TextIO | None = None
        self._epoch = 0
        self._number = 0
        self._saved: tuple[int, int, bool] | None = None
        self._due = 0.0
        self._finished = False
        if save_freq != "epoch" or every_s is not None:
            # Only then: whoever defines it is called after each batch.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def hold(self) -> None:
        """Take the folder for this process, until `release` or the end of training.

        Raises:
            ArgumentError: another training has it.
        """
        if self._lock is None:
            self.backup_dir.mkdir(parents=True, exist_ok=True)
            self._lock = _locked(self.backup_dir)

    def release(self) -> None:
        """Let others have the folder."""
        if self._lock is not None:
            _unlock(self._lock)
            self._lock = None

    def take_over(self, other: BackupAndRestore) -> None:
        """Hold the folder in the place of another of the same folder."""
        self._lock, other._lock = other._lock, None

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints in the folder, the newest first."""
        return [path for _, path in reversed(self._numbered())]

    @override
    def restore(self, model: Any, run: Any, epochs: int) -> Any:
        """Take the folder, and bring the model to its newest checkpoint.

        Raises:
            ArgumentError: another process uses the folder, or the checkpoint is one of another training.
            ModelFormatError: all checkpoints are damaged.
        """
        run.require_resumable(type(self).__name__)
        run.settings["backup"] = {
            "save_freq": self.save_freq,
            "every_s": self.every_s,
            "delete_checkpoint": self.delete_checkpoint,
        }
        self.hold()
        self._epoch, self._saved, self._finished = 0, None, False
        found = self._numbered()
        self._number = found[-1][0] if found else 0
        try:
            for place, (_, path) in enumerate(reversed(found)):
                try:
                    position = model.load_checkpoint(path, run)
                except ModelFormatError as error:
                    if place == len(found) - 1:
                        raise
                    warnings.warn(
                        f"BackupAndRestore: a checkpoint must be whole. Received: {error} The one before it is taken.",
                        stacklevel=3,
                    )
                    continue
                self._epoch = position.epoch
                self._finished = position.ended and (position.stopped or position.epoch + 1 >= epochs)
                return position
        except BaseException:
            self.release()
            raise
        return None

    def _numbered(self) -> list[tuple[int, Path]]:
        matches = ((re.fullmatch(_NAME, path.name), path) for path in self.backup_dir.iterdir())
        return sorted((int(match[1]), path) for match, path in matches if match is not None)

    def save_now(self, epoch: int, batch: int, *, ended: bool = False, logs: Logs | None = None) -> None:
        """Make a checkpoint, unless that of this moment is made: after so many batches, or at the end of an epoch."""
        moment = epoch, 0 if ended else batch, ended
        if self._saved == moment or not self.model.run.is_sound():
            return
        self._number += 1
        path = self.backup_dir / f"checkpoint-{self._number:08d}.layerkit"
        self.model.save_checkpoint(path, epoch, batch, ended=ended, logs=logs)
        self._saved = moment
        for _, old in self._numbered()[:-_KEPT]:
            old.unlink(missing_ok=True)

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._due = monotonic() + (self.every_s or 0.0)

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        if self.model.stop_training:
            return  # the end of the epoch follows, and the checkpoint that it makes
        late = self.every_s is not None and monotonic() >= self._due
        if late or (self.save_freq != "epoch" and (batch + 1) % int(self.save_freq) == 0):
            self.save_now(self._epoch, batch + 1)
            self._due = monotonic() + (self.every_s or 0.0)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._finished = self.model.stop_training or epoch + 1 >= self.params["epochs"]
        self.save_now(epoch, 0, ended=True, logs=logs)

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._finished and self.delete_checkpoint:
            for _, path in self._numbered():
                path.unlink(missing_ok=True)
        self.release()


def _locked(folder: Path) -> TextIO:
    """Return a file in the folder that is locked until `_unlock`, or its process ends; it holds the process's id."""
    path = folder / _LOCK
    while True:
        file = path.open("a+")
        if not try_lock(file):
            file.seek(0)
            process = file.read(20).strip() or "unknown"
            file.close()
            raise ArgumentError(
                f"BackupAndRestore: a folder must serve one training at a time. "
                f"Received: backup_dir={str(folder)!r}, which process {process} uses"
            )
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                break
        file.close()  # whoever had it has removed it, between these lines
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def _unlock(file: TextIO) -> None:
    with contextlib.suppress(OSError):
        if sys.platform != "win32":  # which removes no open file
            os.unlink(file.name)  # noqa: PTH108 - it is text
    file.close()
