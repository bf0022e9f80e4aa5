"""The sizes of gradients and weights, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_flag
from layerkit.errors import ArgumentError
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Mapping


class NormLogger(Callback):
    """Add the norms of each layer's gradient and weights to the logs of each epoch, and so to History.

    ::

        history = model.fit(x, y, epochs=10, callbacks=[NormLogger()]).history
        history["gradient_norm/dense"]

    A norm is the Euclidean one, of all weights of a layer that are trained, together. The names of layers inside others
    have those of the outer ones in front: ``gradient_norm/encoder/dense``.

    - ``gradient_norm/<layer>``: ‖g‖, the mean over the epoch's steps, of gradients before they are clipped;
    - ``weight_norm/<layer>``: ‖w‖ at the epoch's end;
    - ``update_ratio/<layer>``: ‖w' - w‖ / ‖w‖, the mean over the epoch's steps: 1e-3 is a usual size.

    Gradients that vanish or explode show in the first, rates that are too small or too large in the last. They are
    measured within the step, on the model's device, and read once an epoch; without this callback they cost nothing.
    Steps that a `LossScaleOptimizer` leaves out do not count.

    Args:
        gradients: whether norms of gradients are added.
        weights: whether norms of weights are.
        updates: whether relative changes are, for which the weights are copied in each step.

    Raises:
        ArgumentError: an argument is no truth value, or all are False; or in `fit`: `updates` with an optimizer that
            searches, such as LBFGS.
    """

    resumable_from_file = True

    def __init__(self, gradients: bool = True, weights: bool = True, updates: bool = False) -> None:
        self.gradients = check_flag("NormLogger", gradients=gradients)
        self.weights = check_flag("NormLogger", weights=weights)
        self.updates = check_flag("NormLogger", updates=updates)
        if not (gradients or weights or updates):
            raise ArgumentError(
                "NormLogger: there must be something to add. Received: gradients=False, weights=False, updates=False"
            )
        self._norms: Any = None

    @override
    def get_state(self) -> dict[str, Any]:
        return {} if self._norms is None else {"totals": self._norms.totals}

    @override
    def set_state(self, state: Mapping[str, Any]) -> None:
        if self._norms is not None and "totals" in state:
            self._norms.totals = state["totals"]

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        step = self.model.step
        if self.updates and step.optimizer.searches:
            raise ArgumentError(
                f"NormLogger: changes are measured of an optimizer that takes one step at a time. Received: "
                f"updates=True with {step.optimizer.name}, which searches. Leave updates out."
            )
        self._norms = step.follow_norms(gradients=self.gradients, updates=self.updates)

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._norms.reset()

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        found = self._norms.means()
        if self.weights:
            found |= self._norms.of_weights()
        cast("dict[str, Any]", logs).update(found)

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        self.model.step.leave_norms()
        self._norms = None
