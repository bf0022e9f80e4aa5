"""Memory stays flat: data larger than a batch is neither loaded whole, nor converted whole, nor kept."""

from __future__ import annotations

import gc
import re
import tracemalloc
import weakref
from pathlib import Path

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.layers import Dense
from layerkit.training.guard import MOST_KEPT_BYTES

MB = 1 << 20
WIDTH = 64


@pytest.fixture(autouse=True)
def tracing():
    gc.collect()
    tracemalloc.start()
    yield
    tracemalloc.stop()


def peak_of(action) -> int:
    """Return how many bytes more than before were held at most, the arrays of NumPy included."""
    before, _ = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    action()
    return tracemalloc.get_traced_memory()[1] - before


def mapped(folder, name: str, rows: int, width: int, dtype: str):
    """Return a memory map of zeros; on most file systems it takes no room on the disk."""
    return np.memmap(folder / name, mode="w+", dtype=dtype, shape=(rows, width))


def a_model() -> Sequential:
    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_a_memory_map_is_never_loaded_whole(tmp_path, dtype):
    """128 MB of float32 (256 of float64) train, are evaluated and predicted within 40 MB."""
    rows = 128 * MB // (4 * WIDTH)
    x, y = mapped(tmp_path, "x", rows, WIDTH, dtype), mapped(tmp_path, "y", rows, 1, dtype)
    model = a_model()
    assert peak_of(lambda: model.fit(x, y, batch_size=8192, validation_split=0.5, verbose=0)) < 40 * MB
    assert peak_of(lambda: model.evaluate(x, y, batch_size=8192, verbose=0)) < 40 * MB
    assert peak_of(lambda: model.predict(x, batch_size=8192, verbose=0)) < 40 * MB


def pages_of_files() -> int:
    """Return how many bytes of files this process has in its memory."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(re.search(r"RssFile:\s+(\d+) kB", status)[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not tell what is resident")
@pytest.mark.parametrize("mode", ["r", "r+"])
def test_the_pages_of_a_memory_map_are_given_back(tmp_path, mode):
    rows = 512 * MB // (4 * 1024)
    mapped(tmp_path, "x", rows, 1024, "float32").flush()
    x = np.memmap(tmp_path / "x", mode=mode, dtype="float32", shape=(rows, 1024))
    before, largest = pages_of_files(), []
    watch = LambdaCallback(on_train_batch_end=lambda batch, logs: largest.append(pages_of_files()))
    a_model().fit(
        x,
        np.zeros((rows, 1)),
        batch_size=256,
        shuffle=False,
        callbacks=watch,
        verbose=0,
    )
    assert max(largest) - before < 128 * MB


def test_what_was_written_to_a_private_memory_map_is_kept(tmp_path):
    rows = 96 * MB // (4 * WIDTH)
    mapped(tmp_path, "x", rows, WIDTH, "float32").flush()
    x = np.memmap(tmp_path / "x", mode="c", dtype="float32", shape=(rows, WIDTH))
    x[:] = 0.5
    a_model().fit(x, np.zeros((rows, 1)), batch_size=8192, verbose=0)
    assert x.min() == x.max() == 0.5


def test_what_was_written_to_a_shared_memory_map_is_kept(tmp_path):
    rows = 96 * MB // (4 * WIDTH)
    x = mapped(tmp_path, "x", rows, WIDTH, "float32")
    x[:] = 0.5
    a_model().fit(x, np.zeros((rows, 1)), batch_size=8192, verbose=0)
    assert x.min() == x.max() == 0.5


def test_twice_the_rows_take_no_more_than_their_order(tmp_path):
    def train(rows):
        x, y = mapped(tmp_path, f"x{rows}", rows, WIDTH, "float64"), mapped(tmp_path, f"y{rows}", rows, 1, "float64")
        return peak_of(lambda: a_model().fit(x, y, batch_size=4096, verbose=0))

    rows = 1 << 18
    assert train(2 * rows) - train(rows) < 4 * rows + MB  # an order is one number of 32 bits a row


@pytest.mark.parametrize("make", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1]])
def test_an_array_that_is_not_contiguous_is_never_copied_whole(make):
    x, y = make(np.zeros((64 * MB // (4 * WIDTH), WIDTH), "float32")), np.zeros((64 * MB // (4 * WIDTH), 1))
    assert peak_of(lambda: a_model().fit(x, y, batch_size=4096, epochs=2, verbose=0)) < 24 * MB


@pytest.mark.parametrize(("how", "most"), [("ignore", 2.5 * 8 * MB), ("warn", MOST_KEPT_BYTES + 2.5 * 8 * MB)])
def test_batches_are_not_kept(how, most):
    """Of twenty batches of 8 MB two are alive at a time: that of the last step, and the one that is made.

    Where a step that is not finite is to be found, copies of the last ones are besides.
    """
    alive = []

    def batches():
        for _ in range(20):
            x = np.zeros((8 * MB // (4 * WIDTH), WIDTH), "float32")
            alive.append(weakref.ref(x))
            yield x, np.zeros((len(x), 1), "float32")
            del x

    model = a_model()
    model.compile("sgd", "mse", on_nonfinite=how)
    before, _ = tracemalloc.get_traced_memory()
    assert peak_of(lambda: model.fit(batches(), verbose=0)) < most
    gc.collect()
    assert [reference() for reference in alive] == [None] * 20
    assert tracemalloc.get_traced_memory()[0] - before < 8 * MB


def test_epochs_allocate_nothing_that_stays():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, WIDTH)), rng.normal(size=(1000, 1))
    model = a_model()
    model.fit(x, y, epochs=2, verbose=0)
    gc.collect()
    before, _ = tracemalloc.get_traced_memory()
    model.fit(x, y, epochs=20, verbose=0)
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    assert after - before < 64 * 1024


def test_a_recorded_step_takes_a_copy_of_the_state_more_than_an_eager_one():
    """From the fourth step on, that is replayed, a step takes less."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 1024)).astype("float32"), rng.normal(size=(8, 1024)).astype("float32")

    def peaks(jit_compile) -> list[int]:
        model = Sequential([Dense(1024)], seed=0)
        model.compile("adam", "mse", jit_compile=jit_compile)
        model.train_on_batch(x, y)
        return [peak_of(lambda: model.train_on_batch(x, y)) for _ in range(3)]

    weights = 4 * (1024 + 1) * 1024
    eager = max(peaks(False))
    second, third, replayed = peaks("auto")
    assert max(second, third) < eager + 3.25 * weights  # the weights and two slots, and what is not that large
    assert replayed < eager / 4
