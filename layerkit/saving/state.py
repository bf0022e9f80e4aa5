"""What training has changed, as one table of arrays and one of plain values: everything that a next step depends on.

Weights are told apart from the rest: step counts and slots of the optimizer, totals of metrics, counters of random
numbers, and History.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.callbacks import History
from layerkit.checks import is_a
from layerkit.errors import ArgumentError
from layerkit.saving import document, tensors
from layerkit.saving.decoding import Decoder
from layerkit.saving.encoding import Encoder
from layerkit.saving.position import Position
from layerkit.saving.tensors import Source, Tensor
from layerkit.training.outputs import Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from layerkit.optimizers import Optimizer
    from layerkit.saving.place import Place
    from layerkit.training.outputs import Shape
    from layerkit.training.step import Step
    from layerkit.xp import Variable

Fetch = "Callable[[Tensor], NDArray[Any]]"


def weights(model: Any) -> dict[str, Variable]:
    """Return all weights by name; one that has two names is there once."""
    found: dict[Variable, str] = {}
    for name, variable in model.named_weights().items():
        found.setdefault(variable, name)
    return {name: variable for variable, name in found.items()}


def sources(variables: Mapping[str, Variable]) -> dict[str, Source]:
    """Return variables as arrays to be written."""
    for name in variables:
        if not all(document.NAME.match(part) for part in name.split("/")) or len(name) > 1024:
            raise ArgumentError(
                f"save: names of layers and weights must be letters, digits, '_', '.' and '-', at most 128 of them. "
                f"Received: {name!r}"
            )
    return {name: Source(each.dtype, each.shape, each.numpy) for name, each in variables.items()}


def training(model: Any, step: Step | None) -> dict[str, Variable]:
    """Return all other state by name: of random streams, the optimizer, and metrics."""
    found = {f"streams/{name}": stream.counter for name, stream in model.named_streams().items()}
    if step is not None:
        if step.optimizer.built:
            found |= _numbered("optimizer", step.optimizer.variables)
        for index, metric in enumerate(step.all_metrics):
            found |= _numbered(f"metrics/{index}", metric.variables)
    return found


def _numbered(prefix: str, variables: Iterable[Variable]) -> dict[str, Variable]:
    # Names of their own may be anything, and stand twice.
    return {f"{prefix}/{index}": variable for index, variable in enumerate(variables)}


def describe(
    model: Any, step: Step | None, carried: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, Source]]:
    """Return what is known of training as JSON, and its arrays; `carried` as `Encoder` has it."""
    if step is not None and step.optimizer.built:
        step.optimizer.build(step.optimizer.parameters)  # a momentum that was set just now has its slot
    arrays = sources(training(model, step))
    optimizer = None
    if step is not None and step.optimizer.built:
        known = {variable: name for name, variable in weights(model).items()}
        parameters = step.optimizer.parameters
        strange = [variable.path for variable in parameters if variable not in known]
        if strange:
            raise ArgumentError(
                f"save: the optimizer must serve the weights of this model alone. Received: one that serves "
                f"{strange[0]!r} too. Give each model an optimizer of its own, or save with include_optimizer=False."
            )
        encoder = Encoder(carried)
        settings = [
            [[name, encoder.encode(value, f"optimizer.{name}")] for name, value in part.settings().items()]
            for part in step.optimizer.parts()
        ]
        optimizer = {"parameters": [known[variable] for variable in parameters], "settings": settings}
    shapes = None if step is None else step.shapes
    told = {
        "shuffles": model.shuffles,
        "streams": {name: list(stream.key) for name, stream in model.named_streams().items()},
        "optimizer": optimizer,
        "metrics": None if shapes is None or step is None else _shapes(shapes, step),
        "history": None if model.history is None else describe_history(model.history, arrays),
        "position": None,
    }
    return told, arrays


def _shapes(shapes: Sequence[Any], step: Step) -> Any:
    """Return numbers of axes and last lengths, of several outputs in a list."""
    listed = [None if each is None else list(each) for each in shapes]
    return listed if step.outputs is not None and step.outputs.several else listed[0]


def _lengths(told: Any, place: Place) -> tuple[Shape, Shape]:
    """Return shapes of targets and outputs with such numbers of axes and last lengths."""
    if len(document.check_list(told, place)) != 4:
        raise place.wrong("must be the number of axes and the last length of targets and of outputs", told)
    lengths = [
        None if number is None and index % 2 else document.check_integer(number, place.at(index), 1, 2**32)
        for index, number in enumerate(told)
    ]
    (axes, last), (output_axes, output_last) = lengths[:2], lengths[2:]
    if max(axes or 0, output_axes or 0) > 32:
        raise place.wrong("must be of at most 32 axes", told)
    return (*[None] * ((axes or 1) - 1), last), (*[None] * ((output_axes or 1) - 1), output_last)


def describe_history(history: History, arrays: dict[str, Source]) -> dict[str, Any]:
    """Return a History as JSON; lists of floats become arrays."""
    logs: list[list[Any]] = []
    for index, (name, values) in enumerate(history.history.items()):
        numbers = all(type(value) is float for value in values)
        if numbers:
            arrays[f"history/{index}"] = tensors.source(np.array(values, np.float64))
        logs.append([name, None if numbers else Encoder().encode(values, f"history[{name!r}]")])
    arrays["history/epoch"] = tensors.source(np.array(history.epoch, np.int64))
    return {"logs": logs}


class Told:
    """What a file says of training, checked as far as that can be done without the model.

    Args:
        value: the JSON.
        place: where it stands.
        arrays: what the header of its arrays lists.
        fetch: reads one of them.
        custom: the custom objects that the caller gives, by name.
    """

    KEYS = ("shuffles", "streams", "optimizer", "metrics", "history", "position")

    def __init__(
        self,
        value: Any,
        place: Place,
        arrays: Mapping[str, Tensor],
        fetch: Callable[[Tensor], NDArray[Any]],
        custom: Mapping[str, Any],
    ) -> None:
        self._custom = custom
        self._fields = document.check_object(value, place, self.KEYS)
        self.place, self.arrays, self.fetch = place, arrays, fetch
        self.shuffles = document.check_integer(self._fields["shuffles"], place.at("shuffles"))
        self.history = self._history()
        self.position = None if self._fields["position"] is None else Position(self._fields["position"], self)

    def restore(self, model: Any, step: Step | None) -> None:
        """Bring a model that is built and compiled to this state. All is compared before the first value is written.

        Raises:
            ModelFormatError: the file tells of another model.
        """
        place, fields = self.place, self._fields
        if step is not None:
            self._build_optimizer(model, step, fields["optimizer"], place.at("optimizer"))
            self._make_metrics(model, step, fields["metrics"], place.at("metrics"))
        streams, keys = model.named_streams(), document.check_map(fields["streams"], place.at("streams"))
        if streams.keys() != keys.keys():
            raise place.at("streams").wrong(f"must name the streams {', '.join(streams) or '(none)'}", ", ".join(keys))
        wanted = training(model, step)
        given = {name: each for name, each in self.arrays.items() if not name.startswith(("history/", "callbacks/"))}
        if step is None:  # loaded without compiling: only the streams are of interest
            given = {name: tensor for name, tensor in given.items() if name.startswith("streams/")}
        compare(wanted, given, place)
        for name, stream in streams.items():
            here = place.at("streams").at(name)
            key = document.check_list(keys[name], here)
            if len(key) != 2:
                raise here.wrong("must be two numbers", key)
            first, second = (document.check_integer(word, here, most=2**64 - 1) for word in key)
            stream.key = first, second
        for name, variable in wanted.items():
            variable.assign(self.fetch(given[name]))
        model.shuffles = self.shuffles
        if self.history is not None:
            self.history.set_model(model)
            model.history = self.history

    def _build_optimizer(self, model: Any, step: Step, told: Any, place: Place) -> None:
        if told is None:
            return
        known = weights(model)
        parameters: list[Variable] = []
        fields = document.check_object(told, place, ("parameters", "settings"))
        for index, name in enumerate(document.check_list(fields["parameters"], place.at("parameters"))):
            here = place.at("parameters").at(index)
            variable = known.pop(document.check_text(name, here), None)
            if variable is None:
                raise here.wrong("must be the name of a weight, each once", name)
            parameters.append(variable)
        step.optimizer.build(parameters)
        self._set(step.optimizer.parts(), fields["settings"], place.at("settings"))
        step.optimizer.build(parameters)  # with the slots that these settings ask for

    def _set(self, optimizers: list[Optimizer], told: Any, place: Place) -> None:
        """Give optimizers the settings that they had."""
        if len(document.check_list(told, place)) != len(optimizers):
            raise place.wrong(f"must be those of {len(optimizers)} optimizers", len(told))
        decoder = Decoder(self._custom)
        for index, (optimizer, pairs) in enumerate(zip(optimizers, told, strict=True)):
            here, known = place.at(index), optimizer.settings()
            settings: dict[str, Any] = {}
            for number, pair in enumerate(document.check_list(pairs, here)):
                at = here.at(number)
                if len(document.check_list(pair, at)) != 2:
                    raise at.wrong("must be a name and a value", pair)
                name = document.check_text(pair[0], at)
                if name not in known and name != "learning_rate":
                    raise at.wrong(f"must be a setting, {', '.join((*known, 'learning_rate'))}", name)
                value = decoder.decode(pair[1], at)
                if name == "learning_rate" or value != known[name]:
                    settings[name] = value
            given = {name: value for name, value in settings.items() if value is not None or name != "learning_rate"}
            try:
                if given:
                    type(optimizer).from_config({**optimizer.get_config(), **given})
                optimizer.set_settings(settings)
            except Exception as error:
                name = type(optimizer).__name__
                raise here.wrong(f"must be what {name} takes", f"{type(error).__name__}: {error}") from error

    def _make_metrics(self, model: Any, step: Step, told: Any, place: Place) -> None:
        if told is None:
            return
        if not model.built:
            raise place.wrong("must be null for a model that is not built", told)
        outputs = Outputs(model.output_shape, model.output_names)
        each = document.check_list(told, place) if outputs.several else [told]
        if len(each) != len(outputs.shapes):
            raise place.wrong(f"must have an entry for each output of the model, {outputs.pattern}", told)
        pairs = [
            _lengths(of, place.at(index) if outputs.several else place)
            if of is not None or not outputs.several
            else None
            for index, of in enumerate(each)
        ]
        if [pair is not None for pair in pairs] != [goal.wanted for goal in step.goals.of(outputs)]:
            raise place.wrong("must have numbers for the outputs with a loss or metrics, and null for others", told)
        try:
            outputs.shapes = [own if pair is None else pair[1] for own, pair in zip(outputs.shapes, pairs, strict=True)]
            step.resolve([pair[0] for pair in pairs if pair is not None], outputs)
        except ArgumentError as error:
            raise place.wrong("must be shapes for which the metrics can be made", str(error)) from error

    def _history(self) -> History | None:
        told, place = self._fields["history"], self.place.at("history")
        if told is None:
            return None
        logs = document.check_list(document.check_object(told, place, ("logs",))["logs"], place.at("logs"))
        wanted = {"history/epoch": "int64"}
        history = History()
        texts: dict[str, Any] = {}
        for index, pair in enumerate(logs):
            here = place.at("logs").at(index)
            if len(document.check_list(pair, here)) != 2:
                raise here.wrong("must be a name and a list, or null", pair)
            name = document.check_text(pair[0], here)
            if name in texts:
                raise here.wrong("must have a name of its own", name)
            texts[name] = pair[1]
            if pair[1] is None:
                wanted[f"history/{index}"] = "float64"
        given = {name: tensor for name, tensor in self.arrays.items() if name.startswith("history/")}
        if {name: (tensor.dtype, len(tensor.shape)) for name, tensor in given.items()} != {
            name: (dtype, 1) for name, dtype in wanted.items()
        }:
            raise place.wrong(f"must have the arrays {', '.join(wanted)}, of one axis", ", ".join(given))
        history.epoch = self.fetch(given["history/epoch"]).tolist()
        for index, (name, values) in enumerate(texts.items()):
            here = place.at("logs").at(index)
            if values is None:
                history.history[name] = self.fetch(given[f"history/{index}"]).tolist()
            else:
                decoded = Decoder({}).decode(values, here)
                if not is_a(decoded, list):
                    raise here.wrong("must be a list", values)
                history.history[name] = decoded
        return history


_LISTED = 20


def compare(variables: Mapping[str, Variable], given: Mapping[str, Tensor], place: Place) -> None:
    """Compare the arrays that are wanted with those that a file has, and list all that does not fit.

    Raises:
        ModelFormatError: something is missing, surplus, or of another shape or dtype.
    """
    faults = [f"{name} is missing" for name in variables if name not in given]
    faults += [f"{name} is surplus" for name in given if name not in variables]
    for name, variable in variables.items():
        tensor = given.get(name)
        if tensor is not None and (tensor.shape, tensor.dtype) != (variable.shape, variable.dtype):
            faults.append(
                f"{name} has shape {tensor.shape} and dtype {tensor.dtype} in place of {variable.shape} and "
                f"{variable.dtype}"
            )
    if faults:
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        raise place.wrong(
            "the arrays must be those of the model", "; ".join(faults[:_LISTED])[:2000] + more, limit=2100
        )
