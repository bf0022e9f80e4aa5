"""The table: what is measured, against whom, and the ratio to reach."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from layerkit import optimizers
from tests.benchmarks.peers.work import Work

if TYPE_CHECKING:
    from collections.abc import Iterator

PEERS = {
    "layerkit": "layerkit",
    "numpy": "NumPy by hand",
    "jax": "`jax.jit` by hand",
    "keras": "Keras on JAX",
    "sklearn": "scikit-learn's `MLPClassifier`",
    "torch": "PyTorch eager",
    "torch_fused": "PyTorch eager, `fused=True`",
}
"""The modules ``with_…`` of this package, and what the table calls them."""

NEEDS = {
    "layerkit": (),
    "numpy": (),
    "jax": ("jax",),
    "keras": ("keras", "jax"),
    "sklearn": ("scikit-learn",),
    "torch": ("torch",),
    "torch_fused": ("torch",),
}
"""The packages that a contender needs, beside NumPy."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        group: what ``--only`` chooses by.
        label: the work, in words.
        ours: what layerkit does.
        peer: the other's module.
        theirs: what the other does.
        reach: the bound on the ratio of our time to theirs, in words, "" where there is none.
        against: the other, in words, if that is not its name.
        quantity: "time"; "memory", the largest resident set of a process that does the work; "share", whose ratio is
            theirs to ours.
        pairs: at most so many, where a pair takes long.
    """

    group: str
    label: str
    ours: Work
    peer: str
    theirs: Work
    reach: str = ""
    against: str = ""
    quantity: Literal["time", "memory", "share"] = "time"
    pairs: int = 1_000


def rows(*, short: bool = False) -> Iterator[Row]:
    """Yield all lines; with `short`, the same lines over sizes that take no time."""
    yield from xor(short=short)
    yield from mlp(short=short)
    yield from predict(short=short)
    yield from build(short=short)
    yield from memory(short=short)
    yield from each_optimizer(short=short)
    yield from normalization(short=short)


def xor(*, short: bool) -> Iterator[Row]:
    """Yield the lines of the smallest network."""
    work = Work("fit", (3, 4, 1), 4, 4, epochs=4 if short else 500, learning_rate=1.0)
    label = "XOR 3-4-1, full batch, `fit`, an epoch of one step"
    yield Row("xor", label, work, "numpy", work, "≤ 1.0")
    yield Row("xor", label, work, "keras", work, "≤ 1/25", pairs=15)
    yield Row("xor", label, work, "torch", work)
    step = replace(work, job="step", epochs=1, repeats=work.epochs)
    yield Row("xor", "XOR 3-4-1, the step alone", step, "jax", step, "≤ 1.0", "`jax.jit` by hand, state donated")


def mlp(*, short: bool) -> Iterator[Row]:
    """Yield the lines of ordinary networks."""
    sizes = ((512, 128, "≤ 0.9"), (512, 32, "≤ 1.0"), (512, 1024, "≤ 1.0"), (64, 128, "≤ 1.0"), (2048, 128, "≤ 1.0"))
    for width, batch_size, reach in sizes:
        for optimizer, rate in (("SGD", 0.01), ("Adam", 0.0001)):
            steps = 2 if short else min(100, max(6, 6400 // batch_size)) if width < 2048 else 15
            rows, inputs, units, batch = steps * batch_size, 784, width, batch_size
            if short:
                rows, inputs, units, batch = 8, 6, 5, 4
            work = Work(
                "fit", (inputs, units, units, 10), rows, batch, 1 if short else 3, optimizer, learning_rate=rate
            )
            label = f"MLP 784-{width}-{width}-10, batch {batch_size}, {optimizer}, `fit`, a step"
            group = f"mlp-{width}-{batch_size}-{optimizer.lower()}"
            for peer in ("jax", "torch", "keras"):
                yield Row(group, label, work, peer, work, reach)
            yield Row(group, label, work, "torch_fused", work)
            yield Row(group, label, work, "numpy", work, against="NumPy planned by hand")
            if (width, batch_size) == (512, 128):
                yield Row(group, label, work, "sklearn", work)
                yield Row(
                    group,
                    f"MLP 784-{width}-{width}-10, batch {batch_size}, {optimizer}, share of the step in BLAS",
                    work,
                    "numpy",
                    replace(work, job="blas"),
                    "≥ 0.85",
                    "the matrix products alone",
                    "share",
                )


def predict(*, short: bool) -> Iterator[Row]:
    """Yield the lines of `predict`."""
    widths = (6, 5, 5, 10) if short else (784, 512, 512, 10)
    one = Work("predict", widths, 1, 32, repeats=2 if short else 20)
    many = Work("predict", widths, 12 if short else 100_000, 8 if short else 1024)
    for group, rows, work, bound in (
        ("predict-1", "one row", one, "≤ 1/20"),
        ("predict-100000", "100,000 rows, batch 1024", many, "≤ 1.0"),
    ):
        label = f"MLP 784-512-512-10, `predict` of {rows}"
        yield Row(group, label, work, "keras", work, bound)
        yield Row(group, label, work, "torch", work, "≤ 1.0")


def build(*, short: bool) -> Iterator[Row]:
    """Yield the line of a model's first second."""
    work = Work("build", (3, 4, 1), 4, 4, repeats=2 if short else 20)
    yield Row("build", "3-4-1, build, compile and `fit` for an epoch", work, "keras", work, "≤ 1/100", pairs=7)


def memory(*, short: bool) -> Iterator[Row]:
    """Yield the line of peak memory."""
    work = Work("fit", (784, 512, 512, 10), 256 if short else 6400, 128, optimizer="Adam", learning_rate=0.001)
    label = "MLP 784-512-512-10, batch 128, Adam, `fit`, peak memory of the process"
    yield Row("memory", label, work, "torch", work, "≤ 1/3", quantity="memory", pairs=7)
    yield Row("memory", label, work, "numpy", work, "", "NumPy planned by hand", quantity="memory", pairs=7)


def each_optimizer(*, short: bool) -> Iterator[Row]:
    """Yield a line for each optimizer, whose step is compared with that of plain SGD."""
    widths = (6, 5, 5, 10) if short else (784, 512, 512, 10)
    sgd = Work("fit", widths, 8 if short else 3200, 4 if short else 128, learning_rate=1e-4)
    for name in optimizers.__all__:
        # The last take whole data sets, or are made of optimizers.
        others = ("Optimizer", "SGD", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap")
        if isinstance(getattr(optimizers, name), type) and name not in (*others, "LBFGS", "LevenbergMarquardt"):
            label = f"MLP 784-512-512-10, batch 128, {name}, `fit`, a step"
            work = replace(sgd, optimizer=name)
            yield Row("optimizers", label, work, "layerkit", sgd, "≤ 1.3", "the same with SGD")
            if name == "Muon":
                products = replace(work, job="orthogonalize")
                yield Row("optimizers", label, work, "numpy", products, against="the products of its update alone")


def normalization(*, short: bool) -> Iterator[Row]:
    """Yield the lines of layers that normalize, alone and in a network."""
    for name in ("BatchNormalization", "LayerNormalization"):
        for rows, width in ((32, 64), (128, 512), (1024, 1024)):
            batch, features, repeats = (4, 5, 2) if short else (rows, width, max(1, (1 << 21) // (rows * width)))
            work = Work("layer", (features,), batch, batch, repeats=repeats, normalization=name)
            label = f"{name} of ({rows}, {width}), forward and backward"
            yield Row("normalization", label, work, "torch", work, "≤ 1.0")
        widths = (6, 5, 5, 10) if short else (784, 512, 512, 10)
        work = Work("fit", widths, 8 if short else 3200, 4 if short else 128, normalization=name)
        label = f"MLP 784-512-512-10, batch 128, with {name}, SGD, `fit`, a step"
        yield Row("normalization", label, work, "torch", work, "≤ 1.0")
