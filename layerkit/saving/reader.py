"""Reading a model: the only way in, for files and for copies in memory. See FORMAT.md.

Whoever wrote the file is a stranger. Nothing in it chooses what is run: classes come from a closed table, or from the
caller. Nothing in it chooses how much is allocated: what the file holds bounds that. Nothing here is imported or looked
up because a file names it, nothing is unpickled, and no file is opened but the one that the caller names; a test reads
this text.
"""

from __future__ import annotations

import io
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from layerkit.checks import check_flag, is_a, shown
from layerkit.errors import ArgumentError, ModelFormatError
from layerkit.nested import are_shapes
from layerkit.saving import archive, document, state, table, tensors
from layerkit.saving.decoding import Decoder
from layerkit.saving.encoding import Encoder
from layerkit.saving.place import Place
from layerkit.saving.sums import SHORT, Sum
from layerkit.saving.tensors import BYTES, Tensor
from layerkit.saving.writer import MANIFEST, MODEL, SUFFIX, TRAINING, VERSION, architecture
from layerkit.xp.registry import backend as find_backend
from layerkit.xp.registry import use_backend
from layerkit.xp.state import awaiting

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping
    from types import TracebackType
    from typing import Self

    from numpy.typing import NDArray

    from layerkit.saving.archive import Member
    from layerkit.saving.position import Position
    from layerkit.xp import Backend

_SPARE_BYTES = 8 * 2**20
_LARGEST_PROBE = 2**22
_LARGEST_MANIFEST = 2**16


class Contents:
    """The members of a file, each of which can be read in a ``with`` block.

    Whether they are as they were written is known at its end, or after `verify`: nothing may be kept before.

    Raises:
        ModelFormatError: the file is not in layerkit's format, or not as it was written.
    """

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file = file
        self.place = Place(name)
        self.size = file.seek(0, 2)
        found = archive.members(file, self.place)
        self.members = {member.name: member for member in found}
        self.header: dict[str, dict[str, Tensor]] = {}
        self._sums: list[tuple[str, str, Sum]] = []
        self.manifest: dict[str, Any] = {}
        self._found = found

    def __enter__(self) -> Self:
        try:
            self.manifest = self._read_manifest(self._found)
            archive.check_form(self.file, self._found, self.place)
            self.header = {
                member: tensors.safetensors(self.file, part.start, part.size, self.place.within(member))
                for member, part in self.members.items()
                if member in (MODEL[1], TRAINING[1])
            }
        except Exception:
            self.verify()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.verify()  # what looks like nonsense may be damage

    def verify(self) -> None:
        """Refuse members that are not as they were written.

        Raises:
            ModelFormatError: one is not.
        """
        found = [(name, noted, each.hexdigest()) for name, noted, each in self._sums]
        self._sums.clear()
        for name, noted, actual in found:
            self._compare(name, "sha256", noted, actual)

    def _compare(self, member: str, key: str, noted: Any, actual: Any) -> None:
        if noted != actual:
            raise self.place.within(member).wrong(
                f"must be as it was written, with {key} {noted}", f"{actual}", "The file is damaged."
            )

    @property
    def has_training(self) -> bool:
        """Whether there is more than the architecture and the weights."""
        return TRAINING[0] in self.members

    def _read_manifest(self, found: list[Member]) -> dict[str, Any]:
        place = self.place.within(MANIFEST)
        if not found or found[-1].name != MANIFEST or found[-1].size > _LARGEST_MANIFEST:
            raise self.place.wrong(
                f"must be a model that layerkit saved, with {MANIFEST} at its end",
                f"{[each.name for each in found[-5:]]}",
            )
        text = archive.content(self.file, found[-1])
        if archive.checksum(self.file, found[-1]) != found[-1].crc:
            raise place.wrong("must have the checksum that is noted for it", "another")
        manifest = document.check_object(document.loads(text, place), place, ("format", "version", "members"))
        if manifest["format"] != "layerkit":
            raise place.at("format").wrong("must be 'layerkit'", manifest["format"])
        version = document.check_list(manifest["version"], place.at("version"))
        if len(version) != 2:
            raise place.at("version").wrong("must be two numbers", version)
        major, minor = (document.check_integer(number, place.at("version")) for number in version)
        if major != VERSION[0]:
            raise place.at("version").wrong(
                f"must be at most that which this layerkit reads, {VERSION[0]}.{VERSION[1]}",
                f"{major}.{minor}",
                "Install a newer layerkit." if major > VERSION[0] else "",
            )
        self._check_members(found[:-1], document.check_map(manifest["members"], place.at("members")), place)
        return manifest

    def _check_members(self, found: list[Member], listed: dict[str, Any], place: Place) -> None:
        names = tuple(member.name for member in found)
        if names not in (MODEL, MODEL + TRAINING) or tuple(listed) != names:
            raise self.place.wrong(
                f"must have the members {', '.join(MODEL)} (and {', '.join(TRAINING)}) and list them", ", ".join(names)
            )
        for member in found:
            here = place.at("members").at(member.name)
            noted = document.check_object(listed[member.name], here, ("bytes", "crc32", "sha256"))
            self._compare(member.name, "bytes", noted["bytes"], member.size)
            self._compare(member.name, "crc32", noted["crc32"], f"{member.crc:08x}")
            self._sums.append((member.name, noted["sha256"], Sum(self.file, member)))
        # The short ones are read at once, and must be right before they are.
        short = [each for each in self._sums if self.members[each[0]].size <= SHORT]
        self._sums = [each for each in self._sums if each not in short]
        for name, wanted, each in short:
            self._compare(name, "sha256", wanted, each.hexdigest())

    def json(self, member: str) -> Any:
        """Return what a member says."""
        place = self.place.within(member)
        document.check_size(self.members[member].size, place)
        return document.loads(archive.content(self.file, self.members[member]), place)

    def fetch(self, member: str) -> Callable[[Tensor], NDArray[Any]]:
        """Return the function that reads an array of a member."""
        return lambda tensor: tensors.values(self.file, tensor, self.place.within(member))


class _Guard:
    """Compares each weight with the file before it is made, and bounds what all state may take."""

    def __init__(self, weights: Mapping[str, Tensor], size: int, place: Place) -> None:
        self._weights, self._place = weights, place
        self._left = 2 * size + _SPARE_BYTES

    def weight(self, path: str, shape: tuple[int, ...], dtype: str) -> None:
        """Refuse a weight that the file has otherwise."""
        tensor = self._weights.get(path)
        if tensor is not None and (tensor.shape, tensor.dtype) != (shape, dtype):
            raise self._place.at(path).wrong(
                f"must have shape {shape} and dtype {dtype}, as the architecture says",
                f"{tensor.shape}, {tensor.dtype}",
            )
        self._require(math.prod(shape) * BYTES.get(dtype, 16), path, shape)

    def state(self, name: str, shape: tuple[int, ...], dtype: str) -> None:
        """Refuse state for which the file is too small."""
        size = math.prod(shape) * BYTES.get(dtype, 16)
        self._require(size, name, shape)
        self._left -= size

    def probe(self, shape: tuple[int, ...]) -> None:
        """Refuse to run a layer over very many zeros, to learn the shape of its output."""
        if math.prod(shape) > _LARGEST_PROBE:
            raise self._place.wrong(f"the model must be built on at most {_LARGEST_PROBE} numbers", f"shape {shape}")

    def _require(self, size: int, name: str, shape: tuple[int, ...]) -> None:
        if size > self._left:
            raise self._place.wrong("the model must need no more than the file holds", f"{name} of shape {shape}")


def load(path: str | os.PathLike[str], custom: Any, *, compile: bool, backend: str | Backend | None) -> Any:
    """Return the model that a file holds: see `load_model`."""
    custom = check_custom(custom, "load_model")
    check_flag("load_model", compile=compile)
    target = find_backend(backend)
    with opened(path, "load_model", SUFFIX) as file, Contents(file, str(path)) as contents:
        return read(contents, custom, target, compiles=compile)


def from_image(image: bytes, custom: Mapping[str, Any], backend: Backend) -> Any:
    """Return the model of which `writer.image` made an image."""
    with Contents(io.BytesIO(image), "copy") as contents:
        return read(contents, custom, backend, compiles=True)


def from_json(text: str, custom: Any, backend: str | Backend | None) -> Any:
    """Return a model with first weights, from what `Model.to_json` gave."""
    custom = check_custom(custom, "model_from_json")
    if not is_a(text, str):
        raise ArgumentError(f"model_from_json: it must be text. Received: {type(text).__name__}")
    place = Place("model_from_json")
    value = document.loads(text.encode("utf-8", "surrogatepass"), place)
    with use_backend(find_backend(backend)):
        return _architecture(value, place, custom, compiles=False)


def read(contents: Contents, custom: Mapping[str, Any], target: Backend, *, compiles: bool) -> Any:
    """Return the model."""
    header = contents.header[MODEL[1]]
    place = contents.place.within(MODEL[1])
    token = awaiting.set(_Guard(header, contents.size, place))
    try:
        with use_backend(target):
            model = _architecture(contents.json(MODEL[0]), contents.place.within(MODEL[0]), custom, compiles=compiles)
            _read_weights(model, header, contents, place)
            if contents.has_training:
                _told(contents, custom).restore(model, model.step if compiles else None)
    finally:
        awaiting.reset(token)
    return model


def _architecture(value: Any, place: Place, custom: Mapping[str, Any], *, compiles: bool) -> Any:
    fields = document.check_object(value, place, ("model", "built", "frozen", "constant", "compile"))
    decoder = Decoder(custom)
    here = place.at("model")
    model = decoder.decode(fields["model"], here)
    if not table.is_model(model.__class__):
        raise here.wrong("must be a model", fields["model"])
    for path, shape in document.check_map(fields["built"], place.at("built")).items():
        here = place.at("built").at(path)
        decoded = _shape(decoder.decode(shape, here), here)
        layer = model.named_layers().get(path)
        if layer is None:
            raise here.wrong("must be the path of a layer", path)
        try:
            layer.build_in_place(decoded)
        except ModelFormatError:
            raise
        except Exception as error:
            raise here.wrong("must be a shape for which the model can be built", _shown(error)) from error
        if _shape(layer.input_shape, here) != decoded:  # it was built already, as the first layer says
            raise here.wrong(f"must be the shape for which the layer is built, {layer.input_shape}", decoded)
    _freeze(model, fields, place)
    if fields["compile"] is not None and compiles:
        here = place.at("compile")
        _compile(model, document.check_map(fields["compile"], here), decoder, here)
    return model


def _freeze(model: Any, fields: Mapping[str, Any], place: Place) -> None:
    layers, weights = model.named_layers(), state.weights(model)
    frozen = _names(fields["frozen"], layers, place.at("frozen"))
    constant = _names(fields["constant"], weights, place.at("constant"))
    for path, layer in layers.items():  # from the outside in, since setting an outer one sets the inner ones
        layer.trainable = path not in frozen
    for name, weight in weights.items():
        weight.trainable = name not in constant


def _compile(model: Any, options: Mapping[str, Any], decoder: Decoder, place: Place) -> None:
    decoded = {name: decoder.decode(each, place.at(name)) for name, each in options.items()}
    try:
        with np.errstate(all="ignore"):  # the shapes of outputs are looked at, with weights that are not read yet
            model.compile_from_config(decoded)
    except Exception as error:
        argument = _OF_COMPILE.match(str(error))
        here = place.at(argument[1]) if argument is not None and argument[1] in options else place
        raise here.wrong("must be what compile takes", _shown(error)) from error


_OF_COMPILE = re.compile(r"(?:compile: )?(\w+)")
"""What begins a sentence about an argument of `compile`: its name."""


def _names(value: Any, known: Mapping[str, Any], place: Place) -> set[str]:
    listed = document.check_list(value, place)
    for index, name in enumerate(listed):
        if not is_a(name, str) or name not in known:
            raise place.at(index).wrong("must be the name of one that the model has", name)
    return set(listed)


def _shown(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _shape(shape: Any, place: Place) -> Any:
    """Return a shape, or a list of shapes, of plain integers."""
    if are_shapes(shape):
        return [_shape(each, place.at(index)) for index, each in enumerate(shape)]
    return document.check_lengths(list(shape) if is_a(shape, tuple, list) else shape, place, varies=True)


def _restore_weights(
    model: Any, header: Mapping[str, Tensor], fetch: Callable[[Tensor], NDArray[Any]], place: Place
) -> None:
    variables = state.weights(model)
    state.compare(variables, header, place)
    for name, variable in variables.items():
        variable.assign(fetch(header[name]))


def _read_weights(model: Any, header: Mapping[str, Tensor], contents: Contents, place: Place) -> None:
    """Read weights into a model that is made for them: straight into their memory, where the host holds it."""
    variables = state.weights(model)
    state.compare(variables, header, place)
    for name in sorted(variables, key=lambda name: header[name].start):  # as they lie in the file
        variables[name].make()
        if not tensors.read_straight(contents.file, header[name], variables[name].array, place):
            variables[name].assign(contents.fetch(MODEL[1])(header[name]))


def _told(contents: Contents, custom: Mapping[str, Any]) -> state.Told:
    place = contents.place.within(TRAINING[0])
    arrays, fetch = contents.header[TRAINING[1]], contents.fetch(TRAINING[1])
    return state.Told(contents.json(TRAINING[0]), place, arrays, fetch, custom)


def _checkpoint(contents: Contents) -> tuple[state.Told, Position]:
    if not contents.has_training:
        raise contents.place.wrong("must be a checkpoint", "a model without the state of training")
    told = _told(contents, {})
    if told.position is None:
        raise told.place.at("position").wrong("must tell where training stood", None)
    return told, told.position


def load_resumable(path: str | os.PathLike[str], custom: Any, backend: str | Backend | None) -> tuple[Any, Position]:
    """Return the model of a checkpoint, compiled as it was when training began, and where training stood.

    Raises:
        ModelFormatError: the file is damaged, or no checkpoint, or its model was compiled with what no file can hold.
    """
    custom = check_custom(custom, "resume")
    target = find_backend(backend)
    with opened(path, "resume", SUFFIX) as file, Contents(file, str(path)) as contents:
        _, position = _checkpoint(contents)
        model = read(contents, custom, target, compiles=False)
    place = position.place.at("compile")
    if position.compiled is None:
        raise place.wrong(
            "must be arguments of compile that a file can hold",
            "none",
            "Compile the model as you did, and call fit with BackupAndRestore.",
        )
    _compile(model, position.compiled, Decoder(custom), place)
    return model, position


def load_checkpoint(path: str | os.PathLike[str], model: Any, run: Any) -> Position:
    """Bring a model that is built and compiled to where a checkpoint was made, and return that position.

    Raises:
        ModelFormatError: the file is damaged, or no checkpoint.
        ArgumentError: it is one of another model or of other data; what differs is listed, and nothing was changed.
    """
    with opened(path, "fit", SUFFIX) as file, Contents(file, str(path)) as contents:
        contents.verify()  # before anything is changed
        told, position = _checkpoint(contents)
        now = document.loads(document.dumps(architecture(model, None, Encoder())), contents.place)
        then = document.check_map(contents.json(MODEL[0]), contents.place.within(MODEL[0]))
        differ = [
            f"{name} {position.data.get(name)!r}, now {run.data.get(name)!r}"
            for name in dict.fromkeys((*position.data, *run.data))
            if position.data.get(name) != run.data.get(name)
        ]
        differ += _differences(then.get("model"), now["model"], "model")
        if position.compiled is not None and run.compiled is not None:
            differ += _differences(position.compiled, document.loads(document.dumps(run.compiled), contents.place), "")
        kinds = [type(callback).__name__ for callback in run.callbacks]
        before = [callback.name for callback in position.callbacks]
        if kinds != before:
            differ.append(f"callbacks {', '.join(before)}, now {', '.join(kinds)}")
        if differ:
            raise ArgumentError(
                f"{path}: a checkpoint must be of the same training. Received: {'; '.join(differ[:20])}. "
                f"Give another backup_dir, or remove the checkpoint."
            )
        header, place = contents.header[MODEL[1]], contents.place.within(MODEL[1])
        state.compare(state.weights(model), header, place)
        told.restore(model, model.step)
        _restore_weights(model, header, contents.fetch(MODEL[1]), place)
        _freeze(model, then, contents.place.within(MODEL[0]))
    return position


# What says nothing about numbers, or may change while training runs: layers are frozen and set free.
_FREE = (".trainable", "jit_compile", "run_eagerly", "transfer", "on_nonfinite")


def _differences(then: Any, now: Any, path: str) -> list[str]:
    """Return what differs between two JSON values."""
    if is_a(then, dict) and is_a(now, dict) and then.keys() == now.keys():
        return [found for key in now for found in _differences(then[key], now[key], f"{path}.{key}")]
    if is_a(then, list) and is_a(now, list) and len(then) == len(now):
        pairs = enumerate(zip(then, now, strict=True))
        return [found for index, pair in pairs for found in _differences(*pair, f"{path}[{index}]")]
    if then == now or path.endswith(_FREE):
        return []
    return [f"{path.removeprefix('.')} {shown(then)}, now {shown(now)}"]


def load_weights(path: str | os.PathLike[str], model: Any) -> None:
    """Write the weights of a file into a model: see `Model.load_weights`."""
    with opened(path, "load_weights", SUFFIX, ".safetensors", ".npz") as file:
        place = Place(str(path))
        suffix = Path(path).suffix
        if suffix == ".npz":
            header = tensors.npz(file, place)
        elif suffix == SUFFIX:
            with Contents(file, str(path)) as contents:
                pass
            header, place = contents.header[MODEL[1]], place.within(MODEL[1])
        else:
            header = tensors.safetensors(file, 0, file.seek(0, 2), place)
        variables = state.weights(model)
        state.compare(variables, header, place)
        # All are read before the first is written: a file that cannot be read to its end changes nothing.
        found = {name: tensors.values(file, header[name], place) for name in variables}
    for name, variable in variables.items():
        variable.assign(found[name])


def opened(path: Any, caller: str, *suffixes: str) -> BinaryIO:
    """Return the file at the path that the caller gave, for reading.

    Raises:
        ArgumentError: the path is none, or does not end as the files do that can be read.
        OSError: there is no such file, or it may not be read.
    """
    if not is_a(path, str, Path) and not hasattr(path, "__fspath__"):
        raise ArgumentError(f"{caller}: the path must be text or a path. Received: {path!r}")
    chosen = Path(path)
    if chosen.suffix not in suffixes:
        raise ArgumentError(f"{caller}: the path must end in {' or '.join(suffixes)}. Received: {str(path)!r}")
    return chosen.open("rb")


def check_custom(custom: Any, caller: str) -> dict[str, Any]:
    """Return custom objects by name.

    Raises:
        ArgumentError: they are not given as a dictionary from names to classes or functions.
    """
    if custom is None:
        return {}
    if not is_a(custom, dict) or not all(is_a(name, str) and callable(each) for name, each in custom.items()):
        raise ArgumentError(
            f"{caller}: custom_objects must be a dictionary from names to classes or functions. "
            f"Received: custom_objects={custom!r}"
        )
    return custom
