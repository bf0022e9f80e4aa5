"""Where progress is shown: a terminal or a notebook, in which a line can move, or a file, in which none can."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from layerkit.overriding import override

if TYPE_CHECKING:
    from typing import TextIO


class Screen:
    """A file, a pipe, or nothing: every line is plain.

    Args:
        stream: where to write; None where there is nothing, as in a program without a console.
    """

    moves = False
    """Whether a line can be written over."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    @property
    def is_read(self) -> bool:
        """Whether there is a stream, and writing to it has not failed."""
        return self._stream is not None

    @property
    def columns(self) -> int:
        """The width of a line."""
        return 80

    def can_show(self, text: str) -> bool:
        """Tell whether the stream's encoding has these characters."""
        try:
            text.encode(getattr(self._stream, "encoding", None) or "utf-8")
        except UnicodeEncodeError:
            return False
        return True

    def move(self, line: str) -> None:
        """Show a line in place of the one that was shown by `move` before."""
        self.leave(line)

    def leave(self, line: str) -> None:
        """Show a line that stays, in place of the moving one."""
        self._write(line + "\n")

    def make_room(self) -> None:
        """Take the moving line away, so that others can print."""

    def close(self) -> None:
        """Show nothing more; a moving line stays where it is."""

    def _write(self, text: str) -> None:
        stream = self._stream
        if stream is None:
            return
        if not self.can_show(text):
            text = text.encode(stream.encoding, "replace").decode(stream.encoding)
        try:
            stream.write(text)
            stream.flush()
        except (OSError, ValueError) as error:  # a closed pipe or file, a full disk: no reason to lose the training
            self._stream = None
            if isinstance(error, BrokenPipeError) and stream is sys.__stdout__:
                # What is still buffered would fail again at the next print, and when the interpreter ends. This remedy
                # is that of Python's documentation, module `signal`, "Note on SIGPIPE".
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)


class Terminal(Screen):
    """A terminal: the moving line is the last one, and is written over from its beginning."""

    moves = True

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._moving = ""

    @property
    @override
    def columns(self) -> int:
        # In the last column, some terminals go on to the next line.
        return (_terminal_columns(self._stream) or 80) - 1

    @override
    def move(self, line: str) -> None:
        self._write("\r" + line.ljust(len(self._moving)))
        self._moving = line

    @override
    def leave(self, line: str) -> None:
        self._write(f"{self._blank()}{line}\n")

    @override
    def make_room(self) -> None:
        if self._moving:
            self._write(self._blank())

    @override
    def close(self) -> None:
        if self._moving:
            self._write("\n")

    def _blank(self) -> str:
        blank = "\r" + " " * len(self._moving) + "\r" if self._moving else ""
        self._moving = ""
        return blank


class Notebook(Screen):
    """A cell of a notebook: the moving line is an output of its own, which is replaced and at last taken away.

    Carriage returns would do while one looks on, but a saved notebook would hold every line that ever moved.
    """

    moves = True

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._output: Any = None

    @override
    def move(self, line: str) -> None:
        from IPython.display import display  # pyright: ignore

        data = {"text/plain": line}
        if self._output is None:
            self._output = display(data, raw=True, display_id=True)
        else:
            self._output.update(data, raw=True)

    @override
    def close(self) -> None:
        if self._output is not None:
            self._output.update({}, raw=True)


def say(line: str) -> None:
    """Print a line from within a training, which no closed pipe or full disk may end."""
    Screen(sys.stdout).leave(line)


def screen_of(stream: TextIO | None) -> Screen:
    """Return what shows this stream."""
    if stream is not None and type(stream).__module__.startswith("ipykernel."):
        return Notebook(stream)
    if stream is not None and _terminal_columns(stream) is not None and os.environ.get("TERM") != "dumb":
        return Terminal(stream)
    return Screen(stream)


def _terminal_columns(stream: TextIO | None) -> int | None:
    """Return the width of a terminal, 0 where it does not tell; None where the stream is no terminal."""
    try:
        return None if stream is None else os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return None
