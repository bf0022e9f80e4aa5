"""Layers that make one array of several: ``Add()([a, b])``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import Unpack, override

from layerkit.checks import check_flag, check_one_axis, is_a, is_integer, shown
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.nested import are_shapes

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class MergingLayer(Layer):
    """Base of layers of several inputs: a subclass says in `merged` what it makes of them.

    Shapes:
        x: a list of arrays. Their batches are equal, other axes are equal or 1, and those of lower rank are given axes
            of length 1 behind the batch.
        y: the shape that they are broadcast to.

    Raises:
        ShapeError: x is a single array, or shapes do not fit together.
    """

    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        """Return y, from arrays of one rank."""
        raise ArgumentError(
            f"{type(self).__name__}: a merging layer must define merged(self, xp, arrays). Received: none."
        )

    @override
    def call(self, xp: Backend, x: Any) -> Array:
        rank = max(array.ndim for array in x)

        def of_rank(array: Array) -> Array:
            ones = (1,) * (rank - array.ndim)
            return xp.reshape(array, (*array.shape[:1], *ones, *array.shape[1:])) if ones else array

        return self.merged(xp, [of_rank(array) for array in x])

    def require(self, input_shape: Any, count: int | None = None) -> list[Shape]:
        """Return the shapes of several inputs.

        Raises:
            ShapeError: there is one alone, or another number of them.
        """
        if not are_shapes(input_shape) or any(are_shapes(shape) for shape in input_shape):
            received = f"shape {input_shape}" if not are_shapes(input_shape) else f"shapes {input_shape}"
            raise ShapeError(f"{self.name}: x must be a list of arrays. Received: {received}")
        if count is not None and len(input_shape) != count:
            raise ShapeError(f"{self.name}: x must be a list of {count} arrays. Received: shapes {input_shape}")
        return list(input_shape)

    @override
    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self.require(input_shape)
        rank = max(map(len, shapes))
        if min(map(len, shapes)) == 0:
            raise ShapeError(f"{self.name}: x must have a batch axis. Received: shapes {input_shape}")
        rows = [(*shape[:1], *(1,) * (rank - len(shape)), *shape[1:]) for shape in shapes]
        result: list[int | None] = []
        for axis, column in enumerate(zip(*rows, strict=True)):
            lengths = {length for length in column if length is not None and (length != 1 or axis == 0)}
            if len(lengths) > 1:
                raise ShapeError(
                    f"{self.name}: axes of x must be of equal length, or 1. Received: shapes {input_shape}"
                )
            result.append(lengths.pop() if lengths else None if None in column else 1)
        return tuple(result)


class Add(MergingLayer):
    """The sum of several arrays."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        total = arrays[0]
        for array in arrays[1:]:
            total = total + array
        return total


class Subtract(MergingLayer):
    """The first of two arrays, less the second."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        return arrays[0] - arrays[1]

    @override
    def compute_output_shape(self, input_shape: Any) -> Shape:
        return super().compute_output_shape(self.require(input_shape, 2))


class Multiply(MergingLayer):
    """The product of several arrays."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        product = arrays[0]
        for array in arrays[1:]:
            product = product * array
        return product


class Average(Add):
    """The mean of several arrays."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        return super().merged(xp, arrays) / len(arrays)


class Maximum(MergingLayer):
    """The greatest of several arrays, element by element; where two are equal, each has half of the gradient."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        greatest = arrays[0]
        for array in arrays[1:]:
            greatest = xp.maximum(greatest, array)
        return greatest


class Minimum(MergingLayer):
    """The least of several arrays, element by element; where two are equal, each has half of the gradient."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        least = arrays[0]
        for array in arrays[1:]:
            least = xp.minimum(least, array)
        return least


class Concatenate(MergingLayer):
    """Several arrays, one behind the other along `axis`.

    Args:
        axis: the axis along which they may differ in length.
        kwargs: what every `Layer` takes.

    Shapes:
        x: a list of arrays, of equal lengths along all other axes. y: the sum of their lengths along `axis`.

    Raises:
        ShapeError: x is a single array, or shapes do not fit together.
    """

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = check_one_axis("Concatenate", axis=axis)

    @override
    def call(self, xp: Backend, x: Any) -> Array:
        return xp.concat(list(x), axis=self.axis)

    @override
    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self.require(input_shape)
        rank = len(shapes[0])
        if any(len(shape) != rank for shape in shapes) or not -rank <= self.axis < rank or self.axis % rank == 0:
            raise ShapeError(
                f"{self.name}: x must be arrays of one rank, with, after the batch, the axis {self.axis}. "
                f"Received: shapes {input_shape}"
            )
        result: list[int | None] = []
        for axis, column in enumerate(zip(*shapes, strict=True)):
            known = [length for length in column if length is not None]
            if axis == self.axis % rank:
                result.append(sum(known) if len(known) == len(column) else None)
            elif len(set(known)) > 1:
                raise ShapeError(
                    f"{self.name}: all axes of x but axis {self.axis} must be of equal length. "
                    f"Received: shapes {input_shape}"
                )
            else:
                result.append(known[0] if known else None)
        return tuple(result)


class Dot(MergingLayer):
    """The scalar products of the vectors of two arrays, row by row of the batch.

    Args:
        axes: along which axis the vectors of both lie, or (that of the first, that of the second).
        normalize: whether vectors are given the length 1, so that y is the cosine of their angle.
        kwargs: what every `Layer` takes.

    Shapes:
        x: two arrays, (batch, ..., n, ...). y: (batch, other axes of the first, other axes of the second); (batch, 1)
            where there are none.

    Raises:
        ArgumentError: `axes` is neither an integer nor a pair of them.
        ShapeError: x is not two arrays that have these axes, of equal length.
    """

    def __init__(
        self, axes: int | tuple[int, int] | list[int], normalize: bool = False, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        pair: Any = (axes, axes) if is_integer(axes) else axes
        if not is_a(pair, tuple, list) or len(pair) != 2 or not all(is_integer(axis) for axis in pair):
            raise ArgumentError(f"Dot: axes must be an integer, or a pair of them. Received: axes={shown(axes)}")
        self.axes: tuple[int, int] = (int(pair[0]), int(pair[1]))
        self.normalize = check_flag("Dot", normalize=normalize)

    @override
    def call(self, xp: Backend, x: Any) -> Array:
        first, second = x
        places = self.axes[0] % first.ndim, self.axes[1] % second.ndim
        if self.normalize:
            first, second = (_unit(xp, array, axis) for array, axis in zip((first, second), places, strict=True))
        letters = "bcdefghijklmnopqrstuvwxyz"
        left, right = list(letters[: first.ndim]), list(letters[first.ndim : first.ndim + second.ndim])
        left[0] = right[0] = "a"
        left[places[0]] = right[places[1]] = "z"
        rest = [letter for letter in (*left, *right[1:]) if letter != "z"]
        y = xp.einsum(f"{''.join(left)},{''.join(right)}->{''.join(rest)}", first, second)
        return xp.expand_dims(y, axis=1) if y.ndim == 1 else y

    @override
    def compute_output_shape(self, input_shape: Any) -> Shape:
        shapes = self.require(input_shape, 2)
        lengths: list[int | None] = []
        for shape, axis in zip(shapes, self.axes, strict=True):
            rank = len(shape)
            if not -rank <= axis < rank or axis % rank == 0:
                raise ShapeError(
                    f"{self.name}: x must have, after the batch, the axes of axes={self.axes}. "
                    f"Received: shapes {input_shape}"
                )
            lengths.append(shape[axis])
        if None not in lengths and lengths[0] != lengths[1]:
            raise ShapeError(
                f"{self.name}: x must be of equal length along axes={self.axes}. Received: shapes {input_shape}"
            )
        first, second = (
            tuple(n for place, n in enumerate(shape) if place not in (0, axis % len(shape)))
            for shape, axis in zip(shapes, self.axes, strict=True)
        )
        batch = shapes[0][0] if shapes[0][0] is not None else shapes[1][0]
        return (batch, *first, *second) if first or second else (batch, 1)


def _unit(xp: Backend, x: Array, axis: int) -> Array:
    """Return x with vectors of length 1 along an axis; as in Keras, those shorter than 1e-7 are divided by that."""
    return x / xp.sqrt(xp.maximum(xp.sum(x * x, axis=axis, keepdims=True), 1e-14))


def add(inputs: Any, **kwargs: Any) -> Any:
    """Return ``Add(**kwargs)(inputs)``."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Any, **kwargs: Any) -> Any:
    """Return ``Subtract(**kwargs)(inputs)``."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Any, **kwargs: Any) -> Any:
    """Return ``Multiply(**kwargs)(inputs)``."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Any, **kwargs: Any) -> Any:
    """Return ``Average(**kwargs)(inputs)``."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Any, **kwargs: Any) -> Any:
    """Return ``Maximum(**kwargs)(inputs)``."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Any, **kwargs: Any) -> Any:
    """Return ``Minimum(**kwargs)(inputs)``."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Any, axis: int = -1, **kwargs: Any) -> Any:
    """Return ``Concatenate(axis, **kwargs)(inputs)``."""
    return Concatenate(axis, **kwargs)(inputs)


def dot(inputs: Any, axes: int | tuple[int, int] | list[int] = -1, **kwargs: Any) -> Any:
    """Return ``Dot(axes, **kwargs)(inputs)``."""
    return Dot(axes, **kwargs)(inputs)
