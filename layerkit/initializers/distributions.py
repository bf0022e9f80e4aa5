"""Initializers that draw each element from one distribution, whatever the shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import check_at_least, check_number
from layerkit.errors import ArgumentError
from layerkit.initializers.initializer import Initializer

if TYPE_CHECKING:
    from numpy.typing import NDArray


class RandomNormal(Initializer):
    """The normal distribution of this mean and standard deviation."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        name = type(self).__name__
        self.mean, self.stddev = check_number(name, mean=mean), check_at_least(name, 0, stddev=stddev)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        return random.normal(self.mean, self.stddev, shape)


class RandomUniform(Initializer):
    """The uniform distribution on [minval, maxval)."""

    def __init__(self, minval: float = -0.05, maxval: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        if check_number("RandomUniform", minval=minval) > check_number("RandomUniform", maxval=maxval):
            raise ArgumentError(
                f"RandomUniform: minval must not be above maxval. Received: minval={minval}, maxval={maxval}"
            )
        self.minval, self.maxval = minval, maxval

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        return random.uniform(self.minval, self.maxval, shape)


class TruncatedNormal(Initializer):
    """The normal distribution, where a draw further than two standard deviations from the mean is drawn again."""

    def __init__(self, mean: float = 0.0, stddev: float = 0.05, seed: int | None = None) -> None:
        super().__init__(seed)
        name = type(self).__name__
        self.mean, self.stddev = check_number(name, mean=mean), check_at_least(name, 0, stddev=stddev)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        return self.mean + self.stddev * truncated_standard_normal(random, shape)


def truncated_standard_normal(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw from the standard normal distribution within [-2, 2], by rejection."""
    draws = random.standard_normal(shape)
    outside = np.abs(draws) > 2.0
    while outside.any():
        draws[outside] = random.standard_normal(int(outside.sum()))
        outside = np.abs(draws) > 2.0
    return draws
