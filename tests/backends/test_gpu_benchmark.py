"""``python -m tests.benchmarks.gpu``: that it says what is missing, and that its pieces do what their lines say."""

import re
import sys

import numpy as np
import pytest

import layerkit
from tests.benchmarks import gpu, gpu_peers
from tests.conftest import MISSING

TIMING = gpu.Timing(1, 0.0)


@pytest.mark.skipif(MISSING["cupy"] is None, reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    assert gpu.main([]) == 1
    assert capsys.readouterr().out == f"{MISSING['cupy']}\nNothing was measured: this command needs a GPU.\n"


def lines_of(cupy):
    """Return how many lines it prints: two of heading, and of ten or eleven figures."""
    return 2 + 2 + 3 + hasattr(cupy, "bfloat16") + 1 + 1 + 2 + 1


@pytest.mark.gpu
@pytest.mark.skipif(MISSING["cupy"] is not None, reason=str(MISSING["cupy"]))
def test_on_a_gpu_it_prints_every_line(capsys):
    assert gpu.main(["--short", "--without-peers"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == lines_of(layerkit.backend("cupy"))


def test_its_pieces_on_an_emulation(emulation, capsys, monkeypatch):
    monkeypatch.setattr(gpu, "describe", lambda xp: f"emulated {xp}")
    assert gpu.main(["--short", "--without-peers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    cupy = layerkit.backend("cupy")
    assert len(lines) == lines_of(cupy)
    one = r"   1 graph launch \(\d+ written kernels and \d+ words of CuPy\)   to reach: 1 graph launch, reached$"
    for line in lines[2 : 7 + hasattr(cupy, "bfloat16")]:
        assert re.search(one, line), line
    assert all("to reach: " in line for line in lines[2:])
    assert lines[-1].endswith("to reach: ≤ 1e-10, reached")


def test_a_figure_that_fails_does_not_take_the_others_with_it(capsys, monkeypatch):
    def fails(*args, **kwargs):
        raise RuntimeError("planted")

    monkeypatch.setattr(gpu, "step_of", fails)
    assert gpu.main(["--backend", "numpy", "--short", "--without-peers"]) == 1
    printed = capsys.readouterr().out
    assert printed.count("RuntimeError: planted") == 5
    assert "8 words over 4,096 floats" in printed
    assert "100 steps in float64 against NumPy" in printed


@pytest.mark.parametrize(
    ("figure", "said"),
    [
        (gpu.verdict(0.1, most=0.1), "to reach: ≤ 0.1, reached"),
        (gpu.verdict(0.34, most=1 / 3), "to reach: ≤ 0.333, MISSED"),
        (gpu.verdict(0.9, least=0.9), "to reach: ≥ 0.9, reached"),
        (gpu.verdict(0.89, least=0.9), "to reach: ≥ 0.9, MISSED"),
    ],
)
def test_a_figure_and_what_it_is_to_reach(figure, said):
    assert figure == said


def test_peers_that_are_not_there_are_named(monkeypatch):
    monkeypatch.setattr(gpu_peers, "find_spec", lambda package: None)
    found = dict(gpu_peers.times(gpu.SMALL, TIMING.median_s, gpu.RATE, on_host=True))
    assert found == dict.fromkeys(("PyTorch eager", "torch.compile", "JAX jit"), "not installed")


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
