"""The judge of layers."""

from __future__ import annotations

import copy
import functools
import inspect
import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import is_a, is_integer
from layerkit.configurable import argument_names
from layerkit.errors import ArgumentError, BackendUnavailableError, ContractError
from layerkit.layers.layer import FLOAT_DTYPES, Arrays, Home, Layer
from layerkit.names import call_it
from layerkit.nested import are_shapes, filled, leaves, mapped, mapped_shapes, of_any_batch, shape_of
from layerkit.overriding import override
from layerkit.program import RecordedArray, Recorder, Tape, recording
from layerkit.program.central_differences import Comparison, compare, names_of_inputs, require_equal, side_by_side
from layerkit.testing.contract import (
    attributes,
    check_attributes,
    check_close,
    check_config,
    check_dtype,
    check_shape,
    check_unchanged,
    copies,
    remade,
)
from layerkit.xp.registry import backend, backend_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


def check_layer(
    layer: Layer,
    input_shape: Any,
    *,
    xp: str | Backend | None = None,
    seed: int = 0,
    tolerance: float = 1e-6,
    x: Any = None,
    rows_independent: bool = True,
) -> None:
    """Check that a layer keeps its contract, and that its backward pass is the derivative of its forward pass.

    The layer itself is left alone: others are made from its configuration, with weights moved away from their first
    values (a scale of 1 or a bias of 0 hides mistakes). In inference and, where it differs, in training mode:

    - outputs have the shape that `compute_output_shape` tells, and keep the dtype, float32 and float64;
    - gradients come for exactly the trainable weights, with their shapes and dtypes, and for the input;
    - x, dy and weights are not written to, nothing is kept on self, and passes may interleave;
    - equal random state gives equal outputs, and a random layer draws anew in each pass;
    - in float64, backward agrees with central differences along a random line for each input and for each weight, and,
      where it is written by hand, with the derivative that is found by recording forward, if that is written in words;
    - no value is read on the host, by `float`, by a branch, or by NumPy: such a pass cannot be replayed;
    - rows of a batch do not depend on each other (in inference);
    - configuration, `copy.deepcopy` and `pickle` give layers that compute the same;
    - outputs and gradients are the same on each backend that is present, unless one is named.

    Args:
        layer: the layer, built or not.
        input_shape: shape of x, with the batch: ``(7, 3)``; for several inputs a list: ``[(7, 3), (7, 2)]``.
        xp: the backend; by default the current one, with which every other that is present is then compared.
        seed: of x, of the weights and of the lines.
        tolerance: the relative error that a derivative may have.
        x: an input, or a list of them, for layers that do not take standard normal numbers; floats are cast as needed,
            and of integers no gradient is asked for.
        rows_independent: False for layers that mix rows, such as a softmax over the batch.

    Raises:
        GradientMismatch: a derivative is wrong; a table names layer, pass, weight and both values.
        ContractError: something else of the above does not hold.
    """
    if not is_a(layer, Layer):
        raise ArgumentError(f"check_layer: layer must be a layer. Received: {layer!r}.{call_it(layer)}")
    shape = mapped_shapes(_checked_shape, input_shape)
    values = _given(shape, x) if x is not None else mapped_shapes(np.random.default_rng(seed).standard_normal, shape)
    check_config(layer)
    place = backend(xp)
    for dtype in FLOAT_DTYPES:
        subject = _Subject(layer, place, dtype, seed, values)
        subject.check_output_shapes()
        for training in subject.modes:
            subject.check_passes(training=training)
    subject = _Subject(layer, place, "float64", seed, values)
    subject.check_derivatives(tolerance)
    subject.check_reads()
    subject.check_copies(layer)
    subject.check_call()
    if rows_independent:
        subject.check_rows()
    if xp is None:
        for other in _others(place):
            subject.check_same(_Subject(layer, other, "float64", seed, values))


def _checked_shape(shape: Any) -> tuple[int, ...]:
    if not is_a(shape, tuple, list) or not all(map(is_integer, shape)):
        shown = shape if is_a(shape, tuple, list, int) else type(shape).__name__
        raise ArgumentError(
            f"check_layer: input_shape must be a tuple of integers, or a list of such tuples. Received: {shown}. "
            f"An array is given as x, beside its shape."
        )
    return tuple(shape)


def _given(shape: Any, x: Any) -> Any:
    """Return the input that was given, as one array, or as a list of them."""

    def array(_: Any, part: Any) -> Any:
        return np.asarray(part)

    values = mapped_shapes(array, shape, x)
    if shape_of(values) != shape:
        raise ContractError(f"check_layer: x must have {_shown(shape)}. Received: {_shown(shape_of(values))}")
    return values


def _others(xp: Backend) -> list[Backend]:
    """Return all other backends that are present."""
    found: list[Backend] = []
    for name in backend_names():
        try:
            found.append(backend(name))
        except BackendUnavailableError:
            continue
    return [other for other in found if other is not xp]


class _Subject:
    """A layer made for the check, its state at first, and an input, or several."""

    def __init__(self, layer: Layer, xp: Backend, dtype: str, seed: int, x: Any) -> None:
        # A model has a place and a seed of its own; the seeds of layers and initializers are theirs to keep.
        own: dict[str, Any] = {"dtype": dtype, "backend": xp, "seed": seed}

        def changes(kind: type) -> dict[str, Any]:
            taken = (argument_names(kind) if issubclass(kind, Layer) else None) or frozenset()
            return {name: new for name, new in own.items() if name in taken and (name == "dtype" or "backend" in taken)}

        def cast(part: Any) -> Any:
            return part.astype(dtype) if _varies(part) else part

        self.layer: Layer = remade(layer, changes)
        self.kind = type(layer).__name__
        self.xp, self.dtype, self.seed = xp, dtype, seed
        self.x = mapped(cast, x)
        self.inputs = leaves(self.x)
        self.names = names_of_inputs(self.x)
        self.modes = (False, True) if self.layer.takes_training else (False,)
        self.layer.settle(Home(xp, dtype, seed, self.layer.name))
        self.layer.build_in_place(of_any_batch(shape_of(self.x)))
        trained = set(self.layer.trainable_weights)
        self.weights = {name: weight for name, weight in self.layer.named_weights().items() if weight in trained}
        random = np.random.default_rng(seed + 1)
        for weight in self.layer.trainable_weights:
            first = weight.numpy()
            # A factor, because a positive weight may have to stay positive.
            moved = first * random.uniform(0.5, 1.5, weight.shape)
            weight.assign(np.where(first == 0, random.normal(0.0, 0.3, weight.shape), moved))
        self.state = _read(self.layer)

    # Running the layer.

    def restore(self) -> None:
        for variable, values in self.state:
            variable.assign(values)

    def forward(self, x: Any, *, training: bool) -> tuple[Arrays, Any]:
        """Run forward from the first state."""
        self.restore()
        return self.forward_on(self.on_device(x), training=training)

    def forward_on(self, x: Arrays, *, training: bool) -> tuple[Arrays, Any]:
        """Run forward from the state as it is, and check what it returns."""
        result: Any = self.layer.run_forward(self.xp, x, training=training)
        if not _is_pair(result):
            raise ContractError(
                f"{self.kind}.forward: it must return (y, saved). Received: {type(result).__name__}. "
                f"Return (y, None) where backward needs nothing."
            )
        y = result[0]
        for part in leaves(y) if any(map(self.xp.owns, leaves(y))) else [y]:  # lists of numbers are no outputs
            check_dtype(f"{self.kind}.forward", "the output", part, self.dtype, self.xp)
        return result

    def output(self, x: Any, *, training: bool = False) -> Any:
        return self.host(self.forward(x, training=training)[0])

    def on_device(self, arrays: Any) -> Arrays:
        return mapped(self.xp.asarray, arrays)

    def host(self, arrays: Arrays) -> Any:
        def copied(array: Array) -> Any:
            return np.array(self.xp.to_numpy(array))

        return mapped(copied, arrays)

    def gradients(self, x: Any, dy: Any, *, training: bool) -> tuple[list[Any], dict[str, Any]]:
        _, saved = self.forward(x, training=training)
        return self.backward(saved, self.on_device(dy))

    def backward(self, saved: Any, dy: Arrays, **options: bool) -> tuple[list[Any], dict[str, Any]]:
        """Run backward, and return the gradients on the host, once their names, shapes and dtypes are checked.

        There is one for each input, which is None for integers, and where `options` leave it out.
        """
        owner = f"{self.kind}.backward"
        result: Any = self.layer.run_backward(self.xp, saved, dy, **options)
        if not hasattr(result[1], "keys"):
            raise ContractError(
                f"{owner}: it must return (dx, grads), with the gradients by name of weight. "
                f"Received: {type(result[1]).__name__}. Return (dx, {{}}) where there are no weights."
            )
        found: dict[str, Any] = result[1]
        known = [name for name, weight in self.layer.named_weights().items() if weight.trainable]
        if not set(self.weights) <= set(found) <= set(known):
            raise ContractError(
                f"{owner}: there must be a gradient for each trainable weight, and no other: {_listed(known)}. "
                f"Received: {_listed(found)}"
            )
        for name, weight in self.weights.items():
            check_dtype(owner, f"gradient of {name}", found[name], weight.dtype, self.xp)
            check_shape(owner, f"gradient of {name}", found[name], weight.shape)
        gradients = {name: self.host(found[name]) for name in self.weights}
        if options:
            return [None] * len(self.inputs), gradients
        return self._input_gradients(owner, result[0]), gradients

    def _input_gradients(self, owner: str, dx: Any) -> list[Any]:
        several = isinstance(self.x, list)
        if several and _nesting(dx) != _nesting(self.x):
            raise ContractError(
                f"{owner}: it must return a gradient for each input, nested as x is, of "
                f"{_shown(shape_of(self.x))}. Received: {'None' if dx is None else _shown(shape_of(dx))}"
            )
        found: list[Any] = []
        for name, x, part in zip(self.names, self.inputs, leaves(dx) if several else [dx], strict=True):
            if not _varies(x):
                found.append(None)
                continue
            if part is None:
                raise ContractError(f"{owner}: it must return the gradient of {name}. Received: None")
            check_dtype(owner, f"gradient of {name}", part, self.dtype, self.xp)
            check_shape(owner, f"gradient of {name}", part, x.shape)
            found.append(self.host(part))
        return found

    def cotangent(self, y: Any) -> Any:
        """Return values for dy."""
        random = np.random.default_rng(self.seed + 2)

        def drawn(part: Any) -> Any:
            return np.asarray(random.standard_normal(part.shape), self.dtype)

        return mapped(drawn, y)

    # Checks.

    def check_output_shapes(self) -> None:
        """Check that `compute_output_shape` tells the shape of y, with and without the batch."""
        owner = f"{self.kind}.compute_output_shape"
        x, y = shape_of(self.x), shape_of(self.forward(self.x, training=False)[0])
        for shape, wanted in ((x, y), (of_any_batch(x), of_any_batch(y))):
            told = self.layer.compute_output_shape(shape)
            if mapped_shapes(tuple, told) != wanted:
                raise ContractError(f"{owner}: for {shape}, it must tell the shape of y, {wanted}. Received: {told}")

    def check_passes(self, *, training: bool) -> None:
        """Check that a pass gives what it must, and leaves nothing behind but what it returns."""
        self.restore()
        x = self.on_device(_copied(self.x))
        before = attributes(self.layer.walk())
        y, saved = self.forward_on(x, training=training)
        check_attributes(before, "forward")
        first_y, advanced = self.host(y), _read(self.layer)
        dy_values = self.cotangent(first_y)
        dy = self.on_device(_copied(dy_values))
        dx, gradients = self.backward(saved, dy)
        check_attributes(before, "backward")

        backward = f"{self.kind}.backward"
        for owner, what, now, first in (
            (self.kind, "x", x, self.x),
            (backward, "dy", dy, dy_values),
            (backward, "the output of forward", y, first_y),
        ):
            for part, values in zip(leaves(now), leaves(first), strict=True):
                check_unchanged(owner, what, self.host(part), values)
        for (variable, old), (_, new), (_, now) in zip(self.state, advanced, _read(self.layer), strict=True):
            check_unchanged(backward, variable.path, now, new)
            if variable.trainable or not training:
                check_unchanged(f"{self.kind}.forward", variable.path, new, old)

        # Once more, with another pass between forward and backward.
        y, saved = self.forward(self.x, training=training)
        rule = "the same input and state must give the same output. Draw random numbers from self.add_stream()."
        _check_close(f"{self.kind}.forward", rule, self.host(y), first_y)
        if training and len(self.layer.variables) > len(self.layer.weights):  # it has a source of random numbers
            self._check_draws(first_y, advanced)
        self.forward_on(self.on_device(mapped(_another, self.x)), training=training)
        rule = "it must not depend on what ran between forward and backward. Keep what it needs in `saved`."
        again = [self.backward(saved, dy)]
        if self.layer.takes_input_gradient:
            again.append((dx, self.backward(saved, dy, input_gradient=False)[1]))
        for found in again:
            self._check_gradients(rule, found, (dx, gradients))

    def _check_gradients(self, rule: str, now: tuple[list[Any], dict[str, Any]], before: Any) -> None:
        (dx, gradients), (first_dx, first) = now, before
        of_inputs = dict(zip(self.names, dx, strict=True)), dict(zip(self.names, first_dx, strict=True))
        for found, wanted in ((gradients, first), of_inputs):
            for name, values in wanted.items():
                if values is not None:
                    check_close(f"{self.kind}.backward: gradient of {name}", rule, found[name], values)

    def _check_draws(self, y: Any, advanced: list[tuple[Variable, Any]]) -> None:
        """Check that a source of random numbers that is used moves on."""
        self.restore()
        weights = self.layer.weights
        moved: list[bool] = []
        for (variable, old), (_, new) in zip(self.state, advanced, strict=True):
            if variable not in weights:
                moved.append(not np.array_equal(old, new))
                variable.assign(old + 1000)
        elsewhere = self.host(self.forward_on(self.on_device(self.x), training=True)[0])
        if not any(moved) and not np.array_equal(side_by_side(y), side_by_side(elsewhere)):
            raise ContractError(
                f"{self.kind}.forward: a random layer must draw anew in each training pass. Received: an output that "
                f"depends on a random stream, which does not move on. Draw with its methods bits, uniform, normal."
            )

    def check_derivatives(self, tolerance: float) -> None:
        """Compare backward with central differences, and with what is recorded, for each input, weight and mode."""
        random = np.random.default_rng(self.seed + 3)
        found: list[Comparison] = []
        unrecorded: str | None = None
        varying = [number for number, part in enumerate(self.inputs) if _varies(part)]
        subjects: dict[str, Variable | int] = {self.names[number]: number for number in varying}
        for training in self.modes:
            mode = "training" if training else "inference"
            dy = self.cotangent(self.output(self.x, training=training))
            recorded: Any = None
            if type(self.layer).backward is not Layer.backward:
                try:
                    self.recorded_gradients(self.x, dy, training=training)
                    recorded = functools.partial(self._gradient, self.recorded_gradients, dy=dy, training=training)
                except Exception as error:  # noqa: BLE001 - whatever a layer does that cannot be recorded
                    unrecorded = f"{type(error).__name__}: {error}"
            for name, of in {**subjects, **self.weights}.items():
                first = self.inputs[of] if isinstance(of, int) else dict(self.state)[of]
                function = functools.partial(self._output, of=of, training=training)
                gradient = functools.partial(self._gradient, self.gradients, of=of, name=name, dy=dy, training=training)
                judge = None if recorded is None else functools.partial(recorded, of=of, name=name)
                cotangent = side_by_side(dy)
                found.append(compare(mode, name, function, gradient, first, cotangent, random, tolerance, judge))
                self._with(first, of)
        require_equal(self.kind, f"float64 on {self.xp}", found, unrecorded)

    def recorded_gradients(self, x: Any, dy: Any, *, training: bool) -> tuple[list[Any], dict[str, Any]]:
        """Return the gradients that are found by recording forward, in whatever words it is written."""

        def forward(recorder: Recorder, x: Arrays) -> Arrays:
            return self.layer.run_forward(recorder, x, training=training)[0]

        self.restore()
        _, tape = Tape.record_on(_Unread(self.xp, f"{self.kind}.forward"), forward, self.on_device(x))
        (dx,), gradients = tape.gradients(self.on_device(dy), list(self.weights.values()))
        return leaves(self.host(dx)), dict(zip(self.weights, self.host(gradients), strict=True))

    def _with(self, values: Any, of: Variable | int) -> Any:
        """Return x with these values of the input of this number; or x as it is, and a weight begins with them."""
        if isinstance(of, int):
            return filled(self.x, [values if number == of else part for number, part in enumerate(self.inputs)])
        self.state = [(variable, values if variable is of else old) for variable, old in self.state]
        return self.x

    def _output(self, values: Any, *, of: Variable | int, training: bool) -> Any:
        return side_by_side(self.output(self._with(values, of), training=training))

    def _gradient(
        self, gradients: Callable[..., Any], values: Any, *, of: Variable | int, name: str, dy: Any, training: bool
    ) -> Any:
        dx, found = gradients(self._with(values, of), dy, training=training)
        return dx[of] if isinstance(of, int) else found[name]

    def check_reads(self) -> None:
        """Check that no pass reads a value on the host."""
        for training in self.modes:
            dy = self.cotangent(self.output(self.x, training=training))
            self.restore()
            recorder = _Replayed(self.xp, f"{self.kind}.forward")
            with recording(recorder):
                x = mapped(recorder.input, self.on_device(self.x))
                _, saved = self.layer.run_forward(recorder, x, training=training)
                recorder.owner = f"{self.kind}.backward"
                self.layer.run_backward(recorder, saved, mapped(recorder.input, self.on_device(dy)))

    def check_call(self) -> None:
        """Where a layer has both `call` and `forward`, compare them."""
        kind: Any = type(self.layer)
        if kind.call is Layer.call or kind.forward is Layer.forward:
            return
        expected = self.output(self.x)
        options: Any = {"training": False} if "training" in inspect.signature(kind.call).parameters else {}
        y: Any = kind.call(self.layer, self.xp, self.on_device(self.x), **options)
        _check_close(f"{self.kind}.call", "it must return the output of forward.", self.host(y), expected)

    def check_copies(self, original: Layer) -> None:
        """Check that copies compute the same, and share no state with the original."""
        expected = {training: self.output(self.x, training=training) for training in self.modes}
        self.restore()
        made = copies(self.layer)
        # This layer was made from a configuration; the one that it was made of may know more.
        first = copy.deepcopy(original)
        if not first.built:
            first.settle(self.layer.home)
            first.build_in_place(of_any_batch(shape_of(self.x)))
            if all(each.dtype == self.dtype for each in first.walk()):
                made["from_config"] = first
        for how, made_layer in made.items():
            for training in self.modes:
                for (_, values), variable in zip(self.state, made_layer.variables, strict=True):
                    variable.assign(values)
                y, _ = made_layer.run_forward(self.xp, self.on_device(self.x), training=training)
                rule = f"a copy by {how} must compute the same."
                _check_close(self.kind, rule, self.host(y), expected[training])
            for variable in made_layer.variables:
                variable.assign(np.zeros(variable.shape))
            for (variable, values), (_, now) in zip(self.state, _read(self.layer), strict=True):
                check_unchanged(f"{self.kind}: with a copy by {how}", f"the original's {variable.path}", now, values)

    def check_rows(self) -> None:
        """Check, in inference, that the first rows of y are what each row of x gives alone."""
        y = self.output(self.x)
        for row in range(min(3, *map(len, self.inputs))):
            taken = operator.itemgetter(slice(row, row + 1))
            rule = f"row {row} of y must depend on row {row} of x alone. Where it may not, give rows_independent=False."
            _check_close(f"{self.kind}.forward", rule, self.output(mapped(taken, self.x)), mapped(taken, y))

    def check_same(self, other: _Subject) -> None:
        """Check that the layer gives the same on another backend."""
        for training in self.modes:
            y = self.output(self.x, training=training)
            dy = self.cotangent(y)
            gradients = self.gradients(self.x, dy, training=training)
            try:
                other_y, other_gradients = (
                    other.output(self.x, training=training),
                    other.gradients(self.x, dy, training=training),
                )
            except Exception as error:
                error.add_note(
                    f"This happened on {other.xp}. With xp={str(self.xp)!r}, {self.kind} is checked there alone."
                )
                raise
            rule = f"it must give the same on {other.xp} as on {self.xp}."
            _check_close(f"{self.kind}.forward", rule, other_y, y)
            self._check_gradients(rule, other_gradients, gradients)


class _Unread(Recorder):
    """A recorder that lets nobody read."""

    def __init__(self, base: Backend, owner: str) -> None:
        super().__init__(base)
        self.owner = owner

    @override
    def read(self, array: RecordedArray, how: str, *, lost: bool = False) -> Any:
        raise ContractError(
            f"{self.owner}: a value must not be read on the host: what depends on it cannot be replayed. "
            f"Received: {how} of an array of shape {array.shape}. Use words of xp, such as xp.where for a branch."
        )

    @override
    def to_numpy(self, array: Any) -> Any:
        return self.base.to_numpy(self.read(array, "xp.to_numpy()") if isinstance(array, RecordedArray) else array)


class _Replayed(_Unread):
    """The same for what need not be differentiated: it is read where it would become an array of NumPy."""

    differentiates = False


def _varies(x: Any) -> bool:
    return bool(np.issubdtype(x.dtype, np.floating))


def _another(x: Any) -> Any:
    return 1 - x if _varies(x) else x[::-1].copy()


def _copied(arrays: Any) -> Any:
    return mapped(operator.methodcaller("copy"), arrays)


def _check_close(owner: str, rule: str, now: Any, before: Any) -> None:
    for part, values in zip(leaves(now), leaves(before), strict=True):
        check_close(owner, rule, part, values)


def _nesting(value: Any) -> Any:
    """Return lists within lists, as tuples and lists are nested."""
    return [_nesting(item) for item in value] if isinstance(value, (tuple, list)) else None  # pyright: ignore[reportUnknownVariableType]


def _shown(shape: Any) -> str:
    return f"shapes {shape}" if are_shapes(shape) else f"shape {shape}"


def _is_pair(result: object) -> bool:
    return isinstance(result, tuple) and len(result) == 2  # pyright: ignore[reportUnknownArgumentType]


def _read(layer: Layer) -> list[tuple[Variable, Any]]:
    return [(variable, variable.numpy()) for variable in layer.variables]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
