"""What the tests of backends share."""

import sys

import pytest

from layerkit.xp import registry

FOREIGN = ("cupy", "cupyx", "array_api_compat", "layerkit_cupy")


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
