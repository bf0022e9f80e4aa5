"""Layers of text and categories, against the numbers in Keras's documentation, and against `preprocessing.json`.

Keras computes these layers with TensorFlow alone, so that the numbers of its documentation stand here.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from layerkit import Sequential, load_model, use_backend
from layerkit.errors import ArgumentError, DataError, NotReadyError
from layerkit.layers import Dense, Discretization, Hashing, IntegerLookup, ReLU, SpectralNormalization, StringLookup
from layerkit.layers.fingerprints import fingerprint64, siphash

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "preprocessing.json").read_text(encoding="utf-8"))

VOCABULARY = ["a", "b", "c", "d"]
LETTERS = [["a", "c", "d"], ["d", "z", "b"]]
TWICE = [["a", "c", "d", "d"], ["d", "z", "b", "z"]]
NUMBERS = [12, 36, 1138, 42]
COUNTED = [[12, 1138, 42, 42], [42, 7, 36, 7]]
WEIGHTS = [0.25, 0.75, 0.6, 0.4]
COLUMN = [["A"], ["B"], ["C"], ["D"], ["E"]]

# Examples of https://keras.io/api/layers/preprocessing_layers/: the layer, what it is given, what it gives.
EXAMPLES = [
    (Hashing(num_bins=3), COLUMN, [[1], [0], [1], [1], [2]]),
    (Hashing(num_bins=3, mask_value=""), [["A"], ["B"], [""], ["C"], ["D"]], [[1], [1], [0], [2], [2]]),
    (Hashing(num_bins=3, salt=[133, 137]), COLUMN, [[1], [2], [1], [0], [2]]),
    (Hashing(num_bins=3, salt=133), COLUMN, [[0], [0], [2], [1], [0]]),
    (StringLookup(vocabulary=VOCABULARY), LETTERS, [[1, 3, 4], [4, 0, 2]]),
    (
        StringLookup(vocabulary=VOCABULARY, num_oov_indices=2),
        [["a", "c", "d"], ["m", "z", "b"]],
        [[2, 4, 5], [0, 1, 3]],
    ),
    (
        StringLookup(vocabulary=VOCABULARY, output_mode="one_hot"),
        ["a", "b", "c", "d", "z"],
        [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]],
    ),
    (StringLookup(vocabulary=VOCABULARY, output_mode="multi_hot"), TWICE, [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]),
    (StringLookup(vocabulary=VOCABULARY, output_mode="count"), TWICE, [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]),
    (
        StringLookup(vocabulary=VOCABULARY, idf_weights=WEIGHTS, output_mode="tf_idf"),
        TWICE,
        [[0, 0.25, 0, 0.6, 0.8], [1.0, 0, 0.75, 0, 0.4]],
    ),
    (
        StringLookup(vocabulary=["[UNK]", *VOCABULARY], idf_weights=[0.9, *WEIGHTS], output_mode="tf_idf"),
        TWICE,
        [[0, 0.25, 0, 0.6, 0.8], [1.8, 0, 0.75, 0, 0.4]],
    ),
    (IntegerLookup(vocabulary=NUMBERS), [[12, 1138, 42], [42, 1000, 36]], [[1, 3, 4], [4, 0, 2]]),
    (
        IntegerLookup(vocabulary=NUMBERS, num_oov_indices=2),
        [[12, 1138, 42], [37, 1000, 36]],
        [[2, 4, 5], [1, 0, 3]],
    ),
    (
        IntegerLookup(vocabulary=NUMBERS, output_mode="one_hot"),
        [12, 36, 1138, 42, 7],
        [[0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 1], [1, 0, 0, 0, 0]],
    ),
    (IntegerLookup(vocabulary=NUMBERS, output_mode="multi_hot"), COUNTED, [[0, 1, 0, 1, 1], [1, 0, 1, 0, 1]]),
    (IntegerLookup(vocabulary=NUMBERS, output_mode="count"), COUNTED, [[0, 1, 0, 1, 2], [2, 0, 1, 0, 1]]),
    (
        IntegerLookup(vocabulary=[-1, *NUMBERS], idf_weights=[0.9, *WEIGHTS], output_mode="tf_idf"),
        COUNTED,
        [[0, 0.25, 0, 0.6, 0.8], [1.8, 0, 0.75, 0, 0.4]],
    ),
    (IntegerLookup(vocabulary=NUMBERS, invert=True), [[1, 3, 4], [4, 0, 2]], [[12, 1138, 42], [42, -1, 36]]),
]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_of_keras(xp, number):
    layer, x, expected = EXAMPLES[number]
    kinds = [x, np.array(x)]
    if isinstance(np.array(x).item(0), str):
        kinds += [np.array(x, object), np.array(x, "S")]
    else:
        kinds += [xp.asarray(np.array(x))]
    with use_backend(xp):
        for kind in kinds:
            for each in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), copied(layer)):
                y = each(kind)
                assert xp.owns(y)
                np.testing.assert_allclose(xp.to_numpy(y), expected, rtol=1e-6)


def copied(layer):
    return type(layer).from_config(layer.get_config())


def test_text_of_indices():
    layer = StringLookup(vocabulary=VOCABULARY, invert=True)
    np.testing.assert_array_equal(layer([[1, 3, 4], [4, 0, 2]]), [["a", "c", "d"], ["d", "[UNK]", "b"]])
    np.testing.assert_array_equal(layer(np.array([7, -1])), ["[UNK]", "[UNK]"])
    masked = StringLookup(vocabulary=VOCABULARY, invert=True, mask_token="")
    np.testing.assert_array_equal(masked([0, 1, 2, 5]), ["", "[UNK]", "a", "d"])


def test_adapt_finds_the_vocabulary_of_keras():
    layer = StringLookup()
    layer.adapt(LETTERS)
    assert layer.get_vocabulary() == ["[UNK]", "d", "z", "c", "b", "a"]  # of Keras's documentation
    assert layer.vocabulary_size() == 6
    np.testing.assert_array_equal(layer(LETTERS), [[5, 3, 1], [1, 2, 4]])
    again = copied(layer)
    assert again.get_vocabulary() == layer.get_vocabulary()
    numbers = IntegerLookup()
    numbers.adapt(np.array([[12, 1138, 42], [42, 1000, 36]]))
    assert numbers.get_vocabulary() == [-1, 42, 1138, 1000, 36, 12]  # of Keras's documentation
    numbers.adapt(iter([[1, 1], [2]]))
    assert numbers.get_vocabulary(include_special_tokens=False) == [1, 2]
    numbers.adapt(iter([[1, 1], [2]]), steps=1)
    assert numbers.get_vocabulary() == [-1, 1]


def test_adapt_keeps_the_most_frequent_and_special_tokens_apart():
    layer = StringLookup(max_tokens=4, mask_token="")
    layer.adapt([["a", "b", "", "[UNK]"], ["a", "c", "", "c"]])
    assert layer.get_vocabulary() == ["", "[UNK]", "c", "a"]
    np.testing.assert_array_equal(layer(["", "b", "c"]), [0, 1, 2])


def test_adapt_weighs_tokens_by_the_rows_that_hold_them():
    layer = StringLookup(output_mode="tf_idf", max_tokens=5, pad_to_max_tokens=True)
    rows = [["a", "a", "b"], ["a", "c", "c"]]
    layer.adapt(rows)
    weight = {token: np.log(1 + 2 / (1 + count)) for token, count in {"a": 2, "b": 1, "c": 1}.items()}
    assert layer.get_vocabulary() == ["[UNK]", "a", "c", "b"]
    mean = np.mean(list(weight.values()))
    expected = [[0, 2 * weight["a"], 0, weight["b"], 0], [0, weight["a"], 2 * weight["c"], 0, 0]]
    np.testing.assert_allclose(layer(rows), expected, rtol=1e-6)
    np.testing.assert_allclose(layer([["?"]]), [[mean, 0, 0, 0, 0]], rtol=1e-6)
    np.testing.assert_allclose(copied(layer)(rows), expected, rtol=1e-6)


def test_masked_tokens_are_nothing_in_rows():
    layer = StringLookup(vocabulary=["a", "b"], mask_token="", output_mode="count")
    np.testing.assert_array_equal(layer([["a", "", "a", "?"]]), [[1, 2, 0]])


def test_a_vocabulary_comes_from_a_file(tmp_path):
    (tmp_path / "words.txt").write_text("a\nb\n", encoding="utf-8")
    layer = StringLookup()
    layer.set_vocabulary(tmp_path / "words.txt")
    np.testing.assert_array_equal(layer(["b", "c"]), [2, 0])


def test_farmhash_is_that_of_its_authors():
    assert len(TABLE["hashes"]) > 70
    for text, expected in TABLE["hashes"]:
        assert fingerprint64(text.encode()) == int(expected)


def test_siphash_is_that_of_the_paper():
    """Aumasson and Bernstein, appendix A, and the first of the vectors that come with their code."""
    key = int.from_bytes(bytes(range(8)), "little"), int.from_bytes(bytes(range(8, 16)), "little")
    assert siphash(bytes(range(15)), key) == 0xA129CA6149BE45E5
    assert siphash(b"", key) == 0x726FDB47DD0E0E31


def test_numbers_are_hashed_by_their_digits():
    digits = Hashing(1000)([["7", "-12"]])
    for numbers in ([[7, -12]], np.array([[7.9, -12.2]])):
        np.testing.assert_array_equal(Hashing(1000)(numbers), digits)
    np.testing.assert_array_equal(Hashing(3, output_mode="count")(COLUMN).sum(axis=1), np.ones(5))
    np.testing.assert_array_equal(
        IntegerLookup(vocabulary=[1], num_oov_indices=5, oov_method="farmhash")([7, -12, 1]),
        [fingerprint64(b"7") % 5, fingerprint64(b"-12") % 5, 5],
    )


def test_a_model_is_trained_on_what_they_give():
    lookup = StringLookup(vocabulary=["red", "green"], output_mode="one_hot")
    x, y = np.array(["red", "green", "red", "blue"]), np.array([[1.0], [0.0], [1.0], [0.0]])
    model = Sequential([Dense(1)], seed=0)
    model.compile("adam", "mse")
    model.fit(lookup(x), y, epochs=2, verbose=0)
    assert model.predict(lookup(x), verbose=0).shape == (4, 1)


@pytest.mark.parametrize("number", range(len(TABLE["boundaries"])))
def test_adapt_finds_the_boundaries_of_keras(xp, number):
    case = TABLE["boundaries"][number]
    layer = Discretization(num_bins=case["num_bins"], epsilon=case["epsilon"])
    data = [np.array(batch) for batch in case["data"]]
    layer.adapt(data[0] if len(data) == 1 else iter(data))
    np.testing.assert_array_equal(np.array(layer.bin_boundaries), case["boundaries"])
    x = data[0].astype("float32")
    with use_backend(xp):
        expected = np.digitize(x, np.array(case["boundaries"], "float32"))
        np.testing.assert_array_equal(xp.to_numpy(copied(layer)(xp.asarray(x))), expected)


def test_a_discretization_that_was_adapted_stands_in_a_model(xp, tmp_path):
    x = np.random.default_rng(0).standard_normal((100, 2)).astype("float32")
    layer = Discretization(num_bins=4, output_mode="one_hot")
    layer.adapt(x)
    model = Sequential([layer, Dense(1)], backend=xp)
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(x, np.zeros((100, 2, 1)), epochs=2, verbose=0)
    model.save(tmp_path / "m.layerkit")
    for again in (load_model(tmp_path / "m.layerkit"), pickle.loads(pickle.dumps(model))):
        assert again.layers[0].bin_boundaries == layer.bin_boundaries
        np.testing.assert_allclose(again.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)


def said(function):
    with pytest.raises((ArgumentError, DataError, NotReadyError)) as caught:
        function()
    return re.sub(r"\nThis happened in .*", "", str(caught.value))


def adapted():
    layer = StringLookup(vocabulary=["a"])
    layer.adapt(["b"])


REFUSED = {
    "string_lookup: adapt is for a vocabulary that is not given. Received: vocabulary=… at the start.": adapted,
    "StringLookup: vocabulary must be a list of tokens. Received: vocabulary='words.txt'. Read a file with "
    "set_vocabulary(path).": lambda: StringLookup(vocabulary="words.txt"),
    "string_lookup: each token must stand once. Received: 'a' 2 times": lambda: StringLookup(
        vocabulary=["a", "b", "a"]
    ),
    "string_lookup: vocabulary must hold text. Received: an array of dtype int64": lambda: StringLookup(vocabulary=[1]),
    "string_lookup: vocabulary must be a list of tokens. Received: [['a']]": lambda: StringLookup(vocabulary=[["a"]]),
    "string_lookup: mask_token must stand in front of the vocabulary, among the special tokens ['a', '[UNK]'], or not "
    "in it. Received: 'a' at index 1": lambda: StringLookup(vocabulary=["b", "a"], mask_token="a"),
    "string_lookup: the vocabulary must have at most max_tokens=2 tokens, special ones included. Received: 3": (
        lambda: StringLookup(2, vocabulary=["a", "b"])
    ),
    "string_lookup: idf_weights go with output_mode='tf_idf', and that with them. Received: output_mode='tf_idf', "
    "idf_weights=None": lambda: StringLookup(vocabulary=["a"], output_mode="tf_idf"),
    "string_lookup: there must be one of idf_weights for each token, 1. Received: shape (2,)": (
        lambda: StringLookup(vocabulary=["a"], output_mode="tf_idf", idf_weights=[1.0, 2.0])
    ),
    "StringLookup: idf_weights go with a vocabulary. Received: vocabulary=None": (
        lambda: StringLookup(output_mode="tf_idf", idf_weights=[1.0])
    ),
    "StringLookup: invert goes with output_mode='int'. Received: output_mode='count', invert=True": (
        lambda: StringLookup(invert=True, output_mode="count")
    ),
    "StringLookup: pad_to_max_tokens needs max_tokens. Received: max_tokens=None": (
        lambda: StringLookup(pad_to_max_tokens=True)
    ),
    "StringLookup: mask_token must be text. Received: mask_token=0": lambda: StringLookup(mask_token=0),
    "IntegerLookup: oov_token must be an integer. Received: oov_token='?'": lambda: IntegerLookup(oov_token="?"),
    "string_lookup: the vocabulary must be known. Received: none yet. Call adapt(data) or set_vocabulary.": (
        lambda: StringLookup(output_mode="count")(["a"])
    ),
    "string_lookup: with num_oov_indices=0, x must hold tokens of the vocabulary. Received: 'z'": (
        lambda: StringLookup(vocabulary=["a"], num_oov_indices=0)(["a", "z"])
    ),
    "string_lookup: x must hold text. Received: an array of dtype int64": lambda: StringLookup(vocabulary=["a"])([1]),
    "string_lookup: x must hold text, or whole numbers. Received: None": lambda: StringLookup()(["a", None]),
    "string_lookup: x must be an array, or lists of rows of equal length. Received: [['a'], ['a', 'b']]": (
        lambda: StringLookup()([["a"], ["a", "b"]])
    ),
    "string_lookup: x must hold whole numbers, indices. Received: an array of dtype <U1": (
        lambda: StringLookup(vocabulary=["a"], invert=True)(["a"])
    ),
    "integer_lookup: x must hold whole numbers. Received: an array of dtype float64": lambda: IntegerLookup()([1.5]),
    "Hashing: salt must be an integer from 0 to below 2**64, or a pair of them. Received: salt='s'": (
        lambda: Hashing(3, salt="s")
    ),
    "Hashing: num_bins must be an integer of at least 1. Received: num_bins=0": lambda: Hashing(0),
    "string_lookup: StringLookup works on the host, on data before a model. Received: a place inside a model. Call it "
    "first: model.fit(string_lookup(x), y).": lambda: Sequential([StringLookup(vocabulary=["a"]), Dense(1)]).build(
        (None, 1)
    ),
    "Discretization: give bin_boundaries, or num_bins for adapt. Received: bin_boundaries=None, num_bins=None": (
        Discretization
    ),
    "discretization: boundaries must be known. Received: num_bins=3, and no data yet. Call adapt(data) first.": (
        lambda: Discretization(num_bins=3)(np.ones(2))
    ),
    "discretization: adapt is for boundaries that are not given. Received: bin_boundaries at the start. Give num_bins "
    "instead.": lambda: Discretization([0.0]).adapt(np.ones(3)),
    "discretization: data must hold at least one number. Received: none": (
        lambda: Discretization(num_bins=3).adapt(np.ones((0, 2)))
    ),
    "discretization: data must hold numbers. Received: an array of dtype <U1": (
        lambda: Discretization(num_bins=3).adapt(["a"])
    ),
    "spectral_normalization: the layer inside must have a kernel, or embeddings. Received: "
    "<ReLU name=re_lu, built=True>, with no weights": lambda: SpectralNormalization(ReLU()).build((None, 3)),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_is_refused(sentence):
    assert said(REFUSED[sentence]) == sentence
