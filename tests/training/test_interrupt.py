"""Ctrl-C during `fit`: a step is finished first, and what is left can be used."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import Callback
from layerkit.layers import Dense, Layer
from layerkit.optimizers import Adam
from layerkit.training.interrupt import DeferredInterrupt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerkit.xp import Backend

X = np.arange(24.0).reshape(12, 2) / 24
Y = X[:, :1]


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class PressAt(Callback):
    """Presses Ctrl-C at a moment of an epoch and a batch, and notes every moment."""

    def __init__(self, moment: str, epoch: int = 0, batch: int | None = None, times: int = 1) -> None:
        self.when = (moment, epoch, batch)
        self.times = times
        self.moments: list[str] = []
        self.epoch = 0

    def note(self, moment: str, index: int | None = None) -> None:
        self.moments.append(moment)
        if "epoch" in moment:
            self.epoch, index = index or 0, None
        if (moment, self.epoch, index) == self.when:
            for _ in range(self.times):
                press_ctrl_c()


def _noting(moment: str) -> Any:
    return lambda self, *args: self.note(moment, *args[:-1])


for _name in [name for name in dir(Callback) if name.startswith("on_") and "on_batch" not in name]:
    setattr(PressAt, _name, _noting(_name))


class TimesTwo(Layer):
    """Doubles its input, and calls a function in the middle of backward."""

    in_backward: Any = None

    def forward(self, xp: Any, x: Any) -> tuple[Any, None]:
        return x * 2.0, None

    def backward(self, xp: Any, saved: None, dy: Any) -> tuple[Any, dict[str, Any]]:
        if TimesTwo.in_backward is not None:
            TimesTwo.in_backward()
        return dy * 2.0, {}


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    """Start from Python's own handler, and demand that it is there again at the end."""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    yield
    TimesTwo.in_backward = None
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def compiled(backend: str | Backend = "numpy", **options: Any) -> Sequential:
    model = Sequential([Dense(3), TimesTwo(), Dense(1)], seed=0, backend=backend)
    model.compile(Adam(learning_rate=0.01), "mse", metrics=["mae"], **options)
    model.build((None, 2))
    return model


def state(model: Sequential) -> list[Any]:
    """Every number that training changes: weights, slots, the count of steps."""
    return [*model.get_weights(), *(variable.numpy() for variable in model.optimizer.variables)]


def assert_equal(one: list[Any], other: list[Any]) -> None:
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def after_steps(steps: int, backend: str | Backend) -> list[Any]:
    """The state of an equal model after so many whole steps."""
    model = compiled(backend)
    for step in range(steps):
        rows = slice(4 * (step % 3), 4 * (step % 3) + 4)
        model.train_on_batch(X[rows], Y[rows])
    return state(model)


def fit(model: Sequential, *callbacks: Callback, epochs: int = 4) -> Any:
    return model.fit(X, Y, batch_size=4, epochs=epochs, shuffle=False, verbose=0, callbacks=list(callbacks))


@pytest.mark.parametrize(
    ("moment", "epoch", "batch", "steps", "whole_epochs"),
    [
        ("on_train_batch_begin", 1, 1, 5, 1),  # the step that is about to start is taken
        ("on_train_batch_end", 1, 1, 5, 1),
        ("on_train_batch_end", 0, 0, 1, 0),
        ("on_epoch_begin", 2, None, 7, 2),
        ("on_epoch_end", 1, None, 6, 2),
        ("on_train_begin", 0, None, 1, 0),
    ],
)
def test_the_step_is_finished_and_the_whole_epochs_are_in_the_history(
    moment: str, epoch: int, batch: int | None, steps: int, whole_epochs: int, xp: Backend
) -> None:
    model, press = compiled(xp), PressAt(moment, epoch, batch)
    with pytest.raises(KeyboardInterrupt):
        fit(model, press)
    assert_equal(state(model), after_steps(steps, xp))
    assert press.moments.count("on_train_batch_end") == press.moments.count("on_train_batch_begin") == steps
    assert press.moments.count("on_epoch_end") == whole_epochs
    assert press.moments.count("on_train_end") == 1
    assert press.moments[-1] == "on_train_end"
    assert model.history is not None
    assert model.history.epoch == list(range(whole_epochs))
    assert [len(values) for values in model.history.history.values()] == [whole_epochs] * 2 * bool(whole_epochs)
    assert len(fit(model, epochs=2).epoch) == 2  # the next fit works


def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(xp: Backend) -> None:
    model, moments = compiled(xp, run_eagerly=True), PressAt("never")
    pressed: list[bool] = []

    def in_the_third_step() -> None:
        pressed.append(True)
        if len(pressed) == 3:
            press_ctrl_c()

    TimesTwo.in_backward = in_the_third_step
    with pytest.raises(KeyboardInterrupt):
        fit(model, moments)
    TimesTwo.in_backward = None
    assert len(pressed) == 3
    assert moments.moments.count("on_train_batch_end") == 3
    assert_equal(state(model), after_steps(3, xp))


def test_a_second_ctrl_c_does_not_wait() -> None:
    model, moments = compiled(), PressAt("never")

    def twice() -> None:
        press_ctrl_c()
        press_ctrl_c()

    TimesTwo.in_backward = twice
    with pytest.raises(KeyboardInterrupt):
        fit(model, moments)
    assert "on_train_batch_end" not in moments.moments  # the step was not finished
    assert moments.moments[-1] == "on_train_end"


def test_ctrl_c_in_on_train_end_after_another_does_not_wait() -> None:
    model = compiled()
    reached: list[str] = []

    class PressesAgain(Callback):
        def on_train_end(self, logs: Any = None) -> None:
            press_ctrl_c()
            reached.append("after")

    with pytest.raises(KeyboardInterrupt):
        fit(model, PressAt("on_train_batch_end", 0, 0), PressesAgain())
    assert reached == []


def test_ctrl_c_in_on_train_end_reaches_the_caller() -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(compiled(), PressAt("on_train_end", epoch=3))


def test_ctrl_c_in_a_validation_does_not_wait_for_its_end() -> None:
    model, press = compiled(), PressAt("on_test_batch_end", 1, 0)
    with pytest.raises(KeyboardInterrupt):
        model.fit(
            X,
            Y,
            batch_size=4,
            epochs=4,
            shuffle=False,
            verbose=0,
            validation_data=(X, Y),
            callbacks=[press],
        )
    assert press.moments.count("on_test_batch_end") == 3 + 1
    assert press.moments.count("on_epoch_end") == 1
    assert model.history is not None
    assert model.history.epoch == [0]
    assert_equal(state(model), after_steps(6, "numpy"))


def test_a_keyboard_interrupt_that_a_callback_raises_reaches_the_caller() -> None:
    class Raises(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            raise KeyboardInterrupt

    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        fit(model, Raises())
    assert_equal(state(model), after_steps(1, "numpy"))


def test_an_error_in_a_callback_surfaces_though_ctrl_c_was_pressed() -> None:
    class Fails(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            press_ctrl_c()
            raise LookupError

    with pytest.raises(LookupError):
        fit(compiled(), Fails())


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_evaluate_and_predict_are_interrupted_at_once(method: str) -> None:
    model = compiled()
    arguments = (X,) if method == "predict" else (X, Y)
    moment = f"on_{'predict' if method == 'predict' else 'test'}_batch_begin"
    press = PressAt(moment, 0, 1)
    with pytest.raises(KeyboardInterrupt):
        getattr(model, method)(*arguments, batch_size=4, verbose=0, callbacks=[press])
    assert press.moments.count(moment) == 2
    assert len(model.predict(X, verbose=0)) == len(X)


def test_in_another_thread_there_is_no_handler_and_fit_works() -> None:
    handlers: list[Any] = []

    class Notes(Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            handlers.append(signal.getsignal(signal.SIGINT))

    model = compiled()
    thread = threading.Thread(target=fit, args=(model, Notes()))
    thread.start()
    thread.join()
    assert handlers == [signal.default_int_handler] * 12
    assert_equal(state(model), after_steps(12, "numpy"))


def test_a_programs_own_handler_keeps_its_say() -> None:
    calls: list[int] = []

    def handler(number: int, frame: Any) -> None:
        calls.append(number)

    signal.signal(signal.SIGINT, handler)
    try:
        assert fit(compiled(), PressAt("on_train_batch_end", 0, 0)).epoch == [0, 1, 2, 3]
        assert signal.getsignal(signal.SIGINT) is handler
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    assert calls == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fit(compiled(), PressAt("on_train_batch_end", 0, 0)).epoch == [0, 1, 2, 3]
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_fit_within_a_callback_leaves_the_outer_one_its_handler() -> None:
    class FitsAnother(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            fit(compiled(), PressAt("on_train_batch_end", 0, 0), epochs=1)

    model = compiled()
    with pytest.raises(KeyboardInterrupt):
        fit(model, FitsAnother())
    assert_equal(state(model), after_steps(1, "numpy"))


def test_check_speaks_up_where_ctrl_c_was_pressed_and_so_does_the_end_of_the_block() -> None:
    ends: list[str] = []

    def block() -> None:
        with DeferredInterrupt() as interrupt:
            interrupt.check()
            press_ctrl_c()
            with pytest.raises(KeyboardInterrupt):
                interrupt.check()
            with pytest.raises(KeyboardInterrupt):
                press_ctrl_c()
            ends.append("inside")

    with pytest.raises(KeyboardInterrupt):
        block()
    assert ends == ["inside"]


SCRIPT = """
    import numpy as np
    from layerkit import Sequential
    from layerkit.callbacks import LambdaCallback
    from layerkit.layers import Dense

    x = np.ones((64, 2))
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    tell = LambdaCallback(
        on_epoch_end=lambda epoch, logs: print("epoch", epoch, flush=True) if epoch == 1 else None,
        on_train_end=lambda logs: print("train end", flush=True),
    )
    try:
        model.fit(x, x[:, :1], epochs=10**9, verbose=0, callbacks=[tell])
    except KeyboardInterrupt:
        whole = len(model.history.epoch)
        assert whole >= 2 and all(len(values) == whole for values in model.history.history.values())
        assert np.isfinite(model.predict(x, verbose=0)).all()
        print("usable", flush=True)
    raise SystemExit(7)
"""


def test_a_signal_from_outside_ends_an_endless_fit() -> None:
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(SCRIPT)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "epoch 1\n"
    child.send_signal(signal.SIGINT)
    rest, _ = child.communicate(timeout=60)
    assert rest == "train end\nusable\n"
    assert child.returncode == 7
