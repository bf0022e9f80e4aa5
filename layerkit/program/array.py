"""Arrays under recording."""

from __future__ import annotations

import math
import operator
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError, BackendError
from layerkit.nested import leaves
from layerkit.xp import words

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.program.recorder import Recorder


class Place(int):
    """Where a recorded value stands among all values of its recorder."""

    __slots__ = ()


class RecordedArray:
    """A value under recording: what is done with it is noted by its recorder."""

    __slots__ = ("__weakref__", "place", "recorder", "value")
    __hash__ = None  # pyright: ignore[reportAssignmentType] - == compares elements, as for any array

    def __init__(self, recorder: Recorder, place: Place, value: Any) -> None:
        self.recorder = recorder
        self.place = place
        self.value = value
        """The value itself, on the recorder's base."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the axes."""
        return tuple(self.value.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def dtype(self) -> Any:
        """The dtype, of the base."""
        return self.value.dtype

    @property
    def device(self) -> Any:
        """The device, of the base."""
        return getattr(self.value, "device", "cpu")

    @property
    def T(self) -> RecordedArray:  # noqa: N802 - the standard's name
        """The transpose: axes in reverse order."""
        return self.recorder.permute_dims(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> RecordedArray:  # noqa: N802 - the standard's name
        """The transpose of the last two axes."""
        return self.recorder.matrix_transpose(self)

    def __array_namespace__(self, api_version: str | None = None) -> Recorder:
        return self.recorder

    def __getitem__(self, key: Any) -> RecordedArray:
        return self.recorder.note("getitem", (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        raise BackendError(
            "A value is never written to. Received: an assignment to elements of a recorded array. "
            "Build a new value, for instance with xp.where."
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[index] for index in range(len(self)))

    def reshape(self, *shape: Any) -> RecordedArray:
        """Return the same elements in another shape."""
        return self.recorder.reshape(self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def transpose(self, *axes: Any) -> RecordedArray:
        """Return the axes in another order: reversed, if none is given."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return self.recorder.permute_dims(self, tuple(order)) if order else self.T

    def astype(self, dtype: Any) -> RecordedArray:
        """Return the values in another dtype."""
        return self.recorder.astype(self, dtype)

    def dot(self, other: Any) -> RecordedArray:
        """Return NumPy's product: over the last axis of the first, and the last but one of the second."""
        return _dot(self, other)

    def squeeze(self, axis: Any = None) -> RecordedArray:
        """Return the elements without axes of length 1: all of them, or these."""
        ones = tuple(n for n, length in enumerate(self.shape) if length == 1)
        return self.recorder.squeeze(self, axis=ones if axis is None else axis)

    def flatten(self) -> RecordedArray:
        """Return all elements in one axis."""
        return self.recorder.reshape(self, (-1,))

    ravel = flatten

    def clip(self, min: Any = None, max: Any = None) -> RecordedArray:
        """Return the elements, held within bounds."""
        return self.recorder.clip(self, min, max)

    def cumsum(self, axis: int | None = None) -> RecordedArray:
        """Return the sums so far, along an axis, or over all elements."""
        return self.recorder.cumulative_sum(self.flatten() if axis is None else self, axis=axis or 0)

    def cumprod(self, axis: int | None = None) -> RecordedArray:
        """Return the products so far, along an axis, or over all elements."""
        return self.recorder.cumulative_prod(self.flatten() if axis is None else self, axis=axis or 0)

    # What reads the value on the host.

    def item(self) -> Any:
        """Return the one element, as a number of Python's."""
        return self.recorder.read(self, "item()").item()

    def tolist(self) -> Any:
        """Return the elements, as nested lists of Python's numbers."""
        return self.recorder.read(self, "tolist()").tolist()

    def __float__(self) -> float:
        return float(self.recorder.read(self, "float()"))

    def __int__(self) -> int:
        return int(self.recorder.read(self, "int()"))

    def __index__(self) -> int:
        return operator.index(self.recorder.read(self, "use as an index"))

    def __bool__(self) -> bool:
        return bool(self.recorder.read(self, "a branch on, or bool()"))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        if not self.recorder.differentiates:
            array = self.recorder.root.to_numpy(self.recorder.read(self, "numpy.asarray()"))
            return array if dtype is None else array.astype(dtype)
        raise ArgumentError(
            "A recorded array cannot become a NumPy array: its derivative would be lost. Received: a NumPy function "
            "that has no word, or numpy.asarray. Use the words of xp."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = _NUMPY_NAMES.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or name not in words.FUNCTIONS or kwargs:
            if method == "__call__":
                raise _no_word(ufunc.__name__, kwargs)
            raise _no_word(f"{ufunc.__name__}.{method}", kwargs, OWN_WORDS)  # of NumPy's backend, most likely
        return recorder_of(inputs).note(name, inputs, {})

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        called: str = function.__name__
        group: str = (function.__module__ or "").removeprefix("numpy").lstrip(".")
        if called in _NUMPY_OWN and group in ("", "linalg"):
            return _NUMPY_OWN[called](*args, **kwargs)
        name: str = _NUMPY_NAMES.get(called, called)
        listed = {"": words.FUNCTIONS, "linalg": words.LINALG, "fft": words.FFT}.get(group, ())
        if name not in listed or not {"out", "where", "initial"}.isdisjoint(kwargs):
            raise _no_word(f"{group}.{called}".lstrip("."), kwargs)
        arrays, names = _NUMPY_ORDER.get(name, (len(args), ()))
        named = dict(zip(names, args[arrays:], strict=False))
        kwargs = {("correction" if key == "ddof" else key): value for key, value in {**named, **kwargs}.items()}
        rest = args[:arrays] + args[arrays + len(names) :]
        return recorder_of((args, kwargs)).note(f"{group}.{name}".lstrip("."), rest, kwargs)

    def __repr__(self) -> str:
        return f"<recorded {self.value!r}>"

    def __str__(self) -> str:
        return f"<recorded {self.recorder.read(self, 'print() or str()')!s}>"


OWN_WORDS = "Use the words of the xp that comes with the array: grad(lambda xp, x: xp.sum(x))."


def _no_word(name: str, kwargs: dict[str, Any], remedy: str = "Use the words of xp.") -> ArgumentError:
    given = f" with {', '.join(kwargs)}" if kwargs else ""
    return ArgumentError(
        f"A NumPy function on a recorded array must have a word of the same meaning. "
        f"Received: numpy.{name}{given}. {remedy}"
    )


# Names of NumPy that are not those of the standard.
_NUMPY_NAMES = {
    **{"absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh"},
    **{"arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "power": "pow", "true_divide": "divide"},
    **{"concatenate": "concat", "amax": "max", "amin": "min", "conjugate": "conj", "invert": "bitwise_invert"},
}

# How many arguments NumPy's functions take before those that the standard takes by keyword.
_NUMPY_ORDER: dict[str, tuple[int, tuple[str, ...]]] = {
    **dict.fromkeys(("all", "any", "argmax", "argmin", "argsort", "concat", "expand_dims", "flip"), (1, ("axis",))),
    **dict.fromkeys(("max", "mean", "min", "prod", "sort", "stack", "std", "sum", "unstack", "var"), (1, ("axis",))),
    **dict.fromkeys(("repeat", "roll", "take", "take_along_axis", "tensordot"), (2, ("axis",))),
    **dict.fromkeys(("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"), (1, ("n", "axis", "norm"))),
    **dict.fromkeys(("fftn", "ifftn", "rfftn", "irfftn"), (1, ("s", "axes", "norm"))),
    **{"tensordot": (2, ("axes",)), "tril": (1, ("k",)), "triu": (1, ("k",)), "diff": (1, ("n", "axis"))},
}


def _dot(a: Any, b: Any) -> Any:
    xp = recorder_of((a, b))
    if not getattr(a, "ndim", 0) or not getattr(b, "ndim", 0):
        return xp.multiply(a, b)
    return xp.matmul(a, b) if b.ndim == 1 else xp.tensordot(a, b, axes=((a.ndim - 1,), (b.ndim - 2,)))


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    if ord is None:
        return x.recorder.linalg.vector_norm(x, axis=axis, keepdims=keepdims)
    if axis is None and x.ndim == 2:
        return x.recorder.linalg.matrix_norm(x, ord=ord, keepdims=keepdims)
    if isinstance(axis, int) or x.ndim == 1:
        return x.recorder.linalg.vector_norm(x, ord=ord, axis=axis, keepdims=keepdims)
    raise _no_word("linalg.norm", {"ord": ord, "axis": axis})


def _transpose(a: RecordedArray, axes: Any = None) -> RecordedArray:
    return a.transpose(*(axes or ()))


def _einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Any:  # noqa: ARG001 - no part of its meaning
    return recorder_of(operands).einsum(subscripts, *operands)


# Functions of NumPy that mean something else than the word of the standard, or have none.
_NUMPY_OWN: dict[str, Callable[..., Any]] = {
    **{"cumprod": RecordedArray.cumprod, "cumsum": RecordedArray.cumsum, "ravel": RecordedArray.flatten},
    **{"squeeze": RecordedArray.squeeze, "transpose": _transpose, "dot": _dot, "norm": _norm},
    "einsum": _einsum,
    **{name: operator.attrgetter(name) for name in ("ndim", "shape", "size")},
}


def recorder_of(values: Any) -> Recorder:
    """Return the innermost recorder among arguments: the one that all others lie below."""
    return max(
        (leaf.recorder for leaf in leaves(values) if isinstance(leaf, RecordedArray)), key=operator.attrgetter("depth")
    )


def _operator(word: str, *, reverse: bool = False) -> Any:
    def method(self: RecordedArray, other: Any) -> Any:
        recorder = self.recorder
        if type(other) is RecordedArray and other.recorder is not recorder:
            recorder = recorder_of((self, other))
        return recorder.note(word, (other, self) if reverse else (self, other), {})

    return method


def _one_sided(word: str) -> Any:
    def method(self: RecordedArray) -> Any:
        return self.recorder.note(word, (self,), {})

    return method


def _along(word: str) -> Any:
    def method(self: RecordedArray, axis: Any = None, **kwargs: Any) -> Any:
        return self.recorder.note(word, (self,), {"axis": axis, **kwargs})

    method.__name__ = word
    method.__doc__ = f"Return `xp.{word}` of the array, along an axis, several, or all."
    return method


for _name, _word in {
    **{"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "floordiv": "floor_divide"},
    **{"mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or"},
    **{"xor": "bitwise_xor", "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift"},
}.items():
    setattr(RecordedArray, f"__{_name}__", _operator(_word))
    setattr(RecordedArray, f"__r{_name}__", _operator(_word, reverse=True))
for _name, _word in {
    **{"eq": "equal", "ne": "not_equal", "lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"},
}.items():
    setattr(RecordedArray, f"__{_name}__", _operator(_word))
for _name, _word in {"neg": "negative", "pos": "positive", "abs": "abs", "invert": "bitwise_invert"}.items():
    setattr(RecordedArray, f"__{_name}__", _one_sided(_word))
for _word in ("all", "any", "argmax", "argmin", "max", "mean", "min", "prod", "std", "sum", "var"):
    setattr(RecordedArray, _word, _along(_word))
