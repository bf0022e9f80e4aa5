"""One step: forward, loss, backward, optimizer, metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from layerkit import metrics as metrics_room
from layerkit.changes import moves
from layerkit.errors import ArgumentError, NotReadyError, ShapeError, UnknownNameError
from layerkit.layers.penalties import collecting, total_penalty
from layerkit.losses.loss import masked_weights
from layerkit.metrics import Mean
from layerkit.names import nearest
from layerkit.program import inference
from layerkit.training.capture import MOST_PROGRAMS, CapturedStep, labelled_layers, origin
from layerkit.training.totals import Totals
from layerkit.training.trouble import say_where

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from layerkit.layers import Layer
    from layerkit.losses import Loss
    from layerkit.metrics import Metric
    from layerkit.optimizers import Optimizer
    from layerkit.program import Origin
    from layerkit.training.least_squares import LeastSquares
    from layerkit.training.norms import Norms
    from layerkit.training.turn import Turn
    from layerkit.xp import Array, Backend, Variable
    from layerkit.xp.state import State

Shape = tuple[int | None, ...]


class Trainable(Protocol):
    """What training needs of a model."""

    stop_training: bool
    run: Any
    turn: Turn

    @property
    def name(self) -> str: ...
    @property
    def xp(self) -> Backend: ...
    @property
    def loss_dtype(self) -> str: ...
    @property
    def trainable_weights(self) -> list[Variable]: ...
    @property
    def weights(self) -> list[Variable]: ...
    @property
    def variables(self) -> list[Variable]: ...
    def check_home(self) -> None: ...
    def walk(self) -> Iterator[Layer]: ...
    def named_weights(self) -> dict[str, Variable]: ...
    def run_forward(self, xp: Backend, x: Array, *, training: bool = False) -> tuple[Array, Any]: ...
    def run_masked(
        self, xp: Backend, x: Array, mask: Array | None = None, *, training: bool = False
    ) -> tuple[Array, Any, Array | None]: ...
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
        jit_compile: bool | str = False,
        on_nonfinite: str = "warn",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.identifiers = (tuple(metrics), tuple(weighted_metrics))
        self.loss_total = Mean("loss").to(model.xp)
        self.metrics: list[Metric] = []
        self.weighted: list[Metric] = []
        self.all_metrics: list[Metric] = [] if loss is None else [self.loss_total]
        """The mean loss if there is one, and the metrics."""
        self._resolved: tuple[Any, ...] | None = None
        self._targets: list[tuple[str, State]] = []
        self._known: frozenset[str] = frozenset()
        self._regularized: dict[Variable, str] = {}
        self._looked: int | None = None
        self._planned: int | None = None
        self._slots: tuple[str, ...] = ()
        names = _names(metrics, weighted_metrics)
        if optimizer.least_squares:
            from layerkit.training.least_squares import check_loss  # few optimizers need it

            check_loss(optimizer, loss)
        self.names = names if loss is not None else names[1:]
        self._totals = Totals(dict(zip(self.names, self.all_metrics, strict=False)))
        self.on_nonfinite = on_nonfinite
        self.jit_compile = jit_compile
        self.norms: Norms | None = None
        """What measures norms in each step, if anything does."""
        self._capture()

    def run_eagerly(self) -> None:
        """Record no step from now on."""
        self.jit_compile = False
        self._capture()

    def _capture(self) -> None:
        self.training = CapturedStep("train", self.take, self, self.jit_compile)
        self.testing = CapturedStep("test", self._test, self, self.jit_compile)
        self.trying = CapturedStep("trial", self._try, self, self.jit_compile) if self.optimizer.searches else None
        self._norms: dict[tuple[bool, bool], Norms] = {}
        self.least_squares: LeastSquares | None = None
        if self.optimizer.least_squares:
            from layerkit.training.least_squares import LeastSquares

            self.least_squares = LeastSquares(self)

    def resolve(self, target_shape: Shape, output_shape: Shape) -> None:
        """Make the metrics, now that the shapes are known which "accuracy" depends on."""
        shapes = len(target_shape), target_shape[-1], len(output_shape), output_shape[-1]
        if self._resolved == shapes:
            return
        self.metrics, self.weighted = (
            [metrics_room.resolve(identifier, target_shape, output_shape).to(self.model.xp) for identifier in group]
            for group in self.identifiers
        )
        self.all_metrics = [*self.all_metrics[: self.loss is not None], *self.metrics, *self.weighted]
        self._totals = Totals(dict(zip(self.names, self.all_metrics, strict=False)))
        self._resolved = shapes

    @property
    def shapes(self) -> tuple[Any, ...] | None:
        """How many axes targets and outputs have, and their last lengths; None before the metrics are made for them."""
        return self._resolved

    def plan(self) -> None:
        """Prepare for the weights that are trainable now, where they are now."""
        self.model.check_home()
        slots = self.optimizer.all_slots()  # a momentum that is set later needs its slot
        if self._planned == moves() and self._slots == slots:
            return
        trainable = self.model.trainable_weights
        self.optimizer.check(trainable)
        if self.least_squares is not None:
            self.least_squares.begin()
        self.optimizer.build([variable for variable in self.model.weights if variable.trainable])
        self.optimizer.plan(trainable)
        chosen, named = set(trainable), self.model.named_weights()
        self._known = frozenset(named)
        self._targets = [
            (name, self.optimizer.gradient(variable)) for name, variable in named.items() if variable in chosen
        ]
        if self.norms is not None:
            self.norms.plan()
        self._totals.arrange()  # now, and not at the epoch's end: what is recorded holds as long as nothing moves
        self._planned, self._slots = moves(), slots

    def trained(self) -> Iterator[tuple[str, State, Variable]]:
        """Yield the weights that are trained: their names, where their gradients are put, and they."""
        named = self.model.named_weights()
        for name, gradient in self._targets:
            yield name, gradient, named[name]

    def follow_norms(self, *, gradients: bool, updates: bool) -> Norms:
        """Measure norms in each step from now on: see `Norms`."""
        from layerkit.training.norms import Norms  # few trainings need it

        key = gradients, updates
        self.norms = self._norms[key] = self._norms.get(key) or Norms(self, gradients=gradients, updates=updates)
        self.norms.plan()
        return self.norms

    def leave_norms(self) -> None:
        """Measure no norms from now on."""
        self.norms = None

    def columns(self) -> list[tuple[str, int]]:
        """Return names and sizes of the weights that are trained, in the order of the optimizer's vectors."""
        named = {variable: name for name, variable in self.model.named_weights().items()}
        return [(named[variable], variable.size) for variable in self.optimizer.planned]

    def regularized(self) -> dict[Variable, str]:
        """Return the weights that are trained and have a penalty, and their names."""
        if self._looked != moves():
            named = {variable: name for name, variable in self.model.named_weights().items()}
            weights = [weight for weight in self.model.trainable_weights if weight.regularizer is not None]
            self._regularized = {weight: named[weight] for weight in weights}
            self._looked = moves()
        return self._regularized

    def __getstate__(self) -> dict[str, Any]:
        # A plan is made of views into state, which a copy has elsewhere.
        planned: dict[str, Any] = {"_planned": None, "_targets": [], "training": None, "testing": None, "trying": None}
        planned |= {"least_squares": None, "norms": None, "_norms": {}}
        planned |= {"_regularized": {}, "_looked": None}
        return {**self.__dict__, **planned}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._capture()

    def reset(self) -> None:
        """Forget all batches."""
        for metric in self.all_metrics:
            metric.to(self.xp)  # one that another model measures, too, may have moved with that
        self._totals.reset()

    def logs(self) -> dict[str, float]:
        """Read the loss and the metrics from the device."""
        return self._totals.logs()

    def held(self) -> list[Variable]:
        """Return the state that is not the model's: of the optimizer and of the metrics."""
        totals = [variable for metric in self.all_metrics for variable in metric.variables]
        return [*self.optimizer.held(), *totals]

    def move(self, xp: Backend) -> None:
        """Move the optimizer and the metrics to another backend."""
        self.optimizer.move(xp)
        for metric in self.all_metrics:
            metric.to(xp)

    # What a captured step is told.

    @property
    def xp(self) -> Backend:
        """The model's backend."""
        return self.model.xp

    def parts(self) -> list[Any]:
        """Return the objects on whose settings the steps depend."""
        losses = [] if self.loss is None else [self.loss]
        return [self.model, self.optimizer, self.loss_total, *losses, *self._measures]

    def state(self) -> list[Variable]:
        """Return the state that the steps read and write."""
        totals = [variable for metric in self.all_metrics for variable in metric.variables]
        norms = [] if self.norms is None else self.norms.variables
        return [*self.model.variables, *self.optimizer.variables, *totals, *norms]

    def is_shared(self) -> bool:
        """Tell whether another thread may change the state: not while this one has the turn to train."""
        return False

    def labelled(self) -> Iterator[tuple[Any, str, Origin]]:
        """Yield the methods whose words a captured step shows under a name of their own."""
        yield from labelled_layers(self.model)
        if self.loss is not None:
            for method, doing in (("forward", "loss"), ("reduce", "loss"), ("backward", "backward")):
                yield self.loss, method, origin(self.loss, doing)
        for metric in self._measures:
            yield metric, "update", origin(metric, "metric")
        yield self.optimizer, "update", origin(self.optimizer, "update")

    @property
    def _measures(self) -> list[Metric]:
        return [*self.metrics, *self.weighted]

    def look_again(self) -> None:
        """Before the next step, look whether what it depends on is as it was: a user's code has run meanwhile."""
        self.model.check_home()
        self.training.look_again()
        self.testing.look_again()
        if self.trying is not None:
            self.trying.look_again()
        if self.least_squares is not None:
            self.least_squares.block.look_again()
        if self.norms is not None:
            self.norms.taking.look_again()

    # The steps.

    def train(self, x: Any, y: Any, sample_weight: Any, *, eagerly: bool = False) -> None:
        """Take one training step, on arrays of the host or of the model's backend."""
        with self.model.xp.on_device():
            if eagerly:
                xp = self.model.xp
                arrays = [xp.asarray(array) for array in (x, y, sample_weight) if array is not None]
                shares: Any = self.take(xp, *arrays)
                evaluate: Callable[[], Any] = partial(self._try, xp, *arrays)
            else:
                shares = (self.training if self.norms is None else self.norms.taking)(x, y, sample_weight)
                evaluate = partial(self.trying, x, y, sample_weight) if self.trying is not None else _nothing
            if self.optimizer.searches:
                linearize = None
                if self.least_squares is not None:
                    linearize = partial(self.least_squares.matrix, x, y, shares, eagerly=eagerly)
                self.optimizer.search(evaluate, linearize)
                self.optimizer.constrain(self.model.xp)
                if self.optimizer.converged is not None:
                    self.model.stop_training = True

    def test(self, x: Any, y: Any, sample_weight: Any) -> None:
        """Measure one batch, without training."""
        with self.model.xp.on_device():
            self.testing(x, y, sample_weight)

    def take(
        self,
        xp: Backend,
        x: Array,
        y: Array,
        sample_weight: Array | None = None,
        *,
        around: Callable[[Backend, Callable[[], None]], None] | None = None,
    ) -> Array | None:
        """Take the step, up to a search: the function that is captured.

        Args:
            xp: the backend, or its recorder.
            x: inputs.
            y: targets.
            sample_weight: weights of rows, or of values.
            around: is handed what updates the weights, to do something before and after it.
        """
        total, (y_pred, mask, shares) = self._evaluate(xp, x, y, sample_weight)
        # First, because a metric may find that y does not fit.
        self._measure(xp, x.shape[0], total, y, y_pred, mask, sample_weight)

        def update() -> None:
            self.optimizer.update(xp)
            self.optimizer.constrain(xp)

        if around is None:
            update()
        else:
            around(xp, update)
        return shares if self.optimizer.least_squares else None

    def _try(self, xp: Backend, x: Array, y: Array, sample_weight: Array | None = None) -> None:
        """Compute loss and gradient where the weights are, and measure nothing."""
        self._evaluate(xp, x, y, sample_weight)

    def _evaluate(
        self, xp: Backend, x: Array, y: Array, sample_weight: Array | None
    ) -> tuple[Array, tuple[Array, Array | None, Array]]:
        """Put the gradients into the optimizer's vectors; return what `gradients` does, but for these."""
        total, output, gradients = self.gradients(xp, x, y, sample_weight, self.optimizer.loss_scale(xp))
        for name, stretch in self._targets:
            gradient: Any = gradients.get(name)
            target = stretch.value
            if getattr(gradient, "shape", None) != target.shape:
                require_gradients(gradients, {name: target.shape}, self._known)
            xp.assign(target, as_dtype(xp, gradient, target.dtype))
        if len(gradients) != len(self._targets):  # gradients of weights that are not trained, or of none
            require_gradients(gradients, {}, self._known)
        if self.optimizer.searches:
            xp.assign(self.optimizer.loss.value, xp.astype(total, xp.float64))
        return total, output

    def gradients(
        self, xp: Backend, x: Array, y: Array, sample_weight: Array | None, scale: Array | None = None
    ) -> tuple[Array, tuple[Array, Array | None, Array], dict[str, Array]]:
        """Return the loss with all penalties; the output, its mask, and dL/dvalues; and gradients by name of weight.

        The gradients are multiplied by `scale`, where it is given. A loss is computed in float32 at least.
        """
        model, loss = self.model, self.loss
        if loss is None:
            raise NotReadyError("Training needs a loss. Received: compile(loss=None). Give compile a loss.")
        with collecting(scale) as penalties:
            narrow, saved, mask = model.run_masked(xp, x, training=True)
        y_pred = as_dtype(xp, narrow, getattr(xp, model.loss_dtype))
        try:
            values, loss_saved = loss.forward(xp, y, y_pred)
            total, dvalues = loss.reduce(xp, y, values, sample_weight, mask)
            dy = loss.backward(xp, loss_saved, dvalues)
        except Exception as error:
            say_where(error, loss, "the loss", y_true=y, y_pred=y_pred)
            raise
        if getattr(dy, "shape", None) != y_pred.shape:
            raise _wrong_loss(loss, dy, y_pred.shape)
        dy = as_dtype(xp, penalties.scaled(xp, dy), narrow.dtype)
        gradients = model.run_backward(xp, saved, dy, input_gradient=False)[1]
        regularized = self.regularized()
        if regularized:
            gradients = dict(gradients)
        for variable, name in regularized.items():
            penalty, dweight = variable.regularizer.penalty_and_gradient(xp, variable.value)
            penalties.append(penalty)
            if name in gradients:  # where it is not, who asks for it will say so
                gradients[name] = gradients[name] + penalties.scaled(xp, dweight)
        return total_penalty(xp, total, penalties), (y_pred, mask, dvalues), gradients

    def _test(self, xp: Backend, x: Array, y: Array, sample_weight: Array | None = None) -> None:
        with inference(), collecting() as penalties:
            y_pred, _, mask = self.model.run_masked(xp, x, training=False)
        y_pred = as_dtype(xp, y_pred, getattr(xp, self.model.loss_dtype))
        total: Any = 0.0
        if self.loss is not None:
            try:
                with inference():
                    values, _ = self.loss.forward(xp, y, y_pred)
                total, _ = self.loss.reduce(xp, y, values, sample_weight, mask)
                for variable in self.regularized():
                    penalties.append(variable.regularizer.call(xp, variable.value))
                total = total_penalty(xp, total, penalties)
            except Exception as error:
                say_where(error, self.loss, "the loss", y_true=y, y_pred=y_pred)
                raise
        self._measure(xp, x.shape[0], total, y, y_pred, mask, sample_weight)

    def _measure(
        self,
        xp: Backend,
        rows: int,
        total: Array,
        y: Array,
        y_pred: Array,
        mask: Array | None,
        sample_weight: Array | None,
    ) -> None:
        if self.loss is not None:
            xp.assign_add(self.loss_total.total, xp.astype(total * float(rows), xp.float64))
            xp.assign_add(self.loss_total.count, rows)
        metric: Metric = self.loss_total
        try:
            for metric in self.metrics:
                if mask is None or not metric.masked:
                    metric.update(xp, y, y_pred)
                else:
                    metric.update(xp, y, y_pred, masked_weights(xp, mask, None))
            for metric in self.weighted:
                weights = masked_weights(xp, mask if metric.masked else None, sample_weight)
                metric.update(xp, y, y_pred, weights)
        except Exception as error:
            say_where(error, metric, "the metric", y_true=y, y_pred=y_pred)
            raise


def _nothing() -> None:
    """Evaluate nothing: the optimizer does not search."""


class Inference:
    """The step of `predict`: forward, without training.

    Args:
        model: whose outputs are asked for.
        jit_compile: see `CapturedStep`.
    """

    def __init__(self, model: Trainable, jit_compile: bool | str) -> None:
        self.model = model
        self.predicting = CapturedStep("predict", self._predict, self, jit_compile)
        self._accepted: dict[tuple[Any, ...], str] = {}

    @property
    def xp(self) -> Backend:
        """The model's backend."""
        return self.model.xp

    def parts(self) -> list[Any]:
        """Return the objects on whose settings the step depends."""
        return [self.model]

    def state(self) -> list[Variable]:
        """Return the state that a layer may write without training: what it counts, its random numbers."""
        return [variable for variable in self.model.variables if not variable.trainable]

    def is_shared(self) -> bool:
        """Tell whether another thread trains the model."""
        return self.model.turn.elsewhere() is not None

    def labelled(self) -> Iterator[tuple[Any, str, Origin]]:
        """Yield the methods whose words a captured step shows under a name of their own."""
        return labelled_layers(self.model)

    def look_again(self) -> None:
        """Before the next batch, look whether what the step depends on is as it was."""
        self.model.check_home()
        self.predicting.look_again()

    def accept(self, x: Any, dtype: str) -> None:
        """Note that NumPy's arrays of this kind are a whole batch, once they are converted."""
        if len(self._accepted) >= MOST_PROGRAMS:
            self._accepted.clear()
        self._accepted[x.shape, x.dtype] = dtype

    def accepted(self, x: Any) -> str | None:
        """Return the dtype to which such an array is to be converted; None if it is not known to be a whole batch."""
        return self._accepted.get((x.shape, x.dtype)) if type(x) is np.ndarray else None

    def predict(self, x: Any) -> Array:
        """Return the outputs for a batch, on the model's backend."""
        xp = self.model.xp
        with xp.on_device():
            return self.predicting(x)

    def _predict(self, xp: Backend, x: Array) -> Array:
        with inference():
            return self.model.run_forward(xp, x, training=False)[0]


def as_dtype(xp: Backend, array: Array, dtype: Any) -> Array:
    """Return an array in this dtype: itself, if it is."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


def _names(metrics: Sequence[Any], weighted_metrics: Sequence[Any]) -> list[str]:
    """Return the keys of the logs: as in Keras, a weighted metric is marked where a plain one has its name."""
    names = ["loss"]
    for identifier in (*metrics, *weighted_metrics):
        by_shape = isinstance(identifier, str) and identifier.lower() in metrics_room.BY_SHAPE
        metric = None if by_shape else metrics_room.get(identifier)
        if metric is not None and metric.operands != ("y_true", "y_pred"):
            raise ArgumentError(
                f"compile: a metric must compare y_true with y_pred. Received: {metric!r}, "
                f"which takes {', '.join(metric.operands)}"
            )
        name = identifier if metric is None else metric.name
        if name in names[: len(metrics) + 1] and len(names) > len(metrics):
            name = f"weighted_{name}"
        if name in names:
            raise ArgumentError(f"compile: each metric must have a name of its own. Received: {name!r} twice")
        names.append(name)
    return names


def _wrong_loss(loss: Loss, dy: Any, shape: tuple[int, ...]) -> ShapeError:
    received = f"shape {tuple(dy.shape)}" if hasattr(dy, "shape") else type(dy).__name__
    return ShapeError(
        f"{loss.name}: {type(loss).__name__}.backward must return a gradient of the shape of y_pred, {tuple(shape)}. "
        f"Received: {received}"
    )


def require_gradients(gradients: Mapping[str, Any], shapes: Mapping[str, Shape], known: Collection[str]) -> None:
    """Check what backward gave.

    Args:
        gradients: the gradients, by name of weight.
        shapes: the weights that must have one, and their shapes.
        known: the names that there are.

    Raises:
        ShapeError: a gradient is missing, is no array, or has another shape.
        UnknownNameError: there is no weight of this name.
    """
    for name, shape in shapes.items():
        layer, _, weight = name.rpartition("/")
        if name not in gradients:
            listed = [repr(key.rpartition("/")[2]) for key in gradients if key.rpartition("/")[0] == layer]
            raise ShapeError(
                f"{name}: backward must return the gradient of each trainable weight, this one as {weight!r}. "
                f"Received: {'gradients of ' + ', '.join(listed) if listed else 'none'}"
            )
        gradient = gradients[name]
        if not hasattr(gradient, "shape"):
            raise ShapeError(
                f"{name}: backward must return a gradient of the weight's shape, {shape}. "
                f"Received: {type(gradient).__name__}"
            )
        if gradient.shape != shape:
            raise ShapeError(
                f"{name}: backward must return a gradient of the weight's shape, {shape}. "
                f"Received: shape {tuple(gradient.shape)}"
            )
    for name in gradients:
        if name not in known:
            raise UnknownNameError(
                f"{name}: backward must return gradients by the names of weights. Received: {name!r}. "
                f"{nearest(name, known)}"
            )
