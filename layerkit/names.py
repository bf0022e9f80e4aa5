"""Tables of names: ``"adam"`` → `Adam`, with the nearest known name where there is none."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Generic, TypeVar

from layerkit.errors import UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

T = TypeVar("T")


def snake_case(name: str) -> str:
    """``MeanSquaredError`` → ``mean_squared_error``; ``ReLU`` → ``re_lu`` as Keras spells it."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the clause of an error message that names the nearest known name, or all of them."""
    known = sorted(known)
    folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"Did you mean {folded[close[0]]!r}?" if close else f"Known names: {', '.join(known)}."


class Names(Generic[T]):
    """A table from names to classes, looked up as Keras does: by class name, snake case, or a short name.

    Args:
        kind: what the table holds, for error messages: ``"optimizer"``.
        classes: the classes; each is known by its own name and its snake case.
        short: further names.
    """

    def __init__(self, kind: str, classes: Iterable[type[T]], short: Mapping[str, type[T]] | None = None) -> None:
        self.kind = kind
        self.classes = tuple(classes)
        self._table: dict[str, type[T]] = {}
        for cls in self.classes:
            self._table[cls.__name__] = cls
            self._table[snake_case(cls.__name__)] = cls
        self._table.update(short or {})

    def find(self, name: str) -> type[T]:
        """Return the class of this name.

        Raises:
            UnknownNameError: the table does not hold it.
        """
        try:
            return self._table[name]
        except KeyError:
            raise UnknownNameError(
                f"{self.kind}: the name must be a known one. Received: {name!r}. {nearest(name, self._table)}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __contains__(self, name: object) -> bool:
        return name in self._table
