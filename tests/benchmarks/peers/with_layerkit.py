"""layerkit's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import layerkit
from layerkit import layers
from layerkit.program import record
from tests.benchmarks.peers.keras_like import Fit, jobs_of

if TYPE_CHECKING:
    from layerkit.xp import Backend
    from tests.benchmarks.peers.work import Work


class Step(Fit):
    """Take training steps on one batch, without the loop around them."""

    library = layerkit

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.check()  # the first steps plan those that follow
        self.model.set_weights(work.weights)
        self.train = self.model.program("train")

    def run(self) -> None:
        train, x, y = self.train, self.x, self.y
        for _ in range(self.work.repeats):
            train(x, y)


class Layer:
    """Go forward and backward through a layer alone, in a captured step."""

    def __init__(self, work: Work) -> None:
        self.work, xp = work, layerkit.backend("numpy")
        layer: Any = getattr(layers, work.normalization)()
        x, dy = (layerkit.Variable(array, xp=xp) for array in work.passes)
        layer.build(x.shape)
        results = [layerkit.Variable(np.zeros(shape), xp=xp) for shape in (x.shape, x.shape, *[x.shape[1:]] * 2)]

        def passes(xp: Backend) -> None:
            y, saved = layer.run_forward(xp, x.value, training=True)
            dx, gradients = layer.run_backward(xp, saved, dy.value)
            for result, value in zip(results, (y, dx, gradients["gamma"], gradients["beta"]), strict=True):
                xp.assign(result.value, value)

        self.results = results
        self.step = xp.capture(record(xp, passes, [], "passes")[2])

    def check(self) -> list[float]:
        self.step()
        y, dx, *gradients = (result.numpy() for result in self.results)
        return [float(value) for each in (y[0], dx[0], *gradients) for value in each[:4]]

    def run(self) -> None:
        for _ in range(self.work.repeats):
            self.step()


JOBS = {**jobs_of(layerkit), "step": Step, "layer": Layer}
