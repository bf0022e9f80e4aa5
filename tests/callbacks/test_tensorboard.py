"""TensorBoard: what is written, by a writer that notes it."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import TensorBoard
from layerkit.errors import ArgumentError, BackendUnavailableError
from layerkit.layers import Dense

X = np.arange(8.0).reshape(4, 2) / 8
Y = X[:, :1]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What writers of a package of this name were told."""
    noted: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str) -> None:
            self.part = Path(folder).name
            noted.append(("open", folder))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            noted.append((self.part, name, value, step))

        def flush(self) -> None:
            noted.append(("flush", self.part))

        def close(self) -> None:
            noted.append(("close", self.part))

    module = types.ModuleType("tensorboardX")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tensorboardX", module)
    return noted


def compiled() -> Sequential:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


def test_training_and_validation_have_a_folder_each_as_in_keras(calls: list[Any]) -> None:
    history = compiled().fit(X, Y, epochs=2, validation_data=(X, Y), verbose=0, callbacks=[TensorBoard("runs")]).history
    written = [call for call in calls if len(call) == 4]
    assert written == [
        row
        for epoch in (0, 1)
        for row in (
            ("train", "epoch_loss", history["loss"][epoch], epoch),
            ("validation", "epoch_loss", history["val_loss"][epoch], epoch),
            ("train", "epoch_learning_rate", 0.01, epoch),
        )
    ]
    assert [call for call in calls if call[0] == "open"] == [("open", "runs/train"), ("open", "runs/validation")]
    assert calls[-4:] == [("flush", "train"), ("flush", "validation"), ("close", "train"), ("close", "validation")]


def test_without_a_package_one_sentence_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[TensorBoard()])
    assert str(raised.value) == (
        "TensorBoard: a package that writes its files must be installed. Received: neither tensorboardX nor PyTorch "
        'with tensorboard. Run: pip install "layerkit[tensorboard]".'
    )


def test_a_folder_of_another_kind_is_refused() -> None:
    with pytest.raises(ArgumentError) as raised:
        TensorBoard(None)  # type: ignore[arg-type]
    assert str(raised.value) == "TensorBoard: log_dir must be text or a path. Received: log_dir=None"
