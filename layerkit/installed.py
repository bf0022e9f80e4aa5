"""What is installed here, as text: versions, the machine, backends and their devices, BLAS.

Whatever is absent is said to be; nothing that is absent or broken is an error.
"""

from __future__ import annotations

import os
import platform
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import LayerkitError
from layerkit.xp.registry import backend, backend_names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_GIB = 2**30
_LIMITS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS", "OMP_NUM_THREADS")


def installed() -> str:
    """Return what is installed, a fact a line."""
    lines = [f"{name:<12}{_told(tell)}" for name, tell in _FACTS.items()]
    return "\n".join([*lines, "", "backends", *_backends()]) + "\n"


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except Exception as error:  # noqa: BLE001 - a machine or an installation may lack anything
        return f"not known ({_in_a_line(error)})"


def _in_a_line(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return first if isinstance(error, LayerkitError) else f"{type(error).__name__}: {first}".rstrip(": ")


def _layerkit() -> str:
    return str(sys.modules["layerkit"].__version__)


def _python() -> str:
    return f"{platform.python_version()} ({platform.python_implementation()}), {platform.platform(terse=True)}"


def _processors() -> str:
    affinity = getattr(os, "sched_getaffinity", None)
    usable, present = len(affinity(0)) if affinity else None, os.cpu_count()
    limited = f", {usable} of which this process may use" if usable not in (None, present) else ""
    return f"{present or 'an unknown number'}, {platform.machine()}{limited}"


def _memory() -> str:
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = (page * os.sysconf(name) / _GIB for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES"))
    return f"{total:.1f} GiB, {free:.1f} GiB free"


def _blas() -> str:
    configuration: Any = np.show_config(mode="dicts")
    built = configuration["Build Dependencies"]["blas"]
    return f"{built['name']} {built['version']}, {_threads()}"


def _threads() -> str:
    """Return how many threads BLAS takes, as it says, or as it is told to."""
    try:
        pools: Any = import_module("threadpoolctl").threadpool_info()
        counts = [pool["num_threads"] for pool in pools if pool["user_api"] == "blas"]
        if counts:
            return _of(counts[0], "thread")
    except Exception:  # noqa: BLE001, S110 - it is of no use here, or not there
        pass
    for name in _LIMITS:
        if os.environ.get(name):
            return f"threads: {name}={os.environ[name]}"
    return "threads: as many as there are processors"


def _of(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


_FACTS: dict[str, Callable[[], str]] = {
    "layerkit": _layerkit,
    "Python": _python,
    "NumPy": lambda: np.__version__,
    "BLAS": _blas,
    "processors": _processors,
    "memory": _memory,
}


def _backends() -> Iterator[str]:
    try:
        names = backend_names()
    except Exception as error:  # noqa: BLE001 - entry points of a broken installation
        names = ["numpy"]
        yield f"  those of other packages: not known ({_in_a_line(error)})"
    for name in names:
        yield f"  {name:<10}{_backend(name)}"


def _backend(name: str) -> str:
    try:
        xp = backend(name)
        library = type(xp.empty((0,))).__module__.partition(".")[0]
        version = getattr(sys.modules.get(library), "__version__", "")
        told = f"{library} {version}, " if version and library != "layerkit" else ""
        return f"present: {told}{', '.join(_device(name, device) for device in xp.devices())}"
    except Exception as error:  # noqa: BLE001 - a backend may be broken in any way
        return f"absent: {_in_a_line(error)}"


def _device(name: str, device: str) -> str:
    try:
        xp = backend(f"{name}:{device}")
        memory, room = xp.memory(), xp.room_for_data()
    except Exception:  # noqa: BLE001 - a device may be there and not work
        return f"{device} (cannot be used)"
    told = [] if memory is None else [f"{memory[1] / _GIB:.1f} GiB, {memory[0] / _GIB:.1f} GiB free"]
    told += [f"fit keeps up to {room / _GIB:.1f} GiB of data there"] if room > 0 else []
    return f"{device} ({', '.join(told)})" if told else device
