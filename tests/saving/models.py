"""Models that the tests of this folder save."""

from __future__ import annotations

from typing import Any

import numpy as np

from layerkit import Layer, Sequential
from layerkit.layers import Dense, Dropout, Input
from layerkit.optimizers import SGD, Adam

ROWS = 22
X = np.random.default_rng(0).normal(size=(ROWS, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(ROWS, 1)).astype("float32")


def trained(seed: int = 3, **compiled: Any) -> Sequential:
    """A small model with dropout and a short last batch, after two epochs."""
    model = Sequential([Input((3,)), Dense(8, "tanh"), Dropout(0.25), Dense(1)], seed=seed)
    model.compile(**{"optimizer": Adam(0.01), "loss": "mse", "metrics": ["mae"], **compiled})
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    return model


def momentum() -> SGD:
    return SGD(0.05, momentum=0.9, nesterov=True)


class Scale(Layer):
    """A layer of a user's own: y = factor scale x, with a scale that is learnt."""

    def __init__(self, factor: float = 1.0) -> None:  # without what every layer takes
        super().__init__()
        self.factor = factor

    def build(self, input_shape: Any) -> None:
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

    def call(self, xp: Any, x: Any) -> Any:
        return self.factor * self.scale * x


def squared(xp: Any, y_true: Any, y_pred: Any) -> Any:
    return xp.mean((y_true - y_pred) ** 2, axis=-1)


def clipped(xp: Any, x: Any) -> Any:
    return xp.clip(x, -1.0, 1.0)


def everything(model: Any) -> dict[str, Any]:
    """All that training can change, as arrays and plain values."""
    found = {f"weights/{name}": variable.numpy() for name, variable in model.named_weights().items()}
    found |= {f"streams/{name}": stream.counter.numpy() for name, stream in model.named_streams().items()}
    found |= {f"keys/{name}": np.array(stream.key, np.uint64) for name, stream in model.named_streams().items()}
    found |= {f"optimizer/{i}": variable.numpy() for i, variable in enumerate(model.optimizer.variables)}
    found |= {
        f"metrics/{i}/{j}": variable.numpy()
        for i, metric in enumerate(model.metrics)
        for j, variable in enumerate(metric.variables)
    }
    found["shuffles"] = model.shuffles
    found["history"] = None if model.history is None else (model.history.epoch, model.history.history)
    return found


def assert_same(first: Any, second: Any) -> None:
    """All state of two models is equal, bit for bit."""
    a, b = everything(first), everything(second)
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == b[name].dtype, name
            assert value.tobytes() == b[name].tobytes(), name
        else:
            assert value == b[name], name
