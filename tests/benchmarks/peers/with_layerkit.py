"""layerkit's jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import layerkit
from tests.benchmarks.peers.keras_like import Fit, jobs_of

if TYPE_CHECKING:
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


JOBS = {**jobs_of(layerkit), "step": Step}
