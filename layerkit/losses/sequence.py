"""Losses for sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from layerkit.errors import ShapeError
from layerkit.losses.loss import Shape, StandardLoss
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

# The logarithm of a probability that is 0: beside it, every other is beyond the last digit. Keras's value.
NEVER = -1e5


class CTC(StandardLoss):
    """Connectionist temporal classification: ``v = -log p(labels)``, over all ways to spread labels over the steps.

    A way names a class at each step: the labels in their order, each once or several times in a row, and between them
    the blank, class 0, which must stand between two equal labels. With the labels and the blanks around them as states
    s, ``α(t, s) = p(t, s) (α(t - 1, s) + α(t - 1, s - 1) + α(t - 1, s - 2))``, where the last term is there for a label
    that differs from the one before, and p is the softmax of y_pred (Graves et al., ICML 2006, equation 6). Computed in
    logarithms. The derivative is found.

    Shapes:
        y_true: (batch, labels), integers from 1 to C - 1, filled up with 0 at the end. y_pred: (batch, steps, C),
        logits. values: (batch,).

    Raises:
        ShapeError: the output has no axis of steps.
    """

    labels: ClassVar[bool] = True

    @override
    def target_shape(self, output_shape: Shape) -> Shape:
        if len(output_shape) != 3:
            raise ShapeError(
                f"{self.name}: the output must have shape (batch, steps, classes). "
                f"Received: an output of {len(output_shape)} axes"
            )
        return (output_shape[0], None)

    @override
    def call(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        rows, labels = y_true.shape
        blank = xp.zeros((rows, 1), dtype=y_true.dtype)
        between = xp.stack([xp.zeros_like(y_true), y_true], axis=-1)
        states = xp.concat([xp.reshape(between, (rows, 2 * labels)), blank], axis=1)
        chosen = xp.astype(xp.one_hot(states, y_pred.shape[-1], "bool"), y_pred.dtype)
        log_p = xp.matmul(xp.log_softmax(y_pred, axis=-1), xp.matrix_transpose(chosen))

        place = xp.arange(2 * labels + 1)
        is_skipped = (states != 0) & (states != xp.roll(states, 2, axis=1)) & (place >= 2)
        first, *others = xp.unstack(log_p, axis=1)
        log_alpha = xp.where(place < 2, first, NEVER)
        for log_p_now in others:
            one_back = xp.where(place >= 1, xp.roll(log_alpha, 1, axis=1), NEVER)
            two_back = xp.where(is_skipped, xp.roll(log_alpha, 2, axis=1), NEVER)
            log_alpha = xp.logaddexp(xp.logaddexp(log_alpha, one_back), two_back) + log_p_now

        # The last label, or the blank behind it.
        last = 2 * xp.sum(xp.astype(y_true != 0, y_true.dtype), axis=1, keepdims=True)
        ends = [xp.sum(xp.where(place == last - n, log_alpha, 0.0), axis=1) for n in (0, 1)]
        ends[1] = xp.where(xp.squeeze(last, axis=1) == 0, NEVER, ends[1])
        return -xp.logaddexp(*ends)
