"""Where trouble comes from: what is said beside an error, and where a number stopped being finite."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from layerkit.layers import Layer

    Pass = Callable[..., tuple[Any, Any]]


def say_where(error: Exception, owner: Any, doing: str, **operands: Any) -> None:
    """Add to an error where it happened: what was done, by whom, with operands of which shapes.

    A note leaves the error's type, message and traceback as they are, with the user's own line in it. An error that
    begins with the owner's name has said so itself.

    Args:
        error: on its way up.
        owner: the layer, loss or metric, which has a name.
        doing: what was done: "the forward pass of".
        operands: arrays, or shapes, by name.
    """
    if str(error).startswith(f"{owner.name}:"):
        return
    came = " and ".join(f"{name} of {_described(operand)}" for name, operand in operands.items())
    note = f"This happened in {doing} {owner.name} ({type(owner).__name__}), for {came}."
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _described(operand: Any) -> str:
    shape = getattr(operand, "shape", None)
    return f"shape {operand}" if shape is None else f"shape {tuple(shape)} and dtype {operand.dtype}"


@contextlib.contextmanager
def intercepted(layers: Iterable[Layer], method: str, around: Callable[[Layer, Pass], Pass]) -> Generator[None]:
    """Put a function around a method of each of these layers, however they call each other."""
    chosen = list(dict.fromkeys(layers))
    for layer in chosen:
        layer.__dict__[method] = around(layer, getattr(layer, method))
    try:
        yield
    finally:
        for layer in chosen:
            del layer.__dict__[method]
