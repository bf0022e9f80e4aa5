"""Adamax."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Adamax(Optimizer):
    """Adam with the largest gradient, which fades, in the place of the root mean square (Kingma and Ba, algorithm 2).

    ``m ← m + (1 - β₁)(g - m)``, ``u ← max(β₂ u, |g|)``, ``w ← w - η / (1 - β₁ᵗ) · m / (u + ε)`` at step t = 1, 2, ….

    Args:
        learning_rate: η.
        beta_1: β₁, from 0 to below 1.
        beta_2: β₂, from 0 to below 1.
        epsilon: ε, above 0; the paper has none.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("momentum", "norm")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_fraction("Adamax", below_1=True, beta_1=beta_1)
        self.beta_2 = check_fraction("Adamax", below_1=True, beta_2=beta_2)
        self.epsilon = check_positive("Adamax", epsilon=epsilon)

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> Array:
        return learning_rate / (1.0 - xp.pow(self.beta_1, t))

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        m = slots["momentum"] + (g - slots["momentum"]) * (1.0 - self.beta_1)
        u = xp.maximum(self.beta_2 * slots["norm"], xp.abs(g))
        return m * -step_size / (u + self.epsilon), {"momentum": m, "norm": u}
