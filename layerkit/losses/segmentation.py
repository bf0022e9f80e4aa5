"""Losses for masks: how much of two areas they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_at_least, check_axis
from layerkit.losses.loss import EPSILON, StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

Axes = int | tuple[int, ...] | None


class Dice(StandardLoss):
    """``v = 1 - 2 Σ t y / (Σ t + Σ y + 1e-7)`` (Dice, 1945; Milletari et al., 3DV 2016). The derivative is found.

    Args:
        reduction: see `Loss`.
        name: see `Loss`.
        axis: the axes that are summed over. With None, as in Keras, all are, the batch included: then there is one
            value for a batch, which depends on how the rows are divided into batches, and no sample weights.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ...). values: the axes that are left: (batch,) with ``axis=(1, 2, 3)`` of images.

    Raises:
        ArgumentError: `axis` is neither an axis nor several.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __init__(
        self,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Axes = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = None if axis is None else check_axis("Dice", axis=axis)

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        shared = xp.sum(y_true * y_pred, axis=self.axis)
        return 1.0 - 2.0 * shared / (xp.sum(y_true, axis=self.axis) + xp.sum(y_pred, axis=self.axis) + EPSILON)


class Tversky(StandardLoss):
    """``v = 1 - s / (s + alpha Σ t (1 - y) + beta Σ (1 - t) y + 1e-7)``, with ``s = Σ t y`` (Salehi et al., 2017).

    `alpha` weighs what was missed and `beta` what was claimed too much, as Keras computes it. With both 0.5 it is the
    Dice loss. The derivative is found.

    Args:
        alpha: at least 0.
        beta: at least 0.
        reduction: see `Loss`.
        name: see `Loss`.
        axis: as of `Dice`.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ...). values: the axes that are left.

    Raises:
        ArgumentError: `alpha` or `beta` is below 0, or `axis` neither an axis nor several.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __init__(
        self,
        alpha: float = 0.5,
        beta: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        axis: Axes = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.alpha = check_at_least("Tversky", 0, alpha=alpha)
        self.beta = check_at_least("Tversky", 0, beta=beta)
        self.axis = None if axis is None else check_axis("Tversky", axis=axis)

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        shared = xp.sum(y_true * y_pred, axis=self.axis)
        missed = xp.sum(y_true * (1.0 - y_pred), axis=self.axis)
        surplus = xp.sum((1.0 - y_true) * y_pred, axis=self.axis)
        return 1.0 - shared / (shared + self.alpha * missed + self.beta * surplus + EPSILON)
