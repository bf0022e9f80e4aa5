"""Objects that remember how they were made."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError
from layerkit.names import nearest

if TYPE_CHECKING:
    from typing import Self


@functools.cache
def _signature(cls: type) -> inspect.Signature:
    parameters = list(inspect.signature(cls.__init__).parameters.values())
    return inspect.Signature(parameters[1:])


@functools.cache
def argument_names(cls: type) -> frozenset[str]:
    """The names that the constructor of `cls` takes: its own, and with ``**kwargs`` those of its base, and so on."""
    names: set[str] = set()
    for base in cls.__mro__:
        if "__init__" not in base.__dict__ or base is object:
            continue
        parameters = _signature(base).parameters.values()
        names.update(p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return frozenset(names)


class Configurable:
    """Base of whatever is made from plain arguments: layers, losses, metrics, optimizers, initializers, callbacks.

    The arguments are kept as they came, so that ``type(o).from_config(o.get_config())`` makes an equal, fresh object,
    and no class needs a ``get_config`` of its own.
    """

    _arguments: tuple[tuple[Any, ...], dict[str, Any]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        # object.__setattr__: a subclass may watch its attributes, and is not ready to yet.
        object.__setattr__(self, "_arguments", (args, kwargs))
        surplus = kwargs.keys() - argument_names(cls)
        if surplus:
            name = min(surplus)
            raise ArgumentError(
                f"{cls.__name__}: an argument must be one of the constructor's. "
                f"Received: {name}={kwargs[name]!r}. {nearest(name, argument_names(cls))}"
            )
        return self

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return self._arguments

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments by name, defaults included."""
        args, kwargs = self._arguments
        signature = _signature(type(self))
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        config: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
                config.update(value)
            else:
                config[name] = value
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make an object from what `get_config` returned."""
        return cls(**config)

    def __repr__(self) -> str:
        args, kwargs = self._arguments
        text = [repr(value) for value in args] + [f"{name}={value!r}" for name, value in kwargs.items()]
        return f"{type(self).__name__}({', '.join(text)})"
