"""Layers against numbers made with Keras: `tests/tables/layers.json`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import layers
from layerkit.layers.layer import Home

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "layers.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]

# Relative to the number, or where numbers cancel, to the greatest of the array.
FORWARD = {"float32": 1e-6, "float64": 1e-12}
BACKWARD = {"float32": 1e-5, "float64": 1e-12}

# Arguments of Keras that layerkit does not have.
NOT_HERE = {
    "BatchNormalization": {"renorm", "renorm_clipping", "renorm_momentum", "synchronized"},
    "EinsumDense": {"lora_rank", "lora_alpha", "gptq_unpacked_column_size", "quantization_config"},
    "Embedding": {"lora_rank", "lora_alpha", "quantization_config"},
}

# Values for arguments without a default that do not take 1.
REQUIRED = {"dims": (1,), "equation": "ab,bc->ac"}


def shape_of(x, case):
    return [np.shape(item) for item in x] if case.get("several") else np.shape(x)


def name_of(case):
    shape = shape_of(case["x"], case)
    options = [f"{key}={value}" for key, value in case["kwargs"].items()]
    training = {None: [], True: ["training"], False: ["inference"]}[case["training"]]
    lengths = [str(row) for row in shape] if case.get("several") else ["x".join(map(str, shape))]
    return "-".join([case["class"], *lengths, *options, *training])


def made(case, xp, dtype):
    """Return the layer, built, with the weights of the table."""
    layer = getattr(layers, case["class"])(**case["kwargs"])
    layer.settle(Home(xp, dtype, 0, "layer"))
    shape = shape_of(case["x"], case)
    layer.build([(None, *row[1:]) for row in shape] if case.get("several") else (None, *shape[1:]))
    assert [variable.name for variable in layer.weights] == case["names"]
    layer.set_weights([np.array(values, dtype) for values in case["weights"]])
    return layer


def as_input(case, xp, dtype):
    if case.get("several"):
        return [xp.asarray(np.array(item, dtype)) for item in case["x"]]
    x = np.array(case["x"])
    return xp.asarray(x if x.dtype.kind == "i" else x.astype(dtype))


def assert_close(found, expected, relative):
    expected = np.array(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=relative, atol=relative * np.max(np.abs(expected), initial=0.0))


@pytest.mark.parametrize("dtype", FORWARD)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_passes_are_those_of_keras(xp, case, dtype):
    layer = made(case, xp, dtype)
    dy = xp.asarray(np.array(case["dy"], dtype))
    y, saved = layer.run_forward(xp, as_input(case, xp, dtype), training=bool(case["training"]))
    dx, gradients = layer.run_backward(xp, saved, dy)
    assert y.dtype == dy.dtype
    assert_close(xp.to_numpy(y), case["y"], FORWARD[dtype])
    if "dx" in case:
        several = case.get("several")
        for found, expected in zip(dx if several else [dx], case["dx"] if several else [case["dx"]], strict=True):
            assert_close(xp.to_numpy(found), expected, BACKWARD[dtype])
    for name, expected in case["gradients"].items():
        assert_close(xp.to_numpy(gradients[name]), expected, BACKWARD[dtype])
    for name, expected in case["state"].items():
        assert_close(layer.named_weights()[name].numpy(), expected, FORWARD[dtype])


@pytest.mark.parametrize("name", TABLE["defaults"])
def test_defaults_are_those_of_keras(name):
    cls = getattr(layers, name)
    parameters = inspect.signature(cls).parameters.values()
    plain = [parameter for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    required = {p.name: REQUIRED.get(p.name, 1) for p in plain if p.default is p.empty}
    config = json.loads(json.dumps(cls(**required).get_config()))  # with lists for tuples, as in the table
    expected = {key: value for key, value in TABLE["defaults"][name].items() if key not in NOT_HERE.get(name, ())}
    assert {key: config[key] for key in expected} == expected
    positional = [parameter.name for parameter in plain]
    order = [key for key in (*required, *expected) if key in positional]
    assert positional == order


def test_the_numbers_fail_for_a_layer_that_is_slightly_wrong(xp):
    (case,) = (case for case in CASES if name_of(case) == "LayerNormalization-5x3")
    layer = made(case, xp, "float32")
    layer.epsilon *= 1.01
    y, _ = layer.run_forward(xp, xp.asarray(np.array(case["x"], "float32")))
    with pytest.raises(AssertionError):
        assert_close(xp.to_numpy(y), case["y"], FORWARD["float32"])
