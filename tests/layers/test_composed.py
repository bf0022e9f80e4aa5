"""Layers inside layers: they are built with the layer that holds them, and keep a backward of their own."""

from __future__ import annotations

import numpy as np
import pytest

from layerkit import Sequential, hessian_vector_product, load_model
from layerkit.errors import ShapeError
from layerkit.layers import Dense, Input, Layer
from layerkit.optimizers import SGD
from layerkit.testing import check_layer

X = np.random.default_rng(0).standard_normal((5, 3))
Y = np.random.default_rng(1).standard_normal((5, 3))


class Reversed(Layer):
    """``y = x``, but ``dx = -dy``: a backward that is chosen, and no derivative (Ganin and Lempitsky, 2015)."""

    def forward(self, xp, x):
        return x, None

    def backward(self, xp, saved, dy):
        return -dy, {}


class Shift(Layer):
    """``y = x + b``, with a backward by hand."""

    def build(self, input_shape):
        self.b = self.add_weight("b", (input_shape[-1],), "zeros")

    def forward(self, xp, x):
        return xp.add(x, self.b), None

    def backward(self, xp, saved, dy):
        return dy, {"b": xp.sum(dy, axis=0)}


class Forgetful(Shift):
    def backward(self, xp, saved, dy):
        return dy, {}


class Counted(Layer):
    """``y = x`` that counts, in state, the training passes; with a backward by hand."""

    def build(self, input_shape):
        self.passes = self.add_weight("passes", (), "zeros", trainable=False)

    def forward(self, xp, x, *, training=False):
        if training:
            xp.assign_add(self.passes, 1.0)
        return x, None

    def backward(self, xp, saved, dy):
        return dy, {}


class Block(Layer):
    """``y = x * f(x)``, by recording."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, xp, x, *, training=False):
        return x * self.inner(x, training=training)


class Learnt(Layer):
    """A layer whose inner layer meets a constant: ``y = x + f(1)``."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Dense(3)

    def call(self, xp, x):
        return x + self.inner(xp.ones((1, 2), dtype=getattr(xp, self.dtype)))


class Told(Block):
    """``y = x + (how often the inner layer ran, after it ran - before)``, in training 1."""

    def build(self, input_shape):
        self.inner.build(input_shape)  # because `call` asks for its state before it calls it

    def call(self, xp, x, *, training=False):
        before = 1.0 * self.inner.passes
        return self.inner(x, training=training) + (self.inner.passes - before)


class Reshaping(Block):
    """``y = f(x)``, where f is built for rows, and meets stacks of rows too."""

    def call(self, xp, x, *, training=False):
        rows = self.inner(x)
        return 0.5 * (rows + xp.reshape(self.inner(xp.reshape(x, (-1, 1, 3))), rows.shape))


class Scaled(Layer):
    """``y = s f(x)``: a weight of its own, an inner layer, and a shape that no pass is needed for."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Dense(3)

    def build(self, input_shape):
        self.s = self.add_weight("s", (), "ones")

    def call(self, xp, x):
        return self.s * self.inner(x)

    def compute_output_shape(self, input_shape):
        return input_shape


class ScaledTwice(Scaled):
    """``y = t s f(x)``, whose build calls that of its base."""

    def build(self, input_shape):
        super().build(input_shape)
        self.t = self.add_weight("t", (), "ones")

    def call(self, xp, x):
        return self.t * super().call(xp, x)


def model_of(xp, *layers):
    model = Sequential([Input((3,)), *layers], seed=2, backend=xp, dtype="float64")
    model.compile(SGD(learning_rate=1.0), "mse")
    return model


def test_an_inner_layer_is_built_with_the_outer_one(xp):
    block = Block(Sequential([Dense(4), Block(Dense(4)), Shift(), Dense(3)]))
    model = model_of(xp, block)
    assert list(block.named_weights()) == [
        *(f"inner/dense/{name}" for name in ("kernel", "bias")),
        *(f"inner/block/inner/{name}" for name in ("kernel", "bias")),
        "inner/shift/b",
        *(f"inner/dense_1/{name}" for name in ("kernel", "bias")),
    ]
    assert model.count_params() == 12 + 4 + 16 + 4 + 4 + 12 + 3


@pytest.mark.parametrize(("layer", "own"), [(Scaled, 1), (ScaledTwice, 2)])
def test_inner_layers_are_built_once_the_weights_of_the_outer_one_are_there(xp, layer, own):
    assert model_of(xp, layer()).count_params() == own + 9 + 3
    check_layer(layer(), (4, 3), xp=xp)


def test_state_that_an_inner_layer_changed_is_read_anew(xp):
    told = Told(Counted())
    model_of(xp, told)
    y, _ = told.forward(xp, xp.asarray(X), training=True)
    np.testing.assert_allclose(xp.to_numpy(y), X + 1, rtol=1e-12)


def test_an_inner_layer_may_meet_other_shapes(xp):
    layer = Reshaping(Shift())
    model_of(xp, layer)
    y, _ = layer.forward(xp, xp.asarray(X))
    np.testing.assert_allclose(xp.to_numpy(y), X, rtol=1e-12)


def test_a_failed_build_leaves_no_inner_layer_built(xp):
    block = Block(Sequential([Dense(4), Dense(2)]))  # x * f(x) needs 3
    with pytest.raises(Exception, match=r"broadcast|shape"):
        model_of(xp, block)
    assert not any(layer.built for layer in block.walk())


@pytest.mark.parametrize("layer", [Block(Shift()), Block(Block(Dense(3))), Learnt()], ids=["by hand", "nested", "ones"])
def test_composed_layers_keep_their_contract(xp, layer):
    check_layer(layer, (4, 3), xp=xp)


def test_a_backward_of_its_own_holds_inside_too(xp):
    """dx = dy f(x) + reversed(dy x) = 0 for f(x) = x: what comes out tells that backward was used."""
    block = Block(Reversed())
    model_of(xp, block)
    _, saved = block.forward(xp, xp.asarray(X))
    dx, _ = block.backward(xp, saved, xp.asarray(Y))
    np.testing.assert_array_equal(xp.to_numpy(dx), np.zeros((5, 3)))


def test_state_of_an_inner_layer_changes_once_a_pass(xp):
    block = Block(Counted())
    model = model_of(xp, block, Dense(3))
    for _ in range(3):
        model.train_on_batch(X, Y)
    model.evaluate(X, Y, verbose=0)
    assert float(xp.to_numpy(block.inner.passes)) == 3.0


def test_second_derivatives_pass_through_a_backward_of_its_own(xp):
    """f(x) = sum((x (x + b))²) at b = 0 is the sum of x⁴, whose second derivative is 12 x²."""
    block = Block(Shift())
    model_of(xp, block)

    def function(x):
        y = block(x)
        return (y * y).sum()

    product = hessian_vector_product(function)(xp.asarray(X), xp.asarray(Y))
    np.testing.assert_allclose(xp.to_numpy(product), 12 * X**2 * Y, rtol=1e-12)


def test_a_forgotten_gradient_of_an_inner_layer_is_named(xp):
    model = model_of(xp, Block(Forgetful()))
    message = (
        r"^forgetful: Forgetful\.backward must return a gradient for each weight\. Received: none for 'b'\n"
        r"This happened in the backward pass of block \(Block\), for dy of shape \(5, 3\) and dtype \S*float64\.$"
    )
    with pytest.raises(ShapeError, match=message):
        model.train_on_batch(X, Y)


class Silent(Layer):
    """``y = inner(x)``, which says nothing of training."""

    def __init__(self, inner=None, **kwargs):
        super().__init__(**kwargs)
        self.inner = Counted() if inner is None else inner

    def call(self, xp, x):
        return self.inner(x)


class Contrary(Silent):
    """``y = inner(x)``, and the inner layer is told the contrary of what the outer one was."""

    def call(self, xp, x, *, training=False):
        return self.inner(x, training=not training)


@pytest.mark.parametrize(("training", "passes"), [(True, 1), (False, 0), (None, 0)])
@pytest.mark.parametrize(
    "outer",
    [
        lambda: Silent(),
        lambda: Silent(Silent()),
        lambda: Sequential([Silent()]),
        lambda: Silent(Sequential([Silent()])),
        lambda: Contrary(Contrary()),
    ],
)
def test_an_inner_layer_is_told_of_training_what_the_outer_one_was(xp, outer, training, passes):
    outer = outer().to(xp)
    x = xp.asarray(X, "float32")
    outer(x)  # the weights are made
    counted = next(layer for layer in outer.walk() if isinstance(layer, Counted))
    before = float(xp.to_numpy(counted.passes))
    outer(x, training=training)
    assert xp.to_numpy(counted.passes) == before + passes


def test_nothing_of_training_is_left_after_an_error(xp):
    class Failing(Layer):
        def call(self, xp, x):
            raise RuntimeError("no")

    x, silent = xp.asarray(X, "float32"), Silent().to(xp)
    silent(x)
    with pytest.raises(RuntimeError, match="no"):
        Failing()(x, training=True)
    silent(x)
    assert xp.to_numpy(silent.inner.passes) == 0


def test_fit_tells_inner_layers_of_training_eagerly_and_replayed(xp):
    model = model_of(xp, Silent(Silent()), Dense(3))
    x = np.ones((12, 3))
    model.fit(x, x, batch_size=2, epochs=2, verbose=0)
    model.evaluate(x, x, batch_size=2, verbose=0)
    model.predict(x, batch_size=2, verbose=0)
    assert xp.to_numpy(model.layers[0].inner.inner.passes) == 12


class Holding(Layer):
    """Layers in a list that grows, in a dictionary, and in lists of lists."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.blocks = []
        for units in (4, 3):
            self.blocks.append(Dense(units))
        self.last = Dense(3)
        self.named = {"a": Dense(2)}
        self.deep = [[Dense(3)]]

    def call(self, xp, x):
        for layer in (*self.blocks, self.last, self.named["a"], self.deep[0][0]):
            x = layer(x)
        return x


def test_layers_in_lists_and_dictionaries_are_found(xp, tmp_path):
    """In the order in which Keras finds them, and trained."""
    model = model_of(xp, Holding())
    assert [weight.path.rpartition("/")[0] for weight in model.weights[::2]] == [
        f"holding/{name}" for name in ("blocks_0", "blocks_1", "last", "named_a", "deep_0_0")
    ]
    before = model.get_weights()
    x = np.random.default_rng(1).standard_normal((8, 3))
    model.fit(x, x, epochs=1, verbose=0)
    assert not any(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "model.layerkit")
    again = load_model(tmp_path / "model.layerkit", custom_objects={"Holding": Holding}, backend=xp)
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


def test_layers_that_leave_a_list_are_found_no_longer():
    layer = Holding()
    assert len(layer.sublayers) == 5
    layer.blocks.pop()
    layer.deep[0][0] = Dense(7)
    assert [each.units for each in layer.sublayers] == [4, 3, 2, 7]
    layer.blocks = None
    assert [each.units for each in layer.sublayers] == [3, 2, 7]


class Weighted(Layer):
    """``y = (x a) b c``, with weights that stand in a list and in a dictionary."""

    def build(self, input_shape):
        self.factors = [self.add_weight("a", (3, 3), "ones"), self.add_weight("b", (3,), "ones")]
        self.more = {"c": self.add_weight("c", (), "ones")}

    def call(self, xp, x):
        x = xp.matmul(x, self.factors[0])
        return x * self.factors[1] * self.more["c"]


def test_weights_in_lists_and_dictionaries_are_differentiated():
    """On NumPy, whose words take a variable for its array; elsewhere it is refused, and read by `value`."""
    check_layer(Weighted(), (4, 3))
    model = model_of("numpy", Weighted())
    before = model.get_weights()
    model.fit(X, np.zeros((5, 3)), epochs=5, verbose=0)  # recorded, and replayed
    assert not any(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))
