"""Long members are summed in a thread while they are read; nobody gets a model before its sums are right."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest

from layerkit import Input, Sequential, load_model
from layerkit.errors import ModelFormatError
from layerkit.layers import Dense
from layerkit.saving.sums import SHORT
from tests.saving import load_time

if TYPE_CHECKING:
    from pathlib import Path

WIDTH = 900


def made(value: float) -> Sequential:
    model = Sequential([Input((WIDTH,)), Dense(WIDTH)], seed=0)
    model.set_weights([np.full(weight.shape, value, np.float32) for weight in model.get_weights()])
    return model


def test_a_long_file_that_is_damaged_is_refused(tmp_path: Path) -> None:
    assert 4 * WIDTH**2 > SHORT
    path = tmp_path / "a.layerkit"
    made(1.0).save(path)
    whole = path.read_bytes()
    np.testing.assert_array_equal(load_model(path).get_weights()[0], np.ones((WIDTH, WIDTH), np.float32))
    model = made(2.0)
    for place in (len(whole) // 2, len(whole) // 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ModelFormatError, match=r"weights\.safetensors: must be as it was written, with sha256 "):
            load_model(path)
        with pytest.raises(ModelFormatError, match="The file is damaged"):
            model.load_weights(path)
    assert (model.get_weights()[0] == 2.0).all()
    assert not [thread for thread in threading.enumerate() if thread.name == "layerkit-sum"]


def test_damage_is_told_even_where_it_looks_like_nonsense(tmp_path: Path) -> None:
    path = tmp_path / "a.layerkit"
    made(1.0).save(path)
    whole = path.read_bytes()
    place = whole.index(b'"data_offsets"')  # in the header of the weights
    path.write_bytes(whole[:place] + b"'" + whole[place + 1 :])
    with pytest.raises(ModelFormatError, match="The file is damaged"):
        load_model(path)


def test_the_time_of_loading_is_measured() -> None:
    """The long form: python -m tests.saving.load_time."""
    found = load_time.measured(width=32, layers=2, pairs=2)
    assert found.size_mib < 1
    assert min(found.load_s, found.load_file_s, found.sum_s) > 0
