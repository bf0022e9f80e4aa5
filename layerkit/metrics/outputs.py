"""Metrics with totals for each output of a model."""

from __future__ import annotations

from typing import ClassVar

from layerkit.errors import ShapeError
from layerkit.metrics.metric import Metric
from layerkit.overriding import override


class PerOutput(Metric):
    """Base of metrics whose totals have an element for each output, of which there are as many as in the first batch.

    Args:
        name: the key in History.
        dtype: see `Metric`.
    """

    totals: ClassVar[tuple[str, ...]] = ()

    def __init__(self, name: str | None, dtype: str | None) -> None:
        super().__init__(name, dtype)
        self.outputs: int | None = None
        self.built = False

    @override
    def build(self, *shapes: tuple[int | None, ...]) -> None:
        shape = shapes[-1]
        if len(shape) != 2 or shape[1] is None or self.outputs not in (None, shape[1]):
            outputs = "outputs" if self.outputs is None else str(self.outputs)
            raise ShapeError(f"{self.name}: predictions must have shape (batch, {outputs}). Received: shape {shape}")
        if not self.built:
            self.outputs = shape[1]
            for name in self.totals:
                setattr(self, name, self.add_variable(name, (shape[1],)))
            self.built = True
