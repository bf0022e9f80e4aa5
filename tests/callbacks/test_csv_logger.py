"""CSVLogger: the bytes of its files against Keras's (keras.json), crashes, and going on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import BackupAndRestore, CSVLogger, LambdaCallback
from layerkit.errors import ArgumentError
from layerkit.layers import Dense

KERAS = json.loads((Path(__file__).parent / "keras.json").read_text())["csv"]

X = np.arange(8.0).reshape(4, 2) / 8
Y = X[:, :1]


def write(path: Path, epochs: list[dict[str, Any]], **arguments: Any) -> bytes:
    """Let CSVLogger write these epochs, and return what the file holds."""
    callback = CSVLogger(path, **arguments)
    callback.on_train_begin()
    for epoch, logs in enumerate(epochs):
        callback.on_epoch_end(epoch, logs)
    callback.on_train_end()
    return path.read_bytes()


@pytest.mark.parametrize("case", KERAS)
def test_the_bytes_are_those_of_keras(case: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    assert write(path, case["epochs"], **case["arguments"]).decode() == case["once"]
    assert write(path, case["epochs"], append=True, **case["arguments"]).decode() == case["twice"]
    assert write(path, case["epochs"], **case["arguments"]).decode() == case["once"]  # replaced


def test_arrays_and_numbers_of_numpy(tmp_path: Path) -> None:
    logs = {"scores": np.array([0.25, 0.75]), "loss": np.float64(0.5), "whole": np.array(2.0), "val_loss": 1.0}
    text = write(tmp_path / "new" / "log.csv", [logs]).decode()
    assert text == 'epoch,loss,scores,val_loss,whole\r\n0,0.5,"""[0.25, 0.75]""",1.0,2.0\r\n'


def test_the_same_object_in_two_trainings(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    logger = CSVLogger(path)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[logger])
    first = path.read_bytes()
    losses = model.fit(X, Y, epochs=2, verbose=0, callbacks=[logger]).history["loss"]
    assert path.read_bytes() != first
    assert path.read_text().splitlines() == [
        "epoch,loss,val_loss",
        *[f"{epoch},{loss},NA" for epoch, loss in enumerate(losses)],
    ]
    model.fit(X, Y, epochs=0, verbose=0, callbacks=[logger])
    assert path.read_bytes() == b""  # as Keras does


def test_a_killed_process_has_lost_no_epoch(tmp_path: Path) -> None:
    script = """
        import os, signal, sys
        from layerkit.callbacks import CSVLogger
        callback = CSVLogger(sys.argv[1])
        callback.on_train_begin()
        for epoch in range(3):
            callback.on_epoch_end(epoch, {"loss": 0.5})
        os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "log.csv"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script), str(path)], env=os.environ)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "epoch,loss,val_loss\n0,0.5,NA\n1,0.5,NA\n2,0.5,NA\n"


@pytest.mark.parametrize("append", [False, True])
def test_a_training_that_goes_on_writes_each_epoch_once(append: bool, tmp_path: Path) -> None:
    def train(name: str, stop: int | None) -> bytes:
        path = tmp_path / f"{name}.csv"
        if not path.exists():
            path.write_bytes(b"epoch,loss,val_loss\r\n9,9.0,NA\r\n")

        def interrupt(epoch: int, logs: Any) -> None:
            if epoch == stop:
                raise KeyboardInterrupt

        model = Sequential([Dense(1)], seed=0)
        model.compile("sgd", "mse")
        callbacks = [
            CSVLogger(path, append=append),
            LambdaCallback(on_epoch_end=interrupt),  # behind the logger: the epoch is written, and trained again
            BackupAndRestore(tmp_path / f"backup-{name}"),
        ]
        model.fit(X, Y, epochs=5, verbose=0, callbacks=callbacks)
        return path.read_bytes()

    whole = train("whole", None)
    with pytest.raises(KeyboardInterrupt):
        train("cut", 3)
    assert (tmp_path / "cut.csv").read_text().splitlines()[-1].startswith("3,")
    assert train("cut", None) == whole
    assert whole.startswith(b"epoch,loss,val_loss\r\n9,9.0,NA\r\n0,") is append


def test_lines_of_other_columns_are_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    write(path, [{"loss": 0.5, "val_loss": 0.5}])
    with pytest.warns(UserWarning, match="^CSVLogger") as caught:
        write(path, [{"loss": 0.5, "mae": 0.25, "val_loss": 0.5}], append=True)
    assert str(caught[0].message) == (
        f"CSVLogger: lines that are added must have the columns of the file, epoch,loss,val_loss. "
        f"Received: epoch,loss,mae,val_loss for {str(path)!r}. They are added as they are."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filename": None}, "CSVLogger: filename must be text or a path. Received: filename=None"),
        *[
            (
                {"filename": "a.csv", "separator": separator},
                f"CSVLogger: separator must be one character, and no quote or line end. "
                f"Received: separator={separator!r}",
            )
            for separator in ("", ", ", '"', "\n", None)
        ],
        ({"filename": "a.csv", "append": "no"}, "CSVLogger: append must be True or False. Received: append='no'"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        CSVLogger(**arguments)
    assert str(raised.value) == message


def test_a_file_that_cannot_be_written_stops_training_before_it_begins(tmp_path: Path) -> None:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.build((None, 2))
    before = model.get_weights()
    with pytest.raises(IsADirectoryError):
        model.fit(X, Y, verbose=0, callbacks=[CSVLogger(tmp_path)])
    np.testing.assert_array_equal(before[0], model.get_weights()[0])
