"""L-BFGS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import check_count
from layerkit.errors import ArgumentError
from layerkit.optimizers.line_search import Point, strong_wolfe
from layerkit.optimizers.searching import SearchingOptimizer
from layerkit.overriding import override
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.xp.backend import Array

_LONGEST_HISTORY = 1000


class LBFGS(SearchingOptimizer):
    """Limited-memory BFGS: for small networks and smooth losses, all rows at once (Liu and Nocedal, Math. Prog. 1989).

    With g the gradient, and of the last steps ``s = w' - w`` and ``y = g' - g``, the direction is ``d = -H g``, where H
    is the estimate of the inverse Hessian that these pairs make of ``(s·y / y·y) I`` (Nocedal and Wright, *Numerical
    Optimization*, 2006, algorithm 7.4). ``w ← w + t d``, with t by the strong Wolfe conditions, for which loss and
    gradient are computed at several points: a step takes two evaluations as a rule, and an epoch is one step.

    The loss should be the same function in each evaluation: dropout would make it another one each time.

    Args:
        learning_rate: the first t that is tried, above 0; of the very first step, it is divided by the sum of ``|g|``
            where that is above 1.
        history_size: how many pairs are kept, at most 1000.
        max_evaluations: how often loss and gradient are computed in one step, at most.
        name: by default "lbfgs".

    Raises:
        ArgumentError: a number is out of its range; or `fit` takes more than one batch an epoch.
    """

    needs = "the gradient at several points. Received: apply, with that at one"

    def __init__(
        self,
        learning_rate: float = 1.0,
        history_size: int = 10,
        max_evaluations: int = 25,
        name: str | None = None,
    ) -> None:
        super().__init__(learning_rate, name=name or "lbfgs")
        self.history_size = check_count(self.name, 1, history_size=history_size)
        if history_size > _LONGEST_HISTORY:  # also of a file, which so could ask for any number of vectors
            raise ArgumentError(
                f"{self.name}: history_size must be at most {_LONGEST_HISTORY}. Received: history_size={history_size}"
            )
        self.max_evaluations = check_count(self.name, 2, max_evaluations=max_evaluations)
        # How many there were so far; each is kept at the place of its number.
        self._pairs = Variable(0, "int64", "pairs", trainable=False, xp=self.xp)

    @override
    def active_slots(self) -> tuple[str, ...]:
        pairs = [f"{kind}_{place}" for place in range(self.history_size) for kind in ("step", "change")]
        return ("start", "slope", *pairs)

    @override
    def own_state(self) -> list[Variable]:
        return [self._pairs, self.loss]

    def minimize(
        self,
        function: Callable[[], tuple[Any, Sequence[Any]]],
        trainable_variables: Sequence[Variable],
        steps: int = 1,
    ) -> float:
        """Take so many steps, without a model, and return the loss that was reached.

        ::

            w = Variable(np.array([-1.2, 1.0]), "float64", "w")

            def function():
                loss, gradient = layerkit.value_and_grad(rosenbrock)(w.value)
                return loss, [gradient]

            LBFGS().minimize(function, [w], steps=50)

        Args:
            function: returns the loss, and a gradient for each variable, where the variables are now.
            trainable_variables: what is changed.
            steps: how many, at least 1.
        """
        check_count(self.name, 1, steps=steps)
        variables = list(trainable_variables)
        self.build(variables)
        self.plan(variables)
        xp = self.xp

        def evaluate() -> None:
            loss, gradients = function()
            xp.assign(self.loss.value, xp.asarray(loss, "float64"))
            for target, gradient, variable in zip(self._gradients, gradients, variables, strict=True):
                xp.assign(target.value, xp.asarray(gradient, variable.dtype))

        with xp.on_device():
            for _ in range(steps):
                evaluate()
                self.update(xp)
                self.search(evaluate)
                self.constrain(xp)
            evaluate()
        return self._read(self.loss.value)

    @override
    def search(self, evaluate: Callable[[], None], linearize: Callable[[], Array] | None = None) -> None:
        xp = self.xp
        parameters, gradient = self._vector("parameters"), self._vector("gradient")
        start, slope = self._vector("start"), self._vector("slope")
        self._assign(start, parameters)
        self._assign(slope, gradient)
        direction = self._direction(slope)
        begin = Point(0.0, self._read(self.loss.value), self._dot(slope, direction))
        if not begin.slope < 0:
            xp.assign(self._pairs.value, 0)
            direction = [-g for g in slope]
            begin = begin._replace(slope=self._dot(slope, direction))
        if not begin.slope < 0:  # the gradient is 0, or NaN
            return
        length = self.learning_rate
        if self._read(self._pairs.value) == 0:
            length = length / max(1.0, sum(self._read(xp.sum(xp.abs(g))) for g in slope))
        reached = begin

        def at(length: float) -> Point:
            nonlocal reached
            self._assign(parameters, [w + length * d for w, d in zip(start, direction, strict=True)])
            evaluate()
            reached = Point(length, self._read(self.loss.value), self._dot(gradient, direction))
            return reached

        found = strong_wolfe(at, begin, length, self.max_evaluations)
        if found.length == 0:  # nothing is lower: as far as numbers of this dtype go
            self._assign(parameters, start)
            xp.assign(self._pairs.value, 0)
            return
        if found is not reached:
            at(found.length)
        self._remember([w - v for w, v in zip(parameters, start, strict=True)], gradient, slope)

    def _remember(self, step: list[Array], gradient: list[Array], before: list[Array]) -> None:
        change = [g - h for g, h in zip(gradient, before, strict=True)]
        if self._dot(step, change) > 1e-10 * self._dot(change, change):  # else H would not stay positive
            place = int(self._read(self._pairs.value)) % self.history_size
            self._assign(self._vector(f"step_{place}"), step)
            self._assign(self._vector(f"change_{place}"), change)
            self.xp.assign_add(self._pairs.value, 1)

    def _direction(self, gradient: list[Array]) -> list[Array]:
        """Return ``-H g``, by the two loops."""
        count = int(self._read(self._pairs.value))
        newest_first = [
            number % self.history_size for number in range(count - 1, max(count - self.history_size, 0) - 1, -1)
        ]
        pairs = [(self._vector(f"step_{place}"), self._vector(f"change_{place}")) for place in newest_first]
        q, shares = list(gradient), list[float]()
        for step, change in pairs:
            shares.append(self._dot(step, q) / self._dot(step, change))
            q = [a - shares[-1] * y for a, y in zip(q, change, strict=True)]
        if pairs:
            step, change = pairs[0]
            scale = self._dot(step, change) / self._dot(change, change)
            q = [scale * a for a in q]
        for (step, change), share in zip(reversed(pairs), reversed(shares), strict=True):
            rest = share - self._dot(change, q) / self._dot(step, change)
            q = [a + rest * s for a, s in zip(q, step, strict=True)]
        return [-a for a in q]

    # Vectors are lists: a part for each stretch of parameters.

    def _assign(self, vector: list[Array], values: list[Array]) -> None:
        for target, value in zip(vector, values, strict=True):
            self.xp.assign(target, value)

    def _dot(self, a: list[Array], b: list[Array]) -> float:
        xp = self.xp
        parts = [xp.sum(xp.astype(p, xp.float64) * xp.astype(q, xp.float64)) for p, q in zip(a, b, strict=True)]
        return sum(map(self._read, parts))
