"""What a model's x will look like."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.checks import check_count, check_lengths, check_name
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError
from layerkit.xp.words import DTYPES

if TYPE_CHECKING:
    from layerkit.layers.layer import Shape


class Input(Configurable):
    """The shape of x, said before the first layer: ``Sequential([Input((2,)), Dense(8), …])``.

    A model that starts with it has its weights from the start; one without gets them from the first batch.

    Args:
        shape: of one row, without the batch; None stands for a length that varies.
        batch_size: a fixed number of rows in each batch; None, as a rule.
        dtype: of x; by default the model's.
        name: the input's name.
        batch_shape: instead of `shape`, the shape with the batch in front.
        input_shape: Keras's older word for `shape`.
        batch_input_shape: Keras's older word for `batch_shape`.

    Raises:
        ArgumentError: both `shape` and `batch_shape` are given, or neither, or `batch_size` beside `batch_shape`.
        ShapeError: a length is below 1.
    """

    def __init__(
        self,
        shape: Shape | list[int | None] | int | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        name: str | None = None,
        batch_shape: Shape | None = None,
        *,
        input_shape: Shape | list[int | None] | None = None,
        batch_input_shape: Shape | None = None,
    ) -> None:
        shape = input_shape if shape is None else shape
        batch_shape = batch_input_shape if batch_shape is None else batch_shape
        if (shape is None) == (batch_shape is None):
            raise ArgumentError(
                f"Input: give shape, or batch_shape. Received: shape={shape}, batch_shape={batch_shape}. "
                f"For rows of two numbers, write Input((2,))."
            )
        if shape is None:
            if batch_size is not None:
                raise ArgumentError(
                    f"Input: batch_shape tells the size of a batch too. Received: batch_shape={batch_shape}, "
                    f"batch_size={batch_size}. Leave out batch_size."
                )
            self.batch_shape = check_lengths("Input", 1, batch_shape=batch_shape)
        else:
            row = check_lengths("Input", 1, shape=(shape,) if isinstance(shape, int) else shape)
            self.batch_shape = (None if batch_size is None else check_count("Input", 1, batch_size=batch_size), *row)
        self.dtype = None if dtype is None else check_name("Input", DTYPES, dtype=dtype)
        self.name = name or "input"

    @property
    def shape(self) -> Shape:
        """The shape of a batch, with None for what varies."""
        return self.batch_shape


InputLayer = Input
