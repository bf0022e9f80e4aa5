"""What is wrong, or looks wrong, about a model and its data, before and while it is first trained."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit import losses
from layerkit.errors import ArgumentError, LintWarning
from layerkit.layers import Activation, Dense, Dropout, Flatten, Linear, ReLU, Reshape, Sigmoid, Softmax, Tanh
from layerkit.losses import (
    BinaryCrossentropy,
    CategoricalCrossentropy,
    MeanAbsoluteError,
    MeanSquaredError,
    SparseCategoricalCrossentropy,
)
from layerkit.nested import leaves, mapped, mapped_shapes
from layerkit.program import inference, not_recording, users_frame
from layerkit.training.data import ArrayData
from layerkit.training.trouble import intercepted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from layerkit.layers import Layer
    from layerkit.training.data import BatchData
    from layerkit.training.goals import Objective
    from layerkit.training.step import Step

SAMPLE = 256
STRETCHES = 16
"""So many rows are looked at, in so many stretches, evenly spaced."""

FEW = 16
"""Of fewer rows nothing is said that is a matter of numbers, and not of certainty."""

LABELS = 100_000
"""So many labels are looked at."""

LARGE = 50.0
"""A column whose root mean square is above this slows training down: weights are made for numbers of about 1."""

UNLIKE = 1000.0
"""So many times the largest number of one column may be that of another."""

FAR = 100.0
"""So many times that of the best constant prediction, the first squared error says that targets are not scaled."""


_PASSING = (Dropout, Flatten, Reshape)
"""What leaves numbers as they are."""

CERTAIN = frozenset({"data", "probabilities_as_logits", "softmax_over_one_unit"})
"""What is a mistake; the rest is likely to be one."""


class Watched(NamedTuple):
    """An output with a loss, as it is looked at."""

    label: str
    """What a message calls it: "output 'left': "; "" where there is one."""
    loss: Any
    activation: Any
    """What its numbers come from: an activation, or a layer; None where that is not known."""
    shape: Any
    y: NDArray[Any] | None
    """Its targets, as far as they are looked at."""
    read: Callable[[], float]
    """Returns the mean of its loss."""

    def finding(self, name: str, sentence: str) -> Finding:
        """Return what was found of it."""
        return Finding(name, self.label + sentence)


class Finding(NamedTuple):
    """One thing that was found."""

    name: str
    sentence: str

    @property
    def is_certain(self) -> bool:
        """Whether it is certain to be a mistake."""
        return self.name in CERTAIN

    def __str__(self) -> str:
        return f"lint: {self.name}: {self.sentence}"


class Findings:
    """What `Model.lint` found: ``print`` shows it.

    Attributes:
        errors: mistakes.
        warnings: what is likely to be one.
    """

    def __init__(self, found: Sequence[Finding]) -> None:
        self.errors = [finding for finding in found if finding.is_certain]
        self.warnings = [finding for finding in found if not finding.is_certain]

    @property
    def names(self) -> list[str]:
        """The names of what was found, mistakes first."""
        return [finding.name for finding in self]

    def __iter__(self) -> Iterator[Finding]:
        return iter([*self.errors, *self.warnings])

    def __len__(self) -> int:
        return len(self.errors) + len(self.warnings)

    def __str__(self) -> str:
        if not self:
            return "lint: nothing found."
        kinds = {True: "error", False: "warning"}
        return "\n".join(f"{kinds[each.is_certain]:<8}{each.name}\n        {each.sentence}" for each in self)

    __repr__ = __str__


class Lookout:
    """Looks at a model, at its data, at the loss of the first batch, and at its units after the first epoch.

    Args:
        model: built and compiled.
        step: what `compile` made.
        data: what it is trained on.
    """

    def __init__(self, model: Any, step: Step, data: ArrayData | BatchData) -> None:
        self._model, self._step = model, step
        self._x, y, self._is_weighted = _sample(data)
        self._outputs = _watched(model, step, y)
        self._dtype = data.rules.dtypes[0]
        self._explains_loss = False

    def declared(self) -> list[Finding]:
        """Find what the declaration of the model shows, and the numbers of its data."""
        found: list[Finding] = []
        for output in self._outputs:
            found += self._of_the_output(output)
            if output.y is not None and output.loss.labels:
                found += self._of_the_labels(output, output.y)
        if self._x is not None and len(self._x) >= FEW and _takes_numbers(self._model):
            found += self._of_the_columns(self._x)
        # Either makes for a large loss, which need not be told as well.
        self._explains_loss = bool({"logits_as_probabilities", "unscaled_columns"} & {each.name for each in found})
        return found

    def begin(self) -> None:
        """Raise what is certain to be a mistake, and warn of what is likely to be one."""
        found = Findings(self.declared())
        if found.errors:
            raise ArgumentError(f"{found.errors[0]} compile(lint=False) trains all the same.")
        for finding in found:
            _warn(finding)

    def first_batch(self) -> None:
        """Warn if the loss of the first batch, before any step, is far from what chance would give."""
        for finding in self.of_the_first_loss():
            _warn(finding)

    def first_epoch(self) -> None:
        """Warn of layers most of whose units are dead."""
        for finding in self.of_the_units():
            _warn(finding)

    def _of_the_output(self, output: Watched) -> Iterator[Finding]:
        activation, loss = output.activation, output.loss
        kind = type(activation).__name__
        if type(activation) is Softmax and (output.shape or (None,))[-1] == 1:
            yield output.finding(
                "softmax_over_one_unit",
                "a softmax must be over two units at least, since that of one is always 1. Received: an output of one "
                "unit with softmax. Use sigmoid with binary_crossentropy, or a unit for each class.",
            )
        if getattr(loss, "from_logits", None) is True and type(activation) in (Softmax, Sigmoid):
            yield output.finding(
                "probabilities_as_logits",
                f"a loss with from_logits=True applies the {kind.lower()} itself. Received: {loss.name} after "
                f"{kind}, which would be applied twice. Use from_logits=False, or leave {kind} out.",
            )
        if getattr(loss, "from_logits", None) is False and type(activation) in (Linear, ReLU, Tanh):
            probable = "sigmoid" if isinstance(loss, BinaryCrossentropy) else "softmax"
            yield output.finding(
                "logits_as_probabilities",
                f"{loss.name} with from_logits=False takes probabilities. Received: an output with {kind}, whose "
                f"numbers are none. Use from_logits=True, or end with {probable}.",
            )

    def _of_the_labels(self, output: Watched, y: NDArray[Any]) -> Iterator[Finding]:
        classes = (output.shape or (None,))[-1]
        ignored = getattr(output.loss, "ignore_class", None)
        kept = y if ignored is None else y[y != ignored]
        if classes is None or kept.size < 2 * classes or kept.min() != 1 or kept.max() != classes - 1:
            return
        if not isinstance(output.loss, losses.CTC):  # whose class 0 is the blank
            yield output.finding(
                "labels_from_one",
                f"class indices begin at 0. Received: labels from 1 to {classes - 1}, for an output of {classes} "
                f"units, the first of which is never right. Use y - 1, and {classes - 1} units.",
            )

    def _of_the_columns(self, x: NDArray[Any]) -> Iterator[Finding]:
        columns = x.reshape(len(x), -1) if x.ndim == 2 else x.reshape(-1, 1)
        largest = np.abs(columns).max(axis=0)
        steady = (columns == columns[0]).all(axis=0) & (largest > 0)
        if steady.any() and not steady.all() and x.ndim == 2:  # all of them are a trial run
            yield Finding(
                "constant_columns",
                f"a column of x should vary. Received: {_listed(np.flatnonzero(steady))}, the same number in all rows "
                f"that were looked at, {len(x)}. Leave it out: the bias does the same.",
            )
        size = np.sqrt(np.mean(np.square(columns, dtype=np.float64), axis=0))
        varied = largest[(largest > 0) & ~steady]
        name = "column" if x.ndim == 2 else "x"
        remedy = "Scale x, or begin with Normalization or BatchNormalization."
        if size.max() > LARGE:
            where = f"{name} {int(size.argmax())}" if x.ndim == 2 else name
            yield Finding(
                "unscaled_columns",
                f"the numbers of x should be of the order of 1. Received: {where} with a root mean square of "
                f"{size.max():.3g}. {remedy}",
            )
        elif varied.size and varied.max() > UNLIKE * varied.min():
            yield Finding(
                "unscaled_columns",
                f"the columns of x should be of like size. Received: magnitudes up to {varied.min():.2g} in one and up "
                f"to {varied.max():.2g} in another. {remedy}",
            )

    def of_the_first_loss(self) -> Iterator[Finding]:
        """Compare a loss before training with that of a model that knows nothing but how often what is."""
        penalized = any(weight.regularizer is not None for weight in self._model.weights)
        if self._is_weighted or penalized or self._explains_loss:
            return
        for output in self._outputs:
            chance = self._chance(output)
            loss = None if chance is None else output.read()
            if chance is not None and loss is not None and loss > chance[1]:
                yield output.finding(
                    "first_loss_far_from_chance",
                    f"before training, the loss should be near that of chance, {chance[0]:.3g}. Received: {loss:.3g}. "
                    f"{chance[2]}",
                )

    def _chance(self, output: Watched) -> tuple[float, float, str] | None:
        """Return the loss of chance, from where on another one is far, and the remedy."""
        loss, y = output.loss, output.y
        if y is None or len(y) < FEW or loss.reduction not in ("sum_over_batch_size", "mean"):
            return None
        if isinstance(loss, (BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy)):
            classes = 2 if isinstance(loss, BinaryCrossentropy) else output.shape[-1]
            chance = math.log(max(classes, 2))
            return chance, 2 * chance + 1, "Scale x, or use smaller first weights."
        y = y.astype(np.float64)
        if isinstance(loss, MeanSquaredError):
            chance = float(y.var(axis=0).mean())
        elif isinstance(loss, MeanAbsoluteError):
            chance = float(np.abs(y - np.median(y, axis=0)).mean())
        else:
            return None
        far = FAR if isinstance(loss, MeanSquaredError) else math.sqrt(FAR)
        return (chance, far * chance, "Scale x and y, y to mean 0 and variance 1.") if chance > 0 else None

    def of_the_units(self) -> Iterator[Finding]:
        """Find layers with ReLU most of whose units give 0 for every row that is looked at."""
        walked = list(dict.fromkeys(self._model.walk()))
        inner = {id(_activation(layer)) for layer in walked if _activation(layer) is not layer}
        layers = [layer for layer in walked if type(_activation(layer)) is ReLU and id(layer) not in inner]
        layers = [layer for layer in layers if isinstance(layer, (Dense, ReLU, Activation))]
        if self._x is None or len(self._x) < FEW or not layers:
            return
        dead: dict[str, tuple[int, int]] = {}

        def around(layer: Layer, forward: Any) -> Any:
            def watched(xp: Any, x: Any, **options: Any) -> Any:
                result = forward(xp, x, **options)
                y = xp.to_numpy(result[0])
                living = (y.reshape(-1, y.shape[-1]) > 0).any(axis=0)
                dead[layer.name] = int((~living).sum()), living.size
                return result

            return watched

        xp = self._model.xp
        with xp.on_device(), inference(), self._model.tried(), intercepted(layers, "forward", around):
            self._model.run_forward(xp, xp.asarray(self._x, self._dtype), training=False)
        for name, (count, units) in dead.items():
            if units >= 4 and count > units / 2:
                yield Finding(
                    "dead_units",
                    f"most units should give something for some row. Received: {count} of the {units} units of {name} "
                    f"that give 0 for all {len(self._x)} rows that were looked at, and so learn no more. Use a smaller "
                    f"learning rate, scaled x, or leaky_relu.",
                )


def lint(subject: tuple[Any, Step, ArrayData | BatchData] | None, refusal: ArgumentError | None) -> Findings:
    """Return all that is found about a model, its step and its data, or that the data was refused."""
    if subject is None:
        return Findings([Finding("data", str(refusal))])
    model, step, data = subject
    lookout = Lookout(model, step, data)
    found = lookout.declared()
    if any(finding.is_certain for finding in found):
        return Findings(found)
    if step.optimizer.iterations:
        return Findings([*found, *lookout.of_the_units()])

    step.reset()
    step.train(*next(data.batches()))  # which tells the first loss as `fit` would; the model is a copy
    return Findings([*found, *lookout.of_the_first_loss()])


def _warn(finding: Finding) -> None:
    warnings.warn(str(finding), LintWarning, stacklevel=users_frame()[1] + 1)


def _watched(model: Any, step: Step, y: Any) -> list[Watched]:
    """Return the outputs that have a loss."""
    outputs: Any = step.outputs
    targets = iter(y if isinstance(y, tuple) else [y])  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    sources = _sources(model) if outputs.several else [_last_activation(model)]
    found: list[Watched] = []
    for place, (objective, source) in enumerate(zip(step.objectives, sources, strict=True)):
        own = next(targets, None) if objective.wanted else None
        if objective.loss is None:
            continue

        def read(objective: Objective = objective) -> float:
            if objective.total is not None:
                return objective.total.result()
            return step.loss_total.result() / (objective.weight or 1.0)

        label = f"{outputs.label(place)}: " if outputs.several else ""
        found.append(Watched(label, objective.loss, source, outputs.shapes[place], own, read))
    return found


def _sources(model: Any) -> list[Any]:
    """Return for each output the activation, or the layer, that it comes from; None where it comes from none."""
    passes: list[tuple[Any, Any, Any]] = []

    def around(layer: Layer, forward: Any) -> Any:
        def watched(xp: Any, x: Any, **options: Any) -> Any:
            result = forward(xp, x, **options)
            passes.append((layer, x, result[0]))
            return result

        return watched

    def zeros(shape: Any) -> Any:
        lengths = tuple([2 if n is None else n for n in shape])
        return xp.asarray(xp.zeros(lengths, dtype=getattr(xp, model.compute_dtype)))

    xp = model.xp
    around_each = intercepted(list(model.walk())[1:], "forward", around)
    with xp.on_device(), not_recording(), inference(), model.tried(), around_each:
        y = model.run_forward(xp, mapped_shapes(zeros, model.input_shape))[0]
    found: list[Any] = []
    for output in leaves(y):
        layer, array = None, output
        for candidate, x, made in passes[::-1]:
            if made is array:
                layer, array = candidate, x if type(candidate) in _PASSING else array
        found.append(None if layer is None else _activation(layer))
    return found


def _sample(data: ArrayData | BatchData) -> tuple[NDArray[Any] | None, Any, bool]:
    """Return rows of x, evenly spaced, labels or targets, and whether there are weights; None where none can be had."""
    arrays = data.on_host() if isinstance(data, ArrayData) else None
    if arrays is None:
        return None, None, False
    x, y, weights = arrays
    return x[_spaced(len(x), SAMPLE)], mapped(_of_labels, y), weights is not None


def _of_labels(y: Any) -> Any:
    return y if y is None or len(y) <= LABELS else y[_spaced(len(y), LABELS)]


def _spaced(rows: int, wanted: int) -> Any:
    """Return the numbers of rows: stretches, evenly spaced, so that of a memory map few pages are read."""
    if rows <= wanted:
        return slice(None)
    length = wanted // STRETCHES
    starts = np.linspace(0, rows - length, STRETCHES).astype(np.int64)
    return np.unique(starts[:, None] + np.arange(length))


def _activation(layer: Any) -> Any:
    return getattr(layer, "activation", layer)


def _last_activation(model: Any) -> Any:
    """Return the activation of the last layer that changes numbers; the layer itself where it has none."""
    for layer in reversed(model.layers):
        if type(layer) in _PASSING:
            continue
        return _last_activation(layer) if hasattr(layer, "layers") else _activation(layer)
    return None


def _takes_numbers(model: Any) -> bool:
    """Tell whether x goes into weights as it is: not into what scales it, nor into a user's layer, which may."""
    for layer in model.layers:
        if type(layer) in _PASSING:
            continue
        return _takes_numbers(layer) if hasattr(layer, "layers") else type(layer) is Dense
    return False


def _listed(numbers: NDArray[Any]) -> str:
    shown = ", ".join(map(str, numbers[:5].tolist()))
    return f"{'column' if len(numbers) == 1 else 'columns'} {shown}{' …' if len(numbers) > 5 else ''}"
