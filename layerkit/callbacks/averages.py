"""Measuring the averages of weights in their place."""

from __future__ import annotations

from typing import Any

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_flag
from layerkit.errors import ArgumentError
from layerkit.overriding import override


class SwapEMAWeights(Callback):
    """Evaluate and predict with the averages of the weights that an optimizer with ``use_ema=True`` keeps.

    Before validation, evaluation or prediction, weights and averages change places, and back afterwards: training goes
    on as it would have. Before the first step the averages are the weights.

    Args:
        swap_on_epoch: whether the averages are also in place from the end of an epoch until the next one begins, for
            callbacks that come behind this one: a `ModelCheckpoint` then saves the averages.

    Raises:
        ArgumentError: `swap_on_epoch` is no truth value; in `fit`, `evaluate` or `predict`: the model's optimizer
            keeps no averages.
    """

    def __init__(self, swap_on_epoch: bool = False) -> None:
        self.swap_on_epoch = check_flag("SwapEMAWeights", swap_on_epoch=swap_on_epoch)
        self._in_place = False

    @property
    def _optimizer(self) -> Any:
        """The optimizer that keeps the averages: of one that scales the loss, the one inside."""
        return getattr(self.model.optimizer, "inner_optimizer", self.model.optimizer)

    def _swap(self, *, in_place: bool) -> None:
        optimizer = self._optimizer
        served = getattr(optimizer, "optimizers", [optimizer])
        if not any(each.use_ema for each in served):
            raise ArgumentError(
                f"SwapEMAWeights: the optimizer must keep averages. Received: {optimizer.name} with use_ema=False. "
                f"Make it with use_ema=True."
            )
        if in_place is not self._in_place:
            optimizer.swap_averages(self.model.trainable_weights, in_place=in_place)
            self._in_place = in_place

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._swap(in_place=False)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        if self.swap_on_epoch:
            self._swap(in_place=True)

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        # Training that ended well has left the averages in the model for good; one that was cut off gets its weights.
        if self._optimizer.averages_in_place:
            self._swap(in_place=False)
        self._in_place = False

    @override
    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._swap(in_place=True)

    @override
    def on_test_end(self, logs: Logs | None = None) -> None:
        self._swap(in_place=False)

    @override
    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._swap(in_place=True)

    @override
    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._swap(in_place=False)
