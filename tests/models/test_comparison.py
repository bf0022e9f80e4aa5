"""compare_backends: backends that agree, and the first layer at which one with a wrong word parts."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import Layer, Sequential, compare_backends
from layerkit.errors import ArgumentError, NotReadyError, ShapeError, UnknownNameError
from layerkit.layers import BatchNormalization, Dense, Dropout, Sigmoid, Softplus
from layerkit.optimizers import SGD, Adam
from layerkit_numpy import NumpyBackend

X = np.random.default_rng(0).normal(size=(12, 4))
Y = X[:, :1] * X[:, 1:2]


def named():
    return Dense(8, name="a"), Sigmoid(name="b"), Dense(3, name="c"), Softplus(name="d"), Dense(1, name="e")


def made(*layers, optimizer=None, dtype="float64"):
    model = Sequential(list(layers) or [*named()], seed=0, dtype=dtype)
    model.compile(optimizer or SGD(0.1), "mse")
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_backends_that_are_right_agree(xp, dtype):
    layers = Dense(8, activation="gelu"), BatchNormalization(), Dropout(0.3), Dense(1)
    (found,) = compare_backends(made(*layers, optimizer=Adam(0.01), dtype=dtype), X, Y, ["numpy", xp])
    assert found.parting is None
    limit = {"float32": "0.0001", "float64": "1e-10"}[dtype]
    assert found.conclusion == f"{xp} agrees with numpy: no deviation is above {limit}."
    assert [row.layer for row in found.deviations] == [
        *("dense", "dense/gelu", "batch_normalization", "dropout", "dense_1", "loss")
    ]


def test_the_model_is_left_as_it_was():
    model = made(optimizer=Adam(0.01))
    compare_backends(model, X, Y, ["numpy", "strict"], steps=3)
    assert not model.built
    model.fit(X, Y, epochs=3, verbose=0)
    state = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    program = str(model.program("train"))
    compare_backends(model, X, Y, ["numpy", "strict"], steps=3)
    now = [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]
    assert all(np.array_equal(a, b) for a, b in zip(state, now, strict=True))
    assert str(model.program("train")) == program
    assert str(model.xp) == "numpy"


# Backends that are wrong in one word.


def wrong(**words):
    word_by_word = {"capture": lambda self, program: program.on(self)}
    return type("Wrong", (NumpyBackend,), {"name": "wrong", **word_by_word, **words})()


def off_sigmoid(self, x):
    return NumpyBackend.sigmoid(self, x) * 1.001


def off_gradient(self, x, kernel, dy, *, input_gradient=True):
    dx, dkernel, dbias = NumpyBackend.linear_grad(self, x, kernel, dy, input_gradient=input_gradient)
    return dx, dkernel * (1.0 if kernel.shape[1] > 3 else 1.01), dbias


def off_linear(self, x, kernel, bias=None):
    return NumpyBackend.linear(self, x, kernel, bias) + (0.01 if kernel.shape[1] == 3 else 0.0)


def off_assign_add(self, state, value):
    NumpyBackend.assign_add(self, state, value * 1.01 if np.ndim(value) else value)


@pytest.mark.parametrize(
    ("words", "layer", "doing"),
    [
        ({"sigmoid": off_sigmoid}, "b", "forward"),
        ({"linear_grad": off_gradient}, "e", "gradient"),
        ({"assign_add": off_assign_add}, "a", "training"),
        ({"linear": off_linear}, "c", "forward"),
    ],
    ids=["sigmoid", "linear_grad", "assign_add", "linear"],
)
def test_the_first_layer_that_parts_is_named(words, layer, doing):
    (found,) = compare_backends(made(), X, Y, ["numpy", wrong(**words)])
    assert found.parting is not None
    assert found.parting[:2] == (layer, doing)
    after = {"training": "after 10 steps"}.get(doing, f"in its {doing}")
    assert found.conclusion == (
        f"wrong parts from numpy at {layer}, {after}: a deviation of {found.parting.deviation:.2g} is above 1e-10."
    )


def test_what_is_inside_a_layer_comes_after_it():
    """Where the layer itself is wrong, what it gives to its activation is, too."""
    model = made(Dense(8, activation="gelu", name="a"), Dense(3, activation="tanh", name="c"), Dense(1, name="e"))
    (found,) = compare_backends(model, X, Y, ["numpy", wrong(linear=off_linear)], steps=1)
    assert [row.layer for row in found.deviations] == ["a", "a/gelu", "c", "c/tanh", "e", "loss"]
    assert found.parting[:2] == ("c", "forward")
    (found,) = compare_backends(model, X, Y, ["numpy", wrong(linear_grad=off_gradient)], steps=1)
    assert found.parting[:2] == ("e", "gradient")


def test_deviations_are_relative_to_the_largest_number():
    (found,) = compare_backends(made(), X, Y, ["numpy", wrong(sigmoid=off_sigmoid)])
    rows = {row.layer: row for row in found.deviations}
    assert rows["a"].forward == 0.0
    assert rows["b"].forward == pytest.approx(1e-3, rel=1e-9)
    assert rows["b"].training is None  # it has no weights
    assert rows["loss"].gradient is None


def test_numbers_that_are_not_finite_part():
    def not_finite(self, x):
        y = NumpyBackend.sigmoid(self, x)
        y[0, 0] = np.nan
        return y

    with np.errstate(all="ignore"):
        (found,) = compare_backends(made(), X, Y, ["numpy", wrong(sigmoid=not_finite)], steps=1)
    assert found.parting == ("b", "forward", float("inf"))


def test_a_layer_that_is_used_twice_has_a_row_for_each_use():
    shared = Dense(4, name="shared")
    (found,) = compare_backends(made(shared, shared, Dense(1, name="last")), X, Y, ["numpy", "strict"], steps=2)
    assert [row.layer for row in found.deviations] == ["shared", "shared (2)", "last", "loss"]
    assert [row.gradient for row in found.deviations] == [pytest.approx(0.0, abs=1e-14)] * 3 + [None]


def test_a_function_alone_is_a_row_too():
    class Square(Layer):
        def call(self, xp, x):
            return x * x

    (found,) = compare_backends(made(Dense(3), Square(name="square"), Dense(1)), X, Y, ["numpy", "strict"], steps=1)
    row = next(row for row in found.deviations if row.layer == "square")
    assert row == ("square", pytest.approx(0.0, abs=1e-14), pytest.approx(0.0, abs=1e-14), None)


def test_several_backends_are_compared_with_the_first():
    found = compare_backends(made(), X, Y, ["numpy", "strict", wrong(sigmoid=off_sigmoid)], steps=1)
    assert [each.backend for each in found] == ["strict:0", "wrong"]
    assert [each.parting is None for each in found] == [True, False]
    assert str(found) == f"{found[0]}\n\n{found[1]}" == repr(found)


def test_it_prints_a_table():
    (found,) = compare_backends(made(Dense(1, name="only")), X, Y, ["numpy", "numpy"], steps=1)
    assert str(found) == (
        "numpy against numpy\n"
        "┌───────┬─────────┬──────────┬──────────────┐\n"
        "│ layer │ forward │ gradient │ after 1 step │\n"
        "├───────┼─────────┼──────────┼──────────────┤\n"
        "│ only  │       0 │        0 │            0 │\n"
        "│ loss  │       0 │          │            0 │\n"
        "└───────┴─────────┴──────────┴──────────────┘\n"
        "numpy agrees with numpy: no deviation is above 1e-10."
    )


def test_the_tolerance_can_be_given():
    model = made()
    (found,) = compare_backends(model, X, Y, ["numpy", wrong(sigmoid=off_sigmoid)], steps=1, tolerance=0.5)
    assert found.conclusion == "wrong agrees with numpy: no deviation is above 0.5."


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"backends": "numpy"}, "backends must be at least two, such as ['numpy', 'cupy']. Received: 'numpy'"),
        ({"backends": ["numpy"]}, "backends must be at least two, such as ['numpy', 'cupy']. Received: ['numpy']"),
        ({"steps": 0}, "steps must be an integer of at least 1. Received: steps=0"),
        ({"tolerance": 0}, "tolerance must be above 0. Received: tolerance=0"),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ArgumentError) as caught:
        compare_backends(**{"model": made(), "x": X, "y": Y, "backends": ["numpy", "strict"], **arguments})
    assert str(caught.value) == f"compare_backends: {sentence}"


def test_a_model_that_is_not_compiled():
    with pytest.raises(NotReadyError) as caught:
        compare_backends(Sequential([Dense(1)]), X, Y, ["numpy", "strict"])
    assert str(caught.value) == (
        "compare_backends: the model must be compiled first. Received: a model without loss and optimizer. "
        "Call compile(optimizer, loss)."
    )


def test_a_backend_that_is_not_there():
    with pytest.raises(UnknownNameError, match=r"Received: 'nunpy'\. Did you mean 'numpy'\?$"):
        compare_backends(made(), X, Y, ["numpy", "nunpy"])


def test_data_that_does_not_fit():
    with pytest.raises(ShapeError):
        compare_backends(made(), X, Y[:, [0, 0]], ["numpy", "strict"])
