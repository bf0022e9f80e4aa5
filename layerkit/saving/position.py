"""Where training stood when a checkpoint was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.callbacks import History
from layerkit.checks import is_a
from layerkit.saving import document, table
from layerkit.saving.decoding import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from layerkit.saving.place import Place
    from layerkit.saving.state import Told

_FIELDS = (
    *("epoch", "batch", "ended", "stopped", "told", "logs", "passes", "offset"),
    *("data", "settings", "compile", "callbacks"),
)


class Remembered(NamedTuple):
    """What is known of a callback."""

    name: str
    """Of its class."""
    config: dict[str, Any] | None
    """What its constructor was given, where it can be made again; as JSON."""
    state: dict[str, Any]
    """What it remembered."""
    place: Place


class Position:
    """Where training stood: see `layerkit.training.run`; and what callbacks remembered.

    Raises:
        ModelFormatError: it is not written as it should be.
    """

    def __init__(self, value: Any, told: Told) -> None:
        self.place = place = told.place.at("position")
        fields = document.check_object(value, place, _FIELDS)
        self.epoch, self.batch, self.told, self.passes, self.offset = (
            document.check_integer(fields[name], place.at(name))
            for name in ("epoch", "batch", "told", "passes", "offset")
        )
        self.ended, self.stopped = fields["ended"] is True, fields["stopped"] is True
        self.logs = None if fields["logs"] is None else _pairs(fields["logs"], place.at("logs"), Decoder({}))
        self.history = told.history
        self.data = document.check_map(fields["data"], place.at("data"))
        self.settings = _pairs(fields["settings"], place.at("settings"), Decoder({}))
        self.compiled = None
        if fields["compile"] is not None:
            self.compiled = document.check_map(fields["compile"], place.at("compile"))
        here = place.at("callbacks")
        listed = enumerate(document.check_list(fields["callbacks"], here))
        self.callbacks = [_remembered(entry, here.at(index), index, told) for index, entry in listed]

    def restore_callbacks(self, callbacks: Iterable[Any]) -> None:
        """Let callbacks remember what those of the same classes, in the same order, did."""
        for callback, remembered in zip(callbacks, self.callbacks, strict=True):
            if is_a(callback, History):
                if self.history is not None:
                    callback.__dict__.update(history=self.history.history, epoch=self.history.epoch)
            elif hasattr(callback, "set_state"):
                callback.set_state(remembered.state)

    def make_callback(self, index: int, custom: Mapping[str, Any]) -> Any:
        """Return a callback as it was made, where a file may say how."""
        name, config, _, place = self.callbacks[index]
        cls = table.callbacks().get(name)
        if cls is None or config is None:
            raise place.at("class").wrong("must be that of a callback of layerkit that writes nothing", name)
        decoder = Decoder(custom)
        given = {key: decoder.decode(each, place.at("config").at(key)) for key, each in config.items()}
        try:
            return cls(**given)
        except Exception as error:
            raise place.at("config").wrong(f"must be what {name} takes", f"{type(error).__name__}: {error}") from error


def _remembered(entry: Any, place: Place, index: int, told: Told) -> Remembered:
    fields = document.check_object(entry, place, ("class", "config", "state"))
    config = None if fields["config"] is None else document.check_map(fields["config"], place.at("config"))
    decoder = Decoder({}, _arrays(told, f"callbacks/{index}"))
    state = _pairs(fields["state"], place.at("state"), decoder)
    return Remembered(document.check_text(fields["class"], place.at("class")), config, state, place)


def _pairs(value: Any, place: Place, decoder: Decoder) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for index, pair in enumerate(document.check_list(value, place)):
        here = place.at(index)
        if len(document.check_list(pair, here)) != 2:
            raise here.wrong("must be a name and a value", pair)
        found[document.check_text(pair[0], here)] = decoder.decode(pair[1], here)
    return found


def _arrays(told: Told, prefix: str) -> Callable[[int, Place], Any]:
    """Return the function from a number to the array beside what a callback remembers."""

    def array(number: int, place: Place) -> Any:
        tensor = told.arrays.get(f"{prefix}/{number}")
        if tensor is None:
            raise place.wrong("must be the number of an array of this callback", number)
        return told.fetch(tensor)

    return array
