"""Dense layers along any axes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit import constraints, initializers, regularizers
from layerkit.checks import check_lengths, is_integer
from layerkit.errors import ArgumentError, ShapeError
from layerkit.layers import activations
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.layers.identifiers import ConstraintLike, InitializerLike, RegularizerLike
    from layerkit.layers.layer import Layer, LayerArguments, Shape
    from layerkit.xp.backend import Array, Backend


class EinsumDense(activations.ActivatedLayer):
    """``y = activation(einsum(equation, x, kernel) + bias)``: a dense layer along any axes.

    ``EinsumDense("ab,bc->ac", 4, bias_axes="c")`` is ``Dense(4)`` for matrices; ``"...x,xy->...y"`` for any rank.

    Args:
        equation: axes of x and of the kernel, and those of y: a letter each. Three dots, at the beginning or at the end
            of both x and y, stand for axes that are left alone.
        output_shape: lengths of the axes of y that have letters, without the batch; None where x has that axis.
        activation: a name, an activation of `layerkit.activations`, or a layer without weights. None is the identity.
        bias_axes: letters of the axes of y along which there is a bias; None for no bias.
        kernel_initializer: draws the kernel; default Glorot uniform.
        bias_initializer: draws the bias; default zeros.
        kernel_regularizer: a penalty on the kernel.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a projection of the kernel after each update.
        bias_constraint: a projection of the bias after each update.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: as `equation` says, with the batch first.

    Raises:
        ArgumentError: `equation` is not of this form, or `bias_axes` are not axes of y.
        ShapeError: x has another rank than the equation says, or other lengths than the layer was built for.
    """

    one_input = True

    kernel: Any
    bias: Any

    def __init__(
        self,
        equation: str,
        output_shape: int | tuple[int | None, ...] | list[int | None],
        activation: str | Layer | Callable[..., Any] | None = None,
        bias_axes: str | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        *,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.axes_of_x, self.axes_of_kernel, self.axes_of_y, self.dots = _parsed(equation)
        self.row_shape = check_lengths(
            "EinsumDense", 1, output_shape=(output_shape,) if is_integer(output_shape) else output_shape
        )
        self.activation = activation
        if bias_axes and not set(bias_axes) <= set(self.axes_of_y):
            raise ArgumentError(
                f"EinsumDense: bias_axes must be letters of the axes of y, {self.axes_of_y}. "
                f"Received: bias_axes={bias_axes!r}"
            )
        self.bias_axes = bias_axes
        self.equation = equation
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def _spelled(self, input_shape: Shape) -> tuple[str, str, dict[str, int | None]]:
        """Return the axes of x and of y, with a letter in place of each that the dots stand for, and their lengths."""
        letters = "".join(letter for letter in _LETTERS if letter not in self.equation)
        surplus = len(input_shape) - len(self.axes_of_x)
        if surplus < 0 or (surplus and not self.dots):
            raise ShapeError(
                f"{self.name}: x must have the axes of the equation, {self.equation!r}. Received: shape {input_shape}"
            )
        between = letters[:surplus]
        x, y = (
            f"{between}{axes}" if self.dots == "first" else f"{axes}{between}"
            for axes in (self.axes_of_x, self.axes_of_y)
        )
        lengths: dict[str, int | None] = dict(zip(x, input_shape, strict=True))
        named = [letter for letter in y if letter not in between and letter != y[0]]
        if self.dots == "first":
            named = list(self.axes_of_y)
        if len(named) != len(self.row_shape):
            raise ShapeError(
                f"{self.name}: output_shape must have a length for each of the axes {''.join(named)} of y. "
                f"Received: output_shape={self.row_shape}"
            )
        for letter, length in zip(named, self.row_shape, strict=True):
            known = lengths.get(letter)
            if known is not None and length is not None and known != length:
                raise ShapeError(
                    f"{self.name}: axis {letter} of y must be that of x. "
                    f"Received: output_shape={self.row_shape}, x of shape {input_shape}"
                )
            lengths[letter] = length if known is None else known
        return x, y, lengths

    @override
    def build(self, input_shape: Shape) -> None:
        _, y, lengths = self._spelled(input_shape)
        shape: Any = tuple(lengths.get(letter) for letter in self.axes_of_kernel)
        if None in shape:
            raise ShapeError(
                f"{self.name}: the axes {self.axes_of_kernel} of the kernel must have known lengths. "
                f"Received: x of shape {input_shape}, output_shape={self.row_shape}"
            )
        self.kernel = self.add_weight(
            "kernel",
            shape,
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )
        self.bias = None if not self.bias_axes else self._add_bias(y, lengths)

    def _add_bias(self, y: str, lengths: dict[str, int | None]) -> Any:
        axes = self.bias_axes or ""
        first = min(y.index(letter) for letter in axes)
        shape: Any = tuple(lengths[letter] if letter in axes else 1 for letter in y[first:])
        return self.add_weight(
            "bias", shape, self.bias_initializer, regularizer=self.bias_regularizer, constraint=self.bias_constraint
        )

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        axes_of_x, axes_of_y, _ = self._spelled(x.shape)
        z = xp.einsum(f"{axes_of_x},{self.axes_of_kernel}->{axes_of_y}", x, self.kernel)
        return self.activation(z if self.bias is None else z + self.bias)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        _, y, lengths = self._spelled(input_shape)
        if self.built:
            x, _, built_for = self._spelled(self.input_shape)
            if any(built_for[letter] != lengths[letter] for letter in x if letter in self.axes_of_kernel):
                raise ShapeError(
                    f"{self.name}: x must have, along the axes of the kernel, the lengths for which the layer was "
                    f"built: {self.input_shape}. Received: shape {input_shape}"
                )
        return self.activation.compute_output_shape(tuple(lengths[letter] for letter in y))


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _parsed(equation: Any) -> tuple[str, str, str, str]:
    """Return the letters of x, of the kernel and of y, and where the dots stand: "first", "last", or "" for nowhere."""
    text = equation.replace(" ", "") if isinstance(equation, str) else ""
    operands, _, y = text.partition("->")
    x, _, kernel = operands.partition(",")
    dots = ""
    for place, starts in (("first", str.startswith), ("last", str.endswith)):
        if starts(x, "...") and starts(y, "..."):
            dots, x, y = place, x.replace("...", "", 1), y.replace("...", "", 1)
            break
    known = set(x) | set(kernel)
    if (
        not all(part and part.isalpha() and len(set(part)) == len(part) for part in (x, kernel, y))
        or not set(y) <= known
        or (dots != "first" and x[0] != y[0])
    ):
        raise ArgumentError(
            f"EinsumDense: equation must be of the form 'ab,bc->ac', '...x,xy->...y' or 'ab...,bc->ac...', with the "
            f"batch first. Received: equation={equation!r}"
        )
    return x, kernel, y, dots
