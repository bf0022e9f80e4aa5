"""Initializers of your own: a class with `draw`, and a function f(shape, dtype).

Values are drawn on the host, in float64, from a generator that is keyed by the model's seed and the weight's place: one
seed gives the same weights on every backend. What a draw does to a deep network is seen at its last layer.
"""

import numpy as np

from layerkit import Sequential
from layerkit.initializers import Initializer
from layerkit.layers import Dense, Input


class Sparse(Initializer):
    """Each column has `count` normal numbers, of variance ``1 / count``, and zeros elsewhere (Martens, ICML 2010).

    Args:
        count: how many inputs each unit listens to at first.
        kwargs: what every `Initializer` takes.
    """

    def __init__(self, count=15, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def draw(self, random, shape):
        rows, columns = shape
        chosen = random.permuted(np.tile(np.arange(rows) < self.count, (columns, 1)), axis=1).T
        return np.where(chosen, random.normal(0.0, 1.0 / np.sqrt(min(self.count, rows)), shape), 0.0)


def ramp(shape, dtype):
    """From -1 to 1, whatever the shape."""
    return np.linspace(-1.0, 1.0, int(np.prod(shape))).reshape(shape).astype(dtype)


if __name__ == "__main__":
    x = np.random.default_rng(0).standard_normal((256, 100))
    print("kernel           standard deviation of the output after 1, 10, 20 layers of tanh")
    for kernel in (Sparse(15), "glorot_uniform", ramp):
        layers = [Dense(100, activation="tanh", kernel_initializer=kernel) for _ in range(20)]
        model = Sequential([Input((100,)), *layers], seed=0)
        spread, y = [], x
        for layer in layers:
            y = layer(y)
            spread.append(float(np.std(y)))
        name = kernel if isinstance(kernel, str) else getattr(kernel, "__name__", type(kernel).__name__)
        print(f"{name:15}  {spread[0]:.3f}  {spread[9]:.3f}  {spread[19]:.3f}")
