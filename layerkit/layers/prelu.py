"""PReLU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit import constraints, initializers, regularizers
from layerkit.checks import is_a, is_integer, shown
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.identifiers import ConstraintLike, InitializerLike, RegularizerLike
    from layerkit.xp.backend import Array, Backend


class PReLU(Layer):
    """``y = x`` for x > 0, ``alpha x`` below, where alpha is learnt (He, Zhang, Ren and Sun, ICCV 2015).

    ``dx = dy`` for x > 0, ``alpha dy`` below; ``dalpha`` is ``x dy`` where x ≤ 0, summed over the batch.

    Args:
        alpha_initializer: draws alpha; default zeros.
        alpha_regularizer: a penalty on alpha.
        alpha_constraint: a projection of alpha after each update.
        shared_axes: axes of x, counted from 1, along which there is one alpha for all.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, ...). alpha: a row of x, with the length 1 along `shared_axes`.

    Raises:
        ArgumentError: `shared_axes` are not numbers of axes from 1 on.
        ShapeError: a row of x has no such axis, or another shape than the layer was built for.
    """

    one_input = True

    supports_masking = True

    alpha: Any

    def __init__(
        self,
        alpha_initializer: InitializerLike = "Zeros",
        alpha_regularizer: RegularizerLike = None,
        alpha_constraint: ConstraintLike = None,
        shared_axes: int | tuple[int, ...] | list[int] | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        shared: Any = (shared_axes,) if is_integer(shared_axes) else () if shared_axes is None else shared_axes
        if not is_a(shared, tuple, list) or not all(is_integer(axis) and axis > 0 for axis in shared):
            raise ArgumentError(
                f"PReLU: shared_axes must be numbers of axes, from 1 on. Received: shared_axes={shown(shared_axes)}"
            )
        self.shared_axes: tuple[int, ...] = tuple(shared)

    def _lengths(self, input_shape: Shape) -> tuple[int | None, ...]:
        """Return the shape of alpha, with None for what is not known."""
        return tuple(1 if axis in self.shared_axes else n for axis, n in enumerate(input_shape) if axis)

    @override
    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        self.alpha = self.add_weight(
            "alpha",
            self._lengths(input_shape),  # type: ignore[arg-type]
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
        )

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.where(x > 0, x, self.alpha * x), x

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        above = saved > 0
        dalpha = xp.sum(xp.where(above, 0.0, dy * saved), axis=(0, *self.shared_axes), keepdims=True)
        return xp.where(above, dy, self.alpha * dy), {"alpha": dalpha[0, ...]}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        lengths = self._lengths(input_shape)
        if None in lengths or any(axis >= len(input_shape) for axis in self.shared_axes) or not input_shape:
            raise ShapeError(
                f"{self.name}: x must have the axes {self.shared_axes} of shared_axes, and all others of known length. "
                f"Received: shape {input_shape}"
            )
        if self.built and lengths != self._lengths(self.input_shape):
            raise ShapeError(
                f"{self.name}: a row of x must have the shape for which the layer was built, {self.input_shape[1:]}. "
                f"Received: shape {input_shape}"
            )
        return input_shape
