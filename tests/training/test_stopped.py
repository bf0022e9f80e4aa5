"""An error that ends `fit` is what it was, with the batch behind it; and the next `fit` works."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.data import PyDataset
from layerkit.errors import TrainingStopped
from layerkit.layers import Dense

if TYPE_CHECKING:
    from collections.abc import Iterator

X = np.ones((24, 3), np.float32)
Y = X[:, :1]


class SourceError(Exception):
    """What goes wrong in a source of data."""


def compiled() -> Sequential:
    model = Sequential([Input((3,)), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


def batches(count: int) -> Iterator[Any]:
    for _ in range(count):
        yield X[:4], Y[:4]
    raise SourceError("the disk is gone")


class Dataset(PyDataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Any:
        if index == 4:
            raise SourceError("the disk is gone")
        return X[:4], Y[:4]


def fail(at: int) -> Any:
    def function(index: int, logs: Any) -> None:
        if index == at:
            raise SourceError("the disk is gone")

    return function


@pytest.mark.parametrize(
    ("given", "epoch", "batch"),
    [
        ({"x": batches(4), "steps_per_epoch": 3, "epochs": 5}, 1, 1),
        ({"x": Dataset(), "shuffle": False}, 0, 4),
        ({"x": Dataset(workers=2), "shuffle": False}, 0, 4),
        ({"callbacks": [LambdaCallback(on_train_batch_begin=fail(2))]}, 0, 2),
        ({"callbacks": [LambdaCallback(on_train_batch_end=fail(2))]}, 0, 2),
        ({"callbacks": [LambdaCallback(on_epoch_begin=fail(1))]}, 1, 0),
        ({"callbacks": [LambdaCallback(on_epoch_end=fail(1))]}, 1, None),
        ({"validation_data": batches(2)}, 0, None),
    ],
    ids=range(8),
)
def test_the_batch_is_the_first_cause(given: dict[str, Any], epoch: int, batch: int | None) -> None:
    model = compiled()
    options = {"x": X, "y": None if "x" in given else Y, "epochs": 3, "verbose": 0, **given}
    with pytest.raises(SourceError, match="the disk is gone") as raised:
        model.fit(**options, **({} if "x" in given else {"batch_size": 4}))
    cause = raised.value.__cause__
    assert isinstance(cause, TrainingStopped)
    assert (cause.epoch, cause.batch) == (epoch, batch)
    when = "after the last batch" if batch is None else f"in batch {batch + 1}"
    assert str(cause) == f"fit: this was {when} of epoch {epoch + 1}."
    assert str(cause) in "".join(traceback.format_exception(raised.value))
    assert model.fit(X, Y, verbose=0).epoch == [0]


def test_a_cause_that_an_error_has_stays() -> None:
    def raises(batch: int, logs: Any) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise SourceError("second") from ValueError("between")

    with pytest.raises(SourceError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=raises)])
    assert isinstance(raised.value.__cause__, ValueError)
    assert isinstance(raised.value.__cause__.__cause__, TrainingStopped)


def test_before_the_first_epoch_there_is_no_batch() -> None:
    def raises(logs: Any) -> None:
        raise SourceError

    with pytest.raises(SourceError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[LambdaCallback(on_train_begin=raises)])
    assert raised.value.__cause__ is None
