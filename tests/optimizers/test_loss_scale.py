"""Loss scaling has Keras's numbers, acts where gradients overflow, and is part of the state."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Input, Sequential, optimizers
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, Adam, LossScaleOptimizer, MultiOptimizer, OptimizerMap
from layerkit.xp import Variable

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "precision.json").read_text("utf-8"))

X = np.random.default_rng(0).normal(size=(12, 3))
Y = np.random.default_rng(1).normal(size=(12, 2))


@pytest.mark.parametrize("case", TABLE["scaled"], ids=lambda case: f"{case['class']}-{'-'.join(case['settings'])}")
def test_steps_are_those_of_keras(xp, case):
    """Weights, scale, counter and step count after each of ten steps, three of which are left out."""
    shapes = [(2, 3), (3,)]
    variables = [
        Variable(np.reshape(first, shape), "float32", str(number), xp=xp)
        for number, (first, shape) in enumerate(zip(case["first"], shapes, strict=True))
    ]
    inner = getattr(optimizers, case["class"])(**case["settings"])
    optimizer = LossScaleOptimizer(inner, initial_scale=64.0, dynamic_growth_steps=3)
    for step in case["steps"]:
        gradients = [
            np.array([float(value) for value in gradient], "float32").reshape(shape)
            for gradient, shape in zip(step["gradients"], shapes, strict=True)
        ]
        with np.errstate(invalid="ignore", over="ignore"):
            optimizer.apply([xp.asarray(gradient) for gradient in gradients], variables)
        for variable, expected in zip(variables, step["variables"], strict=True):
            np.testing.assert_allclose(variable.numpy(), np.reshape(expected, variable.shape), rtol=1e-5, atol=5e-6)
        assert optimizer.dynamic_scale == step["scale"]
        assert int(optimizer.variables[0].numpy()) == step["counter"]
        assert optimizer.iterations == inner.iterations == step["iterations"]


FOUND = [optimizers.NAMES.find(name) for name in optimizers.__all__ if name in optimizers.NAMES]
CLASSES = [cls for cls in FOUND if not cls.searches]
OPTIONS = [
    {"weight_decay": 0.1, "global_clipnorm": 0.5},
    {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 3},
]


def made(optimizer, dtype="float32", **how):
    model = Sequential([Input((3,)), Dense(4, "tanh"), Dense(2)], seed=0, dtype=dtype)
    model.compile(optimizer, "mse", **how)
    return model


def state(model):
    return [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "accumulated"])
@pytest.mark.parametrize("cls", CLASSES)
def test_a_step_that_is_left_out_changes_nothing_but_the_scale(cls, options):
    """With every optimizer: as many finite steps as without loss scaling give the same bits, whatever lies between."""
    model, plain = made(LossScaleOptimizer(cls(**options))), made(cls(**options))
    model.step.plan()  # so that all state is there before the first step, which is left out
    bad = np.full_like(Y[:4], 3e38)
    for start in (None, 0, 4, None, 8, 0):
        before = state(model)
        with np.errstate(over="ignore", invalid="ignore"):
            rows = slice(start or 0, (start or 0) + 4)
            model.train_on_batch(X[rows], bad if start is None else Y[rows])
        if start is None:
            scale = before.pop(len(model.variables) + 1)
            after = state(model)
            assert after.pop(len(model.variables) + 1) == scale / 2
            before[len(model.variables)] *= 0  # the counter begins anew
            np.testing.assert_equal(after, before)
        else:
            plain.train_on_batch(X[rows], Y[rows])
    for one, other in zip(state(model)[: len(model.variables)], state(plain), strict=False):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


def test_a_replayed_step_is_that_of_an_eager_one():
    replayed, eager = (
        made(LossScaleOptimizer(Adam(0.1), initial_scale=2.0**126, dynamic_growth_steps=3), **how)
        for how in ({"jit_compile": True}, {"run_eagerly": True})
    )
    for model in (replayed, eager):
        model.fit(X, Y * 64, batch_size=3, epochs=6, verbose=0)
    assert replayed.program("train").source
    assert replayed.optimizer.dynamic_scale == eager.optimizer.dynamic_scale <= 2.0**127
    assert 0 < eager.optimizer.iterations < 6 * 4
    np.testing.assert_equal(state(replayed), state(eager))


@pytest.mark.parametrize("how", [{"jit_compile": True}, {"run_eagerly": True}])
@pytest.mark.parametrize("options", [{"clipnorm": 0.01, "weight_decay": 0.1}, {"gradient_accumulation_steps": 2}])
def test_a_factor_of_ones_own_changes_nothing_but_what_would_underflow(options, how):
    """By a power of two, every gradient comes back as it was, penalties' too."""
    scaled, plain = (
        Sequential([Input((3,)), Dense(4, "tanh", kernel_regularizer="l2"), Dense(2)], seed=0) for _ in "12"
    )
    scaled.compile(Adam(0.1, loss_scale_factor=2.0**20, **options), "mse", **how)
    plain.compile(Adam(0.1, **options), "mse", **how)
    for model in (scaled, plain):
        model.fit(X, Y, batch_size=4, epochs=3, verbose=0)
    np.testing.assert_equal(state(scaled), state(plain))
    assert scaled.history.history == plain.history.history


def test_a_factor_of_ones_own_divides_gradients_that_are_applied():
    variable = Variable(np.ones(2), "float32")
    SGD(0.5, loss_scale_factor=4.0).apply([np.array([4.0, -8.0], "float32")], [variable])
    assert variable.numpy().tolist() == [0.5, 2.0]
    small = Sequential([Input((1,)), Dense(1, kernel_initializer="ones")], seed=0, dtype="mixed_float16")
    small.compile(SGD(1.0, loss_scale_factor=2.0**10), "mse")
    assert type(small.optimizer) is SGD
    small.train_on_batch([[1.0]], [[1.0 - 2.0**-10]])
    assert 0 < 1 - float(small.get_weights()[0][0, 0]) < 2.0**-8


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: SGD(loss_scale_factor=0), "sgd: loss_scale_factor must be above 0. Received: loss_scale_factor=0"),
        (
            lambda: LossScaleOptimizer(SGD(loss_scale_factor=2.0)),
            "LossScaleOptimizer: the loss is scaled in one way. Received: inner_optimizer with loss_scale_factor=2.0. "
            "Leave that out.",
        ),
        (
            lambda: OptimizerMap(SGD(loss_scale_factor=2.0)),
            "OptimizerMap: the loss is scaled for all of a model, by a LossScaleOptimizer around its MultiOptimizer. "
            "Received: loss_scale_factor=2.0, for default_optimizer",
        ),
    ],
)
def test_a_factor_is_given_once(make, sentence):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == sentence


def test_the_scale_is_saved_moved_and_copied(tmp_path):
    model = made(LossScaleOptimizer(Adam(0.1), 256.0, 2))
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert model.optimizer.dynamic_scale == 2048.0
    model.save(tmp_path / "model.layerkit")
    from layerkit import load_model

    loaded, copied = load_model(tmp_path / "model.layerkit"), copy.deepcopy(model)
    for each in (model, loaded, copied):
        each.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    for each in (loaded, copied):
        np.testing.assert_equal(state(each), state(model))
    model.to("strict")
    assert model.optimizer.dynamic_scale == 16384.0
    model.fit(X, Y, batch_size=4, verbose=0)


def test_what_is_asked_of_the_inner_optimizer():
    inner = SGD(0.5)
    optimizer = LossScaleOptimizer(inner)
    assert (optimizer.initial_scale, optimizer.dynamic_growth_steps, optimizer.learning_rate) == (2.0**15, 2000, 0.5)
    optimizer.learning_rate = 0.25
    assert inner.learning_rate == 0.25
    assert optimizer.iterations == 0
    twin = LossScaleOptimizer.from_config(optimizer.get_config())
    assert (type(twin.inner_optimizer), twin.learning_rate) == (SGD, 0.25)
    assert twin.inner_optimizer is not inner


def test_several_optimizers_leave_a_step_out_together():
    several = MultiOptimizer(OptimizerMap(SGD(0.1), {"dense/.*": Adam(0.1)}))
    model = made(LossScaleOptimizer(several, initial_scale=2.0**126))
    with np.errstate(over="ignore", invalid="ignore"):
        before = model.get_weights()
        model.train_on_batch(X, Y * 1e10)
    np.testing.assert_equal(model.get_weights(), before)
    assert model.optimizer.dynamic_scale == 2.0**125
    assert several.iterations == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("adam",),
            "LossScaleOptimizer: inner_optimizer must be an Optimizer that does not scale losses itself. "
            "Received: inner_optimizer='adam'",
        ),
        (
            (optimizers.LBFGS(),),
            "LossScaleOptimizer: an optimizer that searches needs float32 at least. Received: inner_optimizer=LBFGS(). "
            "Give the model dtype='float32'.",
        ),
        ((SGD(), 0.0), "LossScaleOptimizer: initial_scale must be above 0. Received: initial_scale=0.0"),
        (
            (SGD(), 2.0, 0),
            "LossScaleOptimizer: dynamic_growth_steps must be an integer of at least 1. "
            "Received: dynamic_growth_steps=0",
        ),
    ],
)
def test_bad_arguments(arguments, sentence):
    with pytest.raises(ArgumentError) as caught:
        LossScaleOptimizer(*arguments)
    assert str(caught.value) == sentence
