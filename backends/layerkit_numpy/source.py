"""A plan as Python source: what a person would write by hand."""

from __future__ import annotations

import keyword
import unicodedata
from math import isfinite
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit_numpy.lines import RESERVED, Lines, Value, text_of
from layerkit_numpy.plan import ALIGNMENT, Group, Plan, Storage, aligned, has_rows
from layerkit_numpy.threads import in_parallel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.program import Origin
    from layerkit_numpy.lines import Line

CUT = """
def cut(array, rows):
    return [array[start : start + rows] for start in range(0, len(array), rows)]
"""
REUSED = """
def reused(arrays, length):
    starts = range(0, length, len(arrays[0]))
    return [arrays[number % len(arrays)][: length - start] for number, start in enumerate(starts)]
"""


class Buffer(NamedTuple):
    """An array that the step works in."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    offset: int
    """Where it begins in the step's one stretch of memory, in bytes. Arrays that are needed one after another share."""


class Source:
    """The text of a program, in two parts: what is made once, and the step.

    Args:
        lines: the program's lines and values.
        plan: where the values lie.
    """

    def __init__(self, lines: Lines, plan: Plan) -> None:
        self.plan = plan
        self.held: dict[str, Any] = {}
        """The arrays that exist already, state and constants, by name."""
        self._states = {id(state.value) for state in lines.program.states.values()}
        self.functions = lines.functions
        self.buffers: list[Buffer] = []
        self._numbers: list[str] = []
        self._once: list[str] = []
        self._names: dict[Any, str] = {}
        self._taken: set[str] = {*RESERVED, lines.program.name, *lines.functions}
        self.arguments = [self._name("given", lines.values[place], hint) for place, hint in _inputs(lines)]
        self.body: list[tuple[str, Line | None]] = []
        """The lines of the step, without indentation but that of loops; with the line of the plan, if it is one."""
        self._write(lines)

    # Names.

    def _unique(self, hint: str) -> str:
        # Letters that Python takes for one are made one: it reads names in this form (PEP 3131).
        hint = unicodedata.normalize("NFKC", hint.lower())
        hint = "".join(letter if f"_{letter}".isidentifier() else " " for letter in hint)
        hint = "_".join(hint.split()).strip("_") or "value"
        hint = f"_{hint}" if hint[0].isdigit() or keyword.iskeyword(hint) else hint
        name, number = hint, 1
        while name in self._taken:
            number += 1
            name = f"{hint}_{number}"
        self._taken.add(name)
        return name

    def _name(self, key: Any, value: Value, hint: str) -> str:
        name = self._names[key, id(value)] = self._unique(hint)
        return name

    def name(self, value: Value) -> str:
        """Return the name of a value, which is made known if it is not yet."""
        for key in ("given", "fresh"):
            if (key, id(value)) in self._names:
                return self._names[key, id(value)]
        if value.kind == "held":
            return self._held(value)
        if value.kind == "made":
            if isinstance(value.storage, Value):
                return self.name(value.storage)
            return self._made(value)
        if value.kind == "fresh":
            return self._name("fresh", value, _hint(value))
        return self._view(value)

    def _held(self, value: Value) -> str:
        array = value.array
        key = "held", array.__array_interface__["data"][0], array.shape, array.strides, array.dtype
        if key not in self._names:
            name = self._names[key] = self._unique(value.name)
            number = None if id(array) in self._states else _number_in(array)
            if number is not None and not array.shape:
                self._numbers.append(f"{name} = np.array({number}, np.{array.dtype.name})")
            else:
                self.held[name] = array
                if number is not None:
                    self._numbers.append(f"# {name}: {array.shape}, {number} everywhere")
        return self._names[key]

    def _made(self, value: Value) -> str:
        storage: Storage = value.storage
        shape = value.shape if storage.rows is None else (storage.rows, *value.shape[1:])
        key = "made", storage.offset, storage.rows, value.dtype, shape
        if key not in self._names:
            name = self._names[key] = self._unique(_hint(value))
            self.buffers.append(Buffer(name, shape, value.dtype.name, storage.offset))
            if storage.rows is None:
                self._once.append(f"{name} = {_part(storage.offset, value.nbytes, value.dtype, shape)}")
            else:  # one for each thread
                size = value.nbytes // max(value.shape[0], 1) * storage.rows
                offsets = [storage.offset + number * aligned(size) for number in range(self.plan.threads)]
                parts = ", ".join(_part(offset, size, value.dtype, shape) for offset in offsets)
                self._once.append(f"{name} = [{parts}]")
        return self._names[key]

    def _view(self, value: Value) -> str:
        assert value.base is not None  # noqa: S101 - a view has one
        base = self.name(value.base)
        key = "view", base, value.text
        if key not in self._names:
            suffix = "T" if value.text == "{0}.T" else "bits" if ".view(" in value.text else "view"
            name = self._names[key] = self._unique(f"{base}_{suffix}") if suffix != "T" else self._transposed(base)
            line = f"{name} = {value.text.format(base)}"
            storage = value.root.storage
            if isinstance(storage, Storage) and storage.rows is not None:
                line = f"{name} = [{value.text.format('array')} for array in {base}]"
            if value.root.kind in ("given", "fresh"):
                self.body.append((line, None))
            else:
                self._once.append(line)
        return self._names[key]

    def _transposed(self, base: str) -> str:
        name = f"{base}_T"
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name

    # Text.

    def _write(self, lines: Lines) -> None:
        plan = self.plan
        groups = {group.first: group for group in plan.groups}
        origin: Any = None
        number = 0
        while number < len(plan.lines):
            line = plan.lines[number]
            if line.origin != origin:
                origin = line.origin
                self.body.append((_comment(origin), None))
            group = groups.get(number)
            if group is None:
                self._one(line)
                number += 1
            else:
                self._loop(group)
                origin = plan.lines[group.last].origin
                number = group.last + 1
        self.result = ", ".join(self.name(value) for value in lines.outputs)

    def _one(self, line: Line) -> None:
        names = [self.name(operand) if isinstance(operand, Value) else operand for operand in line.operands]
        if line.out.kind == "fresh":
            outs = {f"out{number}": self.name(value) for number, value in enumerate(line.outs)}
        else:
            outs = {"out": self.name(line.out)}
        self.body.append((_commented(line.text.format(*names, **outs), line), line))

    def _loop(self, group: Group) -> None:
        lines = self.plan.lines[group.first : group.last + 1]
        inside: dict[str, str] = {}
        parts: list[str] = []

        def local(value: Value, line: Line) -> str:
            name = self.name(value)
            if not has_rows(value, line):
                return name
            if name not in inside:
                inside[name] = self._unique(f"{name}_rows")
                storage = value.root.storage
                if isinstance(storage, Storage) and storage.rows is not None:
                    parts.append(f"reused({name}, {group.length})")
                    self._define(REUSED)
                else:
                    parts.append(f"cut({name}, {group.rows})")
                    self._define(CUT)
            return inside[name]

        texts: list[tuple[str, Line]] = []
        for line in lines:
            names = [local(operand, line) if isinstance(operand, Value) else operand for operand in line.operands]
            texts.append((line.text.format(*names, out=local(line.out, line)), line))
        tiles = self._unique("tiles")
        self._once.append(f"{tiles} = list(zip({', '.join(parts)}))")
        count = -(-group.length // group.rows)
        tail = "," if len(inside) == 1 else ""
        indent, name, rounds = "", "", f"{count} times {group.rows} rows"
        if self.plan.shared(group):
            name = self._unique("rows")
            self.body.append((f"def {name}(tiles):  # {rounds}, shared among {self.plan.threads} threads", None))
            self.body.append((f"    for {', '.join(inside.values())}{tail} in tiles:", None))
            indent = "    "
        else:
            self.body.append((f"for {', '.join(inside.values())}{tail} in {tiles}:  # {rounds}", None))
        origin = lines[0].origin
        for text, line in texts:
            if line.origin != origin:
                origin = line.origin
                self.body.append((f"{indent}    {_comment(origin)}", None))
            self.body.append((f"{indent}    {_commented(text, line)}", line))
        if indent:
            self.functions["in_parallel"] = in_parallel
            self.body.append((f"in_parallel({name}, {tiles}, {self.plan.threads})", None))

    def _define(self, function: str) -> None:
        if function not in self._once:
            self._once.insert(0, function)

    @property
    def once(self) -> str:
        """What is made once, before the first step."""
        memory = (
            f"memory = np.empty({self.plan.nbytes + ALIGNMENT}, np.uint8)\n"
            f"memory = memory[-memory.ctypes.data % {ALIGNMENT} :]\n"
        )
        return (memory if self.buffers else "") + "\n".join([*self._numbers, *self._once]) + "\n"

    def rounds(self, line: Line) -> int:
        """Return how many times a line runs in a step."""
        number = self.plan.lines.index(line)
        group = next((group for group in self.plan.groups if group.first <= number <= group.last), None)
        return 1 if group is None else -(-group.length // group.rows)

    def step(self, name: str, body: Sequence[tuple[str, Line | None]] | None = None) -> str:
        """The step, as a function of this name.

        Args:
            name: of the function.
            body: its lines, by default those of the program.
        """
        body = self.body if body is None else body
        lines = [f"def {name}({', '.join(self.arguments)}):"]
        lines += [f"    {text}" for text, _ in body]
        if self.result:
            lines.append(f"    return {self.result}")
        elif not body:
            lines.append("    pass")
        return "\n".join(lines) + "\n"


def _inputs(lines: Lines) -> list[tuple[Any, str]]:
    return [(place, lines.values[place].name) for place in lines.program.inputs]


def _number_in(array: Any) -> str | None:
    """Return the one number of which an array is full, as it is written; None if it holds several."""
    if not array.size or array.dtype.kind not in "biuf":
        return None
    first = array.flat[0]
    if array.size > 1 and not (array == first).all():
        return None
    return str(first) if isfinite(first) else text_of(first.item())  # str: as few digits as the dtype needs


def _part(offset: int, nbytes: int, dtype: Any, shape: tuple[int, ...]) -> str:
    """Return how an array is taken out of the step's memory."""
    return f"memory[{offset}:{offset + nbytes}].view(np.{dtype.name}).reshape({shape})"


def _comment(origin: Origin) -> str:
    """Return one line of comment, whatever stands in a layer's name."""
    text = " ".join(f"{origin}{'. ' if origin.formula else ''}{origin.formula}".split())
    return "# " + "".join(letter if letter.isprintable() else "?" for letter in text)


def _hint(value: Value) -> str:
    origin = value.origin
    if origin is None or not origin.owner:
        return "value"
    suffix = {"forward": "_y", "backward": "_dy"}.get(origin.doing, "")
    return f"{origin.owner}{suffix}"


def _commented(text: str, line: Line) -> str:
    if not line.outs or ";" in text:
        return text
    return f"{text}  # {line.out.shape}"
