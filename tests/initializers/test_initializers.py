"""What all initializers share: seeds, paths, dtypes; those that Keras's table leaves out; and writing one's own."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from layerkit import Input, Sequential, initializers
from layerkit.errors import ArgumentError, ShapeError
from layerkit.initializers import Constant, GlorotUniform, Identity, Initializer, RandomNormal
from layerkit.initializers.fourier import window_values
from layerkit.layers import Dense, ReLU

PUBLIC = [getattr(initializers, name) for name in initializers.__all__]
ALL = sorted({item for item in PUBLIC if inspect.isclass(item)} - {Initializer}, key=lambda cls: cls.__name__)
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
    shape = (4, 6) if cls is not initializers.STFT else (4, 1, 6)
    wide, narrow = initializer(shape, "float64"), initializer(shape)
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


# What the table leaves out.


@pytest.mark.parametrize(
    ("options", "fan"),
    [({"input_axes": [0], "output_axes": [1, 2]}, 5), ({"input_axes": (0, 1), "output_axes": (2,)}, 20), ({}, 20)],
)
def test_axes_tell_inputs_from_outputs(options, fan):
    """Uniform with variance 1 / fan: its bound is √(3 / fan)."""
    values = initializers.LecunUniform(seed=1, **options)((5, 4, 300), "float64")
    assert np.abs(values).max() == pytest.approx(np.sqrt(3 / fan), rel=1e-2)
    assert np.abs(values).max() <= np.sqrt(3 / fan)


def test_axes_are_those_of_the_weight():
    with pytest.raises(ShapeError) as caught:
        GlorotUniform(input_axes=[0], output_axes=[2])((3, 4))
    assert str(caught.value) == "GlorotUniform: the weight must have the axis 2. Received: shape (3, 4)"


def test_windows_are_those_of_numpy():
    for name, function in {
        "hann": np.hanning,
        "hamming": np.hamming,
        "blackman": np.blackman,
        "boxcar": np.ones,
    }.items():
        np.testing.assert_allclose(window_values(name, 9, periodic=False), function(9), atol=1e-15)
        np.testing.assert_allclose(window_values(name, 8, periodic=True), function(9)[:8], atol=1e-15)


@pytest.mark.parametrize("side", ["real", "imag"])
def test_stft_is_a_fourier_transform_of_what_is_under_the_window(side):
    frame = np.random.default_rng(0).standard_normal(8)
    kernel = initializers.STFT(side, "hann", None, periodic=True)((8, 1, 5), "float64")
    expected = np.fft.rfft(frame * np.hanning(9)[:8])
    np.testing.assert_allclose(frame @ kernel[:, 0], expected.real if side == "real" else expected.imag, atol=1e-12)


@pytest.mark.parametrize(("scaling", "norm"), [("density", 2), ("spectrum", 1)])
def test_stft_scales_its_window(scaling, norm):
    kernel = initializers.STFT("real", [1.0, 2.0, 3.0, 1.0], scaling)((4, 1, 3), "float64")
    assert np.linalg.norm(kernel[:, 0, 0], norm) == pytest.approx(1.0, rel=1e-12)  # at frequency 0 the cosine is 1


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (
            lambda: initializers.STFT("left"),
            ArgumentError,
            "STFT: side must be one of real, imag. Received: side='left'. Known names: imag, real.",
        ),
        (
            lambda: initializers.STFT(window="han"),
            ArgumentError,
            "STFT: window must be one of boxcar, hann, hamming, blackman, nuttall, blackmanharris, flattop. "
            "Received: window='han'. Did you mean 'hann'?",
        ),
        (
            lambda: initializers.STFT(window=[1.0, 2.0])((3, 1, 4)),
            ShapeError,
            "STFT: window must have as many values as the weight has times, 3. Received: shape (2,)",
        ),
        (
            lambda: initializers.STFT()((3, 4)),
            ShapeError,
            "STFT: the weight must have the shape (times, 1, bands), of two bands or more. Received: shape (3, 4)",
        ),
        (
            lambda: GlorotUniform(input_axes="ab", output_axes=[1]),
            ArgumentError,
            "GlorotUniform: input_axes must be an integer, or a tuple of integers, each once. "
            "Received: input_axes=('a', 'b')",
        ),
    ],
)
def test_bad_input_gets_a_sentence(make, error, sentence):
    with pytest.raises(error) as caught:
        make()
    assert str(caught.value) == sentence


class TwosOfKeras(Initializer):
    """As an initializer is written for Keras."""

    def __call__(self, shape, dtype=None, **kwargs):
        return np.full(shape, 2.0, dtype)


def test_one_written_for_keras_is_taken():
    np.testing.assert_array_equal(kernel_of(TwosOfKeras()), np.full((20, 30), 2.0))


def test_an_array_is_an_initializer_and_none_is_the_default_of_weights():
    kernel = np.arange(600.0).reshape(20, 30)
    np.testing.assert_array_equal(kernel_of(kernel), kernel)
    assert initializers.get(None) is None
    np.testing.assert_array_equal(kernel_of(None), kernel_of("glorot_uniform"))


@pytest.mark.parametrize("name", ["IdentityInitializer", "OrthogonalInitializer", "STFTInitializer"])
def test_names_of_keras_for_the_same_class(name):
    assert initializers.NAMES.find(name) is getattr(initializers, name)


def test_values_may_be_of_half_precision():
    assert Constant(0.5)((2,), "float16").dtype == np.float16
