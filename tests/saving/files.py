"""Model files taken apart and put together again, with right sums where that is wanted."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import TYPE_CHECKING, Any

from layerkit import Sequential
from layerkit.callbacks import EarlyStopping, ModelCheckpoint, ReduceLROnPlateau
from layerkit.layers import Dense, Dropout, Input
from layerkit.saving.archive import Writer
from layerkit.saving.writer import MANIFEST

if TYPE_CHECKING:
    from pathlib import Path

MEMBERS = ("architecture.json", "weights.safetensors", "training.json", "training.safetensors")


def example() -> Sequential:
    """A small model that has something of everything."""
    inner = Sequential([Dense(3, "relu", name="in"), Dropout(0.5)], name="inner")
    model = Sequential([Input((3,)), inner, Dense(2, "softmax", name="out")], seed=0)
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy", "mse"])
    model.layers[1].trainable = False
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit([[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [0.5, 0.5, 0.5]], [0, 1, 1], epochs=2, batch_size=2, verbose=0)
    return model


def checkpoint(path: Path) -> None:
    """Make a checkpoint in the middle of an epoch, with callbacks that remember numbers and arrays."""
    model = example()
    stops = EarlyStopping("loss", patience=5, restore_best_weights=True)
    saves = ModelCheckpoint(path, save_freq=3)
    rows = [[0.0, 1.0, 2.0], [1.0, 0.0, 1.0], [0.5, 0.5, 0.5]]
    model.fit(rows, [0, 1, 1], epochs=2, batch_size=2, verbose=0, callbacks=[stops, ReduceLROnPlateau("loss"), saves])


def parts(data: bytes) -> dict[str, bytes]:
    """Return the members of a file, but for the manifest."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}


def joined(members: dict[str, bytes], manifest: Any = None, **changes: Any) -> bytes:
    """Return the file of these members, with right sums; `changes` are made to the manifest, or another one given."""
    file = io.BytesIO()
    writer = Writer(file)
    listed: dict[str, Any] = {}
    for name, data in members.items():
        member = writer.add(name, len(data), [data])
        digest = hashlib.sha256(data).hexdigest()
        listed[name] = {"bytes": len(data), "crc32": f"{member.crc:08x}", "sha256": digest}
    if manifest is None:
        manifest = json.dumps({"format": "layerkit", "version": [1, 0], "members": listed, **changes}).encode()
    writer.add(MANIFEST, len(manifest), [manifest])
    writer.close()
    return file.getvalue()


def with_json(data: bytes, member: str, change: Any) -> bytes:
    """Return the file with one JSON member changed: `change` is a function that alters the value, or new bytes."""
    members = parts(data)
    if isinstance(change, bytes):
        members[member] = change
    else:
        value = json.loads(members[member])
        found = change(value)
        members[member] = json.dumps(value if found is None else found).encode()
    return joined(members)


def safetensors(header: Any, body: bytes = b"", length: int | None = None) -> bytes:
    """Return a safetensors file with this header, which may be text."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + body
