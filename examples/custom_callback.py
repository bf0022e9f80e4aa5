"""Callbacks of your own: a learning rate that follows a schedule, the best weights kept, and a diary of the weights.

A callback defines the moments it cares for. `self.model` is the model that is trained: its learning rate can be set,
its weights read, and training be stopped, at any of them.
"""

import math

import numpy as np

from layerkit import Sequential
from layerkit.callbacks import Callback
from layerkit.layers import Dense
from layerkit.optimizers import SGD


class WarmUpAndCosine(Callback):
    """A learning rate that rises in a line for `warm_up` steps, and falls along half a cosine until step `steps`.

    ``η = peak t / warm_up``, then ``η = peak (1 + cos(π (t - warm_up) / (steps - warm_up))) / 2``, for the step
    t = 1, 2, … (Loshchilov and Hutter, ICLR 2017; Goyal et al., 2017).
    """

    def __init__(self, peak, warm_up, steps):
        self.peak, self.warm_up, self.steps = peak, warm_up, steps
        self.rates = []

    def on_train_begin(self, logs=None):
        self.rates = []

    def on_train_batch_begin(self, batch, logs=None):
        t = len(self.rates) + 1
        if t <= self.warm_up:
            rate = self.peak * t / self.warm_up
        else:
            done = min(1.0, (t - self.warm_up) / (self.steps - self.warm_up))
            rate = self.peak * (1.0 + math.cos(math.pi * done)) / 2.0
        self.model.optimizer.learning_rate = rate
        self.rates.append(rate)


class KeepBest(Callback):
    """Gives the model, at the end, the weights that had the smallest `monitor` at the end of an epoch."""

    def __init__(self, monitor="val_loss"):
        self.monitor = monitor
        self.best, self.best_epoch, self.weights = math.inf, None, None

    def on_train_begin(self, logs=None):
        self.best, self.best_epoch, self.weights = math.inf, None, None

    def on_epoch_end(self, epoch, logs=None):
        if logs[self.monitor] < self.best:
            self.best, self.best_epoch, self.weights = logs[self.monitor], epoch, self.model.get_weights()

    def on_train_end(self, logs=None):
        if self.weights is not None:
            self.model.set_weights(self.weights)


class Diary(Callback):
    """Prints a line every few epochs: the loss, the learning rate, and the length of each layer's kernel."""

    def __init__(self, every=10):
        self.every = every

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every == 0:
            lengths = "  ".join(f"{np.linalg.norm(layer.weights[0].numpy()):6.3f}" for layer in self.model.layers)
            rate = self.model.optimizer.learning_rate
            print(f"{epoch + 1:5}   {logs['loss']:.4f}   {logs['val_loss']:.4f}   {rate:.4f}   {lengths}")


if __name__ == "__main__":
    random = np.random.default_rng(0)
    x = random.uniform(-3.0, 3.0, (240, 1))
    y = np.sin(2.0 * x) + random.normal(0.0, 0.1, x.shape)

    model = Sequential([Dense(32, activation="tanh"), Dense(1)], seed=0)
    model.compile(SGD(learning_rate=0.1, momentum=0.9), "mse")
    schedule, keep = WarmUpAndCosine(peak=0.1, warm_up=60, steps=600), KeepBest()
    print("epoch   loss     val_loss  rate     |kernel|")
    model.fit(
        *(x[:160], y[:160]),
        batch_size=16,
        epochs=60,
        verbose=0,
        validation_data=(x[160:], y[160:]),
        callbacks=[schedule, keep, Diary()],
    )
    print(f"\nThe best epoch was {keep.best_epoch + 1}, with a val_loss of {keep.best:.4f};")
    print(f"with its weights, evaluate gives {model.evaluate(x[160:], y[160:], verbose=0):.4f}.")
