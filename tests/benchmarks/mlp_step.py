"""``python -m tests.benchmarks.mlp_step``: a step of `fit` on an ordinary network against NumPy planned by hand.

Both in one process, in turn; the threads are those of the environment (``OPENBLAS_NUM_THREADS=1``, say).
"""

from __future__ import annotations

import argparse
import os

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense, ReLU
from layerkit.losses import SparseCategoricalCrossentropy
from layerkit.optimizers import SGD, Adam
from tests.benchmarks.compare import compare
from tests.benchmarks.planned import PlannedMlp

RATE = {"sgd": 0.01, "adam": 0.001}


def contenders(optimizer: str, width: int, batch_size: int, steps: int) -> tuple[Sequential, PlannedMlp]:
    """Return a compiled model and its script by hand, after an epoch of each that led to the same loss and weights."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(steps * batch_size, 784)).astype("float32")
    labels = rng.integers(0, 10, len(x))
    model = Sequential([Dense(width), ReLU(), Dense(width), ReLU(), Dense(10)], seed=0)
    model.build(x.shape)
    planned = PlannedMlp(x, labels, model.get_weights(), batch_size, optimizer, RATE[optimizer])
    rule = SGD(RATE["sgd"]) if optimizer == "sgd" else Adam(RATE["adam"])
    model.compile(rule, SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(x, labels, batch_size=batch_size, shuffle=False, verbose=0)
    np.testing.assert_allclose(history.history["loss"][0], planned.train(shuffle=False), rtol=1e-4)
    weights = np.concatenate([weight.ravel() for weight in model.get_weights()])
    np.testing.assert_allclose(weights, planned.parameters, rtol=1e-3, atol=2 * RATE[optimizer])
    return model, planned


def measure(optimizer: str, width: int, batch_size: int, steps: int, pairs: int) -> str:
    """Return a line: the time of a step of each, and the ratio."""
    model, planned = contenders(optimizer, width, batch_size, steps)

    def fit() -> None:
        model.fit(planned.x, planned.labels, batch_size=batch_size, verbose=0)

    result = compare(fit, planned.train, pairs, steps)
    return f"{f'784-{width}-{width}-10, batch {batch_size}, {optimizer}':<40} {result}"


def main(arguments: list[str] | None = None) -> None:
    """Print a line for each choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=31)
    parser.add_argument("--steps", type=int, default=10, help="steps of one run of a pair")
    parser.add_argument("--width", type=int, nargs="+", default=[512])
    parser.add_argument("--batch", type=int, nargs="+", default=[128])
    parser.add_argument("--optimizer", nargs="+", choices=sorted(RATE), default=["sgd", "adam"])
    options = parser.parse_args(arguments)
    print(f"NumPy {np.__version__}, OPENBLAS_NUM_THREADS={os.environ.get('OPENBLAS_NUM_THREADS', 'unset')}")
    print(f"{'a step of':<40} {'fit':>10} {'planned':>10}   ratio (quartiles)")
    for width in options.width:
        for batch_size in options.batch:
            for optimizer in options.optimizer:
                print(measure(optimizer, width, batch_size, options.steps, options.pairs), flush=True)


if __name__ == "__main__":
    main()
