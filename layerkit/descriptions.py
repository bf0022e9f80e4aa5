"""Objects as plain dictionaries, and back.

The form is Keras's::

    {"module": "layerkit.optimizers", "class_name": "SGD", "config": {"learning_rate": 0.1, ...}}

Keras's own dictionaries are read too: what a `get_config` or `serialize` of Keras's returned, or a file of it holds.

This is for a `get_config` of one's own, and for settings that people write by hand; models go to files by
`layerkit.saving`. As there, a name is looked up in the closed tables of layerkit and among what the caller gives, and
nothing is imported because a dictionary names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ABSENT = object()

rooms: dict[str, Callable[[Any, Mapping[str, Any] | None], Any]] = {}
"""What makes objects of the dictionaries of each room; `layerkit.names` fills it."""

UNUSED: dict[str, Any] = {
    "quantization_config": None,
    **{"lora_rank": None, "lora_alpha": None},
    **{"input_axes": None, "output_axes": None},
    **{"sparse": False, "ragged": False, "optional": False},
    **{"synchronized": False, "rms_scaling": False},
    **{"renorm": False, "renorm_clipping": None, "renorm_momentum": 0.99},
}
"""Arguments that Keras writes into each configuration, and that layerkit does not have: what stands there where Keras
does not use them either."""


def known_arguments(config: Mapping[str, Any], known: frozenset[str] | None) -> dict[str, Any]:
    """Return a configuration without arguments that are `UNUSED`.

    Args:
        config: from Keras, or not.
        known: the arguments that are known; None are all.
    """
    if known is None:
        return dict(config)
    # A model's build_input_shape says no more than its InputLayer does.
    return {
        name: value
        for name, value in config.items()
        if name in known or (name != "build_input_shape" and UNUSED.get(name, _ABSENT) != value)
    }


def room_of(description: Mapping[str, Any]) -> Callable[[Any, Mapping[str, Any] | None], Any] | None:
    """Return what makes objects of the room that a dictionary names, in layerkit's words or in Keras's."""
    module: Any = description.get("module")
    if module == "keras" and description.get("class_name") == "Sequential":
        module = "keras.models"
    if isinstance(module, str) and module.startswith("keras."):
        module = module.replace("keras", "layerkit", 1)
    return rooms.get(module)


def serialize(thing: Any) -> Any:
    """Return a dictionary of an object, from which `deserialize` makes an equal one.

    A function is described by its name; a number, text or None by itself.

    Raises:
        ArgumentError: it, or something inside it, has no such form.
    """
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    if isinstance(thing, (list, tuple)):
        return type(thing)(_inside(item) for item in thing)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportCallIssue]
    if isinstance(thing, dict):
        return {key: _inside(item) for key, item in thing.items()}  # pyright: ignore[reportUnknownVariableType]
    if hasattr(thing, "get_config") and not isinstance(thing, type):
        cls: Any = type(thing)  # pyright: ignore[reportUnknownVariableType]
        within = [room for room in rooms if f"{cls.__module__}.".startswith(f"{room}.")]
        module = max(within, key=len, default=cls.__module__)
        return {"module": module, "class_name": cls.__name__, "config": serialize(thing.get_config())}
    to_list: Callable[[], Any] | None = getattr(thing, "tolist", None)
    if to_list is not None:  # numbers of NumPy
        return to_list()
    name: Any = getattr(thing, "__name__", None)
    if not callable(thing) or not isinstance(name, str) or not name.isidentifier():
        raise ArgumentError(
            f"serialize: it must be an object of layerkit, a function with a name, or plain numbers, text and lists. "
            f"Received: {thing!r}"
        )
    return name


def _inside(thing: Any) -> Any:
    """Return the description of what stands within another; a function is told from text."""
    found = serialize(thing)
    is_function = callable(thing) and isinstance(found, str) and not hasattr(thing, "made_from")
    return {"class_name": "function", "config": found} if is_function else found


def revived(value: Any, custom_objects: Mapping[str, Any] | None) -> Any:
    """Return a value with objects in the place of the dictionaries inside it that `serialize` made."""
    if isinstance(value, (list, tuple)):
        return type(value)(revived(item, custom_objects) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportCallIssue]
    if not isinstance(value, dict):
        return value
    entries: dict[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
    if "class_name" not in entries:
        return {key: revived(item, custom_objects) for key, item in entries.items()}
    name, own = entries["class_name"], custom_objects or {}
    if name == "function":
        if entries.get("config") not in own:
            raise ArgumentError(
                f"deserialize: a function must be among custom_objects. Received: {entries.get('config')!r}, "
                f"and {', '.join(map(repr, own)) or 'none'} there"
            )
        return own[entries["config"]]
    if name in own:
        return made(own[name], entries, own)
    make = room_of(entries)
    return entries if make is None else make(entries, custom_objects)  # what it is given to knows its kind


def made(cls: Any, description: Mapping[str, Any], custom_objects: Mapping[str, Any] | None) -> Any:
    """Return an object of a class, from its dictionary."""
    config: Any = description.get("config") or {}
    if not isinstance(config, dict):
        raise ArgumentError(
            f"deserialize: config must be a dictionary of the arguments of {cls.__name__}. Received: {config!r}"
        )
    return cls.from_config(revived(config, custom_objects))
