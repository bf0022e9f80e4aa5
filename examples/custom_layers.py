"""Layers of your own: ten kinds, each a few lines, trained together on points of a spiral.

A layer gives `call`, and its derivative is found; or `forward` and `backward`, and the derivative is checked. Formulas
are written with operators and the words of `xp`, which are those of the Array API standard: the same text runs on NumPy
and on a GPU. Every layer below is checked by `layerkit.testing.check_layer` before it is trained.
"""

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense, Layer
from layerkit.optimizers import Adam
from layerkit.testing import check_layer


class Swish(Layer):
    """``y = x / (1 + exp(-x))`` (Ramachandran, Zoph and Le, 2017). The function alone: its derivative is found."""

    def call(self, xp, x):
        return x * xp.sigmoid(x)


class Scale(Layer):
    """``y = x * scale``, one factor for each feature. Backward is written by hand, so that it can be fast."""

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

    def forward(self, xp, x):
        return x * self.scale, x  # the output, and what backward will need

    def backward(self, xp, saved, dy):
        return dy * self.scale, {"scale": xp.sum(dy * saved, axis=0)}  # dx, and a gradient for each weight


class WeightNormalised(Layer):
    """``y = x @ (v g / |v|)``: direction and length of each column are weights of their own.

    Salimans and Kingma, NeurIPS 2016. Weights are combined here before they meet x; that too is differentiated.
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        self.direction = self.add_weight("direction", (input_shape[-1], self.units))
        self.length = self.add_weight("length", (self.units,), "ones")

    def call(self, xp, x):
        norm = xp.sqrt(xp.sum(self.direction * self.direction, axis=0))
        return x @ (self.direction * (self.length / norm))


class Residual(Layer):
    """``y = x + f(x)``, with a list of layers as f (He, Zhang, Ren and Sun, CVPR 2016)."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner  # layers in an attribute belong to this layer: their weights are its weights

    def call(self, xp, x, *, training=False):
        y = x
        for layer in self.inner:
            y = layer(y, training=training)
        return x + y


class GatedUnit(Layer):
    """``y = value(x) * sigmoid(gate(x))``, with two Dense layers (Dauphin, Fan, Auli and Grangier, ICML 2017)."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.value = Dense(units)
        self.gate = Dense(units, activation="sigmoid")

    def call(self, xp, x):
        return self.value(x) * self.gate(x)


class Twice(Layer):
    """``y = f(f(x))`` with one set of weights, whose gradient is the sum of both uses."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.shared = Dense(units, activation="tanh")

    def call(self, xp, x):
        return self.shared(self.shared(x))


class Centred(Layer):
    """``y = x - mean``: in training the mean of the batch, and else a running mean that training has kept.

    The running mean is state: `trainable=False`, and changed by `xp.assign` alone.
    """

    def __init__(self, momentum=0.9, **kwargs):
        super().__init__(**kwargs)
        self.momentum = momentum

    def build(self, input_shape):
        self.mean = self.add_weight("mean", (input_shape[-1],), "zeros", trainable=False)

    def call(self, xp, x, *, training=False):
        if not training:
            return x - self.mean
        mean = xp.mean(x, axis=0)
        xp.assign(self.mean, self.momentum * self.mean + (1.0 - self.momentum) * mean)
        return x - mean


class GaussianNoise(Layer):
    """In training ``y = x + noise``, normally distributed; else y = x. A stream of random numbers is state too."""

    def __init__(self, deviation, **kwargs):
        super().__init__(**kwargs)
        self.deviation = deviation

    def build(self, input_shape):
        self.noise = self.add_stream("noise")

    def call(self, xp, x, *, training=False):
        return x + self.deviation * self.noise.normal(xp, x.shape, self.dtype) if training else x


class Halves(Layer):
    """The features in two halves: several outputs are returned together, and ``a, b = layer(x)``."""

    def call(self, xp, x):
        middle = x.shape[-1] // 2
        return x[:, :middle], x[:, middle:]


class Bilinear(Layer):
    """``y_k = Σ a_i kernel_ijk b_j`` of two inputs: ``layer([a, b])`` (Tenenbaum and Freeman, 2000)."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape):
        (_, rows), (_, columns) = input_shape  # one shape for each input
        self.kernel = self.add_weight("kernel", (rows, columns, self.units))

    def call(self, xp, x):
        a, b = x
        return xp.einsum("ni,ijk,nj->nk", a, self.kernel, b)


LAYERS = [
    Swish(),
    Scale(),
    WeightNormalised(5),
    Residual([Dense(4, activation="tanh"), Dense(3)]),
    GatedUnit(5),
    Twice(3),
    Centred(),
    GaussianNoise(0.1),
    Halves(),
    Bilinear(4),
]
INPUT_SHAPES = {"Halves": (7, 6), "Bilinear": [(7, 3), (7, 2)]}  # (7, 3) for all others

if __name__ == "__main__":
    for layer in LAYERS:
        check_layer(layer, INPUT_SHAPES.get(type(layer).__name__, (7, 3)))
        print(f"check_layer finds no mistake in {type(layer).__name__}.")

    # Two arms of a spiral, 200 points each, from 0.25 to 1.5 turns.
    angle = np.tile(np.linspace(0.5, 3.0, 200) * np.pi, 2)
    arm = np.repeat([0.0, 1.0], 200)
    x = angle[:, None] / 3.0 * np.stack([np.cos(angle + np.pi * arm), np.sin(angle + np.pi * arm)], axis=1)
    y = arm[:, None]

    model = Sequential(
        [
            GaussianNoise(0.02),
            Centred(),
            Scale(),
            WeightNormalised(16),
            Swish(),
            Residual([Dense(16, activation="tanh"), Dense(16)]),
            GatedUnit(16),
            Twice(16),
            Halves(),
            Bilinear(8),  # takes both halves
            Dense(1, activation="sigmoid"),
        ],
        seed=0,
    )
    model.compile(Adam(learning_rate=0.01), "binary_crossentropy", metrics=["accuracy"])
    model.fit(x, y, epochs=40, verbose=0)
    loss, accuracy = model.evaluate(x, y, verbose=0)
    print(f"\nA spiral learnt: loss {loss:.4f}, accuracy {accuracy:.3f}.")
