"""What callbacks remember where training is cut off and resumed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.callbacks import BackupAndRestore, Callback, EarlyStopping, ModelCheckpoint
from layerkit.errors import ArgumentError
from layerkit.layers import Dense

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

X = np.arange(24.0).reshape(12, 2) / 24
Y = X[:, :1]


class CutOffError(Exception):
    """Stands for whatever ends a process."""


class CutsOff(Callback):
    """Ends training at the beginning of an epoch."""

    def __init__(self, epoch: int | None) -> None:
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if epoch == self.epoch:
            raise CutOffError


def cut_off_and_resumed(folder: Path, make: Any) -> tuple[Any, Any]:
    """Return a callback that was told of four epochs, and one that was told of the last two by a resumed training."""

    def fit(place: Path, cut: int | None) -> Any:
        model = Sequential([Input((2,)), Dense(1)], seed=0)
        model.compile("adam", "mse")
        made = make()
        callbacks = [made, CutsOff(cut), BackupAndRestore(place)]
        model.fit(X, Y, batch_size=4, epochs=4, callbacks=callbacks, verbose=0)
        return made

    with pytest.raises(CutOffError):
        fit(folder / "cut off", 2)
    return fit(folder / "left alone", None), fit(folder / "cut off", None)


class Remembers(Callback):
    """Attributes of every kind that can be written, and one that cannot."""

    def __init__(self, factor: float = 2.0) -> None:
        self.factor = factor
        self.cannot = object()
        self.weights: list[Any] = []
        self.deep: dict[str, Any] = {"pairs": [], 3: None}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.weights.append(self.model.get_weights()[0])
        self.deep["pairs"].append((epoch, np.arange(epoch, dtype=np.int8), float("inf")))


def test_attributes_are_remembered_whatever_stands_in_them(tmp_path: Path) -> None:
    expected, found = cut_off_and_resumed(tmp_path, Remembers)
    assert len(found.weights) == 4
    np.testing.assert_array_equal(found.weights, expected.weights)
    assert found.deep.keys() == {"pairs", 3}
    for number, (epoch, array, infinite) in enumerate(found.deep["pairs"]):
        assert (epoch, infinite) == (number, float("inf"))
        assert array.dtype == np.int8
        np.testing.assert_array_equal(array, np.arange(number))
    assert isinstance(found.cannot, object)


class OwnState(Callback):
    """Counts, in a place that no rule finds."""

    def __init__(self) -> None:
        self.counter: Any = iter(range(100))
        self.count = -1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.count = next(self.counter)

    def get_state(self) -> dict[str, Any]:
        return {"next": self.count + 1}

    def set_state(self, state: Mapping[str, Any]) -> None:
        self.counter = iter(range(state["next"], 100))


def test_a_callback_may_say_itself_what_it_remembers(tmp_path: Path) -> None:
    expected, found = cut_off_and_resumed(tmp_path, OwnState)
    assert found.count == expected.count == 3


def test_what_a_constructor_was_given_is_that_of_the_new_one(tmp_path: Path) -> None:
    factors = iter([1.0, 2.0, 3.0])
    _, found = cut_off_and_resumed(tmp_path, lambda: Remembers(next(factors)))
    assert found.factor == 3.0


def test_what_early_stopping_and_checkpoints_remember(tmp_path: Path) -> None:
    expected, found = cut_off_and_resumed(
        tmp_path, lambda: EarlyStopping(monitor="loss", restore_best_weights=True, patience=9)
    )
    np.testing.assert_array_equal(found.best_weights[0], expected.best_weights[0])
    assert (found.best, found.best_epoch, found.wait) == (expected.best, expected.best_epoch, expected.wait)
    expected, found = cut_off_and_resumed(
        tmp_path,
        lambda: ModelCheckpoint(
            tmp_path / "{epoch}.layerkit", monitor="loss", save_best_only=True, keep=3, every_epochs=1
        ),
    )
    assert found.saved == expected.saved == [tmp_path / f"{epoch}.layerkit" for epoch in (2, 3, 4)]
    assert found.best == expected.best


@pytest.mark.parametrize(
    ("returned", "received"),
    [
        (3, "must return a dictionary with text as keys. Received: 3"),
        ({1: 2}, "must return a dictionary with text as keys. Received: {1: 2}"),
        ({"a": [{1}]}, "must return plain values and arrays. Received: a=[{1}]"),
        ({"a": 2**64}, "must return plain values and arrays. Received: a=18446744073709551616"),
    ],
)
def test_what_cannot_be_written_is_refused(returned: Any, received: str, tmp_path: Path) -> None:
    class Wrong(Callback):
        def get_state(self) -> Any:
            return returned

    with pytest.raises(ArgumentError) as refusal:
        cut_off_and_resumed(tmp_path, Wrong)
    assert str(refusal.value) == f"save: Wrong.get_state {received}"
