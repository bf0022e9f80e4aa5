"""The base of optimizers."""

from __future__ import annotations

import math
import re
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypedDict

from layerkit import constraints
from layerkit.changes import note_write
from layerkit.checks import check_at_least, check_count, check_flag, check_fraction, check_positive, shown
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError, MixedBackendsError, NotReadyError, ShapeError
from layerkit.names import call_it, snake_case
from layerkit.overriding import override
from layerkit.xp.registry import backend
from layerkit.xp.state import State, Stretch, Variable, move, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from layerkit.optimizers.schedules import LearningRateSchedule
    from layerkit.xp.backend import Array, Backend


_PLAIN = (bool, int, float, str)


class OptimizerArguments(TypedDict, total=False):
    """What every optimizer takes: see `Optimizer`."""

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    loss_scale_factor: float | None
    gradient_accumulation_steps: int | None
    name: str | None


class Segment(NamedTuple):
    """A stretch of parameters, side by side in memory, that are updated by one call of the rule."""

    parameters: State
    gradient: State
    slots: dict[str, State]
    first: Variable


class Optimizer(Configurable):
    """Changes parameters along their gradients.

    A subclass gives ``rule(xp, w, g, slots, step_size) -> (dw, slots)``. Where the rule is elementwise, parameters that
    lie side by side in memory are updated by one call, whatever the number of layers: w, g and slots are then flat.

    Args:
        learning_rate: at least 0, or a schedule of `layerkit.optimizers.schedules`, or a function, of the number of
            steps taken or of nothing; readable and settable at any time as `learning_rate`.
        weight_decay: d in ``w ← w - learning_rate d w``, before the rule (Loshchilov and Hutter, ICLR 2019).
        clipnorm: upper bound of the Euclidean norm of each parameter's gradient, which is scaled down to it.
        clipvalue: upper bound of the magnitude of each element of a gradient.
        global_clipnorm: upper bound of the norm of all gradients together (Pascanu, Mikolov and Bengio, ICML 2013).
        use_ema: whether an average of each parameter is kept, ``a ← μ a + (1 - μ) w`` after each step, a = w after the
            first (Polyak and Juditsky, SIAM J. Control Optim. 1992). It takes the parameter's place when `fit` ends.
        ema_momentum: μ, from 0 to 1.
        ema_overwrite_frequency: after how many steps, over and over, the averages take the parameters' place.
        loss_scale_factor: s by which the loss is multiplied whose gradients come; they are divided by it before all
            else. It keeps small gradients of half precision from becoming 0; `LossScaleOptimizer` finds one by itself.
        gradient_accumulation_steps: how many gradients, at least 2, make one step, which takes their mean.
        name: by default the class's name in snake case.

    Raises:
        ArgumentError: a number is out of its range, or more than one of the three ways to clip is given.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()
    """What the rule remembers of each parameter; zeros at first."""

    elementwise: ClassVar[bool] = True
    """Whether the rule treats each element by itself, so that it may run over many parameters at once."""

    searches: ClassVar[bool] = False
    """Whether a step computes loss and gradient at several points, by `search`: then it needs all rows at once."""

    least_squares: ClassVar[bool] = False
    """Whether a search also needs the derivatives of each residual, of a loss that is a sum of squares."""

    converged: str | None = None
    """Of one that searches: by which of its rules the last step was the last one needed; it ends `fit`."""

    averages_in_place: bool = False
    """Whether parameters and averages have changed places: see `swap_averages`."""

    scales_loss: ClassVar[bool] = False
    """Whether it wants gradients of a loss that is multiplied by `loss_scale`."""

    # What is planned follows from the parameters and the vectors.
    _bookkeeping = frozenset(
        {
            "averages_in_place",
            "built",
            "converged",
            "_constrained",
            "_gradients",
            "_offsets",
            "_parameters",
            "_places",
            "_planned",
            "_segments",
        }
    )

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule | Callable[..., Any],
        *,
        weight_decay: float | None = None,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
    ) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.xp = backend("numpy")
        self._learning_rate = Variable(0.0, "float64", "learning_rate", trainable=False, xp=self.xp)
        self._schedule: LearningRateSchedule | None = None
        self._set_rate(learning_rate)
        self._first_schedule = self._schedule
        self._iterations = Variable(0, "int64", "iterations", trainable=False, xp=self.xp)
        self.loss = Variable(0.0, "float64", "loss", trainable=False, xp=self.xp)
        """Where the step puts the loss, for an optimizer that searches."""
        clips = {"clipnorm": clipnorm, "clipvalue": clipvalue, "global_clipnorm": global_clipnorm}
        given = {key: value for key, value in clips.items() if value is not None}
        if len(given) > 1:
            raise ArgumentError(f"{self.name}: gradients are clipped in one way. Received: {_listed(given)}")
        for key, value in given.items():
            check_positive(self.name, **{key: value})
        if weight_decay is not None:
            check_at_least(self.name, 0, weight_decay=weight_decay)
        self.weight_decay = weight_decay
        self.clipnorm, self.clipvalue, self.global_clipnorm = clipnorm, clipvalue, global_clipnorm
        self.use_ema = check_flag(self.name, use_ema=use_ema)
        self.ema_momentum = check_fraction(self.name, ema_momentum=ema_momentum)
        if ema_overwrite_frequency is not None:
            check_count(self.name, 1, ema_overwrite_frequency=ema_overwrite_frequency)
        if gradient_accumulation_steps is not None:
            check_count(self.name, 2, gradient_accumulation_steps=gradient_accumulation_steps)
        if loss_scale_factor is not None:
            check_positive(self.name, loss_scale_factor=loss_scale_factor)
        self.loss_scale_factor = loss_scale_factor
        self.ema_overwrite_frequency = ema_overwrite_frequency
        self.gradient_accumulation_steps = gradient_accumulation_steps
        self._undecayed: tuple[frozenset[Variable], str | None] = frozenset(), None
        self.built = False
        self._parameters: list[Variable] = []
        self._vectors: dict[str, dict[str, Variable]] = {}
        self._offsets: dict[Variable, int] = {}
        self._places: dict[str, dict[Variable, tuple[int, tuple[int, ...]]]] = {}
        self._constrained: list[tuple[Variable, constraints.Constraint]] = []
        self._planned: list[Variable] = []
        self._segments: list[Segment] = []
        self._gradients: list[State] = []

    # What a subclass gives.

    def active_slots(self) -> tuple[str, ...]:
        """Return the slots that the rule needs with these settings."""
        return self.slot_names

    def slot_shape(self, name: str, variable: Variable) -> tuple[int, ...] | None:
        """Return the shape of a parameter's slot; None if the rule needs no such slot for it.

        An elementwise rule's slots have the shapes of the parameters.
        """
        return variable.shape

    def first_slot(self, xp: Backend, name: str, variable: Variable) -> Array | None:
        """Return what a parameter's slot holds before the first step; None for zeros."""
        return None

    def own_state(self) -> list[Variable]:
        """Return what the rule remembers beside the slots, of all parameters together."""
        return []

    def decay_of(self, variable: Variable) -> float | None:
        """Return the weight decay of a parameter."""
        return None if self.is_undecayed(variable) else self.weight_decay

    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> Any:
        """Return the factor of the step numbered t = 1, 2, …, from float64 scalars; it is rounded to w's dtype.

        A tuple of factors is handed to the rule as a tuple.
        """
        return learning_rate

    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: Any
    ) -> tuple[Array, dict[str, Array]]:
        """Return what is to be added to w, and the new slots."""
        raise ArgumentError(
            f"{type(self).__name__}: an optimizer must define rule(self, xp, w, g, slots, step_size). Received: none. "
            f"See layerkit.optimizers.SGD for an example."
        )

    def search(self, evaluate: Callable[[], None], linearize: Callable[[], Array] | None = None) -> None:
        """Move the parameters, from the loss and gradient where they are, by evaluating these elsewhere.

        Args:
            evaluate: computes both where the parameters are by then, into `loss` and the vector of gradients.
            linearize: with `least_squares`: returns the matrix of the loss's second derivatives where the parameters
                are at first, with residuals taken as linear; rows and columns in the order of `planned`, in float64.
        """
        raise ArgumentError(f"{type(self).__name__}: an optimizer that searches must define search. Received: none.")

    # What a user reads and sets.

    @override
    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "learning_rate": self._schedule or self.learning_rate}

    def parts(self) -> list[Optimizer]:
        """Return the optimizers that it is made of, itself first."""
        return [self]

    def settings(self) -> dict[str, Any]:
        """Return those arguments of the constructor that are plain values, as they are now: they may be set any time.

        With `learning_rate`, where it was set to another schedule: to that, and to None for a number, which is state.
        """
        now = {name: self.__dict__.get(name) for name in self.get_config() if name in self.__dict__ and name != "name"}
        changed = {} if self._schedule is self._first_schedule else {"learning_rate": self._schedule}
        return {name: value for name, value in now.items() if value is None or type(value) in _PLAIN} | changed

    def set_settings(self, settings: Mapping[str, Any]) -> None:
        """Set what `settings` returned, of an optimizer that was made as this one."""
        for name, value in settings.items():
            if name != "learning_rate":
                setattr(self, name, value)
            elif value is None:  # by way of a number, which will be read
                self._schedule = None
            else:
                self._set_rate(value)

    @property
    def learning_rate(self) -> Any:
        """The learning rate of the next step; setting it, to a number or a schedule, takes effect with that step."""
        if self._schedule is not None:
            return float(self._schedule(int(self._iterations.numpy())))
        return float(self._learning_rate.numpy())

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        self._set_rate(value)

    def _set_rate(self, value: Any) -> None:
        if callable(value) and not isinstance(value, type):
            from layerkit.optimizers import schedules  # many trainings do without

            self._schedule = schedules.get(value)
        else:
            self._learning_rate.assign(self._checked_rate(value))
            self._schedule = None

    def _checked_rate(self, value: Any) -> float:
        try:
            rate = float(value)
        except (TypeError, ValueError):
            rate = -1.0
        if not 0 <= rate < float("inf"):
            raise ArgumentError(
                f"{self.name}: learning_rate must be a number of at least 0. Received: "
                f"learning_rate={shown(value)}{'.' if isinstance(value, type) else ''}{call_it(value)}"
            )
        return rate

    @property
    def iterations(self) -> int:
        """The number of steps taken."""
        return int(self._iterations.numpy()) // (self.gradient_accumulation_steps or 1)

    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        """Leave parameters out of weight decay. It is no part of the configuration: call it for a loaded optimizer too.

        Args:
            var_list: the parameters.
            var_names: regular expressions; parameters whose names hold a match are left out: ``["bias"]``.

        Raises:
            ArgumentError: the optimizer is built already.
        """
        if self.built:
            raise ArgumentError(
                f"{self.name}: exclude_from_weight_decay must be called before the first step. "
                f"Received: an optimizer that is built"
            )
        pattern = "|".join(f"(?:{name})" for name in var_names or ())
        self._undecayed = frozenset(var_list or ()), pattern or None

    def is_undecayed(self, variable: Variable) -> bool:
        """Tell whether a parameter is left out of weight decay."""
        listed, pattern = self._undecayed
        return variable in listed or (pattern is not None and re.search(pattern, variable.name) is not None)

    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        """Put the averages in the place of these parameters, if `use_ema` is set. `fit` does so at its end."""
        if self.use_ema and self.built:
            variables = list(var_list)
            if self.averages_in_place:
                self.swap_averages(variables, in_place=False)
            with self.xp.on_device():
                for variable in variables:
                    self.xp.assign(variable.value, self._average_of(variable))

    def swap_averages(self, var_list: Iterable[Variable], *, in_place: bool) -> None:
        """Let these parameters and their averages change places, if `use_ema` is set.

        Args:
            var_list: the parameters; those that the optimizer does not know stay as they are.
            in_place: whether it is the averages that are in the parameters' place then.
        """
        if self.use_ema and self.built:
            with self.xp.on_device():
                for variable in var_list:
                    if variable in self._offsets:
                        average, kept = self._average_of(variable), self.xp.state(variable.value, variable.dtype)
                        self.xp.assign(variable.value, average)
                        self.xp.assign(average, kept)
            self.averages_in_place = in_place
            note_write()

    def _average_of(self, variable: Variable) -> Array:
        start = self._offsets[variable]
        average = self._vectors[variable.dtype]["average"].value
        return self.xp.view(average, start, start + variable.size, variable.shape)

    @property
    def parameters(self) -> list[Variable]:
        """The parameters that it has charge of, in the order of its vectors."""
        return list(self._parameters)

    @property
    def variables(self) -> list[Variable]:
        """The state: step count, learning rate, and the slots, each one flat vector for each dtype."""
        slots = [vector for vectors in self._vectors.values() for name, vector in vectors.items() if name != "gradient"]
        return [self._iterations, self._learning_rate, *self.own_state(), *slots]

    def held(self) -> list[Variable]:
        """Return all arrays that it holds: the state, and the vectors in which gradients are put."""
        return [*self.variables, *[vectors["gradient"] for vectors in self._vectors.values()]]

    def all_slots(self) -> tuple[str, ...]:
        """The slots of the rule, and those that averages and sums of gradients need."""
        average = ("average",) if self.use_ema else ()
        total = ("gradient_accumulator",) if self.gradient_accumulation_steps else ()
        return (*self.active_slots(), *average, *total)

    @property
    def planned(self) -> list[Variable]:
        """The parameters that are updated, in the order of the segments."""
        return list(self._planned)

    # What the framework calls.

    def check(self, variables: Sequence[Variable]) -> None:
        """Refuse parameters that it cannot train, before anything is made for them.

        Raises:
            ArgumentError: there are such.
        """

    def build(self, variables: Iterable[Variable]) -> None:
        """Take charge of these parameters: allocate gradients and slots. Those known already keep theirs."""
        variables = list(variables)
        fresh = [variable for variable in variables if variable not in self._offsets]
        self._follow(variables)
        active = self.all_slots()
        if (
            self.built
            and not fresh
            and all(tuple(vectors) == ("gradient", *active) for vectors in self._vectors.values())
        ):
            return
        self._parameters += fresh
        self.built = True
        for dtype in {variable.dtype: None for variable in self._parameters}:
            group = [variable for variable in self._parameters if variable.dtype == dtype]
            vectors: dict[str, Variable] = {}
            for name in ("gradient", *active):
                size = self._lay_out(name, group)
                zeros = self.xp.zeros((size,), dtype=getattr(self.xp, dtype))
                vectors[name] = Variable(zeros, dtype, f"{self.name}/{name}/{dtype}", trainable=False, xp=self.xp)
                old = self._vectors.get(dtype, {}).get(name)
                if old is not None:  # a model that grew: what was learnt of the first parameters stays
                    self.xp.assign(self.xp.view(vectors[name].value, 0, old.size, old.shape), old.value)
                for variable in group if old is None else fresh:
                    if variable.dtype == dtype:
                        self._begin(name, vectors[name], variable)
            self._vectors[dtype] = vectors

    def _follow(self, variables: Sequence[Variable]) -> None:
        """Move to where these parameters are, if they are all that it serves."""
        homes = list(dict.fromkeys(variable.xp for variable in variables))
        if len(homes) == 1 and homes[0] is not self.xp:
            homes = list(dict.fromkeys(variable.xp for variable in (*self._parameters, *variables)))
        if len(homes) > 1:
            raise MixedBackendsError(
                f"{self.name}: an optimizer serves variables of one backend. Received: variables on "
                f"{' and '.join(map(str, homes))}. Give each model an optimizer of its own."
            )
        if homes:
            self.move(homes[0])

    def _lay_out(self, name: str, variables: Sequence[Variable]) -> int:
        """Give each parameter its place in a vector; return the length of the vector."""
        places, offset = self._places.setdefault(name, {}), 0
        for variable in variables:
            shape = self.slot_shape(name, variable) if name in self.slot_names else variable.shape
            if shape is not None:
                places[variable] = offset, shape
                offset += math.prod(shape)
        if name == "gradient":
            self._offsets.update((variable, place[0]) for variable, place in places.items())
        return offset

    def _begin(self, name: str, vector: Variable, variable: Variable) -> None:
        place = self._places[name].get(variable)
        if place is None:
            return
        if name == "average":  # of one that is frozen, and joins late, it is the value that it has had so far
            first = variable.value
        else:
            first = self.first_slot(self.xp, name, variable) if name in self.slot_names else None
        if first is not None:
            start, shape = place
            self.xp.assign(self.xp.view(vector.value, start, start + math.prod(shape), shape), first)

    def move(self, xp: Backend) -> None:
        """Move all state to another backend."""
        move(self.held(), xp)
        self.xp = xp

    def gradient(self, variable: Variable) -> State:
        """Return the state that holds this parameter's gradient: a stretch of the gradient vector."""
        offset = self._offsets[variable]
        vector = self._vectors[variable.dtype]["gradient"]
        return self._stretch(vector, offset, offset + variable.size, variable.shape, f"gradient/{variable.path}")

    def _stretch(self, vector: Variable, start: int, stop: int, shape: tuple[int, ...], path: str) -> Stretch:
        return Stretch(self.xp, vector.value, start, stop, shape, path)

    def plan(self, variables: Sequence[Variable]) -> None:
        """Prepare to update these parameters and no others."""
        chosen = tuple(variables)
        pack(self._parameters, self.xp)
        runs: list[list[Variable]] = []
        self._planned = sorted(chosen, key=lambda v: (v.dtype, self._offsets[v]))
        for variable in self._planned:
            last = runs[-1][-1] if runs and self.elementwise else None
            if (
                last is not None
                and last.flat is variable.flat
                and last.offset + last.size == variable.offset
                and self._offsets[last] + last.size == self._offsets[variable]
                and self.is_undecayed(last) == self.is_undecayed(variable)
            ):
                runs[-1].append(variable)
            else:
                runs.append([variable])
        self._segments = [self._segment(run) for run in runs]
        self._gradients = [self.gradient(variable) for variable in chosen]
        found = [(variable, constraints.get(variable.constraint)) for variable in chosen]
        self._constrained = [(variable, constraint) for variable, constraint in found if constraint is not None]

    def __getstate__(self) -> dict[str, Any]:
        # A plan is made of views into state, which a copy has elsewhere.
        return {**self.__dict__, "_constrained": [], "_planned": [], "_segments": [], "_gradients": []}

    def _segment(self, run: list[Variable]) -> Segment:
        first, size = run[0], sum(variable.size for variable in run)
        vectors: dict[str, State] = {}
        for name, vector in self._vectors[first.dtype].items():
            place = self._places[name].get(first)
            if place is not None:
                start, shape = place[0], (size,) if self.elementwise else place[1]
                vectors[name] = self._stretch(vector, start, start + math.prod(shape), shape, name)
        shape = (size,) if self.elementwise else first.shape
        assert first.flat is not None  # noqa: S101 - `pack` has just seen to it
        path = "parameters" if len(run) > 1 else first.path
        parameters = Stretch(self.xp, first.flat, first.offset, first.offset + size, shape, path)
        return Segment(parameters, vectors.pop("gradient"), vectors, first)

    def due(self, xp: Backend) -> Array | None:
        """Return whether the step that is being taken changes parameters; None where every one does."""
        steps = self.gradient_accumulation_steps
        return None if steps is None else xp.remainder(self._iterations.value, steps) == 0

    def gradient_vectors(self) -> list[State]:
        """Return the gradients of the planned parameters, in as few pieces as there are."""
        return [segment.gradient for segment in self._segments]

    def parameter_vectors(self) -> list[State]:
        """Return the planned parameters, in the same pieces."""
        return [segment.parameters for segment in self._segments]

    def at_risk(self) -> list[State]:
        """Return what a gradient that is not finite spoils, in as few pieces as there are."""
        sums = [segment.slots.get("gradient_accumulator") for segment in self._segments]
        return [*self.parameter_vectors(), *[each for each in sums if each is not None]]

    def loss_scale(self, xp: Backend) -> Array | None:
        """Return the number by which the loss is multiplied whose gradients `update` takes; None for 1."""
        return None if self.loss_scale_factor is None else xp.asarray(self.loss_scale_factor, "float64")

    def update(self, xp: Backend, finite: Array | None = None) -> None:
        """Take one step, from the gradient vector as it stands, over the planned parameters.

        Args:
            xp: the backend, or its recorder.
            finite: where it is False, all state stays as it is; gradients must be finite all the same. None is True.
        """
        if self.loss_scale_factor is not None:
            for segment in self._segments:
                xp.assign(segment.gradient.value, segment.gradient.value * (1.0 / self.loss_scale_factor))
        own = (
            [] if finite is None else [(state, xp.astype(state.value, state.value.dtype)) for state in self.own_state()]
        )
        xp.assign_add(self._iterations.value, 1 if finite is None else xp.astype(finite, xp.int64))
        due = self.due(xp)
        if finite is not None:
            due = finite if due is None else xp.logical_and(due, finite)
        if due is not None and self.gradient_accumulation_steps is not None:
            self._accumulate(xp, due, self.gradient_accumulation_steps)
        self._clip(xp)
        t = xp.astype(self._iterations.value, xp.float64)
        if finite is not None:
            t = xp.maximum(t, 1.0)  # before the first step that is taken, too, formulas hold
        learning_rate = self._learning_rate.value
        if self._schedule is not None:
            learning_rate = xp.asarray(self._schedule.call(xp, t - 1.0), "float64")
        if self.gradient_accumulation_steps is not None:
            t = xp.ceil(t / self.gradient_accumulation_steps)
        step_size, active = self.step_size(xp, learning_rate, t), self.active_slots()
        for segment in self._segments:
            states = [state.value for state in (segment.parameters, segment.gradient, *segment.slots.values())]
            change = partial(self._change, active, segment)
            if self.elementwise:
                xp.in_tiles(change, states, (learning_rate, step_size, t, due, finite))
            else:
                change(xp, states, (learning_rate, step_size, t, due, finite))
        for state, before in own:
            xp.assign(state.value, xp.where(finite, state.value, before))

    def constrain(self, xp: Backend) -> None:
        """Apply the constraints of the planned parameters, after a step."""
        for variable, constraint in self._constrained:
            xp.assign(variable.value, constraint.call(xp, variable.value))

    def _change(
        self, active: tuple[str, ...], segment: Segment, xp: Backend, states: Sequence[Array], scalars: tuple[Any, ...]
    ) -> None:
        """Change parameters, or a tile of them, and their slots."""
        learning_rate, step_size, t, due, finite = scalars
        w, g, *rest = states
        held = dict(zip(segment.slots, rest, strict=True))
        slots = {name: held[name] for name in active if name in held}
        if isinstance(step_size, tuple):
            size: Any = tuple([xp.astype(each, w.dtype) for each in step_size])  # pyright: ignore[reportUnknownVariableType]
        else:
            size = xp.astype(step_size, w.dtype)
        decay = self.decay_of(segment.first)
        if decay:
            decayed = w - w * (decay * xp.astype(learning_rate, w.dtype))
            dw, changed = self.rule(xp, decayed, g, slots, size)
            xp.assign(w, decayed + dw if due is None else xp.where(due, decayed + dw, w))
        else:
            dw, changed = self.rule(xp, w, g, slots, size)
            xp.assign_add(w, dw if due is None else xp.where(due, dw, xp.zeros_like(dw)))
        for name, value in changed.items():
            xp.assign(slots[name], value if due is None else xp.where(due, value, slots[name]))
        if self.use_ema:
            self._average(xp, w, held["average"], t, finite)

    def _accumulate(self, xp: Backend, due: Array, steps: int) -> None:
        """Sum gradients up; at the step that they make, put their mean in the gradient's place, and begin anew."""
        for segment in self._segments:
            g, held = segment.gradient.value, segment.slots["gradient_accumulator"].value
            total = g + held
            xp.assign(held, xp.where(due, xp.zeros_like(total), total))
            xp.assign(g, total / steps)

    def _average(self, xp: Backend, w: Array, average: Array, t: Array, finite: Array | None) -> None:
        share = 1.0 - self.ema_momentum * xp.astype(t > 1.0, xp.float64)
        if finite is not None:
            share = share * xp.astype(finite, xp.float64)
        xp.assign_add(average, (w - average) * xp.astype(share, w.dtype))
        if self.ema_overwrite_frequency is not None:
            now = xp.remainder(t, self.ema_overwrite_frequency) == 0.0
            xp.assign(w, xp.where(now if finite is None else xp.logical_and(now, finite), average, w))

    def _clip(self, xp: Backend) -> None:
        gradients = [segment.gradient.value for segment in self._segments]
        if self.clipvalue is not None:
            for g in gradients:
                xp.assign(g, xp.clip(g, -self.clipvalue, self.clipvalue))
        elif self.clipnorm is not None:
            for gradient in self._gradients:
                g = gradient.value
                xp.assign(g, g * (self.clipnorm / xp.maximum(xp.sqrt(squared_norm(xp, g)), self.clipnorm)))
        elif self.global_clipnorm is not None and gradients:
            squares = [squared_norm(xp, g) for g in gradients]
            norm = xp.sqrt(sum(squares[1:], squares[0]))
            for g in gradients:
                factor = xp.astype(self.global_clipnorm / xp.maximum(norm, self.global_clipnorm), g.dtype)
                xp.assign(g, g * factor)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Variable] | None = None) -> None:
        """Take one step with these gradients, without a model, and apply the constraints that the variables have.

        Args:
            grads: one array for each variable; a variable whose gradient is None stays as it is, with a warning.
            trainable_variables: the variables; may be left out where `build` was called with them.

        Raises:
            ArgumentError: all gradients are None.
            ShapeError: there are more gradients than variables, or fewer, or one has another shape.
            NotReadyError: the variables are not known.
        """
        if trainable_variables is None and not self.built:
            raise NotReadyError(f"{self.name}: apply needs the variables. Received: none. Call build(variables) first.")
        variables = list(self._parameters if trainable_variables is None else trainable_variables)
        if len(variables) != len(grads):
            raise ShapeError(
                f"{self.name}: there must be one gradient for each variable, {len(variables)}. Received: {len(grads)}"
            )
        pairs = [
            (variable, gradient) for variable, gradient in zip(variables, grads, strict=True) if gradient is not None
        ]
        if len(pairs) < len(variables):
            without = ", ".join(v.path for v, gradient in zip(variables, grads, strict=True) if gradient is None)
            if not pairs:
                raise ArgumentError(f"{self.name}: there must be a gradient. Received: None for {without}")
            warnings.warn(f"{self.name}: variables without a gradient stay as they are: {without}", stacklevel=2)
        for variable, gradient in pairs:
            shape = tuple(getattr(gradient, "shape", None) or self.xp.asarray(gradient).shape)
            if shape != variable.shape:
                raise ShapeError(
                    f"{variable.path}: the gradient must have the shape of the variable, {variable.shape}. "
                    f"Received: shape {shape}"
                )
        self.build(variables)
        self.plan([variable for variable, _ in pairs])
        for target, (variable, gradient) in zip(self._gradients, pairs, strict=True):
            self.xp.assign(target.value, self.xp.asarray(gradient, variable.dtype))
        with self.xp.on_device():
            self.update(self.xp)
            self.constrain(self.xp)

    def apply_gradients(self, grads_and_vars: Iterable[tuple[Any, Variable]]) -> None:
        """Take one step with pairs of gradient and variable."""
        pairs = list(grads_and_vars)
        self.apply([gradient for gradient, _ in pairs], [variable for _, variable in pairs])


def squared_norm(xp: Backend, x: Array) -> Array:
    """Return the sum of the squares of all elements."""
    # Rows times themselves need no array of squares; where they are short, there are too many of them.
    return xp.sum(xp.vecdot(x, x)) if x.ndim and x.shape[-1] >= 64 else xp.sum(x * x)


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{key}={value}" for key, value in values.items())
