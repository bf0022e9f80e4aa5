"""Objects as JSON: what was given to their constructors. `layerkit.saving.decoding` shows the forms."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np

from layerkit.checks import is_a, shown
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError
from layerkit.saving import document, table
from layerkit.saving.tensors import CODES


class Encoder:
    """Makes JSON of objects.

    Args:
        carried: None for a file, in which a custom object stands by its name. A dictionary for a copy in memory, which
            takes along, by numbers, whatever has no form in JSON.
    """

    def __init__(self, carried: dict[str, Any] | None = None) -> None:
        self.carried = carried
        self._custom: dict[str, Any] = {}
        self._seen: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._shared = 0

    def encode(self, value: Any, path: str) -> Any:
        """Return a value as JSON.

        Args:
            value: what the constructor of something was given.
            path: where it stands, for the error message.

        Raises:
            ArgumentError: it has no form in JSON.
        """
        if is_a(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if value is None or is_a(value, bool, str):
            return value
        if is_a(value, int):
            if not -(2**63) <= value < 2**64:
                raise ArgumentError(f"save: {path} must be an integer of 64 bits. Received: {shown(value)}")
            return int(value)
        if is_a(value, list):
            return [self.encode(item, f"{path}[{index}]") for index, item in enumerate(value)]
        if is_a(value, tuple):
            return {"tuple": [self.encode(item, f"{path}[{index}]") for index, item in enumerate(value)]}
        if is_a(value, dict):
            return {"dict": [[self.encode(key, path), self.encode(value[key], f"{path}[{key!r}]")] for key in value]}
        if is_a(value, Configurable):
            return self._object(value, path)
        if is_a(value, np.dtype) or (is_a(value, type) and issubclass(value, np.generic)):
            return np.dtype(cast("Any", value)).name
        if is_a(value, np.generic):
            return self.encode(value.item(), path)
        if is_a(value, np.ndarray) and value.dtype.name in CODES:
            flat = [self.encode(item, path) for item in value.reshape(-1).tolist()]
            return {"array": {"dtype": value.dtype.name, "shape": list(value.shape), "values": flat}}
        if is_a(value, type) and value in table.names():
            return {"type": table.names()[value]}
        make = getattr(value, "made_from", None)
        if make is not None:  # losses.huber, say: the object of which it is the function
            return self.encode(make(), path)
        if is_a(value, type) and issubclass(value, Configurable):
            return {"type": self._name(value, path)}
        if callable(value) or self.carried is not None:
            return {"custom": self._name(value, path)}
        raise ArgumentError(
            f"save: {path} must be something that a file can hold: numbers, text, lists, layers and the like. "
            f"Received: {shown(value)}. Give the constructor plain arguments instead."
        )

    def _object(self, value: Configurable, path: str) -> dict[str, Any]:
        if id(value) in self._seen:
            first = self._seen[id(value)][1]
            if "config" not in first:
                raise ArgumentError(f"save: {path} must not hold itself. Received: {shown(value)}")
            if "id" not in first:
                self._shared += 1
                first["id"] = self._shared
            return {"ref": first["id"]}
        cls = type(value)
        found: dict[str, Any] = {"class": table.names().get(cls) or self._name(cls, path)}
        self._seen[id(value)] = value, found
        config = value.get_config()
        if "trainable" in config:
            config["trainable"] = getattr(value, "trainable", config["trainable"])
        if table.is_model(cls):
            config.pop("backend", None)  # whoever loads it says where it shall live
            if "seed" in config:
                config["seed"] = getattr(value, "seed", None)
        found["config"] = {name: self.encode(each, f"{path}.{name}") for name, each in config.items()}
        return found

    def _name(self, value: Any, path: str) -> str:
        """Return the name of a custom class, function or object."""
        if self.carried is not None:
            for key, each in self.carried.items():
                if each is value:
                    return table.CUSTOM + key
            key = str(len(self.carried))
            self.carried[key] = value
            return table.CUSTOM + key
        name: Any = getattr(value, "__name__", None)
        if not is_a(name, str) or not document.NAME.match(name):
            raise ArgumentError(
                f"save: {path} must be a function or class with a name, by which it can be found again. "
                f"Received: {shown(value)}. Define it with def."
            )
        if self._custom.setdefault(name, value) is not value:
            raise ArgumentError(
                f"save: custom functions and classes must have names of their own. Received: {name!r} twice, "
                f"the second time in {path}"
            )
        return table.CUSTOM + name
