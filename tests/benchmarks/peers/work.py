"""What is measured: the same networks, data and initial weights for every contender."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Work:
    """A job and its size.

    With one output, layers end in a sigmoid and the loss is the mean squared error. With more, there is a ReLU between
    layers, and the loss is the softmax crossentropy of classes, from logits.

    Attributes:
        job: "fit"; "step", the training step alone, on one batch; "predict"; "build", which makes, compiles and fits
            `repeats` models for an epoch; "blas", the matrix products of "fit" alone; "orthogonalize", those of
            Muon's update alone; or "layer", which goes forward and backward through `normalization` alone.
        widths: of the input, and of each layer.
        rows: of the data.
        batch_size: rows a step.
        epochs: of one fit.
        optimizer: Keras's name of a class.
        learning_rate: the optimizer's.
        repeats: of the job, in one run.
        normalization: Keras's name of a layer that stands between a layer and its activation, or alone; "" for none.
    """

    job: str
    widths: tuple[int, ...]
    rows: int
    batch_size: int
    epochs: int = 1
    optimizer: str = "SGD"
    learning_rate: float = 0.01
    repeats: int = 1
    normalization: str = ""

    @property
    def units(self) -> int:
        """What the time of a run is divided by: the steps of training, else the number of repeats."""
        if self.job in ("fit", "blas", "orthogonalize"):
            return self.epochs * (self.rows // self.batch_size)
        return self.repeats

    @property
    def classifies(self) -> bool:
        """Whether the targets are classes."""
        return self.widths[-1] > 1

    @cached_property
    def data(self) -> tuple[Floats, NDArray[np.float32] | NDArray[np.int64]]:
        """The inputs and the targets."""
        if not self.classifies:
            return (
                np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], "float32"),
                np.array([[0], [1], [1], [0]], "float32"),
            )
        rng = np.random.default_rng(0)
        x = rng.standard_normal((self.rows, self.widths[0]), "float32")
        return x, rng.integers(0, self.widths[-1], self.rows)

    @cached_property
    def weights(self) -> list[Floats]:
        """Kernel (inputs, outputs) and bias of each layer in turn."""
        rng = np.random.default_rng(1)
        weights: list[Floats] = []
        for inputs, outputs in itertools.pairwise(self.widths):
            weights += [
                (rng.standard_normal((inputs, outputs)) * np.sqrt(2 / (inputs + outputs))).astype("float32"),
                np.zeros(outputs, "float32"),
            ]
        return weights

    @cached_property
    def passes(self) -> tuple[Floats, Floats]:
        """What goes forward through a layer alone, and what comes back."""
        rng = np.random.default_rng(2)
        shape = self.batch_size, self.widths[0]
        return 1 + rng.standard_normal(shape, "float32"), rng.standard_normal(shape, "float32")

    @property
    def beginning(self) -> tuple[Floats, NDArray[np.float32] | NDArray[np.int64]]:
        """The first four batches, on which contenders show that they compute the same."""
        x, y = self.data
        return x[: 4 * self.batch_size], y[: 4 * self.batch_size]

    def orders(self, seed: int = 0) -> Iterator[list[NDArray[np.int32]]]:
        """Yield the rows of the batches of each epoch, shuffled; for those who write their own loop."""
        rng = np.random.default_rng(seed)
        starts = range(0, self.rows - self.batch_size + 1, self.batch_size)
        while True:
            order = rng.permutation(self.rows).astype("int32")
            yield [order[start : start + self.batch_size] for start in starts]


CHECKED_EPOCHS = 2


class Job(Protocol):
    """What a contender does. It is made with a `Work`."""

    def check(self) -> list[float]:
        """Return numbers on which all contenders must agree: mean losses of first epochs in order, or outputs."""
        ...

    def run(self) -> None:
        """Do the work once, to the end: nothing may be under way on return."""
        ...
