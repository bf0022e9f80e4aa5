"""What a person writes in NumPy alone: the tutorials' lines for one output, every buffer planned for classes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from tests.benchmarks.handwritten import Xor
from tests.benchmarks.peers.work import CHECKED_EPOCHS
from tests.benchmarks.planned import PlannedMlp

if TYPE_CHECKING:
    from tests.benchmarks.peers.work import Floats, Job, Work


class TutorialFit:
    """Train as the tutorials do, every batch the same."""

    def __init__(self, work: Work) -> None:
        self.work, self.script = work, Xor(*work.data)
        self.script.w1, self.script.b1, self.script.w2, self.script.b2 = (weight.copy() for weight in work.weights)

    def check(self) -> list[float]:
        return [float(self.script.train(1, self.work.learning_rate)) for _ in range(CHECKED_EPOCHS)]

    def run(self) -> None:
        self.script.train(self.work.epochs * self.work.repeats, self.work.learning_rate)


class PlannedFit:
    """Train with nothing allocated, batches shuffled."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.script = self.planned(*work.data)

    def planned(self, x: Floats, y: np.ndarray) -> PlannedMlp:
        work = self.work
        return PlannedMlp(x, y, work.weights, work.batch_size, work.optimizer.lower(), work.learning_rate)

    def check(self) -> list[float]:
        script = self.planned(*self.work.beginning)
        return [script.train(shuffle=False) for _ in range(CHECKED_EPOCHS)]

    def run(self) -> None:
        for _ in range(self.work.epochs):
            self.script.train()


class Products:
    """The matrix products of training alone: each layer's output, and the gradients of its kernel and its input."""

    def __init__(self, work: Work) -> None:
        rng = np.random.default_rng(0)

        def array(*shape: int) -> Floats:
            return rng.standard_normal(shape, "float32")

        self.work = work
        rows = work.batch_size
        x, *others = (array(rows, width) for width in work.widths)
        upstream = [np.empty_like(h) for h in (x, *others)]
        self.products: list[tuple[Floats, Floats, Floats]] = []
        for layer, (h, y) in enumerate(itertools.pairwise([x, *others])):
            kernel, dy = array(h.shape[1], y.shape[1]), array(*y.shape)
            self.products += [(h, kernel, y), (h.T, dy, np.empty_like(kernel))]
            if layer:  # nobody asks for the gradient of the data
                self.products.append((dy, kernel.T, upstream[layer]))

    def check(self) -> list[float]:
        return []

    def run(self) -> None:
        for _ in range(self.work.units):
            for a, b, out in self.products:
                np.matmul(a, b, out=out)


class Orthogonalization:
    """The matrix products of Muon's update alone: five steps of Newton and Schulz's for each kernel."""

    def __init__(self, work: Work) -> None:
        self.work = work
        rng = np.random.default_rng(0)
        self.matrices: list[tuple[Floats, Floats, Floats, Floats]] = []
        for shape in itertools.pairwise(work.widths):
            x = rng.standard_normal((min(shape), max(shape)), "float32")
            x /= np.linalg.norm(x)
            self.matrices.append((x, x @ x.T, np.empty((len(x), len(x)), "float32"), np.empty_like(x)))

    def check(self) -> list[float]:
        return []

    def run(self) -> None:
        for _ in range(self.work.units):
            for x, gram, square, out in self.matrices:
                for _ in range(5):
                    np.matmul(x, x.T, out=gram)
                    np.matmul(gram, gram, out=square)
                    np.matmul(square, x, out=out)


def fit(work: Work) -> Job:
    """Return the script for this network."""
    return PlannedFit(work) if work.classifies else TutorialFit(work)


JOBS = {"fit": fit, "blas": Products, "orthogonalize": Orthogonalization}
