"""``python -m tests.benchmarks``: import time, `fit` against NumPy by hand, and memory over a memory map."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

from layerkit import Sequential
from layerkit.layers import Dense, ReLU, Sigmoid
from layerkit.losses import MeanSquaredError, SparseCategoricalCrossentropy
from layerkit.optimizers import SGD
from tests.benchmarks.compare import compare
from tests.benchmarks.handwritten import Mlp, Xor

HEAD = f"{'work':<44} {'layerkit':>10} {'by hand':>10}   ratio (quartiles)"


def import_time(pairs: int) -> None:
    """Print what ``import layerkit`` costs beside ``import numpy``, each in a fresh process."""
    programs = ("import layerkit", "import numpy")
    # Bytecode is kept, as it is where a package is installed.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def run(program: str) -> None:
        subprocess.run([sys.executable, "-c", program], check=True, env=environment)

    result = compare(lambda: run(programs[0]), lambda: run(programs[1]), pairs)
    extra_ms = (result.a_s - result.b_s) * 1e3
    print(f"{'import, whole process (by hand: numpy)':<44} {result}; {extra_ms:.0f} ms more than NumPy's")


def xor(pairs: int, epochs: int) -> None:
    """Print the time of an epoch of one step on the smallest network."""
    x = np.array([[0, 0, 1], [0, 1, 1], [1, 0, 1], [1, 1, 1]], "float32")
    y = np.array([[0], [1], [1], [0]], "float32")
    model = Sequential([Dense(4), Sigmoid(), Dense(1), Sigmoid()], seed=0)
    model.compile(SGD(learning_rate=1.0), MeanSquaredError())
    by_hand = Xor(x, y)
    result = compare(
        lambda: model.fit(x, y, batch_size=4, epochs=epochs, verbose=0),
        lambda: by_hand.train(epochs),
        pairs,
        epochs,
    )
    print(f"{'XOR 3-4-1, an epoch of one step':<44} {result}")


def mlp(pairs: int, batch_size: int, width: int = 512) -> None:
    """Print the time of a step on an ordinary network."""
    rng = np.random.default_rng(0)
    steps = max(4, 3200 // batch_size)
    x = rng.normal(size=(steps * batch_size, 784)).astype("float32")
    labels = rng.integers(0, 10, len(x))
    model = Sequential([Dense(width), ReLU(), Dense(width), ReLU(), Dense(10)], seed=0)
    model.compile(SGD(learning_rate=0.01), SparseCategoricalCrossentropy(from_logits=True))
    by_hand = Mlp(x, labels, width)
    result = compare(
        lambda: model.fit(x, labels, batch_size=batch_size, verbose=0),
        lambda: by_hand.train(batch_size),
        pairs,
        steps,
    )
    print(f"{f'MLP 784-{width}-{width}-10, batch {batch_size}, a step':<44} {result}")


def memory(megabytes: int) -> None:
    """Print how much memory `fit` takes over a memory-mapped file of this size."""
    rows = megabytes * 1024 * 1024 // (784 * 4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        x = np.lib.format.open_memmap(path, mode="w+", dtype="float32", shape=(rows, 784))
        rng = np.random.default_rng(0)
        for start in range(0, rows, 4096):
            x[start : start + 4096] = rng.normal(size=(min(4096, rows - start), 784))
        x.flush()
        del x
        model = Sequential([Dense(64), ReLU(), Dense(10)], seed=0)
        model.compile(SGD(learning_rate=0.01), SparseCategoricalCrossentropy(from_logits=True))
        mapped = np.load(path, mmap_mode="r")
        labels = rng.integers(0, 10, rows)
        tracemalloc.start()
        model.fit(mapped, labels, batch_size=256, verbose=0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    print(f"fit over a memory map of {megabytes} MB: peak of allocated memory {peak / 2**20:.1f} MB")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="pairs of runs for each row")
    parser.add_argument("--megabytes", type=int, default=1100, help="size of the memory map; 0 for none")
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ")
    print(f"NumPy {np.__version__}, OPENBLAS_NUM_THREADS={os.environ.get('OPENBLAS_NUM_THREADS', 'unset')}\n")
    print(HEAD)
    import_time(options.pairs)
    xor(options.pairs, 500)
    for batch_size in (32, 128, 1024):
        mlp(options.pairs, batch_size)
    if options.megabytes:
        memory(options.megabytes)
    print(f"largest resident set of the whole run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
