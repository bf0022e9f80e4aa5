"""What callbacks remember, written down: see `Callback.get_state`. `layerkit.saving.position` reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.callbacks import Callback, History
from layerkit.checks import is_a, shown
from layerkit.errors import ArgumentError
from layerkit.overriding import override
from layerkit.saving import table, tensors
from layerkit.saving.encoding import Encoder

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from layerkit.saving.tensors import Source


class _Encoder(Encoder):
    """What a callback remembers, as JSON; arrays stand beside it.

    Args:
        arrays: receives them.
        prefix: their names are this and a number.
    """

    def __init__(self, arrays: dict[str, Source], prefix: str) -> None:
        super().__init__()
        self._arrays, self._prefix = arrays, prefix
        self._count = 0

    @override
    def encode(self, value: Any, path: str) -> Any:
        if not is_a(value, np.ndarray):
            return super().encode(value, path)
        self._arrays[f"{self._prefix}/{self._count}"] = tensors.source(value)
        self._count += 1
        return {"tensor": self._count - 1}


def describe(callbacks: Iterable[Any], arrays: dict[str, Source]) -> list[Any]:
    """Return what callbacks remember, as JSON: see `Callback.get_state`. A History is the model's."""
    told: list[Any] = []
    for index, callback in enumerate(callbacks):
        name, memory = type(callback).__name__, _Encoder(arrays, f"callbacks/{index}")
        get_state = None if is_a(callback, History) else getattr(callback, "get_state", None)
        state: dict[str, Any] = {} if get_state is None else get_state()
        if not is_a(state, dict) or not all(is_a(key, str) for key in state):
            raise ArgumentError(
                f"save: {name}.get_state must return a dictionary with text as keys. Received: {shown(state)}"
            )
        if getattr(get_state, "__func__", None) is Callback.get_state:  # all attributes, whatever they are
            state = {key: value for key, value in state.items() if _is_plain(value)}
        for key, value in state.items():
            if not _is_plain(value):
                raise ArgumentError(
                    f"save: {name}.get_state must return plain values and arrays. Received: {key}={shown(value)}"
                )
        config = None
        if type(callback) in table.callbacks().values():
            config = {key: Encoder().encode(value, f"{name}.{key}") for key, value in callback.get_config().items()}
        remembered = [[key, memory.encode(value, f"{name}.{key}")] for key, value in state.items()]
        told.append({"class": name, "config": config, "state": remembered})
    return told


def plain(values: Mapping[str, Any], path: str) -> list[Any]:
    """Return those values that can be written, as pairs of a name and JSON."""
    return [[name, Encoder().encode(value, f"{path}.{name}")] for name, value in values.items() if _is_plain(value)]


def _is_plain(value: Any) -> bool:
    """Tell whether it can be written: within the limits of JSON, as a rule."""
    if is_a(value, list, tuple):
        return all(_is_plain(item) for item in value)
    if is_a(value, dict):
        return all(_is_plain(item) for pair in value.items() for item in pair)
    if is_a(value, np.ndarray):
        return value.dtype.name in tensors.CODES
    if is_a(value, int):
        return -(2**63) <= value < 2**64
    return value is None or is_a(value, float, str, np.number, np.bool_)
