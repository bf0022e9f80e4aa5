"""Several arrays at once: tuples, lists and dictionaries of them, nested or not, and the shapes of such."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import fits, is_a

if TYPE_CHECKING:
    from collections.abc import Callable


def is_nest(value: Any) -> bool:
    """Tell whether this is a tuple, a list or a dictionary."""
    return is_a(value, tuple, list, dict)


def leaves(value: Any) -> list[Any]:
    """Return the items of nested tuples, lists and dictionaries, in order."""
    if not isinstance(value, (tuple, list, dict)):
        return [value]
    items: Any = value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return [leaf for item in items for leaf in leaves(item)]


def mapped(function: Callable[..., Any], value: Any, *others: Any) -> Any:
    """Return nested tuples, lists and dictionaries of the same kind, with ``function(leaf, …)`` in place of each leaf.

    Args:
        function: of a leaf, and of what stands in its place in each of the others.
        value: a leaf, or leaves in tuples, lists and dictionaries; the tuples may have names.
        others: leaves nested in the same way.
    """
    if is_a(value, dict):
        return {key: mapped(function, item, *(other[key] for other in others)) for key, item in value.items()}
    if not is_a(value, tuple, list):
        return function(value, *others)
    items = [mapped(function, *parts) for parts in zip(value, *others, strict=True)]
    return getattr(value, "_make", type(value))(items)  # pyright: ignore[reportUnknownArgumentType]


def filled(value: Any, items: Any) -> Any:
    """Return nests of the same kind, with these items, in order, in place of the leaves."""
    rest = iter(items)

    def item(_: Any) -> Any:
        return next(rest)

    return mapped(item, value)


def paths(value: Any, before: str = "") -> list[str]:
    """Return where each leaf stands, as Python writes it: "['left']", "[0]"; of a single leaf, ""."""
    if not is_nest(value):
        return [before]
    items = value.items() if is_a(value, dict) else enumerate(value)
    return [path for key, item in items for path in paths(item, f"{before}[{key!r}]")]


def nest_of(value: Any) -> Any:
    """Return nests of the same kind with None in place of each leaf; of a single leaf, None."""

    def nothing(_: Any) -> None:
        return None

    return mapped(nothing, value)


def shape_of(value: Any) -> Any:
    """Return the shape of an array; for several, a list or dictionary of their shapes; None for what has none."""
    if is_a(value, tuple, list):
        return [shape_of(item) for item in value]
    if is_a(value, dict):
        return {key: shape_of(item) for key, item in value.items()}
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)


def are_shapes(shape: Any) -> bool:
    """Tell whether this is a list or dictionary of shapes, and not a shape."""
    return is_a(shape, dict) or (is_a(shape, tuple, list) and any(is_nest(part) for part in shape))


def mapped_shapes(function: Callable[..., Any], shape: Any, *others: Any) -> Any:
    """Return what the function makes of a shape; of several shapes, the list or dictionary of what it makes of each."""
    if not are_shapes(shape):
        return function(shape, *others)
    if is_a(shape, dict):
        return {key: mapped_shapes(function, item, *(other[key] for other in others)) for key, item in shape.items()}
    return [mapped_shapes(function, *parts) for parts in zip(shape, *others, strict=True)]


def of_any_batch(shape: Any) -> Any:
    """Return a shape with None for the batch; of several shapes, the list or dictionary of them."""

    def any_batch(shape: Any) -> Any:
        return (None, *shape[1:])

    return mapped_shapes(any_batch, shape)


def shapes_fit(shape: Any, wanted: Any) -> bool:
    """Tell whether two shapes, or two nests of shapes, can be those of the same arrays; None is any length."""
    if not are_shapes(wanted):
        return not are_shapes(shape) and fits(shape, wanted)
    if is_a(wanted, dict) or is_a(shape, dict):
        same = is_a(wanted, dict) and is_a(shape, dict) and shape.keys() == wanted.keys()
        return same and all(shapes_fit(shape[key], wanted[key]) for key in wanted)
    return are_shapes(shape) and len(shape) == len(wanted) and all(map(shapes_fit, shape, wanted))
