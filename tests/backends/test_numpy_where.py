"""`where` on NumPy selects bits instead of branching: every bit must be the one that NumPy would choose."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import backend

SPECIAL = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-45, 3.4e38], "float32")


def operand(kind: str, dtype: str) -> object:
    rng = np.random.default_rng(1)
    full = rng.normal(size=(70, 80)).astype(dtype)
    full[0, : len(SPECIAL)] = SPECIAL
    return {
        "array": full,
        "transposed": np.ascontiguousarray(full.T).T,
        "row": full[:1],
        "column": full[:, :1],
        "zero": 0.0,
        "minus zero": -0.0,
        "one": 1.0,
        "scalar array": np.asarray(2.5, dtype),
    }[kind]


KINDS = ("array", "transposed", "row", "column", "zero", "minus zero", "one", "scalar array")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("y", KINDS)
@pytest.mark.parametrize("x", KINDS)
def test_large_where_has_the_bits_of_numpys(x, y, dtype):
    condition = np.random.default_rng(0).random((70, 80)) < 0.5
    a, b = operand(x, dtype), operand(y, dtype)
    expected = np.where(condition, a, b)
    chosen = backend("numpy").where(condition, a, b)
    assert chosen.dtype == expected.dtype
    assert chosen.shape == expected.shape
    assert np.ascontiguousarray(chosen).tobytes() == np.ascontiguousarray(expected).tobytes()


def test_mixed_dtypes_and_integers_promote_as_numpys():
    condition = np.random.default_rng(0).random((70, 80)) < 0.5
    pairs = [
        (np.ones((70, 80), "float32"), np.zeros((70, 80), "float64")),
        (np.ones((70, 80), "int32"), 0),
        (np.ones((70, 80), "float16"), 0.0),
        (np.ones((70, 80), "int64"), np.ones((70, 80), "float32")),
    ]
    for x, y in pairs:
        expected = np.where(condition, x, y)
        chosen = backend("numpy").where(condition, x, y)
        assert chosen.dtype == expected.dtype
        np.testing.assert_array_equal(chosen, expected)
