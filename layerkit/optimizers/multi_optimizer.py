"""Several optimizers for one model, each for some of its parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any, Self

from layerkit.checks import is_a, shown
from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError
from layerkit.optimizers.optimizer import Optimizer
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import State, Variable


class OptimizerMap(Configurable, MutableMapping[str, Optimizer]):
    """A table from the paths of parameters to optimizers.

    A key is a path, or a regular expression that matches whole paths: ``{"dense/.*": SGD(0.1)}``.

    Args:
        default_optimizer: serves the parameters whose path is in no key's reach.
        optimizer_map: the table to begin with.

    Raises:
        ArgumentError: a key is no text, or what it stands for no optimizer, or a `MultiOptimizer`.
    """

    def __init__(self, default_optimizer: Optimizer, optimizer_map: Mapping[str, Optimizer] | None = None) -> None:
        self.default_optimizer = _checked(default_optimizer, "default_optimizer")
        self._optimizers: dict[str, Optimizer] = {}
        for key, optimizer in (optimizer_map or {}).items():
            self[key] = optimizer

    @override
    def get_config(self) -> dict[str, Any]:
        return {"default_optimizer": self.default_optimizer, "optimizer_map": dict(self._optimizers)}

    @classmethod
    @override
    def from_config(cls, config: dict[str, Any]) -> Self:
        made: dict[int, Optimizer] = {}

        def fresh(optimizer: Optimizer) -> Optimizer:
            if id(optimizer) not in made:
                made[id(optimizer)] = type(optimizer).from_config(optimizer.get_config())
            return made[id(optimizer)]

        given: dict[str, Optimizer] = config.get("optimizer_map") or {}
        return cls(fresh(config["default_optimizer"]), {key: fresh(optimizer) for key, optimizer in given.items()})

    @override
    def __getitem__(self, key: str) -> Optimizer:
        """Return the optimizer of a path: its own, or that of the one expression that matches it, or the default."""
        if key in self._optimizers:
            return self._optimizers[key]
        found = [pattern for pattern in self._optimizers if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ArgumentError(
                f"OptimizerMap: a path must be in the reach of one key. Received: {key!r}, in the reach of "
                f"{' and '.join(map(repr, found))}"
            )
        return self._optimizers[found[0]] if found else self.default_optimizer

    @override
    def __setitem__(self, key: str, optimizer: Optimizer) -> None:
        if not is_a(key, str):
            raise ArgumentError(f"OptimizerMap: a key must be text, a path or a pattern. Received: {shown(key)}")
        if key in self._optimizers:
            raise ArgumentError(f"OptimizerMap: a key must be given once. Received: {key!r} again")
        # A new table: what is set on an object is noticed, what is put into a dictionary is not.
        self._optimizers = {**self._optimizers, key: _checked(optimizer, repr(key))}

    @override
    def __delitem__(self, key: str) -> None:
        self._optimizers = {name: optimizer for name, optimizer in self._optimizers.items() if name != key}

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._optimizers)

    @override
    def __len__(self) -> int:
        return len(self._optimizers)

    def __call__(self, variable: Variable) -> Optimizer:
        """Return the optimizer of a parameter."""
        return self[variable.path]


class MultiOptimizer(Optimizer):
    """Hands each parameter to an optimizer of its own, with its own learning rate, slots and step count.

    Args:
        optimizer_map: an `OptimizerMap`, or a function from a `Variable` to its optimizer, the same each time.
        name: by default ``"multi_optimizer"``.

    Raises:
        ArgumentError: `optimizer_map` cannot be called, or returns something else than an optimizer.
    """

    _bookkeeping = frozenset({"_served"})

    def __init__(self, optimizer_map: OptimizerMap | Callable[[Variable], Optimizer], name: str | None = None) -> None:
        if not callable(optimizer_map) or isinstance(optimizer_map, (type, Optimizer)):
            raise ArgumentError(
                f"MultiOptimizer: optimizer_map must be an OptimizerMap, or a function from a variable to an "
                f"optimizer. Received: optimizer_map={shown(optimizer_map)}"
            )
        super().__init__(0.0, name=name)
        self.optimizer_map = optimizer_map
        self._served: dict[Variable, Optimizer] = {}
        self._optimizers: tuple[Optimizer, ...] = ()

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimizers that serve a parameter, in the order of their first."""
        return list(self._optimizers)

    @override
    def get_config(self) -> dict[str, Any]:
        return {"optimizer_map": self.optimizer_map, "name": self.name}

    @override
    def parts(self) -> list[Optimizer]:
        return [self, *self.optimizers]

    @property
    @override
    def learning_rate(self) -> Any:
        """Not to be read or set: each optimizer has its own."""
        raise AttributeError(_NO_RATE)

    @learning_rate.setter
    def learning_rate(self, value: Any) -> None:
        raise AttributeError(_NO_RATE)

    @property
    @override
    def variables(self) -> list[Variable]:
        return [self._iterations, *[variable for optimizer in self.optimizers for variable in optimizer.variables]]

    @override
    def active_slots(self) -> tuple[str, ...]:
        return tuple([name for optimizer in self.optimizers for name in optimizer.all_slots()])

    @override
    def build(self, variables: Iterable[Variable]) -> None:
        for variable in variables:
            if variable not in self._served:
                self._served[variable] = _checked(self.optimizer_map(variable), variable.path)
                self._parameters.append(variable)
        self._optimizers = tuple(dict.fromkeys(self._served.values()))
        for optimizer in self.optimizers:
            optimizer.build(self._of(optimizer, self._parameters))
        if self._optimizers:
            self.move(self._optimizers[0].xp)
        self.built = True

    def _of(self, optimizer: Optimizer, variables: Iterable[Variable]) -> list[Variable]:
        return [variable for variable in variables if self._served[variable] is optimizer]

    @override
    def held(self) -> list[Variable]:
        return [self._iterations, *[variable for optimizer in self.optimizers for variable in optimizer.held()]]

    @override
    def move(self, xp: Backend) -> None:
        super().move(xp)
        for optimizer in self.optimizers:
            optimizer.move(xp)

    @override
    def gradient(self, variable: Variable) -> State:
        return self._served[variable].gradient(variable)

    @override
    def plan(self, variables: Sequence[Variable]) -> None:
        for optimizer in self.optimizers:
            optimizer.plan(self._of(optimizer, variables))
        self._gradients = [self.gradient(variable) for variable in variables]

    @override
    def gradient_vectors(self) -> list[State]:
        return [vector for optimizer in self.optimizers for vector in optimizer.gradient_vectors()]

    @override
    def at_risk(self) -> list[State]:
        return [state for optimizer in self.optimizers for state in optimizer.at_risk()]

    @override
    def update(self, xp: Backend, finite: Array | None = None) -> None:
        xp.assign_add(self._iterations.value, 1 if finite is None else xp.astype(finite, xp.int64))
        for optimizer in self.optimizers:
            optimizer.update(xp, finite)

    @override
    def constrain(self, xp: Backend) -> None:
        for optimizer in self.optimizers:
            optimizer.constrain(xp)

    @override
    def exclude_from_weight_decay(
        self, var_list: Iterable[Variable] | None = None, var_names: Iterable[str] | None = None
    ) -> None:
        raise ArgumentError(
            f"{self.name}: exclude_from_weight_decay belongs to the optimizers of the map. Received: a call of "
            f"MultiOptimizer's. Call theirs."
        )

    @override
    def swap_averages(self, var_list: Iterable[Variable], *, in_place: bool) -> None:
        known = [variable for variable in var_list if variable in self._served]
        for optimizer in self.optimizers:
            optimizer.swap_averages(self._of(optimizer, known), in_place=in_place)
        self.averages_in_place = in_place

    @override
    def finalize_variable_values(self, var_list: Iterable[Variable]) -> None:
        known = [variable for variable in var_list if variable in self._served]
        for optimizer in self.optimizers:
            optimizer.finalize_variable_values(self._of(optimizer, known))
        self.averages_in_place = False


_NO_RATE = (
    "MultiOptimizer: a learning rate belongs to one of the optimizers. Received: a look at learning_rate. "
    "Read or set it on the optimizers of the map."
)


def _checked(optimizer: Any, what: str) -> Optimizer:
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, MultiOptimizer):
        raise ArgumentError(
            f"OptimizerMap: {what} must have an Optimizer, and no MultiOptimizer. Received: {shown(optimizer)}"
        )
    if optimizer.searches:
        raise ArgumentError(f"OptimizerMap: {optimizer.name} needs all parameters of a model. Received: it, for {what}")
    if optimizer.loss_scale_factor is not None:
        raise ArgumentError(
            f"OptimizerMap: the loss is scaled for all of a model, by a LossScaleOptimizer around its MultiOptimizer. "
            f"Received: loss_scale_factor={optimizer.loss_scale_factor}, for {what}"
        )
    return optimizer
