"""The base of losses."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit import program
from layerkit.checks import check_name
from layerkit.configurable import Configurable
from layerkit.dtype_policies import at_least_float32, compute_dtype, policy_name
from layerkit.errors import ArgumentError, MissingDerivativeError, ShapeError
from layerkit.functions import as_float, call_function
from layerkit.names import name_of_function, snake_case
from layerkit.overriding import override
from layerkit.xp.conversion import as_numbers
from layerkit.xp.registry import backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend

Shape = tuple[int | None, ...]

# Keras's: probabilities are kept this far from 0 and 1, where the logarithm is infinite, and divisors from 0.
EPSILON = 1e-7

REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none")


class Loss(Configurable):
    """How far predictions are from targets: one value a sample, and the values reduced to one number.

    A subclass gives **either** ``call(xp, y_true, y_pred) -> values``, whose derivative is found, **or** both
    ``forward(xp, y_true, y_pred) -> (values, saved)`` and ``backward(xp, saved, dvalues) -> dy_pred``. A plain function
    ``f(y_true, y_pred)``, or ``f(xp, y_true, y_pred)``, will do too, wherever a loss is asked for.

    With values ``v`` (one for each sample and inner axis), sample weights ``w`` and N their number, the reductions are
    Keras's: "sum_over_batch_size" (also "mean") ``Σ v w / N``, "sum" ``Σ v w``, "mean_with_sample_weight"
    ``Σ v w / Σ w``, "none" (or None) ``v w``.

    Args:
        name: by default the class's name in snake case.
        reduction: one of these names.
        dtype: in which the loss is computed, "float32" or "float64", or a policy. What is narrower counts as float32,
            in which a loss is computed at least. None is the dtype of the predictions.

    Raises:
        ArgumentError: `reduction` or `dtype` is no such name.
    """

    labels: ClassVar[bool] = False
    """Whether targets are class indices, one integer where the output has a row of numbers."""

    target_range: ClassVar[tuple[float, float] | None] = None
    """Smallest and largest target that has a meaning."""

    def __init__(
        self, name: str | None = None, reduction: str | None = "sum_over_batch_size", dtype: Any = None
    ) -> None:
        owner = type(self).__name__
        reduction = "none" if reduction is None else reduction
        self.reduction: str = check_name(owner, REDUCTIONS, reduction=reduction)
        self.name = name or snake_case(owner)
        self.dtype = None if dtype is None else at_least_float32(compute_dtype(policy_name(dtype, owner)))

    # What a subclass gives.

    def forward(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Any]:
        """Return one value for each sample, and what `backward` will need. Without it, `call` is recorded."""
        self._check_defined()
        return program.Tape.record_if_wanted(xp, self._called_with(y_true), y_pred)

    def _called_with(self, y_true: Array) -> Callable[[Backend, Array], Array]:
        return lambda recorder, given: self.call(recorder, y_true, given)

    def backward(self, xp: Backend, saved: Any, dvalues: Array) -> Array:
        """Return dL/dy_pred from dL/dvalues, which has the shape of values. Without it, `call` is recorded."""
        self._check_defined()
        (dy_pred,), _ = saved.gradients(dvalues)
        return dy_pred

    def _check_defined(self) -> None:
        kind = type(self)
        if kind.forward is not Loss.forward and kind.backward is Loss.backward:
            raise MissingDerivativeError(
                f"{self.name}: training needs the derivative of the loss. Received: {kind.__name__}, which defines "
                f"`forward` without `backward`. Define backward(self, xp, saved, dvalues), or `call` alone."
            )
        if kind.forward is Loss.forward and kind.call is Loss.call:
            raise ArgumentError(
                f"{self.name}: a loss must define call, or forward and backward. "
                f"Received: {kind.__name__}, which defines neither"
            )

    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return one value for each sample."""
        return self.forward(xp, y_true, y_pred)[0]

    def residuals(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return r, with the shape of y_pred: each value is the mean of r² over the last axis.

        Only a loss of squares defines it; optimizers for least squares take no other.
        """
        raise ArgumentError(f"{self.name}: a loss of squares must define residuals(xp, y_true, y_pred). Received: none")

    def counted(self, xp: Backend, y_true: Array, values: Array) -> Array | None:
        """Return 1 where a value counts and 0 where it does not, with the shape of values; None if all count."""
        return None

    def target_shape(self, output_shape: Shape) -> Shape:
        """Return the shape that y_true must have for an output of this shape."""
        return output_shape[:-1] if self.labels else output_shape

    # What the framework and a user call.

    def align(self, shape: Shape, output_shape: Shape) -> Shape:
        """Return the shape that targets of this shape are to be given, where only an axis of length 1 differs.

        Raises:
            ShapeError: more than that differs. Targets are never broadcast.
        """
        wanted = self.target_shape(output_shape)
        if shape == wanted or shape == (*wanted, 1) or (*shape, 1) == wanted:
            return wanted
        known = [n for n in (shape, wanted) if n]
        if (
            len(known) == 2
            and len(shape) == len(wanted)
            and all(a is None or b is None or a == b for a, b in zip(shape, wanted, strict=True))
        ):
            return shape
        remedy = (
            " One-hot targets go with CategoricalCrossentropy."
            if self.labels and len(shape) == len(output_shape)
            else " Class indices go with SparseCategoricalCrossentropy."
            if not self.labels and shape[len(wanted) - 1 :] in ((), (1,)) and self.target_range
            else " The last layer's width must be that of the targets."
        )
        raise ShapeError(
            f"{self.name}: for an output of shape {_with_batch(output_shape)}, targets must have shape "
            f"{_with_batch(wanted)}. Received: shape {_with_batch(shape)}.{remedy}"
        )

    def reduce(
        self,
        xp: Backend,
        y_true: Array,
        values: Array,
        sample_weight: Array | None = None,
        mask: Array | None = None,
    ) -> tuple[Array, Array]:
        """Return the reduced loss and its derivative with respect to values, which has their shape.

        Where the mask is False, a value has the weight 0, and N is the number of the others.
        """
        count: Any = max(1, math.prod(values.shape))
        weights = None
        counted = self.counted(xp, y_true, values)
        if mask is not None:
            mask = spread(xp, xp.astype(mask, values.dtype), values, "mask")
        if counted is not None:
            counted = xp.astype(counted, values.dtype)
            mask = counted if mask is None else counted * mask
        if mask is not None:
            weights = mask
            count = xp.maximum(xp.sum(mask), 1.0)
        if sample_weight is not None:
            sample_weight = spread(xp, sample_weight, values)
            weights = sample_weight if weights is None else weights * sample_weight
            if self.reduction == "mean_with_sample_weight":
                total = xp.sum(weights)
                count = xp.where(total == 0, 1.0, total)  # all weights 0: the loss is 0, as in Keras
        if self.reduction in ("sum", "none"):
            count = 1
        if weights is None:
            weighted = values
            dvalues = xp.full(values.shape, 1.0 / count, dtype=values.dtype)
        else:
            weighted = values * weights
            dvalues = weights / count
        return (weighted if self.reduction == "none" else xp.sum(weighted) / count), dvalues

    def values(self, xp: Backend, y_true: Any, y_pred: Any) -> Array:
        """Return one value for each sample, of arrays or lists; shapes are checked."""
        y_pred = as_float(xp, y_pred)
        return self.call(xp, *self.in_dtype(xp, self.aligned(xp, y_true, y_pred), y_pred))

    def in_dtype(self, xp: Backend, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        """Return targets and predictions in the dtype in which the loss is computed; class indices stay integers."""
        if self.dtype is None or y_pred.dtype == (dtype := getattr(xp, self.dtype)):
            return y_true, y_pred
        return (y_true if self.labels else xp.astype(y_true, dtype)), xp.astype(y_pred, dtype)

    def aligned(self, xp: Backend, y_true: Any, y_pred: Array) -> Array:
        """Return targets, an array or lists, as `call` takes them for these predictions."""
        y_true = as_numbers(xp, y_true, f"{self.name}: y_true")
        if not self.labels:
            y_true = xp.astype(y_true, y_pred.dtype)
        elif y_true.dtype in (xp.float32, xp.float64):
            y_true = xp.astype(y_true, xp.int64)
        return xp.reshape(y_true, self.align(tuple(y_true.shape), tuple(y_pred.shape)))

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None, mask: Any = None) -> Array:
        """Return the reduced loss of arrays or lists of any backend; `mask` is False where a prediction does not count.

        Raises:
            ShapeError: the targets do not fit the predictions, or the weights do not fit the values.
            MixedBackendsError: the arrays belong to two backends.
        """
        xp = backend_of(y_true, y_pred, sample_weight) or backend()
        y_pred = as_float(xp, y_pred)
        y_true, y_pred = self.in_dtype(xp, self.aligned(xp, y_true, y_pred), y_pred)
        with xp.on_device():
            values = self.call(xp, y_true, y_pred)
            if sample_weight is not None:
                sample_weight = xp.astype(xp.asarray(sample_weight), values.dtype)
            return self.reduce(xp, y_true, values, sample_weight, None if mask is None else xp.asarray(mask))[0]


class StandardLoss(Loss):
    """Base of the losses that are here: as in Keras, their reduction comes before their name."""

    def __init__(
        self, reduction: str | None = "sum_over_batch_size", name: str | None = None, dtype: Any = None
    ) -> None:
        super().__init__(name, reduction, dtype)


class FunctionLoss(StandardLoss):
    """A loss made from a function ``f(y_true, y_pred)`` of arrays of the backend, which returns one value a sample.

    Written ``f(xp, y_true, y_pred)``, it receives the backend, for its words.
    Its derivative is found by recording; see `layerkit.grad` for what it may be written with.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name or name_of_function(function), dtype)
        self.function = function

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        return call_function(self.function, xp, y_true, y_pred)


def spread(xp: Backend, sample_weight: Array, values: Array, name: str = "sample_weight") -> Array:
    """Return sample weights with the shape of values.

    A weight a row is repeated along the inner axes, as is one along an inner axis of length 1, and a single number
    along all.

    Raises:
        ShapeError: the weights have another number of rows, or another shape, or there is one value for all rows.
    """
    wanted = tuple(values.shape)
    sample_weight = squeezed(xp, sample_weight, max(1, len(wanted)))
    shape = tuple(sample_weight.shape)
    if shape == wanted:
        return sample_weight
    if reaches(shape, wanted):
        inner = (1,) * (len(wanted) - len(shape))
        return xp.broadcast_to(xp.reshape(sample_weight, (*shape, *inner)), wanted)
    if not wanted:
        raise ShapeError(
            f"{name}: a loss with one value for a whole batch takes none. Received: shape {shape}. "
            f"Give the loss the axes of a sample: axis=(1, 2, 3)."
        )
    raise ShapeError(
        f"{name}: there must be one weight for each sample, or for each value, {wanted}. Received: shape {shape}"
    )


def squeezed(xp: Backend, sample_weight: Array, axes: int) -> Array:
    """Return sample weights without those axes of length 1 at their end by which they have more than so many axes."""
    shape = tuple(sample_weight.shape)
    while len(shape) > axes and shape[-1] == 1:
        shape = shape[:-1]
    return sample_weight if len(shape) == sample_weight.ndim else xp.reshape(sample_weight, shape)


def reaches(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Tell whether weights of a shape say how much each value counts, of values of another shape.

    Rows are never repeated: one weight in a list is taken for one row.
    """
    inner = zip(shape[1:], wanted[1:], strict=False)
    return len(shape) <= len(wanted) and shape[:1] == wanted[: len(shape[:1])] and all(n in (1, m) for n, m in inner)


def masked_weights(xp: Backend, mask: Array | None, sample_weight: Array | None) -> Array | None:
    """Return sample weights that are 0 where a mask is False, with the inner axes of both; None if all are 1.

    Raises:
        ShapeError: the axes that both have are not of one length.
    """
    if mask is None or sample_weight is None:
        return sample_weight if mask is None else xp.astype(mask, xp.float64)
    if sample_weight.ndim > mask.ndim:
        return spread(xp, xp.astype(mask, sample_weight.dtype), sample_weight, "mask") * sample_weight
    return spread(xp, sample_weight, mask) * xp.astype(mask, sample_weight.dtype)


def _with_batch(shape: Shape) -> str:
    return "(" + ", ".join("batch" if n is None else str(n) for n in shape) + ("," if len(shape) == 1 else "") + ")"
