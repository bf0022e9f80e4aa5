"""Losses for numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.checks import check_positive
from layerkit.losses.loss import EPSILON, StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class MeanSquaredError(StandardLoss):
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

    @override
    def residuals(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return y_pred - y_true


class MeanAbsoluteError(StandardLoss):
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


class Huber(StandardLoss):
    """Quadratic near 0, linear beyond `delta` (Huber, 1964): the mean over the last axis, with e = y_pred - y_true, of

    ``e² / 2`` where |e| ≤ delta, and ``delta |e| - delta² / 2`` elsewhere. The derivative is e, clipped to ±delta.

    Args:
        delta: above 0.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Raises:
        ArgumentError: `delta` is not above 0.
    """  # noqa: D415 - the sentence ends with its formula

    def __init__(
        self,
        delta: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "huber_loss",
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
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


class MeanAbsolutePercentageError(StandardLoss):
    """``v = 100 mean(|y_pred - y_true| / s)`` over the last axis of length n, with ``s = max(|y_true|, 1e-7)``.

    ``dy_pred = dv 100 / n sign(y_pred - y_true) / s``.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        share = (y_pred - y_true) / xp.maximum(xp.abs(y_true), EPSILON)
        return 100.0 * xp.mean(xp.abs(share), axis=-1), (y_true, share)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        y_true, share = saved
        scale = xp.expand_dims(dvalues * (100.0 / share.shape[-1]), axis=-1)
        return scale * xp.sign(share) / xp.maximum(xp.abs(y_true), EPSILON)


class MeanSquaredLogarithmicError(StandardLoss):
    """``v = mean(e²)`` over the last axis of length n, with ``e = log(1 + p) - log(1 + t)``.

    p and t are y_pred and y_true, kept from falling below 1e-7. ``dp = dv 2 / n e / (1 + p)``, and 0 where p was kept.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        error = self.residuals(xp, y_true, y_pred)
        return xp.mean(error * error, axis=-1), (y_pred, error)

    @override
    def residuals(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return xp.log1p(xp.maximum(y_pred, EPSILON)) - xp.log1p(xp.maximum(y_true, EPSILON))

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        y_pred, error = saved
        scale = xp.expand_dims(dvalues * (2.0 / error.shape[-1]), axis=-1)
        return xp.where(y_pred > EPSILON, scale * error / (1.0 + xp.maximum(y_pred, EPSILON)), 0.0)


class LogCosh(StandardLoss):
    """``v = mean(log cosh e)`` over the last axis of length n, with e = y_pred - y_true; ``dy_pred = dv tanh(e) / n``.

    It is about ``e² / 2`` near 0, and ``|e| - log 2`` far from it. Computed so that neither end loses digits.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        error = y_pred - y_true
        size = xp.abs(error)
        # cosh a = 1 + 2 sinh²(a / 2): exact near 0, and it overflows; (exp(a) + exp(-a)) / 2 is the other way round.
        root = xp.sinh(0.5 * xp.minimum(size, 1.0))
        far = size + xp.log1p(xp.exp(-2.0 * size)) - math.log(2.0)
        return xp.mean(xp.where(size < 1.0, xp.log1p(2.0 * root * root), far), axis=-1), error

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        return xp.expand_dims(dvalues / saved.shape[-1], axis=-1) * xp.tanh(saved)
