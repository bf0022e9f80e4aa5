"""Weights alone, in safetensors and npz: read by others as they were written here, and the other way round."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors.numpy

from layerkit import Input, Sequential
from layerkit.errors import ArgumentError, ModelFormatError, NotReadyError
from layerkit.layers import Dense
from layerkit.saving.place import Place
from layerkit.saving.tensors import CODES, Image, npz, source, values, write_npz
from layerkit.saving.tensors import safetensors as read_safetensors
from tests.saving.models import trained

if TYPE_CHECKING:
    from pathlib import Path

ARRAYS: dict[str, np.ndarray[Any, Any]] = {
    **{f"a.{dtype}": np.arange(6).reshape(2, 3).astype(dtype) for dtype in CODES},
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), np.float32),
    "one/two-3_4.5": np.array([np.nan, -0.0, np.inf, 1e-320]),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "apart": np.arange(12, dtype=np.int16)[::2],
    "big endian": np.arange(3, dtype=">f4"),
}
ARRAYS["big.endian"] = ARRAYS.pop("big endian")


def assert_equal(found: dict[str, Any]) -> None:
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype.name == array.dtype.name
        assert found[name].shape == array.shape
        assert found[name].astype(array.dtype).tobytes() == array.tobytes(), name


def test_safetensors_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"".join(bytes(chunk) for chunk in Image({n: source(a) for n, a in ARRAYS.items()}).chunks()))
    assert_equal(safetensors.numpy.load_file(path))
    with path.open("rb") as file:
        header = read_safetensors(file, 0, path.stat().st_size, Place("a"))
        assert_equal({name: values(file, tensor, Place("a")) for name, tensor in header.items()})


def test_what_safetensors_writes_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    plain = {name: np.ascontiguousarray(array, array.dtype.newbyteorder("=")) for name, array in ARRAYS.items()}
    plain["scalar"] = plain["scalar"].reshape(())
    safetensors.numpy.save_file(plain, path, metadata={"from": "elsewhere"})
    with path.open("rb") as file:
        header = read_safetensors(file, 0, path.stat().st_size, Place("a"))
        assert_equal({name: values(file, tensor, Place("a")) for name, tensor in header.items()})


def test_numpy_reads_what_is_written_and_the_other_way_round(tmp_path: Path) -> None:
    with (tmp_path / "a.npz").open("wb") as file:
        write_npz(file, {name: source(array) for name, array in ARRAYS.items()})
    with np.load(tmp_path / "a.npz") as archive:
        assert_equal(dict(archive))
    others = {name: array for name, array in ARRAYS.items() if name not in ("columns", "big.endian")}
    np.savez(tmp_path / "b.npz", **others)  # type: ignore[arg-type]
    with (tmp_path / "b.npz").open("rb") as file:
        header = npz(file, Place("b"))
        for name, array in others.items():
            assert values(file, header[name], Place("b")).tobytes() == array.tobytes()


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.layerkit"])
def test_weights_come_back_into_another_model(name: str, tmp_path: Path) -> None:
    model, other = trained(), trained(seed=9)
    (model.save if name.endswith("layerkit") else model.save_weights)(tmp_path / name)
    before = other.optimizer.variables[2].numpy()
    other.load_weights(tmp_path / name)
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()
    np.testing.assert_array_equal(other.optimizer.variables[2].numpy(), before)


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_the_same_weights_give_the_same_bytes(ending: str, tmp_path: Path) -> None:
    model = trained()
    first, second = (tmp_path / f"{name}.{ending}" for name in "ab")
    model.save_weights(first)
    model.save_weights(second)
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_all_that_does_not_fit_is_listed_and_nothing_is_loaded(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w.{ending}"
    Sequential([Input((3,)), Dense(2, name="a"), Dense(2, name="b")]).save_weights(path)
    model = Sequential(
        [Input((3,)), Dense(2, name="a", use_bias=False), Dense(3, name="b"), Dense(1, name="c")], seed=0
    )
    before = model.get_weights()
    with pytest.raises(ModelFormatError) as refusal:
        model.load_weights(path)
    assert str(refusal.value) == (
        f"{path}: the arrays must be those of the model. Received: c/kernel is missing; c/bias is missing; "
        f"a/bias is surplus; b/kernel has shape (2, 2) and dtype float32 in place of (2, 3) and float32; "
        f"b/bias has shape (2,) and dtype float32 in place of (3,) and float32"
    )
    for a, b in zip(before, model.get_weights(), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_model_without_weights_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotReadyError, match=r"^sequential: load_weights needs a model with weights\. "):
        Sequential([Dense(1)]).load_weights(tmp_path / "w.npz")


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda m, p: m.save(p / "m.keras"), "save: the path must end in .layerkit. Received: "),
        (
            lambda m, p: m.save_weights(p / "m.h5"),
            "save_weights: the path must end in .safetensors or .npz. Received: ",
        ),
        (
            lambda m, p: m.load_weights(p / "m.h5"),
            "load_weights: the path must end in .layerkit or .safetensors or .npz. ",
        ),
        (lambda m, p: m.save(3), "save: the path must be text or a path. Received: 3"),
        (lambda m, p: m.load_weights(3), "load_weights: the path must be text or a path. Received: 3"),
        (
            lambda m, p: m.save(p / "there.layerkit", overwrite=False),
            "save: there must be no file yet, with overwrite=F",
        ),
        (lambda m, p: m.save(p / "folder.layerkit"), "save: the path must be that of a file. Received: "),
    ],
)
def test_a_path_that_will_not_do(call: Any, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "there.layerkit").touch()
    (tmp_path / "folder.layerkit").mkdir()
    model = Sequential([Input((3,)), Dense(2)])
    with pytest.raises(ArgumentError) as refusal:
        call(model, tmp_path)
    assert str(refusal.value).startswith(sentence)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.layerkit", "there.layerkit"]


def test_a_name_that_no_file_may_have_is_refused_when_saving(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError) as refusal:
        Sequential([Input((3,)), Dense(2, name="my layer")]).save(tmp_path / "m.layerkit")
    assert str(refusal.value) == (
        "save: names of layers and weights must be letters, digits, '_', '.' and '-', at most 128 of them. "
        "Received: 'my layer/kernel'"
    )
