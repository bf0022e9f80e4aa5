"""Derivatives of what was recorded, by the chain rule from the end to the start (Griewank and Walther, 2008, chapter 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.errors import MissingDerivativeError
from layerkit.program.recorder import Note, Place, RecordedArray, Recorder, recording
from layerkit.program.rules import CONSTANT, REFUSED, RULES
from layerkit.xp import words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from layerkit.xp.backend import Backend
    from layerkit.xp.state import Variable


def pull_back(recorder: Recorder, seeds: Mapping[int, Any], wanted: Sequence[int]) -> list[Any]:
    """Return dL/dvalue for each place in `wanted`, from dL/dvalue at the places of `seeds`; None where there is none.

    The arithmetic runs on the recorder's base, which may itself be a recorder: derivatives of derivatives come so.
    """
    xp = recorder.base
    depends = _dependents(recorder.notes, wanted)
    gradients = {place: seed for place, seed in seeds.items() if place in depends}
    for note in reversed(recorder.notes):
        given = [gradients.pop(place, None) for place in note.outputs]
        if all(gradient is None for gradient in given) or note.word in CONSTANT:
            continue
        outputs = [recorder.values[place] for place in note.outputs]
        if len(outputs) > 1:
            given = [xp.zeros_like(y) if dy is None else dy for y, dy in zip(outputs, given, strict=True)]
        dy, y = (given, outputs) if len(outputs) > 1 or note.word in _SEVERAL else (given[0], outputs[0])
        args, kwargs = recorder.resolved(note.args), recorder.resolved(note.kwargs)
        found = _rule(note)(xp, dy, y, *args, **kwargs)
        for argument, gradient in zip(_leaves(note.args), _leaves(found), strict=False):
            if not isinstance(argument, Place) or gradient is None or argument.index not in depends:
                continue
            gradient = _unbroadcast(xp, gradient, tuple(recorder.values[argument.index].shape))  # noqa: PLW2901
            before = gradients.get(argument.index)
            gradients[argument.index] = gradient if before is None else before + gradient
    return [gradients.get(place) for place in wanted]


# Words that return a tuple, even of one.
_SEVERAL = ("unstack", "broadcast_arrays", "meshgrid", "linalg.eigh", "linalg.qr", "linalg.slogdet", "linalg.svd")


def _dependents(notes: Sequence[Note], wanted: Sequence[int]) -> set[int]:
    """Return the places whose values depend on those in `wanted`, themselves included."""
    found = set(wanted)
    for note in notes:
        if any(
            isinstance(leaf, Place) and leaf.index in found for leaf in (*_leaves(note.args), *_leaves(note.kwargs))
        ):
            found.update(note.outputs)
    return found


def _leaves(value: Any) -> list[Any]:
    """Return the items of nested tuples, lists and dictionaries, in order."""
    if isinstance(value, Place) or not isinstance(value, (tuple, list, dict)):
        return [value]
    items = value.values() if isinstance(value, dict) else value  # pyright: ignore[reportUnknownVariableType]
    return [leaf for item in items for leaf in _leaves(item)]  # pyright: ignore[reportUnknownVariableType]


def _rule(note: Note) -> Any:
    rule = note.rule or RULES.get(note.word)
    if rule is None:
        reason = REFUSED.get(note.word, "it has no rule")
        known = note.word in (*words.FUNCTIONS, *words.NETWORK_WORDS)
        raise MissingDerivativeError(
            f"A derivative is found through words that have a rule. Received: xp.{note.word}, {reason}. "
            + ("Write the layer's backward by hand" if known else "Register a rule")
            + f", or give one: layerkit.register_derivative({note.word!r}, lambda xp, dy, y, x: …)."
        )
    return rule


def _unbroadcast(xp: Any, gradient: Any, shape: tuple[int, ...]) -> Any:
    """Return the gradient of an argument that was broadcast: summed over the axes that were stretched."""
    if tuple(gradient.shape) == shape:
        return gradient
    surplus = len(gradient.shape) - len(shape)
    if surplus < 0:
        return xp.broadcast_to(gradient, shape)
    stretched = tuple(
        axis
        for axis, length in enumerate(gradient.shape)
        if axis < surplus or (shape[axis - surplus] == 1 and length != 1)
    )
    if stretched:
        gradient = xp.sum(gradient, axis=stretched, keepdims=True)
        return xp.reshape(gradient, shape)
    return xp.broadcast_to(gradient, shape)


class Tape(NamedTuple):
    """What was recorded of one call of a function: enough to find its derivative."""

    recorder: Recorder
    inputs: tuple[int, ...]
    output: int | None
    """The place of the result; None if it does not depend on what is recorded."""

    @classmethod
    def record(cls, xp: Backend, function: Callable[..., Any], *inputs: Any) -> tuple[Any, Tape]:
        """Call ``function(recorder, *inputs)``; return its plain result and the tape."""
        recorder = Recorder(xp)
        given = [recorder.input(value) for value in inputs]
        with recording(recorder):
            result = function(recorder, *given)
        recorded = isinstance(result, RecordedArray) and result.recorder is recorder
        tape = cls(recorder, tuple(value.index for value in given), result.index if recorded else None)
        return (result.value if recorded else result), tape

    def gradients(self, dy: Any, variables: Sequence[Variable] = ()) -> tuple[list[Any], list[Any]]:
        """Return dL/dinput for each input and dL/dvariable for each variable; zeros where there is no dependence."""
        xp, recorder = self.recorder.base, self.recorder
        places = [*self.inputs, *(recorder.variables.get(variable, -1) for variable in variables)]
        found = [None] * len(places) if self.output is None else pull_back(recorder, {self.output: dy}, places)
        arrays = [*(recorder.values[place] for place in self.inputs), *(variable.value for variable in variables)]
        filled = [xp.zeros_like(x) if dx is None else dx for x, dx in zip(arrays, found, strict=True)]
        return filled[: len(self.inputs)], filled[len(self.inputs) :]
