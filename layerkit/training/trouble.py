"""Where trouble comes from: what is said beside an error, and where a number stopped being finite."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from layerkit.changes import moves
from layerkit.checks import is_a
from layerkit.errors import TrainingStopped
from layerkit.nested import are_shapes, leaves, shape_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from layerkit.layers import Layer
    from layerkit.training.step import Step
    from layerkit.xp import Backend, Variable

    Pass = Callable[..., tuple[Any, Any]]


def say_where(error: Exception, owner: Any, doing: str, **operands: Any) -> None:
    """Add to an error where it happened: what was done, by whom, with operands of which shapes.

    A note leaves the error's type, message and traceback as they are, with the user's own line in it. An error that
    begins with the owner's name has said so itself.

    Args:
        error: on its way up.
        owner: the layer, loss or metric, which has a name.
        doing: what was done: "the forward pass of".
        operands: arrays, or shapes, by name.
    """
    if str(error).startswith(f"{owner.name}:"):
        return
    came = " and ".join(f"{name} of {_described(operand)}" for name, operand in operands.items())
    note = f"This happened in {doing} {owner.name} ({type(owner).__name__}), for {came}."
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)
        if isinstance(error, ValueError) and str(error).endswith("read-only"):  # NumPy's words
            error.add_note("What it is given is not its own: x = x + y makes a new value, where x += y writes into x.")


def say_when(error: Exception, epoch: int, batch: int | None) -> None:
    """Give an error that ends training a first cause: the batch and the epoch in which it happened.

    The error keeps its type, its message and its traceback, as whoever called `fit` expects them.

    Args:
        error: on its way up.
        epoch: its number, from 0.
        batch: how many batches of it were done; None if all were.
    """
    when = "after the last batch" if batch is None else f"in batch {batch + 1}"
    place = f"fit: this was {when} of epoch {epoch + 1}."
    last: BaseException = error
    seen = {id(last)}
    while True:
        before = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if before is None or id(before) in seen:
            break
        last = before
        seen.add(id(last))
    if not is_a(last, TrainingStopped):
        last.__cause__ = TrainingStopped(place, epoch, batch)


def _described(operand: Any) -> str:
    dtypes = dict.fromkeys(str(leaf.dtype) for leaf in leaves(operand) if hasattr(leaf, "dtype"))
    shape = shape_of(operand) if dtypes else operand
    shown = f"shapes {shape}" if are_shapes(shape) else f"shape {shape}"
    return f"{shown} and dtype {' and '.join(dtypes)}" if dtypes else shown


@contextlib.contextmanager
def intercepted(layers: Iterable[Any], method: str, around: Callable[[Any, Pass], Pass]) -> Generator[None]:
    """Put a function around a method of each of these layers (or losses), however they call each other."""
    chosen = list(dict.fromkeys(layers))
    own = [(layer, layer.__dict__[method]) for layer in chosen if method in layer.__dict__]
    for layer in chosen:
        layer.__dict__[method] = around(layer, getattr(layer, method))
    try:
        yield
    finally:
        for layer in chosen:
            del layer.__dict__[method]
        for layer, function in own:  # a user's, for this one object
            layer.__dict__[method] = function


class Copy:
    """A copy of state, beside it on its device."""

    def __init__(self, variables: Iterable[Variable]) -> None:
        self.variables = list(variables)
        self._arrays: list[Any] = [None] * len(self.variables)
        self._pieces: list[tuple[Backend, Any, Any]] = []  # what is copied at once: state, and its copy
        for flat, indices in self._laid_side_by_side():
            xp, dtype = self.variables[indices[0]].xp, self.variables[indices[0]].dtype
            kept = xp.state(flat, dtype)
            self._pieces.append((xp, flat, kept))
            for index in indices:
                variable = self.variables[index]
                start = variable.offset
                self._arrays[index] = xp.view(kept, start, start + variable.size, variable.shape)
        for index, variable in enumerate(self.variables):
            if self._arrays[index] is None:
                self._arrays[index] = variable.xp.state(variable.array, variable.dtype)
                self._pieces.append((variable.xp, variable.array, self._arrays[index]))
        self._made = moves()

    def _laid_side_by_side(self) -> list[tuple[Any, list[int]]]:
        """Return flat arrays, and the variables that lie in each, where these are all of it."""
        flats: dict[int, tuple[Any, dict[int, int]]] = {}
        for index, variable in enumerate(self.variables):
            if variable.flat is not None:
                flats.setdefault(id(variable.flat), (variable.flat, {}))[1].setdefault(variable.offset, index)
        found: list[tuple[Any, list[int]]] = []
        for flat, by_offset in flats.values():
            if sum(self.variables[index].size for index in by_offset.values()) == flat.shape[0]:
                found.append((flat, list(by_offset.values())))
        return found

    @property
    def stale(self) -> bool:
        """Whether state was made or moved since."""
        return self._made != moves()

    def take(self) -> None:
        """Copy the state as it is now, once more."""
        for xp, array, kept in self._pieces:
            xp.assign(kept, array)

    def put_back(self) -> None:
        """Make the state what it was."""
        for xp, array, kept in self._pieces:
            xp.assign(array, kept)

    def swap(self) -> None:
        """Exchange state and copy."""
        for variable, array in zip(self.variables, self._arrays, strict=True):
            for one, other in stretches(variable.xp, variable.array, array):
                now = variable.xp.state(one, variable.dtype)
                variable.xp.assign(one, other)
                variable.xp.assign(other, now)

    def difference(self, close: Callable[[Backend, Any, Any], bool]) -> str | None:
        """Return the path of the first variable that is not as it was copied; None if all are."""
        for variable, array in zip(self.variables, self._arrays, strict=True):
            if not close(variable.xp, array, variable.array):
                return variable.path
        return None

    def parted(self, close: Callable[[Backend, Any, Any], bool]) -> list[int]:
        """Return the numbers of all variables that are not as they were copied."""
        pairs = zip(self.variables, self._arrays, strict=True)
        return [number for number, (each, array) in enumerate(pairs) if not close(each.xp, array, each.array)]

    def distance(self, number: int) -> float:
        """Return how far an element of this variable, a real number, is from what was copied, at most."""
        variable = self.variables[number]
        xp = variable.xp
        with xp.on_device():
            return float(xp.to_numpy(xp.max(xp.abs(variable.array - self._arrays[number]))))


_STRETCH = 1 << 16


def stretches(xp: Backend, *states: Any) -> Generator[tuple[Any, ...]]:
    """Cut arrays of one shape, where they are flat, so that what is made of one piece at a time needs little memory."""
    size = states[0].shape[0] if states[0].ndim == 1 else 0
    if size <= _STRETCH:
        yield states
    else:
        for start in range(0, size, _STRETCH):
            stop = min(start + _STRETCH, size)
            yield tuple([xp.view(state, start, stop, (stop - start,)) for state in states])


class Lookout:
    """Looks at all that passes between the layers, the loss and the optimizer in one step."""

    def __init__(self, step: Step) -> None:
        self._step, self._xp = step, step.model.xp
        self.seen: list[str] = []
        """What was not finite, in order, since the last layer whose output was."""
        self.harm = False
        """Whether any of that is a loss, a gradient or a weight: what passes between layers may well be infinite."""

    @contextlib.contextmanager
    def watching(self) -> Generator[None]:
        """Look at what happens in here."""
        step = self._step
        self.seen, self.harm = [], False
        layers = list(step.model.walk())
        with (
            intercepted(layers, "forward", self._forward),
            intercepted(layers, "backward", self._backward),
            intercepted(step.losses, "forward", self._loss),
            intercepted(step.losses, "backward", self._loss_gradient),
        ):
            yield
        for name, weight in step.model.named_weights().items():
            self._look(weight.value, f"{name}, after the update by {step.optimizer.name},", harm=True)

    def _look(self, arrays: Any, what: str, *, harm: bool = False) -> bool:
        """Tell whether all is finite, and note what is not."""
        if all(map(self._is_finite, leaves(arrays))):
            return True
        self.seen.append(what)
        self.harm = self.harm or harm
        return False

    def _is_finite(self, array: Any) -> bool:
        xp = self._xp
        return (
            not xp.owns(array) or not xp.isdtype(array.dtype, "real floating") or bool(xp.to_numpy(_finite(xp, array)))
        )

    def _forward(self, layer: Layer, forward: Pass) -> Pass:
        def watched(xp: Any, x: Any, **options: Any) -> tuple[Any, Any]:
            result = forward(xp, x, **options)
            if self._look(result[0], f"the output of {_named(layer)} in the forward pass"):
                self.seen.clear()  # what was infinite before has done no harm
            return result

        return watched

    def _backward(self, layer: Layer, backward: Pass) -> Pass:
        def watched(xp: Any, saved: Any, dy: Any, **options: Any) -> tuple[Any, Any]:
            dx, gradients = backward(xp, saved, dy, **options)
            for name, gradient in gradients.items():
                self._look(gradient, f"the gradient of {name} in the backward pass of {_named(layer)}", harm=True)
            self._look(dx, f"the gradient of the input in the backward pass of {_named(layer)}")
            return dx, gradients

        return watched

    def _loss(self, loss: Any, forward: Pass) -> Pass:
        def watched(*operands: Any) -> tuple[Any, Any]:
            result = forward(*operands)
            self._look(result[0], f"the loss {_named(loss)}", harm=True)
            return result

        return watched

    def _loss_gradient(self, loss: Any, backward: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*operands: Any) -> Any:
            dy = backward(*operands)
            self._look(dy, f"the gradient of the loss {_named(loss)}")
            return dy

        return watched


def _named(owner: Any) -> str:
    return f"{owner.name} ({type(owner).__name__})"


def _finite(xp: Any, array: Any) -> Any:
    return xp.all(xp.isfinite(array))


def is_finite(weight: Variable) -> bool:
    """Tell whether all elements are finite; those of integers are."""
    return "float" not in weight.dtype or bool(weight.xp.to_numpy(_finite(weight.xp, weight.value)))
