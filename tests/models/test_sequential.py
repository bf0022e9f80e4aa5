"""Sequential: declaring, building, naming, reading and writing a list of layers."""

from __future__ import annotations

import re

import numpy as np
import pytest

import layerkit
from layerkit import Input, Layer, Model, Sequential, Variable, activations, load_model
from layerkit.errors import ArgumentError, NotReadyError, ShapeError
from layerkit.layers import Dense, Dropout, Flatten, InputLayer, Linear, ReLU, Reshape, Sigmoid
from layerkit.models import clone_model

X = np.random.default_rng(0).normal(size=(10, 3)).astype("float32")
Y = np.random.default_rng(1).normal(size=(10, 2)).astype("float32")


def two_layers(*front, first=(), **options) -> Sequential:
    """Return a model of width 3 → 4 → 2, with something in front, and options for the first layer."""
    return Sequential([*front, Dense(4, "tanh", **dict(first)), Dense(2)], **{"seed": 3, **options})


def assert_same_weights(left, right):
    assert [w.path for w in left.weights] == [w.path for w in right.weights]
    for a, b in zip(left.get_weights(), right.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


# Building.


def built_by_add():
    model = Sequential(seed=3)
    model.add(Input((3,)))
    model.add(Dense(4, "tanh"))
    model.add(Dense(2))
    return model


def built_by_adding_to_what_is_built():
    model = Sequential([Input((3,)), Dense(4, "tanh")], seed=3)
    model.add(Dense(2))
    return model


def built_by(method):
    def build():
        model = two_layers()
        model.compile("sgd", "mse")
        method(model)
        return model

    return build


@pytest.mark.parametrize(
    "build",
    [
        lambda: two_layers(Input((3,))),
        lambda: two_layers(Input(3)),
        lambda: two_layers(Input(shape=[3])),
        lambda: two_layers(Input(batch_shape=(None, 3))),
        lambda: two_layers(layerkit.layers.InputLayer((3,))),
        lambda: two_layers(first={"input_shape": (3,)}),
        lambda: two_layers(first={"input_dim": 3}),
        lambda: two_layers(input_shape=(3,)),
        built_by(lambda model: model.build((None, 3))),
        built_by(lambda model: model.build((10, 3))),
        built_by(lambda model: model.build(input_shape=[None, 3])),
        built_by(lambda model: model.predict(X, verbose=0)),
        built_by(lambda model: model.evaluate(X, Y, verbose=0)),
        built_by(lambda model: model(X)),
        built_by(lambda model: model.fit(X, Y, epochs=0, verbose=0)),
        built_by_add,
        built_by_adding_to_what_is_built,
    ],
)
def test_every_way_to_build_gives_the_same_weights(build):
    model = build()
    assert model.built
    assert all(layer.built for layer in model.layers)
    assert model.compute_output_shape((None, 3)) == (None, 2)
    assert_same_weights(model, two_layers(Input((3,))))


def test_a_model_is_built_by_its_first_batch(xp):
    model = two_layers(backend=xp)
    assert not model.built
    assert model.weights == []
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert [w.shape for w in model.weights] == [(3, 4), (4,), (4, 2), (2,)]
    assert model.input_shape == (None, 3)


def test_a_seed_decides_the_weights_on_every_backend(xp):
    assert_same_weights(two_layers(Input((3,)), backend=xp), two_layers(Input((3,))))
    other = two_layers(Input((3,)), seed=4)
    assert not np.array_equal(other.get_weights()[0], two_layers(Input((3,))).get_weights()[0])


def test_a_seed_that_is_not_given_is_told():
    model = two_layers(Input((3,)), seed=None)
    assert model.seed != two_layers(Input((3,)), seed=None).seed
    assert_same_weights(model, two_layers(Input((3,)), seed=model.seed))


def test_layers_of_one_shape_begin_with_different_weights():
    model = Sequential([Input((3,)), Dense(3), Dense(3)], seed=0)
    assert not np.array_equal(model.get_weights()[0], model.get_weights()[2])


def test_biases_are_zero_and_kernels_within_the_limits_of_glorot():
    kernel, bias, *_ = two_layers(Input((3,))).get_weights()
    np.testing.assert_array_equal(bias, 0.0)
    assert np.abs(kernel).max() <= np.sqrt(6 / 7)
    assert np.abs(kernel).max() > 0.1


def test_shapes_pass_through_the_layers():
    model = Sequential([Input((4, 6)), Flatten(), Dense(12), ReLU(), Reshape((3, -1)), Dense(5)])
    assert [layer.output_shape for layer in model.layers] == [
        *((None, 24), (None, 12), (None, 12)),
        *((None, 3, 4), (None, 3, 5)),
    ]
    assert model.predict(np.zeros((2, 4, 6)), verbose=0).shape == (2, 3, 5)
    assert model.compute_output_shape((7, 4, 6)) == (7, 3, 5)


def test_a_length_may_vary():
    model = Sequential([Input((None, 3)), Dense(2)])
    assert model.output_shape == (None, None, 2)
    assert model.predict(np.zeros((2, 5, 3)), verbose=0).shape == (2, 5, 2)
    assert model.predict(np.zeros((2, 7, 3)), verbose=0).shape == (2, 7, 2)


def test_one_layer_needs_no_list():
    assert [layer.name for layer in Sequential(Dense(2)).layers] == ["dense"]
    assert [layer.name for layer in Sequential(layer for layer in (Dense(2), ReLU())).layers] == ["dense", "re_lu"]


# Adding and removing.


def test_a_layer_added_to_a_trained_model_is_trained_with_it():
    model = two_layers(Input((3,)))
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    before = model.get_weights()
    model.add(Dense(2))
    assert [w.shape for w in model.weights] == [(3, 4), (4,), (4, 2), (2,), (2, 2), (2,)]
    for old, new in zip(before, model.get_weights()[:4], strict=True):
        np.testing.assert_array_equal(old, new)
    assert model.optimizer.iterations == 1
    model.fit(X, Y, verbose=0)
    assert all(not np.array_equal(old, new) for old, new in zip(before, model.get_weights()[:4], strict=True))


def test_pop_removes_the_last_layer_and_returns_it():
    model = two_layers(Input((3,)))
    last = model.layers[-1]
    assert model.pop() is last
    assert [layer.name for layer in model.layers] == ["dense"]
    assert model.output_shape == (None, 4)
    np.testing.assert_allclose(
        model.predict(X, verbose=0), np.tanh(X @ model.get_weights()[0] + model.get_weights()[1]), rtol=1e-5, atol=1e-6
    )
    assert Sequential().pop() is None


def test_a_popped_layer_is_no_longer_trained():
    model = two_layers(Input((3,)))
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    popped = model.pop()
    before = popped.get_weights()
    model.fit(X, np.tanh(np.ones((10, 4))), verbose=0)
    np.testing.assert_array_equal(popped.get_weights()[0], before[0])


def test_a_popped_layer_makes_room_for_another_of_its_name():
    model = two_layers(Input((3,)))
    model.pop()
    model.add(Dense(5))
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]
    assert model.output_shape == (None, 5)


def test_a_shape_that_is_not_known_yet_is_no_attribute():
    model = Sequential([Dense(4)])
    assert not hasattr(model, "input_shape")
    assert not hasattr(model.layers[0], "output_shape")
    model.build((None, 3))
    assert (model.input_shape, model.layers[0].output_shape) == ((None, 3), (None, 4))


def test_a_property_of_ones_own_may_fail():
    class Failing(Layer):
        @property
        def doubled(self):
            return 2 * self.nothing

    with pytest.raises(AttributeError, match=r"^Failing has no attribute 'nothing'"):
        _ = Failing().doubled


def test_a_model_that_begins_with_one_that_is_built_is_built():
    base = Sequential([Input((3,)), Dense(4)])
    model = Sequential([base, Dense(2)])
    assert model.built
    assert (model.input_shape, model.output_shape, model.count_params()) == ((None, 3), (None, 2), 26)
    model = Sequential([Sequential([Dense(4)]), Dense(2)])
    assert not model.built
    model = Sequential()
    model.add(base)
    model.add(Dense(5))
    assert model.output_shape == (None, 5)


def test_older_words_of_keras_for_the_shape_of_x():
    for first in (
        InputLayer(input_shape=(3,)),
        InputLayer(batch_input_shape=(None, 3)),
        InputLayer.from_config(InputLayer(input_shape=[3]).get_config()),
    ):
        assert Sequential([first, Dense(2)]).input_shape == (None, 3)


@pytest.mark.parametrize("activation", [None, "linear", activations.linear, Linear()])
def test_an_activation_is_set_as_it_is_given(activation, tmp_path):
    model = Sequential([Input((3,)), Dense(2, "softmax")], seed=0)
    model.predict(X, verbose=0)
    model.layers[0].activation = activation
    kernel, bias = model.get_weights()
    for found in (model, clone_model(model)):
        found.set_weights([kernel, bias])
        np.testing.assert_allclose(found.predict(X, verbose=0), X @ kernel + bias, rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.layerkit")
    loaded = load_model(tmp_path / "model.layerkit")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    with pytest.raises(ArgumentError, match=r"^activation: it must be"):
        model.layers[0].activation = 3


def test_a_configuration_tells_what_is_frozen_now():
    model = Sequential([Input((3,)), Dense(2), Dense(1)], seed=0)
    model.layers[0].trainable = False
    assert [layer.get_config()["trainable"] for layer in model.layers] == [False, True]
    assert [layer.trainable for layer in clone_model(model).layers] == [False, True]


def test_a_model_without_its_layers_is_not_built():
    model = Sequential([Input((3,)), Dense(4)])
    model.pop()
    assert not model.built
    assert (model.layers, model.weights) == ([], [])
    model.add(Dense(5))
    assert model.built
    assert model.output_shape == (None, 5)


def test_another_output_resolves_accuracy_anew():
    model = Sequential([Input((3,)), Dense(4), Dense(1, "sigmoid")], seed=0)
    model.compile("sgd", "mse", metrics=["accuracy"])
    model.evaluate(X, np.zeros((10, 1)), verbose=0)
    assert type(model.metrics[1]).__name__ == "BinaryAccuracy"
    model.pop()
    model.add(Dense(3, "softmax"))
    targets = np.eye(3)[np.arange(10) % 3]
    accuracy = model.evaluate(X, targets, verbose=0)[1]
    assert type(model.metrics[1]).__name__ == "CategoricalAccuracy"
    assert accuracy == pytest.approx(np.mean(model.predict(X, verbose=0).argmax(1) == targets.argmax(1)))


def test_a_layer_that_stands_twice_is_one_layer():
    shared = Dense(3)
    model = Sequential([Input((3,)), shared, ReLU(), shared])
    assert model.layers[0] is model.layers[2]
    assert [layer.name for layer in model.layers] == ["dense", "re_lu", "dense"]
    assert model.count_params() == 12
    assert model.pop() is shared
    assert model.get_layer("dense") is shared
    assert model.count_params() == 12


# Names.


def test_names_are_keras_s_and_numbered_within_the_model():
    model = Sequential([Dense(2), ReLU(), Dense(2), Sigmoid(), Dense(2), Dropout(0.1)])
    assert [layer.name for layer in model.layers] == ["dense", "re_lu", "dense_1", "sigmoid", "dense_2", "dropout"]
    assert [layer.name for layer in Sequential([Dense(2)]).layers] == ["dense"]
    assert model.name == "sequential"
    assert Sequential(name="mine").name == "mine"


def test_a_given_name_is_kept_and_numbers_go_around_it():
    model = Sequential([Dense(2), Dense(2, name="dense_1"), Dense(2)])
    assert [layer.name for layer in model.layers] == ["dense", "dense_1", "dense_2"]


def test_weights_are_named_by_their_layers():
    model = Sequential([Input((3,)), Dense(4, name="first"), Sequential([Dense(2)], name="inner")])
    assert [w.path for w in model.weights] == [
        *("first/kernel", "first/bias"),
        *("inner/dense/kernel", "inner/dense/bias"),
    ]
    assert [w.name for w in model.weights] == ["kernel", "bias", "kernel", "bias"]
    assert repr(model.weights[0]) == "<Variable path=first/kernel, shape=(3, 4), dtype=float32, trainable=True>"


def test_layers_are_found_by_name_and_by_index():
    model = Sequential([Dense(4, name="first"), ReLU()])
    assert model.get_layer("first") is model.get_layer(index=0) is model.layers[0]
    assert model.get_layer(name="re_lu") is model.get_layer(index=-1)


# Weights.


def test_parameters_are_counted():
    """3·4 + 4, and 4·2 + 2."""
    model = two_layers(Input((3,)))
    assert model.count_params() == 26
    assert [layer.count_params() for layer in model.layers] == [16, 10]


def test_weights_are_read_as_copies_and_written_in_their_order(xp):
    model = two_layers(Input((3,)), backend=xp)
    weights = model.get_weights()
    assert all(type(w) is np.ndarray and w.dtype == np.float32 for w in weights)
    weights[0][:] = 7.0
    assert not np.array_equal(model.get_weights()[0], weights[0])
    model.set_weights(weights)
    for written, read in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(written, read)
    expected = np.tanh(X @ weights[0] + weights[1]) @ weights[2] + weights[3]
    np.testing.assert_allclose(model.predict(X, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("make", [lambda w: w.tolist(), lambda w: w.astype("float64"), lambda w: w.astype("float16")])
def test_weights_may_be_written_from_lists_and_other_dtypes(make):
    model, twin = two_layers(Input((3,))), two_layers(Input((3,)), seed=9)
    quarters = [np.round(w * 4) / 4 for w in model.get_weights()]
    twin.set_weights([make(w) for w in quarters])
    for written, read in zip(quarters, twin.get_weights(), strict=True):
        np.testing.assert_array_equal(written, read)
        assert read.dtype == np.float32


def test_weights_may_be_written_from_variables_of_another_backend():
    model, twin = two_layers(Input((3,)), backend="strict"), two_layers(Input((3,)), seed=9)
    twin.set_weights(model.weights)
    assert_same_weights(model, twin)


def test_a_weight_reads_as_an_array_and_is_written_by_assignment(xp):
    layer = two_layers(Input((3,)), backend=xp).layers[0]
    assert xp.owns(layer.kernel)
    layer.kernel = np.ones((3, 4))
    np.testing.assert_array_equal(layer.get_weights()[0], 1.0)
    assert isinstance(layer.weights[0], Variable)


def test_weights_are_sorted_by_whether_training_changes_them():
    model = two_layers(Input((3,)))
    model.layers[0].trainable = False
    assert [w.path for w in model.trainable_weights] == ["dense_1/kernel", "dense_1/bias"]
    assert [w.path for w in model.non_trainable_weights] == ["dense/kernel", "dense/bias"]
    assert model.trainable_variables == model.trainable_weights
    model.trainable = False
    assert model.trainable_weights == []
    assert not any(layer.trainable for layer in model.layers)


def test_a_layer_frozen_from_the_start_keeps_its_weights():
    model = two_layers(Input((3,)), first={"trainable": False})
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(model.get_weights()[2], before[2])


# Calling.


def test_a_call_gives_the_output_on_the_models_backend(xp):
    model = two_layers(Input((3,)), backend=xp)
    y = model(xp.asarray(X))
    assert xp.owns(y)
    np.testing.assert_allclose(xp.to_numpy(y), model.predict(X, verbose=0), rtol=1e-6)
    np.testing.assert_array_equal(xp.to_numpy(model(X.tolist())), xp.to_numpy(y))


def test_a_call_converts_to_the_models_dtype():
    model = two_layers(Input((3,)))
    assert model(X.astype("float64")).dtype == np.float32
    assert model(np.ones((2, 3), int)).dtype == np.float32
    assert two_layers(Input((3,)), dtype="float64")(X).dtype == np.float64


def test_the_backend_is_the_current_one_unless_said_otherwise(xp):
    with layerkit.use_backend(xp):
        model = two_layers(Input((3,)))
        assert two_layers(backend="numpy").xp is layerkit.backend("numpy")
    assert model.xp is xp
    assert {w.xp for w in model.weights} == {xp}


def test_a_model_of_ones_own_class_is_configured_as_its_base():
    class Pair(Sequential):
        def __init__(self, units: int, **kwargs):
            super().__init__([Dense(units), Dense(units)], **kwargs)

    model = Pair(3, seed=1, name="pair")
    assert model.predict(X, verbose=0).shape == (10, 3)
    assert model.name == "pair"


def test_a_layer_of_ones_own_needs_no_init_no_shape_and_no_derivative():
    class Scale(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", (input_shape[-1],), "ones")

        def call(self, xp, x):
            return x * self.factor

    model = Sequential([Input((3,)), Scale(), Dense(2)], seed=0, dtype="float64")
    assert model.output_shape == (None, 2)
    model.compile(layerkit.optimizers.SGD(0.1), "mse")
    kernel, bias = model.layers[1].get_weights()
    model.fit(X, Y, verbose=0, batch_size=10)
    dy = 2.0 * (X @ kernel + bias - Y) / Y.size
    np.testing.assert_allclose(
        model.layers[0].get_weights()[0], 1.0 - 0.1 * np.sum(X * (dy @ kernel.T), axis=0), rtol=1e-6
    )


# The summary.


def summary_of(model: Sequential) -> str:
    lines = []
    model.summary(print_fn=lines.append)
    return "\n".join(lines)


def test_a_summary_shows_layers_shapes_and_parameters():
    """3·4 + 4 and 4·2 + 2 parameters of 4 bytes; Adam keeps two numbers for each, a rate and a count of 8 bytes."""
    model = two_layers(Input((3,)), first={"trainable": False})
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    assert summary_of(model).splitlines() == [
        'Model: "sequential"',
        "┌─────────────────┬──────────────┬────────┬────────┐",
        "│ Layer (type)    │ Output shape │ Params │        │",
        "├─────────────────┼──────────────┼────────┼────────┤",
        "│ dense (Dense)   │ (None, 4)    │     16 │ frozen │",
        "│ dense_1 (Dense) │ (None, 2)    │     10 │        │",
        "└─────────────────┴──────────────┴────────┴────────┘",
        " Total params: 26 (104.00 B)",
        " Trainable params: 10 (40.00 B)",
        " Non-trainable params: 16 (64.00 B)",
        f" Optimizer params: {2 * 26 + 2} ({2 * 26 * 4 + 16:.2f} B)",
    ]


def test_a_summary_before_build_says_so():
    assert summary_of(two_layers()).splitlines() == [
        'Model: "sequential"',
        "┌─────────────────┬──────────────┬───────────┐",
        "│ Layer (type)    │ Output shape │    Params │",
        "├─────────────────┼──────────────┼───────────┤",
        "│ dense (Dense)   │ ?            │ not built │",
        "│ dense_1 (Dense) │ ?            │ not built │",
        "└─────────────────┴──────────────┴───────────┘",
        " Not built: the weights are made with the first batch, or by build(input_shape).",
    ]


def test_shared_weights_count_once_in_a_summary():
    shared = Dense(3)
    text = summary_of(Sequential([Input((3,)), shared, shared]))
    assert " Total params: 12 (48.00 B)" in text.splitlines()


def test_models_within_a_model_are_shown_where_they_are_asked_for():
    encoder = Sequential([Dense(3), Dense(2, trainable=False)], name="encoder")
    model = Sequential([Input((4,)), Sequential([encoder], name="outer"), Dense(1)])
    lines = []
    model.summary(print_fn=lines.append, expand_nested=True)
    assert [re.split(" *│ *", line)[1:4] for line in lines[0].splitlines()[4:9]] == [
        ["outer (Sequential)", "(None, 2)", "23"],
        ["└ encoder (Sequential)", "(None, 2)", "23"],
        ["└ dense (Dense)", "(None, 3)", "15"],
        ["└ dense_1 (Dense)", "(None, 2)", "8"],
        ["dense (Dense)", "(None, 1)", "3"],
    ]
    assert [line.find("└") for line in lines[0].splitlines()[4:9]] == [-1, 2, 5, 5, -1]
    assert "encoder" not in summary_of(model)


def test_a_model_s_own_weights_of_any_dtype_are_counted():
    class Own(Model):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (5,), "ones")
            self.count = self.add_weight("count", (3,), "zeros", dtype="int8", trainable=False)
            self.seen = self.add_weight("seen", (2,), "zeros", dtype="bool", trainable=False)

        def call(self, xp, x):
            return x * self.scale

    model = Own()
    model.build((None, 5))
    assert summary_of(model).splitlines()[-3:] == [
        " Total params: 10 (25.00 B)",
        " Trainable params: 5 (20.00 B)",
        " Non-trainable params: 5 (5.00 B)",
    ]


def test_an_unknown_argument_of_summary_is_refused():
    with pytest.raises(ArgumentError, match=r"^summary: an argument must be one of its own. Received: expand=True"):
        two_layers().summary(expand=True)


# Configurations.


def test_a_model_is_made_again_from_its_configuration():
    model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(2)], seed=3, name="mine")
    twin = Sequential.from_config(model.get_config())
    assert twin.name == "mine"
    assert [type(layer) for layer in twin.layers] == [Dense, Dense]


# Errors that depend on a history of calls; the others stand in tests/bad_input.txt.


def test_a_model_whose_layers_are_all_gone_says_so():
    model = Sequential([Input((3,)), Dense(2)])
    model.pop()
    with pytest.raises(NotReadyError) as caught:
        model.predict(X, verbose=0)
    assert str(caught.value) == (
        "sequential: a model needs at least one layer. Received: none. Add layers with add(layer)."
    )


def test_a_layer_in_two_models_has_one_set_of_weights():
    shared = Dense(3)
    one, other = Sequential([Input((3,)), shared]), Sequential([Input((3,)), shared, Dense(2)])
    assert one.weights[0] is other.weights[0]
    one.set_weights([w + 1 for w in one.get_weights()])
    np.testing.assert_array_equal(one.get_weights()[0], other.get_weights()[0])
    with pytest.raises(ShapeError) as caught:
        Sequential([Input((5,)), shared])
    assert str(caught.value) == (
        "dense: the last axis of x must have length 3, for which the layer was built. Received: shape (None, 5)"
    )


def test_a_name_taken_by_another_layer_is_refused_also_when_added_later():
    model = Sequential([Dense(2)])
    with pytest.raises(ArgumentError) as caught:
        model.add(Dense(2, name="dense"))
    assert str(caught.value) == (
        "sequential: each layer must have a name of its own. Received: 'dense' twice. Give one of them another name=."
    )
    assert len(model.layers) == 1
