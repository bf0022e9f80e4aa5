"""Many rows at once, each by itself: what is written for a batch of one row is run on all rows of a batch.

It is what others call vectorizing, or batching, a function: each array has a first axis that nobody sees, along which
the rows lie. A gradient that sums over a batch of one is that of one row, so that a single backward pass gives the
derivative of every row: the Jacobian.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NoReturn

from layerkit.checks import is_a
from layerkit.errors import ArgumentError
from layerkit.nested import leaves
from layerkit.overriding import override
from layerkit.program.array import Place, RecordedArray
from layerkit.program.recorder import Recorder, find, is_several
from layerkit.xp import reference, words

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend

_NOWHERE = Place(-1)


class Stack:
    """The values of all rows: it shows the shape that each of them has."""

    __slots__ = ("array", "dtype", "ndim", "shape", "size")

    def __init__(self, array: Array) -> None:
        self.array = array
        self.shape = tuple(array.shape)[1:]
        self.dtype = array.dtype
        self.ndim = len(self.shape)
        self.size = math.prod(self.shape)

    @property
    def count(self) -> int:
        """The number of rows."""
        return self.array.shape[0]


class RowWise(Recorder):
    """Runs words on `base` for many rows at once, each of which sees a batch of its own, of one row.

    ::

        rows = RowWise(xp)
        with recording(rows):
            y, saved = layer.forward(rows, rows.split(x))         # x of shape (n, …): it appears as (1, …)
            dx, grads = layer.backward(rows, saved, dy)
        rows.joined(grads["kernel"], n)                             # (n, *kernel.shape): a gradient for each row

    A word that has no rule here runs row by row. It keeps no notes, and finds no derivatives.

    Args:
        base: the backend that computes.
    """

    name = "rows"
    differentiates = False

    def each(self, array: Array) -> Any:
        """Return an array of rows, of shape (n, …), as what a function of one of them takes: of shape (…)."""
        return self._wrapped(Stack(array))

    def split(self, array: Array) -> Any:
        """Return an array of rows, of shape (n, …), as batches of one row: of shape (1, …)."""
        return self.each(self.base.expand_dims(array, axis=1))

    def joined(self, value: Any, count: int) -> Array:
        """Return the values of all rows, as an array of `base` of shape (count, …)."""
        value = value.value if type(value) is RecordedArray and value.recorder is self else value
        return _stacked(self.base, value, count)

    @override
    def input(self, value: Any) -> RecordedArray:
        return self._wrapped(value)

    def _wrapped(self, value: Any) -> RecordedArray:
        return RecordedArray(self, _NOWHERE, value)

    @override
    def variable(self, variable: Any, value: Any) -> RecordedArray:
        below = isinstance(self.base, Recorder) and type(value) is not RecordedArray
        return self._wrapped(self.base.variable(variable, value) if below else value)  # type: ignore[attr-defined]

    @override
    def note(self, word: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        inputs: list[Place] = []
        plain = tuple([self._split(value, inputs) for value in args])
        named = {key: self._split(value, inputs) for key, value in kwargs.items()}
        count = _count((plain, *named.values()))
        if count is None:
            result = find(self.base, word)(*plain, **named)
            return self._handed_out(result, self._wrapped) if inputs else result
        rule = _RULES.get(word)
        result = NotImplemented if rule is None else rule(self.base, *plain, **named)
        if result is NotImplemented:
            definition = getattr(reference, word, None) if word in words.NETWORK_WORDS else None
            if definition is not None:
                return definition(self, *args, **kwargs)
            result = _one_by_one(self.base, find(self.base, word), count, plain, named)
        return self._handed_out(result, lambda array: self._wrapped(Stack(array)))

    @override
    def note_function(self, function: Any, rule: Any, args: tuple[Any, ...]) -> Any:
        plain = tuple(map(self._plain, args))
        base, count = self.base, _count(plain)

        def run(*given: Any) -> Any:
            return base.note_function(function, rule, given) if isinstance(base, Recorder) else function(*given)

        if count is None:
            return self._handed_out(run(*plain), self._wrapped)
        return self._handed_out(_one_by_one(base, run, count, plain, {}), lambda array: self._wrapped(Stack(array)))

    def _handed_out(self, result: Any, wrapped: Callable[[Any], RecordedArray]) -> Any:
        if not is_several(result):
            return wrapped(result)
        kept = [None if value is None else wrapped(value) for value in result]
        made: Any = getattr(result, "_make", None) or result.__class__
        return made(kept)

    @override
    def result_type(self, *arrays_and_dtypes: Any) -> Any:
        return self.base.result_type(*[_whole(self._plain(value)) for value in arrays_and_dtypes])

    # What has no meaning for one row of many.

    @override
    def read(self, array: RecordedArray, how: str, *, lost: bool = False) -> Any:
        if type(array.value) is Stack:
            self._refuse(f"{how} of a value, which reads it on the host")
        return self.base.read(array.value, how, lost=lost) if isinstance(self.base, Recorder) else array.value

    @override
    def to_numpy(self, array: Any) -> Any:
        return self.base.to_numpy(self.read(array, "xp.to_numpy") if isinstance(array, RecordedArray) else array)

    @override
    def assign(self, state: Any, value: Any) -> None:
        self._refuse("xp.assign, which keeps what a batch shows")

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        self._refuse("xp.assign_add, which keeps what a batch shows")

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        self._refuse("random numbers, others in each pass")

    def _refuse(self, received: str) -> NoReturn:
        raise ArgumentError(
            f"Where rows are taken each by itself, the output must follow from that row and the weights alone. "
            f"Received: {received}. Leave the layer out, or compile with another optimizer."
        )

    @override
    def __str__(self) -> str:
        return f"rows over {self.base}"


def _whole(value: Any) -> Any:
    return value.array if type(value) is Stack else value


def _count(values: Any) -> int | None:
    """Return the number of rows that lie in an argument; None where there are none."""
    return next((leaf.count for leaf in leaves(values) if type(leaf) is Stack), None)


def _stacked(xp: Backend, value: Any, count: int) -> Array:
    """Return a value with the axis of rows, along which what is common to them is repeated."""
    return value.array if type(value) is Stack else xp.broadcast_to(value, (count, *value.shape))


def _one_by_one(xp: Backend, run: Any, count: int, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a function once for each row, and stack what it returns."""

    def picked(value: Any, row: int) -> Any:
        if type(value) is Stack:
            return value.array[row, ...]
        return value.__class__([picked(item, row) for item in value]) if is_several(value) else value

    found = [
        run(*picked(args, row), **{key: picked(item, row) for key, item in kwargs.items()}) for row in range(count)
    ]
    if not is_several(found[0]):
        return xp.stack(found)
    parts = [None if values[0] is None else xp.stack(list(values)) for values in zip(*found, strict=True)]
    made: Any = getattr(found[0], "_make", None) or found[0].__class__
    return made(parts)


# Rules: what a word over rows is in words over whole arrays. NotImplemented stands for none in this case.


def _aligned(xp: Backend, values: tuple[Any, ...]) -> list[Any]:
    """Return whole arrays that broadcast as the rows would: the axis of rows stays in front."""
    ndim = max(getattr(value, "ndim", 0) for value in values)

    def aligned(value: Any) -> Any:
        if type(value) is not Stack:
            return value
        missing = (1,) * (ndim - value.ndim)
        return xp.reshape(value.array, (value.count, *missing, *value.shape)) if missing else value.array

    return [aligned(value) for value in values]


def _elementwise(word: str) -> Any:
    def rule(xp: Backend, *args: Any, **kwargs: Any) -> Array:
        found = _aligned(xp, (*args, *kwargs.values()))
        return find(xp, word)(*found[: len(args)], **dict(zip(kwargs, found[len(args) :], strict=True)))

    return rule


def _like(word: str) -> Any:
    """A word of one array, whose other arguments hold for any axes in front."""

    def rule(xp: Backend, x: Any, *args: Any, **kwargs: Any) -> Any:
        if _count((args, *kwargs.values())) is not None or type(x) is not Stack:
            return NotImplemented
        return find(xp, word)(x.array, *args, **kwargs)

    return rule


def _behind(axis: Any) -> Any:
    """Return an axis, or several, of a row as one of the whole array: negative ones count from the end in both."""
    return tuple(map(_behind, axis)) if is_several(axis) else axis + 1 if axis >= 0 else axis


def _along(word: str, none: str = "all", default: Any = None) -> Any:
    """A word along an axis of one array; without one, along all of them, or ("one") along the only one."""

    def rule(xp: Backend, x: Any, axis: Any = default, **kwargs: Any) -> Any:
        if type(x) is not Stack or (axis is None and none == "one" and x.ndim != 1):
            return NotImplemented
        if axis is None:
            axis = tuple(range(x.ndim)) if none == "all" else 0
        return find(xp, word)(x.array, axis=_behind(axis), **kwargs)

    return rule


def _matmul(xp: Backend, a: Any, b: Any) -> Any:
    if min(a.ndim, b.ndim) < 1:
        return NotImplemented
    row, column = a.ndim == 1, b.ndim == 1
    if type(a) is Stack and type(b) is not Stack and not row and b.ndim == 2:
        # One product for all rows, and not as many small ones.
        flat = xp.reshape(a.array, (math.prod(a.array.shape[:-1]), a.shape[-1]))
        return xp.reshape(xp.matmul(flat, b), (*a.array.shape[:-1], b.shape[1]))
    a, b = (_expanded(xp, each, axis) if one else each for each, axis, one in ((a, -2, row), (b, -1, column)))
    outer = a.shape[-1] == 1 == b.shape[-2]
    y = (xp.multiply if outer else xp.matmul)(*_aligned(xp, (a, b)))
    ones = ((-2,) if row else ()) + ((-1,) if column else ())
    return xp.squeeze(y, axis=ones) if ones else y


def _expanded(xp: Backend, value: Any, axis: int) -> Any:
    return Stack(xp.expand_dims(value.array, axis=axis)) if type(value) is Stack else xp.expand_dims(value, axis=axis)


def _linear(xp: Backend, x: Any, kernel: Any, bias: Any = None) -> Any:
    if type(x) is not Stack or _count((kernel, bias)) is not None:
        return NotImplemented
    flat = xp.reshape(x.array, (math.prod(x.array.shape[:-1]), x.shape[-1]))
    return xp.reshape(xp.linear(flat, kernel, bias), (*x.array.shape[:-1], kernel.shape[1]))


def _getitem(xp: Backend, x: Any, key: Any) -> Any:
    keys: tuple[Any, ...] = key if is_a(key, tuple) else (key,)
    if type(x) is not Stack or not all(each is None or isinstance(each, (int, slice, type(...))) for each in keys):
        return NotImplemented
    return find(xp, "getitem")(x.array, (slice(None), *keys))


def _reshape(xp: Backend, x: Any, shape: Any, **kwargs: Any) -> Array:
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    known = math.prod(n for n in shape if n >= 0)
    return xp.reshape(x.array, (x.count, *[x.size // max(known, 1) if n < 0 else n for n in shape]), **kwargs)


def _broadcast_to(xp: Backend, x: Any, shape: Any) -> Array:
    missing = (1,) * (len(shape) - x.ndim)
    return xp.broadcast_to(xp.reshape(x.array, (x.count, *missing, *x.shape)), (x.count, *shape))


def _permute_dims(xp: Backend, x: Any, axes: Any) -> Array:
    return xp.permute_dims(x.array, (0, *[axis % x.ndim + 1 for axis in axes]))


def _moveaxis(xp: Backend, x: Any, source: Any, destination: Any) -> Array:
    return xp.moveaxis(x.array, _behind(source), _behind(destination))


def _together(word: str) -> Any:
    """A word of a list of arrays."""

    def rule(xp: Backend, arrays: Any, axis: Any = 0, **kwargs: Any) -> Any:
        if axis is None:
            return NotImplemented
        count = _count(arrays) or 0
        return find(xp, word)([_stacked(xp, array, count) for array in arrays], axis=_behind(axis), **kwargs)

    return rule


def _take(xp: Backend, x: Any, indices: Any, axis: Any = None) -> Any:
    if type(x) is Stack:
        if type(indices) is Stack or (axis is None and x.ndim != 1):
            return NotImplemented
        return xp.take(x.array, indices, axis=_behind(axis or 0))
    if (axis or 0) != 0:
        return NotImplemented
    found = xp.take(x, xp.reshape(indices.array, (-1,)), axis=0)
    return xp.reshape(found, (*indices.array.shape, *x.shape[1:]))


def _take_along_axis(xp: Backend, x: Any, indices: Any, axis: int = -1) -> Array:
    count = _count((x, indices)) or 0
    return xp.take_along_axis(_stacked(xp, x, count), _stacked(xp, indices, count), axis=_behind(axis))


def _repeated(word: str) -> Any:
    def rule(xp: Backend, x: Any, amount: Any, axis: Any = None, **kwargs: Any) -> Any:
        if type(x) is not Stack or _count((amount,)) is not None or axis is None:
            return NotImplemented
        return find(xp, word)(x.array, amount, axis=_behind(axis), **kwargs)

    return rule


_RULES: dict[str, Any] = {
    **{word: _elementwise(word) for word in (*words.ELEMENTWISE, "where", "sigmoid", "softplus", "erfc")},
    **{word: _like(word) for word in ("astype", "empty_like", "full_like", "matrix_transpose", "ones_like")},
    **{word: _like(word) for word in ("tril", "triu", "zeros_like")},
    **{word: _along(word) for word in ("all", "any", "count_nonzero", "flip", "max", "mean", "min", "prod")},
    **{word: _along(word) for word in ("std", "sum", "var")},
    **{word: _along(word, none="one") for word in ("argmax", "argmin", "cumulative_prod", "cumulative_sum")},
    **{word: _along(word, default=-1) for word in ("argsort", "log_softmax", "softmax", "sort")},
    **{word: _along(word, default=0) for word in ("expand_dims", "squeeze", "unstack")},
    **{word: _together(word) for word in ("concat", "stack")},
    **{word: _repeated(word) for word in ("repeat", "roll")},
    **{"broadcast_to": _broadcast_to, "getitem": _getitem, "linear": _linear, "matmul": _matmul, "reshape": _reshape},
    **{"moveaxis": _moveaxis, "permute_dims": _permute_dims, "take": _take, "take_along_axis": _take_along_axis},
}
