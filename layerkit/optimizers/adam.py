"""Adam."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_flag, check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Adam(Optimizer):
    """Steps scaled by running means of the gradient and of its square (Kingma and Ba, ICLR 2015, section 2.1).

    ``m ← m + (1 - β₁)(g - m)``, ``v ← v + (1 - β₂)(g² - v)``, ``w ← w - η √(1 - β₂ᵗ) / (1 - β₁ᵗ) · m / (√v + ε)``
    at step t = 1, 2, …. With `amsgrad`, √v is the largest so far (Reddi, Kale and Kumar, ICLR 2018).

    Args:
        learning_rate: η.
        beta_1: β₁, from 0 to below 1.
        beta_2: β₂, from 0 to below 1.
        epsilon: ε, above 0; "ε-hat" of the paper. Where all is float16 (``dtype="float16"``), v begins as 0 for
            gradients below 0.0055, and m / 1e-7 is a leap: 1e-3 suits it. ``"mixed_float16"`` has v in float32.
        amsgrad: whether v never falls.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("momentum", "velocity", "velocity_hat")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_fraction("Adam", below_1=True, beta_1=beta_1)
        self.beta_2 = check_fraction("Adam", below_1=True, beta_2=beta_2)
        self.epsilon = check_positive("Adam", epsilon=epsilon)
        self.amsgrad = check_flag("Adam", amsgrad=amsgrad)

    @override
    def active_slots(self) -> tuple[str, ...]:
        return self.slot_names if self.amsgrad else self.slot_names[:2]

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> Array:
        return learning_rate * xp.sqrt(1.0 - xp.pow(self.beta_2, t)) / (1.0 - xp.pow(self.beta_1, t))

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        m = slots["momentum"] + (g - slots["momentum"]) * (1.0 - self.beta_1)
        v = slots["velocity"] + (g * g - slots["velocity"]) * (1.0 - self.beta_2)
        changed = {"momentum": m, "velocity": v}
        if self.amsgrad:
            v = changed["velocity_hat"] = xp.maximum(slots["velocity_hat"], v)
        return m * -step_size / (xp.sqrt(v) + self.epsilon), changed
