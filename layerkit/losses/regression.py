"""Losses for numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from layerkit.checks import check_positive
from layerkit.losses.loss import Loss

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class MeanSquaredError(Loss):
    """``v = mean((y_pred - y_true)²)`` over the last axis of length n; ``dy_pred = dv 2 (y_pred - y_true) / n``.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        error = y_pred - y_true
        return xp.mean(error * error, axis=-1), error

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        return xp.expand_dims(dvalues * (2.0 / saved.shape[-1]), axis=-1) * saved


class MeanAbsoluteError(Loss):
    """``v = mean(|y_pred - y_true|)`` over the last axis of length n; ``dy_pred = dv sign(y_pred - y_true) / n``.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        error = y_pred - y_true
        return xp.mean(xp.abs(error), axis=-1), error

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        return xp.expand_dims(dvalues / saved.shape[-1], axis=-1) * xp.sign(saved)


class Huber(Loss):
    """Quadratic near 0, linear beyond `delta` (Huber, 1964): the mean over the last axis, with e = y_pred - y_true, of

    ``e² / 2`` where |e| ≤ delta, and ``delta |e| - delta² / 2`` elsewhere. The derivative is e, clipped to ±delta.

    Args:
        delta: above 0.
        reduction: see `Loss`.
        name: see `Loss`.

    Raises:
        ArgumentError: `delta` is not above 0.
    """  # noqa: D415 - the sentence ends with its formula

    def __init__(
        self, delta: float = 1.0, reduction: str | None = "sum_over_batch_size", name: str | None = "huber_loss"
    ) -> None:
        super().__init__(reduction, name)
        self.delta = check_positive("Huber", delta=delta)

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        error = y_pred - y_true
        clipped = xp.clip(error, -self.delta, self.delta)
        # c (e - c / 2) is e² / 2 where c = e, and delta |e| - delta² / 2 where c = ±delta.
        return xp.mean(clipped * (error - 0.5 * clipped), axis=-1), clipped

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        return xp.expand_dims(dvalues / saved.shape[-1], axis=-1) * saved
