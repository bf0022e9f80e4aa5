"""Losses that compare directions: of targets and predictions, or of the rows of a batch with each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import check_flag, check_number, check_one_axis, check_positive
from layerkit.errors import ShapeError
from layerkit.losses.loss import EPSILON, Shape, StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class CosineSimilarity(StandardLoss):
    """``v = -Σ (t / |t|) (y / |y|)`` along an axis: -1 for equal directions, 1 for opposite ones, 0 for a zero vector.

    With ``ŷ = y / |y|`` and t̂ likewise, ``dy = -dv (t̂ - ŷ Σ t̂ ŷ) / |y|``. Norms are taken to be at least 1e-7.

    Args:
        axis: along which the vectors lie.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true, y_pred: (batch, ..., n). values: (batch, ...).
    """

    def __init__(
        self, axis: int = -1, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.axis = check_one_axis("CosineSimilarity", axis=axis)

    @override
    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        t, _ = unit(xp, y_true, self.axis)
        y, size = unit(xp, y_pred, self.axis)
        cosine = xp.sum(t * y, axis=self.axis, keepdims=True)
        return -xp.squeeze(cosine, axis=self.axis), (t, y, size, cosine)

    @override
    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        t, y, size, cosine = saved
        # A vector shorter than 1e-7 was divided by that, and not by its own length.
        turn = xp.where(size > EPSILON, t - y * cosine, t)
        return -xp.expand_dims(dvalues, axis=self.axis) * turn / size


def unit(xp: Backend, x: Array, axis: int) -> tuple[Array, Array]:
    """Return vectors divided by their lengths, and the lengths, of at least 1e-7."""
    size = xp.maximum(xp.sqrt(xp.sum(x * x, axis=axis, keepdims=True)), EPSILON)
    return x / size, size


class Circle(StandardLoss):
    """Circle loss: rows of one class are to be near each other, and far from those of others (Sun et al., CVPR 2020).

    With the distances ``d = max(1 - y yᵀ, 0)`` between rows of length 1, and margin m, a row has the value
    ``softplus(log Σ exp(-γ (d + m) (m - d)) + log Σ exp(γ (1 + m - d) (1 - m - d)))``, where the first sum is over rows
    of its class and the second over all others; a row that lacks either has the value 0 and does not count in a mean.
    The derivative is found.

    Args:
        gamma: γ, above 0.
        margin: m.
        remove_diagonal: whether a row is left out of its own first sum.
        reduction: see `Loss`.
        name: see `Loss`.
        dtype: see `Loss`.

    Shapes:
        y_true: (batch,), the number of each row's class. y_pred: (batch, n), rows of length 1. values: (batch,).

    Raises:
        ArgumentError: `gamma` is not above 0, or `margin` is no number.
    """

    def __init__(
        self,
        gamma: float = 80.0,
        margin: float = 0.4,
        remove_diagonal: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)
        self.gamma = check_positive("Circle", gamma=gamma)
        self.margin = check_number("Circle", margin=margin)
        self.remove_diagonal = check_flag("Circle", remove_diagonal=remove_diagonal)

    @override
    def target_shape(self, output_shape: Shape) -> Shape:
        if len(output_shape) != 2:
            raise ShapeError(
                f"{self.name}: the output must have shape (batch, n), a vector for each row. "
                f"Received: an output of {len(output_shape)} axes"
            )
        return output_shape[:1]

    @override
    def counted(self, xp: Backend, y_true: Array, values: Array) -> Array | None:
        return values > 0.0

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        distance = xp.maximum(1.0 - xp.matmul(y_pred, y_pred.T), 0.0)
        same = xp.expand_dims(y_true, axis=1) == y_true
        others = ~same
        if self.remove_diagonal:
            row = xp.arange(y_true.shape[0])
            same = same & (xp.expand_dims(row, axis=1) != row)
        near = -self.gamma * xp.maximum(distance + self.margin, 0.0) * (self.margin - distance)
        far = self.gamma * xp.maximum(1.0 + self.margin - distance, 0.0) * (1.0 - self.margin - distance)
        total = _log_sum_exp(xp, near, same) + _log_sum_exp(xp, far, others)
        return xp.where(xp.any(same, axis=1) & xp.any(others, axis=1), xp.softplus(total), 0.0)


def _log_sum_exp(xp: Backend, z: Array, chosen: Array) -> Array:
    """Return ``log Σ exp(z)`` over the chosen ones of each row; something finite where there is none."""
    top = xp.max(xp.where(chosen, z, xp.min(z, axis=1, keepdims=True)), axis=1, keepdims=True)
    total = xp.sum(xp.where(chosen, xp.exp(xp.where(chosen, z, top) - top), 0.0), axis=1, keepdims=True)
    return xp.squeeze(xp.log(xp.maximum(total, EPSILON)) + top, axis=1)
