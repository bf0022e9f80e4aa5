"""Tables of names: ``"adam"`` → `Adam`, with the nearest known name where there is none."""

from __future__ import annotations

import re
import sys
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from layerkit import descriptions
from layerkit.errors import ArgumentError, UnknownNameError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

T = TypeVar("T")


def snake_case(name: str) -> str:
    """``MeanSquaredError`` → ``mean_squared_error``; ``ReLU`` → ``re_lu`` as Keras spells it."""
    name = re.sub(r"(.)([A-Z][a-z0-9]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def name_of_function(function: Any) -> str:
    """Return what a function is called in History, as in Keras: its name in snake case, "lambda" if it has none.

    Another callable is called as its class.
    """
    return snake_case(re.sub(r"\W+", "", getattr(function, "__name__", None) or type(function).__name__))


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the clause of an error message that names the nearest known name, or all of them.

    It may be misspelt, or shortened: "lr" of learning_rate, "kernel" of kernel_initializer.
    """
    import difflib  # only errors need it

    known, name = sorted(known), name.lower()
    folded = {candidate.lower(): candidate for candidate in known}
    initials = {candidate: "".join(word[:1] for word in snake_case(candidate).split("_")) for candidate in known}
    close = [candidate for candidate in known if len(name) > 1 and name == initials[candidate]]
    close = close[:1] or [folded[found] for found in difflib.get_close_matches(name, folded, n=1)]
    if not close and len(name) > 2:
        close = [candidate for candidate in known if candidate.lower().startswith(name)]
    return f"Did you mean {' or '.join(map(repr, close))}?" if close else f"Known names: {', '.join(known)}."


def call_it(value: Any) -> str:
    """Return the remedy of an error message where a class was given in place of an object."""
    return f" Make an object of it: {value.__name__}(…)." if isinstance(value, type) else ""


def loaded_later(
    package: str, modules: Mapping[str, Iterable[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package whose modules are loaded when one of their names is asked for.

    Args:
        package: its ``__name__``; its ``__all__`` lists every name.
        modules: for each module that is loaded later, what it offers: names in it, or itself.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def load(name: str) -> Any:
        if name not in module_of:
            from layerkit.absent import missing  # only errors need it

            raise AttributeError(missing(package, name), name=name, obj=sys.modules[package])
        module = import_module(f"{package}.{module_of[name]}")
        value = module if name == module_of[name] else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        found = vars(sys.modules[package])
        return sorted({*found, *found["__all__"]})

    return load, names


class Names(Generic[T]):
    """A table from names to classes, looked up as Keras does: by class name, snake case, or a short name.

    Args:
        base: the class of all that the table holds.
        classes: the classes; each is known by its own name and its snake case.
        short: further names, each for a class, or for the name of one of `later`.
        accepted: what `get` takes, for its error message.
        kind: what the table holds, for error messages; by default the name of `base`.
        from_function: makes an object from a plain function, where there is a way.
        later: names of further classes.
        nameless: names of further classes, which only dictionaries name, with the arguments that they need.
        load: returns such a class by its name.
        arguments: by name, what its class is given that has another default.
        room: the package whose classes these are, as dictionaries name it: see `layerkit.descriptions`.
    """

    def __init__(
        self,
        base: type[T],
        classes: Iterable[type[T]],
        short: Mapping[str, type[T] | str] | None = None,
        *,
        accepted: str,
        kind: str | None = None,
        from_function: Callable[[Any], T] | None = None,
        later: Iterable[str] = (),
        nameless: Iterable[str] = (),
        load: Callable[[str], type[T]] | None = None,
        arguments: Mapping[str, Mapping[str, Any]] | None = None,
        room: str | None = None,
    ) -> None:
        if room is not None:
            descriptions.rooms[room] = self.deserialize
        self.base = base
        self.kind = kind or base.__name__.lower()
        self.accepted = accepted
        self.from_function = from_function
        self.classes = tuple(classes)
        self._short = dict(short or {})
        self._names_later = tuple(later)
        self._load = load
        self._arguments = arguments or {}
        self._nameless = frozenset(nameless)

    # Tables are made when the first name is looked up: a program has many, and may use none.

    @cached_property
    def _table(self) -> dict[str, type[T]]:
        table = {key: cls for cls in self.classes for key in (cls.__name__, snake_case(cls.__name__))}
        return {**table, **{key: found for key, found in self._short.items() if not isinstance(found, str)}}

    @cached_property
    def _later(self) -> dict[str, str]:
        later = {key: name for name in self._names_later for key in (name, snake_case(name))}
        return {**later, **{key: found for key, found in self._short.items() if isinstance(found, str)}}

    def find(self, name: str) -> type[T]:
        """Return the class of this name.

        Raises:
            UnknownNameError: the table does not hold it.
        """
        if self._load is not None and name in self._later:
            return self._load(self._later[name])
        try:
            return self._table[name]
        except KeyError:
            raise UnknownNameError(
                f"{self.kind}: the name must be a known one. Received: {name!r}. {nearest(name, self)}"
            ) from None

    def made(self, name: str, /, **arguments: Any) -> T:
        """Return an object of the class of this name, with these arguments.

        Raises:
            UnknownNameError: the table does not hold the name.
            ArgumentError: the class takes arguments that a name alone does not give.
        """
        cls = self.find(name)
        init: Any = cls.__init__
        code = getattr(init, "__code__", None)
        required = () if code is None else code.co_varnames[1 : code.co_argcount - len(init.__defaults__ or ())]
        if required:
            given = ", ".join(f"{argument}=…" for argument in required)
            raise ArgumentError(
                f"{self.kind}: {cls.__name__} cannot be made without {' and '.join(required)}. Received: the name "
                f"{name!r} alone. Make an object of it: {cls.__name__}({given})."
            )
        return cls(**{**self._arguments.get(name, {}), **arguments})

    def get(self, identifier: Any) -> T:
        """Return an object: by name, from a class, a dictionary, a function that was made from one, or itself.

        Raises:
            UnknownNameError: the table does not hold the name.
            ArgumentError: it is none of these, or the name of a class that takes arguments.
        """
        if isinstance(identifier, self.base):
            return identifier
        if isinstance(identifier, str):
            return self.made(identifier)
        if isinstance(identifier, dict) and "class_name" in identifier:
            return self.deserialize(identifier)
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

    def deserialize(self, config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return the object that a dictionary describes, as `serialize` makes it, or one by its name; None for None.

        Args:
            config: ``{"class_name": "SGD", "config": {"learning_rate": 0.1}}``, or a name.
            custom_objects: your own classes and functions, by name.

        Raises:
            UnknownNameError: neither the table nor `custom_objects` holds the name.
            ArgumentError: it is no such dictionary, or the class does not take what it says.
        """
        if config is None:
            return None
        described = isinstance(config, dict)
        name: Any = config.get("class_name") if described else config  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        if not isinstance(name, str):
            raise ArgumentError(
                f"{self.kind}: a description must be a name, or a dictionary with class_name and config. "
                f"Received: {config!r}"
            )
        own = None if custom_objects is None else custom_objects.get(name)
        elsewhere = descriptions.room_of(config) if described and own is None and name not in self else None  # pyright: ignore[reportUnknownArgumentType]
        if elsewhere not in (None, self.deserialize):
            found = elsewhere(config, custom_objects)
            if isinstance(found, self.base):  # a model among layers
                return found
        if not described:
            return self.get(name if own is None else own)
        if own is not None:
            cls = own
        elif getattr(self.from_function, "__name__", None) == name:
            cls = self.from_function
        else:
            cls = self._load(name) if self._load is not None and name in self._nameless else self.find(name)
        return descriptions.made(cls, config, custom_objects)  # pyright: ignore[reportUnknownArgumentType]

    def __iter__(self) -> Iterator[str]:
        yield from self._table
        yield from self._later

    def __contains__(self, name: object) -> bool:
        return name in self._table or name in self._later
