"""Stopping before an update that is not finite: ``compile(on_nonfinite="error")``."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import is_a
from layerkit.errors import NonFiniteError
from layerkit.training.trouble import Copy, Lookout, is_finite

if TYPE_CHECKING:
    from layerkit.training.step import Step

WINDOW = 64
"""How many steps are taken before their numbers are looked at: beside them, a copy of the state costs little."""


class FiniteGuard:
    """Takes steps back that are not finite.

    The state is copied, some steps are taken, and the loss and the weights are looked at. Where they are not finite,
    the steps are taken again from the copy, with the same batches, one by one up to the first whose loss or weights are
    not; and the state is what it was before that one.

    Args:
        step: what is done to a batch.
        window: after how many steps they are looked at: 1 where somebody may change the model between two of them.
    """

    def __init__(self, step: Step, window: int = WINDOW) -> None:
        self._step, self._window = step, window
        self._copy: Copy | None = None
        self._batches: list[tuple[Any, ...]] = []

    def before(self, *batch: Any) -> None:
        """Be told of a step that is about to be taken."""
        if not self._batches:
            if self._copy is None or self._copy.stale:
                self._copy = Copy(self._step.state())
            else:
                self._copy.take()
        # The next batch may be written over this one.
        self._batches.append(tuple(map(_kept, batch)))

    def after(self, epoch: int, batch: int) -> None:
        """Be told that it was taken."""
        if len(self._batches) == self._window:
            self.check(epoch, batch)

    def check(self, epoch: int, batch: int) -> None:
        """Look at the steps since the last look, of which the last was that of this batch.

        Raises:
            NonFiniteError: one of them was not finite.
        """
        batches, self._batches = self._batches, []
        if self._copy is None or not batches or self._is_finite():
            return
        self._copy.put_back()
        for number, arrays in enumerate(batches, batch + 1 - len(batches)):
            start = Copy(self._step.state())
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's, which have been shown the first time
                self._step.train(*arrays)
                if self._is_finite():
                    continue
                loss = self._step.logs()["loss"]
                start.put_back()
                where = self._first(arrays)
            start.put_back()
            raise NonFiniteError(
                f"fit: the loss and the weights must be finite. Received: a mean loss of {loss} in batch {number + 1} "
                f"of epoch {epoch + 1}; {where} is not finite. The weights are those before that batch. "
                f"A smaller learning rate, or global_clipnorm in the optimizer, often helps."
            )

    def _is_finite(self) -> bool:
        if not math.isfinite(self._step.logs()["loss"]):
            return False
        return all(map(is_finite, self._step.model.trainable_weights))

    def _first(self, arrays: tuple[Any, ...]) -> str:
        """Return what was not finite first."""
        lookout = Lookout(self._step)
        with self._step.xp.on_device(), lookout.watching():
            self._step.train(*arrays, eagerly=True)
        return lookout.seen[0] if lookout.seen else "the loss"


def _kept(array: Any) -> Any:
    return array.copy() if is_a(array, np.ndarray) else array
