"""Totals of metrics: read and forgotten together, and right where they cannot be."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from layerkit.metrics import Mean, MeanAbsoluteError, Metric
from layerkit.testing import StrictBackend
from layerkit.training.totals import Totals

if TYPE_CHECKING:
    from layerkit.xp import Array, Backend


class RootMean(Mean):
    """The square root of a mean: totals of a mean, and a formula of its own."""

    def compute(self, xp: Backend) -> Array:
        return xp.sqrt(super().compute(xp))


class Largest(Metric):
    """No mean at all."""

    operands = ("values",)

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.add_variable("largest")

    def update(self, xp: Backend, values: Array, sample_weight: Array | None = None) -> None:  # type: ignore[override]
        xp.assign(self.largest, xp.maximum(self.largest, xp.astype(xp.max(values), xp.float64)))

    def compute(self, xp: Backend) -> Array:
        return self.largest


def measured(metrics: list[Any], *values: list[float]) -> list[float]:
    """Return what the metrics, which have been reset, say of these batches."""
    totals = Totals({metric.name: metric for metric in metrics})
    totals.reset()
    for batch in values:
        for metric in metrics:
            metric.update_state(np.array(batch))
    return list(totals.logs().values())


def test_means_and_others_are_measured_beside_each_other() -> None:
    metrics = [Mean("a"), Largest(), RootMean("b"), Mean("c")]
    assert measured(metrics, [1, 4], [7]) == [4, 7, 2, 4]
    assert measured(metrics, [9]) == [9, 9, 3, 9]
    assert measured(metrics) == [0, 0, 0, 0]
    assert Totals({}).logs() == {}


def test_all_means_are_read_in_one_transfer() -> None:
    xp = StrictBackend.open("")
    metrics = [Mean(str(number)).to(xp) for number in range(3)]
    totals = Totals({metric.name: metric for metric in metrics})
    totals.reset()
    for number, metric in enumerate(metrics):
        metric.update_state([number])
    before = xp.transfers.to_host
    assert totals.logs() == {"0": 0, "1": 1, "2": 2}
    assert xp.transfers.to_host == before + 1


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("others", [[], [Mean("b")]])
def test_a_metric_of_two_models_is_forgotten_without_the_others(first: int, others: list[Mean]) -> None:
    shared, alone = Mean("shared"), Mean("a")
    both = [Totals({metric.name: metric for metric in metrics}) for metrics in ([shared, alone], [shared, *others])]
    for totals in (both[first], both[1 - first]):
        totals.reset()
    for metric in (shared, alone, *others):
        metric.update_state([3.0])
    both[1].reset()
    assert both[1].logs() == {"shared": 0, **{metric.name: 0 for metric in others}}
    assert both[0].logs() == {"shared": 0, "a": 3}
    alone.reset_state()
    shared.update_state([5.0])
    both[0].reset()
    assert both[0].logs() == {"shared": 0, "a": 0}


def test_a_copy_has_totals_of_its_own() -> None:
    first = Mean()
    totals = Totals({"a": first, "b": MeanAbsoluteError()})
    totals.reset()
    first.update_state([2.0])
    twin = copy.deepcopy(totals)
    assert twin.logs() == {"a": 2, "b": 0}
    twin.reset()
    assert (totals.logs(), twin.logs()) == ({"a": 2, "b": 0}, {"a": 0, "b": 0})


def test_totals_are_found_where_they_have_moved() -> None:
    metric = Mean()
    totals = Totals({"mean": metric})
    totals.reset()
    metric.update_state([2.0])
    metric.to("strict")
    assert totals.logs() == {"mean": 2}
    totals.reset()
    assert metric.result() == 0
