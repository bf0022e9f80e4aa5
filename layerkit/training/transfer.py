"""Copies between devices that nobody asked for: told, or refused."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

from layerkit.errors import TransferError, TransferWarning
from layerkit.program import users_frame
from layerkit.xp.foreign import HOST, place_of, place_of_backend

if TYPE_CHECKING:
    from layerkit.xp import Backend

CHOICES = ("auto", "warn", "error")


class Transfers:
    """What a call is given that lies elsewhere than its model.

    What a call is documented to bring to the host does not count: the predictions of `predict`, the loss at an epoch's
    end. Neither does `to`, or whatever else a user asks for by name.

    Args:
        choice: "auto" copies without a word, "warn" says so once, "error" refuses.
        xp: the model's backend.
        caller: the method that was called.
    """

    def __init__(self, choice: str, xp: Backend, caller: str) -> None:
        self._choice = choice
        self._xp, self._caller = xp, caller
        self._here = HOST if choice == "auto" else place_of_backend(xp)
        self._found: list[str] = []

    def note(self, value: Any, array: Any, name: str) -> None:
        """Look where an argument lies: `value` as it was given, `array` as it was read."""
        if self._choice == "auto":
            return
        place = place_of(value)
        if place != self._here:
            size = math.prod(array.shape) * int(getattr(array.dtype, "itemsize", 4))
            self._found.append(f"{name}, {_bytes(size)} on {place}")

    def tell(self, *, kept: bool = False) -> None:
        """Warn or refuse, if anything lies elsewhere.

        Args:
            kept: whether `fit` copies it once, and not in each epoch.

        Raises:
            TransferError: it does, and the choice is "error".
        """
        found, self._found = self._found, []
        if not found:
            return
        often = self._here != HOST and self._caller == "fit" and not kept
        each = "each epoch copies it there" if often else "it is copied there"
        room = self._xp.room_for_data() if often else 0
        if room > 0:
            each += f", as fit keeps no more than {_bytes(room)} of data on the device"
        message = (
            f"{self._caller}: the data must be where the model is, on {self._here}, unless it may be copied. Received: "
            f"{'; '.join(found)}; {each}. Bring it there once, with model.xp.asarray, or move the model with model.to; "
            f"compile(transfer='auto') copies without a word."
        )
        if self._choice == "error":
            raise TransferError(message)
        self._choice = "auto"  # once a call
        warnings.warn(message, TransferWarning, stacklevel=users_frame()[1] + 1)


def _bytes(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} bytes"
