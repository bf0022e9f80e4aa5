"""scikit-learn's jobs."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from tests.benchmarks.peers.work import CHECKED_EPOCHS

if TYPE_CHECKING:
    from tests.benchmarks.peers.work import Floats, Work


class Fit:
    """Train for some epochs, with shuffled batches."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.x, self.y = work.data
        warnings.simplefilter("ignore", ConvergenceWarning)  # no fit here is meant to converge
        self.trained = self.classifier(work.epochs, shuffle=True)

    def classifier(self, epochs: int, *, shuffle: bool) -> MLPClassifier:
        """Return a classifier with the initial weights that everybody has."""
        work = self.work
        classifier = MLPClassifier(
            work.widths[1:-1],
            solver=work.optimizer.lower(),
            alpha=0.0,
            batch_size=work.batch_size,
            learning_rate_init=work.learning_rate,
            momentum=0.0,
            epsilon=1e-7,
            max_iter=epochs,
            n_iter_no_change=1_000_000,
            shuffle=shuffle,
            warm_start=True,
        )
        # Weights exist from the first fit on; a warm start goes on with them, and with the classes it saw.
        rows: Floats = self.x[: work.batch_size]
        classifier.partial_fit(rows, self.y[: work.batch_size], classes=range(work.widths[-1]))
        classifier.coefs_, classifier.intercepts_ = ([w.copy() for w in work.weights[i::2]] for i in (0, 1))
        return classifier

    def check(self) -> list[float]:
        classifier = self.classifier(CHECKED_EPOCHS, shuffle=False)
        classifier.fit(*self.work.beginning)
        return [float(loss) for loss in classifier.loss_curve_[-CHECKED_EPOCHS:]]

    def run(self) -> None:
        self.trained.fit(self.x, self.y)


JOBS = {"fit": Fit}
