"""The contract with an array library."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from numbers import Number
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from layerkit.errors import ArgumentError, BackendUnavailableError, ShapeError, UnsupportedWordError
from layerkit.names import nearest
from layerkit.xp import philox, reference, words

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

_HERE = nullcontext()


class Array(Protocol):
    """What a value of any backend can do: the array object of the Array API standard."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> Any: ...
    @property
    def T(self) -> Array: ...  # noqa: N802 - the standard's name
    def __getitem__(self, key: Any, /) -> Array: ...
    def __neg__(self) -> Array: ...
    def __add__(self, other: Array | float, /) -> Array: ...
    def __radd__(self, other: Array | float, /) -> Array: ...
    def __sub__(self, other: Array | float, /) -> Array: ...
    def __rsub__(self, other: Array | float, /) -> Array: ...
    def __mul__(self, other: Array | float, /) -> Array: ...
    def __rmul__(self, other: Array | float, /) -> Array: ...
    def __truediv__(self, other: Array | float, /) -> Array: ...
    def __rtruediv__(self, other: Array | float, /) -> Array: ...
    def __floordiv__(self, other: Array | float, /) -> Array: ...
    def __pow__(self, other: Array | float, /) -> Array: ...
    def __matmul__(self, other: Array, /) -> Array: ...
    def __and__(self, other: Array | int, /) -> Array: ...
    def __or__(self, other: Array | int, /) -> Array: ...
    def __invert__(self) -> Array: ...
    def __eq__(self, other: object, /) -> Array: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def __ne__(self, other: object, /) -> Array: ...  # pyright: ignore[reportIncompatibleMethodOverride]
    def __lt__(self, other: Array | float, /) -> Array: ...
    def __le__(self, other: Array | float, /) -> Array: ...
    def __gt__(self, other: Array | float, /) -> Array: ...
    def __ge__(self, other: Array | float, /) -> Array: ...


class Backend(ABC):
    """One array library on one device: what layers, losses and optimizers are written against, as `xp`.

    It offers three lists of words (`layerkit.xp.words`). Array words are taken from a namespace that follows the Array
    API standard. Network words have a reference; a backend replaces one by assigning a faster function. Machine words
    are the methods below. A word returns a new value; only `assign` and `assign_add` write, and only into state.

    What is written out here suits a library on the host whose arrays can be written to, so that this is a backend::

        class FooBackend(Backend):
            name = "foo"

            def __init__(self):
                super().__init__(foo)

            def to_numpy(self, array):
                return foo.to_numpy(array)

    Args:
        namespace: the array library, under the names of the standard.
        device: which device, in the library's own counting; shown after the colon of ``"cupy:1"``.
    """

    name: ClassVar[str]

    tile_size: ClassVar[int | None] = None
    """Over how many elements a chain of elementwise words is best run at a time; None for all of them."""

    brings_batches: ClassVar[bool] = False
    """Whether what `capture` returns brings batches to the device itself: it takes arrays of the host, and
    `layerkit.xp.rows.Rows`, in the place of arrays. `asarray` then takes both, too."""

    replays_to_trust: ClassVar[int] = 1
    """How often what `capture` returns is compared with the step itself, from the same state, before it is trusted: as
    often as it takes to become what it is then on."""

    expansions: ClassVar[Mapping[str, Callable[..., Any]]] = {}
    """Words that a captured step holds as what they consist of, for `capture` to plan: ``f(xp, *arguments)``."""

    linear = reference.linear
    linear_grad = reference.linear_grad
    sigmoid = reference.sigmoid
    softplus = reference.softplus
    erfc = reference.erfc
    softmax = reference.softmax
    log_softmax = reference.log_softmax
    one_hot = reference.one_hot
    scatter_add = reference.scatter_add
    einsum = reference.einsum

    linalg: Any
    fft: Any

    def __init__(self, namespace: Any, device: str = "") -> None:
        self.namespace = namespace
        self.device = device
        # As attributes of the instance, array words cost one dictionary look-up. What the class defines, it replaces.
        for word in (*words.ARRAY_WORDS, *words.HALF_DTYPES):
            if hasattr(namespace, word) and not hasattr(type(self), word):
                setattr(self, word, getattr(namespace, word))

    def __getattr__(self, word: str) -> Callable[..., Any]:
        if word.startswith("__") or "namespace" not in self.__dict__:
            raise AttributeError(word)
        if word in ("linalg", "fft"):  # on first use: some libraries load them lazily, at a cost
            source = getattr(self.namespace, word)
            listed = words.LINALG if word == "linalg" else words.FFT
            group: Any = SimpleNamespace(**{name: getattr(source, name) for name in listed if hasattr(source, name)})
            setattr(self, word, group)
            return group
        if word in words.ARRAY_WORDS:
            raise UnsupportedWordError(f"{self}: this array library does not offer the word. Received: xp.{word}.")
        known = (*words.ARRAY_WORDS, *words.NETWORK_WORDS, *words.MACHINE_WORDS)
        raise UnsupportedWordError(
            f"{self}: a word must be one of the Array API standard or of layerkit's own. "
            f"Received: xp.{word}. {nearest(word, known) if len(word) < 40 else ''}"
        )

    def __str__(self) -> str:
        return f"{self.name}:{self.device}" if self.device else self.name

    def __repr__(self) -> str:
        return f"<backend {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        from layerkit.xp.registry import backend

        return backend, (str(self),)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    @classmethod
    def open(cls, device: str) -> Self:
        """Return the backend on this device; ``""`` is the default one.

        Raises:
            BackendUnavailableError: the library, its driver or the device is missing; one sentence with the remedy.
        """
        if device not in ("", "cpu"):
            raise BackendUnavailableError(
                f"backend {cls.name!r}: the device must be 'cpu'. Received: '{cls.name}:{device}'. "
                f"Use backend={cls.name!r}."
            )
        return cls()  # pyright: ignore[reportCallIssue] - a backend knows its own namespace

    def devices(self) -> Sequence[str]:
        """Return the names that `open` takes, as they are found on this machine."""
        return ("cpu",)

    @property
    def on_host(self) -> bool:
        """Whether arrays lie in the memory of the host, which other libraries read without a copy."""
        return self.device in ("", "cpu")

    def memory(self) -> tuple[int, int] | None:
        """Return the free and all bytes of the device's own memory; None where it has none of its own."""
        return None

    def free_memory(self) -> int | None:
        """Return how many bytes can still be had for arrays; None where that is not known."""
        memory = self.memory()
        return None if memory is None else memory[0]

    def on_device(self) -> AbstractContextManager[Any]:
        """Return a context in which operators between arrays (``x * y``) compute on this device, as words always do."""
        return _HERE

    def owns(self, array: Any) -> bool:
        """Tell whether `array` is one of this backend's, on this device."""
        return isinstance(array, type(self.empty((0,))))

    def asarray(self, values: Any, dtype: str | None = None) -> Array:
        """Bring host data (a NumPy array, a list, a number) onto the device; arrays of this backend stay as they are.

        The result may share memory with `values`: it is an input, to be read only.
        """
        return self.namespace.asarray(values, dtype=None if dtype is None else getattr(self, dtype))

    @abstractmethod
    def to_numpy(self, array: Array) -> Any:
        """Bring an array to the host, as a `numpy.ndarray`. It may share memory with `array`."""

    def state(self, values: Any, dtype: str) -> Array:
        """Return a new state array that holds a copy of `values`: fixed address, written by `assign` only.

        `values` are host data, or an array of this backend; their elements lie row by row.
        """
        values = self.asarray(values, dtype)
        state = self.empty(values.shape, dtype=values.dtype)
        state[...] = values
        return state

    def view(self, state: Array, start: int, stop: int, shape: tuple[int, ...]) -> Array:
        """Return the elements from `start` to `stop` of flat state, shaped, as state that shares its memory."""
        return self.reshape(state[start:stop], shape)

    def assign(self, state: Any, value: Any) -> None:
        """Write `value` into state, in the dtype of the state. Shapes must be equal; a number fills.

        Raises:
            ShapeError: the shape is another. Values are never broadcast.
        """
        check_value("assign", state, value)
        state[...] = value

    def assign_add(self, state: Any, value: Any) -> None:
        """Add `value` to state, in place. Shapes must be equal; a number is added everywhere.

        Raises:
            ShapeError: the shape is another. Values are never broadcast.
        """
        check_value("assign_add", state, value)
        state[...] = state + value

    def in_tiles(
        self, function: Callable[[Backend, Sequence[Any], tuple[Any, ...]], None], states: Sequence[Any], scalars: Any
    ) -> None:
        """Call ``function(xp, states, scalars)``, which treats each element of flat state by itself.

        States longer than `tile_size` are cut: intermediate results then stay in the processor's cache.

        Args:
            function: it writes into the states it is given, and nowhere else, and draws no random numbers.
            states: flat state, all of one length.
            scalars: what else it computes with: arrays of shape (), numbers and None, in tuples or not.
        """
        size, tile = states[0].shape[0], self.tile_size
        if tile is None or size <= tile:
            function(self, states, scalars)
            return
        for start in range(0, size, tile):
            stop = min(start + tile, size)
            function(self, [self.view(state, start, stop, (stop - start,)) for state in states], scalars)

    def random_bits(self, key: tuple[int, int], counter: Array, size: int) -> Array:
        """Return `size` words of 32 random bits, as a flat uint32 array: the same on every backend.

        They are the output of Philox 4x64-10 (Salmon, Moraes, Dror and Shaw, SC 2011) as `numpy.random.Philox` gives it
        from `counter` on (each block of four 64-bit words gives eight of 32 bits, low half first).

        Args:
            key: two 64-bit numbers.
            counter: state, a uint64 array of shape (): the number of the first block. It is not changed.
            size: how many.
        """
        return philox.random_bits(self, key, counter, size)

    def capture(self, program: Any) -> Callable[..., Any]:
        """Return a function of a step's inputs that runs a recorded step (`layerkit.program.Program`) again.

        What is written out here runs it word by word. A backend that can do more with the whole step replaces it.
        """
        return program.on(self)

    def room_for_data(self) -> int:
        """Return how many bytes of a data set `fit` may keep on the device: 0 where the host's memory is its own."""
        return 0

    def synchronize(self) -> None:  # noqa: B027 - hosts have nothing to wait for
        """Wait until the device has done all that was asked of it."""


def check_value(word: str, state: Array, value: Any) -> None:
    """Check that `value` can be written into state: an array of the same shape, or a number.

    Raises:
        ShapeError: the shape is another.
        ArgumentError: it is neither an array nor a number.
    """
    shape = getattr(value, "shape", None)
    if shape is None:
        if not isinstance(value, (int, float, Number)):  # these first: an abstract class takes longer to ask
            raise ArgumentError(
                f"{word}: the value must be an array or a number. Received: {value!r}. Make it one with xp.asarray."
            )
    elif shape not in (state.shape, ()):
        raise ShapeError(f"{word}: the value must have the shape of the state, {state.shape}. Received: shape {shape}")
