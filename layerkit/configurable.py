"""Objects that remember how they were made."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.changes import note_change
from layerkit.descriptions import known_arguments, revived, room_of
from layerkit.errors import ArgumentError
from layerkit.names import nearest

if TYPE_CHECKING:
    from typing import Self


_SCALARS = frozenset((bool, int, float, str, type(None)))
_ABSENT = object()
_VAR_KEYWORD = 8  # a flag of code objects, by the name it has in the module `inspect`, which is slow to load


def parameters(function: Any) -> tuple[tuple[str, ...], bool]:
    """Return the names of a function's parameters, and whether it takes further keywords."""
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return names, bool(code.co_flags & _VAR_KEYWORD)


@functools.cache
def argument_names(cls: type) -> frozenset[str] | None:
    """Return what the constructor of `cls` takes: its own, and with ``**kwargs`` those of its base, and so on.

    None if the last of these takes any keyword.
    """
    names: set[str] = set()
    takes_more = False
    for base in cls.__mro__:
        init = base.__dict__.get("__init__")
        if init is None or base is object:
            continue
        own, takes_more = parameters(init)
        names.update(own[1:])
        if base.__dict__.get("_keeps_keywords", False):
            return None
        if not takes_more:
            break
    return None if takes_more else frozenset(names)


def _fresh(value: Any, made: dict[int, Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_fresh(item, made) for item in value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType, reportCallIssue]
    if isinstance(value, dict) and "class_name" in value and room_of(value) is not None:  # pyright: ignore[reportUnknownArgumentType]
        return revived(value, None)
    if not isinstance(value, Configurable):
        return value  # pyright: ignore[reportUnknownVariableType]
    if id(value) not in made:
        made[id(value)] = type(value).from_config(value.get_config())
    return made[id(value)]


class Configurable:
    """Base of whatever is made from plain arguments: layers, losses, metrics, optimizers, initializers, callbacks.

    The arguments are kept as they came, so that ``type(o).from_config(o.get_config())`` makes an equal, fresh object,
    and no class needs a ``get_config`` of its own.

    A step may depend on what stands in the attributes of such an object: setting one makes `layerkit.changes.changes`
    grow, unless it is set to what it was.
    """

    _bookkeeping: ClassVar[frozenset[str]] = frozenset({"_arguments"})
    """Attributes that no step depends on. A subclass names its own; those of its bases are added."""

    _keeps_keywords: ClassVar[bool] = False
    """Whether the constructor of this very class keeps its ``**kwargs``, any, rather than hand them on to its base."""

    _part_of_steps: ClassVar[bool] = True
    """Whether a step may depend on the attributes of such objects at all."""

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        # object.__setattr__: a subclass may watch its attributes, and is not ready to yet.
        object.__setattr__(self, "_arguments", (args, kwargs))
        known = argument_names(cls)
        if known is not None and not known.issuperset(kwargs):
            name = min(kwargs.keys() - known)
            raise ArgumentError(
                f"{cls.__name__}: an argument must be one of the constructor's. "
                f"Received: {name}={kwargs[name]!r}. {nearest(name, known)}"
            )
        return self

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls._bookkeeping = frozenset().union(*(base.__dict__.get("_bookkeeping", ()) for base in cls.__mro__))

    def __setattr__(self, attribute: str, value: Any) -> None:
        if attribute not in self._bookkeeping and self._part_of_steps:
            old = self.__dict__.get(attribute, _ABSENT)
            if old is not value and not (type(old) in _SCALARS and type(old) is type(value) and old == value):
                note_change()
        object.__setattr__(self, attribute, value)

    def __delattr__(self, attribute: str) -> None:
        object.__delattr__(self, attribute)
        note_change()

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._arguments

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, defaults included, and those that it hands on to its bases."""
        import inspect  # slow to load

        args, kwargs = self._arguments
        rest = inspect.Parameter.VAR_KEYWORD
        config: dict[str, Any] = {}
        for base in type(self).__mro__:
            if "__init__" not in base.__dict__ or base is object:
                continue
            signature = inspect.signature(base.__init__)
            bound = signature.bind_partial(self, *args, **kwargs)
            bound.apply_defaults()
            kinds = {name: parameter.kind for name, parameter in signature.parameters.items()}
            own = {name: value for name, value in list(bound.arguments.items())[1:] if kinds[name] is not rest}
            config.update((name, value) for name, value in own.items() if name not in config)
            if rest not in kinds.values():
                break
            args, kwargs = (), next(value for name, value in bound.arguments.items() if kinds[name] is rest)
            if base.__dict__.get("_keeps_keywords", False):
                config.update((name, value) for name, value in kwargs.items() if name not in config)
                break
        if config.get("name", "") is None:
            config["name"] = getattr(self, "name", None)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make an object from what `get_config` returned, with fresh objects inside; one met twice stays one.

        What Keras's `get_config` returned is taken too: see `layerkit.descriptions`.
        """
        made: dict[int, Any] = {}
        config = known_arguments(config, argument_names(cls))
        return cls(**{name: _fresh(value, made) for name, value in config.items()})

    def __repr__(self) -> str:
        args, kwargs = self._arguments
        text = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        return f"{type(self).__name__}({', '.join(text)})"
