"""What all initializers share: seeds, paths, dtypes; those that Keras's table leaves out; and writing one's own."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from layerkit import Input, Sequential, initializers
from layerkit.initializers import Constant, GlorotUniform, Identity, Initializer, RandomNormal
from layerkit.layers import Dense, ReLU

ALL = [getattr(initializers, name) for name in initializers.__all__ if inspect.isclass(getattr(initializers, name))]
ALL.remove(Initializer)
RANDOM = [cls for cls in ALL if "seed" in inspect.signature(cls).parameters]


def kernel_of(initializer, seed=0, **options):
    return Sequential([Input((20,)), Dense(30, kernel_initializer=initializer)], seed=seed, **options).get_weights()[0]


@pytest.mark.parametrize("shape", [(3, 3), (3, 5), (5, 3)])
def test_identity_is_the_identity_matrix_times_gain(shape):
    np.testing.assert_array_equal(Identity(2.0)(shape), 2.0 * np.eye(*shape))


def test_a_constant_may_be_an_array():
    kernel = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(Constant(kernel)((2, 3)), kernel)
    np.testing.assert_array_equal(Constant([1, 2, 3])((2, 3)), [[1, 2, 3], [1, 2, 3]])


@pytest.mark.parametrize("cls", RANDOM)
def test_the_models_seed_decides(cls):
    np.testing.assert_array_equal(kernel_of(cls(), seed=1), kernel_of(cls(), seed=1))
    assert not np.array_equal(kernel_of(cls(), seed=1), kernel_of(cls(), seed=2))


@pytest.mark.parametrize("cls", RANDOM)
def test_a_seed_of_its_own_goes_before_that_of_the_model(cls):
    """As in Keras, two weights of one initializer with a seed are equal."""
    np.testing.assert_array_equal(kernel_of(cls(seed=5), seed=1), kernel_of(cls(seed=5), seed=2))
    np.testing.assert_array_equal(cls(seed=5)((4, 4)), cls(seed=5)((4, 4)))
    assert not np.array_equal(cls(seed=5)((4, 4)), cls(seed=6)((4, 4)))


@pytest.mark.parametrize("cls", RANDOM)
def test_one_object_gives_each_weight_its_own_values(cls):
    shared = cls()
    model = Sequential([Input((4,)), Dense(4, kernel_initializer=shared), Dense(4, kernel_initializer=shared)], seed=0)
    assert not np.array_equal(model.get_weights()[0], model.get_weights()[2])


@pytest.mark.parametrize("cls", RANDOM)
def test_each_call_of_one_object_gives_the_same_values(cls):
    """As in Keras. Without a seed, another object gives others."""
    one = cls()
    np.testing.assert_array_equal(one((4, 4)), one((4, 4)))
    assert not np.array_equal(one((4, 4)), cls()((4, 4)))


@pytest.mark.parametrize("cls", ALL)
def test_values_are_those_of_float64_rounded(cls):
    initializer = cls() if cls not in RANDOM else cls(seed=1)
    wide, narrow = initializer((4, 6), "float64"), initializer((4, 6))
    assert (wide.dtype, narrow.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(wide.astype(np.float32), narrow)


@pytest.mark.parametrize("cls", RANDOM)
def test_values_are_the_same_on_every_backend(xp, cls):
    np.testing.assert_array_equal(kernel_of(cls(), backend=xp), kernel_of(cls()))


def test_a_layer_without_weights_changes_no_others_weights():
    """Values follow from the names of layers, not from the order in which weights are drawn."""
    plain = Sequential([Input((3,)), Dense(4), Dense(2)], seed=0)
    longer = Sequential([Input((3,)), ReLU(), Dense(4), ReLU(), Dense(2)], seed=0)
    for a, b in zip(plain.get_weights(), longer.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_plain_function_is_an_initializer():
    asked = []

    def rising(shape, dtype=None):
        asked.append((shape, dtype))
        return np.arange(np.prod(shape), dtype=dtype).reshape(shape)

    np.testing.assert_array_equal(kernel_of(rising), np.arange(600).reshape(20, 30))
    assert asked == [((20, 30), "float32")]


def test_an_initializer_of_ones_own_draws():
    class Diagonal(Initializer):
        def draw(self, random, shape):
            return np.diag(random.uniform(1.0, 2.0, size=shape[0]))

    model = Sequential([Input((4,)), Dense(4, kernel_initializer=Diagonal())], seed=0)
    kernel = model.get_weights()[0]
    np.testing.assert_array_equal(kernel, np.diag(np.diagonal(kernel)))
    assert np.all((np.diagonal(kernel) >= 1.0) & (np.diagonal(kernel) < 2.0))


@pytest.mark.parametrize("cls", ALL)
def test_initializers_are_given_by_name_class_or_object(cls):
    assert type(initializers.get(cls.__name__)) is cls
    assert type(initializers.get(cls)) is cls
    made = cls()
    assert initializers.get(made) is made
    assert cls.from_config(made.get_config()).get_config() == made.get_config()


def test_short_names_are_those_of_keras():
    for name, cls in {"normal": RandomNormal, "glorot_uniform": GlorotUniform, "identity": Identity}.items():
        assert type(initializers.get(name)) is cls
