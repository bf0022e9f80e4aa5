"""One step of backpropagation, worked by hand: every number of the tutorial, beside layerkit's.

The tutorial's network is 2-2-2 with sigmoids and fixed biases; its error is E = sum of (t - o)² / 2, its learning rate
0.3. It writes h1 = x1 w1 + x2 w2 + b1 and h2 = x1 w3 + x2 w4 + b1. A Dense layer computes x @ kernel + bias: the first
column of its kernel holds w1 and w2. Each number is checked to the digits that the tutorial gives.
"""

import numpy as np

from layerkit import Sequential
from layerkit.initializers import Constant
from layerkit.layers import Dense, Sigmoid
from layerkit.losses import Loss
from layerkit.optimizers import SGD

x = np.array([[0.03, 0.09]])
t = np.array([[0.01, 0.99]])
w1, w2, w3, w4 = 0.11, 0.27, 0.19, 0.52
w5, w6, w7, w8 = 0.44, 0.48, 0.23, 0.29
b1, b2 = 0.39, 0.42


class HalfSquares(Loss):
    """``v = sum((y_true - y_pred)²) / 2`` over the outputs of a sample; ``dy_pred = dv (y_pred - y_true)``."""

    def forward(self, xp, y_true, y_pred):
        error = y_pred - y_true
        return xp.sum(error * error, axis=-1) / 2.0, error

    def backward(self, xp, saved, dvalues):
        return xp.expand_dims(dvalues, axis=-1) * saved


def compare(name, number, tutorial):
    """Print a number beside the tutorial's, and check it to the last digit that the tutorial gives."""
    digits = len(tutorial.partition(".")[2])
    print(f"{name:15}  {number:<10.{digits}f}  {tutorial}")
    assert f"{number:.{digits}f}" == tutorial, f"{name} must be {tutorial}. Received: {number}"


hidden = Dense(2, kernel_initializer=Constant([[w1, w3], [w2, w4]]), bias_initializer=Constant(b1))
output = Dense(2, kernel_initializer=Constant([[w5, w7], [w6, w8]]), bias_initializer=Constant(b2))
hidden_sigmoid, output_sigmoid = Sigmoid(), Sigmoid()
model = Sequential([hidden, hidden_sigmoid, output, output_sigmoid], dtype="float64")
model.build((None, 2))
for layer in (hidden, output):
    _, bias = layer.weights
    bias.trainable = False

print("                 layerkit    tutorial")
h = hidden(x)
out_h = hidden_sigmoid(h)
y = output(out_h)
out = output_sigmoid(y)
compare("h1", h[0, 0], "0.4176")
compare("h2", h[0, 1], "0.4425")
compare("out h1", out_h[0, 0], "0.60290881")
compare("out h2", out_h[0, 1], "0.60885457")
compare("y1", y[0, 0], "0.97753007")
compare("y2", y[0, 1], "0.73523685")
compare("out y1", out[0, 0], "0.72661785")

loss = HalfSquares(reduction="sum")
compare("E1", loss(t[:, :1], out[:, :1]), "0.25677057")
compare("E2", loss(t[:, 1:], out[:, 1:]), "0.04931263")
compare("E", loss(t, out), "0.3060832")

# A layer's backward turns dE/dout into dE/dy: given ones, it returns the derivative of out itself.
_, saved = output_sigmoid.forward(model.xp, y)
slope, _ = output_sigmoid.backward(model.xp, saved, np.ones((1, 2)))
compare("d out y1 / d y1", slope[0, 0], "0.19864435")

model.compile(SGD(learning_rate=0.3), loss)
model.train_on_batch(x, t)
compare("w5 after a step", output.kernel[0, 0], "0.41425240")

(w1, w3), (w2, w4) = hidden.kernel
(w5, w7), (w6, w8) = output.kernel
print("\nAll weights after the step:")
for number, weight in enumerate((w1, w2, w3, w4, w5, w6, w7, w8), start=1):
    print(f"w{number}  {weight:.8f}")
for number, layer in ((1, hidden), (2, output)):
    print(f"b{number}  {layer.bias[0]:.8f}, {layer.bias[1]:.8f}, fixed")
