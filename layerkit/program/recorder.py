"""Recording: a backend that runs each word on another backend and notes it.

What it hands out are `RecordedArray`s, which support Python's operators, indexing and the usual methods, so that
``x * xp.sigmoid(x)`` is noted whole. From the notes a derivative is found (`layerkit.program.derivative`).

A recorder over a recorder records derivatives of derivatives. Recorded arrays point at their recorder, and the recorder at
plain values only, so that no reference cycle keeps a step's values alive.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import Self, override

from layerkit.errors import ArgumentError, BackendError, MixedBackendsError
from layerkit.xp import words
from layerkit.xp.backend import Backend
from layerkit.xp.state import reading

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager

    from layerkit.xp.state import Variable


class Place(NamedTuple):
    """Where a recorded value stands among all values of its recorder."""

    index: int


class Note(NamedTuple):
    """One word as it was called: recorded arguments stand as `Place`s."""

    word: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[int, ...]
    """The places of the results: more than one where the word returns a tuple."""
    rule: Any = None
    """The derivative, for a function that is no word."""


class Recorder(Backend):
    """Runs words on `base`, and notes them.

    Args:
        base: the backend that computes.
    """

    name = "recorder"

    def __init__(self, base: Backend) -> None:  # no super(): words are methods of the class here, see below
        self.base = base
        self.device = ""
        self.values: list[Any] = []
        self.notes: list[Note] = []
        self.variables: dict[Variable, int] = {}

    @property
    def root(self) -> Backend:
        """The backend that computes, below all recorders."""
        return self.base.root if isinstance(self.base, Recorder) else self.base

    # Values.

    def input(self, value: Any) -> RecordedArray:
        """Return a value of `base` as a recorded one, to which derivatives can be taken."""
        self.values.append(value)
        return RecordedArray(self, len(self.values) - 1)

    def variable(self, variable: Variable, value: Any) -> RecordedArray:
        """Return a variable's array as a recorded one: the same each time."""
        if variable not in self.variables:
            self.variables[variable] = self.input(value).index
        return RecordedArray(self, self.variables[variable])

    def note(self, word: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a word on `base`, and note it if any argument is recorded."""
        plain = _replaced(args, self._plain)
        plain_kwargs = {key: _replaced(value, self._plain) for key, value in kwargs.items()}
        result = _find(self.base, word)(*plain, **plain_kwargs)
        places = _replaced((args, kwargs), self._place)
        if not _has_place(places):
            return result
        several = isinstance(result, (tuple, list))
        outputs = tuple(self.input(value) for value in (result if several else (result,)))
        self.notes.append(Note(word, places[0], places[1], tuple(output.index for output in outputs)))
        if not several:
            return outputs[0]
        return type(result)(*outputs) if hasattr(result, "_fields") else type(result)(outputs)

    def note_function(self, function: Any, rule: Any, args: tuple[Any, ...]) -> RecordedArray:
        """Run a user's function on plain values, and note it with its derivative."""
        output = self.input(function(*_replaced(args, self._plain)))
        self.notes.append(Note(function.__name__, _replaced(args, self._place), {}, (output.index,), rule))
        return output

    def _plain(self, value: Any) -> Any:
        if isinstance(value, RecordedArray):
            if value.recorder is self:
                return self.values[value.index]
            if not self._is_above(value.recorder):
                raise MixedBackendsError(
                    "A recorded array belongs to one recording. Received: an array of another, which has ended or runs "
                    "beside. Return it from the function that is recorded instead of keeping it."
                )
        return value

    def _is_above(self, recorder: Recorder) -> bool:
        base = self.base
        while isinstance(base, Recorder):
            if base is recorder:
                return True
            base = base.base
        return False

    def _place(self, value: Any) -> Any:
        return Place(value.index) if isinstance(value, RecordedArray) and value.recorder is self else value

    def resolved(self, value: Any) -> Any:
        """Return what was noted with plain values in the places."""
        return _replaced(value, lambda item: self.values[item.index] if isinstance(item, Place) else item)

    # The machine words: state is real, and written at once.

    @override
    def __getattr__(self, word: str) -> Any:
        if word.startswith("__") or "base" not in self.__dict__:
            raise AttributeError(word)
        return getattr(self.base, word)

    @classmethod
    @override
    def open(cls, device: str) -> Self:
        raise BackendError("A recorder is made over a backend: Recorder(base). Received: its name.")

    @override
    def devices(self) -> Sequence[str]:
        return self.base.devices()

    @override
    def on_device(self) -> AbstractContextManager[Any]:
        return self.base.on_device()

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, RecordedArray) and array.recorder is self

    @override
    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        if isinstance(values, RecordedArray):
            return values if dtype is None else self.astype(values, getattr(self, dtype))
        return self.base.asarray(values, dtype)

    @override
    def to_numpy(self, array: Any) -> Any:
        return self.base.to_numpy(self._plain(array))

    @override
    def state(self, values: Any, dtype: str) -> Any:
        return self.base.state(self._plain(values), dtype)

    @override
    def assign(self, state: Any, value: Any) -> None:
        self.base.assign(self._plain(state), self._plain(value))

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        self.base.assign_add(self._plain(state), self._plain(value))

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        return self.base.random_bits(key, self._plain(counter), size)

    @property
    def linalg(self) -> Any:
        """The linear algebra words of the standard."""
        return _Group(self, "linalg", words.LINALG)

    @property
    def fft(self) -> Any:
        """The Fourier transform words of the standard."""
        return _Group(self, "fft", words.FFT)

    @override
    def __str__(self) -> str:
        return f"a recorder over {self.base}"


class _Group:
    def __init__(self, recorder: Recorder, name: str, listed: tuple[str, ...]) -> None:
        self._recorder, self._name, self._listed = recorder, name, listed

    def __getattr__(self, word: str) -> Any:
        if word not in self._listed:
            return getattr(getattr(self._recorder.base, self._name), word)  # says what is wrong
        return lambda *args, **kwargs: self._recorder.note(f"{self._name}.{word}", args, kwargs)


def _method(word: str) -> Any:
    def method(self: Recorder, *args: Any, **kwargs: Any) -> Any:
        return self.note(word, args, kwargs)

    method.__name__ = word
    return method


# Methods of the class, not closures of the instance, which would be reference cycles.
for _word in (*words.FUNCTIONS, *words.NETWORK_WORDS):
    setattr(Recorder, _word, _method(_word))


def _find(base: Backend, word: str) -> Any:
    if word == "getitem":
        return _getitem
    target: Any = base
    for part in word.split("."):
        target = getattr(target, part)
    return target


def _getitem(x: Any, key: Any) -> Any:
    return x[key]


def _replaced(value: Any, replace: Any) -> Any:
    """Return a structure of tuples, lists and dictionaries with every item replaced."""
    if isinstance(value, tuple) and not isinstance(value, Place):
        return tuple(_replaced(item, replace) for item in value)  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [_replaced(item, replace) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return {key: _replaced(item, replace) for key, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return replace(value)


def _has_place(value: Any) -> bool:
    if isinstance(value, Place):
        return True
    if isinstance(value, (tuple, list)):
        return any(_has_place(item) for item in value)  # pyright: ignore[reportUnknownVariableType]
    return isinstance(value, dict) and any(_has_place(item) for item in value.values())  # pyright: ignore[reportUnknownVariableType]


class RecordedArray:
    """A value under recording: what is done with it is noted by its recorder."""

    __slots__ = ("__weakref__", "index", "recorder")
    __hash__ = None  # type: ignore[assignment]  # == compares elements, as for any array

    def __init__(self, recorder: Recorder, index: int) -> None:
        self.recorder = recorder
        self.index = index

    @property
    def value(self) -> Any:
        """The value itself, on the recorder's base."""
        return self.recorder.values[self.index]

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
        return int(self.value.size)

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

    def sum(self, axis: Any = None, **kwargs: Any) -> RecordedArray:
        """Return the sum over axes."""
        return self.recorder.sum(self, axis=axis, **kwargs)

    def mean(self, axis: Any = None, **kwargs: Any) -> RecordedArray:
        """Return the mean over axes."""
        return self.recorder.mean(self, axis=axis, **kwargs)

    def max(self, axis: Any = None, **kwargs: Any) -> RecordedArray:
        """Return the maximum over axes."""
        return self.recorder.max(self, axis=axis, **kwargs)

    def min(self, axis: Any = None, **kwargs: Any) -> RecordedArray:
        """Return the minimum over axes."""
        return self.recorder.min(self, axis=axis, **kwargs)

    def prod(self, axis: Any = None, **kwargs: Any) -> RecordedArray:
        """Return the product over axes."""
        return self.recorder.prod(self, axis=axis, **kwargs)

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
        """Return the matrix product."""
        return self @ other

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:  # noqa: FBT001 - NumPy's signature
        raise ArgumentError(
            "A recorded array cannot become a NumPy array: its derivative would be lost. Received: a NumPy function "
            "that has no word, or numpy.asarray. Use the words of xp."
        )

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        # Names of NumPy that are not those of the standard.
        name = _NUMPY_NAMES.get(ufunc.__name__, ufunc.__name__)
        if method != "__call__" or name not in words.FUNCTIONS:
            raise ArgumentError(
                f"A NumPy function on a recorded array must have a word of the same meaning. "
                f"Received: numpy.{ufunc.__name__}{'' if method == '__call__' else '.' + method}. Use the words of xp."
            )
        return _recorder_of(inputs).note(name, inputs, kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = _NUMPY_NAMES.get(function.__name__, function.__name__)
        module = function.__module__ or ""
        if module.endswith("linalg") and name in words.LINALG:
            name = f"linalg.{name}"
        elif name not in words.FUNCTIONS:
            raise ArgumentError(
                f"A NumPy function on a recorded array must have a word of the same meaning. "
                f"Received: numpy.{function.__name__}. Use the words of xp."
            )
        return _recorder_of((args, kwargs)).note(name, args, kwargs)

    def __repr__(self) -> str:
        return f"<recorded {self.value!r}>"


_NUMPY_NAMES = {
    **{"absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh"},
    **{"arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "power": "pow", "true_divide": "divide"},
    **{"concatenate": "concat", "transpose": "permute_dims", "amax": "max", "amin": "min", "conjugate": "conj"},
    **{"invert": "bitwise_invert", "cumsum": "cumulative_sum", "cumprod": "cumulative_prod", "dot": "matmul"},
}


def _recorder_of(values: Any) -> Recorder:
    """Return the innermost recorder among arguments: the one that all others lie below."""
    found: list[Recorder] = []

    def look(value: Any) -> Any:
        if isinstance(value, RecordedArray):
            found.append(value.recorder)
        return value

    _replaced(values, look)
    return max(found, key=_depth)


def _depth(recorder: Recorder) -> int:
    return 1 + _depth(recorder.base) if isinstance(recorder.base, Recorder) else 1


def _operator(word: str, *, reverse: bool = False) -> Any:
    def method(self: RecordedArray, other: Any) -> Any:
        recorder = _recorder_of((self, other))
        return recorder.note(word, (other, self) if reverse else (self, other), {})

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
    setattr(RecordedArray, f"__{_name}__", lambda self, word=_word: self.recorder.note(word, (self,), {}))


@contextlib.contextmanager
def recording(recorder: Recorder) -> Generator[Recorder]:
    """Within a ``with`` block, variables read as recorded arrays: ``self.kernel`` is noted and differentiated too."""
    token = reading.set(recorder.variable)
    try:
        yield recorder
    finally:
        reading.reset(token)
