"""compile(on_nonfinite=…): training stops before a step that is not finite, and tells; or does not look."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Input, Sequential, load_model
from layerkit.callbacks import BackupAndRestore, Callback, EarlyStopping, LambdaCallback, ModelCheckpoint
from layerkit.errors import ArgumentError, NonFiniteError, NonFiniteWarning
from layerkit.layers import BatchNormalization, Dense, Dropout, Layer
from layerkit.optimizers import LBFGS, SGD, LossScaleOptimizer
from layerkit.optimizers.schedules import PiecewiseConstantDecay
from layerkit.training import guard
from tests.saving.models import assert_same

if TYPE_CHECKING:
    from pathlib import Path

    from layerkit.xp import Backend

ROWS, BATCH = 48, 4
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = X[:, :1].copy()
BAD = 29  # batch 7 of an epoch in order


class Root(Layer):
    """y = sqrt(x + 50): NaN below -50."""

    def call(self, xp: Any, x: Any) -> Any:
        return xp.sqrt(x + 50.0)


class Kink(Layer):
    """y = scale x, with a derivative by scale that is infinite where an input is above 50, though y is not."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

    def forward(self, xp: Any, x: Any) -> tuple[Any, Any]:
        return xp.clip(x, -1.0, 1.0) * self.scale, x

    def backward(self, xp: Any, saved: Any, dy: Any) -> tuple[Any, Any]:
        return dy * self.scale, {"scale": xp.sum(dy * xp.where(saved > 50.0, float("inf"), 1.0), axis=0)}


class Straight(Layer):
    """y = x: with no layer behind that bounds it, the square of 1e30 overflows."""

    def call(self, xp: Any, x: Any) -> Any:
        return x


def compiled(kind: Any = Root, backend: Any = None, **options: Any) -> Sequential:
    layers = [Dense(4, "tanh"), BatchNormalization(), Dropout(0.2), Dense(1)] if kind is not Straight else [Dense(1)]
    model = Sequential([Input((3,)), kind(), *layers], seed=1)
    model = model if backend is None else model.to(backend)
    model.compile(**{"optimizer": SGD(0.01, momentum=0.9), "loss": "mse", "metrics": ["mae"], **options})
    return model


class Loader:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __iter__(self) -> Any:
        for start in range(0, ROWS, BATCH):
            yield self.x[start : start + BATCH], Y[start : start + BATCH]


def state(model: Sequential) -> list[Any]:
    totals = [variable for metric in model.metrics for variable in metric.variables]
    return [variable.numpy() for variable in (*model.variables, *model.optimizer.variables, *totals)]


def assert_state_is(model: Sequential, expected: Sequential) -> None:
    ours, theirs = state(model), state(expected)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


class LessEachEpoch(Callback):
    """Writes to the optimizer where a step cannot see it."""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.01 / (1 + epoch)


class LessEachBatch(Callback):
    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        self.model.optimizer.learning_rate = 0.01 / (1 + batch)


# What makes batch 7 of an epoch go wrong, and what is named.
CAUSES: dict[str, tuple[Any, float, str]] = {
    "a NaN in the forward pass": (Root, -100.0, "the output of root (Root) in the forward pass"),
    "a loss that overflows": (Straight, 1e30, "the loss mean_squared_error (MeanSquaredError)"),
    "a gradient, with a finite loss": (Kink, 100.0, "the gradient of scale in the backward pass of kink (Kink)"),
}
# From what a model may be trained, and who may be told.
WAYS: dict[str, list[Any]] = {
    "arrays": [],
    "an iterable": [],
    "a callback of epochs": [LessEachEpoch],
    "a callback of batches": [LambdaCallback],
    "a callback that writes": [LessEachBatch],
}


def train(model: Sequential, x: Any, way: str, epochs: int, more: Any = ()) -> Any:
    data = {"x": Loader(x)} if way == "an iterable" else {"x": x, "y": Y, "batch_size": BATCH, "shuffle": False}
    callbacks = [make(**TELLS) if make is LambdaCallback else make() for make in WAYS[way]]
    return model.fit(**data, epochs=epochs, verbose=0, callbacks=[*callbacks, *more])


TELLS = {"on_train_batch_end": lambda batch, logs: None}


def after_steps(kind: Any, way: str, epochs: int, batches: int, **options: Any) -> Sequential:
    """A model after so many whole epochs, and batches of another."""
    model = compiled(kind, on_nonfinite="ignore", **options)
    taken: list[int] = []

    def stop(batch: int, logs: Any) -> None:
        model.stop_training = len(taken) > epochs and batch + 1 == batches

    stops = LambdaCallback(on_train_batch_end=stop, on_epoch_begin=lambda epoch, logs: taken.append(epoch))
    train(model, X, way, epochs + 1, [stops])
    return model


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("share", [math.inf, 0.01, 1e-9])  # a look after each step; as it is; at an epoch's end alone
@pytest.mark.parametrize("cause", CAUSES)
def test_all_state_is_that_of_the_last_finite_step(
    cause: str, share: float, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "SHARE", share)
    kind, value, first = CAUSES[cause]
    expected = after_steps(kind, way, 0, BAD // BATCH)
    bad = X.copy()
    bad[BAD] = value
    model = compiled(kind)
    with pytest.warns(NonFiniteWarning) as caught:
        history = train(model, bad, way, 4)
    (message,) = [str(each.message) for each in caught if each.category is NonFiniteWarning]
    assert message.startswith("fit: the loss and the weights must be finite. Received: a mean loss of ")
    assert message.endswith(
        f" in batch {BAD // BATCH + 1} of epoch 1; {first} is not finite. The weights are those before that batch. "
        f"Training stopped. A smaller learning rate, or global_clipnorm in the optimizer, often helps."
    )
    if way == "a callback that writes":  # it did so before the step that was left out
        expected.optimizer.learning_rate = 0.01 / (BAD // BATCH + 1)
    assert_state_is(model, expected)
    assert history.epoch == []
    assert np.isfinite(model.fit(X, Y, verbose=0).history["loss"]).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("eagerly", [False, True], ids=["captured", "eager"])
@pytest.mark.parametrize("policy", ["warn", "error"])
@pytest.mark.parametrize("way", ["arrays", "an iterable", "a callback of epochs"])
def test_a_fault_of_a_later_epoch(way: str, policy: str, eagerly: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learning rate is that of a schedule, which ends all at once."""
    monkeypatch.setattr(guard, "SHARE", 1e-9)
    steps = ROWS // BATCH
    rate = PiecewiseConstantDecay([2 * steps + 4], [0.01, 1e60])
    options: dict[str, Any] = {"run_eagerly": eagerly}
    way_of_epochs = way if way != "a callback of epochs" else "arrays"
    others = [EarlyStopping("loss", patience=99)] if way == "a callback of epochs" else []
    expected = after_steps(Root, way_of_epochs, 2, 5, optimizer=SGD(rate, momentum=0.9), **options)
    model = compiled(optimizer=SGD(rate, momentum=0.9), on_nonfinite=policy, **options)
    if policy == "error":
        with pytest.raises(NonFiniteError, match=r" in batch 6 of epoch 3; dense\S*, after the update by sgd, is not"):
            train(model, X, way_of_epochs, 9, others)
    else:
        with pytest.warns(NonFiniteWarning, match=r" in batch 6 of epoch 3; dense\S*, after the update by sgd, is not"):
            train(model, X, way_of_epochs, 9, others)
    assert_state_is(model, expected)
    assert model.history is not None
    assert model.history.epoch == [0, 1]


def test_a_finite_training_is_what_it_would_have_been(xp: Backend) -> None:
    one, other = compiled(backend=xp), compiled(backend=xp, on_nonfinite="ignore")
    for model in (one, other):
        model.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    assert_same(one, other)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_who_wants_to_go_on_with_nan_may() -> None:
    bad = X.copy()
    bad[BAD] = -100.0
    with warnings.catch_warnings():
        warnings.simplefilter("error", NonFiniteWarning)
        silent = compiled(on_nonfinite="ignore")
        silent.fit(bad, Y, batch_size=BATCH, epochs=2, verbose=0)
    assert np.isnan(silent.get_weights()[0]).all()
    with pytest.raises(ArgumentError) as refusal:
        compiled(on_nonfinite="stop")
    assert str(refusal.value).startswith(
        "compile: on_nonfinite must be one of warn, error, ignore. Received: on_nonfinite='stop'."
    )


def test_nothing_that_is_not_finite_is_saved(tmp_path: Path) -> None:
    bad = X.copy()
    bad[BAD] = -100.0
    saves = [
        BackupAndRestore(tmp_path / "run", save_freq=1),
        ModelCheckpoint(tmp_path / "{epoch}-{batch}.layerkit", save_freq=1),
    ]
    with pytest.warns(NonFiniteWarning, match=" in batch 8 of epoch 1; "):
        compiled().fit(bad, Y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0, callbacks=saves)
    assert len([*tmp_path.glob("*.layerkit")]) == BAD // BATCH
    for path in (*tmp_path.glob("*.layerkit"), *(tmp_path / "run").glob("*.layerkit")):
        assert all(
            np.isfinite(weight).all() for weight in load_model(path, custom_objects={"Root": Root}).get_weights()
        )


def test_a_training_that_does_not_come_out_again_goes_back_to_the_last_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback writes where no count can see it."""
    monkeypatch.setattr(guard, "SHARE", 1e-9)
    model = compiled()

    class Spoils(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                weight = model.trainable_weights[0]
                weight.xp.assign(weight.value, np.full(weight.shape, np.nan, np.float32))

    model.build((None, 3))
    before = state(model)[: len(model.variables)]
    with pytest.warns(NonFiniteWarning) as caught:
        history = model.fit(X, Y, batch_size=BATCH, epochs=6, verbose=0, callbacks=[Spoils()])
    assert str(caught[0].message).startswith(
        "fit: the loss and the weights must be finite. Received: a mean loss of nan in epoch 4, which does not come "
        "out again from the same batches. The weights are those before batch 1 of epoch 1. Training stopped."
    )
    assert history.epoch == [0, 1, 2]
    for a, b in zip(state(model), before, strict=False):
        np.testing.assert_array_equal(a, b)


def test_of_a_very_large_model_no_copy_is_kept_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "LARGEST", 0)
    bad = X.copy()
    bad[BAD] = -100.0
    model = compiled(on_nonfinite="warn")
    with pytest.warns(NonFiniteWarning) as caught:
        model.fit(bad, Y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    (message,) = [str(each.message) for each in caught if each.category is NonFiniteWarning]
    assert " a mean loss of nan in epoch 1. Not finite now: 'dense/kernel', 'dense/bias', " in message
    assert " Of a model so large no copy is kept, unless compile(on_nonfinite='error') asks for it. " in message
    model = compiled(on_nonfinite="error")
    with pytest.raises(NonFiniteError, match="in batch 8 of epoch 1"):
        model.fit(bad, Y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
def test_an_optimizer_that_scales_the_loss_leaves_steps_out_by_itself() -> None:
    bad = X.copy()
    bad[BAD] = 1e30
    model = compiled(Straight, optimizer=LossScaleOptimizer(SGD(0.01)))
    with pytest.warns(NonFiniteWarning, match=r" in batch 8 of epoch 1; .* Such steps are left out\. "):
        history = model.fit(bad, Y, batch_size=BATCH, epochs=3, shuffle=False, verbose=0)
    assert history.epoch == [0, 1, 2]
    assert model.optimizer.iterations == 3 * (ROWS // BATCH - 1)
    assert all(np.isfinite(weight).all() for weight in model.get_weights()[:4])


def test_a_sum_of_gradients_is_looked_at_too() -> None:
    bad = X.copy()
    bad[BAD] = 100.0
    optimizer = SGD(0.01, gradient_accumulation_steps=3)  # a step is due after batch 9, not after the bad one
    model = compiled(Kink, optimizer=optimizer)
    with pytest.warns(NonFiniteWarning, match=r" in batch 8 of epoch 1; the gradient of scale in the backward pass"):
        model.fit(bad, Y, batch_size=BATCH, epochs=2, shuffle=False, verbose=0)
    assert all(np.isfinite(variable.numpy()).all() for variable in optimizer.variables)


@pytest.mark.filterwarnings("ignore:(overflow|invalid value):RuntimeWarning")
def test_a_search_keeps_to_finite_points() -> None:
    model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(1)], seed=1)
    model.compile(LBFGS(), "mse")
    model.fit(X, Y, epochs=3, verbose=0)
    before = state(model)
    with pytest.warns(NonFiniteWarning, match=r" in batch 1 of epoch 1; the loss mean_squared_error"):
        model.fit(X, Y * 1e30, epochs=3, verbose=0)
    for a, b in zip(before[: len(model.weights)], state(model), strict=False):
        np.testing.assert_array_equal(a, b)


def test_numbers_are_looked_at_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the loss is read anyway, and beside that as often as the time allows."""
    monkeypatch.setattr(guard, "SHARE", 1e-9)
    looks: list[int] = []
    look = guard.FiniteGuard._are_weights_finite  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setattr(guard.FiniteGuard, "_are_weights_finite", lambda self: looks.append(1) or look(self))
    compiled().fit(X, Y, batch_size=1, epochs=20, verbose=0)
    assert len(looks) == 1  # at the end
    compiled().fit(Loader(X), epochs=20, verbose=0)
    steps = 20 * ROWS // BATCH
    assert len(looks) == 2 + steps // guard.MOST_KEPT  # and whenever so many batches are kept
