"""Upsampling: layers that give their input more places, by repetition or by interpolation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_name, is_a, is_integer, shown
from layerkit.errors import ArgumentError
from layerkit.layers.spatial import SpatialLayer, check_data_format
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments, Shape
    from layerkit.xp.backend import Array, Backend


def check_size(owner: str, places: int, size: Any) -> tuple[int, ...]:
    """Return by how much each axis of places grows.

    Raises:
        ArgumentError: it is neither a positive integer nor one an axis.
    """
    sizes: Any = (size,) * places if is_integer(size) else size
    if not is_a(sizes, tuple, list) or len(sizes) != places or not all(is_integer(n) and n > 0 for n in sizes):
        forms = "a positive integer" if places == 1 else f"a positive integer, or {places} of them"
        raise ArgumentError(f"{owner}: size must be {forms}. Received: size={shown(size)}")
    return tuple(map(int, sizes))


class UpSampling(SpatialLayer):
    """Base of layers that repeat each place of x; dx is dy summed over the copies."""

    size: tuple[int, ...]

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        for axis, size in zip(self.place_axes(x.shape), self.size, strict=True):
            x = xp.repeat(x, size, axis=axis) if size > 1 else x
        return x, None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        axes = self.place_axes(dy.shape)
        cut: list[int] = []
        copies: list[int] = []
        for axis, length in enumerate(dy.shape):
            if axis in axes:
                size = self.size[axis - axes.start]
                copies.append(len(cut) + 1)
                cut += [length // size, size]
            else:
                cut.append(length)
        return xp.sum(xp.reshape(dy, tuple(cut)), axis=tuple(copies)), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis, size in zip(self.place_axes(input_shape), self.size, strict=True):
            length = shape[axis]
            shape[axis] = None if length is None else length * size
        return tuple(shape)


class UpSampling1D(UpSampling):
    """Each time of x, repeated.

    Args:
        size: how often.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, times, features). y: (batch, size times, features).

    Raises:
        ArgumentError: `size` is no positive integer.
        ShapeError: x has another rank.
    """

    places = 1
    data_format = "channels_last"

    def __init__(self, size: int = 2, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.size = check_size("UpSampling1D", 1, size)


class UpSampling3D(UpSampling):
    """Each place of x, repeated along three axes.

    Args:
        size: how often, or how often along each axis.
        data_format: "channels_last" (the default) or "channels_first".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, a, b, c, features), or with "channels_first" (batch, features, a, b, c). y: more places.

    Raises:
        ArgumentError: `size` is not of one of these forms.
        ShapeError: x has another rank.
    """

    places = 3

    def __init__(
        self,
        size: int | tuple[int, int, int] | list[int] = (2, 2, 2),
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.size = check_size("UpSampling3D", 3, size)
        self.data_format = check_data_format("UpSampling3D", data_format)


def _bilinear(xp: Backend, distance: Array) -> Array:
    return xp.maximum(1.0 - distance, 0.0)


def _bicubic(xp: Backend, distance: Array) -> Array:
    """Keys, "Cubic convolution interpolation", 1981, with a = -1/2."""
    near = ((1.5 * distance - 2.5) * distance) * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return xp.where(distance < 1.0, near, xp.where(distance < 2.0, far, 0.0))


def _lanczos(radius: float) -> Any:
    def kernel(xp: Backend, distance: Array) -> Array:
        angle = math.pi * xp.where(distance > 1e-3, distance, 1.0)
        value = radius * xp.sin(angle) * xp.sin(angle / radius) / (angle * angle)
        return xp.where(distance > radius, 0.0, xp.where(distance > 1e-3, value, 1.0))

    return kernel


# What an element of x counts at a distance, in elements of x.
KERNELS: dict[str, Any] = {
    "bilinear": _bilinear,
    "bicubic": _bicubic,
    "lanczos3": _lanczos(3.0),
    "lanczos5": _lanczos(5.0),
}


def interpolation_matrix(xp: Backend, length: int, size: int, kernel: Any, dtype: Any) -> Array:
    """Return the matrix that takes `length` elements, at ½, 1½, …, to `size` times as many in the same stretch.

    Shapes:
        result: (length, size * length). Its columns sum to 1.
    """
    places = (xp.arange(size * length, dtype=dtype) + 0.5) * (1.0 / size) - 0.5
    distance = xp.abs(places - xp.reshape(xp.arange(length, dtype=dtype), (-1, 1)))
    weights = kernel(xp, distance)
    return weights / xp.sum(weights, axis=0)


class UpSampling2D(UpSampling):
    """Each place of x, repeated along rows and columns, or interpolated between places.

    Args:
        size: how often, or (along rows, along columns).
        data_format: "channels_last" (the default) or "channels_first".
        interpolation: "nearest", which repeats; "bilinear", "bicubic", "lanczos3" or "lanczos5".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, rows, columns, features), or with "channels_first" (batch, features, rows, columns). y: more places.

    Raises:
        ArgumentError: `size` is not of one of these forms, or the interpolation is unknown.
        ShapeError: x has another rank.
    """

    places = 2

    def __init__(
        self,
        size: int | tuple[int, int] | list[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.size = check_size("UpSampling2D", 2, size)
        self.data_format = check_data_format("UpSampling2D", data_format)
        self.interpolation: str = check_name("UpSampling2D", ("nearest", *KERNELS), interpolation=interpolation)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        if self.interpolation == "nearest":
            return super().forward(xp, x)
        for axis, size in zip(self.place_axes(x.shape), self.size, strict=True):
            matrix = interpolation_matrix(xp, x.shape[axis], size, KERNELS[self.interpolation], x.dtype)
            x = _along(xp, axis, x, matrix)
        return x, None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        if self.interpolation == "nearest":
            return super().backward(xp, saved, dy)
        for axis, size in zip(self.place_axes(dy.shape), self.size, strict=True):
            matrix = interpolation_matrix(xp, dy.shape[axis] // size, size, KERNELS[self.interpolation], dy.dtype)
            dy = _along(xp, axis, dy, matrix.T)
        return dy, {}


def _along(xp: Backend, axis: int, x: Array, matrix: Array) -> Array:
    """Return x with each vector along `axis` multiplied by a matrix."""
    return xp.moveaxis(xp.matmul(xp.moveaxis(x, axis, -1), matrix), -1, axis)
