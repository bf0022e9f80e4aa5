"""Writing a model: see FORMAT.md."""

from __future__ import annotations

import contextlib
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from layerkit.checks import check_flag
from layerkit.errors import ArgumentError
from layerkit.saving import archive, document, memory, state, tensors
from layerkit.saving.atomic import replacing
from layerkit.saving.encoding import Encoder

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from layerkit.training.step import Step

VERSION = (1, 0)
"""Of the format. Readers refuse a larger first number: the second grows with what older readers may ignore."""

SUFFIX = ".layerkit"
MODEL = ("architecture.json", "weights.safetensors")
TRAINING = ("training.json", "training.safetensors")
MANIFEST = "manifest.json"


def save(path: str | os.PathLike[str], model: Any, step: Step | None, *, overwrite: bool, optimizer: bool) -> None:
    """Write a model to a file: see `Model.save`."""
    check_flag("save", overwrite=overwrite)
    check_flag("save", include_optimizer=optimizer)
    _check_path(path, overwrite, SUFFIX)
    parts = describe(model, step if optimizer else None, Encoder(), training=optimizer)
    with replacing(path) as file:
        write(file, parts)


def save_checkpoint(path: str | os.PathLike[str], model: Any, step: Step, position: Mapping[str, Any]) -> None:
    """Write a model in training: what `save` writes, where training stands, and what callbacks remember."""
    value, arrays = state.describe(model, step)
    run = model.run
    value["position"] = {
        **position,
        "logs": None if position["logs"] is None else memory.plain(position["logs"], "logs"),
        "data": run.data,
        "settings": memory.plain(run.settings, "settings"),
        "compile": run.compiled,
        "callbacks": memory.describe(run.callbacks, arrays),
    }
    compiled = None if run.compiled is None else step
    parts = [*describe(model, compiled, Encoder(), training=False), *_training(value, arrays)]
    with replacing(path) as file:
        write(file, parts)


def save_weights(path: str | os.PathLike[str], model: Any, *, overwrite: bool) -> None:
    """Write the weights of a model to a file: see `Model.save_weights`."""
    check_flag("save_weights", overwrite=overwrite)
    suffix = _check_path(path, overwrite, ".safetensors", ".npz", caller="save_weights")
    sources = state.sources(state.weights(model))
    with replacing(path) as file:
        if suffix == ".npz":
            tensors.write_npz(file, sources)
        else:
            for chunk in tensors.Image(sources).chunks():
                file.write(chunk)


def image(model: Any, step: Step | None) -> tuple[bytes, dict[str, Any]]:
    """Return a model as the bytes of a file, and the custom objects that it takes along: for copies in memory."""
    carried: dict[str, Any] = {}
    file = io.BytesIO()
    write(file, describe(model, step, Encoder(carried), training=True))
    return file.getvalue(), carried


def architecture(model: Any, step: Step | None, encoder: Encoder) -> dict[str, Any]:
    """Return what makes an equal model with first weights: configuration, shapes it is built for, what is frozen."""
    built: dict[str, Any] = {}
    frozen: list[str] = []
    for path, layer in model.named_layers().items():
        if layer.built and not any(path == outer or path.startswith(f"{outer}/") or not outer for outer in built):
            built[path] = encoder.encode(layer.input_shape, "input_shape")
        if not layer.trainable:
            frozen.append(path)
    constant = [name for name, weight in state.weights(model).items() if not weight.trainable]
    options = None
    if step is not None:
        options = {name: encoder.encode(value, f"compile.{name}") for name, value in model.get_compile_config().items()}
    made = encoder.encode(model, model.name)
    return {"model": made, "built": built, "frozen": frozen, "constant": constant, "compile": options}


Part = tuple[str, int, "Iterable[Any]"]


def compiled(model: Any) -> Any:
    """Return the arguments of `compile` as JSON; None if one of them has no form in it."""
    options = model.get_compile_config()
    encoder = Encoder()
    try:
        return {name: encoder.encode(value, f"compile.{name}") for name, value in options.items()}
    except ArgumentError:
        return None


def describe(model: Any, step: Step | None, encoder: Encoder, *, training: bool) -> list[Part]:
    """Return the members of the file but for the manifest: name, size, and bytes, fetched when their turn comes."""
    told = document.dumps(architecture(model, step, encoder))
    weights = tensors.Image(state.sources(state.weights(model)))
    parts: list[Part] = [(MODEL[0], len(told), [told]), (MODEL[1], weights.size, weights.chunks())]
    if training:
        parts += _training(*state.describe(model, step, encoder.carried))
    return parts


def _training(value: Any, arrays: Mapping[str, tensors.Source]) -> list[Part]:
    text, image = document.dumps(value), tensors.Image(arrays)
    return [(TRAINING[0], len(text), [text]), (TRAINING[1], image.size, image.chunks())]


def write(file: BinaryIO, parts: list[Part]) -> None:
    """Write the members, and the manifest."""
    writer = archive.Writer(file)
    listed: dict[str, Any] = {}
    for name, size, chunks in parts:
        digest = hashlib.sha256()
        member = writer.add(name, size, chunks, digest)
        listed[name] = {"bytes": size, "crc32": f"{member.crc:08x}", "sha256": digest.hexdigest()}
    manifest = document.dumps({"format": "layerkit", "version": list(VERSION), "members": listed})
    writer.add(MANIFEST, len(manifest), [manifest])
    writer.close()


def _check_path(path: Any, overwrite: bool, *suffixes: str, caller: str = "save") -> str:
    """Return the path's suffix."""
    with contextlib.suppress(TypeError):
        chosen = Path(path)
        if chosen.suffix not in suffixes:
            raise ArgumentError(f"{caller}: the path must end in {' or '.join(suffixes)}. Received: {str(path)!r}")
        if not overwrite and chosen.exists():
            raise ArgumentError(
                f"{caller}: there must be no file yet, with overwrite=False. Received: {str(path)!r}, which exists"
            )
        return chosen.suffix
    raise ArgumentError(f"{caller}: the path must be text or a path. Received: {path!r}")
