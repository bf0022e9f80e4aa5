"""Recording: a backend that runs each word on another backend and notes it.

What it hands out are `RecordedArray`s, which support Python's operators, indexing and the usual methods, so that
``x * xp.sigmoid(x)`` is noted whole. From the notes a derivative is found (`layerkit.program.derivative`).

A recorder over a recorder records derivatives of derivatives. Recorded arrays point at their recorder, and the recorder
at plain values only, so that no reference cycle keeps a step's values alive.
"""

from __future__ import annotations

import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from layerkit.errors import BackendError, MixedBackendsError
from layerkit.overriding import override
from layerkit.program.array import OWN_WORDS, Place, RecordedArray
from layerkit.xp import words
from layerkit.xp.backend import Backend
from layerkit.xp.state import Variable, reading, standing_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from typing import Self


class Note(NamedTuple):
    """One word as it was called: recorded arguments stand as `Place`s."""

    word: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: list[Place]
    """The places among the arguments, in any order."""
    outputs: tuple[Place, ...]
    rule: Any = None
    """The derivative, for a function that is no word."""
    nested: bool = False
    """Whether arguments are lists or tuples, in which arrays may stand."""
    several: bool = False
    """Whether the word returned a tuple, of as many arrays as there are outputs."""


class Recorder(Backend):
    """Runs words on `base`, and notes them.

    Args:
        base: the backend that computes.
    """

    name = "recorder"
    differentiates: ClassVar[bool] = True
    """Whether it records to find a derivative."""

    def __init__(self, base: Backend) -> None:  # no super(): words are methods of the class here, see below
        self.base = base
        self.device = ""
        self.depth: int = base.depth + 1 if isinstance(base, Recorder) else 1
        self.values: list[Any] = []
        self.notes: list[Note] = []
        self.variables: dict[Variable, Place] = {}
        self._states: dict[Place, tuple[Variable, Any]] = {}

    @property
    def root(self) -> Backend:
        """The backend that computes, below all recorders."""
        return self.base.root if isinstance(self.base, Recorder) else self.base

    def chain(self) -> list[Recorder]:
        """Return this recorder and those below it."""
        below = self.base.chain() if isinstance(self.base, Recorder) else []
        return [self, *below]

    # Values.

    def input(self, value: Any) -> RecordedArray:
        """Return a value of `base` as a recorded one, to which derivatives can be taken."""
        place = Place(len(self.values))
        self.values.append(value)
        return RecordedArray(self, place, value)

    def variable(self, variable: Variable, value: Any) -> RecordedArray:
        """Return a variable's array as a recorded one: the same each time."""
        if variable not in self.variables:
            # What stands in for a variable is recorded below already.
            below = isinstance(self.base, Recorder) and type(value) is not RecordedArray
            state = self.base.variable(variable, value) if below else value  # type: ignore[attr-defined]
            # What may be assigned to in this pass is copied: its derivative takes the values that were read.
            kept = state if variable.trainable else self.base.astype(state, state.dtype)
            place = self.variables[variable] = self.input(kept).place
            self._states[place] = variable, state
        place = self.variables[variable]
        return RecordedArray(self, place, self.values[place])

    def forget(self, variables: Iterable[Variable]) -> None:
        """Read these variables anew when they are next asked for: they may have been assigned to."""
        for variable in variables:
            self.variables.pop(variable, None)

    def note(self, word: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a word on `base`, and note it if any argument is recorded."""
        inputs: list[Place] = []
        plain: list[Any] = []
        noted: list[Any] = []
        nested = False
        for value in args:
            kind = _type(value)
            if kind is Variable:  # as it stands in a list of weights, say
                value = value.narrowed()
                kind = _type(value)
            if kind is RecordedArray and value.recorder is self:
                inputs.append(value.place)
                noted.append(value.place)
                plain.append(value.value)
            elif kind in _WALKED:
                nested = True
                plain.append(self._split(value, inputs))
                noted.append(self._place(value))
            else:
                plain.append(value)
                noted.append(value)
        if not kwargs:
            result = find(self.base, word)(*plain)
        else:
            result = find(self.base, word)(*plain, **{key: self._split(value, inputs) for key, value in kwargs.items()})
        if not inputs:
            return result
        if kwargs:
            kwargs = {key: self._place(value) for key, value in kwargs.items()}
        return self._noted(word, tuple(noted), kwargs, inputs, result, nested=nested)

    def note_function(self, function: Any, rule: Any, args: tuple[Any, ...]) -> Any:
        """Run a function on values of `base`, and note it with its derivative."""
        inputs: list[Place] = []
        result = function(*[self._split(value, inputs) for value in args])
        return self._noted(function.__name__, tuple(map(self._place, args)), {}, inputs, result, rule, nested=True)

    def read(self, array: RecordedArray, how: str, *, lost: bool = False) -> Any:
        """Return the value of a recorded array, for use on the host: from there on it is a constant.

        Args:
            array: of this recorder.
            how: what the user wrote, for messages.
            lost: whether a recorder above has asked for it that looks for a derivative.
        """
        below = array.value
        if type(below) is not RecordedArray:
            return below
        return below.recorder.read(below, how, lost=lost or how in AS_NUMBERS)

    def _noted(
        self,
        word: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        inputs: list[Place],
        result: Any,
        rule: Any = None,
        *,
        nested: bool,
    ) -> Any:
        if not is_several(result):
            output = self.input(result)
            self.notes.append(Note(word, args, kwargs, inputs, (output.place,), rule, nested))
            return output
        outputs = [self.input(value) for value in result]
        self.notes.append(
            Note(word, args, kwargs, inputs, tuple(output.place for output in outputs), rule, nested, several=True)
        )
        kept = [None if value is None else output for value, output in zip(result, outputs, strict=True)]
        return getattr(result, "_make", _type(result))(kept)  # a tuple, a list, or a tuple with names

    def _split(self, value: Any, inputs: list[Place]) -> Any:
        """Return an argument with values in place of what is recorded here; its places are added to `inputs`."""
        kind = _type(value)
        if kind is RecordedArray:
            if value.recorder is self:
                inputs.append(value.place)
                return value.value
            self._check_below(value.recorder)
        elif kind is tuple:
            return tuple([self._split(item, inputs) for item in value])
        elif kind is list:
            return [self._split(item, inputs) for item in value]
        return value

    def _plain(self, value: Any) -> Any:
        return self._split(value, [])

    def _check_below(self, recorder: Recorder) -> None:
        base = self.base
        while isinstance(base, Recorder):
            if base is recorder:
                return
            base = base.base
        if self in recorder.chain():
            raise MixedBackendsError(
                f"A recorded array belongs to one recording. Received: an array of a recording inside this one. "
                f"{OWN_WORDS}"
            )
        raise MixedBackendsError(
            "A recorded array belongs to one recording. Received: an array of another, which has ended or runs "
            "beside. Return it from the function that is recorded instead of keeping it."
        )

    def _place(self, value: Any) -> Any:
        kind = _type(value)
        if kind is RecordedArray:
            return value.place if value.recorder is self else value
        if kind is tuple:
            return tuple([self._place(item) for item in value])
        return [self._place(item) for item in value] if kind is list else value

    def resolved(self, value: Any) -> Any:
        """Return what was noted with values in the places."""
        kind = _type(value)
        if kind is Place:
            return self.values[value]
        if kind is tuple:
            return tuple([self.resolved(item) for item in value])
        return [self.resolved(item) for item in value] if kind is list else value

    # The machine words: state is real, and written at once.

    @override
    def __getattr__(self, word: str) -> Any:
        if word.startswith("__") or "base" not in self.__dict__:
            raise AttributeError(word)
        return getattr(self.base, word)

    @classmethod
    @override
    def open(cls, device: str) -> Self:  # noqa: ARG003 - the contract gives it
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
        self.base.assign(self._written(state), self._plain(value))

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        self.base.assign_add(self._written(state), self._plain(value))

    def _written(self, state: Any) -> Any:
        """Return the state behind a recorded array. Who reads the variable again finds the new values."""
        if isinstance(state, RecordedArray) and state.recorder is self and state.place in self._states:
            variable, state = self._states[state.place]
            self.variables.pop(variable, None)
            return state
        return self._plain(state)

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        return self.base.random_bits(key, self._plain(counter), size)

    @override
    def view(self, state: Any, start: int, stop: int, shape: tuple[int, ...]) -> Any:
        return self.base.view(self._plain(state), start, stop, shape)

    @override
    def synchronize(self) -> None:
        self.base.synchronize()

    def result_type(self, *arrays_and_dtypes: Any) -> Any:
        """Return the dtype of a computation with these."""
        return self.base.result_type(*self._plain(arrays_and_dtypes))

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

        def method(*args: Any, **kwargs: Any) -> Any:
            return self._recorder.note(f"{self._name}.{word}", args, kwargs)

        return method


def _method(word: str) -> Any:
    def method(self: Recorder, *args: Any, **kwargs: Any) -> Any:
        return self.note(word, args, kwargs)

    method.__name__ = word
    return method


def is_several(value: Any) -> bool:
    """Tell whether a word has returned several arrays."""
    return isinstance(value, (tuple, list))


# `type`, to type checkers: what is compared here is no class that they know.
_type: Callable[[Any], Any] = type

# Ways to read a value that compute with it: a branch on it, or its text, has no derivative.
AS_NUMBERS = ("float()", "item()", "tolist()")

# What occurs among arguments that has to be looked into.
_WALKED = frozenset((RecordedArray, tuple, list))

# Methods of the class, not closures of the instance, which would be reference cycles.
for _word in (*words.FUNCTIONS, *words.NETWORK_WORDS):
    setattr(Recorder, _word, _method(_word))


def find(xp: Backend, word: str) -> Any:
    """Return a word of a backend by its name: "exp", "linalg.inv", or "getitem", which stands for ``x[key]``."""
    if "." not in word and word != "getitem":
        return getattr(xp, word)
    if word == "getitem":
        return functools.partial(getitem, xp)
    group, _, name = word.rpartition(".")
    return getattr(getattr(xp, group), name)


def getitem(xp: Backend, x: Any, key: Any) -> Any:
    """Return ``x[key]``, where either may be recorded."""
    return xp.note("getitem", (x, key), {}) if isinstance(xp, Recorder) else x[key]


# The recorder at work in this thread or task: what is recorded inside is recorded by it too.
_active: ContextVar[Recorder | None] = ContextVar("layerkit_recorder", default=None)


def active_recorder() -> Recorder | None:
    """Return the recorder at work, None if there is none."""
    return _active.get()


class recording:  # noqa: N801 - it reads as what it does
    """Within a ``with`` block, variables read as recorded arrays: ``self.kernel`` is noted and differentiated too."""

    __slots__ = ("_active", "_reading", "_recorder")

    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder

    def __enter__(self) -> None:
        recorder = self._recorder
        hand_out = None if recorder is None else recorder.variable
        around = getattr(reading.get(), "__self__", None)
        if hand_out is not None and type(around) is standing_in:
            hand_out = around.under(hand_out)
        self._reading = reading.set(hand_out)
        self._active = _active.set(recorder)

    def __exit__(self, *exception: object) -> None:
        reading.reset(self._reading)
        _active.reset(self._active)


def not_recording() -> recording:
    """Within a ``with`` block, variables read as plain arrays: what runs there is no part of what is recorded."""
    return recording(None)


# Whether results are wanted alone: nobody will ask for a derivative.
_inference: ContextVar[bool] = ContextVar("layerkit_inference", default=False)


class inference:  # noqa: N801 - it reads as what it does
    """Within a ``with`` block, layers and losses that give `call` alone are called as they are, and not recorded."""

    __slots__ = ("_token",)

    def __enter__(self) -> None:
        self._token = _inference.set(True)

    def __exit__(self, *exception: object) -> None:
        _inference.reset(self._token)


def infers() -> bool:
    """Tell whether an `inference` block is entered."""
    return _inference.get()
