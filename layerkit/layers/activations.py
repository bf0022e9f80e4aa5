"""Activations: layers without weights, most of them one line forward and one line backward."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

from layerkit.checks import check_at_least, check_flag, is_integer
from layerkit.errors import ArgumentError, ShapeError
from layerkit.functions import call_function
from layerkit.layers.activation_layer import ActivationLayer
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.names import Names, loaded_later
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


class Linear(ActivationLayer):
    """``y = x``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return x, None

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy


class Sigmoid(ActivationLayer):
    """``y = 1 / (1 + exp(-x))``; ``dx = dy y (1 - y)``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        y = xp.sigmoid(x)
        return y, y

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * saved * (1.0 - saved)


class Tanh(ActivationLayer):
    """``y = tanh(x)``; ``dx = dy (1 - y²)``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        y = xp.tanh(x)
        return y, y

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * (1.0 - saved * saved)


class ReLU(ActivationLayer):
    """``y = max(x, 0)`` (Nair and Hinton, ICML 2010); the derivative at 0 is taken as 0.

    With options: ``y = max_value`` for x ≥ max_value, ``x`` for threshold < x < max_value, and
    ``negative_slope (x - threshold)`` elsewhere, as Keras computes it (its text has threshold ≤ x).

    Args:
        max_value: upper bound, at least 0; None for none.
        negative_slope: slope below the threshold, at least 0.
        threshold: at least 0.
        kwargs: what every `Layer` takes.
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        check_at_least("ReLU", 0, max_value=0.0 if max_value is None else max_value)
        check_at_least("ReLU", 0, negative_slope=negative_slope)
        check_at_least("ReLU", 0, threshold=threshold)
        self.max_value, self.negative_slope, self.threshold = max_value, negative_slope, threshold

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        plain = self.negative_slope == 0 and self.threshold == 0
        y = xp.maximum(x, 0.0) if plain else xp.where(x > self.threshold, x, self.negative_slope * (x - self.threshold))
        y = y if self.max_value is None else xp.minimum(y, self.max_value)
        return y, y if plain else x  # where y tells what x was, x need not be kept

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        below = self.negative_slope * dy if self.negative_slope else 0.0
        dx = xp.where(saved > self.threshold, dy, below)
        return dx if self.max_value is None else xp.where(saved < self.max_value, dx, 0.0)


class LeakyReLU(ActivationLayer):
    """``y = x`` for x > 0, ``negative_slope x`` below (Maas, Hannun and Ng, ICML 2013).

    Args:
        negative_slope: at least 0.
        alpha: Keras's older word for it.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: the slope is below 0.
    """

    def __init__(
        self, negative_slope: float = 0.3, *, alpha: float | None = None, **kwargs: Unpack[LayerArguments]
    ) -> None:
        super().__init__(**kwargs)
        slope = negative_slope if alpha is None else alpha
        self.negative_slope: float = check_at_least("LeakyReLU", 0, negative_slope=slope)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.where(x > 0, x, self.negative_slope * x), x

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return xp.where(saved > 0, dy, self.negative_slope * dy)


class ExponentialLinear(ActivationLayer):
    """Base of ELU and SELU: ``y = scale x`` for x > 0, ``scale alpha (exp(x) - 1)`` below."""

    alpha: float
    scale: float = 1.0

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        # The minimum keeps exp from overflowing on the side that is not taken.
        below = self.scale * self.alpha * xp.expm1(xp.minimum(x, 0.0))
        return xp.where(x > 0, self.scale * x, below), (x, below)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        x, below = saved
        return dy * xp.where(x > 0, self.scale, below + self.scale * self.alpha)


class ELU(ExponentialLinear):
    """``y = x`` for x > 0, ``alpha (exp(x) - 1)`` below (Clevert, Unterthiner and Hochreiter, ICLR 2016)."""

    def __init__(self, alpha: float = 1.0, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        check_at_least(type(self).__name__, 0, alpha=alpha)
        self.alpha = alpha


class SELU(ExponentialLinear):
    """``y = scale elu(x, alpha)``, with the constants that keep mean 0 and variance 1 (Klambauer et al., NIPS 2017)."""

    alpha = 1.6732632423543772848170429916717
    scale = 1.0507009873554804934193349852946


class GELU(ActivationLayer):
    """``y = x Φ(x)``, with Φ the standard normal distribution function (Hendrycks and Gimpel, 2016).

    With `approximate`: ``y = x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2``.
    """

    def __init__(self, approximate: bool = False, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.approximate = check_flag("GELU", approximate=approximate)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        if self.approximate:
            # (1 + tanh(u)) / 2 is sigmoid(2u), which keeps its digits where tanh(u) is near -1.
            s = xp.sigmoid(math.sqrt(8.0 / math.pi) * (x + 0.044715 * x * x * x))
            return x * s, (x, s)
        distribution = 0.5 * xp.erfc(x * -math.sqrt(0.5))
        return x * distribution, (x, distribution)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        if self.approximate:
            x, s = saved
            inner = math.sqrt(8.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
            return dy * (s + x * s * (1.0 - s) * inner)
        x, distribution = saved
        density = xp.exp(-0.5 * x * x) * (1.0 / math.sqrt(2.0 * math.pi))
        return dy * (distribution + x * density)


class SiLU(ActivationLayer):
    """``y = x sigmoid(x)`` (Elfwing, Uchibe and Doya, 2017). Also called swish."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        s = xp.sigmoid(x)
        return x * s, (x, s)

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        x, s = saved
        return dy * (s + x * s * (1.0 - s))


class Softplus(ActivationLayer):
    """``y = log(1 + exp(x))`` (Dugas et al., NIPS 2000); ``dx = dy sigmoid(x)``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.softplus(x), x

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * xp.sigmoid(saved)


class Softsign(ActivationLayer):
    """``y = x / (1 + |x|)`` (Turian, Bergstra and Bengio, 2009)."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        denominator = 1.0 + xp.abs(x)
        return x / denominator, denominator

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy / (saved * saved)


class HardSigmoid(ActivationLayer):
    """``y = min(max(x / 6 + 1/2, 0), 1)``, Keras 3's form (Courbariaux, Bengio and David, 2015, have slope 1/2)."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return xp.clip(x / 6.0 + 0.5, 0.0, 1.0), x

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return xp.where(xp.abs(saved) < 3.0, dy / 6.0, 0.0)


class Exponential(ActivationLayer):
    """``y = exp(x)``; ``dx = dy y``."""

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        y = xp.exp(x)
        return y, y

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy * saved


# Keras's, in place of what is masked: its exponential is 0.
MASKED = -1e9


class SoftmaxLayer(ActivationLayer):
    """Base of layers whose output, or its exponential, sums to 1.

    Args:
        axis: the axis, or a tuple of axes, along which it does.
        kwargs: what every `Layer` takes.

    Raises:
        ShapeError: x has no such axis.
    """

    def __init__(self, axis: int | tuple[int, ...] = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis: Any = axis if isinstance(axis, int) else tuple(axis)
        if not all(is_integer(number) for number in ((axis,) if isinstance(axis, int) else self.axis)):
            raise ArgumentError(
                f"{type(self).__name__}: axis must be an integer, or a tuple of integers. Received: axis={axis!r}"
            )

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rank = len(input_shape)
        for axis in (self.axis,) if isinstance(self.axis, int) else self.axis:
            if not -rank <= axis < rank:
                raise ShapeError(f"{self.name}: x must have the axis {axis}. Received: shape {input_shape}")
        return input_shape


class Softmax(SoftmaxLayer):
    """``y = exp(x) / sum(exp(x))`` along `axis`; ``dx = y (dy - sum(dy y))`` (Bridle, 1990).

    With a mask, ``layer(x, mask=mask)``, y is 0 where the mask is False, and sums to 1 over the rest, if there is any.
    The mask is broadcast to x; one of the first axes of x, such as that of the steps of an `Embedding`, masks whole
    steps.

    Args:
        axis: the axis, or a tuple of axes, along which y sums to 1.
        kwargs: what every `Layer` takes.

    Raises:
        ShapeError: x has no such axis, or the mask does not fit.
    """

    @override
    def forward(self, xp: Backend, x: Array, *, mask: Array | None = None) -> tuple[Array, Any]:
        if mask is None:
            y = xp.softmax(x, axis=self.axis)
        else:
            mask = self._fitted(xp, mask, x)
            y = xp.where(mask, xp.softmax(xp.where(mask, x, MASKED), axis=self.axis), 0.0)
        return y, y

    def _fitted(self, xp: Backend, mask: Array, x: Array) -> Array:
        shape, wanted = tuple(mask.shape), tuple(x.shape)
        if len(shape) < len(wanted) and shape == wanted[: len(shape)]:
            return xp.reshape(mask, (*shape, *(1,) * (len(wanted) - len(shape))))
        if len(shape) > len(wanted) or any(n not in (1, m) for n, m in zip(shape[::-1], wanted[::-1], strict=False)):
            raise ShapeError(f"{self.name}: mask must broadcast to x, {wanted}. Received: a mask of shape {shape}")
        return mask

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return saved * (dy - xp.sum(dy * saved, axis=self.axis, keepdims=True))


class LogSoftmax(SoftmaxLayer):
    """``y = x - log(sum(exp(x)))`` along `axis`; ``dx = dy - exp(y) sum(dy)``.

    Args:
        axis: the axis, or a tuple of axes, along which exp(y) sums to 1.
        kwargs: what every `Layer` takes.

    Raises:
        ShapeError: x has no such axis.
    """

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        y = xp.log_softmax(x, axis=self.axis)
        return y, y

    @override
    def derivative(self, xp: Backend, saved: Any, dy: Array) -> Array:
        return dy - xp.exp(saved) * xp.sum(dy, axis=self.axis, keepdims=True)


class FunctionActivation(Layer):
    """An activation made from a function ``f(x)`` or ``f(xp, x)`` of an array; its derivative is found by recording."""

    one_input = True

    supports_masking = True

    def __init__(self, function: Callable[..., Any], **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.function = function

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        return call_function(self.function, xp, x)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape


FAMILIES = {
    "piecewise": (
        *("HardShrink", "HardSiLU", "HardTanh", "ReLU6", "SoftShrink", "SparsePlus", "SparseSigmoid", "Threshold"),
    ),
    "smooth": ("CELU", "GLU", "LogSigmoid", "Mish", "Squareplus", "TanhShrink"),
    "sparsemax": ("Sparsemax",),
}
"""The further activations, by module: loaded when they are asked for, since many models do without."""

_load, _ = loaded_later("layerkit.layers", FAMILIES)

NAMES = Names[Layer](
    Layer,
    (
        *(ELU, Exponential, GELU, HardSigmoid, LeakyReLU, Linear, LogSoftmax, ReLU, SELU, Sigmoid, SiLU, Softmax),
        *(Softplus, Softsign, Tanh),
    ),
    {
        **{"relu": ReLU, "relu6": "ReLU6", "leaky_relu": LeakyReLU, "silu": SiLU, "swish": SiLU},
        **{"hard_silu": "HardSiLU", "hard_swish": "HardSiLU"},
    },
    accepted="a name, a layer, or a function f(x)",
    kind="activation",
    arguments={"leaky_relu": {"negative_slope": 0.2}},  # Keras's function; its layer has 0.3
    from_function=FunctionActivation,
    later=[name for names in FAMILIES.values() for name in names if name != "Threshold"],  # which takes arguments
    load=_load,
)


def get(identifier: Any) -> Layer:
    """Return an activation, as a layer: by name, from a function of `layerkit.activations`, a class, or itself.

    None is the identity.

    Raises:
        UnknownNameError: no activation has this name.
        ArgumentError: it is none of these, or a layer with weights or randomness of its own.
    """
    layer = Linear() if identifier is None else NAMES.get(identifier)
    if type(layer).build is not Layer.build or layer.takes_training:
        raise ArgumentError(
            f"activation: it must be a layer without weights and without randomness. Received: {layer!r}. "
            f"Give it a place of its own in the model."
        )
    return layer


deserialize = NAMES.deserialize


class ActivatedLayer(Layer):
    """Base of layers with an `activation`: another one may be set later, in whatever form the constructor takes it."""

    activation: Any

    @override
    def __setattr__(self, attribute: str, value: Any) -> None:
        if attribute == "activation":
            value = get(value)
            if "activation" in self.__dict__:
                self._activation_was_set = True
        super().__setattr__(attribute, value)

    @override
    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {**config, "activation": self.activation} if "_activation_was_set" in self.__dict__ else config


class Activation(ActivatedLayer):
    """An activation by name: ``Activation("relu")`` is ``ReLU()``.

    Args:
        activation: a name, a function of `layerkit.activations`, or a layer without weights.
        kwargs: what every `Layer` takes.
    """

    one_input = True

    supports_masking = True

    def __init__(self, activation: str | Layer | Callable[..., Any], **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.activation = activation

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        return self.activation.forward(xp, x)

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        return self.activation.backward(xp, saved, dy)

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return self.activation.compute_output_shape(input_shape)
