"""Hashes of bytes that never change: FarmHash's Fingerprint64, and SipHash-2-4.

The same numbers as in TensorFlow, and so in Keras: a hash of a category is part of what a trained model means. They are
written in Python: of an array, each different item is hashed once.
"""

from __future__ import annotations

MASK = (1 << 64) - 1

K0, K1, K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F


def fingerprint64(text: bytes) -> int:
    """Return FarmHash's Fingerprint64, ``farmhashna::Hash64`` (Pike, https://github.com/google/farmhash, 2014)."""
    length = len(text)
    if length <= 16:
        return _up_to_16(text)
    if length <= 32:
        return _up_to_32(text)
    return _up_to_64(text) if length <= 64 else _longer(text)


def siphash(text: bytes, key: tuple[int, int]) -> int:
    """Return SipHash-2-4 under a key of two numbers of 64 bits (Aumasson and Bernstein, INDOCRYPT 2012)."""
    first, second = (number & MASK for number in key)
    state = (
        first ^ 0x736F6D6570736575,
        second ^ 0x646F72616E646F6D,
        first ^ 0x6C7967656E657261,
        second ^ 0x7465646279746573,
    )
    whole = len(text) - len(text) % 8
    words = [_fetch(text, place) for place in range(0, whole, 8)]
    for word in (*words, int.from_bytes(text[whole:], "little") | (len(text) & 0xFF) << 56):
        state = (*state[:3], state[3] ^ word)
        state = _sip_round(*_sip_round(*state))
        state = (state[0] ^ word, *state[1:])
    state = (*state[:2], state[2] ^ 0xFF, state[3])
    for _ in range(4):
        state = _sip_round(*state)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _sip_round(a: int, b: int, c: int, d: int) -> tuple[int, int, int, int]:
    a, c = (a + b) & MASK, (c + d) & MASK
    b, d = _right(b, 51) ^ a, _right(d, 48) ^ c
    a = _right(a, 32)
    c, a = (c + b) & MASK, (a + d) & MASK
    b, d = _right(b, 47) ^ c, _right(d, 43) ^ a
    return a, b, _right(c, 32), d


def _fetch(text: bytes, place: int, size: int = 8) -> int:
    return int.from_bytes(text[place : place + size], "little")


def _right(value: int, bits: int) -> int:
    """Return a number of 64 bits, rotated to the right."""
    value &= MASK
    return (value >> bits | value << (64 - bits)) & MASK


def _mixed(value: int) -> int:
    value &= MASK
    return value ^ value >> 47


def _of_16(first: int, second: int, factor: int) -> int:
    a = _mixed((first ^ second) * factor)
    return _mixed((second ^ a) * factor) * factor & MASK


def _up_to_16(text: bytes) -> int:
    length = len(text)
    factor = K2 + length * 2
    if length >= 8:
        a, b = _fetch(text, 0) + K2 & MASK, _fetch(text, length - 8)
        c = _right(b, 37) * factor + a & MASK
        return _of_16(c, (_right(a, 25) + b) * factor & MASK, factor)
    if length >= 4:
        return _of_16(length + (_fetch(text, 0, 4) << 3), _fetch(text, length - 4, 4), factor)
    if length > 0:
        y = text[0] + (text[length >> 1] << 8)
        z = length + (text[-1] << 2)
        return _mixed((y * K2 & MASK) ^ (z * K0 & MASK)) * K2 & MASK
    return K2


def _up_to_32(text: bytes) -> int:
    length = len(text)
    factor = K2 + length * 2
    a, b = _fetch(text, 0) * K1 & MASK, _fetch(text, 8)
    c, d = _fetch(text, length - 8) * factor & MASK, _fetch(text, length - 16) * K2
    first = _right(a + b, 43) + _right(c, 30) + d & MASK
    return _of_16(first, a + _right(b + K2, 18) + c & MASK, factor)


def _up_to_64(text: bytes) -> int:
    length = len(text)
    factor = K2 + length * 2
    a, b = _fetch(text, 0) * K2 & MASK, _fetch(text, 8)
    c, d = _fetch(text, length - 8) * factor & MASK, _fetch(text, length - 16) * K2
    y = _right(a + b, 43) + _right(c, 30) + d & MASK
    z = _of_16(y, a + _right(b + K2, 18) + c & MASK, factor)
    e, f = _fetch(text, 16) * factor & MASK, _fetch(text, 24)
    g = (y + _fetch(text, length - 32)) * factor & MASK
    h = (z + _fetch(text, length - 24)) * factor
    first = _right(e + f, 43) + _right(g, 30) + h & MASK
    return _of_16(first, e + _right(f + a, 18) + g & MASK, factor)


def _weak(text: bytes, place: int, a: int, b: int) -> tuple[int, int]:
    """Return two numbers of 32 bytes and two seeds."""
    w, x, y, z = (_fetch(text, place + shift) for shift in (0, 8, 16, 24))
    a += w
    b = _right(b + a + z, 21)
    c = a
    a += x + y
    b += _right(a, 44)
    return a + z & MASK, b + c & MASK


def _longer(text: bytes) -> int:
    seed = 81
    x, y = seed, seed * K1 + 113 & MASK
    z = _mixed(y * K2 + 113) * K2 & MASK
    v = w = (0, 0)
    x = x * K2 + _fetch(text, 0) & MASK

    def turned(place: int, factor: int, weight: int) -> None:
        nonlocal x, y, z, v, w
        x = _right(x + y + v[0] + _fetch(text, place + 8), 37) * factor & MASK
        y = _right(y + v[1] + _fetch(text, place + 48), 42) * factor & MASK
        x ^= w[1] * weight & MASK
        y = y + v[0] * weight + _fetch(text, place + 40) & MASK
        z = _right(z + w[0], 33) * factor & MASK
        v = _weak(text, place, v[1] * factor, x + w[0])
        w = _weak(text, place + 32, z + w[1], y + _fetch(text, place + 16))
        z, x = x, z

    rest = len(text) - 1 & 63
    for place in range(0, len(text) - 1 - rest, 64):
        turned(place, K1, 1)
    factor = K1 + ((z & 0xFF) << 1)
    w = (w[0] + rest, w[1])
    v = (v[0] + w[0], v[1])
    w = (w[0] + v[0], w[1])
    turned(len(text) - 64, factor, 9)
    first = _of_16(v[0], w[0], factor) + _mixed(y) * K0 + z & MASK
    return _of_16(first, _of_16(v[1], w[1], factor) + x & MASK, factor)
