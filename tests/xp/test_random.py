"""Random numbers: the same bits on every backend, from a generator whose answers are known."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from layerkit.errors import ArgumentError
from layerkit.xp import RandomStream, backend
from layerkit.xp.random import check_seed, fresh_seed, stream_key

MASK = 2**64 - 1


def philox4x64_10(counter, key):
    """Return the block of four 64-bit words at this counter (Salmon, Moraes, Dror and Shaw, SC 2011, figure 2).

    In numbers of Python alone: it shares nothing with what it is to judge.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & MASK, (p0 >> 64) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return [c0, c1, c2, c3]


def bits_of(key, counter, size):
    """Return 32-bit words from the block after `counter` on, low half first."""
    words = []
    number = counter
    while len(words) < size:
        number += 1  # NumPy adds 1 before it draws
        for word in philox4x64_10([number >> shift & MASK for shift in (0, 64, 128, 192)], key):
            words += [word & 0xFFFFFFFF, word >> 32]
    return words[:size]


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, [0] * 2, "16554d9eca36314c db20fe9d672d0fdc d7e772cee186176b 7e68b68aec7ba23b"),
        ([MASK] * 4, [MASK] * 2, "87b092c3013fe90b 438c3c67be8d0224 9cc7d7c69cd777b6 a09caebf594f0ba0"),
        (
            [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
            [0x452821E638D01377, 0xBE5466CF34E90C6C],
            "a528f45403e61d95 38c72dbd566e9788 a5a1610e72fd18b5 57bd43b5e52b7fe6",
        ),
    ],
)
def test_the_generator_gives_the_known_answers_of_random123(counter, key, answer):
    """The vectors for philox4x64-10 in `kat_vectors` of the Random123 library by the generator's authors."""
    assert [f"{word:016x}" for word in philox4x64_10(counter, key)] == answer.split()


@pytest.mark.parametrize("key", [(0, 0), (1, 2), (MASK, 12345678901234567890)])
@pytest.mark.parametrize("counter", [0, 1, 2**32 - 1, 2**63, MASK - 1, MASK])
@pytest.mark.parametrize("size", [0, 1, 8, 9, 100])
def test_bits_are_those_of_philox(xp, key, counter, size):
    state = xp.state(np.array(counter, np.uint64), "uint64")
    bits = xp.random_bits(key, state, size)
    assert (bits.shape, bits.dtype) == ((size,), xp.uint32)
    host = xp.to_numpy(bits)
    assert host.tolist() == bits_of(key, counter, size)
    raw = np.random.Philox(key=np.array(key, np.uint64), counter=counter).random_raw(-(-size // 2))
    np.testing.assert_array_equal(host, raw.astype("<u8").view("<u4")[:size])
    assert int(xp.to_numpy(state)) == counter


def test_a_stream_goes_on_where_it_stood(xp):
    stream = RandomStream(xp, (3, 4), "mask")
    first, second = stream.bits(xp, (2, 5)), stream.bits(xp, (3,))
    assert xp.to_numpy(first).ravel().tolist() == bits_of((3, 4), 0, 10)
    # Ten words take two blocks of eight; the rest of the second is thrown away.
    assert xp.to_numpy(second).tolist() == bits_of((3, 4), 2, 3)
    assert int(stream.counter.numpy()) == 3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_numbers_are_exact_multiples(xp, dtype):
    numbers = RandomStream(xp, (3, 4), "uniform").uniform(xp, (1000,), dtype)
    assert numbers.dtype == getattr(xp, dtype)
    host = xp.to_numpy(numbers)
    np.testing.assert_array_equal(host, [(word >> 8) / 2.0**24 for word in bits_of((3, 4), 0, 1000)])
    assert 0.0 <= host.min() < 0.01
    assert 0.99 < host.max() < 1.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_have_the_normal_moments(xp, dtype):
    size = 20_000
    numbers = RandomStream(xp, (3, 4), "normal").normal(xp, (size,), dtype)
    assert numbers.dtype == getattr(xp, dtype)
    host = xp.to_numpy(numbers).astype(np.float64)
    # Six standard errors of the mean, variance, third and fourth moment (Stuart and Ord, 1994, section 10.5).
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(host**power) - moment) < 6 * np.sqrt(variance / size)


def test_normal_numbers_are_those_of_box_and_muller(xp):
    host = xp.to_numpy(RandomStream(xp, (3, 4), "normal").normal(xp, (8,), "float64"))
    first, second = ([(word >> 8) / 2.0**24 for word in bits_of((3, 4), start, 8)] for start in (0, 1))
    expected = np.sqrt(-2 * np.log1p(-np.array(first))) * np.cos(2 * np.pi * np.array(second))
    np.testing.assert_allclose(host, expected, rtol=1e-12, atol=1e-12)


def test_a_copy_of_a_stream_goes_its_own_way(xp):
    stream = RandomStream(xp, (3, 4), "mask")
    stream.bits(xp, (8,))
    for twin in (copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))):
        assert xp.to_numpy(twin.bits(xp, (8,))).tolist() == bits_of((3, 4), 1, 8)
    assert xp.to_numpy(stream.bits(xp, (8,))).tolist() == bits_of((3, 4), 1, 8)


def test_a_stream_moves_with_its_counter(xp):
    stream = RandomStream(backend("numpy"), (3, 4), "mask")
    stream.bits(backend("numpy"), (8,))
    stream.counter.move(xp)
    assert xp.to_numpy(stream.bits(xp, (8,))).tolist() == bits_of((3, 4), 1, 8)


# Seeds and keys.


def test_keys_differ_by_seed_and_by_path():
    keys = {stream_key(seed, path) for seed in range(10) for path in ("", "a", "b", "a/b", "dense/mask")}
    assert len(keys) == 50
    assert stream_key(7, "a") == stream_key(7, "a")
    assert stream_key(7, "a")[0] == 7
    assert all(0 <= word <= MASK for word in stream_key(MASK, "kernel"))


@pytest.mark.parametrize(
    ("path", "answer"), [("", 0xCBF29CE484222325), ("a", 0xAF63DC4C8601EC8C), ("foobar", 0x85944171F73967E8)]
)
def test_a_key_is_the_hash_of_its_path(path, answer):
    """Known answers of the 64-bit FNV-1a hash, from its authors' test suite (draft-eastlake-fnv, appendix C)."""
    assert stream_key(5, path) == (5, answer)


@pytest.mark.parametrize("seed", [-1, 2**64, 1.5, "7", float("nan")])
def test_a_seed_out_of_range_is_refused(seed):
    text = f"Dropout: seed must be an integer from 0 to 2**64 - 1, or None. Received: seed={seed!r}"
    with pytest.raises(ArgumentError) as caught:
        check_seed(seed, "Dropout")
    assert str(caught.value) == text


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1, np.int64(3), np.uint64(2**63), None])
def test_a_seed_in_range_is_taken(seed):
    assert check_seed(seed, "Dropout") == seed


def test_fresh_seeds_differ():
    seeds = {fresh_seed() for _ in range(20)}
    assert len(seeds) == 20
    assert all(check_seed(seed, "model") == seed for seed in seeds)
