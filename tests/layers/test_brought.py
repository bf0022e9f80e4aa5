"""Variables that a layer makes without `add_weight`, and what a layer counts while it is only looked at."""

import copy
import pickle

import numpy as np
import pytest

from layerkit import Layer, Sequential, Variable, load_model
from layerkit.errors import MixedBackendsError
from layerkit.layers import Dense
from layerkit.models import clone_model
from layerkit.testing import check_layer

X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")


class Scale(Layer):
    """y = v x + the sum of others, with a count of its calls."""

    def __init__(self, start=2.0):
        self.v = Variable(start)
        self.others = [Variable(0.25), {"more": Variable([0.5, 0.0, 0.0])}]
        self.calls = Variable(0, trainable=False)

    def call(self, xp, x):
        xp.assign_add(self.calls, 1)
        first, rest = self.others
        return x * self.v + first.value + rest["more"].value


class Plain(Layer):
    """The same by `add_weight`."""

    def build(self, input_shape):
        self.v = self.add_weight("v", (), lambda shape, dtype: np.full(shape, 2.0))
        self.first = self.add_weight("first", (), lambda shape, dtype: np.full(shape, 0.25))
        self.more = self.add_weight("more", (3,), lambda shape, dtype: np.array([0.5, 0.0, 0.0]))
        self.calls = self.add_weight("calls", (), "zeros", dtype="int64", trainable=False)

    def call(self, xp, x):
        xp.assign_add(self.calls, 1)
        return x * self.v + self.first + self.more


def trained(layer, backend="numpy", **settings):
    model = Sequential([layer, Dense(1)], seed=0, backend=backend, **settings)
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], epochs=3, verbose=0)
    return model


@pytest.mark.parametrize("backend", ["numpy", "strict"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_they_are_weights_as_those_of_add_weight(backend, dtype):
    ours, theirs = trained(Scale(), backend, dtype=dtype), trained(Plain(), backend, dtype=dtype)
    assert [weight.path for weight in ours.weights[:4]] == [
        *("scale/v", "scale/others_0", "scale/others_1_more", "scale/calls")
    ]
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert ours.layers[0].get_weights()[0] != 2.0  # it was trained
    assert {weight.xp for weight in ours.weights} == {ours.xp}
    assert [weight.dtype for weight in ours.weights[:4]] == [dtype, dtype, dtype, "int64"]


def test_a_dtype_that_was_told_stays_and_no_digit_is_lost_where_none_was():
    class Two(Layer):
        def __init__(self):
            self.told, self.untold = Variable(0.1, "float32"), Variable(0.1)

    layer = Two()
    Sequential([layer], dtype="float64")
    assert [(weight.dtype, float(weight.numpy())) for weight in layer.weights] == [
        *(("float32", float(np.float32(0.1))), ("float64", 0.1))
    ]


def test_in_mixed_precision_they_are_narrow_where_they_read_as_arrays():
    model = trained(Scale(), dtype="mixed_float16")
    layer = model.layers[0]
    assert (layer.v.dtype, layer.weights[0].dtype) == ("float16", "float32")
    assert model.predict(X, verbose=0).dtype == np.float16


def test_they_are_saved_copied_and_moved(tmp_path):
    model = trained(Scale())
    model.save(tmp_path / "a.layerkit")
    loaded = load_model(tmp_path / "a.layerkit", custom_objects={"Scale": Scale})
    for other in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(one, two)
        other.fit(X, X[:, :1], verbose=0)
        assert other.layers[0].calls == 8
        assert other.layers[0].v == other.layers[0].weights[0].numpy() != model.layers[0].v
    assert clone_model(model).layers[0].v == 2.0
    model.to("strict")
    model.fit(X, X[:, :1], verbose=0)
    assert {str(weight.xp) for weight in model.weights} == {"strict:0"}


def test_a_layer_that_is_built_elsewhere_is_still_refused():
    layer = Scale()
    layer(X)
    with pytest.raises(MixedBackendsError, match="Received: scale on numpy, in a model on strict:0"):
        Sequential([layer], backend="strict")


def test_a_build_that_is_undone_leaves_them():
    layer = Scale()
    layer.build((None, 3))
    layer.unbuild()
    assert layer.v == 2.0
    assert not hasattr(layer, "others_0")  # which is a name of a weight, and not of an attribute
    assert len(layer.weights) == 4
    assert Sequential([layer], seed=0, backend="strict")(X).shape == (64, 3)


class Half(Scale):
    def call(self, xp, x):
        first, rest = self.others
        return x * self.v + first.value + rest["more"].value


def test_their_derivative_is_checked():
    check_layer(Half(), (4, 3))


@pytest.mark.parametrize("layer", [Scale, Plain])
def test_what_a_layer_counts_is_counted_in_steps_alone(layer, tmp_path):
    """Not where only the shape of its output is asked for, its units are looked at, or a file is read."""
    model = Sequential([layer(), Dense(1, "relu")], seed=0)
    model.compile("sgd", "mse")
    assert model.compute_output_shape((None, 3)) == (None, 1)
    model.fit(X, X[:, :1], epochs=3, verbose=0)
    assert model.layers[0].calls == 6
    model.summary(print_fn=lambda text: None)
    model.save(tmp_path / "a.layerkit")
    loaded = load_model(tmp_path / "a.layerkit", custom_objects={layer.__name__: layer})
    assert loaded.layers[0].calls == 6
    assert loaded.layers[0].v == model.layers[0].v
