"""The same model on several backends: where their numbers part."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit.checks import check_count, check_positive, is_a
from layerkit.errors import ArgumentError, NotReadyError
from layerkit.layers import Linear
from layerkit.models.summary import table
from layerkit.nested import leaves
from layerkit.training.trouble import intercepted
from layerkit.xp.registry import backend as find_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from layerkit.layers import Layer
    from layerkit.models.model import Model
    from layerkit.xp import Backend

TOLERANCES = {"float32": 1e-4, "float64": 1e-10}
"""What rounding makes of a step, at most; a model that is trained for long makes more of it."""

PASSES = ("forward", "gradient", "training")


class Deviation(NamedTuple):
    """By how much a layer's numbers differ on another backend, each relative to the largest of its array."""

    layer: str
    forward: float | None
    """Of its outputs in training."""
    gradient: float | None
    """Of the gradients of its inputs and of its weights."""
    training: float | None
    """Of its weights after all steps."""


class Parting(NamedTuple):
    """Where two backends part first: in the order in which a step computes."""

    layer: str
    doing: str
    """"forward", "gradient" or "training"."""
    deviation: float


class BackendComparison:
    """What `compare_backends` has found of one backend, against the first: `deviations`, `parting`, and as a table."""

    def __init__(
        self, backend: str, reference: str, deviations: Sequence[Deviation], *, steps: int, tolerance: float
    ) -> None:
        self.backend, self.reference = backend, reference
        self.deviations = tuple(deviations)
        self.steps, self.tolerance = steps, tolerance

    @property
    def parting(self) -> Parting | None:
        """Where they part first; None if every deviation is within the tolerance."""
        for doing in PASSES:
            for row in self._backwards() if doing == "gradient" else self.deviations:
                deviation: float | None = getattr(row, doing)
                if deviation is not None and not deviation <= self.tolerance:
                    return Parting(row.layer, doing, deviation)
        return None

    def _backwards(self) -> list[Deviation]:
        """Return the rows from the last layer to the first, each layer before those inside it."""
        rows: list[Deviation] = []
        for row in self.deviations:
            inside = next((n for n, outer in enumerate(rows) if row.layer.startswith(f"{outer.layer}/")), -1)
            rows.insert(inside + 1, row)
        return rows

    @property
    def conclusion(self) -> str:
        """Where they part first, in a sentence."""
        parting = self.parting
        if parting is None:
            return f"{self.backend} agrees with {self.reference}: no deviation is above {self.tolerance:g}."
        doing = f"after {_of_steps(self.steps)}" if parting.doing == "training" else f"in its {parting.doing}"
        return (
            f"{self.backend} parts from {self.reference} at {parting.layer}, {doing}: "
            f"a deviation of {parting.deviation:.2g} is above {self.tolerance:g}."
        )

    def __str__(self) -> str:
        head = ("layer", "forward", "gradient", f"after {_of_steps(self.steps)}")
        rows = [(row.layer, *map(_shown, row[1:])) for row in self.deviations]
        return f"{self.backend} against {self.reference}\n{table(rows, head, (1, 2, 3))}\n{self.conclusion}"

    __repr__ = __str__


class BackendComparisons(tuple[BackendComparison, ...]):
    """What `compare_backends` has found: a `BackendComparison` for each backend but the first."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n\n".join(map(str, self))

    __repr__ = __str__


def compare_backends(
    model: Model,
    x: Any,
    y: Any,
    backends: Sequence[str | Backend],
    steps: int = 10,
    *,
    tolerance: float | None = None,
) -> BackendComparisons:
    """Train copies of a model on several backends, and compare their numbers layer by layer.

    ::

        print(layerkit.compare_backends(model, x, y, ["numpy", "cupy"]))

    All start from the model's weights and random state, and take all rows as one batch: outputs and gradients are those
    of the first step. A deviation is the largest difference of two arrays over the largest number in that of the first
    backend. The model stays as it is.

    Args:
        model: a compiled model; it need not be built.
        x: inputs.
        y: targets.
        backends: at least two; the first is what the others are compared with.
        steps: how many training steps are taken, replayed as `fit` would.
        tolerance: from which deviation on two backends part; None for 1e-4 in float32 and 1e-10 in float64.

    Returns:
        For each backend but the first, the deviations and where it parts; ``print`` shows them.

    Raises:
        ArgumentError: there are fewer than two backends, or a number is out of its range.
        NotReadyError: `compile` was not called, or there is no loss.
        UnknownNameError, BackendUnavailableError: a backend is not there.
        ShapeError, DataError: the data does not fit.
    """
    if is_a(backends, str) or len(backends) < 2:
        raise ArgumentError(
            f"compare_backends: backends must be at least two, such as ['numpy', 'cupy']. Received: {backends!r}"
        )
    steps = check_count("compare_backends", 1, steps=steps)
    if tolerance is not None:
        check_positive("compare_backends", tolerance=tolerance)
    if not model.compiled:
        raise NotReadyError(
            "compare_backends: the model must be compiled first. Received: a model without loss and optimizer. "
            "Call compile(optimizer, loss)."
        )
    chosen = [find_backend(name) for name in backends]
    first, *others = [_Run(model, x, y, xp, steps) for xp in chosen]
    limit = TOLERANCES[model.dtype] if tolerance is None else tolerance
    return BackendComparisons(
        BackendComparison(str(xp), str(chosen[0]), first.deviations(other), steps=steps, tolerance=limit)
        for xp, other in zip(chosen[1:], others, strict=True)
    )


class _Run:
    """What a copy of the model computes on one backend, on the host."""

    def __init__(self, model: Model, x: Any, y: Any, xp: Backend, steps: int) -> None:
        self.outputs: dict[str, list[Any]] = {}
        self.gradients: dict[str, list[Any]] = {}
        self._xp = xp
        self._uses: dict[Layer, list[str]] = {}
        twin = copy.deepcopy(model).to(xp)
        if twin.step is not None:
            twin.run_eagerly = True  # or layers would not be called
        self._names = dict(_named(twin))
        with (
            intercepted([twin], "run_masked", self._begin),
            intercepted(self._names, "forward", self._forward),
            intercepted(self._names, "backward", self._backward),
        ):
            self.losses = [_loss(twin, x, y)]
        twin = copy.deepcopy(model).to(xp)
        self.losses.append([_loss(twin, x, y) for _ in range(steps)][-1])
        self.weights = {name: [weight.numpy() for weight in layer.weights] for layer, name in _named(twin)}

    def _begin(self, model: Layer, run: Callable[..., Any]) -> Callable[..., Any]:
        def begun(*args: Any, **options: Any) -> Any:
            self.outputs.clear()  # of calls that find out the shapes of outputs
            self._uses.clear()
            return run(*args, **options)

        return begun

    def _forward(self, layer: Layer, forward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(xp: Any, x: Any, **options: Any) -> Any:
            if xp is not self._xp:  # recorded, as part of something larger
                return forward(xp, x, **options)
            uses = self._uses.setdefault(layer, [])
            name = self._names[layer] + (f" ({len(uses) + 1})" if uses else "")
            uses.append(name)
            self.outputs[name] = []  # before those inside it
            result = forward(xp, x, **options)
            self.outputs[name] = self._on_host(result[0])
            return result

        return noted

    def _backward(self, layer: Layer, backward: Callable[..., Any]) -> Callable[..., Any]:
        def noted(xp: Any, saved: Any, dy: Any, **options: Any) -> Any:
            dx, gradients = backward(xp, saved, dy, **options)
            if xp is self._xp and self._uses.get(layer):
                name = self._uses[layer].pop()  # the last use comes first
                self.gradients[name] = self._on_host([dx, *(gradients[key] for key in sorted(gradients))])
            return dx, gradients

        return noted

    def _on_host(self, values: Any) -> list[Any]:
        return [np.array(self._xp.to_numpy(value)) for value in leaves(values) if value is not None]

    def deviations(self, other: _Run) -> list[Deviation]:
        """Return the rows of another run, against this one."""
        rows = [
            Deviation(
                name,
                _largest(self.outputs[name], other.outputs.get(name, [])),
                _largest(self.gradients.get(name, []), other.gradients.get(name, [])),
                _largest(self.weights.get(name, []), other.weights.get(name, [])),
            )
            for name in self.outputs
        ]
        first, last = (_largest([mine], [theirs]) for mine, theirs in zip(self.losses, other.losses, strict=True))
        return [*rows, Deviation("loss", first, None, last)]


def _named(layer: Layer, prefix: str = "") -> Iterator[tuple[Layer, str]]:
    """Yield the layers inside a layer, and their names: "dense", and "dense/gelu" for one within it."""
    for child in layer.sublayers:
        if not isinstance(child, Linear):  # which does nothing
            yield child, prefix + child.name
            yield from _named(child, f"{prefix}{child.name}/")


def _loss(model: Model, x: Any, y: Any) -> Any:
    return np.asarray(model.train_on_batch(x, y, return_dict=True)["loss"])


def _largest(ours: list[Any], theirs: list[Any]) -> float | None:
    """Return the largest deviation of arrays from those of the reference; None if there are none."""
    if len(ours) != len(theirs):
        return float("inf")
    return max((_deviation(a, b) for a, b in zip(ours, theirs, strict=True)), default=None)


def _deviation(a: Any, b: Any) -> float:
    if a.shape != b.shape:
        return float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return float("inf")
    difference = float(np.max(np.abs(a[finite] - b[finite]), initial=0.0))
    largest = float(np.max(np.abs(a[finite]), initial=0.0))
    return difference / largest if largest else float("inf") if difference else 0.0


def _shown(deviation: float | None) -> str:
    return "" if deviation is None else f"{deviation:.1e}" if deviation else "0"


def _of_steps(count: int) -> str:
    return f"{count} step{'' if count == 1 else 's'}"
