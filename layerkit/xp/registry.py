"""Finding a backend by name: ``"numpy"``, ``"cupy:1"``, or any that a package registers.

A package offers a backend by an entry point of the group ``layerkit.backends``::

    [project.entry-points."layerkit.backends"]
    foo = "layerkit_foo:FooBackend"
"""

from __future__ import annotations

import contextlib
import os
from contextvars import ContextVar
from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.errors import BackendUnavailableError, MixedBackendsError, UnknownNameError
from layerkit.names import nearest
from layerkit.xp.backend import Backend

if TYPE_CHECKING:
    from collections.abc import Generator

BUILT_IN = {
    "numpy": "layerkit_numpy:NumpyBackend",
    "cupy": "layerkit_cupy:CupyBackend",
    "strict": "layerkit.testing:StrictBackend",
    "torch": "layerkit_torch:TorchBackend",
}
ENTRY_POINTS = "layerkit.backends"

_opened: dict[str, Backend] = {}
_current: ContextVar[Backend | None] = ContextVar("layerkit_backend", default=None)


def _registered() -> dict[str, str]:
    from importlib.metadata import entry_points

    return {point.name: point.value for point in entry_points(group=ENTRY_POINTS)}


def backend_names() -> list[str]:
    """The names of all backends that are built in or registered, whether or not they can be opened here."""
    return sorted({*BUILT_IN, *_registered()})


def backend(name: str | Backend | None = None) -> Backend:
    """Return a backend.

    Args:
        name: ``"numpy"``, ``"cupy"``, ``"cupy:1"``, …; a backend is returned as it is; None is the current one, which
            is that of the innermost `use_backend`, or else the environment variable ``LAYERKIT_BACKEND``, or else
            NumPy.

    Raises:
        UnknownNameError: no backend of this name is registered.
        BackendUnavailableError: its library, driver or device is missing.
    """
    if isinstance(name, Backend):
        return name
    if name is None:
        return _current.get() or backend(os.environ.get("LAYERKIT_BACKEND", "").strip() or "numpy")
    if name in _opened:
        return _opened[name]
    kind, _, device = str(name).partition(":")
    target = BUILT_IN.get(kind) or _registered().get(kind)
    if target is None:
        raise UnknownNameError(
            f"backend: the name must be that of an installed backend. Received: {name!r}. "
            f"{nearest(kind, backend_names())}"
        )
    module_name, _, class_name = target.partition(":")
    try:
        cls: type[Backend] = getattr(import_module(module_name), class_name)
    except ImportError as error:
        if isinstance(error, BackendUnavailableError):
            raise
        raise BackendUnavailableError(
            f"backend {kind!r}: its package must be importable. Received: {error}. "
            f"Install what {module_name!r} needs, or use backend='numpy'."
        ) from error
    opened = cls.open(device)
    # "cupy" and "cupy:0" are one device, and so one backend.
    return _opened.setdefault(name, _opened.setdefault(str(opened), opened))


@contextlib.contextmanager
def use_backend(name: str | Backend) -> Generator[Backend]:
    """Make a backend the current one within a ``with`` block, in this thread or task only."""
    chosen = backend(name)
    token = _current.set(chosen)
    try:
        with chosen.on_device():
            yield chosen
    finally:
        _current.reset(token)


def backend_of(*arrays: Any) -> Backend | None:
    """Return the backend that owns these arrays; None if they are lists, numbers or None.

    Raises:
        MixedBackendsError: they belong to two.
    """
    found: Backend | None = None
    for array in arrays:
        if array is None or isinstance(array, (list, tuple, int, float)):
            continue
        owner = _owner(array)
        if owner is not None and found is not None and owner is not found:
            raise MixedBackendsError(
                f"One computation takes arrays of one backend. Received: arrays of {found} and {owner}. "
                f"Move one with xp.asarray(xp_of_the_other.to_numpy(array))."
            )
        found = owner or found
    return found


def _owner(array: Any) -> Backend | None:
    recorder = getattr(array, "recorder", None)
    if isinstance(recorder, Backend):
        return recorder
    for opened in _opened.values():
        if opened.owns(array):
            return opened
    root = type(array).__module__.partition(".")[0]
    if root == "numpy":
        return backend("numpy")
    if root == "cupy":
        return backend(f"cupy:{array.device.id}")
    return None
