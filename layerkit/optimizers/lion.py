"""Lion."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_fraction, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class Lion(Optimizer):
    """Steps of one size, along the sign of a running mean of the gradient (Chen et al., NeurIPS 2023, algorithm 2).

    ``w ← w - η sign(β₁ m + (1 - β₁) g)``, then ``m ← β₂ m + (1 - β₂) g``.

    Args:
        learning_rate: η; a tenth to a third of Adam's.
        beta_1: β₁, above 0 to 1.
        beta_2: β₂, from 0 to 1.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("momentum",)

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.beta_1 = check_fraction("Lion", beta_1=check_positive("Lion", beta_1=beta_1))
        self.beta_2 = check_fraction("Lion", beta_2=beta_2)

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        m = slots["momentum"]
        c = self.beta_1 * m + (1.0 - self.beta_1) * g
        # NumPy's sign branches on each element, which costs as much as the rest of the step. This is the same, but for
        # subnormal numbers.
        sign = c / xp.maximum(xp.abs(c), float(xp.finfo(c.dtype).smallest_normal))
        return sign * -step_size, {"momentum": self.beta_2 * m + (1.0 - self.beta_2) * g}
