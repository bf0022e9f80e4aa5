"""One step: forward, loss, backward, optimizer, metrics."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from layerkit.changes import moves
from layerkit.errors import ArgumentError, NotReadyError, ShapeError, UnknownNameError
from layerkit.layers import Layer
from layerkit.layers.penalties import collecting, total_penalty
from layerkit.losses.loss import masked_weights
from layerkit.metrics import Mean
from layerkit.names import nearest
from layerkit.nested import filled, is_nest, leaves
from layerkit.program import inference
from layerkit.training.capture import MOST_PROGRAMS, CapturedStep, labelled_layers, origin
from layerkit.training.goals import Objective
from layerkit.training.totals import Totals
from layerkit.training.trouble import say_where

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from layerkit.losses import Loss
    from layerkit.metrics import Metric
    from layerkit.optimizers import Optimizer
    from layerkit.program import Origin
    from layerkit.training.goals import Goals
    from layerkit.training.least_squares import LeastSquares
    from layerkit.training.norms import Norms
    from layerkit.training.outputs import Outputs
    from layerkit.training.turn import Turn
    from layerkit.xp import Array, Backend, Variable
    from layerkit.xp.state import State

Shape = tuple[int | None, ...]


class Measured(NamedTuple):
    """What a step has computed for one output."""

    y_true: Array
    y_pred: Array
    mask: Array | None
    sample_weight: Array | None
    loss: Any
    """One number, not multiplied by its weight; None where the output has no loss."""
    shares: Any = None
    """The derivative of the whole loss by each value of this one, where it was asked for."""


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
        goals: Goals,
        jit_compile: bool | str = False,
        on_nonfinite: str = "warn",
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.goals = goals
        self.loss_total = Mean("loss").to(model.xp)
        self.objectives: list[Objective] = []
        """One for each output of the model, once they are known with their targets."""
        self.all_metrics: list[Metric] = [self.loss_total] if goals.trains else []
        """The mean loss if there is one, that of each output where several have one, and the metrics."""
        self.names: list[str] = ["loss"] if goals.trains else []
        """What they are called in the logs."""
        self.outputs: Outputs | None = None
        """Of the model, once they are known with their targets."""
        self._resolved: tuple[Any, ...] | None = None
        self._targets: list[tuple[str, State]] = []
        self._known: frozenset[str] = frozenset()
        self._regularized: dict[Variable, str] = {}
        self._looked: int | None = None
        self._planned: int | None = None
        self._slots: tuple[str, ...] = ()
        if optimizer.least_squares:
            from layerkit.training.least_squares import check_loss  # few optimizers need it

            for loss in self.losses:
                check_loss(optimizer, loss)
        self._totals = Totals(dict(zip(self.names, self.all_metrics, strict=True)))
        self.on_nonfinite = on_nonfinite
        self.jit_compile = jit_compile
        self.norms: Norms | None = None
        """What measures norms in each step, if anything does."""
        self._capture()

    def record(self, jit_compile: bool | str) -> None:
        """Record steps from now on, or do not, as `compile` would be told."""
        self.jit_compile = jit_compile
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

    def resolve(self, target_shapes: Sequence[Shape], outputs: Outputs) -> None:
        """Make the metrics, now that the shapes are known which "accuracy" depends on.

        Args:
            target_shapes: of the targets, for the outputs that have some.
            outputs: of the model.
        """
        goals = self.goals.of(outputs)
        if self.optimizer.least_squares and outputs.several:
            raise ArgumentError(
                f"{self.optimizer.name}: the model must have one output. Received: {outputs.pattern}. "
                f"Join them in a layer at the end, or use another optimizer, such as LBFGS."
            )
        rest = iter(target_shapes)
        pairs = [(next(rest) if goal.wanted else None, of) for goal, of in zip(goals, outputs.shapes, strict=True)]
        shapes = tuple([None if to is None else (len(to), to[-1], len(of), of[-1]) for to, of in pairs])
        if self._resolved == (outputs.key, shapes):
            return
        names = self.goals.names(outputs)
        has_total = sum(goal.loss is not None for goal in goals) > 1
        self.objectives = made = [
            Objective(goal, self.model.xp, has_total=has_total, target_shape=to, output_shape=of)
            for goal, (to, of) in zip(goals, pairs, strict=True)
        ]
        self.all_metrics = self.all_metrics[: self.goals.trains]
        self.all_metrics += [objective.total for objective in made if objective.total is not None]
        self.all_metrics += self._measures
        self.names, self.outputs = names, outputs
        self._totals = Totals(dict(zip(names, self.all_metrics, strict=True)))
        self._resolved = outputs.key, shapes

    @property
    def shapes(self) -> tuple[Any, ...] | None:
        """How many axes targets and outputs have, and their last lengths; None before the metrics are made for them.

        One entry for each output; None for one without targets.
        """
        return None if self._resolved is None else self._resolved[1]

    @property
    def losses(self) -> list[Loss]:
        """The losses, each once."""
        return list(dict.fromkeys(loss for loss in leaves(self.goals.loss) if loss is not None))

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
        parameters = [variable for variable in self.model.weights if variable.trainable]
        if not parameters and self.optimizer.xp is not self.model.xp:  # it has nobody to follow
            self.optimizer.move(self.model.xp)
        self.optimizer.build(parameters)
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
        return [self.model, self.optimizer, self.loss_total, *self.losses, *self._measures]

    def state(self) -> list[Variable]:
        """Return the state that the steps read and write."""
        totals = [variable for metric in self.all_metrics for variable in metric.variables]
        norms = [] if self.norms is None else self.norms.variables
        return [*self.model.variables, *self.optimizer.variables, *totals, *norms]

    def input_names(self, count: int) -> Sequence[str]:
        """Return what the arrays of a step are called: those of several outputs by name, or by number."""
        named = [f"_{each.name or place}" for place, each in enumerate(self.objectives) if each.wanted]
        named = named if len(self.objectives) > 1 else [""]
        return ["x", *(f"y{name}" for name in named), *(f"sample_weight{name}" for name in named)][:count]

    def is_shared(self) -> bool:
        """Tell whether another thread may change the state: not while this one has the turn to train."""
        return False

    def labelled(self) -> Iterator[tuple[Any, str, Origin]]:
        """Yield the methods whose words a captured step shows under a name of their own."""
        yield from labelled_layers(self.model)
        for loss in self.losses:
            for method, doing in (("forward", "loss"), ("reduce", "loss"), ("backward", "backward")):
                yield loss, method, origin(loss, doing)
        for metric in self._measures:
            yield metric, "update", origin(metric, "metric")
        yield self.optimizer, "update", origin(self.optimizer, "update")

    @property
    def _measures(self) -> list[Metric]:
        plain = [metric for objective in self.objectives for metric in objective.metrics]
        return [*plain, *(metric for objective in self.objectives for metric in objective.weighted)]

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
        """Take one training step, on arrays of the host or of the model's backend; those of several in tuples."""
        with self.model.xp.on_device():
            if eagerly:
                xp = self.model.xp
                arrays = [xp.asarray(array) for array in leaves((x, y, sample_weight)) if array is not None]
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
        *given: Array,
        around: Callable[[Backend, Callable[[], None]], None] | None = None,
    ) -> Array | None:
        """Take the step, up to a search: the function that is captured.

        Args:
            xp: the backend, or its recorder.
            x: inputs.
            given: see `gradients`.
            around: is handed what updates the weights, to do something before and after it.
        """
        total, measured = self._evaluate(xp, x, given)
        # First, because a metric may find that y does not fit.
        self._measure(xp, x.shape[0], total, measured)

        def update() -> None:
            self.optimizer.update(xp)
            self.optimizer.constrain(xp)

        if around is None:
            update()
        else:
            around(xp, update)
        return measured[0].shares if self.optimizer.least_squares else None

    def _try(self, xp: Backend, x: Array, *given: Array) -> None:
        """Compute loss and gradient where the weights are, and measure nothing."""
        self._evaluate(xp, x, given)

    def _evaluate(self, xp: Backend, x: Array, given: Sequence[Array]) -> tuple[Array, list[Measured]]:
        """Put the gradients into the optimizer's vectors; return the loss, and what was computed for each output."""
        total, measured, gradients = self.gradients(xp, x, *given, scale=self.optimizer.loss_scale(xp))
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
        return total, measured

    def gradients(
        self, xp: Backend, x: Array, *given: Array, scale: Array | None = None
    ) -> tuple[Array, list[Measured], dict[str, Array]]:
        """Return the loss with all penalties, what was computed for each output, and that loss's gradients by weight.

        Args:
            xp: the backend.
            x: the inputs.
            given: the targets of the outputs that have some, and then as many sample weights, or none.
            scale: by which the gradients are multiplied.
        """
        model = self.model
        if not self.goals.trains:
            raise NotReadyError("Training needs a loss. Received: compile(loss=None). Give compile a loss.")
        with collecting(scale) as penalties:
            output, saved, mask = model.run_masked(xp, x, training=True)
        found: list[Any] = []
        measured: list[Measured] = []
        total: Any = None
        for objective, narrow, y, own, weight in self._by_output(output, mask, given):
            y_pred = as_dtype(xp, narrow, getattr(xp, model.loss_dtype))
            one, dy, shares = None, None, None
            if objective.loss is not None:
                one, dy, shares = _loss_and_gradient(xp, objective, y, y_pred, own, weight)
                total = _plus(total, one, objective.weight)
                dy = as_dtype(xp, penalties.scaled(xp, dy), narrow.dtype)
            found.append(dy if dy is not None or self._finds_derivative else xp.zeros_like(narrow))
            measured.append(Measured(y, y_pred, own, weight, one, shares))
        gradients = model.run_backward(xp, saved, filled(output, found), input_gradient=False)[1]
        regularized = self.regularized()
        if regularized:
            gradients = dict(gradients)
        for variable, name in regularized.items():
            penalty, dweight = variable.regularizer.penalty_and_gradient(xp, variable.value)
            penalties.append(penalty)
            if name in gradients:  # where it is not, who asks for it will say so
                gradients[name] = gradients[name] + penalties.scaled(xp, dweight)
        return total_penalty(xp, total, penalties), measured, gradients

    @property
    def _finds_derivative(self) -> bool:
        """Whether the model's derivative is found by recording, which knows what the loss does not depend on."""
        return getattr(type(self.model), "backward", None) is Layer.backward

    def _by_output(
        self, output: Any, mask: Any, given: Sequence[Array]
    ) -> Iterator[tuple[Objective, Array, Array, Array | None, Array | None]]:
        """Yield for each output its objective, what the model gave, its targets, mask and sample weights."""
        wanted = sum(objective.wanted for objective in self.objectives)
        targets, weights = iter(given[:wanted]), iter(given[wanted:])
        masks = leaves(mask) if is_nest(mask) else [mask] * len(self.objectives)
        nothing: Any = None
        for objective, y_pred, own in zip(self.objectives, leaves(output), masks, strict=True):
            if objective.wanted:
                yield objective, y_pred, next(targets), own, next(weights, None)
            else:
                yield objective, y_pred, nothing, own, None

    def _test(self, xp: Backend, x: Array, *given: Array) -> None:
        with inference(), collecting() as penalties:
            output, _, mask = self.model.run_masked(xp, x, training=False)
        total: Any = None
        measured: list[Measured] = []
        for objective, narrow, y, own, weight in self._by_output(output, mask, given):
            y_pred = as_dtype(xp, narrow, getattr(xp, self.model.loss_dtype))
            loss, one = objective.loss, None
            if loss is not None:
                try:
                    with inference():
                        values, _ = loss.forward(xp, *loss.in_dtype(xp, y, y_pred))
                    one, _ = loss.reduce(xp, y, values, weight, own)
                except Exception as error:
                    say_where(error, loss, "the loss", y_true=y, y_pred=y_pred)
                    raise
                total = _plus(total, one, objective.weight)
            measured.append(Measured(y, y_pred, own, weight, one))
        if self.goals.trains:
            for variable in self.regularized():
                penalties.append(variable.regularizer.call(xp, variable.value))
            total = total_penalty(xp, total, penalties)
        self._measure(xp, x.shape[0], total, measured)

    def _measure(self, xp: Backend, rows: int, total: Array, measured: Sequence[Measured]) -> None:
        if self.goals.trains:
            self._add(xp, self.loss_total, total, rows)
        for objective, found in zip(self.objectives, measured, strict=True):
            if objective.total is not None:
                self._add(xp, objective.total, found.loss, rows)
        for objective, (y, y_pred, mask, sample_weight, *_) in zip(self.objectives, measured, strict=True):
            metric: Metric = self.loss_total
            try:
                for metric in objective.metrics:
                    if mask is None or not metric.masked:
                        metric.update(xp, y, y_pred)
                    else:
                        metric.update(xp, y, y_pred, masked_weights(xp, mask, None))
                for metric in objective.weighted:
                    weights = masked_weights(xp, mask if metric.masked else None, sample_weight)
                    metric.update(xp, y, y_pred, weights)
            except Exception as error:
                say_where(error, metric, "the metric", y_true=y, y_pred=y_pred)
                raise

    @staticmethod
    def _add(xp: Backend, mean: Mean, loss: Array, rows: int) -> None:
        xp.assign_add(mean.total, xp.astype(loss * float(rows), xp.float64))
        xp.assign_add(mean.count, rows)


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

    def input_names(self, count: int) -> Sequence[str]:
        """Return what the array of the step is called."""
        return ["x"][:count]

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


def _loss_and_gradient(
    xp: Backend, objective: Objective, y: Array, y_pred: Array, mask: Array | None, weight: Array | None
) -> tuple[Array, Array, Array]:
    """Return the loss of an output, and the derivatives of its share in the whole: by y_pred, and by its values."""
    loss: Any = objective.loss
    try:
        values, saved = loss.forward(xp, *loss.in_dtype(xp, y, y_pred))
        one, dvalues = loss.reduce(xp, y, values, weight, mask)
        dvalues = dvalues if objective.weight is None else dvalues * objective.weight
        dy = loss.backward(xp, saved, dvalues)
    except Exception as error:
        say_where(error, loss, "the loss", y_true=y, y_pred=y_pred)
        raise
    if getattr(dy, "shape", None) != y_pred.shape:
        raise _wrong_loss(loss, dy, y_pred.shape)
    return one, dy, dvalues


def _plus(total: Array | None, loss: Array, weight: float | None) -> Array:
    share = loss if weight is None else loss * weight
    return share if total is None else total + share


def as_dtype(xp: Backend, array: Array, dtype: Any) -> Array:
    """Return an array in this dtype: itself, if it is."""
    return array if array.dtype == dtype else xp.astype(array, dtype)


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
