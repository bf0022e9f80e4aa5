"""Lines of NumPy, of which a captured step consists, and the values that they read and write."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.program import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.program import Instruction, Origin, Program, Spec
    from layerkit.xp.backend import Backend


COPY = "{out}[...] = {0}"
"""The text of a line that copies."""

FEW = 4096
"""Elements: below so many, what counts is the number of calls."""

RESERVED = (
    *("np", "xp", "memory", "cut", "reused", "tiles", "array", "in_parallel"),
    *("int", "len", "list", "map", "range", "zip"),
    *("began", "clock", "spent"),  # with which each line is timed
)
"""Names that the text of a program has for its own."""


class Value:
    """An array of a program.

    It is of one of five kinds: "given", an input of the step; "held", an array that exists already (state, or a
    constant); "made" by a line, in memory that is planned; "fresh", allocated anew by a line in each step; and "view",
    which shares the memory of `base`.
    """

    __slots__ = (
        "array",
        "base",
        "bounds",
        "dtype",
        "kind",
        "last",
        "made_by",
        "name",
        "origin",
        "shape",
        "storage",
        "text",
    )

    def __init__(self, kind: str, shape: tuple[int, ...], dtype: Any, origin: Origin | None = None) -> None:
        self.kind = kind
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self.origin = origin
        self.name = ""
        self.array: Any = None
        """The array, if it is held, or a view of one that is; else one that is like it, but has no memory."""
        self.base: Value | None = None
        self.text = ""
        """How a view is taken of its base: "{0}.T"."""
        self.bounds: tuple[int, int] | None = None
        """Between which addresses a held array lies, once that was asked."""
        self.storage: Any = None
        self.made_by: Line | None = None
        self.last = -1
        """The number of the last line that needs it."""

    @property
    def root(self) -> Value:
        """The value whose memory this is."""
        return self if self.base is None else self.base.root

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """The number of bytes."""
        return self.size * self.dtype.itemsize

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.dtype} {self.shape}>"


class Line:
    """One line of the program's text: ``text.format(*operands, out=…)``. Operands that are no arrays stand in text."""

    __slots__ = ("flops", "operands", "origin", "outs", "rowwise", "text")

    def __init__(
        self, text: str, operands: Sequence[Any], outs: Sequence[Value], origin: Origin, *, rowwise: bool = False
    ) -> None:
        self.text = text
        self.operands = list(operands)
        self.outs = list(outs)
        self.origin = origin
        self.rowwise = rowwise
        """Whether each row of the result (along the first axis) depends on the same rows of the operands alone."""
        self.flops = outs[0].size if outs else 0

    @property
    def out(self) -> Value:
        """What it writes, where that is one array."""
        return self.outs[0]

    @property
    def values(self) -> list[Value]:
        """The operands that are arrays."""
        return [operand for operand in self.operands if isinstance(operand, Value)]

    @property
    def nbytes(self) -> int:
        """The bytes that are read and written, each operand and result once."""
        return sum(value.nbytes for value in (*self.values, *self.outs))

    @property
    def elementwise(self) -> bool:
        """Whether each element of the result depends on the same elements of the operands alone."""
        return self.rowwise and all(not value.shape or _broadcasts(value, self.out) for value in self.values)


def _broadcasts(value: Value, out: Value) -> bool:
    lengths = zip(value.shape[::-1], out.shape[::-1], strict=False)
    return len(value.shape) <= len(out.shape) and all(a in (1, b) for a, b in lengths)


class Lines:
    """The lines of a program, and its values.

    Args:
        program: what was recorded.
        xp: NumPy's backend, whose words are called where no line says it better.
    """

    def __init__(self, program: Program, xp: Backend) -> None:
        self.program = program
        self.xp = xp
        self.lines: list[Line] = []
        self.values: dict[Place, Value] = {}
        self._constants: dict[int, Value] = {}
        self._numbers: dict[Any, Value] = {}
        self.functions: dict[str, Any] = {}
        """What the text calls beside NumPy, by name."""
        for place, name in zip(program.inputs, program.input_names, strict=False):
            self.values[place] = self._new("given", place, name=name)
        for place, state in program.states.items():
            value = self.values[place] = self._new("held", place, name=state.path)
            value.array = state.value
        self.values |= {place: self._constant(array) for place, array in program.constants.items()}
        self.outputs: list[Value] = []

    def end(self) -> None:
        """Once all words are lines: leave out those whose results no other needs."""
        self.outputs = [self.values[place] for place in self.program.outputs]
        needed = {id(value.root) for value in self.outputs}
        kept: list[Line] = []
        for line in reversed(self.lines):
            if any(out.root.kind == "held" or id(out.root) in needed for out in line.outs):
                needed.update(id(value.root) for value in line.values)
                kept.append(line)
        self.lines = kept[::-1]

    def _new(self, kind: str, place: Place, origin: Origin | None = None, name: str = "") -> Value:
        spec = self.program.specs[place]
        value = Value(kind, spec.shape, spec.dtype, origin)
        value.name = name
        return value

    def place(self, instruction: Instruction) -> Place:
        """Return the place of the result of a word that returns one array."""
        (place,) = instruction.outputs
        assert place is not None  # noqa: S101 - it does
        return place

    def spec(self, instruction: Instruction) -> Spec:
        """Return the shape and dtype of the result of a word that returns one array."""
        return self.program.specs[self.place(instruction)]

    def operand(self, argument: Any) -> Any:
        """Return the value of an argument, or its text."""
        if type(argument) is Place:
            return self.values[argument]
        return self._constant(argument) if isinstance(argument, np.ndarray) else text_of(argument)

    def _constant(self, array: Any) -> Value:
        value = self._constants.get(id(array))
        if value is None:
            value = self._constants[id(array)] = Value("held", array.shape, array.dtype)
            value.array, value.name = array, "constant"
        return value

    def with_numbers(self, operands: Sequence[Any], arguments: Sequence[Any], spec: Spec) -> Sequence[Any]:
        """Return the operands of a small line with arrays of no axes for numbers: half of NumPy's time."""
        dtype = next((operand.dtype for operand in operands if isinstance(operand, Value)), None)
        if dtype is None or math.prod(spec.shape) > FEW:
            return operands
        return [
            self._number(argument, dtype) if _becomes(argument, dtype) else operand
            for operand, argument in zip(operands, arguments, strict=True)
        ]

    def _number(self, number: float, dtype: Any) -> Value:
        key = repr(number), dtype  # 0.0 is not -0.0
        value = self._numbers.get(key)
        if value is None:
            value = self._numbers[key] = Value("held", (), dtype)
            value.array = np.array(number, dtype)
            value.name = _NUMBER_NAMES.get(float(number), "number")
        return value

    def uncast(self, value: Any) -> Any:
        """Return what a value was before it was brought to a wider dtype."""
        line = value.made_by if isinstance(value, Value) else None
        if line is None or line.text != COPY or line.values == [] or line.out is not value:
            return value
        (source,) = line.values
        return source if source.kind == "made" and np.can_cast(source.dtype, value.dtype) else value

    def operands(self, instruction: Instruction) -> list[Any]:
        """Return the values, or texts, of the positional arguments."""
        return [self.operand(argument) for argument in instruction.args]

    def write(self, instruction: Instruction, text: str, operands: Sequence[Any], *, rowwise: bool = False) -> Line:
        """Add a line that writes the instruction's result into planned memory."""
        place = self.place(instruction)
        made = self.values[place] = self._new("made", place, instruction.origin)
        return self.write_into(made, instruction, text, operands, rowwise=rowwise)

    def write_into(
        self, out: Value, instruction: Instruction, text: str, operands: Sequence[Any], *, rowwise: bool = False
    ) -> Line:
        """Add a line that writes into this value."""
        line = Line(text, operands, [out], instruction.origin, rowwise=rowwise)
        if out.kind == "made":
            out.made_by = out.made_by or line
            out.array = out.array if out.array is not None else hollow(out.shape, out.dtype)
        self.lines.append(line)
        return line

    def temporary(self, instruction: Instruction, shape: tuple[int, ...], dtype: Any) -> Value:
        """Return a value that no word has for a result."""
        return Value("made", shape, dtype, instruction.origin)

    def view(self, instruction: Instruction, base: Value, text: str) -> None:
        """Let the instruction's result be a view of `base`."""
        place = self.place(instruction)
        self.values[place] = self.view_of(base, text, instruction.origin)
        spec = self.program.specs[place]
        self.values[place].shape, self.values[place].dtype = spec.shape, np.dtype(spec.dtype)

    def view_of(self, base: Value, text: str, origin: Origin | None = None) -> Value:
        """Return a view of a value."""
        value = Value("view", base.shape, base.dtype, origin)
        value.base, value.text = base, text
        if base.array is not None:
            value.array = eval(text.format("array"), {"np": np, "array": base.array})  # noqa: S307 - our own text
            value.shape, value.dtype = value.array.shape, value.array.dtype
        return value


_NUMBER_NAMES = {0.0: "zero", 1.0: "one", 2.0: "two", 0.5: "half", -1.0: "minus_one"}


def _becomes(argument: Any, dtype: Any) -> bool:
    """Tell whether a number takes the dtype of the array beside it (NEP 50)."""
    if type(argument) is float:
        return dtype.kind == "f"
    if type(argument) is int:
        return dtype.kind == "f" or (dtype.kind in "iu" and np.iinfo(dtype).min <= argument <= np.iinfo(dtype).max)
    return False


def hollow(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array of this shape, row by row in a memory that is not there: only to be asked for its layout."""
    strides = [int(np.dtype(dtype).itemsize)]
    for length in shape[:0:-1]:
        strides.append(strides[-1] * max(length, 1))
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides[::-1] if shape else (), writeable=False)


# `type`, to type checkers: it tells what an argument is without their learning too much.
type_of: Callable[[Any], Any] = type


def text_of(argument: Any) -> str:
    """Return how a plain argument is written."""
    kind = type_of(argument)
    if kind is float and not math.isfinite(argument):
        return {"inf": "np.inf", "-inf": "-np.inf"}.get(repr(argument), "np.nan")
    if issubclass(kind, np.generic):
        return f"np.{argument.dtype.name}({text_of(argument.item())})"
    if kind is slice:
        parts = ["" if part is None else repr(part) for part in (argument.start, argument.stop, argument.step)]
        return ":".join(parts if argument.step is not None else parts[:2])
    if argument is Ellipsis:
        return "..."
    if isinstance(argument, (tuple, list)):
        items = ", ".join(map(text_of, argument))  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(argument, list):
            return f"[{items}]"
        return f"({items},)" if len(argument) == 1 else f"({items})"  # pyright: ignore[reportUnknownArgumentType]
    if issubclass(kind, (type, np.dtype)):
        return f"np.{np.dtype(argument).name}"
    return repr(argument)
