"""What becomes of training when its output has nowhere to go."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRAIN = """
import sys
from layerkit import Sequential
from layerkit.layers import Dense

model = Sequential([Dense(1, use_bias=False, kernel_initializer="zeros")])
model.compile("sgd", "mse")
model.fit([[1.0]], [[1.0]], epochs=2, verbose=2)
sys.stderr.write(f"trained for {len(model.history.epoch)} epochs")
"""
XOR = Path(__file__).parents[2] / "examples" / "xor.py"


def test_a_reader_may_close_the_pipe():
    """As in ``python examples/xor.py | head -1``."""
    command = [sys.executable, "-W", "error", str(XOR)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"Epoch ")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full, a disk without room, is Linux's own")
def test_a_full_disk_does_not_end_training():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", TRAIN], stdout=full, stderr=subprocess.PIPE, encoding="utf-8")
    assert done.stderr.startswith("trained for 2 epochs")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell closes standard output by >&-, which Windows has not")
def test_a_process_without_output_trains():
    command = ["/bin/sh", "-c", 'exec "$0" -W error -c "$1" >&-', sys.executable, TRAIN]
    done = subprocess.run(command, stderr=subprocess.PIPE, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "trained for 2 epochs")


def test_progress_is_shown_where_only_ascii_can_be_written():
    command = [sys.executable, "-W", "error", "-X", "utf8=0", "-c", TRAIN]
    done = subprocess.run(
        command, capture_output=True, encoding="ascii", env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert [line[:9] for line in done.stdout.splitlines()] == ["Epoch 1/2", "Epoch 2/2"]
    assert (done.returncode, done.stderr) == (0, "trained for 2 epochs")
