"""The base of optimizers that look for a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from layerkit.errors import ArgumentError
from layerkit.optimizers.optimizer import Optimizer
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


class SearchingOptimizer(Optimizer):
    """An optimizer that computes the loss at several points in each step.

    A subclass gives `search`, and `minimize` for use without a model.
    """

    searches: ClassVar[bool] = True

    needs: ClassVar[str]
    """What a step needs, and what `apply` would give it, for its error message."""

    @override
    def update(self, xp: Backend, finite: Array | None = None) -> None:
        xp.assign_add(self._iterations.value, 1)

    @override
    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> NoReturn:
        raise ArgumentError(f"{self.name}: a step needs {self.needs}. Use minimize(function, variables).")

    def _vector(self, name: str) -> list[Array]:
        """Return the parameters, their gradient or a slot: a part for each stretch of parameters."""
        own = ("parameters", "gradient")
        return [(getattr(each, name) if name in own else each.slots[name]).value for each in self._segments]

    def _read(self, number: Array) -> float:
        return float(self.xp.to_numpy(number))
