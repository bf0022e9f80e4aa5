"""Going on where a training that was cut off stood."""

from __future__ import annotations

import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any, Literal, TextIO

from typing_extensions import override

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_flag, is_a, is_integer
from layerkit.errors import ArgumentError, ModelFormatError

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"checkpoint-(\d{8})\.layerkit")
_KEPT = 2


class BackupAndRestore(Callback):
    """Keep checkpoints while `fit` runs, and begin at the newest one where there is one.

    The same program, run again after it was killed, goes on where the checkpoint was made, and ends with the same bits
    as if it had never been killed: weights, optimizer, random numbers, metrics, History, and what the other callbacks
    remember. It needs the same model, with the same seed and data; what differs is told. Data must be arrays, and an
    epoch all of it.

    The last two checkpoints are kept: where the newest is damaged, the one before is taken, with a warning. A folder
    serves one training at a time.

    Args:
        backup_dir: the folder; it is made.
        save_freq: "epoch", or after how many batches, also within an epoch.
        double_checkpoint: accepted for Keras's sake; two are always kept.
        delete_checkpoint: whether the checkpoints are removed when training has come to its end.

    Raises:
        ArgumentError: an argument is out of its range.
    """

    def __init__(
        self,
        backup_dir: str | os.PathLike[str],
        save_freq: int | Literal["epoch"] = "epoch",
        double_checkpoint: bool = False,
        delete_checkpoint: bool = True,
    ) -> None:
        name = type(self).__name__
        if not is_a(backup_dir, str, os.PathLike):
            raise ArgumentError(f"{name}: backup_dir must be text or a path. Received: backup_dir={backup_dir!r}")
        if save_freq != "epoch" and not (is_integer(save_freq) and save_freq > 0):
            raise ArgumentError(f"{name}: save_freq must be 'epoch' or a number of batches. Received: {save_freq!r}")
        check_flag(name, double_checkpoint=double_checkpoint)
        self.delete_checkpoint = check_flag(name, delete_checkpoint=delete_checkpoint)
        from pathlib import Path  # with what it brings, slow to load

        self.backup_dir = Path(backup_dir)
        self.save_freq = save_freq
        self._lock: TextIO | None = None
        self._run: dict[str, Any] = {}
        self._others: list[Any] = []
        self._epoch = 0
        self._number = 0
        self._finished = False
        if save_freq != "epoch":
            # Only then: whoever defines it is called after each batch.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    def restore(self, model: Any, run: dict[str, Any], others: list[Any], epochs: int) -> Any:
        """Take the folder, and bring the model to its newest checkpoint. `fit` calls it, before training begins.

        Args:
            model: is built and compiled.
            run: what must be the same: data, batch size, seed.
            others: the other callbacks, whose memory is kept too.
            epochs: the number of the last epoch.

        Returns:
            Where training goes on; None at the beginning.

        Raises:
            ArgumentError: another process uses the folder, or the checkpoint is one of another training.
        """
        self.backup_dir.mkdir(parents=True, exist_ok=True)
        self._release()
        self._lock = _locked(self.backup_dir)
        self._run, self._others, self._epoch = run, others, 0
        found = self._checkpoints()
        self._number = found[-1][0] if found else 0
        self._finished = False
        for _, path in reversed(found):
            try:
                position = model.load_checkpoint(path, run, others)
            except ModelFormatError as error:
                warnings.warn(
                    f"BackupAndRestore: a checkpoint must be whole. Received: {error} The one before it is taken.",
                    stacklevel=3,
                )
                continue
            except BaseException:
                self._release()
                raise
            self._epoch = position.epoch
            self._finished = position.stopped or position.epoch >= epochs
            return position
        return None

    def _checkpoints(self) -> list[tuple[int, Path]]:
        matches = ((_NAME.fullmatch(path.name), path) for path in self.backup_dir.iterdir())
        return sorted((int(match[1]), path) for match, path in matches if match is not None)

    def _save(self, epoch: int, batch: int) -> None:
        self._number += 1
        position = {"epoch": epoch, "batch": batch, "stopped": self.model.stop_training, "run": self._run}
        path = self.backup_dir / f"checkpoint-{self._number:08d}.layerkit"
        self.model.save_checkpoint(path, position, self._others)
        for _, old in self._checkpoints()[:-_KEPT]:
            old.unlink(missing_ok=True)

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        # Where training is about to stop, the end of the epoch follows, and the checkpoint that it makes.
        if (batch + 1) % int(self.save_freq) == 0 and not self.model.stop_training:
            self._save(self._epoch, batch + 1)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch + 1
        self._finished = self.model.stop_training or epoch + 1 >= self.params["epochs"]
        self._save(epoch + 1, 0)

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        if self._finished and self.delete_checkpoint:
            for _, path in self._checkpoints():
                path.unlink(missing_ok=True)
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _locked(folder: Path) -> TextIO:
    """Return a file in the folder that is locked until it is closed, or its process ends; it holds the process's id."""
    file = (folder / ".lock").open("a+")
    if sys.platform == "win32":
        return file
    import fcntl  # is not everywhere

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        process = file.read(20).strip() or "unknown"
        file.close()
        raise ArgumentError(
            f"BackupAndRestore: a folder must serve one training at a time. "
            f"Received: backup_dir={str(folder)!r}, which process {process} uses"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file
