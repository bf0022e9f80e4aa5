"""Derivatives against those of JAX and of PyTorch: see tests/tables/make_derivative_tables.py."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from layerkit.program import Tape

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "derivatives.json").read_text())["cases"]


def _circular_convolution(xp, a, b):
    return xp.fft.irfftn(xp.fft.rfftn(a) * xp.fft.rfftn(b), s=(3, 4), axes=(0, 1))


def _complex(xp, x):
    return xp.astype(x, xp.complex64 if x.dtype == xp.float32 else xp.complex128)


def _layer_norm(xp, x):
    return (x - xp.mean(x, axis=-1, keepdims=True)) / xp.sqrt(xp.var(x, axis=-1, keepdims=True) + 1e-5)


FUNCTIONS = {
    "acosh": lambda xp, x: xp.acosh(x + 1.0),
    "attention": lambda xp, q, k, v: xp.softmax(q @ k.T / 2.0) @ v,
    "cholesky": lambda xp, x: xp.linalg.cholesky(x @ x.T + xp.eye(3, dtype=x.dtype)),
    "circular_convolution": _circular_convolution,
    "clip": lambda xp, x: xp.clip(x, -0.5, 0.7),
    "cross": lambda xp, a, b: xp.linalg.cross(a, b),
    "cumulative_prod_with_a_zero": lambda xp, x: xp.cumulative_prod(x, axis=1),
    "cumulative_sum": lambda xp, x: xp.cumulative_sum(x, axis=0),
    "diff": lambda xp, x: xp.diff(x, n=2),
    "eigh_vectors_squared": lambda xp, x: xp.linalg.eigh(x + x.T)[1] ** 2,
    "eigvalsh": lambda xp, x: xp.linalg.eigvalsh(x + x.T),
    "filter_by_rfft": lambda xp, x, w: xp.fft.irfft(xp.fft.rfft(x) * _complex(xp, w), n=6),
    "gelu": lambda xp, x: 0.5 * x * xp.erfc(-x / math.sqrt(2.0)),
    "layer_norm": _layer_norm,
    "log_softmax": lambda xp, x: xp.log_softmax(x, axis=0),
    "max_with_ties": lambda xp, x: xp.max(x, axis=1),
    "maximum_with_ties": lambda xp, a, b: xp.maximum(a, b),
    "nuclear_norm": lambda xp, x: xp.linalg.matrix_norm(x, ord="nuc"),
    "matrix_power": lambda xp, x: xp.linalg.matrix_power(x, -3),
    "power_of_rfft": lambda xp, x: xp.abs(xp.fft.rfft(x, n=7)) ** 2,
    "prod_with_a_zero": lambda xp, x: xp.prod(x, axis=1),
    "qr_r_squared": lambda xp, x: xp.linalg.qr(x)[1] ** 2,
    "slogdet": lambda xp, x: xp.linalg.slogdet(x)[1],
    "sort": lambda xp, x: xp.sort(x, axis=0),
    "spectrum": lambda xp, x: xp.abs(xp.fft.fft(_complex(xp, x))),
    "std": lambda xp, x: xp.std(x, axis=(0, 1)),
    "svd_u_squared": lambda xp, x: xp.linalg.svd(x, full_matrices=False)[0] ** 2,
    "svdvals": lambda xp, x: xp.linalg.svdvals(x),
    "take": lambda xp, x: xp.take(x, xp.asarray([2, 0, 2]), axis=1),
    "tensordot": lambda xp, a, b: xp.tensordot(a, b, axes=((0, 2), (1, 0))),
    "two_layers": lambda xp, x, a, b: xp.sigmoid(xp.tanh(x @ a) @ b),
    "var": lambda xp, x: xp.var(x, axis=1, correction=1),
    "vector_norm": lambda xp, x: xp.linalg.vector_norm(x, axis=1, ord=3),
    **{
        word: lambda xp, *arrays, word=word: getattr(xp.linalg, word)(*arrays)
        for word in ("det", "inv", "pinv", "solve")
    },
}


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case["name"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-4)])
def test_jax_and_pytorch_find_the_same(xp, case, dtype, tolerance):
    word, _, subscripts = case["name"].partition(" ")
    given = (subscripts,) if subscripts else ()
    function = FUNCTIONS.get(word, lambda xp, *arrays: getattr(xp, word)(*given, *arrays))
    inputs = [xp.asarray(np.array(x), dtype) for x in case["inputs"]]
    _, tape = Tape.record(xp, function, *inputs)
    gradients = tape.gradients(xp.asarray(np.array(case["cotangent"]), dtype))[0]
    for judge in ("jax", "torch"):
        for found, expected in zip(gradients, case[judge], strict=True):
            assert xp.to_numpy(found).dtype == dtype
            scale = np.max(np.abs(expected))
            np.testing.assert_allclose(xp.to_numpy(found), expected, rtol=0, atol=tolerance * scale)
