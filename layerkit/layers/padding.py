"""Zero padding, and its opposite, cropping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.errors import ShapeError
from layerkit.layers.spatial import SpatialLayer, check_data_format, check_margins
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments, Shape
    from layerkit.xp.backend import Array, Backend

Margins = tuple[tuple[int, int], ...]
OneAxis = int | tuple[int, int] | list[int]
SeveralAxes = Any  # an integer, one an axis, or a pair an axis


def padded(xp: Backend, x: Array, axes: range, margins: Margins) -> Array:
    """Return x with zeros before and after, along these axes."""
    for axis, (before, after) in zip(axes, margins, strict=True):

        def zeros(length: int, axis: int = axis, x: Array = x) -> list[Array]:
            shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
            return [xp.zeros(shape, dtype=x.dtype)] if length else []

        if before or after:
            x = xp.concat([*zeros(before), x, *zeros(after)], axis=axis)
    return x


def cropped(x: Array, axes: range, margins: Margins) -> Array:
    """Return x without its first and last elements, along these axes."""
    key = [slice(None)] * x.ndim
    for axis, (before, after) in zip(axes, margins, strict=True):
        key[axis] = slice(before, x.shape[axis] - after)
    return x[tuple(key)]


class ZeroPadding(SpatialLayer):
    """Base of layers that add zeros around the places of x; dx is dy without what was added."""

    margins: Margins

    @property
    def padding(self) -> tuple[int, int] | Margins:
        """How much is added, before and after, for each axis of places; for a single one, without the outer tuple."""
        return self.margins if self.places > 1 else self.margins[0]

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return padded(xp, x, self.place_axes(x.shape), self.margins), None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return cropped(dy, self.place_axes(dy.shape), self.margins), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis, margin in zip(self.place_axes(input_shape), self.margins, strict=True):
            length = shape[axis]
            shape[axis] = None if length is None else length + sum(margin)
        return tuple(shape)


class ZeroPadding1D(ZeroPadding):
    """Zeros before and after the times of x.

    Args:
        padding: how many, or (before, after).
        data_format: "channels_last" (the default) or "channels_first".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, times, features), or with "channels_first" (batch, features, times). y: more times.

    Raises:
        ArgumentError: `padding` is not of one of these forms.
        ShapeError: x has another rank.
    """

    places = 1

    def __init__(self, padding: OneAxis = 1, data_format: str | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.margins = check_margins("ZeroPadding1D", 1, padding=padding)
        self.data_format = check_data_format("ZeroPadding1D", data_format)


class ZeroPadding2D(ZeroPadding):
    """Zeros around the places of x: above and below, left and right.

    Args:
        padding: how many; (rows, columns); or ((above, below), (left, right)).
        data_format: "channels_last" (the default) or "channels_first".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, rows, columns, features), or with "channels_first" (batch, features, rows, columns). y: more places.

    Raises:
        ArgumentError: `padding` is not of one of these forms.
        ShapeError: x has another rank.
    """

    places = 2

    def __init__(
        self, padding: SeveralAxes = (1, 1), data_format: str | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.margins = check_margins("ZeroPadding2D", 2, padding=padding)
        self.data_format = check_data_format("ZeroPadding2D", data_format)


class ZeroPadding3D(ZeroPadding):
    """Zeros around the places of x, along three axes.

    Args:
        padding: how many; one number an axis; or a pair (before, after) an axis.
        data_format: "channels_last" (the default) or "channels_first".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, a, b, c, features), or with "channels_first" (batch, features, a, b, c). y: more places.

    Raises:
        ArgumentError: `padding` is not of one of these forms.
        ShapeError: x has another rank.
    """

    places = 3

    def __init__(
        self,
        padding: SeveralAxes = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.margins = check_margins("ZeroPadding3D", 3, padding=padding)
        self.data_format = check_data_format("ZeroPadding3D", data_format)


class Cropping(SpatialLayer):
    """Base of layers that cut places off x; dx is dy with zeros around."""

    margins: Margins

    @property
    def cropping(self) -> tuple[int, int] | Margins:
        """How much is cut, before and after, for each axis of places; for a single one, without the outer tuple."""
        return self.margins if self.places > 1 else self.margins[0]

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return cropped(x, self.place_axes(x.shape), self.margins), None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return padded(xp, dy, self.place_axes(dy.shape), self.margins), {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        shape = list(input_shape)
        for axis, margin in zip(self.place_axes(input_shape), self.margins, strict=True):
            length = shape[axis]
            if length is not None and length <= sum(margin):
                raise ShapeError(
                    f"{self.name}: cropping must leave something of each axis: of axis {axis}, {sum(margin)} are cut. "
                    f"Received: shape {input_shape}"
                )
            shape[axis] = None if length is None else length - sum(margin)
        return tuple(shape)


class Cropping1D(Cropping):
    """x without its first and last times.

    Args:
        cropping: how many are cut, or (before, after).
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, times, features). y: fewer times.

    Raises:
        ArgumentError: `cropping` is not of one of these forms.
        ShapeError: x has another rank, or nothing would be left.
    """

    places = 1
    data_format = "channels_last"

    def __init__(self, cropping: OneAxis = (1, 1), **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.margins = check_margins("Cropping1D", 1, cropping=cropping)


class Cropping2D(Cropping):
    """x without its outer rows and columns.

    Args:
        cropping: how many are cut; (rows, columns); or ((above, below), (left, right)).
        data_format: "channels_last" (the default) or "channels_first".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, rows, columns, features), or with "channels_first" (batch, features, rows, columns). y: fewer places.

    Raises:
        ArgumentError: `cropping` is not of one of these forms.
        ShapeError: x has another rank, or nothing would be left.
    """

    places = 2

    def __init__(
        self, cropping: SeveralAxes = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        self.margins = check_margins("Cropping2D", 2, cropping=cropping)
        self.data_format = check_data_format("Cropping2D", data_format)


class Cropping3D(Cropping):
    """x without its outer places, along three axes.

    Args:
        cropping: how many are cut; one number an axis; or a pair (before, after) an axis.
        data_format: "channels_last" (the default) or "channels_first".
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, a, b, c, features), or with "channels_first" (batch, features, a, b, c). y: fewer places.

    Raises:
        ArgumentError: `cropping` is not of one of these forms.
        ShapeError: x has another rank, or nothing would be left.
    """

    places = 3

    def __init__(
        self,
        cropping: SeveralAxes = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.margins = check_margins("Cropping3D", 3, cropping=cropping)
        self.data_format = check_data_format("Cropping3D", data_format)
