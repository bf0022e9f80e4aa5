"""Where trouble comes from: what is said beside an error, and where a number stopped being finite."""

from __future__ import annotations

import contextlib
import math
import warnings
from time import perf_counter
from typing import TYPE_CHECKING, Any

from layerkit.changes import moves
from layerkit.checks import is_a
from layerkit.errors import NonFiniteWarning, TrainingStopped
from layerkit.nested import are_shapes, leaves, shape_of
from layerkit.program import users_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from layerkit.layers import Layer
    from layerkit.training.loop import Batches
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


# The share of a run's time, and the bytes, that copies of state may take.
SHARE = 0.01
LARGEST = 2**28


class FiniteWatch:
    """Finds where a number stopped being finite, without looking at any number as long as all is well.

    The loss is read at an epoch's end, as it is anyway. Where it is NaN or infinite, the epoch is taken again, from a
    copy of the state at its start and with the same batches, while all that passes between layers is looked at. Then
    the state is put back, and training goes on as it would have. Copies are taken as often as a hundredth of the time
    allows; of an iterable, which may not yield the same again, and of very large models, none is taken. Where the same
    training does not come out again, because of what callbacks did, the weights as they are now are named instead.

    Args:
        step: what is done to a batch.
        batches: what is trained on.
    """

    def __init__(self, step: Step, batches: Batches) -> None:
        self._step, self._batches = step, batches
        idle = step.on_nonfinite != "warn"
        self._warned = idle
        self.due = math.inf if idle else 0.0
        """The time of the next copy."""
        self._copy: Copy | None = None
        self._of = 0, 0  # the epoch at whose start the copy was taken, and the number of its pass
        self._losses: list[float] = []  # of the epochs since

    def begin_epoch(self, epoch: int) -> None:
        """Keep the state for later; to be called when it is due."""
        began = perf_counter()
        if self._copy is None or self._copy.stale:
            variables = [*self._step.model.variables, *self._step.optimizer.variables]
            large = sum(variable.size for variable in variables) * 8 > LARGEST
            if large or not self._batches.repeatable:
                self.due = math.inf
                return
            self._copy = Copy(variables)
        else:
            self._copy.take()
        self._of, self._losses = (epoch, self._batches.passes), []
        ended = perf_counter()
        self.due = ended + (ended - began) / SHARE

    def end_epoch(self, epoch: int, loss: float) -> None:
        """Warn, once, if the loss is not finite."""
        if math.isfinite(loss) or self._warned:
            self._losses.append(loss)
            return
        self._warned = True
        self.due = math.inf
        where = self._found(epoch) or self._state_now()
        self._copy = None
        warnings.warn(
            f"fit: the loss must be finite. Received: loss={loss} in epoch {epoch + 1}. {where} "
            f"A smaller learning rate, or global_clipnorm in the optimizer, often helps.",
            NonFiniteWarning,
            stacklevel=users_frame()[1] + 1,
        )

    def _state_now(self) -> str:
        named = [repr(name) for name, weight in self._step.model.named_weights().items() if not is_finite(weight)]
        if not named:
            return "All weights are finite still."
        return f"Not finite now: {', '.join(named)}."

    def _found(self, last: int) -> str | None:
        """Train again from the copy on, and tell where it began; None if it cannot be told."""
        step, copy = self._step, self._copy
        if copy is None or copy.stale:
            return None
        metrics = [variable for metric in step.all_metrics for variable in metric.variables]
        now = Copy([*copy.variables, *metrics])
        rate = step.optimizer.get_config().get("learning_rate")  # a number, or a schedule
        try:
            copy.put_back()
            if self._of[0] != last and step.optimizer.get_config().get("learning_rate") != rate:
                return None  # a callback has changed it in between, who knows when
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # NumPy's, which have been shown the first time
                return self._retrained(last)
        finally:
            now.put_back()

    def _retrained(self, last: int) -> str | None:
        step, xp = self._step, self._step.model.xp
        first, number = self._of
        for name, weight in step.model.named_weights().items():
            if not is_finite(weight):
                return f"{name} was not finite before epoch {first + 1}."
        lookout = Lookout(step)
        for epoch in range(first, last + 1):
            step.reset()
            for batch, arrays in enumerate(self._batches.again(number + epoch - first)):
                with xp.on_device(), lookout.watching():
                    step.train(*arrays, eagerly=True)
                if lookout.harm:
                    return f"It began in batch {batch + 1} of epoch {epoch + 1}: {lookout.seen[0]} is not finite."
            if epoch < last and step.logs()["loss"] != self._losses[epoch - first]:
                return None  # it was another training: a callback has written to the weights, or a layer is not pure
        return None


class Copy:
    """A copy of state, beside it on its device."""

    def __init__(self, variables: Iterable[Variable]) -> None:
        self.variables = list(variables)
        self._arrays = [variable.xp.state(variable.array, variable.dtype) for variable in self.variables]
        self._made = moves()

    @property
    def stale(self) -> bool:
        """Whether state was made or moved since."""
        return self._made != moves()

    def take(self) -> None:
        """Copy the state as it is now, once more."""
        for variable, array in zip(self.variables, self._arrays, strict=True):
            variable.xp.assign(array, variable.array)

    def put_back(self) -> None:
        """Make the state what it was."""
        for variable, array in zip(self.variables, self._arrays, strict=True):
            variable.xp.assign(variable.array, array)

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
            intercepted([step.loss], "forward", self._loss),
            intercepted([step.loss], "backward", self._loss_gradient),
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
