"""Ftrl."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_at_least, check_number
from layerkit.errors import ArgumentError
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


class Ftrl(Optimizer):
    """Follows the regularized leader, so that weights become 0 (McMahan et al., KDD 2013, algorithm 1).

    With p = -learning_rate_power: ``n' = n + g²``, ``z ← z + g + 2 s w - (n'ᵖ - nᵖ) w / η``,
    ``w ← (clip(z, -λ₁, λ₁) - z) / (n'ᵖ / η + β / η + 2 λ₂)``, ``n ← n'``.

    Args:
        learning_rate: η; at 0 nothing changes.
        learning_rate_power: at most 0; -0.5 in the paper, 0 for steps that do not shrink.
        initial_accumulator_value: n before the first step, at least 0.
        l1_regularization_strength: λ₁, at least 0.
        l2_regularization_strength: λ₂, at least 0.
        l2_shrinkage_regularization_strength: s, at least 0: a penalty of magnitude, where λ₂ stabilizes.
        beta: β, at least 0.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("accumulator", "linear")

    def __init__(
        self,
        learning_rate: float = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        if check_number("Ftrl", learning_rate_power=learning_rate_power) > 0:
            raise ArgumentError(
                f"Ftrl: learning_rate_power must be at most 0. Received: learning_rate_power={learning_rate_power}"
            )
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = check_at_least("Ftrl", 0, initial_accumulator_value=initial_accumulator_value)
        self.l1_regularization_strength = check_at_least(
            "Ftrl", 0, l1_regularization_strength=l1_regularization_strength
        )
        self.l2_regularization_strength = check_at_least(
            "Ftrl", 0, l2_regularization_strength=l2_regularization_strength
        )
        self.l2_shrinkage_regularization_strength = check_at_least(
            "Ftrl", 0, l2_shrinkage_regularization_strength=l2_shrinkage_regularization_strength
        )
        self.beta = check_at_least("Ftrl", 0, beta=beta)

    @override
    def first_slot(self, xp: Backend, name: str, variable: Variable) -> Array | None:
        return xp.full_like(variable.value, self.initial_accumulator_value) if name == "accumulator" else None

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> tuple[Array, Array]:
        # A rate of 0, by which the rule would divide, is a step of rate 1 without gradient, which is not taken.
        moves = xp.astype(learning_rate > 0.0, xp.float64)
        return learning_rate + (1.0 - moves), moves

    def _power(self, xp: Backend, n: Array) -> Array:
        return xp.sqrt(n) if self.learning_rate_power == -0.5 else xp.pow(n, -float(self.learning_rate_power))

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: tuple[Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        rate, moves = step_size
        g = g * moves
        before = self._power(xp, slots["accumulator"])
        n = slots["accumulator"] + g * g
        power = self._power(xp, n)
        z = slots["linear"] + g - (power - before) * w * (1.0 / rate)
        if self.l2_shrinkage_regularization_strength:
            z = z + 2.0 * self.l2_shrinkage_regularization_strength * w
        bound = self.l1_regularization_strength
        pushed = z - xp.clip(z, -bound, bound) if bound else z
        if self.beta or self.l2_regularization_strength:
            power = power + (self.beta + 2.0 * self.l2_regularization_strength * rate)
        leader = pushed * -rate / power
        return (leader - w) * moves, {"accumulator": n, "linear": z}
