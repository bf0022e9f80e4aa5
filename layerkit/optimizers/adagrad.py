"""Adagrad."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_at_least, check_positive
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


class Adagrad(Optimizer):
    """Steps divided by the root of the sum of all squared gradients (Duchi, Hazan and Singer, JMLR 12, 2011, sec. 1.1).

    ``a ← a + g²``, ``w ← w - η g / √(a + ε)``.

    Args:
        learning_rate: η.
        initial_accumulator_value: a before the first step, at least 0.
        epsilon: ε, above 0.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("accumulator",)

    def __init__(
        self,
        learning_rate: float = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.initial_accumulator_value = check_at_least(
            "Adagrad", 0, initial_accumulator_value=initial_accumulator_value
        )
        self.epsilon = check_positive("Adagrad", epsilon=epsilon)

    @override
    def first_slot(self, xp: Backend, name: str, variable: Variable) -> Array:
        return xp.full_like(variable.value, self.initial_accumulator_value)

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        a = slots["accumulator"] + g * g
        return g * -step_size / xp.sqrt(a + self.epsilon), {"accumulator": a}
