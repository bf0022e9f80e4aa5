"""One case or more for each word that has a derivative: a function in words of xp, and the arrays it is given."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp import Backend


@dataclass(frozen=True)
class Case:
    """A differentiable function of float arrays."""

    word: str
    function: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    domain: str = "any"
    twice: bool = True
    """Whether its second derivative exists, and is checked by central differences too."""
    backends: tuple[str, ...] = ("numpy", "strict", "cupy", "torch")
    note: str = ""

    @property
    def name(self) -> str:
        shapes = "-".join("x".join(map(str, shape)) or "scalar" for shape in self.shapes)
        return f"{self.word}{f'({self.note})' if self.note else ''}-{shapes}"

    def arrays(self, seed: int = 0) -> list[Any]:
        """Draw the arguments, in float64."""
        random = np.random.default_rng(seed)
        return [DOMAINS[self.domain](random, shape) for shape in self.shapes]


# Away from kinks and poles; `any` keeps a distance from 0 and from ±1, `spread` keeps all elements apart.
DOMAINS: dict[str, Callable[[Any, tuple[int, ...]], Any]] = {
    "any": lambda random, shape: random.uniform(0.2, 0.9, shape) * random.choice([-1.0, 1.0], shape),
    "positive": lambda random, shape: random.uniform(0.3, 2.0, shape),
    "above 1": lambda random, shape: random.uniform(1.2, 2.0, shape),
    "spread": lambda random, shape: (random.permutation(math.prod(shape)).reshape(shape) - 1.3) * 0.37,
    "matrix": lambda random, shape: random.uniform(-1.0, 1.0, shape) + 2.0 * np.eye(*shape[-2:]),
}

BROADCAST = (((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (2,)), ((0, 3), (3,)), ((2, 0), (1, 1)))


def symmetric(xp: Backend, x: Any) -> Any:
    return x + xp.matrix_transpose(x)


def positive_definite(xp: Backend, x: Any) -> Any:
    return x @ xp.matrix_transpose(x) + xp.eye(x.shape[-1], dtype=x.dtype)


def complex_of(xp: Backend, x: Any) -> Any:
    """Return complex numbers whose real and imaginary parts both vary with x."""
    wide = xp.complex64 if x.dtype == xp.float32 else xp.complex128
    return xp.astype(x, wide) + xp.astype(xp.flip(x, axis=-1) * x, wide) * 1j


def parts(xp: Backend, z: Any) -> Any:
    """Return real and imaginary parts, as one real array."""
    return xp.stack([xp.real(z), 3.0 * xp.imag(z)])


def unary(word: str, domain: str = "any", *, twice: bool = True) -> list[Case]:
    def function(xp: Backend, x: Any) -> Any:
        return getattr(xp, word)(x)

    return [Case(word, function, (shape,), domain, twice) for shape in ((3, 4), (), (0, 3))]


def binary(word: str, domain: str = "any", *, scalars: bool = True) -> list[Case]:
    def function(xp: Backend, a: Any, b: Any) -> Any:
        return getattr(xp, word)(a, b)

    def right(xp: Backend, a: Any) -> Any:
        return getattr(xp, word)(a, 1.1)

    def left(xp: Backend, b: Any) -> Any:
        return getattr(xp, word)(1.1, b)

    found = [Case(word, function, shapes, domain) for shapes in BROADCAST]
    if scalars:
        found += [Case(word, f, ((3, 4),), domain, note=note) for f, note in ((left, "1.1, b"), (right, "a, 1.1"))]
    return found


def along(word: str, domain: str = "any", **variants: dict[str, Any]) -> list[Case]:
    """Reductions and the like: each variant is the keywords that it gives."""

    def made(name: str, kwargs: dict[str, Any], shape: tuple[int, ...]) -> Case:
        return Case(word, lambda xp, x: getattr(xp, word)(x, **kwargs), (shape,), domain, note=name)

    shapes = ((2, 3, 4),)
    return [made(name, kwargs, shape) for name, kwargs in variants.items() for shape in shapes]


_AXES = {
    **{"all": {}, "first": {"axis": 0}, "last": {"axis": -1, "keepdims": True}, "two": {"axis": (0, -1)}},
    "two kept": {"axis": (1, 2), "keepdims": True},
}


def one(word: str, function: Callable[..., Any], *shapes: tuple[int, ...], **kwargs: Any) -> Case:
    return Case(word, function, shapes, **kwargs)


def transform(word: str, *shapes: tuple[int, ...], real: bool, variants: tuple[dict[str, Any], ...]) -> list[Case]:
    """A Fourier transform of real or complex numbers."""

    def made(kwargs: dict[str, Any], shape: tuple[int, ...]) -> Case:
        def function(xp: Backend, x: Any) -> Any:
            z = getattr(xp.fft, word)(x if real else complex_of(xp, x), **kwargs)
            return z if z.dtype in (xp.float32, xp.float64) else parts(xp, z)

        # The standard says that fft takes complex numbers; NumPy takes real ones too.
        backends = ("numpy",) if real and word == "fft" else ("numpy", "strict", "cupy", "torch")
        note = " ".join(f"{name}={value}" for name, value in kwargs.items())
        return Case(f"fft.{word}", function, (shape,), note=note, backends=backends)

    return [made(kwargs, shape) for shape in shapes for kwargs in variants]


_ONE_AXIS = ({}, {"n": 3}, {"n": 8, "norm": "ortho"}, {"axis": 0, "norm": "forward"})
_MORE_AXES = ({}, {"s": (2, 5), "axes": (0, 1)}, {"axes": (1,), "norm": "ortho"}, {"axes": (1, 0), "norm": "forward"})

CASES: list[Case] = [
    # Elementwise.
    *(case for word in ("abs", "asinh", "atan", "conj", "cos", "cosh", "erfc", "exp", "expm1") for case in unary(word)),
    *(case for word in ("acos", "asin", "atanh", "negative", "positive", "real", "reciprocal") for case in unary(word)),
    *(case for word in ("sigmoid", "sin", "sinh", "softplus", "square", "tan", "tanh") for case in unary(word)),
    *(case for word in ("log", "log10", "log1p", "log2", "sqrt") for case in unary(word, "positive")),
    *unary("acosh", "above 1"),
    *(case for word in ("add", "subtract", "multiply", "divide", "hypot", "logaddexp") for case in binary(word)),
    *(case for word in ("atan2", "copysign", "maximum", "minimum", "remainder") for case in binary(word)),
    *binary("pow", "positive"),
    one("pow", lambda xp, a: a**2 + a**3 - a**1 + a**0, (3, 4), note="integers"),
    one("pow", lambda xp, a: a**-2.0, (3, 4), note="negative"),
    one("imag", lambda xp, x: xp.imag(complex_of(xp, x)), (3, 4)),
    one("real", lambda xp, x: xp.real(complex_of(xp, x) * complex_of(xp, x)), (3, 4), note="complex"),
    one("conj", lambda xp, x: parts(xp, xp.conj(complex_of(xp, x)) * complex_of(xp, x * x)), (3, 4), note="complex"),
    one("abs", lambda xp, x: xp.abs(complex_of(xp, x)), (3, 4), note="complex", twice=False),
    one("exp", lambda xp, x: parts(xp, xp.exp(complex_of(xp, x)) / complex_of(xp, x * x)), (3, 4), note="complex"),
    one("where", lambda xp, x, a, b: xp.where(x > 0, a, b), (3, 4), (4,), (3, 1)),
    one("where", lambda xp, x, a: xp.where(x > 0, a, 0.5) + xp.where(x > 0.5, 0.5, x), (3, 4), (4,), note="numbers"),
    one("clip", lambda xp, x: xp.clip(x, -0.5, 0.6), (3, 4)),
    one("clip", lambda xp, x: xp.clip(x, max=0.1) + xp.clip(x, min=0.1), (3, 4), note="one bound"),
    one("clip", lambda xp, x, a, b: xp.clip(x, min=a - 1.2, max=b + 1.2), (3, 4), (4,), (3, 1), note="arrays"),
    one("astype", lambda xp, x: xp.astype(xp.astype(x, xp.float64) * 2.0, x.dtype) * x, (3, 4)),
    # Reductions.
    *(case for word in ("sum", "mean", "prod") for case in along(word, **_AXES)),
    *(case for word in ("max", "min") for case in along(word, "spread", **_AXES)),
    *(case for word in ("var", "std") for case in along(word, **_AXES, corrected={"axis": 1, "correction": 1})),
    *(case for word in ("sum", "mean", "prod") for case in along(word, none={"axis": ()})),
    *(
        one(word, lambda xp, x, word=word: getattr(xp, word)(x, axis=1), (0, 3), domain="spread", note="empty")
        for word in ("sum", "mean", "prod", "max", "min", "var")
    ),
    one("prod", lambda xp, x: xp.prod(x * xp.astype(xp.arange(4) > 0, x.dtype), axis=1), (3, 4), note="a zero"),
    *along("cumulative_sum", axis={"axis": 1}, initial={"axis": -1, "include_initial": True}),
    *along("cumulative_prod", axis={"axis": 1}, initial={"axis": -1, "include_initial": True}),
    one("cumulative_sum", lambda xp, x: xp.cumulative_sum(x), (5,)),
    one("cumulative_prod", lambda xp, x: xp.cumulative_prod(x), (5,)),
    *along("diff", last={}, first={"axis": 0}, second={"n": 2}),
    one("diff", lambda xp, x, a, b: xp.diff(x, prepend=a, append=b, n=2), (3, 4), (3, 1), (3, 2), note="edges"),
    one("diff", lambda xp, x, b: xp.diff(x, append=b, axis=0), (3, 4), (1, 4), note="append"),
    *along("softmax", last={}, first={"axis": 0}),
    *along("log_softmax", last={}, first={"axis": 0}),
    one("softmax", lambda xp, x: xp.softmax(x, axis=(0, 2)), (2, 3, 4), note="axes", backends=("numpy",)),
    one("log_softmax", lambda xp, x: xp.log_softmax(x, axis=(0, 2)), (2, 3, 4), note="axes", backends=("numpy",)),
    # Moving elements.
    one("broadcast_to", lambda xp, x: xp.broadcast_to(x, (2, 3, 4)), (3, 1)),
    one("broadcast_arrays", lambda xp, a, b: xp.stack(list(xp.broadcast_arrays(a, b, a * b))), (3, 1), (4,)),
    one("reshape", lambda xp, x: xp.reshape(x, (4, 3)), (3, 4)),
    one("reshape", lambda xp, x: xp.reshape(x, (0,)), (0, 4), note="empty"),
    one("expand_dims", lambda xp, x: xp.expand_dims(x, axis=1), (3, 4)),
    one("squeeze", lambda xp, x: xp.squeeze(x, axis=(0, 2)), (1, 3, 1)),
    one("permute_dims", lambda xp, x: xp.permute_dims(x, (2, 0, 1)), (2, 3, 4)),
    one("matrix_transpose", lambda xp, x: xp.matrix_transpose(x), (2, 3, 4)),
    one("linalg.matrix_transpose", lambda xp, x: xp.linalg.matrix_transpose(x), (2, 3, 4)),
    one("moveaxis", lambda xp, x: xp.moveaxis(x, 0, 2), (2, 3, 4)),
    one("moveaxis", lambda xp, x: xp.moveaxis(x, (0, 1), (1, 2)), (2, 3, 4), note="several"),
    *along("flip", all={}, last={"axis": -1}),
    one("roll", lambda xp, x: xp.roll(x, 5), (3, 4)),
    one("roll", lambda xp, x: xp.roll(x, (1, -2), axis=(0, 1)), (3, 4), note="axes"),
    one("tril", lambda xp, x: xp.tril(x, k=-1), (2, 3, 4)),
    one("triu", lambda xp, x: xp.triu(x), (4, 3)),
    one("repeat", lambda xp, x: xp.repeat(x, 2, axis=1), (3, 4)),
    one("tile", lambda xp, x: xp.tile(x, (2, 1, 3)), (3, 4)),
    one("take", lambda xp, x: xp.take(x, xp.asarray([2, 0, 2]), axis=1), (3, 4)),
    one("take", lambda xp, x: xp.take(x, xp.asarray([2, 0, 2])), (3,), note="flat"),
    one("take_along_axis", lambda xp, x: xp.take_along_axis(x, xp.argsort(-x, axis=0), axis=0), (3, 4)),
    one("sort", lambda xp, x: xp.sort(x, axis=0), (3, 4), domain="spread"),
    one("sort", lambda xp, x: xp.sort(x, descending=True), (3, 4), domain="spread", note="descending"),
    one("scatter_add", lambda xp, v: xp.scatter_add(xp.asarray([2, 0, 2]), v, 4), (3,)),
    one("concat", lambda xp, a, b: xp.concat([a, b, a], axis=1), (3, 2), (3, 4)),
    one("concat", lambda xp, a, b: xp.concat((a, b), axis=None), (3, 2), (4,), note="flat"),
    one("concat", lambda xp, a, b: xp.concat((a, b)), (0, 2), (3, 2), note="empty"),
    one("stack", lambda xp, a, b: xp.stack([a, b, a * b], axis=1), (3, 4), (3, 4)),
    one("unstack", lambda xp, x: xp.unstack(x, axis=1)[1] * xp.unstack(x, axis=1)[0], (3, 4)),
    one("unstack", lambda xp, x: xp.unstack(x)[0], (1, 4), note="one"),
    one("meshgrid", lambda xp, a, b: xp.multiply(*xp.meshgrid(a, b)), (3,), (4,)),
    one("meshgrid", lambda xp, a, b, c: xp.stack(xp.meshgrid(a, b, c, indexing="ij")), (3,), (4,), (2,), note="ij"),
    one("getitem", lambda xp, x: x[1, ...], (3, 4), note="integer"),
    one("getitem", lambda xp, x: x[..., ::2] + x[:, None, 1:3], (4, 4), note="slices"),
    # PyTorch's arrays take no steps backwards.
    one("getitem", lambda xp, x: x[..., ::-2], (4, 4), note="backwards", backends=("numpy", "strict", "cupy")),
    one("getitem", lambda xp, x: x[-1, ..., None], (3, 4, 2), note="ellipsis"),
    one("getitem", lambda xp, x: x[xp.asarray([0, 2, 2]), xp.asarray([1, 1, 3])], (3, 4), note="integers"),
    one("getitem", lambda xp, x: x[x > 0], (3, 4), note="mask"),
    one("getitem", lambda xp, x: x[1:1, :], (3, 4), note="empty"),
    one("getitem", lambda xp, x: x[()] * x, (), note="scalar"),
    # Products.
    *(
        one(word, lambda xp, a, b, word=word: (xp.linalg if word[:7] == "linalg." else xp).matmul(a, b), *shapes)
        for word, shapes in (
            *(("matmul", s) for s in (((3, 4), (4, 2)), ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)))),
            *(("matmul", s) for s in (((2, 3, 4), (4, 2)), ((3, 4), (5, 4, 2)), ((2, 1, 3, 4), (5, 4, 2)))),
            *(("matmul", s) for s in (((0, 4), (4, 2)), ((3, 0), (0, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)))),
            ("linalg.matmul", ((2, 3, 4), (4, 2))),
        )
    ),
    one("vecdot", lambda xp, a, b: xp.vecdot(a, b), (3, 4), (4,)),
    one("vecdot", lambda xp, a, b: xp.vecdot(a, b, axis=-2), (3, 4), (3, 1), note="axis"),
    one("vecdot", lambda xp, x: parts(xp, xp.vecdot(complex_of(xp, x), complex_of(xp, x * x))), (3, 4), note="complex"),
    one("linalg.vecdot", lambda xp, a, b: xp.linalg.vecdot(a, b), (3, 4), (3, 4)),
    one("tensordot", lambda xp, a, b: xp.tensordot(a, b), (2, 3, 4), (3, 4, 2)),
    one("tensordot", lambda xp, a, b: xp.tensordot(a, b, axes=((0, 2), (1, 0))), (2, 3, 4), (4, 2, 5), note="axes"),
    one("tensordot", lambda xp, a, b: xp.tensordot(a, b, axes=0), (2,), (3,), note="outer"),
    one("linalg.tensordot", lambda xp, a, b: xp.linalg.tensordot(a, b, axes=1), (2, 3), (3, 4)),
    one("linear", lambda xp, x, k, b: xp.linear(x, k, b), (5, 3), (3, 2), (2,)),
    one("linear", lambda xp, x, k, b: xp.linear(x, k, bias=b), (2, 5, 3), (3, 2), (2,), note="bias="),
    one("linear", lambda xp, x, k: xp.linear(x, k), (0, 3), (3, 2), note="no bias"),
    one(
        "linear_grad",
        lambda xp, x, k, dy: xp.concat([xp.reshape(part, (-1,)) for part in xp.linear_grad(x, k, dy)]),
        *((2, 5, 3), (3, 2), (2, 5, 2)),
    ),
    one("linear_grad", lambda xp, x, k, dy: xp.linear_grad(x, k, dy, input_gradient=False)[1], (5, 3), (3, 2), (5, 2)),
    *(
        one("einsum", lambda xp, *x, subscripts=subscripts: xp.einsum(subscripts, *x), *shapes, note=subscripts)
        for subscripts, *shapes in (
            *(("ij,jk->ik", (3, 4), (4, 2)), ("ba,cb", (3, 4), (2, 3)), ("i,j->ij", (3,), (2,)), ("ij->ji", (3, 4))),
            *(("ij->j", (3, 4)), ("ij->", (3, 4)), ("ij,k->j", (3, 4), (2,)), ("ii", (3, 3)), ("ii->i", (3, 3))),
            *(("iji,j->j", (3, 2, 3), (2,)), ("iii,i->", (3, 3, 3), (3,)), (",ij->ij", (), (2, 3))),
            *(("...ij,...jk->...ik", (2, 1, 3, 4), (5, 4, 2)), ("i...,i...", (3, 2, 4), (3, 4)), ("...->...", (2, 3))),
            *(("bhqd,bhkd->bhqk", (2, 3, 4, 2), (2, 3, 5, 2)), ("ijk,kl,jm->ilm", (2, 3, 4), (4, 2), (3, 3))),
            *(("ij,jk->ik", (3, 1), (4, 2)), ("ij,ij->j", (1, 4), (3, 4)), ("ij,jk->ik", (0, 4), (4, 2))),
            *(("ij,jk->ik", (3, 0), (0, 2)), ("ij,ij->i", (3, 4), (3, 4)), ("bii,bj,c->bj", (2, 3, 3), (2, 2), (4,))),
        )
    ),
    # Linear algebra.
    one("linalg.inv", lambda xp, x: xp.linalg.inv(x), (2, 3, 3), domain="matrix"),
    one("linalg.solve", lambda xp, a, b: xp.linalg.solve(a, b + 1.0), (3, 3), (3, 2), domain="matrix"),
    one("linalg.solve", lambda xp, a, b: xp.linalg.solve(a, b[0, :]), (3, 3), (1, 3), domain="matrix", note="vector"),
    one("linalg.solve", lambda xp, a, b: xp.linalg.solve(a, b), (2, 3, 3), (3, 2), domain="matrix", note="broadcast"),
    one("linalg.det", lambda xp, x: xp.linalg.det(x), (2, 3, 3), domain="matrix"),
    one("linalg.slogdet", lambda xp, x: xp.linalg.slogdet(x)[1], (2, 3, 3), domain="matrix"),
    one("linalg.cholesky", lambda xp, x: xp.linalg.cholesky(positive_definite(xp, x)), (2, 3, 3), domain="matrix"),
    one(
        *("linalg.cholesky", lambda xp, x: xp.linalg.cholesky(positive_definite(xp, x), upper=True), (3, 3)),
        note="upper",
    ),
    one("linalg.eigvalsh", lambda xp, x: xp.linalg.eigvalsh(symmetric(xp, x)), (2, 3, 3)),
    one("linalg.eigh", lambda xp, x: xp.linalg.eigh(symmetric(xp, x))[1] ** 2, (2, 3, 3), note="vectors"),
    one(
        *("linalg.eigh", lambda xp, x: xp.multiply(*_eigen(xp, symmetric(xp, x))), (3, 3)),
        note="both",
    ),
    *(
        one("linalg.qr", lambda xp, x, n=n: xp.linalg.qr(x)[n], shape, note="QR"[n])
        for n in (0, 1)
        for shape in ((2, 4, 3), (3, 3), (2, 3, 5))
    ),
    one("linalg.qr", lambda xp, x: xp.linalg.qr(x, mode="complete")[1], (3, 4), note="complete"),
    *(
        one("linalg.svd", lambda xp, x, n=n: xp.linalg.svd(x, full_matrices=False)[n] ** 2, shape, note="USV"[n])
        for n in (0, 1, 2)
        for shape in ((2, 4, 3), (3, 3), (3, 4))
    ),
    one("linalg.svd", lambda xp, x: _product(xp, *xp.linalg.svd(x)), (3, 3), note="full"),
    one("linalg.svdvals", lambda xp, x: xp.linalg.svdvals(x), (2, 4, 3)),
    one("linalg.pinv", lambda xp, x: xp.linalg.pinv(x), (2, 4, 3)),
    one("linalg.pinv", lambda xp, x: xp.linalg.pinv(x), (2, 3), note="wide"),
    *(
        one(
            "linalg.matrix_power",
            lambda xp, x, n=n: xp.linalg.matrix_power(x, n) * x,
            (2, 3, 3),
            domain="matrix",
            note=f"{n}",
        )
        for n in (-2, 0, 1, 3)
    ),
    *(
        one(
            "linalg.matrix_norm",
            lambda xp, x, order=order: xp.linalg.matrix_norm(x, ord=order),
            (2, 4, 3),
            note=f"{order}",
        )
        for order in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)
    ),
    one("linalg.matrix_norm", lambda xp, x: x / xp.linalg.matrix_norm(x, ord=1, keepdims=True), (2, 4, 3), note="kept"),
    *(
        one(
            "linalg.vector_norm",
            lambda xp, x, order=order: xp.linalg.vector_norm(x, axis=1, ord=order),
            (3, 4),
            note=f"{order}",
        )
        for order in (1, 2, 3, 0.5, -1, math.inf, -math.inf)
    ),
    one("linalg.vector_norm", lambda xp, x: x / xp.linalg.vector_norm(x, keepdims=True), (3, 4), note="all"),
    one("linalg.vector_norm", lambda xp, x: xp.linalg.vector_norm(x, axis=(0, 2)), (3, 4, 2), note="axes"),
    one("linalg.trace", lambda xp, x: xp.linalg.trace(x, offset=1), (2, 3, 4)),
    one("linalg.diagonal", lambda xp, x: xp.linalg.diagonal(x, offset=-1), (2, 3, 4)),
    one("linalg.outer", lambda xp, a, b: xp.linalg.outer(a, b), (3,), (4,)),
    one("linalg.cross", lambda xp, a, b: xp.linalg.cross(a, b), (2, 3), (2, 3)),
    one("linalg.cross", lambda xp, a, b: xp.linalg.cross(a, b, axis=-2), (4, 3, 2), (3, 2), note="axis"),
    # Fourier transforms.
    *(case for word in ("fft", "ifft") for case in transform(word, (5, 4), real=False, variants=_ONE_AXIS)),
    *transform("fft", (3, 4), real=True, variants=({},)),
    *(case for word in ("rfft", "ihfft") for case in transform(word, (5, 4), (5, 5), real=True, variants=_ONE_AXIS)),
    *(case for word in ("irfft", "hfft") for case in transform(word, (5, 4), real=False, variants=_ONE_AXIS)),
    *(case for word in ("fftn", "ifftn") for case in transform(word, (3, 4), real=False, variants=_MORE_AXES)),
    *transform("rfftn", (3, 4), (3, 5), real=True, variants=_MORE_AXES),
    *transform("irfftn", (3, 4), real=False, variants=_MORE_AXES),
    *(
        one(
            f"fft.{word}",
            lambda xp, x, word=word, axes=axes: getattr(xp.fft, word)(x, axes=axes),
            (3, 4),
            note=f"{axes}",
        )
        for word in ("fftshift", "ifftshift")
        for axes in (None, 1)
    ),
]


def _eigen(xp: Backend, x: Any) -> tuple[Any, Any]:
    values, vectors = xp.linalg.eigh(x)
    return vectors * vectors, values


def _product(xp: Backend, u: Any, s: Any, vh: Any) -> Any:
    return u * s @ vh + u**2 + s + vh**2
