"""RMSprop."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_flag, check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class RMSprop(Optimizer):
    """Steps divided by a running root mean square of the gradient (Tieleman and Hinton, lecture 6.5, 2012).

    ``v ← ρ v + (1 - ρ) g²``, ``s = η g / √(v + ε)``, ``w ← w - s``. With momentum μ: ``m ← μ m + s``, ``w ← w - m``.
    `centered` subtracts the squared running mean of g from v (Graves, 2013).

    Args:
        learning_rate: η.
        rho: ρ, from 0 to below 1.
        momentum: μ, from 0 to 1.
        epsilon: ε, above 0.
        centered: whether v is a variance.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("velocity", "momentum", "average_gradient")

    def __init__(
        self,
        learning_rate: float = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.rho = check_fraction("RMSprop", below_1=True, rho=rho)
        self.momentum = check_fraction("RMSprop", momentum=momentum)
        self.epsilon = check_positive("RMSprop", epsilon=epsilon)
        self.centered = check_flag("RMSprop", centered=centered)

    @override
    def active_slots(self) -> tuple[str, ...]:
        wanted = (True, self.momentum > 0, self.centered)
        return tuple(name for name, wants in zip(self.slot_names, wanted, strict=True) if wants)

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        v = self.rho * slots["velocity"] + (1.0 - self.rho) * (g * g)
        changed = {"velocity": v}
        if self.centered:
            mean = changed["average_gradient"] = self.rho * slots["average_gradient"] + (1.0 - self.rho) * g
            v = v - mean * mean
        step = step_size * g / xp.sqrt(v + self.epsilon)
        if self.momentum > 0:
            step = changed["momentum"] = self.momentum * slots["momentum"] + step
        return -step, changed
