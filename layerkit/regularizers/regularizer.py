"""The base of regularizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit import program
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError, ShapeError
from layerkit.functions import as_float, call_function
from layerkit.overriding import override
from layerkit.xp.registry import backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


class Regularizer(Configurable):
    """A penalty on an array: a number that is added to the loss.

    A subclass gives `call` alone, whose derivative is found, or `gradient` too; ``__call__(x)``, as regularizers are
    written for Keras, will do as well. A plain function ``f(x)`` or ``f(xp, x)`` will do wherever a regularizer is
    asked for.
    """

    def call(self, xp: Backend, x: Array) -> Array:
        """Return the penalty, an array of shape ()."""
        if type(self).__call__ is not Regularizer.__call__:
            return self(x)
        raise ArgumentError(
            f"{type(self).__name__}: a regularizer must define call(self, xp, x). Received: none. "
            f"See layerkit.regularizers.L2 for an example."
        )

    def gradient(self, xp: Backend, x: Array) -> Array:
        """Return the derivative of the penalty by x. A regularizer with `call` need not define it."""
        return self._recorded(xp, x)[1]

    def curvature(self) -> float | None:
        """Return the second derivative of the penalty by each element, where it is one number; None for others."""
        return None

    def penalty_and_gradient(self, xp: Backend, x: Array) -> tuple[Array, Array]:
        """Return the penalty and its derivative by x."""
        if type(self).gradient is Regularizer.gradient:
            return self._recorded(xp, x)
        return self.checked(self.call(xp, x)), self.gradient(xp, x)

    def _recorded(self, xp: Backend, x: Array) -> tuple[Array, Array]:
        penalty, tape = program.Tape.record(xp, self.call, x)
        (dx,), _ = tape.gradients(xp.ones_like(self.checked(penalty)))
        return penalty, dx

    def checked(self, penalty: Any) -> Array:
        """Return the penalty.

        Raises:
            ShapeError: it is no single number.
        """
        if getattr(penalty, "shape", None) != ():
            received = f"shape {tuple(penalty.shape)}" if hasattr(penalty, "shape") else type(penalty).__name__
            raise ShapeError(f"{self!r}: a penalty must be one number, an array of shape (). Received: {received}")
        return penalty

    def __call__(self, x: Any) -> Array:
        """Return the penalty on an array of any backend, or on a list."""
        xp = backend_of(x) or backend()
        with xp.on_device():
            # Recorded, because what a function may do with x (x.sum(), say) is more than an array of some backends can.
            return self.checked(program.Tape.record(xp, self.call, as_float(xp, x))[0])


class FunctionRegularizer(Regularizer):
    """A regularizer made from a function ``f(x)`` or ``f(xp, x)``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        return call_function(self.function, xp, x)
