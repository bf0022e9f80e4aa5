"""JAX as a plug-in of a dozen lines: its arrays cannot be written to, and state is cells.

In a process of its own, because numbers of 64 bits are a setting of the whole of JAX.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

PLUGIN = """\
import jax
from layerkit.xp.array_api import ArrayApiBackend

jax.config.update("jax_enable_x64", True)


class JaxBackend(ArrayApiBackend):
    name = "jax"
    library = jax.numpy

    @classmethod
    def device_name(cls, place):
        return f"{place.platform}:{place.id}"
"""

USE = """\
import numpy as np

import layerkit
from layerkit import Sequential
from layerkit.layers import Dense, Dropout
from layerkit.testing import check_backend
from layerkit.xp import registry

registry.BUILT_IN["jax"] = "plugin:JaxBackend"
check_backend("jax", ["owns", "state", "view", "assign", "assign_add", "random_bits", "sigmoid", "linear_grad"])
x = np.random.default_rng(0).normal(size=(8, 3))
model = Sequential([Dense(4, activation="tanh"), Dropout(0.3), Dense(1)], seed=0, dtype="float64")
model.compile("adam", "mse", metrics=["mae"])
(found,) = layerkit.compare_backends(model, x, x[:, :1], ["numpy", "jax"], steps=6)
print(found.conclusion)
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed: no package jax")
def test_jax_trains_as_numpy_does(tmp_path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "jax:cpu:0 agrees with numpy: no deviation is above 1e-10.\n"
