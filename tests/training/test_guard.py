"""compile(on_nonfinite=…): a step that is not finite is warned of, taken back, or let pass."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.errors import ArgumentError, NonFiniteError, NonFiniteWarning
from layerkit.layers import BatchNormalization, Dense, Dropout, Layer
from layerkit.optimizers import SGD
from layerkit.training import guard
from layerkit.training.step import Step
from tests.saving.models import assert_same

if TYPE_CHECKING:
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


def compiled(layer: Any = Root, backend: Any = None, **options: Any) -> Sequential:
    model = Sequential([Input((3,)), layer(), Dense(4, "tanh"), BatchNormalization(), Dropout(0.2), Dense(1)], seed=1)
    model = model if backend is None else model.to(backend)
    model.compile(SGD(0.01, momentum=0.9), "mse", metrics=["mae"], **{"on_nonfinite": "error", **options})
    return model


def with_bad_row(value: float) -> Any:
    x = X.copy()
    x[BAD] = value
    return x


class Loader:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __iter__(self) -> Any:
        for start in range(0, ROWS, BATCH):
            yield self.x[start : start + BATCH], Y[start : start + BATCH]


def after_steps(layer: Any, backend: Any, epochs: int, batches: int) -> Sequential:
    """A model after so many whole epochs, and batches of another."""
    model = compiled(layer, backend, on_nonfinite="ignore")
    taken: list[int] = []

    def stop(batch: int, logs: Any) -> None:
        model.stop_training = len(taken) > epochs and batch + 1 == batches

    stops = LambdaCallback(on_train_batch_end=stop, on_epoch_begin=lambda epoch, logs: taken.append(epoch))
    model.fit(X, Y, batch_size=BATCH, epochs=epochs + 1, shuffle=False, verbose=0, callbacks=[stops])
    return model


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("source", ["arrays", "an iterable", "with a callback"])
@pytest.mark.parametrize("window", [1, 5, 64])
@pytest.mark.parametrize(
    ("layer", "value", "first"),
    [
        (Root, -100.0, "the output of root (Root) in the forward pass"),
        (Kink, 100.0, "the gradient of scale in the backward pass of kink (Kink)"),
    ],
)
def test_the_weights_are_those_of_the_last_finite_step(
    layer: Any, value: float, first: str, window: int, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerkit.training.loop.WINDOW", window)
    expected = after_steps(layer, None, 1, BAD // BATCH)
    model = compiled(layer)
    x = X.copy()
    epochs: list[int] = []

    def spoil(epoch: int, logs: Any) -> None:
        epochs.append(epoch)
        if epoch == 1:
            x[BAD] = value

    callbacks = [LambdaCallback(on_epoch_begin=spoil)]
    if source == "with a callback":
        callbacks.append(LambdaCallback(on_train_batch_end=lambda batch, logs: None))
    data = {"x": Loader(x)} if source == "an iterable" else {"x": x, "y": Y, "batch_size": BATCH, "shuffle": False}
    with pytest.raises(NonFiniteError) as raised:
        model.fit(**data, epochs=4, verbose=0, callbacks=callbacks)
    assert epochs == [0, 1]
    message = str(raised.value)
    assert message.startswith("fit: the loss and the weights must be finite. Received: a mean loss of ")
    assert f" in batch {BAD // BATCH + 1} of epoch 2; {first} is not finite. " in message
    ours = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    theirs = [variable.numpy() for variable in (*expected.variables, *expected.optimizer.variables)]
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.history is not None
    assert model.history.epoch == [0]
    x[BAD] = X[BAD]
    assert np.isfinite(model.fit(x, Y, verbose=0).history["loss"]).all()


def test_a_finite_training_is_what_it_would_have_been(xp: Backend) -> None:
    one, other = compiled(backend=xp), compiled(backend=xp, on_nonfinite="ignore")
    for model in (one, other):
        model.fit(X, Y, batch_size=5, epochs=3, verbose=0)
    assert_same(one, other)


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_the_other_policies() -> None:
    bad = with_bad_row(-100.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NonFiniteWarning)
        silent = compiled(on_nonfinite="ignore")
        silent.fit(bad, Y, batch_size=BATCH, epochs=2, verbose=0)
    warned = compiled(on_nonfinite="warn")
    with pytest.warns(NonFiniteWarning, match="It began in batch"):
        warned.fit(bad, Y, batch_size=BATCH, epochs=2, verbose=0)
    for model in (silent, warned):
        assert np.isnan(model.get_weights()[0]).all()
    with pytest.raises(ArgumentError) as refusal:
        compiled(on_nonfinite="stop")
    assert str(refusal.value).startswith(
        "compile: on_nonfinite must be one of warn, error, ignore. Received: on_nonfinite='stop'."
    )


def test_numbers_are_looked_at_once_in_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    is_finite = guard.FiniteGuard._is_finite
    monkeypatch.setattr(guard.FiniteGuard, "_is_finite", lambda self: looks.append(1) or is_finite(self))
    steps: list[int] = []
    train = Step.train
    monkeypatch.setattr(Step, "train", lambda self, *given, **more: steps.append(1) or train(self, *given, **more))
    compiled().fit(X, Y, batch_size=1, epochs=2, verbose=0)
    assert (len(steps), len(looks)) == (2 * ROWS, 2)
    compiled().fit(np.tile(X, (2, 1)), np.tile(Y, (2, 1)), batch_size=1, verbose=0)
    assert len(looks) == 2 + 2  # after 64 steps, and at the end
