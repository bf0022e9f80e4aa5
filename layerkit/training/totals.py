"""What an epoch adds up: the totals of the loss and of the metrics, forgotten and read together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.changes import moves
from layerkit.metrics import Metric
from layerkit.metrics.mean import TINY, MeanMetric
from layerkit.xp.state import pack

if TYPE_CHECKING:
    from collections.abc import Mapping


class Totals:
    """The totals of some metrics.

    Those of means lie side by side in one array: one word forgets them all, and one transfer reads them.

    Args:
        metrics: whose they are, by name.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self._named = dict(metrics)
        self._metrics = list(metrics.values())
        self._arranged: int | None = None
        self._flat: Any = None
        self._places: list[tuple[str, Metric, int, int]] = []  # of a mean's total and count in the flat array
        self._others: list[Metric] = []

    def __getstate__(self) -> dict[str, Any]:
        # The totals of a copy lie elsewhere.
        return {**self.__dict__, "_arranged": None, "_flat": None}

    def arrange(self) -> None:
        """Lay the totals of means side by side, unless they are."""
        if self._arranged == moves():
            return
        means = [metric for metric in self._metrics if _is_mean(metric)]
        totals = [total for metric in means for total in metric.variables]
        if means:
            pack(totals, means[0].xp)
        flat = totals[0].flat if means else None
        # One that is measured for another model, too, lies among the totals of that.
        if flat is not None and (
            tuple(flat.shape) != (len(totals),) or any(total.flat is not flat for total in totals)
        ):
            means, flat = [], None
        self._flat = flat
        self._others = [metric for metric in self._metrics if metric not in means]
        self._places = []
        for name, metric in self._named.items():
            total, count = (total.offset for total in metric.variables) if metric in means else (-1, -1)
            self._places.append((name, metric, total, count))
        self._arranged = moves()

    def reset(self) -> None:
        """Set all totals to 0."""
        self.arrange()
        if self._flat is not None:
            self._metrics[0].xp.assign(self._flat, 0)
        for metric in self._others:
            metric.reset_state()

    def logs(self) -> dict[str, Any]:
        """Return the number of each metric by name, read from the device."""
        self.arrange()
        sums: list[float] = [] if self._flat is None else self._metrics[0].xp.to_numpy(self._flat).tolist()
        # What `MeanMetric.compute` does, in Python's numbers: on arrays of one element it takes several times as long.
        return {
            name: metric.result() if total < 0 else sums[total] / max(sums[count], TINY)
            for name, metric, total, count in self._places
        }


def _is_mean(metric: Metric) -> bool:
    kind = type(metric)
    own = kind.result, kind.reset_state, kind.compute
    return own == (Metric.result, Metric.reset_state, MeanMetric.compute) and len(metric.variables) == 2
