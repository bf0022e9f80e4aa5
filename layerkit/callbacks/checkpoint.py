"""Saving the model while it is trained."""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from layerkit.callbacks.callback import Callback, Logs
from layerkit.callbacks.improvement import improves, monitored, rises
from layerkit.checks import check_count, check_flag, check_number, check_positive, is_a, is_integer
from layerkit.errors import ArgumentError
from layerkit.overriding import override
from layerkit.screen import say

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class ModelCheckpoint(Callback):
    """Save the model at the end of epochs, after a number of batches, or after a time; or only the best so far.

    Each file is whole at every moment: see `Model.save`. From one that holds the model, `layerkit.resume` goes on. A
    training that is interrupted is saved before it ends, if it is saved within epochs, and not only the best.

    Args:
        filepath: ends in ``.layerkit``, or for weights in ``.safetensors`` or ``.npz``. It may hold the number of the
            epoch, from 1, that of the batch, from 1, and names of the logs, each as `str.format` writes it:
            ``"run/{epoch:03d}-{val_loss:.2f}.layerkit"``. Folders are made.
        monitor: the name in the logs of the number that tells which is the best.
        verbose: 1 says what is saved.
        save_best_only: whether only a model is saved whose number is better than all before.
        save_weights_only: whether the weights alone are saved.
        mode: "min", "max", or "auto": by the name.
        save_freq: "epoch", or after how many batches.
        initial_value_threshold: a number that the first one must be better than.
        every_epochs: with "epoch", after how many epochs.
        every_s: after how many seconds at least, in place of `save_freq`; at the end of a batch.
        keep: how many files are kept of those that this callback wrote: the last ones. None keeps all.

    Attributes:
        best: the best number so far; None before the first.
        saved: the paths of the files that are kept, the newest last.

    Raises:
        ArgumentError: an argument is out of its range, or says when to save in two ways.
    """

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        verbose: int = 0,
        save_best_only: bool = False,
        save_weights_only: bool = False,
        mode: Literal["auto", "min", "max"] = "auto",
        save_freq: int | Literal["epoch"] = "epoch",
        initial_value_threshold: float | None = None,
        *,
        every_epochs: int = 1,
        every_s: float | None = None,
        keep: int | None = None,
    ) -> None:
        name = type(self).__name__
        self.save_best_only = check_flag(name, save_best_only=save_best_only)
        self.save_weights_only = check_flag(name, save_weights_only=save_weights_only)
        self.filepath = _checked_path(filepath, (".safetensors", ".npz") if save_weights_only else (".layerkit",))
        self.monitor = monitor
        self.verbose = verbose
        self._rising = save_best_only and rises(name, monitor, mode)
        if save_freq != "epoch" and not (is_integer(save_freq) and save_freq > 0):
            raise ArgumentError(f"{name}: save_freq must be 'epoch' or a number of batches. Received: {save_freq!r}")
        if (save_freq != "epoch") + (every_s is not None) + (every_epochs != 1) > 1:
            raise ArgumentError(
                f"{name}: give save_freq, every_epochs, or every_s. Received: save_freq={save_freq!r}, "
                f"every_epochs={every_epochs}, every_s={every_s}"
            )
        self.save_freq = save_freq
        self.every_epochs = check_count(name, 1, every_epochs=every_epochs)
        self.every_s = None if every_s is None else check_positive(name, every_s=every_s)
        self.keep = None if keep is None else check_count(name, 1, keep=keep)
        self.best: float | None = None
        if initial_value_threshold is not None:
            self.best = check_number(name, initial_value_threshold=initial_value_threshold)
        self.saved: list[Path] = []
        self._is_known = False
        self._epoch = 0
        self._batches = 0
        self._epochs = 0
        self._due = 0.0
        if save_freq != "epoch" or every_s is not None:
            # Only then: whoever defines it is called after each batch.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    @override
    def get_state(self) -> dict[str, Any]:
        state = {**super().get_state(), "saved": [str(path) for path in self.saved]}
        del state["_due"]  # by a clock that begins anew with each machine
        return state

    @override
    def set_state(self, state: Mapping[str, Any]) -> None:
        from pathlib import Path  # slow to load

        super().set_state({**state, "saved": [Path(path) for path in state["saved"]]})

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._batches = self._epochs = 0
        self._due = monotonic() + (self.every_s or 0.0)

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch = epoch

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self.every_s is not None:
            if monotonic() < self._due:
                return
            self._save(batch, logs)
            self._due = monotonic() + self.every_s
        elif self._batches % int(self.save_freq) == 0:
            self._save(batch, logs)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._epochs += 1
        if self.save_freq == "epoch" and self.every_s is None and self._epochs % self.every_epochs == 0:
            self._save(None, logs)

    def _save(self, batch: int | None, logs: Logs | None) -> None:
        run = getattr(self.model, "run", None)
        if run is not None and not run.is_sound():
            return
        if self.save_best_only and not self._is_best(logs or {}):
            return
        from pathlib import Path  # with what it brings, slow to load

        given = {"epoch": self._epoch + 1, **({} if batch is None else {"batch": batch + 1}), **(logs or {})}
        try:
            path = Path(self.filepath.format(**given))
        except (KeyError, IndexError, ValueError) as error:
            raise ArgumentError(
                f"ModelCheckpoint: filepath may hold {', '.join(given)} in braces. Received: {self.filepath!r}, "
                f"with {error}"
            ) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        before = self.saved
        self.saved = [*(other for other in before if other != path), path]
        old = self.saved[: -self.keep] if self.keep is not None else []
        self.saved = self.saved[len(old) :]
        try:
            self._write(path, batch, logs)  # with what it remembers by now
        except BaseException:
            self.saved = before
            raise
        if self.verbose > 0:
            say(f"Epoch {self._epoch + 1}: saved {path}")
        for each in old:
            each.unlink(missing_ok=True)

    def _write(self, path: Path, batch: int | None, logs: Logs | None) -> None:
        run = getattr(self.model, "run", None)
        if self.save_weights_only:
            self.model.save_weights(path)
        elif run is None or not run.resumable:
            self.model.save(path)
        elif batch is None:
            self.model.save_checkpoint(path, self._epoch, 0, ended=True, logs=logs, after=self)
        else:
            self.model.save_checkpoint(path, self._epoch, batch + 1, after=self)

    def save_now(self, epoch: int, batch: int, *, ended: bool = False, logs: Logs | None = None) -> None:
        """Save before training is interrupted, if this callback saves within epochs."""
        if (self.save_freq != "epoch" or self.every_s is not None) and not self.save_best_only:
            self._save(None if ended else batch - 1, logs)

    def _is_best(self, logs: Logs) -> bool:
        value = monitored("ModelCheckpoint", logs, self.monitor, known=self._is_known)
        if value is None:
            return False
        self._is_known = True
        if not improves(value, self.best, rising=self._rising):
            return False
        self.best = value
        return True


def _checked_path(path: Any, suffixes: tuple[str, ...]) -> str:
    text = str(path) if is_a(path, str, os.PathLike) else ""
    if os.path.splitext(text)[1] not in suffixes:  # noqa: PTH122 - pathlib is slow to load
        raise ArgumentError(f"ModelCheckpoint: filepath must end in {' or '.join(suffixes)}. Received: {path!r}")
    return text
