"""Capturing a whole step: every word that runs in it, and all that it writes into state.

A `Capture` is a recorder that looks for no derivative: the step's own backward pass runs through it like the rest. It
keeps no values, so that a step under it needs hardly more memory than without it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.nested import filled, leaves
from layerkit.overriding import override
from layerkit.program.array import Place, RecordedArray
from layerkit.program.frames import users_line
from layerkit.program.program import INPUT_NAMES, Instruction, Origin, Program, Spec
from layerkit.program.recorder import Recorder, find, is_several, not_recording, recording
from layerkit.xp import words

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.xp.backend import Backend
    from layerkit.xp.state import State


_SHAPED_BY_VALUES = frozenset(("getitem", "nonzero", "repeat", *words.SETS))


class Capture(Recorder):
    """Runs a step's words on `base`, and notes them all in order.

    Args:
        base: the backend that computes.
    """

    name = "capture"
    differentiates = False

    def __init__(self, base: Backend) -> None:
        super().__init__(base)
        self.specs: list[Spec] = []
        self.states: dict[Place, State] = {}
        self.instructions: list[Instruction] = []
        self.origins: list[Origin] = [Origin("", "")]
        """What is at work: the innermost layer, and those around it."""
        self.refusal: Refusal | None = None
        self.constants: dict[Place, Any] = {}
        """Arrays made from nothing, of a library whose operators do not give way to recorded arrays."""
        self._expansions = base.expansions
        self._sketches = False
        """Whether words are noted whose work has been done: their results are of use for their shapes alone."""
        self._keeps_constants = not hasattr(base.empty((0,)), "__array_ufunc__")

    @override
    def __getattr__(self, word: str) -> Any:
        found = super().__getattr__(word)
        if word not in words.CREATION_ON_DEVICE or not self._keeps_constants:
            return found

        def create(*args: Any, **kwargs: Any) -> RecordedArray:
            return self.constant(found(*args, **kwargs))

        return create

    def constant(self, value: Any) -> RecordedArray:
        """Return an array that is the same each time as a recorded one."""
        array = self.input(value)
        self.constants[array.place] = value
        return array

    @override
    def input(self, value: Any) -> RecordedArray:
        place = Place(len(self.specs))
        self.specs.append(Spec(tuple(value.shape), value.dtype))
        return RecordedArray(self, place, value)

    @override
    def variable(self, variable: Any, value: Any) -> RecordedArray:
        place = self.variables.get(variable)
        if place is None:
            place = self.variables[variable] = self.input(value).place
            self.states[place] = variable
        return RecordedArray(self, place, value)

    @override
    def note(self, word: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        expansion = self._expansions.get(word)
        if expansion is not None:
            return expansion(self, *args, **kwargs)
        inputs: list[Place] = []
        plain = [self._split(value, inputs) for value in args]
        named = {key: self._split(value, inputs) for key, value in kwargs.items()}
        result = find(self.base, word)(*plain, **named)
        if word in _SHAPED_BY_VALUES and self._takes_values_as_shape(word, args, kwargs):
            self.refuse(f"xp.{word} with a result whose shape depends on values")
        if inputs and not is_several(result) and self.constants.keys() >= set(inputs):
            return self.constant(result)
        return self._add(word, args, kwargs, result) if inputs else result

    def _takes_values_as_shape(self, word: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        if word == "repeat":
            return any(isinstance(counts, RecordedArray) for counts in (*args[1:], *kwargs.values()))
        chosen = leaves(args[1:]) if word == "getitem" else args
        return any(
            isinstance(value, RecordedArray) and (word != "getitem" or value.dtype == self.base.bool)
            for value in chosen
        )

    @override
    def note_function(self, function: Any, rule: Any, args: tuple[Any, ...]) -> Any:
        return self._add("call", (function, *args), {}, function(*[self._split(value, []) for value in args]))

    def _add(self, word: str, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any) -> Any:
        args = tuple([self._place(value) for value in args])
        kwargs = {key: self._place(value) for key, value in kwargs.items()}
        several = is_several(result)
        given: Any = result if several else (result,)
        if self._sketches:
            given = [None if value is None else self._sketched(value) for value in given]
        outputs = [None if value is None else self.input(value) for value in given]
        places = tuple([None if output is None else output.place for output in outputs])
        self.instructions.append(Instruction(word, args, kwargs, places, self.origins[-1], several))
        made: Any = getattr(result, "_make", None) or result.__class__
        return made(outputs) if several else outputs[0]

    # The machine words.

    @override
    def in_tiles(
        self, function: Callable[[Backend, Sequence[Any], tuple[Any, ...]], None], states: Sequence[Any], scalars: Any
    ) -> None:
        if states[0].size <= (self.base.tile_size or sys.maxsize):
            function(self, states, scalars)
            return
        with not_recording():
            self.base.in_tiles(function, [self._plain(state) for state in states], self._plain(scalars))
        self._sketches = True
        try:
            function(self, states, scalars)
        finally:
            self._sketches = False

    def _sketched(self, value: Any) -> Any:
        """Return an array like this one that takes the memory of a single element."""
        if value.size < 2:
            return value
        one = self.base.astype(self.base.reshape(value, (-1,))[:1], value.dtype)
        return self.base.broadcast_to(one, value.shape)

    @override
    def assign(self, state: Any, value: Any) -> None:
        self._write("assign", state, value)

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        self._write("assign_add", state, value)

    def _write(self, word: str, state: Any, value: Any) -> None:
        if not self._sketches:
            getattr(self.base, word)(self._plain(state), self._plain(value))
        args = self._place(state), self._place(value)
        self.instructions.append(Instruction(word, args, {}, (), self.origins[-1]))

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        bits = self.base.random_bits(key, self._plain(counter), size)
        return self._add("random_bits", (key, counter, size), {}, bits)

    @override
    def view(self, state: Any, start: int, stop: int, shape: tuple[int, ...]) -> Any:
        taken = self.base.view(self._plain(state), start, stop, shape)
        return self._add("view", (state, start, stop, shape), {}, taken)

    @override
    def to_numpy(self, array: Any) -> Any:
        return self.base.to_numpy(self.read(array, "xp.to_numpy") if isinstance(array, RecordedArray) else array)

    @override
    def read(self, array: RecordedArray, how: str, *, lost: bool = False) -> Any:
        if array.place not in self.constants:
            self.refuse(f"{how} of a value, which reads it on the host{' and loses its derivative' if lost else ''}")
        return array.value

    def refuse(self, received: str) -> None:
        """Note why the step cannot be replayed: the first reason is kept."""
        if self.refusal is None:
            self.refusal = Refusal(self.origins[-1], received, users_line())

    @override
    def __str__(self) -> str:
        return f"a capture over {self.base}"


class Refusal(NamedTuple):
    """Why a step cannot be replayed."""

    origin: Origin
    received: str
    line: str
    """Where, in the user's own code: "model.py, line 12"; empty where that is not known."""


def record(
    xp: Backend,
    function: Callable[..., Any],
    inputs: Sequence[Any],
    name: str,
    begin: Callable[[Capture], None] | None = None,
    input_names: Sequence[str] = INPUT_NAMES,
) -> tuple[Any, Capture, Program]:
    """Run ``function(capture, *inputs)`` on `xp`; return its plain result, the capture, and the program.

    The program returns the arrays of a nested result in a tuple.

    Args:
        xp: the backend that computes.
        function: a step: it reads and writes state, and returns an array, several in a nest, or None.
        inputs: arrays of `xp`.
        name: of the program.
        begin: is given the capture first.
        input_names: what the inputs are called in source.
    """
    capture = Capture(xp)
    if begin is not None:
        begin(capture)
    given = [capture.input(value) for value in inputs]
    with recording(capture):
        result = function(capture, *given)
    outputs: tuple[Place, ...] = ()
    if result is not None:
        # What is not recorded follows from no input and no state.
        found = [value if isinstance(value, RecordedArray) else capture.constant(value) for value in leaves(result)]
        outputs = tuple([value.place for value in found])
        result = filled(result, [value.value for value in found])
    places = tuple(value.place for value in given)
    states, constants, specs = capture.states, capture.constants, capture.specs
    program = Program(name, places, outputs, states, constants, specs, capture.instructions, input_names)
    return result, capture, program
