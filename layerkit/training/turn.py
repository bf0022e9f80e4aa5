"""Who trains a model: one thread at a time, while any number of them predict."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from layerkit.errors import NotReadyError
from layerkit.training.capture import recording

if TYPE_CHECKING:
    from collections.abc import Generator

Holder = tuple[int, int, str, str]
"""The process, the thread, its name, and what it does."""


class Turn:
    """The turn to train a model. The thread that has it may take it again: a callback may call `evaluate`."""

    def __init__(self) -> None:
        self._holder: Holder | None = None

    def elsewhere(self) -> Holder | None:
        """Return who has it, if that is another thread of this process."""
        holder = self._holder  # one that was there when this process was forked is not here
        return (
            holder if holder is not None and holder[0] == os.getpid() and holder[1] != threading.get_ident() else None
        )

    def require(self, caller: str, model: str) -> None:
        """Refuse, if another thread has it.

        Raises:
            NotReadyError: it has.
        """
        holder = self.elsewhere()
        if holder is not None:
            raise NotReadyError(
                f"{caller}: a model must be trained by one thread at a time. Received: a call while {holder[3]} of "
                f"{model!r} runs in thread {holder[2]!r}. Wait for it, or train a copy: copy.deepcopy(model)."
            )

    @contextlib.contextmanager
    def taken(self, caller: str, model: str) -> Generator[None]:
        """Have it within a ``with`` block.

        Raises:
            NotReadyError: another thread has it.
        """
        with recording():  # whoever records a prediction now puts state back in the end
            self.require(caller, model)
            outer, self._holder = (
                self._holder,
                (os.getpid(), threading.get_ident(), threading.current_thread().name, caller),
            )
        try:
            yield
        finally:
            self._holder = outer
