"""Every loss trains replayed as it does step by step."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import Input, Sequential
from layerkit.layers import Dense, Reshape
from tests.losses.test_losses import TABLE, sample

ROWS = 7


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", TABLE)
def test_a_loss_trains_to_the_same_weights_when_it_is_replayed(name, dtype):
    cls, make, options = TABLE[name]
    targets, predictions = sample(make, options, ROWS, 3)
    x = np.random.default_rng(1).standard_normal((ROWS, 4))
    found = []
    for jit_compile in (False, True):
        output = predictions.shape[1:]
        last = Dense(int(np.prod(output)), None if options.get("from_logits") else "sigmoid")
        model = Sequential([Input((4,)), last, Reshape(output)], seed=0, dtype=dtype)
        model.compile("sgd", cls(**options), jit_compile=jit_compile)
        history = model.fit(x, targets, batch_size=ROWS, epochs=5, verbose=0)
        found.append([history.history["loss"], *model.get_weights()])
    for eager, replayed in zip(*found, strict=True):
        tolerance = 1e-5 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(replayed, eager, rtol=tolerance, atol=tolerance)
