"""A penalty on the angles between the rows or columns of a matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

from layerkit.checks import check_at_least, check_name
from layerkit.errors import ShapeError
from layerkit.overriding import override
from layerkit.regularizers.regularizer import Regularizer

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

Mode = Literal["rows", "columns"]


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean of ``|cos|`` of the angle between each two rows of a matrix, or columns.

    Args:
        factor: at least 0.
        mode: "rows" or "columns".

    Raises:
        ShapeError: the weight is not a matrix.
    """

    def __init__(self, factor: float = 0.01, mode: Mode = "rows") -> None:
        self.factor: float = check_at_least("OrthogonalRegularizer", 0, factor=factor)
        self.mode: Mode = check_name("OrthogonalRegularizer", get_args(Mode), mode=mode)

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        if x.ndim != 2:
            raise ShapeError(f"OrthogonalRegularizer: the weight must be a matrix. Received: shape {tuple(x.shape)}")
        rows = x if self.mode == "rows" else x.T
        count = rows.shape[0]
        # As in Keras, a row has at least the length 1e-7.
        unit = rows / xp.sqrt(xp.maximum(xp.sum(rows * rows, axis=1, keepdims=True), 1e-14))
        cosines = xp.abs(unit @ unit.T) * (1.0 - xp.eye(count, dtype=x.dtype))
        return (0.5 * self.factor / max(count * (count - 1) / 2, 1.0)) * xp.sum(cosines)
