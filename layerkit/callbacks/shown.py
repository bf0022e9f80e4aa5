"""How the numbers of logs are shown while a model is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_NUMBERS = 4
"""Of a metric with a number for each class or threshold, so many are shown; History has all."""


def shown_logs(logs: Mapping[str, Any]) -> list[str]:
    """Return each value behind its name."""
    return [f"{name}: {shown_number(value)}" for name, value in logs.items()]


def shown_number(value: Any) -> str:
    """Return a number with four digits behind the point, which is moved where it is small or large."""
    if getattr(value, "ndim", 0):  # a metric of several numbers
        rest = " …" if value.size > MOST_NUMBERS else ""
        return f"[{' '.join(map(shown_number, value.ravel()[:MOST_NUMBERS]))}{rest}]"
    try:
        number = float(value)
    except (TypeError, ValueError):  # a callback may have added anything
        return str(value)
    return f"{number:.4f}" if 1e-3 <= abs(number) < 1e5 or number == 0 else f"{number:.4e}"
