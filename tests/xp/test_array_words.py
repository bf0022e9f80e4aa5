"""Every backend offers every array word; those that a backend puts in place of its library's keep to the standard."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit.errors import UnsupportedWordError
from layerkit.xp import words


@pytest.mark.parametrize("word", words.ARRAY_WORDS)
def test_every_array_word_is_there(xp, word):
    assert hasattr(xp, word)


@pytest.mark.parametrize(("group", "word"), [*(("linalg", w) for w in words.LINALG), *(("fft", w) for w in words.FFT)])
def test_every_word_of_the_extensions_is_there(xp, group, word):
    assert hasattr(getattr(xp, group), word)


def test_a_word_of_neither_list_is_refused_with_the_nearest(xp):
    sentence = (
        rf"^{xp}: a word must be one of the Array API standard or of layerkit's own\. Received: xp\.sigmod\. "
        rf"Did you mean 'sigmoid'\?$"
    )
    with pytest.raises(UnsupportedWordError, match=sentence):
        _ = xp.sigmod


RANDOM = np.random.default_rng(0)
ARRAYS = {
    "float32": RANDOM.standard_normal((3, 4, 5)).astype(np.float32),
    "float64": RANDOM.standard_normal((3, 4, 5)),
    "wide": RANDOM.standard_normal((100, 200)),
    "int32": RANDOM.integers(-5, 5, (3, 4)).astype(np.int32),
    "uint8": RANDOM.integers(0, 255, (3, 4)).astype(np.uint8),
    "no rows": np.zeros((0, 3)),
    "scalar": np.array(2.5),
}


def defined(word, host, axis):
    """Tell whether the standard says what the result is."""
    axes = range(host.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    if not all(-host.ndim <= n < host.ndim for n in axes):
        return False
    elements = np.prod([host.shape[n] for n in axes], dtype=int)
    return {
        "mean": host.dtype.kind == "f" and elements > 0,
        "max": elements > 0,
        "min": elements > 0,
        "sum": host.dtype.kind == "f" or axis != (),  # else the dtype would change without a sum
        "prod": host.dtype.kind == "f" or axis != (),
    }[word]


REDUCTIONS = [
    (word, name, axis)
    for word in ("sum", "mean", "max", "min", "prod")
    for name, host in ARRAYS.items()
    for axis in (None, 0, -1, (0, 1), ())
    if defined(word, host, axis)
]


@pytest.mark.parametrize(("word", "name", "axis"), REDUCTIONS)
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions(xp, word, name, axis, keepdims):
    host = ARRAYS[name]
    found = getattr(xp, word)(xp.asarray(host), axis=axis, keepdims=keepdims)
    expected = getattr(np, word)(host, axis=axis, keepdims=keepdims)
    assert found.shape == expected.shape
    assert found.dtype == getattr(xp, expected.dtype.name)
    tolerance = 1e-6 if host.dtype == np.float32 else 1e-13
    np.testing.assert_allclose(xp.to_numpy(found), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
@pytest.mark.parametrize("size", [0, 1, 7, 5000])
def test_where(xp, dtype, size):
    random = np.random.default_rng(0)
    condition = random.uniform(size=size) < 0.5
    x, y = (random.integers(0, 2, size).astype(dtype) for _ in range(2))
    found = xp.where(xp.asarray(condition), xp.asarray(x), xp.asarray(y))
    assert found.dtype == getattr(xp, dtype)
    expected = [a if c else b for c, a, b in zip(condition, x, y, strict=True)]
    np.testing.assert_array_equal(xp.to_numpy(found), np.array(expected, dtype))


@pytest.mark.parametrize("size", [3, 5000])
@pytest.mark.parametrize("other", [0.0, -0.0, 2.5, float("nan"), float("inf")])
def test_where_with_a_number(xp, size, other):
    random = np.random.default_rng(0)
    condition = random.uniform(size=size) < 0.5
    x = random.standard_normal(size).astype(np.float32)
    for found, expected in (
        (xp.where(xp.asarray(condition), xp.asarray(x), other), np.where(condition, x, np.float32(other))),
        (xp.where(xp.asarray(condition), other, xp.asarray(x)), np.where(condition, np.float32(other), x)),
    ):
        assert found.dtype == xp.float32
        np.testing.assert_array_equal(xp.to_numpy(found).view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("size", [2, 100])
def test_where_broadcasts(xp, size):
    random = np.random.default_rng(0)
    condition = random.uniform(size=(size, 1)) < 0.5
    x, y = random.standard_normal((1, size)), random.standard_normal((3, size, size))
    found = xp.where(xp.asarray(condition), xp.asarray(x), xp.asarray(y))
    np.testing.assert_array_equal(xp.to_numpy(found), np.where(condition, x, y))


@pytest.mark.parametrize("axis", [-4, -1, 0, 1, 3])
def test_expand_dims(xp, axis):
    x = np.zeros((2, 3, 4))
    assert xp.expand_dims(xp.asarray(x), axis=axis).shape == np.expand_dims(x, axis).shape


def test_scatter_add_adds_where_positions_repeat(xp):
    total = xp.scatter_add(xp.asarray(np.array([2, 0, 2, 2])), xp.asarray(np.array([1.0, 2.0, 4.0, 8.0])), 4)
    np.testing.assert_array_equal(xp.to_numpy(total), [2.0, 0.0, 13.0, 0.0])
