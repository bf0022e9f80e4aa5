"""The judge of losses."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import ContractError
from layerkit.layers.layer import FLOAT_DTYPES
from layerkit.program.central_differences import compare, require_equal
from layerkit.testing.contract import (
    attributes,
    check_attributes,
    check_close,
    check_config,
    check_dtype,
    check_shape,
    check_unchanged,
    copies,
    remade,
)
from layerkit.xp.registry import backend

if TYPE_CHECKING:
    from layerkit.losses import Loss
    from layerkit.xp.backend import Array, Backend


def check_loss(
    loss: Loss,
    y_true: Any,
    y_pred: Any,
    *,
    xp: str | Backend | None = None,
    seed: int = 0,
    tolerance: float = 1e-6,
) -> None:
    """Check that a loss keeps its contract, and that its backward pass is the derivative of its forward pass.

    - values keep the dtype of y_pred, float32 and float64, and there is at least one for each row, or one for all;
    - y_true, y_pred and the derivative given to backward are not written to, nothing is kept on self;
    - in float64, backward agrees with central differences along a random line: from single values, and from the
      reduced loss, without and with sample weights;
    - configuration, `copy.deepcopy` and `pickle` give losses that compute the same.

    Args:
        loss: the loss.
        y_true: targets, on the host: an array or lists, of the shape that `forward` takes.
        y_pred: predictions.
        xp: the backend; by default the current one.
        seed: of the lines, of the sample weights and of the derivatives given to backward.
        tolerance: the relative error that a derivative may have.

    Raises:
        GradientMismatch: a derivative is wrong; a table names loss, pass and both values.
        ContractError: something else of the above does not hold.
    """
    check_config(loss)
    place, targets, predictions = backend(xp), np.asarray(y_true), np.asarray(y_pred)
    for dtype in FLOAT_DTYPES:
        _Subject(loss, place, dtype, seed, targets, predictions).check_passes()
    subject = _Subject(loss, place, "float64", seed, targets, predictions)
    subject.check_derivatives(tolerance)
    subject.check_copies()


class _Subject:
    """A loss, targets and predictions."""

    def __init__(self, loss: Loss, xp: Backend, dtype: str, seed: int, y_true: Any, y_pred: Any) -> None:
        self.loss: Loss = remade(loss, lambda _: {})
        self.kind = type(loss).__name__
        self.xp, self.dtype = xp, dtype
        self.y_true: Any = y_true if loss.labels else y_true.astype(dtype)
        self.y_pred = y_pred.astype(dtype)
        self.random = np.random.default_rng(seed)
        shape: tuple[int, ...] = self.values(self.y_pred).shape
        self.cotangent: Any = self.random.standard_normal(shape).astype(dtype)
        # One value for a whole batch takes no weights.
        self.sample_weight: Any = self.random.uniform(0.5, 2.0, len(y_pred)).astype(dtype) if shape else None

    def forward(self, y_pred: Any) -> tuple[Array, Any]:
        return self.loss.forward(self.xp, self.xp.asarray(self.y_true), self.xp.asarray(y_pred))

    def host(self, array: Array) -> Any:
        return np.array(self.xp.to_numpy(array))

    def values(self, y_pred: Any) -> Any:
        return self.host(self.forward(y_pred)[0])

    def gradient(self, y_pred: Any) -> Any:
        return self.host(self.loss.backward(self.xp, self.forward(y_pred)[1], self.xp.asarray(self.cotangent)))

    def reduce(self, y_pred: Any, sample_weight: Any) -> tuple[Array, Array, Any]:
        """Return the reduced loss, its derivative with respect to the values, and what backward needs."""
        weight = None if sample_weight is None else self.xp.asarray(sample_weight)
        values, saved = self.forward(y_pred)
        return (*self.loss.reduce(self.xp, self.xp.asarray(self.y_true), values, weight), saved)

    def total(self, y_pred: Any, *, sample_weight: Any) -> Any:
        return self.host(self.reduce(y_pred, sample_weight)[0])

    def total_gradient(self, y_pred: Any, *, sample_weight: Any) -> Any:
        _, dvalues, saved = self.reduce(y_pred, sample_weight)
        return self.host(self.loss.backward(self.xp, saved, dvalues))

    def check_passes(self) -> None:
        xp, owner = self.xp, f"{self.kind}.backward"
        y_true, y_pred, dvalues = map(xp.asarray, (self.y_true.copy(), self.y_pred.copy(), self.cotangent.copy()))
        before = attributes([self.loss])
        values, saved = self.loss.forward(xp, y_true, y_pred)
        check_attributes(before, "forward")
        check_dtype(f"{self.kind}.forward", "values", values, self.dtype, xp)
        if tuple(values.shape[:1]) not in (self.y_pred.shape[:1], ()):
            raise ContractError(
                f"{self.kind}.forward: there must be a value for each row of y_pred, {self.y_pred.shape}. "
                f"Received: values of shape {tuple(values.shape)}"
            )
        first = self.host(values)
        dy_pred = self.loss.backward(xp, saved, dvalues)
        check_attributes(before, "backward")
        check_dtype(owner, "gradient of y_pred", dy_pred, self.dtype, xp)
        check_shape(owner, "gradient of y_pred", dy_pred, self.y_pred.shape)
        check_unchanged(self.kind, "y_true", self.host(y_true), self.y_true)
        check_unchanged(self.kind, "y_pred", self.host(y_pred), self.y_pred)
        check_unchanged(owner, "dvalues", self.host(dvalues), self.cotangent)
        check_unchanged(owner, "values", self.host(values), first)
        for sample_weight in (None, self.sample_weight):
            total, dvalues, _ = self.reduce(self.y_pred, sample_weight)
            check_dtype(f"{self.kind}.reduce", "the loss", total, self.dtype, xp)
            check_dtype(f"{self.kind}.reduce", "its derivative", dvalues, self.dtype, xp)
            check_shape(f"{self.kind}.reduce", "its derivative", dvalues, first.shape)

        # Once more, with another pass between forward and backward.
        _, saved = self.forward(self.y_pred)
        self.forward(self.y_pred[::-1].copy())
        again = self.host(self.loss.backward(xp, saved, xp.asarray(self.cotangent)))
        rule = "it must not depend on what ran between forward and backward. Keep what it needs in `saved`."
        check_close(f"{owner}: gradient of y_pred", rule, again, self.host(dy_pred))

    def check_derivatives(self, tolerance: float) -> None:
        found = [
            compare("values", "y_pred", self.values, self.gradient, self.y_pred, self.cotangent, self.random, tolerance)
        ]
        for mode, weight in (("reduced", None), ("weighted", self.sample_weight)):
            total = functools.partial(self.total, sample_weight=weight)
            gradient = functools.partial(self.total_gradient, sample_weight=weight)
            ones = np.ones(total(self.y_pred).shape)
            found.append(compare(mode, "y_pred", total, gradient, self.y_pred, ones, self.random, tolerance))
        require_equal(self.kind, f"float64 on {self.xp}", found)

    def check_copies(self) -> None:
        expected = self.values(self.y_pred)
        y_true, y_pred = self.xp.asarray(self.y_true), self.xp.asarray(self.y_pred)
        for how, copy in copies(self.loss).items():
            values = self.host(copy.forward(self.xp, y_true, y_pred)[0])
            check_close(self.kind, f"a copy by {how} must compute the same.", values, expected)
