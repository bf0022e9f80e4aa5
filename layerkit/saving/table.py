"""The closed table: which classes a file may name.

A file names a class by its room and its own name, ``layers.Dense``; a class or function of the user's own as
``custom.Swish``, which is looked up among those that the caller gives, and nowhere else. Nothing is ever imported, or
looked up in a module, because a file names it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from layerkit import callbacks as callbacks_room
from layerkit import constraints, initializers, layers, losses, metrics, optimizers, regularizers
from layerkit.configurable import Configurable
from layerkit.layers import activations
from layerkit.saving.document import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerkit.saving.place import Place

CUSTOM = "custom."

ROOMS: dict[str, Any] = {
    "constraints": constraints,
    "initializers": initializers,
    "layers": layers,
    "losses": losses,
    "metrics": metrics,
    "optimizers": optimizers,
    "regularizers": regularizers,
}
_models: dict[str, type] = {}
_model: list[type] = []


def hold_models(base: type, *public: Any) -> None:
    """Add the built-in models, which stand above this room: the classes among what theirs offers. Called once."""
    _model[:] = [base]
    classes = [each for each in public if isinstance(each, type) and each is not base]
    _models.update({f"models.{cls.__name__}": cls for cls in classes})
    built_in.cache_clear()
    names.cache_clear()


def is_model(cls: type) -> bool:
    """Tell whether this is a class of models."""
    return issubclass(cls, tuple(_model))


@functools.cache
def built_in() -> Mapping[str, type]:
    """Return the classes of layerkit that a file may name, by name."""
    table = dict(_models)
    # Schedules are loaded when they are asked for.
    for room, module in [*ROOMS.items(), ("schedules", optimizers.schedules)]:
        known = getattr(module, "NAMES", None)
        wrapper = getattr(known, "from_function", None)
        bases = {Configurable, layers.Layer, getattr(known, "base", None)}
        if isinstance(wrapper, type):  # what stands for a function of the user's own
            table[f"{room}.{wrapper.__name__}"] = wrapper
        for name in module.__all__:
            value: Any = getattr(module, name)  # some rooms load what they offer on first use
            if isinstance(value, type) and issubclass(value, Configurable) and value not in bases:
                table[f"{room}.{value.__name__}"] = value
    table[f"layers.{activations.FunctionActivation.__name__}"] = activations.FunctionActivation
    return table


@functools.cache
def callbacks() -> Mapping[str, type]:
    """Return the callbacks that a checkpoint may name, by name: those that write nothing."""
    table: dict[str, type] = {}
    for name in callbacks_room.__all__:
        cls: Any = getattr(callbacks_room, name)
        if issubclass(cls, callbacks_room.Callback) and cls.resumable_from_file:
            table[name] = cls
    return table


@functools.cache
def names() -> Mapping[Any, str]:
    """Return the names of the built-in classes, by class."""
    return {cls: name for name, cls in built_in().items()}


def find(name: str, custom: Mapping[str, Any], place: Place) -> Any:
    """Return what a name in a file stands for.

    Raises:
        ModelFormatError: it is not in the table, or not among what the caller gave.
    """
    if name.startswith(CUSTOM):
        own = name.removeprefix(CUSTOM)
        if own not in custom:
            given = ", ".join(map(repr, custom)) or "none"
            wanted = own if NAME.match(own) else "…"
            raise place.wrong(
                "must be among the custom objects that the caller gives",
                f"{own!r}, and of the caller {given}",
                f"Give custom_objects={{{wanted!r}: {wanted}}}, if you trust the file.",
            )
        return custom[own]
    found = built_in().get(name)
    if found is None:
        raise place.wrong("must be the name of a class of layerkit", repr(name))
    return found
