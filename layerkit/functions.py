"""Plain functions: made from classes, as `losses.huber` from `losses.Huber`, and the users' own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from layerkit.configurable import parameters
from layerkit.errors import ArgumentError
from layerkit.names import nearest
from layerkit.xp.conversion import as_numbers
from layerkit.xp.registry import backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend

T = TypeVar("T")


def as_float(xp: Backend, values: Any) -> Array:
    """Return values as a float array of this backend; integers and booleans become float32."""
    array = as_numbers(xp, values, "An array")
    return array if array.dtype in (xp.float32, xp.float64) else xp.astype(array, xp.float32)


def takes_backend(function: Any) -> bool:
    """Tell whether a user's function wants the backend: its first parameter is then named `xp`."""
    return hasattr(function, "__code__") and parameters(function)[0][:1] == ("xp",)


def call_function(function: Callable[..., Any], xp: Backend, *arrays: Any, **options: Any) -> Any:
    """Call a user's function of arrays, with the backend in front if it wants it."""
    return function(xp, *arrays, **options) if takes_backend(function) else function(*arrays, **options)


def function_of(
    cls: Callable[..., T], name: str, arrays: tuple[str, ...], run: Callable[..., Array], /, **defaults: Any
) -> Callable[..., Any]:
    """Return the function ``name(*arrays, **defaults)``, which calls ``run(cls(**options), xp, *arrays)``.

    Its attribute `made_from` makes the object, with other options if it is given some, so that the function is accepted
    wherever the class is.
    """
    order = (*arrays, *defaults)

    def function(*args: Any, **kwargs: Any) -> Array:
        given = dict(zip(order, args, strict=False))
        given.update(kwargs)
        missing = [argument for argument in arrays if argument not in given]
        surplus = [argument for argument in given if argument not in order]
        if missing or surplus or len(args) > len(order):
            what = f"no {missing[0]}" if missing else surplus[0] if surplus else f"{len(args)} arguments"
            hint = nearest(surplus[0], order) if surplus else ""
            raise ArgumentError(f"{name}: the arguments are {', '.join(order)}. Received: {what}. {hint}".rstrip())
        operands = [given.pop(argument) for argument in arrays]
        xp = backend_of(*operands) or backend()
        with xp.on_device():
            return run(cls(**{**defaults, **given}), xp, *operands)

    function.__name__ = function.__qualname__ = name
    function.__module__ = run.__module__  # where it will be found by its name, when it is unpickled
    function.__doc__ = f"{cls.__doc__}\n\n    As a function of: {', '.join(order)}; defaults: {defaults or 'none'}."
    function.made_from = lambda **options: cls(**{**defaults, **options})  # type: ignore[attr-defined]
    return function
