"""Einstein's summation, in array words."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.checks import shown
from layerkit.errors import ArgumentError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(xp: Backend, subscripts: str, *operands: Array) -> Array:
    """Sum of products over named axes: ``einsum("ij,jk->ik", a, b)`` is ``a @ b``.

    Each operand has a letter for each axis. A letter that the result lacks is summed over; one that an operand has
    twice takes its diagonal; an axis of length 1 is stretched to that of others with its letter. Without ``->`` the
    result has the letters that occur once, in alphabetical order. ``...`` stands for any further axes, which broadcast.
    All of this is as NumPy's function of this name has it.

    Raises:
        ArgumentError: the subscripts cannot be read, or are for another number of operands.
        ShapeError: they do not fit the shapes of the operands.
    """
    terms, result, _ = parsed(subscripts, operands)
    y: Any = None
    letters = ""
    for number, (x, term) in enumerate(zip(operands, terms, strict=True)):
        needed = "".join((result, *terms[number + 1 :]))
        x, term = _summed(xp, *_diagonal(xp, x, term), needed + letters)
        y, letters = (x, term) if y is None else _product(xp, y, letters, x, term, needed)
    return _ordered(xp, y, letters, result)


class Parsed(NamedTuple):
    """What subscripts say, once ``...`` is written as letters too."""

    terms: tuple[str, ...]
    """A letter for each axis, of each operand."""
    result: str
    """A letter for each axis of the result."""
    work: int
    """The product of the lengths of all letters: so many products are summed."""


def parsed(subscripts: str, operands: Sequence[Array]) -> Parsed:
    """Read subscripts, and check that they fit the operands; see `einsum`."""
    shapes = tuple([tuple(x.shape) for x in operands])
    # Whatever is no string may be unhashable.
    return _parsed(subscripts if isinstance(subscripts, str) else shown(subscripts), shapes)  # pyright: ignore[reportUnnecessaryIsInstance]


_TERM = r"[A-Za-z]*(\.\.\.)?[A-Za-z]*"
_TERMS = rf"{_TERM}(,{_TERM})*(->{_TERM})?"


@functools.lru_cache(maxsize=512)
def _parsed(subscripts: str, shapes: tuple[tuple[int, ...], ...]) -> Parsed:
    received = f"Received: subscripts={subscripts!r}, shapes {' and '.join(map(str, shapes)) or 'of no operand'}"
    text = subscripts.replace(" ", "")
    if not re.fullmatch(_TERMS, text):
        raise ArgumentError(f"einsum: subscripts must be letters and '...', as in 'ij,jk->ik'. {received}")
    given, arrow, result = text.partition("->")
    terms = given.split(",")
    if len(terms) != len(shapes):
        raise ArgumentError(f"einsum: there must be subscripts for each operand. {received}")
    further = [len(shape) - len(term.replace("...", "")) for term, shape in zip(terms, shapes, strict=True)]
    if any(n < 0 or (n > 0 and "..." not in term) for term, n in zip(terms, further, strict=True)):
        raise ShapeError(f"einsum: an operand must have an axis for each of its letters, and no other. {received}")
    free = [letter for letter in _LETTERS if letter not in text]
    rest = "".join(free[: max(further)])
    terms = tuple(term.replace("...", rest[len(rest) - n :]) for term, n in zip(terms, further, strict=True))
    joined = "".join(terms)
    if not arrow:
        result = rest + "".join(sorted(letter for letter in set(joined) - {*rest} if joined.count(letter) == 1))
    elif rest and "..." not in result:
        raise ArgumentError(f"einsum: the result must have the '...' of the operands. {received}")
    else:
        result = result.replace("...", rest)
    if len(set(result)) < len(result) or not set(result) <= set(joined):
        raise ArgumentError(
            f"einsum: each letter of the result must be one of an operand's, and stand once. {received}"
        )
    lengths: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        own = dict(zip(term, shape, strict=True))
        for letter, length in zip(term, shape, strict=True):
            if length != own[letter] or 1 != lengths.get(letter, 1) != length != 1:
                raise ShapeError(f"einsum: axes of one letter must have one length, or length 1. {received}")
            if length != 1:
                lengths[letter] = length
    return Parsed(terms, result, math.prod(lengths.values()))


def _diagonal(xp: Backend, x: Array, letters: str) -> tuple[Array, str]:
    """Return x with one axis for each of its letters."""
    for letter in dict.fromkeys(letters):
        while letters.count(letter) > 1:
            pair = letters.index(letter), letters.rindex(letter)
            others = [n for n in range(len(letters)) if n not in pair]
            x = xp.linalg.diagonal(xp.permute_dims(x, (*others, *pair)))
            letters = "".join(letters[n] for n in others) + letter
    return x, letters


def _summed(xp: Backend, x: Array, letters: str, needed: str) -> tuple[Array, str]:
    """Return x summed over the axes whose letters are not needed."""
    axes = tuple(n for n, letter in enumerate(letters) if letter not in needed)
    if not axes:
        return x, letters
    return xp.sum(x, axis=axes, dtype=x.dtype), "".join(letter for letter in letters if letter in needed)


def _product(xp: Backend, a: Array, in_a: str, b: Array, in_b: str, needed: str) -> tuple[Array, str]:
    """Return the product of two, summed over the letters that both have and that are not needed."""
    both = [letter for letter in in_a if letter in in_b]
    stacked = "".join(letter for letter in both if letter in needed)
    inner = "".join(letter for letter in both if letter not in needed)
    rows, columns = ("".join(letter for letter in letters if letter not in both) for letters in (in_a, in_b))
    letters = stacked + rows + columns
    if not inner or not (rows or columns):
        parts = (_ordered(xp, *part, letters + inner) for part in ((a, in_a), (b, in_b)))
        return _summed(xp, xp.multiply(*parts), letters + inner, needed)
    # As a matrix product, for each of what is stacked.
    a, b = _ordered(xp, a, in_a, stacked + rows + inner), _ordered(xp, b, in_b, stacked + inner + columns)
    stack, first, last = len(stacked), len(stacked + rows), len(stacked + inner)
    lengths = tuple(m if n == 1 else n for n, m in zip(a.shape[first:], b.shape[stack:last], strict=True))
    of_rows, of_columns = a.shape[stack:first], b.shape[last:]
    a = xp.broadcast_to(a, (*a.shape[:first], *lengths))
    b = xp.broadcast_to(b, (*b.shape[:stack], *lengths, *of_columns))
    count = math.prod(lengths)
    y = xp.matmul(
        xp.reshape(a, (*a.shape[:stack], math.prod(of_rows), count)),
        xp.reshape(b, (*b.shape[:stack], count, math.prod(of_columns))),
    )
    return xp.reshape(y, (*y.shape[:stack], *of_rows, *of_columns)), letters


def _ordered(xp: Backend, x: Array, letters: str, wanted: str) -> Array:
    """Return x with its axes in the order that is wanted, and axes of length 1 for letters that it lacks."""
    order = tuple(letters.index(letter) for letter in wanted if letter in letters)
    if order != tuple(range(len(letters))):
        x = xp.permute_dims(x, order)
    if len(letters) == len(wanted):
        return x
    lengths = iter(x.shape)
    return xp.reshape(x, tuple(next(lengths) if letter in letters else 1 for letter in wanted))
