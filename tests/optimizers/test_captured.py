"""A replayed step moves weights and slots as an eager one does, with every optimizer and whatever it takes."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import Sequential, optimizers
from layerkit.layers import Dense
from layerkit.optimizers import Muon

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.random.default_rng(1).normal(size=(12, 2))

FOUND = [optimizers.NAMES.find(name) for name in optimizers.__all__ if name in optimizers.NAMES]
CLASSES = [cls for cls in FOUND if not cls.searches]  # test_lbfgs.py and test_levenberg_marquardt.py tell of those
OPTIONS = [
    {"learning_rate": 0.05, "weight_decay": 0.1, "global_clipnorm": 0.5},
    {
        "learning_rate": 0.05,
        "gradient_accumulation_steps": 2,
        "clipnorm": 0.5,
        "use_ema": True,
        "ema_momentum": 0.75,
        "ema_overwrite_frequency": 3,
    },
]
SAME_BITS = {"rtol": 0, "atol": 0}
# Matrix products: where NumPy writes a product to, and whether it knows a matrix times its own transpose, changes the
# routine that it asks of BLAS.
ROUNDING = {(Muon, "float64"): {"rtol": 1e-13, "atol": 1e-14}, (Muon, "float32"): {"rtol": 1e-5, "atol": 1e-6}}


def trained(optimizer, dtype, **how):
    model = Sequential([Dense(4, "tanh"), Dense(2)], seed=0, dtype=dtype)
    model.compile(optimizer, "mse", **how)
    model.fit(X, Y, batch_size=3, epochs=3, verbose=0)
    return [*model.variables, *model.optimizer.variables]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "accumulated"])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_replayed_step_has_the_same_bits(cls, options, dtype):
    eager = trained(cls(**options), dtype, run_eagerly=True)
    replayed = trained(cls(**options), dtype, jit_compile=True)
    for a, b in zip(replayed, eager, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), **ROUNDING.get((cls, dtype), SAME_BITS), err_msg=a.path)
        assert np.isfinite(a.numpy()).all()
