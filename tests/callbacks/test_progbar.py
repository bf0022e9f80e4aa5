"""Lines of a training loop of one's own."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import CallbackList, ProgbarLogger, progbar
from layerkit.layers import Dense

X = np.arange(8.0).reshape(4, 2) / 8


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def loop(callbacks: CallbackList, epochs: int = 2) -> None:
    callbacks.on_train_begin()
    for epoch in range(epochs):
        callbacks.on_epoch_begin(epoch)
        for batch in range(3):
            callbacks.on_train_batch_begin(batch)
            callbacks.on_train_batch_end(batch, {"loss": 1.0 / (batch + 1)})
        callbacks.on_epoch_end(epoch, {"loss": 0.25, "accuracy": 0.0005, "several": np.ones(2)})
    callbacks.on_train_end()


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(10**6))
    monkeypatch.setattr(progbar, "perf_counter", lambda: next(now) / 100)  # each look a hundredth of a second later


LINES = [
    f"Epoch {epoch}/2 - 3/3 - 0s - loss: 0.2500 - accuracy: 5.0000e-04 - several: [1.0000 1.0000]" for epoch in (1, 2)
]


def test_each_epoch_leaves_a_line_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    loop(CallbackList(add_progbar=True, verbose=1, epochs=2, steps=3))
    assert capsys.readouterr().out.splitlines() == LINES
    loop(CallbackList([ProgbarLogger()], add_progbar=True, verbose=2, epochs=2, steps=3))  # which is there already
    assert capsys.readouterr().out.splitlines() == LINES
    loop(CallbackList(add_progbar=True, verbose=0, epochs=2, steps=3))
    assert capsys.readouterr().out == ""
    loop(CallbackList(ProgbarLogger()), epochs=1)
    assert capsys.readouterr().out == LINES[0].replace("1/2", "1").replace("3/3", "3") + "\n"


def test_in_a_terminal_a_line_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    loop(CallbackList(add_progbar=True, verbose="auto", epochs=2, steps=3))
    written = stream.getvalue()
    assert "\rEpoch 1/2 - 1/3 - 0s - loss: 1.0000" in written
    assert "2/3" not in written  # no tenth of a second has gone by
    assert [line.rpartition("\r")[2].rstrip() for line in written.splitlines() if "several" in line] == LINES


def test_fit_shows_how_it_goes_itself(capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    outputs: list[Any] = []
    for callbacks in ([], [ProgbarLogger()]):
        model.fit(X, X[:, :1], epochs=2, verbose=2, callbacks=callbacks)
        outputs.append(len(capsys.readouterr().out.splitlines()))
    assert outputs[0] == outputs[1]
