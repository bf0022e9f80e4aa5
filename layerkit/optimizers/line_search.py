"""A step length by the strong Wolfe conditions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

DECREASE = 1e-4
CURVATURE = 0.9
"""How much of the decrease that the slope promises must come, and how much of the slope may be left."""


class Point(NamedTuple):
    """A point on the line: the step length, the value there, and the slope."""

    length: float
    value: float
    slope: float


def strong_wolfe(at: Callable[[float], Point], start: Point, length: float, most: int) -> Point:
    """Return a point that fulfils ``f ≤ f₀ + 1e-4 t f₀'`` and ``|f'| ≤ 0.9 |f₀'|``.

    The interval is widened until it holds such a point, and then narrowed by cubic interpolation (Nocedal and Wright,
    *Numerical Optimization*, 2006, algorithms 3.5 and 3.6).

    Args:
        at: evaluates the function at a step length.
        start: the point of length 0, from which the function falls.
        length: the first that is tried.
        most: how often the function is evaluated, at most.

    Returns:
        The point; if there is none within so many evaluations, the lowest that is below the start, or the start.
    """
    before, best = start, start
    left = most
    while left > 0:
        point, left = at(length), left - 1
        if point.value < best.value:
            best = point
        if not _falls_enough(point, start) or (before.length > 0 and point.value >= before.value):
            return _narrowed(at, start, before, point, best, left)
        if abs(point.slope) <= CURVATURE * abs(start.slope):
            return point
        if point.slope >= 0:
            return _narrowed(at, start, point, before, best, left)
        before, length = point, length * 2.0
    return best


def _falls_enough(point: Point, start: Point) -> bool:
    return point.value <= start.value + DECREASE * point.length * start.slope  # False for NaN


def _narrowed(at: Callable[[float], Point], start: Point, low: Point, high: Point, best: Point, left: int) -> Point:
    """Narrow an interval, of which `low` is the better end."""
    for _ in range(left):
        width = high.length - low.length
        if abs(width) <= 1e-16 * max(low.length, high.length):
            break
        point = at(_between(low, high))
        if point.value < best.value:
            best = point
        if not _falls_enough(point, start) or point.value >= low.value:
            high = point
            continue
        if abs(point.slope) <= CURVATURE * abs(start.slope):
            return point
        low, high = point, (low if point.slope * width >= 0 else high)
    return low if _falls_enough(low, start) and low.length > 0 else best


def _between(low: Point, high: Point) -> float:
    """Return where the cubic through both points has its minimum, kept away from the ends."""
    width = high.length - low.length
    first = low.slope + high.slope - 3.0 * (low.value - high.value) / (low.length - high.length)
    inside = first * first - low.slope * high.slope
    length = math.nan
    if inside >= 0 and math.isfinite(inside):
        second = math.copysign(math.sqrt(inside), width)
        divisor = high.slope - low.slope + 2.0 * second
        if divisor != 0:
            length = high.length - width * (high.slope + second - first) / divisor
    share = (length - low.length) / width
    return low.length + width * (min(max(share, 0.1), 0.9) if math.isfinite(share) else 0.5)
