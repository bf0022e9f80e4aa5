"""Layers of several inputs or outputs: what they are given, what they return, and their derivatives."""

from __future__ import annotations

import re

import numpy as np
import pytest

import layerkit
from layerkit import Sequential, grad
from layerkit.errors import GradientMismatch, MixedBackendsError, NonFiniteWarning, ShapeError
from layerkit.layers import Dense, Input, Layer
from layerkit.optimizers import SGD

A, B = np.random.default_rng(0).standard_normal((2, 5, 3))
DY = np.random.default_rng(1).standard_normal((5, 3))


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


class Gate(Layer):
    """``y = scale · a · sigmoid(b)`` of two inputs, by recording."""

    def build(self, input_shape):
        (*_, features), _ = input_shape
        self.scale = self.add_weight("scale", (features,), "ones")

    def call(self, xp, x):
        a, b = x
        return self.scale * a * xp.sigmoid(b)


class GateByHand(Gate):
    """The same, with a backward of its own."""

    call = Layer.call

    def forward(self, xp, x):
        a, b = x
        s = xp.sigmoid(b)
        return self.scale * a * s, (a, s)

    def backward(self, xp, saved, dy):
        a, s = saved
        return [dy * self.scale * s, dy * self.scale * a * s * (1.0 - s)], {"scale": xp.sum(dy * a * s, axis=0)}


class Halves(Layer):
    """The left and the right half of x, by recording."""

    def call(self, xp, x):
        middle = x.shape[-1] // 2
        return x[..., :middle], x[..., middle:]


class HalvesByHand(Halves):
    """The same, with a backward of its own."""

    call = Layer.call

    def forward(self, xp, x):
        return super().call(xp, x), None

    def backward(self, xp, saved, dy):
        left, right = dy
        return xp.concat([left, right], axis=-1), {}


class Tree(Layer):
    """``y = {a + b c, (a, b)}`` of x = (a, [b, c])."""

    def call(self, xp, x):
        a, (b, c) = x
        return [a + b * c, (a, b)]


class TreeByHand(Tree):
    call = Layer.call

    def forward(self, xp, x):
        a, (b, c) = x
        return [a + b * c, (a, b)], (b, c)

    def backward(self, xp, saved, dy):
        b, c = saved
        d, (da, db) = dy
        return (d + da, (d * c + db, d * b)), {}


class Within(Layer):
    """``y = f(g(x))``, by recording."""

    def __init__(self, inner, outer, **kwargs):
        super().__init__(**kwargs)
        self.inner, self.outer = inner, outer

    def call(self, xp, x):
        return self.outer(self.inner(x))


GATES, HALVES, TREES = (Gate, GateByHand), (Halves, HalvesByHand), (Tree, TreeByHand)


def host(xp, arrays):
    return [xp.to_numpy(array) for array in arrays]


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("kind", [list, tuple])
def test_several_inputs_are_given_in_a_tuple_or_list(xp, gate, kind):
    layer = gate(dtype="float64")
    x = kind(map(xp.asarray, (A, B)))
    np.testing.assert_allclose(xp.to_numpy(layer(x)), A * sigmoid(B), rtol=1e-12)
    assert layer.input_shape == [(None, 3), (None, 3)]
    assert layer.output_shape == (None, 3)
    y, saved = layer.forward(xp, x)
    (da, db), gradients = layer.backward(xp, saved, xp.asarray(DY))
    s = sigmoid(B)
    np.testing.assert_allclose(xp.to_numpy(y), A * s, rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(da), DY * s, rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(db), DY * A * s * (1 - s), rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(gradients["scale"]), np.sum(DY * A * s, axis=0), rtol=1e-12)


def test_a_recorded_dx_is_nested_as_x_is(xp):
    layer = Gate(dtype="float64")
    with layerkit.use_backend(xp):
        layer.build([(None, 3), (None, 3)])
    for kind in (list, tuple):
        y, saved = layer.forward(xp, kind(map(xp.asarray, (A, B))))
        assert type(layer.backward(xp, saved, y)[0]) is kind


@pytest.mark.parametrize("halves", HALVES)
def test_several_outputs_are_returned_in_a_tuple(xp, halves):
    layer = halves(dtype="float64")
    left, right = layer(xp.asarray(np.hstack([A, B])))
    np.testing.assert_array_equal(host(xp, (left, right)), [A, B])
    assert layer.output_shape == [(None, 3), (None, 3)]
    assert layer.compute_output_shape((7, 4)) == [(7, 2), (7, 2)]
    _, saved = layer.forward(xp, xp.asarray(np.hstack([A, B])))
    dx, _ = layer.backward(xp, saved, (xp.asarray(DY), xp.asarray(2 * DY)))
    np.testing.assert_array_equal(xp.to_numpy(dx), np.hstack([DY, 2 * DY]))


@pytest.mark.parametrize("tree", TREES)
def test_inputs_and_outputs_may_be_nested(xp, tree):
    layer = tree(dtype="float64")
    a, b, c = map(xp.asarray, (A, B, DY))
    y, (first, second) = layer((a, [b, c]))
    np.testing.assert_allclose(host(xp, (y, first, second)), [A + B * DY, A, B], rtol=1e-12)
    assert layer.input_shape == [(None, 3), [(None, 3), (None, 3)]]
    assert layer.output_shape == [(None, 3), [(None, 3), (None, 3)]]
    _, saved = layer.forward(xp, (a, [b, c]))
    dx = layer.backward(xp, saved, [a, (b, c)])[0]
    np.testing.assert_allclose(host(xp, (dx[0], *dx[1])), [A + B, A * DY + DY, A * B], rtol=1e-12)


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("halves", HALVES)
def test_one_layer_hands_its_outputs_to_another(xp, halves, gate):
    layer = Within(halves(), gate(), dtype="float64")
    x = xp.asarray(np.hstack([A, B]))
    np.testing.assert_allclose(xp.to_numpy(layer(x)), A * sigmoid(B), rtol=1e-12)
    _, saved = layer.forward(xp, x)
    dx, gradients = layer.backward(xp, saved, xp.asarray(DY))
    s = sigmoid(B)
    np.testing.assert_allclose(xp.to_numpy(dx), np.hstack([DY * s, DY * A * s * (1 - s)]), rtol=1e-12)
    np.testing.assert_allclose(xp.to_numpy(gradients["outer/scale"]), np.sum(DY * A * s, axis=0), rtol=1e-12)


@pytest.mark.parametrize("tree", TREES)
def test_an_output_that_is_not_used_has_no_gradient(xp, tree):
    """Of [a + b c, (a, b)] the loss takes the last alone: b."""

    class Last(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.tree = tree()

        def call(self, xp, x):
            _, (_, last) = self.tree((x, [2.0 * x, x]))
            return last

    layer = Last(dtype="float64")
    _, saved = (layer(xp.asarray(A)), layer.forward(xp, xp.asarray(A))[1])
    np.testing.assert_allclose(xp.to_numpy(layer.backward(xp, saved, xp.asarray(DY))[0]), 2 * DY, rtol=1e-12)


@pytest.mark.parametrize("gate", GATES)
def test_a_gradient_is_taken_to_one_input_beside_a_plain_one(xp, gate):
    layer = gate(dtype="float64")
    b = xp.asarray(B)
    da = grad(lambda a: layer([a, b]).sum())(xp.asarray(A))
    np.testing.assert_allclose(xp.to_numpy(da), sigmoid(B), rtol=1e-12)


@pytest.mark.parametrize("gate", GATES)
def test_second_derivatives_pass_through(xp, gate):
    layer = gate(dtype="float64")

    def slope(b):
        return grad(lambda b: layer([xp.asarray(A), b]).sum())(b)

    s = sigmoid(B)
    found = grad(lambda b: slope(b).sum())(xp.asarray(B))
    np.testing.assert_allclose(xp.to_numpy(found), A * s * (1 - s) * (1 - 2 * s), rtol=1e-10)


def test_each_input_is_cast(xp):
    layer = Gate()
    y = layer([xp.asarray(A), xp.asarray(B.astype("float32"))])
    assert y.dtype == xp.float32

    class Taken(Layer):
        autocast = False

        def call(self, xp, x):
            table, rows = x
            return xp.take(table, rows, axis=0)

    rows = xp.asarray(np.array([2, 0]))
    taken = Taken()
    assert taken([xp.asarray(A), rows]).dtype == xp.float64
    _, saved = taken.forward(xp, [xp.asarray(A), rows])
    dtable, _ = taken.backward(xp, saved, xp.ones((2, 3), dtype=xp.float64))[0]
    np.testing.assert_array_equal(xp.to_numpy(dtable)[:, 0], [1, 0, 1, 0, 0])


def test_rows_may_be_a_list_of_arrays_where_one_input_is_known():
    layer = Dense(2, dtype="float64")
    layer.build((None, 3))
    for rows in (A.tolist(), [list(row) for row in A], list(A), tuple(A)):
        np.testing.assert_allclose(layer(rows), A @ layer.kernel + layer.bias, rtol=1e-12)


def test_numbers_may_stand_beside_arrays(xp):
    layer = Gate(dtype="float64")
    np.testing.assert_allclose(xp.to_numpy(layer([A.tolist(), xp.asarray(B)])), A * sigmoid(B), rtol=1e-12)


def test_a_wrong_number_or_shape_of_inputs_is_refused(xp):
    layer = Gate()
    layer([xp.asarray(A), xp.asarray(B)])
    message = re.escape(
        "gate: x must have the shape for which the layer was built, [(None, 3), (None, 3)]. "
        "Received: shape [(5, 3), (5, 3), (5, 3)], with which Gate fails: "
    )
    with pytest.raises(ShapeError, match=f"^{message}"):
        layer([xp.asarray(A)] * 3)
    with pytest.raises(ShapeError, match=r"Received: shape \[\(5, 3\), \(5, 2\)\], with which Gate fails"):
        layer([xp.asarray(A), xp.asarray(B[:, :2])])
    message = "gate: a layer is built once. Received: build((None, 3)), after build([(None, 3), (None, 3)])"
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        layer.build((None, 3))


def test_a_dx_that_is_not_nested_as_x_is_refused(xp):
    class OneOnly(GateByHand):
        def backward(self, xp, saved, dy):
            dx, gradients = super().backward(xp, saved, dy)
            return dx[0], gradients

    class Around(Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = OneOnly()

        def call(self, xp, x):
            return self.inner((x, x))

    layer = Around(dtype="float64")
    layer(xp.asarray(A))
    _, saved = layer.forward(xp, xp.asarray(A))
    message = "one_only: OneOnly.backward must return a dx of the shape of x, [(5, 3), (5, 3)]. Received: shape (5, 3)"
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        layer.backward(xp, saved, xp.asarray(DY))


def test_an_output_must_be_of_arrays(xp):
    class Names(Layer):
        def call(self, xp, x):
            return x, "mean"

    message = "names: the output must be an array, or a tuple, list or dictionary of arrays. Received: 'mean'"
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        Names().compute_output_shape((None, 3))


def test_inputs_of_two_backends_are_refused():
    pytest.importorskip("array_api_strict")
    x = [layerkit.backend(name).asarray(A) for name in ("numpy", "strict")]
    with pytest.raises(MixedBackendsError, match=r"^One computation takes arrays of one backend\. Received: "):
        Gate()(x)


# Within a model.


def model_of(*layers, backend="numpy"):
    model = Sequential([Input((6,)), *layers], seed=0, backend=backend, dtype="float64")
    model.compile(SGD(learning_rate=0.1), "mse")
    return model


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("halves", HALVES)
def test_two_layers_of_a_sequential_may_pass_several_arrays_on(xp, halves, gate):
    """The same as one layer that holds both: the same gradients, so the same training."""
    x, y = np.hstack([A, B]), DY[:, :1]
    trained = [
        model_of(Dense(6), *middle, Dense(1), backend=xp)
        for middle in ((halves(), gate()), (Within(Halves(), Gate()),))
    ]
    for model in trained:
        model.fit(x, y, epochs=3, batch_size=2, verbose=0)
    for found, expected in zip(*(model.get_weights() for model in trained), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_a_sequential_may_begin_with_a_layer_of_several_inputs(xp):
    model = Sequential([Gate(), Dense(2)], seed=0, backend=xp)
    assert tuple(model([xp.asarray(A), xp.asarray(B)]).shape) == (5, 2)
    assert model.input_shape == [(None, 3), (None, 3)]
    assert tuple(Sequential([Dense(2)])(list(A)).shape) == (5, 2)  # rows


def test_a_dx_of_another_shape_is_refused_between_layers():
    class Crossed(GateByHand):
        def backward(self, xp, saved, dy):
            (da, db), gradients = super().backward(xp, saved, dy)
            return (da, db[:, :1]), gradients

    message = (
        "crossed: Crossed.backward must return a dx of the shape of x, [(5, 3), (5, 3)]. "
        "Received: shape [(5, 3), (5, 1)]"
    )
    with pytest.raises(ShapeError, match=f"^{re.escape(message)}$"):
        model_of(Halves(), Crossed(), Dense(1)).train_on_batch(np.hstack([A, B]), DY[:, :1])


def test_an_error_in_a_layer_tells_the_shapes_of_all_inputs():
    class Broken(GateByHand):
        def backward(self, xp, saved, dy):
            return super().backward(xp, saved, xp.reshape(dy, (5,)))

    class Mismatched(HalvesByHand):
        def backward(self, xp, saved, dy):
            return dy[0] + xp.reshape(dy[1], (-1,)), {}

    x = np.hstack([A, B])
    for layers, note in (
        ((Halves(), Broken()), "This happened in the backward pass of broken (Broken), for dy of shape (5, 3)"),
        (
            (Mismatched(), Gate()),
            "This happened in the backward pass of mismatched (Mismatched), for dy of shapes [(5, 3), (5, 3)]",
        ),
    ):
        with pytest.raises(ValueError, match=r"broadcast|reshape") as caught:
            model_of(*layers, Dense(1)).train_on_batch(x, DY[:, :1])
        assert caught.value.__notes__ == [f"{note} and dtype float64."]


def test_a_number_that_is_not_finite_is_found_among_several():
    class Overflows(Halves):
        def call(self, xp, x):
            left, right = super().call(xp, x)
            return left, xp.where(right < 0.0, xp.nan, right)

    model = model_of(Overflows(), Gate(), Dense(1))
    with pytest.warns(NonFiniteWarning, match=r" in batch 1 of epoch 1; the output of overflows \(Overflows\)"):
        model.fit(np.hstack([A, np.where(A > 0.0, 0.0, -1.0)]), DY[:, :1], epochs=1, batch_size=5, verbose=0)


def test_check_gradients_names_a_layer_of_several_inputs():
    class Nearly(GateByHand):
        def backward(self, xp, saved, dy):
            (da, db), gradients = super().backward(xp, saved, dy)
            return (da, 1.001 * db), gradients

    model = model_of(Dense(6), HalvesByHand(), Nearly(), Dense(1))
    with pytest.raises(GradientMismatch, match=r"The mistake is in nearly \(Nearly\.backward: gradient of input 2\)\."):
        model.check_gradients(np.hstack([A, B]), DY[:, :1])
    right = model_of(Dense(6), HalvesByHand(), GateByHand(), Dense(1)).check_gradients(np.hstack([A, B]), DY[:, :1])
    assert all(found.equal for found in right.comparisons)
