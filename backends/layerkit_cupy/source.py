"""A chain of elementwise words as the source of one CUDA kernel."""

from __future__ import annotations

import math
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit_cupy.expressions import COMPUTED, TYPES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit_cupy.stages import Kernel, Operand

cupy: Any = import_module("cupy")

FUNCTIONS = Path(__file__).with_name("elementwise.cu").read_text(encoding="utf-8")

OPTIONS = ("--fmad=false",)
"""A product and a sum are each rounded, as NumPy rounds them: the memory that they wait for takes longer. CuPy adds
-ftz=true, for its own kernels and these: float32 numbers below 1.2e-38 are 0."""

WIDEST = 16
"""Bytes that a thread reads or writes at once."""

NAME = 60
"""Letters of a kernel's name, as a profiler shows it."""

_TEMPLATE = """{functions}
extern "C" __global__ void {name}({parameters})
{{
    const {index} first = ({index})blockIdx.x * blockDim.x + threadIdx.x;
    const {index} step = ({index})gridDim.x * blockDim.x;
{once}{packs}{rest}}}
"""

_PACKS = """    for ({index} p = first; p < {packs}; p += step) {{
{loads}        #pragma unroll
        for (int k = 0; k < {width}; ++k) {{
{number}{body}        }}
{stores}    }}
"""

_REST = """    for ({index} i = {start} + first; i < {size}; i += step) {{
{body}    }}
"""


class Layout(NamedTuple):
    """How an array lies, as far as a kernel depends on it."""

    shape: tuple[int, ...]
    strides: tuple[int, ...]
    """In elements."""
    aligned: int
    """The largest power of two, up to `WIDEST`, that divides its address."""


def layout(array: Any) -> Layout:
    """Return how an array lies."""
    strides = tuple([stride // array.dtype.itemsize for stride in array.strides])
    address = array.data.ptr | WIDEST
    return Layout(tuple(array.shape), strides, address & -address)


class Written(NamedTuple):
    """A kernel as text."""

    name: str
    source: str
    rounds: int
    """How many threads have something to do."""


def write(kernel: Kernel, layouts: Sequence[Layout]) -> Written:
    """Return the source of a kernel.

    Args:
        kernel: the words.
        layouts: of what it reads, and then of what it writes.
    """
    size = math.prod(kernel.shape)
    operands = [*kernel.reads, *kernel.writes]
    axes = [_axes(kernel.shape, found) for found in layouts]
    signed = any(stride < 0 for each in axes for _, stride in each)
    furthest = max(size, *(sum((length - 1) * abs(stride) for length, stride in each) for each in axes))
    index = "int64" if signed or furthest >= 1 << 31 else "uint32"
    width = _width(operands, axes, layouts, size)

    names = [f"in{number}" for number in range(len(kernel.reads))]
    names += [f"out{number}" for number in range(len(kernel.writes))]
    places = [_index(each) for each in axes]
    once = [place == "0" and number < len(kernel.reads) and size > 1 for number, place in enumerate(places)]
    parameters = [
        f"{'const ' if number < len(kernel.reads) else ''}{TYPES[operand.dtype]} *{name}"
        for number, (operand, name) in enumerate(zip(operands, names, strict=True))
    ]
    in_packs = [place == "i" and width > 1 for place in places]

    def body(indent: str, *, packed: bool) -> str:
        lines: list[str] = []
        for number, operand in enumerate(kernel.reads):
            if not once[number]:
                source = f"pack{number}.at[k]" if packed and in_packs[number] else f"{names[number]}[{places[number]}]"
                lines.append(f"const {COMPUTED[operand.dtype]} {operand.name} = {source};")
        lines += kernel.body
        for number, operand in enumerate(kernel.writes, len(kernel.reads)):
            target = f"pack{number}.at[k]" if packed and in_packs[number] else f"{names[number]}[{places[number]}]"
            lines.append(f"{target} = {operand.name};")
        return "".join(f"{indent}{line}\n" for line in lines)

    loads: list[str] = []
    stores: list[str] = []
    for number, operand in enumerate(operands):
        pack = f"Pack<{TYPES[operand.dtype]}, {width}>"
        if not in_packs[number]:
            continue
        if number < len(kernel.reads):
            loads.append(f"        const {pack} pack{number} = ((const {pack} *){names[number]})[p];\n")
        else:
            loads.append(f"        {pack} pack{number};\n")
            stores.append(f"        (({pack} *){names[number]})[p] = pack{number};\n")
    counts = any(not packed and place != "0" for packed, place in zip(in_packs, places, strict=True))
    packs, rest = (size // width, size % width) if width > 1 else (0, size)
    name = "layerkit_" + "_".join(dict.fromkeys(kernel.words))
    text = _TEMPLATE.format(
        functions=FUNCTIONS,
        name=name[:NAME],
        parameters=", ".join(parameters),
        index=index,
        once="".join(
            f"    const {COMPUTED[operand.dtype]} {operand.name} = {names[number]}[0];\n"
            for number, operand in enumerate(kernel.reads)
            if once[number]
        ),
        packs=_PACKS.format(
            index=index,
            packs=packs,
            width=width,
            loads="".join(loads),
            number=f"            const {index} i = p * {width} + k;\n" if counts else "",
            body=body(" " * 12, packed=True),
            stores="".join(stores),
        )
        if packs
        else "",
        rest=_REST.format(index=index, start=size - rest, size=size, body=body(" " * 8, packed=False)) if rest else "",
    )
    return Written(name[:NAME], text, max(packs, rest))


def _axes(shape: tuple[int, ...], found: Layout) -> list[tuple[int, int]]:
    """Return the lengths and strides of an array that is broadcast to a shape: as few axes as say the same."""
    missing = len(shape) - len(found.shape)
    axes: list[tuple[int, int]] = []
    for number, length in enumerate(shape):
        own = 1 if number < missing else found.shape[number - missing]
        stride = 0 if own == 1 else found.strides[number - missing]
        if length == 1:
            continue
        if axes and axes[-1][1] == stride * length:
            axes[-1] = axes[-1][0] * length, stride
        else:
            axes.append((length, stride))
    return axes


def _index(axes: Sequence[tuple[int, int]]) -> str:
    """Return where the element of number i lies, in elements from the array's address."""
    parts: list[str] = []
    below = 1
    for number, (length, stride) in reversed(list(enumerate(axes))):
        if stride:
            part = f"i / {below}" if below > 1 else "i"
            part = f"{part} % {length}" if number else part
            parts.append(part if stride == 1 else f"({part}) * {stride}")
        below *= length
    return " + ".join(parts) or "0"


def _width(
    operands: Sequence[Operand], axes: Sequence[Sequence[tuple[int, int]]], layouts: Sequence[Layout], size: int
) -> int:
    """Return how many neighbouring elements a thread takes at a time."""
    row_by_row = [number for number, each in enumerate(axes) if _index(each) == "i"]
    if not row_by_row or size < 2:
        return 1
    bytes_each = {number: cupy.dtype(operands[number].dtype).itemsize for number in row_by_row}
    width = WIDEST // max(bytes_each.values())
    while width > 1 and any(layouts[number].aligned < min(width * bytes_each[number], WIDEST) for number in row_by_row):
        width //= 2
    return width
