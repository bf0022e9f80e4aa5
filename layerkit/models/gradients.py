"""The judge of a model's gradients."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import GradientMismatch, NotReadyError
from layerkit.nested import filled, leaves, mapped
from layerkit.program.central_differences import apart, compare, names_of_inputs, side_by_side, table
from layerkit.training.step import require_gradients
from layerkit.training.trouble import intercepted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.layers import Layer
    from layerkit.losses import Loss
    from layerkit.program.central_differences import Comparison
    from layerkit.training.step import Measured, Step
    from layerkit.xp import Array, Variable

HEADER = ("gradient of", "backward", "central differences", "relative error", "")


class GradientTable:
    """What was compared: for each weight, the derivative of the loss along a random line.

    Args:
        comparisons: one for each weight, with `of` (its name), `analytic`, `numeric`, `relative_error` and `equal`.
    """

    def __init__(self, comparisons: Sequence[Comparison]) -> None:
        self.comparisons = tuple(comparisons)

    def __str__(self) -> str:
        rows = [(found.of, *found.figures, "right" if found.equal else "wrong") for found in self.comparisons]
        return table((HEADER, *rows))

    __repr__ = __str__


def check_gradients(model: Layer, step: Step, batch: Sequence[Any], tolerance: float, seed: int) -> GradientTable:
    """Compare the gradients of a float64 model, whose weights may be changed, with central differences.

    Raises:
        GradientMismatch: one is wrong.
        NotReadyError: there is none.
    """
    subject = _Subject(model, step, batch, tolerance, seed)
    with subject.xp.on_device():
        found = [subject.compared(name, weight) for name, weight in subject.weights.items()]
        if not found:
            raise NotReadyError(
                "check_gradients: there must be weights that training changes. Received: a model without any."
            )
        wrong = next((each for each in found if not each.equal), None)
        if wrong is not None:
            raise GradientMismatch(
                f"check_gradients: the gradient of {wrong.of} must be the derivative of the loss. {wrong.received}."
                f"{wrong.note}{subject.culprits()}\n\n{GradientTable(found)}"
            )
    return GradientTable(found)


class _Subject:
    """A model with its loss, a batch, and the state in which each pass starts."""

    def __init__(self, model: Layer, step: Step, batch: Sequence[Any], tolerance: float, seed: int) -> None:
        self.model, self.step, self.tolerance = model, step, tolerance
        self.xp = model.xp
        self.batch = [self.xp.asarray(part) for part in leaves(list(batch)) if part is not None]
        trained = set(self.model.trainable_weights)
        self.weights = {name: weight for name, weight in self.model.named_weights().items() if weight in trained}
        self.state = {variable: variable.numpy() for variable in self.model.variables}
        self.random = np.random.default_rng(seed)

    def restore(self) -> None:
        for variable, values in self.state.items():
            variable.assign(values)

    def host(self, array: Array) -> Any:
        return np.array(self.xp.to_numpy(array))

    def passes(self, weight: Variable, values: Any) -> tuple[Any, dict[str, Array]]:
        """Return the loss and the gradients, with other values of one weight."""
        self.restore()
        weight.assign(values)
        total, _, gradients = self.step.gradients(self.step.model.xp, *self.batch)
        return self.host(total), gradients

    def compared(self, name: str, weight: Variable) -> Comparison:
        def loss(values: Any) -> Any:
            return self.passes(weight, values)[0]

        def gradient(values: Any) -> Any:
            gradients = self.passes(weight, values)[1]
            require_gradients(gradients, {name: weight.shape}, self.model.named_weights())
            return self.host(gradients[name])

        return compare("training", name, loss, gradient, self.state[weight], np.ones(()), self.random, self.tolerance)

    def culprits(self) -> str:
        """Name what is wrong by itself: layers whose backward is not the derivative of their forward, or the loss."""
        entered: list[tuple[Layer, Any, Any]] = []

        def noting(layer: Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(xp: Any, x: Any, **options: Any) -> Any:
                result = forward(xp, x, **options)
                if xp is self.xp:  # and not recorded, as part of something larger
                    entered.append((layer, mapped(self.host, x), mapped(self.host, result[0])))
                return result

            return wrapped

        self.restore()
        with intercepted(self.model.walk(), "forward", noting):
            _, measured, _ = self.step.gradients(self.step.model.xp, *self.batch)
        found: dict[Layer, str] = {}
        for layer, x, _ in entered:  # a layer comes after those inside it, which are to blame before it
            if all(inner not in found for inner in layer.walk()):
                wrong = self._wrong_of(layer, x)
                if wrong is not None:
                    found[layer] = f"{layer.name} ({type(layer).__name__}.backward: gradient of {wrong})"
        named = [*found.values(), *self._wrong_losses(measured)]
        return f" The mistake is in {' and in '.join(named)}." if named else ""

    def _wrong_losses(self, measured: Sequence[Measured]) -> list[str]:
        """Name the losses whose own gradient is wrong."""
        wrong: dict[Loss, str] = {}
        for objective, found in zip(self.step.objectives, measured, strict=True):
            if objective.loss is not None and self._is_wrong(objective.loss, found):
                kind = type(objective.loss).__name__
                wrong.setdefault(objective.loss, f"the loss ({kind}.backward: gradient of y_pred)")
        return list(wrong.values())

    def _is_wrong(self, loss: Loss, found: Measured) -> bool:
        """Tell whether the gradient of a loss is not its derivative, for what it was given."""

        def passes(y_pred: Any) -> tuple[Any, Any, Any]:
            values, saved = loss.forward(self.xp, found.y_true, self.xp.asarray(y_pred))
            return *loss.reduce(self.xp, found.y_true, values, found.sample_weight), saved

        def total(y_pred: Any) -> Any:
            return self.host(passes(y_pred)[0])

        def gradient(y_pred: Any) -> Any:
            _, dvalues, saved = passes(y_pred)
            return self.host(loss.backward(self.xp, saved, dvalues))

        y_pred = self.host(found.y_pred)
        return not compare(
            "training", "y_pred", total, gradient, y_pred, np.ones(()), self.random, self.tolerance
        ).equal

    def _wrong_of(self, layer: Layer, x: Any) -> str | None:
        """Return of what a layer's own gradient is wrong; None if all are right."""
        trained = {name: weight for name, weight in layer.named_weights().items() if weight in self.weights.values()}
        inputs = leaves(x)

        def passes(values: Any, of: Variable | int) -> tuple[Any, Any]:
            """Run forward with other values of a weight, or of the input with this number."""
            self.restore()
            given = list(inputs)
            if isinstance(of, int):
                given[of] = values
            else:
                of.assign(values)
            return layer.run_forward(self.xp, mapped(self.xp.asarray, filled(x, given)), training=True)

        def output(values: Any, of: Variable | int) -> Any:
            return side_by_side(mapped(self.host, passes(values, of)[0]))

        y = mapped(self.host, passes(inputs[0], 0)[0])
        cotangent = self.random.standard_normal(side_by_side(y).shape)
        dy = mapped(self.xp.asarray, apart(cotangent, y))

        def backward(values: Any, of: Variable | int) -> tuple[list[Array | None], dict[str, Array]]:
            dx, gradients = layer.run_backward(self.xp, passes(values, of)[1], dy)
            return [None] * len(inputs) if dx is None else leaves(dx), gradients

        def gradient(values: Any, of: Variable | int, name: str) -> Any:
            dx, gradients = backward(values, of)
            return self.host(dx[of] if isinstance(of, int) else gradients[name])  # type: ignore[arg-type]

        dx, _ = backward(inputs[0], 0)
        subjects: list[tuple[str, Variable | int]] = [
            (name, number)
            for number, name in enumerate(names_of_inputs(x))
            if np.issubdtype(inputs[number].dtype, np.floating) and dx[number] is not None
        ]
        for name, of in (*subjects, *trained.items()):
            first = inputs[of] if isinstance(of, int) else self.state[of]
            function = functools.partial(output, of=of)
            derivative = functools.partial(gradient, of=of, name=name)
            found = compare("training", name, function, derivative, first, cotangent, self.random, self.tolerance)
            if not found.equal:
                return name
        return None
