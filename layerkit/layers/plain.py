"""Layers that compute nothing of their own: the identity, with or without a penalty, and a function of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_at_least, check_lengths, is_a, shown
from layerkit.configurable import parameters
from layerkit.errors import ArgumentError
from layerkit.functions import call_function, takes_backend
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override
from layerkit.regularizers import L1L2

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


class Identity(Layer):
    """``y = x``.

    Shapes:
        x, y: (...).
    """

    supports_masking = True

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return x, None

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        return dy, {}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


class ActivityRegularization(Identity):
    """``y = x``, with the penalty ``(l1 Σ|x| + l2 Σx²) / rows`` on the way, that is added to the loss.

    Args:
        l1: the factor of the sum of magnitudes, at least 0.
        l2: the factor of the sum of squares, at least 0.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: a factor is below 0.
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Unpack[LayerArguments]) -> None:
        check_at_least("ActivityRegularization", 0, l1=l1)
        check_at_least("ActivityRegularization", 0, l2=l2)
        super().__init__(**kwargs)
        self.l1, self.l2 = l1, l2
        self.activity_regularizer = L1L2(l1, l2)


class Lambda(Layer):
    """A function of the user: ``y = function(x, **arguments)``. Its derivative is found by recording.

    Args:
        function: ``f(x)``, with operators and methods of arrays, or ``f(xp, x)``, with the words of the backend.
        output_shape: the shape of a row of y, or a function of the shape of x; by default it is found by trying.
        mask: the mask of y (see `Layer.compute_mask`): an array, or a function ``f(x, mask)`` or ``f(xp, x, mask)``.
            Without it, a mask ends here.
        arguments: further keywords for the function. Where it takes a keyword `mask` or `training`, it is given those.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: `function` is no function, or `arguments` is no dictionary.
        ShapeError: `output_shape` is no shape.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: tuple[int | None, ...] | list[int | None] | Callable[[Shape], Shape] | None = None,
        mask: Any = None,
        arguments: dict[str, Any] | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            raise ArgumentError(
                f"Lambda: function must be a function f(x) or f(xp, x). Received: function={shown(function)}"
            )
        if not is_a(arguments, dict, type(None)):
            raise ArgumentError(f"Lambda: arguments must be a dictionary. Received: arguments={shown(arguments)}")
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self.supports_masking = mask is not None
        self.row_shape: Any = output_shape
        if output_shape is not None and not callable(output_shape):
            self.row_shape = check_lengths("Lambda", 1, output_shape=output_shape)

    @override
    def call(self, xp: Backend, x: Array, *, training: bool = False, mask: Any = None) -> Array:
        names = parameters(self.function)[0] if hasattr(self.function, "__code__") else ()
        known = {"training": training, "mask": mask}
        options = {name: value for name, value in known.items() if name in names}
        given = (xp, x) if takes_backend(self.function) else (x,)
        return self.function(*given, **self.arguments, **options)

    @override
    def compute_mask(self, xp: Backend, x: Array, mask: Any) -> Any:
        return call_function(self.mask, xp, x, mask) if callable(self.mask) else self.mask

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        row: Any = self.row_shape
        if row is None:
            return super().compute_output_shape(input_shape)
        return tuple(row(input_shape)) if not is_a(row, tuple) else (input_shape[0], *row)
