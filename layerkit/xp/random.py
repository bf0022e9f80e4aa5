"""Random numbers that are the same on every backend: counter-based streams, keyed by a seed and a path.

The generator is Philox 4x64-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011)
as `numpy.random.Philox` has it. A stream's key is (seed, hash of the path), so that streams of different layers are
independent and none depends on the order in which they are made.
"""

from __future__ import annotations

import math
import os
from itertools import count
from typing import TYPE_CHECKING

from layerkit.checks import is_integer
from layerkit.errors import ArgumentError
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend

_WORDS_PER_BLOCK = 8  # 4 words of 64 bits, of two 32-bit words each


# Where a user has asked for it, what the seeds follow from that nobody gives.
_fresh: Callable[[], int] | None = None


def fresh_seed() -> int:
    """Return a seed for when the user gives none: from the operating system's entropy, or see `seed_fresh_seeds`."""
    return int.from_bytes(os.urandom(8), "little") >> 1 if _fresh is None else _fresh()


def seed_fresh_seeds(seed: int) -> None:
    """Let all further fresh seeds be the numbers of a sequence that follows from this one."""
    global _fresh  # one for the process, as `random.seed` is
    numbers = count()

    def next_seed() -> int:
        return stream_key(0, f"fresh seed {next(numbers)} of {seed}")[1] >> 1

    _fresh = next_seed


def check_seed(seed: int | None, owner: str) -> int | None:
    """Return the seed.

    Raises:
        ArgumentError: it is no integer from 0 to 2⁶⁴ - 1.
    """
    if seed is None:
        return None
    if not (is_integer(seed) and 0 <= seed < 2**64):
        raise ArgumentError(f"{owner}: seed must be an integer from 0 to 2**64 - 1, or None. Received: seed={seed!r}")
    return int(seed)


def stream_key(seed: int, path: str) -> tuple[int, int]:
    """Return the two 64-bit words of a stream's key: the seed, and the FNV-1a hash of the path (RFC 9923)."""
    hashed = 0xCBF29CE484222325
    for byte in path.encode():
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return seed, hashed


class RandomStream:
    """A layer's own source of random numbers: it draws them on the device, from a counter that is state.

    Two runs with one seed draw the same numbers, whatever the backend; so does a run that is replayed or resumed.

    Args:
        xp: the backend that holds the counter.
        key: the stream's identity, from `stream_key`.
        name: the counter's name.
    """

    def __init__(self, xp: Backend, key: tuple[int, int], name: str) -> None:
        self.key = key
        self.counter = Variable(0, "uint64", name, trainable=False, xp=xp)

    def bits(self, xp: Backend, shape: tuple[int, ...]) -> Array:
        """Draw 32 random bits an element, as uint32, and advance the counter."""
        size = math.prod(shape)
        bits = xp.random_bits(self.key, self.counter.value, size)
        xp.assign_add(self.counter.value, -(-size // _WORDS_PER_BLOCK))
        return xp.reshape(bits, shape)

    def uniform(self, xp: Backend, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """Draw from the uniform distribution on [0, 1): multiples of 2⁻²⁴, which both float types hold exactly."""
        if dtype not in ("float32", "float64"):  # as many bits as they hold
            return xp.astype(xp.bitwise_right_shift(self.bits(xp, shape), 24), getattr(xp, dtype)) * 2.0**-8
        return xp.astype(xp.bitwise_right_shift(self.bits(xp, shape), 8), getattr(xp, dtype)) * 2.0**-24

    def normal(self, xp: Backend, shape: tuple[int, ...], dtype: str = "float32") -> Array:
        """Draw from the standard normal distribution, by the transform of Box and Muller (1958)."""
        if dtype not in ("float32", "float64"):  # in which 1 - u may be 0
            return xp.astype(self.normal(xp, shape), getattr(xp, dtype))
        radius = xp.sqrt(-2.0 * xp.log(1.0 - self.uniform(xp, shape, dtype)))  # 1 - u is never 0
        return radius * xp.cos(2.0 * math.pi * self.uniform(xp, shape, dtype))
