"""``python -m tests.benchmarks.recording``: a step of XOR whose layers give `call` alone, against the library's own."""

from __future__ import annotations

import argparse

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense, Layer, Sigmoid
from layerkit.losses import MeanSquaredError
from layerkit.optimizers import SGD
from tests.benchmarks.compare import compare


class RecordedLinear(Layer):
    """Dense in one network word."""

    def __init__(self, units):
        super().__init__()
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units))
        self.bias = self.add_weight("bias", (self.units,), "zeros")

    def call(self, xp, x):
        return xp.linear(x, self.kernel, self.bias)


class RecordedOperators(RecordedLinear):
    """Dense in Python's operators."""

    def call(self, xp, x):
        return x @ self.kernel + self.bias


class RecordedSigmoid(Layer):
    """Sigmoid in one network word."""

    def call(self, xp, x):
        return xp.sigmoid(x)


def training(dense, sigmoid, steps):
    """Return a function that takes `steps` training steps of a 2-8-1 network on XOR."""
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
    y = np.array([[0], [1], [1], [0]], "float32")
    model = Sequential([dense(8), sigmoid(), dense(1), sigmoid()], seed=0)
    model.compile(SGD(learning_rate=2.0), MeanSquaredError())
    return lambda: model.fit(x, y, batch_size=4, epochs=steps, verbose=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    print(f"{'XOR 2-8-1, an epoch of one step':<44} {'recorded':>10} {'eager':>10}   ratio (quartiles)")
    for name, dense in (("in network words", RecordedLinear), ("in operators", RecordedOperators)):
        recorded = training(dense, RecordedSigmoid, arguments.steps)
        eager = training(Dense, Sigmoid, arguments.steps)
        print(f"{name:<44} {compare(recorded, eager, arguments.pairs, arguments.steps)}")


if __name__ == "__main__":
    main()
