"""python -m layerkit: what is installed, whatever is absent or broken, and on whatever it is printed."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import types

import numpy as np
import pytest

import layerkit
from layerkit import installed
from layerkit.__main__ import main
from layerkit.errors import BackendUnavailableError
from layerkit.xp import backend_names, registry
from tests.conftest import MISSING


def lines():
    return installed.installed().splitlines()


def fact(name):
    return next(line.removeprefix(name).strip() for line in lines() if line.startswith(name))


def test_it_says_versions_the_machine_and_each_backend(capsys):
    assert main([]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    found = printed.out.splitlines()
    assert [line.split()[0] for line in found if line][:7] == [
        *("layerkit", "Python", "NumPy", "BLAS", "processors", "memory", "backends")
    ]
    assert fact("layerkit") == layerkit.__version__
    assert fact("Python").startswith(f"{platform.python_version()} ({platform.python_implementation()}), ")
    assert fact("NumPy") == np.__version__
    assert re.fullmatch(r"\S+ \S+, (\d+ threads?|threads: .+)", fact("BLAS"))
    assert fact("processors").startswith(f"{os.cpu_count()}, {platform.machine()}")
    assert [line.split()[0] for line in found[found.index("backends") + 1 :]] == backend_names()


def test_a_backend_is_present_with_its_devices_or_absent_with_its_reason():
    assert fact("  numpy") == f"present: numpy {np.__version__}, cpu"
    assert fact("  strict") == "present: 0, 1"
    for name in ("cupy", "torch"):
        told = fact(f"  {name}")
        assert told.startswith("present: ") if MISSING[name] is None else told == f"absent: {MISSING[name]}"


def test_memory_of_a_device_is_told(monkeypatch):
    strict = layerkit.backend("strict:0")
    monkeypatch.setattr(type(strict), "memory", lambda self: (3 << 30, 8 << 30))
    assert fact("  strict") == "present: 0 (8.0 GiB, 3.0 GiB free), 1 (8.0 GiB, 3.0 GiB free)"


def test_how_much_data_a_device_keeps_is_told(monkeypatch):
    monkeypatch.setattr(type(layerkit.backend("strict:0")), "room_for_data", lambda self: 3 << 29)
    kept = "fit keeps up to 1.5 GiB of data there"
    assert fact("  strict") == f"present: 0 ({kept}), 1 ({kept})"


def fails(*_, **__):
    raise OSError("the machine\nis odd")


def test_what_is_broken_is_said_and_no_error(monkeypatch):
    monkeypatch.setattr(os, "sysconf", fails)
    monkeypatch.setattr(np, "show_config", lambda mode: {})
    monkeypatch.setattr(platform, "platform", fails)
    monkeypatch.setattr(type(layerkit.backend("strict:1")), "memory", fails)
    monkeypatch.setattr(registry, "BUILT_IN", {**registry.BUILT_IN, "broken": "layerkit_broken:Backend"})
    monkeypatch.setitem(sys.modules, "layerkit_broken", types.SimpleNamespace())
    assert fact("memory") == "not known (OSError: the machine)"
    assert fact("BLAS") == "not known (KeyError: 'Build Dependencies')"
    assert fact("Python") == "not known (OSError: the machine)"
    assert fact("  strict") == "present: 0 (cannot be used), 1 (cannot be used)"
    assert fact("  broken").startswith("absent: AttributeError: ")
    assert fact("  numpy").startswith("present: ")


def test_entry_points_that_cannot_be_read_leave_numpy(monkeypatch):
    monkeypatch.setattr(installed, "backend_names", fails)
    found = lines()
    assert found[-2] == "  those of other packages: not known (OSError: the machine)"
    assert found[-1].startswith("  numpy     present: ")


def test_a_reason_is_told_in_one_line(monkeypatch):
    def absent(name):
        raise BackendUnavailableError("backend 'numpy': nothing works.\nAnd so on.")

    monkeypatch.setattr(installed, "backend", absent)
    assert fact("  numpy") == "absent: backend 'numpy': nothing works."


@pytest.mark.parametrize("limit", installed._LIMITS)
def test_threads_of_blas_are_as_the_environment_says_where_nobody_can_be_asked(limit, monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    for name in installed._LIMITS:
        monkeypatch.delenv(name, raising=False)
    assert fact("BLAS").endswith(", threads: as many as there are processors")
    monkeypatch.setenv(limit, "3")
    assert fact("BLAS").endswith(f", threads: {limit}=3")


def test_a_reader_who_has_seen_enough_is_no_error():
    command = f"{sys.executable} -W error -m layerkit | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["layerkit", layerkit.__version__], "")


def test_a_closed_pipe_is_no_error():
    """The reader is gone before the first line is written."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", "layerkit"], stdout=writing, stderr=subprocess.PIPE, check=False
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_command_that_is_none_is_refused(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["check-backends", "numpy"])
    assert caught.value.code == 2
    assert "invalid choice: 'check-backends'" in capsys.readouterr().err
