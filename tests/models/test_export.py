"""A model as a file that needs NumPy alone: run where layerkit cannot be imported, it gives the model's own bits."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import layerkit
from layerkit import Sequential
from layerkit.errors import ArgumentError, CaptureError, ContractError, NotReadyError
from layerkit.layers import BatchNormalization, Dense, Dropout, Embedding, Flatten, Layer, LayerNormalization, ReLU
from layerkit.models import export as exporting

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(48, 3)).astype("float32")
Y = RANDOM.normal(size=(48, 2)).astype("float32")


def trained(*layers, x=X, y=Y, optimizer="adam", metrics=("mae",), dtype="float32", **how):
    """Return a model that was trained on batches of 16 rows."""
    model = Sequential(list(layers) or [Dense(4, "tanh"), Dense(2)], seed=3, dtype=dtype)
    model.compile(optimizer, "mse", metrics=[*metrics], **how)
    model.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    return model


def ran(path):
    """Return the names of an exported file, run in a namespace of its own."""
    return runpy.run_path(str(path))


# Python with no path but its own and NumPy's: no site-packages, no folder of this project. What is not NumPy's own is
# refused too, wherever it might be found.
ALONE = """
import sys

sys.path[:] = [{standard}, {lib_dynload}, {folder}]

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0].startswith("layerkit"):
            raise AssertionError(f"import of {{name}}")

sys.meta_path.insert(0, Refuses())
import importlib.util

spec = importlib.util.spec_from_file_location("numpy", {numpy}, submodule_search_locations=[{numpy_folder}])
numpy = sys.modules["numpy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(numpy)
import net

x = numpy.load({folder} + "/x.npy")
numpy.save({folder} + "/y.npy", net.predict(x))
outside = [name for name in sys.modules if name.partition(".")[0].startswith("layerkit")]
assert not outside, outside
print("alone")
"""


def test_it_runs_where_there_is_nothing_but_numpy(tmp_path):
    model = trained()
    model.export(tmp_path / "net.py", rows=16)
    np.save(tmp_path / "x.npy", X)
    numpy_file = Path(np.__file__)
    standard = Path(re.__file__).parents[1]
    script = ALONE.format(
        standard=repr(str(standard)),
        lib_dynload=repr(str(standard / "lib-dynload")),
        folder=repr(str(tmp_path)),
        numpy=repr(str(numpy_file)),
        numpy_folder=repr(str(numpy_file.parent)),
    )
    done = subprocess.run([sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("alone\n", "", 0)
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), model.predict(X, batch_size=16, verbose=0))


MODELS = {
    "dense": lambda: trained(),
    "float64": lambda: trained(dtype="float64"),
    "batch normalization": lambda: trained(Dense(5, "relu"), BatchNormalization(), Dense(2, "sigmoid")),
    "layer normalization": lambda: trained(Dense(5), LayerNormalization(), ReLU(), Dense(2, "softmax")),
    "dropout": lambda: trained(Dense(5, "relu"), Dropout(0.5), Dense(2)),
    "embedding": lambda: trained(Embedding(7, 4), Flatten(), Dense(2), x=RANDOM.integers(0, 7, (48, 3))),
    "images": lambda: trained(Flatten(), Dense(2), x=RANDOM.normal(size=(48, 2, 3))),
    "a frozen layer": lambda: trained(Dense(4, "gelu", trainable=False), Dense(2)),
    "names": lambda: trained(Dense(4, name="class"), Dense(3, name="ﬁ ²"), Dense(2, name='a\nb """ {0} \\')),
    "wide": lambda: trained(Dense(300, "tanh"), Dense(300, "swish"), Dense(2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_gives_what_predict_gives(tmp_path, name):
    model = MODELS[name]()
    model.export(tmp_path / "net.py", rows=16)
    net = ran(tmp_path / "net.py")
    x = RANDOM.integers(0, 7, (48, 3)) if name == "embedding" else RANDOM.normal(size=(48, *model.input_shape[1:]))
    found = net["predict"](x)
    expected = model.predict(x, batch_size=16, verbose=0)
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)
    tolerance = 1e-6 if expected.dtype == np.float32 else 1e-14
    for rows in (0, 1, 5, 15, 17, 47):
        part = net["predict"](x[:rows])
        assert part.shape == (rows, 2)
        np.testing.assert_allclose(part, expected[:rows], rtol=tolerance, atol=tolerance)


def test_what_was_returned_is_not_overwritten_and_what_was_given_is_not_changed(tmp_path):
    trained().export(tmp_path / "net.py", rows=8)
    net = ran(tmp_path / "net.py")
    x = X.copy()
    first = net["predict"](x)
    kept = first.copy()
    net["predict"](2.0 * x)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(x, X)


@pytest.mark.parametrize("convert", [np.ndarray.tolist, lambda x: x.astype("float64"), np.asfortranarray])
def test_x_is_converted(tmp_path, convert):
    trained().export(tmp_path / "net.py")
    net = ran(tmp_path / "net.py")
    np.testing.assert_array_equal(net["predict"](convert(X)), net["predict"](X))


@pytest.mark.parametrize(
    ("x", "sentence"),
    [
        (X[:, :2], "predict: x must be of shape (rows, 3). Received: shape (48, 2)"),
        (X[0], "predict: x must be of shape (rows, 3). Received: shape (3,)"),
        (X[None], "predict: x must be of shape (rows, 3). Received: shape (1, 48, 3)"),
        (3.0, "predict: x must be of shape (rows, 3). Received: shape ()"),
        ([["a", "b", "c"]], "predict: x must hold numbers. Received: dtype <U1"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, x, sentence):
    trained().export(tmp_path / "net.py")
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ran(tmp_path / "net.py")["predict"](x)


def test_nothing_of_the_model_is_changed(tmp_path):
    model = trained(Dense(4, "relu"), BatchNormalization(), Dropout(0.2), Dense(2))
    variables = [*model.variables, *model.optimizer.variables]
    before = [variable.numpy() for variable in variables]
    addresses = [id(variable.array) for variable in variables]
    model.export(tmp_path / "net.py", training=True)
    net = ran(tmp_path / "net.py")
    net["train"](X[:16], Y[:16])
    for variable, old in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    assert [id(variable.array) for variable in variables] == addresses


@pytest.mark.parametrize("backend", ["strict", "numpy"])
def test_a_model_on_another_backend_is_exported_as_numpy(tmp_path, backend):
    model = Sequential([Dense(4, "tanh"), Dense(2)], seed=3, backend=backend)
    model.build((None, 3))
    model.export(tmp_path / "net.py", rows=48)
    assert model.xp is layerkit.backend(backend)
    expected = model.predict(X, batch_size=48, verbose=0)
    np.testing.assert_allclose(ran(tmp_path / "net.py")["predict"](X), expected, rtol=1e-6, atol=1e-7)


# Training.


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Dense(4, "tanh"), Dense(2)],
        lambda: [Dense(8, "relu"), BatchNormalization(), Dropout(0.3), Dense(2)],
        lambda: [Dense(4, "tanh", trainable=False), Dense(3, "gelu"), Dense(2)],
    ],
)
def test_it_trains_to_the_same_bits_as_fit(tmp_path, layers, optimizer):
    model = trained(*layers(), optimizer=optimizer)
    model.export(tmp_path / "net.py", rows=16, training=True)
    net = ran(tmp_path / "net.py")
    np.testing.assert_array_equal(net["predict"](X), model.predict(X, batch_size=16, verbose=0))
    assert net["loss"]() == 0.0
    for _ in range(3):
        history = model.fit(X, Y, batch_size=16, shuffle=False, verbose=0)
        for start in range(0, 48, 16):
            net["train"](X[start : start + 16], Y[start : start + 16])
        np.testing.assert_allclose(net["loss"](), history.history["loss"][0], rtol=1e-12)
        np.testing.assert_array_equal(net["predict"](X), model.predict(X, batch_size=16, verbose=0))


def test_a_batch_of_another_length_is_refused(tmp_path):
    trained().export(tmp_path / "net.py", training=True)
    sentence = "train: x must be of shape (16, 3). Received: shape (15, 3)"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ran(tmp_path / "net.py")["train"](X[:15], Y[:15])


def test_training_needs_a_model_that_was_trained(tmp_path):
    model = Sequential([Dense(2)])
    model.build((None, 3))
    model.compile("sgd", "mse")
    with pytest.raises(NotReadyError, match=r"^program: a step is known once it was taken twice"):
        model.export(tmp_path / "net.py", training=True)
    model.fit(X, Y, sample_weight=np.ones(48), epochs=3, verbose=0)
    sentence = (
        "export: with training=True, the model must have been trained on x and y. "
        "Received: sample weights too. Call fit without them."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        model.export(tmp_path / "net.py", training=True)
    model.to("strict")
    sentence = (
        "export: with training=True, the model must be on NumPy. Received: a model on strict:0. "
        "Call to('numpy'), and fit."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        model.export(tmp_path / "net.py", training=True)
    assert not [*tmp_path.iterdir()]


# The file.


def test_the_file_says_what_it_is(tmp_path):
    model = trained()
    model.export(tmp_path / "xor_net.py", rows=8, training=True)
    text = (tmp_path / "xor_net.py").read_text()
    assert text.startswith(
        f'''"""The model {model.name!r}, as NumPy alone computes it: written by layerkit.

    import xor_net
    y = xor_net.predict(x)

x: any number of rows, an array of shape (rows, 3), which is taken as float32.
y: for each row its output, an array of shape (rows, 2) and dtype float32.

    xor_net.train(x, y)    # one step, on 16 rows; y of shape (16, 2)
    xor_net.loss()         # the mean since it was last asked for

The numbers are in xor_net.npz, beside this file. A step works on 8 rows, in memory that is allocated once: call it
from one thread at a time.
"""
'''
    )
    assert "layerkit" not in text.partition('"""\n')[2]
    compile(text, "xor_net.py", "exec")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["xor_net.npz", "xor_net.py"]


def test_state_that_shares_memory_is_kept_once(tmp_path):
    model = trained(Dense(64), Dense(64), Dense(2))
    model.export(tmp_path / "net.py")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as file:
        assert sum(array.size for array in map(file.__getitem__, file.files) if array.size > 1) == model.count_params()
    assert "_arrays['flat'][0:192].reshape((3, 64))" in (tmp_path / "net.py").read_text()


def test_the_numbers_must_be_those_of_the_file(tmp_path):
    trained().export(tmp_path / "net.py")
    old = (tmp_path / "net.npz").read_bytes()
    trained(Dense(2)).export(tmp_path / "net.py")
    (tmp_path / "net.npz").write_bytes(old)
    sentence = "net.npz must be the file that was written with net.py. Received: another"
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        ran(tmp_path / "net.py")


def test_a_file_that_is_there_is_replaced(tmp_path):
    trained().export(tmp_path / "net.py")
    model = trained(Dense(2))
    model.export(str(tmp_path / "net.py"), rows=48)
    np.testing.assert_array_equal(ran(tmp_path / "net.py")["predict"](X), model.predict(X, batch_size=48, verbose=0))
    assert len([*tmp_path.iterdir()]) == 2


@pytest.mark.parametrize("path", ["net.txt", "net", "2net.py", "a net.py", "class.py", ".py", "net.layerkit"])
def test_a_path_that_cannot_be_imported_is_refused(tmp_path, path):
    sentence = (
        f"export: the path must end in .py, after a name that Python can import. Received: {str(tmp_path / path)!r}"
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        trained().export(tmp_path / path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"path": 3}, "export: the path must be text or a path. Received: 3"),
        ({"rows": 0}, "export: rows must be an integer of at least 1. Received: rows=0"),
        ({"rows": 2.5}, "export: rows must be an integer of at least 1. Received: rows=2.5"),
        ({"training": "yes"}, "export: training must be True or False. Received: training='yes'"),
    ],
)
def test_bad_arguments(tmp_path, arguments, sentence):
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        trained().export(**{"path": tmp_path / "net.py", **arguments})


def test_a_folder_in_the_way_and_a_folder_that_is_not_there(tmp_path):
    (tmp_path / "net.npz").mkdir()
    sentence = f"export: the path must be that of a file. Received: {str(tmp_path / 'net.npz')!r}, which is none"
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        trained().export(tmp_path / "net.py")
    with pytest.raises(layerkit.errors.SaveError, match=r"No such file or directory"):
        trained().export(tmp_path / "nowhere" / "net.py")
    assert [file.name for file in tmp_path.iterdir()] == ["net.npz"]


# What cannot be exported.


class Own(Layer):
    def call(self, xp, x):
        return clipped(x)


@layerkit.differentiable(lambda xp, dy, y, x: (dy * (y == x),))
def clipped(x):
    return np.clip(x, -1.0, 1.0)


class Ranks(Layer):
    def call(self, xp, x):
        return x * xp.astype(xp.argsort(x, axis=1, descending=True), x.dtype)


class Prints(Layer):
    def call(self, xp, x):
        return x * float(xp.sum(x))


@pytest.mark.parametrize(
    ("layer", "error", "said"),
    [
        (Own, ArgumentError, "export: each word must be a function of NumPy. Received: clipped in own: forward. "),
        (Ranks, ArgumentError, "export: each word must be a function of NumPy. Received: xp.argsort in ranks: forward"),
        (Prints, CaptureError, "prints: a step that is replayed must do the same each time, in words of xp. "),
    ],
)
def test_what_is_not_numpys_is_named_before_anything_is_written(tmp_path, layer, error, said):
    model = Sequential([Dense(3), layer(), Dense(2)])
    model.build((None, 3))
    with pytest.raises(error, match=f"^{re.escape(said)}"):
        model.export(tmp_path / "net.py")
    assert not [*tmp_path.iterdir()]


def test_a_model_without_weights_or_of_no_one_shape(tmp_path):
    sentence = (
        "m: export needs a model with weights. Received: no build yet. "
        "Call build(input_shape), or give the model an Input."
    )
    with pytest.raises(NotReadyError, match=f"^{re.escape(sentence)}$"):
        Sequential([Dense(2)], name="m").export(tmp_path / "net.py")
    model = Sequential([Dense(2)])
    model.build((None, None, 3))
    sentence = "export: the model must take one array, whose rows have one shape. Received: input_shape=(None, None, 3)"
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        model.export(tmp_path / "net.py")


def test_a_file_that_gives_other_numbers_is_not_written(tmp_path, monkeypatch):
    trained().export(tmp_path / "net.py")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    monkeypatch.setattr(
        exporting, "_PREDICT", exporting._PREDICT.replace("[: len(rows)]\n    return", " * 1.01\n    return")
    )
    with pytest.raises(
        ContractError, match=r"^export: the file must give what predict gives\. Received: other numbers"
    ):
        trained(Dense(2)).export(tmp_path / "net.py", rows=16)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
