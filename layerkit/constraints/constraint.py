"""The base of constraints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError
from layerkit.functions import as_float, call_function
from layerkit.overriding import override
from layerkit.xp.registry import backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


class Constraint(Configurable):
    """A projection of a weight, applied after each update of the optimizer.

    A subclass gives `call`, or ``__call__(x)``, as constraints are written for Keras. A plain function ``f(x)`` or
    ``f(xp, x)`` will do wherever a constraint is asked for.
    """

    def call(self, xp: Backend, x: Array) -> Array:
        """Return the projected weight, of the shape of x."""
        if type(self).__call__ is not Constraint.__call__:
            return self(x)
        raise ArgumentError(
            f"{type(self).__name__}: a constraint must define call(self, xp, x). Received: none. "
            f"See layerkit.constraints.NonNeg for an example."
        )

    def __call__(self, x: Any) -> Array:
        """Return the projection of an array of any backend, or of a list."""
        xp = backend_of(x) or backend()
        with xp.on_device():
            return self.call(xp, as_float(xp, x))


class FunctionConstraint(Constraint):
    """A constraint made from a function ``f(x)`` or ``f(xp, x)``."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        return call_function(self.function, xp, x)
