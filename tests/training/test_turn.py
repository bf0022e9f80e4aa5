"""One thread trains a model, any number predict: also while it is built, and while it is trained."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.errors import NotReadyError
from layerkit.layers import BatchNormalization, Dense, Dropout
from tests.saving.models import assert_same

if TYPE_CHECKING:
    from collections.abc import Callable

X = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
Y = X[:, :1].copy()


def compiled() -> Sequential:
    model = Sequential([Input((4,)), Dense(8, "tanh"), BatchNormalization(), Dropout(0.2), Dense(1)], seed=0)
    model.compile("adam", "mse", metrics=["mae"])
    return model


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Run a function in so many threads, with their numbers, and raise what one of them raises."""
    failed: list[BaseException] = []
    barrier = threading.Barrier(count)

    def guarded(number: int) -> None:
        barrier.wait()
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised again
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


@pytest.mark.parametrize("round_", range(5))
def test_sixteen_threads_may_be_the_first_to_use_a_model(round_: int) -> None:
    def made() -> Sequential:
        return Sequential([Dense(8, "tanh"), Dropout(0.5), Dense(2, "softmax")], seed=round_)

    serial, model = made(), made()
    sizes = [1, 3, 32, 96]
    expected = {size: serial.predict(X[:size], verbose=0) for size in sizes}
    outputs: dict[int, list[Any]] = {}

    def predict(number: int) -> None:
        chosen = [sizes[(number + turn) % len(sizes)] for turn in range(6)]
        outputs[number] = [(size, model.predict(X[:size], verbose=0)) for size in chosen]

    in_threads(16, predict)
    assert len(outputs) == 16
    for size, found in (pair for pairs in outputs.values() for pair in pairs):
        np.testing.assert_array_equal(found, expected[size])


def test_predictions_do_not_disturb_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording a prediction puts back what it may have written: moving averages, which training writes."""
    expected = compiled()
    expected.fit(X, Y, batch_size=8, epochs=6, verbose=0)
    model = compiled()
    over = threading.Event()
    rounds: list[int] = []

    def predict() -> None:
        size = 1
        while not over.is_set():
            size = size % 90 + 1  # again and again of a new size, to be recorded
            for _ in range(3):
                assert np.isfinite(model.predict(X[:size], verbose=0)).all()
            rounds.append(size)

    def wait(epoch: int, logs: Any) -> None:
        seen = len(rounds)
        while len(rounds) < seen + 3:  # so that there are predictions in each epoch
            threading.Event().wait(1e-3)

    def work(number: int) -> None:
        if number:
            predict()
            return
        try:
            model.fit(X, Y, batch_size=8, epochs=6, verbose=0, callbacks=[LambdaCallback(on_epoch_end=wait)])
        finally:
            over.set()

    in_threads(4, work)
    assert_same(model, expected)


def while_fitting(model: Sequential, work: Callable[[], None]) -> None:
    """Do something while another thread is in the middle of an epoch."""
    begun, over = threading.Event(), threading.Event()

    def wait(batch: int, logs: Any) -> None:
        begun.set()
        over.wait(60)

    fit = threading.Thread(
        target=lambda: model.fit(
            X, Y, batch_size=32, epochs=1, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=wait)]
        ),
        name="the first",
    )
    fit.start()
    try:
        assert begun.wait(60)
        work()
    finally:
        over.set()
        fit.join()


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_a_second_thread_is_refused(method: str) -> None:
    expected = compiled()
    expected.fit(X, Y, batch_size=32, verbose=0)
    model = compiled()

    def second() -> None:
        with pytest.raises(NotReadyError) as refusal:
            getattr(model, method)(X, Y)
        assert str(refusal.value) == (
            f"{method}: a model must be trained by one thread at a time. Received: a call while fit of 'sequential' "
            f"runs in thread 'the first'. Wait for it, or train a copy: copy.deepcopy(model)."
        )
        assert model.predict(X, verbose=0).shape == (96, 1)

    while_fitting(model, second)
    assert_same(model, expected)
    getattr(model, method)(X, Y)  # its turn has come


def test_a_callback_may_train_and_evaluate_in_the_same_thread() -> None:
    model = compiled()

    def more(epoch: int, logs: Any) -> None:
        model.evaluate(X, Y, verbose=0)
        model.fit(X, Y, verbose=0)

    model.fit(X, Y, epochs=2, verbose=0, callbacks=[LambdaCallback(on_epoch_end=more)])
    in_threads(1, lambda number: model.fit(X, Y, verbose=0))


def test_an_error_gives_the_turn_back() -> None:
    model = compiled()

    def fail(batch: int, logs: Any) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        model.fit(X, Y, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=fail)])
    in_threads(1, lambda number: model.fit(X, Y, verbose=0))


def test_no_thread_is_left() -> None:
    before = set(threading.enumerate())
    model = compiled()
    model.fit(X, Y, epochs=2, verbose=0)
    in_threads(4, lambda number: model.predict(X, verbose=0))
    left = {thread for thread in threading.enumerate() if not thread.name.startswith("layerkit_")}
    assert left <= before  # but for those that share long loops, which serve the process
