"""Where trouble comes from: what is said beside an error, and where a number stopped being finite."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from layerkit.layers import Layer

    Pass = Callable[..., tuple[Any, Any]]


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
