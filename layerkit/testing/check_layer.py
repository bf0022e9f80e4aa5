"""The judge of layers."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.configurable import argument_names
from layerkit.errors import ContractError
from layerkit.layers.layer import FLOAT_DTYPES, Home, Layer
from layerkit.program.central_differences import Comparison, compare, require_equal
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
from layerkit.xp.registry import backend

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


def check_layer(
    layer: Layer,
    input_shape: tuple[int, ...],
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
    - in float64, backward agrees with central differences along a random line for the input and for each weight;
    - rows of a batch do not depend on each other (in inference);
    - configuration, `copy.deepcopy` and `pickle` give layers that compute the same.

    Args:
        layer: the layer, built or not.
        input_shape: shape of x, with the batch: ``(7, 3)``.
        xp: the backend; by default the current one.
        seed: of x, of the weights and of the lines.
        tolerance: the relative error that a derivative may have.
        x: an input, for layers that do not take standard normal numbers; its floats are cast as needed, and where it
            holds integers, no gradient of it is asked for.
        rows_independent: False for layers that mix rows, such as a softmax over the batch.

    Raises:
        GradientMismatch: a derivative is wrong; a table names layer, pass, weight and both values.
        ContractError: something else of the above does not hold.
    """
    values = np.random.default_rng(seed).standard_normal(input_shape) if x is None else np.asarray(x)
    check_shape("check_layer", "x", values, input_shape)
    check_config(layer)
    place = backend(xp)
    for dtype in FLOAT_DTYPES:
        subject = _Subject(layer, place, dtype, seed, values)
        subject.check_output_shapes()
        for training in subject.modes:
            subject.check_passes(training=training)
    subject = _Subject(layer, place, "float64", seed, values)
    subject.check_derivatives(tolerance)
    subject.check_copies(layer)
    subject.check_call()
    if rows_independent:
        subject.check_rows()


class _Subject:
    """A layer made for the check, its state at first, and an input."""

    def __init__(self, layer: Layer, xp: Backend, dtype: str, seed: int, x: Any) -> None:
        # A model has a place and a seed of its own; the seeds of layers and initializers are theirs to keep.
        own: dict[str, Any] = {"dtype": dtype, "backend": xp, "seed": seed}

        def changes(kind: type) -> dict[str, Any]:
            taken = (argument_names(kind) if issubclass(kind, Layer) else None) or frozenset()
            return {name: new for name, new in own.items() if name in taken and (name == "dtype" or "backend" in taken)}

        self.layer: Layer = remade(layer, changes)
        self.kind = type(layer).__name__
        self.xp, self.dtype, self.seed = xp, dtype, seed
        self.differentiable = bool(np.issubdtype(x.dtype, np.floating))
        self.x = x.astype(dtype) if self.differentiable else x
        self.modes = (False, True) if self.layer.takes_training else (False,)
        self.layer.settle(Home(xp, dtype, seed, self.layer.name))
        self.layer.build_in_place((None, *x.shape[1:]))
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

    def forward(self, x: Any, *, training: bool) -> tuple[Array, Any]:
        """Run forward from the first state."""
        self.restore()
        return self.forward_on(self.xp.asarray(x), training=training)

    def forward_on(self, x: Array, *, training: bool) -> tuple[Array, Any]:
        """Run forward from the state as it is, and check what it returns."""
        result: Any = self.layer.run_forward(self.xp, x, training=training)
        if not _is_pair(result):
            raise ContractError(
                f"{self.kind}.forward: it must return (y, saved). Received: {type(result).__name__}. "
                f"Return (y, None) where backward needs nothing."
            )
        check_dtype(f"{self.kind}.forward", "the output", result[0], self.dtype, self.xp)
        return result

    def output(self, x: Any, *, training: bool = False) -> Any:
        return self.host(self.forward(x, training=training)[0])

    def host(self, array: Array) -> Any:
        return np.array(self.xp.to_numpy(array))

    def gradients(self, x: Any, dy: Any, *, training: bool) -> tuple[Any, dict[str, Any]]:
        _, saved = self.forward(x, training=training)
        return self.backward(saved, self.xp.asarray(dy))

    def backward(self, saved: Any, dy: Array, **options: bool) -> tuple[Any, dict[str, Any]]:
        """Run backward, and return the gradients on the host, once their names, shapes and dtypes are checked."""
        owner = f"{self.kind}.backward"
        result: Any = self.layer.run_backward(self.xp, saved, dy, **options)
        if not hasattr(result[1], "keys"):
            raise ContractError(
                f"{owner}: it must return (dx, grads), with the gradients by name of weight. "
                f"Received: {type(result[1]).__name__}. Return (dx, {{}}) where there are no weights."
            )
        dx: Any = result[0]
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
        if options or not self.differentiable:
            return None, gradients
        if dx is None:
            raise ContractError(f"{owner}: it must return the gradient of the input. Received: None")
        check_dtype(owner, "gradient of the input", dx, self.dtype, self.xp)
        check_shape(owner, "gradient of the input", dx, self.x.shape)
        return self.host(dx), gradients

    def cotangent(self, y: Array) -> Any:
        """Return values for dy."""
        return np.random.default_rng(self.seed + 2).standard_normal(y.shape).astype(self.dtype)

    # Checks.

    def check_output_shapes(self) -> None:
        """Check that `compute_output_shape` tells the shape of y, with and without the batch."""
        owner = f"{self.kind}.compute_output_shape"
        y, _ = self.forward(self.x, training=False)
        shapes = self.x.shape, (None, *self.x.shape[1:])
        for shape, wanted in zip(shapes, (y.shape, (None, *y.shape[1:])), strict=True):
            told = self.layer.compute_output_shape(shape)
            if tuple(told) != tuple(wanted):
                raise ContractError(f"{owner}: for {shape}, it must tell the shape of y, {wanted}. Received: {told}")

    def check_passes(self, *, training: bool) -> None:
        """Check that a pass gives what it must, and leaves nothing behind but what it returns."""
        self.restore()
        x = self.xp.asarray(self.x.copy())
        before = attributes(self.layer.walk())
        y, saved = self.forward_on(x, training=training)
        check_attributes(before, "forward")
        first_y, advanced = self.host(y), _read(self.layer)
        dy_values = self.cotangent(y)
        dy = self.xp.asarray(dy_values.copy())
        dx, gradients = self.backward(saved, dy)
        check_attributes(before, "backward")

        check_unchanged(self.kind, "x", self.host(x), self.x)
        check_unchanged(f"{self.kind}.backward", "dy", self.host(dy), dy_values)
        check_unchanged(f"{self.kind}.backward", "the output of forward", self.host(y), first_y)
        for (variable, old), (_, new), (_, now) in zip(self.state, advanced, _read(self.layer), strict=True):
            check_unchanged(f"{self.kind}.backward", variable.path, now, new)
            if variable.trainable or not training:
                check_unchanged(f"{self.kind}.forward", variable.path, new, old)

        # Once more, with another pass between forward and backward.
        y, saved = self.forward(self.x, training=training)
        rule = "the same input and state must give the same output. Draw random numbers from self.add_stream()."
        check_close(f"{self.kind}.forward", rule, self.host(y), first_y)
        if training and len(self.layer.variables) > len(self.layer.weights):  # it has a source of random numbers
            self._check_draws(first_y, advanced)
        other = self.xp.asarray(1 - self.x if self.differentiable else self.x[::-1].copy())
        self.forward_on(other, training=training)
        rule = "it must not depend on what ran between forward and backward. Keep what it needs in `saved`."
        again = [self.backward(saved, dy)]
        if self.layer.takes_input_gradient:
            again.append((dx, self.backward(saved, dy, input_gradient=False)[1]))
        for again_dx, found in again:
            for name, gradient in found.items():
                check_close(f"{self.kind}.backward: gradient of {name}", rule, gradient, gradients[name])
            if dx is not None:
                check_close(f"{self.kind}.backward: gradient of the input", rule, again_dx, dx)

    def _check_draws(self, y: Any, advanced: list[tuple[Variable, Any]]) -> None:
        """Check that a source of random numbers that is used moves on."""
        self.restore()
        weights = self.layer.weights
        moved: list[bool] = []
        for (variable, old), (_, new) in zip(self.state, advanced, strict=True):
            if variable not in weights:
                moved.append(not np.array_equal(old, new))
                variable.assign(old + 1000)
        elsewhere = self.host(self.forward_on(self.xp.asarray(self.x), training=True)[0])
        if not any(moved) and not np.array_equal(y, elsewhere):
            raise ContractError(
                f"{self.kind}.forward: a random layer must draw anew in each training pass. Received: an output that "
                f"depends on a random stream, which does not move on. Draw with its methods bits, uniform, normal."
            )

    def check_derivatives(self, tolerance: float) -> None:
        """Compare backward with central differences, for the input and each weight, in each mode."""
        random = np.random.default_rng(self.seed + 3)
        found: list[Comparison] = []
        for training in self.modes:
            mode = "training" if training else "inference"
            dy = self.cotangent(self.output(self.x, training=training))
            if self.differentiable:
                function = functools.partial(self.output, training=training)
                gradient = functools.partial(self._input_gradient, dy=dy, training=training)
                found.append(compare(mode, "the input", function, gradient, self.x, dy, random, tolerance))
            for name, weight in self.weights.items():
                first = next(values for variable, values in self.state if variable is weight)
                function = functools.partial(self._output_with, weight, training=training)
                gradient = functools.partial(self._gradient_with, weight, name=name, dy=dy, training=training)
                found.append(compare(mode, name, function, gradient, first, dy, random, tolerance))
                self._set(weight, first)
        require_equal(self.kind, f"float64 on {self.xp}", found)

    def _input_gradient(self, x: Any, *, dy: Any, training: bool) -> Any:
        return self.gradients(x, dy, training=training)[0]

    def _set(self, weight: Variable, values: Any) -> None:
        self.state = [(variable, values if variable is weight else old) for variable, old in self.state]

    def _output_with(self, weight: Variable, values: Any, *, training: bool) -> Any:
        self._set(weight, values)
        return self.output(self.x, training=training)

    def _gradient_with(self, weight: Variable, values: Any, *, name: str, dy: Any, training: bool) -> Any:
        self._set(weight, values)
        return self.gradients(self.x, dy, training=training)[1][name]

    def check_call(self) -> None:
        """Where a layer has both `call` and `forward`, compare them."""
        kind: Any = type(self.layer)
        if kind.call is Layer.call or kind.forward is Layer.forward:
            return
        expected = self.output(self.x)
        options: Any = {"training": False} if "training" in inspect.signature(kind.call).parameters else {}
        y: Any = kind.call(self.layer, self.xp, self.xp.asarray(self.x), **options)
        check_close(f"{self.kind}.call", "it must return the output of forward.", self.host(y), expected)

    def check_copies(self, original: Layer) -> None:
        """Check that copies compute the same, and share no state with the original."""
        expected = {training: self.output(self.x, training=training) for training in self.modes}
        self.restore()
        made = copies(self.layer)
        # This layer was made from a configuration; the one that it was made of may know more.
        first = copy.deepcopy(original)
        if not first.built:
            first.settle(self.layer.home)
            first.build_in_place((None, *self.x.shape[1:]))
            if all(each.dtype == self.dtype for each in first.walk()):
                made["from_config"] = first
        for how, made_layer in made.items():
            for training in self.modes:
                for (_, values), variable in zip(self.state, made_layer.variables, strict=True):
                    variable.assign(values)
                y, _ = made_layer.run_forward(self.xp, self.xp.asarray(self.x), training=training)
                rule = f"a copy by {how} must compute the same."
                check_close(self.kind, rule, self.host(y), expected[training])
            for variable in made_layer.variables:
                variable.assign(np.zeros(variable.shape))
            for (variable, values), (_, now) in zip(self.state, _read(self.layer), strict=True):
                check_unchanged(f"{self.kind}: with a copy by {how}", f"the original's {variable.path}", now, values)

    def check_rows(self) -> None:
        """Check, in inference, that the first rows of y are what each row of x gives alone."""
        y = self.output(self.x)
        for row in range(min(len(self.x), 3)):
            rule = f"row {row} of y must depend on row {row} of x alone. Where it may not, give rows_independent=False."
            check_close(f"{self.kind}.forward", rule, self.output(self.x[row : row + 1]), y[row : row + 1])


def _is_pair(result: object) -> bool:
    return isinstance(result, tuple) and len(result) == 2  # pyright: ignore[reportUnknownArgumentType]


def _read(layer: Layer) -> list[tuple[Variable, Any]]:
    return [(variable, variable.numpy()) for variable in layer.variables]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names)) or "none"
