"""Mixed precision: Keras's policies and numbers, and the whole vocabulary under them."""

from __future__ import annotations

import inspect
import json
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import layerkit
from layerkit import Input, Layer, Sequential, config, layers, losses, metrics, mixed_precision, optimizers
from layerkit.dtype_policies import DTypePolicy, dtype_policy, get, set_dtype_policy
from layerkit.errors import ArgumentError, BackendUnavailableError, CaptureWarning
from layerkit.layers import BatchNormalization, Dense, Dropout, GroupNormalization, LayerNormalization, RMSNormalization
from layerkit.optimizers import LossScaleOptimizer
from tests.layers import rows

TABLE = json.loads((Path(__file__).parent / "tables" / "precision.json").read_text("utf-8"))
MIXED = ("mixed_float16", "float16")

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.random.default_rng(1).normal(size=(12, 2))


@pytest.fixture(autouse=True)
def policy_as_it_was():
    yield
    set_dtype_policy("float32")


# Policies.


@pytest.mark.parametrize("case", TABLE["policies"], ids=lambda case: case["name"])
def test_the_dtypes_of_a_policy_are_those_of_keras(case):
    policy = DTypePolicy(case["name"])
    assert (policy.compute_dtype, policy.variable_dtype) == (case["compute_dtype"], case["variable_dtype"])
    for dtype in (case["name"], policy):
        layer = Dense(2, dtype=dtype)
        assert [layer.dtype, layer.compute_dtype, layer.variable_dtype] == case["layer"]
        assert layer.dtype_policy == policy
    if "bfloat16" not in case["name"]:
        y = layer(np.ones((1, 3), "float32"))
        assert layer.weights[0].dtype == case["kernel"]
        assert y.dtype == (case["y"] if case["name"] != "float64" else "float64")  # JAX has none unless told to


def test_the_default_dtype_is_that_of_keras():
    """`floatx` and `epsilon` of Keras's `config`, with the values that it has at first."""
    assert (config.floatx(), config.epsilon()) == ("float32", 1e-7)
    config.set_floatx("float64")
    try:
        assert (config.floatx(), Sequential([Dense(2)]).dtype) == ("float64", "float64")
        config.set_dtype_policy("mixed_float16")
        assert config.floatx() == "float32"
    finally:
        config.set_floatx("float32")
    with pytest.raises(ArgumentError) as caught:
        config.set_floatx("mixed_float16")
    assert str(caught.value) == (
        "set_floatx: value must be one of float32, float64, float16. Received: 'mixed_float16'"
    )


def test_the_current_policy_is_that_of_what_is_made():
    assert dtype_policy().name == "float32"
    for place, name in ((config, "set_dtype_policy"), (mixed_precision, "set_global_policy")):
        old = Sequential([Dense(2)])
        getattr(place, name)("mixed_float16")
        new, told = Sequential([Dense(2)]), Sequential([Dense(2)], dtype="float32")
        set_dtype_policy("float32")
        assert [model.compute_dtype for model in (old, new, told)] == ["float32", "float16", "float32"]
        for model in (old, new, told):
            assert model.predict(X, verbose=0).dtype == model.compute_dtype
    assert mixed_precision.global_policy() == dtype_policy() == get(None) == DTypePolicy("float32")
    assert repr(mixed_precision.Policy("mixed_float16")) == '<DTypePolicy "mixed_float16">'
    assert DTypePolicy.from_config(DTypePolicy("float16").get_config()) == DTypePolicy("float16")


def test_a_model_keeps_its_policy_in_a_file(tmp_path):
    set_dtype_policy("mixed_float16")
    model = Sequential([Dense(4, "tanh"), Dense(2, dtype=DTypePolicy("float32"))], seed=0)
    model.compile("adam", "mse")
    model.fit(X, Y, epochs=2, verbose=0)
    set_dtype_policy("float32")
    model.save(tmp_path / "model.layerkit")
    loaded = layerkit.load_model(tmp_path / "model.layerkit")
    assert [layer.compute_dtype for layer in (loaded, *loaded.layers)] == ["float16", "float16", "float32"]
    for each in (model, loaded):
        each.fit(X, Y, epochs=2, verbose=0)
    np.testing.assert_equal(loaded.get_weights(), model.get_weights())
    np.testing.assert_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))


# Trainings.


def made(case) -> Sequential:
    stack = [getattr(layers, name)(**options) for name, options in case["stack"]]
    model = Sequential([Input((3,)), *stack], dtype=case["policy"])
    shapes = [weight.shape for weight in model.weights]
    model.set_weights([np.reshape(values, shape) for values, shape in zip(case["first"], shapes, strict=True)])
    name, options = case["optimizer"]
    model.compile(getattr(optimizers, name)(**options), "mse", metrics=["mae"], jit_compile=True)
    return model


@pytest.mark.parametrize(
    "case",
    TABLE["cases"],
    ids=lambda case: f"{case['policy']}-{'-'.join(n for n, _ in case['stack'])}-{case['optimizer'][0]}",
)
def test_a_training_is_that_of_keras(case):
    """To the precision of float16, which is 1e-3: sums are taken in another order."""
    model = made(case)
    history = model.fit(case["x"], case["y"], batch_size=8, epochs=4, shuffle=False, verbose=0).history
    assert isinstance(model.optimizer, LossScaleOptimizer) == case["scaled"]
    if case["scaled"]:
        assert model.optimizer.dynamic_scale == case["scale"]
    tolerance = {"rtol": 5e-3, "atol": 5e-3}
    for name, values in case["history"].items():
        np.testing.assert_allclose(history[name], values, **tolerance)
    found = model.predict(case["x"], verbose=0)
    assert found.dtype == case["predicted"]
    if case["optimizer"][0] == "Adam":  # of a gradient that should be 0, it makes a step of full size
        return
    np.testing.assert_allclose(found.astype("float64"), case["predictions"], rtol=2e-2, atol=2e-2)


def test_small_gradients_are_not_lost():
    """A gradient of 3e-8 is 0 in float16, and is followed where the loss is scaled."""
    moved = []
    for scale in (True, False):
        model = Sequential([Input((1,)), Dense(1, use_bias=False, kernel_initializer="ones")], dtype="mixed_float16")
        model.compile(optimizers.SGD(2.0**20), lambda y, p: 2.0**-25 * p[:, 0], auto_scale_loss=scale)
        model.fit(np.ones((4, 1)), np.ones((4, 1)), batch_size=4, verbose=0)
        moved.append(1.0 - model.get_weights()[0].item())
    assert moved == [2.0**-5, 0.0]


def test_an_overflow_is_left_out_and_training_goes_on():
    model = Sequential([Input((3,)), Dense(8, "tanh"), Dense(2)], seed=0, dtype="mixed_float16")
    model.compile(LossScaleOptimizer(optimizers.Adam(0.01), initial_scale=2.0**40), "mse", jit_compile=True)
    losses_ = model.fit(X, Y, batch_size=6, epochs=20, verbose=0).history["loss"]
    assert model.optimizer.dynamic_scale < 2.0**20
    assert losses_[-1] < losses_[0]
    assert {weight.dtype for weight in model.weights} == {"float32"}


def test_layers_of_several_precisions_in_one_model():
    class Own(Layer):
        def build(self, input_shape):
            self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

        def call(self, xp, x):
            seen.append((str(x.dtype), str(self.scale.dtype)))
            return x * self.scale

    seen = []
    stack = [
        Dense(4),
        Own(),
        BatchNormalization(),
        Dropout(0.5),
        Own(dtype="float32"),
        Dense(2, "softmax", dtype="float32"),
    ]
    model = Sequential([Input((3,)), *stack], dtype="mixed_float16", seed=0)
    model.compile("adam", "mse", run_eagerly=True)
    model.fit(X, Y, epochs=2, verbose=0)
    assert set(seen) == {("float16", "float16"), ("float32", "float32")}
    assert model.predict(X, verbose=0).dtype == "float32"
    wide = Sequential([Input((3,)), Dense(4, dtype="mixed_float16"), Dense(2)], seed=0)
    wide.compile("adam", "mse")
    assert not isinstance(wide.optimizer, LossScaleOptimizer)
    wide.fit(X, Y, verbose=0)
    assert wide.predict(X, verbose=0).dtype == "float32"


def test_gradients_are_checked_in_float64():
    model = Sequential([Input((3,)), Dense(4, "tanh"), BatchNormalization(), Dense(2)], seed=0, dtype="mixed_float16")
    model.compile("adam", "mse")
    model.check_gradients(X, Y)


# What cannot be.


@pytest.mark.parametrize(
    ("attempt", "error", "sentence"),
    [
        (
            lambda: Dense(2, dtype="half"),
            ArgumentError,
            "Dense: dtype must be one of float32, float64, float16, mixed_float16, mixed_bfloat16. "
            "Received: dtype='half'",
        ),
        (
            lambda: set_dtype_policy("mixed_float8"),
            ArgumentError,
            "set_dtype_policy: dtype must be one of float32, float64, float16, mixed_float16, mixed_bfloat16. "
            "Received: dtype='mixed_float8'",
        ),
        (
            lambda: Sequential([Dense(2)], dtype="mixed_bfloat16"),
            BackendUnavailableError,
            "sequential: dtype='mixed_bfloat16' needs a backend with bfloat16. Received: numpy, which has none. "
            "Use 'mixed_float16', or another backend.",
        ),
        (
            lambda: Dense(2, dtype="mixed_bfloat16").build((None, 3)),
            BackendUnavailableError,
            "dense: dtype='mixed_bfloat16' needs a backend with bfloat16. Received: numpy, which has none. "
            "Use 'mixed_float16', or another backend.",
        ),
        (
            lambda: Sequential([Dense(2)], dtype="float16", backend="strict"),
            BackendUnavailableError,
            "sequential: dtype='float16' needs a backend with float16. Received: strict:0, which has none. "
            "Use 'float32', or another backend.",
        ),
    ],
)
def test_what_cannot_be_is_refused(attempt, error, sentence):
    with pytest.raises(error) as caught:
        attempt()
    assert str(caught.value) == sentence
    assert dtype_policy().name == "float32"


def test_a_backend_without_the_dtype_is_no_place_to_move_to():
    model = Sequential([Input((3,)), Dense(2)], dtype="mixed_float16")
    model.compile("sgd", "mse")
    with pytest.raises(BackendUnavailableError, match=r"needs a backend with float16\. Received: strict:0"):
        model.to("strict")
    model.fit(X, Y, verbose=0)
    assert {str(weight.xp) for weight in model.weights} == {"numpy"}


# The vocabulary.


def trained(model, x, y, loss="mse"):
    """Train and evaluate, eagerly first and replayed then; all numbers that come out are finite."""
    model.compile("sgd", loss, lint=False)  # targets are made up
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CaptureWarning)
        history = model.fit(x, y, batch_size=len(x), epochs=5, verbose=0).history["loss"]
    assert np.isfinite([*history, model.evaluate(x, y, verbose=0)]).all()
    return model


LAYERS = [(name, shape) for name, (_, shapes) in rows.TABLE.items() for shape in shapes[-1:]]


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize(("name", "shape"), LAYERS, ids=lambda value: str(value).replace(" ", "-"))
def test_every_layer_trains(name, shape, policy):
    """What comes out is float16, whatever the layer computes in; weights keep their dtype."""
    x = np.random.default_rng(0).uniform(0.1, 1.0, (4, *shape))
    layer = rows.TABLE[name][0]()
    model = Sequential([Input(shape), layer], dtype=policy, seed=0)
    y = np.zeros((4, *model.output_shape[1:]))
    trained(model, x, y)
    assert model.predict(x, verbose=0).dtype == "float16"
    assert {weight.dtype for weight in model.trainable_weights} <= {layer.variable_dtype}


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("name", rows.MERGING)
def test_every_layer_of_several_inputs_runs(name, policy):
    make, shapes = rows.MERGING[name]
    x = [np.random.default_rng(0).uniform(0.1, 1.0, (2, *shape)) for shape in shapes[0]]
    layer = make()
    layer = type(layer).from_config({**layer.get_config(), "dtype": policy})
    assert layer(x).dtype == "float16"


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("name", rows.INDEXED)
def test_every_layer_of_integers_trains(name, policy):
    make, shape = rows.INDEXED[name]
    x = np.random.default_rng(0).integers(0, 5, (4, *shape))
    model = Sequential([Input(shape, dtype="int32"), make()], dtype=policy, seed=0)
    trained(model, x, np.zeros((4, *model.output_shape[1:])))
    assert model.predict(x, verbose=0).dtype == "float16"


LOSSES = [name for name in losses.__all__ if inspect.isclass(getattr(losses, name)) and name != "Loss"]
METRICS = [name for name in metrics.__all__ if inspect.isclass(getattr(metrics, name)) and name != "Metric"]
NOT_BY_ARGUMENTS_ALONE = ("MeanMetricWrapper", "Mean", "Sum")


@pytest.mark.parametrize("policy", MIXED)
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_trains(name, policy):
    labels = np.array([0, 1, 2, 1, 0, 2])
    width = 5 if name == "CTC" else 3
    shape = (8, 3) if name == "CTC" else (3,)
    model = Sequential([Input(shape), Dense(width, "softmax")], dtype=policy, seed=0)
    y = labels if getattr(losses, name).labels else np.eye(3)[labels]
    if name == "Circle":
        y = labels
    if name == "MeanAbsolutePercentageError":  # float16 holds no percentages of 0
        y = y + 1.0
    if name == "CTC":
        y = np.array([[1, 2], [2, 1], [1, 1], [3, 2], [1, 4], [2, 3]])
    x = np.random.default_rng(0).normal(size=(6, *shape))
    trained(model, x, y, getattr(losses, name)())


ARGUMENTS = {
    "SensitivityAtSpecificity": {"specificity": 0.5},
    "SpecificityAtSensitivity": {"sensitivity": 0.5},
    "PrecisionAtRecall": {"recall": 0.5},
    "RecallAtPrecision": {"precision": 0.5},
    "MeanIoU": {"num_classes": 3},
    "OneHotMeanIoU": {"num_classes": 3},
    "IoU": {"num_classes": 3, "target_class_ids": [0, 1]},
    "OneHotIoU": {"num_classes": 3, "target_class_ids": [0, 1]},
    "BinaryIoU": {"target_class_ids": [0, 1]},
}


@pytest.mark.parametrize("name", [name for name in METRICS if name not in NOT_BY_ARGUMENTS_ALONE])
def test_every_metric_measures(name):
    labels = np.array([0, 1, 2, 1, 0, 2])
    metric = getattr(metrics, name)(**ARGUMENTS.get(name, {}))
    sparse = name.startswith("Sparse") or name in ("MeanIoU", "IoU")
    width = 1 if name in ("MeanIoU", "IoU") else 3
    model = Sequential([Input((3,)), Dense(width, "softmax")], dtype="mixed_float16", seed=0)
    model.compile(loss=None, metrics=[metric])
    y = labels if sparse else np.eye(3)[labels]
    x = np.random.default_rng(0).normal(size=(6, 3))
    assert np.isfinite(model.evaluate(x, y, verbose=0)).all()


@pytest.mark.parametrize("layer", [LayerNormalization, RMSNormalization, partial(GroupNormalization, 2)])
def test_normalizations_take_numbers_beyond_those_of_float16(layer):
    """The largest of float16 is 65504. Keras casts after these layers have computed in float32, and so y is finite."""
    x = np.full((2, 8), 70000.0, np.float32)
    x[:, ::2] *= -1
    y = layer(dtype="mixed_float16")(x)
    assert y.dtype == np.float16
    np.testing.assert_allclose(y, np.sign(x), rtol=1e-3)
