"""Normalization: layers that bring their input to mean 0 and variance 1, over the batch or within each row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Unpack

from layerkit import constraints, initializers, regularizers
from layerkit.checks import (
    check_axis,
    check_count,
    check_flag,
    check_fraction,
    check_one_axis,
    check_positive,
    is_integer,
)
from layerkit.errors import ShapeError
from layerkit.layers.layer import Layer, LayerArguments, Shape
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.identifiers import ConstraintLike, InitializerLike, RegularizerLike
    from layerkit.xp.backend import Array, Backend


# Keras's: added to the number of what is not masked, so that there is no division by 0.
FEW = 1e-7


class AffineArguments(LayerArguments, total=False):
    """What every `AffineLayer` takes."""

    beta_initializer: InitializerLike
    gamma_initializer: InitializerLike
    beta_regularizer: RegularizerLike
    gamma_regularizer: RegularizerLike
    beta_constraint: ConstraintLike
    gamma_constraint: ConstraintLike


class FeatureLayer(Layer):
    """Base of layers with weights along one axis of x, or several: a subclass sets `axis`."""

    one_input = True

    full_precision = True

    axis: Any

    def axes(self, rank: int) -> tuple[int, ...]:
        """Return the axes of the weights, counted from 0, in rising order."""
        return tuple(sorted(axis % rank for axis in ((self.axis,) if is_integer(self.axis) else self.axis)))

    def others(self, rank: int) -> tuple[int, ...]:
        """Return all other axes."""
        axes = self.axes(rank)
        return tuple(axis for axis in range(rank) if axis not in axes)

    def features(self, input_shape: Shape) -> tuple[int, ...]:
        """Return the lengths of these axes."""
        return tuple(input_shape[axis] or 0 for axis in self.axes(len(input_shape)))

    def stretched(self, xp: Backend, weight: Array, x: Array) -> Array:
        """Return a weight with an axis for each of x, so that it is broadcast along the others."""
        axes = self.axes(x.ndim)
        if axes == tuple(range(x.ndim - len(axes), x.ndim)):
            return weight
        return xp.reshape(weight, tuple(x.shape[axis] if axis in axes else 1 for axis in range(x.ndim)))

    def gathered(self, xp: Backend, dy: Array) -> Array:
        """Return dy summed over all other axes."""
        if self.axes(dy.ndim) == (dy.ndim - 1,):
            rows = dy if dy.ndim == 2 else xp.reshape(dy, (math.prod(dy.shape[:-1]), dy.shape[-1]))
            return xp.matmul(xp.ones((rows.shape[0],), dtype=dy.dtype), rows)  # BLAS's sum, the faster
        others = self.others(dy.ndim)
        return xp.sum(dy, axis=others) if others else dy

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rank = len(input_shape)
        for axis in (self.axis,) if is_integer(self.axis) else self.axis:
            if not -rank <= axis < rank or axis % rank == 0 or input_shape[axis] is None:
                raise ShapeError(
                    f"{self.name}: x must have, after the batch, the axis {axis} of known length. "
                    f"Received: shape {input_shape}"
                )
        if self.built and (
            rank != len(self.input_shape) or self.features(input_shape) != self.features(self.input_shape)
        ):
            raise ShapeError(
                f"{self.name}: x must have the rank and, along axis {self.axis}, the length for which the layer was "
                f"built: {self.input_shape}. Received: shape {input_shape}"
            )
        return input_shape


class AffineLayer(FeatureLayer):
    """Base of layers that end with ``gamma z + beta``, where a subclass says whether there are a gamma and a beta.

    Args:
        beta_initializer: draws beta; default zeros.
        gamma_initializer: draws gamma; default ones.
        beta_regularizer: a penalty on beta.
        gamma_regularizer: a penalty on gamma.
        beta_constraint: a projection of beta after each update.
        gamma_constraint: a projection of gamma after each update.
        kwargs: what every `Layer` takes.
    """

    supports_masking = True

    center: bool
    scale: bool
    gamma: Any
    beta: Any

    def __init__(
        self,
        *,
        beta_initializer: InitializerLike = "zeros",
        gamma_initializer: InitializerLike = "ones",
        beta_regularizer: RegularizerLike = None,
        gamma_regularizer: RegularizerLike = None,
        beta_constraint: ConstraintLike = None,
        gamma_constraint: ConstraintLike = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    @override
    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        shape = self.features(input_shape)
        gamma = self.gamma_initializer, self.gamma_regularizer, self.gamma_constraint
        beta = self.beta_initializer, self.beta_regularizer, self.beta_constraint
        self.gamma = self._weight("gamma", shape, *gamma) if self.scale else None
        self.beta = self._weight("beta", shape, *beta) if self.center else None

    def _weight(self, name: str, shape: tuple[int, ...], initializer: Any, regularizer: Any, constraint: Any) -> Any:
        return self.add_weight(name, shape, initializer, regularizer=regularizer, constraint=constraint)

    def affine(self, xp: Backend, z: Array) -> Array:
        """Return ``gamma z + beta``."""
        y = z * self.stretched(xp, self.gamma, z) if self.scale else z
        return y + self.stretched(xp, self.beta, z) if self.center else y

    def affine_gradient(self, xp: Backend, z: Array, dy: Array) -> tuple[Array, dict[str, Array]]:
        """Return dz, and the gradients of gamma and beta."""
        gradients: dict[str, Array] = {}
        if self.scale:
            gradients["gamma"] = self.gathered(xp, dy * z)
        if self.center:
            gradients["beta"] = self.gathered(xp, dy)
        return dy * self.stretched(xp, self.gamma, dy) if self.scale else dy, gradients


class BatchNormalization(AffineLayer):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` for each feature (Ioffe and Szegedy, ICML 2015).

    In training, mean and (population) variance are those of the batch, over all axes but `axis`, and the moving ones
    follow them: ``moving ← momentum moving + (1 - momentum) batch``. Otherwise the moving ones are used, and so they
    are in training where the layer is not `trainable`. With n numbers a feature and ``z = (x - mean) / sqrt(variance +
    epsilon)``, in training: ``dgamma = Σ dy z``, ``dbeta = Σ dy``, ``dx = gamma / sqrt(variance + epsilon) (dy -
    dbeta / n - z dgamma / n)``.

    With a mask of the steps of x, ``layer(x, mask=mask)``, the statistics of a batch are those of what is not masked;
    as in Keras, its number is taken as 1e-7 more than it is.

    Args:
        axis: the axis of features.
        momentum: how much of the moving statistics each batch leaves, from 0 to 1.
        epsilon: added to the variance, above 0.
        center: whether there is a beta.
        scale: whether there is a gamma.
        moving_mean_initializer: default zeros.
        moving_variance_initializer: default ones.
        kwargs: what every `AffineLayer` and every `Layer` takes.

    Shapes:
        x, y: (batch, ...). gamma, beta, moving_mean, moving_variance: (features,).

    Raises:
        ShapeError: x has no such axis, or one of another length than the layer was built for.
    """

    moving_mean: Any
    moving_variance: Any

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        *,
        moving_mean_initializer: InitializerLike = "zeros",
        moving_variance_initializer: InitializerLike = "ones",
        **kwargs: Unpack[AffineArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.axis: int = check_one_axis("BatchNormalization", axis=axis)
        self.momentum: float = check_fraction("BatchNormalization", momentum=momentum)
        self.epsilon: float = check_positive("BatchNormalization", epsilon=epsilon)
        self.center = check_flag("BatchNormalization", center=center)
        self.scale = check_flag("BatchNormalization", scale=scale)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    @override
    def build(self, input_shape: Shape) -> None:
        super().build(input_shape)
        shape = self.features(input_shape)
        self.moving_mean = self.add_weight("moving_mean", shape, self.moving_mean_initializer, trainable=False)
        self.moving_variance = self.add_weight(
            "moving_variance", shape, self.moving_variance_initializer, trainable=False
        )

    @override
    def forward(self, xp: Backend, x: Array, *, training: bool = False, mask: Array | None = None) -> tuple[Array, Any]:
        of_batch = training and self.trainable
        counted = None if mask is None else self._counted(xp, mask, x)
        if not of_batch:
            mean, variance, count = self.moving_mean, self.moving_variance, 0
            centred = x - self.stretched(xp, mean, x)
        elif counted is None:
            count = max(math.prod(x.shape[axis] for axis in self.others(x.ndim)), 1)
            mean = self.gathered(xp, x) / count
            centred = x - self.stretched(xp, mean, x)
            variance = self.gathered(xp, centred * centred) / count
        else:
            count = self.gathered(xp, counted) + FEW
            mean = self.gathered(xp, x * counted) / count
            centred = x - self.stretched(xp, mean, x)
            variance = self.gathered(xp, centred * centred * counted) / count
        inverse = 1.0 / xp.sqrt(variance + self.epsilon)
        y = centred * self.stretched(xp, inverse * self.gamma if self.scale else inverse, x)
        if of_batch:
            keep = self.momentum
            xp.assign(self.moving_mean, self.moving_mean * keep + mean * (1.0 - keep))
            xp.assign(self.moving_variance, self.moving_variance * keep + variance * (1.0 - keep))
        saved = centred, inverse, count, counted if of_batch else None
        return y + self.stretched(xp, self.beta, x) if self.center else y, saved

    def _counted(self, xp: Backend, mask: Array, x: Array) -> Array:
        """Return 1 for each number of x that counts, and else 0."""
        if mask.ndim != x.ndim - 1 or any(n not in (1, m) for n, m in zip(mask.shape, x.shape[:-1], strict=True)):
            raise ShapeError(
                f"{self.name}: mask must broadcast to the steps of x, {tuple(x.shape[:-1])}. "
                f"Received: a mask of shape {tuple(mask.shape)}"
            )
        return xp.broadcast_to(xp.astype(xp.expand_dims(mask, axis=-1), x.dtype), x.shape)

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        centred, inverse, count, counted = saved
        dbeta, dgamma = self.gathered(xp, dy), self.gathered(xp, dy * centred) * inverse
        gradients = {**({"gamma": dgamma} if self.scale else {}), **({"beta": dbeta} if self.center else {})}
        slope = self.stretched(xp, inverse * self.gamma if self.scale else inverse, dy)
        if counted is not None:
            # The statistics are those of what is counted, of which `centred` sums to almost 0.
            pull = dgamma * inverse / count
            shift = (dbeta - self.gathered(xp, centred * counted) * pull) / count
            dz = dy - counted * (self.stretched(xp, shift, dy) + centred * self.stretched(xp, pull, dy))
            return dz * slope, gradients
        if type(count) is int and count == 0:
            return dy * slope, gradients
        dz = dy - self.stretched(xp, dbeta / count, dy) - centred * self.stretched(xp, dgamma * inverse / count, dy)
        return dz * slope, gradients


class LayerNormalization(AffineLayer):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, within each row (Ba, Kiros and Hinton, 2016).

    Mean and variance are taken over `axis`. With ``z = (x - mean) / sqrt(variance + epsilon)`` and ``dz = gamma dy``:
    ``dx = (dz - mean(dz) - z mean(dz z)) / sqrt(variance + epsilon)``.

    Args:
        axis: the axis, or axes, that are brought to mean 0 and variance 1.
        epsilon: added to the variance, above 0.
        center: whether there is a beta.
        scale: whether there is a gamma.
        kwargs: what every `AffineLayer` and every `Layer` takes.

    Shapes:
        x, y: (batch, ...). gamma, beta: the lengths of `axis`.

    Raises:
        ShapeError: x has no such axis, or one of another length than the layer was built for.
    """

    def __init__(
        self,
        axis: int | tuple[int, ...] | list[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Unpack[AffineArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.axis = check_axis("LayerNormalization", axis=axis)
        self.epsilon: float = check_positive("LayerNormalization", epsilon=epsilon)
        self.center = check_flag("LayerNormalization", center=center)
        self.scale = check_flag("LayerNormalization", scale=scale)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        z, inverse = standardized(xp, x, self.axes(x.ndim), self.epsilon)
        return self.affine(xp, z), (z, inverse)

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        z, inverse = saved
        axes = self.axes(dy.ndim)
        if not self.scale or axes != (dy.ndim - 1,):
            dz, gradients = self.affine_gradient(xp, z, dy)
            return standardized_gradient(xp, z, inverse, dz, axes), gradients
        # The same in fewer passes over memory: the means of gamma dy and gamma dy z are products with a vector.
        share = self.gamma * (1.0 / max(dy.shape[-1], 1))
        product = dy * z
        slope, mean = (xp.expand_dims(xp.vecdot(array, share), axis=-1) for array in (product, dy))
        dx = (dy * self.gamma - (z * slope + mean)) * inverse
        return dx, {"gamma": self.gathered(xp, product), **({"beta": self.gathered(xp, dy)} if self.center else {})}


class GroupNormalization(AffineLayer):
    """Mean 0 and variance 1 within each row and each group of features, then ``gamma z + beta`` (Wu and He, ECCV 2018).

    Args:
        groups: how many groups the features are cut into, neighbours together; -1 for one a feature.
        axis: the axis of features.
        epsilon: added to the variance, above 0.
        center: whether there is a beta.
        scale: whether there is a gamma.
        kwargs: what every `AffineLayer` and every `Layer` takes.

    Shapes:
        x, y: (batch, ...). gamma, beta: (features,).

    Raises:
        ShapeError: x has no such axis, or one whose length is no multiple of `groups`.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Unpack[AffineArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.groups = groups if groups == -1 else check_count("GroupNormalization", 1, groups=groups)
        self.axis: int = check_one_axis("GroupNormalization", axis=axis)
        self.epsilon: float = check_positive("GroupNormalization", epsilon=epsilon)
        self.center = check_flag("GroupNormalization", center=center)
        self.scale = check_flag("GroupNormalization", scale=scale)

    def _grouped(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shape with the axis of features cut in two, groups and members, and the axes of a group."""
        (axis,) = self.axes(len(shape))
        groups = shape[axis] if self.groups == -1 else self.groups
        cut = (*shape[:axis], groups, shape[axis] // max(groups, 1), *shape[axis + 1 :])
        return cut, tuple(n for n in range(1, len(cut)) if n != axis)

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        cut, axes = self._grouped(x.shape)
        z, inverse = standardized(xp, xp.reshape(x, cut), axes, self.epsilon)
        z = xp.reshape(z, x.shape)
        return self.affine(xp, z), (z, inverse)

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        z, inverse = saved
        dz, gradients = self.affine_gradient(xp, z, dy)
        cut, axes = self._grouped(dy.shape)
        dx = standardized_gradient(xp, xp.reshape(z, cut), inverse, xp.reshape(dz, cut), axes)
        return xp.reshape(dx, dy.shape), gradients

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        super().compute_output_shape(input_shape)
        (length,) = self.features(input_shape)
        if self.groups != -1 and (length % self.groups or not length):
            raise ShapeError(
                f"{self.name}: axis {self.axis} of x must have a length that is a multiple of groups={self.groups}. "
                f"Received: shape {input_shape}"
            )
        return input_shape


class RMSNormalization(FeatureLayer):
    """``y = scale x / sqrt(mean(x²) + epsilon)``, within each row (Zhang and Sennrich, NeurIPS 2019).

    With ``z = x / sqrt(mean(x²) + epsilon)`` and ``dz = scale dy``: ``dx = (dz - z mean(dz z)) / sqrt(mean(x²) +
    epsilon)``.

    Args:
        axis: the axis, or axes, over which the mean is taken.
        epsilon: added to the mean of squares, above 0.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, ...). scale: the lengths of `axis`.

    Raises:
        ShapeError: x has no such axis, or one of another length than the layer was built for.
    """

    scale: Any

    def __init__(
        self,
        axis: int | tuple[int, ...] | list[int] = -1,
        epsilon: float = 1e-6,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.axis = check_axis("RMSNormalization", axis=axis)
        self.epsilon: float = check_positive("RMSNormalization", epsilon=epsilon)

    @override
    def build(self, input_shape: Shape) -> None:
        self.compute_output_shape(input_shape)
        self.scale = self.add_weight("scale", self.features(input_shape), "ones")

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        z, inverse = divided(xp, x, self.axes(x.ndim), self.epsilon)
        return z * self.stretched(xp, self.scale, x), (z, inverse)

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array, dict[str, Array]]:
        z, inverse = saved
        dz = dy * self.stretched(xp, self.scale, dy)
        return divided_gradient(xp, z, inverse, dz, self.axes(dy.ndim)), {"scale": self.gathered(xp, dy * z)}


class UnitNormalization(Layer):
    """``y = x / |x|``: vectors along `axis` get the length 1; those shorter than 1e-12 are divided by that.

    Args:
        axis: the axis, or axes, of a vector.
        kwargs: what every `Layer` takes.

    Shapes:
        x, y: (batch, ...).

    Raises:
        ShapeError: x has no such axis.
    """

    one_input = True

    supports_masking = True

    def __init__(self, axis: int | tuple[int, ...] | list[int] = -1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(**kwargs)
        self.axis = check_axis("UnitNormalization", axis=axis)

    @override
    def call(self, xp: Backend, x: Array) -> Array:
        return x / xp.sqrt(xp.maximum(xp.sum(x * x, axis=self.axis, keepdims=True), 1e-24))

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        rank = len(input_shape)
        for axis in (self.axis,) if is_integer(self.axis) else self.axis:
            if not -rank <= axis < rank:
                raise ShapeError(f"{self.name}: x must have the axis {axis}. Received: shape {input_shape}")
        return input_shape


def mean_of(xp: Backend, x: Array, axes: tuple[int, ...]) -> Array:
    """Return the mean over these axes, which stay with length 1."""
    count = max(math.prod(x.shape[axis] for axis in axes), 1)
    if axes == (x.ndim - 1,):
        share = xp.full((x.shape[-1],), 1.0 / count, dtype=x.dtype)
        return xp.expand_dims(xp.vecdot(x, share), axis=-1)  # BLAS's sum, the faster
    return xp.sum(x, axis=axes, keepdims=True) / count


def mean_of_product(xp: Backend, a: Array, b: Array, axes: tuple[int, ...]) -> Array:
    """Return the mean of ``a b`` over these axes, which stay with length 1."""
    if axes == (a.ndim - 1,):
        return xp.expand_dims(xp.vecdot(a, b), axis=-1) * (1.0 / max(a.shape[-1], 1))
    return mean_of(xp, a * b, axes)


def divided(xp: Backend, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """Return ``z = x / r`` and 1 / r, with ``r = sqrt(mean(x²) + epsilon)`` over these axes."""
    inverse = 1.0 / xp.sqrt(mean_of_product(xp, x, x, axes) + epsilon)
    return x * inverse, inverse


def divided_gradient(xp: Backend, z: Array, inverse: Array, dz: Array, axes: tuple[int, ...]) -> Array:
    """Return dx of `divided`."""
    return (dz - z * mean_of_product(xp, dz, z, axes)) * inverse


def standardized(xp: Backend, x: Array, axes: tuple[int, ...], epsilon: float) -> tuple[Array, Array]:
    """Return ``z = (x - mean) / s`` and 1 / s, with ``s = sqrt(variance + epsilon)`` over these axes."""
    return divided(xp, x - mean_of(xp, x, axes), axes, epsilon)


def standardized_gradient(xp: Backend, z: Array, inverse: Array, dz: Array, axes: tuple[int, ...]) -> Array:
    """Return dx of `standardized`."""
    # Because z has mean 0, dz may be centred before.
    return divided_gradient(xp, z, inverse, dz - mean_of(xp, dz, axes), axes)
