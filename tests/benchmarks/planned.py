"""The best that a person could write in NumPy alone: every buffer allocated once, ``out=`` everywhere, tiles in cache.

Nobody writes this. It is the limit that a planned program is measured against, and shows what is left to gain.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

TILE = 16_384
"""Elements of a flat vector that one pass of an optimizer goes over: 64 KiB, so that a handful stay in cache."""


class PlannedMlp:
    """Dense layers with ReLU in between, softmax crossentropy, minibatches in shuffled order, SGD or Adam.

    Args:
        x: inputs, whose number is a multiple of the batch size.
        labels: the classes.
        weights: kernel and bias of each layer in turn.
        batch_size: rows a step.
        optimizer: "sgd" or "adam", with the constants of Kingma and Ba.
        learning_rate: the step's.
    """

    def __init__(
        self,
        x: Floats,
        labels: NDArray[np.int64],
        weights: Sequence[Floats],
        batch_size: int,
        optimizer: str,
        learning_rate: float,
    ) -> None:
        self.rng, self.x, self.labels, self.batch_size = np.random.default_rng(0), x, labels, batch_size
        self.parameters = np.concatenate([weight.ravel() for weight in weights])
        self.gradients = np.zeros_like(self.parameters)
        self.kernels, self.biases = _layers(self.parameters, weights)
        self.kernel_gradients, self.bias_gradients = _layers(self.gradients, weights)
        widths = [kernel.shape[1] for kernel in self.kernels]
        self.batch = np.empty((batch_size, x.shape[1]), "float32")
        self.outputs = [np.empty((batch_size, width), "float32") for width in widths]
        self.upstream = [np.empty((batch_size, width), "float32") for width in widths]
        self.masks = [np.empty((batch_size, width), "bool") for width in widths]
        self.column = np.empty((batch_size, 1), "float32")
        self.ones = np.ones(batch_size, "float32")
        self.batch_labels = np.empty(batch_size, "int64")
        self.places = np.arange(batch_size) * widths[-1]
        self.chosen = np.empty(batch_size, "int64")
        self.learning_rate, self.adam = learning_rate, optimizer == "adam"
        self.steps = 0
        self.m, self.v = np.zeros_like(self.parameters), np.zeros_like(self.parameters)
        spare = np.empty(TILE, "float32")
        self.tiles = [
            (
                *(vector[cut] for vector in (self.parameters, self.gradients, self.m, self.v)),
                spare[: cut.stop - cut.start],
            )
            for cut in (
                slice(start, min(start + TILE, self.parameters.size)) for start in range(0, self.parameters.size, TILE)
            )
        ]

    def train(self, *, shuffle: bool = True) -> float:
        """Train for an epoch; return the mean loss."""
        order = self.rng.permutation(len(self.x)) if shuffle else np.arange(len(self.x))
        total = 0.0
        update = self._adam if self.adam else self._sgd
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            self.x.take(rows, 0, self.batch, "clip")  # any mode but "raise" writes straight into the buffer
            self.labels.take(rows, 0, self.batch_labels, "clip")
            total += self._gradients()
            update()
        return total / len(order)

    def _gradients(self) -> float:
        h = self.batch
        for layer, (kernel, bias, z) in enumerate(zip(self.kernels, self.biases, self.outputs, strict=True)):
            np.matmul(h, kernel, out=z)
            np.add(z, bias, out=z)
            if layer < len(self.kernels) - 1:
                np.maximum(z, 0, out=z)
            h = z
        z, column = self.outputs[-1], self.column
        np.maximum.reduce(z, 1, keepdims=True, out=column)
        np.subtract(z, column, out=z)
        np.add(self.places, self.batch_labels, out=self.chosen)
        of_labels = z.ravel()[self.chosen].sum()
        p = np.exp(z, out=self.upstream[-1])
        np.add.reduce(p, 1, keepdims=True, out=column)
        np.divide(p, column, out=p)
        loss = float(np.log(column, out=column).sum() - of_labels)
        p.ravel()[self.chosen] -= 1
        # Plain SGD's rate is folded into the gradient where it is narrowest, and the update is a single pass.
        np.multiply(p, np.float32((1 if self.adam else -self.learning_rate) / self.batch_size), out=p)
        for layer in range(len(self.kernels) - 1, -1, -1):
            d, h = self.upstream[layer], self.outputs[layer - 1] if layer else self.batch
            np.matmul(h.T, d, out=self.kernel_gradients[layer])
            np.matmul(self.ones, d, out=self.bias_gradients[layer])  # a sum over rows that BLAS does faster
            if layer:
                dh, mask = self.upstream[layer - 1], self.masks[layer - 1]
                np.matmul(d, self.kernels[layer].T, out=dh)
                np.multiply(dh, np.greater(h, 0, out=mask), out=dh)
        return loss

    def _sgd(self) -> None:
        np.add(self.parameters, self.gradients, out=self.parameters)

    def _adam(self) -> None:
        self.steps += 1
        rate = self.learning_rate * (1 - 0.999**self.steps) ** 0.5 / (1 - 0.9**self.steps)
        step_size, beta_1, beta_2, epsilon = (np.float32(value) for value in (rate, 0.9, 0.999, 1e-7))
        for w, g, m, v, t in self.tiles:
            np.multiply(m, beta_1, out=m)
            np.multiply(g, np.float32(1 - 0.9), out=t)
            np.add(m, t, out=m)
            np.multiply(v, beta_2, out=v)
            np.multiply(g, g, out=t)
            np.multiply(t, np.float32(1 - 0.999), out=t)
            np.add(v, t, out=v)
            np.sqrt(v, out=t)
            np.add(t, epsilon, out=t)
            np.divide(m, t, out=t)
            np.multiply(t, step_size, out=t)
            np.subtract(w, t, out=w)


def _layers(flat: Floats, weights: Sequence[Floats]) -> tuple[list[Floats], list[Floats]]:
    """Return views of the kernels and of the biases."""
    ends = [0, *itertools.accumulate(weight.size for weight in weights)]
    views = [
        flat[start:stop].reshape(weight.shape)
        for weight, (start, stop) in zip(weights, itertools.pairwise(ends), strict=True)
    ]
    return views[::2], views[1::2]
