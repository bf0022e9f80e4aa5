"""A network as a class: the tutorial that learns XOR from three inputs, the last of which is always 1.

The tutorial's network is 3-4-1 without biases: weights uniform in [0, 1), sigmoid twice, the sum of squared errors, and
1,500 steps over all four rows with a learning rate of 1. It ends near (0.01, 0.97, 0.97, 0.04). The tutorial writes a
class with `feedforward` and `backprop` of its own; here the class is `Sequential`, and only its loss is new.
"""

import numpy as np

from layerkit import Sequential
from layerkit.initializers import RandomUniform
from layerkit.layers import Dense, Sigmoid
from layerkit.losses import Loss
from layerkit.optimizers import SGD

TUTORIAL = (0.01, 0.97, 0.97, 0.04)


class SumOfSquares(Loss):
    """``v = sum((y_true - y_pred)²)`` over the outputs of a sample; ``dy_pred = dv 2 (y_pred - y_true)``."""

    def forward(self, xp, y_true, y_pred):
        error = y_pred - y_true
        return xp.sum(error * error, axis=-1), error

    def backward(self, xp, saved, dvalues):
        return 2.0 * xp.expand_dims(dvalues, axis=-1) * saved


x = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
y = np.array([[0], [1], [1], [0]])

uniform = RandomUniform(0.0, 1.0)
model = Sequential(
    [
        Dense(4, use_bias=False, kernel_initializer=uniform),
        Sigmoid(),
        Dense(1, use_bias=False, kernel_initializer=uniform),
        Sigmoid(),
    ],
    seed=0,
)
# reduction="sum": the error of the tutorial is the sum over the rows, not their mean.
model.compile(SGD(learning_rate=1.0), SumOfSquares(reduction="sum"))
history = model.fit(x, y, batch_size=4, epochs=1500, verbose=0)

losses = history.history["loss"]
print(f"Sum of squared errors: {losses[0]:.4f} before the first step, {losses[-1]:.4f} before the last.\n")
print("    x     | y | learnt  tutorial")
print("----------+---+-----------------")
for row, (target,), (learnt,), told in zip(x, y, model.predict(x, verbose=0), TUTORIAL, strict=True):
    print(f" {row.tolist()} | {target} |  {learnt:.2f}     {told:.2f}")
