"""Tables of names: ``"adam"`` → `Adam`, with the nearest known name where there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from layerkit.errors import ArgumentError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")


def snake_case(name: str) -> str:
    """``MeanSquaredError`` → ``mean_squared_error``; ``ReLU`` → ``re_lu`` as Keras spells it."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the clause of an error message that names the nearest known name, or all of them."""
    import difflib  # only errors need it

    known = sorted(known)
    folded = {candidate.lower(): candidate for candidate in known}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"Did you mean {folded[close[0]]!r}?" if close else f"Known names: {', '.join(known)}."


def call_it(value: Any) -> str:
    """Return the remedy of an error message where a class was given in place of an object."""
    return f" Make an object of it: {value.__name__}(…)." if isinstance(value, type) else ""


class Names(Generic[T]):
    """A table from names to classes, looked up as Keras does: by class name, snake case, or a short name.

    Args:
        base: the class of all that the table holds.
        classes: the classes; each is known by its own name and its snake case.
        short: further names.
        accepted: what `get` takes, for its error message.
        kind: what the table holds, for error messages; by default the name of `base`.
        from_function: makes an object from a plain function, where there is a way.
        later: names of further classes, each with a function that loads the class of this name.
    """

    def __init__(
        self,
        base: type[T],
        classes: Iterable[type[T]],
        short: Mapping[str, type[T]] | None = None,
        *,
        accepted: str,
        kind: str | None = None,
        from_function: Callable[[Any], T] | None = None,
        later: Mapping[str, Callable[[str], type[T]]] | None = None,
    ) -> None:
        self.base = base
        self.kind = kind or base.__name__.lower()
        self.accepted = accepted
        self.from_function = from_function
        self.classes = tuple(classes)
        self._table: dict[str, type[T]] = {}
        for cls in self.classes:
            self._table[cls.__name__] = cls
            self._table[snake_case(cls.__name__)] = cls
        self._table.update(short or {})
        self._later = {
            key: (load, name) for name, load in (later or {}).items() for key in (name, snake_case(name), name.lower())
        }

    def find(self, name: str) -> type[T]:
        """Return the class of this name.

        Raises:
            UnknownNameError: the table does not hold it.
        """
        if name in self._later:
            load, own = self._later[name]
            return load(own)
        try:
            return self._table[name]
        except KeyError:
            raise UnknownNameError(
                f"{self.kind}: the name must be a known one. Received: {name!r}. {nearest(name, self)}"
            ) from None

    def get(self, identifier: Any) -> T:
        """Return an object: by name, from a class, from a function that was made from one, or itself.

        Raises:
            UnknownNameError: the table does not hold the name.
            ArgumentError: it is none of these.
        """
        if isinstance(identifier, self.base):
            return identifier
        if isinstance(identifier, str):
            return self.find(identifier)()
        if isinstance(identifier, type) and issubclass(identifier, self.base):
            return identifier()
        made_from: Callable[[], Any] | None = getattr(identifier, "made_from", None)  # pyright: ignore[reportUnknownArgumentType]
        made = None if made_from is None else made_from()
        if isinstance(made, self.base):
            return made
        # A class, or an object of layerkit of another kind, can be called too, and is no plain function.
        if self.from_function is not None and callable(identifier) and not hasattr(identifier, "get_config"):  # pyright: ignore[reportUnknownArgumentType]
            return self.from_function(identifier)
        raise ArgumentError(f"{self.kind}: it must be {self.accepted}. Received: {identifier!r}")

    def __iter__(self) -> Iterator[str]:
        yield from self._table
        yield from self._later

    def __contains__(self, name: object) -> bool:
        return name in self._table or name in self._later
