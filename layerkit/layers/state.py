"""What a layer holds, and where it lives."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, cast

from layerkit import constraints, initializers, regularizers
from layerkit.changes import moves, note_move
from layerkit.checks import check_flag, check_name, shown
from layerkit.configurable import Configurable
from layerkit.dtype_policies import HALF, DTypePolicy, check_offered, compute_dtype, policy_name, variable_dtype
from layerkit.errors import ArgumentError, MixedBackendsError, NotBuiltError, NotReadyError, ShapeError
from layerkit.names import snake_case
from layerkit.xp.random import RandomStream, check_seed, fresh_seed, stream_key
from layerkit.xp.registry import backend
from layerkit.xp.state import HoldsState, Variable, awaiting, move
from layerkit.xp.words import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from typing import Self

    from layerkit.layers.layer import Layer
    from layerkit.xp.backend import Array, Backend

Shape = tuple[int | None, ...]

# For type checkers Any, so that a subclass may say more: an array, or arrays in a tuple or list; a shape, or a list of
# shapes.
Arrays = Any
Shapes = Any


class Home(NamedTuple):
    """Where a layer lives: its backend, default dtype, and the seed and path that its random numbers are keyed by."""

    xp: Backend
    dtype: str
    seed: int
    path: str

    def inside(self, name: str, dtype: str) -> Home:
        """Return the home of an inner layer."""
        return Home(self.xp, dtype, self.seed, f"{self.path}/{name}" if self.path else name)


class LayerState(HoldsState, Configurable):
    """The state of a `Layer`, the only class that it is a base of.

    Weights, sources of random numbers, and the layers inside, with the names and dtypes of all and the backend on which
    they live. `Layer` gives the passes, which change nothing of it.
    """

    full_precision: ClassVar[bool] = False
    """Whether the layer computes in float32 where others compute in float16, as Keras's normalizations do."""

    casts_inside: ClassVar[bool] = False
    """Whether the layers inside bring what they are given to their dtypes themselves."""

    casts: bool
    """Whether x is brought to the dtype in which the layer computes, and dx back to that of x."""

    built: bool

    # Children are attributes too, or items of such; where a layer lives shows in its state.
    _bookkeeping = frozenset(
        {"built", "casts", "declared_input_shape", "_at_home", "_found", "_held", "_holders", "_home", "_input_shape"}
    )

    _variables: dict[str, Variable]
    _brought: dict[str, Variable]
    _streams: dict[str, RandomStream]
    _untracked: ClassVar[frozenset[str]] = frozenset()
    """Attributes in which layers stand for other reasons than to be found there."""

    _found: dict[str, Layer]
    _held: frozenset[str]
    _holders: dict[str, Any]
    _home: Home | None
    _at_home: int | None
    _input_shape: Shapes
    _name: str | None
    _dtype: str | None
    _trainable: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Here and not in __init__, so that a subclass that forgets super().__init__() works all the same.
        self = super().__new__(cls, *args, **kwargs)
        self.__dict__.update(
            built=False,
            _input_shape=None,
            _name=None,
            _trainable=True,
            _dtype=None,
            _variables={},
            _brought={},
            _streams={},
            _bound={},
            _found={},
            _held=frozenset(),
            _holders={},
            _home=None,
            _at_home=None,
            casts=False,
            declared_input_shape=None,
            activity_regularizer=None,
        )
        return self

    # Making.

    def add_weight(
        self,
        name: str | None = None,
        shape: tuple[int, ...] | list[int] | int = (),
        initializer: str | initializers.Initializer | Callable[..., Any] | None = None,
        *,
        dtype: str | None = None,
        trainable: bool = True,
        regularizer: str | regularizers.Regularizer | Callable[..., Any] | None = None,
        constraint: str | constraints.Constraint | Callable[..., Any] | None = None,
    ) -> Any:
        """Make a weight, in `build`. Assigned to an attribute, it reads as the plain array of the layer's backend.

        Args:
            name: its name within the layer; the key of its gradient in what `backward` returns.
            shape: its shape.
            initializer: a name, an `Initializer`, or a function f(shape, dtype). Default: Glorot uniform, as in Keras;
                zeros for other than floats.
            dtype: by default the layer's.
            trainable: False for state that the layer changes itself, by ``xp.assign``.
            regularizer: a penalty that is added to the loss as long as the weight is trained.
            constraint: a projection that is applied after each update of the optimizer.

        Raises:
            ArgumentError: the layer has a weight of this name already, or an argument is out of its range.
        """
        name = f"weight_{len(self._variables)}" if name is None else name
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(
                f"{self.name}: add_weight takes name, shape, initializer, in this order. Received: name={name!r}"
            )
        if name in self._variables:
            raise ArgumentError(f"{self.name}: each weight must have a name of its own. Received: {name!r} twice")
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(isinstance(n, int) and n >= 0 for n in shape):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ShapeError(f"{self.name}/{name}: each axis of a weight must have a known length. Received: {shape}")
        home = self.home
        kind: str = self.dtype if dtype is None else check_name(f"{self.name}/{name}", DTYPES, dtype=dtype)
        first = initializers.get(
            ("glorot_uniform" if "float" in kind else "zeros") if initializer is None else initializer
        )
        assert first is not None  # noqa: S101 - only of None comes none
        path = f"{home.path}/{name}"
        awaited = awaiting.get()
        if awaited is None:
            values = first.values(shape, kind, home.seed, path)
        else:
            awaited.weight(path, shape, kind)
            # Ones, where there are fractions: a layer that divides by the norm of a weight is run on them.
            one = (home.xp.ones if "float" in kind else home.xp.zeros)((), dtype=getattr(home.xp, kind))
            values = home.xp.broadcast_to(one, shape)
        # A file's weights are read into memory that nobody has touched; but a layer may write to what it writes itself.
        lazy = awaited is not None and trainable
        variable = Variable(values, kind, name, trainable=trainable, xp=home.xp, lazy=lazy)
        variable.path = path
        variable.regularizer, variable.constraint = regularizers.get(regularizer), constraints.get(constraint)
        self._compute_narrowly(variable)
        self._variables[name] = variable
        return variable

    def add_stream(self, name: str = "random", seed: int | None = None) -> RandomStream:
        """Make a source of random numbers, in `build`: the same numbers on every backend, for one seed.

        Args:
            name: its name within the layer.
            seed: by default the model's seed and the layer's place in the model decide.
        """
        if name in self._streams:
            raise ArgumentError(f"{self.name}: each stream must have a name of its own. Received: {name!r} twice")
        home = self.home
        seed = check_seed(seed, self.name)
        path = f"{home.path}/{name}"
        key = stream_key(home.seed, path) if seed is None else stream_key(seed, "stream")
        stream = RandomStream(home.xp, key, path)
        self._streams[name] = stream
        return stream

    def __setattr__(self, attribute: str, value: Any) -> None:
        if isinstance(value, LayerState):
            self._holders.pop(attribute, None)
            self._children[attribute] = cast("Layer", value)
            if self._home is not None:
                value.settle(self._home.inside(attribute, self._policy))
        elif isinstance(value, Variable):
            self._bring(attribute, value)
        elif attribute not in self._bookkeeping and attribute not in self._untracked:
            # A tuple that holds no layers or variables never will.
            if isinstance(value, (list, dict)) or (
                isinstance(value, tuple) and any(_found_in(attribute, value, (LayerState, Variable)))
            ):  # pyright: ignore[reportUnknownArgumentType]
                self._holders[attribute] = value
                self._bring(attribute, value)
                if self._home is not None:
                    _ = self._children  # which are told where they live: a `build` may build them in its next line
            elif attribute in self._holders:
                del self._holders[attribute]
        super().__setattr__(attribute, value)

    @property
    def _children(self) -> dict[str, Layer]:
        """The layers in attributes, by name; also in lists and dictionaries there, which may change at any time."""
        found = self._found
        if self._holders or self._held:
            held = dict(pair for holder in self._holders.items() for pair in _found_in(*holder, LayerState))
            for name in self._held.difference(held):
                del found[name]
            for name, layer in held.items():
                if found.get(name) is not layer:
                    found[name] = layer
                    if self._home is not None:
                        layer.settle(self._home.inside(name, self._policy))
            if self._held != held.keys():
                self._held = frozenset(held)
        return found

    # Reading.

    @property
    def name(self) -> str:
        """The layer's name: unique within its model."""
        return self._name or snake_case(type(self).__name__)

    @property
    def dtype(self) -> str:
        """The dtype of weights; as a rule, of the computation too."""
        return variable_dtype(self._policy)

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights."""
        return variable_dtype(self._policy)

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation, and of the output."""
        return compute_dtype(self._policy)

    @property
    def dtype_policy(self) -> DTypePolicy:
        """Both dtypes: the model's, unless the layer was given its own."""
        return DTypePolicy(self._policy)

    @property
    def _working_dtype(self) -> str:
        return "float32" if self.full_precision and self.compute_dtype in HALF else self.compute_dtype

    @property
    def _policy(self) -> str:
        if self._dtype is not None:
            return self._dtype
        return policy_name(None) if self._home is None else self._home.dtype

    @property
    def xp(self) -> Backend:
        """The backend that holds the weights; before `build`, the current one."""
        return backend() if self._home is None else self._home.xp

    @property
    def input_shape(self) -> Shapes:
        """The shape of x that the layer was built for, with None for the batch; for several inputs, a list."""
        if self._input_shape is None:
            raise NotBuiltError(f"{self.name}: input_shape is known once the layer is built. Received: no build yet.")
        return self._input_shape

    @property
    def trainable(self) -> bool:
        """Whether training may change the weights; setting it sets that of inner layers too."""
        return self._trainable

    @trainable.setter
    def trainable(self, value: bool) -> None:
        self._trainable = check_flag(self.name, trainable=value)
        note_move()
        for child in self.sublayers:
            child.trainable = value

    @property
    def sublayers(self) -> list[Layer]:
        """The layers that this layer holds in its attributes, each once."""
        return list(dict.fromkeys(self._children.values()))

    def named_weights(self) -> dict[str, Variable]:
        """Return all weights by the names that `backward` gives their gradients: "kernel", "inner/kernel"."""
        named = dict(self._variables)
        for key, child in self._children.items():
            named.update({f"{key}/{name}": variable for name, variable in child.named_weights().items()})
        return named

    def named_streams(self) -> dict[str, RandomStream]:
        """Return all sources of random numbers, by names of the same kind."""
        named = dict(self._streams)
        for key, child in self._children.items():
            named.update({f"{key}/{name}": stream for name, stream in child.named_streams().items()})
        return named

    def named_layers(self) -> dict[str, Layer]:
        """Return this layer, as "", and all inside it, by names of the same kind: "inner"; outer ones come first."""
        named: dict[str, Layer] = {"": cast("Layer", self)}
        for key, child in self._children.items():
            named.update({f"{key}/{name}" if name else key: layer for name, layer in child.named_layers().items()})
        return named

    @property
    def weights(self) -> list[Variable]:
        """All weights: the layer's own in the order they were made, then those of inner layers."""
        found = dict.fromkeys(self._variables.values())
        for child in self.sublayers:
            found.update(dict.fromkeys(child.weights))
        return list(found)

    @property
    def variables(self) -> list[Variable]:
        """All weights, and the counters of random streams."""
        found = dict.fromkeys([*self._variables.values(), *(stream.counter for stream in self._streams.values())])
        for child in self.sublayers:
            found.update(dict.fromkeys(child.variables))
        return list(found)

    @property
    def trainable_weights(self) -> list[Variable]:
        """The weights that training changes."""
        if not self._trainable:
            return []
        found = dict.fromkeys(variable for variable in self._variables.values() if variable.trainable)
        for child in self.sublayers:
            found.update(dict.fromkeys(child.trainable_weights))
        return list(found)

    @property
    def non_trainable_weights(self) -> list[Variable]:
        """The weights that training leaves alone."""
        trained = set(self.trainable_weights)
        return [variable for variable in self.weights if variable not in trained]

    @property
    def trainable_variables(self) -> list[Variable]:
        """The same as `trainable_weights`."""
        return self.trainable_weights

    @property
    def non_trainable_variables(self) -> list[Variable]:
        """The variables that training leaves alone."""
        trained = set(self.trainable_weights)
        return [variable for variable in self.variables if variable not in trained]

    @property
    def losses(self) -> list[Array]:
        """The penalties on weights, such as that of a `kernel_regularizer`, with the values that these have now.

        Penalties on outputs, and those of `add_loss`, belong to a pass: they are in the loss that `fit` reports.
        """
        penalized = [variable for variable in self.trainable_weights if variable.regularizer is not None]
        return [variable.regularizer(variable.value) for variable in penalized]

    def get_weights(self) -> list[Any]:
        """Return copies of all weights, as NumPy arrays, in the order of `weights`."""
        return [variable.numpy() for variable in self.weights]

    def set_weights(self, weights: Iterable[Any]) -> None:
        """Write all weights, in the order of `weights`; all are checked before the first is written.

        Raises:
            ShapeError: the number of arrays, or the shape of one, is not that of the weights.
            DataError: one holds no numbers.
        """
        if not hasattr(weights, "__iter__"):
            raise ShapeError(f"{self.name}: set_weights takes a list of arrays. Received: {shown(weights)}")
        variables, values = self.weights, list(weights)
        if len(values) != len(variables):
            hint = "" if self.built else " The layer is not built yet, so it has no weights."
            raise ShapeError(
                f"{self.name}: set_weights takes one array for each weight, {len(variables)}. "
                f"Received: {len(values)}.{hint}"
            )
        arrays = [variable.converted(value) for variable, value in zip(variables, values, strict=True)]
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)

    def count_params(self) -> int:
        """Return the number of elements in all weights.

        Raises:
            NotReadyError: the layer is not built.
        """
        if not self.built:
            raise NotReadyError(
                f"{self.name}: parameters are counted after build. Received: no build yet. "
                f"Call build(input_shape), or give the model an Input."
            )
        return sum(variable.size for variable in self.weights)

    # Placing.

    @property
    def home(self) -> Home:
        """Where the layer lives: where its model said, or else on the current backend, with a seed of its own."""
        if self._home is None:
            self.settle(Home(backend(), self._policy, fresh_seed(), self.name))
            assert self._home is not None  # noqa: S101 - `settle` has just seen to it
        return self._home

    def settle(self, home: Home) -> None:
        """Say where the layer and those inside it will live. One that is built stays where it is."""
        if self.built:
            return
        self._home = home
        self.casts = not self.casts_inside and any(compute_dtype(name) in HALF for name in (home.dtype, self._policy))
        self._house_brought()
        for name, child in self._children.items():
            child.settle(home.inside(name, self._policy))

    def _bring(self, name: str, value: Any) -> None:
        """Let variables that no layer has yet, made without `add_weight`, be weights of this one."""
        new = {key: found for key, found in _found_in(name, value, Variable) if found.path == found.name}
        self._brought.update(new)
        self._variables.update(new)
        if new and self._home is not None:
            self._house_brought()

    def _house_brought(self) -> None:
        """Give variables that were brought what `add_weight` gives: a path, and the layer's backend and dtype."""
        for name, variable in self._brought.items():
            variable.path = f"{self.home.path}/{name}"
            if variable.xp is not self.home.xp:
                variable.move(self.home.xp)
            if variable.untold is not None:
                if variable.dtype != self.variable_dtype:
                    variable.cast(self.variable_dtype)
                    variable.assign(variable.untold)
                variable.untold = None
            self._compute_narrowly(variable)

    def _compute_narrowly(self, variable: Variable) -> None:
        if (
            variable.trainable
            and variable.dtype == self.variable_dtype != self.compute_dtype
            and not self.full_precision
        ):
            variable.compute_dtype = self.compute_dtype

    @contextlib.contextmanager
    def tried(self) -> Generator[None]:
        """Within a ``with`` block, the layer runs to be looked at: what it counts or remembers is put back then."""
        written = [variable for variable in self.variables if not variable.trainable]
        before = [variable.numpy() for variable in written]
        try:
            yield
        finally:
            for variable, values in zip(written, before, strict=True):
                if (variable.numpy() != values).any():
                    variable.assign(values)

    def unbuild(self) -> None:
        """Undo `build`."""
        bound = {name: variable for name, variable in self._bound.items() if self._brought.get(name) is variable}
        for made in (self._variables, self._streams, self._bound):
            made.clear()
        self._variables.update(self._brought)
        self._bound.update(bound)
        self.built = False
        self._input_shape = None

    def to(self, xp: str | Backend) -> Self:
        """Move all weights and counters to another backend: ``layer.to("cupy:0")``.

        Raises:
            UnknownNameError, BackendUnavailableError: there is no such backend; nothing was moved. Nor is anything
                where an error arises on the way (a device that is full, say).
        """
        target = backend(xp)
        self.check_offered_by(target)
        move(self.variables, target)
        self._live_on(target)
        return self

    def check_offered_by(self, xp: Backend) -> None:
        """Check that a backend has the dtypes of all layers.

        Raises:
            BackendUnavailableError: it has not.
        """
        for layer in self.walk():
            check_offered(layer._policy, xp, layer.name)

    def _live_on(self, xp: Backend) -> None:
        for layer in self.walk():
            layer._home = layer.home._replace(xp=xp)

    def check_home(self) -> None:
        """Check that all weights and counters are on the layer's backend; looked at again when any state was moved.

        Raises:
            MixedBackendsError: some are not: a layer inside was moved by itself, or with another model that shares it.
        """
        if self._at_home == moves():
            return
        for variable in self.variables:
            if variable.xp is not self.xp:
                raise MixedBackendsError(
                    f"{self.name}: a model and its layers must live on one backend. Received: {variable.path} on "
                    f"{variable.xp}, in a model on {self.xp}. Move it all with {self.name}.to({str(self.xp)!r})."
                )
        self._at_home = moves()

    def walk(self) -> Iterator[Layer]:
        """Yield this layer and all layers inside it; one that stands in two places comes twice."""
        yield cast("Layer", self)
        for child in self.sublayers:
            yield from child.walk()


_MANY = 1000  # a longer list holds data


def _found_in(name: str, holder: Any, kind: Any, around: tuple[int, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield what is of a kind in a list or dictionary, at any depth, by the name of where it stands: "blocks_0"."""
    if isinstance(holder, kind):
        yield name, holder
    elif isinstance(holder, (list, tuple, dict)) and len(holder) <= _MANY and id(holder) not in around:  # pyright: ignore[reportUnknownArgumentType]
        around += (id(holder),)  # pyright: ignore[reportUnknownArgumentType] - a list may hold itself
        items: Any = holder.items() if isinstance(holder, dict) else enumerate(holder)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType, reportUnknownArgumentType]
        for key, item in items:
            yield from _found_in(f"{name}_{key}", item, kind, around)
