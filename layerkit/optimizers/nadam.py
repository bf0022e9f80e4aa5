"""Nadam."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Nadam(Optimizer):
    """Adam with Nesterov's momentum (Dozat, ICLR 2016 workshop), which grows over the first steps.

    With ``μ_t = β₁ (1 - 0.96ᵗ / 2)`` and ``P_t = μ₁ μ₂ ⋯ μ_t`` at step t = 1, 2, …, and Adam's m and v:
    ``m̂ = μ_{t+1} m / (1 - P_{t+1}) + (1 - μ_t) g / (1 - P_t)``, ``w ← w - η m̂ / (√(v / (1 - β₂ᵗ)) + ε)``.

    Args:
        learning_rate: η.
        beta_1: β₁, from 0 to below 1.
        beta_2: β₂, from 0 to below 1.
        epsilon: ε, above 0.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_fraction("Nadam", below_1=True, beta_1=beta_1)
        self.beta_2 = check_fraction("Nadam", below_1=True, beta_2=beta_2)
        self.epsilon = check_positive("Nadam", epsilon=epsilon)
        self._product = Variable(1.0, "float64", "momentum_product", trainable=False, xp=self.xp)

    @override
    def own_state(self) -> list[Variable]:
        return [self._product]

    def _momentum(self, xp: Backend, t: Array) -> Array:
        return self.beta_1 * (1.0 - 0.5 * xp.pow(0.96, t))

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> tuple[Array, Array, Array]:
        now, then, held = self._momentum(xp, t), self._momentum(xp, t + 1.0), self._product.value
        product = held * now
        of_m = learning_rate * then / (1.0 - product * then)
        of_g = learning_rate * (1.0 - now) / (1.0 - product)
        due = self.due(xp)
        xp.assign(held, product if due is None else xp.where(due, product, held))
        root = xp.sqrt(1.0 - xp.pow(self.beta_2, t))
        return of_m * root, of_g * root, self.epsilon * root

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: tuple[Array, Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        of_m, of_g, epsilon = step_size
        m = slots["momentum"] + (g - slots["momentum"]) * (1.0 - self.beta_1)
        v = slots["velocity"] + (g * g - slots["velocity"]) * (1.0 - self.beta_2)
        return (m * -of_m - g * of_g) / (xp.sqrt(v) + epsilon), {"momentum": m, "velocity": v}
