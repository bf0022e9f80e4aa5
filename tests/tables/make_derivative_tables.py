"""Write derivatives.json: vector-Jacobian products of words and expressions, from JAX and from PyTorch, in float64.

    python tests/tables/make_derivative_tables.py

Each case is a function, its inputs (exact in float32 too), the cotangent of its result, and one gradient an input, as
each library finds it; null where a library does not have the word, or does not differentiate it here.
"""

from __future__ import annotations

import functools
import json
import platform
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from jax import nn

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_platforms", "cpu")
torch.set_default_dtype(torch.float64)

SEED = 20250101


def any_(*shape):
    return lambda random: random.uniform(-1.5, 1.5, shape)


def positive(*shape):
    return lambda random: random.uniform(0.3, 2.0, shape)


def inner(*shape):
    return lambda random: random.uniform(-0.9, 0.9, shape)


def matrix(*shape):
    return lambda random: random.uniform(-1.0, 1.0, shape) + 2.0 * np.eye(*shape[-2:])


def given(*values):
    return lambda random: np.array(values)


def softplus_torch(x):
    return torch.nn.functional.softplus(x)


def definite(xp, x):
    return x @ xp.swapaxes(x, -1, -2) + xp.eye(x.shape[-1])


# name: (JAX, PyTorch, inputs). A name is that of a function in tests/program/test_tables.py.
CASES: dict[str, tuple[Any, Any, tuple[Any, ...]]] = {
    **{
        word: (getattr(jnp, word), getattr(torch, word), (any_(3, 4),))
        for word in ("exp", "expm1", "sin", "cos", "tan", "sinh", "cosh", "tanh", "atan", "asinh", "abs", "square")
    },
    **{
        word: (getattr(jnp, word), getattr(torch, word), (positive(3, 4),))
        for word in ("log", "log2", "log10", "log1p", "sqrt", "reciprocal")
    },
    **{word: (getattr(jnp, word), getattr(torch, word), (inner(3, 4),)) for word in ("asin", "acos", "atanh")},
    "acosh": (lambda x: jnp.acosh(x + 1), lambda x: torch.acosh(x + 1), (positive(3, 4),)),
    "sigmoid": (nn.sigmoid, torch.sigmoid, (any_(3, 4),)),
    "softplus": (nn.softplus, softplus_torch, (any_(3, 4),)),
    "erfc": (jax.scipy.special.erfc, torch.erfc, (any_(3, 4),)),
    "softmax": (nn.softmax, lambda x: torch.softmax(x, -1), (any_(3, 4),)),
    "log_softmax": (lambda x: nn.log_softmax(x, 0), lambda x: torch.log_softmax(x, 0), (any_(3, 4),)),
    "divide": (jnp.divide, torch.div, (any_(3, 4), positive(4))),
    "pow": (jnp.power, torch.pow, (positive(3, 4), any_(4))),
    "atan2": (jnp.atan2, torch.atan2, (any_(3, 4), any_(3, 1))),
    "hypot": (jnp.hypot, torch.hypot, (any_(3, 4), any_(4))),
    "logaddexp": (jnp.logaddexp, torch.logaddexp, (any_(3, 4), any_(4))),
    "remainder": (jnp.remainder, torch.remainder, (any_(3, 4), positive(4))),
    "maximum_with_ties": (jnp.maximum, torch.maximum, (given(1.0, 2.0, -3.0, 0.0), given(1.0, -2.0, 3.0, 0.0))),
    "max_with_ties": (
        *(lambda x: jnp.max(x, axis=1), lambda x: torch.amax(x, 1)),
        (given([1.0, 3.0, 3.0, -2.0], [0.5, 0.5, 0.5, 0.5]),),
    ),
    "prod_with_a_zero": (
        *(lambda x: jnp.prod(x, axis=1), lambda x: torch.prod(x, 1)),
        (given([1.0, 0.0, 3.0], [0.5, 2.0, -1.5]),),
    ),
    "cumulative_prod_with_a_zero": (
        *(lambda x: jnp.cumprod(x, axis=1), lambda x: torch.cumprod(x, 1)),
        (given([1.0, 0.0, 3.0], [0.5, 2.0, -1.5]),),
    ),
    "cumulative_sum": (lambda x: jnp.cumsum(x, axis=0), lambda x: torch.cumsum(x, 0), (any_(3, 4),)),
    "var": (lambda x: jnp.var(x, axis=1, ddof=1), lambda x: torch.var(x, 1, correction=1), (any_(3, 4),)),
    "std": (lambda x: jnp.std(x, axis=(0, 1)), lambda x: torch.std(x, (0, 1), correction=0), (any_(3, 4),)),
    "sort": (lambda x: jnp.sort(x, axis=0), lambda x: torch.sort(x, 0)[0], (any_(3, 4),)),
    "diff": (lambda x: jnp.diff(x, n=2), lambda x: torch.diff(x, 2), (any_(3, 5),)),
    "clip": (lambda x: jnp.clip(x, -0.5, 0.7), lambda x: torch.clamp(x, -0.5, 0.7), (any_(3, 4),)),
    "take": (
        lambda x: jnp.take(x, jnp.array([2, 0, 2]), axis=1),
        lambda x: torch.index_select(x, 1, torch.tensor([2, 0, 2])),
        (any_(3, 4),),
    ),
    "matmul": (jnp.matmul, torch.matmul, (any_(2, 3, 4), any_(4, 2))),
    "tensordot": (
        lambda a, b: jnp.tensordot(a, b, axes=((0, 2), (1, 0))),
        lambda a, b: torch.tensordot(a, b, dims=((0, 2), (1, 0))),
        (any_(2, 3, 4), any_(4, 2, 5)),
    ),
    "inv": (jnp.linalg.inv, torch.linalg.inv, (matrix(2, 3, 3),)),
    "solve": (jnp.linalg.solve, torch.linalg.solve, (matrix(3, 3), any_(3, 2))),
    "det": (jnp.linalg.det, torch.linalg.det, (matrix(2, 3, 3),)),
    "slogdet": (lambda x: jnp.linalg.slogdet(x)[1], lambda x: torch.linalg.slogdet(x)[1], (matrix(2, 3, 3),)),
    "cholesky": (
        lambda x: jnp.linalg.cholesky(definite(jnp, x)),
        lambda x: torch.linalg.cholesky(definite(torch, x)),
        (matrix(3, 3),),
    ),
    "eigvalsh": (
        lambda x: jnp.linalg.eigvalsh(x + x.T),
        lambda x: torch.linalg.eigvalsh(x + x.T),
        (any_(4, 4),),
    ),
    "eigh_vectors_squared": (
        lambda x: jnp.linalg.eigh(x + x.T)[1] ** 2,
        lambda x: torch.linalg.eigh(x + x.T)[1] ** 2,
        (any_(4, 4),),
    ),
    "qr_r_squared": (lambda x: jnp.linalg.qr(x)[1] ** 2, lambda x: torch.linalg.qr(x)[1] ** 2, (matrix(4, 3),)),
    "svd_u_squared": (
        lambda x: jnp.linalg.svd(x, full_matrices=False)[0] ** 2,
        lambda x: torch.linalg.svd(x, full_matrices=False)[0] ** 2,
        (any_(4, 3),),
    ),
    "svdvals": (
        lambda x: jnp.linalg.svd(x, compute_uv=False),
        torch.linalg.svdvals,
        (any_(4, 3),),
    ),
    "pinv": (jnp.linalg.pinv, torch.linalg.pinv, (any_(4, 3),)),
    "matrix_power": (
        lambda x: jnp.linalg.matrix_power(x, -3),
        lambda x: torch.linalg.matrix_power(x, -3),
        (matrix(3, 3),),
    ),
    "nuclear_norm": (
        lambda x: jnp.linalg.norm(x, "nuc"),
        lambda x: torch.linalg.matrix_norm(x, "nuc"),
        (any_(4, 3),),
    ),
    "vector_norm": (
        lambda x: jnp.linalg.vector_norm(x, ord=3, axis=1),
        lambda x: torch.linalg.vector_norm(x, 3, 1),
        (any_(3, 4),),
    ),
    "cross": (jnp.cross, torch.linalg.cross, (any_(2, 3), any_(2, 3))),
    "spectrum": (lambda x: jnp.abs(jnp.fft.fft(x)), lambda x: torch.abs(torch.fft.fft(x)), (any_(2, 5),)),
    "power_of_rfft": (
        lambda x: jnp.abs(jnp.fft.rfft(x, n=7)) ** 2,
        lambda x: torch.abs(torch.fft.rfft(x, n=7)) ** 2,
        (any_(2, 5),),
    ),
    "filter_by_rfft": (
        lambda x, w: jnp.fft.irfft(jnp.fft.rfft(x) * w, n=6),
        lambda x, w: torch.fft.irfft(torch.fft.rfft(x) * w, n=6),
        (any_(2, 6), any_(4)),
    ),
    "circular_convolution": (
        lambda a, b: jnp.fft.irfftn(jnp.fft.rfftn(a) * jnp.fft.rfftn(b), s=(3, 4)),
        lambda a, b: torch.fft.irfftn(torch.fft.rfftn(a) * torch.fft.rfftn(b), s=(3, 4)),
        (any_(3, 4), any_(3, 4)),
    ),
    "layer_norm": (
        lambda x: (x - x.mean(-1, keepdims=True)) / jnp.sqrt(jnp.var(x, -1, keepdims=True) + 1e-5),
        lambda x: torch.nn.functional.layer_norm(x, (4,)),
        (any_(3, 4),),
    ),
    "gelu": (
        lambda x: nn.gelu(x, approximate=False),
        torch.nn.functional.gelu,
        (any_(3, 4),),
    ),
    "attention": (
        lambda q, k, v: nn.softmax(q @ k.T / 2.0) @ v,
        lambda q, k, v: torch.softmax(q @ k.T / 2.0, -1) @ v,
        (any_(3, 4), any_(5, 4), any_(5, 2)),
    ),
    "two_layers": (
        lambda x, a, b: nn.sigmoid(jnp.tanh(x @ a) @ b),
        lambda x, a, b: torch.sigmoid(torch.tanh(x @ a) @ b),
        (any_(5, 3), any_(3, 4), any_(4, 2)),
    ),
    **{
        f"einsum {subscripts}": (
            functools.partial(jnp.einsum, subscripts),
            functools.partial(torch.einsum, subscripts),
            tuple(any_(*shape) for shape in shapes),
        )
        for subscripts, *shapes in (
            ("ij,jk", (3, 4), (4, 2)),
            ("ba,cb", (3, 4), (2, 3)),
            ("bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)),
            ("...ij,...jk->...ik", (2, 3, 4), (4, 2)),
            ("iij,j->i", (3, 3, 2), (2,)),
            ("ii", (4, 4)),
            ("ij->", (3, 4)),
            ("i,ij,j", (3,), (3, 4), (4,)),
            ("ijk,kl,jm->ilm", (2, 3, 4), (4, 2), (3, 3)),
        )
    },
}


def exact(values: Any) -> Any:
    """Return values rounded to float32, as float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def jax_gradients(function: Any, inputs: list[Any], cotangent: Any) -> Any:
    y, pull_back = jax.vjp(function, *map(jnp.asarray, inputs))
    assert y.dtype == jnp.float64
    return [np.asarray(gradient) for gradient in pull_back(jnp.asarray(cotangent))]


def torch_gradients(function: Any, inputs: list[Any], cotangent: Any) -> Any:
    leaves = [torch.tensor(x, requires_grad=True) for x in inputs]
    y = function(*leaves)
    assert y.dtype == torch.float64
    y.backward(torch.tensor(cotangent))
    return [leaf.grad.numpy() for leaf in leaves]


def main() -> None:
    cases = []
    for number, (name, (in_jax, in_torch, makers)) in enumerate(CASES.items()):
        random = np.random.default_rng([SEED, number])
        inputs = [exact(make(random)) for make in makers]
        cotangent = exact(random.uniform(-1.0, 1.0, np.shape(in_jax(*map(jnp.asarray, inputs)))))
        found = jax_gradients(in_jax, inputs, cotangent), torch_gradients(in_torch, inputs, cotangent)
        for a, b in zip(*found, strict=True):
            error = np.max(np.abs(a - b)) / max(1.0, np.max(np.abs(b)))
            assert error < 1e-10, f"{name}: JAX and PyTorch differ by {error}"
        cases.append(
            {
                "name": name,
                "inputs": [x.tolist() for x in inputs],
                "cotangent": cotangent.tolist(),
                "jax": [gradient.tolist() for gradient in found[0]],
                "torch": [gradient.tolist() for gradient in found[1]],
            }
        )
    made_with = {
        "jax": jax.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    lines = ",\n".join(json.dumps(case) for case in cases)
    path = Path(__file__).with_name("derivatives.json")
    path.write_text(f'{{"made_with": {json.dumps(made_with)},\n"cases": [\n{lines}\n]}}\n')
    print(f"{path.name}: {len(cases)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
