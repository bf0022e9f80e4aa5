"""What the tests of backends share."""

import sys
from pathlib import Path

import pytest

import layerkit
from layerkit.xp import registry
from tests.backends.emulated_cublas import EmulatedCublas
from tests.backends.host_kernel import COMPILER
from tests.conftest import MISSING, REQUIRED

FOREIGN = ("cupy", "cupyx", "array_api_compat", "layerkit_cupy")
EMULATED = Path(__file__).with_name("emulated")
DEVICES = [pytest.param("gpu", marks=pytest.mark.gpu), "emulated"]


@pytest.fixture
def without_cupy(monkeypatch):
    """Forget CuPy and its backend for the length of a test, so that others can be put in their place."""
    monkeypatch.setattr(registry, "_opened", {})
    for module in list(sys.modules):
        if module.partition(".")[0] in FOREIGN:
            monkeypatch.delitem(sys.modules, module)
    yield monkeypatch
    for module in list(sys.modules):
        if module.partition(".")[0] in FOREIGN:
            del sys.modules[module]


@pytest.fixture
def emulation(without_cupy):
    """Put the emulation in CuPy's place."""
    if COMPILER is None:
        pytest.skip("no C++ compiler, c++, is installed: the emulation of CuPy compiles kernels with it")
    without_cupy.syspath_prepend(EMULATED)
    without_cupy.setattr("layerkit_cupy.backend.load", lambda: EmulatedCublas(sys.modules["cupy"]))


@pytest.fixture(params=DEVICES)
def cupy(request):
    """Return the backend "cupy:0"."""
    if request.param == "emulated":
        request.getfixturevalue("emulation")
    elif MISSING["cupy"] is not None:
        (pytest.fail if "cupy" in REQUIRED else pytest.skip)(MISSING["cupy"])
    return layerkit.backend("cupy:0")


@pytest.fixture
def second(cupy):
    """Return the backend "cupy:1"."""
    if len(cupy.devices()) < 2:
        pytest.skip("there is one GPU only")
    return layerkit.backend("cupy:1")
