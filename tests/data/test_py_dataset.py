"""PyDataset: order, workers, errors, and that nothing is left running."""

from __future__ import annotations

import multiprocessing
import os
import random
import threading
from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.data import PyDataset, set_random_seed
from layerkit.errors import ArgumentError, ContractError, DataError
from layerkit.layers import Dense
from layerkit.utils import Sequence

KINDS = [
    pytest.param({}, id="none"),
    pytest.param({"workers": 3, "max_queue_size": 2}, id="threads"),
    pytest.param({"workers": 2, "use_multiprocessing": True}, id="processes"),
]


class Numbered(PyDataset):
    """Eight batches whose x tells their number."""

    def __init__(self, fails_at: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fails_at = fails_at
        self.begun = self.ended = 0

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> Any:
        if index == self.fails_at:
            raise LookupError(f"no file {index}")
        x = np.full((2, 2), index / 8)
        return x, x[:, :1]

    def on_epoch_begin(self) -> None:
        self.begun += 1

    def on_epoch_end(self) -> None:
        self.ended += 1


def recording() -> tuple[Sequential, list[int]]:
    """A model, and the numbers of the batches that it was trained on: the loss of (x, 0) tells."""
    model = Sequential([Dense(1, kernel_initializer="zeros", use_bias=False)], seed=4)
    model.compile("sgd", "mse", metrics=[])
    model.compile("sgd", "mae")
    model.optimizer.learning_rate = 0.0
    return model, []


def order_of(dataset: PyDataset, epochs: int = 1, **arguments: Any) -> list[int]:
    """Return the numbers of the batches in the order in which `fit` took them."""
    model, seen = recording()

    def note(batch: int, logs: Any) -> None:
        seen.append(logs["loss"] * (batch + 1))  # the sum so far

    model.fit(dataset, epochs=epochs, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=note)], **arguments)
    sums = np.array(seen).reshape(epochs, -1)
    return np.rint(np.diff(sums, axis=1, prepend=0.0) * 8).astype(int).ravel().tolist()


def alone() -> bool:
    """Tell whether there are no threads and processes of ours."""
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("layerkit-batches")]
    return not threads and not multiprocessing.active_children()


@pytest.mark.parametrize("kind", KINDS)
def test_batches_come_in_order(kind: dict[str, Any]) -> None:
    dataset = Numbered(**kind)
    assert order_of(dataset, epochs=2, shuffle=False) == [*range(8), *range(8)]
    assert (dataset.begun, dataset.ended) == (2, 2)
    assert alone()


@pytest.mark.parametrize("kind", KINDS)
def test_the_order_is_shuffled_by_the_models_seed(kind: dict[str, Any]) -> None:
    order = order_of(Numbered(**kind), epochs=2)
    assert order == order_of(Numbered(), epochs=2)
    assert sorted(order[:8]) == sorted(order[8:]) == list(range(8))
    assert order[:8] != order[8:]
    assert order[:8] != list(range(8))


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_prediction_and_validation(kind: dict[str, Any]) -> None:
    model, _ = recording()
    dataset = Numbered(**kind)
    predicted = model.predict(dataset, verbose=0)
    assert predicted.shape == (16, 1)
    assert model.evaluate(dataset, verbose=0) == pytest.approx(np.mean(np.arange(8) / 8), rel=1e-6)
    history = model.fit(dataset, validation_data=dataset, validation_steps=3, verbose=0)
    assert history.history["val_loss"] == pytest.approx([np.mean(np.arange(3) / 8)], rel=1e-6)
    assert alone()


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_names_the_batch_and_leaves_nothing_running(kind: dict[str, Any]) -> None:
    model, _ = recording()
    taken: list[int] = []
    with pytest.raises(LookupError, match="no file 5") as raised:
        model.fit(
            Numbered(fails_at=5, **kind),
            shuffle=False,
            verbose=0,
            callbacks=[LambdaCallback(on_train_batch_end=lambda batch, logs: taken.append(batch))],
        )
    assert "This happened in Numbered[5], batch 5 of its pass." in raised.value.__notes__
    assert taken == [0, 1, 2, 3, 4]
    assert alone()
    assert model.fit(Numbered(**kind), verbose=0).epoch == [0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_that_does_not_fit_is_named(kind: dict[str, Any]) -> None:
    class Narrow(Numbered):
        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            return (x[:, :1] if index == 3 else x), y

    model, _ = recording()
    with pytest.raises(ArgumentError) as raised:
        model.fit(Narrow(**kind), shuffle=False, verbose=0)
    assert str(raised.value) == (
        "dense: the last axis of x must have length 2, for which the layer was built. Received: shape (None, 1)"
    )
    assert alone()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("error", [None, KeyboardInterrupt])
def test_training_that_is_left_leaves_nothing_running(kind: dict[str, Any], error: Any) -> None:
    model, _ = recording()

    def leave(batch: int, logs: Any) -> None:
        if batch == 2:
            if error is not None:
                raise error
            model.stop_training = True

    def train() -> None:
        model.fit(Numbered(**kind), verbose=0, callbacks=[LambdaCallback(on_train_batch_end=leave)])

    if error is None:
        train()
    else:
        with pytest.raises(error) as raised:  # whose traceback holds the frames
            train()
        assert raised.value is not None
    assert alone()


def test_steps_per_epoch_go_on_where_the_last_epoch_ended() -> None:
    assert order_of(Numbered(workers=2), epochs=4, steps_per_epoch=4, shuffle=False) == [*range(8), *range(8)]
    assert alone()


def test_threads_load_at_the_same_time_and_not_too_far_ahead() -> None:
    together = threading.Barrier(3, timeout=30)
    loaded: list[int] = []

    class Meeting(Numbered):
        def __len__(self) -> int:
            return 9

        def __getitem__(self, index: int) -> Any:
            together.wait()  # each waits until three are here
            loaded.append(index)
            return np.ones((2, 2)), np.ones((2, 1))

    model, _ = recording()
    model.build((None, 2))
    dataset = Meeting(workers=3, max_queue_size=3)
    from layerkit.data.loading import load

    batches = load(dataset, None)
    next(batches)
    assert len(loaded) <= 4
    assert len(list(batches)) == 8
    assert sorted(loaded) == list(range(9))


class Process(Numbered):
    def __getitem__(self, index: int) -> Any:
        return np.full((1, 2), os.getpid()), np.array([[random.random() + np.random.rand()]])  # noqa: NPY002


def test_processes_are_others_and_draw_by_batch() -> None:
    from layerkit.data.loading import load

    def drawn(workers: int) -> list[Any]:
        set_random_seed(3)
        batches = list(load(Process(workers=workers, use_multiprocessing=True), None))
        assert os.getpid() not in {int(x[0, 0]) for x, _ in batches}
        return [y.item() for _, y in batches]

    one = drawn(1)
    assert len(set(one)) == 8
    assert drawn(2) == one  # whichever process was faster


@pytest.fixture(autouse=True)
def own_randomness(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("layerkit.xp.random._fresh", None)
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002


def test_without_end() -> None:
    class Endless(PyDataset):
        num_batches = None

        def __getitem__(self, index: int) -> Any:
            return np.full((1, 2), index / 8), np.full((1, 1), index / 8)

    for arguments in ({}, {"workers": 2}):
        assert order_of(Endless(**arguments), steps_per_epoch=5) == [0, 1, 2, 3, 4]
    assert alone()


def test_subclasses_need_not_call_the_base_and_iterate_without_workers() -> None:
    class Plain(Sequence):
        def __init__(self) -> None:
            self.on = True

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> Any:
            return np.ones((1, 2)), np.ones((1, 1))

    assert Sequence is PyDataset
    model, _ = recording()
    assert model.fit(Plain(), verbose=0).epoch == [0]
    assert len(list(Plain())) == 2
    assert Plain().workers == 1


def test_class_weights_and_sample_weights_reach_the_loss() -> None:
    class Weighted(Numbered):
        def __getitem__(self, index: int) -> Any:
            return np.ones((2, 2)), np.array([[0.0], [1.0]]), np.array([1.0, 0.5])

    model, _ = recording()
    loss = model.fit(Weighted(workers=2), class_weight={0: 1.0, 1: 3.0}, verbose=0).history["loss"]
    assert loss == pytest.approx([1.5 / 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": -1}, "Numbered: workers must be an integer of at least 0. Received: workers=-1"),
        (
            {"max_queue_size": 0},
            "Numbered: max_queue_size must be an integer of at least 1. Received: max_queue_size=0",
        ),
        (
            {"use_multiprocessing": "yes"},
            "Numbered: use_multiprocessing must be True or False. Received: use_multiprocessing='yes'",
        ),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        Numbered(**arguments)
    assert str(raised.value) == message


def test_what_a_subclass_does_not_give() -> None:
    class Nothing(PyDataset):
        pass

    class Empty(Numbered):
        def __len__(self) -> int:
            return 0

    model, _ = recording()
    with pytest.raises(ContractError) as raised:
        model.fit(Nothing(), verbose=0)
    assert str(raised.value) == (
        "Nothing: a PyDataset must define __len__(self), the number of batches, or the property num_batches. "
        "Received: neither"
    )
    with pytest.raises(ContractError) as raised:
        Nothing()[0]
    assert str(raised.value) == (
        "Nothing: a PyDataset must define __getitem__(self, index), which returns a batch. Received: none"
    )
    with pytest.raises(DataError) as refused:
        model.fit(Empty(), verbose=0)
    assert str(refused.value) == "x must yield at least one batch. Received: an empty iterable"
