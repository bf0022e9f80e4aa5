"""Random bits: the reference in array words and the CUDA kernel, against `numpy.random.Philox`."""

from pathlib import Path

import array_api_strict
import numpy as np
import pytest

import layerkit_cupy
from layerkit.xp import philox
from tests.backends.host_kernel import COMPILER, HostKernel

KEYS = [(0, 0), (1, 2), (2**64 - 1, 2**63 + 5)]
# The last two carry from the first of the counter's four words to the second.
COUNTERS = [0, 1, 7, 2**32 - 1, 2**63, 2**64 - 3, 2**64 - 1]
SIZES = [0, 1, 7, 8, 9, 100]
SOURCE = Path(layerkit_cupy.__file__).with_name("philox.cu")


def expected(key, counter, size):
    """Draw 32-bit words from NumPy's generator: halves of its 64-bit words, low half first."""
    words = np.random.Philox(key=np.array(key, np.uint64), counter=counter).random_raw(-(-size // 2))
    halves = np.stack([words & np.uint64(2**32 - 1), words >> np.uint64(32)], axis=1)
    return halves.reshape(-1)[:size].astype(np.uint32)


def reference_in_numpy(key, counter, size):
    return philox.random_bits(np, key, np.array(counter, np.uint64), size)


def reference_in_array_api_strict(key, counter, size):
    counter = array_api_strict.asarray(counter, dtype=array_api_strict.uint64)
    return np.asarray(philox.random_bits(array_api_strict, key, counter, size))


KERNEL = HostKernel(SOURCE.read_text(encoding="utf-8"), "layerkit_philox")


def kernel_as_c(key, counter, size, threads=4):
    bits = np.zeros(size + 8, np.uint32)  # more than asked for, to see that the end is kept
    arguments = (*map(np.uint64, key), np.array(counter, np.uint64), bits, np.uint64(size))
    KERNEL((-(-size // (8 * threads)) + 1,), (threads,), arguments)
    assert not bits[size:].any()
    return bits[:size]


needs_compiler = pytest.mark.skipif(COMPILER is None, reason="no C compiler, cc, is installed")


@pytest.mark.parametrize(
    "draw",
    [reference_in_numpy, reference_in_array_api_strict, pytest.param(kernel_as_c, marks=needs_compiler)],
)
@pytest.mark.parametrize("key", KEYS)
def test_bits_are_those_of_numpys_generator(draw, key):
    for counter in COUNTERS:
        for size in SIZES if counter == 7 else (9,):
            bits = draw(key, counter, size)
            assert bits.dtype == np.uint32
            np.testing.assert_array_equal(bits, expected(key, counter, size), err_msg=f"counter {counter}")


def test_the_counter_is_not_changed():
    counter = np.array(2**64 - 1, np.uint64)
    philox.random_bits(np, (1, 2), counter, 9)
    assert counter == 2**64 - 1
