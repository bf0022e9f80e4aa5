"""Thirty files that want more than they give: deep, long, wide, overlapping, compressed, or beyond all memory.

``python -m tests.saving.bombs`` prints, for each, what became of it, the seconds, and by how much memory grew.
"""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.saving import files

if TYPE_CHECKING:
    from collections.abc import Callable

ARCHITECTURE, WEIGHTS, TRAINING, ARRAYS = files.MEMBERS
MIB = 2**20


def _json(text: bytes, member: str = ARCHITECTURE) -> Callable[[bytes], bytes]:
    return lambda data: files.with_json(data, member, text)


def _changed(change: Callable[[Any], Any], member: str = ARCHITECTURE) -> Callable[[bytes], bytes]:
    return lambda data: files.with_json(data, member, change)


def _layer(place: int, **config: Any) -> Callable[[bytes], bytes]:
    """Change the configuration of a layer: 0 the input, 1 the inner model, 2 the last layer."""
    return _changed(lambda value: value["model"]["config"]["layers"][place]["config"].update(config))


def _layers(*added: Any) -> Callable[[bytes], bytes]:
    return _changed(lambda value: value["model"]["config"]["layers"].extend(added))


def _made(cls: str, /, **config: Any) -> dict[str, Any]:
    return {"class": cls, "config": config}


def _metric(cls: str, **config: Any) -> Callable[[bytes], bytes]:
    return _changed(lambda value: value["compile"].update(metrics=[_made(cls, **config)]))


def _header(change: Callable[[dict[str, Any]], Any], member: str = WEIGHTS) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        members = files.parts(data)
        raw = members[member]
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        change(header)
        members[member] = files.safetensors(header, raw[8 + length :])
        return files.joined(members)

    return make


def _weights(raw: bytes) -> Callable[[bytes], bytes]:
    return lambda data: files.joined(files.parts(data) | {WEIGHTS: raw})


def _zipped(compression: int, size: int = 256 * MIB) -> Callable[[bytes], bytes]:
    def make(data: bytes) -> bytes:
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", compression) as archive:
            for name, content in files.parts(data).items():
                archive.writestr(name, content)
            archive.writestr("manifest.json", b" " * size)
        return file.getvalue()

    return make


def _overlapping(data: bytes) -> bytes:
    """Many entries of the directory for one member, as in Fifield's zip bomb (WOOT 2019)."""
    name, body = b"a", b"x" * 1000
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 33, zlib.crc32(body), 1000, 1000, 1, 0) + name + body
    entry = (b"PK\1\2", 788, 20, 0, 0, 0, 33, zlib.crc32(body), 1000, 1000, 1, 0, 0, 0, 0, 0, 0)
    directory = (struct.pack("<4s6H3L5H2L", *entry) + name) * 60000
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 60000, 60000, len(directory), len(local), 0)
    return local + directory + end


def _directory_says(count: int, size: int, offset: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:-22] + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, offset, 0)


def _wide_directory(data: bytes) -> bytes:
    end = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2**60, 2**60, 2**62, 2**61)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data) - 22, 1)
    return data[:-22] + end + locator + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, 2**32 - 1, 2**32 - 1, 0)


LENGTHS = [10**12, 10**12]

BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "json: lists nested a million deep": _json(b"[" * 10**6 + b"]" * 10**6),
    "json: objects nested 100,000 deep": _json(b'{"a":' * 10**5 + b"1" + b"}" * 10**5),
    "json: 100 MB of spaces": _json(b" " * 10**8),
    "json: a million empty lists": _json(b"[" + b"[]," * 10**6 + b"[]]"),
    "json: a million numbers": _json(b"[" + b"0," * 10**6 + b"0]"),
    "json: 400,000 strings": _json(b"[" + b'"abcd",' * 400_000 + b'""]'),
    "json: a number of a million digits": _json(b'{"model": ' + b"9" * 10**6 + b"}"),
    "json: an exponent of a billion": _json(b'{"model": 1e1000000000}'),
    "json: a string that is never closed, full of escapes": _json(b'"' + b"\\\\" * 2 * 10**6),
    "json: 100,000 equal keys": _json(b"{" + b'"a":1,' * 10**5 + b'"a":1}'),
    "json: training, nested deep": _json(b"[" * 10**5, TRAINING),
    "objects: 100,000 references": _layers(*[{"ref": 1}] * 40_000),
    "objects: 16,000 layers without names": _layers(
        *[_made("layers.ReLU")] * 16_000, _made("layers.Dense", name="b", units=0)
    ),
    "objects: 16,000 layers": _layers(
        *[_made("layers.ReLU", name=f"x{i}") for i in range(16_000)], _made("layers.Dense")
    ),
    "json: a string that is never closed, full of quotes": _json(b'"' + b'\\"' * 2 * 10**6),
    "shapes: a layer of a trillion units": _layer(2, units=10**12),
    "shapes: rows of a trillion numbers": _layer(0, shape={"tuple": LENGTHS}),
    "shapes: built for a trillion numbers": _changed(lambda value: value["built"].update({"": [None, *LENGTHS]})),
    "shapes: an array of a trillion numbers": _layer(
        2, bias_initializer={"array": {"dtype": "int8", "shape": LENGTHS, "values": []}}
    ),
    "shapes: reshaped to a trillion, and a layer behind": _layers(
        _made("layers.Reshape", name="a", target_shape=[10**12, 1]), _made("layers.Dense", name="b", units=10**6)
    ),
    "metrics: a billion thresholds": _metric("metrics.AUC", num_thresholds=10**9),
    "metrics: a million classes": _metric("metrics.MeanIoU", num_classes=10**6),
    "metrics: 65,536 times 65,536 classes": _metric("metrics.MeanIoU", num_classes=2**16),
    "optimizers: 60 million vectors": _changed(
        lambda value: value["compile"].update(optimizer=_made("optimizers.LBFGS", history_size=3 * 10**7))
    ),
    "header: a length of 2**63": _weights(files.safetensors({}, length=2**63)),
    "header: 50 MB of it": _weights(files.safetensors(b" " * 50 * MIB)),
    "header: a tensor of 2**60 numbers": _header(lambda header: header["out/bias"].update(shape=[2**30, 2**30])),
    "header: offsets at the end of the world": _header(
        lambda header: header["out/bias"].update(data_offsets=[0, 2**62])
    ),
    "header: 20,000 tensors of nothing": _header(
        lambda header: header.update(
            {f"x{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(20000)}
        )
    ),
    "header: the same bytes a hundred times": _header(
        lambda header: header.update({f"x{i}": header["out/kernel"] for i in range(100)})
    ),
    "zip: 256 MB deflated": _zipped(zipfile.ZIP_DEFLATED),
    "zip: 256 MB in bzip2": _zipped(zipfile.ZIP_BZIP2),
    "zip: 60,000 entries for one member": _overlapping,
    "zip: a directory of 4 GB": _directory_says(65535, 2**32 - 2, 0),
    "zip: a directory of 2**62 bytes": _wide_directory,
}

JUDGE = """
import json, pathlib, sys, time
from layerkit import load_model
from layerkit.errors import ModelFormatError
good, *bombs = map(pathlib.Path, sys.argv[1:])
load_model(good)
import difflib
def peak_mib():
    # Not ru_maxrss, which a process inherits from the one that started it.
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
for path in bombs:
    before, began = peak_mib(), time.process_time()
    try:
        load_model(path)
        told = "accepted"
    except ModelFormatError as error:
        told = "refused"
    print(json.dumps([told, time.process_time() - began, peak_mib() - before, path.stat().st_size / 2**20]))
"""


def judged() -> list[tuple[str, str, float, float, float]]:
    """Return, for each bomb: its name, what became of it, the seconds, and in MiB the growth and the file's size.

    One process meets all, so that growth is counted once where two take the same.
    """
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "good.layerkit"]
        files.example().save(paths[0])
        good = paths[0].read_bytes()
        for index, make in enumerate(BOMBS.values()):
            paths.append(paths[0].with_name(f"{index}.layerkit"))
            paths[-1].write_bytes(make(good))
        command = [sys.executable, "-c", JUDGE, *map(str, paths)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [(name, *json.loads(line)) for name, line in zip(BOMBS, done.stdout.splitlines(), strict=True)]


if __name__ == "__main__":
    for name, told, took_s, grown_mib, size_mib in judged():
        print(f"{told} in {took_s:5.2f} s, +{grown_mib:5.1f} MiB for {size_mib:6.1f} MiB: {name}")
