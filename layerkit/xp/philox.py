"""Philox 4x64-10 in array words: what `Backend.random_bits` is, and the judge of every faster version.

The generator is that of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Here it
needs no more than an array library with uint64.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend

_LOW_32 = 0xFFFFFFFF
_LOW_64 = 0xFFFFFFFFFFFFFFFF
# The constants of the paper, as `numpy.random.Philox` has them too.
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10


def random_bits(xp: Backend, key: tuple[int, int], counter: Array, size: int) -> Array:
    """See `Backend.random_bits`."""
    blocks = -(-size // 8)
    start: Any = counter
    # NumPy adds 1 before it draws a block.
    c0: Any = start + xp.arange(1, blocks + 1, dtype=xp.uint64)
    c1: Any = xp.astype(c0 < start, xp.uint64)  # what the first of the counter's four words carries to the second
    c2 = c3 = xp.zeros((blocks,), dtype=xp.uint64)
    k0, k1 = key
    for _ in range(_ROUNDS):
        high_0, low_0 = _product(xp, c0, _MULTIPLIERS[0])
        high_1, low_1 = _product(xp, c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high_1 ^ c1 ^ _wide(xp, k0), low_1, high_0 ^ c3 ^ _wide(xp, k1), low_0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW_64, (k1 + _KEY_STEPS[1]) & _LOW_64
    halves = xp.stack([half for word in (c0, c1, c2, c3) for half in (word & _LOW_32, word >> 32)], axis=1)
    return xp.astype(xp.reshape(halves, (-1,))[:size], xp.uint32)


def _wide(xp: Backend, number: int) -> Any:
    """Return a number of 64 bits as an array, made of halves: not every library takes an integer above 2⁶³ - 1."""
    high: Any = xp.full((), number >> 32, dtype=xp.uint64)
    return (high << 32) | (number & _LOW_32)


def _product(xp: Backend, x: Any, factor: int) -> tuple[Any, Any]:
    """Return the upper and the lower 64 bits of ``x * factor``, from products of halves, none of which overflows."""
    x_high, x_low = x >> 32, x & _LOW_32
    factor_high, factor_low = factor >> 32, factor & _LOW_32
    cross = x_high * factor_low
    middle = (x_low * factor_low >> 32) + (cross & _LOW_32) + x_low * factor_high
    return x_high * factor_high + (cross >> 32) + (middle >> 32), x * _wide(xp, factor)
