"""A program's words as lines of NumPy: one call a line, with `out=` wherever NumPy has it."""

from __future__ import annotations

import functools
import keyword
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.program import Place, leaves
from layerkit.xp import reference
from layerkit.xp.einsum import parsed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.program import Instruction, Origin, Program, Spec
    from layerkit.xp.backend import Backend


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
        for instruction in program.instructions:
            LOWERINGS.get(instruction.word, _call)(self, instruction)
        self.outputs = [self.values[place] for place in program.outputs]
        self._drop_dead()

    def _drop_dead(self) -> None:
        """Leave out lines whose results no other line needs."""
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
        if dtype is None or math.prod(spec.shape) > _FEW:
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
_type: Callable[[Any], Any] = type


def text_of(argument: Any) -> str:
    """Return how a plain argument is written."""
    kind = _type(argument)
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


# Elementwise words.


def _ufunc(lines: Lines, instruction: Instruction) -> None:
    operands = lines.operands(instruction)
    if instruction.kwargs:
        _call(lines, instruction)
        return
    if _is_of_numbers(lines, instruction, operands):
        texts = [f"{{{number}}}{'.item()' if isinstance(x, Value) else ''}" for number, x in enumerate(operands)]
        sign = _SIGNS[instruction.word]
        text = f" {sign} ".join(texts) if len(texts) > 1 else f"{sign}{texts[0]}"
        lines.write(instruction, f"{{out}}[()] = {text}", operands)
        return
    names = ", ".join(f"{{{number}}}" for number in range(len(operands)))
    operands = lines.with_numbers(operands, instruction.args, lines.spec(instruction))
    lines.write(instruction, f"np.{instruction.word}({names}, out={{out}})", operands, rowwise=True)


_SIGNS = {"add": "+", "subtract": "-", "multiply": "*", "negative": "-"}


def _is_of_numbers(lines: Lines, instruction: Instruction, operands: Sequence[Any]) -> bool:
    """Tell whether a line is about single numbers, which Python takes a quarter of NumPy's time for, to the same bits.

    In Python, a sum or a product of numbers of 32 bits is rounded to 64 first. That changes nothing: 64 bits have more
    than twice as many digits (Figueroa, "When is double rounding innocuous?", SIGNUM Newsletter 30, 1995).
    """
    dtype = np.dtype(lines.spec(instruction).dtype)
    return (
        instruction.word in _SIGNS
        and dtype.char in "fd"
        and lines.spec(instruction).shape == ()
        and all(
            (operand.shape == () and operand.dtype == dtype)
            if isinstance(operand, Value)
            else type(argument) in (int, float) and float(dtype.type(argument)) == argument
            for operand, argument in zip(operands, instruction.args, strict=True)
        )
    )


def _astype(lines: Lines, instruction: Instruction) -> None:
    x = lines.operand(instruction.args[0])
    if x.dtype == lines.spec(instruction).dtype and (x.root.kind != "held" or instruction.kwargs.get("copy") is False):
        lines.values[lines.place(instruction)] = x  # a value is never written again, so that it needs no copy
        return
    lines.write(instruction, "{out}[...] = {0}", [x], rowwise=True).flops = 0


_FEW = 4096
"""Below so many elements, a choice by branches costs less than the calls that avoid it."""


def _where(lines: Lines, instruction: Instruction) -> None:
    condition, x, y = lines.operands(instruction)
    spec, place = lines.spec(instruction), lines.place(instruction)
    out = Value("made", spec.shape, spec.dtype, instruction.origin)
    lines.values[place] = out
    write = functools.partial(lines.write_into, rowwise=True)
    if out.size < _FEW or out.dtype.char not in "fd" or getattr(condition, "shape", ()) != out.shape:
        write(out, instruction, "{out}[...] = {0}", [y])
        write(out, instruction, "np.copyto({out}, {0}, where={1})", [x, condition, out])
        return
    # NumPy branches for each element, which costs ten times the memory traffic where the branches alternate. Here bits
    # are selected instead, exactly the same ones.
    bits = np.int32 if out.dtype.char == "f" else np.int64
    mask = lines.temporary(instruction, out.shape, bits)
    write(mask, instruction, "{out}[...] = {0}", [condition])
    write(mask, instruction, "np.negative({0}, out={out})", [mask])
    seen = f"{{0}}.view(np.{np.dtype(bits).name})"

    def as_bits(operand: Any) -> Value:
        if isinstance(operand, Value) and operand.dtype == out.dtype:
            return lines.view_of(operand, seen, instruction.origin)
        if not isinstance(operand, Value):  # a number
            number = np.asarray(eval(operand, {"np": np}), out.dtype)  # noqa: S307 - our own text
            return lines.operand(number.view(bits))
        cast = lines.temporary(instruction, operand.shape, out.dtype)
        write(cast, instruction, "{out}[...] = {0}", [operand])
        return lines.view_of(cast, seen, instruction.origin)

    x, y = as_bits(x), as_bits(y)
    made = lines.temporary(instruction, out.shape, bits)
    if y.kind == "held" and not y.shape and not y.array:
        write(made, instruction, "np.bitwise_and({0}, {1}, out={out})", [x, mask])
    else:
        write(made, instruction, "np.bitwise_xor({0}, {1}, out={out})", [x, y])
        write(made, instruction, "np.bitwise_and({0}, {1}, out={out})", [made, mask])
        write(made, instruction, "np.bitwise_xor({0}, {1}, out={out})", [made, y])
    chosen = lines.view_of(made, f"{{0}}.view(np.{out.dtype.name})", instruction.origin)
    lines.values[place] = chosen


def _clip(lines: Lines, instruction: Instruction) -> None:
    x, *bounds = lines.operands(instruction)
    bounds += [text_of(instruction.kwargs[name]) for name in ("min", "max") if name in instruction.kwargs]
    spec = lines.spec(instruction)
    if len(bounds) != 2 or "None" in bounds or leaves(instruction.kwargs) or spec.dtype != x.dtype:
        _call(lines, instruction)
        return
    out = lines.write(instruction, "np.maximum({0}, {1}, out={out})", [x, bounds[0]], rowwise=True).out
    lines.write_into(out, instruction, "np.minimum({0}, {1}, out={out})", [out, bounds[1]], rowwise=True)


# Reductions.

_REDUCTIONS = {
    **{"sum": "add", "prod": "multiply", "max": "maximum", "min": "minimum", "all": "logical_and", "any": "logical_or"}
}


def _axes_text(instruction: Instruction, *, default: str = "None") -> str:
    axis = instruction.kwargs.get("axis")
    kept = ", keepdims=True" if instruction.kwargs.get("keepdims") else ""
    return f"axis={default if axis is None else text_of(axis)}{kept}"


def _keeps_rows(instruction: Instruction, ndim: int) -> bool:
    axis = instruction.kwargs.get("axis")
    axes = () if axis is None else tuple(axis) if _type(axis) in (tuple, list) else (axis,)
    return bool(axes) and all(n % ndim for n in axes)


def _reduction(lines: Lines, instruction: Instruction) -> None:
    x = lines.operand(instruction.args[0])
    if len(instruction.args) > 1 or set(instruction.kwargs) - {"axis", "keepdims"}:
        _call(lines, instruction)
        return
    text = f"np.{_REDUCTIONS[instruction.word]}.reduce({{0}}, {_axes_text(instruction)}, out={{out}})"
    line = lines.write(instruction, text, [x], rowwise=_keeps_rows(instruction, len(x.shape)))
    line.flops = x.size


def _position(lines: Lines, instruction: Instruction) -> None:
    x = lines.operand(instruction.args[0])
    text = f"np.{instruction.word}({{0}}, {_axes_text(instruction)}, out={{out}})"
    line = lines.write(instruction, text, [x], rowwise=_keeps_rows(instruction, len(x.shape)))
    line.flops = x.size


# Products.


def _matmul(lines: Lines, instruction: Instruction) -> None:
    a, b = lines.operands(instruction)
    plain = len(a.shape) <= len(b.shape) == 2 and a.dtype == b.dtype and a.dtype.char in "fd"
    # Of two matrices, the method gives what np.matmul does, in less than half of its time where they are small.
    text = "{0}.dot({1}, out={out})" if plain else "np.matmul({0}, {1}, out={out})"
    line = lines.write(instruction, text, [a, b])
    line.flops = 2 * line.out.size * a.shape[-1]


def in_products(subscripts: str, operands: Any) -> bool:
    """Tell whether to plan `numpy.einsum` as matrix products saves more than it costs: some 30,000 multiplications."""
    return parsed(subscripts, operands).work > 1 << 15


def _einsum(lines: Lines, instruction: Instruction) -> None:
    subscripts, *operands = instruction.args[0], *lines.operands(instruction)[1:]
    names = ", ".join(f"{{{number}}}" for number in range(len(operands)))
    text = f"np.einsum({subscripts!r}, {names}, optimize={in_products(subscripts, operands)})"
    _fresh(lines, instruction, text if len(operands) > 1 else f"np.array({text})", operands)  # of one, it may be a view


def _vecdot(lines: Lines, instruction: Instruction) -> None:
    a, b = lines.operands(instruction)
    axis = instruction.kwargs.get("axis", -1)
    if axis != -1 or a.dtype != b.dtype:
        _call(lines, instruction)
        return
    rows = len(a.shape) > 1 and len(b.shape) in (1, len(a.shape))
    lines.write(instruction, "np.vecdot({0}, {1}, out={out})", [a, b], rowwise=rows).flops = 2 * max(a.size, b.size)


# Shapes: views, wherever NumPy gives one.


def _view_by(text: str | Callable[[Instruction], str]) -> Callable[[Lines, Instruction], None]:
    def lower(lines: Lines, instruction: Instruction) -> None:
        base = lines.operand(instruction.args[0])
        if not isinstance(base, Value):
            _call(lines, instruction)
            return
        lines.view(instruction, base, text if isinstance(text, str) else text(instruction))

    return lower


def _second(instruction: Instruction) -> Any:
    """Return the second argument of a word of two, which may be given by its name."""
    return [*instruction.args, *instruction.kwargs.values()][1]


def _axis_of(instruction: Instruction, default: Any = 0) -> str:
    axis = instruction.kwargs.get("axis", instruction.args[1] if len(instruction.args) > 1 else default)
    return text_of(tuple(axis) if _type(axis) is list else axis)


def _permuted(instruction: Instruction) -> str:
    axes = tuple(instruction.kwargs.get("axes", instruction.args[1] if len(instruction.args) > 1 else ()))
    return "{0}.T" if axes == tuple(range(len(axes)))[::-1] else f"{{0}}.transpose({text_of(axes)})"


def _expand_dims(lines: Lines, instruction: Instruction) -> None:
    base = lines.operand(instruction.args[0])
    axis = [*instruction.args[1:], *instruction.kwargs.values(), 0][0]
    # As an index, in a fraction of the time of numpy.expand_dims.
    lines.view(instruction, base, f"{{0}}[{':, ' * (axis if axis >= 0 else axis + len(base.shape) + 1)}None]")


def _reshape(lines: Lines, instruction: Instruction) -> None:
    x = lines.operand(instruction.args[0])
    spec = lines.spec(instruction)
    if isinstance(x, Value) and (x.array is None or x.array.flags.c_contiguous):
        lines.view(instruction, x, f"{{0}}.reshape({text_of(spec.shape)})")
    else:
        lines.write(instruction, f"{{out}}.reshape({text_of(x.shape)})[...] = {{0}}", [x]).flops = 0


def _getitem(lines: Lines, instruction: Instruction) -> None:
    x, key = instruction.args
    items: list[Any] = [*key] if isinstance(key, tuple) else [key]  # pyright: ignore[reportUnknownArgumentType]
    items = [item.item() if isinstance(item, np.integer) else item for item in items]
    value = lines.operand(x)
    basic = all(item is None or item is ... or type(item) in (int, slice) for item in items)  # and no Place
    if not isinstance(value, Value) or not basic:
        names = ", ".join(f"{{{number + 1}}}" for number in range(len(items)))
        _fresh(lines, instruction, f"{{0}}[{names}]", [value, *map(lines.operand, items)])
        return
    spec = lines.spec(instruction)
    number = not spec.shape and ... not in items
    text = ", ".join(map(text_of, [*items, ...] if number else items))  # of no axes, where NumPy would give a number
    if number and value.root.kind == "held":  # which is a copy: it stays when state is written
        lines.write(instruction, f"{{out}}[...] = {{0}}[{text}]", [value]).flops = 0
    else:
        lines.view(instruction, value, f"{{0}}[{text or '()'}]")


def _broadcast_arrays(lines: Lines, instruction: Instruction) -> None:
    for place, argument in zip(instruction.outputs, instruction.args, strict=True):
        array = lines.operand(argument)
        assert place is not None  # noqa: S101 - each has one
        shape = lines.program.specs[place].shape
        lines.values[place] = lines.view_of(array, f"np.broadcast_to({{0}}, {text_of(shape)})", instruction.origin)
        lines.values[place].shape = shape


def _unstack(lines: Lines, instruction: Instruction) -> None:
    (x,) = instruction.args
    axis = instruction.kwargs.get("axis", 0) % len(lines.operand(x).shape)
    for number, place in enumerate(instruction.outputs):
        key = *[slice(None)] * axis, number
        _getitem(lines, instruction._replace(word="getitem", args=(x, key), kwargs={}, outputs=(place,)))


def _joined(name: str) -> Callable[[Lines, Instruction], None]:
    def lower(lines: Lines, instruction: Instruction) -> None:
        arrays = [lines.operand(array) for array in instruction.args[0]]
        names = ", ".join(f"{{{number}}}" for number in range(len(arrays)))
        axis = text_of(instruction.kwargs.get("axis", 0))
        same = len({array.dtype for array in arrays if isinstance(array, Value)}) == 1
        if not same or set(instruction.kwargs) - {"axis"}:
            _call(lines, instruction)
        else:
            lines.write(instruction, f"np.{name}(({names},), axis={axis}, out={{out}})", arrays).flops = 0

    return lower


def _like(fill: str | None) -> Callable[[Lines, Instruction], None]:
    def lower(lines: Lines, instruction: Instruction) -> None:
        number = fill if fill is not None else lines.operand(_second(instruction))
        lines.write(instruction, "{out}[...] = {0}", [number], rowwise=True).flops = 0

    return lower


def _sort(lines: Lines, instruction: Instruction) -> None:
    axis, stable = instruction.kwargs.get("axis", -1), instruction.kwargs.get("stable", True)
    text = f"np.sort({{0}}, axis={text_of(axis)}, stable={stable})"
    text = f"np.flip({text}, {text_of(axis)})" if instruction.kwargs.get("descending") else text
    _fresh(lines, instruction, text, [lines.operand(instruction.args[0])])


def _take(lines: Lines, instruction: Instruction) -> None:
    x, indices = (lines.operand(argument) for argument in instruction.args)
    axis = text_of(instruction.kwargs.get("axis"))
    lines.write(instruction, f"np.take({{0}}, {{1}}, axis={axis}, out={{out}})", [x, indices]).flops = 0


def _scatter_add(lines: Lines, instruction: Instruction) -> None:
    positions, values = (lines.operand(argument) for argument in instruction.args[:2])
    out = lines.write(instruction, "{out}.fill(0)", []).out
    lines.write_into(out, instruction, "np.add.at({out}, {0}, {1})", [positions, values, out])


def _cumulative_sum(lines: Lines, instruction: Instruction) -> None:
    x = lines.operand(instruction.args[0])
    if set(instruction.kwargs) - {"axis"} or x.dtype != lines.spec(instruction).dtype:
        _call(lines, instruction)
    else:
        lines.write(instruction, f"np.cumsum({{0}}, {_axes_text(instruction, default='0')}, out={{out}})", [x])


def _random_bits(lines: Lines, instruction: Instruction) -> None:
    key, counter, size = instruction.args
    philox = f"np.random.Philox(key=np.array({text_of(tuple(key))}, np.uint64), counter=int({{0}}))"
    text = f"{philox}.random_raw({4 * -(-size // 8)}).view(np.uint32)[:{size}]"
    _fresh(lines, instruction, text, [lines.operand(counter)])


# State.


COPY = "{out}[...] = {0}"


def _assign(lines: Lines, instruction: Instruction) -> None:
    state, value = lines.operands(instruction)
    lines.write_into(state, instruction, COPY, [value], rowwise=True).flops = 0


def _assign_add(lines: Lines, instruction: Instruction) -> None:
    state, value = lines.operands(instruction)
    kind: str = state.dtype.kind
    if not state.shape and kind in "fi" and state.dtype.itemsize == 8:
        # Python's own numbers are of these two types, and a count of NumPy's takes ten times as long.
        source = lines.uncast(value)
        if isinstance(source, str) or (source.shape == () and source.dtype.kind == kind):
            number = "{0}" if isinstance(source, str) else "{0}.item()"
            lines.write_into(state, instruction, f"{{out}}[()] = {{out}}.item() + {number}", [source])
            return
    lines.write_into(state, instruction, "np.add({0}, {1}, out={out})", [state, value], rowwise=True)


# What has no line of its own.


def _fresh(lines: Lines, instruction: Instruction, text: str, operands: Sequence[Any]) -> None:
    outs: list[Value] = []
    for place in instruction.outputs:
        spec = ((), np.bool_) if place is None else lines.program.specs[place]
        value = Value("fresh", spec[0], spec[1], instruction.origin)
        outs.append(value)
        if place is not None:
            lines.values[place] = value
    tail = "," if instruction.several and len(outs) == 1 else ""
    names = ", ".join(f"{{out{number}}}" for number in range(len(outs)))
    lines.lines.append(Line(f"{names}{tail} = {text}", operands, outs, instruction.origin))


def _call(lines: Lines, instruction: Instruction) -> None:
    """Add a line that calls the word as it is, whose result NumPy allocates; if it need not be new, as a copy."""
    operands: list[Any] = []

    def written(argument: Any) -> str:
        if type(argument) is Place or isinstance(argument, np.ndarray):
            operands.append(lines.operand(argument))
            return f"{{{len(operands) - 1}}}"
        if isinstance(argument, (tuple, list)):
            items = ", ".join(map(written, argument))  # pyright: ignore[reportUnknownArgumentType]
            if isinstance(argument, list):
                return f"[{items}]"
            return f"({items},)" if len(argument) == 1 else f"({items})"  # pyright: ignore[reportUnknownArgumentType]
        if callable(argument) and not isinstance(argument, type):
            return _named(lines, argument)
        return text_of(argument).replace("{", "{{").replace("}", "}}")

    args = list(instruction.args)
    word = instruction.word
    function = written(args.pop(0)) if word == "call" else _function(lines, word)
    texts = [*map(written, args), *(f"{key}={written(value)}" for key, value in instruction.kwargs.items())]
    text = f"{function}({', '.join(texts)})"
    if word in _MAY_SHARE:
        text = f"map(np.array, {text})" if instruction.several else f"np.array({text})"
    _fresh(lines, instruction, text, operands)


# Words that may return an argument, or a view of one, whose memory is soon written again; views have their own lines.
_MAY_SHARE = frozenset(("call", "diff", "linalg.matrix_power", "meshgrid", "round"))


RESERVED = (
    *("np", "xp", "memory", "cut", "reused", "tiles", "array", "in_parallel"),
    *("int", "len", "list", "map", "range", "zip"),
    *("began", "clock", "spent"),  # with which each line is timed
)
"""Names that the text of a program has for its own."""


def _named(lines: Lines, function: Any) -> str:
    name = getattr(function, "__name__", "function")
    plain = name.isascii() and name.isidentifier() and not keyword.iskeyword(name)
    name = name if plain and name not in (*RESERVED, lines.program.name) else "function"
    while lines.functions.setdefault(name, function) is not function:
        name += "_"
    return name


def _function(lines: Lines, word: str) -> str:
    """Return how a word is called: as NumPy's own function where it is one."""
    group, _, name = word.rpartition(".")
    mine = getattr(getattr(lines.xp, group) if group else lines.xp, name)
    theirs = getattr(getattr(np, group) if group else np, name, None)
    if mine is theirs:
        return f"np.{word}"
    lines.functions["xp"] = lines.xp
    return f"xp.{word}"


LOWERINGS: dict[str, Callable[[Lines, Instruction], None]] = {
    **dict.fromkeys(
        (
            *("abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "bitwise_and"),
            *("bitwise_invert", "bitwise_left_shift", "bitwise_or", "bitwise_right_shift", "bitwise_xor", "ceil"),
            *("conj", "copysign", "cos", "cosh", "divide", "equal", "exp", "expm1", "floor", "floor_divide"),
            *("greater", "greater_equal", "hypot", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10"),
            *("log1p", "log2", "logaddexp", "logical_and", "logical_not", "logical_or", "logical_xor", "maximum"),
            *("minimum", "multiply", "negative", "nextafter", "not_equal", "positive", "pow", "reciprocal"),
            *("remainder", "sign", "signbit", "sin", "sinh", "sqrt", "square", "subtract", "tan", "tanh", "trunc"),
        ),
        _ufunc,
    ),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(("argmax", "argmin"), _position),
    **dict.fromkeys(("matmul", "linalg.matmul"), _matmul),
    **dict.fromkeys(("vecdot", "linalg.vecdot"), _vecdot),
    **dict.fromkeys(("matrix_transpose", "linalg.matrix_transpose"), _view_by("np.swapaxes({0}, -1, -2)")),
    "expand_dims": _expand_dims,
    "squeeze": _view_by(lambda i: f"np.squeeze({{0}}, {_axis_of(i)})"),
    "permute_dims": _view_by(_permuted),
    "broadcast_to": _view_by(lambda i: f"np.broadcast_to({{0}}, {text_of(tuple(_second(i)))})"),
    "flip": _view_by(lambda i: f"np.flip({{0}}, {_axis_of(i, None)})"),
    "moveaxis": _view_by(lambda i: f"np.moveaxis({{0}}, {text_of(i.args[1])}, {text_of(i.args[2])})"),
    "view": _view_by(lambda i: f"{{0}}[{i.args[1]}:{i.args[2]}].reshape({text_of(i.args[3])})"),
    **{"real": _view_by("{0}.real"), "imag": _view_by("{0}.imag")},
    "linalg.diagonal": _view_by(lambda i: f"np.linalg.diagonal({{0}}, offset={text_of(i.kwargs.get('offset', 0))})"),
    **{"broadcast_arrays": _broadcast_arrays, "unstack": _unstack},
    **{"reshape": _reshape, "getitem": _getitem, "concat": _joined("concatenate"), "stack": _joined("stack")},
    **{"astype": _astype, "where": _where, "clip": _clip, "take": _take, "scatter_add": _scatter_add},
    **{"zeros_like": _like("0"), "ones_like": _like("1"), "full_like": _like(None)},
    **{"cumulative_sum": _cumulative_sum, "random_bits": _random_bits},
    **{"einsum": _einsum, "sort": _sort, "assign": _assign, "assign_add": _assign_add},
}


# Words of several passes, as the passes that NumPy's backend makes: the same bits.


def _sigmoid(xp: Any, x: Any) -> Any:
    return xp.reciprocal(xp.exp(xp.negative(x)) + 1.0)


def linear_grad(xp: Any, x: Any, kernel: Any, dy: Any, *, input_gradient: bool = True) -> Any:
    """Return dx, dkernel and dbias: see `layerkit.xp.reference.linear_grad`."""
    rows_x = xp.reshape(x, (-1, x.shape[-1])) if x.ndim != 2 else x
    rows_dy = xp.reshape(dy, (-1, dy.shape[-1])) if dy.ndim != 2 else dy
    dx = xp.matmul(dy, kernel.T) if input_gradient else None
    # Sums over rows are a product too, which costs a fraction of a reduction.
    return dx, xp.matmul(rows_x.T, rows_dy), xp.matmul(xp.ones(len(rows_dy), dtype=dy.dtype), rows_dy)


def _mean(xp: Any, x: Any, /, *, axis: Any = None, keepdims: bool = False) -> Any:
    axes = tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)
    count = math.prod(x.shape[n] for n in axes)
    if count == 1 and xp.isdtype(x.dtype, "real floating"):
        one = xp.astype(x, x.dtype)  # of state, the numbers that it has now
        return one if keepdims else xp.squeeze(one, axes)
    return xp.sum(x, axis=axis, keepdims=keepdims) / count


EXPANSIONS: dict[str, Callable[..., Any]] = {
    **{"sigmoid": _sigmoid, "mean": _mean, "linear_grad": linear_grad},
    **{word: getattr(reference, word) for word in ("linear", "softplus", "erfc", "softmax", "log_softmax", "one_hot")},
}
