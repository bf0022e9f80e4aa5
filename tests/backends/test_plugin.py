"""A backend that somebody else wrote: the package of backends/README.md, installed by pip, found and trained on.

The page's blocks are its files, and a program that uses it with what that prints.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "backends" / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
(BACKEND, *PROGRAMS), PROJECTS, PRINTED = (
    [text for language, text in BLOCKS if language == wanted] for wanted in ("python", "toml", "text")
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Return a folder into which pip installed the package, with nothing from anywhere else."""
    package, folder = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("installed")
    (package / "layerkit_foo.py").write_text(BACKEND)
    (project,) = PROJECTS
    (package / "pyproject.toml").write_text(project)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    alone = ["--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*pip, *alone, "--target", str(folder), str(package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".pyc") == [
        *(["__pycache__"] if (folder / "__pycache__").is_dir() else []),
        "layerkit_foo-1.0.dist-info",
        "layerkit_foo.py",
    ]
    return folder


def run(folder, *command):
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_page_holds_a_backend_a_project_and_programs_with_what_they_print():
    assert "class FooBackend(ArrayApiBackend):" in BACKEND
    assert len(PROJECTS) == 1
    assert len(PROGRAMS) == len(PRINTED) == 2
    assert {language for language, _ in BLOCKS} == {"python", "toml", "text"}


def test_a_backend_is_short():
    assert len(BACKEND.splitlines()) <= 30


def test_the_programs_of_the_page_print_what_it_says(installed):
    for program, printed in zip(PROGRAMS, PRINTED, strict=True):
        done = run(installed, "-c", program)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == printed


USE = """\
import array_api_strict
import numpy as np

import layerkit
from layerkit import Sequential
from layerkit.layers import Dense, Dropout, Sigmoid
from layerkit.optimizers import SGD, Adam

foo = layerkit.backend("foo")
assert foo is layerkit.backend("foo:cpu") and repr(foo) == "<backend foo:cpu>", foo

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([[0], [1], [1], [0]], np.float32)


def trained(backend):
    model = Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=0, backend=backend, dtype="float64")
    model.compile(optimizer=SGD(learning_rate=2.0), loss="mean_squared_error", metrics=["accuracy"])
    model.fit(x, y, epochs=50, batch_size=4, verbose=0)
    return model


ours, theirs = trained("foo:device1"), trained("numpy")
second = layerkit.backend("foo:device1")
assert second.owns(ours.weights[0].value)
assert type(ours(second.asarray(x))) is type(array_api_strict.zeros(1))
np.testing.assert_allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-9)


def masked(*backends):
    model = Sequential([Dense(16, activation="relu"), Dropout(0.5), Dense(1)], seed=0, dtype="float64")
    model.compile(Adam(0.01), "mse")
    for backend in backends:
        model.to(backend)
        model.fit(x, y, epochs=2, verbose=0)
    return model.get_weights()


for ours, theirs in zip(masked("foo", "numpy", "foo:device1"), masked("numpy", "numpy", "numpy"), strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)

try:
    layerkit.backend("foo:1")
except layerkit.errors.BackendUnavailableError as error:
    print(error)
"""


def test_it_trains_on_each_of_its_devices_and_models_move(installed):
    done = run(installed, "-c", USE)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"backend 'foo': the device must be one of this machine's\. Received: 'foo:1'\. "
        r"Use 'foo:cpu' or 'foo:device1'( or 'foo:\w+')*\.\n",
        done.stdout,
    )


def test_the_command_line_checks_it_and_says_that_it_is_there(installed):
    done = run(installed, "-m", "layerkit", "check-backend", "foo", "exp", "view")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("foo:cpu: 2 of 2 words are right, in ")
    done = run(installed, "-m", "layerkit")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  foo +present: array_api_strict \S+, cpu, device1, device2, ", done.stdout, re.MULTILINE)


def test_without_its_library_one_sentence_says_what_is_missing(installed):
    code = (
        "import sys; sys.modules['array_api_strict'] = None\n"
        "from layerkit.__main__ import main\n"
        "sys.exit(main(['check-backend', 'foo']))"
    )
    done = run(installed, "-c", code)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(
        r"backend 'foo': its package must be importable\. Received: .*array_api_strict.*\. "
        r"Install what 'layerkit_foo' needs, or use backend='numpy'\.\n",
        done.stderr,
    )
