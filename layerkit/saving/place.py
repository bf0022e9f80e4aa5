"""Where in a file something stands, for the messages that refuse it."""

from __future__ import annotations

from typing import Any, NamedTuple

from layerkit.checks import shown
from layerkit.errors import ModelFormatError


class Place(NamedTuple):
    """A file, a member of it, and a path within that member: ``model.layerkit: architecture.json: $.layers[2]``."""

    file: str
    member: str = ""
    path: str = ""

    def within(self, member: str) -> Place:
        """Return the place that is a whole member."""
        return Place(self.file, member)

    def at(self, key: str | int) -> Place:
        """Return the place of an item, by its key or index."""
        key = f"[{key}]" if isinstance(key, int) else f".{key}" if key.isidentifier() else f"[{shown(key)}]"
        return Place(self.file, self.member, f"{self.path or '$'}{key}")

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)

    def wrong(self, rule: str, received: Any, remedy: str = "", *, limit: int = 300) -> ModelFormatError:
        """Return the error that says what must be here, what came, and what can be done about it.

        Args:
            rule: how the sentence goes on that begins with the place: "must be a list".
            received: what came: text is quoted as it is, anything else shown on a line.
            remedy: a sentence.
            limit: how much of what came is shown.
        """
        came = received if isinstance(received, str) else shown(received)
        came = came if len(came) <= limit else f"{came[:limit]}…"
        rule = f"{self} {rule}" if self.path else f"{self}: {rule}"
        return ModelFormatError(f"{rule}. Received: {came}" + (f". {remedy}" if remedy else ""))
