"""Layers that change the shape alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_count, is_a, is_integer
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.layers.spatial import check_data_format
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Reshape(Layer):
    r"""Give each row another shape.

    Args:
        target_shape: shape of a row of y, without the batch; one axis may be -1 or None, and takes what is left.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, ...). y: (batch, \*target_shape).

    Raises:
        ArgumentError: more than one axis is -1, or one is below.
        ShapeError: a row of x has another number of elements.
    """

    one_input = True

    def __init__(
        self, target_shape: tuple[int | None, ...] | list[int | None], **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        lengths: Any = [-1 if n is None else n for n in target_shape] if is_a(target_shape, tuple, list) else ()
        if not (
            is_a(target_shape, tuple, list)
            and all(is_integer(n) and (n == -1 or n > 0) for n in lengths)
            and lengths.count(-1) < 2
        ):
            raise ArgumentError(
                f"Reshape: target_shape must be a tuple of positive integers, with -1 (or None) at most once. "
                f"Received: target_shape={target_shape!r}"
            )
        self.target_shape: tuple[int, ...] = tuple(lengths)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.reshape(x, self.compute_output_shape(x.shape)), x.shape

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return xp.reshape(dy, saved), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (input_shape[0], *self._row(input_shape))

    def _row(self, input_shape: Shape) -> tuple[int | None, ...]:
        lengths = input_shape[1:]
        if None in lengths:  # what is left is known once there are rows
            return tuple(None if n == -1 else n for n in self.target_shape)
        size = math.prod(n for n in lengths if n is not None)
        known = math.prod(n for n in self.target_shape if n != -1)
        if (size % known if known else size) if -1 in self.target_shape else size != known:
            raise ShapeError(
                f"{self.name}: a row of x must have as many elements as target_shape={self.target_shape}. "
                f"Received: shape {input_shape}, {size} a row"
            )
        return tuple(size // max(known, 1) if n == -1 else n for n in self.target_shape)


class Flatten(Layer):
    """Give each row a single axis.

    Args:
        data_format: "channels_last" (the default), or "channels_first" for an x of shape (batch, features, ...), whose
            features become the last axis before: y is the same for both forms of x.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, ...). y: (batch, elements of a row).

    Raises:
        ArgumentError: `data_format` is neither.
    """

    one_input = True

    def __init__(self, data_format: str | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.data_format = check_data_format("Flatten", data_format)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        if self.data_format == "channels_first" and x.ndim > 2:
            x = xp.moveaxis(x, 1, -1)
        return xp.reshape(x, (x.shape[0], math.prod(x.shape[1:]))), x.shape

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        dx = xp.reshape(dy, saved)
        return xp.moveaxis(dx, -1, 1) if self.data_format == "channels_first" and dx.ndim > 2 else dx, {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if not input_shape:
            raise ShapeError(f"{self.name}: x must have a batch axis. Received: shape ()")
        lengths = input_shape[1:]
        return (input_shape[0], None if None in lengths else math.prod(n for n in lengths if n is not None))


class Permute(Layer):
    """The axes of each row in another order.

    Args:
        dims: which axis of x each axis of y is, counted from 1: ``(2, 1)`` swaps the axes of a matrix.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, ...). y: (batch, ...), in the order of `dims`.

    Raises:
        ArgumentError: `dims` are not the numbers from 1 on, in some order.
        ShapeError: a row of x has another number of axes.
    """

    one_input = True

    def __init__(self, dims: tuple[int, ...] | list[int], **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        if not is_a(dims, tuple, list) or sorted(dims) != list(range(1, len(dims) + 1)):
            raise ArgumentError(f"Permute: dims must be the integers from 1 on, in some order. Received: dims={dims!r}")
        self.dims = tuple(dims)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.permute_dims(x, (0, *self.dims)), None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        order = (0, *self.dims)
        return xp.permute_dims(dy, tuple(order.index(axis) for axis in range(len(order)))), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != len(self.dims) + 1:
            raise ShapeError(
                f"{self.name}: a row of x must have as many axes as dims={self.dims}. Received: shape {input_shape}"
            )
        return (input_shape[0], *(input_shape[axis] for axis in self.dims))


class RepeatVector(Layer):
    """Each row, `n` times; dx is dy summed over the copies.

    Args:
        n: how often, at least 1.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, features). y: (batch, n, features).

    Raises:
        ArgumentError: `n` is below 1, or not an integer.
        ShapeError: a row of x is no vector.
    """

    one_input = True

    def __init__(self, n: int, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.n = check_count("RepeatVector", 1, n=n)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.repeat(xp.expand_dims(x, axis=1), self.n, axis=1), None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return xp.sum(dy, axis=1), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 2:
            raise ShapeError(f"{self.name}: x must have the shape (batch, features). Received: shape {input_shape}")
        return (input_shape[0], self.n, input_shape[1])
