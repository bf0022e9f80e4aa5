"""The container: a zip file whose members are stored as they are, side by side, and nothing else.

What is written has one form: of two files with the same members, every byte is equal. What is read must be a plain row
of stored members, each described twice in the same words, with nothing before, between or behind them; a layerkit file
must moreover have that one form, down to the last bit. Format: PKWARE, APPNOTE 6.3.10, sections 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from layerkit.saving.place import Place

CHUNK = 2**20
MOST_MEMBERS = 20_000

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_FULL = 0xFFFFFFFF  # "see the 64-bit field"
_1980 = 0x21  # the first day that the format knows
_FILE_MODE = 0o100644 << 16


class Member(NamedTuple):
    """A member, and where its bytes lie in the file."""

    name: str
    start: int
    size: int
    crc: int


# Writing.


def _extra(*numbers: int) -> bytes:
    return struct.pack(f"<HH{len(numbers)}Q", 1, 8 * len(numbers), *numbers) if numbers else b""


def _local(name: bytes, size: int, crc: int) -> bytes:
    extra = _extra(size, size) if size >= _FULL else b""
    shown = min(size, _FULL)
    head = _LOCAL.pack(b"PK\3\4", 45 if extra else 20, 0, 0, 0, _1980, crc, shown, shown, len(name), len(extra))
    return head + name + extra


def _central(name: bytes, size: int, crc: int, offset: int) -> bytes:
    extra = _extra(*([size, size] if size >= _FULL else []), *([offset] if offset >= _FULL else []))
    version, shown = 45 if extra else 20, min(size, _FULL)
    sizes = crc, shown, shown, len(name), len(extra), 0, 0, 0
    # Made on Unix, so that programs that unpack it give the file sensible permissions.
    head = _CENTRAL.pack(b"PK\1\2", 3 << 8 | version, version, 0, 0, 0, _1980, *sizes, _FILE_MODE, min(offset, _FULL))
    return head + name + extra


def _end(count: int, start: int, size: int) -> bytes:
    end = b""
    if start >= _FULL:
        end = _END_64.pack(b"PK\6\6", _END_64.size - 12, 3 << 8 | 45, 45, 0, 0, count, count, size, start)
        end += _LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
    return end + _END.pack(b"PK\5\6", 0, 0, min(count, 0xFFFF), min(count, 0xFFFF), size, min(start, _FULL), 0)


class Writer:
    """Writes members into a file that can be sought in, from its beginning."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._directory = b""
        self._count = 0

    def add(self, name: str, size: int, chunks: Iterable[Any], *hashes: Any) -> Member:
        """Write a member of `size` bytes, which `chunks` give, and update the hashes with them."""
        file, raw = self._file, name.encode("ascii")
        offset, crc, written = file.tell(), 0, 0
        file.write(_local(raw, size, crc))
        start = file.tell()
        for chunk in chunks:
            file.write(chunk)
            crc = zlib.crc32(chunk, crc)
            written += len(chunk)
            for each in hashes:
                each.update(chunk)
        assert written == size  # noqa: S101 - or the file would be broken
        file.seek(offset)
        file.write(_local(raw, size, crc))
        file.seek(start + size)
        self._directory += _central(raw, size, crc, offset)
        self._count += 1
        return Member(name, start, size, crc)

    def close(self) -> None:
        """Write what stands at the end."""
        start = self._file.tell()
        self._file.write(self._directory + _end(self._count, start, len(self._directory)))


# Reading.


def members(file: BinaryIO, place: Place) -> list[Member]:
    """Return the members of a zip file, in order.

    Raises:
        ModelFormatError: it is none, or not a plain row of stored members.
    """
    length = file.seek(0, 2)
    count, size, start = _directory_place(file, length, place)
    if count > MOST_MEMBERS or size > count * 512:
        raise place.wrong(f"must have at most {MOST_MEMBERS} members with short names", f"{count}, {size} bytes")
    file.seek(start)
    directory = file.read(size)
    found: list[Member] = []
    names: set[str] = set()
    position = read = 0
    for _ in range(count):
        name, member_size, crc, offset, used = _central_entry(directory, read, place)
        if name in names:
            raise place.wrong("must hold each member once", f"{name!r} twice")
        if offset != position:
            raise place.wrong("must hold its members one behind the other, without gaps", f"{name!r} at {offset}")
        begin = _check_local(file, place.within(name), offset, start, name, member_size, crc)
        position = begin + member_size
        if position > start:
            raise place.wrong("must hold its members whole", f"{name!r} of {member_size} bytes")
        names.add(name)
        found.append(Member(name, begin, member_size, crc))
        read += used
    if position != start or read != len(directory):
        raise place.wrong("must hold its members and nothing else", f"{start - position} further bytes")
    return found


def _directory_place(file: BinaryIO, length: int, place: Place) -> tuple[int, int, int]:
    end = length - _END.size
    if end < 0:
        raise place.wrong("must be a zip file", f"{length} bytes")
    file.seek(end)
    signature, disk, first, here, count, size, start, comment = _END.unpack(file.read(_END.size))
    if signature != b"PK\5\6" or disk or first or comment:
        raise place.wrong("must be a zip file, and end where that does", "another ending")
    if start == _FULL:
        end -= _END_64.size + _LOCATOR.size
        if end < 0:
            raise place.wrong("must be a zip file", f"{length} bytes")
        file.seek(end)
        wide = _END_64.unpack(file.read(_END_64.size))
        locator = _LOCATOR.unpack(file.read(_LOCATOR.size))
        rest = (b"PK\6\6", _END_64.size - 12, 0, 0)
        if (*wide[:2], *wide[4:6]) != rest or locator != (b"PK\6\7", 0, end, 1):
            raise place.wrong("must be a zip file, and end where that does", "another ending")
        here, count, size, start = wide[6:]
    if here != count or start + size != end:
        raise place.wrong("must have its directory at its end", f"{size} bytes at {start} of {length}")
    return count, size, start


def _wide(extra: bytes, numbers: list[int], place: Place) -> list[int]:
    """Return numbers, with those that are full taken from the extra field, which must hold no more than that."""
    wanted = [index for index, number in enumerate(numbers) if number == _FULL]
    if len(extra) != (4 + 8 * len(wanted) if wanted else 0):
        raise place.wrong("must have no fields beyond its size", f"{len(extra)} bytes of them")
    if wanted:
        kind, length, *found = struct.unpack(f"<HH{len(wanted)}Q", extra)
        if (kind, length) != (1, 8 * len(wanted)):
            raise place.wrong("must have no fields beyond its size", f"a field of kind {kind}")
        for index, number in zip(wanted, found, strict=True):
            numbers[index] = number
    return numbers


def _check_stored(flags: int, method: int, place: Place) -> None:
    if flags:
        raise place.wrong("must be stored without encryption and other options", f"flags {flags:#06x}")
    if method:
        raise place.wrong("must be stored, not compressed", f"method {method}")


def _central_entry(directory: bytes, read: int, place: Place) -> tuple[str, int, int, int, int]:
    if read + _CENTRAL.size > len(directory):
        raise place.wrong("must have a directory of all its members", "a shorter one")
    fields = _CENTRAL.unpack_from(directory, read)
    signature, _, _, flags, method, _, _, crc, packed, size, *lengths, disk, _, _, offset = fields
    names, extras, comments = lengths
    stop = read + _CENTRAL.size + names + extras
    if signature != b"PK\1\2" or disk or comments or stop > len(directory):
        raise place.wrong("must have a directory of all its members", "another entry")
    begin = read + _CENTRAL.size
    name = _text(directory[begin : begin + names], place)
    here = place.within(name)
    _check_stored(flags, method, here)
    packed, size, offset = _wide(directory[begin + names : stop], [packed, size, offset], here)
    if packed != size:
        raise here.wrong("must be stored, not compressed", f"{packed} bytes for {size}")
    return name, size, crc, offset, stop - read


def _check_local(file: BinaryIO, place: Place, offset: int, stop: int, name: str, size: int, crc: int) -> int:
    """Compare what stands before a member with what the directory says, and return where its bytes begin."""
    file.seek(offset)
    head = file.read(min(_LOCAL.size, stop - offset))
    if len(head) == _LOCAL.size:
        signature, _, flags, method, _, _, own_crc, packed, own_size, names, extras = _LOCAL.unpack(head)
        rest = file.read(names + extras)
        _check_stored(flags, method, place)
        packed, own_size = _wide(rest[names:], [packed, own_size], place)
        if (signature, rest[:names], own_crc, packed, own_size) == (b"PK\3\4", name.encode(), crc, size, size):
            return offset + _LOCAL.size + names + extras
    raise place.wrong("must be described alike before its bytes and in the directory", "two descriptions")


def _text(raw: bytes, place: Place) -> str:
    if not raw.isascii() or not raw:
        raise place.wrong("must have members with plain names", repr(raw[:60]))
    return raw.decode("ascii")


def check_form(file: BinaryIO, found: list[Member], place: Place) -> None:
    """Check that whatever stands around the members is what `Writer` writes there, bit for bit."""
    directory, offset = b"", 0
    for member in found:
        raw = member.name.encode("ascii")
        _check_bytes(file, offset, _local(raw, member.size, member.crc), place)
        directory += _central(raw, member.size, member.crc, offset)
        offset = member.start + member.size
    _check_bytes(file, offset, directory + _end(len(found), offset, len(directory)), place)


def _check_bytes(file: BinaryIO, offset: int, expected: bytes, place: Place) -> None:
    file.seek(offset)
    if file.read(len(expected) + 1)[: len(expected)] != expected:
        raise place.wrong("must be laid out as layerkit does", f"other bytes at {offset}")


def chunks(file: BinaryIO, member: Member) -> Iterator[bytes]:
    """Yield the bytes of a member."""
    file.seek(member.start)
    left = member.size
    while left:
        chunk = file.read(min(left, CHUNK))
        if not chunk:
            return  # it was cut off since; whoever compares sizes or hashes will see
        left -= len(chunk)
        yield chunk


def content(file: BinaryIO, member: Member) -> bytes:
    """Return the bytes of a member, which must be known to be short."""
    return b"".join(chunks(file, member))


def checksum(file: BinaryIO, member: Member) -> int:
    """Return the CRC-32 of a member's bytes."""
    crc = 0
    for chunk in chunks(file, member):
        crc = zlib.crc32(chunk, crc)
    return crc
