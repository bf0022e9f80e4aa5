"""Three inputs: the tutorial that learns a truth table from six of its eight rows, with a layer of its own.

The tutorial's network is 3-5-1: standard normal weights, sigmoid twice, and for each layer one bias, a single number
that starts at 1. Its error is the sum of (t - o)² / 2; it takes 100 steps over the six rows with a learning rate of 1,
and draws the error as a curve. The target is the third input: the two rows held out should come out as 0 and 1.

    python examples/tutorial_three_inputs.py [--plot error.png]
"""

import argparse
import sys

import numpy as np

from layerkit import Layer, Sequential
from layerkit.initializers import RandomNormal
from layerkit.layers import Sigmoid
from layerkit.losses import Loss
from layerkit.optimizers import SGD


class ScalarBiasDense(Layer):
    """``y = x @ kernel + b``, with one number b for all units: so ``db`` is the sum of all of dy."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.units), RandomNormal(stddev=1.0))
        self.b = self.add_weight("b", (), "ones")

    def forward(self, xp, x):
        return x @ self.kernel + self.b, x

    def backward(self, xp, saved, dy):
        return dy @ self.kernel.T, {"kernel": saved.T @ dy, "b": xp.sum(dy)}


class HalfSquares(Loss):
    """``v = sum((y_true - y_pred)²) / 2`` over the outputs of a sample; ``dy_pred = dv (y_pred - y_true)``."""

    def forward(self, xp, y_true, y_pred):
        error = y_pred - y_true
        return xp.sum(error * error, axis=-1) / 2.0, error

    def backward(self, xp, saved, dvalues):
        return xp.expand_dims(dvalues, axis=-1) * saved


def plot(losses, file):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.exit('The curve needs matplotlib. Install it with: python -m pip install ".[examples]"')
    figure = Figure()
    axes = figure.subplots()
    axes.plot(range(1, len(losses) + 1), losses)
    axes.set(xlabel="step", ylabel="error", title="Sum of half squared errors")
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        sys.exit(f"The curve could not be written: {error}")
    print(f"\nThe error curve is in {file}.")


parser = argparse.ArgumentParser(description="Learn a truth table of three inputs from six of its eight rows.")
parser.add_argument("--plot", metavar="FILE", help="draw the error curve into this file, such as error.png")
arguments = parser.parse_args()

x = np.array([[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [1, 0, 0], [1, 0, 1]])
y = np.array([[0], [1], [0], [1], [0], [1]])
held_out = np.array([[1, 1, 0], [1, 1, 1]])

model = Sequential([ScalarBiasDense(5), Sigmoid(), ScalarBiasDense(1), Sigmoid()], seed=0)
model.compile(SGD(learning_rate=1.0), HalfSquares(reduction="sum"))
losses = model.fit(x, y, batch_size=len(x), epochs=100, verbose=0).history["loss"]

print("step   error")
for step in (1, 2, 5, 10, 20, 50, 100):
    print(f"{step:4}   {losses[step - 1]:.4f}")
print("\n    x     | y | learnt")
print("----------+---+-------")
for row, (learnt,) in zip([*x, *held_out], model.predict([*x, *held_out], verbose=0), strict=True):
    print(f" {row.tolist()} | {row[2]} |  {learnt:.2f}" + ("   held out" if row.tolist() in held_out.tolist() else ""))

if arguments.plot:
    plot(losses, arguments.plot)
