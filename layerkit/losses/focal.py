"""Focal losses: crossentropy, weighed down where a prediction is right already (Lin et al., ICCV 2017)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_at_least, check_flag, check_fraction
from layerkit.losses.crossentropy import Crossentropy
from layerkit.losses.loss import EPSILON
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend


class FocalCrossentropy(Crossentropy):
    """Base of the two losses below.

    Args:
        alpha: the weight of the positive class, or of all.
        gamma: the power of what is missing to certainty, at least 0; with 0 it is crossentropy.
        from_logits: see `Crossentropy`.
        label_smoothing: from 0 to 1.
        axis: see `Crossentropy`.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __init__(
        self,
        *,
        alpha: Any,
        gamma: float,
        from_logits: bool,
        label_smoothing: float,
        axis: int,
        reduction: str | None,
        name: str | None,
        dtype: Any,
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis, reduction=reduction, name=name, dtype=dtype)
        owner = type(self).__name__
        self.alpha = alpha
        self.gamma = check_at_least(owner, 0, gamma=gamma)
        self.label_smoothing = check_fraction(owner, label_smoothing=label_smoothing)


class BinaryFocalCrossentropy(FocalCrossentropy):
    """``v = -mean((1 - m)^gamma (t log p + (1 - t) log(1 - p)))``, with ``m = t p + (1 - t) (1 - p)``.

    The mean is over the last axis, for targets t and probabilities p, which the logarithm takes to be from 1e-7 to
    1 - 1e-7. The derivative is found.

    Args:
        apply_class_balancing: whether each term is multiplied by ``t alpha + (1 - t) (1 - alpha)``.
        alpha: the weight of the positive class, from 0 to 1.
        gamma: at least 0; the greater, the less does a term count that is right already.
        from_logits: whether y_pred is the input of a sigmoid, which the loss then includes.
        label_smoothing: s in ``t ← t (1 - s) + s / 2``, from 0 to 1.
        axis: the axis of which the mean is taken.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).

    Raises:
        ArgumentError: `alpha`, `gamma` or `label_smoothing` is out of its range.
    """

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            alpha=check_fraction("BinaryFocalCrossentropy", alpha=alpha),
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )
        owner = "BinaryFocalCrossentropy"
        self.apply_class_balancing = check_flag(owner, apply_class_balancing=apply_class_balancing)

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        t = y_true * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        # 1 - sigmoid(z) has no correct digit left for z >> 0; sigmoid(-z), which equals it, has them all.
        p, rest = (xp.sigmoid(y_pred), xp.sigmoid(-y_pred)) if self.from_logits else (y_pred, 1.0 - y_pred)
        log_p, log_rest = (xp.log(xp.clip(share, EPSILON, 1.0 - EPSILON)) for share in (p, rest))
        values = -((t * rest + (1.0 - t) * p) ** self.gamma) * (t * log_p + (1.0 - t) * log_rest)
        if self.apply_class_balancing:
            values = values * (t * self.alpha + (1.0 - t) * (1.0 - self.alpha))
        return xp.mean(values, axis=self.axis)


class CategoricalFocalCrossentropy(FocalCrossentropy):
    """``v = -Σ alpha (1 - p)^gamma t log p`` over the axis of C classes, for one-hot targets t and probabilities p.

    Probabilities are divided by their sum, and kept from 1e-7 to 1 - 1e-7, as in Keras. The derivative is found.

    Args:
        alpha: the weight of every class, or a list with one for each; at least 0.
        gamma: at least 0; the greater, the less does a sample count that is right already.
        from_logits: whether y_pred is the input of a softmax, which the loss then includes.
        label_smoothing: s in ``t ← t (1 - s) + s / C``, from 0 to 1.
        axis: the axis of classes.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ..., C). values: (batch, ...).

    Raises:
        ArgumentError: `alpha`, `gamma` or `label_smoothing` is out of its range.
    """

    def __init__(
        self,
        alpha: float | Sequence[float] = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        for weight in alpha if isinstance(alpha, (list, tuple)) else [alpha]:
            check_at_least("CategoricalFocalCrossentropy", 0, alpha=weight)
        super().__init__(
            alpha=alpha,
            gamma=gamma,
            from_logits=from_logits,
            label_smoothing=label_smoothing,
            axis=axis,
            reduction=reduction,
            name=name,
            dtype=dtype,
        )

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        t = y_true * (1.0 - self.label_smoothing) + self.label_smoothing / y_true.shape[self.axis]
        p = xp.softmax(y_pred, axis=self.axis) if self.from_logits else y_pred
        p = xp.clip(p / xp.sum(p, axis=self.axis, keepdims=True), EPSILON, 1.0 - EPSILON)
        alpha = self.alpha
        if isinstance(alpha, (list, tuple)):
            alpha = xp.astype(xp.asarray(alpha), y_pred.dtype)
        return -xp.sum(alpha * (1.0 - p) ** self.gamma * t * xp.log(p), axis=self.axis)
