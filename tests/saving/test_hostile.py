"""Files by strangers: damage, bombs, mutants, and the holes that others had. They are refused, and run nothing."""

from __future__ import annotations

import ast
import io
import json
import os
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

import layerkit.saving
from layerkit import load_model
from layerkit.errors import ModelFormatError
from layerkit.saving import archive
from layerkit.saving.place import Place
from tests.saving import bombs, files, fuzz, greedy, holes

FOLDER = Path(layerkit.saving.__file__).parent


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "model.layerkit"
    files.example().save(path)
    load_model(path)
    return path.read_bytes()


def refusal(data: bytes, folder: Path, **given: Any) -> str:
    """Return the message that refuses a file, without the file's name."""
    path = folder / "model.layerkit"
    path.write_bytes(data)
    with pytest.raises(ModelFormatError) as refused:
        load_model(path, **given)
    assert str(refused.value).startswith(f"{path}: ")
    return str(refused.value).removeprefix(f"{path}: ")


# The container.


def test_others_can_read_the_file(good: bytes, tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(good)) as found:
        assert found.testzip() is None
        assert found.namelist() == [*files.MEMBERS, "manifest.json"]
        assert {info.date_time for info in found.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert files.joined(files.parts(good)) != good  # the manifest is written in another form: the reader takes both
    (tmp_path / "m.layerkit").write_bytes(files.joined(files.parts(good)))
    load_model(tmp_path / "m.layerkit")


def test_files_beyond_4_gib_are_laid_out_as_zip64(tmp_path: Path) -> None:
    """On a file with holes, which takes no room."""
    path = tmp_path / "large"
    sizes = {"a": 10, "b": 2**32 + 5, "c": 2**32 - 1, "d": 7}
    with path.open("wb") as file:
        directory = b""
        for name, size in sizes.items():
            offset = file.tell()
            crc = zlib.crc32(bytes(7)) if name == "d" else 0
            file.write(archive._local(name.encode(), size, crc))  # pyright: ignore[reportPrivateUsage]
            file.seek(size, os.SEEK_CUR)
            directory += archive._central(name.encode(), size, crc, offset)  # pyright: ignore[reportPrivateUsage]
        start = file.tell()
        file.write(directory + archive._end(len(sizes), start, len(directory)))  # pyright: ignore[reportPrivateUsage]
    with zipfile.ZipFile(path) as found:
        assert {info.filename: info.file_size for info in found.infolist()} == sizes
        offsets = {info.filename: info.header_offset for info in found.infolist()}
        assert found.read("d") == bytes(7)
    with path.open("rb") as file:
        members = archive.members(file, Place("large"))
        archive.check_form(file, members, Place("large"))
    assert {member.name: member.size for member in members} == sizes
    assert offsets["d"] > 2**33


CONTAINERS: dict[str, tuple[Any, str]] = {
    "empty": (lambda data: b"", "must be a zip file. Received: 0 bytes"),
    "not a zip": (lambda data: b"x" * 100, "must be a zip file, and end where that does. Received: another ending"),
    "cut off": (lambda data: data[:-5], "must be a zip file, and end where that does. Received: another ending"),
    "something behind": (
        lambda data: data + b"x",
        "must be a zip file, and end where that does. Received: another ending",
    ),
    "something before": (lambda data: b"x" + data, "must have its directory at its end. Received: "),
    "a pickle": (lambda data: b"\x80\x04c" + data, "must have its directory at its end. Received: "),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_that_is_none(name: str, good: bytes, tmp_path: Path) -> None:
    make, sentence = CONTAINERS[name]
    assert refusal(make(good), tmp_path).startswith(sentence)


def zipped(members: list[tuple[str, bytes]], **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as written:
        for name, data in members:
            written.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def test_members_must_be_the_known_ones_each_once_in_order_and_stored(good: bytes, tmp_path: Path) -> None:
    members = files.parts(good)
    surplus = files.joined({"../../etc/passwd": b"", **members})
    assert refusal(surplus, tmp_path).startswith(
        "must have the members architecture.json, weights.safetensors (and training.json, training.safetensors) and "
        "list them. Received: ../../etc/passwd, architecture.json, "
    )
    missing = {name: data for name, data in members.items() if name != "training.safetensors"}
    assert refusal(files.joined(missing), tmp_path).startswith("must have the members architecture.json, ")
    assert refusal(files.joined(dict(reversed(members.items()))), tmp_path).startswith("must have the members")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([("a", b"1"), ("a", b"2")])
    assert refusal(twice, tmp_path) == "must hold each member once. Received: 'a' twice"
    packed = zipped([("manifest.json", b"{}" * 100)], compression=zipfile.ZIP_DEFLATED)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("manifest.json", b"{}" * 100)
    assert refusal(file.getvalue(), tmp_path) == "manifest.json: must be stored, not compressed. Received: method 8"
    assert refusal(packed, tmp_path).startswith("manifest.json: ")
    plain = zipped([*members.items(), ("manifest.json", zipfile.ZipFile(io.BytesIO(good)).read("manifest.json"))])
    assert refusal(plain, tmp_path).startswith("must be laid out as layerkit does. Received: other bytes at ")


def test_flags_gaps_and_second_descriptions(good: bytes, tmp_path: Path) -> None:
    encrypted = bytearray(good)
    encrypted[6] |= 1
    assert refusal(bytes(encrypted), tmp_path) == (
        "architecture.json: must be stored without encryption and other options. Received: flags 0x0001"
    )
    start = struct.unpack("<L", good[-6:-2])[0]
    gap = bytearray(good[:start] + b"gap" + good[start:])
    gap[-6:-2] = struct.pack("<L", start + 3)
    assert refusal(bytes(gap), tmp_path) == "must hold its members and nothing else. Received: 3 further bytes"
    renamed = good.replace(b"architecture.json", b"architecture.jsoN", 1)
    assert refusal(renamed, tmp_path) == (
        "architecture.json: must be described alike before its bytes and in the directory. Received: two descriptions"
    )


# The manifest.


def test_a_newer_file_is_refused_with_both_versions(good: bytes, tmp_path: Path) -> None:
    assert refusal(files.joined(files.parts(good), version=[2, 7]), tmp_path) == (
        "manifest.json: $.version must be at most that which this layerkit reads, 1.0. Received: 2.7. "
        "Install a newer layerkit."
    )
    newer = tmp_path / "minor.layerkit"
    newer.write_bytes(files.joined(files.parts(good), version=[1, 7]))
    load_model(newer)


def test_damage_is_named(good: bytes, tmp_path: Path) -> None:
    damaged = bytearray(good)
    place = good.index(b"weights.safetensors") + 500
    damaged[place] ^= 1
    message = refusal(bytes(damaged), tmp_path)
    assert message.startswith("weights.safetensors: must be as it was written, with sha256 ")
    assert message.endswith(". The file is damaged.")


# The documents.

DOCUMENTS: dict[str, tuple[bytes, str]] = {
    "twice": (b'{"a": 1, "a": 2}', "architecture.json: must hold each key once. Received: 'a' twice"),
    "nan": (b"[NaN]", "architecture.json: must hold finite numbers. Received: NaN"),
    "infinity": (b"[-Infinity]", "architecture.json: must hold finite numbers. Received: -Infinity"),
    "float": (b"[1e999]", "architecture.json: must hold numbers that a float64 can hold. Received: 1e999"),
    "integer": (
        b"[18446744073709551616]",
        "architecture.json: must hold integers of 64 bits. Received: 18446744073709551616",
    ),
    "utf-8": (b'["\xff"]', "architecture.json: must be UTF-8. Received: byte 0xff at 2"),
    "mark": (b"\xef\xbb\xbf{}", "architecture.json: must be JSON. Received: "),
    "syntax": (b"[1,]", "architecture.json: must be JSON. Received: "),
    "kind": (
        b"[]",
        "architecture.json: must be an object with the keys model, built, frozen, constant, compile. Received: []",
    ),
    "key": (b'{"model": 1}', "architecture.json: must have the key 'built'. Received: the keys 'model'"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_that_parsers_disagree_about(name: str, good: bytes, tmp_path: Path) -> None:
    text, sentence = DOCUMENTS[name]
    assert refusal(files.with_json(good, "architecture.json", text), tmp_path).startswith(sentence)


def in_layer(**config: Any) -> Any:
    return lambda value: value["model"]["config"]["layers"][2]["config"].update(config)


ARCHITECTURES: dict[str, tuple[Any, str]] = {
    "a number": (
        in_layer(units=-3),
        "$.model.config.layers[2].config.units must be what Dense takes. Received: ArgumentError: Dense: units must be "
        "an integer of at least 1. Received: units=-3",
    ),
    "an argument": (
        in_layer(colour="red"),
        "$.model.config.layers[2].config.colour must be what Dense takes. Received: ArgumentError: Dense: an argument "
        "must be one of the constructor's. ",
    ),
    "another shape": (
        in_layer(units=5),
        "$.built['']",
    ),
    "a class": (
        lambda value: value["model"]["config"]["layers"][2].update({"class": "layers.Densse"}),
        "$.model.config.layers[2].class must be the name of a class of layerkit. Received: 'layers.Densse'",
    ),
    "no model": (
        lambda value: value.update(model={"class": "layers.ReLU", "config": {"name": "x"}}),
        "$.model must be a model. ",
    ),
    "a backend": (
        lambda value: value["model"]["config"].update(backend="os:system"),
        "$.model.config.backend must be left out: whoever loads a model says where it lives. Received: os:system",
    ),
    "a reference": (
        in_layer(units={"ref": 9}),
        "$.model.config.layers[2].config.units.ref must be the id of an object be",
    ),
    "a path": (
        lambda value: value["frozen"].append("nowhere"),
        "$.frozen[2] must be the name of one that the model has. ",
    ),
    "a shape": (lambda value: value["built"].update({"": [None, -1]}), "$.built[''][1] must be an integer from 0 to "),
    "compile": (
        lambda value: value["compile"].update(loss="mze"),
        "$.compile.loss must be what compile takes. Received: UnknownNameError: loss: the name must be a known one. ",
    ),
    "two kinds": (
        in_layer(units={"tuple": [], "float": "inf"}),
        "$.model.config.layers[2].config.units must have one of ",
    ),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_an_architecture_that_makes_no_model(name: str, good: bytes, tmp_path: Path) -> None:
    change, sentence = ARCHITECTURES[name]
    message = refusal(files.with_json(good, "architecture.json", change), tmp_path)
    if name == "another shape":
        assert message.startswith(
            "weights.safetensors: $['out/kernel'] must have shape (3, 5) and dtype float32, as the"
        )
    else:
        assert message.startswith(f"architecture.json: {sentence}")


SETTINGS: dict[str, tuple[Any, str]] = {
    "of none": (["built", 1], "$.optimizer.settings[0][13] must be a setting, beta_1, "),
    "no name": ([["beta_1"], 1], "$.optimizer.settings[0][13] must be text. Received: ['beta_1']"),
    "no pair": ("beta_1", "$.optimizer.settings[0][13] must be a list. Received: beta_1"),
    "out of range": (
        ["beta_1", 7],
        "$.optimizer.settings[0] must be what Adam takes. Received: ArgumentError: Adam: beta_1 must be from 0 to",
    ),
    "a class": (["learning_rate", {"type": "layers.Dense"}], "$.optimizer.settings[0] must be what Adam takes. Re"),
    "of others": (
        ["learning_rate", {"custom": "custom.f"}],
        "$.optimizer.settings[0][13].custom must be among the custom objects that the caller gives. ",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_no_optimizer_has(name: str, good: bytes, tmp_path: Path) -> None:
    added, sentence = SETTINGS[name]
    change = files.with_json(good, "training.json", lambda value: value["optimizer"]["settings"][0].append(added))
    assert refusal(change, tmp_path).startswith(f"training.json: {sentence}")


def test_metrics_of_a_model_that_is_not_built(good: bytes, tmp_path: Path) -> None:
    members = files.parts(good)
    architecture, training = (json.loads(members[f"{name}.json"]) for name in ("architecture", "training"))
    del architecture["model"]["config"]["layers"][0]  # the input
    architecture.update(built={}, frozen=[], constant=[])
    training["optimizer"] = None
    members["architecture.json"], members["training.json"] = (
        json.dumps(value).encode() for value in (architecture, training)
    )
    members["weights.safetensors"] = files.safetensors({})
    assert refusal(files.joined(members), tmp_path) == (
        "training.json: $.metrics must be null for a model that is not built. Received: [1, None, 2, 2]"
    )


# What others fell for.


def test_what_others_fell_for_is_refused_and_runs_nothing() -> None:
    found = holes.judged()
    assert found.keys() == holes.HOLES.keys()
    for name, hole in holes.HOLES.items():
        assert found[name].startswith(hole.refusal), name


@pytest.mark.parametrize("name", [name for name, hole in holes.HOLES.items() if hole.refusal == holes.LAYER])
def test_nor_does_it_elsewhere_in_the_architecture(name: str, good: bytes, tmp_path: Path) -> None:
    members = files.parts(holes.HOLES[name].make(good, tmp_path))
    value = json.loads(members["architecture.json"])["model"]["config"]["layers"][3]
    for place in ("optimizer", "loss", "metrics"):
        data = files.with_json(good, "architecture.json", lambda all_, at=place: all_["compile"].update({at: value}))
        assert refusal(data, tmp_path).startswith("architecture.json: $.compile")
        assert not (tmp_path / "mark").exists()


def test_nothing_is_downloaded_or_unpacked() -> None:
    for path in FOLDER.parent.rglob("*.py"):
        source = path.read_text()
        imported = {
            name.partition(".")[0]
            for node in ast.walk(ast.parse(source))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        assert not imported & {"tarfile", "zipfile", "shutil", "ftplib", "h5py", "yaml", "marshal"}, path


def test_custom_objects_that_are_no_classes_are_not_called_by_a_file(good: bytes, tmp_path: Path) -> None:
    called = []
    value = {"class": "custom.note", "config": {"x": 1}}
    data = files.with_json(good, "architecture.json", lambda all_: all_["model"]["config"]["layers"].append(value))
    message = refusal(data, tmp_path, custom_objects={"note": lambda **given: called.append(given)})
    assert message.startswith(
        "architecture.json: $.model.config.layers[3].class must name a class of layers, losses and"
    )
    assert called == []


# Bombs and mutants.


def test_bombs_are_refused_and_take_little_memory() -> None:
    """The time each takes: python -m tests.saving.bombs."""
    assert len(bombs.BOMBS) >= 30
    for name, told, _, grown_mib, size_mib in bombs.judged():
        assert told == "refused", name
        assert grown_mib < min(64, 2.2 * size_mib + 32), name


def test_mutants_are_accepted_or_refused_and_run_nothing() -> None:
    """The long form: python -m tests.saving.fuzz --count 100000 --flips 10000."""
    totals = fuzz.run(400, seed=1)
    assert totals["bad"] == {}
    assert sum(totals["outcomes"].values()) == 400


def test_no_number_of_a_class_is_paid_for_by_the_reader() -> None:
    """Not timed; the long form: python -m tests.saving.greedy."""
    count, wrong = greedy.judged(first=40, step=150)
    assert count >= 40
    assert [each for each in wrong if "accepted" not in each and "refused" not in each] == []


def test_every_flipped_bit_is_noticed() -> None:
    totals = fuzz.run(300, seed=1, flips=True)
    assert (totals["bad"], dict(totals["outcomes"])) == ({}, {"refused": 300})


# The text of the reader.

READING = ("archive", "decoding", "document", "inspection", "place", "position", "reader", "state", "sums", "tensors")
FORBIDDEN = {
    *(
        "eval",
        "exec",
        "compile",
        "getattr",
        "setattr",
        "delattr",
        "vars",
        "globals",
        "locals",
        "__import__",
        "open",
        "input",
    ),
    *("breakpoint", "import_module", "loads", "load", "extract", "extractall", "system", "popen", "memmap", "fromfile"),
}
ALLOWED = {
    ("decoding", "re.compile"),
    ("document", "re.compile"),
    ("inspection", "re.compile"),
    ("reader", "re.compile"),
    ("tensors", "re.compile"),
    ("document", "json.loads"),  # text, within limits
    ("reader", "document.loads"),
    ("tensors", "document.loads"),
    ("reader", "chosen.open"),  # the file that the caller names
}


def calls(source: str) -> set[str]:
    return {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call) and isinstance(node.func, (ast.Name, ast.Attribute))
    }


@pytest.mark.parametrize("module", READING)
def test_the_reader_holds_no_call_that_could_run_or_open_what_a_file_names(module: str) -> None:
    found = {call for call in calls((FOLDER / f"{module}.py").read_text()) if call.rpartition(".")[2] in FORBIDDEN}
    assert {(module, call) for call in found} <= ALLOWED


@pytest.mark.parametrize("module", READING)
def test_the_reader_imports_nothing_that_could(module: str) -> None:
    modules = set()
    for node in ast.walk(ast.parse((FOLDER / f"{module}.py").read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add((node.module or "").partition(".")[0])
    known = {"__future__", "collections", "hashlib", "io", "json", "layerkit", "math", "numpy", "os", "pathlib", "re"}
    assert modules <= known | {"struct", "threading", "types", "typing", "zlib"}


def test_every_file_of_the_room_is_judged() -> None:
    others = {"__init__", "atomic", "encoding", "memory", "table", "writer"}  # which read no file of a model
    assert {path.stem for path in FOLDER.glob("*.py")} == {*READING, *others}


def test_the_table_looks_up_attributes_of_its_own_list_only() -> None:
    tree = ast.parse((FOLDER / "table.py").read_text())
    looked_up = [
        ast.unparse(node.args[1])
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr"
    ]
    assert sorted(looked_up) == ["'NAMES'", "'base'", "'from_function'", "name", "name"]
    loops = [node for node in ast.walk(tree) if isinstance(node, ast.For) and ast.unparse(node.target) == "name"]
    assert sorted(ast.unparse(loop.iter) for loop in loops) == ["callbacks_room.__all__", "module.__all__"]
