"""Layers that make one array of several: ``Add()([a, b])``."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_flag, check_one_axis, is_a, is_integer, shown
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.nested import are_shapes
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend


class MergingLayer(Layer):
    """Base of layers of several inputs: a subclass says in `merged` what it makes of them.

    Shapes:
        x: a list of arrays. Their batches are equal, other axes are equal or 1, and those of lower rank are given axes
            of length 1 behind the batch.
        y: the shape that they are broadcast to.

    A step of y is masked where it is masked in all arrays; where one has no mask, y has none.

    Raises:
        ShapeError: x is a single array, or shapes do not fit together.
    """

    supports_masking = True

    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        """Return y, from arrays of one rank."""
        raise ArgumentError(
            f"{type(self).__name__}: a merging layer must define merged(self, xp, arrays). Received: none."
        )

    @override
    def call(self, xp: Backend, x: Any) -> Array:
        self.check_lengths(x)
        rank = max(array.ndim for array in x)

        def of_rank(array: Array) -> Array:
            ones = (1,) * (rank - array.ndim)
            return xp.reshape(array, (*array.shape[:1], *ones, *array.shape[1:])) if ones else array

        return self.merged(xp, [of_rank(array) for array in x])

    @override
    def compute_mask(self, xp: Backend, x: Any, mask: Any) -> Any:
        if mask is None or any(part is None for part in mask):
            return None
        return _either(xp, mask)

    def check_lengths(self, x: Any) -> None:
        """Check the lengths of batches too, which `build` did not know: one row would be broadcast to all.

        Raises:
            ShapeError: they do not fit together.
        """
        self.compute_output_shape([tuple(array.shape) for array in x])

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


class MaskedMergingLayer(MergingLayer):
    """Base of those that leave out what is masked: a subclass says in `merged_masked` what it makes of the rest."""

    def merged_masked(self, xp: Backend, arrays: list[Array], masks: list[Array | None]) -> Array:
        """Return y, from arrays and the mask of each, of its shape; None where it has none."""
        raise ArgumentError(
            f"{type(self).__name__}: a layer of this kind must define merged_masked(self, xp, arrays, masks). "
            f"Received: none."
        )

    @override
    def call(self, xp: Backend, x: Any, *, mask: Any = None) -> Array:
        given: list[Any] = [None] * len(x) if mask is None else mask
        masks = [_stretched(xp, *pair) for pair in zip(x, given, strict=True)]
        # As in Keras, masks count where all arrays have as many axes.
        if all(part is None for part in masks) or len({array.ndim for array in x}) > 1:
            return super().call(xp, x)
        self.check_lengths(x)
        return self.merged_masked(xp, list(x), masks)


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


class Multiply(MaskedMergingLayer):
    """The product of several arrays: of those that are not masked; where all of them are, it is 0."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        product = arrays[0]
        for array in arrays[1:]:
            product = product * array
        return product

    @override
    def merged_masked(self, xp: Backend, arrays: list[Array], masks: list[Array | None]) -> Array:
        pairs = list(zip(arrays, masks, strict=True))
        product = self.merged(xp, [array if mask is None else xp.where(mask, array, 1.0) for array, mask in pairs])
        known = [mask for mask in masks if mask is not None]
        return product if len(known) < len(masks) else xp.where(_either(xp, known), product, 0.0)


class Average(Add):
    """The mean of several arrays."""

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        return super().merged(xp, arrays) / len(arrays)


class Extreme(MaskedMergingLayer):
    """Base of `Maximum` and `Minimum`: a subclass says in `chosen` which of two numbers is taken."""

    def chosen(self, xp: Backend, first: Array, second: Array) -> Array:
        """Return the one or the other, element by element."""
        raise ArgumentError(
            f"{type(self).__name__}: a layer of this kind must define chosen(self, xp, first, second). Received: none."
        )

    @override
    def merged(self, xp: Backend, arrays: list[Array]) -> Array:
        return functools.reduce(functools.partial(self.chosen, xp), arrays)

    @override
    def merged_masked(self, xp: Backend, arrays: list[Array], masks: list[Array | None]) -> Array:
        extreme, known = arrays[0], masks[0]
        for array, mask in zip(arrays[1:], masks[1:], strict=True):
            candidate = array if mask is None else xp.where(mask, array, extreme)
            if known is not None:
                extreme = xp.where(known, extreme, candidate)
            known = None if known is None or mask is None else xp.logical_or(known, mask)
            extreme = self.chosen(xp, extreme, candidate)
        return extreme


class Maximum(Extreme):
    """The greatest of several arrays, element by element; where two are equal, each has half of the gradient.

    Of what is masked in one array, those of the others are taken.
    """

    @override
    def chosen(self, xp: Backend, first: Array, second: Array) -> Array:
        return xp.maximum(first, second)


class Minimum(Extreme):
    """The least of several arrays, element by element; where two are equal, each has half of the gradient.

    Of what is masked in one array, those of the others are taken.
    """

    @override
    def chosen(self, xp: Backend, first: Array, second: Array) -> Array:
        return xp.minimum(first, second)


class Concatenate(MergingLayer):
    """Several arrays, one behind the other along `axis`.

    Args:
        axis: the axis along which they may differ in length.
        kwargs: what every `Layer` takes.

    Shapes:
        x: a list of arrays, of equal lengths along all other axes. y: the sum of their lengths along `axis`.

    Where one of the arrays has a mask, a step of y is masked if it is in all of them.

    Raises:
        ShapeError: x is a single array, or shapes do not fit together.
    """

    def __init__(self, axis: int = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = check_one_axis("Concatenate", axis=axis)

    @override
    def call(self, xp: Backend, x: Any) -> Array:
        self.check_lengths(x)
        return xp.concat(list(x), axis=self.axis)

    @override
    def compute_mask(self, xp: Backend, x: Any, mask: Any) -> Any:
        if mask is None or all(part is None for part in mask):
            return None
        parts = [_stretched(xp, *pair) for pair in zip(x, mask, strict=True)]
        whole = [
            xp.ones(array.shape, dtype=xp.bool) if part is None else part for array, part in zip(x, parts, strict=True)
        ]
        return xp.any(xp.concat(whole, axis=self.axis), axis=-1)

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
        self.check_lengths(x)
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
    def compute_mask(self, xp: Backend, x: Any, mask: Any) -> Any:
        return None

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
        if len({shape[0] for shape in shapes} - {None}) > 1:
            raise ShapeError(f"{self.name}: the batches of x must be of equal length. Received: shapes {input_shape}")
        first, second = (
            tuple(n for place, n in enumerate(shape) if place not in (0, axis % len(shape)))
            for shape, axis in zip(shapes, self.axes, strict=True)
        )
        batch = shapes[0][0] if shapes[0][0] is not None else shapes[1][0]
        return (batch, *first, *second) if first or second else (batch, 1)


def _stretched(xp: Backend, x: Array, mask: Array | None) -> Array | None:
    """Return the mask of the steps of x with the shape of x."""
    if mask is None:
        return None
    return mask if mask.ndim == x.ndim else xp.broadcast_to(xp.expand_dims(mask, axis=-1), x.shape)


def _either(xp: Backend, masks: Sequence[Any]) -> Any:
    """Return where one of several masks is True, or more of them."""
    return functools.reduce(xp.logical_or, masks)


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
