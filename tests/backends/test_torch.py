"""The PyTorch backend: what is said where it is missing, its devices and machine words, random bits, and training."""

import os
import subprocess
import sys

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.errors import BackendUnavailableError, MixedBackendsError
from layerkit.layers import Dense, Dropout, Sigmoid
from layerkit.optimizers import SGD, Adam
from layerkit.xp import backend_of
from tests.conftest import MISSING, skip_unless_required

# Where it is missing, in a process of its own: PyTorch cannot be imported twice.

INSTALL = 'Run: pip install "layerkit[torch]".'
ASK = """\
import sys
{first}
import layerkit
from layerkit.errors import BackendUnavailableError
try:
    layerkit.Sequential([], backend="torch")
except BackendUnavailableError as error:
    print(error)
"""


def said(folder, first="", **modules):
    """Return what is said with these made-up modules on the path."""
    for module, content in modules.items():
        package = folder / module
        package.mkdir()
        (package / "__init__.py").write_text(content)
        (package / "torch.py").write_text("")
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", ASK.format(first=first)]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.removesuffix("\n")


def test_not_installed(tmp_path):
    assert said(tmp_path, "sys.modules['torch'] = None") == (
        f"backend 'torch': PyTorch must be installed. Received: no package torch. {INSTALL}"
    )


def test_array_api_compat_not_installed(tmp_path):
    assert said(tmp_path, "sys.modules['array_api_compat'] = None", torch="") == (
        f"backend 'torch': array-api-compat must be installed. Received: no package array_api_compat. {INSTALL}"
    )


def test_broken_installation(tmp_path):
    broken = "raise ImportError('libtorch_cpu.so: cannot open shared object file\\nand so on')"
    assert said(tmp_path, torch=broken, array_api_compat="") == (
        "backend 'torch': the installed PyTorch must be importable. Received: "
        "ImportError: libtorch_cpu.so: cannot open shared object file. "
        f"{INSTALL.replace('Run', 'Uninstall torch, and run')}"
    )


def test_old_torch(tmp_path):
    assert said(tmp_path, torch="__version__ = '2.1.2+cpu'", array_api_compat="") == (
        "backend 'torch': PyTorch must be of version 2.3 or later. Received: PyTorch 2.1.2+cpu. "
        f"{INSTALL.replace('install', 'install --upgrade')}"
    )


def test_the_module_has_no_other_attributes():
    import layerkit_torch

    with pytest.raises(AttributeError, match=r"^module 'layerkit_torch' has no attribute 'TorchBackends'$"):
        _ = layerkit_torch.TorchBackends


# Where it is there.


@pytest.fixture
def torch():
    """Return PyTorch; its backend is there."""
    if MISSING["torch"] is not None:
        skip_unless_required("torch", MISSING["torch"])
    import torch

    return torch


@pytest.fixture
def xp(torch):
    return layerkit.backend("torch:cpu")


def test_names(xp):
    assert layerkit.backend("torch") is layerkit.backend("torch:cpu") is xp
    assert str(xp) == "torch:cpu"
    assert xp.devices()[0] == "cpu"


@pytest.mark.parametrize("name", ["torch:cuda:99", "torch:gpu", "torch:mps:7"])
def test_a_device_that_is_not_there_is_refused(xp, name):
    known = " or ".join(f"'torch:{device}'" for device in xp.devices())
    with pytest.raises(BackendUnavailableError) as caught:
        layerkit.backend(name)
    assert str(caught.value) == (
        f"backend 'torch': the device must be one of this machine's. Received: {name!r}. Use {known}."
    )


def test_arrays_are_tensors_and_tensors_are_taken(torch, xp):
    model = Sequential([Dense(2)], seed=0, backend="torch")
    y = model(torch.ones((3, 4)))
    assert type(y) is torch.Tensor
    assert y.dtype == torch.float32
    assert backend_of(y) is xp
    assert xp.asarray(y) is y


def test_what_makes_a_graph_is_taken_without_it(torch, xp):
    """Or state would hold on to the graph of every step."""
    x = torch.ones((3, 4), requires_grad=True)
    assert not xp.asarray(x).requires_grad
    assert xp.to_numpy(x).shape == (3, 4)
    state = xp.state(x, "float32")
    xp.assign_add(state, xp.asarray(x))
    assert not state.requires_grad


def test_an_array_of_another_device_is_refused(torch, xp):
    elsewhere = torch.ones((2,), device="meta")  # a device that every PyTorch has, of shapes without values
    assert not xp.owns(elsewhere)
    with pytest.raises(MixedBackendsError) as caught:
        xp.asarray(elsewhere)
    assert str(caught.value) == (
        "One computation takes arrays of one backend. Received: an array of torch:meta in a computation on torch:cpu. "
        "Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
    )


def test_host_data_may_be_written_to_after_asarray(xp):
    values = np.ones(1000, np.float32)
    array = xp.asarray(values)
    values[:] = 2  # as `fit` does with its buffers
    assert xp.to_numpy(array).max() == 1


@pytest.mark.parametrize("counter", [0, 2**32 - 1, 2**63, 2**64 - 3])
@pytest.mark.parametrize("size", [1, 9, 5000])
def test_random_bits_are_those_of_numpy(xp, counter, size):
    numpy = layerkit.backend("numpy")
    key = (2**64 - 1, 2**63 + 5)
    bits = xp.random_bits(key, xp.state(counter, "uint64"), size)
    np.testing.assert_array_equal(xp.to_numpy(bits), numpy.random_bits(key, numpy.state(counter, "uint64"), size))


# Models.

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


@pytest.mark.parametrize("jit_compile", ["auto", True, False])
def test_xor_is_learnt_as_on_numpy(xp, jit_compile):
    models = [
        Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=0, backend=name, dtype="float64")
        for name in ("torch", "numpy")
    ]
    for model in models:
        model.compile(SGD(learning_rate=2.0), "mse", metrics=["accuracy"], jit_compile=jit_compile)
        model.fit(X, Y, epochs=1500, batch_size=4, verbose=0)
    ours, theirs = (model.predict(X, verbose=0) for model in models)
    np.testing.assert_array_equal(np.round(ours), Y)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)
    assert xp.owns(models[0].weights[0].value)


def test_a_network_with_dropout_trains_as_on_numpy_and_moves(xp):
    random = np.random.default_rng(1)
    x = random.normal(size=(50, 20))
    y = random.integers(0, 5, 50)

    def trained(*places):
        layers = [Dense(32, activation="gelu"), Dropout(0.3), Dense(16, activation="relu"), Dense(5)]
        model = Sequential(layers, seed=3, dtype="float64")
        loss = layerkit.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(Adam(0.01), loss, metrics=["accuracy"])
        for place in places:
            model.to(place)
            model.fit(x, y, epochs=3, batch_size=16, verbose=0)
        return model.get_weights(), model.evaluate(x, y, verbose=0)

    expected, measured = trained("numpy", "numpy", "numpy")
    for places in (("torch",) * 3, ("torch", "numpy", "torch")):
        weights, found = trained(*places)
        np.testing.assert_allclose(found, measured, rtol=1e-9)
        for ours, theirs in zip(weights, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-12)


def test_a_step_is_captured_word_by_word(xp):
    model = Sequential([Dense(3, activation="sigmoid"), Dropout(0.5), Dense(1)], seed=0, backend="torch")
    model.compile("adam", "mse", jit_compile=True)
    model.fit(X, Y, epochs=6, verbose=0)
    text = str(model.program("train"))
    assert "xp.linear(" in text
    assert "xp.random_bits(" in text
