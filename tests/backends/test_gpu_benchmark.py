"""``python -m tests.benchmarks.gpu``: that it says what is missing, and that its pieces do what their lines say."""

import re
import sys

import numpy as np
import pytest

import layerkit
from tests.benchmarks import gpu
from tests.conftest import MISSING

TIMING = gpu.Timing(1, 0.0)


@pytest.mark.skipif(MISSING["cupy"] is None, reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert gpu.main([]) == 1
    assert capsys.readouterr().out == f"{MISSING['cupy']}\nNothing was measured: this command needs a GPU.\n"


@pytest.mark.gpu
@pytest.mark.skipif(MISSING["cupy"] is not None, reason=str(MISSING["cupy"]))
def test_on_a_gpu_it_prints_every_line(capsys):
    assert gpu.main(["--short", "--without-peers"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 10


def test_its_pieces_on_an_emulation(emulation, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "describe", lambda xp: f"emulated {xp}")
    monkeypatch.setattr(gpu, "USUAL", gpu.Mlp((784, 6, 10), 128, classifies=True))
    assert gpu.main(["--short", "--without-peers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    for line in lines[2:6]:
        assert re.search(r"   1 graph launch \(\d+ written kernels and \d+ words of CuPy\)$", line)


def test_flops_are_those_of_the_products():
    # Two layers: y = x W of each, dW = xᵀ dy of each, dx = dy Wᵀ of the second alone.
    work = gpu.Mlp((2, 3, 5), 7, classifies=True)
    assert work.flops == 2 * (2 * 7 * 2 * 3 + 3 * 7 * 3 * 5)


def test_the_chain_is_one_kernel_of_eight_words(emulation):
    cupy = layerkit.backend("cupy:0")
    words, copy = gpu.chain(cupy, 10)
    library = sys.modules["cupy"]
    for _ in range(3):
        words()
    library.launches.clear()
    words()
    assert library.launches == ["graph"]
    (kernel,) = words.stages
    assert [word for word in kernel.words if word != "assign"] == [
        *("multiply", "add", "tanh", "maximum", "multiply", "subtract", "negative", "exp"),
    ]
    copy()


def test_bytes_are_counted():
    xp = layerkit.backend("numpy")
    with gpu.Transfers(xp) as counted:
        xp.asarray(np.ones(2))  # stays where it is
        xp.to_numpy(np.ones(3))
    assert (counted.to_device, counted.to_host) == (0, 24)
    xp.to_numpy(np.ones(5))
    assert counted.to_host == 24
