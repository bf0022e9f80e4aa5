"""ScheduleFreeAdamW."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_at_least, check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


class ScheduleFreeAdamW(Optimizer):
    """Adam whose averaged path needs no schedule (Defazio et al., NeurIPS 2024, algorithm 1).

    The weights w are a mean of where the steps lead, z, and of the average of that, x: ``w = (1 - β₁) z + β₁ x``. At
    step t = 1, 2, …: ``v ← v + (1 - β₂)(g² - v)``, ``z' = z - η g / (√(v / (1 - β₂ᵗ)) + ε)``, ``x ← x + (z' - x) / t``.
    Before the first step z = w. With a warm-up of s steps, η is multiplied by min(t / s, 1).

    Args:
        learning_rate: η.
        beta_1: β₁, above 0 to 1.
        beta_2: β₂, from 0 to below 1.
        epsilon: ε, above 0.
        warmup_steps: s, at least 0.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: float = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: float = 0,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_fraction("ScheduleFreeAdamW", beta_1=check_positive("ScheduleFreeAdamW", beta_1=beta_1))
        self.beta_2 = check_fraction("ScheduleFreeAdamW", below_1=True, beta_2=beta_2)
        self.epsilon = check_positive("ScheduleFreeAdamW", epsilon=epsilon)
        self.warmup_steps = check_at_least("ScheduleFreeAdamW", 0, warmup_steps=warmup_steps)

    @override
    def first_slot(self, xp: Backend, name: str, variable: Variable) -> Array | None:
        return variable.value if name == "momentum" else None

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> tuple[Array, Array, Array, Array]:
        if self.warmup_steps:
            learning_rate = learning_rate * xp.minimum(t / self.warmup_steps, 1.0)
        lead = 1.0 - self.beta_1 * (1.0 - 1.0 / t)
        root = xp.sqrt(1.0 - xp.pow(self.beta_2, t))
        return learning_rate * root, self.epsilon * root, 1.0 / t, lead

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: tuple[Array, Array, Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        # With x = (w - (1 - β₁) z) / β₁, z' - x is dz + (z - w) / β₁.
        rate, epsilon, share, lead = step_size
        v = slots["velocity"] + (g * g - slots["velocity"]) * (1.0 - self.beta_2)
        dz = g * -rate / (xp.sqrt(v) + epsilon)
        z = slots["momentum"]
        return dz * lead + (z - w) * share, {"momentum": z + dz, "velocity": v}
