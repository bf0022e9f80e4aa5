"""Timing two things against each other on a machine that is shared and noisy.

The two take turns, A B A B …, and each pair gives a ratio; what is reported is the median ratio with its quartiles.
A single time is printed for orientation only.
"""

from __future__ import annotations

import statistics
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Comparison(NamedTuple):
    """Median times of A and B in seconds, and the quartiles of A / B pair by pair."""

    a_s: float
    b_s: float
    low: float
    median: float
    high: float

    def __str__(self) -> str:
        times = f"{time_in_words(self.a_s):>10} {time_in_words(self.b_s):>10}"
        return f"{times}   {self.median:5.2f} ({self.low:.2f} to {self.high:.2f})"


def compare(a: Callable[[], object], b: Callable[[], object], pairs: int, per_call: int = 1) -> Comparison:
    """Time a and b in turn, after one call of each to warm up; each call does `per_call` units of work."""
    times: tuple[list[float], list[float]] = ([], [])
    a()
    b()
    for _ in range(pairs):
        for function, record in zip((a, b), times, strict=True):
            started = perf_counter()
            function()
            record.append((perf_counter() - started) / per_call)
    low, median, high = statistics.quantiles([x / y for x, y in zip(*times, strict=True)], n=4, method="inclusive")
    return Comparison(statistics.median(times[0]), statistics.median(times[1]), low, median, high)


def time_in_words(seconds: float) -> str:
    """Return a time in the unit in which it is at least 1, if there is one."""
    for unit, factor in (("s", 1.0), ("ms", 1e3)):
        if seconds * factor >= 1:
            return f"{seconds * factor:.2f} {unit}"
    return f"{seconds * 1e6:.1f} µs"
