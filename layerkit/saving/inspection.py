"""What is in a file, as text; nothing of it is made or run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerkit.checks import is_a
from layerkit.saving import document, reader, tensors
from layerkit.saving.place import Place
from layerkit.saving.writer import MODEL, SUFFIX, TRAINING

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping

    from layerkit.saving.tensors import Tensor

_WIDEST = 100
_UNPRINTABLE = re.compile("[^ -~]")


def inspected(path: str | os.PathLike[str]) -> str:
    """Return what is in a ``.layerkit``, ``.safetensors`` or ``.npz`` file.

    Raises:
        ModelFormatError: the file is not what it should be.
        OSError: there is no such file, or it may not be read.
    """
    with reader.opened(path, "inspect", SUFFIX, ".safetensors", ".npz") as file:
        size = file.seek(0, 2)
        suffix, place = Path(path).suffix, Place(str(path))
        if suffix == SUFFIX:
            with reader.Contents(file, str(path)) as contents:
                lines = [*_model(contents, size)]
        else:
            header = tensors.npz(file, place) if suffix == ".npz" else tensors.safetensors(file, 0, size, place)
            lines = [f"{len(header)} arrays, {size:,} bytes", "", *_arrays(header)]
    return "\n".join(lines) + "\n"


def _model(contents: reader.Contents, size: int) -> Iterator[str]:
    version = ".".join(str(number) for number in contents.manifest["version"])
    yield f"layerkit model, format {version}, {size:,} bytes"
    for name, member in contents.members.items():
        yield f"  {name:<22}{member.size:>14,} bytes"
    place = contents.place.within(MODEL[0])
    architecture = document.check_map(contents.json(MODEL[0]), place)
    yield from ("", "model")
    yield from _object(architecture.get("model"), "  ")
    for key in ("built", "frozen", "constant"):
        yield f"  {key}: {_short(architecture.get(key))}"
    yield from ("", "compile")
    yield from _fields(architecture.get("compile"))
    yield from ("", "weights")
    yield from _arrays(contents.header[MODEL[1]])
    if contents.has_training:
        yield from ("", "training")
        yield from _fields(contents.json(TRAINING[0]))
        yield from _arrays(contents.header[TRAINING[1]])


def _fields(value: Any) -> Iterator[str]:
    for name, each in value.items() if is_a(value, dict) else ():
        yield f"  {_cut(name)}: {_short(each)}"


def _object(value: Any, indent: str) -> Iterator[str]:
    """Yield a line for an object, and one for each layer in it."""
    if not (is_a(value, dict) and is_a(value.get("config"), dict)):
        yield indent + _cut(repr(value))
        return
    config: dict[str, Any] = value["config"]
    given = {name: each for name, each in config.items() if each is not None and name != "layers"}
    arguments = ", ".join(f"{name}={_short(each)}" for name, each in given.items())
    yield indent + _cut(f"{value.get('class')}({arguments})")
    layers: Any = config.get("layers")
    for layer in layers if is_a(layers, list) else ():
        yield from _object(layer, indent + "  ")


def _arrays(header: Mapping[str, Tensor]) -> Iterator[str]:
    width = max(map(len, header), default=0)
    for name, tensor in header.items():
        yield f"  {name:<{width}}  {tensor.dtype:<8} {tensor.shape}"


def _short(value: Any) -> str:
    """Return a value on a line: an object as it would be called, anything else as Python writes it."""
    return next(_object(value, "")) if is_a(value, dict) else _cut(repr(value))


def _cut(text: str) -> str:
    # It is a stranger's, and on its way to a terminal, which may be told to do things.
    text = _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."
