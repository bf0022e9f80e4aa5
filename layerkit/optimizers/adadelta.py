"""Adadelta."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Adadelta(Optimizer):
    """Steps as large as the last ones were, relative to the gradient (Zeiler, arXiv:1212.5701, algorithm 1).

    ``a ← ρ a + (1 - ρ) g²``, ``s = g √(d + ε) / √(a + ε)``, ``d ← ρ d + (1 - ρ) s²``, ``w ← w - η s``.

    Args:
        learning_rate: η; 1 in the paper.
        rho: ρ, from 0 to below 1.
        epsilon: ε, above 0.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("accumulated_grad", "accumulated_delta_var")

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.rho = check_fraction("Adadelta", below_1=True, rho=rho)
        self.epsilon = check_positive("Adadelta", epsilon=epsilon)

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        d = slots["accumulated_delta_var"]
        share = (1.0 - self.rho) * (g * g)
        a = self.rho * slots["accumulated_grad"] + share
        ratio = (d + self.epsilon) / (a + self.epsilon)
        d = self.rho * d + ratio * share  # s² = ratio g²
        return xp.sqrt(ratio) * g * -step_size, {"accumulated_grad": a, "accumulated_delta_var": d}
