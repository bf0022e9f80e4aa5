"""How training is going, for a person to read.

In a terminal or a notebook one line moves, and each epoch leaves its line behind; in a file there is a plain line an
epoch. Epochs that pass faster than can be read are left out, but never the last. Writing is limited to a hundredth of
the time that has passed, whatever the length of a step or an epoch.
"""

from __future__ import annotations

import io
import os
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from layerkit.callbacks.callback import Callback, Logs
from layerkit.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

SHORTEST_S = 0.1
"""Between two changes of what a terminal shows."""

SHARE = 0.01
"""The part of the running time that may be spent on showing progress."""


def check_verbose(verbose: Any, caller: str) -> int:
    """Return 0, 1 or 2.

    Raises:
        ArgumentError: it is neither one of these nor "auto".
    """
    if verbose == "auto":
        return 1
    if verbose not in (0, 1, 2):
        raise ArgumentError(f"{caller}: verbose must be 0, 1, 2 or 'auto'. Received: verbose={verbose!r}")
    return int(verbose)


def _is_live(stream: TextIO) -> bool:
    """Tell whether a line can be written over: in a terminal, and in a notebook."""
    if type(stream).__module__.startswith("ipykernel"):
        return True
    try:
        return stream.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):
        return False


class Progress(Callback):
    """Shows epochs, steps, the loss and the metrics.

    Args:
        verbose: 1 as described above; 2 a plain line for each epoch, none left out.
        epochs: how many there will be; None for an evaluation or a prediction.
        stream: where to write; by default `sys.stdout` as it is at the time.
    """

    def __init__(self, verbose: int, epochs: int | None, stream: TextIO | None = None) -> None:
        self.verbose = verbose
        self.epochs = epochs
        # A process without standard output, such as a service, has None there.
        self.stream: TextIO = stream or sys.stdout or io.StringIO()
        self.live = verbose == 1 and _is_live(self.stream)
        self.steps: int | None = None
        self._epoch = 0
        self._step = 0
        self._started = self._epoch_started = perf_counter()
        self._spent = 0.0
        self._due = 0.0
        self._last_line: Callable[[], str] | None = None
        self._bar: Any = None
        self._broken = False

    # Moments of training.

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._epoch, self._step = epoch, 0
        self._epoch_started = perf_counter()

    @override
    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._step = batch + 1
        if self.live and perf_counter() >= self._due:
            self._draw(logs)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        now = perf_counter()
        duration_s, step, values = now - self._epoch_started, self._step, dict(logs or {})
        self._last_line = lambda: self._line(epoch, step, duration_s, values)
        if self.verbose == 2 or now >= self._due:
            self._leave()

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        self._leave()
        self._close()

    # Moments of evaluation and prediction.

    @override
    def on_test_begin(self, logs: Logs | None = None) -> None:
        if self.epochs is None:
            self._begin()

    @override
    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        if self.epochs is None:
            self.on_train_batch_end(batch, logs)

    @override
    def on_test_end(self, logs: Logs | None = None) -> None:
        if self.epochs is None:
            self.on_epoch_end(0, logs)
            self.on_train_end()

    @override
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._begin()

    @override
    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self.on_train_batch_end(batch, None)

    @override
    def on_predict_end(self, logs: Logs | None = None) -> None:
        self.on_epoch_end(0, None)
        self.on_train_end()

    # Writing.

    def _begin(self) -> None:
        self.steps = self.params.get("steps")
        self._started = self._epoch_started = perf_counter()
        self._due = self._started + SHORTEST_S

    def _line(self, epoch: int, step: int, duration_s: float, values: Logs) -> str:
        steps = f"{step}/{self.steps}" if self.steps else f"{step} steps"
        per_step = f"{_duration(duration_s)} {_duration(duration_s / max(step, 1))}/step"
        head = f"Epoch {epoch + 1}/{self.epochs} - " if self.epochs is not None else ""
        return " - ".join([f"{head}{steps}", per_step, *_shown(values)])

    def _leave(self) -> None:
        """Write the line of the last epoch, to stay."""
        if self._last_line is None:
            return
        started = perf_counter()
        line, self._last_line = self._last_line(), None
        if self._bar is not None:
            self._guarded(self._bar.clear)
        self._guarded(lambda: self.stream.write(line + "\n"))
        self._guarded(self.stream.flush)
        self._account(started)

    def _draw(self, logs: Logs | None) -> None:
        """Write the moving line."""
        started = perf_counter()
        if self._bar is None:
            from tqdm.std import tqdm

            self._bar = tqdm(
                total=self.steps,
                file=self.stream,
                leave=False,
                dynamic_ncols=True,
                mininterval=0,
                delay=1e9,  # drawn by `refresh` alone
                bar_format="{desc}{n_fmt}/{total_fmt} {bar} {elapsed}<{remaining}{postfix}"
                if self.steps
                else "{desc}{n_fmt} steps {elapsed}{postfix}",
            )
        bar = self._bar
        bar.n = self._step
        bar.start_t = bar._time() - (started - self._epoch_started)
        bar.desc = f"Epoch {self._epoch + 1}/{self.epochs} " if self.epochs is not None else ""
        bar.postfix = ", ".join(_shown(logs or {}))
        self._guarded(bar.refresh)
        self._account(started)

    def _account(self, started: float) -> None:
        now = perf_counter()
        self._spent += now - started
        # The next write is due when all writes so far are a hundredth of the time that will have passed.
        self._due = max(now + SHORTEST_S, self._started + self._spent / SHARE)

    def _guarded(self, write: Callable[[], Any]) -> None:
        """Write; where that fails (a closed pipe, a full disk), stop writing, and let training go on."""
        if self._broken:
            return
        try:
            write()
        except (OSError, ValueError) as error:
            self._broken = True
            if isinstance(error, BrokenPipeError) and self.stream is sys.__stdout__:
                # What is still buffered would fail again, at the next print or at exit (Python's "Note on SIGPIPE").
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)

    def _close(self) -> None:
        if self._bar is not None:
            self._guarded(self._bar.close)
            self._bar = None


def _shown(values: Logs) -> list[str]:
    return [
        f"{name}: {value:.4f}" if 1e-3 < abs(value) < 1e5 or value == 0 else f"{name}: {value:.4e}"
        for name, value in values.items()
    ]


def _duration(seconds: float) -> str:
    if seconds >= 60:
        return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.0f}{unit}"
    return "0s"
