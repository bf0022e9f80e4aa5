"""State: the arrays that outlive a step. Weights, optimizer slots, metric totals, counters."""

from __future__ import annotations

import math
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from layerkit.changes import changes as changes
from layerkit.changes import note_change, note_move, note_write
from layerkit.checks import check_name
from layerkit.errors import ShapeError
from layerkit.xp.conversion import as_numbers
from layerkit.xp.words import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from layerkit.xp.backend import Array, Backend


_NOTHING: dict[str, Any] = {}


# What an array of state is handed out as, while something is recorded: the recorder's array.
reading: ContextVar[Callable[[Any, Array], Any] | None] = ContextVar("layerkit_reading", default=None)


class Awaited(Protocol):
    """What a file holds, of which a model is made just now. Each method refuses what the file does not speak for."""

    def weight(self, path: str, shape: tuple[int, ...], dtype: str) -> None:
        """Called before a weight is made, whose values will come from the file."""
        ...

    def state(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Called before state is allocated."""
        ...

    def probe(self, shape: tuple[int, ...]) -> None:
        """Called before zeros are allocated that a layer is tried on."""
        ...


# Whoever makes a model of a file sets it, so that what a file says is compared before anything is allocated.
awaiting: ContextVar[Awaited | None] = ContextVar("layerkit_awaiting", default=None)


class standing_in:  # noqa: N801 - it reads as what it does
    """Within a ``with`` block, a variable reads as another array: a layer runs with it in the place of its weight.

    What is recorded within sees it as the variable, so that the gradient of the one is found as that of the other.

    Args:
        variable: whose place is taken.
        array: of its shape, a value of the backend at work.
    """

    __slots__ = ("_token", "array", "recorder", "variable")

    def __init__(self, variable: Variable, array: Array, recorder: Callable[[Any, Array], Any] | None = None) -> None:
        self.variable = variable
        self.array = array
        self.recorder = recorder

    def __enter__(self) -> None:
        self._token = reading.set(type(self)(self.variable, self.array, reading.get()).hand_out)

    def __exit__(self, *exception: object) -> None:
        reading.reset(self._token)

    def hand_out(self, state: Any, array: Array) -> Any:
        """Return what a variable reads as: see `reading`."""
        if state is self.variable:
            return self.array
        return array if self.recorder is None else self.recorder(state, array)

    def under(self, recorder: Callable[[Any, Array], Any]) -> Callable[[Any, Array], Any]:
        """Return what a variable reads as in a recording within the block."""

        def hand_out(state: Any, array: Array) -> Any:
            return recorder(state, self.array if state is self.variable else array)

        return hand_out


class State:
    """An array of fixed address, changed only by `assign`."""

    path: str
    _array: Array

    @property
    def array(self) -> Array:
        """The array itself, on its backend, whether or not something is recorded."""
        return self._array

    @property
    def value(self) -> Array:
        """The array itself, on its backend; under recording, the recorder's. To change it, use `assign`."""
        hand_out = reading.get()
        return self._array if hand_out is None else hand_out(self, self._array)


class Stretch(State):
    """The elements from `start` to `stop` of flat state, shaped: state that shares its memory."""

    def __init__(self, xp: Backend, flat: Array, start: int, stop: int, shape: tuple[int, ...], path: str) -> None:
        self._array = xp.view(flat, start, stop, shape)
        self.shape = shape
        self.path = path


class Variable(State):
    """A named array of fixed address, changed only by `assign`.

    ::

        weight = layerkit.Variable(np.zeros((3, 2)), name="weight")

    Args:
        values: initial values, host data of the variable's shape; a copy of them is held.
        dtype: ``"float32"``, ``"int64"``, …; by default float32 for numbers with a fraction, and that of `values` else.
        name: its own name: ``"kernel"``.
        trainable: whether it is a parameter, to be changed by an optimizer.
        xp: the backend that holds it; by default that of `use_backend`.
        lazy: whether `values`, an array of the backend, stand in for the state until there is need of it.

    Raises:
        DataError: `values` are no numbers.
    """

    xp: Backend

    def __init__(
        self,
        values: Any,
        dtype: str | None = None,
        name: str = "variable",
        *,
        trainable: bool = True,
        xp: Backend | None = None,
        lazy: bool = False,
    ) -> None:
        self.untold: Any = None
        """The values on the host, where no dtype was told for numbers with a fraction: a layer gives them its own."""
        if dtype is None or xp is None:
            told = dtype
            values, dtype, xp = _as_variable(values, dtype, xp)
            if told is None and "float" in dtype:
                self.untold = xp.to_numpy(values).copy()
        awaited = awaiting.get()
        if awaited is not None:
            awaited.state(name, tuple(getattr(values, "shape", ())), dtype)
        self.xp = xp
        self._array = values if lazy else xp.state(values, dtype)
        self._is_lazy = lazy
        self.shape: tuple[int, ...] = tuple(self._array.shape)
        self.size = math.prod(self.shape)
        self.dtype = dtype
        self.name = name
        self.path = name
        self._trainable = trainable
        # A penalty that is added to the loss, and a projection that is applied after each update.
        self.regularizer: Any = None
        self.constraint: Any = None
        self.compute_dtype: str | None = None
        """In which dtype a layer computes with it, if in another."""
        # Where the array lies, once `pack` has put it into a flat one beside others.
        self.flat: Array | None = None
        self.offset = 0
        note_move()

    def narrowed(self) -> Array:
        """Return the value in the dtype in which its layer computes."""
        value = self.value
        xp = getattr(value, "recorder", self.xp)  # what is recorded notes that it was converted
        return value if self.compute_dtype is None else xp.astype(value, getattr(xp, self.compute_dtype))

    @property
    def trainable(self) -> bool:
        """Whether it is a parameter, to be changed by an optimizer; setting it takes effect with the next step."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        if value is not self._trainable:
            self._trainable = value
            note_move()

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def numpy(self) -> Any:
        """Return a copy, as a `numpy.ndarray`."""
        return self.xp.to_numpy(self._array).copy()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        values = self.numpy()
        return values if dtype is None else values.astype(dtype)

    def converted(self, value: Any) -> Array:
        """Return new values, from the host or from this backend, as an array of the variable's dtype.

        Raises:
            DataError: they are no numbers.
            ShapeError: their shape is not that of the variable.
        """
        if isinstance(value, Variable):
            value = value.value if value.xp is self.xp else value.numpy()
        array = as_numbers(self.xp, value, f"{self.path}: new values")
        if tuple(array.shape) != self.shape:
            raise ShapeError(
                f"{self.path}: new values must have the shape of the old, {self.shape}. "
                f"Received: shape {tuple(array.shape)}"
            )
        return self.xp.asarray(array, self.dtype)

    def assign(self, value: Any) -> None:
        """Write new values: see `converted`."""
        self.make()
        self.xp.assign(self._array, self.converted(value))
        note_write()

    def make(self) -> None:
        """Have state of its own from now on, if it was made lazily."""
        if self._is_lazy:
            self.settle(self.xp, self.xp.state(self._array, self.dtype))

    def assign_add(self, value: Any) -> None:
        """Add to the values: see `converted`."""
        self.xp.assign_add(self._array, self.converted(value))
        note_write()

    def assign_sub(self, value: Any) -> None:
        """Subtract from the values: see `converted`."""
        self.xp.assign_add(self._array, -self.converted(value))
        note_write()

    def move(self, xp: Backend) -> None:
        """Move to another backend, out of any flat array."""
        move((self,), xp)

    def settle(self, xp: Backend, array: Array, flat: Array | None = None, offset: int = 0) -> None:
        """Live in this array from now on, which may lie in a flat one."""
        self.xp, self._array, self.flat, self.offset = xp, array, flat, offset
        self._is_lazy = False
        note_move()

    def cast(self, dtype: str) -> None:
        """Change the dtype of the array, which moves out of any flat one; it is computed with in that dtype, too."""
        self.compute_dtype = None
        self.dtype = dtype
        self.settle(self.xp, self.xp.state(self.numpy(), dtype))

    def place(self, flat: Array, offset: int) -> None:
        """Move into a flat array of the same backend, from `offset` on."""
        view = self.xp.view(flat, offset, offset + self.size, self.shape)
        if awaiting.get() is None:  # else it is about to be read from a file
            self.xp.assign(view, self._array)
        self.settle(self.xp, view, flat, offset)

    def __deepcopy__(self, memo: dict[int, Any]) -> Variable:
        return _rebuilt(*self.__reduce__()[1])

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        rules = self.regularizer, self.constraint, self.compute_dtype, self.untold
        return _rebuilt, (self.xp, self.numpy(), self.dtype, self.name, self.trainable, self.path, rules)

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}, trainable={self.trainable}>"


def _as_variable(values: Any, dtype: str | None, xp: Backend | None) -> tuple[Any, str, Backend]:
    """Return what a user has left out of a variable's arguments."""
    from layerkit.xp.registry import backend  # which opens backends, whose words know state

    xp = xp or backend()
    if dtype is not None:
        check_name("Variable", DTYPES, dtype=dtype)
    values = as_numbers(xp, values, "Variable: values")
    if dtype is None:
        exact = xp.isdtype(values.dtype, ("bool", "integral"))
        dtype = str(values.dtype).rpartition(".")[2] if exact else "float32"
    return values, dtype, xp


def _rebuilt(
    xp: Backend, values: Any, dtype: str, name: str, trainable: bool, path: str, rules: tuple[Any, ...]
) -> Variable:
    variable = Variable(values, dtype, name, trainable=trainable, xp=xp)
    variable.path = path
    variable.regularizer, variable.constraint, variable.compute_dtype, variable.untold = rules
    return variable


def pack(variables: Iterable[Variable], xp: Backend) -> None:
    """Lay variables of this backend side by side in one flat array for each dtype: one call of a word reaches them all.

    Those that already lie in a flat array stay there: an address, once given, is kept.
    """
    fresh = [variable for variable in variables if variable.xp is xp and variable.flat is None]
    for variable, flat, offset in _laid_out(fresh, xp):
        variable.place(flat, offset)


def _laid_out(variables: Iterable[Variable], xp: Backend) -> list[tuple[Variable, Array, int]]:
    """Return a place for each variable in a new flat array for its dtype."""
    groups: dict[str, list[Variable]] = {}
    for variable in variables:
        groups.setdefault(variable.dtype, []).append(variable)
    places: list[tuple[Variable, Array, int]] = []
    for dtype, group in groups.items():
        size = sum(variable.size for variable in group)
        # One zero: as many as there are elements would be read from memory of their own.
        flat = xp.state(xp.broadcast_to(xp.zeros((1,), dtype=getattr(xp, dtype)), (size,)), dtype)
        offset = 0
        for variable in group:
            places.append((variable, flat, offset))
            offset += variable.size
    return places


def move(variables: Iterable[Variable], xp: Backend, *, together: Iterable[Variable] = ()) -> None:
    """Move variables to another backend: all, or where one cannot be (for lack of memory, say), none.

    Args:
        variables: those that have an array of their own there.
        xp: the backend.
        together: those that are laid side by side there, as by `pack`.
    """
    packed = {variable: None for variable in together if variable.xp is not xp}
    single = {variable: None for variable in variables if variable.xp is not xp and variable not in packed}
    ready: list[tuple[Variable, Array, Array | None, int]] = []
    for variable, flat, offset in _laid_out(packed, xp):
        view = xp.view(flat, offset, offset + variable.size, variable.shape)
        xp.assign(view, xp.asarray(variable.xp.to_numpy(variable.array), variable.dtype))
        ready.append((variable, view, flat, offset))
    ready += [(each, xp.state(each.xp.to_numpy(each.array), each.dtype), None, 0) for each in single]
    for variable, array, flat, offset in ready:
        variable.settle(xp, array, flat, offset)


class HoldsState:
    """Objects whose variables read as plain arrays: ``self.kernel`` is the array, so that formulas stay formulas.

    Assigning a `Variable` to an attribute binds it; assigning anything else to the attribute later writes new values.
    """

    _bound: dict[str, Variable]

    _instead: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Attributes that others of the field have, each with what to do instead."""

    def __setattr__(self, attribute: str, value: Any) -> None:
        bound = self.__dict__.setdefault("_bound", {})
        if isinstance(value, Variable):
            if bound.get(attribute) is not value:
                bound[attribute] = value
                note_change()
        elif attribute in bound:
            bound[attribute].assign(value)
        else:
            super().__setattr__(attribute, value)

    def __getattr__(self, attribute: str) -> Any:
        # Only reached where no plain attribute of this name exists.
        bound: dict[str, Variable] = self.__dict__.get("_bound", _NOTHING)
        if attribute in bound:
            variable = bound[attribute]
            return variable.value if variable.compute_dtype is None else variable.narrowed()
        of_class = getattr(type(self), attribute, None)
        if isinstance(of_class, property) and of_class.fget is not None:
            return of_class.fget(self)  # it has just raised an AttributeError, and does so again
        if attribute.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no attribute {attribute!r}")
        raise AttributeError(f"{type(self).__name__} has no attribute {attribute!r}{self._hint(attribute)}")

    def _hint(self, attribute: str) -> str:
        for absent, remedy in self._instead:
            if attribute == absent:
                return f". {remedy}"
        import difflib  # only errors need it

        known = [
            name
            for name in (*self.__dict__.get("_bound", _NOTHING), *dir(type(self)), *self.__dict__)
            if not name.startswith("_")
        ]
        close = difflib.get_close_matches(attribute, known, n=1, cutoff=0.8)
        if close:
            return f". Did you mean {close[0]!r}?"
        return ". Weights are made by build." if self.__dict__.get("built") is False else ""
