"""The sizes of gradients, weights and changes, layer by layer: measured in the step, and added up over an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.dtype_policies import HALF
from layerkit.training.capture import CapturedStep
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerkit.program import Origin
    from layerkit.training.step import Step, Trainable
    from layerkit.xp import Array, Backend
    from layerkit.xp.state import State


class Norms:
    """Takes a model's training steps, and adds up the norms of each layer's gradient and of its relative change.

    It is a step of its own, captured like the other, which measures nothing and costs nothing.

    Args:
        step: whose steps they are.
        gradients: whether gradients are measured.
        updates: whether changes of weights are.
    """

    def __init__(self, step: Step, *, gradients: bool, updates: bool) -> None:
        self._step = step
        self._gradients, self._updates = gradients, updates
        self._layers: dict[str, list[tuple[State, Variable]]] = {}
        self._totals = Variable(0.0, "float64", "norms", trainable=False, xp=step.xp)
        self.taking = CapturedStep("train", self._take, self, step.jit_compile)

    def plan(self) -> None:
        """Prepare for the weights that are trained now. Where those of other layers are, what was added up is lost."""
        layers: dict[str, list[tuple[State, Variable]]] = {}
        for name, gradient, weight in self._step.trained():
            layers.setdefault(name.rpartition("/")[0], []).append((gradient, weight))
        if list(layers) != list(self._layers):
            zeros = [0.0] * (1 + len(layers) * (self._gradients + self._updates))
            self._totals = Variable(zeros, "float64", "norms", trainable=False, xp=self._step.xp)
        elif self._totals.xp is not self._step.xp:
            self._totals.move(self._step.xp)
        self._layers = layers

    def reset(self) -> None:
        """Forget all steps."""
        self._totals.xp.assign(self._totals.array, 0.0)

    @property
    def variables(self) -> list[Variable]:
        """The state that is added up in."""
        return [self._totals]

    @property
    def totals(self) -> list[float]:
        """How many steps were added up, and the sums of their norms."""
        return self._totals.numpy().tolist()

    @totals.setter
    def totals(self, values: list[float]) -> None:
        self._totals.assign(values)

    def means(self) -> dict[str, float]:
        """Return the means over the steps since `reset`: ``gradient_norm/<layer>`` and ``update_ratio/<layer>``."""
        count, *sums = self.totals
        kinds = ["gradient_norm"] * self._gradients + ["update_ratio"] * self._updates
        names = [f"{kind}/{layer}" for kind in kinds for layer in self._layers]
        return {name: total / max(count, 1.0) for name, total in zip(names, sums, strict=True)}

    def of_weights(self) -> dict[str, float]:
        """Return the norms of each layer's trained weights, as they are now."""
        xp = self._step.xp
        if not self._layers:
            return {}
        with xp.on_device():
            norms = xp.stack([_norm(xp, [weight.value for _, weight in pairs]) for pairs in self._layers.values()])
            return {
                f"weight_norm/{layer}": norm
                for layer, norm in zip(self._layers, xp.to_numpy(norms).tolist(), strict=True)
            }

    # What its captured step is told.

    @property
    def model(self) -> Trainable:
        """The model that is trained."""
        return self._step.model

    @property
    def xp(self) -> Backend:
        """The model's backend."""
        return self._step.xp

    def parts(self) -> list[Any]:
        """Return the objects on whose settings the step depends."""
        return self._step.parts()

    def state(self) -> list[Variable]:
        """Return the state that the step reads and writes."""
        return self._step.state()

    def input_names(self, count: int) -> Sequence[str]:
        """Return what the arrays of the step are called."""
        return self._step.input_names(count)

    def is_shared(self) -> bool:
        """Tell whether another thread may change the state."""
        return self._step.is_shared()

    def labelled(self) -> Iterator[tuple[Any, str, Origin]]:
        """Yield the methods whose words a captured step shows under a name of their own."""
        return self._step.labelled()

    # The step.

    def _take(self, xp: Backend, *batch: Array) -> Array | None:
        return self._step.take(xp, *batch, around=self._measured)

    def _measured(self, xp: Backend, update: Callable[[], None]) -> None:
        """Update the weights, and measure by what, and by how much."""
        scale = self._step.optimizer.loss_scale(xp)
        found: list[Array] = []
        if self._gradients:
            for pairs in self._layers.values():
                norm = _norm(xp, [gradient.value for gradient, _ in pairs])
                found.append(norm if scale is None else norm / xp.astype(scale, xp.float64))
        # A conversion copies.
        before = [[xp.astype(w.value, w.value.dtype) for _, w in pairs] for pairs in self._layers.values()]
        update()
        if self._updates:
            for pairs, old in zip(self._layers.values(), before, strict=True):
                change = [weight.value - w for (_, weight), w in zip(pairs, old, strict=True)]
                found.append(_norm(xp, change) / xp.maximum(_norm(xp, old), 1e-12))
        if not found:
            return
        norms = xp.stack([xp.ones_like(found[0]), *found])
        if self._step.optimizer.scales_loss:  # steps with other gradients are left out
            norms = xp.where(xp.all(xp.isfinite(norms)), norms, xp.zeros_like(norms))
        xp.assign_add(self._totals.value, norms)


def _norm(xp: Backend, arrays: list[Array]) -> Array:
    """Return the Euclidean norm of all elements, in float64."""
    wide = [xp.astype(x, xp.float32) if str(x.dtype).rpartition(".")[2] in HALF else x for x in arrays]
    squares = [xp.astype(xp.sum(x * x), xp.float64) for x in wide]
    return xp.sqrt(sum(squares[1:], squares[0]))
