"""Ctrl-C and SIGTERM during training."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

_HANDLERS: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""The signals that end a program, and what is done about them where nobody has said otherwise."""


class DeferredInterrupt:
    """Within its ``with`` blocks, the first Ctrl-C or SIGTERM waits until `check` is called; a second is immediate.

    So a step is finished before training ends, and weights, slots and totals are those of one moment. Both then end in
    KeyboardInterrupt, so that the program can put things in order; a second SIGTERM ends the process as if nobody had
    asked. Only Python's own handlers are replaced, and only in the main thread: a program's own keep their say.
    """

    def __init__(self) -> None:
        self.pressed = False
        """Whether one of them has come."""
        self._by: signal.Signals = signal.SIGINT
        self._replaced: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self.pressed = False
        if threading.current_thread() is threading.main_thread():
            for number, usual in _HANDLERS.items():
                if signal.getsignal(number) is usual:
                    self._replaced[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._put_back()
        if kind is None:
            self.check()

    def _put_back(self) -> None:
        while self._replaced:
            number, handler = self._replaced.popitem()
            signal.signal(number, handler)

    def _handle(self, number: int, frame: Any) -> None:
        if self.pressed:
            self._put_back()
            signal.raise_signal(number)  # what it does where nobody waits: KeyboardInterrupt, or the process's end
            return
        self.pressed, self._by = True, signal.Signals(number)

    def check(self) -> None:
        """Raise KeyboardInterrupt if one of them has come.

        Raises:
            KeyboardInterrupt: after SIGTERM it says so.
        """
        if self.pressed:
            raise KeyboardInterrupt(*(["SIGTERM"] if self._by is signal.SIGTERM else []))
