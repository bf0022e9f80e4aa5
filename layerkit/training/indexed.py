"""Batches that are loaded by their number: those of a `PyDataset`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.data.loading import fetch, load
from layerkit.overriding import override
from layerkit.training.data import Batch, BatchData, Rules, Shape, row_shapes

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from numpy.typing import NDArray


class IndexedData(BatchData):
    """The batches of a `PyDataset`, in any order, loaded by its threads or processes."""

    def __init__(self, source: Any, rules: Rules, *, targets: bool, name: str = "x") -> None:
        super().__init__(source, rules, targets=targets, name=name)
        self.steps = source.num_batches
        self._shapes: tuple[Shape, list[Shape] | None] | None = None

    @property
    @override
    def indexed(self) -> bool:
        return self.steps is not None

    @property
    @override
    def in_order(self) -> int | None:
        return self.steps

    @override
    def row_shapes(self) -> tuple[Shape, list[Shape] | None]:
        if self.steps == 0:
            raise self._empty()
        if self._shapes is None:
            self._shapes = row_shapes(*self._checked(fetch(self.source, 0, 0), 0)[:2])
        return self._shapes

    @override
    def go_on(self, passes: int) -> None:
        for _ in range(passes):
            self.source.on_epoch_begin()
            self.source.on_epoch_end()

    @override
    def batches(self, order: NDArray[Any] | None = None, first: int = 0) -> Iterator[Batch]:
        chosen: Any = np.arange(self.steps or 0) if order is None and first else order
        return self._loaded(None if chosen is None else chosen[first:], first)

    def _loaded(self, order: NDArray[Any] | None, first: int) -> Generator[Batch]:
        self.source.on_epoch_begin()
        raw = load(self.source, order)
        try:
            for number, batch in enumerate(raw, first):
                yield self._weighed(self._checked(batch, number))
        finally:
            raw.close()  # now, and not when the garbage is collected
        self.source.on_epoch_end()
