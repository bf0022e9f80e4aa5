"""Losses of your own, three ways: a function, a class with `call`, a class with `forward` and `backward`.

All return one value for each sample; the reduction to one number, and sample weights, are the framework's. Here they
fit a line through points of which one in ten is wild: the mean squared error follows those, the others do not.
"""

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense
from layerkit.losses import Loss
from layerkit.optimizers import Adam
from layerkit.testing import check_loss


def cauchy(xp, y_true, y_pred):
    """``v = log(1 + (y_pred - y_true)² / 2)``: far points hardly pull (Black and Anandan, 1996).

    Its derivative is found. Of its arguments, xp may be left out where operators are enough.
    """
    error = y_pred - y_true
    return xp.mean(xp.log1p(error * error / 2.0), axis=-1)


class LogCosh(Loss):
    """``v = log(cosh(sharpness (y_pred - y_true))) / sharpness``: with `call` alone, the derivative is found too."""

    def __init__(self, sharpness=1.0, **kwargs):
        super().__init__(**kwargs)
        self.sharpness = sharpness

    def call(self, xp, y_true, y_pred):
        error = self.sharpness * xp.abs(y_pred - y_true)
        # log(cosh(e)) = e + log(1 + exp(-2 e)) - log(2), without the overflow of cosh.
        values = error + xp.log1p(xp.exp(-2.0 * error)) - np.log(2.0).item()
        return xp.mean(values, axis=-1) / self.sharpness


class Quantile(Loss):
    """``v = max(q e, (q - 1) e)`` for ``e = y_true - y_pred`` (Koenker and Bassett, Econometrica 46, 1978).

    Its minimum is the quantile q of the targets. Backward is written by hand, and checked by `check_loss`.
    """

    def __init__(self, q=0.5, **kwargs):
        super().__init__(**kwargs)
        self.q = q

    def forward(self, xp, y_true, y_pred):
        error = y_true - y_pred
        return xp.mean(xp.maximum(self.q * error, (self.q - 1.0) * error), axis=-1), error

    def backward(self, xp, saved, dvalues):
        dv = xp.expand_dims(dvalues, axis=-1) / saved.shape[-1]
        return xp.where(saved > 0, -self.q * dv, (1.0 - self.q) * dv)


LOSSES = [LogCosh(2.0), Quantile(0.3)]

if __name__ == "__main__":
    random = np.random.default_rng(0)
    for loss in LOSSES:
        check_loss(loss, random.normal(size=(7, 2)), random.normal(size=(7, 2)))
        print(f"check_loss finds no mistake in {type(loss).__name__}.")

    x = random.uniform(-1.0, 1.0, (200, 1))
    y = 2.0 * x + 1.0 + random.normal(0.0, 0.1, x.shape)
    y[::10] += 20.0

    print("\nloss                slope  intercept  (true: 2 and 1)")
    for loss in ("mse", cauchy, LogCosh(), Quantile()):
        model = Sequential([Dense(1)], seed=0)
        model.compile(Adam(learning_rate=0.1), loss)
        model.fit(x, y, batch_size=200, epochs=400, verbose=0)
        kernel, bias = model.get_weights()
        print(f"{model.loss.name:18}  {kernel.item():5.3f}  {bias.item():9.3f}")
