"""What Keras has and layerkit has not is refused with what to do instead; ``hasattr`` still says no."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import layerkit
from layerkit import Model, Sequential, layers, utils
from layerkit.absent import missing
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.models.model import KERAS_STEPS

CUSTOM = "Classes of one's own are not registered: load_model(path, custom_objects={'Name': Name}) takes them."
LATER = "Not in this version: convolutions, pooling, recurrent layers and attention."
SENTENCES = [
    (layerkit, "ops", "Layers, losses and metrics are given these words as xp: xp.mean(x). Elsewhere, NumPy has them."),
    (layerkit, "random", "A model draws by its own seed, Sequential(…, seed=0), and a layer from its add_stream."),
    (layerkit, "datasets", "No data sets and no trained models come with layerkit."),
    *[(layers, name, LATER) for name in ("Conv2D", "SeparableConv1D", "MaxPooling2D", "GRUCell", "Bidirectional")],
    (layers, "RandomFlip", "Not in this version: layers that change images."),
    (
        *(layers, "TimeDistributed"),
        "Dense, EinsumDense and all that act on the last axis take any number of axes before it.",
    ),
    (utils, "register_keras_serializable", CUSTOM),
    (utils, "custom_object_scope", CUSTOM),
    (utils, "plot_model", "model.summary() prints the layers, and model.explain(x, y) a step."),
]


@pytest.mark.parametrize(("room", "name", "remedy"), SENTENCES, ids=lambda item: item if isinstance(item, str) else "")
def test_what_to_do_instead_is_said(room, name, remedy):
    assert not hasattr(room, name)
    with pytest.raises(AttributeError) as caught:
        getattr(room, name)
    assert str(caught.value) == f"module {room.__name__!r} has no attribute {name!r}. {remedy}"


def test_saving_is_read_by_load_model():
    """Asked of the function: a package of this name is there, once a model was saved or read."""
    assert missing("layerkit", "saving").endswith(f"'saving'. Models are read by load_model. {CUSTOM}")


@pytest.mark.parametrize("room", [layerkit, layers, utils], ids=lambda room: room.__name__)
def test_nothing_is_said_of_what_is_there_or_unknown(room):
    for name in (*room.__all__, "Desne"):
        assert missing(room.__name__, name) == f"module {room.__name__!r} has no attribute {name!r}"


def test_every_layer_of_keras_that_convolves_pools_or_recurs_is_known():
    names = json.loads((Path(__file__).parent / "tables" / "keras_names.json").read_text(encoding="utf-8"))["layers"]
    words = ("Conv", "Pool", "LSTM", "GRU", "RNN", "Attention", "Random")
    absent = [name for name in names if name not in layers.__all__ and any(word in name for word in words)]
    assert len(absent) > 50
    for name in absent:
        assert "Not in this version: " in missing("layerkit.layers", name)


@pytest.mark.parametrize("method", KERAS_STEPS)
def test_a_step_of_keras_that_would_never_be_called_is_refused(method):
    with pytest.raises(ArgumentError, match=f"^Own.{method}: the steps of a model are not overridden"):
        type("Own", (Model,), {method: lambda self: None})


def test_the_first_layers_are_a_model_with_their_weights():
    """As the sentence about `inputs` and `outputs` says."""
    model = Sequential([Dense(3), Dense(2)])
    model.build((None, 4))
    first = Sequential(model.layers[:1])
    x = np.ones((2, 4))
    np.testing.assert_array_equal(first.predict(x, verbose=0), model.layers[0](x))
    assert np.shares_memory(first.layers[0].kernel, model.layers[0].kernel)
