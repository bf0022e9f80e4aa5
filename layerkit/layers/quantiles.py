"""Quantiles of data that comes in batches, from a summary of bounded size: what `Discretization.adapt` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import DataError
from layerkit.layers.host_layer import batches_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


def boundaries(data: Any, bins: int, epsilon: float, steps: int | None, name: str) -> tuple[float, ...]:
    """Return the quantiles that part data into so many intervals, as Keras finds them, in float32.

    Args:
        data: an array or lists, or an iterable of such batches.
        bins: how many intervals there shall be.
        epsilon: see `summarized`.
        steps: batches to take; None for all.
        name: of the layer, for messages.
    """
    summary = np.zeros((2, 0), "float32")
    for values in batches_of(data, steps, name):
        if values.dtype.kind not in "iufb":
            raise DataError(f"{name}: data must hold numbers. Received: an array of dtype {values.dtype}")
        if not values.size:
            continue
        both = np.concatenate([summarized(values.astype("float32"), epsilon), summary], axis=1)
        summary = compressed(both[:, np.argsort(both[0])], epsilon)
    if not summary.size:
        raise DataError(f"{name}: data must hold at least one number. Received: none")
    return tuple(map(float, compressed(summary, 1.0 / bins)[0, :-1].tolist()))


def summarized(values: NDArray[Any], epsilon: float) -> NDArray[Any]:
    """Return about ``1 / epsilon`` of the values in rising order, and how many each stands for, as two rows."""
    values = np.sort(values.reshape(-1))
    step = max(values.size * epsilon, 1)
    chosen = values[int(step - 1) :: int(step)]
    return np.stack([chosen, np.ones_like(chosen) * step])


def compressed(summary: NDArray[Any], epsilon: float) -> NDArray[Any]:
    """Return a summary of about ``1 / epsilon`` values, interpolated between those of a larger one."""
    if summary.shape[1] * epsilon < 1:
        return summary
    shares = epsilon + np.arange(0.0, 1.0, epsilon)
    weights = summary[1].cumsum()
    values, reached = (_between(shares, weights / weights[-1], known) for known in (summary[0], weights))
    return np.stack([values, np.diff(reached, prepend=0.0)]).astype("float32")


def _between(x: NDArray[Any], places: NDArray[Any], known: NDArray[Any]) -> NDArray[Any]:
    """Return what is interpolated between known values at these places."""
    return np.interp(x, places, known)
