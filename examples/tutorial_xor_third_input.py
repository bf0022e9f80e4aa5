"""XOR with a third input: a tutorial whose derivative is wrong, and the gradient check that finds it.

The tutorial's network is 3-4-1 with biases, sigmoid twice, and weights drawn from a standard normal distribution by
`RandomState(1)`; it takes steps over all four rows against the mean squared error, with a learning rate of 1. It
applies the sigmoid's derivative, s(z) (1 - s(z)), to the activation y = s(z) where its input z belongs. Such a network
learns all the same, only later, which hides the mistake; `check_layer`, which compares each derivative with central
differences, finds it. Both networks are trained here: the tutorial's, and the same one with the true derivative.
"""

import numpy as np

from layerkit import Layer, Sequential
from layerkit.errors import GradientMismatch
from layerkit.layers import Dense, Sigmoid
from layerkit.optimizers import SGD
from layerkit.testing import check_layer

STEPS = 5000


class TutorialSigmoid(Layer):
    """The tutorial's sigmoid: its derivative is taken at y, and not at x."""

    def forward(self, xp, x):
        y = xp.sigmoid(x)
        return y, y

    def backward(self, xp, saved, dy):
        slope = xp.sigmoid(saved)  # `saved` is y already: the slope would be y * (1 - y)
        return dy * slope * (1.0 - slope), {}


x = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]])
y = np.array([[1], [1], [0], [0]])


def train(sigmoid):
    """Train the tutorial's network with this sigmoid, and return its errors and what it learnt."""
    random = np.random.RandomState(1)  # the tutorial's own

    def normal(shape, dtype):
        return random.standard_normal(shape)

    model = Sequential([Dense(4, kernel_initializer=normal), sigmoid(), Dense(1, kernel_initializer=normal), sigmoid()])
    model.compile(SGD(learning_rate=1.0), loss="mse")
    history = model.fit(x, y, batch_size=len(x), epochs=STEPS, verbose=0)
    return history.history["loss"], model.predict(x, verbose=0)


for name, sigmoid in (("the tutorial's sigmoid", TutorialSigmoid), ("layerkit's sigmoid", Sigmoid)):
    try:
        check_layer(sigmoid(), (4, 3))
    except GradientMismatch as mismatch:
        print(f"check_layer finds a mistake in {name}:\n\n{mismatch}\n")
    else:
        print(f"check_layer finds no mistake in {name}.\n")

errors, learnt = train(Sigmoid)
tutorial_errors, tutorial_learnt = train(TutorialSigmoid)

print("Mean squared error before each step:\n")
print("step   true derivative   tutorial's")
for step in (1, 100, 500, 1000, 2000, 5000):
    print(f"{step:4}       {errors[step - 1]:.4f}          {tutorial_errors[step - 1]:.4f}")
print("\n    x     | y | true derivative  tutorial's")
print("----------+---+----------------------------")
for row, (target,), (ours,), (theirs,) in zip(x, y, learnt, tutorial_learnt, strict=True):
    print(f" {row.tolist()} | {target} |      {ours:.2f}            {theirs:.2f}")
