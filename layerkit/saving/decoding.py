"""Objects from JSON: what was given to their constructors, as `layerkit.saving.encoding` wrote it.

JSON's own values stand for themselves. Everything else is an object with one key that says what it is::

    {"class": "layers.Dense", "config": {"units": 8}}    an object; with "id": 1 if it stands in a second place,
    {"ref": 1}                                           which is this
    {"type": "layers.Dense"}                             a class
    {"custom": "custom.swish"}                           a function or object of the caller's own
    {"tuple": [1, 2]}, {"dict": [["key", 1]]}            a tuple, a dictionary
    {"float": "inf"}                                     a number that JSON does not have
    {"array": {"dtype": "float32", "shape": [2], "values": [0.5, 1.5]}}
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import is_a, shown
from layerkit.configurable import Configurable
from layerkit.errors import ModelFormatError
from layerkit.layers import Layer
from layerkit.saving import document, table
from layerkit.saving.tensors import CODES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from layerkit.saving.place import Place

MOST_OBJECTS = 10_000

_LARGEST_OF_METRICS = 2**16
"""Of an integer in the configuration of a metric, which may make that many thresholds or classes at once."""

_ARGUMENT = re.compile(r"Received: (\w+)=")

# By kind: the keys that an object of that kind has, and those that it may have.
_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "class": (("class", "config"), ("id",)),
    **{kind: ((kind,), ()) for kind in ("ref", "type", "custom", "tuple", "dict", "float", "array")},
}


class Decoder:
    """Makes objects of JSON.

    Args:
        custom: the custom objects that the caller gives, by name.
        tensors: a function from a number, and the place where it stands, to an array beside the JSON; None if there is
            none. Then ``{"tensor": 0}`` stands for one.
    """

    def __init__(self, custom: Mapping[str, Any], tensors: Callable[[int, Place], Any] | None = None) -> None:
        self._custom = custom
        self._tensors = tensors
        self._kinds = _KINDS if tensors is None else {**_KINDS, "tensor": (("tensor",), ())}
        self._shared: dict[int, Any] = {}
        self._objects = 0

    def decode(self, value: Any, place: Place) -> Any:
        """Return what JSON says.

        Raises:
            ModelFormatError: it says nothing, or names what does not exist, or what does not let itself be made so.
        """
        if isinstance(value, list):
            items: list[Any] = value  # pyright: ignore[reportUnknownVariableType]
            # Most items of long lists are numbers, whose places nobody asks for.
            return [
                self.decode(item, place.at(index)) if type(item) in (dict, list) else item
                for index, item in enumerate(items)
            ]
        if not isinstance(value, dict):
            return value
        fields = document.check_map(value, place)  # pyright: ignore[reportUnknownArgumentType]
        kinds = self._kinds.keys() & fields.keys()
        if len(kinds) != 1:
            raise place.wrong(
                f"must have one of the keys {', '.join(self._kinds)}", f"the keys {', '.join(fields) or 'none'}"
            )
        (kind,) = kinds
        document.check_object(fields, place, *self._kinds[kind])
        here = place.at(kind)
        match kind:
            case "class":
                return self._object(fields, place)
            case "ref":
                number = document.check_integer(fields["ref"], here)
                if number not in self._shared:
                    raise here.wrong("must be the id of an object before it", number)
                return self._shared[number]
            case "type":
                found = self._find(fields["type"], here)
                if not isinstance(found, type):
                    raise here.wrong("must name a class", fields["type"])
                return found
            case "custom":
                if not document.check_text(fields["custom"], here).startswith(table.CUSTOM):
                    raise here.wrong(f"must begin with {table.CUSTOM!r}", fields["custom"])
                return self._find(fields["custom"], here)
            case "tuple":
                return tuple(self.decode(document.check_list(fields["tuple"], here), here))
            case "dict":
                return self._dictionary(fields["dict"], here)
            case "float":
                if fields["float"] not in ("inf", "-inf", "nan"):
                    raise here.wrong("must be one of inf, -inf, nan", fields["float"])
                return float(fields["float"])
            case "tensor" if self._tensors is not None:
                return self._tensors(document.check_integer(fields["tensor"], here), here)
            case _:
                return self._array(fields["array"], here)

    def _find(self, name: Any, place: Place) -> Any:
        return table.find(document.check_text(name, place), self._custom, place)

    def _object(self, fields: dict[str, Any], place: Place) -> Any:
        cls = self._find(fields["class"], place.at("class"))
        if not isinstance(cls, type) or not issubclass(cls, Configurable):
            raise place.at("class").wrong("must name a class of layers, losses and the like", fields["class"])
        self._objects += 1
        if self._objects > MOST_OBJECTS:
            raise place.wrong(f"must be one of at most {MOST_OBJECTS} objects", "more")
        here = place.at("config")
        raw = document.check_map(fields["config"], here)
        if fields["class"].startswith("metrics."):
            for name, each in raw.items():
                if is_a(each, int) and abs(each) > _LARGEST_OF_METRICS:
                    raise here.at(name).wrong(f"must be at most {_LARGEST_OF_METRICS}, as of any metric", each)
        if issubclass(cls, Layer) and not fields["class"].startswith(table.CUSTOM) and not raw.get("name"):
            raise here.at("name").wrong(
                "must be given", raw.get("name")
            )  # finding names takes long where there are many
        if table.is_model(cls) and "backend" in raw:
            raise here.at("backend").wrong(
                "must be left out: whoever loads a model says where it lives", raw["backend"]
            )
        config = {name: self.decode(each, here.at(name)) for name, each in raw.items()}
        made = _made(cls, config, here)
        if "id" in fields:
            number = document.check_integer(fields["id"], place.at("id"))
            if number in self._shared:
                raise place.at("id").wrong("must be an id of its own", number)
            self._shared[number] = made
        return made

    def _dictionary(self, pairs: Any, place: Place) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for index, pair in enumerate(document.check_list(pairs, place)):
            here = place.at(index)
            if len(document.check_list(pair, here)) != 2:
                raise here.wrong("must be a key and a value", pair)
            key, item = (self.decode(part, here.at(part_index)) for part_index, part in enumerate(pair))
            if not is_a(key, str, int, float, bool, type(None)) or key in found:
                raise here.wrong("must have a key of its own, text or a number", shown(key))
            found[key] = item
        return found

    def _array(self, value: Any, place: Place) -> Any:
        fields = document.check_object(value, place, ("dtype", "shape", "values"))
        if not is_a(fields["dtype"], str) or fields["dtype"] not in CODES:
            raise place.at("dtype").wrong(f"must be one of {', '.join(CODES)}", fields["dtype"])
        shape: Any = document.check_lengths(fields["shape"], place.at("shape"))
        items = self.decode(document.check_list(fields["values"], place.at("values")), place.at("values"))
        if len(items) != math.prod(shape) or not all(is_a(item, int, float) for item in items):
            raise place.at("values").wrong(f"must be {math.prod(shape)} numbers, for shape {shape}", items)
        try:
            return np.array(items, fields["dtype"]).reshape(shape)
        except (OverflowError, ValueError) as error:
            raise place.at("values").wrong(f"must be numbers of dtype {fields['dtype']}", str(error)) from error


def _made(cls: type[Configurable], config: dict[str, Any], place: Place) -> Any:
    # What is inside is made already, and need not be made again, as from_config would.
    plain = cls.from_config.__func__ is Configurable.from_config.__func__  # type: ignore[attr-defined]
    try:
        return cls(**config) if plain else cls.from_config(config)
    except ModelFormatError:
        raise
    except Exception as error:
        argument = _ARGUMENT.search(str(error))
        here = place.at(argument[1]) if argument is not None and argument[1] in config else place
        raise here.wrong(f"must be what {cls.__name__} takes", f"{type(error).__name__}: {error}") from error
