"""Finding a backend by name, by context, by environment, and by an array."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest

from layerkit import Sequential, use_backend
from layerkit.errors import BackendUnavailableError, MixedBackendsError, UnknownNameError
from layerkit.layers import Dense
from layerkit.xp import backend, backend_names, backend_of, registry


def test_numpy_is_the_default(monkeypatch):
    monkeypatch.delenv("LAYERKIT_BACKEND", raising=False)
    assert str(backend()) == "numpy"
    assert backend() is backend("numpy") is backend(None)


def test_a_backend_is_returned_as_it_is(xp):
    assert backend(xp) is xp
    assert backend(str(xp)) is xp


def test_one_device_is_one_backend_whatever_it_is_called():
    assert backend("strict") is backend("strict:0")
    assert backend("strict:1") is backend("strict:1")


def test_backends_survive_copies(xp):
    assert copy.deepcopy(xp) is xp
    assert pickle.loads(pickle.dumps(xp)) is xp


def test_the_built_in_names_are_known():
    assert {"numpy", "cupy", "strict", "torch"} <= set(backend_names())
    assert backend_names() == sorted(backend_names())


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        backend("nunpy")
    assert str(caught.value) == (
        "backend: the name must be that of an installed backend. Received: 'nunpy'. Did you mean 'numpy'?"
    )
    with pytest.raises(
        UnknownNameError, match=r"^backend: .* Received: 'tensorflow:0'\. Known names: cupy, numpy, strict"
    ):
        backend("tensorflow:0")


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(BackendUnavailableError) as caught:
        backend("numpy:3")
    message = str(caught.value)
    assert message.startswith("backend 'numpy': ")
    assert "Received: 'numpy:3'." in message


# The current backend.


def test_use_backend_holds_within_its_block(monkeypatch):
    monkeypatch.delenv("LAYERKIT_BACKEND", raising=False)
    with use_backend("strict") as chosen:
        assert chosen is backend() is backend("strict")
        with use_backend("numpy"):
            assert backend() is backend("numpy")
        with use_backend(backend("strict:1")):
            assert str(backend()) == "strict:1"
        assert str(backend()) == "strict:0"
    assert str(backend()) == "numpy"


def test_use_backend_ends_with_an_error(monkeypatch):
    monkeypatch.delenv("LAYERKIT_BACKEND", raising=False)
    with pytest.raises(RuntimeError, match="planned"), use_backend("strict"):
        raise RuntimeError("planned")
    assert str(backend()) == "numpy"


def test_use_backend_is_of_one_thread(monkeypatch):
    monkeypatch.delenv("LAYERKIT_BACKEND", raising=False)
    seen = []
    with use_backend("strict"):
        thread = threading.Thread(target=lambda: seen.append(str(backend())))
        thread.start()
        thread.join()
    assert seen == ["numpy"]


def test_use_backend_refuses_an_unknown_name_before_the_block():
    with pytest.raises(UnknownNameError), use_backend("nunpy"):
        pytest.fail("the block was entered")


@pytest.mark.parametrize(
    ("value", "expected"), [("strict", "strict:0"), ("strict:1", "strict:1"), ("", "numpy"), (" ", "numpy")]
)
def test_the_environment_names_the_backend(monkeypatch, value, expected):
    monkeypatch.setenv("LAYERKIT_BACKEND", value)
    assert str(backend()) == expected
    with use_backend("numpy"):  # the block goes before the environment
        assert str(backend()) == "numpy"


def test_the_environment_reaches_a_new_process():
    code = "import layerkit; m = layerkit.Sequential(); print(m.xp)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "LAYERKIT_BACKEND": "strict:1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "strict:1"


def test_a_wrong_name_in_the_environment_is_refused(monkeypatch):
    monkeypatch.setenv("LAYERKIT_BACKEND", "cuppy")
    with pytest.raises(UnknownNameError, match=r"Received: 'cuppy'\. Did you mean 'cupy'\?$"):
        backend()


def test_a_model_lives_where_it_was_made(monkeypatch):
    monkeypatch.delenv("LAYERKIT_BACKEND", raising=False)
    with use_backend("strict"):
        inside = Sequential([Dense(2)], seed=0)
    outside = Sequential([Dense(2)], seed=0)
    named = Sequential([Dense(2)], seed=0, backend="strict:1")
    assert [str(model.xp) for model in (inside, outside, named)] == ["strict:0", "numpy", "strict:1"]
    x = [[1.0, 2.0, 3.0]]
    results = [model.predict(x, verbose=0) for model in (inside, outside, named)]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-6)


# Third parties.


class _Point:
    def __init__(self, name, value):
        self.name, self.value = name, value


def test_a_package_may_register_a_backend(monkeypatch):
    found = {"other": "layerkit_numpy:NumpyBackend", "broken": "no_such_package_of_mine:Backend"}
    monkeypatch.setattr(
        "importlib.metadata.entry_points",
        lambda *, group: [_Point(*item) for item in found.items()] if group == "layerkit.backends" else [],
    )
    monkeypatch.setattr(registry, "_opened", dict(registry._opened))
    assert {"other", "broken", "numpy"} <= set(backend_names())
    assert type(backend("other")).__name__ == "NumpyBackend"
    with pytest.raises(BackendUnavailableError) as caught:
        backend("broken")
    assert str(caught.value) == (
        "backend 'broken': its package must be importable. Received: No module named 'no_such_package_of_mine'. "
        "Install what 'no_such_package_of_mine' needs, or use backend='numpy'."
    )


# Whose array is it?


def test_an_array_knows_its_backend(xp):
    assert backend_of(xp.asarray([1.0])) is xp
    assert backend_of(xp.asarray([1.0]), None, [1.0], 2.0, xp.zeros((2,))) is xp


def test_lists_numbers_and_nothing_belong_to_none():
    assert backend_of() is None
    assert backend_of(None, 1, 2.0, True, [1, 2], (3,), "text") is None


def test_arrays_of_two_backends_are_not_mixed():
    with pytest.raises(MixedBackendsError) as caught:
        backend_of(np.ones(2), backend("strict").asarray([1.0]))
    assert str(caught.value) == (
        "One computation takes arrays of one backend. Received: arrays of numpy and strict:0. "
        "Move one with xp.asarray(xp_of_the_other.to_numpy(array))."
    )
    with pytest.raises(MixedBackendsError, match=r"Received: arrays of strict:0 and strict:1\."):
        backend_of(backend("strict").asarray([1.0]), backend("strict:1").asarray([1.0]))


def test_a_layer_refuses_an_array_of_another_backend_by_name():
    layer = Dense(2)
    layer(backend("strict").asarray([[1.0, 2.0]]))
    with pytest.raises(MixedBackendsError) as caught:
        layer(backend("strict:1").asarray([[1.0, 2.0]]))
    assert str(caught.value) == (
        "dense: x and the weights must belong to one backend. Received: x on strict:1, weights on strict:0. "
        "Move the layer with layer.to('strict:1'), or x with xp.asarray."
    )
