"""Progress in training loops of one's own."""

from __future__ import annotations

import sys
from time import perf_counter

from layerkit.callbacks.callback import Callback, Logs
from layerkit.callbacks.shown import shown_logs
from layerkit.overriding import override
from layerkit.screen import say

BETWEEN_S = 0.1
"""The least time between two drawings of the moving line."""


class ProgbarLogger(Callback):
    """Show how training goes in a loop of one's own, which tells a `CallbackList` of its epochs and batches.

    `fit`, `evaluate` and `predict` show it themselves, as their `verbose` says: within `fit` it shows nothing. ::

        callbacks = CallbackList(add_progbar=True, model=model, verbose=1, epochs=3, steps=10)

    Each epoch leaves a line; in a terminal, and with ``verbose=1``, a moving line counts the batches before.
    """

    resumable_from_file = True

    def __init__(self) -> None:
        self._seen = 0
        self._begun_s = 0.0
        self._due_s = 0.0
        self._width = 0  # of the moving line, that the next one covers
        self._epoch = 0

    @property
    def _verbose(self) -> int:
        if getattr(self.model, "run", None) is not None:  # fit is under way
            return 0
        verbose = self.params.get("verbose", 1)
        return 1 if verbose == "auto" else int(verbose)

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._seen, self._due_s = epoch, 0, 0.0
        self._begun_s = perf_counter()

    @override
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._seen = batch + 1
        if self._verbose == 1 and sys.stdout is not None and sys.stdout.isatty() and perf_counter() >= self._due_s:
            line = self._line(logs)
            sys.stdout.write("\r" + line.ljust(self._width))
            sys.stdout.flush()
            self._width, self._due_s = len(line), perf_counter() + BETWEEN_S

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self._verbose:
            blank = "\r" if self._width else ""
            say(f"{blank}{self._line(logs).ljust(self._width)}")
            self._width = 0

    def _line(self, logs: Logs | None) -> str:
        epochs, steps = self.params.get("epochs"), self.params.get("steps")
        parts = [f"Epoch {self._epoch + 1}" + (f"/{epochs}" if epochs else "")]
        parts += [f"{self._seen}" + (f"/{steps}" if steps else "")] if self._seen else []
        parts += [f"{perf_counter() - self._begun_s:.0f}s"]
        return " - ".join([*parts, *shown_logs(logs or {})])
