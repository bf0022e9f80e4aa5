"""Random steps, captured and replayed, against the same steps run eagerly: every bit of the output and of all state.

A step is a random text in words of `xp`, over inputs and over state: flat vectors, stretches of them that overlap,
matrices, counters. All numbers in it are whole and small, so that the order in which they are added makes no
difference, and every difference is a mistake of the plan. For a long search::

    python -m tests.backends.fuzz_programs --count 10000 --first 0

prints each failing step, shortened as far as it still fails.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
import types
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import numpy as np

from layerkit.program import record
from layerkit.xp.state import Stretch, Variable
from layerkit_numpy import NumpyBackend, lines, lowering, plan
from layerkit_numpy.program import NumpyProgram

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGEST = 1 << 20
"""What no number in a step exceeds: float32 holds all whole numbers up to 2²⁴."""

OF_STATE = 1 << 12
"""What no number of state exceeds: what is assigned to it is below SMALL."""

SMALL = 8


class Size(NamedTuple):
    """How large the arrays of a step are, and the tiles they are worked on in."""

    rows: int
    columns: int
    tile: int
    few: int
    """From how many elements on large arrays are treated as such."""
    threads: int = 1
    """How many threads share a loop over tiles."""


def size_of(random: Any) -> Size:
    if random.random() < 0.02:  # as large as what is treated as large
        rows = int(random.integers(65, 72))
        return Size(rows, rows, 1 << 10, 4096, int(random.integers(1, 4)))
    rows = int(random.integers(2, 9))
    columns = rows if random.random() < 0.5 else int(random.integers(1, 9))
    tile, few, threads = (int(random.choice(values)) for values in ([1, 4, 8, 24, 1 << 15], [0, 16, 4096], [1, 1, 3]))
    return Size(rows, columns, tile, few, threads)


class State(types.SimpleNamespace):
    """Flat vectors with stretches that overlap, arrays of their own, and a counter of random bits."""

    def __init__(self, xp: Any, size: Size) -> None:
        n, m = size.rows, size.columns
        random = np.random.default_rng(1)

        def whole(*shape: int) -> Any:
            return random.integers(-SMALL, SMALL, shape)

        self.flat = Variable(whole(3 * n * m + n), "float32", "flat", trainable=False, xp=xp)
        array = self.flat.array
        self.kernel = Stretch(xp, array, 0, n * m, (n, m), "kernel")
        self.bias = Stretch(xp, array, n * m, n * m + m, (m,), "bias")
        self.shifted = Stretch(xp, array, m, m + n * m, (n, m), "shifted")
        self.both = Stretch(xp, array, 0, 2 * n * m, (2 * n * m,), "both")
        self.square = Variable(whole(n, n), "float32", "square", trainable=False, xp=xp)
        self.wide = Variable(whole(n, m), "float64", "wide", trainable=False, xp=xp)
        self.labels = Variable(whole(n) % m, "int64", "labels", trainable=False, xp=xp)
        self.total = Variable(1.0, "float64", "total", trainable=False, xp=xp)
        self.counter = Variable(3, "uint64", "counter", trainable=False, xp=xp)

    NAMES = ("kernel", "bias", "shifted", "both", "square", "wide", "labels", "total", "flat")

    def variables(self) -> list[Variable]:
        return [value for value in vars(self).values() if isinstance(value, Variable)]


class Value(NamedTuple):
    name: str
    array: Any
    bound: float


class Step(NamedTuple):
    """A random step."""

    size: Size
    lines: tuple[str, ...]
    result: str

    @property
    def source(self) -> str:
        body = "".join(f"    {line}\n" for line in self.lines)
        return f"def step(xp, s, x, y):\n{body}    return {self.result}\n"

    def inputs(self, seed: int) -> list[Any]:
        random = np.random.default_rng(seed)
        n, m = self.size[:2]
        return [random.integers(-SMALL, SMALL, (n, k)).astype(np.float32) for k in (m, n)]


class Writer:
    """Writes a random step: what a line gives is tried out, and a line that raises is left out."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.size = size_of(self.random)
        self.lines: list[str] = []
        xp = NumpyBackend()
        x, y = Step(self.size, (), "").inputs(0)
        self.namespace = {"xp": xp, "np": np, "s": State(xp, self.size), "x": x, "y": y}
        self.values = [Value("x", x, SMALL), Value("y", y, SMALL)]
        self.kinds = [getattr(self, name) for name in dir(self) if name.startswith("a_")]

    # Choices.

    def one(self, items: Any) -> Any:
        items = list(items)
        return items[int(self.random.integers(len(items)))]

    def value(self, kinds: str = "fiub", where: Any = None) -> Value:
        """Return a value, a recent one as a rule: of state, if there is none."""
        found = [v for v in self.values if v.array.dtype.kind in kinds and (where is None or where(v.array))]
        if not found or self.random.random() < 0.15:
            name = self.one(State.NAMES)
            array = getattr(self.namespace["s"], name).array
            if array.dtype.kind in kinds and (where is None or where(array)):
                return Value(f"s.{name}.value", array, OF_STATE)
        return found[-1 - min(int(self.random.exponential(4.0)), len(found) - 1)]

    def like(self, shape: tuple[int, ...], kinds: str = "fi") -> Value:
        """Return a value of this shape."""
        return self.value(kinds, lambda array: array.shape == shape)

    def beside(self, shape: tuple[int, ...], kinds: str = "fi") -> Value:
        """Return a value that can be broadcast with this shape."""

        def fits(array: Any) -> bool:
            pairs = zip(array.shape[::-1], shape[::-1], strict=False)
            return all(a == b or 1 in (a, b) for a, b in pairs) and max(array.ndim, len(shape)) < 4

        return self.value(kinds, fits)

    def number(self) -> tuple[str, float]:
        number = int(self.random.integers(-3, 4))
        return self.one([repr(number), repr(float(number))]), abs(number)

    def add(self, text: str, bound: float) -> None:
        """Add the line that gives this value: held within bounds."""
        if bound > LARGEST:
            text, bound = f"xp.remainder({text}, {SMALL}.0)", SMALL
        name = f"v{len(self.lines)}"
        with np.errstate(all="ignore"):
            exec(f"{name} = {text}", self.namespace)
        array = np.asarray(self.namespace[name])
        if array.size <= 1 << 15:
            self.lines.append(f"{name} = {text}")
            self.values.append(Value(name, array, bound))

    def small(self, value: Value) -> str:
        return value.name if value.bound <= SMALL else f"xp.remainder({value.name}, {SMALL})"

    # Lines.

    def a_unary(self) -> None:
        v = self.value("fi")
        word = self.one(["negative", "abs", "sign", "positive", "floor", "square", "trunc"])
        self.add(f"xp.{word}({v.name})", v.bound**2 if word == "square" else v.bound)

    def a_binary(self) -> None:
        a = self.value("fi")
        b = self.beside(a.array.shape)
        word, bound = self.one(
            [
                *(("add", a.bound + b.bound), ("subtract", a.bound + b.bound), ("multiply", a.bound * b.bound)),
                *(("maximum", max(a.bound, b.bound)), ("minimum", max(a.bound, b.bound))),
            ]
        )
        a, b = self.one([(a, b), (b, a)])
        self.add(f"xp.{word}({a.name}, {b.name})", bound)

    a_binary_again = a_binary_thrice = a_binary

    def a_number(self) -> None:
        v, (text, bound) = self.value("fi"), self.number()
        sign, bound = self.one([("+", v.bound + bound), ("-", v.bound + bound), ("*", v.bound * max(bound, 1))])
        a, b = self.one([(v.name, text), (text, v.name)])
        self.add(f"{a} {sign} {b}", bound)

    def a_comparison(self) -> None:
        a = self.value("fi")
        b = self.one([self.beside(a.array.shape).name, "0.0", "1"])
        self.add(f"xp.{self.one(['greater', 'less_equal', 'equal'])}({a.name}, {b})", 1)

    def a_logical(self) -> None:
        a = self.value("b")
        b = self.beside(a.array.shape, "b")
        self.add(self.one([f"xp.logical_and({a.name}, {b.name})", f"~{a.name}", f"{a.name} | {b.name}"]), 1)

    def a_where(self) -> None:
        c = self.value("b")
        a = self.beside(c.array.shape, "f")
        b = self.beside(a.array.shape, "fi")
        texts = [a.name, b.name]
        if self.random.random() < 0.4:
            texts[int(self.random.integers(2))] = self.one(["0.0", "1.0", "2.0"])
        self.add(f"xp.where({c.name}, {texts[0]}, {texts[1]})", max(a.bound, b.bound, 2))

    def a_clip(self) -> None:
        v = self.value("f")
        self.add(f"xp.clip({v.name}, {self.one(['-3.0', 'None', '0'])}, 5.0)", max(v.bound, 5))

    def a_cast(self) -> None:
        v = self.value()
        dtype = self.one(["float32", "float64", "int32", "bool", "int64"])
        copy = self.one(["", "", ", copy=False"])
        self.add(f"xp.astype({v.name}, xp.{dtype}{copy})", max(v.bound, 1))

    def a_like(self) -> None:
        v = self.value("f")
        self.add(self.one([f"xp.zeros_like({v.name})", f"xp.full_like({v.name}, 2.0)", f"xp.ones_like({v.name})"]), 2)

    def _axes(self, array: Any) -> str:
        some = [n for n in range(array.ndim) if self.random.random() < 0.5]
        axis = self.one([None, tuple(some) or None, *range(-array.ndim, array.ndim)])
        return f"axis={axis}, keepdims={bool(self.random.random() < 0.5)}"

    def a_reduction(self) -> None:
        v = self.value("fi")
        word, bound = self.one([("sum", v.bound * max(v.array.size, 1)), ("max", v.bound), ("min", v.bound)])
        self.add(f"xp.{word}({v.name}, {self._axes(v.array)})", bound)

    a_reduction_again = a_reduction

    def a_mean_of_one(self) -> None:
        v = self.value("f", lambda array: 1 in array.shape)
        axis = self.one([n for n, length in enumerate(v.array.shape) if length == 1])
        self.add(f"xp.mean({v.name}, axis={axis}, keepdims={bool(self.random.random() < 0.5)})", v.bound)

    def a_question(self) -> None:
        v = self.value("b")
        self.add(f"xp.{self.one(['any', 'all'])}({v.name}, {self._axes(v.array)})", 1)

    def a_position(self) -> None:
        v = self.value("fi")
        axis = self.one([None, *range(v.array.ndim)])
        self.add(f"xp.{self.one(['argmax', 'argmin'])}({v.name}, axis={axis})", v.array.size)

    def a_cumulative_sum(self) -> None:
        v = self.value("fi", lambda array: array.ndim > 0)
        self.add(f"xp.cumulative_sum({v.name}, axis={self.one(range(v.array.ndim))})", v.bound * max(v.array.size, 1))

    def a_product(self) -> None:
        a = self.value("f", lambda array: array.ndim in (1, 2))
        b = self.value("f", lambda array: array.ndim > 0 and array.shape[max(array.ndim - 2, 0)] == a.array.shape[-1])
        text = self.one(["{} @ {}", "xp.matmul({}, {})"]).format(self.small(a), self.small(b))
        self.add(text, SMALL * SMALL * a.array.shape[-1])

    a_product_again = a_product

    def a_linear(self) -> None:
        x = self.value("f", lambda array: array.ndim == 2)
        k = self.value("f", lambda array: array.ndim == 2 and array.shape[0] == x.array.shape[-1])
        b = self.value("f", lambda array: array.shape == k.array.shape[1:] and array.dtype == k.array.dtype)
        if not x.array.dtype == k.array.dtype == b.array.dtype:
            return
        text = f"xp.linear({self.small(x)}, {self.small(k)}, {b.name})"
        self.add(text, SMALL * SMALL * x.array.shape[-1] + b.bound)
        dy = self.values[-1]
        rows = max(dy.array.shape)
        for part in range(3):
            text = f"xp.linear_grad({self.small(x)}, {self.small(k)}, {self.small(dy)})[{part}]"
            self.add(text, SMALL * SMALL * rows)

    def a_detour(self) -> None:
        v, number = self.value("f"), self.one((2, 4.0))
        quotient = f"q{len(self.lines)}"
        line = f"{quotient} = {v.name} / {number}"
        exec(line, self.namespace)
        self.lines.append(line)
        if self.random.random() < 0.5:
            self.a_write()
        self.add(f"{quotient} * {number}", v.bound)

    # Views.

    def a_transpose(self) -> None:
        v = self.value(where=lambda array: array.ndim > 1)
        axes = tuple(int(n) for n in self.random.permutation(v.array.ndim))
        last = f"xp.matrix_transpose({v.name})"
        self.add(self.one([f"{v.name}.T", f"xp.permute_dims({v.name}, {axes})", last]), v.bound)

    a_transpose_again = a_transpose

    def a_reshape(self) -> None:
        v = self.value()
        size = v.array.size
        shapes = [(size,), (-1, 1), (1, size)]
        shapes += [(k, size // k) for k in range(2, size) if size and size % k == 0]
        self.add(f"xp.reshape({v.name}, {self.one(shapes)})", v.bound)

    def a_slice(self) -> None:
        v = self.value(where=lambda array: array.ndim > 0)
        parts = ["1:", ":-1", "::2", "::-1", ":", "...", "None", "0", "-1", "1:3"]
        number = int(self.random.integers(1, v.array.ndim + 1))
        key = ", ".join(self.one(parts) for _ in range(number))
        self.add(f"{v.name}[{key}]", v.bound)

    a_slice_again = a_slice

    def a_view(self) -> None:
        v = self.value()
        shape, ndim = v.array.shape, v.array.ndim
        texts = [
            f"xp.expand_dims({v.name}, axis={self.one(range(-ndim - 1, ndim + 1))})",
            f"xp.broadcast_to({v.name}, {(self.size.rows, *shape)})",
            f"xp.flip({v.name}, axis={self.one([None, *range(ndim)])})",
        ]
        ones = tuple(n for n, length in enumerate(shape) if length == 1)
        texts += [f"xp.squeeze({v.name}, axis={ones})"] * bool(ones)
        texts += [f"xp.moveaxis({v.name}, {self.one(range(ndim))}, {self.one(range(ndim))})"] * bool(ndim)
        self.add(self.one(texts), v.bound)

    def a_word_that_may_share_memory(self) -> None:
        v = self.value("fi")
        matrix = self.value("f", lambda array: array.ndim == 2)
        square = self.value("f", lambda array: array.ndim == 2 and array.shape[0] == array.shape[1])
        other = self.beside(v.array.shape)
        # A word that has no line of its own gives a value, also where NumPy gives a view of state: hence `* 1`.
        texts = [
            (f"xp.real({v.name})", v.bound),
            (f"xp.round({v.name} * 1)", v.bound),
            (f"xp.broadcast_arrays({v.name}, {other.name})[{self.one((0, 1))}]", max(v.bound, other.bound)),
            (f"xp.unstack({matrix.name}, axis={self.one((0, 1))})[0]", matrix.bound),
            (f"xp.linalg.diagonal({matrix.name})", matrix.bound),
            (f"xp.linalg.matrix_power({square.name} * 1, 1)", square.bound),
            (f"xp.einsum('ij->ji', {matrix.name} * 1)", matrix.bound),
            (f"xp.einsum('ii->i', {square.name} * 1)", square.bound),
            (f"xp.diff({matrix.name} * 1, n=0)", matrix.bound),
            (f"xp.meshgrid({self.value('f', lambda array: array.ndim == 1).name})[0]", OF_STATE),
            (f"{matrix.name}[np.int64(0)]", matrix.bound),
        ]
        self.add(*self.one(texts))

    a_word_that_may_share_memory_again = a_word_that_may_share_memory

    # Moving elements.

    def a_join(self) -> None:
        a = self.value("f", lambda array: array.ndim > 0)
        b = self.like(a.array.shape, "f")
        axis = self.one(range(a.array.ndim))
        joined = f"xp.concat([{a.name}, {b.name}], axis={axis})", f"xp.stack(({a.name}, {b.name}), axis={axis})"
        self.add(self.one([*joined, f"xp.concat([{a.name}, {b.name}], axis=None)"]), max(a.bound, b.bound))

    def a_choice(self) -> None:
        v = self.value("f", lambda array: array.ndim > 0)
        m = self.size.columns
        axis = self.one(range(v.array.ndim))
        indices = f"s.labels.value % {max(v.array.shape[axis], 1)}"
        hot = f"xp.one_hot(s.labels.value % {m}, {m}, {self.one(['float32', 'bool'])!r})"
        vector = self.value("f", lambda array: array.shape == (self.size.rows,))
        scattered = f"xp.scatter_add(s.labels.value % {m}, {vector.name}, {m})"
        texts = [(f"xp.take({v.name}, {indices}, axis={axis})", v.bound), (f"{v.name}[{indices}]", v.bound)]
        self.add(*self.one([*texts, (hot, 1), (scattered, vector.bound * self.size.rows)]))

    def a_copy(self) -> None:
        v = self.value("f", lambda array: array.ndim > 0)
        texts = f"xp.roll({v.name}, 1)", f"xp.tile({v.name}, (1, 2))", f"xp.repeat({v.name}, 2, axis=0)"
        self.add(self.one([*texts, f"xp.sort({v.name}, descending=True)", f"xp.tril({v.name})"]), v.bound)

    def a_mask(self) -> None:
        v = self.value("f")
        size = v.array.size
        bits = f"xp.reshape(xp.random_bits((1, 2), s.counter.value, {size}), {v.array.shape})"
        self.add(f"xp.where({bits} < {1 << 31}, {v.name}, 0.0)", v.bound)
        self.lines.append(f"xp.assign_add(s.counter.value, {-(-size // 8)})")

    # State.

    def a_write(self) -> None:
        name = self.one(State.NAMES)
        array = getattr(self.namespace["s"], name).array
        shape = array.shape
        v = self.value("fi")
        text = self.small(v)
        if v.array.shape != shape:
            pick = [v.array.size >= array.size, v.array.shape == shape[::-1], True]
            texts = [f"xp.reshape(xp.reshape({text}, (-1,))[:{array.size}], {shape})", f"{text}.T", f"xp.sum({text})"]
            text = self.one(itertools.compress(texts, pick))
        if array.dtype.kind == "i":
            text = f"xp.astype({text}, xp.int64)"
        text = self.one([text] * 6 + [self.one(["0", "1.0", "2"])] + [f"s.{name}.value"])
        if name == "labels" and "." in text[:4]:
            text = "2"
        words = ["assign", "assign", "assign_add"] if "sum(" not in text else ["assign"]
        line = f"xp.{self.one(words)}(s.{name}.value, {text})"
        if f"_add(s.{name}.value, s.{name}" in line or text.startswith("xp.sum("):
            line = f"xp.assign(s.{name}.value, {self.one(['1', '0.0'])})"
        exec(line, self.namespace)
        self.lines.append(line)

    a_write_again = a_write_thrice = a_write_often = a_write

    def write(self) -> Step:
        """Return a random step."""
        wanted = int(self.random.integers(3, 30))
        while len(self.lines) < wanted:
            try:
                self.one(self.kinds)()
            except (ValueError, TypeError, IndexError, AssertionError):
                continue
        result = self.one([*(v.name for v in self.values[2:]), "None"]) if len(self.values) > 2 else "None"
        return Step(self.size, tuple(self.lines), result)


# Running.


class Difference(AssertionError):
    """A step that gives something else when it is replayed."""


def compare(step: Step, steps: int = 3) -> Any:
    """Run a step eagerly, word by word, and as a planned program; return the program.

    Raises:
        Difference: the output or the state is not the same, every bit of it.
    """

    class Tiled(NumpyBackend):
        tile_size = step.size.tile

    namespace: dict[str, Any] = {"np": np}
    exec(step.source, namespace)
    function, xp = namespace["step"], Tiled()
    eager, captured = State(xp, step.size), State(xp, step.size)

    def both(number: int, run: Any, how: str) -> None:
        x, y = step.inputs(number)
        before = [variable.numpy() for variable in eager.variables()]
        expected = function(xp, eager, x, y)
        _equal(expected, run(x, y), f"{how}, call {number}: the output")
        for mine, theirs in zip(eager.variables(), captured.variables(), strict=True):
            _equal(mine.array, theirs.array, f"{how}, call {number}: {mine.path}")
        _equal(x, step.inputs(number)[0], "the input")
        if how == "word by word":  # and once more, as planned
            for variable, values in zip((*eager.variables(), *captured.variables()), (*before, *before), strict=True):
                variable.array[...] = values

    found: list[Any] = []

    def recorded(x: Any, y: Any) -> Any:
        result, _, program = record(xp, lambda capture, a, b: function(capture, captured, a, b), (x, y), "train")
        found.append(program)
        return result

    with np.errstate(all="ignore"), _as_if_large(step.size):
        both(0, recorded, "recorded")
        by_word, planned = found[0].on(xp), NumpyProgram(found[0], xp, threads=step.size.threads)
        for number in range(1, steps + 1):
            both(number, by_word, "word by word")
            both(number, planned, "planned")
    return planned


@contextlib.contextmanager
def _as_if_large(size: Size) -> Iterator[None]:
    """Treat arrays from a few elements on as large ones are treated."""
    with (
        mock.patch.object(lines, "FEW", size.few),
        mock.patch.object(lowering, "FEW", size.few),
        mock.patch.multiple(plan, SMALL=4 * size.few, LONG=size.few),
    ):
        yield


def _equal(expected: Any, found: Any, what: str) -> None:
    if expected is None and found is None:
        return
    a, b = np.asarray(expected), np.asarray(found)
    if a.shape != b.shape or a.dtype != b.dtype or not np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        raise Difference(f"{what} must be\n{a!r}\nReceived:\n{b!r}")


def random_step(seed: int) -> Step:
    """Return the step of this seed."""
    return Writer(seed).write()


def failure(step: Step) -> str | None:
    """Say how a step fails; None if it does not."""
    try:
        compare(step)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
        return f"{type(error).__name__}: {error}"
    return None


def shortened(step: Step) -> Step:
    """Return a step that fails with fewer lines."""
    kind = (failure(step) or "").partition(":")[0]
    results = {"None", step.result}
    number = 0
    while number < len(step.lines):
        lines_left = step.lines[:number] + step.lines[number + 1 :]
        for result in results:
            shorter = step._replace(lines=lines_left, result=result)
            found = failure(shorter)
            if found is not None and found.startswith(kind) and "name 'v" not in found:
                step = shorter
                break
        else:
            number += 1
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for steps that are replayed wrongly.")
    parser.add_argument("--count", type=int, default=1000, help="how many steps")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--most", type=int, default=5, help="after how many findings to stop")
    options = parser.parse_args()
    findings = 0
    for seed in range(options.first, options.first + options.count):
        step = random_step(seed)
        if failure(step) is None:
            continue
        shorter = step
        while (again := shortened(shorter)) != shorter:
            shorter = again
        findings += 1
        print(f"seed {seed}: {shorter.size}\n{shorter.source}{failure(shorter)}\n", flush=True)
        if findings >= options.most:
            break
    print(f"{findings} of {options.count} steps from seed {options.first} on are replayed wrongly")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
