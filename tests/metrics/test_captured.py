"""Every metric measures replayed what it does step by step, as one of several and over batches of unequal sizes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, metrics
from layerkit.layers import Linear

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "metrics.json").read_text(encoding="utf-8"))
# Of each class, the last case with weights.
CASES = {case["class"]: case for case in TABLE["cases"] if {"y_true", "sample_weight"} <= set(case["batches"][0])}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_a_metric_is_the_same_when_it_is_replayed(name, dtype):
    case = CASES[name]
    y_true, y_pred, weights = (
        np.concatenate([batch[key] for batch in case["batches"]]) for key in ("y_true", "y_pred", "sample_weight")
    )
    y_pred = y_pred.reshape(len(y_pred), *(y_pred.shape[1:] or (1,)))
    found = []
    for jit_compile in (False, True):
        model = Sequential([Input(y_pred.shape[1:]), Linear()], dtype=dtype)
        first, second = (getattr(metrics, name)(**{**case["kwargs"], "name": key}) for key in ("first", "second"))
        model.compile(loss=None, metrics=[first], weighted_metrics=[second], jit_compile=jit_compile)
        for _ in range(3):
            logs = model.evaluate(y_pred, y_true, sample_weight=weights, batch_size=4, verbose=0, return_dict=True)
        found.append(logs)
    for key in ("first", "second"):
        np.testing.assert_allclose(found[1][key], found[0][key], rtol=1e-5 if dtype == "float32" else 1e-12)
