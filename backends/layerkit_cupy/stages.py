"""A program as stages: chains of elementwise words, each of which becomes one kernel, and words that CuPy does."""

from __future__ import annotations

import math
from collections import Counter
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.program import Place, leaves
from layerkit.program.program import VIEWS, WRITES
from layerkit.program.recorder import find
from layerkit_cupy.expressions import COMPUTED, EXPRESSIONS, HALF, TYPES, kind_of, limits, literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.program import Instruction, Program
    from layerkit.xp.backend import Backend

cupy: Any = import_module("cupy")

TAKE_OUT = ("matmul", "sum", "max", "min")
"""Words of CuPy that can be told where to write their result."""

LONGEST = 96
"""Words in a kernel: more would need more registers than a thread has, and longer to compile."""


_POWERS = {2: "square", 0.5: "sqrt"}

# `type`, to type checkers: it tells what an argument is without their learning too much.
_type: Callable[[Any], Any] = type


class Word:
    """A word that CuPy does: a product, a sum, whatever is no chain."""

    def __init__(self, instruction: Instruction) -> None:
        self.instruction = instruction
        self.out: Any = None
        """The state that the result is written straight into, instead of being copied there."""


class Operand(NamedTuple):
    """What a kernel reads from memory or writes to it."""

    name: str
    dtype: str
    where: Any
    """The place of a value, or an array that is always the same: state, a constant, an input."""


class Kernel:
    """Elementwise words whose results have one shape: each thread takes all of them over its own elements.

    Args:
        shape: of all results.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        self.words: list[str] = []
        self.reads: list[Operand] = []
        self.body: list[str] = []
        """One line a word."""
        self.writes: list[Operand] = []
        """State; and the values that later stages need, once that is known."""
        self.made: dict[Place, Operand] = {}
        """The values, by the names that they have in the body."""
        self._names: dict[Any, str] = {}
        """What memory holds, read or to be written, by its place or identity."""

    def name_of(self, where: Any, key: Any, dtype: str) -> str:
        """Return the name of an operand within the kernel, which reads it if it does not have it."""
        if key not in self._names:
            self._names[key] = f"r{len(self.reads)}"
            self.reads.append(Operand(self._names[key], dtype, where))
        return self._names[key]

    def compute(self, word: str, dtype: str, text: str) -> str:
        """Add a line; return the name of its result."""
        name = f"v{len(self.body)}"
        self.words.append(word)
        self.body.append(f"const {COMPUTED[dtype]} {name} = ({TYPES[dtype]})({text});")
        return name

    def make(self, place: Place, name: str, dtype: str) -> None:
        """Let a name stand for the value of this place."""
        self._names[place] = name
        self.made[place] = Operand(name, dtype, place)

    def write(self, array: Any, key: Any, name: str, dtype: str) -> None:
        """Let a name stand for what state holds from now on."""
        self._names[key] = name
        self.writes = [operand for operand in self.writes if identity(operand.where) != key]
        self.writes.append(Operand(name, dtype, array))


class _Elementwise(NamedTuple):
    """What an elementwise word does."""

    result: Place | None
    state: Any
    """The array that it writes, if it writes state."""
    shape: tuple[int, ...]
    arrays: list[Any]
    """Places or arrays."""
    add_to: Callable[[Kernel], None]
    copied: Place | None = None
    """The value that it copies into state, if it does nothing else."""


class Stages:
    """The stages of a program, in an order in which they can run.

    Args:
        program: what was recorded, simplified.
        xp: the backend.
        buffers: the arrays that hold its inputs.
    """

    def __init__(self, program: Program, xp: Backend, buffers: Sequence[Any]) -> None:
        self.program, self.xp = program, xp
        self.stages: list[Kernel | Word] = []
        self.held: dict[Place, Any] = {
            **dict(zip(program.inputs, buffers, strict=True)),
            **{place: state.array for place, state in program.states.items()},
            **program.constants,
        }
        """Arrays that are the same at each step: inputs, state, constants, and views of them."""
        self._made_by: dict[Place, int] = {}
        self._uses = Counter(place for instruction in program.instructions for place in instruction.places())
        self._uses.update(program.outputs)
        self._reads: list[list[Any]] = []
        self._writes: list[list[Any]] = []
        for instruction in program.instructions:
            if not self._is_view(instruction):
                elementwise = self._elementwise(instruction)
                if elementwise is None:
                    self._leave(instruction)
                elif not self._is_written_at_once(elementwise):
                    self._fuse(instruction.word, elementwise)
        self._store()
        self.over = self._last_uses()
        """Of each stage, the values that no later one needs."""

    # Which stage a word belongs to.

    def _is_view(self, instruction: Instruction) -> bool:
        """Let a view of what is held be held too; of a value, it is a word like others."""
        keeps = instruction.word == "astype" and instruction.kwargs.get("copy") is False
        places = instruction.places()
        if not (instruction.word in VIEWS or keeps) or not places or any(place not in self.held for place in places):
            return False
        result = find(self.xp, instruction.word)(*self.resolved(instruction.args), **self.resolved(instruction.kwargs))
        found = list(result) if instruction.several else [result]
        bases = [self.held[place] for place in places]
        if not all(any(overlap(view, base) for base in bases) for view in found):
            return False
        self.held.update(zip([place for place in instruction.outputs if place is not None], found, strict=True))
        return True

    def _leave(self, instruction: Instruction) -> None:
        arrays = [self.held.get(leaf, leaf) if type(leaf) is Place else leaf for leaf in leaves(instruction.args)]
        arrays += [self.held[leaf] for leaf in leaves(instruction.kwargs) if type(leaf) is Place and leaf in self.held]
        held = [array for array in arrays if hasattr(array, "strides")]
        self._made_by.update((place, len(self.stages)) for place in instruction.outputs if place is not None)
        self.stages.append(Word(instruction))
        self._reads.append(held)
        self._writes.append(held[:1] if instruction.word in WRITES else [])

    def _fuse(self, word: str, elementwise: _Elementwise) -> None:
        """Let a word join the first kernel of its shape that comes late enough, or begin one."""
        reads = [where for where in map(self._where, elementwise.arrays) if where is not None]
        writes = [] if elementwise.state is None else [elementwise.state]
        for number in range(self._earliest(elementwise.arrays, reads, writes), len(self.stages)):
            kernel = self.stages[number]
            if isinstance(kernel, Kernel) and kernel.shape == elementwise.shape and len(kernel.words) < LONGEST:
                break
        else:
            number = len(self.stages)
            self.stages.append(Kernel(elementwise.shape))
            self._reads.append([])
            self._writes.append([])
        kernel = self.stages[number]
        assert isinstance(kernel, Kernel)  # noqa: S101 - it was chosen so
        self._reads[number] += reads
        self._writes[number] += writes
        elementwise.add_to(kernel)
        if elementwise.result is not None:
            self._made_by[elementwise.result] = number

    def _is_written_at_once(self, elementwise: _Elementwise) -> bool:
        """Let a product or a sum that is only copied into state be written there, where nobody minds."""
        state, copied = elementwise.state, elementwise.copied
        if copied is None or copied not in self._made_by or self._uses[copied] > 1:
            return False
        number = self._made_by[copied]
        word = self.stages[number]
        if not isinstance(word, Word) or word.instruction.word not in TAKE_OUT or word.out is not None:
            return False
        found = tuple(state.shape), state.dtype
        if self.program.specs[copied] != found or kind_of(state.dtype) != "f" or not state.flags.c_contiguous:
            return False
        touched = [array for each in (self._reads, self._writes) for arrays in each[number:] for array in arrays]
        if any(overlap(state, array) for array in touched):
            return False
        word.out = state
        self._writes[number].append(state)
        return True

    def _where(self, array: Any) -> Any:
        """Return the array that is held, if this is one."""
        return self.held.get(array) if type(array) is Place else array

    def _earliest(self, operands: Sequence[Any], reads: Sequence[Any], writes: Sequence[Any]) -> int:
        """Return the number of the first stage at which everything is there, and nothing is disturbed."""
        earliest = 0
        for operand in operands:
            maker = self._made_by.get(operand, -1) if type(operand) is Place else -1
            earliest = max(earliest, maker + (maker >= 0 and isinstance(self.stages[maker], Word)))
        for number in range(len(self.stages) - 1, earliest - 1, -1):
            met = [(mine, other) for mine in reads for other in self._writes[number]]
            met += [(mine, other) for mine in writes for other in (*self._reads[number], *self._writes[number])]
            met = [(mine, other) for mine, other in met if overlap(mine, other)]
            if met:
                # Within one kernel, a thread meets what it has read or written itself, and nothing else.
                same = all(identity(mine) == identity(other) for mine, other in met)
                return number + (not same or isinstance(self.stages[number], Word))
        return earliest

    # What an elementwise word does.

    def _elementwise(self, instruction: Instruction) -> _Elementwise | None:
        """Return what a word does to each element; None if it is to be left to CuPy."""
        word = instruction.word
        if word == "clip":
            return self._clip(instruction)
        if word not in EXPRESSIONS or (instruction.kwargs and word != "astype"):
            return None
        if word == "nextafter" and self._dtype(instruction.args[0]) in HALF:  # whose neighbours are not float's
            return None
        args: tuple[Any, ...] = instruction.args
        if word == "astype":
            if set(instruction.kwargs) - {"copy"}:
                return None
            args = args[:1]
        elif word in WRITES:
            return self._write(instruction)
        elif word == "full_like":
            args = args[1:]
        elif word in ("zeros_like", "ones_like"):
            args = (int(word == "ones_like"),)
        (place,) = instruction.outputs
        return None if place is None else self._computing(word, place, args)

    def _computing(self, word: str, place: Place, args: Sequence[Any]) -> _Elementwise | None:
        shape, dtype = self.program.specs[place]
        dtype = cupy.dtype(dtype).name
        expression = EXPRESSIONS[word]
        short = {} if dtype in HALF else _POWERS
        if word == "pow" and type(args[1]) in (int, float) and args[1] in short:  # as NumPy does
            word, args = _POWERS[args[1]], args[:1]
            expression = EXPRESSIONS[word]
        takes = self._taken(word, args, dtype, expression.takes)
        text = None if takes is None else expression.of(takes[-1])
        arrays = [argument for argument in args if self._is_array(argument)]
        if takes is None or text is None or not self._fits(shape, dtype, arrays):
            return None

        def add_to(kernel: Kernel) -> None:
            names = [self._text(kernel, argument, taken) for argument, taken in zip(args, takes, strict=True)]
            kernel.make(place, kernel.compute(word, dtype, text.format(*names, T=COMPUTED[takes[-1]])), dtype)

        return _Elementwise(place, None, shape, arrays, add_to)

    def _clip(self, instruction: Instruction) -> _Elementwise | None:
        x, *by_place = instruction.args
        given = dict(zip(("min", "max"), by_place, strict=False)) | instruction.kwargs
        (place,) = instruction.outputs
        if place is None or not self._is_array(x):
            return None
        shape, dtype = self.program.specs[place]
        dtype = cupy.dtype(dtype).name
        words = limits(dtype, given.get("min"), given.get("max"))
        operands = (x, *[limit for _, limit in words])
        arrays = [operand for operand in operands if self._is_array(operand)]
        if dtype == "bool" or self._taken("clip", operands, dtype, "result") is None:
            return None
        if not self._fits(shape, dtype, arrays):
            return None

        def add_to(kernel: Kernel) -> None:
            text = self._text(kernel, x, dtype)
            for word, limit in words:
                text = str(EXPRESSIONS[word].floats).format(text, self._text(kernel, limit, dtype))
            kernel.make(place, kernel.compute("clip", dtype, text), dtype)

        return _Elementwise(place, None, shape, arrays, add_to)

    def _write(self, instruction: Instruction) -> _Elementwise | None:
        state, value = (self._where(argument) if type(argument) is Place else argument for argument in instruction.args)
        if state is None:
            return None
        value = instruction.args[1] if value is None else value  # a value that is no array yet
        dtype, shape = state.dtype.name, tuple(state.shape)
        adds = instruction.word == "assign_add"
        operands = (state, value) if adds else (value,)
        arrays = [operand for operand in operands if self._is_array(operand)]
        # What is added is added in the dtype of both, and then brought to that of the state.
        common = self._common((state, value)) if adds else dtype
        expression = EXPRESSIONS[instruction.word].of(common) if common in TYPES else None
        number = value if not self._is_array(value) else 0
        if expression is None or not self._holds(number, dtype) or not self._fits(shape, dtype, arrays):
            return None

        def add_to(kernel: Kernel) -> None:
            names = [self._text(kernel, operand, common) for operand in operands]
            name = kernel.compute(instruction.word, dtype, expression.format(*names))
            kernel.write(state, identity(state), name, dtype)

        copied = value if type(value) is Place and not adds else None
        return _Elementwise(None, state, shape, arrays, add_to, copied)

    def _taken(self, word: str, args: Sequence[Any], dtype: str, takes: str) -> list[str] | None:
        """Return the dtypes that operands are brought to; None if a number does not fit or the dtype is not known."""
        if word == "astype":
            taken = [self._dtype(args[0])]
        elif word == "where":
            taken = ["bool", dtype, dtype]
        else:
            common = {"result": dtype, "bool": "bool", "common": self._common(args)}[takes]
            taken = [common] * len(args)
        numbers = [(x, to) for x, to in zip(args, taken, strict=True) if not self._is_array(x)]
        if any(to not in TYPES for to in taken) or not all(self._holds(x, to) for x, to in numbers):
            return None
        return taken

    def _common(self, operands: Sequence[Any]) -> str:
        """Return the dtype of a computation with these."""
        kinds = [cupy.dtype(self._dtype(operand)) if self._is_array(operand) else operand for operand in operands]
        try:
            return cupy.result_type(*kinds).name
        except (TypeError, OverflowError):
            return ""

    def _holds(self, number: Any, dtype: str) -> bool:
        """Tell whether a number can be written in this dtype."""
        if not isinstance(number, (bool, int, float, cupy.generic)):
            return False
        try:
            literal(number, dtype)
            return kind_of(dtype) == "f" or cupy.dtype(dtype).type(number).item() == number
        except (OverflowError, ValueError):
            return False

    def _fits(self, shape: tuple[int, ...], dtype: str, arrays: Sequence[Any]) -> bool:
        """Tell whether a kernel over this shape can take the arrays, and make the result."""
        if dtype not in TYPES or math.prod(shape) == 0:
            return False
        for array in arrays:
            lengths = zip(self._shape(array)[::-1], shape[::-1], strict=False)
            if self._dtype(array) not in TYPES or len(self._shape(array)) > len(shape):
                return False
            if not all(length in (1, whole) for length, whole in lengths):
                return False
        return True

    # Operands.

    def _is_array(self, argument: Any) -> bool:
        return type(argument) is Place or (hasattr(argument, "strides") and not isinstance(argument, cupy.generic))

    def _dtype(self, array: Any) -> str:
        found = self.program.specs[array] if type(array) is Place else array
        return cupy.dtype(found.dtype).name

    def _shape(self, array: Any) -> tuple[int, ...]:
        return tuple((self.program.specs[array] if type(array) is Place else array).shape)

    def _text(self, kernel: Kernel, argument: Any, dtype: str) -> str:
        """Return how an operand is written, brought to a dtype."""
        if not self._is_array(argument):
            return literal(argument, dtype)
        own = self._dtype(argument)
        array = self._where(argument)
        name = kernel.name_of(argument if array is None else array, argument if array is None else identity(array), own)
        if own == dtype:
            return name
        return f"((float)({TYPES[dtype]}){name})" if dtype in HALF else f"(({TYPES[dtype]}){name})"

    def resolved(self, argument: Any, values: dict[Place, Any] | None = None) -> Any:
        """Return an argument with arrays in the places."""
        kind: Any = _type(argument)
        if kind is Place:
            return self.held[argument] if argument in self.held else (values or {})[argument]
        if kind is dict:
            return {key: self.resolved(item, values) for key, item in argument.items()}
        if kind in (tuple, list):
            items: list[Any] = [self.resolved(item, values) for item in argument]
            return items if kind is list else tuple(items)
        return argument

    # What is kept in memory, and until when.

    def _store(self) -> None:
        """Let each kernel write the values that others need."""
        needed = set(self.program.outputs)
        for stage in self.stages:
            needed.update(_places(stage))
        for stage in self.stages:
            if isinstance(stage, Kernel):
                stage.writes += [operand for place, operand in stage.made.items() if place in needed]

    def _last_uses(self) -> list[list[Place]]:
        last: dict[Place, int] = {}
        for number, stage in enumerate(self.stages):
            last.update((place, number) for place in _places(stage) if place not in self.held)
            if isinstance(stage, Word):  # what nobody needs is over at once
                last.update((place, number) for place in stage.instruction.outputs if place is not None)
        for place in self.program.outputs:
            last.pop(place, None)
        over: list[list[Place]] = [[] for _ in self.stages]
        for place, number in last.items():
            over[number].append(place)
        return over


def _places(stage: Kernel | Word) -> list[Place]:
    """Return the places that a stage reads from memory."""
    if isinstance(stage, Word):
        return stage.instruction.places()
    return [operand.where for operand in stage.reads if type(operand.where) is Place]


# Where arrays lie.


def bounds(array: Any) -> tuple[int, int]:
    """Return the addresses that an array lies between."""
    reaches = [(length - 1) * stride for length, stride in zip(array.shape, array.strides, strict=True)]
    if 0 in array.shape:
        return array.data.ptr, array.data.ptr
    low = array.data.ptr + sum(reach for reach in reaches if reach < 0)
    return low, array.data.ptr + sum(reach for reach in reaches if reach > 0) + array.dtype.itemsize


def overlap(a: Any, b: Any) -> bool:
    """Tell whether two arrays may share memory."""
    (a_low, a_high), (b_low, b_high) = bounds(a), bounds(b)
    return a_low < b_high and b_low < a_high


def identity(array: Any) -> Any:
    """Return what two arrays have in common whose elements are the same memory, each for each."""
    if type(array) is Place:
        return array
    strides = tuple(0 if length == 1 else stride for length, stride in zip(array.shape, array.strides, strict=True))
    return array.data.ptr, tuple(array.shape), strides, cupy.dtype(array.dtype).name
