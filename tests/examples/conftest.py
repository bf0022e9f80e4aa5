"""Running an example as a reader does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def environment(**settings):
    inherited = {name: value for name, value in os.environ.items() if name != "LAYERKIT_BACKEND"}
    # Threads of BLAS that wait for each other cost more than they bring where tests run side by side.
    return {**inherited, "MPLBACKEND": "Agg", "OPENBLAS_NUM_THREADS": "1", **settings}


@pytest.fixture
def run(tmp_path):
    """Run an example, and return what it prints; `status` and `stderr` are checked."""

    def run(name, *arguments, status=0, stderr="", **settings):
        command = [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py"), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment(**settings), capture_output=True, encoding="utf-8", timeout=600
        )
        assert (done.returncode, done.stderr) == (status, stderr), done.stdout
        return done.stdout

    return run
