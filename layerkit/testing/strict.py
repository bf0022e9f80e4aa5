"""A backend that enforces the contract with array libraries: NumPy underneath, the rules of a GPU on top."""

from __future__ import annotations

import contextlib
import functools
import operator
from dataclasses import astuple, dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakValueDictionary

import numpy as np

from layerkit.errors import BackendError, BackendUnavailableError, MixedBackendsError, ShapeError, UnsupportedWordError
from layerkit.overriding import override
from layerkit.xp import words
from layerkit.xp.backend import Backend
from layerkit.xp.registry import backend_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence


class StrictArray:
    """An array of the strict backend: it does what the Array API standard says of arrays, and nothing else.

    Every operator and word makes a new, read-only value. State (`is_state`) is written by ``xp.assign`` alone.

    A value may lie in the memory of state, as ``xp.reshape(w, …)`` or ``w.T`` does with NumPy and need not elsewhere.
    So it may be used until that state is assigned; from then on, backends differ on what it holds, and it is refused.
    """

    __slots__ = ("__weakref__", "inner", "is_state", "memory", "shares_state", "stale", "xp")
    __array_ufunc__ = None  # NumPy's own operators and ufuncs leave arrays of this class alone
    __hash__ = None  # pyright: ignore[reportAssignmentType]

    def __init__(self, xp: StrictBackend, memory: Any, inner: Any = None, *, is_state: bool = False) -> None:
        self.xp = xp
        self.memory = memory if is_state else memory.view()
        self.memory.flags.writeable = is_state
        self.inner = xp.library.asarray(memory) if inner is None else inner  # refuses dtypes that the standard lacks
        self.is_state = is_state
        self.shares_state = is_state
        self.stale = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.memory.shape

    @property
    def ndim(self) -> int:
        return self.memory.ndim

    @property
    def size(self) -> int:
        return self.memory.size

    @property
    def dtype(self) -> Any:
        return self.inner.dtype

    @property
    def device(self) -> str:
        return self.xp.device

    @property
    def T(self) -> StrictArray:  # noqa: N802 - the standard's name
        return self.xp.run(operator.attrgetter("T"), self)

    @property
    def mT(self) -> StrictArray:  # noqa: N802 - the standard's name
        return self.xp.run(operator.attrgetter("mT"), self)

    def __getitem__(self, key: Any, /) -> StrictArray:
        return self.xp.run(operator.getitem, self, key)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return self.xp.namespace

    def __getattr__(self, attribute: str) -> NoReturn:
        if attribute.startswith("__") or attribute in StrictArray.__slots__:  # asked for by copy and pickle
            raise AttributeError(attribute)
        remedy = f"Write xp.{attribute}(array, …)" if attribute in words.FUNCTIONS else "Use a word of xp"
        raise UnsupportedWordError(
            f"{self.xp}: an array has the attributes of the Array API standard only. Received: array.{attribute}. "
            f"{remedy}."
        )

    def __repr__(self) -> str:
        return f"<{'state' if self.is_state else 'value'} of {self.xp}: {self.memory!r}>"


def _forward(function: Callable[..., Any]) -> Callable[..., StrictArray]:
    def operate(self: StrictArray, *other: object) -> StrictArray:
        if other and isinstance(getattr(other[0], "recorder", None), Backend):
            return NotImplemented  # the recorded array's own operator notes what is done, and runs it here
        return self.xp.run(function, self, *other)

    return operate


def _reflected(function: Callable[..., Any]) -> Callable[..., StrictArray]:
    def operate(self: StrictArray, other: object) -> StrictArray:
        return self.xp.run(function, other, self)

    return operate


def _refused(rule: str, name: str, remedy: str) -> Callable[..., NoReturn]:
    def refuse(self: StrictArray, *_: object, **__: object) -> NoReturn:
        raise BackendError(f"{self.xp}: {rule} Received: {name} of an array of shape {self.shape}. {remedy}")

    return refuse


for _name in (
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
):
    _function = getattr(operator, f"__{_name}__")
    setattr(StrictArray, f"__{_name}__", _forward(_function))
    setattr(StrictArray, f"__r{_name}__", _reflected(_function))
    _refusal = _refused("a value is never written again.", f"__i{_name}__", "Write x = x + y, or assign to state.")
    setattr(StrictArray, f"__i{_name}__", _refusal)
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "neg", "pos", "abs", "invert"):
    setattr(StrictArray, f"__{_name}__", _forward(getattr(operator, f"__{_name}__")))
for _name in ("float", "int", "bool", "complex", "index", "iter", "array", "dlpack", "dlpack_device", "buffer"):
    _refusal = _refused("a step never reads on the host.", f"__{_name}__", "Outside of a step, use xp.to_numpy.")
    setattr(StrictArray, f"__{_name}__", _refusal)
StrictArray.__setitem__ = _refused(  # pyright: ignore[reportAttributeAccessIssue]
    "a value is never written again.", "__setitem__", "Use xp.where, or xp.assign for state."
)


@dataclass
class Transfers:
    """How often, and how many bytes, went from the host to the device and back."""

    to_device: int = 0
    to_device_bytes: int = 0
    to_host: int = 0
    to_host_bytes: int = 0

    def reset(self) -> None:
        """Count from 0 again."""
        self.__init__()

    @contextlib.contextmanager
    def counting(self) -> Generator[Transfers]:
        """Count what goes over within a ``with`` block; the numbers are there when it ends.

        ::

            with xp.transfers.counting() as epoch:
                model.fit(x, y)
            assert epoch.to_host == 1
        """
        before, within = astuple(self), Transfers()
        try:
            yield within
        finally:
            within.__init__(*(now - then for now, then in zip(astuple(self), before, strict=True)))


class StrictBackend(Backend):
    """NumPy, as if it were a device far away: for tests, on a machine without one.

    It has two devices, "0" and "1". Array words are those of the package `array_api_strict`, so that only the standard
    (2024.12) exists; network words are their references. Refused, each with a sentence: writing to a value, reading one
    on the host, words and attributes that the standard lacks, mixtures of dtypes, arrays of another backend or device,
    assigning a value of another dtype to state, and values left over in state that was assigned since (see
    `StrictArray`). `transfers` counts what crosses between host and device.
    """

    name = "strict"

    def __init__(self, device: str) -> None:
        try:
            self.library = import_module("array_api_strict")
        except ImportError as error:
            raise BackendUnavailableError(
                f"backend 'strict': the package array_api_strict must be installed. Received: {error}. "
                f'Run: pip install "layerkit[testing]".'
            ) from error
        # The package knows one version at a time; nothing else in a test run should want another.
        self.library.set_array_api_strict_flags(api_version="2024.12")
        self._array_class: type = type(self.library.asarray(0))
        groups = {
            group: self._words(getattr(self.library, group), listed)
            for group, listed in (("linalg", words.LINALG), ("fft", words.FFT))
        }
        super().__init__(SimpleNamespace(**vars(self._words(self.library, words.ARRAY_WORDS)), **groups), device)
        self.transfers = Transfers()
        self._in_state_memory: WeakValueDictionary[int, StrictArray] = WeakValueDictionary()

    def _words(self, source: Any, listed: Sequence[str]) -> SimpleNamespace:
        return SimpleNamespace(**{word: self._word(getattr(source, word)) for word in listed if hasattr(source, word)})

    def _word(self, word: Any) -> Any:
        return functools.wraps(word)(functools.partial(self.run, word)) if callable(word) else word

    def run(self, word: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a word of the underlying library with arrays of this backend; what it returns is wrapped."""
        in_state = [
            array for array in (*args, *kwargs.values()) if isinstance(array, StrictArray) and array.shares_state
        ]
        given = [self._unwrapped(value) for value in args]
        named = {name: self._unwrapped(value) for name, value in kwargs.items()}
        return self._wrapped(word(*given, **named), in_state)

    def _unwrapped(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(map(self._unwrapped, value))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return self._own(value).inner if _is_array(value) else value

    def _own(self, array: Any) -> StrictArray:
        """Return the array, if it may be used here."""
        if not self.owns(array):
            owner = array.xp if isinstance(array, StrictArray) else backend_of(array) or type(array).__module__
            raise MixedBackendsError(
                f"One computation takes arrays of one backend. Received: an array of {owner} "
                f"in a computation on {self}. Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
            )
        if array.stale:
            raise BackendError(
                f"{self}: a value that lies in the memory of state must not be used after that state was assigned. "
                f"Received: an array of shape {array.shape}. Use it before assign, or copy it: xp.astype(x, x.dtype)."
            )
        return array

    def _wrapped(self, result: Any, in_state: list[StrictArray]) -> Any:
        if isinstance(result, self._array_class):
            array = StrictArray(self, np.asarray(result), result)
            if any(np.shares_memory(array.memory, state.memory) for state in in_state):
                array.shares_state = True
                self._in_state_memory[id(array)] = array
            return array
        if isinstance(result, (list, tuple)):
            items = [self._wrapped(item, in_state) for item in result]  # pyright: ignore[reportUnknownVariableType]
            return type(result)(*items) if hasattr(result, "_fields") else type(result)(items)  # pyright: ignore
        return result

    @classmethod
    @override
    def open(cls, device: str) -> StrictBackend:
        if device not in ("", "0", "1"):
            raise BackendUnavailableError(
                f"backend 'strict': the device must be '0' or '1'. Received: 'strict:{device}'. Use backend='strict:0'."
            )
        return cls(device or "0")

    @override
    def devices(self) -> Sequence[str]:
        return ("0", "1")

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, StrictArray) and array.xp is self

    @override
    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        if self.owns(values):
            wanted = values.dtype if dtype is None else getattr(self, dtype)
            return values if values.dtype == wanted else self.astype(values, wanted)
        return StrictArray(self, self._from_host(values, dtype))

    def _from_host(self, values: Any, dtype: str | None) -> Any:
        if isinstance(values, StrictArray):
            self._own(values)  # is on the other device, and refused
        host = np.array(values, dtype=dtype, order="C")  # a copy: a device has memory of its own
        self.transfers.to_device += 1
        self.transfers.to_device_bytes += host.nbytes
        return host

    @override
    def to_numpy(self, array: Any) -> Any:
        host = self._own(array).memory.copy()
        host.flags.writeable = False  # with other backends it may be the array itself
        self.transfers.to_host += 1
        self.transfers.to_host_bytes += host.nbytes
        return host

    @override
    def state(self, values: Any, dtype: str) -> Any:
        if self.owns(values):
            memory = np.array(self._own(values).memory, dtype=dtype, order="C")
        else:
            memory = self._from_host(values, dtype)
        return StrictArray(self, memory, is_state=True)

    @override
    def view(self, state: Any, start: int, stop: int, shape: tuple[int, ...]) -> Any:
        return StrictArray(self, self._state_memory(state)[start:stop].reshape(shape), is_state=True)

    @override
    def assign(self, state: Any, value: Any) -> None:
        memory = self._state_memory(state)
        np.copyto(memory, self._assignable(state, value))
        self._assigned(memory)

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        memory = self._state_memory(state)
        np.add(memory, self._assignable(state, value), out=memory)
        self._assigned(memory)

    def _state_memory(self, state: Any) -> Any:
        if not getattr(state, "is_state", False):
            raise BackendError(
                f"{self}: only state is written. Received: a value of shape {getattr(state, 'shape', ())}. "
                f"Make state with xp.state."
            )
        return self._own(state).memory

    def _assignable(self, state: StrictArray, value: Any) -> Any:
        if type(value) in (bool, int, float):
            return value
        memory = self._own(value).memory
        if value.shape != state.shape:
            raise ShapeError(
                f"assign: the value must have the shape of the state, {state.shape}. Received: shape {value.shape}"
            )
        if value.dtype != state.dtype:
            raise BackendError(
                f"{self}: the value must have the dtype of the state, {state.dtype}. Received: {value.dtype}. "
                f"Convert it with xp.astype."
            )
        return memory

    def _assigned(self, memory: Any) -> None:
        for array in list(self._in_state_memory.values()):
            array.stale = array.stale or np.shares_memory(array.memory, memory)


def _is_array(value: object) -> bool:
    # A number of NumPy passes for one of Python, but decides on the dtype of the result.
    return isinstance(value, (StrictArray, np.generic)) or backend_of(value) is not None
