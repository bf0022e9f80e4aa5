"""By what the outputs of a model are trained and measured: what `compile` was given, output by output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit import losses
from layerkit import metrics as metrics_room
from layerkit.checks import check_number, is_a, shown
from layerkit.errors import ArgumentError
from layerkit.metrics import Mean, Metric
from layerkit.nested import is_nest, leaves, mapped

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.losses import Loss
    from layerkit.training.outputs import Outputs
    from layerkit.xp import Backend

Shape = tuple[int | None, ...]


class Goal(NamedTuple):
    """By what one output is trained and measured."""

    name: str | None
    """Of the output."""
    loss: Loss | None
    kind: str
    """What the loss is called in History, where outputs have no names: as `compile` was given it."""
    weight: float | None
    """By which the loss is multiplied; None for 1."""
    metrics: tuple[Any, ...]
    weighted: tuple[Any, ...]
    """What measures it, as `compile` was given it: without sample weights, and with them."""
    wanted: bool
    """Whether there must be targets."""


class Goals:
    """What `compile` was given for the outputs: losses and their weights, and metrics.

    How many outputs there are need not be known yet.

    Args:
        loss: one for all outputs, or nested as they are; None, also for a single output, where there is none.
        loss_weights: as many numbers; None for 1.
        metrics: for one output, its metrics. For several, those of each, nested as the outputs are; or a list of
            another length, without lists in it: the same for all.
        weighted_metrics: the same, measured with sample weights.

    Raises:
        UnknownNameError: a name is not known.
        ArgumentError: something is no loss, weight or metric.
    """

    def __init__(self, loss: Any, loss_weights: Any, metrics: Any, weighted_metrics: Any) -> None:
        # A name stays one: it is in the keys of History.
        self.given = mapped(_named_or_made, _undescribed(loss, losses.get))
        self.loss: Any = mapped(_made, self.given)
        self.loss_weights: Any = mapped(_checked_weight, loss_weights)
        if loss is None and loss_weights is not None:
            raise ArgumentError(
                f"compile: loss_weights needs a loss. Received: loss=None and loss_weights={shown(loss_weights)}"
            )
        self.metrics, self.weighted_metrics = (
            _undescribed(given, metrics_room.get) for given in (metrics, weighted_metrics)
        )
        for identifier in [*leaves(self.metrics), *leaves(self.weighted_metrics)]:
            _name_of(identifier)
        self._found: tuple[Any, tuple[Goal, ...]] | None = None

    @property
    def trains(self) -> bool:
        """Whether there is any loss."""
        return any(loss is not None for loss in leaves(self.loss))

    @property
    def measures(self) -> bool:
        """Whether there is any loss or metric."""
        return self.trains or any(each is not None for each in [*leaves(self.metrics), *leaves(self.weighted_metrics)])

    def of(self, outputs: Outputs) -> tuple[Goal, ...]:
        """Return the goal of each output.

        Raises:
            ArgumentError: what `compile` was given is not for these outputs.
        """
        if self._found is None or self._found[0] != outputs.key:
            self._found = outputs.key, self._made(outputs)
        return self._found[1]

    def _made(self, outputs: Outputs) -> tuple[Goal, ...]:
        count = len(outputs.shapes)
        each = [self.loss] * count if not is_nest(self.loss) else _flat(outputs, self.loss, "loss")
        given = [self.given] * count if not is_nest(self.given) else _flat(outputs, self.given, "loss")
        kinds = [name if is_a(name, str) else getattr(name, "name", "") for name in given]
        weights = self._weights(outputs, each)
        plain, weighted = (
            [_listed(part, outputs) for part in self._metrics(outputs, *named)]
            for named in (("metrics", self.metrics), ("weighted_metrics", self.weighted_metrics))
        )
        objects = [found for part in (*plain, *weighted) for found in part if isinstance(found, Metric)]
        twice = next((found for found in objects if sum(found is other for other in objects) > 1), None)
        if twice is not None:
            rule = "each output needs metrics of its own, which keep its totals"
            received = f"{twice.name!r} for two of them"
            if not outputs.several:
                rule, received = "each metric keeps totals of its own", f"the same object twice, {twice.name!r}"
            raise ArgumentError(f"compile: {rule}. Received: {received}. Make an object for each, or give its name.")
        return tuple(
            Goal(
                name,
                loss,
                kind,
                weight,
                own,
                with_weights,
                bool(not outputs.several or loss is not None or own or with_weights),
            )
            for name, loss, kind, weight, own, with_weights in zip(
                outputs.names, each, kinds, weights, plain, weighted, strict=True
            )
        )

    def _weights(self, outputs: Outputs, each: Sequence[Loss | None]) -> list[float | None]:
        given = self.loss_weights
        if given is None:
            return [None] * len(each)
        if len(each) > 1 and not is_nest(given):
            raise ArgumentError(
                f"compile: loss_weights must be nested as the outputs of the model are, {outputs.pattern}. "
                f"Received: loss_weights={given}"
            )
        weights = _flat(outputs, given, "loss_weights")
        for place, (loss, weight) in enumerate(zip(each, weights, strict=True)):
            if loss is not None and weight is None and outputs.several:
                raise ArgumentError(
                    f"compile: loss_weights must have a number for each loss. Received: none for "
                    f"{outputs.label(place)}, whose loss is {loss.name}"
                )
        return weights

    def _metrics(self, outputs: Outputs, argument: str, given: Any) -> list[Any]:
        """Return what measures each output."""
        count = len(outputs.shapes)
        if count == 1:
            return [given]
        listed = is_a(given, list, tuple)
        plain = listed and not any(each is None or is_nest(each) for each in given)
        if not is_nest(given) or not given or (plain and len(given) != count):  # as many are one for each, as in Keras
            return [given] * count
        return _flat(outputs, given, argument)

    def names(self, outputs: Outputs) -> list[str]:
        """Return the keys of the logs: the loss, those of the outputs, their metrics, their weighted metrics.

        They are Keras's: "left_loss" and "left_accuracy" for an output with a name. Where outputs have none, a loss
        goes by its own, and what is there already is numbered: "precision" and "precision_1", of two objects. As there,
        a weighted metric is marked where a plain one has its name.

        Raises:
            ArgumentError: a metric of an output is given twice by its name, or has the name of the loss.
        """
        goals = self.of(outputs)
        names = ["loss"] if self.trains else []
        trained = [goal for goal in goals if goal.loss is not None]
        for goal in trained if len(trained) > 1 else ():
            names.append(_numbered(f"{goal.name or goal.kind}_loss", names))
        prefixes = [f"{goal.name}_" if goal.name and len(goals) > 1 else "" for goal in goals]
        for identifiers, mark in (("metrics", ""), ("weighted", "weighted_")):
            for goal, prefix in zip(goals, prefixes, strict=True):
                given: set[str] = set()
                for identifier in getattr(goal, identifiers):
                    name = _name_of(identifier)
                    if (is_a(identifier, str) and name in given) or (name == "loss" and not prefix):
                        where = f" of output {goal.name!r}" if prefix else ""
                        raise ArgumentError(
                            f"compile: each metric{where} must have a name of its own. Received: {name!r} twice"
                        )
                    if is_a(identifier, str):
                        given.add(name)
                    name = f"{prefix}{mark if prefix + name in names else ''}{name}"
                    names.append(_numbered(name, names))
        return names


class Objective:
    """A goal with its totals: what a step reads and writes for one output.

    Args:
        goal: what `compile` was given for it.
        has_total: whether the mean of its loss is kept, besides that of all.
        target_shape: of its targets; None where there are none.
        output_shape: of the output.
        xp: where the totals are.
    """

    def __init__(
        self, goal: Goal, xp: Backend, *, has_total: bool, target_shape: Shape | None, output_shape: Shape
    ) -> None:
        self.name, self.loss, self.weight, self.wanted = goal.name, goal.loss, goal.weight, goal.wanted
        self.total = Mean(f"{goal.name or goal.kind}_loss").to(xp) if has_total and goal.loss is not None else None
        self.metrics, self.weighted = (
            []
            if target_shape is None
            else [metrics_room.resolve(each, target_shape, output_shape).to(xp) for each in group]
            for group in (goal.metrics, goal.weighted)
        )


def _flat(outputs: Outputs, given: Any, argument: str) -> list[Any]:
    return outputs.flat(given, f"compile: {argument}", partial=True)


def _listed(identifiers: Any, outputs: Outputs) -> tuple[Any, ...]:
    if outputs.several or identifiers is None:
        return tuple(each for each in leaves(identifiers) if each is not None)
    return tuple(metrics_room.get(None) if each is None else each for each in leaves(identifiers))


def _undescribed(given: Any, get: Callable[[Any], Any]) -> Any:
    """Return what stands in lists and dictionaries, with objects in place of dictionaries that describe one."""
    if is_a(given, dict):
        return get(given) if "class_name" in given else {key: _undescribed(each, get) for key, each in given.items()}
    return type(given)([_undescribed(each, get) for each in given]) if is_a(given, list, tuple) else given


def _named_or_made(loss: Any) -> Any:
    name = getattr(loss, "__name__", "")
    if hasattr(loss, "made_from") and name in losses.NAMES:
        return name
    return loss if loss is None or is_a(loss, str) else losses.get(loss)


def _made(loss: Any) -> Loss | None:
    return None if loss is None else losses.get(loss)


def _checked_weight(weight: Any) -> Any:
    if isinstance(weight, (str, Metric)) or callable(weight):
        raise ArgumentError(
            f"compile: loss_weights must be numbers. Received: {shown(weight)}. "
            f"If it is a metric, give it by name: compile(optimizer, loss, metrics=[…])."
        )
    return None if weight is None else float(check_number("compile", loss_weights=weight))


def _numbered(name: str, taken: Sequence[str]) -> str:
    number, found = 0, name
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    return found


def _name_of(identifier: Any) -> str:
    """Return the name of a metric; of nothing, none.

    Raises:
        UnknownNameError, ArgumentError: it is no metric that compares y_true with y_pred.
    """
    if identifier is None or (isinstance(identifier, str) and identifier.lower() in metrics_room.BY_SHAPE):
        return identifier or ""
    metric = metrics_room.get(identifier)
    if metric.operands != ("y_true", "y_pred"):
        raise ArgumentError(
            f"compile: a metric must compare y_true with y_pred. Received: {metric!r}, "
            f"which takes {', '.join(metric.operands)}"
        )
    return metric.name
