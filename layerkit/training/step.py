"""One step: forward, loss, backward, optimizer, metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from layerkit import metrics as metrics_room
from layerkit.errors import ArgumentError, NotReadyError, ShapeError
from layerkit.metrics import Mean
from layerkit.xp.state import changes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.losses import Loss
    from layerkit.metrics import Metric
    from layerkit.optimizers import Optimizer
    from layerkit.xp import Array, Backend, Variable

Shape = tuple[int | None, ...]


class Trainable(Protocol):
    """What training needs of a model."""

    stop_training: bool

    @property
    def xp(self) -> Backend: ...
    @property
    def trainable_weights(self) -> list[Variable]: ...
    @property
    def weights(self) -> list[Variable]: ...
    def named_weights(self) -> dict[str, Variable]: ...
    def run_forward(self, xp: Backend, x: Array, *, training: bool = False) -> tuple[Array, Any]: ...
    def run_backward(
        self, xp: Backend, saved: Any, dy: Array, *, input_gradient: bool = True
    ) -> tuple[Array | None, dict[str, Array]]: ...


class Step:
    """What `compile` makes: the loss, optimizer and metrics of a model, and the steps that use them.

    A step is a pure function over state: it reads and writes variables, slots and totals, and nothing else outlives it.
    """

    def __init__(
        self,
        model: Trainable,
        optimizer: Optimizer,
        loss: Loss | None,
        metrics: Sequence[Any],
        weighted_metrics: Sequence[Any],
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.identifiers = (tuple(metrics), tuple(weighted_metrics))
        self.loss_total = Mean("loss").to(model.xp)
        self.metrics: list[Metric] = []
        self.weighted: list[Metric] = []
        self._resolved = False
        self._targets: list[tuple[str, Array]] = []
        self._planned: int | None = None
        for identifier in (*metrics, *weighted_metrics):  # unknown names are refused by `compile` already
            if not isinstance(identifier, str) or identifier.lower() not in ("accuracy", "acc", "crossentropy", "ce"):
                metrics_room.get(identifier)

    def resolve(self, target_shape: Shape, output_shape: Shape) -> None:
        """Make the metrics, now that the shapes are known which "accuracy" depends on."""
        if self._resolved:
            return
        plain, weighted = (
            [metrics_room.resolve(identifier, target_shape, output_shape).to(self.model.xp) for identifier in group]
            for group in self.identifiers
        )
        names = ["loss", *(metric.name for metric in (*plain, *weighted))]
        twice = [name for name in names if names.count(name) > 1]
        if twice:
            raise ArgumentError(f"compile: each metric must have a name of its own. Received: {twice[0]!r} twice")
        self.metrics, self.weighted, self._resolved = plain, weighted, True

    def plan(self) -> None:
        """Prepare for the weights that are trainable now, where they are now."""
        if self._planned == changes():
            return
        trainable = self.model.trainable_weights
        self.optimizer.build([variable for variable in self.model.weights if variable.trainable])
        self.optimizer.plan(trainable)
        chosen = set(trainable)
        self._targets = [
            (name, self.optimizer.gradient(variable))
            for name, variable in self.model.named_weights().items()
            if variable in chosen
        ]
        self._planned = changes()

    def __getstate__(self) -> dict[str, Any]:
        # A plan is made of views into state, which a copy has elsewhere.
        return {**self.__dict__, "_planned": None, "_targets": []}

    @property
    def all_metrics(self) -> list[Metric]:
        """The mean loss, and the metrics."""
        return [self.loss_total, *self.metrics, *self.weighted]

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.all_metrics:
            metric.reset_state()

    def logs(self) -> dict[str, float]:
        """Read the loss and the metrics from the device."""
        return {metric.name: metric.result() for metric in self.all_metrics}

    def train(self, x: Array, y: Array, sample_weight: Array | None) -> None:
        """Take one training step."""
        model, loss, xp = self.model, self.loss, self.model.xp
        if loss is None:
            raise NotReadyError("fit: training needs a loss. Received: compile(loss=None). Give compile a loss.")
        y_pred, saved = model.run_forward(xp, x, training=True)
        values, loss_saved = loss.forward(xp, y, y_pred)
        total, dvalues = loss.reduce(xp, y, values, sample_weight)
        dy = loss.backward(xp, loss_saved, dvalues)
        _, gradients = model.run_backward(xp, saved, dy, input_gradient=False)
        for name, target in self._targets:
            gradient = gradients.get(name)
            if gradient is None:
                raise _missing(name, gradients)
            xp.assign(target, gradient)
        self.optimizer.update(xp)
        self._measure(xp, x.shape[0], total, y, y_pred, sample_weight)

    def test(self, x: Array, y: Array, sample_weight: Array | None) -> None:
        """Measure one batch, without training."""
        xp = self.model.xp
        y_pred, _ = self.model.run_forward(xp, x, training=False)
        total: Any = 0.0
        if self.loss is not None:
            values, _ = self.loss.forward(xp, y, y_pred)
            total, _ = self.loss.reduce(xp, y, values, sample_weight)
        self._measure(xp, x.shape[0], total, y, y_pred, sample_weight)

    def _measure(
        self, xp: Backend, rows: int, total: Array, y: Array, y_pred: Array, sample_weight: Array | None
    ) -> None:
        if self.loss is not None:
            xp.assign_add(self.loss_total.total, xp.astype(total * float(rows), xp.float64))
            xp.assign_add(self.loss_total.count, rows)
        for metric in self.metrics:
            metric.update(xp, y, y_pred)
        for metric in self.weighted:
            metric.update(xp, y, y_pred, sample_weight)


def _missing(name: str, gradients: dict[str, Any]) -> ShapeError:
    return ShapeError(
        f"backward must return a gradient for each trainable weight. Received: none for {name!r}, "
        f"only {', '.join(map(repr, gradients)) or 'an empty dictionary'}."
    )
