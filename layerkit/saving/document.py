"""JSON, read within limits and written in one form.

What is read may have been written by anybody: its size, depth and number of values are looked at before it is parsed,
and everything that parsers disagree about is refused (duplicate keys, NaN, numbers beyond 64 bits, broken UTF-8).
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from layerkit.saving.place import Place

LARGEST_BYTES = 4 * 2**20
DEEPEST = 64
MOST_CONTAINERS = 50_000
MOST_STRINGS = 100_000
MOST_VALUES = 250_000
LONGEST_NUMBER = 40

NAME = re.compile(r"[A-Za-z0-9_.\-]{1,128}\Z")
"""What a name looks like: of a layer, of a class, of a weight within its layer."""

# A string that is not closed reaches to the end: so the search never goes back, whatever the text.
_STRING = re.compile(rb'"[^"\\]*+(?:\\(?:.|\Z)[^"\\]*+)*+(?:"|\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


def dumps(value: Any) -> bytes:
    """Return JSON: ASCII, the same bytes for equal values."""
    return json.dumps(value, allow_nan=False, indent=1).encode("ascii") + b"\n"


def loads(data: bytes, place: Place) -> Any:
    """Return what the JSON says.

    Raises:
        ModelFormatError: it is no JSON, or beyond a limit.
    """
    check_size(len(data), place)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise place.wrong("must be UTF-8", f"byte {error.object[error.start]:#04x} at {error.start}") from None
    _check_extent(data, place)

    def refuse(constant: str) -> NoReturn:
        raise place.wrong("must hold finite numbers", constant)

    def integer(digits: str) -> int:
        number = int(digits) if len(digits) <= LONGEST_NUMBER else 2**64
        if not -(2**63) <= number < 2**64:
            raise place.wrong("must hold integers of 64 bits", digits[:60])
        return number

    def decimal(digits: str) -> float:
        number = float(digits) if len(digits) <= LONGEST_NUMBER else math.inf
        if math.isinf(number):
            raise place.wrong("must hold numbers that a float64 can hold", digits[:60])
        return number

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise place.wrong("must hold each key once", f"{twice[:60]!r} twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique, parse_float=decimal, parse_int=integer, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise place.wrong("must be JSON", f"{error.msg} at line {error.lineno}, column {error.colno}") from None


def check_size(size: int, place: Place) -> None:
    """Refuse JSON that is too long to be read."""
    if size > LARGEST_BYTES:
        raise place.wrong(f"must have at most {LARGEST_BYTES} bytes of JSON", f"{size} bytes")


def _check_extent(data: bytes, place: Place) -> None:
    """Bound what parsing will take, from the characters alone."""
    if data.count(b'"') > 2 * MOST_STRINGS:  # before strings are taken out, for which each must be looked at
        raise place.wrong(f"must hold at most {2 * MOST_STRINGS} quotation marks", "more")
    bare = _STRING.sub(b"", data)
    containers = bare.count(b"[") + bare.count(b"{")
    values = containers + bare.count(b",") + 1
    for most, count, what in (
        (MOST_CONTAINERS, containers, "lists and objects"),
        (MOST_VALUES, values, "values"),
    ):
        if count > most:
            raise place.wrong(f"must hold at most {most} {what}", count)
    depth = 0
    for bracket in _BRACKET.finditer(bare):
        depth += 1 if bracket[0] in b"[{" else -1
        if depth > DEEPEST:
            raise place.wrong(f"must be nested at most {DEEPEST} deep", "more")


# What is expected of a value that was read.


def check_object(value: Any, place: Place, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return an object that has these keys and no others."""
    if not isinstance(value, dict):
        raise place.wrong(f"must be an object with the keys {', '.join(required)}", value)
    given: dict[str, Any] = value  # pyright: ignore[reportUnknownVariableType]
    for key in required:
        if key not in given:
            raise place.wrong(f"must have the key {key!r}", f"the keys {', '.join(map(repr, given)) or 'none'}")
    for key in given:
        if key not in required and key not in optional:
            raise place.wrong(f"must have no other keys than {', '.join((*required, *optional))}", key)
    return given


def check_map(value: Any, place: Place) -> dict[str, Any]:
    """Return an object whose keys are free."""
    if not isinstance(value, dict):
        raise place.wrong("must be an object", value)
    return value  # pyright: ignore[reportUnknownVariableType]


def check_list(value: Any, place: Place) -> list[Any]:
    """Return a list."""
    if not isinstance(value, list):
        raise place.wrong("must be a list", value)
    return value  # pyright: ignore[reportUnknownVariableType]


def check_integer(value: Any, place: Place, least: int = 0, most: int = 2**48) -> int:
    """Return an integer from `least` to `most`."""
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise place.wrong(f"must be an integer from {least} to {most}", value)
    return value


def check_lengths(value: Any, place: Place, *, varies: bool = False) -> tuple[int | None, ...]:
    """Return the lengths of the axes of an array: at most 32; with `varies`, null stands for any."""
    lengths = check_list(value, place)
    if len(lengths) > 32:
        raise place.wrong("must have at most 32 axes", len(lengths))
    return tuple(None if varies and n is None else check_integer(n, place.at(index)) for index, n in enumerate(lengths))


def check_text(value: Any, place: Place) -> str:
    """Return text."""
    if not isinstance(value, str):
        raise place.wrong("must be text", value)
    return value


def check_name(value: Any, place: Place) -> str:
    """Return a name, or a path of names with "/" between them."""
    text = check_text(value, place)
    if len(text) > 1024 or not all(NAME.match(part) for part in text.split("/")):
        raise place.wrong("must be a name of letters, digits, '_', '.' and '-', at most 128 of them", value)
    return text
