"""What a real CuPy shows without a GPU: that the names are there, and that the kernels compile."""

from importlib.util import find_spec

import pytest

from layerkit.xp import words
from tests.conftest import REQUIRED

pytestmark = pytest.mark.skipif(
    find_spec("cupy") is None and "cupy" not in REQUIRED, reason="CuPy is not installed: no package cupy"
)


def test_every_word_resolves():
    from layerkit_cupy import CupyBackend

    xp = CupyBackend(0)  # opens no device yet
    for word in (*words.ARRAY_WORDS, *words.NETWORK_WORDS, *words.MACHINE_WORDS):
        assert hasattr(xp, word), word
    for word in words.LINALG:
        assert hasattr(xp.linalg, word), word
    for word in words.FFT:
        assert hasattr(xp.fft, word), word


@pytest.mark.parametrize("kernel", ["layerkit_philox"])
def test_kernels_compile(kernel):
    from cupy.cuda import nvrtc

    from layerkit_cupy import backend

    try:
        nvrtc.getVersion()
    except Exception as error:
        if "cupy" in REQUIRED:
            raise
        pytest.skip(f"CUDA's compiler, NVRTC, is not installed: {str(error).splitlines()[0]}")
    program = nvrtc.createProgram(backend.PHILOX, f"{kernel}.cu", (), ())
    nvrtc.compileProgram(program, ("--gpu-architecture=compute_75",))  # the oldest that CUDA 12 and 13 both know
    assert f".visible .entry {kernel}(" in nvrtc.getPTX(program).decode()
