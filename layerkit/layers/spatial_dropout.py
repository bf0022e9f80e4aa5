"""Dropout of whole feature maps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from layerkit.checks import check_fraction
from layerkit.layers.dropout import DropoutLayer
from layerkit.layers.spatial import SpatialLayer, check_data_format
from layerkit.overriding import override
from layerkit.xp.random import check_seed

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments, Shape


class SpatialDropoutLayer(DropoutLayer, SpatialLayer):
    """Base of dropout of whole feature maps."""

    @override
    def shape_of_noise(self, input_shape: Shape) -> Shape:
        axes = self.place_axes(input_shape)
        return tuple(1 if axis in axes else length for axis, length in enumerate(input_shape))


class SpatialDropout1D(SpatialDropoutLayer):
    """Dropout of whole features: each is 0 at all places of a row, or at none (Tompson et al., CVPR 2015).

    Args:
        rate: from 0 to 1.
        seed: of the mask; by default the model's seed and the layer's place decide.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, places, features).

    Raises:
        ArgumentError: `rate` is not from 0 to 1, or `seed` is no seed.
        ShapeError: x has another rank.
    """

    places = 1
    data_format = "channels_last"

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.rate = check_fraction("SpatialDropout1D", rate=rate)
        self.seed = check_seed(seed, "SpatialDropout1D")


class SpatialDropout2D(SpatialDropoutLayer):
    """Dropout of whole feature maps: each is 0 at all places of a row, or at none (Tompson et al., CVPR 2015).

    Args:
        rate: from 0 to 1.
        data_format: "channels_last" (the default) or "channels_first".
        seed: of the mask; by default the model's seed and the layer's place decide.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, rows, columns, features), or with "channels_first" (batch, features, rows, columns).

    Raises:
        ArgumentError: `rate` is not from 0 to 1, or `seed` is no seed.
        ShapeError: x has another rank.
    """

    places = 2

    def __init__(
        self,
        rate: float,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.rate = check_fraction(type(self).__name__, rate=rate)
        self.data_format = check_data_format(type(self).__name__, data_format)
        self.seed = check_seed(seed, type(self).__name__)


class SpatialDropout3D(SpatialDropout2D):
    """Dropout of whole feature maps, as `SpatialDropout2D`, with a third axis of places.

    Shapes:
        x, y: (batch, a, b, c, features), or with "channels_first" (batch, features, a, b, c).
    """

    places = 3
