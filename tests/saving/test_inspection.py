"""python -m layerkit inspect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from layerkit.__main__ import main
from tests.saving import files
from tests.saving.models import Scale, trained

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_is_shown_without_being_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = trained()
    model.add(Scale(2.0))
    model.save(tmp_path / "m.layerkit")
    assert main(["inspect", str(tmp_path / "m.layerkit")]) == 0
    shown = capsys.readouterr().out
    size = (tmp_path / "m.layerkit").stat().st_size
    assert shown.startswith(f"layerkit model, format 1.0, {size:,} bytes\n")
    for line in (
        "model",
        "  models.Sequential(seed=3, name='sequential', trainable=True)",
        "    custom.Scale(factor=2.0)",
        "  frozen: []",
        "  loss: 'mse'",
        "  dense/kernel    float32  (3, 8)",
        "  shuffles: 2",
    ):
        assert line in shown.splitlines()


@pytest.mark.parametrize("ending", ["safetensors", "npz"])
def test_weights_are_shown(ending: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"w.{ending}"
    trained().save_weights(path)
    assert main(["inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"4 arrays, {path.stat().st_size:,} bytes"
    assert "  dense_1/kernel  float32  (8, 1)" in lines


def test_what_cannot_be_shown_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.layerkit"
    path.write_bytes(b"")
    assert main(["inspect", str(path)]) == 1
    assert capsys.readouterr().err == f"{path}: must be a zip file. Received: 0 bytes\n"
    assert main(["inspect", str(tmp_path / "none.npz")]) == 1
    assert "No such file" in capsys.readouterr().err


def test_what_a_stranger_wrote_does_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.layerkit"
    trained().save(path)
    evil = "\x1b[2J\u202e"
    change = {"model": {"class": evil, "config": {evil: evil}}, "built": evil, "compile": {evil: [evil]}}
    path.write_bytes(files.with_json(path.read_bytes(), "architecture.json", lambda value: value.update(change)))
    assert main(["inspect", str(path)]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert all(line.isprintable() for line in shown.splitlines())
