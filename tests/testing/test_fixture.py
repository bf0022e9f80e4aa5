"""The fixture `xp`: which backends take part is said, and one that is asked for is not skipped."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BACKENDS, MISSING

ROOT = Path(__file__).parents[2]
ONE_TEST = "tests/losses/test_losses.py::test_an_axis_of_one_may_be_left_out_of_targets"


def run(require, *options):
    environment = {**os.environ, "LAYERKIT_REQUIRE": require}
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", *options, ONE_TEST]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)


def test_the_first_lines_say_which_backends_take_part():
    done = run("")
    assert done.returncode == 0
    present = [name for name in BACKENDS if MISSING[name] is None]
    lines = done.stdout.splitlines()
    assert lines[0] == f"layerkit: the backends {', '.join(present)} take part"
    for name, reason in MISSING.items():
        if reason is not None:
            assert f"layerkit: {name} does not. {reason}" in lines
            assert re.search(rf"^SKIPPED \[1\] .*{re.escape(reason)}$", done.stdout, re.MULTILINE)


def test_a_required_backend_fails_where_it_is_missing():
    done = run("numpy, cupy")
    if MISSING["cupy"] is None:
        assert done.returncode == 0
    else:
        assert done.returncode == 1
        assert f"LAYERKIT_REQUIRE names 'cupy'. {MISSING['cupy']}" in done.stdout
        present = sum(reason is None for reason in MISSING.values())
        assert re.search(rf"{present} passed, (\d skipped, )?1 error", run("numpy, cupy", "-v").stdout)


def test_an_unknown_name_is_refused():
    done = run("nunpy")
    assert done.returncode == 4
    assert re.search(
        r"LAYERKIT_REQUIRE must name .*numpy, strict, cupy.*\. Received: 'nunpy'$", done.stderr, re.MULTILINE
    )


@pytest.mark.parametrize("name", ["numpy", "strict"])
def test_numpy_and_strict_always_take_part(name):
    assert MISSING[name] is None
