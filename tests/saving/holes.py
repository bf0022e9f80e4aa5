"""The published holes of Keras in loading models, each adapted to layerkit's format with a harmless marker.

``python -m tests.saving.holes`` prints what became of each. All are loaded in one process, under an audit hook: a file
that is opened, a module that is imported, a process, a socket or code that is run would show. What a file would do, if
it were let, is to make a file named ``mark``, or to read one named ``secret``.

Sources: the advisories of github.com/keras-team/keras, by the number of the CVE (in nvd.nist.gov) or of the pull
request that closed the hole. Those of `get_file` and `extract_archive` (CVE-2024-55459, CVE-2025-12060, CVE-2025-12638,
pull requests 22973 and 23015) are of unpacking what was downloaded, which layerkit never does: what stands here for
them is a model file with the members of such an archive.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.saving import files, fuzz

if TYPE_CHECKING:
    from collections.abc import Callable

ARCHITECTURE, WEIGHTS, TRAINING, ARRAYS = files.MEMBERS
LAYER = "architecture.json: $.model.config.layers[3]"


class Hole(NamedTuple):
    """A hole, and the file that imitates it."""

    did: str
    """What a file could do in Keras."""
    make: Callable[[bytes, Path], bytes]
    """A function of a good file and a folder, in which marker and secret would be."""
    refusal: str
    """How the message begins that refuses it, behind the name of the file."""
    ending: str = "layerkit"


def layer(value: Callable[[Path], Any]) -> Callable[[bytes, Path], bytes]:
    """Return what puts such a value in the place of a layer."""
    return lambda good, folder: files.with_json(
        good, ARCHITECTURE, lambda all_: all_["model"]["config"]["layers"].append(value(folder))
    )


def touch(folder: Path) -> str:
    return f"open({str(folder / 'mark')!r}, 'w')"


def header(change: Callable[[dict[str, Any], Path], Any]) -> Callable[[bytes, Path], bytes]:
    """Return what changes the header of the weights."""

    def make(good: bytes, folder: Path) -> bytes:
        members = files.parts(good)
        raw = members[WEIGHTS]
        length = int.from_bytes(raw[:8], "little")
        listed = json.loads(raw[8 : 8 + length])
        change(listed, folder)
        members[WEIGHTS] = files.safetensors(listed, raw[8 + length :])
        return files.joined(members)

    return make


def packed(good: bytes, folder: Path) -> bytes:
    """The same members, deflated; the weights are 1 GiB of nothing."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(ARCHITECTURE, "w") as member:
        for _ in range(64):
            member.write(bytes(2**20))
    return file.getvalue()


def linked(good: bytes, folder: Path) -> bytes:
    """A member that a program which unpacks makes a symbolic link of, and one that goes by way of it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, str(folder))
        archive.writestr("link/mark", b"")
        for name, data in files.parts(good).items():
            archive.writestr(name, data)
    return file.getvalue()


def array(shape: str, size: int) -> Callable[[bytes, Path], bytes]:
    """An npz file whose only array has this shape and so many bytes."""

    def make(good: bytes, folder: Path) -> bytes:
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("out/kernel.npy", b"\x93NUMPY\x01\x00\x76\x00" + text.encode() + bytes(size))
        return file.getvalue()

    return make


def pickled(good: bytes, folder: Path) -> bytes:
    """An npz file with an array of objects: whoever unpickles it runs what it says."""
    text = "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + "\n"
    program = b"cbuiltins\nexec\n(V" + touch(folder).encode() + b"\ntR."
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("out/kernel.npy", b"\x93NUMPY\x01\x00\x76\x00" + text.encode() + program)
    return file.getvalue()


def hdf5(good: bytes, folder: Path) -> bytes:
    """What an HDF5 file begins with, and a Lambda as Keras keeps it there."""
    told = {"class_name": "Lambda", "config": {"function": [touch(folder), None, None], "function_type": "lambda"}}
    return b"\x89HDF\r\n\x1a\n" + json.dumps({"class_name": "Sequential", "config": [told]}).encode()


def function(name: str) -> Any:
    """A function as Keras writes it: a module, and a name in it."""
    module, _, own = name.rpartition(".")
    return {"module": module, "class_name": "function", "config": own, "registered_name": "function"}


HOLES: dict[str, Hole] = {
    "CVE-2024-3660": Hole(
        "a Lambda layer held the marshalled code of its function, which was run",
        layer(lambda folder: {"class": "layers.Lambda", "config": {"name": "x", "function": {"code": touch(folder)}}}),
        LAYER,
    ),
    "CVE-2024-3660, in Keras's words": Hole(
        "as before, as {'class_name': '__lambda__'}",
        layer(lambda folder: {"class_name": "__lambda__", "config": {"value": touch(folder), "closure": None}}),
        LAYER,
    ),
    "CVE-2021-37678": Hole(
        "model_from_yaml made whatever object a YAML tag named",
        lambda good, folder: files.with_json(
            good, ARCHITECTURE, f"!!python/object/apply:os.system ['touch {folder}/mark']".encode()
        ),
        "architecture.json: must be JSON",
    ),
    "CVE-2025-1550": Hole(
        "'module' and 'class_name' were imported and called with 'config', with safe_mode=True",
        layer(lambda folder: {"module": "os", "class_name": "system", "config": f"touch {folder}/mark"}),
        LAYER,
    ),
    "CVE-2025-1550, as a class": Hole(
        "as before",
        layer(lambda folder: {"class": "subprocess.Popen", "config": {"args": ["touch", f"{folder}/mark"]}}),
        LAYER,
    ),
    "CVE-2025-1550, as a function": Hole("as before", layer(lambda folder: {"custom": "os.system"}), LAYER),
    "CVE-2025-8747": Hole(
        "functions of Keras itself could be called: get_file, to fetch and unpack an archive anywhere",
        layer(
            lambda folder: {
                "class": "utils.get_file",
                "config": {"fname": f"{folder}/mark", "origin": f"file://{folder}/secret", "extract": True},
            }
        ),
        LAYER,
    ),
    "CVE-2025-8747, in a Lambda": Hole(
        "the function of a Lambda was any of keras's, called with arguments of the file",
        layer(
            lambda folder: {
                "class": "layers.Lambda",
                "config": {"name": "x", "function": function("keras.utils.get_file"), "arguments": {"cache_dir": "."}},
            }
        ),
        LAYER,
    ),
    "CVE-2025-9905": Hole(
        "safe_mode was ignored for .h5 files, in which a Lambda holds code",
        hdf5,
        "must be a zip file, and end where that does",
    ),
    "CVE-2025-9906": Hole(
        "the file called enable_unsafe_deserialization, and so switched safe_mode off for what came behind",
        layer(lambda folder: {"class": "config.enable_unsafe_deserialization", "config": {}}),
        LAYER,
    ),
    "CVE-2025-9906, load_model in a Lambda": Hole(
        "the file called load_model on another one, with safe_mode=False",
        layer(
            lambda folder: {
                "class": "layers.Lambda",
                "config": {"name": "x", "function": function("keras.models.load_model"), "arguments": {"inputs": "a"}},
            }
        ),
        LAYER,
    ),
    "CVE-2025-12058": Hole(
        "StringLookup's vocabulary was the path of a file, or an address, which was read",
        layer(
            lambda folder: {
                "class": "layers.StringLookup",
                "config": {"name": "x", "vocabulary": str(folder / "secret")},
            }
        ),
        LAYER,
    ),
    "CVE-2025-12058, IntegerLookup of an address": Hole(
        "as before",
        layer(
            lambda folder: {
                "class": "layers.IntegerLookup",
                "config": {"name": "x", "vocabulary": "http://127.0.0.1:1/secret"},
            }
        ),
        LAYER,
    ),
    "CVE-2025-49655": Hole(
        "TorchModuleWrapper gave bytes of the file to torch.load, which unpickled them",
        layer(lambda folder: {"class": "layers.TorchModuleWrapper", "config": {"name": "x", "module": "gASVDw=="}}),
        LAYER,
    ),
    "CVE-2026-1462": Hole(
        "TFSMLayer loaded a SavedModel from a path in the file, with whatever it runs",
        layer(lambda folder: {"class": "layers.TFSMLayer", "config": {"name": "x", "filepath": str(folder)}}),
        LAYER,
    ),
    "CVE-2026-0897": Hole(
        "a data set of HDF5 said that it was far larger than it was, and so much was allocated",
        header(lambda listed, folder: listed["out/bias"].update(shape=[2**30, 2**20])),
        "weights.safetensors: $['out/bias'] must have the bytes of its shape and dtype, ",
    ),
    "CVE-2026-1669": Hole(
        "a data set of HDF5 had its bytes in another file (external storage), which was read into the weights",
        header(lambda listed, folder: listed["out/bias"].update(external=[[str(folder / "secret"), 0, 8]])),
        "weights.safetensors: $['out/bias'] must have no other keys than dtype, shape, data_offsets",
    ),
    "GHSA-27f4-p4xq-cxg8": Hole(
        "a group of HDF5 was a link to another file (pull request 22900)",
        header(lambda listed, folder: listed.update({"out/bias": {"link": str(folder / "secret")}})),
        "weights.safetensors: $['out/bias'] must have the key 'dtype'",
    ),
    "pull request 22976": Hole(
        "a data set of HDF5 was made of parts of other files (virtual)",
        header(lambda listed, folder: listed["out/bias"].update(data_offsets=[str(folder / "secret"), 8])),
        "weights.safetensors: $['out/bias'].data_offsets must be an integer from 0 to ",
    ),
    "pull request 22975": Hole(
        "as CVE-2026-0897, with a shape that the model was made for",
        lambda good, folder: files.with_json(
            good, ARCHITECTURE, lambda all_: all_["model"]["config"]["layers"][2]["config"].update(units=2**40)
        ),
        "weights.safetensors: $['out/kernel'] must have shape (3, 1099511627776) ",
    ),
    "pull request 23010": Hole(
        "a member of the archive was small, and large once it was unpacked",
        packed,
        "architecture.json: must be stored, not compressed",
    ),
    "pull request 23016": Hole(
        "an array of an npz file said that it was far larger than it was",
        array("(1073741824, 1024)", 8),
        "out/kernel.npy: must have the bytes of its shape and dtype, ",
        "npz",
    ),
    "pickle in an npz file": Hole(
        "numpy.load(allow_pickle=True) unpickles arrays of objects",
        pickled,
        "out/kernel.npy: must be an array of numbers, little endian",
        "npz",
    ),
    "CVE-2024-55459, CVE-2025-12060 and CVE-2025-12638": Hole(
        "get_file unpacked members with '..' in their names, and so wrote anywhere",
        lambda good, folder: files.joined({"../mark": b"", **files.parts(good)}),
        "must have the members ",
    ),
    "pull requests 22973 and 23015": Hole(
        "extract_archive followed links that were in the archive",
        linked,
        "must be a model that layerkit saved, with manifest.json at its end",
    ),
    "Lambda.from_config without a mode": Hole(
        "where nobody had said safe_mode, None was taken for False",
        layer(lambda folder: {"class": "layers.Lambda", "config": {"name": "x", "function": touch(folder)}}),
        LAYER,
    ),
    "registered_name": Hole(
        "a name that the process had registered was called, whatever it was",
        layer(lambda folder: {"registered_name": "os>system", "class_name": "system", "config": {}}),
        LAYER,
    ),
    "builtins": Hole(
        "eval is a function of a module too",
        layer(lambda folder: {"class": "builtins.eval", "config": {"source": touch(folder)}}),
        LAYER,
    ),
    "a dunder": Hole(
        "attributes lead anywhere", layer(lambda folder: {"class": "layers.__builtins__", "config": {}}), LAYER
    ),
    "a name of a module": Hole(
        "what a module imports is among its names",
        layer(lambda folder: {"class": "layers.import_module", "config": {"name": "this"}}),
        LAYER,
    ),
    "a path": Hole(
        "names with dots were followed from attribute to attribute",
        layer(lambda folder: {"class": "layers.Dense.__init__.__globals__", "config": {}}),
        LAYER,
    ),
    "a base": Hole(
        "classes that nobody meant to be made",
        layer(lambda folder: {"class": "configurable.Configurable", "config": {}}),
        LAYER,
    ),
    "a type that is called": Hole(
        "an argument that is a class or function is called by the layer",
        layer(
            lambda folder: {
                "class": "layers.Dense",
                "config": {"name": "x", "units": 1, "activation": {"type": "builtins.exec"}},
            }
        ),
        LAYER,
    ),
    "an activation by name": Hole(
        "names are looked up by layers too",
        layer(lambda folder: {"class": "layers.Dense", "config": {"name": "x", "units": 1, "activation": "os.system"}}),
        LAYER,
    ),
    "an initializer by name": Hole(
        "as before",
        layer(
            lambda folder: {
                "class": "layers.Dense",
                "config": {"name": "x", "units": 1, "kernel_initializer": "numpy.load"},
            }
        ),
        LAYER,
    ),
    "an array of objects": Hole(
        "arrays of objects hold anything",
        layer(
            lambda folder: {
                "class": "initializers.Constant",
                "config": {"value": {"array": {"dtype": "object", "shape": [], "values": [touch(folder)]}}},
            }
        ),
        LAYER,
    ),
    "a custom object that nobody gave": Hole(
        "what the process knows is no permission", layer(lambda folder: {"class": "custom.os", "config": {}}), LAYER
    ),
    "a callback": Hole(
        "callbacks run code of the user's",
        layer(lambda folder: {"class": "callbacks.LambdaCallback", "config": {"on_train_end": touch(folder)}}),
        LAYER,
    ),
    "another backend": Hole(
        "a name of a backend is a package to be imported",
        lambda good, folder: files.with_json(
            good, ARCHITECTURE, lambda all_: all_["model"]["config"].update(backend="os:system")
        ),
        "architecture.json: $.model.config.backend must be left out",
    ),
}


def child(folder: Path) -> dict[str, str]:
    """Load all of them, in this process, and return what became of each."""
    from layerkit import load_model
    from layerkit.errors import ModelFormatError

    model = files.example()
    good = folder / "good.layerkit"
    model.save(good)
    (folder / "secret").write_text("secret")
    loads = {"layerkit": load_model, "npz": model.load_weights}
    found: dict[str, str] = {}
    for number, hole in enumerate(HOLES.values()):
        (folder / f"{number}.{hole.ending}").write_bytes(hole.make(good.read_bytes(), folder))
        path = folder / f"again{number}.{hole.ending}"
        path.write_bytes((folder / f"{number}.{hole.ending}").read_bytes())
        fuzz.judge(path, [], loads[hole.ending])  # loads what is loaded on first use
    watched: list[Any] = []
    fuzz.watch(watched)
    for number, (name, hole) in enumerate(HOLES.items()):
        path = folder / f"{number}.{hole.ending}"
        messages: list[str] = []

        def load(path: Path, hole: Hole = hole, messages: list[str] = messages) -> None:
            try:
                loads[hole.ending](path)
            except ModelFormatError as error:
                messages.append(str(error).removeprefix(f"{path}: "))
                raise

        outcome, _ = fuzz.judge(path, watched, load)
        found[name] = messages[0] if outcome == "refused" else f"NOT REFUSED: {outcome}"
    if (folder / "mark").exists():
        found["all"] = "NOT REFUSED: a marker was made"
    return found


def judged() -> dict[str, str]:
    """Return what became of each, from a process of its own: of those that are refused, the message."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.saving.holes", folder]
        return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(child(Path(sys.argv[1]))))
    else:
        for name, told in judged().items():
            right = name in HOLES and told.startswith(HOLES[name].refusal)
            print(f"{'refused' if right else 'WRONG'}: {name}: {told[:100]}")
