"""``python -m tests.saving.load_time``: how long `load_model` takes, against `safetensors.numpy.load_file`.

Both read the same weights, in turn, in one process; the first is to take at most 1.5 times the second and 50 ms. The
second checks nothing. The first makes a model, and compares a SHA-256 of every byte, in a thread beside the reading:
where there is one core, or another process has the second, the sum's time is added to it. So the time of the sum alone
is printed too, and how many cores there are.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors.numpy import load_file

from layerkit import Input, Sequential, load_model
from layerkit.layers import Dense

if TYPE_CHECKING:
    from collections.abc import Callable


class Times(NamedTuple):
    """Medians in seconds, the quartiles of the ratio, and the size of the file in MiB."""

    size_mib: float
    load_s: float
    load_file_s: float
    sum_s: float
    quartiles: list[float]

    @property
    def bound_s(self) -> float:
        """What the first is to take at most."""
        return 1.5 * self.load_file_s + 0.05


def seconds(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measured(width: int, layers: int, pairs: int) -> Times:
    """Measure both on a model of so many square layers."""
    with tempfile.TemporaryDirectory() as folder:
        path, plain = Path(folder) / "a.layerkit", Path(folder) / "a.safetensors"
        model = Sequential([Input((width,)), *[Dense(width) for _ in range(layers)]], seed=0)
        model.save(path)
        model.save_weights(plain)
        expected = model.get_weights()[0]
        del model
        data = path.read_bytes()

        def whole() -> None:
            np.testing.assert_array_equal(load_model(path).get_weights()[0][0], expected[0])

        def arrays() -> None:
            np.testing.assert_array_equal(load_file(plain)["dense/kernel"][0], expected[0])

        whole()
        arrays()
        ours: list[float] = []
        theirs: list[float] = []
        sums: list[float] = []
        for pair in range(pairs):
            for which in (0, 1) if pair % 2 else (1, 0):
                (theirs if which else ours).append(seconds(arrays if which else whole))
            sums.append(seconds(lambda: hashlib.sha256(data).digest()))
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        quartiles = statistics.quantiles(ratios, n=4) if pairs > 1 else ratios * 3
        medians = (statistics.median(ours), statistics.median(theirs), statistics.median(sums))
        return Times(path.stat().st_size / 2**20, *medians, quartiles)


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=15)
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; {os.getloadavg()[0]:.1f} processes at work")
    for width in options.width:
        found = measured(width, options.layers, options.pairs)
        low, median, high = found.quartiles
        print(
            f"{found.size_mib:6.1f} MiB: load_model {1e3 * found.load_s:6.1f} ms, load_file "
            f"{1e3 * found.load_file_s:6.1f} ms, ratio {median:.2f} ({low:.2f} to {high:.2f}); "
            f"bound {1e3 * found.bound_s:6.1f} ms: {'kept' if found.load_s <= found.bound_s else 'MISSED'}; "
            f"SHA-256 alone {1e3 * found.sum_s:6.1f} ms",
            flush=True,
        )


if __name__ == "__main__":
    main()
