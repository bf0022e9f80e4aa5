"""Norms of gradients, weights and changes: against their formulas, from the weights before and after each step."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import layerkit
from layerkit import Input, Layer, Sequential
from layerkit.callbacks import BackupAndRestore, Callback, EarlyStopping, NormLogger
from layerkit.errors import ArgumentError, NonFiniteWarning
from layerkit.layers import BatchNormalization, Dense
from layerkit.optimizers import LBFGS, SGD, LevenbergMarquardt, LossScaleOptimizer

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.random.default_rng(1).normal(size=(12, 2))
RATE = 0.125


class Block(Layer):
    """Two layers inside a layer, and a weight of its own."""

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")
        self.inner = Dense(4, "tanh")

    def call(self, xp: Any, x: Any) -> Any:
        return self.inner(x * self.scale)


LAYERS = {"dense": [0, 1], "block": [2], "block/inner": [3, 4], "dense_1": [5, 6]}
"""Which of the model's weights belong to which layer."""


def compiled(xp: Any = "numpy", optimizer: Any = None, dtype: str = "float64", **options: Any) -> Sequential:
    model = Sequential([Input((3,)), Dense(5, "relu"), Block(), Dense(2)], seed=0, dtype=dtype, backend=xp)
    model.compile(SGD(RATE) if optimizer is None else optimizer, "mse", **options)
    return model


class Watches(Callback):
    """Keeps all weights, before the first step and after each."""

    def __init__(self) -> None:
        self.weights: list[list[Any]] = []

    def on_train_begin(self, logs: Any = None) -> None:
        self.weights = [self.model.get_weights()]

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.weights.append(self.model.get_weights())


def norm(arrays: list[Any]) -> float:
    return float(np.sqrt(sum(np.sum(np.asarray(array, float) ** 2) for array in arrays)))


def expected(weights: list[list[Any]], steps: int, rate: float = RATE) -> dict[str, list[float]]:
    """Return what History must hold, of SGD: its change is the gradient times the rate."""
    found: dict[str, list[float]] = {}
    for epoch in range((len(weights) - 1) // steps):
        taken = weights[epoch * steps : (epoch + 1) * steps + 1]
        for layer, places in LAYERS.items():
            changes = [norm([b[n] - a[n] for n in places]) for a, b in itertools.pairwise(taken)]
            ratios = [change / norm([a[n] for n in places]) for change, a in zip(changes, taken[:-1], strict=True)]
            for name, value in {
                "gradient_norm": np.mean(changes) / rate,
                "update_ratio": np.mean(ratios),
                "weight_norm": norm([taken[-1][n] for n in places]),
            }.items():
                found.setdefault(f"{name}/{layer}", []).append(float(value))
    return found


@pytest.mark.parametrize("how", [{"jit_compile": True}, {"run_eagerly": True}], ids=["captured", "eager"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_are_those_of_the_formulas(how: Any, dtype: str, xp: Any) -> None:
    model, watches = compiled(xp, dtype=dtype, **how), Watches()
    history = model.fit(
        X, Y, batch_size=4, epochs=4, verbose=0, shuffle=False, callbacks=[watches, NormLogger(updates=True)]
    ).history
    wanted = expected(watches.weights, 3)
    assert set(history) == {"loss", *wanted}
    for name, values in wanted.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-4 if dtype == "float32" else 1e-9, err_msg=name)
        assert all(type(value) is float for value in history[name])


def test_only_what_is_asked_for_is_added() -> None:
    for options, kinds in (
        ({}, {"gradient_norm", "weight_norm"}),
        ({"gradients": False}, {"weight_norm"}),
        ({"weights": False}, {"gradient_norm"}),
        ({"weights": False, "gradients": False, "updates": True}, {"update_ratio"}),
    ):
        history = compiled().fit(X, Y, verbose=0, callbacks=[NormLogger(**options)]).history
        assert set(history) == {"loss"} | {f"{kind}/{layer}" for kind in kinds for layer in LAYERS}


def test_training_is_as_without() -> None:
    plain, watched = compiled(), compiled()
    plain.fit(X, Y, batch_size=4, epochs=3, verbose=0)
    watched.fit(X, Y, batch_size=4, epochs=3, verbose=0, callbacks=[NormLogger(updates=True)])
    for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for model in (plain, watched):
        assert list(model.fit(X, Y, batch_size=4, epochs=3, verbose=0).history) == ["loss"]
    assert watched.program("train").source == plain.program("train").source  # where nobody asks, nothing is measured


def test_nothing_is_read_from_the_device_within_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled("strict", on_nonfinite="ignore")
    model.fit(X, Y, batch_size=2, verbose=0, callbacks=[NormLogger(updates=True)])
    reads = []
    kind = type(model.xp)
    to_numpy = kind.to_numpy
    monkeypatch.setattr(kind, "to_numpy", lambda xp, array: reads.append(1) or to_numpy(xp, array))
    counts = []
    for size in (2, 6):
        reads.clear()
        model.fit(X, Y, batch_size=size, verbose=0, callbacks=[NormLogger(updates=True)])
        counts.append(len(reads))
    assert counts[0] == counts[1]


def test_they_are_measured_before_clipping_and_without_the_scale_of_the_loss() -> None:
    plain = compiled().fit(X, Y, verbose=0, callbacks=[NormLogger()]).history
    for optimizer in (SGD(RATE, global_clipnorm=1e-3), LossScaleOptimizer(SGD(RATE), initial_scale=64.0)):
        found = compiled(optimizer=optimizer).fit(X, Y, verbose=0, callbacks=[NormLogger(weights=False)]).history
        for name, values in found.items():
            np.testing.assert_allclose(values, plain[name], rtol=1e-10)


def test_steps_that_are_left_out_do_not_count() -> None:
    """In the first batches gradients overflow once they are scaled."""
    optimizer = LossScaleOptimizer(SGD(RATE), initial_scale=2.0**126)
    model = compiled(optimizer=optimizer, dtype="float32")
    history = model.fit(X, 16 * Y, batch_size=1, epochs=1, verbose=0, callbacks=[NormLogger()]).history
    assert 0 < optimizer.iterations < 12
    assert all(np.isfinite(values).all() for values in history.values())


def test_steps_that_are_taken_again_count_once() -> None:
    """A look at the loss finds that it is not finite, and takes the steps since the last look once more."""

    targets = Y.copy()
    targets[8:] = 1e200  # whose squares have no end

    def fit(**options: Any) -> Any:
        model = compiled(optimizer=LossScaleOptimizer(SGD(RATE), initial_scale=1.0), **options)
        return model.fit(X, targets, batch_size=4, epochs=2, shuffle=False, verbose=0, callbacks=[NormLogger()]).history

    with pytest.warns(NonFiniteWarning, match="finite"):
        found = fit()
    wanted = fit(on_nonfinite="ignore")
    for name in LAYERS:
        np.testing.assert_allclose(found[f"gradient_norm/{name}"], wanted[f"gradient_norm/{name}"], rtol=1e-12)


@pytest.mark.parametrize("optimizer", [LBFGS, LevenbergMarquardt])
def test_of_an_optimizer_that_searches_it_is_the_gradient_where_a_step_begins(optimizer: Any) -> None:
    first = compiled().fit(X, Y, verbose=0, callbacks=[NormLogger(weights=False)]).history
    model = compiled(optimizer=optimizer())
    found = model.fit(X, Y, verbose=0, epochs=4, callbacks=[NormLogger()]).history
    for layer in LAYERS:
        np.testing.assert_allclose(found[f"gradient_norm/{layer}"][0], first[f"gradient_norm/{layer}"][0], rtol=1e-9)
    places = LAYERS["block/inner"]
    np.testing.assert_allclose(
        found["weight_norm/block/inner"][-1], norm([model.get_weights()[n] for n in places]), rtol=1e-12
    )
    with pytest.raises(ArgumentError) as raised:
        model.fit(X, Y, verbose=0, callbacks=[NormLogger(updates=True)])
    assert str(raised.value) == (
        f"NormLogger: changes are measured of an optimizer that takes one step at a time. Received: updates=True with "
        f"{model.optimizer.name}, which searches. Leave updates out."
    )


def test_layers_that_are_not_trained_are_left_out() -> None:
    model = Sequential([Input((3,)), Dense(4, name="frozen"), BatchNormalization(name="bn"), Dense(2, name="out")])
    model.compile("sgd", "mse")
    model.layers[0].trainable = False
    history = model.fit(X, Y, verbose=0, callbacks=[NormLogger()]).history
    assert {name.partition("/")[2] for name in history} == {"", "bn", "out"}
    gamma, beta, *_ = model.layers[1].get_weights()  # and not the moving averages
    np.testing.assert_allclose(history["weight_norm/bn"], [norm([gamma, beta])], rtol=1e-6)


def test_a_layer_that_is_frozen_and_a_model_that_moves_on_the_way() -> None:
    class Acts(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                self.model.layers[0].trainable = False
            if epoch == 3:
                self.model.to("strict")

    history = compiled().fit(X, Y, epochs=6, batch_size=4, verbose=0, callbacks=[NormLogger(), Acts()]).history
    assert len(history["gradient_norm/dense"]) == 2
    assert len(history["gradient_norm/dense_1"]) == 6
    stays = compiled()
    stays.fit(X, Y, epochs=2, batch_size=4, verbose=0)
    np.testing.assert_allclose(
        history["weight_norm/dense"][-1], norm([stays.get_weights()[n] for n in (0, 1)]), rtol=1e-12
    )


def test_a_model_that_moves_within_an_epoch_keeps_what_was_added_up() -> None:
    class Moves(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.to("strict" if batch == 0 else "numpy")

    found = compiled().fit(X, Y, batch_size=4, verbose=0, callbacks=[NormLogger(), Moves()]).history
    wanted = compiled().fit(X, Y, batch_size=4, verbose=0, callbacks=[NormLogger()]).history
    for name, values in wanted.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-10)


def test_they_can_be_monitored() -> None:
    stops = EarlyStopping(monitor="gradient_norm/dense", mode="min", min_delta=1e9, patience=1)
    history = compiled().fit(X, Y, epochs=9, verbose=0, callbacks=[NormLogger(), stops])
    assert len(history.epoch) == 2


class CutsOff(Callback):
    def __init__(self, batch: int | None) -> None:
        self.batch, self.count = batch, 0

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.count += 1
        if self.count == self.batch:
            raise KeyboardInterrupt


def test_a_training_that_is_cut_off_within_an_epoch_goes_on(tmp_path: Any) -> None:
    wanted = compiled().fit(X, Y, batch_size=4, epochs=3, verbose=0, callbacks=[NormLogger(updates=True)]).history
    backup = BackupAndRestore(tmp_path, save_freq=1)
    with pytest.raises(KeyboardInterrupt):
        compiled().fit(
            X, Y, batch_size=4, epochs=3, verbose=0, callbacks=[NormLogger(updates=True), backup, CutsOff(6)]
        )
    model = layerkit.resume(tmp_path, X, Y, callbacks=[CutsOff(None)], custom_objects={"Block": Block})
    for name, values in wanted.items():
        np.testing.assert_allclose(model.history.history[name], values, rtol=1e-12)


def test_bad_arguments() -> None:
    with pytest.raises(ArgumentError) as raised:
        NormLogger(False, False)
    assert str(raised.value) == (
        "NormLogger: there must be something to add. Received: gradients=False, weights=False, updates=False"
    )
    with pytest.raises(ArgumentError) as raised:
        NormLogger("no")  # type: ignore[arg-type]
    assert str(raised.value) == "NormLogger: gradients must be True or False. Received: gradients='no'"
