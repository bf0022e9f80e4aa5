"""Data of any origin trains as the same numbers in a NumPy array do; batches of any origin, as the same rows do."""

from __future__ import annotations

import array
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest

import layerkit
from layerkit import Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.errors import DataError
from layerkit.layers import Dense, Linear
from layerkit.training import arrays, data

# Multiples of a quarter, which every float type holds.
X = np.random.default_rng(0).integers(-8, 9, (10, 3)) / 4
Y = np.random.default_rng(1).integers(-8, 9, (10, 2)) / 4
WEIGHTS = np.array([1.0, 0.5, 2.0, 0.0, 1.5, 1.0, 0.25, 3.0, 1.0, 0.75])


def model_of(width: int = 2, loss: str = "mse", **options) -> Sequential:
    activation = "softmax" if "categorical" in loss else None
    model = Sequential([Dense(4, "tanh"), Dense(width, activation)], seed=5, **options)
    model.compile("adam", loss)
    return model


def trained(x, y=None, *, width=2, loss="mse", model=None, **options) -> list[np.ndarray]:
    """Return the weights after three epochs in batches of 4 rows, shuffled."""
    model = model or model_of(width, loss)
    if y is not None:
        options.setdefault("batch_size", 4)
    model.fit(x, y, epochs=3, verbose=0, **options)
    return model.get_weights()


def assert_equal(left, right):
    for a, b in zip(left, right, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


class OnlyArray:
    """Has nothing but ``__array__``."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.conversions = 0

    def __array__(self, dtype=None, copy=None):
        self.conversions += 1
        return self._values


class OnlyNamespace:
    """An array of a library that follows the Array API standard, which has no ``__array__``."""

    def __init__(self, values):
        self._values = np.asarray(values)

    def __array_namespace__(self, *, api_version=None):
        return np

    def __dlpack__(self, **options):
        return self._values.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._values.__dlpack_device__()


class OnlyInterface:
    """Has nothing but ``__array_interface__``."""

    def __init__(self, values):
        self._values = np.asarray(values)
        self.__array_interface__ = self._values.__array_interface__


class Tensor:
    """Behaves as a tensor of PyTorch on a device, which needs its gradient: it must be detached, then moved."""

    def __init__(self, values, *, attached=True, device="cuda"):
        self._values, self._attached, self._device = np.asarray(values), attached, device
        self.shape = self._values.shape

    def detach(self):
        return Tensor(self._values, attached=False, device=self._device)

    def cpu(self):
        return Tensor(self._values, attached=self._attached, device="cpu")

    def __array__(self, dtype=None, copy=None):
        if self._attached or self._device != "cpu":
            raise TypeError("Can't call numpy() on Tensor that requires grad, or lies on a device.")
        return self._values


def in_a_file(values, path):
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=values.dtype, shape=values.shape)
    mapped[:] = values
    mapped.flush()
    return np.load(path, mmap_mode="r")


SOURCES = {
    "float32": lambda a: a.astype(np.float32),
    "float64": lambda a: a,
    "float16": lambda a: a.astype(np.float16),
    "long double": lambda a: a.astype(np.longdouble),
    "other byte order": lambda a: a.astype(a.dtype.newbyteorder()),
    "lists": lambda a: a.tolist(),
    "tuples": lambda a: tuple(map(tuple, a.tolist())),
    "list of arrays": list,
    "columns in order": np.asfortranarray,
    "every second column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "read only": lambda a: np.broadcast_to(a, a.shape),
    "memoryview": memoryview,
    "__array__": OnlyArray,
    "__array_namespace__": OnlyNamespace,
    "__array_interface__": OnlyInterface,
    "tensor on a device": Tensor,
    "masked, without a mask": np.ma.asarray,
    "DataFrame": pd.DataFrame,
    "DataFrame of several kinds": lambda a: pd.DataFrame(
        {"a": a[:, 0], "b": a[:, 1].astype(np.float32), **{f"c{i}": a[:, i] for i in range(2, a.shape[1])}}
    ),
    "DataFrame of nullable columns": lambda a: pd.DataFrame(a).astype("Float64"),
    "on another backend": lambda a: layerkit.backend("strict").asarray(a),
}


@pytest.mark.parametrize("chunk_bytes", [arrays.CHUNK_BYTES, 64], ids=["little data", "much data"])
@pytest.mark.parametrize("source", SOURCES)
def test_an_array_of_any_origin_trains_as_that_of_numpy_does(source, chunk_bytes, monkeypatch):
    for room in (arrays, data):
        monkeypatch.setattr(room, "CHUNK_BYTES", chunk_bytes)
    make = SOURCES[source]
    assert_equal(trained(make(X), make(Y)), trained(X.astype(np.float32), Y.astype(np.float32)))


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_memory_map_trains_as_an_array_does(tmp_path, shuffle):
    x, y = in_a_file(X.astype(np.float32), tmp_path / "x.npy"), in_a_file(Y, tmp_path / "y.npy")
    assert isinstance(x, np.memmap)
    assert_equal(trained(x, y, shuffle=shuffle), trained(X, Y, shuffle=shuffle))


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"], ids=str
)
def test_whole_and_truth_values_are_features(dtype):
    x = np.arange(30).reshape(10, 3) % 2
    assert_equal(trained(x.astype(dtype), Y), trained(x.astype(np.float32), Y))


def test_columns_of_bool_beside_float_are_features():
    """NumPy alone would make an array of objects of them."""
    table = pd.DataFrame({"a": X[:, 0], "b": X[:, 1] > 0, "c": np.arange(10)})
    assert np.asarray(table).dtype == object
    assert_equal(trained(table, Y), trained(np.stack([X[:, 0], X[:, 1] > 0, np.arange(10)], axis=1), Y))


@pytest.mark.parametrize(
    "make",
    [
        *(
            lambda y, d=dtype: y.astype(d)
            for dtype in ("bool", "int8", "uint8", "int64", "uint64", "float32", "float64")
        ),
        lambda y: y[:, None],
        lambda y: y.tolist(),
        lambda y: pd.Series(y),
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: array.array("l", y),
        lambda y: y[::-1].copy()[::-1],
    ],
)
def test_class_indices_of_any_type_are_labels(make):
    labels = np.arange(10) % 2
    loss = "sparse_categorical_crossentropy"
    assert_equal(trained(X, make(labels), loss=loss), trained(X, labels.astype(np.int32), loss=loss))


def test_a_range_is_a_column_of_targets():
    assert_equal(trained(X, range(10), width=1), trained(X, np.arange(10.0)[:, None], width=1))


@pytest.mark.parametrize("make", [np.asarray, list, pd.Series, lambda w: w[:, None], Tensor, OnlyNamespace])
def test_sample_weights_of_any_origin(make):
    expected = trained(X, Y, sample_weight=WEIGHTS.astype(np.float32))
    assert_equal(trained(X, Y, sample_weight=make(WEIGHTS)), expected)
    assert not np.array_equal(expected[0], trained(X, Y)[0])


def test_a_single_feature_may_come_as_a_vector_where_the_model_takes_one():
    model = Sequential([layerkit.Input((1,)), Dense(2)], seed=5)
    np.testing.assert_array_equal(model.predict(X[:, 0], verbose=0), model.predict(X[:, :1], verbose=0))


def test_data_is_converted_once_for_training_and_validation():
    x, y, weights = OnlyArray(X), OnlyArray(Y), OnlyArray(WEIGHTS)
    model_of().fit(x, y, sample_weight=weights, validation_split=0.3, epochs=3, batch_size=4, verbose=0)
    assert (x.conversions, y.conversions, weights.conversions) == (1, 1, 1)


def test_the_users_arrays_stay_as_they_are():
    x, y, weights = X.astype(np.float32), Y.astype(np.float32), WEIGHTS.astype(np.float32)
    model = model_of()
    model.fit(x, y, sample_weight=weights, epochs=2, batch_size=4, verbose=0)
    model.evaluate(x, y, verbose=0)
    model.predict(x, verbose=0)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    np.testing.assert_array_equal(weights, WEIGHTS)


def test_predictions_do_not_share_memory_with_the_input():
    x = X.astype(np.float32)
    predicted = Sequential([Linear()]).predict(x, batch_size=4, verbose=0)
    whole = Sequential([Linear()]).predict(x, verbose=0)
    np.testing.assert_array_equal(predicted, X)
    assert not np.may_share_memory(predicted, x)
    assert not np.may_share_memory(whole, x)


# The dtype of the model.


def test_float64_data_trains_in_the_dtype_of_the_model():
    """Random numbers need all digits of float64: they are rounded first, and everything after is float32."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    weights = trained(x, y)
    assert {w.dtype for w in weights} == {np.dtype("float32")}
    assert_equal(weights, trained(x.astype(np.float32), y.astype(np.float32)))


def test_float64_works_end_to_end(xp):
    """One step of gradient descent on a linear model, against the formula, to the last digits of float64."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(10, 2))
    model = Sequential([Dense(2)], seed=0, dtype="float64", backend=xp)
    model.compile(layerkit.optimizers.SGD(0.1, momentum=0.5), "mse", metrics=["mae"])
    model.build((None, 3))
    kernel, bias = model.get_weights()
    error = x @ kernel + bias - y
    history = model.fit(x, y, verbose=0).history

    np.testing.assert_allclose(history["loss"], [np.mean(error**2)], rtol=1e-14)
    np.testing.assert_allclose(history["mae"], [np.mean(np.abs(error))], rtol=1e-14)
    new_kernel, new_bias = model.get_weights()
    np.testing.assert_allclose(new_kernel, kernel - 0.1 * x.T @ (2 * error / error.size), rtol=1e-13)
    np.testing.assert_allclose(new_bias, bias - 0.1 * np.sum(2 * error / error.size, axis=0), rtol=1e-13)
    predicted = model.predict(x, verbose=0)
    np.testing.assert_allclose(predicted, x @ new_kernel + new_bias, rtol=1e-13)
    assert predicted.dtype == np.float64
    assert {variable.dtype for variable in model.weights} == {"float64"}
    assert {variable.dtype for variable in model.optimizer.variables} == {"float64", "int64"}
    assert model(xp.asarray(x.astype(np.float32))).dtype == xp.float64


def test_float64_holds_what_float32_cannot():
    model = Sequential([Linear()], dtype="float64")
    np.testing.assert_array_equal(model.predict([[1e300, 1e-300]], verbose=0), [[1e300, 1e-300]])


def test_whole_numbers_keep_their_digits_in_float64():
    model = Sequential([Linear()], dtype="float64")
    assert model.predict([[2**53]], verbose=0) == [[2**53]]


# What is looked at, chunk by chunk.


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_first_bad_element_is_named_in_any_chunk(dtype, value, monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 64)
    x = np.zeros((100, 3), dtype)
    x[[57, 80], 1] = value
    with pytest.raises(DataError) as caught:
        model_of().predict(x, verbose=0)
    assert str(caught.value) == (f"x must hold finite numbers. Received: {value} at [57, 1]. Fill or remove such rows.")


def test_a_large_sum_is_no_bad_element():
    """The cheap test of a chunk, its sum, overflows, where no element does."""
    largest = np.finfo(np.float32).max
    model = Sequential([Linear()])
    np.testing.assert_array_equal(model.predict(np.full((4, 2), largest), verbose=0), np.full((4, 2), largest))


def test_numbers_that_round_to_the_largest_of_float32_are_accepted():
    largest = float(np.finfo(np.float32).max)
    assert Sequential([Linear()]).predict([[largest * (1 + 1e-9)]], verbose=0) == [[largest]]


def test_the_first_label_out_of_range_is_named_in_any_chunk(monkeypatch):
    monkeypatch.setattr(arrays, "CHUNK_BYTES", 64)
    labels = np.zeros(100, int)
    labels[[57, 80]] = 2
    with pytest.raises(DataError) as caught:
        model_of(loss="sparse_categorical_crossentropy").fit(np.zeros((100, 3)), labels, verbose=0)
    assert str(caught.value) == (
        "sparse_categorical_crossentropy: y must hold class indices, whole numbers from 0 to 1. Received: 2 at [57]."
    )


def test_an_ignored_class_may_lie_outside_the_classes():
    loss = layerkit.losses.SparseCategoricalCrossentropy(ignore_class=-1)
    model = Sequential([Dense(2, "softmax")], seed=0)
    model.compile("sgd", loss)
    labels = np.array([0, 1, -1, 0, 1, -1, 0, 1, 0, 1])
    kept = labels >= 0
    loss_of_all = model.evaluate(X, labels, verbose=0)
    assert loss_of_all == pytest.approx(model.evaluate(X[kept], labels[kept], verbose=0), rel=1e-6)


# Iterables of batches.


def batches(with_weights=False):
    parts = (X, Y, WEIGHTS) if with_weights else (X, Y)
    return [tuple(part[start : start + 4] for part in parts) for start in (0, 4, 8)]


class Iterable:
    """May be iterated again and again."""

    def __init__(self, items):
        self.items, self.passes, self.ends = items, 0, 0

    def __iter__(self):
        self.passes += 1
        return iter(self.items)

    def on_epoch_end(self):
        self.ends += 1


class Sequence:
    """Has a length and elements, and no ``__iter__``."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        if index >= len(self):
            raise AssertionError("an element beyond the length")
        return self.items[index]


class OfUnknownLength(Iterable):
    """As a loader of PyTorch over a stream is."""

    def __len__(self):
        raise TypeError("object of type 'IterableDataset' has no len()")


@pytest.mark.parametrize(
    "make",
    [
        Iterable,
        Sequence,
        OfUnknownLength,
        lambda items: Iterable([[Tensor(part) for part in item] for item in items]),  # what a loader of PyTorch yields
        lambda items: Iterable([tuple(pd.DataFrame(part) for part in item) for item in items]),
        lambda items: Iterable([tuple(part.tolist() for part in item) for item in items]),
    ],
    ids=["iterable", "sequence", "unknown length", "lists of tensors", "tables", "lists"],
)
@pytest.mark.parametrize("with_weights", [False, True])
def test_batches_of_any_origin_train_as_the_rows_do(make, with_weights):
    weights = WEIGHTS if with_weights else None
    expected = trained(X, Y, sample_weight=weights, shuffle=False)
    assert_equal(trained(make(batches(with_weights))), expected)


def test_weights_of_a_batch_may_be_none():
    assert_equal(trained(Iterable([(*batch, None) for batch in batches()])), trained(X, Y, shuffle=False))


def test_an_iterable_is_started_once_an_epoch_and_told_of_its_end():
    source = Iterable(batches())
    trained(source)
    assert (source.passes, source.ends) == (3, 3)


def test_the_second_fit_starts_the_iterable_anew():
    source, model = Iterable(batches()), model_of()
    twice = trained(source, model=model), trained(source, model=model)
    other = model_of()
    assert_equal(twice[0], trained(X, Y, shuffle=False, model=other))
    assert_equal(twice[1], trained(X, Y, shuffle=False, model=other))


def test_a_generator_gives_one_epoch():
    model, twin = model_of(), model_of()
    model.fit((batch for batch in batches()), verbose=0)
    twin.fit(X, Y, batch_size=4, shuffle=False, verbose=0)
    assert_equal(model.get_weights(), twin.get_weights())


def test_an_endless_generator_is_asked_for_the_steps_and_no_more():
    taken = itertools.count()
    endless = ((next(taken), batch)[1] for batch in itertools.cycle(batches()))
    model = model_of()
    model.fit(endless, epochs=4, steps_per_epoch=2, verbose=0)
    assert next(taken) == 8
    model.fit(endless, epochs=1, steps_per_epoch=1, verbose=0)
    assert next(taken) == 10


def test_epochs_of_fewer_steps_go_on_where_the_last_one_ended():
    """Two epochs of three steps over cycling batches are three epochs of two steps."""
    left = trained(itertools.cycle(batches()), steps_per_epoch=3)
    model = model_of()
    model.fit(itertools.cycle(batches()), epochs=9, steps_per_epoch=1, verbose=0)
    assert_equal(left, model.get_weights())
    model = model_of()
    model.fit(Iterable(batches()), epochs=9, steps_per_epoch=1, verbose=0)
    assert_equal(left, model.get_weights())


def test_arrays_go_on_where_the_last_epoch_ended():
    model = model_of()
    model.fit(X, Y, batch_size=4, epochs=9, steps_per_epoch=1, shuffle=False, verbose=0)
    assert_equal(model.get_weights(), trained(X, Y, shuffle=False))


def test_class_weights_apply_to_batches():
    labels = np.arange(10) % 2
    loss, weights = "sparse_categorical_crossentropy", {0: 0.5, 1: 3.0}
    rows = [(X[start : start + 4], labels[start : start + 4]) for start in (0, 4, 8)]
    expected = trained(X, labels, loss=loss, shuffle=False, class_weight=weights)
    assert_equal(trained(Iterable(rows), loss=loss, class_weight=weights), expected)
    assert_equal(trained(X, labels, loss=loss, shuffle=False, sample_weight=np.where(labels, 3.0, 0.5)), expected)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Iterable([X[:4], X[4:8], X[8:]]),
        lambda: (rows for rows in (X[:4], X[4:8], X[8:])),
        lambda: Sequence([X[:4], X[4:8], X[8:]]),
        lambda: Iterable([(X[:4],), (X[4:8],), (X[8:],)]),
        lambda: Iterable(batches()),
        lambda: Iterable(batches(with_weights=True)),
        lambda: Iterable([[Tensor(X[:4])], [Tensor(X[4:8])], [Tensor(X[8:])]]),
        lambda: Iterable([X[:4].tolist(), X[4:8].tolist(), X[8:].tolist()]),
    ],
    ids=["x", "generator", "sequence", "(x,)", "(x, y)", "(x, y, weights)", "[x]", "lists"],
)
def test_batches_are_predicted_as_the_rows_are(make):
    np.testing.assert_array_equal(model_of().predict(make(), verbose=0), model_of().predict(X, batch_size=4, verbose=0))


def test_a_number_of_steps_limits_prediction_and_evaluation():
    model = model_of()
    predicted = model.predict(X, batch_size=4, verbose=0)
    np.testing.assert_array_equal(model.predict(X, batch_size=4, steps=2, verbose=0), predicted[:8])
    np.testing.assert_array_equal(model.predict(itertools.cycle(batches()), steps=2, verbose=0), predicted[:8])
    assert model.evaluate(X, Y, batch_size=4, steps=2, verbose=0) == pytest.approx(np.mean((predicted - Y)[:8] ** 2))
    assert model.evaluate(itertools.cycle(batches()), steps=2, verbose=0) == pytest.approx(
        np.mean((predicted - Y)[:8] ** 2)
    )


def test_validation_batches_are_used_in_each_epoch():
    model = model_of()
    history = model.fit(X, Y, epochs=3, validation_data=Iterable(batches()), verbose=0).history
    twin = model_of().fit(X, Y, epochs=3, validation_data=(X, Y), validation_batch_size=4, verbose=0).history
    assert history == twin


def test_batches_may_reuse_their_memory():
    """A source that fills one buffer again and again yields each batch while it stands there."""

    def reusing():
        for start in (0, 4):
            buffer_x[:], buffer_y[:] = X[start : start + 4], Y[start : start + 4]
            yield buffer_x, buffer_y

    buffer_x, buffer_y = np.empty((4, 3), np.float32), np.empty((4, 2), np.float32)
    model, twin = model_of(), model_of()
    model.fit(reusing(), verbose=0)
    twin.fit(X[:8], Y[:8], batch_size=4, shuffle=False, verbose=0)
    assert_equal(model.get_weights(), twin.get_weights())
    same = Sequential([Linear()]).predict((x for x, _ in reusing()), verbose=0)
    np.testing.assert_array_equal(same, X[:8])


# Any number of rows, of any size of batch.


@hypothesis.settings(deadline=None, derandomize=True)
@hypothesis.given(
    rows=st.integers(1, 40),
    batch_size=st.integers(1, 50),
    dtype=st.sampled_from(["float32", "float64", "int16", "bool"]),
    width=st.integers(1, 4),
    shuffle=st.booleans(),
    chunk_bytes=st.sampled_from([8, 1 << 24]),
)
def test_each_row_comes_once_an_epoch_whatever_the_sizes(rows, batch_size, dtype, width, shuffle, chunk_bytes):
    """A sum over all rows: the gradient of a linear model's loss "sum" at rate 1, whatever the batches."""
    x = (np.arange(rows * width).reshape(rows, width) % 2).astype(dtype)
    model = Sequential([layerkit.Input((width,)), Dense(1, kernel_initializer="zeros")], dtype="float64")
    spy = layerkit.losses.MeanAbsoluteError(reduction="sum")  # its derivative is -1 for targets far above the output
    model.compile(layerkit.optimizers.SGD(1.0), spy, lint=False)  # of few rows, a column may be the same in all
    with pytest.MonkeyPatch.context() as patch:
        for room in (arrays, data):
            patch.setattr(room, "CHUNK_BYTES", chunk_bytes)
        model.fit(x, np.full((rows, 1), 1e9), batch_size=batch_size, shuffle=shuffle, verbose=0)
        predicted = model.predict(x, batch_size=batch_size, verbose=0)
    kernel, bias = model.get_weights()
    np.testing.assert_array_equal(kernel[:, 0], x.astype(float).sum(axis=0))
    assert bias == rows
    np.testing.assert_allclose(predicted, x.astype(float) @ kernel + bias, rtol=1e-14)
    assert model.optimizer.iterations == -(-rows // batch_size)


@pytest.mark.parametrize(
    ("rows", "columns", "batch"),
    [(1, 3, 1), (31, 3, 31), (100, 3, 32), (1023, 3, 32), (1024, 3, 64), (70_000, 3, 4096), (70_000, 10, 2048)],
)
def test_predict_takes_more_rows_at_a_time_where_there_are_many(rows, columns, batch, monkeypatch) -> None:
    monkeypatch.setattr(data, "MANY_BYTES", 100_000)  # of float32: 2,500 rows of 10
    model = Sequential([Linear()])
    x = np.arange(rows * columns, dtype="float32").reshape(rows, columns)
    rules = model._rules(None)
    made = data.make_data(rules, x, None, None, batch_size=None, targets=False, counted=False, caller="predict")
    assert made.batch_size == batch
    assert np.array_equal(model.predict(x, verbose=0), x)


@pytest.mark.parametrize("options", [{"batch_size": 32}, {"steps": 3}, {}])
def test_batches_of_predict_that_are_counted_have_the_usual_size(options) -> None:
    begun: list[int] = []
    called = LambdaCallback(on_predict_batch_begin=lambda batch, _: begun.append(batch))
    y = Sequential([Linear()]).predict(np.ones((3000, 2)), verbose=0, callbacks=[called], **options)
    assert (len(begun), len(y)) == ((3, 96) if "steps" in options else (94, 3000))


# Data that is kept on the device.


def bytes_of_epochs(xp, epochs, **kwargs):
    """Train a model, and return its weights, and the bytes that each epoch brought to the device."""
    model = Sequential([Dense(3)], seed=1, backend=xp)
    model.compile("sgd", "mse")
    marks = []
    callback = layerkit.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: marks.append(moved(xp)))
    x, y = np.arange(60, dtype="float32").reshape(20, 3) / 60, np.ones((20, 3))
    model.fit(x, y, batch_size=6, epochs=epochs, verbose=0, callbacks=[callback], **kwargs)
    return model.get_weights(), np.diff(marks).tolist()


def moved(xp):
    return xp.transfers.to_device_bytes


@pytest.mark.parametrize("kwargs", [{}, {"shuffle": False}, {"sample_weight": np.arange(20.0)}], ids=str)
def test_data_that_fits_is_brought_to_the_device_once(monkeypatch, kwargs):
    xp = layerkit.backend("strict:1")
    expected, copied = bytes_of_epochs(xp, 4, **kwargs)
    row = 4 * (3 + 3 + ("sample_weight" in kwargs))
    order = 0 if kwargs.get("shuffle") is False else 8 * 20
    assert copied[-1] >= 20 * row
    monkeypatch.setattr(xp, "room_for_data", lambda: 20 * row)
    weights, copied = bytes_of_epochs(xp, 4, **kwargs)
    assert copied[-1] == order
    for mine, other in zip(weights, expected, strict=True):
        np.testing.assert_array_equal(mine, other)
    monkeypatch.setattr(xp, "room_for_data", lambda: 20 * row - 1)
    assert bytes_of_epochs(xp, 4, **kwargs)[1][-1] >= 20 * row


def test_data_that_is_kept_follows_the_model(monkeypatch):
    xp = layerkit.backend("strict:1")
    monkeypatch.setattr(xp, "room_for_data", lambda: 1 << 20)

    def trained(*places):
        model = Sequential([Dense(3)], seed=1, backend=places[0])
        model.compile("sgd", "mse")
        move = layerkit.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: model.to(places[epoch + 1]))
        x, y = np.arange(60, dtype="float32").reshape(20, 3) / 60, np.ones((20, 3))
        model.fit(x, y, batch_size=6, epochs=len(places) - 1, verbose=0, callbacks=[move])
        return model.get_weights()

    for mine, other in zip(trained(xp, "numpy", xp, "numpy"), trained(*["numpy"] * 4), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)


def test_validation_data_is_kept_too(monkeypatch):
    xp = layerkit.backend("strict:1")
    monkeypatch.setattr(xp, "room_for_data", lambda: 1 << 20)
    assert bytes_of_epochs(xp, 4, validation_split=0.25)[1][-1] == 8 * 15
