"""Losses that are 0 once a prediction is right by a margin of 1 (Crammer and Singer, JMLR 2001)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.losses.loss import StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Margin(StandardLoss):
    """Base of the two losses below, whose targets t are -1 or 1; a batch of 0 and 1 alone is turned into these."""

    target_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)

    def shortfall(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        """Return ``max(1 - t y, 0)`` and t."""
        is_binary = xp.all((y_true == 0.0) | (y_true == 1.0))
        t = xp.where(is_binary, 2.0 * y_true - 1.0, y_true)
        return xp.maximum(1.0 - t * y_pred, 0.0), t


class Hinge(Margin):
    """``v = mean(max(1 - t y, 0))`` over the last axis of length n, for targets t of -1 or 1; ``dy = -dv t / n``.

    dy is 0 where t y ≥ 1. If a batch of targets holds nothing but 0 and 1, the zeros are taken for -1.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        short, t = self.shortfall(xp, y_true, y_pred)
        return xp.mean(short, axis=-1), (short, t)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        short, t = saved
        return xp.where(short > 0.0, -xp.expand_dims(dvalues / t.shape[-1], axis=-1) * t, 0.0)


class SquaredHinge(Margin):
    """``v = mean(s²)`` over the last axis of length n, with ``s = max(1 - t y, 0)``; ``dy = -dv 2 s t / n``.

    If a batch of targets t holds nothing but 0 and 1, the zeros are taken for -1.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        short, t = self.shortfall(xp, y_true, y_pred)
        return xp.mean(short * short, axis=-1), (short, t)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        short, t = saved
        return xp.expand_dims(dvalues * (-2.0 / t.shape[-1]), axis=-1) * short * t


class CategoricalHinge(StandardLoss):
    """``v = max(1 + max((1 - t) y) - Σ t y, 0)`` over the last axis, for one-hot targets t.

    The class that is right must score higher than every other, by at least 1. The derivative is found.

    Shapes:
        y_true, y_pred: (batch, ..., classes). values: (batch, ...).
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        right = xp.sum(y_true * y_pred, axis=-1)
        wrong = xp.max((1.0 - y_true) * y_pred, axis=-1)
        return xp.maximum(wrong - right + 1.0, 0.0)
