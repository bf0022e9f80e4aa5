"""Ctrl-C during training."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class DeferredInterrupt:
    """Within its ``with`` blocks, the first Ctrl-C waits until `check` is called; a second one is immediate.

    So a step is finished before training ends, and weights, slots and totals are those of one moment. Only Python's
    own handler is replaced, and only in the main thread: a program's own handler keeps its say.
    """

    def __init__(self) -> None:
        self._pressed = False
        self._replaced: Any = None

    def __enter__(self) -> Self:
        self._pressed = False
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            self._replaced = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._replaced is not None:
            signal.signal(signal.SIGINT, self._replaced)
            self._replaced = None
        if kind is None:
            self.check()

    def _handle(self, number: int, frame: Any) -> None:
        if self._pressed:
            raise KeyboardInterrupt
        self._pressed = True

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._pressed:
            raise KeyboardInterrupt
