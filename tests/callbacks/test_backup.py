"""BackupAndRestore: a training that was cut off ends with the bits of one that was not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Input, Sequential, load_model
from layerkit.callbacks import BackupAndRestore
from layerkit.callbacks.backup import Restoring
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.training.step import Step
from tests.saving import resume

if TYPE_CHECKING:
    from pathlib import Path


class CutOffError(Exception):
    """Stands for whatever ends a process."""


def cut_off(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, after: int) -> None:
    """Train until so many steps were begun."""
    begun = 0
    train = Step.train

    def counted(self: Step, *batch: Any) -> None:
        nonlocal begun
        begun += 1
        if begun == after:
            raise CutOffError
        train(self, *batch)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "train", counted)
        with pytest.raises(CutOffError):
            resume.train(folder, name, seed=0)


@pytest.mark.parametrize("name", resume.SETTINGS)
def test_it_ends_with_the_same_bits_as_if_it_had_not_been_cut_off(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven batches are an epoch, the last of them short. The long form: python -m tests.saving.resume."""
    expected = resume.train(tmp_path / "left alone", name, seed=0)
    for after in (2, 12, 20):
        folder = tmp_path / str(after)
        cut_off(monkeypatch, folder, name, after)
        assert resume.train(folder, name, seed=0) == expected, after


def test_it_may_be_cut_off_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "momentum, within epochs"
    expected = resume.train(tmp_path / "left alone", name, seed=0)
    for _ in range(3):
        cut_off(monkeypatch, tmp_path / "cut off", name, after=9)
    assert resume.train(tmp_path / "cut off", name, seed=0) == expected


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL.")
def test_a_killed_process(monkeypatch: pytest.MonkeyPatch) -> None:
    kills, early, equal = resume.killed_and_resumed("adam, within epochs", seed=0)
    assert kills >= early
    assert equal


X = np.arange(24.0).reshape(12, 2)
Y = X[:, :1]


def fit(
    folder: Path, *, seed: int = 0, width: int = 4, rows: int = 12, batch_size: int = 4, **given: Any
) -> Sequential:
    model = Sequential([Input((2,)), Dense(width, "tanh"), Dense(1)], seed=seed)
    model.compile("adam", "mse")
    backup = BackupAndRestore(folder, **{"delete_checkpoint": False, **given.pop("backup", {})})
    model.fit(X[:rows], Y[:rows], batch_size=batch_size, callbacks=[backup], verbose=0, **{"epochs": 3, **given})
    return model


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("checkpoint*"))


def test_the_last_two_are_kept_and_removed_at_the_end(tmp_path: Path) -> None:
    fit(tmp_path, epochs=5)
    assert names(tmp_path) == ["checkpoint-00000004.layerkit", "checkpoint-00000005.layerkit"]
    model = fit(tmp_path, epochs=7, backup={"delete_checkpoint": True})
    assert model.history is not None
    assert model.history.epoch == [0, 1, 2, 3, 4, 5, 6]  # it went on after the fifth
    assert len(model.history.history["loss"]) == 7
    assert names(tmp_path) == []


def test_a_checkpoint_is_a_model_too(tmp_path: Path) -> None:
    model = fit(tmp_path)
    found = load_model(tmp_path / names(tmp_path)[-1])
    np.testing.assert_array_equal(found.get_weights()[0], model.get_weights()[0])


def test_a_training_that_was_done_is_not_done_again(tmp_path: Path) -> None:
    model, again = fit(tmp_path), fit(tmp_path)
    for a, b in zip(model.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_where_the_newest_is_damaged_the_one_before_is_taken(tmp_path: Path) -> None:
    expected = fit(tmp_path, epochs=4)
    newest = tmp_path / names(tmp_path)[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    with pytest.warns(
        UserWarning, match=r"^BackupAndRestore: a checkpoint must be whole\. Received: .*00000004.layerkit: "
    ):
        found = fit(tmp_path, epochs=4)
    for a, b in zip(expected.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"seed": 1}, "model.config.seed 0, now 1"),
        ({"width": 5}, "model.config.layers[1].config.units 4, now 5"),
        ({"rows": 10}, "rows 12, now 10"),
        ({"batch_size": 3}, "batch_size 4, now 3"),
        ({"shuffle": False}, "shuffle True, now False"),
        ({"rows": 10, "seed": 2}, "rows 12, now 10; model.config.seed 0, now 2"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(changed: dict[str, Any], what: str, tmp_path: Path) -> None:
    fit(tmp_path)
    with pytest.raises(ArgumentError) as refusal:
        fit(tmp_path, **changed)
    assert str(refusal.value) == (
        f"{tmp_path / names(tmp_path)[-1]}: a checkpoint must be of the same training. Received: {what}. "
        f"Give another backup_dir, or remove the checkpoint."
    )
    fit(tmp_path)  # the folder is free again


def test_a_folder_serves_one_training_at_a_time(tmp_path: Path) -> None:
    first = BackupAndRestore(tmp_path)
    first.hold()
    with pytest.raises(ArgumentError) as refusal:
        fit(tmp_path)
    assert str(refusal.value) == (
        f"BackupAndRestore: a folder must serve one training at a time. Received: backup_dir='{tmp_path}', "
        f"which process {os.getpid()} uses"
    )
    first.on_train_end()
    fit(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"backup_dir": 3}, "backup_dir must be text or a path. Received: backup_dir=3"),
        ({"save_freq": "batch"}, "save_freq must be 'epoch' or a number of batches. Received: 'batch'"),
        ({"save_freq": 0}, "save_freq must be 'epoch' or a number of batches. Received: 0"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArgumentError) as refusal:
        BackupAndRestore(**{"backup_dir": "a", **arguments})
    assert str(refusal.value) == f"BackupAndRestore: {sentence}"


def test_data_that_cannot_be_taken_up_again_is_refused(tmp_path: Path) -> None:
    def batches() -> Any:
        yield X, Y

    model = Sequential([Input((2,)), Dense(1)], seed=0)
    model.compile("adam", "mse")
    for given, received in (
        ({"x": batches()}, "x of type generator"),
        ({"x": X, "y": Y, "validation_data": batches()}, "validation_data of type generator"),
    ):
        with pytest.raises(ArgumentError) as refusal:
            model.fit(**given, callbacks=[BackupAndRestore(tmp_path)], verbose=0)
        assert str(refusal.value) == (
            f"fit: BackupAndRestore needs data that can be taken up again: arrays, or an object with __len__ and "
            f"__getitem__. Received: {received}"
        )
    assert list(tmp_path.iterdir()) == []


def test_a_callback_that_restores_says_how() -> None:
    class Own(Restoring):
        pass

    model = Sequential([Input((2,)), Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ArgumentError) as raised:
        model.fit(np.ones((4, 2)), np.ones((4, 1)), callbacks=[Own()], verbose=0)
    assert str(raised.value) == (
        "Own: a callback that restores must define restore(self, model, run, epochs). Received: none. "
        "See BackupAndRestore for an example."
    )
