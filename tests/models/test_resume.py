"""`layerkit.resume`: from a checkpoint and the data alone to the bits of a training that was left alone."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential, optimizers, resume
from layerkit.callbacks import (
    BackupAndRestore,
    Callback,
    EarlyStopping,
    History,
    LambdaCallback,
    ModelCheckpoint,
    TerminateOnNaN,
)
from layerkit.data import PyDataset
from layerkit.errors import ArgumentError, DataError, ModelFormatError
from layerkit.layers import BatchNormalization, Dense, Dropout
from layerkit.optimizers import SGD, Adam, LossScaleOptimizer, Optimizer
from layerkit.optimizers.schedules import CosineDecay
from layerkit.training.step import Step
from tests.saving.models import assert_same

if TYPE_CHECKING:
    from pathlib import Path

ROWS, BATCH, EPOCHS = 22, 4, 4
STEPS = 6  # of which the last is short
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(ROWS, 1)).astype("float32")
WEIGHTS = np.linspace(0.5, 1.5, ROWS)


class CutOffError(Exception):
    """Stands for whatever ends a process."""


def compiled(optimizer: Any = "adam", **options: Any) -> Sequential:
    model = Sequential([Input((3,)), Dense(5, "tanh"), BatchNormalization(), Dropout(0.25), Dense(1)], seed=3)
    model.compile(optimizer, "mse", metrics=["mae"], **options)
    return model


def fit(model: Sequential, *callbacks: Any, x: Any = X, y: Any = Y, **given: Any) -> Sequential:
    if x is X:
        given = {"batch_size": BATCH, **given}
    model.fit(x, y, callbacks=list(callbacks), verbose=0, **{"epochs": EPOCHS, **given})
    return model


def cut_off(model: Sequential, after: int, *callbacks: Any, **given: Any) -> None:
    """Train until so many steps were taken, and one more begins."""
    taken = 0
    train = Step.train

    def counted(self: Step, *batch: Any) -> None:
        nonlocal taken
        if taken == after:
            raise CutOffError
        taken += 1
        train(self, *batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "train", counted)
        with pytest.raises(CutOffError):
            fit(model, *callbacks, **given)


class Numbered:
    """Batches by their number, in an order that changes after each pass."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(5)
        self.order = np.arange(ROWS)

    def __len__(self) -> int:
        return STEPS

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        if number >= STEPS:
            raise IndexError
        rows = self.order[BATCH * number : BATCH * (number + 1)]
        return X[rows], Y[rows]

    def on_epoch_end(self) -> None:
        self.random.shuffle(self.order)


class Dataset(Numbered, PyDataset):
    """The same, whose order `fit` shuffles as well."""

    def __init__(self) -> None:
        Numbered.__init__(self)
        self.workers = 2


# What is said to fit; "x" and "validation_data" are made anew for each call.
SETTINGS: dict[str, dict[str, Any]] = {
    "plain": {},
    "in order": {"shuffle": False},
    "validation": {"validation_split": 0.3, "validation_freq": 2, "validation_batch_size": 5},
    "validation data": {"validation_data": (X[:5], Y[:5]), "validation_freq": [1, 4]},
    "weights": {"sample_weight": WEIGHTS},
    "steps across passes": {"steps_per_epoch": 4},
    "numbered batches": {"x": Numbered, "y": None},
    "a dataset": {"x": Dataset, "y": None},
    "numbered batches, steps across passes": {"x": Numbered, "y": None, "steps_per_epoch": 5},
}


def made(setting: dict[str, Any]) -> dict[str, Any]:
    return {key: value() if isinstance(value, type) else value for key, value in setting.items()}


def data(setting: dict[str, Any]) -> dict[str, Any]:
    """What must be given again."""
    kept = {"x": X, "y": Y, **made(setting)}
    return {key: kept[key] for key in ("x", "y", "sample_weight", "validation_data") if key in kept}


@pytest.mark.parametrize("name", SETTINGS)
def test_it_ends_with_the_bits_of_a_training_that_was_left_alone(name: str, tmp_path: Path) -> None:
    setting = SETTINGS[name]
    expected = fit(compiled(), **made(setting))
    for after in (7, 14):
        folder = tmp_path / str(after)
        cut_off(compiled(), after, BackupAndRestore(folder, save_freq=2), **made(setting))
        assert_same(resume(folder, **data(setting)), expected)
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("after", [1, STEPS - 1, STEPS, STEPS + 1])
def test_wherever_it_was_cut_off(after: int, tmp_path: Path) -> None:
    expected = fit(compiled(), validation_split=0.1, batch_size=4)
    cut_off(compiled(), after, BackupAndRestore(tmp_path, save_freq=1), validation_split=0.1, batch_size=4)
    assert_same(resume(tmp_path, X, Y), expected)


OPTIMIZERS = [
    name
    for name in optimizers.__all__
    if isinstance(getattr(optimizers, name), type) and issubclass(getattr(optimizers, name), Optimizer)
]
# These take other arguments, and the first two all rows at once.
OF_THEIR_OWN = ("LBFGS", "LevenbergMarquardt", "LossScaleOptimizer", "MultiOptimizer", "Optimizer", "OptimizerMap")


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in OF_THEIR_OWN])
def test_every_optimizer_goes_on(name: str, tmp_path: Path) -> None:
    options = {} if name == "Muon" else {"use_ema": name == "SGD", "gradient_accumulation_steps": 2}

    def fresh() -> Sequential:
        # Of Muon's step the captured form takes sums in another order.
        return compiled(getattr(optimizers, name)(**options), run_eagerly=name == "Muon")

    expected = fit(fresh(), epochs=3)
    cut_off(fresh(), 9, BackupAndRestore(tmp_path, save_freq=1), epochs=3)
    assert_same(resume(tmp_path, X, Y), expected)


def test_an_optimizer_that_scales_the_loss_goes_on(tmp_path: Path) -> None:
    def fresh() -> Sequential:
        return compiled(LossScaleOptimizer(Adam(0.01), initial_scale=8.0, dynamic_growth_steps=5))

    expected = fit(fresh(), epochs=3)
    cut_off(fresh(), 9, BackupAndRestore(tmp_path, save_freq=1), epochs=3)
    assert_same(resume(tmp_path, X, Y), expected)


def test_a_schedule_and_a_momentum_go_on(tmp_path: Path) -> None:
    def fresh() -> Sequential:
        return compiled(SGD(CosineDecay(0.1, 20), momentum=0.9, nesterov=True))

    expected = fit(fresh())
    cut_off(fresh(), 15, BackupAndRestore(tmp_path, every_s=1e-9))
    assert_same(resume(tmp_path, X, Y), expected)


def test_callbacks_that_write_nothing_are_made_again(tmp_path: Path) -> None:
    def callbacks() -> list[Any]:
        return [EarlyStopping("loss", patience=3), History(), TerminateOnNaN()]

    expected = fit(compiled(), *callbacks(), epochs=30)
    assert expected.history is not None
    assert 3 < len(expected.history.epoch) < 30
    cut_off(compiled(), 15, *callbacks(), BackupAndRestore(tmp_path, save_freq=4), epochs=30)
    assert_same(resume(tmp_path, X, Y), expected)


class Counts(Callback):
    def __init__(self) -> None:
        self.batches = self.epochs = 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.batches += 1

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.epochs += 1


@pytest.mark.parametrize(("save_freq", "after", "file"), [(5, 12, "2-4"), (6, 14, "2-6"), ("epoch", 14, "2")])
def test_a_file_of_model_checkpoint_is_enough(save_freq: Any, after: int, file: str, tmp_path: Path) -> None:
    """Callbacks behind it, and History, had not been told yet of the moment when it was written."""

    def callbacks() -> list[Any]:
        name = "{epoch}.layerkit" if save_freq == "epoch" else "{epoch}-{batch}.layerkit"
        return [Counts(), ModelCheckpoint(tmp_path / name, save_freq=save_freq), Counts()]

    expected = fit(compiled(), *callbacks())
    for path in tmp_path.iterdir():
        path.unlink()
    cut_off(compiled(), after, *callbacks())
    chosen = callbacks()
    assert_same(resume(tmp_path / f"{file}.layerkit", X, Y, callbacks=chosen), expected)
    for counts in (chosen[0], chosen[2]):
        assert (counts.batches, counts.epochs) == (STEPS * EPOCHS, EPOCHS)


@pytest.mark.parametrize(
    ("moment", "index"), [("on_train_batch_end", 3), ("on_test_batch_end", 0), ("on_epoch_end", 1)]
)
def test_an_interrupted_training_has_made_a_checkpoint(moment: str, index: int, tmp_path: Path) -> None:
    expected = fit(compiled(), validation_split=0.2)
    presses = [LambdaCallback(**{moment: lambda at, logs: at == index and os.kill(os.getpid(), signal.SIGINT)})]
    ends: list[int] = []
    tells = LambdaCallback(on_train_end=lambda logs: ends.append(1))
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), *presses, tells, BackupAndRestore(tmp_path), validation_split=0.2)
    assert ends == [1]
    silent = [LambdaCallback(), LambdaCallback()]
    assert_same(resume(tmp_path, X, Y, callbacks=silent), expected)
    assert list(tmp_path.iterdir()) == []


def test_layers_that_were_set_free_meanwhile_stay_free(tmp_path: Path) -> None:
    def fresh() -> tuple[Sequential, Callback]:
        model = compiled()
        model.layers[0].trainable = False

        def free(epoch: int, logs: Any) -> None:
            if epoch == 1:
                model.layers[0].trainable = True

        return model, LambdaCallback(on_epoch_begin=free)

    model, callback = fresh()
    expected = fit(model, callback)
    model, callback = fresh()
    cut_off(model, 15, callback, BackupAndRestore(tmp_path, save_freq=2))
    found = resume(tmp_path, X, Y, callbacks=[LambdaCallback()])
    assert_same(found, expected)
    assert found.layers[0].trainable


def test_more_epochs_may_be_asked_for(tmp_path: Path) -> None:
    expected = fit(compiled(), epochs=6)
    fit(compiled(), BackupAndRestore(tmp_path, delete_checkpoint=False))
    assert_same(resume(tmp_path, X, Y), fit(compiled()))  # nothing is done again
    assert_same(resume(tmp_path, X, Y, epochs=6), expected)


def test_the_folder_is_kept_as_it_was(tmp_path: Path) -> None:
    cut_off(compiled(), 9, BackupAndRestore(tmp_path, save_freq=2, delete_checkpoint=False))
    resume(tmp_path, X, Y)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"checkpoint-{number:08d}.layerkit" for number in (15, 16)
    ]


def test_of_two_damaged_checkpoints_there_is_one_warning_for_the_first(tmp_path: Path) -> None:
    expected = fit(compiled())
    cut_off(compiled(), 9, BackupAndRestore(tmp_path, save_freq=2))
    before, newest = sorted(tmp_path.glob("*.layerkit"))
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning, match=r"^BackupAndRestore: a checkpoint must be whole\.") as caught:
        assert_same(resume(tmp_path, X, Y), expected)
    assert len(caught) == 1
    cut_off(compiled(), 9, BackupAndRestore(tmp_path, save_freq=2))
    for path in tmp_path.glob("*.layerkit"):
        path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelFormatError):
        resume(tmp_path, X, Y)
    with pytest.raises(ModelFormatError), pytest.warns(UserWarning, match="The one before it is taken"):
        fit(compiled(), BackupAndRestore(tmp_path))
    assert before.exists()


def test_what_differs_is_listed(tmp_path: Path) -> None:
    cut_off(compiled(), 9, BackupAndRestore(tmp_path, save_freq=2))
    newest = max(tmp_path.glob("*.layerkit"))
    with pytest.raises(ArgumentError) as refusal:
        resume(tmp_path, X[:20], Y[:20])
    rule = f"{newest}: a checkpoint must be of the same training. Received: "
    remedy = "Give another backup_dir, or remove the checkpoint."
    assert str(refusal.value) == f"{rule}rows 22, now 20. {remedy}"
    with pytest.raises(ArgumentError) as refusal:
        fit(compiled(SGD(0.5)), BackupAndRestore(tmp_path), batch_size=5, shuffle=False)
    assert str(refusal.value).startswith(
        f"{rule}batch_size 4, now 5; shuffle True, now False; optimizer.class 'optimizers.Adam', now 'optimizers.SGD'"
    )
    with pytest.raises(ArgumentError) as refusal:
        fit(compiled(optimizers.Adam(0.5)), BackupAndRestore(tmp_path), validation_data=(X, Y))
    assert str(refusal.value) == (
        f"{rule}validation rows None, now 22; validation batch_size None, now 4; "
        f"optimizer.config.learning_rate 0.001, now 0.5. {remedy}"
    )


@pytest.mark.parametrize(
    ("given", "error", "sentence"),
    [
        (
            {"callbacks": [EarlyStopping("loss")]},
            ArgumentError,
            "resume: callbacks must be those of the training, in their order; of Counts, EarlyStopping, History these "
            "are not made from the file: Counts. Received: EarlyStopping",
        ),
        (
            {},
            ArgumentError,
            "resume: callbacks must be those of the training, in their order; of Counts, EarlyStopping, History these "
            "are not made from the file: Counts. Received: none",
        ),
        ({"x": None, "callbacks": [Counts()]}, DataError, "fit: x must be an array, nested lists, or an iterable"),
        ({"callbacks": 3}, ArgumentError, "callbacks: each must be a Callback. Received: 3."),
    ],
)
def test_bad_arguments_leave_the_folder_free(given: Any, error: Any, sentence: str, tmp_path: Path) -> None:
    expected = fit(compiled(), Counts(), EarlyStopping("loss"))
    cut_off(compiled(), 9, Counts(), EarlyStopping("loss"), BackupAndRestore(tmp_path, save_freq=2))
    with pytest.raises(error) as refusal:
        resume(tmp_path, **{"x": X, "y": Y, **given})
    assert str(refusal.value).startswith(sentence)
    assert_same(resume(tmp_path, X, Y, callbacks=Counts()), expected)


def test_where_there_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as refusal:
        resume(tmp_path, X, Y)
    assert str(refusal.value) == (
        f"resume: there must be a checkpoint in the folder. Received: {str(tmp_path)!r}, without one. "
        f"Train with BackupAndRestore first."
    )
    with pytest.raises(ArgumentError) as refusal:
        resume(tmp_path / "none", X, Y)
    assert str(refusal.value) == (
        f"resume: there must be a folder of checkpoints at the path, or a checkpoint. "
        f"Received: {str(tmp_path / 'none')!r}, where there is nothing"
    )
    model = fit(compiled(), ModelCheckpoint(tmp_path / "a.layerkit"))
    model.save(tmp_path / "b.layerkit")
    with pytest.raises(ModelFormatError) as refusal:
        resume(tmp_path / "b.layerkit", X, Y)
    assert str(refusal.value) == (
        f"{tmp_path}/b.layerkit: training.json: $.position must tell where training stood. Received: None"
    )
    with pytest.raises(FileNotFoundError):
        resume(tmp_path / "c.layerkit", X, Y)
    assert_same(resume(tmp_path / "a.layerkit", X, Y, callbacks=ModelCheckpoint(tmp_path / "a.layerkit")), model)


def test_what_was_compiled_with_a_lambda_is_restored_but_not_resumed(tmp_path: Path) -> None:
    def fresh() -> Sequential:
        model = compiled()
        model.compile("adam", lambda xp, y_true, y_pred: xp.mean((y_true - y_pred) ** 2, axis=-1))
        return model

    expected = fit(fresh())
    cut_off(fresh(), 9, BackupAndRestore(tmp_path, save_freq=2))
    with pytest.raises(ModelFormatError) as refusal:
        resume(tmp_path, X, Y)
    assert str(refusal.value).endswith(
        "$.position.compile must be arguments of compile that a file can hold. Received: none. "
        "Compile the model as you did, and call fit with BackupAndRestore."
    )
    assert_same(fit(fresh(), BackupAndRestore(tmp_path)), expected)


def test_it_is_public() -> None:
    assert layerkit.resume is layerkit.models.resume is resume


# What is set by hand.


class SetsByHand(Callback):
    """Changes the optimizer in the second epoch."""

    def __init__(self, change: Any) -> None:
        self.change = change

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations == STEPS + 2:
            self.change(self.model.optimizer)


def set_momentum(optimizer: Any) -> None:
    optimizer.momentum = 0.5


def set_inner(optimizer: Any) -> None:
    optimizer.inner_optimizer.momentum = 0.0
    optimizer.dynamic_growth_steps = 3


def set_beta(optimizer: Any) -> None:
    optimizer.beta_1, optimizer.amsgrad, optimizer.weight_decay = 0.5, True, 0.01


def set_schedule(optimizer: Any) -> None:
    optimizer.learning_rate = CosineDecay(0.05, 30)


def set_number(optimizer: Any) -> None:
    optimizer.learning_rate = 0.02


def set_one_of_several(optimizer: Any) -> None:
    optimizer.optimizers[0].momentum = 0.3


BY_HAND: dict[str, tuple[Any, Any]] = {
    "a momentum, where there was none": (lambda: SGD(0.05), set_momentum),
    "another momentum": (lambda: SGD(0.05, momentum=0.9), set_momentum),
    "an inner optimizer": (lambda: LossScaleOptimizer(SGD(0.05, momentum=0.9)), set_inner),
    "several": (lambda: Adam(0.01), set_beta),
    "a schedule": (lambda: SGD(0.05), set_schedule),
    "a number in place of a schedule": (lambda: SGD(CosineDecay(0.05, 30)), set_number),
    "one of several optimizers": (
        lambda: optimizers.MultiOptimizer(optimizers.OptimizerMap(Adam(0.01), {"dense/kernel": SGD(0.05)})),
        set_one_of_several,
    ),
}


def settings(model: Sequential) -> list[Any]:
    """What is set of each optimizer."""
    found = [(name, value) for part in model.optimizer.parts() for name, value in part.settings().items()]
    return [(name, value.get_config() if hasattr(value, "get_config") else value) for name, value in found]


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("after", [STEPS + 2, 2 * STEPS + 1])  # just set; and later
def test_what_was_set_by_hand_is_as_it_was(name: str, after: int, tmp_path: Path) -> None:
    make, change = BY_HAND[name]
    expected = fit(compiled(make()), SetsByHand(change))
    backup = BackupAndRestore(tmp_path, save_freq=1, delete_checkpoint=False)
    cut_off(compiled(make()), after, SetsByHand(change), backup)
    resumed = resume(tmp_path, X, Y, callbacks=[SetsByHand(lambda optimizer: None)])
    assert_same(resumed, expected)
    assert settings(resumed) == settings(expected) != settings(compiled(make()))
    expected.save(tmp_path / "whole.layerkit")
    twin = layerkit.load_model(tmp_path / "whole.layerkit")
    for model in (twin, expected):
        fit(model, epochs=1)
    assert_same(twin, expected)
