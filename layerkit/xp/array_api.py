"""Any array library that follows the Array API standard, as a backend: what a plug-in starts from.

``backends/README.md`` shows how.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import numpy as np

from layerkit.errors import BackendUnavailableError, MixedBackendsError
from layerkit.overriding import override
from layerkit.xp import words
from layerkit.xp.backend import Backend, check_value
from layerkit.xp.cells import Cell, present, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Self

_FLOATING = frozenset(("empty", "eye", "fftfreq", "linspace", "ones", "rfftfreq", "zeros"))
"""Creation words that make floating-point numbers where they are told no dtype."""


_HOST_MEMORY = (1, 3)
"""DLPack's device types of the host's memory, also where it is pinned."""


class ArrayApiBackend(Backend):
    """An array library that follows the Array API standard 2024.12, on one of its devices.

    This is a backend::

        import foo
        from layerkit.xp.array_api import ArrayApiBackend


        class FooBackend(ArrayApiBackend):
            name = "foo"
            library = foo

    Devices are those that the standard's inspection (``__array_namespace_info__``) tells of. Data comes from the host
    by ``asarray``, and goes there by DLPack. Where no dtype is said, floating-point numbers are of float64, as NumPy's
    are, so that a layer computes the same on every library. State is an array that is written to, or where the
    library's arrays cannot be, a `Cell`.

    A method of the name of a word replaces it.
    """

    library: ClassVar[Any]
    """The namespace whose words are those of the standard: ``foo``, or ``array_api_compat.torch``."""

    writable: ClassVar[bool | None] = None
    """Whether elements of its arrays can be assigned to; None tries it."""

    def __init__(self, place: Any) -> None:
        self.place = place
        """The library's own device, as its creation words take it; None where it knows none."""
        super().__init__(self.library, "" if place is None else self.device_name(place))
        for word in words.CREATION_ON_DEVICE:
            setattr(self, word, self._creating(word, getattr(self, word)))
        nothing: Any = self.empty((0,))
        self._array_class: type = type(nothing)
        self._on_host = nothing.__dlpack_device__()[0] in _HOST_MEMORY
        self._cells = not (_can_be_written(self.zeros((1,))) if self.writable is None else self.writable)
        if self._cells:
            for word in (*words.FUNCTIONS, "result_type", *words.NETWORK_WORDS):
                setattr(self, word, reading(getattr(self, word)))

    @override
    def __getattr__(self, word: str) -> Any:
        found: Any = super().__getattr__(word)
        if word not in ("linalg", "fft"):
            return found
        group = cast("dict[str, Any]", vars(found))
        for name in ("fftfreq", "rfftfreq"):
            if name in group:
                group[name] = self._creating(name, group[name])
        if self._cells:
            group.update({name: reading(function) for name, function in group.items()})
        return found

    def _creating(self, word: str, create: Callable[..., Any]) -> Callable[..., Any]:
        on_device = {} if self.place is None else {"device": self.place}

        def created(*args: Any, dtype: Any = None, **kwargs: Any) -> Any:
            if dtype is None:
                given = (*args, *kwargs.values())
                if any(isinstance(value, complex) for value in given):
                    dtype = self.complex128
                elif word in _FLOATING or any(isinstance(value, float) for value in given):
                    dtype = self.float64
            return create(*args, dtype=dtype, **on_device, **kwargs)

        return created

    # Devices.

    @classmethod
    def places(cls) -> Iterable[Any]:
        """Return the library's devices, the default one first."""
        inspect = getattr(cls.library, "__array_namespace_info__", None)
        if inspect is None:
            return (None,)
        found = inspect()
        default = found.default_device()
        # JAX says None, and counts it among the devices, for whichever it will choose.
        return sorted((place for place in found.devices() if place is not None), key=lambda place: place != default)

    @classmethod
    def device_name(cls, place: Any) -> str:
        """Return what stands after the colon for a device: ``str(place)`` in lower case."""
        return str(place).lower()

    @classmethod
    @override
    def open(cls, device: str) -> Self:
        places = {"" if place is None else cls.device_name(place): place for place in cls.places()}
        chosen = next((name for name in (device or next(iter(places)), f"{device}:0") if name in places), None)
        if chosen is None:
            known = " or ".join(f"'{cls.name}:{name}'" if name else f"'{cls.name}'" for name in places)
            raise BackendUnavailableError(
                f"backend {cls.name!r}: the device must be one of this machine's. Received: '{cls.name}:{device}'. "
                f"Use {known}."
            )
        return cls(places[chosen])

    @override
    def devices(self) -> Sequence[str]:
        return tuple("cpu" if place is None else self.device_name(place) for place in self.places())

    @property
    @override
    def on_host(self) -> bool:
        return self._on_host

    @override
    def owns(self, array: Any) -> bool:
        if isinstance(array, Cell):
            return array.xp is self
        return isinstance(array, self._array_class) and (self.place is None or array.device == self.place)

    # Between host and device.

    @override
    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        if self.owns(values):
            wanted = values.dtype if dtype is None else getattr(self, dtype)
            return values if values.dtype == wanted else self.astype(values, wanted)
        if isinstance(values, (self._array_class, Cell)):
            place = values.xp if isinstance(values, Cell) else f"{self.name}:{self.device_name(values.device)}"
            raise MixedBackendsError(
                f"One computation takes arrays of one backend. Received: an array of {place} in a computation on "
                f"{self}. Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
            )
        return self.from_numpy(np.array(values, dtype=dtype, order="C"))

    def from_numpy(self, array: Any) -> Any:
        """Bring a new `numpy.ndarray`, which nobody else writes to, onto the device."""
        on_device = {} if self.place is None else {"device": self.place}
        return self.namespace.asarray(array, **on_device)

    def from_dlpack(self, x: Any, /, **kwargs: Any) -> Any:
        """Return an array of another library as one of this device, with no copy if it lies there."""
        array = self.namespace.from_dlpack(x, **kwargs)
        return array if self.owns(array) else self.namespace.from_dlpack(x, device=self.place, **kwargs)

    @override
    def to_numpy(self, array: Any) -> Any:
        return np.from_dlpack(present(array), device="cpu")

    # State.

    @override
    def state(self, values: Any, dtype: str) -> Any:
        return Cell(self, present(self.asarray(values, dtype))) if self._cells else super().state(values, dtype)

    @override
    def view(self, state: Any, start: int, stop: int, shape: tuple[int, ...]) -> Any:
        return state.view(start, stop, shape) if self._cells else super().view(state, start, stop, shape)

    @override
    def assign(self, state: Any, value: Any) -> None:
        if not self._cells:
            super().assign(state, value)
            return
        check_value("assign", state, value)
        state.write(self._filled(state, value))

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        if not self._cells:
            super().assign_add(state, value)
            return
        check_value("assign_add", state, value)
        state.write(self._filled(state, state + value))

    def _filled(self, state: Any, value: Any) -> Any:
        value = self.asarray(present(value)) if hasattr(value, "shape") else self.full((), value, dtype=state.dtype)
        return self.broadcast_to(self.astype(value, state.dtype), tuple(state.shape))


def _can_be_written(array: Any) -> bool:
    try:
        array[...] = 1.0
    except (TypeError, ValueError, AttributeError, RuntimeError):
        return False
    return True
