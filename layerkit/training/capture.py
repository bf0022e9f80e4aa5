"""When a step is recorded, when it is trusted, and when it is replayed."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import pickle
import re
import sys
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from layerkit import program as recordings
from layerkit.changes import changes
from layerkit.dtype_policies import HALF
from layerkit.errors import CaptureError, CaptureWarning
from layerkit.nested import filled, leaves, nest_of
from layerkit.program import active_recorder
from layerkit.training.trouble import Copy, intercepted, stretches
from layerkit.xp.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from layerkit.program import Capture, Origin, Program, Refusal, Snapshot
    from layerkit.xp import Backend, Variable

MOST_PROGRAMS = 16
"""How many shapes of batches are kept in mind; of more, the oldest is forgotten."""

MOST_IN_VAIN = 8
"""How often a recording may be overtaken by a change of the model before it was of use."""

# Recording puts functions around methods of layers, which other threads may be recording too.
_lock = threading.RLock()


def _renew() -> None:
    """After a fork, begin with a free lock: the thread that may have held it is not there."""
    global _lock  # one for the process
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)


def recording() -> threading.RLock:
    """Return the lock within which steps are recorded, and models are built."""
    return _lock


def _no_array() -> object:
    """Return what no array is."""
    return _no_array


_NO_LAST: tuple[Any, Any, Any] = (None, _no_array, _no_array)


class Subject(Protocol):
    """Whose step it is."""

    @property
    def xp(self) -> Backend: ...
    @property
    def model(self) -> Any: ...
    def parts(self) -> list[Any]: ...
    def state(self) -> list[Variable]: ...
    def labelled(self) -> Iterable[tuple[Any, str, Origin]]: ...
    def is_shared(self) -> bool: ...
    def input_names(self, count: int) -> Sequence[str]: ...


class Learnt(NamedTuple):
    """What is known of the step for batches of some shapes."""

    program: Program
    run: Callable[..., Any] | None
    """The program, once it is trusted."""
    nest: Any
    """None for a step that returns an array or nothing; of several arrays, how they are nested."""

    def taken(self, *arrays: Any) -> Any:
        """Take the step by its program, which returns several arrays in a tuple."""
        assert self.run is not None  # noqa: S101 - who calls has looked
        result = self.run(*arrays)
        return result if self.nest is None else filled(self.nest, leaves(result))


class CapturedStep:
    """A step that is recorded twice, and from then on replayed.

    The first step of a new signature (shapes and dtypes) runs eagerly: many a signature is met once. The second runs
    recorded: it computes real values. The third is recorded again, and compared with the second, word by word; then the
    program is run from the same state, and compared with it.
    Where the step does something that a program would not repeat (it reads a value on the host, keeps something on a
    layer, draws from another source of random numbers), it runs eagerly from then on, after one warning.

    Args:
        name: "train", "test" or "predict".
        function: the step: ``function(xp, *arrays)``, which may return an array.
        subject: whose step it is: what it depends on, and the state that it reads and writes.
        jit_compile: "auto"; True to refuse a step that cannot be replayed, from the very first on; or False to run
            eagerly.
    """

    def __init__(self, name: str, function: Callable[..., Any], subject: Subject, jit_compile: bool | str) -> None:
        self.name = name
        self.function = function
        self.subject = subject
        self._strict = jit_compile is True
        self._eager = jit_compile is False
        self._met: set[Any] = set()
        self._learnt: dict[Any, Learnt] = {}
        self._snapshot: Snapshot | None = None
        self._addresses: list[Any] = []
        self._seen = -1
        self._last: tuple[Any, Any, Any] = _NO_LAST
        self._in_vain = 0

    def __getstate__(self) -> dict[str, Any]:
        # A program reads and writes the state of one model; a copy has another.
        return {**self.__dict__, "_learnt": {}, "_snapshot": None, "_addresses": [], "_seen": -1, "_last": _NO_LAST}

    def program(self) -> Any:
        """Return the program for the largest batches that were met; None if no step was recorded."""
        self._look_again()
        largest = max(self._learnt.values(), key=lambda learnt: learnt.program.size, default=None)
        if largest is None:
            return None
        return largest.run if largest.run is not None else self.subject.xp.capture(largest.program)

    def __call__(self, x: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Take the step, on arrays of the host or of the backend; targets and weights of several outputs in tuples."""
        try:
            if self._seen == changes():
                run, last_x, last_y = self._last
                if x is last_x() and y is last_y() and sample_weight is None:
                    return run(x, y)
            if type(y) is tuple:
                return self._take(x, *y, *(sample_weight or ()))
            return self._take(x, y, sample_weight)
        except MemoryError as error:
            from layerkit.training.memory import say_what_fits  # seldom needed

            say_what_fits(error, self, tuple(leaves((x, y, sample_weight))))
            raise

    def ready(self, x: Any) -> Callable[..., Any] | None:
        """Return what replays the step on such an array of the backend; None if it is to be looked at first."""
        if self._seen != changes() or self._snapshot is None or not self._snapshot.settled:
            return None
        learnt = self._learnt.get((self.subject.xp, (x.shape, x.dtype)))
        return None if learnt is None or learnt.run is None else learnt.taken

    def _take(self, *given: Any) -> Any:
        xp = self.subject.xp
        # What a replay brings itself is of known shape and dtype; only where there is none, it is brought here.
        brought = (Rows, np.ndarray) if xp.brings_batches else ()
        arrays = tuple([array if type(array) in brought else xp.asarray(array) for array in given if array is not None])
        if self._eager:
            return self._taken_plainly(xp, map(xp.asarray, arrays))
        if self._seen != changes():
            self._look_again()
        key = (xp, *[(array.shape, array.dtype) for array in arrays])
        learnt = self._learnt.get(key)
        if learnt is not None and learnt.run is not None:
            if len(arrays) == 2 and arrays[0] is given[0] and arrays[1] is given[1]:
                # The same arrays need no look at what they are. They are not kept from being freed.
                with contextlib.suppress(TypeError):
                    self._last = learnt.run, weakref.ref(given[0]), weakref.ref(given[1])
            return learnt.run(*arrays) if learnt.nest is None else learnt.taken(*arrays)
        arrays = tuple(map(xp.asarray, arrays))
        if (learnt is None and self._is_new(key)) or active_recorder() is not None:
            return self._taken_plainly(xp, arrays)
        with _lock:
            return self._learn(key, arrays)

    def _taken_plainly(self, xp: Backend, arrays: Iterable[Any]) -> Any:
        """Take the step as it is. What it is given may be the user's own, or be given again, and is read-only."""
        return self.function(xp, *map(_read_only, arrays))

    def _is_new(self, key: Any) -> bool:
        """Tell whether it is the first step of its signature: one that is not taken again is not worth recording."""
        if self._strict or key in self._met:
            return False
        if len(self._met) > MOST_PROGRAMS:
            self._met.clear()
        self._met.add(key)
        return True

    def look_again(self) -> None:
        """Before the next step, compare what it depends on with what it was, if that may change without being set."""
        if self._snapshot is not None and not self._snapshot.settled:
            self._seen = -1

    def sketched(self, given: Iterable[Any]) -> Program:
        """Record the step on some arrays, only to look at it: the state is then what it was before."""
        xp = self.subject.xp
        with _lock:
            copy = Copy(self.subject.state())
            try:
                with xp.on_device(), _labelling(self.subject.labelled()) as label:
                    arrays = tuple(map(xp.asarray, given))
                    return recordings.record(xp, self.function, arrays, self.name, label)[2]
            finally:
                copy.put_back()

    def _look_again(self) -> None:
        seen = changes()
        self._last = _NO_LAST
        if self._learnt and self._found() != (self._snapshot, self._addresses):
            if all(learnt.run is None for learnt in self._learnt.values()):
                self._in_vain += 1
                self._eager = self._in_vain > MOST_IN_VAIN
            self._learnt.clear()
        self._seen = seen

    def _found(self) -> tuple[Snapshot, list[Any]]:
        subject = self.subject
        return recordings.snapshot(subject.parts()), [
            (id(variable), id(variable.array)) for variable in subject.state()
        ]

    def _learn(self, key: Any, arrays: tuple[Any, ...]) -> Any:
        """Take the step, and learn what it is from a recording of it."""
        subject, xp, earlier = self.subject, self.subject.xp, self._learnt.get(key)
        if earlier is not None and earlier.run is not None:  # another thread has done it
            return earlier.taken(*arrays)
        if subject.is_shared():  # another thread writes the state that would be put back
            return self._taken_plainly(xp, arrays)
        before, addresses = self._found()
        place = _place_in_random_numbers()
        copy = Copy(subject.state())
        try:
            with _labelling(subject.labelled()) as label:
                names = subject.input_names(len(arrays))
                result, capture, program = recordings.record(xp, self.function, arrays, self.name, label, names)
        except Exception as error:
            copy.put_back()
            if recordings.snapshot(subject.parts()) != before:
                raise  # it would not do the same once more
            try:
                # Without the recording: if it was not at fault, the same is raised.
                result = self._taken_plainly(xp, arrays)
            except Exception:
                copy.put_back()
                raise
            return self._refused(copy, result, _from_error(error))
        refusal = capture.refusal or _set_in_step(before, recordings.snapshot(subject.parts()))
        if refusal is None and _place_in_random_numbers() != place:
            refusal = _refusal(_DRAWN)
        if refusal is None and earlier is not None:
            refusal = _not_the_same(earlier.program, program, xp)
        if refusal is not None:
            return self._refused(copy, result, refusal)
        run = None
        if earlier is not None:
            try:
                run = xp.capture(program)
            except Exception as error:  # noqa: BLE001 - whatever it is, the step itself has run well
                refusal = _refusal(f"{type(error).__name__} while it was planned: {error}")
                return self._refused(copy, result, refusal)
            copy.swap()
            begun = None  # to go back to: the other is of the end now
            if self._strict:
                begun = Copy(copy.variables)
            elif xp.replays_to_trust > 1:
                with contextlib.suppress(MemoryError):  # then one comparison must do
                    begun = Copy(copy.variables)
            refusal = self._compared(run, arrays, result, copy, begun, _tolerance(program))
            if refusal is not None:
                return self._refused(begun or copy, result, refusal)
        if not self._learnt:
            self._snapshot, self._addresses = before, addresses
        elif len(self._learnt) >= MOST_PROGRAMS and key not in self._learnt:
            del self._learnt[next(iter(self._learnt))]
        self._learnt.pop(key, None)
        self._learnt[key] = Learnt(program, run, nest_of(result))
        return result

    def _compared(
        self,
        run: Callable[..., Any],
        arrays: tuple[Any, ...],
        result: Any,
        copy: Copy,
        begun: Copy | None,
        tolerance: float,
    ) -> Refusal | None:
        """Run the program from the state before the step, and compare; the state is then that of the copy, after it."""
        xp, close = self.subject.xp, functools.partial(_close, tolerance=tolerance)
        different = None
        try:
            for number in range(1 if begun is None else xp.replays_to_trust):
                if begun is not None and number > 0:
                    begun.put_back()
                again = run(*arrays)
                different = copy.difference(close)
                pairs: Any = () if result is None else zip(leaves(result), leaves(again), strict=True)
                if different is None and not all(close(xp, *pair) for pair in pairs):
                    different = "the output"
                elif different is not None and begun is not None and self._errs_as_far(arrays, copy, begun, close):
                    different = None
                if different is not None:
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, the step itself has run well
            different = f"{type(error).__name__}: {error}"
        finally:
            copy.swap()
        if different is None:
            return None
        return _refusal(f"another result of the program than of the step: {different}")

    def _errs_as_far(
        self, arrays: tuple[Any, ...], copy: Copy, begun: Copy, close: Callable[[Backend, Any, Any], bool]
    ) -> bool:
        """Tell whether the step itself ends about as far off, where it begins with other last bits.

        A gradient that is 0 but for rounding, as that of a bias before a BatchNormalization, becomes a change of any
        size under an optimizer that divides by it, as Adam does.
        """
        xp = self.subject.xp
        parted = copy.parted(close)
        if not all(xp.isdtype(copy.variables[number].array.dtype, "real floating") for number in parted):
            return False
        off = {number: copy.distance(number) for number in parted}
        begun.put_back()
        for variable in copy.variables:
            if xp.isdtype(variable.array.dtype, "real floating"):
                xp.assign(variable.array, _with_other_last_bits(xp, variable.array))
        self.function(xp, *arrays)
        return all(far <= _AS_FAR * copy.distance(number) for number, far in off.items())

    def _refused(self, copy: Copy, result: Any, refusal: Refusal) -> Any:
        """Say why the step cannot be replayed, and run it eagerly from now on."""
        where = f"{refusal.origin.owner}: a" if refusal.origin.owner else "A"
        line = f" ({refusal.line})" if refusal.line else ""
        rule = f"{where} step that is replayed must do the same each time, in words of xp."
        if self._strict:
            copy.put_back()
            raise CaptureError(
                f"{rule} Received: {refusal.received}{line}. Write it with xp, or use jit_compile='auto', which "
                f"runs such a step eagerly."
            )
        self._eager = True
        self._learnt.clear()
        self._last = _NO_LAST
        warnings.warn(
            f"{rule} Received: {refusal.received}{line}. This model's {self.name} step runs eagerly from now on; "
            f"compile(jit_compile=False) says that this is meant.",
            CaptureWarning,
            stacklevel=recordings.users_frame()[1] + 1,
        )
        return result


def _read_only(array: Any) -> Any:
    """Return an array that shares its memory, and refuses to be written to where its library can refuse it."""
    if type(array) is not np.ndarray or not array.flags.writeable:
        return array
    view = array.view()
    view.flags.writeable = False
    return view


_DRAWN = "numbers drawn from Python's or NumPy's random, and not from a stream of the layer (add_stream)"


def _place_in_random_numbers() -> bytes:
    """Return what changes when a number is drawn from a source that belongs to the process."""
    numpys = np.random.get_state(legacy=False)  # noqa: NPY002 - a user's code may use it
    own = sys.modules.get("random")  # where nobody has loaded it, nobody draws from it; NumPy's loads it
    return pickle.dumps((None if own is None else own.getstate(), numpys))


def origin(item: Any, doing: str) -> Origin:
    """Return how the words of a layer, loss, metric or optimizer are labelled."""
    first = (type(item).__doc__ or "").partition("\n")[0]
    return recordings.Origin(item.name, doing, first.replace("``", "").strip() if doing != "backward" else "")


def labelled_layers(model: Any) -> Generator[tuple[Any, str, Origin]]:
    """Yield the methods of the layers inside a model whose words are shown under a name of their own."""
    for layer in dict.fromkeys(model.walk()):
        if layer is not model:
            for method, doing in (("call", "forward"), ("forward", "forward"), ("backward", "backward")):
                yield layer, method, origin(layer, doing)


def _refusal(received: str, owner: str = "", line: str = "") -> Refusal:
    return recordings.Refusal(recordings.Origin(owner, ""), received, line)


def _from_error(error: Exception) -> Refusal:
    traceback, frame = error.__traceback__, None
    while traceback is not None:
        frame = traceback.tb_frame
        traceback = traceback.tb_next
    said = next(filter(None, map(_SAID_WHERE.match, getattr(error, "__notes__", ()))), None)
    name = said[1] if said else ""
    return _refusal(f"{type(error).__name__} while it was recorded: {error}", name, recordings.users_line(frame))


# What `say_where` adds to an error: the owner is named behind what it was doing.
_SAID_WHERE = re.compile(r"This happened in (?:the \w+ pass of|the loss|the metric) (.+?) \(\w+\), for ")


def _set_in_step(before: Snapshot, after: Snapshot) -> Refusal | None:
    changed = before.differences(after)
    if not changed:
        return None
    path, *rest = changed[0].partition(":")[0].split(".")
    owner = path if rest and " " not in path else ""  # and not "the global `x` that Layer.call reads"
    return _refusal(f"a change of what is no state, {changed[0]}", owner)


def _not_the_same(earlier: Program, program: Program, xp: Backend) -> Refusal | None:
    found = earlier.difference(program, xp)
    return None if found is None else _refusal(f"{found[1]} in two steps of the same kind", found[0].origin.owner)


def _tolerance(program: Program) -> float:
    """Return how far rounding may take a result: a sum in float64 of what was computed in float32 is no better."""
    met = {str(spec.dtype).rpartition(".")[2] for spec in program.specs}
    return 1e-1 if met.intersection(HALF) else 1e-4 if "float32" in met else 1e-10


_AS_FAR = 10.0
"""Two roundings of one sum are of one size, but not the same."""


def _with_other_last_bits(xp: Backend, array: Any) -> Any:
    """Return numbers of which every other is larger by a rounding error or two, and the rest smaller."""
    with xp.on_device():
        odd = xp.astype(xp.arange(math.prod(array.shape)) % 2, array.dtype)
        return array * (1.0 + 2.0 * float(xp.finfo(array.dtype).eps) * (2.0 * xp.reshape(odd, array.shape) - 1.0))


def _close(xp: Backend, a: Any, b: Any, tolerance: float) -> bool:
    """Tell whether two arrays are equal but for rounding, which is taken as relative to the largest element near by."""
    a, b = xp.reshape(a, (-1,)), xp.reshape(b, (-1,))
    return all(_close_stretch(xp, *pair, tolerance=tolerance) for pair in stretches(xp, a, b))


def _close_stretch(xp: Backend, a: Any, b: Any, *, tolerance: float) -> bool:
    if not xp.isdtype(a.dtype, "real floating"):
        return bool(xp.to_numpy(xp.all(a == b)))
    finite = xp.isfinite(a) & xp.isfinite(b)
    same = xp.all(finite | (a == b) | ((a != a) & (b != b)))  # NaN is not even itself
    zero = xp.zeros_like(a)
    a, b = xp.where(finite, a, zero), xp.where(finite, b, zero)
    return bool(xp.to_numpy(same & (xp.max(xp.abs(a - b)) <= tolerance * xp.max(xp.abs(a)))))


@contextlib.contextmanager
def _labelling(labelled: Iterable[tuple[Any, str, Origin]]) -> Generator[Callable[[Capture], None]]:
    """Let the capture know at each word who asked for it."""
    captures: list[Capture] = []

    def around(origin: Origin) -> Callable[[Any, Callable[..., Any]], Callable[..., Any]]:
        def wrap(item: Any, method: Callable[..., Any]) -> Callable[..., Any]:
            users = type(item).__module__.partition(".")[0] != "layerkit"

            def labelled_method(*args: Any, **kwargs: Any) -> Any:
                recorder: Any = active_recorder()
                if recorder is None or captures[0] not in recorder.chain():  # another thread
                    return method(*args, **kwargs)
                capture = captures[0]
                place = _place_in_random_numbers() if users else None
                capture.origins.append(origin)
                try:
                    return method(*args, **kwargs)
                finally:
                    capture.origins.pop()
                    if users and capture.refusal is None and _place_in_random_numbers() != place:
                        capture.refusal = recordings.Refusal(origin, _DRAWN, "")

            return labelled_method

        return wrap

    with contextlib.ExitStack() as stack:
        for item, method, origin in labelled:
            stack.enter_context(intercepted([item], method, around(origin)))
        yield captures.append
