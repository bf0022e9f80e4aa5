"""Arrays in files: safetensors, and NumPy's npz.

Both are read here and not by their libraries, so that each shape is compared with what is wanted before anything is
allocated, and so that nothing has to be installed. A safetensors file is the length of its header (eight bytes, little
endian), the header (JSON: dtype, shape and place of each array), and the bytes of the arrays, one behind the other.
Source: https://github.com/huggingface/safetensors, "Format"; numpy.lib.format, version 1.0.
"""

from __future__ import annotations

import math
import re
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np

from layerkit.checks import is_a
from layerkit.saving import archive, document

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import NDArray

    from layerkit.saving.archive import Member
    from layerkit.saving.place import Place

# Names of dtypes in safetensors, of layerkit's dtypes.
CODES = {
    "bool": "BOOL",
    **{f"{sign}{bits}": f"{sign[0].upper()}{bits}" for sign in ("int", "uint") for bits in (8, 16, 32, 64)},
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
DTYPES = {code: dtype for dtype, code in CODES.items()}
BYTES = {dtype: np.dtype(dtype).itemsize for dtype in CODES}

_LENGTH = struct.Struct("<Q")
_NPY = b"\x93NUMPY\x01\x00"
_NPY_HEADER = re.compile(
    rb"\{'descr': '([<|])([biuf])([1248])', 'fortran_order': (True|False), 'shape': \(([0-9, ]{0,400})\), \} *\n"
)
_LONGEST_NPY_HEADER = 1024


class Tensor(NamedTuple):
    """An array in a file: its dtype, its shape, and where its bytes begin."""

    dtype: str
    shape: tuple[int, ...]
    start: int

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return math.prod(self.shape) * BYTES[self.dtype]


# Writing.


class Source(NamedTuple):
    """What an array will be: its values are fetched when its turn comes."""

    dtype: str
    shape: tuple[int, ...]
    fetch: Any
    """A function that returns the values, as a NumPy array."""


def source(values: NDArray[Any]) -> Source:
    """Return an array that is at hand, as a `Source`."""
    return Source(values.dtype.name, values.shape, lambda: values)


def _raw(source: Source) -> memoryview:
    """Return the bytes of an array: row by row, little endian."""
    values = np.ascontiguousarray(source.fetch(), np.dtype(source.dtype).newbyteorder("<"))
    return values.reshape(-1).view(np.uint8).data


class Image:
    """The bytes of a safetensors file: how many there are, and then the bytes themselves."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        # Wide dtypes first: so each array begins at a multiple of its own width, as the format's own library has it.
        self._sources = sorted(sources.items(), key=lambda item: (-BYTES[item[1].dtype], item[0]))
        header: dict[str, Any] = {}
        stop = 0
        for name, each in self._sources:
            start, stop = stop, stop + math.prod(each.shape) * BYTES[each.dtype]
            header[name] = {"dtype": CODES[each.dtype], "shape": list(each.shape), "data_offsets": [start, stop]}
        text = document.dumps(header)
        text += b" " * (-len(text) % 8)
        self._head = _LENGTH.pack(len(text)) + text
        self.size = len(self._head) + stop

    def chunks(self) -> Iterator[bytes | memoryview]:
        """Yield the bytes."""
        yield self._head
        for _, each in self._sources:
            yield _raw(each)


def write_npz(file: BinaryIO, sources: Mapping[str, Source]) -> None:
    """Write an npz file, which `numpy.load` reads."""
    writer = archive.Writer(file)
    for name, each in sources.items():
        descr = np.dtype(each.dtype).newbyteorder("<").str
        header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {each.shape!r}, }}"
        length = -(-(len(_NPY) + 2 + len(header) + 1) // 64) * 64 - len(_NPY) - 2
        head = _NPY + struct.pack("<H", length) + header.ljust(length - 1).encode("ascii") + b"\n"
        size = len(head) + math.prod(each.shape) * BYTES[each.dtype]
        writer.add(f"{name}.npy", size, _npy(head, each))
    writer.close()


def _npy(head: bytes, source: Source) -> Iterable[bytes | memoryview]:
    yield head
    yield _raw(source)


# Reading.


def safetensors(file: BinaryIO, start: int, size: int, place: Place) -> dict[str, Tensor]:
    """Return what the header of a safetensors file lists, which `size` bytes from `start` on are.

    Raises:
        ModelFormatError: it is none, or its arrays do not lie one behind the other to its end.
    """
    file.seek(start)
    raw = file.read(min(_LENGTH.size, size))
    if len(raw) < _LENGTH.size:
        raise place.wrong("must be in the format of safetensors", f"{size} bytes")
    (length,) = _LENGTH.unpack(raw)
    data = start + _LENGTH.size + length
    if length > size - _LENGTH.size:
        raise place.wrong("must have its header within it", f"a header of {length} bytes in {size}")
    document.check_size(length, place)
    header = document.check_map(document.loads(file.read(length), place), place)
    listed: list[tuple[int, int, str, Tensor]] = []
    for name, entry in header.items():
        here = place.at(name)
        if name == "__metadata__":  # of other programs: text, which says nothing about the arrays
            for key, text in document.check_map(entry, here).items():
                document.check_text(text, here.at(key))
            continue
        document.check_name(name, here)
        tensor, begin, stop = _entry(entry, here, data)
        listed.append((begin, stop, name, tensor))
    position = 0
    for begin, stop, name, _ in sorted(listed):
        if begin != position:
            raise place.at(name).wrong(f"must begin where the array before it ends, at {position}", begin)
        position = stop
    if position != size - _LENGTH.size - length:
        raise place.wrong(f"must hold the bytes of its arrays, {position}", f"{size - _LENGTH.size - length} bytes")
    return {name: tensor for _, _, name, tensor in listed}


def _entry(entry: Any, place: Place, data: int) -> tuple[Tensor, int, int]:
    fields = document.check_object(entry, place, ("dtype", "shape", "data_offsets"))
    code = fields["dtype"]
    if not isinstance(code, str) or code not in DTYPES:
        raise place.at("dtype").wrong(f"must be one of {', '.join(DTYPES)}", code)
    shape: Any = document.check_lengths(fields["shape"], place.at("shape"))
    offsets = document.check_list(fields["data_offsets"], place.at("data_offsets"))
    if len(offsets) != 2:
        raise place.at("data_offsets").wrong("must be two numbers", offsets)
    begin, stop = (document.check_integer(n, place.at("data_offsets")) for n in offsets)
    tensor = Tensor(DTYPES[code], shape, data + begin)
    if stop - begin != tensor.bytes:
        raise place.wrong(f"must have the bytes of its shape and dtype, {tensor.bytes}", f"{stop - begin}")
    return tensor, begin, stop


def npz(file: BinaryIO, place: Place) -> dict[str, Tensor]:
    """Return what an npz file holds, as `numpy.savez` writes it.

    Raises:
        ModelFormatError: it is none, or a checksum is wrong.
    """
    found: dict[str, Tensor] = {}
    for member in archive.members(file, place):
        here = place.within(member.name)
        if archive.checksum(file, member) != member.crc:
            raise here.wrong("must have the checksum that is noted for it", "another")
        name = document.check_name(member.name.removesuffix(".npy"), here)
        if name == member.name:
            raise here.wrong("must be an array, with a name that ends in .npy", member.name)
        found[name] = _npy_tensor(file, member, here)
    return found


def _npy_tensor(file: BinaryIO, member: Member, place: Place) -> Tensor:
    file.seek(member.start)
    head = file.read(min(member.size, len(_NPY) + 2))
    if head[: len(_NPY)] != _NPY or len(head) != len(_NPY) + 2:
        raise place.wrong("must be an array in NumPy's format 1.0", repr(head[:8]))
    (length,) = struct.unpack("<H", head[len(_NPY) :])
    text = file.read(min(length, _LONGEST_NPY_HEADER, member.size - len(head)))
    match = _NPY_HEADER.fullmatch(text)
    if match is None or len(text) != length:
        raise place.wrong("must be an array of numbers, little endian", repr(text[:80].decode("latin-1")))
    order, kind, width, by_columns, lengths = (group.decode() for group in match.groups())
    dtype = np.dtype(f"{order}{kind}{width}").name if kind != "b" or width == "1" else ""
    if dtype not in BYTES or (order == "|") != (width == "1"):
        raise place.wrong(f"must have one of the dtypes {', '.join(BYTES)}", f"{order}{kind}{width}")
    shape = tuple(int(n[:18]) for n in lengths.replace(" ", "").split(",") if n)
    if by_columns == "True" and len(shape) > 1:
        raise place.wrong(
            "must be stored row by row", "fortran_order=True", "Save numpy.ascontiguousarray(array) instead."
        )
    tensor = Tensor(dtype, shape, member.start + len(head) + length)
    if tensor.bytes != member.size - len(head) - length:
        raise place.wrong(
            f"must have the bytes of its shape and dtype, {tensor.bytes}", f"{member.size - len(head) - length}"
        )
    return tensor


def values(file: BinaryIO, tensor: Tensor, place: Place) -> NDArray[Any]:
    """Return an array from a file, whose shape must have been approved.

    Raises:
        ModelFormatError: the file has become shorter, or a truth value is neither 0 nor 1.
    """
    array = np.empty(tensor.shape, np.dtype(tensor.dtype).newbyteorder("<"))
    raw = array.reshape(-1).view(np.uint8)
    file.seek(tensor.start)
    if read_into(file, raw.data) != raw.size:
        raise place.wrong("must hold the bytes of its arrays", "a file that has become shorter")
    if tensor.dtype == "bool" and raw.max(initial=0) > 1:
        raise place.wrong("must hold truth values, 0 or 1", int(raw.max()))
    return array.astype(tensor.dtype, copy=False)


def read_straight(file: BinaryIO, tensor: Tensor, array: Any, place: Place) -> bool:
    """Read an array of a file into one of NumPy, if that is laid out as the file is; tell whether it is.

    Raises:
        ModelFormatError: the file has become shorter.
    """
    if not is_a(array, np.ndarray):
        return False
    target: NDArray[Any] = array
    if not target.flags.c_contiguous or not target.flags.writeable:
        return False
    if tensor.dtype == "bool" or target.dtype != np.dtype(tensor.dtype).newbyteorder("<"):
        return False
    file.seek(tensor.start)
    raw = target.reshape(-1).view(np.uint8)
    if read_into(file, raw.data) != raw.size:
        raise place.wrong("must hold the bytes of its arrays", "a file that has become shorter")
    return True


def read_into(file: Any, buffer: memoryview) -> int:
    """Fill a buffer from a file, and return how many bytes came."""
    read = 0
    while read < len(buffer):
        count = file.readinto(buffer[read : read + 2**24])
        if not count:
            break
        read += count
    return read
