"""Losses for classes: minus the logarithm of the probability that the model gives to the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_flag, check_fraction, check_number, check_one_axis, check_positive
from layerkit.errors import ArgumentError
from layerkit.losses.loss import EPSILON, Shape, StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Crossentropy(StandardLoss):
    """Base of the three losses below.

    Args:
        from_logits: whether y_pred is the input of a sigmoid or softmax, which the loss then includes (and which is
            exact at any size), rather than probabilities (which are kept 1e-7 away from 0 and 1, as in Keras).
        axis: the axis of classes.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.
    """

    def __init__(
        self,
        *,
        from_logits: bool = False,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.from_logits = check_flag(type(self).__name__, from_logits=from_logits)
        self.axis = check_one_axis(type(self).__name__, axis=axis)


class BinaryCrossentropy(Crossentropy):
    """``v = -mean(t log p + (1 - t) log(1 - p))`` over the last axis, for targets t and probabilities p of length n.

    From logits z, ``p = sigmoid(z)``: ``v = mean(t max(-z, 0) + (1 - t) max(z, 0) + log1p(exp(-|z|)))`` and
    ``dz = dv (p - t) / n``. From probabilities ``dp = dv (p - t) / (p (1 - p)) / n``, and 0 where p was
    kept from 0 or 1.

    Args:
        from_logits: see `Crossentropy`.
        label_smoothing: s in ``t ← t (1 - s) + s / 2``, from 0 to 1 (Szegedy et al., CVPR 2016).
        axis: the axis of which the mean is taken.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).

    Raises:
        ArgumentError: `label_smoothing` is not from 0 to 1.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis, reduction=reduction, name=name, dtype=dtype)
        self.label_smoothing = check_fraction(type(self).__name__, label_smoothing=label_smoothing)

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        if self.label_smoothing:
            y_true = y_true * (1.0 - self.label_smoothing) + 0.5 * self.label_smoothing
        if self.from_logits:
            wrong = y_true * xp.maximum(-y_pred, 0.0) + (1.0 - y_true) * xp.maximum(y_pred, 0.0)
            values = wrong + xp.log1p(xp.exp(-xp.abs(y_pred)))
            return xp.mean(values, axis=self.axis), (y_true, y_pred, y_pred)
        p = xp.clip(y_pred, EPSILON, 1.0 - EPSILON)
        values = y_true * xp.log(p) + (1.0 - y_true) * xp.log(1.0 - p)
        return -xp.mean(values, axis=self.axis), (y_true, y_pred, p)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        y_true, y_pred, p = saved
        scale = xp.expand_dims(dvalues / y_pred.shape[self.axis], axis=self.axis)
        if self.from_logits:
            return scale * (xp.sigmoid(y_pred) - y_true)
        return xp.where(p == y_pred, scale * (p - y_true) / (p * (1.0 - p)), 0.0)


class CategoricalCrossentropy(Crossentropy):
    """``v = -Σ t log p`` over the axis of C classes, for one-hot (or soft) targets t and probabilities p.

    From logits z, ``p = softmax(z)`` and ``dz = dv (p Σt - t)``. Probabilities are divided by their sum first, as in
    Keras: ``p = y / Σy``, ``dp = -dv t / p`` and ``dy = (dp - Σ dp p) / Σy``.

    Args:
        from_logits: see `Crossentropy`.
        label_smoothing: s in ``t ← t (1 - s) + s / C``, from 0 to 1 (Szegedy et al., CVPR 2016).
        axis: the axis of classes.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ..., C). values: (batch, ...).

    Raises:
        ArgumentError: `label_smoothing` is not from 0 to 1.
    """

    target_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        axis: int = -1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis, reduction=reduction, name=name, dtype=dtype)
        self.label_smoothing = check_fraction(type(self).__name__, label_smoothing=label_smoothing)

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        if self.label_smoothing:
            classes = y_true.shape[self.axis]
            y_true = y_true * (1.0 - self.label_smoothing) + self.label_smoothing / classes
        return _categorical(xp, y_true, y_pred, self.axis, from_logits=self.from_logits)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        return _categorical_grad(xp, saved, dvalues, self.axis, from_logits=self.from_logits)


class SparseCategoricalCrossentropy(Crossentropy):
    """Categorical crossentropy for targets that are class indices: ``v = -log p[t]``.

    Args:
        from_logits: see `Crossentropy`.
        ignore_class: an index whose values are 0 and do not count in a mean.
        axis: the axis of classes: the last.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true: (batch, ...), integers from 0 to C - 1. y_pred: (batch, ..., C). values: (batch, ...).
    """

    labels: ClassVar[bool] = True

    def __init__(
        self,
        from_logits: bool = False,
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        axis: int = -1,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits=from_logits, axis=axis, reduction=reduction, name=name, dtype=dtype)
        if axis != -1:
            raise ArgumentError(
                f"SparseCategoricalCrossentropy: the classes must be on the last axis. Received: axis={axis}"
            )
        self.ignore_class = ignore_class
        if ignore_class is not None:
            check_number("SparseCategoricalCrossentropy", ignore_class=ignore_class)

    @override
    def counted(self, xp: Backend, y_true: Array, values: Array) -> Array | None:
        return None if self.ignore_class is None else y_true != self.ignore_class

    @override
    def target_shape(self, output_shape: Shape) -> Shape:
        return output_shape[:-1]

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        targets = xp.one_hot(y_true, y_pred.shape[-1], "bool")
        if self.ignore_class is not None:
            targets = targets & xp.expand_dims(y_true != self.ignore_class, axis=-1)
        return _categorical(xp, xp.astype(targets, y_pred.dtype), y_pred, -1, from_logits=self.from_logits)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        return _categorical_grad(xp, saved, dvalues, -1, from_logits=self.from_logits)


class CategoricalGeneralizedCrossEntropy(StandardLoss):
    """``v = (1 - p[t]^q) / q`` for targets t that are class indices, and probabilities p (Zhang and Sabuncu, 2018).

    It lies between crossentropy (q near 0) and the absolute error (q near 1), which wrong labels mislead less.
    ``dp[t] = -dv p[t]^(q - 1)``; p[t] is taken to be at least 1e-7 there, since the derivative is infinite at 0.

    Args:
        q: above 0 and below 1.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true: (batch, ...), integers from 0 to C - 1. y_pred: (batch, ..., C). values: (batch, ...).

    Raises:
        ArgumentError: `q` is not above 0 and below 1.
    """

    labels: ClassVar[bool] = True

    def __init__(
        self,
        q: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        owner = type(self).__name__
        self.q = check_positive(owner, q=check_fraction(owner, below_1=True, q=q))

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        here = xp.one_hot(y_true, y_pred.shape[-1], "bool")
        p = xp.sum(xp.where(here, y_pred, 0.0), axis=-1)
        return (1.0 - p**self.q) / self.q, (here, p)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        here, p = saved
        dp = -dvalues * xp.maximum(p, EPSILON) ** (self.q - 1.0)
        return xp.where(here, xp.expand_dims(dp, axis=-1), 0.0)


def _categorical(xp: Backend, t: Array, y: Array, axis: int, *, from_logits: bool) -> tuple[Array, Any]:
    if from_logits:
        log_p = xp.log_softmax(y, axis=axis)
        return -xp.sum(t * log_p, axis=axis), (t, log_p)
    total = xp.sum(y, axis=axis, keepdims=True)
    p = y / total
    kept = xp.clip(p, EPSILON, 1.0 - EPSILON)
    return -xp.sum(t * xp.log(kept), axis=axis), (t, p, kept, total)


def _categorical_grad(xp: Backend, saved: Any, dvalues: Array, axis: int, *, from_logits: bool) -> Array:
    dvalues = xp.expand_dims(dvalues, axis=axis)
    if from_logits:
        t, log_p = saved
        return dvalues * (xp.exp(log_p) * xp.sum(t, axis=axis, keepdims=True) - t)
    t, p, kept, total = saved
    dp = xp.where(p == kept, -dvalues * t / kept, 0.0)
    return (dp - xp.sum(dp * p, axis=axis, keepdims=True)) / total
