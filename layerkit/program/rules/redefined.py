"""Derivatives of words that are defined in other words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.nested import leaves
from layerkit.program.array import RecordedArray
from layerkit.program.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable


def redefined(definition: Callable[..., Any]) -> Callable[..., Any]:
    """Return the rule of a word from its definition in words that have rules: ``definition(xp, *arguments)``.

    The definition is recorded when a gradient is wanted, and its derivative found.
    """

    def rule(xp: Any, dy: Any, y: Any, *args: Any, **kwargs: Any) -> Any:
        from layerkit.program.derivative import pull_back  # which reads the rules

        recorder = Recorder(xp)
        inputs = [recorder.input(value) if hasattr(value, "shape") else value for value in args]
        result = definition(recorder, *inputs, **kwargs)
        outputs: list[Any] = leaves(result)
        seeds: dict[int, Any] = {
            value.place: gradient
            for value, gradient in zip(outputs, leaves(dy), strict=True)
            if isinstance(value, RecordedArray)
        }
        places = [value.place if isinstance(value, RecordedArray) else -1 for value in inputs]
        return pull_back(recorder, seeds, places)

    return rule
