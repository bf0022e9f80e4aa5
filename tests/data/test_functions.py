"""The functions of layerkit.data against Keras's (keras.json), and what they refuse."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerkit
from layerkit import Sequential, data, utils
from layerkit.data import (
    normalize,
    pad_sequences,
    set_random_seed,
    split_dataset,
    timeseries_dataset_from_array,
    to_categorical,
)
from layerkit.errors import ArgumentError, DataError, ShapeError
from layerkit.layers import Dense, Dropout

KERAS = json.loads((Path(__file__).parent / "keras.json").read_text())


def ids(case: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in case["arguments"].items()) or "defaults"


@pytest.mark.parametrize("case", KERAS["to_categorical"], ids=ids)
def test_to_categorical(case: dict[str, Any]) -> None:
    for x in (case["x"], np.array(case["x"])):
        result = to_categorical(x, **case["arguments"])
        assert result.tolist() == case["result"]
        assert result.dtype == np.float64


@pytest.mark.parametrize("case", KERAS["normalize"], ids=ids)
def test_normalize(case: dict[str, Any]) -> None:
    result = normalize(case["x"], **case["arguments"])
    # Of a single vector, Keras makes a matrix of one row.
    assert result.shape == np.shape(case["x"])
    np.testing.assert_allclose(result, np.reshape(case["result"], result.shape), rtol=1e-15)


def test_normalize_divides_along_the_axis_of_the_norm() -> None:
    x = np.array([[3.0, 1.0], [4.0, 0.0]])
    np.testing.assert_array_equal(normalize(x, axis=0), [[0.6, 1.0], [0.8, 0.0]])
    np.testing.assert_array_equal(normalize(x, order=np.inf), [[1.0, 1 / 3], [1.0, 0.0]])
    assert normalize(x.astype("float32")).dtype == np.float32


@pytest.mark.parametrize("case", KERAS["pad_sequences"], ids=ids)
def test_pad_sequences(case: dict[str, Any]) -> None:
    for sequences in (case["sequences"], [np.array(each) for each in case["sequences"]]):
        result = pad_sequences(sequences, **case["arguments"])
        assert result.tolist() == case["result"]
        assert result.dtype == np.dtype(case["arguments"].get("dtype", "int32"))


def test_pad_sequences_of_text_and_of_none() -> None:
    assert pad_sequences([["a"], ["b", "c"]], dtype=object, value="-").tolist() == [["-", "a"], ["b", "c"]]
    assert pad_sequences([]).shape == (0, 0)
    assert pad_sequences([[], []]).shape == (2, 0)


@pytest.mark.parametrize("case", KERAS["split_dataset"], ids=ids)
def test_split_dataset(case: dict[str, Any]) -> None:
    rows = np.arange(10)
    left, right = split_dataset((rows, rows * 10), **case["arguments"])
    assert [[column.tolist() for column in part] for part in (left, right)] == case["result"]
    for part, expected in zip(split_dataset(rows, **case["arguments"]), case["result"], strict=True):
        assert part.tolist() == expected[0]


def test_split_dataset_gives_views_and_keeps_the_kind() -> None:
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    (a, b), (c, d) = split_dataset((x, y), left_size=0.7)
    assert np.shares_memory(a, x)
    assert (a.shape, b.shape, c.shape, d.shape) == ((7, 2), (7,), (3, 2), (3,))
    parts = split_dataset([x, y], right_size=3)
    assert [type(part) for part in parts] == [list, list]
    random.seed(5)
    first = split_dataset(y, 0.5, shuffle=True)[0].tolist()
    random.seed(5)
    assert split_dataset(y, 0.5, shuffle=True)[0].tolist() == first


def test_split_dataset_takes_samples_as_pytorch_has_them() -> None:
    class Samples:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[list[float], int]:
            return [float(index), 0.5], index % 2

    (x, y), (x_test, y_test) = split_dataset(Samples(), left_size=3)
    assert x.tolist() == [[0.0, 0.5], [1.0, 0.5], [2.0, 0.5]]
    assert (y.tolist(), x_test.tolist(), y_test.tolist()) == ([0, 1, 0], [[3.0, 0.5]], [1])


# Windows: Keras's own need TensorFlow. The formula is that of its documentation, whose examples stand here.


def windows(**arguments: Any) -> list[Any]:
    return list(timeseries_dataset_from_array(**arguments))


def test_windows_are_those_of_keras_documentation() -> None:
    (x,) = windows(data=np.arange(100), targets=None, sequence_length=10, sequence_stride=3, sampling_rate=2)
    assert x[0].tolist() == [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
    assert x[1].tolist() == [3, 5, 7, 9, 11, 13, 15, 17, 19, 21]
    assert x[-1].tolist() == [81, 83, 85, 87, 89, 91, 93, 95, 97, 99]  # which its code has, and its text has not
    series = np.arange(15)
    ((x, y),) = windows(data=series[:-10], targets=series[10:], sequence_length=3)
    assert x.tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert y.tolist() == [10, 11, 12]


@pytest.mark.parametrize("stride", [1, 4])
@pytest.mark.parametrize("rate", [1, 3])
@pytest.mark.parametrize(("start", "end"), [(None, None), (5, 40), (0, 31)])
@pytest.mark.parametrize("batch_size", [1, 7, 128, None])
def test_windows_follow_the_formula(stride: int, rate: int, start: Any, end: Any, batch_size: Any) -> None:
    data, targets = np.arange(100.0).reshape(50, 2), np.arange(50) * 10
    found = windows(
        data=data,
        targets=targets,
        sequence_length=4,
        sequence_stride=stride,
        sampling_rate=rate,
        start_index=start,
        end_index=end,
        batch_size=batch_size,
    )
    rows, goals = data[start:end].tolist(), targets[start:end].tolist()
    places = [i for i in range(0, len(rows), stride) if i + 3 * rate < len(rows)]
    expected = [([rows[i + k * rate] for k in range(4)], goals[i]) for i in places]
    batches = [([x], [y]) for x, y in found] if batch_size is None else found
    assert [
        (list(map(list, x)), y) for xs, ys in batches for x, y in zip(np.asarray(xs).tolist(), ys, strict=True)
    ] == (expected)
    assert max(len(xs) for xs, _ in batches) <= (batch_size or 1)


def test_windows_in_random_order_are_all_there_and_differ_by_epoch() -> None:
    dataset = timeseries_dataset_from_array(np.arange(20), np.arange(20), 3, batch_size=5, shuffle=True, seed=1)

    def targets() -> list[int]:
        return [int(value) for _, y in dataset for value in y]

    first = targets()
    order = np.arange(18)
    np.random.RandomState(1).shuffle(order)  # as Keras shuffles the starts
    assert first == order.tolist() == targets()
    dataset.on_epoch_end()
    assert first != targets()
    assert sorted(targets()) == sorted(first)


def test_a_model_trains_on_windows_and_predicts_them() -> None:
    series = np.sin(np.arange(200) / 5)
    dataset = timeseries_dataset_from_array(series[:-1], series[8:], 8, batch_size=32)
    model = Sequential([Dense(1)], seed=0)
    model.compile("adam", "mse")
    losses = model.fit(dataset, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < losses[0] / 5
    x_only = timeseries_dataset_from_array(series, None, 8, batch_size=32)
    assert model.predict(x_only, verbose=0).shape == (193, 1)


# One seed.


def test_set_random_seed_decides_all_that_nobody_gave_a_seed() -> None:
    def draw() -> list[Any]:
        set_random_seed(7)
        models = [Sequential([Dense(2), Dropout(0.5)]) for _ in range(2)]
        for model in models:
            model.build((None, 2))
        kernels = [model.get_weights()[0].tolist() for model in models]
        assert kernels[0] != kernels[1]
        return [*kernels, random.random(), np.random.rand()]  # noqa: NPY002

    first = draw()
    assert draw() == first
    set_random_seed(8)
    assert Sequential().seed != Sequential().seed
    given = [Sequential([Dense(2)], seed=3) for _ in range(2)]
    assert [model.seed for model in given] == [3, 3]
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    assert first[2:] == [random.random(), np.random.rand()]  # noqa: NPY002


@pytest.fixture(autouse=True)
def own_randomness(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each test leaves the process's random numbers as they were."""
    monkeypatch.setattr("layerkit.xp.random._fresh", None)
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    yield
    random.setstate(state[0])
    np.random.set_state(state[1])  # noqa: NPY002


# Names.


def test_keras_spelling_finds_all_of_them() -> None:
    assert utils.__all__ == data.__all__
    for name in data.__all__:
        assert getattr(utils, name) is getattr(data, name)
    assert layerkit.utils.to_categorical is to_categorical
    with pytest.raises(AttributeError, match=r"module 'layerkit\.utils' has no attribute 'to_categoric'"):
        utils.to_categoric  # noqa: B018
    with pytest.raises(AttributeError, match=r"module 'layerkit\.data' has no attribute 'to_categoric'"):
        data.to_categoric  # noqa: B018
    assert set(data.__all__) <= set(dir(data)) & set(dir(utils))


def test_nothing_of_it_is_loaded_before_it_is_asked_for() -> None:
    script = "import sys, layerkit; print([name for name in sys.modules if name.startswith('layerkit.data.')])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


# What is refused.

X = np.arange(10)
ROWS = "a number of rows, below 10, or a share above 0 and below 1"
WINDOWS = "timeseries_dataset_from_array"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: to_categorical([0, 3], 3),
            DataError,
            "to_categorical: x must hold class indices, whole numbers from 0 to 2. Received: 3 at [1]",
        ),
        (
            lambda: to_categorical([[0, -1]]),
            DataError,
            "to_categorical: x must hold class indices, whole numbers from 0 on. Received: -1 at [0, 1]",
        ),
        (
            lambda: to_categorical([0.5, 1.0]),
            DataError,
            "to_categorical: x must hold class indices, whole numbers from 0 on. Received: 0.5 at [0]",
        ),
        (
            lambda: to_categorical(["a", "b"]),
            DataError,
            "to_categorical: x must hold numbers, in rows of equal length. Received: ['a', 'b'], of dtype <U1",
        ),
        (
            lambda: to_categorical([]),
            DataError,
            "to_categorical: num_classes must be given where x holds nothing. Received: num_classes=None",
        ),
        (
            lambda: to_categorical([0], 0),
            ArgumentError,
            "to_categorical: num_classes must be an integer of at least 1. Received: num_classes=0",
        ),
        (
            lambda: normalize([[1, 2], [3]]),
            DataError,
            "normalize: x must hold numbers, in rows of equal length. Received: [[1, 2], [3]]",
        ),
        (lambda: normalize([1.0], order=0), ArgumentError, "normalize: order must be above 0. Received: order=0"),
        (
            lambda: normalize([1.0], axis=1),
            ArgumentError,
            "normalize: axis must be one of x. Received: axis=1, of shape (1,)",
        ),
        (
            lambda: pad_sequences([[1]], padding="left"),
            ArgumentError,
            "pad_sequences: padding must be one of pre, post. Received: padding='left'. Known names: post, pre.",
        ),
        (
            lambda: pad_sequences([[1]], maxlen=0),
            ArgumentError,
            "pad_sequences: maxlen must be an integer of at least 1. Received: maxlen=0",
        ),
        (
            lambda: pad_sequences([[1], 2]),
            DataError,
            "pad_sequences: each item of sequences must be a sequence. Received: 2 at 1",
        ),
        (lambda: pad_sequences(5), DataError, "pad_sequences: sequences must be a list of sequences. Received: 5"),
        (
            lambda: pad_sequences([[[1, 2]], [[3]]]),
            ShapeError,
            "pad_sequences: the steps of all sequences must have one shape, (2,). Received: shape (1,) in sequence 1",
        ),
        (
            lambda: pad_sequences([["a"]], value="-"),
            ArgumentError,
            "pad_sequences: value must be of the dtype. Received: value='-', dtype=int32. Text of any length needs "
            "dtype=object.",
        ),
        (
            lambda: split_dataset(X),
            ArgumentError,
            "split_dataset: left_size or right_size must be given. Received: neither",
        ),
        *[
            (
                lambda size=size: split_dataset(X, size),
                ArgumentError,
                f"split_dataset: left_size must be {ROWS}. Received: left_size={size!r}",
            )
            for size in (0, 10, -1, 1.0, 0.0, "half", True)
        ],
        (
            lambda: split_dataset(X, 0.7, 0.7),
            ArgumentError,
            "split_dataset: both parts must have rows, and together not more than there are. "
            "Received: 7 and 7 of 10 rows, for left_size=0.7 and right_size=0.7",
        ),
        (
            lambda: split_dataset(X, 0.01),
            ArgumentError,
            "split_dataset: both parts must have rows, and together not more than there are. "
            "Received: 0 and 10 of 10 rows, for left_size=0.01 and right_size=None",
        ),
        (
            lambda: split_dataset((X, X[:5]), 0.5),
            ShapeError,
            "split_dataset: the arrays must be of one length. Received: lengths [10, 5]",
        ),
        *[
            (
                lambda given=given: split_dataset(given, 0.5),
                DataError,
                f"split_dataset: dataset must be an array, arrays in a tuple or list, or a dataset of samples. "
                f"Received: {received}",
            )
            for given, received in (([1, 2, 3], "1"), ((), "()"), ("text", "str"), (iter([]), "list_iterator"))
        ],
        (
            lambda: set_random_seed(-1),
            ArgumentError,
            "set_random_seed: seed must be an integer from 0 to 2**32 - 1. Received: seed=-1",
        ),
        (
            lambda: timeseries_dataset_from_array(X, None, 11),
            DataError,
            f"{WINDOWS}: a window must fit into the data. Received: windows over 11 rows, 10 rows",
        ),
        (
            lambda: timeseries_dataset_from_array(X, X[:0], 2),
            DataError,
            f"{WINDOWS}: a window must fit into the data. Received: windows over 2 rows, 10 rows and 0 targets",
        ),
        (
            lambda: timeseries_dataset_from_array(X, None, 2, start_index=5, end_index=5),
            ArgumentError,
            f"{WINDOWS}: start_index must be below end_index, and that at most the number of rows, 10. "
            f"Received: start_index=5, end_index=5",
        ),
        (
            lambda: timeseries_dataset_from_array(X, None, 2, sampling_rate=0),
            ArgumentError,
            f"{WINDOWS}: sampling_rate must be an integer of at least 1. Received: sampling_rate=0",
        ),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert type(raised.value) is error
    assert str(raised.value) == message
