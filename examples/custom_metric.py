"""Metrics of your own: a function of targets and predictions, and a class with totals.

A function gives one value a sample, of which the mean over the epoch is shown. Where a metric is no mean of values, a
class keeps totals: here those of the F score, which tells what accuracy hides when one class is rare.
"""

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense
from layerkit.metrics import Metric
from layerkit.optimizers import Adam


def doubt(xp, y_true, y_pred):
    """One value a sample: 1 for a prediction of 0.5, 0 for one of 0 or 1."""
    return xp.mean(1.0 - xp.abs(2.0 * y_pred - 1.0), axis=-1)


class FScore(Metric):
    """``(1 + b²) hits / ((1 + b²) hits + b² missed + false)`` (van Rijsbergen, *Information Retrieval*, 1979).

    Totals are made in `__init__`, written by `xp.assign_add` alone, and set to 0 before each epoch.
    """

    def __init__(self, b=1.0, threshold=0.5, **kwargs):
        super().__init__(**kwargs)
        self.b, self.threshold = b, threshold
        self.hits = self.add_variable("hits")
        self.missed = self.add_variable("missed")
        self.false = self.add_variable("false")

    def update(self, xp, y_true, y_pred, sample_weight=None):
        true = xp.astype(y_true, xp.float64)
        found = xp.astype(y_pred > self.threshold, xp.float64)
        weight = 1.0 if sample_weight is None else xp.reshape(xp.astype(sample_weight, xp.float64), (-1, 1))
        xp.assign_add(self.hits, xp.sum(weight * true * found))
        xp.assign_add(self.missed, xp.sum(weight * true * (1.0 - found)))
        xp.assign_add(self.false, xp.sum(weight * (1.0 - true) * found))

    def compute(self, xp):
        weighted_hits = (1.0 + self.b**2) * self.hits
        total = weighted_hits + self.b**2 * self.missed + self.false
        return weighted_hits / xp.where(total == 0.0, 1.0, total)


if __name__ == "__main__":
    # Points of the plane; one in twenty lies in the corner that is asked for.
    random = np.random.default_rng(0)
    x = random.uniform(-1.0, 1.0, (2000, 2))
    y = ((x[:, :1] > 0.55) & (x[:, 1:] > 0.55)).astype(float)

    model = Sequential([Dense(8, activation="tanh"), Dense(1, activation="sigmoid")], seed=0)
    model.compile(Adam(learning_rate=0.005), "binary_crossentropy", metrics=["accuracy", FScore(name="f1"), doubt])
    history = model.fit(x, y, epochs=12, verbose=0).history
    print(f"One in {len(y) / y.sum():.0f} is a yes. To say no to all has an accuracy of {1 - y.mean():.4f}.\n")
    print("epoch   accuracy   F score   doubt")
    for epoch, row in enumerate(zip(history["accuracy"], history["f1"], history["doubt"], strict=True), start=1):
        print(f"{epoch:5}     {row[0]:.4f}    {row[1]:.4f}   {row[2]:.4f}")
