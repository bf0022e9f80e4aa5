"""ModelCheckpoint: when it saves, what, under which name, and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Sequential, load_model
from layerkit.callbacks import LambdaCallback, ModelCheckpoint, checkpoint
from layerkit.errors import ArgumentError
from layerkit.layers import Dense

if TYPE_CHECKING:
    from pathlib import Path

X = np.arange(16.0).reshape(8, 2)
Y = X[:, :1]


class FakeModel:
    """Notes where it is saved."""

    def __init__(self) -> None:
        self.saved: list[str] = []

    def save(self, path: Path) -> None:
        path.write_bytes(b"")
        self.saved.append(path.name)

    save_weights = save


def play(callback: ModelCheckpoint, values: list[Any], batches: int = 3) -> list[str]:
    """Give the callback a value of the loss each epoch, and return the names of the files that were saved."""
    model = FakeModel()
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch)
        for batch in range(batches):
            callback.on_train_batch_end(batch, {"loss": value})
        callback.on_epoch_end(epoch, {} if value is None else {"loss": value})
    return model.saved


FALLING_AND_RISING = [3.0, 4.0, 2.0, float("nan"), 2.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "saved"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"every_epochs": 2}, [2, 4, 6]),
        ({"save_best_only": True}, [1, 3, 6]),
        ({"save_best_only": True, "mode": "max"}, [1, 2]),
        ({"save_best_only": True, "initial_value_threshold": 2.5}, [3, 6]),
        ({"save_best_only": True, "every_epochs": 2}, [2, 6]),
    ],
    ids=str,
)
def test_it_saves_at_the_end_of_epochs(arguments: dict[str, Any], saved: list[int], tmp_path: Path) -> None:
    callback = ModelCheckpoint(tmp_path / "{epoch}.layerkit", monitor="loss", **arguments)
    assert play(callback, FALLING_AND_RISING) == [f"{epoch}.layerkit" for epoch in saved]


def test_it_saves_after_batches_counted_over_epochs(tmp_path: Path) -> None:
    callback = ModelCheckpoint(tmp_path / "{epoch}-{batch}.layerkit", save_freq=2)
    assert play(callback, [1.0, 1.0]) == ["1-2.layerkit", "2-1.layerkit", "2-3.layerkit"]


def test_it_saves_after_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = iter(range(0, 1000, 4))
    monkeypatch.setattr(checkpoint, "monotonic", lambda: float(next(seconds)))
    callback = ModelCheckpoint(tmp_path / "{epoch}-{batch}.layerkit", every_s=10.0)
    # It begins at 0 s; the batches end at 4, 8, 12 (saved, and the clock read at 16), 20, 24, 28 (32), …
    assert play(callback, [1.0, 1.0]) == ["1-3.layerkit", "2-3.layerkit"]


def test_it_keeps_the_last_ones(tmp_path: Path) -> None:
    callback = ModelCheckpoint(tmp_path / "new" / "{epoch}.layerkit", keep=2)
    other = tmp_path / "new" / "0.layerkit"
    other.parent.mkdir()
    other.touch()
    assert len(play(callback, [1.0] * 5)) == 5
    assert sorted(path.name for path in other.parent.iterdir()) == ["0.layerkit", "4.layerkit", "5.layerkit"]
    assert [path.name for path in callback.saved] == ["4.layerkit", "5.layerkit"]


def test_names_hold_logs_and_folders_are_made(tmp_path: Path) -> None:
    callback = ModelCheckpoint(tmp_path / "run" / "{epoch:03d}-{loss:.1f}.npz", save_weights_only=True)
    assert play(callback, [0.25]) == ["001-0.2.npz"]
    with pytest.raises(ArgumentError) as refusal:
        play(ModelCheckpoint(tmp_path / "{val_loss}.layerkit"), [1.0])
    assert str(refusal.value) == (
        f"ModelCheckpoint: filepath may hold epoch, loss in braces. Received: '{tmp_path}/{{val_loss}}.layerkit', "
        f"with 'val_loss'"
    )


def test_what_is_saved_is_the_model_as_it_is_then(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = Sequential([Dense(2), Dense(1)], seed=0)
    model.compile("adam", "mse")
    weights: list[Any] = []
    path = tmp_path / "{epoch}.layerkit"
    model.fit(
        X,
        Y,
        epochs=3,
        batch_size=4,
        callbacks=[
            ModelCheckpoint(path, verbose=1),
            ModelCheckpoint(tmp_path / "weights.safetensors", save_weights_only=True),
            LambdaCallback(on_epoch_end=lambda epoch, logs: weights.append(model.get_weights())),
        ],
        verbose=0,
    )
    for epoch, kept in enumerate(weights, 1):
        for a, b in zip(kept, load_model(str(path).format(epoch=epoch)).get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert capsys.readouterr().out == "".join(f"Epoch {n}: saved {tmp_path}/{n}.layerkit\n" for n in (1, 2, 3))
    before = model.get_weights()
    model.load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(before[0], model.get_weights()[0])


def test_nobody_is_called_after_batches_without_need(tmp_path: Path) -> None:
    assert "on_train_batch_end" not in vars(ModelCheckpoint(tmp_path / "a.layerkit"))
    assert "on_train_batch_end" in vars(ModelCheckpoint(tmp_path / "a.layerkit", save_freq=1))


def test_a_number_that_is_not_there_is_warned_of(tmp_path: Path) -> None:
    callback = ModelCheckpoint(tmp_path / "a.layerkit", save_best_only=True)
    with pytest.warns(UserWarning, match=r"^ModelCheckpoint: monitor must be among the logs\. Received: monitor='val_"):
        assert play(callback, [1.0]) == []
    callback = ModelCheckpoint(tmp_path / "a.layerkit", "val_loss", save_best_only=True, initial_value_threshold=1.0)
    with pytest.warns(UserWarning, match="^ModelCheckpoint: monitor must be among the logs") as caught:
        play(callback, [1.0])
    assert caught[0].filename == __file__  # the user's own line


def test_epochs_without_validation_are_passed_over_in_silence(tmp_path: Path) -> None:
    """Keras warns, and saves: over the best one."""
    callback = ModelCheckpoint(tmp_path / "{epoch}.layerkit", monitor="loss", save_best_only=True)
    assert play(callback, [3.0, None, 2.0, None, 4.0]) == ["1.layerkit", "3.layerkit"]


def test_a_number_of_several_is_refused(tmp_path: Path) -> None:
    callback = ModelCheckpoint(tmp_path / "a.layerkit", monitor="f1_score", save_best_only=True)
    with pytest.raises(ArgumentError) as refusal:
        callback.on_epoch_end(0, {"f1_score": np.ones(3)})
    assert str(refusal.value) == (
        "ModelCheckpoint: monitor must name one number. Received: monitor='f1_score', of shape (3,)"
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"filepath": "a.keras"}, "filepath must end in .layerkit. Received: 'a.keras'"),
        (
            {"filepath": "a.h5", "save_weights_only": True},
            "filepath must end in .safetensors or .npz. Received: 'a.h5'",
        ),
        ({"filepath": 3}, "filepath must end in .layerkit. Received: 3"),
        ({"save_freq": "batch"}, "save_freq must be 'epoch' or a number of batches. Received: 'batch'"),
        ({"save_freq": 0}, "save_freq must be 'epoch' or a number of batches. Received: 0"),
        (
            {"save_freq": 3, "every_s": 1.0},
            "give save_freq, every_epochs, or every_s. Received: save_freq=3, every_epochs=1, every_s=1.0",
        ),
        ({"keep": 0}, "keep must be an integer of at least 1. Received: keep=0"),
        ({"every_s": 0}, "every_s must be above 0. Received: every_s=0"),
        ({"save_best_only": True, "mode": "best"}, "mode must be 'auto', 'min' or 'max'. Received: mode='best'"),
        (
            {"save_best_only": True, "monitor": "quality"},
            "mode must be given where the name of a number does not tell whether more of it is better. "
            "Received: monitor='quality', mode='auto'. Give mode='min' or mode='max'.",
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArgumentError) as refusal:
        ModelCheckpoint(**{"filepath": "a.layerkit", **arguments})
    assert str(refusal.value) == f"ModelCheckpoint: {sentence}"
