"""Penalties that layers add to the loss while they run: `Layer.add_loss`, and `activity_regularizer`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.nested import mapped

if TYPE_CHECKING:
    from layerkit.program import Tape
    from layerkit.regularizers import Regularizer
    from layerkit.xp.backend import Array, Backend


class Penalties(list[Any]):
    """Penalties, and the number by which the whole loss is multiplied where its derivative is taken; None for 1."""

    scale: Array | None = None

    def scaled(self, xp: Backend, gradient: Array) -> Array:
        """Return a derivative of a penalty as one of the loss that is multiplied."""
        return gradient if self.scale is None else gradient * xp.astype(self.scale, gradient.dtype)


_collected: ContextVar[Penalties | None] = ContextVar("layerkit_penalties", default=None)


class collecting:  # noqa: N801 - it reads as what it does
    """Within a ``with`` block, penalties are collected in the list that it gives; elsewhere they are ignored.

    Args:
        scale: the number by which the whole loss is multiplied.
    """

    __slots__ = ("_scale", "_token")

    def __init__(self, scale: Array | None = None) -> None:
        self._scale = scale

    def __enter__(self) -> Penalties:
        penalties = Penalties()
        penalties.scale = self._scale
        self._token = _collected.set(penalties)
        return penalties

    def __exit__(self, *exception: object) -> None:
        _collected.reset(self._token)


def collected() -> Penalties | None:
    """Return where penalties are collected, None if they are not."""
    return _collected.get()


class TapeOfPenalties(NamedTuple):
    """What was recorded of a call that added penalties: its result is ``(y, penalties)``."""

    tape: Tape
    penalties: list[Array]
    around: Penalties

    def seeds(self, xp: Backend, dy: Any) -> Any:
        """Return the derivative of the loss by that result."""
        return dy, [self.around.scaled(xp, xp.ones_like(penalty)) for penalty in self.penalties]


def activity_penalties(xp: Backend, regularizer: Regularizer, y: Any) -> tuple[list[Array], Any]:
    """Return the penalty on each output, a batch's mean as in Keras, and its derivative, nested as y is."""
    found: list[Array] = []

    def gradient(array: Array) -> Array:
        penalty, dy = regularizer.penalty_and_gradient(xp, array)
        share = 1.0 / max(array.shape[0], 1) if array.ndim else 1.0
        found.append(penalty * share)
        return dy * share

    return found, mapped(gradient, y)


def plus(dy: Any, more: Any) -> Any:
    """Return the sum of two gradients, nested alike; None stands for 0."""

    def added(gradient: Array | None, other: Array) -> Array:
        return other if gradient is None else gradient + other

    return mapped(added, dy, more)


def total_penalty(xp: Backend, total: Any, penalties: list[Array]) -> Any:
    """Return a loss with penalties added, in its own dtype."""
    for penalty in penalties:
        total = total + (penalty if penalty.dtype == total.dtype else xp.astype(penalty, total.dtype))
    return total
