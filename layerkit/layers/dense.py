"""Fully connected layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack, final

from layerkit import constraints, initializers, regularizers
from layerkit.checks import check_count, check_flag
from layerkit.errors import ShapeError
from layerkit.layers import activations
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.layers.identifiers import ConstraintLike, InitializerLike, RegularizerLike
    from layerkit.layers.layer import Layer, LayerArguments, Shape
    from layerkit.xp.backend import Array, Backend


@final
class Dense(activations.ActivatedLayer):
    """Fully connected layer: ``y = activation(x @ kernel + bias)``.

    With ``dz = dL/dz`` for ``z = x @ kernel + bias``: ``dx = dz @ kernel.T``, ``dkernel = x.T @ dz``, ``dbias`` =
    ``dz`` summed over the batch (Goodfellow, Bengio and Courville, *Deep Learning*, 2016, algorithm 6.4).

    Args:
        units: width of the output, at least 1.
        activation: a name, an activation of `layerkit.activations`, or a layer without weights. None is the identity.
        use_bias: whether there is a bias.
        kernel_initializer: draws the kernel; default Glorot uniform (Glorot and Bengio, AISTATS 2010, eq. 16).
        bias_initializer: draws the bias; default zeros.
        kernel_regularizer: a penalty on the kernel, added to the loss: ``"l2"``, ``L2(1e-4)``.
        bias_regularizer: a penalty on the bias.
        kernel_constraint: a projection of the kernel after each update: ``MaxNorm(3)``.
        bias_constraint: a projection of the bias after each update.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, ..., features). y: (batch, ..., units). kernel: (features, units). bias: (units,).

    Raises:
        ArgumentError: `units` is below 1, or not an integer.
        ShapeError: x has no axis of features, or the last axis of x is not the one the layer was built for.
    """

    one_input = True

    supports_masking = True

    kernel: Any
    bias: Any

    def __init__(
        self,
        units: int,
        activation: str | Layer | Callable[..., Any] | None = None,
        use_bias: bool = True,
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
        self.units = check_count("Dense", 1, units=units)
        self.activation = activation
        self.use_bias = check_flag("Dense", use_bias=use_bias)
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    @override
    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        kernel = self.kernel_initializer, self.kernel_regularizer, self.kernel_constraint
        bias = self.bias_initializer, self.bias_regularizer, self.bias_constraint
        self.kernel = self._weight("kernel", (input_shape[-1] or 0, self.units), *kernel)
        self.bias = self._weight("bias", (self.units,), *bias) if self.use_bias else None

    def _weight(self, name: str, shape: tuple[int, ...], initializer: Any, regularizer: Any, constraint: Any) -> Any:
        return self.add_weight(name, shape, initializer, regularizer=regularizer, constraint=constraint)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        y, activation_saved = self.activation.forward(xp, xp.linear(x, self.kernel, self.bias))
        return y, (x, activation_saved)

    @override
    def backward(
        self, xp: Backend, saved: Any, dy: Array, *, input_gradient: bool = True
    ) -> tuple[Array | None, dict[str, Array]]:
        x, activation_saved = saved
        dz, _ = self.activation.backward(xp, activation_saved, dy)
        assert dz is not None  # noqa: S101 - no activation leaves dx out
        dx, dkernel, dbias = xp.linear_grad(x, self.kernel, dz, input_gradient=input_gradient)
        return dx, {"kernel": dkernel, "bias": dbias} if self.use_bias else {"kernel": dkernel}

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ShapeError(
                f"{self.name}: x must have a batch axis and a last axis of known length, (batch, ..., features). "
                f"Received: shape {input_shape}{self._reshaping(input_shape)}"
            )
        if self.built and input_shape[-1] != self.input_shape[-1]:
            raise ShapeError(
                f"{self.name}: the last axis of x must have length {self.input_shape[-1]}, for which the layer was "
                f"built. Received: shape {input_shape}"
            )
        return self.activation.compute_output_shape((*input_shape[:-1], self.units))

    def _reshaping(self, shape: Shape) -> str:
        """Return the remedy for x of one axis: it is one column, or one row, of as many features as are expected."""
        if len(shape) != 1:
            return ""
        column, row = "Reshape it with x.reshape(-1, 1)", "a single row with x.reshape(1, -1)"
        if not self.built:
            return f". {column}, or {row}." if shape[0] else f". {column}."
        features = self.input_shape[-1]
        return f". {column}." if features == 1 else f". Reshape {row}." if shape[0] == features else ""
