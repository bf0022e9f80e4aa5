"""What is installed: the wheel, what is in it and what is not, what importing it costs, and what it offers."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import layerkit

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
BACKENDS = ("layerkit_numpy", "layerkit_cupy", "layerkit_torch")
PACKAGES = {"layerkit": ROOT, **dict.fromkeys(BACKENDS, ROOT / "backends")}


def sources() -> dict[str, bytes]:
    """Every file of the packages, by the path that it has once installed."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for name, root in PACKAGES.items()
        for path in (root / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def run(*command: str, **environment: str) -> str:
    """Return what a command prints; its complaints are part of a failure."""
    done = subprocess.run(
        command, cwd=environment.pop("cwd", ROOT), env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from the sdist, without any package index."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (wheel,) = built.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which the wheel alone was installed."""
    folder = tmp_path_factory.mktemp("installed")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index", "--quiet")
    run(*pip, "--target", str(folder), str(wheel))
    return folder


def test_the_wheel_is_for_every_platform_and_has_the_version_of_the_project(wheel: Path) -> None:
    assert wheel.name == f"layerkit-{PROJECT['version']}-py3-none-any.whl"


def test_the_wheel_holds_the_packages_as_they_are_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"layerkit-{PROJECT['version']}.dist-info/"
    described = {name for name in files if name.startswith(info)}
    assert {name.removeprefix(info) for name in described} == {"METADATA", "WHEEL", "RECORD", "licenses/LICENSE"}
    assert {name: text for name, text in files.items() if name not in described} == sources()
    for package in PACKAGES:
        assert f"{package}/__init__.py" in files
        assert f"{package}/py.typed" in files  # type checkers read the annotations
    assert not [name for name in files if "test_" in name or "conftest" in name]


def test_the_sdist_holds_what_is_needed_to_build_and_test(built: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    for name in ("pyproject.toml", "README.md", "LICENSE", "tests/test_package.py", "examples/xor.py"):
        assert name in names
    assert not [name for name in names if "__pycache__" in name or name.startswith((".ci", ".git/", "dist", ".venv"))]


def test_the_wheel_asks_for_numpy_alone(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"layerkit-{PROJECT['version']}.dist-info/METADATA").decode()
    required = [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist")]
    assert sorted(line for line in required if "extra ==" not in line) == sorted(PROJECT["dependencies"])
    names = {line.partition(">")[0] for line in PROJECT["dependencies"]}
    assert names == {"numpy"}


INSTALLED = """
    import json, sys
    import layerkit, layerkit_cupy, layerkit_numpy, layerkit_torch, layerkit.testing
    from importlib.metadata import version
    from layerkit import Sequential
    from layerkit.layers import Dense

    model = Sequential([Dense(1)], seed=0)
    model.compile("sgd", "mse")
    loss = model.fit([[0.0, 1.0]], [[1.0]], epochs=3, verbose=0).history["loss"]
    print(json.dumps({
        "files": [module.__file__ for module in (layerkit, layerkit_numpy, layerkit_cupy, layerkit_torch)],
        "version": [layerkit.__version__, version("layerkit")],
        "names": sorted(layerkit.__all__),
        "backends": layerkit.backend_names(),
        "loss": loss,
    }))
"""


def test_the_installed_wheel_and_the_sources_agree(installed: Path, tmp_path: Path) -> None:
    def tell(*path: Path) -> dict[str, Any]:
        folders = os.pathsep.join(map(str, path))
        return json.loads(
            run(sys.executable, "-P", "-c", textwrap.dedent(INSTALLED), PYTHONPATH=folders, cwd=str(tmp_path))
        )

    wheel, editable = tell(installed), tell(ROOT, ROOT / "backends")
    assert [Path(file).parent.parent for file in wheel.pop("files")] == [installed] * 4
    assert [Path(file).parent.parent for file in editable.pop("files")] == [ROOT, *[ROOT / "backends"] * 3]
    assert wheel["version"] == [PROJECT["version"]] * 2
    assert editable["version"][0] == PROJECT["version"]
    del wheel["version"], editable["version"]
    assert wheel == editable
    assert wheel["loss"][0] > wheel["loss"][-1]


# What importing costs.


def modules(statement: str) -> set[str]:
    """The modules that are loaded after a statement, in a new interpreter."""
    return set(run(sys.executable, "-c", f"{statement}; import sys; print(*sys.modules)").split())


def test_import_loads_no_package_but_numpy() -> None:
    loaded = modules("import layerkit") - modules("import numpy")
    roots = {name.partition(".")[0] for name in loaded} - {"layerkit"}
    others = sorted(root for root in roots if root not in sys.stdlib_module_names)
    assert others == []
    # Of the standard library, those that cost milliseconds are loaded where they are needed.
    slow = {"asyncio", "difflib", "email", "importlib.metadata", "multiprocessing", "ssl", "subprocess", "unittest"}
    assert sorted(loaded & slow) == []


def test_import_loads_no_backend_and_nothing_for_tests() -> None:
    loaded = modules("import layerkit")
    assert not {"layerkit.testing", "layerkit.xp.array_api", *BACKENDS} & loaded


RARE = (
    *("activations", "config", "mixed_precision", "callbacks.checkpoint", "data.windows", "layers.merging"),
    *("layers.normalization", "layers.piecewise", "layers.smooth", "layers.sparsemax", "losses.probabilistic"),
    *("metrics.accuracy", "models.comparison", "optimizers.lbfgs", "optimizers.schedules", "program.rules", "saving"),
)


def test_import_loads_nothing_that_many_programs_do_without() -> None:
    loaded = modules("import layerkit")
    assert {f"layerkit.{name}" for name in RARE} & loaded == set()
    for name in RARE:
        assert importlib.util.find_spec(f"layerkit.{name}") is not None


def test_import_makes_no_table_of_names() -> None:
    """What `Names` looks up in is made when the first name is looked up."""
    tell = (
        "import gc, layerkit.names as names; "
        "print([x.kind for x in gc.get_objects() if isinstance(x, names.Names) and {'_table', '_later'} & {*vars(x)}])"
    )
    for statement, made in (("import layerkit", "[]"), ("import layerkit; layerkit.losses.get('mse')", "['loss']")):
        assert run(sys.executable, "-c", f"{statement}; {tell}").strip() == made


def test_training_on_numpy_loads_no_other_backend() -> None:
    script = (
        "from layerkit import Sequential; from layerkit.layers import Dense; model = Sequential([Dense(1)]); "
        "model.compile('sgd', 'mse'); model.fit([[0.0, 1.0]], [[1.0]], verbose=0)"
    )
    loaded = modules(script)
    assert "layerkit_numpy" in loaded
    assert (
        not {"layerkit.testing", "layerkit_cupy", "layerkit_torch", "array_api_strict", "array_api_compat", "tqdm"}
        & loaded
    )


# What is public.


def public_rooms() -> list[Any]:
    """layerkit and every module of it that says what it offers."""
    return [
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
        for path in sorted((ROOT / "layerkit").rglob("*.py"))
        if "\n__all__ = " in path.read_text("utf-8")
    ]


def test_all_is_sorted_and_complete() -> None:
    assert layerkit.__all__ == sorted(layerkit.__all__)
    for name in layerkit.__all__:
        getattr(layerkit, name)  # some are loaded when they are asked for
    public = {
        name
        for name, value in vars(layerkit).items()
        if not name.startswith("_") and not (inspect.ismodule(value) and name not in layerkit.__all__)
    }
    assert public == set(layerkit.__all__)


@pytest.mark.parametrize("room", public_rooms(), ids=lambda room: room.__name__)
def test_every_public_name_exists_and_has_a_docstring(room: Any) -> None:
    assert room.__doc__
    for name in room.__all__:
        value = getattr(room, name)
        if inspect.ismodule(value) or inspect.isroutine(value) or inspect.isclass(value):
            assert value.__doc__, f"{room.__name__}.{name}"
            assert value.__doc__.strip()
        if not inspect.isclass(value):
            continue
        for method, function in vars(value).items():
            made_from_data = "<locals>" in getattr(
                function, "__qualname__", ""
            )  # words, documented where they are listed
            if inspect.isfunction(function) and not method.startswith("_") and not made_from_data:
                assert inspect.getdoc(getattr(value, method)), f"{room.__name__}.{name}.{method}"
