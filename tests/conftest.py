"""Every test that takes `xp` runs once on each backend: numpy, strict, and every other that is present."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

import layerkit.xp
from layerkit.errors import BackendUnavailableError

if TYPE_CHECKING:
    from layerkit.xp import Backend

BACKENDS = ("numpy", "strict", "cupy", "torch")
DATA_SETS = ("fashion_mnist",)
REQUIRED = [name.strip() for name in os.environ.get("LAYERKIT_REQUIRE", "").split(",") if name.strip()]


def _missing(name: str) -> str | None:
    """Say why a backend cannot take part; None if it can."""
    try:
        layerkit.xp.backend(name)
    except BackendUnavailableError as error:
        return str(error)
    return None


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # What a shell runs in the background ignores Ctrl-C, and passes that on. The tests of Ctrl-C send it themselves.
    signal.signal(signal.SIGINT, signal.default_int_handler)


MISSING = {name: _missing(name) for name in BACKENDS}


def pytest_configure(config: pytest.Config) -> None:
    known = (*BACKENDS, *DATA_SETS)
    unknown = sorted({*REQUIRED} - {*known})
    if unknown:
        raise pytest.UsageError(
            f"LAYERKIT_REQUIRE must name backends and data sets of {', '.join(known)}. Received: {unknown[0]!r}"
        )


def pytest_sessionstart(session: pytest.Session) -> None:
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")  # none in a worker of xdist
    if terminal is not None:
        present = [name for name in BACKENDS if MISSING[name] is None]
        terminal.write_line(f"layerkit: the backends {', '.join(present)} take part")
        for name, reason in MISSING.items():
            if reason is not None:
                terminal.write_line(f"layerkit: {name} does not. {reason}")


def skip_unless_required(name: str, reason: str) -> None:
    """Skip a test with the reason why it cannot run here, or fail it if LAYERKIT_REQUIRE names what it needs."""
    if name in REQUIRED:
        pytest.fail(f"LAYERKIT_REQUIRE names {name!r}. {reason}")
    pytest.skip(reason)


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.gpu if name == "cupy" else ()) for name in BACKENDS])
def xp(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn. A missing one skips with its reason, or fails if LAYERKIT_REQUIRE names it."""
    reason = MISSING[request.param]
    if reason is not None:
        skip_unless_required(request.param, reason)
    return layerkit.xp.backend(request.param)
