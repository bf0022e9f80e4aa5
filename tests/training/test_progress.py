"""What `fit`, `evaluate` and `predict` show: in files, in real terminals of any width, and in notebooks."""

from __future__ import annotations

import io
import math
import os
import re
import subprocess
import sys
import termios
import textwrap
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import (
    Callback,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TerminateOnNaN,
)
from layerkit.callbacks.callback import CallbackList
from layerkit.callbacks.shown import shown_number
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.screen import Notebook, Screen, Terminal, screen_of
from layerkit.training.progress import (
    DRAWING_INTERVAL_S,
    PLAIN_INTERVAL_S,
    SHARE,
    Progress,
    _duration,
    check_verbose,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

ROOT = Path(__file__).parents[2]

X = np.arange(24.0).reshape(12, 2) / 24
Y = X[:, :1]


def compiled() -> Sequential:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def logs(loss: float = 0.25) -> dict[str, float]:
    return {"loss": loss, "accuracy": 0.5}


def run(progress: Progress, clock: Clock, epochs: int, steps: int, step_s: float) -> int:
    """Do what the loop does; return how many drawings there were."""
    drawings = 0
    with progress:
        for epoch in range(epochs):
            progress.epoch = epoch
            for step in range(steps):
                clock.now += step_s
                if progress.clock() >= progress.due:
                    drawings += 1
                    progress.draw(step + 1, logs)
            progress.make_room()
            progress.end_epoch(steps, logs())
    return drawings


# A terminal: a real pseudo-terminal, and what a screen of its width would show.


class Pty:
    """A pseudo-terminal, written through `stream`, and its screen."""

    END = "\x04END\x04"

    def __init__(self, columns: int, encoding: str) -> None:
        self._master, slave = os.openpty()
        self.stream = os.fdopen(slave, "w", encoding=encoding, newline="\n")
        self.resize(columns)
        self.text = ""

    def resize(self, columns: int) -> None:
        self.columns = columns
        termios.tcsetwinsize(self.stream, (24, columns))

    def read(self) -> str:
        """Return all that was written so far."""
        self.stream.write(self.END)
        self.stream.flush()
        while not self.text.endswith(self.END):
            self.text += os.read(self._master, 65536).decode()
        self.text = self.text.removesuffix(self.END)
        return self.text

    def lines(self) -> list[str]:
        """Return the lines of the screen as they look now, wrapped at its width, without those that are empty."""
        rows, row, column = [""], 0, 0
        for character in self.read():
            if character == "\r":
                column = 0
            elif character == "\n":
                row += 1
                rows.append("")
            else:
                assert character.isprintable(), f"a control character, {character!r}"
                if column == self.columns:
                    row, column = row + 1, 0
                    rows.append("")
                rows[row] = rows[row][:column].ljust(column) + character + rows[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in rows if line.strip()]

    def close(self) -> None:
        self.stream.close()
        os.close(self._master)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Pty]:
    """A terminal of 80 columns, or of as many as the test asks for."""
    monkeypatch.setenv("TERM", "xterm")
    columns, encoding = getattr(request, "param", (80, "utf-8"))
    pty = Pty(columns, encoding)
    yield pty
    pty.close()


def moving(head: str, share: float, tail: str, columns: int = 80) -> str:
    """Return the moving line: its bar takes what the rest leaves of all columns but one, from 6 to 24."""
    head = f"{head} " if head else ""
    width = min(24, columns - 1 - len(head) - len(tail) - 1)
    return (
        f"{head}{tail}" if width < 6 else f"{head}{'━' * int(width * share)}{'─' * (width - int(width * share))} {tail}"
    )


# Plain lines.


def test_an_epoch_leaves_one_plain_line_in_a_file() -> None:
    stream, clock = io.StringIO(), Clock()
    assert run(Progress(1, 4, 2, stream=stream, clock=clock), clock, epochs=2, steps=4, step_s=0.5) == 0
    assert stream.getvalue() == (
        "Epoch 1/2 - 4/4 - 2s 500ms/step - loss: 0.2500 - accuracy: 0.5000\n"
        "Epoch 2/2 - 4/4 - 2s 500ms/step - loss: 0.2500 - accuracy: 0.5000\n"
    )


@pytest.mark.parametrize("epochs", [100, 1])
def test_few_epochs_leave_a_line_each_however_short(epochs: int) -> None:
    stream, clock = io.StringIO(), Clock()
    run(Progress(1, 1, epochs, stream=stream, clock=clock), clock, epochs, steps=1, step_s=1e-4)
    heads = [line.split(" - ")[0] for line in stream.getvalue().splitlines()]
    assert heads == [f"Epoch {epoch + 1}/{epochs}" for epoch in range(epochs)]


def test_of_many_short_epochs_one_a_second_leaves_a_line_and_the_last_always_does() -> None:
    stream, clock = io.StringIO(), Clock()
    run(Progress(1, 1, 400, stream=stream, clock=clock), clock, 400, steps=1, step_s=0.0078125)  # 128 a second
    heads = [line.split(" - ")[0] for line in stream.getvalue().splitlines()]
    assert heads == [f"Epoch {epoch}/400" for epoch in (1, 129, 257, 385, 400)]


def test_many_long_epochs_leave_a_line_each() -> None:
    stream, clock = io.StringIO(), Clock()
    run(Progress(1, 1, 200, stream=stream, clock=clock), clock, 200, steps=1, step_s=1.0)
    assert stream.getvalue().count("\n") == 200


def test_the_last_epochs_of_a_long_run_are_few() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(1, 1, 1000, initial_epoch=950, stream=stream, clock=clock)
    for epoch in range(950, 1000):
        progress.epoch = epoch
        progress.end_epoch(1, logs())
    assert stream.getvalue().count("\n") == 50
    assert stream.getvalue().startswith("Epoch 951/1000 - ")


def test_verbose_2_leaves_no_epoch_out() -> None:
    stream, clock = io.StringIO(), Clock()
    run(Progress(2, 1, 400, stream=stream, clock=clock), clock, 400, steps=1, step_s=1e-4)
    assert stream.getvalue().count("\n") == 400


def test_a_long_epoch_writes_a_line_to_a_file_now_and_then() -> None:
    stream, clock = io.StringIO(), Clock()
    run(Progress(1, 300, 1, stream=stream, clock=clock), clock, epochs=1, steps=300, step_s=0.5)
    assert PLAIN_INTERVAL_S == 60
    assert stream.getvalue() == (
        "Epoch 1/1 - 120/300 - 1:00 500ms/step - loss: 0.2500 - accuracy: 0.5000\n"
        "Epoch 1/1 - 240/300 - 2:00 500ms/step - loss: 0.2500 - accuracy: 0.5000\n"
        "Epoch 1/1 - 300/300 - 2:30 500ms/step - loss: 0.2500 - accuracy: 0.5000\n"
    )


def test_verbose_0_shows_nothing_and_verbose_2_nothing_in_between() -> None:
    for verbose, lines in ((0, 0), (2, 1)):
        stream, clock = io.StringIO(), Clock()
        assert run(Progress(verbose, 300, 1, stream=stream, clock=clock), clock, 1, steps=300, step_s=60.0) == 0
        assert stream.getvalue().count("\n") == lines


def test_a_file_is_written_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    with path.open("w") as stream:
        progress = Progress(1, 1, 2, stream=stream)
        progress.end_epoch(1, logs())
        assert path.read_text().startswith("Epoch 1/2 - 1/1 - ")  # not in a buffer


# A terminal.


def test_one_line_moves_and_gives_way_to_the_line_of_its_epoch(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(1, 8, 2, stream=terminal.stream, clock=clock)
    clock.now += 2.0
    progress.draw(4, logs)
    assert terminal.lines() == [moving("Epoch 1/2", 4 / 8, "4/8 2s, 2s left - loss: 0.2500 - accuracy: 0.5000")]
    clock.now += 1.0
    progress.draw(6, lambda: {"loss": 0.125})  # shorter: nothing of the longer line is left
    assert terminal.lines() == [moving("Epoch 1/2", 6 / 8, "6/8 3s, 1s left - loss: 0.1250")]
    clock.now += 1.0
    progress.make_room()
    assert terminal.lines() == []
    progress.end_epoch(8, logs())
    line = "Epoch 1/2 - 8/8 - 4s 500ms/step - loss: 0.2500 - accuracy: 0.5000"
    assert terminal.lines() == [line]
    progress.epoch = 1
    clock.now += 1.0
    progress.draw(2, logs)
    assert terminal.lines() == [
        line,
        moving("Epoch 2/2", 2 / 8, "2/8 1s, 3s left - loss: 0.2500 - accuracy: 0.5000"),
    ]
    progress.end_epoch(8, logs())
    progress.close()
    assert terminal.lines() == [line, "Epoch 2/2 - 8/8 - 1s 125ms/step - loss: 0.2500 - accuracy: 0.5000"]


@pytest.mark.parametrize(
    ("terminal", "tail"),
    [
        ((20, "utf-8"), "40/80 2s"),
        ((30, "utf-8"), "40/80 2s"),
        ((40, "utf-8"), "40/80 2s, 2s left"),
        ((60, "utf-8"), "40/80 2s, 2s left - loss: 0.2500"),
        ((200, "utf-8"), "40/80 2s, 2s left - loss: 0.2500 - accuracy: 0.5000"),
        ((0, "utf-8"), "40/80 2s, 2s left - loss: 0.2500 - accuracy: 0.5000"),
        ((80, "ascii"), "40/80 2s, 2s left - loss: 0.2500 - accuracy: 0.5000"),
    ],
    indirect=["terminal"],
)
def test_the_moving_line_fits_any_width(terminal: Pty, tail: str) -> None:
    clock = Clock()
    progress = Progress(1, 80, 2, stream=terminal.stream, clock=clock)
    for _ in range(3):  # one that did not fit would wrap, and could not be written over
        clock.now = 1002.0
        progress.draw(40, logs)
    terminal.columns = terminal.columns or 80  # a terminal that does not know its width says 0
    line = moving("Epoch 1/2", 40 / 80, tail, terminal.columns)
    if terminal.stream.encoding == "ascii":
        line = line.replace("━", "=").replace("─", "-")
    assert terminal.lines() == [line]
    assert len(line) < terminal.columns


def test_the_moving_line_follows_a_change_of_width(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(1, 8, 2, stream=terminal.stream, clock=clock)
    clock.now += 2.0
    terminal.resize(30)
    progress.draw(4, logs)
    assert terminal.lines() == [moving("Epoch 1/2", 4 / 8, "4/8 2s", columns=30)]


def test_short_epochs_are_counted_by_a_bar_of_the_whole_run(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(1, 4, 1000, stream=terminal.stream, clock=clock)
    for epoch in range(500):
        progress.epoch = epoch
        clock.now += 0.01
        progress.end_epoch(4, logs())
    progress.epoch = 500
    progress.draw(2, logs)
    assert terminal.lines()[-1] == (
        moving("Epoch 501/1000", 500.5 / 1000, "5s, 5s left - loss: 0.2500 - accuracy: 0.5000")
    )
    clock.now += 2.0  # this epoch is not short
    progress.draw(2, logs)
    assert terminal.lines()[-1] == (
        moving("Epoch 501/1000", 2 / 4, "2/4 2s, 2s left - loss: 0.2500 - accuracy: 0.5000")
    )


def test_half_an_epoch_counts_as_half_a_one(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(1, 4, 200, stream=terminal.stream, clock=clock)
    clock.now += 0.5
    progress.end_epoch(4, logs())
    progress.epoch = 1
    clock.now += 0.25
    progress.draw(2, dict)  # 198.5 of 200 epochs are left, at half a second each
    assert terminal.lines()[-1].endswith(" 750ms, 1:39 left")


def test_many_short_epochs_leave_few_lines(terminal: Pty) -> None:
    clock = Clock()
    drawings = run(Progress(1, 1, 2000, stream=terminal.stream, clock=clock), clock, 2000, steps=1, step_s=1e-3)
    assert 10 <= drawings <= 20  # in 2 seconds
    heads = [line.split(" - ")[0] for line in terminal.lines()]
    assert heads[0] == "Epoch 1/2000"
    assert heads[-1] == "Epoch 2000/2000"
    assert len(heads) == 3


def test_an_unknown_number_of_steps_is_counted(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(1, None, 1, stream=terminal.stream, clock=clock)
    clock.now += 3.0
    progress.draw(7, logs)
    assert terminal.lines() == ["Epoch 1/1 7 steps 3s - loss: 0.2500 - accuracy: 0.5000"]
    progress.end_epoch(9, logs())
    assert terminal.lines() == ["Epoch 1/1 - 9 steps - 3s 333ms/step - loss: 0.2500 - accuracy: 0.5000"]


def test_a_validation_is_counted_by_itself(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(1, 8, 2, stream=terminal.stream, clock=clock)
    clock.now += 2.0
    progress.begin_validation(10)
    clock.now += 1.0
    progress.draw(5, logs)
    assert terminal.lines() == [
        moving("Epoch 1/2", 5 / 10, "validation 5/10 1s, 1s left - loss: 0.2500 - accuracy: 0.5000")
    ]
    progress.end_test(10, logs())  # has no line of its own
    progress.end_epoch(8, logs() | {"val_loss": 0.5})
    line = "Epoch 1/2 - 8/8 - 3s 375ms/step - loss: 0.2500 - accuracy: 0.5000 - val_loss: 0.5000"
    assert terminal.lines() == [line[:80], line[80:]]  # a line that stays is whole
    progress.epoch = 1
    clock.now += 1.0
    progress.draw(2, logs)
    assert terminal.lines()[-1] == moving("Epoch 2/2", 2 / 8, "2/8 1s, 3s left - loss: 0.2500 - accuracy: 0.5000")


def test_evaluation_and_prediction_have_no_epoch(terminal: Pty) -> None:
    clock = Clock()
    with Progress(1, 10, stream=terminal.stream, clock=clock) as progress:
        clock.now += 2.0
        progress.draw(5)
        assert terminal.lines() == [moving("", 5 / 10, "5/10 2s, 2s left")]
        progress.end_test(10, logs())
    assert terminal.lines() == ["10/10 - 2s 200ms/step - loss: 0.2500 - accuracy: 0.5000"]


def test_an_interrupted_epoch_leaves_the_moving_line_and_a_new_one_for_the_traceback(terminal: Pty) -> None:
    clock = Clock()
    with Progress(1, 8, 2, stream=terminal.stream, clock=clock) as progress:
        clock.now += 2.0
        progress.draw(4, logs)
    terminal.stream.write("Traceback\n")
    assert terminal.lines() == [
        moving("Epoch 1/2", 4 / 8, "4/8 2s, 2s left - loss: 0.2500 - accuracy: 0.5000"),
        "Traceback",
    ]


def test_what_a_callback_prints_has_a_line_of_its_own(terminal: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal.stream)
    monkeypatch.setattr("layerkit.training.progress.DRAWING_INTERVAL_S", 0.0)  # draw at every step

    def tell(epoch: int, logs: Any) -> None:
        assert terminal.lines()[epoch * 2 :] == []  # the moving line is gone
        print("hello", epoch)

    compiled().fit(X, Y, epochs=3, batch_size=4, callbacks=[LambdaCallback(on_epoch_end=tell)])
    lines = [re.sub(r" - .*", "", line) for line in terminal.lines()]
    assert lines == ["hello 0", "Epoch 1/3", "hello 1", "Epoch 2/3", "hello 2", "Epoch 3/3"]


def test_a_dumb_terminal_has_plain_lines(terminal: Pty, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    clock = Clock()
    run(Progress(1, 100, 1, stream=terminal.stream, clock=clock), clock, epochs=1, steps=100, step_s=0.1)
    assert terminal.read() == "Epoch 1/1 - 100/100 - 10s 100ms/step - loss: 0.2500 - accuracy: 0.5000\r\n"


# How often.


def test_drawings_keep_a_tenth_of_a_second_apart(terminal: Pty) -> None:
    clock = Clock()
    drawings = run(Progress(1, 1000, 1, stream=terminal.stream, clock=clock), clock, 1, steps=1000, step_s=0.0078125)
    assert DRAWING_INTERVAL_S == 0.1
    assert drawings == int(1000 / 13)  # 13 steps take 0.1015625 s


def test_a_step_between_drawings_reads_nothing_from_the_device(terminal: Pty) -> None:
    clock, reads = Clock(), []
    progress = Progress(1, 1000, 1, stream=terminal.stream, clock=clock)
    assert progress.due == clock.now + DRAWING_INTERVAL_S
    progress.draw(1, lambda: reads.append(1) or logs())
    assert reads == [1]
    assert progress.due == clock.now + DRAWING_INTERVAL_S


class SlowTerminal(Terminal):
    """Takes half a second for each line."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(io.StringIO())
        self.clock = clock

    def move(self, line: str) -> None:
        self.clock.now += 0.5


def test_a_slow_terminal_takes_a_hundredth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("layerkit.training.progress.screen_of", lambda stream: SlowTerminal(clock))
    drawings = run(Progress(1, 10**4, 1, stream=io.StringIO(), clock=clock), clock, 1, steps=10**4, step_s=0.1)
    seconds = clock.now - 1000.0
    assert 0.5 * drawings <= SHARE * seconds + 0.5  # the last drawing is not paid back yet
    assert drawings >= SHARE * seconds / 0.5  # and no rarer than that


# A notebook.


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> tuple[Any, list[Any]]:
    """The standard output of a kernel, and the outputs of a cell as they look in the end."""
    outputs: list[Any] = []

    class Handle:
        def __init__(self) -> None:
            outputs.append(None)
            self.place = len(outputs) - 1

        def update(self, data: dict[str, str], *, raw: bool) -> None:
            assert raw
            outputs[self.place] = data

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert display_id
        handle = Handle()
        handle.update(data, raw=raw)
        return handle

    module = types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", module)

    class OutStream(io.StringIO):
        def write(self, text: str) -> int:
            outputs.append(text)
            return len(text)

    OutStream.__module__ = "ipykernel.iostream"
    return OutStream(), outputs


def test_a_notebook_keeps_the_lines_of_epochs_and_nothing_of_the_moving_line(notebook: tuple[Any, list[Any]]) -> None:
    stream, outputs = notebook
    clock = Clock()
    progress = Progress(1, 8, 2, stream=stream, clock=clock)
    clock.now += 2.0
    progress.draw(4, logs)
    assert outputs == [
        {"text/plain": moving("Epoch 1/2", 4 / 8, "4/8 2s, 2s left - loss: 0.2500 - accuracy: 0.5000", columns=81)}
    ]
    clock.now += 1.0
    progress.draw(6, dict)
    assert outputs == [{"text/plain": moving("Epoch 1/2", 6 / 8, "6/8 3s, 1s left", columns=81)}]
    progress.make_room()
    progress.end_epoch(8, logs())
    clock.now += 3.0
    progress.draw(4, dict)
    progress.close()
    assert outputs == [{}, "Epoch 1/2 - 8/8 - 3s 375ms/step - loss: 0.2500 - accuracy: 0.5000\n"]


def test_a_notebook_that_never_drew_displays_nothing(notebook: tuple[Any, list[Any]]) -> None:
    stream, outputs = notebook
    with Progress(1, 8, 1, stream=stream, clock=Clock()) as progress:
        progress.end_epoch(8, {})
    assert outputs == ["Epoch 1/1 - 8/8 - 0us 0us/step\n"]
    assert isinstance(screen_of(stream), Notebook)


# Streams that fail.


def test_a_closed_pipe_ends_the_display_and_not_the_training() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream, clock = os.fdopen(writer, "w"), Clock()
    progress = Progress(1, 100, 5, stream=stream, clock=clock)
    assert run(progress, clock, epochs=5, steps=100, step_s=100.0) == 1
    assert progress.due == float("inf")
    with pytest.raises(BrokenPipeError):
        stream.close()  # what was never read; this stream is not standard output, and its owner's business


@pytest.mark.parametrize("error", [OSError("no space left"), ValueError("closed file")])
def test_a_stream_that_fails_is_not_written_to_again(error: Exception) -> None:
    class Fails(io.StringIO):
        attempts = 0

        def write(self, text: str) -> int:
            self.attempts += 1
            raise error

    stream, clock = Fails(), Clock()
    run(Progress(1, 1, 5, stream=stream, clock=clock), clock, epochs=5, steps=1, step_s=1.0)
    assert stream.attempts == 1


class FullDisk(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError("no space left")


@pytest.mark.parametrize("stream", [None, FullDisk()], ids=["none", "full disk"])
def test_no_standard_output_ends_no_training(
    stream: TextIO | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model = compiled()
    monkeypatch.setattr(sys, "stdout", stream)
    talking = [
        EarlyStopping("loss", min_delta=1e9, patience=1, restore_best_weights=True, verbose=1),
        LearningRateScheduler(lambda epoch, rate: rate, verbose=1),
        ModelCheckpoint(tmp_path / "{epoch}.layerkit", verbose=1),
        ReduceLROnPlateau("loss", min_delta=1e9, patience=1, verbose=1),
    ]
    assert model.fit(X, Y, epochs=5, callbacks=talking).epoch == [0, 1]
    assert len(model.predict(X)) == len(X)
    own = CallbackList(add_progbar=True, model=model, verbose=1, epochs=1, steps=1)
    for moment in ("train_begin", "epoch_begin", "train_batch_end", "epoch_end"):
        getattr(own, f"on_{moment}")(*([] if moment == "train_begin" else [0]), {"loss": 1.0})
    stopping = TerminateOnNaN()
    stopping.set_model(model)
    stopping.on_train_batch_end(0, {"loss": math.nan})
    assert model.stop_training


def test_summary_without_standard_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    compiled().summary()


def test_characters_that_the_stream_does_not_have_become_question_marks() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    Progress(1, 1, 1, stream=stream, clock=Clock()).end_epoch(1, {"précision": 0.5})
    assert raw.getvalue() == b"Epoch 1/1 - 1/1 - 0us 0us/step - pr?cision: 0.5000\n"


def test_an_error_of_another_kind_surfaces() -> None:
    class Fails(io.StringIO):
        def write(self, text: str) -> int:
            raise LookupError

    with pytest.raises(LookupError):
        Screen(Fails()).leave("line")


def test_a_reader_that_leaves_does_not_end_the_program() -> None:
    """``python script.py | head -1``: no traceback, no complaint at exit, and what comes after training is done."""
    script = """
        import sys
        import numpy as np
        from layerkit import Sequential
        from layerkit.layers import Dense

        model = Sequential([Dense(1)], seed=0)
        model.compile("sgd", "mse")
        sys.stdin.readline()  # until the reader has gone
        history = model.fit(np.ones((4, 2)), np.ones((4, 1)), epochs=3)
        print("nobody reads this")
        print(history.epoch, file=sys.stderr)
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    child.stdout.close()
    child.stdout = None
    _, errors = child.communicate("go\n", timeout=60)
    assert errors == "[0, 1, 2]\n"
    assert child.returncode == 0


# Through the model.


def test_fit_evaluate_and_predict_leave_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled()
    history = model.fit(X, Y, batch_size=5, epochs=2, validation_data=(X, Y))
    model.evaluate(X, Y, batch_size=4)
    model.predict(X, batch_size=6)
    time = r"- [0-9]+(us|ms|s) [0-9]+(us|ms|s)/step"
    number = r"[0-9.e+-]+"
    names = ["loss", "mae", "val_loss", "val_mae"]
    epoch = "".join(f" - {name}: {number}" for name in names)
    lines = capsys.readouterr().out.splitlines()
    patterns = [
        f"Epoch 1/2 - 3/3 {time}{epoch}",
        f"Epoch 2/2 - 3/3 {time}{epoch}",
        f"3/3 {time} - loss: {number} - mae: {number}",
        f"2/2 {time}",
    ]
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), line
    shown = dict(re.findall(r"(\w+): ([0-9.e+-]+)", lines[1]))
    assert {name: float(value) for name, value in shown.items()} == pytest.approx(
        {name: values[-1] for name, values in history.history.items()}, abs=5e-5
    )


def test_a_generator_tells_how_many_steps_it_gave(capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled()
    model.fit((X[i : i + 4], Y[i : i + 4]) for i in range(0, 12, 4))
    assert capsys.readouterr().out.startswith("Epoch 1/1 - 3 steps - ")
    model.fit(iter([(X, Y)] * 4), steps_per_epoch=2, epochs=2)
    assert [line.split(" - ")[1] for line in capsys.readouterr().out.splitlines()] == ["2/2", "2/2"]


def test_what_a_callback_adds_to_the_logs_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["learning_rate"] = np.float32(0.001)
            logs["note"] = "warm"

    compiled().fit(X, Y, callbacks=[Adds()])
    assert capsys.readouterr().out.endswith(" - learning_rate: 0.0010 - note: warm\n")


@pytest.mark.parametrize(("verbose", "lines"), [(0, 0), (1, 1), (2, 1), ("auto", 1), (True, 1), (False, 0)])
def test_verbose(verbose: Any, lines: int, capsys: pytest.CaptureFixture[str]) -> None:
    model = compiled()
    model.fit(X, Y, verbose=verbose)
    model.evaluate(X, Y, verbose=verbose)
    model.predict(X, verbose=verbose)
    assert capsys.readouterr().out.count("\n") == 3 * lines


@pytest.mark.parametrize("verbose", [3, -1, "loud", None, 1.5])
@pytest.mark.parametrize("method", ["fit", "evaluate", "predict"])
def test_another_verbose_is_refused(method: str, verbose: Any) -> None:
    arguments = (X,) if method == "predict" else (X, Y)
    with pytest.raises(ArgumentError) as raised:
        getattr(compiled(), method)(*arguments, verbose=verbose)
    rates = ", or how often: 'every 100 epochs', '10%' or '30s'" if method == "fit" else ""
    assert str(raised.value) == f"{method}: verbose must be 0, 1, 2 or 'auto'{rates}. Received: verbose={verbose!r}"


def test_check_verbose_takes_what_numpy_gives() -> None:
    assert check_verbose(np.int64(2), "fit") == 2
    with pytest.raises(ArgumentError):
        check_verbose(np.array([1, 2]), "fit")


# As many lines as are asked for.


def epochs_shown(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"Epoch (\d+)/", text)]


@pytest.mark.parametrize(
    ("verbose", "epochs", "shown"),
    [
        ("every 100 epochs", 250, [100, 200, 250]),
        ("every 1 epoch", 3, [1, 2, 3]),
        ("every 7 epochs", 14, [7, 14]),
        ("every 100 epochs", 5, [5]),
        ("10%", 1000, [*range(100, 1001, 100)]),
        ("10%", 7, [*range(1, 8)]),
        ("30%", 10, [3, 6, 9, 10]),
        ("33.3%", 10, [4, 7, 10]),
        ("2.5 %", 200, [*range(5, 201, 5)]),
        ("300%", 10, [10]),
        ("30s", 10, [3, 6, 9, 10]),  # an epoch takes ten seconds
        ("0.5min", 10, [3, 6, 9, 10]),
        ("15 s", 10, [2, 4, 6, 8, 10]),
        ("1h", 10, [10]),
    ],
)
def test_a_file_has_as_many_lines_as_are_asked_for(verbose: str, epochs: int, shown: list[int]) -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(check_verbose(verbose, "fit"), 1, epochs, stream=stream, clock=clock)
    run(progress, clock, epochs, steps=1, step_s=10.0)
    text = stream.getvalue()
    assert epochs_shown(text) == shown
    assert text.splitlines()[-1] == f"Epoch {epochs}/{epochs} - 1/1 - 10s 10s/step - loss: 0.2500 - accuracy: 0.5000"


def test_a_long_epoch_writes_a_line_as_often_as_is_asked_for_in_seconds_and_else_none() -> None:
    for verbose, counts in (
        ("30s", ["3/10", "6/10", "9/10", "10/10"]),
        ("50%", ["10/10"]),
        ("every 1 epochs", ["10/10"]),
    ):
        stream, clock = io.StringIO(), Clock()
        progress = Progress(check_verbose(verbose, "fit"), 10, 1, stream=stream, clock=clock)
        run(progress, clock, 1, steps=10, step_s=10.0)
        assert [line.split(" - ")[1] for line in stream.getvalue().splitlines()] == counts


def test_a_terminal_keeps_its_moving_line_between_them(terminal: Pty) -> None:
    clock = Clock()
    progress = Progress(check_verbose("every 2 epochs", "fit"), 4, 5, stream=terminal.stream, clock=clock)
    assert run(progress, clock, 5, steps=4, step_s=0.25) > 10
    lines = terminal.lines()
    assert [re.sub(r" - .*", "", line) for line in lines] == ["Epoch 2/5", "Epoch 4/5", "Epoch 5/5"]


def test_epochs_are_counted_from_the_first_of_this_fit(capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    look = LambdaCallback(on_train_begin=lambda logs: seen.append(look.params["verbose"]))
    compiled().fit(X, Y, initial_epoch=3, epochs=8, verbose="every 2 epochs", callbacks=[look])
    assert epochs_shown(capsys.readouterr().out) == [5, 7, 8]
    assert seen == [1]


# Numbers and durations.


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.0000"),
        (0.25, "0.2500"),
        (0.001, "0.0010"),
        (0.00099, "9.9000e-04"),
        (-12.34567, "-12.3457"),
        (99999.0, "99999.0000"),
        (1e5, "1.0000e+05"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (np.float32(0.5), "0.5000"),
        (3, "3.0000"),
        ("text", "text"),
        (None, "None"),
    ],
)
def test_numbers(value: Any, shown: str) -> None:
    assert shown_number(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.0, "0us"),
        (4.2e-6, "4us"),
        (0.0123, "12ms"),
        (1.0, "1s"),
        (59.4, "59s"),
        (59.6, "1:00"),
        (83.0, "1:23"),
        (3599.7, "1:00:00"),
        (3723.0, "1:02:03"),
        (360000.0, "100:00:00"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert _duration(seconds) == shown
