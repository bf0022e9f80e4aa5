"""Derivatives of what was recorded, by the chain rule from the end to the start.

Griewank and Walther, *Evaluating Derivatives* (2008), chapter 3.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.errors import MissingDerivativeError, ShapeError
from layerkit.nested import filled, leaves, mapped
from layerkit.program.array import Place, RecordedArray
from layerkit.program.recorder import Note, Recorder, infers, recording
from layerkit.program.rules import CONSTANT, REFUSED, RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from layerkit.xp.backend import Backend
    from layerkit.xp.state import Variable


def pull_back(recorder: Recorder, seeds: Mapping[int, Any], wanted: Sequence[int]) -> list[Any]:
    """Return dL/dvalue for each place in `wanted`, from dL/dvalue at the places of `seeds`; None where there is none.

    The arithmetic runs on the recorder's base, which may itself be a recorder: derivatives of derivatives come so.

    Raises:
        MissingDerivativeError: L depends on what is wanted through a word that has no rule.
    """
    xp, values = recorder.base, recorder.values
    depends = _dependents(recorder.notes, wanted)
    gradients = {place: seed for place, seed in seeds.items() if place in depends}
    for note in reversed(recorder.notes):
        if note.several:
            given = [gradients.pop(place, None) for place in note.outputs]
            if all(gradient is None for gradient in given):
                continue
            y: Any = [values[place] for place in note.outputs]
            dy: Any = [
                xp.zeros_like(part) if gradient is None and part is not None else gradient
                for part, gradient in zip(y, given, strict=True)
            ]
        else:
            (output,) = note.outputs
            dy = gradients.pop(output, None)
            if dy is None:
                continue
            y = values[output]
        rule = note.rule or RULES.get(note.word) or _missing(note.word)
        if note.nested or note.kwargs:
            args, kwargs = _arguments(note, rule)
            found: Any = leaves(rule(xp, dy, y, *recorder.resolved(args), **kwargs))
            args = leaves(args)
        else:
            args = note.args
            found = rule(xp, dy, y, *[values[item] if type(item) is Place else item for item in args])
            found = found if isinstance(found, (tuple, list)) else (found,)  # pyright: ignore[reportUnknownVariableType]
        for argument, gradient in zip(args, found, strict=False):
            if type(argument) is not Place or gradient is None or argument not in depends:
                continue
            value = values[argument]
            if gradient.shape != value.shape or gradient.dtype != value.dtype:
                gradient = _fitted(xp, note.word, gradient, value)
            before = gradients.get(argument)
            gradients[argument] = gradient if before is None else before + gradient
    return [gradients.get(place) for place in wanted]


def _dependents(notes: Sequence[Note], wanted: Sequence[int]) -> set[int]:
    """Return the places whose values vary with those in `wanted`, themselves included."""
    found = set(wanted)
    for note in notes:
        if not found.isdisjoint(note.inputs) and (note.word not in CONSTANT or note.word in RULES):
            found.update(note.outputs)
    return found


def _arguments(note: Note, rule: Callable[..., Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments as the rule takes them: in order, where recorded arrays were given by keyword."""
    if not note.kwargs or not _has_place(note.kwargs):
        return note.args, note.kwargs
    bound = inspect.signature(rule).bind(None, None, None, *note.args, **note.kwargs)
    bound.apply_defaults()
    for keyword, value in bound.kwargs.items():
        if _has_place(value):
            raise MissingDerivativeError(
                f"A derivative is found to arrays that a rule knows of. Received: xp.{note.word}, which has none to "
                f"its keyword {keyword!r}. Give it a value that is not recorded."
            )
    return bound.args[3:], bound.kwargs


def _has_place(value: Any) -> bool:
    return any(type(leaf) is Place for leaf in leaves(value))


def _missing(word: str) -> Any:
    reason = REFUSED.get(word, "which has none")
    raise MissingDerivativeError(
        f"A derivative is found through words that have a rule. Received: xp.{word}, {reason}. "
        f"Write the layer's backward by hand, or give a rule: "
        f"layerkit.register_derivative({word!r}, lambda xp, dy, y, x: …)."
    )


def _fitted(xp: Backend, word: str, gradient: Any, value: Any) -> Any:
    """Return a gradient with the shape and dtype of its value: summed over the axes along which it was broadcast."""
    shape, wanted = tuple(gradient.shape), tuple(value.shape)
    if shape != wanted:
        surplus = len(shape) - len(wanted)
        if surplus > 0:
            gradient = xp.sum(gradient, axis=tuple(range(surplus)))
        stretched = tuple(n for n in range(-min(len(shape), len(wanted)), 0) if wanted[n] == 1 != shape[n])
        if stretched:
            gradient = xp.sum(gradient, axis=stretched, keepdims=True)
        if tuple(gradient.shape) != wanted:
            if len(gradient.shape) > len(wanted) or any(
                a not in (1, b) for a, b in zip(gradient.shape[::-1], wanted[::-1], strict=False)
            ):
                raise ShapeError(
                    f"A derivative rule must return a gradient for each array, of its shape. "
                    f"Received: that of xp.{word}, a gradient of shape {shape} for an array of shape {wanted}."
                )
            gradient = xp.broadcast_to(gradient, wanted)
    if gradient.dtype != value.dtype:
        if xp.isdtype(gradient.dtype, "complex floating") and not xp.isdtype(value.dtype, "complex floating"):
            gradient = xp.real(gradient)
        gradient = xp.astype(gradient, value.dtype)
    return gradient


def _place(array: RecordedArray) -> Place:
    return array.place


class Tape(NamedTuple):
    """What was recorded of one call of a function: enough to find its derivative.

    Each input, and the result, is an array, or arrays in nested tuples and lists.
    """

    recorder: Recorder
    inputs: tuple[Any, ...]
    """The place of each input, nested as they are."""
    output: Any
    """The place of the result, nested as it is; None for what does not depend on what is recorded."""

    @classmethod
    def record(cls, xp: Backend, function: Callable[..., Any], *inputs: Any) -> tuple[Any, Tape]:
        """Call ``function(recorder, *inputs)``; return its plain result and the tape."""
        return cls.record_on(Recorder(xp), function, *inputs)

    @classmethod
    def record_on(cls, recorder: Recorder, function: Callable[..., Any], *inputs: Any) -> tuple[Any, Tape]:
        """Do as `record`, with this recorder, which must be fresh."""
        # A single array is not walked, here and below: this runs in each step that is not replayed.
        given = [mapped(recorder.input, x) if isinstance(x, (tuple, list)) else recorder.input(x) for x in inputs]
        with recording(recorder):
            result = function(recorder, *given)
        places = tuple([x.place if type(x) is RecordedArray else mapped(_place, x) for x in given])
        if type(result) is RecordedArray and result.recorder is recorder:
            return result.value, cls(recorder, places, result.place)

        def own(value: Any) -> bool:
            return type(value) is RecordedArray and value.recorder is recorder

        def plain(value: Any) -> Any:
            return value.value if own(value) else value

        def place(value: Any) -> Place | None:
            return value.place if own(value) else None

        return mapped(plain, result), cls(recorder, places, mapped(place, result))

    @classmethod
    def record_if_wanted(cls, xp: Backend, function: Callable[..., Any], *inputs: Any) -> tuple[Any, Tape | None]:
        """Do as `record`; within `inference`, call ``function(xp, *inputs)`` alone, without a tape."""
        return (function(xp, *inputs), None) if infers() else cls.record(xp, function, *inputs)

    def gradients(self, dy: Any, variables: Sequence[Variable] = ()) -> tuple[list[Any], list[Any]]:
        """Return dL/dinput for each input and dL/dvariable for each variable; zeros where there is no dependence.

        Args:
            dy: dL/dresult, nested as the result is; None for what L does not depend on.
            variables: what was read while the function ran.
        """
        xp, recorder = self.recorder.base, self.recorder
        single = all(type(place) is Place for place in self.inputs)
        inputs = list(self.inputs) if single else leaves(self.inputs)
        places = [*inputs, *(recorder.variables.get(variable, -1) for variable in variables)]
        seeds: dict[int, Any] = {self.output: dy} if type(self.output) is Place else self._seeds(dy)
        found = pull_back(recorder, seeds, places) if seeds else [None] * len(places)
        if any(dx is None for dx in found):
            arrays = [*(recorder.values[place] for place in inputs), *(variable.value for variable in variables)]
            found = [xp.zeros_like(x) if dx is None else dx for x, dx in zip(arrays, found, strict=True)]
        dx = found[: len(inputs)]
        return dx if single else list(filled(self.inputs, dx)), found[len(inputs) :]

    def _seeds(self, dy: Any) -> dict[int, Any]:
        """Return the gradients of several outputs by their places; one array may stand in two of them."""
        seeds: dict[int, Any] = {}
        for place, seed in zip(leaves(self.output), leaves(dy), strict=True):
            if place is not None and seed is not None:
                seeds[place] = seeds[place] + seed if place in seeds else seed
        return seeds
