"""Each word of a program as lines of NumPy: one call a line, with `out=` wherever NumPy has it."""

from __future__ import annotations

import functools
import keyword
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.program import Place, leaves
from layerkit.xp.einsum import parsed
from layerkit_numpy.lines import COPY, FEW, RESERVED, Line, Lines, Value, text_of, type_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.program import Instruction, Program
    from layerkit.xp.backend import Backend


def lowered(program: Program, xp: Backend) -> Lines:
    """Return the lines of a program.

    Args:
        program: what was recorded.
        xp: NumPy's backend, whose words are called where no line says it better.
    """
    lines = Lines(program, xp)
    for instruction in program.instructions:
        LOWERINGS.get(instruction.word, _call)(lines, instruction)
    lines.end()
    return lines


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
    lines.write(instruction, COPY, [x], rowwise=True).flops = 0


def _where(lines: Lines, instruction: Instruction) -> None:
    condition, x, y = lines.operands(instruction)
    spec, place = lines.spec(instruction), lines.place(instruction)
    out = Value("made", spec.shape, spec.dtype, instruction.origin)
    lines.values[place] = out
    write = functools.partial(lines.write_into, rowwise=True)
    if out.size < FEW or out.dtype.char not in "fd" or getattr(condition, "shape", ()) != out.shape:
        write(out, instruction, COPY, [y])
        write(out, instruction, "np.copyto({out}, {0}, where={1})", [x, condition, out])
        return
    # NumPy branches for each element, which costs ten times the memory traffic where the branches alternate. Here bits
    # are selected instead, exactly the same ones.
    bits = np.int32 if out.dtype.char == "f" else np.int64
    mask = lines.temporary(instruction, out.shape, bits)
    write(mask, instruction, COPY, [condition])
    write(mask, instruction, "np.negative({0}, out={out})", [mask])
    seen = f"{{0}}.view(np.{np.dtype(bits).name})"

    def as_bits(operand: Any) -> Value:
        if isinstance(operand, Value) and operand.dtype == out.dtype:
            return lines.view_of(operand, seen, instruction.origin)
        if not isinstance(operand, Value):  # a number
            number = np.asarray(eval(operand, {"np": np}), out.dtype)  # noqa: S307 - our own text
            return lines.operand(number.view(bits))
        cast = lines.temporary(instruction, operand.shape, out.dtype)
        write(cast, instruction, COPY, [operand])
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
    axes = () if axis is None else tuple(axis) if type_of(axis) in (tuple, list) else (axis,)
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
    return text_of(tuple(axis) if type_of(axis) is list else axis)


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
        lines.write(instruction, COPY, [number], rowwise=True).flops = 0

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
