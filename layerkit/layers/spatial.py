"""What layers share whose input has axes of places (times, or rows and columns) beside the batch and the features."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_name, is_a, is_integer, shown
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers.layer import Layer

if TYPE_CHECKING:
    from layerkit.layers.layer import Shape

FORMATS = ("channels_last", "channels_first")


def check_data_format(owner: str, data_format: Any) -> str:
    """Return where the features stand: "channels_last", which None stands for, or "channels_first".

    Raises:
        ArgumentError: it is neither.
    """
    return check_name(owner, FORMATS, data_format="channels_last" if data_format is None else data_format)


class SpatialLayer(Layer):
    """Base of layers that change the axes of places: a subclass sets `data_format`, and how many `places` there are."""

    one_input = True

    places: ClassVar[int]
    data_format: str

    def place_axes(self, input_shape: Shape) -> range:
        """Return the axes of places.

        Raises:
            ShapeError: x has another rank.
        """
        if len(input_shape) != self.places + 2:
            raise ShapeError(
                f"{self.name}: x must have {self.places + 2} axes: the batch, features, and {self.places} of places. "
                f"Received: shape {input_shape}"
            )
        first = 2 if self.data_format == "channels_first" else 1
        return range(first, first + self.places)


def check_margins(owner: str, places: int, **named: Any) -> tuple[tuple[int, int], ...]:
    """Return how much is added or cut, before and after, for each axis of places.

    One number stands for all; for several axes, one a axis stands for before and after.

    Raises:
        ArgumentError: it is neither of these, nor a pair an axis.
    """
    ((name, value),) = named.items()
    items: Any = (value,) * places if is_integer(value) else value
    if places == 1 and not is_integer(value):
        items = (value,)
    if is_a(items, tuple, list) and len(items) == places:
        pairs: Any = [(item, item) if is_integer(item) else item for item in items]
        if all(
            is_a(pair, tuple, list) and len(pair) == 2 and all(is_integer(n) and n >= 0 for n in pair) for pair in pairs
        ):
            return tuple((int(before), int(after)) for before, after in pairs)
    forms = "(before, after)" if places == 1 else f"{places} integers, or {places} pairs (before, after)"
    raise ArgumentError(
        f"{owner}: {name} must be an integer of at least 0, or {forms}. Received: {name}={shown(value)}"
    )
