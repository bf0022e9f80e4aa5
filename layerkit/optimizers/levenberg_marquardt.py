"""The Levenberg-Marquardt algorithm."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_at_least, check_count, check_positive, shown
from layerkit.errors import ArgumentError
from layerkit.optimizers.searching import SearchingOptimizer
from layerkit.overriding import override
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.xp.backend import Array

_LEAST_DAMPING, _MOST_DAMPING = 1e-14, 1e32


class LevenbergMarquardt(SearchingOptimizer):
    r"""Levenberg-Marquardt: for sums of squares and small networks, all rows at once (Marquardt, J. SIAM 11, 1963).

    With r the residuals and J their derivatives by the parameters, the loss ``F = Σ c r²`` has the gradient
    ``g = 2 Jᵀ c r`` and nearly the second derivatives ``H = 2 Jᵀ c J``. A step h solves ``(H + μ D) h = -g``, where D
    is the largest diagonal of H so far, so that the scale of a parameter does not matter (Moré, *Numerical Analysis*,
    1978). Of ρ, the decrease of F as a share of what was predicted, follows the damping: where ρ > 0, the step is taken
    and ``μ ← μ max(1/3, 1 - (2 ρ - 1)³)``; elsewhere ``μ ← μ ν``, ``ν ← 2 ν``, and h is sought again (Madsen, Nielsen
    and Tingleff, *Methods for Non-Linear Least Squares Problems*, 2004, algorithm 3.16; Nocedal and Wright, *Numerical
    Optimization*, 2006, chapter 10). An epoch is one step, and its loss that where the step begins.

    The loss must be a mean or sum of squares (`MeanSquaredError`, `MeanSquaredLogarithmicError`, or one with
    `Loss.residuals`), with any weights of samples. L2 penalties belong to F and H; other penalties are refused. Each
    row's output must follow from that row alone, and always be the same: no dropout, no batch normalization.

    Training ends before its last epoch where one of three rules holds; `converged` then tells which:

    - "gradient": the cosine between the residuals and each column of J is at most `gradient_tolerance`;
    - "step": h is at most `step_tolerance` times the parameters, in the norm of D;
    - "cost": F decreased, and was predicted to, by at most `cost_tolerance` times itself.

    With P parameters and K outputs, a step takes about ``2 n K P²`` operations for n rows, and ``2/3 P³`` for each h;
    and memory for ``5 P²`` float64 numbers, and for some four million more, where a block of rows of J stands.

    Args:
        damping: the first μ.
        max_evaluations: how often h is sought in one step, at most.
        gradient_tolerance: at least 0, which holds at a perfect fit alone.
        step_tolerance: at least 0.
        cost_tolerance: at least 0.
        max_parameters: how many parameters are allowed: 4,000 take 0.6 GB.
        name: by default "levenberg_marquardt".

    Attributes:
        converged: "gradient", "step" or "cost" after a step where that rule holds; None.

    Raises:
        ArgumentError: a number is out of its range; the loss is no sum of squares; a penalty is none of squares; there
            are too many parameters; or `fit` takes more than one batch an epoch.
    """

    needs = "the derivative of each residual. Received: apply, with a gradient"
    least_squares: ClassVar[bool] = True

    def __init__(
        self,
        damping: float = 1e-3,
        max_evaluations: int = 25,
        gradient_tolerance: float = 1e-8,
        step_tolerance: float = 1e-8,
        cost_tolerance: float = 1e-8,
        max_parameters: int = 4000,
        name: str | None = None,
    ) -> None:
        super().__init__(1.0, name=name or "levenberg_marquardt")
        self.damping = check_positive(self.name, damping=damping)
        self.max_evaluations = check_count(self.name, 1, max_evaluations=max_evaluations)
        self.gradient_tolerance = check_at_least(self.name, 0, gradient_tolerance=gradient_tolerance)
        self.step_tolerance = check_at_least(self.name, 0, step_tolerance=step_tolerance)
        self.cost_tolerance = check_at_least(self.name, 0, cost_tolerance=cost_tolerance)
        self.max_parameters = check_count(self.name, 1, max_parameters=max_parameters)
        self._damping = Variable(damping, "float64", "damping", trainable=False, xp=self.xp)
        self._growth = Variable(2.0, "float64", "growth", trainable=False, xp=self.xp)

    @override
    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name != "learning_rate"}

    @override
    def _set_rate(self, value: Any) -> None:
        if value != 1.0:
            raise ArgumentError(
                f"{self.name}: the length of a step follows from its damping, and there is no learning rate. Received: "
                f"learning_rate={shown(value)}"
            )
        super()._set_rate(value)

    @override
    def active_slots(self) -> tuple[str, ...]:
        return ("scale",)

    @override
    def own_state(self) -> list[Variable]:
        return [self._damping, self._growth, self.loss]

    @override
    def check(self, variables: Sequence[Variable]) -> None:
        count = sum(variable.size for variable in variables)
        if count > self.max_parameters:
            raise ArgumentError(
                f"{self.name}: a step solves equations in all parameters, of which there may be "
                f"{self.max_parameters:,}. Received: {count:,} parameters. Use LBFGS, or give max_parameters={count}, "
                f"which takes {5 * 8 * count**2 / 1e9:.2g} GB."
            )

    def minimize(
        self,
        function: Callable[[], tuple[Any, Sequence[Any]]],
        trainable_variables: Sequence[Variable],
        steps: int = 1,
    ) -> float:
        r"""Take at most so many steps, without a model, and return the sum of squares that was reached.

        ::

            w = Variable(np.array([-1.2, 1.0]), "float64", "w")

            def residuals(w):
                return np.stack([10.0 * (w[1] - w[0] ** 2), 1.0 - w[0]])

            def function():
                return residuals(w.value), [layerkit.jacobian(residuals)(w.value)]

            LevenbergMarquardt().minimize(function, [w], steps=50)

        Args:
            function: returns the residuals, and their derivatives by each variable, where the variables are now.
            trainable_variables: what is changed.
            steps: how many, at least 1; fewer where `converged` tells why.

        Shapes:
            residuals: (n,). derivatives: (n, \*variable.shape).
        """
        check_count(self.name, 1, steps=steps)
        variables = list(trainable_variables)
        self.check(variables)
        self.build(variables)
        self.plan(variables)
        xp = self.xp
        residuals: Any = None
        jacobian: Any = None

        def evaluate() -> None:
            nonlocal residuals, jacobian
            found, derivatives = function()
            by_variable = dict(zip(variables, derivatives, strict=True))
            residuals = xp.asarray(found, "float64")
            count = residuals.shape[0]
            columns = [
                xp.reshape(xp.asarray(by_variable[each], "float64"), (count, each.size)) for each in self.planned
            ]
            jacobian = xp.concat(columns, axis=1)
            xp.assign(self.loss.value, xp.sum(residuals * residuals))
            slope = 2.0 * xp.matmul(jacobian.T, residuals)
            for target, part in zip(self._vector("gradient"), self._parts(slope), strict=True):
                xp.assign(target, part)

        def linearize() -> Array:
            return 2.0 * xp.matmul(jacobian.T, jacobian)

        with xp.on_device():
            evaluate()
            for _ in range(steps):
                self.update(xp)
                self.search(evaluate, linearize)
                self.constrain(xp)
                if self.converged is not None:
                    break
            evaluate()
        return self._read(self.loss.value)

    @override
    def search(self, evaluate: Callable[[], None], linearize: Callable[[], Array] | None = None) -> None:
        assert linearize is not None  # noqa: S101 - whoever runs it looks at `least_squares`
        xp = self.xp
        cost = self._read(self.loss.value)
        curvature = linearize()
        gradient = self._flat("gradient")
        diagonal = xp.linalg.diagonal(curvature)
        largest = xp.maximum(self._flat("scale"), diagonal)
        for target, part in zip(self._vector("scale"), self._parts(largest), strict=True):
            xp.assign(target, part)
        unit = 1.0 / xp.sqrt(xp.where(largest > 0, largest, xp.ones_like(largest)))  # D^(-1/2)
        scaled, slope = curvature * xp.expand_dims(unit, axis=1) * unit, gradient * unit
        identity, start = xp.eye(slope.shape[0], dtype=xp.float64), self._flat("parameters")
        self.converged = None
        cosine = xp.abs(slope) / xp.sqrt(xp.maximum(2.0 * cost * diagonal * unit * unit, 1e-300))
        if not math.isfinite(cost):
            return
        if cost == 0 or self._read(xp.max(cosine)) <= self.gradient_tolerance:
            self.converged = "gradient"
            return
        size = self._norm(start / unit)
        damping, growth = self._read(self._damping.value), self._read(self._growth.value)
        for _ in range(self.max_evaluations):
            direction = xp.linalg.solve(scaled + damping * identity, -slope)
            length = self._norm(direction)
            # Half of h · (μ D h - g), which is what the quadratic model decreases by.
            predicted = 0.5 * self._read(xp.sum(direction * (damping * direction - slope)))
            self._assign(start + direction * unit)
            evaluate()
            decrease = cost - self._read(self.loss.value)
            ratio = decrease / predicted if predicted > 0 and math.isfinite(length) else -math.inf
            taken = ratio > 0  # and not NaN
            if taken:
                damping, growth = max(damping * max(1 / 3, 1 - (2 * ratio - 1) ** 3), _LEAST_DAMPING), 2.0
            else:
                damping, growth = min(damping * growth, _MOST_DAMPING), 2 * growth
            if max(predicted, abs(decrease)) <= self.cost_tolerance * cost and (taken and ratio <= 2):
                self.converged = "cost"
            elif length <= self.step_tolerance * (size + self.step_tolerance):
                self.converged = "step"
            if taken or self.converged:
                break
        else:
            taken = False
        if not taken:
            self._assign(start)
        xp.assign(self._damping.value, damping)
        xp.assign(self._growth.value, growth)

    # Vectors of all parameters, one behind the other, in float64.

    def _flat(self, name: str) -> Array:
        xp = self.xp
        return xp.concat([xp.astype(part, xp.float64) for part in self._vector(name)])

    def _parts(self, flat: Array) -> list[Array]:
        xp, parts, offset = self.xp, list[Any](), 0
        for part in self._vector("parameters"):
            parts.append(xp.astype(flat[offset : offset + part.shape[0]], part.dtype))
            offset += part.shape[0]
        return parts

    def _assign(self, flat: Array) -> None:
        for target, part in zip(self._vector("parameters"), self._parts(flat), strict=True):
            self.xp.assign(target, part)

    def _norm(self, flat: Array) -> float:
        return math.sqrt(self._read(self.xp.sum(flat * flat)))
