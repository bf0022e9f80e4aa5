"""Where memory does not suffice for a step: what it takes, and how large a batch fits."""

from __future__ import annotations

import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.errors import DeviceMemoryError, TrainingStopped
from layerkit.layers import Dense
from layerkit.program.footprint import footprint
from layerkit.training.memory import MOST, size_in_words
from layerkit_numpy import NumpyBackend

ROWS, WIDTH = 4096, 50
X = np.ones((ROWS, 3), np.float32)
Y = X[:, :1]

# Bytes a row at the fullest moment of a training step, the backward pass of the first layer: x and y, and the output
# of the hidden layer, which is saved, all float32; beside them dy of the output and of the hidden layer.
EACH = 4 * (3 + 1 + WIDTH + 1 + WIDTH)


def compiled(loss: str = "mse") -> Sequential:
    model = Sequential([Input((3,)), Dense(WIDTH), Dense(1)], seed=0)
    model.compile("sgd", loss)
    return model


def failing(monkeypatch: pytest.MonkeyPatch, model: Sequential, error: MemoryError, free: int | None) -> None:
    """Let steps on more than 100 rows fail, where so many bytes are free."""
    forward = Dense.forward

    def limited(self: Dense, xp: Any, x: Any) -> Any:
        if x.shape[0] > 100:
            raise error
        return forward(self, xp, x)

    monkeypatch.setattr(Dense, "forward", limited)
    monkeypatch.setattr(NumpyBackend, "free_memory", lambda self: free)


def state_of(model: Sequential) -> str:
    return size_in_words(sum(variable.array.nbytes for variable in model.step.state()))


def test_the_largest_batch_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled()
    failing(monkeypatch, model, MemoryError("full"), 100_000)
    before = [variable.array.copy() for variable in model.step.state()]
    with pytest.raises(MemoryError) as raised:
        model.fit(X, Y, batch_size=ROWS, verbose=0)
    *_, note = raised.value.__notes__
    taken = float(note.partition("takes about ")[2].partition(" MiB")[0]) * 2**20
    assert 0.97 * EACH * ROWS <= taken <= 1.25 * EACH * ROWS
    fits = int(note.partition("Largest batch that fits: about ")[2].rstrip("."))
    assert 0.7 * MOST * 100_000 / EACH <= fits <= MOST * 100_000 / EACH
    assert note == (
        f"A train step on 4,096 rows takes about {taken / 2**20:.1f} MiB for 64.0 KiB of data, beside "
        f"{state_of(model)} of weights and other state; 97.7 KiB are free. Largest batch that fits: about {fits}."
    )
    assert str(raised.value.__cause__) == "fit: this was in batch 1 of epoch 1."
    for variable, array in zip(model.step.state(), before, strict=True):
        np.testing.assert_array_equal(variable.array, array)  # nothing is left of what was tried
    monkeypatch.undo()
    assert len(model.fit(X, Y, batch_size=fits, verbose=0).epoch) == 1


def test_a_devices_own_error_has_it_in_its_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled()
    failing(monkeypatch, model, DeviceMemoryError("foo:0: the device is full."), 100)
    with pytest.raises(DeviceMemoryError) as raised:
        model.evaluate(X, Y, batch_size=ROWS, verbose=0)
    assert str(raised.value).startswith("foo:0: the device is full. A test step on 4,096 rows takes about ")
    assert str(raised.value).endswith("; 0.1 KiB are free. Largest batch that fits: none.")


@pytest.mark.parametrize("free", [None, 1 << 40])
def test_where_nothing_is_known_of_what_fits(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    """The system does not tell what is free; or it is wrong, for the step has failed."""
    model = compiled()
    failing(monkeypatch, model, MemoryError(), free)
    with pytest.raises(MemoryError) as raised:
        model.predict(X, batch_size=ROWS, verbose=0)
    *_, note = raised.value.__notes__
    assert note.startswith("A predict step on 4,096 rows takes about ")
    assert note.endswith(f"{'' if free is None else '; 1024.0 GiB are free'}. A smaller batch_size needs less.")


def test_where_not_even_few_rows_can_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    model = compiled()

    def full(self: Dense, xp: Any, x: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(Dense, "forward", full)
    with pytest.raises(MemoryError) as raised:
        model.train_on_batch(X[:8], Y[:8])
    assert raised.value.__notes__[-1] == (
        f"A train step on 8 rows has 0.1 KiB of data, beside {state_of(model)} of weights and other state. "
        f"A smaller batch_size needs less."
    )


def test_what_the_step_held_is_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error and its traceback are kept, as a notebook keeps them; the output of the first layer is not."""
    model, forward = compiled(), Dense.forward
    outputs: list[Any] = []

    def limited(self: Dense, xp: Any, x: Any) -> Any:
        if x.shape == (ROWS, WIDTH):
            raise MemoryError
        y, saved = forward(self, xp, x)
        outputs.append(weakref.ref(y))
        return y, saved

    monkeypatch.setattr(Dense, "forward", limited)
    with pytest.raises(MemoryError) as raised:
        model.fit(X, Y, batch_size=ROWS, verbose=0)
    assert [output() for output in outputs] == [None] * len(outputs)
    assert len(outputs) > 0
    assert isinstance(raised.value.__cause__, TrainingStopped)


def test_a_footprint_is_counted_by_hand() -> None:
    from layerkit.program import record

    xp = NumpyBackend()

    def step(xp: Any, x: Any) -> Any:
        y = xp.exp(x)  # 2 x 80 bytes, with x
        z = xp.reshape(y, (10,)) * 2.0  # a view, which keeps y: 3 x 80
        return xp.sum(z)  # and 8; then x, and the sum

    program = record(xp, step, (np.ones((2, 5)),), "work")[2]
    assert footprint(program) == [80, 160, 160, 240, 168]


LIMITED = """
import resource, sys
import numpy as np
from layerkit import Input, Sequential
from layerkit.layers import Dense
model = Sequential([Input((8,)), Dense(1000), Dense(1)], seed=0)
model.compile("sgd", "mse")
x = np.ones((100_000, 8), "float32")
model.predict(x[:8], verbose=0)
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (100 << 20),) * 2)
try:
    model.predict(x, batch_size=100_000, verbose=0)
except MemoryError as error:
    said = error.__notes__[-1]
print(said)
rows = int(said.partition("about ")[2].partition("about ")[2].rstrip(".").replace(",", ""))
print(model.predict(x[:rows], batch_size=rows, verbose=0).shape == (rows, 1), 18_000 < rows < 25_000)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of a process's addresses is Linux's here")
def test_under_a_limit_of_the_system() -> None:
    """400 MB for the hidden layer's output, where 100 MiB may be had: some 23,000 rows fit."""
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said, right = done.stdout.splitlines()
    assert said.startswith("A predict step on 100,000 rows takes about ")
    assert right == "True True", said
