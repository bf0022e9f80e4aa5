"""Losses from probability: the divergence between distributions, and the likelihood of counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.losses.loss import EPSILON, StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class KLDivergence(StandardLoss):
    """Kullback-Leibler divergence, ``v = Σ t log(t / p)`` over the last axis, for distributions t and p.

    Both are kept from 1e-7 to 1, as in Keras. ``dp = -dv t / p``, and 0 where p was kept (Kullback and Leibler, 1951).

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        t, p = xp.clip(y_true, EPSILON, 1.0), xp.clip(y_pred, EPSILON, 1.0)
        return xp.sum(t * xp.log(t / p), axis=-1), (t, p, y_pred)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        t, p, y_pred = saved
        return xp.where(p == y_pred, -xp.expand_dims(dvalues, axis=-1) * t / p, 0.0)


class Poisson(StandardLoss):
    """``v = mean(y - t log(y + 1e-7))`` over the last axis of length n, for counts t and their expected number y.

    It is minus the logarithm of the Poisson likelihood, without the term that depends on t alone.
    ``dy = dv (1 - t / (y + 1e-7)) / n``.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        expected = y_pred + EPSILON
        return xp.mean(y_pred - y_true * xp.log(expected), axis=-1), (y_true, expected)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        y_true, expected = saved
        return xp.expand_dims(dvalues / y_true.shape[-1], axis=-1) * (1.0 - y_true / expected)
