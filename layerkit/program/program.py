"""A program: a step as the list of its words, over values of known shapes and dtypes."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.program.array import Place, leaves
from layerkit.program.recorder import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerkit.xp.backend import Backend
    from layerkit.xp.state import State


class Spec(NamedTuple):
    """What is known of a value before it is computed."""

    shape: tuple[int, ...]
    dtype: Any


class Origin(NamedTuple):
    """Who asked for a word."""

    owner: str
    """The name of a layer, loss, metric or optimizer."""
    doing: str
    """Which of its passes: "forward", "backward", "update", …"""
    formula: str = ""

    def __str__(self) -> str:
        return f"{self.owner}: {self.doing}" if self.owner else "the step"


class Instruction(NamedTuple):
    """One word: recorded arguments stand as `Place`s."""

    word: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Place | None, ...]
    origin: Origin
    several: bool = False

    def places(self) -> list[Place]:
        """Return the places among the arguments."""
        return [leaf for leaf in leaves((self.args, self.kwargs)) if type(leaf) is Place]


WRITES = frozenset(("assign", "assign_add"))

# Words whose result may share the memory of their argument, so that it changes as that does.
VIEWS = frozenset(
    (
        *("broadcast_arrays", "broadcast_to", "expand_dims", "flip", "getitem", "imag", "linalg.diagonal"),
        *("linalg.matrix_transpose", "matrix_transpose", "moveaxis", "permute_dims", "real", "reshape", "squeeze"),
        *("unstack", "view"),
    )
)


# Words that may give something else when they are called once more.
_ONCE = frozenset(("call", "random_bits"))

# `type`, to type checkers: what is compared here is no class that they know.
_type: Callable[[Any], Any] = type


INPUT_NAMES = ("x", "y", "sample_weight")


class Program:
    """A recorded step.

    Called with arrays like those it was recorded with, it runs word by word on their backend: what every backend can
    do. A backend whose `capture` does more takes it as its source.

    Args:
        name: "train", "test" or "predict".
        inputs: the places of the inputs.
        outputs: the places of what the step returns: nothing, an array, or a tuple of several.
        states: the state that is read or written.
        constants: arrays that are the same each time, as far as they have places.
        specs: shape and dtype of each place.
        instructions: the words, in order.
        input_names: what the inputs are called in source.
    """

    def __init__(
        self,
        name: str,
        inputs: tuple[Place, ...],
        outputs: tuple[Place, ...],
        states: dict[Place, State],
        constants: dict[Place, Any],
        specs: Sequence[Spec],
        instructions: Sequence[Instruction],
        input_names: Sequence[str] = INPUT_NAMES,
    ) -> None:
        self.name = name
        self.input_names = tuple(input_names)
        self.inputs, self.outputs = inputs, outputs
        self.states, self.constants = states, constants
        self.specs = specs
        self.instructions = list(instructions)

    @property
    def size(self) -> int:
        """The number of elements of the first input."""
        return math.prod(self.specs[self.inputs[0]].shape) if self.inputs else 0

    def simplified(self) -> Program:
        """Return the program without words whose results nobody uses, and without words that repeat an earlier one."""
        merged, outputs = _merged(self.instructions, self.states, self.outputs)
        straight, outputs = _without_detours(merged, self.states, self.specs, outputs)
        live = _live(straight, outputs)
        specs, names = self.specs, self.input_names
        return Program(self.name, self.inputs, outputs, self.states, self.constants, specs, live, names)

    def difference(self, other: Program, xp: Backend) -> tuple[Instruction, str] | None:
        """Return the first word in which another recording of the same step differs, and how; None if none does."""
        for mine, theirs in zip(self.instructions, other.instructions, strict=False):
            if mine.word != theirs.word or mine.outputs != theirs.outputs:
                return theirs, f"xp.{mine.word}, and then xp.{theirs.word}"
            for before, after in zip(_parts(mine, self.constants), _parts(theirs, other.constants), strict=False):
                if not _same(xp, before, after):
                    return theirs, f"xp.{mine.word} with {_shown(before)}, and then with {_shown(after)}"
        mine, theirs = len(self.instructions), len(other.instructions)
        if mine != theirs:
            longer = max(self.instructions, other.instructions, key=len)
            return longer[min(mine, theirs)], f"{mine} words, and then {theirs}"
        return None

    def on(self, xp: Backend) -> WordByWord:
        """Return a function of the inputs that runs the program word by word on this backend."""
        return WordByWord(self.simplified(), xp)


class WordByWord:
    """A program that is run word by word, on any backend.

    Args:
        program: what was recorded.
        xp: the backend.
    """

    def __init__(self, program: Program, xp: Backend) -> None:
        self.program, self.xp, self.name = program, xp, program.name
        self._states = {place: state.array for place, state in program.states.items()} | program.constants
        last_use: dict[int, int] = {}
        for number, instruction in enumerate(program.instructions):
            last_use.update(dict.fromkeys(instruction.places(), number))
        kept = {*self._states, *program.outputs}
        self._over = [
            [place for place in instruction.places() if last_use[place] == number and place not in kept]
            for number, instruction in enumerate(program.instructions)
        ]

    def __call__(self, *arrays: Any) -> Any:
        """Take the step."""
        xp, program = self.xp, self.program
        values: dict[Any, Any] = {**self._states, **dict(zip(program.inputs, arrays, strict=True))}
        for instruction, over in zip(program.instructions, self._over, strict=True):
            args = _resolved(instruction.args, values)
            if instruction.word == "call":
                result = args[0](*args[1:])
            else:
                result = find(xp, instruction.word)(*args, **_resolved(instruction.kwargs, values))
            if instruction.several:
                values.update(zip(instruction.outputs, result, strict=True))
            elif instruction.outputs:
                values[instruction.outputs[0]] = result
            for place in over:
                values.pop(place, None)
        found = tuple([values[place] for place in program.outputs])
        return found if len(found) > 1 else found[0] if found else None

    @property
    def source(self) -> str:
        """The words, one a line, as they would be written."""
        names: dict[Any, str] = {place: _identifier(state.path) for place, state in self.program.states.items()}
        names.update(zip(self.program.inputs, map(_identifier, self.program.input_names), strict=False))
        names.update((place, _text(array, {})) for place, array in self.program.constants.items())
        lines = [f"def {self.name}(xp, {', '.join(names[place] for place in self.program.inputs)}):"]
        origin = None
        for instruction in self.program.instructions:
            if instruction.origin != origin:
                origin = instruction.origin
                lines.append(f"    # {origin}{'. ' if origin.formula else ''}{origin.formula}")
            for place in instruction.outputs:
                names[place] = f"v{len(names)}"
            args = [_text(argument, names) for argument in instruction.args]
            args += [f"{key}={_text(value, names)}" for key, value in instruction.kwargs.items()]
            call = f"{args.pop(0)}" if instruction.word == "call" else f"xp.{instruction.word}"
            outputs = ", ".join(names[place] for place in instruction.outputs)
            lines.append(f"    {outputs}{' = ' if outputs else ''}{call}({', '.join(args)})")
        if self.program.outputs:
            lines.append(f"    return {', '.join(names[place] for place in self.program.outputs)}")
        return "\n".join(lines) + "\n"

    def __str__(self) -> str:
        return self.source


def _identifier(path: str) -> str:
    return re.sub(r"\W+", "_", path)


def _text(value: Any, names: dict[Any, str]) -> str:
    if type(value) is Place:
        return names[value]
    if isinstance(value, (tuple, list)):
        items = ", ".join(_text(item, names) for item in value)  # pyright: ignore[reportUnknownVariableType]
        return f"[{items}]" if isinstance(value, list) else f"({items},)"
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"array{tuple(value.shape)}"
    return getattr(value, "__name__", None) or repr(value)


def _resolved(value: Any, values: dict[Any, Any]) -> Any:
    kind = _type(value)
    if kind is Place:
        return values[value]
    if kind is tuple:
        return tuple([_resolved(item, values) for item in value])
    if kind is list:
        return [_resolved(item, values) for item in value]
    return {key: _resolved(item, values) for key, item in value.items()} if kind is dict else value


def _live(instructions: Sequence[Instruction], outputs: Sequence[Place]) -> list[Instruction]:
    wanted: set[Any] = set(outputs)
    kept: list[Instruction] = []
    for instruction in reversed(instructions):
        if instruction.word in WRITES or not wanted.isdisjoint(instruction.outputs):
            wanted.update(instruction.places())
            kept.append(instruction)
    return kept[::-1]


def _in_memory(instructions: Sequence[Instruction], states: dict[Place, State]) -> set[Any]:
    """Return the places of what changes as state is written: state, and views of it."""
    found: set[Any] = set(states)
    for instruction in instructions:
        shares = instruction.word in VIEWS or instruction.kwargs.get("copy") is False
        if shares and not found.isdisjoint(instruction.places()):
            found.update(instruction.outputs)
    return found


def _merged(
    instructions: Sequence[Instruction], states: dict[Place, State], outputs: tuple[Place, ...]
) -> tuple[list[Instruction], tuple[Place, ...]]:
    """Let words that were called with the same arguments share their result."""
    found: dict[Any, Instruction] = {}
    same: dict[Any, Any] = {}
    in_memory = _in_memory(instructions, states)
    writes = 0
    kept: list[Instruction] = []
    for original in instructions:
        instruction = original._replace(args=_renamed(original.args, same), kwargs=_renamed(original.kwargs, same))
        word, places = instruction.word, instruction.places()
        if word in WRITES:
            writes += 1
        else:
            changes = not in_memory.isdisjoint(places)
            if word not in _ONCE:
                key = (_key((word, instruction.args, instruction.kwargs)), writes if changes else -1)
                earlier = found.setdefault(key, instruction)
                if earlier is not instruction:
                    same.update(zip(instruction.outputs, earlier.outputs, strict=True))
                    continue
        kept.append(instruction)
    return kept, tuple(same.get(place, place) for place in outputs)


def _without_detours(
    instructions: Sequence[Instruction],
    states: dict[Place, State],
    specs: Sequence[Spec],
    outputs: tuple[Place, ...],
) -> tuple[list[Instruction], tuple[Place, ...]]:
    """Leave out what is multiplied by the power of two that it was divided by: the mean that is summed again."""
    divided: dict[Any, Any] = {}
    same: dict[Any, Any] = {}
    in_memory = _in_memory(instructions, states)
    kept: list[Instruction] = []
    for original in instructions:
        instruction = original._replace(args=_renamed(original.args, same), kwargs=_renamed(original.kwargs, same))
        if instruction.word in ("divide", "multiply") and not instruction.kwargs:
            x, number = instruction.args
            if type(x) is Place and type(number) in (int, float):
                (result,) = instruction.outputs
                if instruction.word == "divide" and specs[x].dtype == specs[result or 0].dtype:
                    if x not in in_memory:  # or it may be another when it is multiplied
                        divided[result] = x, number
                elif x in divided and divided[x][1] == number and math.frexp(number)[0] == 0.5:
                    same[result] = divided[x][0]
                    continue
        kept.append(instruction)
    return kept, tuple(same.get(place, place) for place in outputs)


def _renamed(value: Any, same: dict[Any, Any]) -> Any:
    kind = _type(value)
    if kind is Place:
        return same.get(value, value)
    if kind is tuple:
        return tuple([_renamed(item, same) for item in value])
    if kind is list:
        return [_renamed(item, same) for item in value]
    return {key: _renamed(item, same) for key, item in value.items()} if kind is dict else value


def _key(value: Any) -> Any:
    """Return what is equal for equal arguments, and hashable."""
    kind = _type(value)
    if kind in (tuple, list, dict):
        return kind, *[_key(item) for item in (value.items() if kind is dict else value)]
    if kind is slice:
        return slice, *map(_key, (value.start, value.stop, value.step))
    if isinstance(value, (bool, int, float, complex, str, type(None), type(...))):
        return kind, repr(value)  # 0.0 is not -0.0
    return "the object", id(value)


def _parts(instruction: Instruction, constants: dict[Place, Any]) -> Iterator[Any]:
    for leaf in leaves((instruction.args, instruction.kwargs)):
        yield constants.get(leaf, leaf) if type(leaf) is Place else leaf


def _same(xp: Backend, before: Any, after: Any) -> bool:
    if before is after:
        return True
    if type(before) is not type(after):
        return False
    if isinstance(before, slice):
        return _key(before) == _key(after)
    if hasattr(before, "shape") and hasattr(before, "dtype"):
        if before.shape != after.shape or before.dtype != after.dtype:
            return False
        same: Any = (before == after) | ((before != before) & (after != after))  # NaN is not even itself
        return bool(xp.to_numpy(xp.all(same)))
    if callable(before):
        return getattr(before, "__code__", before) is getattr(after, "__code__", after)
    equal = before == after
    return equal is True or bool(equal) or bool(before != before and after != after)


def _shown(value: Any) -> str:
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"an array of shape {tuple(value.shape)} and other values"
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "…"
