"""Imports point down, and an array library is known only where it may be: read from the sources, with `ast`."""

from __future__ import annotations

import ast
import sys
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]

# A room imports itself and the rooms of the lines below its own, and no other.
LEVELS = (
    ("__main__",),  # python -m layerkit
    ("layerkit", "installed"),  # __init__.py: the public surface
    ("config", "mixed_precision", "models", "testing", "utils"),
    ("saving",),
    ("training",),
    ("activations", "metrics"),
    ("callbacks", "data", "layers", "losses", "optimizers"),
    ("constraints", "regularizers"),
    ("initializers", "program"),
    ("functions", "nested"),
    ("xp",),
    ("dtype_policies",),
    ("checks", "configurable"),
    ("changes", "names"),
    ("descriptions",),
    ("absent", "screen"),
    ("errors", "locking", "overriding"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}

# What a backend, ours or a third party's, is written against.
FOR_BACKENDS = ("layerkit.xp", "layerkit.program", "layerkit.errors", "layerkit.overriding")

# The packages that are not Python's own, and who may import them: a folder, or a file.
ROOMS_ON_THE_HOST = (
    "layerkit/data/",
    "layerkit/saving/",
    "layerkit/training/",
    "layerkit/initializers/",
    "layerkit/testing/",
)
LAYERS_ON_THE_HOST = (
    "layerkit/layers/hashing.py",
    "layerkit/layers/host_layer.py",
    "layerkit/layers/lookup.py",
    "layerkit/layers/quantiles.py",
)
JUDGES = (
    "layerkit/installed.py",
    "layerkit/models/comparison.py",
    "layerkit/models/explain.py",
    "layerkit/models/export.py",
    "layerkit/models/gradients.py",
    "layerkit/models/lint.py",
    "layerkit/program/central_differences.py",
    "layerkit/xp/array_api.py",  # between the host and any library
)
ALLOWED = {
    "numpy": (*ROOMS_ON_THE_HOST, *LAYERS_ON_THE_HOST, *JUDGES, "backends/layerkit_numpy/"),
    "array_api_strict": ("layerkit/testing/",),
    "array_api_compat": ("backends/layerkit_cupy/", "backends/layerkit_torch/"),
    "cuda": ("backends/layerkit_cupy/",),
    "cupy": ("backends/layerkit_cupy/",),
    "cupyx": ("backends/layerkit_cupy/",),
    "ml_dtypes": ("backends/layerkit_cupy/",),
    "torch": ("backends/layerkit_torch/",),
    "threadpoolctl": ("layerkit/installed.py",),
    "IPython": ("layerkit/screen.py", "layerkit/callbacks/live_plot.py"),
    "matplotlib": ("layerkit/callbacks/live_plot.py",),
    "typing_extensions": ("layerkit/overriding.py",),
}


def imports(path: PurePosixPath, source: str) -> list[tuple[int, str]]:
    """Return (line, module) of every import, wherever it stands: for type checkers, in functions, by import_module."""
    package = path.parts[1:-1] if path.parts[0] == "backends" else path.parts[:-1]
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                found += [(node.lineno, alias.name) for alias in node.names]
            case ast.ImportFrom():
                base = list(package[: len(package) - node.level + 1]) if node.level else []
                module = ".".join([*base, *(node.module or "").split(".")]).rstrip(".")
                # `from layerkit import losses` imports layerkit.losses.
                found += [
                    (node.lineno, f"layerkit.{alias.name}" if module == "layerkit" else module) for alias in node.names
                ]
            case ast.Call(
                func=ast.Name(id=name) | ast.Attribute(attr=name), args=[ast.Constant(value=str(module)), *_]
            ):
                if name in ("import_module", "__import__"):
                    found.append((node.lineno, module))
            case _:
                pass
    return sorted(set(found))


def room_of(module: str) -> str:
    """Return the room of a module of layerkit; names that are none belong to its __init__."""
    _, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    return room if room in LEVEL else "layerkit"


def violations(path: PurePosixPath, source: str) -> list[str]:
    """Return what a file imports that it should not: "line: module"."""
    in_layerkit = path.parts[0] == "layerkit"
    own = path.parts[0 if in_layerkit else 1]
    bad: list[str] = []
    for line, module in imports(path, source):
        root = module.partition(".")[0]
        if root == "layerkit" and in_layerkit:
            room = path.parts[1].removesuffix(".py").replace("__init__", "layerkit")
            right = room_of(module) == room or LEVEL[room_of(module)] > LEVEL[room]
        elif root == "layerkit":
            right = any(f"{module}.".startswith(f"{known}.") for known in FOR_BACKENDS)
        else:
            right = (
                root in sys.stdlib_module_names
                or (root == own and not in_layerkit)
                or str(path).startswith(ALLOWED.get(root, ()))
            )
        if not right:
            bad.append(f"{line}: {module}")
    return bad


FILES = sorted(
    PurePosixPath(path.relative_to(ROOT).as_posix())
    for folder in ("layerkit", "backends")
    for path in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_point_down(path: PurePosixPath) -> None:
    assert violations(path, (ROOT / path).read_text("utf-8")) == []


def test_every_room_has_a_level() -> None:
    rooms = {path.parts[1].removesuffix(".py") for path in FILES if path.parts[0] == "layerkit"} - {"__init__"}
    assert rooms == set(LEVEL) - {"layerkit"}


def test_no_room_of_the_framework_imports_testing() -> None:
    assert LEVEL["testing"] == LEVEL["models"]  # only layerkit/__init__.py is above it, and that has no need
    assert "layerkit.testing" not in [module for _, module in imports(*_surface())]


def _surface() -> tuple[PurePosixPath, str]:
    return PurePosixPath("layerkit/__init__.py"), (ROOT / "layerkit" / "__init__.py").read_text("utf-8")


def test_the_rooms_that_may_know_numpy_do() -> None:
    """An exception that is no longer needed is taken off the list."""
    for library, places in ALLOWED.items():
        for place in places:
            known = [
                path
                for path in FILES
                if str(path).startswith(place)
                and library
                in {module.partition(".")[0] for _, module in imports(path, (ROOT / path).read_text("utf-8"))}
            ]
            assert known, f"{place} does not import {library}"


@pytest.mark.parametrize(
    ("path", "source", "found"),
    [
        ("layerkit/xp/words.py", "from layerkit.layers import Dense", ["1: layerkit.layers"]),
        ("layerkit/losses/loss.py", "from layerkit import metrics", ["1: layerkit.metrics"]),
        ("layerkit/losses/loss.py", "from layerkit.optimizers.sgd import SGD", ["1: layerkit.optimizers.sgd"]),
        ("layerkit/training/step.py", "from layerkit import Sequential", ["1: layerkit.Sequential"]),
        ("layerkit/training/step.py", "import layerkit", ["1: layerkit"]),
        ("layerkit/training/step.py", "import layerkit.models.model as m", ["1: layerkit.models.model"]),
        ("layerkit/training/step.py", "from ..models import Model", ["1: layerkit.models"]),
        ("layerkit/errors.py", "def f():\n    from layerkit.names import nearest", ["2: layerkit.names"]),
        ("layerkit/xp/state.py", "if TYPE_CHECKING:\n    from layerkit.layers import Layer", ["2: layerkit.layers"]),
        ("layerkit/models/model.py", "from layerkit.testing import check_layer", ["1: layerkit.testing"]),
        ("layerkit/testing/strict.py", "from layerkit.models import Model", ["1: layerkit.models"]),
        ("layerkit/layers/dense.py", "import numpy as np", ["1: numpy"]),
        ("layerkit/program/recorder.py", "from numpy.linalg import norm", ["1: numpy.linalg"]),
        ("layerkit/training/loop.py", "import cupy", ["1: cupy"]),
        ("layerkit/training/loop.py", "import_module('cupy')", ["1: cupy"]),
        ("layerkit/training/loop.py", "importlib.import_module('layerkit.models')", ["1: layerkit.models"]),
        ("layerkit/training/loop.py", "import scipy.special", ["1: scipy.special"]),
        ("layerkit/training/loop.py", "from layerkit_numpy import NumpyBackend", ["1: layerkit_numpy"]),
        ("backends/layerkit_numpy/backend.py", "from layerkit.layers import Dense", ["1: layerkit.layers"]),
        ("backends/layerkit_numpy/backend.py", "from layerkit import Sequential", ["1: layerkit.Sequential"]),
        ("backends/layerkit_numpy/backend.py", "from layerkit.xpress import x", ["1: layerkit.xpress"]),
        ("backends/layerkit_numpy/backend.py", "import cupy", ["1: cupy"]),
        ("backends/layerkit_cupy/backend.py", "import numpy", ["1: numpy"]),
        ("backends/layerkit_cupy/backend.py", "from layerkit_numpy import NumpyBackend", ["1: layerkit_numpy"]),
    ],
)
def test_a_planted_violation_is_found(path: str, source: str, found: list[str]) -> None:
    assert violations(PurePosixPath(path), source) == found


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("layerkit/__init__.py", "from layerkit import models\nfrom layerkit.xp import Backend"),
        ("layerkit/models/model.py", "from layerkit import losses\nfrom layerkit.training.step import Step"),
        ("layerkit/layers/dense.py", "from .layer import Layer\nfrom ..xp import Backend\nimport math"),
        ("layerkit/xp/registry.py", "import_module(name)\nBUILT_IN = {'numpy': 'layerkit_numpy:NumpyBackend'}"),
        ("layerkit/training/data.py", "import numpy as np"),
        (
            "backends/layerkit_numpy/backend.py",
            "import numpy\nfrom layerkit_numpy import words\nimport layerkit.xp.words",
        ),
        ("backends/layerkit_cupy/backend.py", "import cupy\nfrom layerkit.errors import BackendError\nfrom . import x"),
    ],
)
def test_what_points_down_is_left_alone(path: str, source: str) -> None:
    assert violations(PurePosixPath(path), source) == []
