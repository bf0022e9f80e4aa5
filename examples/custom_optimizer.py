"""Optimizers of your own: one rule, the same for every element of every weight.

`rule` gets the parameters w, their gradient g and what is remembered of each element; it returns what is to be added to
w, and what to remember. As the rule is elementwise, it runs over the parameters of all layers in one call.
"""

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense
from layerkit.optimizers import SGD, Optimizer


class SignSGD(Optimizer):
    """``w ← w - η sign(g)`` (Bernstein, Wang, Azizzadenesheli and Anandkumar, ICML 2018)."""

    def rule(self, xp, w, g, slots, step_size):
        return -step_size * xp.sign(g), {}


class Lion(Optimizer):
    """``w ← w - η sign(b1 m + (1 - b1) g)``, then ``m ← b2 m + (1 - b2) g`` (Chen et al., NeurIPS 2023).

    m is a slot: an array beside each parameter, 0 at first. Weight decay and clipping are the base's.
    """

    slot_names = ("m",)

    def __init__(self, learning_rate=1e-4, b1=0.9, b2=0.99, **kwargs):
        super().__init__(learning_rate, **kwargs)
        self.b1, self.b2 = b1, b2

    def rule(self, xp, w, g, slots, step_size):
        m = slots["m"]
        direction = xp.sign(self.b1 * m + (1.0 - self.b1) * g)
        return -step_size * direction, {"m": self.b2 * m + (1.0 - self.b2) * g}


class DecayingSGD(SGD):
    """SGD whose step t = 1, 2, … has the learning rate ``η / sqrt(t)``: where only the step's size is new."""

    def step_size(self, xp, learning_rate, t):
        return learning_rate / xp.sqrt(t)


if __name__ == "__main__":
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    y = np.array([[0], [1], [1], [0]])
    print("optimizer     loss     learnt (true: 0, 1, 1, 0)")
    for optimizer in (SignSGD(0.005), Lion(0.01, weight_decay=0.01), DecayingSGD(4.0)):
        model = Sequential([Dense(8, activation="tanh"), Dense(1, activation="sigmoid")], seed=0)
        model.compile(optimizer, "binary_crossentropy")
        history = model.fit(x, y, batch_size=4, epochs=500, verbose=0)
        learnt = "  ".join(f"{row.item():.3f}" for row in model.predict(x, verbose=0))
        print(f"{type(optimizer).__name__:12}  {history.history['loss'][-1]:.4f}   {learnt}")
