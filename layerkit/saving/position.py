"""Where training stood when a checkpoint was made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.callbacks import History
from layerkit.checks import is_a
from layerkit.saving import document
from layerkit.saving.decoding import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from layerkit.saving.place import Place
    from layerkit.saving.state import Told


class Position:
    """Where training stood: the epoch, the batches taken of it, on what data, and what callbacks remembered.

    Raises:
        ModelFormatError: it is not written as it should be.
    """

    def __init__(self, value: Any, told: Told) -> None:
        place = told.place.at("position")
        fields = document.check_object(value, place, ("epoch", "batch", "stopped", "run", "callbacks"))
        self.epoch = document.check_integer(fields["epoch"], place.at("epoch"))
        self.batch = document.check_integer(fields["batch"], place.at("batch"))
        self.stopped = fields["stopped"] is True
        self.history = told.history
        self.run = document.check_map(fields["run"], place.at("run"))
        self.callbacks: list[tuple[str, dict[str, Any]]] = []
        here = place.at("callbacks")
        for index, entry in enumerate(document.check_list(fields["callbacks"], here)):
            name, remembered = _pair(entry, here.at(index))
            decoder = Decoder({}, _arrays(told, f"callbacks/{index}"))
            found: dict[str, Any] = {}
            for each in document.check_list(remembered, here.at(index)):
                attribute, value = _pair(each, here.at(index))
                found[document.check_text(attribute, here)] = decoder.decode(value, here.at(index))
            self.callbacks.append((document.check_text(name, here.at(index)), found))

    def restore_callbacks(self, callbacks: Iterable[Any]) -> None:
        """Let callbacks remember what those of the same classes, in the same order, did."""
        for callback, (_, remembered) in zip(callbacks, self.callbacks, strict=True):
            if is_a(callback, History):
                if self.history is not None:
                    callback.__dict__.update(history=self.history.history, epoch=self.history.epoch)
            elif hasattr(callback, "set_state"):
                callback.set_state(remembered)


def _arrays(told: Told, prefix: str) -> Callable[[int, Place], Any]:
    """Return the function from a number to the array beside what a callback remembers."""

    def array(number: int, place: Place) -> Any:
        tensor = told.arrays.get(f"{prefix}/{number}")
        if tensor is None:
            raise place.wrong("must be the number of an array of this callback", number)
        return told.fetch(tensor)

    return array


def _pair(value: Any, place: Place) -> tuple[Any, Any]:
    if len(document.check_list(value, place)) != 2:
        raise place.wrong("must be a list of two", value)
    return value[0], value[1]
