"""A backend that somebody else wrote: found by its entry point, named like the built-in ones, and trained on."""

import os
import subprocess
import sys
from pathlib import Path

# The whole of it. The library is array_api_strict, whose arrays are no NumPy arrays and which knows no more than the
# standard.
BACKEND = """\
import array_api_strict
import numpy as np
from layerkit import Backend


class FooBackend(Backend):
    name = "foo"

    def __init__(self):
        super().__init__(array_api_strict)

    def to_numpy(self, array):
        return np.asarray(array)
"""

USE = """\
import array_api_strict
import numpy as np

import layerkit
from layerkit import Sequential
from layerkit.layers import Dense, Dropout, Sigmoid
from layerkit.optimizers import SGD, Adam

foo = layerkit.backend("foo")
assert foo is layerkit.backend("foo:cpu") and repr(foo) == "<backend foo>", foo
assert "foo" in layerkit.backend_names()

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([[0], [1], [1], [0]], np.float32)


def trained(backend):
    model = Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=0, backend=backend, dtype="float64")
    model.compile(optimizer=SGD(learning_rate=2.0), loss="mean_squared_error", metrics=["accuracy"])
    model.fit(x, y, epochs=1500, batch_size=4, verbose=0)
    return model


ours, theirs = trained("foo"), trained("numpy")
assert type(ours.weights[0].value) is type(array_api_strict.zeros(1)), ours.weights[0].value
assert type(ours(array_api_strict.asarray(x))) is type(array_api_strict.zeros(1))
assert (np.round(ours.predict(x, verbose=0)) == y).all()
np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-9)


def masked(*backends):
    model = Sequential([Dense(16, activation="relu"), Dropout(0.5), Dense(1)], seed=0, dtype="float64")
    model.compile(Adam(0.01), "mse")
    for backend in backends:
        model.to(backend)
        model.fit(x, y, epochs=2, verbose=0)
    return model.get_weights()


for ours, theirs in zip(masked("foo", "numpy", "foo"), masked("numpy", "numpy", "numpy"), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

try:
    layerkit.backend("foo:1")
except layerkit.errors.BackendUnavailableError as error:
    print(error)
"""


def installed(folder: Path) -> None:
    """Write what pip would have installed of the package layerkit-foo."""
    (folder / "layerkit_foo.py").write_text(BACKEND)
    information = folder / "layerkit_foo-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: layerkit-foo\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[layerkit.backends]\nfoo = layerkit_foo:FooBackend\n")


def test_a_third_partys_backend_is_found_and_trains(tmp_path):
    installed(tmp_path)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", USE],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("backend 'foo': the device must be 'cpu'. Received: 'foo:1'. Use backend='foo'.\n")


def test_a_backend_is_short():
    assert len(BACKEND.splitlines()) <= 40
