"""Stochastic gradient descent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_flag, check_fraction
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend


class SGD(Optimizer):
    """``w ← w - η g`` for the learning rate η (Robbins and Monro, 1951).

    With momentum μ: ``m ← μ m - η g``, ``w ← w + m`` (Polyak, 1964). With Nesterov's: ``w ← w + μ m - η g``, with the
    new m (Sutskever, Martens, Dahl and Hinton, ICML 2013, as reformulated by Bengio et al., 2013).

    Args:
        learning_rate: η.
        momentum: μ, from 0 to 1.
        nesterov: whether Nesterov's form is used.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: `momentum` is not from 0 to 1.
    """

    slot_names: ClassVar[tuple[str, ...]] = ("momentum",)

    def __init__(
        self,
        learning_rate: float = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        self.momentum = check_fraction("SGD", momentum=momentum)
        self.nesterov = check_flag("SGD", nesterov=nesterov)

    @override
    def active_slots(self) -> tuple[str, ...]:
        return self.slot_names if self.momentum else ()

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Array
    ) -> tuple[Array, dict[str, Array]]:
        step = -step_size * g
        if not slots:
            return step, {}
        m = self.momentum * slots["momentum"] + step
        return (self.momentum * m + step if self.nesterov else m), {"momentum": m}
