"""The base of initializers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from layerkit.checks import check_lengths, check_name
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError, ShapeError
from layerkit.xp.random import check_seed, fresh_seed, stream_key
from layerkit.xp.words import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class Initializer(Configurable):
    """Draws the first values of a weight.

    Values are drawn on the host, in float64, from a stream keyed by a seed and the weight's path, and then rounded to
    the weight's dtype: the same seed gives the same weights on every backend.

    A subclass gives `draw`, or as for Keras ``__call__(shape, dtype=None)``. A plain function ``f(shape, dtype)``
    will do too, wherever an initializer is asked for.

    Args:
        seed: an integer makes every weight drawn by this initializer equal, as in Keras. None leaves it to the model.
    """

    _part_of_steps: ClassVar[bool] = False

    def __init__(self, seed: int | None = None) -> None:
        self.seed = check_seed(seed, type(self).__name__)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """Return values of this shape. The only method that a subclass gives."""
        raise ArgumentError(
            f"{type(self).__name__}: an initializer must define draw(self, random, shape). Received: none. "
            f"See layerkit.initializers.RandomNormal for an example."
        )

    def values(self, shape: tuple[int, ...], dtype: str, seed: int, path: str) -> NDArray[Any]:
        """Return the first values of the weight at `path` in a model of this seed."""
        if type(self).__call__ is not Initializer.__call__:  # as initializers are written for Keras
            return _checked(self(shape, dtype=dtype), type(self).__name__, shape, path).astype(dtype)
        key = stream_key(seed, path) if self.seed is None else stream_key(self.seed, "initializer")
        random = np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))
        return _checked(self.draw(random, shape), type(self).__name__, shape, path).astype(dtype)

    def __call__(self, shape: tuple[int, ...] | list[int], dtype: str | None = None) -> NDArray[Any]:
        """Return values of this shape as a NumPy array; each call gives the same ones.

        Without a seed of its own, the initializer takes one from the operating system at its first call.
        """
        if not hasattr(self, "_own_seed"):
            self._own_seed = fresh_seed() if self.seed is None else self.seed
        name = type(self).__name__
        lengths: Any = check_lengths(name, 0, varies=False, shape=shape)
        kind: str = check_name(name, (*DTYPES, "float16"), dtype="float32" if dtype is None else dtype)
        return self.values(lengths, kind, self._own_seed, "initializer")


class FunctionInitializer(Initializer):
    """An initializer made from a function ``f(shape, dtype)``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self.function = function

    def values(self, shape: tuple[int, ...], dtype: str, seed: int, path: str) -> NDArray[Any]:
        name = getattr(self.function, "__name__", repr(self.function))
        return _checked(self.function(shape, dtype=dtype), name, shape, path).astype(dtype)


def _checked(values: Any, name: str, shape: tuple[int, ...], path: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != shape or array.dtype.kind not in "fiub":
        raise ShapeError(
            f"{path}: the initializer {name!r} must return numbers of shape {shape}. "
            f"Received: shape {array.shape}, dtype {array.dtype}"
        )
    return array
