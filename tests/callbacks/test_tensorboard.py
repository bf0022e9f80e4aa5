"""TensorBoard: what is written, by a writer that notes it."""

from __future__ import annotations

import inspect
import itertools
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.callbacks import BackupAndRestore, Callback, CallbackList, LambdaCallback, TensorBoard
from layerkit.callbacks.tensorboard import _image
from layerkit.errors import ArgumentError, BackendUnavailableError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, MultiOptimizer, OptimizerMap

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
            assert type(value) is float
            noted.append((self.part, name, value, step))

        def add_text(self, name: str, text: str, step: int) -> None:
            noted.append(("text", name, text))

        def add_histogram(self, name: str, values: Any, step: int) -> None:
            noted.append(("histogram", name, values.tolist(), step, self.part))

        def add_images(self, name: str, images: Any, step: int, *, dataformats: str) -> None:
            assert (dataformats, images.dtype, images.shape[3:]) == ("NHWC", np.uint8, (1,))
            noted.append(("image", name, images[..., 0].tolist(), step, self.part))

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


def scalars(calls: list[Any]) -> list[Any]:
    return [call for call in calls if len(call) == 4]


def test_training_and_validation_have_a_folder_each_as_in_keras(calls: list[Any]) -> None:
    """Rows and names are those of Keras 3.15; so is the step of an evaluation, that of the optimizer."""
    history = compiled().fit(X, Y, epochs=2, validation_data=(X, Y), verbose=0, callbacks=[TensorBoard("runs")]).history
    assert scalars(calls) == [
        row
        for epoch in (0, 1)
        for row in (
            ("validation", "evaluation_loss_vs_iterations", history["val_loss"][epoch], epoch + 1),
            ("train", "epoch_loss", history["loss"][epoch], epoch),
            ("train", "epoch_learning_rate", 0.01, epoch),
            ("validation", "epoch_loss", history["val_loss"][epoch], epoch),
        )
    ]
    assert [call for call in calls if call[0] == "open"] == [("open", "runs/train"), ("open", "runs/validation")]
    assert calls[-4:] == [("flush", "train"), ("flush", "validation"), ("close", "train"), ("close", "validation")]


def test_an_evaluation_by_itself_is_written_too(calls: list[Any]) -> None:
    model = compiled()
    model.fit(X, Y, epochs=3, verbose=0)
    loss = model.evaluate(X, Y, verbose=0, callbacks=[TensorBoard("runs")])
    row = ("validation", "evaluation_loss_vs_iterations", loss, 3)
    assert calls == [("open", "runs/validation"), row, ("close", "validation")]


def test_the_summary_is_written_as_text(calls: list[Any]) -> None:
    model = compiled()
    model.fit(X, Y, verbose=0, callbacks=[TensorBoard()])
    (text,) = [call[2] for call in calls if call[0] == "text"]
    lines: list[str] = []
    model.summary(print_fn=lines.append)
    assert [line.removeprefix("    ") for line in text.split("\n")] == "\n".join(lines).split("\n")
    calls.clear()
    model.fit(X, Y, verbose=0, callbacks=[TensorBoard(write_graph=False)])
    assert not [call for call in calls if call[0] == "text"]


@pytest.mark.parametrize(("update_freq", "steps"), [("batch", [1, 2, 3, 4, 5, 6]), (1, [1, 2, 3, 4, 5, 6]), (4, [4])])
def test_batches_are_written_as_often_as_asked(calls: list[Any], update_freq: Any, steps: list[int]) -> None:
    """Batches are counted over all epochs, and hold the means so far, as Keras's logs do."""
    seen: list[float] = []

    class Sees(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            seen.append(logs["loss"])

    rows = np.concatenate([X, X, X])
    board = TensorBoard(update_freq=update_freq)
    compiled().fit(rows, rows[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[Sees(), board])
    written = [call for call in scalars(calls) if call[1].startswith("batch")]
    assert written == [("train", "batch_loss", seen[step - 1], step) for step in steps]


def test_without_it_no_batch_is_looked_at() -> None:
    assert not CallbackList(TensorBoard()).cares_for("on_train_batch_end")
    assert CallbackList(TensorBoard(update_freq=3)).cares_for("on_train_batch_end")


def test_steps_a_second(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(100.0, 0.5)  # each look is half a second after the last
    monkeypatch.setattr("layerkit.callbacks.tensorboard.perf_counter", lambda: next(clock))
    rows = np.concatenate([X, X, X])
    board = TensorBoard(write_steps_per_second=True, update_freq=2, write_graph=False)
    compiled().fit(rows, rows[:, :1], batch_size=4, epochs=2, verbose=0, callbacks=[board])
    found = [call[1:] for call in scalars(calls) if call[1].endswith("steps_per_second")]
    assert found == [
        ("batch_steps_per_second", 2 / 1.0, 2),  # the start, the epoch's start, the batch
        ("epoch_steps_per_second", 3 / 1.0, 0),
        ("batch_steps_per_second", 2 / 1.5, 4),
        ("batch_steps_per_second", 2 / 0.5, 6),
        ("epoch_steps_per_second", 3 / 1.5, 1),
    ]


def test_histograms_and_images_of_weights(calls: list[Any]) -> None:
    model = Sequential([Input((2,)), Dense(3, name="out")], seed=0, dtype="float64")
    model.compile("sgd", "mse", on_nonfinite="ignore")
    kernel = np.array([[0.0, 1.0, 0.5], [0.25, 0.125, 1.0]])
    put = LambdaCallback(on_epoch_end=lambda *_: model.set_weights([kernel, np.array([np.nan, -1.0, 3.0])]))
    board = TensorBoard(histogram_freq=2, write_images=True)
    model.fit(X, X[:, [0, 1, 0]], epochs=4, verbose=0, callbacks=[put, board])
    assert [call[1:] for call in calls if call[0] == "histogram"] == [
        row
        for epoch in (0, 2)
        for row in (
            ("out/kernel/histogram", kernel.ravel().tolist(), epoch, "train"),
            ("out/bias/histogram", [-1.0, 3.0], epoch, "train"),  # what is no number has no place in it
        )
    ]
    assert [call[1:] for call in calls if call[0] == "image"] == [
        ("out/kernel/image", [[[0, 255, 128], [64, 32, 255]]], epoch, "train") for epoch in (0, 2)
    ]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((3,), (1, 3, 1, 1)),
        ((4, 2), (1, 2, 4, 1)),
        ((2, 4), (1, 2, 4, 1)),
        ((3, 2, 5), (5, 3, 2, 1)),
        ((2, 1, 3), (1, 2, 3, 1)),
    ],
)
def test_the_shapes_of_images_are_those_of_keras(shape: Any, expected: Any) -> None:
    assert _image(np.arange(float(np.prod(shape))).reshape(shape)).shape == expected
    assert _image(np.zeros((2, 3, 4, 5))) is None
    assert _image(np.zeros(())) is None


def test_each_optimizer_of_several_has_its_rate(calls: list[Any]) -> None:
    model = compiled()
    model.compile(MultiOptimizer(OptimizerMap(SGD(0.5, name="own"))), "mse")
    model.fit(X, Y, verbose=0, callbacks=[TensorBoard()])
    assert ("train", "epoch_learning_rate_own", 0.5, 0) in calls


def test_batches_are_counted_on_where_training_is_resumed(calls: list[Any], tmp_path: Path) -> None:
    class CutsOff(Callback):
        def __init__(self, epoch: int | None) -> None:
            self.epoch = epoch

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == self.epoch:
                raise KeyboardInterrupt

    for cut in (1, None):
        model = Sequential([Input((2,)), Dense(1)], seed=0)
        model.compile("sgd", "mse")
        board = TensorBoard(update_freq=1)
        callbacks = [board, BackupAndRestore(tmp_path), CutsOff(cut)]
        try:
            model.fit(X, Y, batch_size=2, epochs=4, verbose=0, callbacks=callbacks)
        except KeyboardInterrupt:
            calls.clear()
    assert [call[3] for call in scalars(calls) if call[1] == "batch_loss"] == [3, 4, 5, 6, 7, 8]


def test_without_pillow_images_are_told_of(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("No module named 'PIL'")

    monkeypatch.setattr(sys.modules["tensorboardX"].SummaryWriter, "add_images", missing)
    with pytest.raises(BackendUnavailableError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[TensorBoard(histogram_freq=1, write_images=True)])
    assert str(raised.value) == (
        "TensorBoard: write_images takes Pillow. Received: No module named 'PIL'. Run: pip install pillow."
    )


def test_without_a_package_one_sentence_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tensorboardX", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BackendUnavailableError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[TensorBoard()])
    assert str(raised.value) == (
        "TensorBoard: a package that writes its files must be installed. Received: neither tensorboardX nor PyTorch "
        'with tensorboard. Run: pip install "layerkit[tensorboard]".'
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"log_dir": None}, "TensorBoard: log_dir must be text or a path. Received: log_dir=None"),
        (
            {"profile_batch": 2},
            "TensorBoard: profiles are not written. Received: profile_batch=2. "
            "Use model.program('train').profile(), of a model on NumPy.",
        ),
        (
            {"embeddings_freq": 1},
            "TensorBoard: the projector's files are not written. Received: embeddings_freq=1. "
            "Use histogram_freq, or a SummaryWriter of your own.",
        ),
        (
            {"embeddings_metadata": "words.tsv"},
            "TensorBoard: the projector's files are not written. Received: embeddings_metadata='words.tsv'. "
            "Use a SummaryWriter of your own.",
        ),
        (
            {"write_images": True},
            "TensorBoard: images of weights are written with their histograms. Received: write_images=True, "
            "histogram_freq=0. Give histogram_freq=1.",
        ),
        (
            {"update_freq": "epochs"},
            "TensorBoard: update_freq must be 'epoch', 'batch' or a number of batches. Received: update_freq='epochs'",
        ),
        (
            {"update_freq": 0},
            "TensorBoard: update_freq must be 'epoch', 'batch' or a number of batches. Received: update_freq=0",
        ),
        (
            {"histogram_freq": -1},
            "TensorBoard: histogram_freq must be an integer of at least 0. Received: histogram_freq=-1",
        ),
        (
            {"write_steps_per_second": "no"},
            "TensorBoard: write_steps_per_second must be True or False. Received: write_steps_per_second='no'",
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        TensorBoard(**arguments)
    assert str(raised.value) == sentence


def test_arguments_are_those_of_keras() -> None:
    """Keras 3.15, in this order and with these defaults."""
    parameters = inspect.signature(TensorBoard).parameters
    assert {name: each.default for name, each in parameters.items()} == {
        "log_dir": "logs",
        "histogram_freq": 0,
        "write_graph": True,
        "write_images": False,
        "write_steps_per_second": False,
        "update_freq": "epoch",
        "profile_batch": 0,
        "embeddings_freq": 0,
        "embeddings_metadata": None,
    }
