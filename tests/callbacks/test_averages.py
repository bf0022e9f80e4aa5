"""SwapEMAWeights: the numbers of Keras (keras.json), and whose weights the model has when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import Callback, LambdaCallback, SwapEMAWeights
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, LossScaleOptimizer, MultiOptimizer, OptimizerMap

KERAS = json.loads((Path(__file__).parent / "keras.json").read_text())["averages"]

X = np.linspace(-1, 1, 12).reshape(6, 2)
Y = X[:, :1] * 2 + 1
WHOLE = {"batch_size": 6, "shuffle": False, "verbose": 0}


def averaging(xp: Any = "numpy", optimizer: Any = None) -> Sequential:
    model = Sequential([Dense(1, kernel_initializer="ones")], seed=0, backend=xp)
    model.compile(optimizer or SGD(0.2, use_ema=True, ema_momentum=0.8), "mse")
    return model


def several() -> MultiOptimizer:
    made = {name: SGD(0.2, use_ema=True, ema_momentum=0.8, name=name) for name in ("kernels", "biases")}
    return MultiOptimizer(OptimizerMap(made["kernels"], {".*bias": made["biases"]}))


def scaled() -> LossScaleOptimizer:
    return LossScaleOptimizer(SGD(0.2, use_ema=True, ema_momentum=0.8))


@pytest.mark.parametrize("optimizer", [None, several, scaled], ids=["one", "several", "scaled"])
@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_the_numbers_are_those_of_keras(swap_on_epoch: bool, optimizer: Any, xp: Any) -> None:
    model = averaging(xp, optimizer and optimizer())
    between: list[list[Any]] = []
    look = LambdaCallback(on_epoch_end=lambda epoch, logs: between.append(model.get_weights()))
    callbacks = [SwapEMAWeights(swap_on_epoch), look]
    history = model.fit(X, Y, epochs=5, validation_data=(X, Y), callbacks=callbacks, **WHOLE)
    keras = KERAS[str(swap_on_epoch)]
    for name in ("loss", "val_loss"):
        np.testing.assert_allclose(history.history[name], keras[name], rtol=3e-6)
    for seen, expected in zip(between, keras["between"], strict=True):
        for weight, other in zip(seen, expected, strict=True):
            np.testing.assert_allclose(weight, other, rtol=1e-6)
    for weight, other in zip(model.get_weights(), keras["last"], strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)


@pytest.mark.parametrize("optimizer", [None, several], ids=["one", "several"])
def test_training_that_stops_early_keeps_the_averages(optimizer: Any) -> None:
    """Keras, which looks for the last of `epochs`, keeps the weights there."""

    class Stop(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = epoch == 2

    model = averaging(optimizer=optimizer and optimizer())
    model.fit(X, Y, epochs=5, callbacks=[SwapEMAWeights(swap_on_epoch=True), Stop()], **WHOLE)
    for weight, other in zip(model.get_weights(), KERAS["True"]["between"][2], strict=True):
        np.testing.assert_allclose(weight, other, rtol=1e-6)


@pytest.mark.parametrize("moment", ["on_epoch_end", "on_test_end"])
def test_training_that_is_interrupted_leaves_the_weights(moment: str) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    model, other = averaging(), averaging()
    other.optimizer.use_ema = False
    other.fit(X, Y, epochs=1, **WHOLE)
    callbacks = [LambdaCallback(**{moment: interrupt})]
    callbacks.insert(moment == "on_test_end", SwapEMAWeights(swap_on_epoch=True))
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=5, validation_data=(X, Y), callbacks=callbacks, **WHOLE)
    for weight, plain in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, plain)
    assert not model.optimizer.averages_in_place


def test_evaluation_and_prediction_measure_the_averages_and_put_the_weights_back() -> None:
    model = averaging()
    model.fit(X, Y, epochs=3, **WHOLE)
    averages = model.get_weights()
    model.set_weights([weight * 2 for weight in averages])
    swap = [SwapEMAWeights()]
    loss = model.evaluate(X, Y, verbose=0, callbacks=swap)
    predicted = model.predict(X, verbose=0, callbacks=swap)
    np.testing.assert_array_equal(model.get_weights()[0], averages[0] * 2)
    model.set_weights(averages)
    assert model.evaluate(X, Y, verbose=0) == loss
    np.testing.assert_array_equal(model.predict(X, verbose=0), predicted)


def test_before_the_first_step_there_are_no_averages() -> None:
    model = averaging()
    model.build((None, 2))
    assert model.evaluate(X, Y, verbose=0, callbacks=[SwapEMAWeights()]) == model.evaluate(X, Y, verbose=0)


def test_a_layer_that_was_frozen_keeps_its_weights() -> None:
    model = Sequential([Dense(2), Dense(1)], seed=0)
    model.layers[0].trainable = False
    model.compile(SGD(0.1, use_ema=True), "mse")
    model.build((None, 2))
    frozen = model.layers[0].get_weights()
    for _ in range(2):
        model.fit(X, Y, epochs=2, validation_data=(X, Y), callbacks=[SwapEMAWeights(swap_on_epoch=True)], **WHOLE)
        np.testing.assert_array_equal(frozen[0], model.layers[0].get_weights()[0])
        model.layers[0].trainable = True
        model.optimizer.learning_rate = 0.0


@pytest.mark.parametrize("optimizer", [SGD(0.1), MultiOptimizer(OptimizerMap(SGD(0.1)))])
def test_an_optimizer_without_averages_is_refused(optimizer: Any) -> None:
    model = averaging(optimizer=optimizer)
    with pytest.raises(ArgumentError) as raised:
        model.fit(X, Y, verbose=0, callbacks=[SwapEMAWeights()])
    assert str(raised.value) == (
        f"SwapEMAWeights: the optimizer must keep averages. Received: {optimizer.name} with use_ema=False. "
        f"Make it with use_ema=True."
    )
