"""Objects that remember how they were made."""

from __future__ import annotations

from layerkit import Sequential
from layerkit.initializers import HeNormal
from layerkit.layers import Dense, Sigmoid
from layerkit.losses import Huber
from layerkit.optimizers import Adam


def test_a_configuration_holds_defaults_and_what_goes_to_bases():
    assert Adam(0.1, clipnorm=1.0).get_config() == {
        "learning_rate": 0.1,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-7,
        "amsgrad": False,
        "weight_decay": None,
        "clipnorm": 1.0,
        "clipvalue": None,
        "global_clipnorm": None,
        "use_ema": False,
        "ema_momentum": 0.99,
        "ema_overwrite_frequency": None,
        "loss_scale_factor": None,
        "gradient_accumulation_steps": None,
        "name": "adam",
    }
    assert Huber.from_config(Huber(0.5).get_config()).delta == 0.5


def test_a_copy_has_objects_of_its_own_and_keeps_what_was_shared():
    shared = Dense(3, kernel_initializer=HeNormal(seed=1))
    model = Sequential([shared, Sigmoid(), shared])
    copy = Sequential.from_config(model.get_config())
    assert [type(layer) for layer in copy.layers] == [Dense, Sigmoid, Dense]
    assert copy.layers[0] is copy.layers[2]
    assert not set(map(id, copy.layers)) & set(map(id, model.layers))
    assert copy.layers[0].kernel_initializer is not shared.kernel_initializer
    assert copy.layers[0].kernel_initializer.seed == 1
    copy.build((None, 3))
    assert not model.built


def test_an_argument_that_a_base_takes_too_is_that_which_was_given():
    assert Sequential(seed=3, backend="strict").get_config() == {
        "layers": [],
        "seed": 3,
        "backend": "strict",
        "name": "sequential",
        "dtype": None,
        "trainable": True,
        "input_shape": None,
        "input_dim": None,
        "activity_regularizer": None,
    }
