"""Initializers that draw nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import ShapeError
from layerkit.initializers.initializer import Initializer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Constant(Initializer):
    """Every element is `value`.

    Args:
        value: a number, or an array that is broadcast to the shape.

    Raises:
        ShapeError: value does not broadcast to the shape of the weight.
    """

    def __init__(self, value: Any = 0.0) -> None:
        super().__init__()
        self.value = value

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        value = np.asarray(self.value)
        try:
            return np.broadcast_to(value, shape)
        except ValueError:
            raise ShapeError(
                f"Constant: value must broadcast to the shape of the weight, {shape}. Received: shape {value.shape}"
            ) from None


class Zeros(Constant):
    """Every element is 0."""

    def __init__(self) -> None:
        super().__init__(0.0)


class Ones(Constant):
    """Every element is 1."""

    def __init__(self) -> None:
        super().__init__(1.0)


class Identity(Initializer):
    """The identity matrix times `gain`.

    Raises:
        ShapeError: the weight is not a matrix.
    """

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        if len(shape) != 2:
            raise ShapeError(f"Identity: the weight must be a matrix. Received: shape {shape}")
        return self.gain * np.eye(*shape)
