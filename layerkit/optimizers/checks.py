"""Checks of the numbers that optimizers take."""

from __future__ import annotations

from layerkit.errors import ArgumentError


def check_fraction(owner: str, *, below_1: bool = False, **values: float) -> float:
    """Return the (last) value.

    Raises:
        ArgumentError: one is not from 0 to 1, or is 1 where it must be below.
    """
    for name, value in values.items():
        if not 0 <= value <= 1 or (below_1 and value == 1):
            bound = "from 0 to below 1" if below_1 else "from 0 to 1"
            raise ArgumentError(f"{owner}: {name} must be {bound}. Received: {name}={value!r}")
    return values[max(values, key=list(values).index)]


def check_positive(owner: str, **values: float) -> float:
    """Return the (last) value.

    Raises:
        ArgumentError: one is not above 0.
    """
    for name, value in values.items():
        if not value > 0:
            raise ArgumentError(f"{owner}: {name} must be above 0. Received: {name}={value!r}")
    return values[max(values, key=list(values).index)]
