"""Philox 4x64-10 in signed integers of 64 bits: PyTorch computes with no unsigned ones.

Sums and products have the same bits with and without a sign. Where they differ, at shifts to the right and at
comparisons, the bits of the sign are taken off, or turned. See `layerkit.xp.philox`, which is the judge.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

torch: Any = import_module("torch")

_LOW_32 = 0xFFFFFFFF
_LOW_64 = 0xFFFFFFFFFFFFFFFF
_MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
_KEY_STEPS = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
_ROUNDS = 10


def random_bits(key: tuple[int, int], counter: Any, size: int) -> Any:
    """See `Backend.random_bits`."""
    blocks = -(-size // 8)
    start = counter.view(torch.int64)
    c0 = start + torch.arange(1, blocks + 1, device=counter.device)
    turned = -(2**63)
    c1 = (c0 ^ turned < start ^ turned).to(torch.int64)  # what the first of the counter's words carries to the second
    c2 = c3 = torch.zeros_like(c0)
    k0, k1 = key
    for _ in range(_ROUNDS):
        high_0, low_0 = _product(c0, _MULTIPLIERS[0])
        high_1, low_1 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high_1 ^ c1 ^ _signed(k0), low_1, high_0 ^ c3 ^ _signed(k1), low_0
        k0, k1 = (k0 + _KEY_STEPS[0]) & _LOW_64, (k1 + _KEY_STEPS[1]) & _LOW_64
    halves = torch.stack([half for word in (c0, c1, c2, c3) for half in (word & _LOW_32, _high(word))], dim=1)
    return halves.reshape(-1)[:size].to(torch.uint32)


def _signed(number: int) -> int:
    return number - 2**64 if number >= 2**63 else number


def _high(x: Any) -> Any:
    return (x >> 32) & _LOW_32


def _product(x: Any, factor: int) -> tuple[Any, Any]:
    """Return the upper and the lower 64 bits of ``x * factor``, from products of halves."""
    x_high, x_low = _high(x), x & _LOW_32
    factor_high, factor_low = factor >> 32, factor & _LOW_32
    cross = x_high * factor_low
    middle = _high(x_low * factor_low) + (cross & _LOW_32) + x_low * factor_high
    return x_high * factor_high + _high(cross) + _high(middle), x * _signed(factor)
