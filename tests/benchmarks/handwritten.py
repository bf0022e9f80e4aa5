"""The same networks as a person would write them in plain NumPy: what layerkit is measured against."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]


class Xor:
    """3-4-1 with sigmoids, mean squared error, full batch, as the tutorials write it."""

    def __init__(self, x: Floats, y: Floats) -> None:
        rng = np.random.default_rng(0)
        self.x, self.y = x, y
        self.w1 = rng.normal(size=(x.shape[1], 4)).astype("float32")
        self.b1 = np.zeros(4, "float32")
        self.w2 = rng.normal(size=(4, 1)).astype("float32")
        self.b2 = np.zeros(1, "float32")

    def train(self, epochs: int, learning_rate: float = 1.0) -> Any:
        loss = None
        x, y = self.x, self.y
        for _ in range(epochs):
            h = 1 / (1 + np.exp(-(x @ self.w1 + self.b1)))
            out = 1 / (1 + np.exp(-(h @ self.w2 + self.b2)))
            error = out - y
            loss = np.mean(error * error)
            d2 = 2 * error / error.size * out * (1 - out)
            d1 = d2 @ self.w2.T * h * (1 - h)
            self.w2 -= learning_rate * (h.T @ d2)
            self.b2 -= learning_rate * d2.sum(axis=0)
            self.w1 -= learning_rate * (x.T @ d1)
            self.b1 -= learning_rate * d1.sum(axis=0)
        return loss


class Mlp:
    """784-512-512-10 with ReLU, softmax crossentropy, minibatches in shuffled order, plain SGD."""

    def __init__(self, x: Floats, labels: NDArray[np.int64], width: int = 512) -> None:
        rng = np.random.default_rng(0)
        self.rng, self.x, self.labels = rng, x, labels
        sizes = (x.shape[1], width, width, 10)
        self.weights = [
            (rng.normal(size=(n, m)) * np.sqrt(2 / n)).astype("float32") for n, m in itertools.pairwise(sizes)
        ]
        self.biases = [np.zeros(m, "float32") for m in sizes[1:]]

    def train(self, batch_size: int, learning_rate: float = 0.01) -> float:
        order = self.rng.permutation(len(self.x))
        total = 0.0
        (w1, w2, w3), (b1, b2, b3) = self.weights, self.biases
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            x, labels = self.x[rows], self.labels[rows]
            h1 = np.maximum(x @ w1 + b1, 0)
            h2 = np.maximum(h1 @ w2 + b2, 0)
            z = h2 @ w3 + b3
            z -= z.max(axis=1, keepdims=True)
            p = np.exp(z)
            p /= p.sum(axis=1, keepdims=True)
            here = np.arange(len(labels))
            total -= float(np.log(p[here, labels]).sum())
            d3 = p
            d3[here, labels] -= 1
            d3 /= len(labels)
            d2 = (d3 @ w3.T) * (h2 > 0)
            d1 = (d2 @ w2.T) * (h1 > 0)
            w3 -= learning_rate * (h2.T @ d3)
            b3 -= learning_rate * d3.sum(axis=0)
            w2 -= learning_rate * (h1.T @ d2)
            b2 -= learning_rate * d2.sum(axis=0)
            w1 -= learning_rate * (x.T @ d1)
            b1 -= learning_rate * d1.sum(axis=0)
        return total / len(order)
