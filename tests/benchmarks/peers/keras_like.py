"""The jobs of layerkit and of Keras, whose users write the same lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tests.benchmarks.peers.work import CHECKED_EPOCHS

if TYPE_CHECKING:
    from types import ModuleType

    from tests.benchmarks.peers.work import Work


class KerasLike:
    """A compiled model, with the initial weights that everybody has."""

    library: ClassVar[ModuleType]

    def __init__(self, work: Work) -> None:
        self.work, self.model = work, self.compiled(work)
        dense = [layer for layer in self.model.layers if isinstance(layer, self.library.layers.Dense)]
        for layer, weights in zip(dense, zip(work.weights[::2], work.weights[1::2], strict=True), strict=True):
            layer.set_weights(weights)
        self.x, self.y = work.data

    def compiled(self, work: Work) -> Any:
        lib: Any = self.library
        *inner, last = work.widths[1:]
        model = lib.Sequential([lib.Input((work.widths[0],))])
        between = "relu" if work.classifies else "sigmoid"
        for width in inner:
            if work.normalization:
                layers = (
                    lib.layers.Dense(width),
                    getattr(lib.layers, work.normalization)(),
                    lib.layers.Activation(between),
                )
            else:
                layers = (lib.layers.Dense(width, activation=between),)
            for layer in layers:
                model.add(layer)
        model.add(lib.layers.Dense(last, activation=None if work.classifies else "sigmoid"))
        model.compile(
            getattr(lib.optimizers, work.optimizer)(learning_rate=work.learning_rate),
            lib.losses.SparseCategoricalCrossentropy(from_logits=True)
            if work.classifies
            else lib.losses.MeanSquaredError(),
        )
        return model


class Fit(KerasLike):
    """Train for some epochs, with shuffled batches."""

    def check(self) -> list[float]:
        x, y = self.work.beginning
        losses = self.model.fit(
            x, y, batch_size=self.work.batch_size, epochs=CHECKED_EPOCHS, shuffle=False, verbose=0
        ).history["loss"]
        return [float(loss) for loss in losses]

    def run(self) -> None:
        for _ in range(self.work.repeats):
            self.model.fit(self.x, self.y, batch_size=self.work.batch_size, epochs=self.work.epochs, verbose=0)


class Predict(KerasLike):
    """Predict all rows."""

    def check(self) -> list[float]:
        return np.ravel(self.model.predict(self.x[:4], verbose=0)).tolist()

    def run(self) -> None:
        for _ in range(self.work.repeats):
            self.model.predict(self.x, batch_size=self.work.batch_size, verbose=0)


class Build(KerasLike):
    """Make, compile and train small models, each for an epoch."""

    def check(self) -> list[float]:
        return []  # initial weights are each library's own

    def run(self) -> None:
        for _ in range(self.work.repeats):
            self.compiled(self.work).fit(self.x, self.y, batch_size=self.work.batch_size, verbose=0)


def jobs_of(library: ModuleType) -> dict[str, type[KerasLike]]:
    """Return the jobs, done with this library."""
    return {
        name: type(job.__name__, (job,), {"library": library})
        for name, job in {"fit": Fit, "predict": Predict, "build": Build}.items()
    }
