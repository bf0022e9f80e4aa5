"""Lamb."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments, squared_norm
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Lamb(Optimizer):
    """Adam's direction, for each parameter as long as the parameter itself (You et al., ICLR 2020, algorithm 2).

    With Adam's m and v: ``u = m / (1 - β₁ᵗ) / (√(v / (1 - β₂ᵗ)) + ε)``, ``w ← w - η |w| / |u| u`` at step t = 1, 2, ….
    Where a norm is 0, their ratio is taken as 1. Weight decay is apart from u, as in Keras.

    Args:
        learning_rate: η.
        beta_1: β₁, from 0 to below 1.
        beta_2: β₂, from 0 to below 1.
        epsilon: ε, above 0.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    elementwise: ClassVar[bool] = False
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
        self.beta_1 = check_fraction("Lamb", below_1=True, beta_1=beta_1)
        self.beta_2 = check_fraction("Lamb", below_1=True, beta_2=beta_2)
        self.epsilon = check_positive("Lamb", epsilon=epsilon)

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> tuple[Array, Array, Array]:
        return learning_rate, 1.0 - xp.pow(self.beta_1, t), xp.sqrt(1.0 - xp.pow(self.beta_2, t))

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: tuple[Array, Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        rate, whole, root = step_size
        m = slots["momentum"] + (g - slots["momentum"]) * (1.0 - self.beta_1)
        v = slots["velocity"] + (g * g - slots["velocity"]) * (1.0 - self.beta_2)
        u = m / (xp.sqrt(v) + self.epsilon * root)  # but for its factor, which the ratio of norms divides by
        length = xp.sqrt(squared_norm(xp, u))
        long = xp.sqrt(squared_norm(xp, w))  # later, so that w is still in cache when it is changed
        both = (long > 0.0) & (length > 0.0)
        size = xp.where(both, long, root / whole) / xp.where(both, length, 1.0)
        return u * -(rate * size), {"momentum": m, "velocity": v}
