"""How training is going, for a person to read.

In a terminal and in a notebook one line moves, and an epoch leaves its own behind when it is over; in a file all lines
are plain. Where there are many epochs, those that pass faster than can be read leave none, but the last always does.
"""

from __future__ import annotations

import re
import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from layerkit.callbacks.shown import shown_logs
from layerkit.checks import is_a, is_integer, shown
from layerkit.errors import ArgumentError
from layerkit.screen import Screen, screen_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self, TextIO

    Read = Callable[[], Mapping[str, Any]]

DRAWING_INTERVAL_S = 0.1
"""The least time between two drawings of the moving line."""

PLAIN_INTERVAL_S = 60.0
"""Where no line moves, a long epoch writes one so often."""

SHARE = 0.01
"""The part of the running time that drawing may take, however slow the terminal."""

SHORT_EPOCH_S = 1.0
"""The least time between the lines of epochs; for shorter ones the moving line counts epochs instead of steps."""

FEW_EPOCHS = 100
"""So many leave a line each, however short they are."""

BAR_WIDTH = 24


class Pace(NamedTuple):
    """How often an epoch leaves its line: ``"every 100 epochs"``, ``"10%"`` of them, ``"30s"``."""

    number: float
    unit: Literal["epochs", "%", "s"]

    def is_due(self, epoch: int, epochs: int) -> bool:
        """Tell whether an epoch leaves its line.

        Args:
            epoch: its number, from 1.
            epochs: how many there are.
        """
        if self.unit == "epochs":
            return epoch % self.number == 0
        share = self.number / 100 * epochs
        return int(epoch / share + ROUNDING) > int((epoch - 1) / share + ROUNDING)


ROUNDING = 1e-9
_PACE = r"every (\d+) epochs?|(\d+(?:\.\d+)?) ?%|(\d+(?:\.\d+)?) ?(s|min|h)"
_SECONDS = {"s": 1.0, "min": 60.0, "h": 3600.0}


def check_verbose(verbose: Any, caller: str) -> Any:
    """Return 0, 1 or 2, or for `fit` how often lines are wanted.

    Raises:
        ArgumentError: it is none of these, nor "auto".
    """
    if is_a(verbose, str):
        if verbose == "auto":
            return 1
        match = re.fullmatch(_PACE, verbose.strip()) if caller == "fit" else None
        pace = None if match is None else _pace(*match.groups())
        if pace is not None and pace.number > 0:
            return pace
    elif (is_integer(verbose) or is_a(verbose, bool)) and verbose in (0, 1, 2):
        return int(verbose)
    rates = ", or how often: 'every 100 epochs', '10%' or '30s'" if caller == "fit" else ""
    raise ArgumentError(f"{caller}: verbose must be 0, 1, 2 or 'auto'{rates}. Received: verbose={shown(verbose)}")


def _pace(epochs: str | None, percent: str | None, time: str | None, unit: str) -> Pace:
    if epochs is not None:
        return Pace(int(epochs), "epochs")
    if percent is not None:
        return Pace(float(percent), "%")
    return Pace(float(time or 0) * _SECONDS[unit], "s")


class Progress:
    """Shows epochs, steps, the loss and the metrics.

    A step costs a comparison of `clock()` with `due`: only when that is reached does the loop call `draw`.

    Args:
        verbose: 0 shows nothing; 1 is described above; 2 a plain line for each epoch, none left out; a pace is like 1,
            with as many lines as it says, and always the last.
        steps: how many an epoch has; None where that is not known.
        epochs: the number of the last epoch; None for an evaluation or a prediction.
        initial_epoch: how many of these are over.
        stream: where to write; by default `sys.stdout` as it is at the time.
        clock: tells the time in seconds.

    Attributes:
        epoch: the number of the epoch that runs, from 0; the loop sets it.
        is_shown: whether there is anything to write to.
        due: the time of the next drawing.
    """

    def __init__(
        self,
        verbose: int | Pace,
        steps: int | None,
        epochs: int | None = None,
        initial_epoch: int = 0,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        stream = (stream or sys.stdout) if verbose else None
        pace = verbose if isinstance(verbose, Pace) else None
        self._pace = None if pace is None or pace.unit == "s" else pace
        self._screen = Screen(stream) if verbose == 2 else screen_of(stream)
        self._interval_s = DRAWING_INTERVAL_S if self._screen.moves else PLAIN_INTERVAL_S
        self._steps = self._part_steps = steps
        self._epochs = epochs
        self._initial_epoch = initial_epoch
        few = epochs is None or epochs - initial_epoch <= FEW_EPOCHS
        self._between_lines_s = 0.0 if few or verbose == 2 or pace is not None else SHORT_EPOCH_S
        self._part = ""
        self._is_drawn = False
        self._last: tuple[int, int, float, Mapping[str, Any]] | None = None
        self._spent_s = 0.0
        self._epoch_s = float("inf")
        self.epoch = initial_epoch
        self.is_shown = self._screen.is_read
        self.clock = clock
        self._started = self._epoch_started = self._part_started = now = clock()
        self._line_due = now if self._screen.is_read else float("inf")
        if pace is not None and not self._screen.moves:
            self._interval_s = float("inf") if self._pace else pace.number
        if pace is not None and pace.unit == "s":
            self._between_lines_s = pace.number
            self._line_due += pace.number
        self.due = now + self._interval_s if verbose not in (0, 2) and self._screen.is_read else float("inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # What the loop calls.

    def begin_validation(self, steps: int | None) -> None:
        """Count the steps of an epoch's validation."""
        self._part, self._part_steps = "validation ", steps
        self._part_started = self.clock()

    def draw(self, step: int, read: Read | None = None) -> None:
        """Show that `step` steps are done, with the loss and the metrics that `read` returns."""
        if step == self._part_steps and not self._screen.moves:
            return  # the line of the epoch follows
        began = self.clock()
        values = shown_logs(read() if read else {})
        if self._screen.moves:
            line = self._moving_line(step, began, values)
        else:
            count = self._part + _count(step, self._part_steps)
            line = self._line(self.epoch, count, step, began - self._part_started, values)
        self._screen.move(line)
        self._is_drawn = True
        self._spent_s += self.clock() - began
        self._wait()

    def make_room(self) -> None:
        """Take the moving line away where an epoch is about to leave its own: a callback may print before that."""
        if self._is_drawn and self._leaves_line(self.clock()):
            self._screen.make_room()
            self._is_drawn = False

    def pause(self) -> None:
        """Take the moving line away: somebody else may print."""
        if self._is_drawn:
            self._screen.make_room()
            self._is_drawn = False

    def go_on(self) -> None:
        """Count the time of an epoch from now."""
        self._epoch_started = self._part_started = self.clock()

    def end_epoch(self, step: int, logs: Mapping[str, Any]) -> None:
        """Leave the line of an epoch, or keep it until it is known to be the last."""
        now = self.clock()
        self._epoch_s = now - self._epoch_started
        self._last = (self.epoch, step, self._epoch_s, logs)
        self._part, self._part_steps = "", self._steps
        self._epoch_started = self._part_started = now
        if self._leaves_line(now):
            self._leave_line()

    def _leaves_line(self, now: float) -> bool:
        """Tell whether the epoch that is over leaves a line."""
        if self._pace is None or self._epochs is None:
            return now >= self._line_due
        return self._pace.is_due(self.epoch - self._initial_epoch + 1, self._epochs - self._initial_epoch)

    def end_test(self, step: int, logs: Mapping[str, Any]) -> None:
        """Leave the line of an evaluation or a prediction. A validation has none of its own."""
        if self._epochs is None and self.is_shown:
            self.end_epoch(step, logs)

    def close(self) -> None:
        """Leave the line of the last epoch, or the moving one where that was interrupted."""
        self._leave_line()
        self._screen.close()

    # Lines.

    def _leave_line(self) -> None:
        if self._last is not None:
            epoch, step, seconds, logs = self._last
            self._last = None
            self._screen.leave(self._line(epoch, _count(step, self._steps), step, seconds, shown_logs(logs)))
            self._is_drawn = False
            self._line_due = self.clock() + self._between_lines_s
            self._wait()

    def _wait(self) -> None:
        if not self._screen.is_read:
            self.due = self._line_due = float("inf")
        elif self.due < float("inf"):
            self.due = max(self.clock() + self._interval_s, self._started + self._spent_s / SHARE)

    def _line(self, epoch: int, count: str, step: int, seconds: float, values: list[str]) -> str:
        head = [] if self._epochs is None else [f"Epoch {epoch + 1}/{self._epochs}"]
        time = f"{_duration(seconds)} {_duration(seconds / max(step, 1))}/step"
        return " - ".join([*head, count, time, *values])

    def _moving_line(self, step: int, now: float, values: list[str]) -> str:
        columns, steps = self._screen.columns, self._part_steps
        head, tail = "", self._part + _count(step, steps) + " "
        done, total, elapsed_s = float(step), steps, now - self._part_started
        if self._epochs is not None:
            head = f"Epoch {self.epoch + 1}/{self._epochs} "
            if max(self._epoch_s, now - self._epoch_started) < SHORT_EPOCH_S:
                over, total = self.epoch - self._initial_epoch, self._epochs - self._initial_epoch
                done = over + (step / steps if steps and not self._part else 0.5)
                elapsed_s, tail = now - self._started, ""
        pieces = [f" - {value}" for value in values]
        if total and 0 < done < total:
            pieces.insert(0, f", {_duration(elapsed_s * (total - done) / done)} left")
        tail += _duration(elapsed_s)
        room = columns - len(head) - len(tail) - (BAR_WIDTH // 3 if total else 0)
        for piece in pieces:
            if len(piece) > room:
                break
            tail += piece
            room -= len(piece)
        width = min(BAR_WIDTH, columns - len(head) - len(tail) - 1)
        if total and width >= BAR_WIDTH // 4:
            filled = int(width * min(done / total, 1.0))
            full, empty = "━─" if self._screen.can_show("━─") else "=-"
            head += full * filled + empty * (width - filled) + " "
        return (head + tail)[:columns]


def _count(step: int, steps: int | None) -> str:
    return f"{step}/{steps}" if steps else f"{step} steps"


def _duration(seconds: float) -> str:
    """``1:02:03``, ``2:03``, ``3s``, ``4ms`` or ``5us``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:02d}"
    if minutes:
        return f"{minutes}:{rest:02d}"
    unit, factor = ("s", 1.0) if seconds >= 1 else ("ms", 1e3) if seconds >= 1e-3 else ("us", 1e6)
    return f"{seconds * factor:.0f}{unit}"
