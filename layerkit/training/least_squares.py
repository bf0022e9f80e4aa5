"""The second derivatives of a sum of squares, with its residuals taken as linear: for optimizers that ask for them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError
from layerkit.layers.penalties import collecting
from layerkit.losses import Loss
from layerkit.program import Tape, recording
from layerkit.program.rows import RowWise
from layerkit.training.capture import CapturedStep

if TYPE_CHECKING:
    from layerkit.training.step import Step
    from layerkit.xp import Array, Backend

BLOCK = 2**20
"""How many numbers of the Jacobian are computed at a time: 8 MiB in float64."""

TOLERANCE = 1e-3
"""How far the gradient of the rows one by one may be from that of the batch, before it is another function."""


def check_loss(optimizer: Any, loss: Loss | None) -> None:
    """Refuse a loss that is no sum of squares.

    Raises:
        ArgumentError: it is none.
    """
    if loss is not None and type(loss).residuals is Loss.residuals:
        raise ArgumentError(
            f"compile: {optimizer.name} needs a loss that is a mean or sum of squares. Received: loss={loss.name}. "
            f"Use 'mse', or another optimizer, such as 'lbfgs'."
        )


class LeastSquares:
    """The matrix ``2 Jᵀ c J`` of a model's loss ``Σ c r²``, for a batch, and that of its L2 penalties added.

    J holds the derivative of each residual by each parameter. It is computed for a block of rows at a time, by a single
    backward pass that keeps the rows apart (`layerkit.program.rows`), and only what it adds to the matrix is kept.

    Args:
        step: whose model, loss and optimizer are meant.
    """

    def __init__(self, step: Step) -> None:
        self.step = step
        self.block = CapturedStep("jacobian", self._block, step, step.jit_compile)
        self.compared = False
        """Whether it was looked, with these weights, whether rows depend on each other."""

    def begin(self) -> None:
        """Prepare for the weights that are trained now.

        Raises:
            ArgumentError: one has a penalty that is no sum of squares.
        """
        self.compared = False
        for weight, name in self.step.regularized().items():
            if weight.regularizer.curvature() is None:
                raise ArgumentError(
                    f"{self.step.optimizer.name}: penalties on weights must be sums of squares. Received: "
                    f"{weight.regularizer!r} on {name}. Use L2, or another optimizer, such as LBFGS."
                )

    def matrix(self, x: Any, y: Any, shares: Array, *, eagerly: bool) -> Array:
        """Return the matrix, where the weights are.

        Args:
            x: inputs of all rows.
            y: targets.
            shares: the derivative of the loss by each of its values.
            eagerly: whether nothing is to be recorded.
        """
        step = self.step
        xp, planned = step.xp, step.optimizer.planned
        parameters = sum(variable.size for variable in planned)
        count = max(1, BLOCK // (parameters * max(1, math.prod(y.shape[1:]))))
        total: Any = None
        for start in range(0, x.shape[0], count):
            rows = [array[start : min(start + count, x.shape[0]), ...] for array in (x, y, shares)]
            found = self._block(xp, *rows) if eagerly else self.block(*rows)
            total = found if total is None else total + found
        penalties = step.regularized()
        curvatures = xp.concat(
            [
                xp.full((each.size,), each.regularizer.curvature() if each in penalties else 0.0, dtype=xp.float64)
                for each in planned
            ]
        )
        if not self.compared:
            self._compare(xp, total, curvatures)
            self.compared = True
        return total[:-1, :] + xp.eye(parameters, dtype=xp.float64) * curvatures if penalties else total[:-1, :]

    def _block(self, xp: Backend, x: Array, y: Array, shares: Array) -> Array:
        """Return what some rows add to the matrix, and below it what they add to the gradient."""
        step = self.step
        model, loss = step.model, step.objectives[0].loss
        assert loss is not None  # noqa: S101 - training needs one
        outputs = math.prod(y.shape[1:])
        count = y.shape[0] * outputs
        # A row for each output, each of which has one of its residuals differentiated.
        x, y = xp.repeat(x, outputs, axis=0), xp.repeat(y, outputs, axis=0)
        identity = xp.reshape(xp.eye(outputs, dtype=y.dtype), (1, outputs, outputs))
        chosen = xp.reshape(xp.broadcast_to(identity, (count // outputs, outputs, outputs)), y.shape)
        rows = RowWise(xp)
        with recording(rows), collecting() as penalties:
            narrow, saved, _ = model.run_masked(rows, rows.split(x), training=True)
            y_pred = _as(rows, narrow, getattr(xp, model.loss_dtype))
            target = rows.split(y)

            def residuals_of(recorder: Backend, given: Array) -> Array:
                return loss.residuals(recorder, target, given)

            residuals, tape = Tape.record(rows, residuals_of, y_pred)
            one = rows.split(chosen)
            (dy,), _ = tape.gradients(one)
            gradients = model.run_backward(rows, saved, _as(rows, dy, narrow.dtype), input_gradient=False)[1]
            residual = rows.sum(residuals * one)
        if penalties:
            raise ArgumentError(
                f"{step.optimizer.name}: the loss must be of squares alone. Received: a penalty that a layer adds, by "
                f"activity_regularizer or add_loss. Use another optimizer, such as LBFGS."
            )
        columns = [
            xp.reshape(xp.astype(rows.joined(gradients[name], count), xp.float64), (count, size))
            for name, size in step.columns()
        ]
        jacobian = xp.concat(columns, axis=1)
        axes = shares.ndim  # shares have one for each value, which is a mean over the last axis of the residuals
        weight = xp.broadcast_to(xp.expand_dims(shares / y.shape[-1], axis=axes), (count // outputs, *y.shape[1:]))
        weighted = jacobian * xp.astype(xp.reshape(weight, (count, 1)), xp.float64)
        residual = xp.reshape(xp.astype(rows.joined(residual, count), xp.float64), (1, count))
        return 2.0 * xp.matmul(xp.concat([jacobian.T, residual], axis=0), weighted)

    def _compare(self, xp: Backend, total: Array, curvatures: Array) -> None:
        """Compare the gradient that the rows add up to with that of the batch.

        Raises:
            ArgumentError: they differ: what a row gives depends on other rows.
        """
        optimizer = self.step.optimizer
        weights, batch = (
            xp.concat([xp.astype(part.value, xp.float64) for part in parts])
            for parts in (optimizer.parameter_vectors(), optimizer.gradient_vectors())
        )
        penalty = curvatures * weights
        # By the inequality of Cauchy and Schwarz, no gradient is larger.
        most = xp.sqrt(xp.abs(2.0 * xp.linalg.diagonal(total[:-1, :]) * optimizer.loss.value)) + xp.abs(penalty)
        if xp.to_numpy(xp.any(xp.abs(total[-1, :] + penalty - batch) > TOLERANCE * most)):
            raise ArgumentError(
                f"{optimizer.name}: what the model gives for a row must follow from that row alone. Received: a "
                f"gradient of the rows, each by itself, that is not that of the batch. Leave out the layer that mixes "
                f"rows, or use another optimizer, such as LBFGS."
            )


def _as(xp: Backend, array: Array, dtype: Any) -> Array:
    return array if array.dtype == dtype else xp.astype(array, dtype)
