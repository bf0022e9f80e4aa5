"""Loss scaling: gradients in float16 that would be rounded to 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import check_count, check_positive, shown
from layerkit.errors import ArgumentError
from layerkit.optimizers.optimizer import Optimizer
from layerkit.overriding import override
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import State


class LossScaleOptimizer(Optimizer):
    """Lets another optimizer follow the gradients of a loss that is multiplied by a large number s.

    The smallest float16 is 6e-8: gradients below it vanish. Those of ``s L`` do not; they are divided by s again, in
    float32, before they are followed (Micikevicius and others, ICLR 2018). Where one of them is infinite or NaN, s was
    too large: the step is left out and s halved. After so many finite steps in a row, s is doubled.

    ``compile(auto_scale_loss=True)`` puts it around the optimizer of a model whose dtype is "mixed_float16".

    Args:
        inner_optimizer: follows the gradients; what is set of it, such as clipping, acts on gradients of L.
        initial_scale: s, at first.
        dynamic_growth_steps: after how many finite steps in a row s is doubled.
        name: by default ``"loss_scale_optimizer"``.

    Raises:
        ArgumentError: `inner_optimizer` is no optimizer, or scales losses itself; or a number is out of its range.
    """

    scales_loss = True

    def __init__(
        self,
        inner_optimizer: Optimizer,
        initial_scale: float = 2.0**15,
        dynamic_growth_steps: int = 2000,
        name: str | None = None,
    ) -> None:
        if not isinstance(inner_optimizer, Optimizer) or isinstance(inner_optimizer, LossScaleOptimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"LossScaleOptimizer: inner_optimizer must be an Optimizer that does not scale losses itself. "
                f"Received: inner_optimizer={shown(inner_optimizer)}"
            )
        if inner_optimizer.searches:
            raise ArgumentError(
                f"LossScaleOptimizer: an optimizer that searches needs float32 at least. Received: "
                f"inner_optimizer={inner_optimizer!r}. Give the model dtype='float32'."
            )
        if inner_optimizer.loss_scale_factor is not None:
            raise ArgumentError(
                f"LossScaleOptimizer: the loss is scaled in one way. Received: inner_optimizer with "
                f"loss_scale_factor={inner_optimizer.loss_scale_factor}. Leave that out."
            )
        super().__init__(0.0, name=name)
        self.inner_optimizer = inner_optimizer
        self.initial_scale = check_positive("LossScaleOptimizer", initial_scale=initial_scale)
        self.dynamic_growth_steps = check_count("LossScaleOptimizer", 1, dynamic_growth_steps=dynamic_growth_steps)
        self._step_counter = Variable(0, "int64", "step_counter", trainable=False, xp=self.xp)
        self._scale = Variable(float(initial_scale), "float32", "dynamic_scale", trainable=False, xp=self.xp)

    @property
    def dynamic_scale(self) -> float:
        """The number by which the next loss is multiplied."""
        return float(self._scale.numpy())

    @override
    def get_config(self) -> dict[str, Any]:
        return {
            "inner_optimizer": self.inner_optimizer,
            "initial_scale": self.initial_scale,
            "dynamic_growth_steps": self.dynamic_growth_steps,
            "name": self.name,
        }

    @override
    def parts(self) -> list[Optimizer]:
        return [self, *self.inner_optimizer.parts()]

    @property
    @override
    def learning_rate(self) -> Any:
        """That of the inner optimizer."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self.inner_optimizer.learning_rate = value

    @property
    @override
    def iterations(self) -> int:
        """The number of steps taken, without those that were left out."""
        return self.inner_optimizer.iterations

    @property
    @override
    def parameters(self) -> list[Variable]:
        return self.inner_optimizer.parameters

    @property
    @override
    def variables(self) -> list[Variable]:
        return [self._step_counter, self._scale, *self.inner_optimizer.variables]

    @override
    def held(self) -> list[Variable]:
        own = [self._iterations, self._learning_rate, self._step_counter, self._scale]
        return [*own, *self.inner_optimizer.held()]

    @override
    def active_slots(self) -> tuple[str, ...]:
        return self.inner_optimizer.all_slots()

    @override
    def build(self, variables: Iterable[Variable]) -> None:
        self.inner_optimizer.build(variables)
        self.move(self.inner_optimizer.xp)
        self._parameters = self.inner_optimizer.parameters
        self.built = True

    @override
    def move(self, xp: Backend) -> None:
        super().move(xp)
        self.inner_optimizer.move(xp)

    @override
    def gradient(self, variable: Variable) -> State:
        return self.inner_optimizer.gradient(variable)

    @override
    def plan(self, variables: Sequence[Variable]) -> None:
        self.inner_optimizer.plan(variables)
        self._gradients = [self.gradient(variable) for variable in variables]

    @override
    def gradient_vectors(self) -> list[State]:
        return self.inner_optimizer.gradient_vectors()

    @override
    def at_risk(self) -> list[State]:
        return self.inner_optimizer.at_risk()

    @override
    def loss_scale(self, xp: Backend) -> Array | None:
        return self._scale.value

    @override
    def update(self, xp: Backend, finite: Array | None = None) -> None:
        """Divide the gradients by the scale, take a step if all are finite, and adapt the scale."""
        scale, counter = self._scale.value, self._step_counter.value
        vectors = [vector.value for vector in self.gradient_vectors()]
        for g in vectors:
            here = xp.all(xp.isfinite(g))
            finite = here if finite is None else xp.logical_and(finite, here)
        if finite is None:  # nothing is trained
            return
        for g in vectors:
            xp.assign(g, xp.where(finite, g / xp.astype(scale, g.dtype), xp.zeros_like(g)))
        self.inner_optimizer.update(xp, finite)
        grown = xp.logical_and(finite, counter == self.dynamic_growth_steps - 1)
        xp.assign(counter, xp.where(xp.logical_and(finite, xp.logical_not(grown)), counter + 1, xp.zeros_like(counter)))
        larger = xp.minimum(scale, 2.0**126) * 2.0  # once infinite, it would stay so
        xp.assign(scale, xp.where(finite, xp.where(grown, larger, scale), scale * 0.5))

    @override
    def constrain(self, xp: Backend) -> None:
        self.inner_optimizer.constrain(xp)

    @override
    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    @override
    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        self.inner_optimizer.finalize_variable_values(var_list)
