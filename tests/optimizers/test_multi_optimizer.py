"""Several optimizers for one model: each parameter moves as it would under its own optimizer alone."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import layerkit
from layerkit import Sequential, Variable
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, Adam, MultiOptimizer, OptimizerMap, RMSprop

X = np.random.default_rng(0).normal(size=(12, 3))
Y = X[:, :2] ** 2
SHAPES = {"a/kernel": (3, 2), "a/bias": (2,), "b/kernel": (2, 4), "b/bias": (4,)}


def variables_on(xp="numpy"):
    rng = np.random.default_rng(0)
    xp = layerkit.backend(xp)
    made = [
        Variable(rng.normal(size=shape), "float64", path.partition("/")[2], trainable=False, xp=xp)
        for path, shape in SHAPES.items()
    ]
    for variable, path in zip(made, SHAPES, strict=True):
        variable.path = path
    return made


def gradients(step):
    rng = np.random.default_rng(1 + step)
    return [rng.normal(size=shape) for shape in SHAPES.values()]


def table():
    return OptimizerMap(SGD(0.1), {"a/kernel": Adam(0.05, use_ema=True), ".*/bias": RMSprop(0.02, momentum=0.5)})


def test_each_parameter_moves_as_under_its_own_optimizer(xp):
    variables, apart = variables_on(xp), variables_on(xp)
    several, alone = MultiOptimizer(table()), [Adam(0.05), RMSprop(0.02, momentum=0.5), SGD(0.1)]
    shares = [[0], [1, 3], [2]]
    for step in range(3):
        several.apply(gradients(step), variables)
        for optimizer, share in zip(alone, shares, strict=True):
            optimizer.apply([gradients(step)[place] for place in share], [apart[place] for place in share])
    for a, b in zip(variables, apart, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy(), err_msg=a.path)
    assert several.iterations == 3
    assert [optimizer.iterations for optimizer in several.optimizers] == [3, 3, 3]
    assert [type(optimizer) for optimizer in several.optimizers] == [Adam, RMSprop, SGD]


def model_of(optimizer, **how):
    model = Sequential([Dense(4, "tanh", name="a"), Dense(2, name="b")], seed=0, dtype="float64")
    model.compile(optimizer, "mse", **how)
    model.fit(X, Y, batch_size=3, epochs=3, verbose=0)
    return model


def state_of(model):
    return [variable.numpy() for variable in (*model.variables, *model.optimizer.variables)]


def test_a_replayed_step_has_the_same_bits():
    replayed, eager = (
        model_of(MultiOptimizer(table()), jit_compile=True),
        model_of(MultiOptimizer(table()), run_eagerly=True),
    )
    for a, b in zip(state_of(replayed), state_of(eager), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_rate_that_is_set_on_one_takes_effect_in_a_replayed_step():
    model = model_of(MultiOptimizer(table()), jit_compile=True)
    for optimizer in model.optimizer.optimizers:
        optimizer.learning_rate = 0.0
    model.optimizer.optimizers[1].momentum = 0.0
    before = [weight.numpy() for weight in (model.layers[1].weights)]
    model.fit(X, Y, batch_size=3, epochs=1, verbose=0)
    for old, weight in zip(before, model.layers[1].weights, strict=True):
        np.testing.assert_array_equal(weight.numpy(), old)


def test_a_saved_model_goes_on_as_if_it_had_not_been_saved(tmp_path):
    model = model_of(MultiOptimizer(table()))
    model.save(tmp_path / "model.layerkit")
    loaded = layerkit.models.load_model(tmp_path / "model.layerkit")
    for each in (model, loaded):
        each.fit(X, Y, batch_size=3, epochs=1, verbose=0)
    for a, b in zip(state_of(model), state_of(loaded), strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(loaded.optimizer.optimizer_map) == ["a/kernel", ".*/bias"]


def test_a_copy_goes_on_by_itself():
    variables, optimizer = variables_on(), MultiOptimizer(table())
    optimizer.apply(gradients(0), variables)
    twins, twin = copy.deepcopy((variables, optimizer))
    optimizer.apply(gradients(1), variables)
    twin.apply(gradients(1), twins)
    for a, b in zip(variables, twins, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_an_optimizer_that_moves_takes_all_along():
    variables, optimizer = variables_on(), MultiOptimizer(table())
    optimizer.apply(gradients(0), variables)
    xp = layerkit.backend("strict")
    for variable in variables:
        variable.move(xp)
    optimizer.apply(gradients(1), variables)
    assert {variable.xp for variable in optimizer.variables} == {xp}


def test_a_table_is_a_mapping_from_paths():
    optimizers = table()
    assert (len(optimizers), list(optimizers)) == (2, ["a/kernel", ".*/bias"])
    assert type(optimizers["b/bias"]) is RMSprop
    assert type(optimizers["b/kernel"]) is SGD
    del optimizers[".*/bias"]
    assert type(optimizers["b/bias"]) is SGD
    optimizers["b/.*"] = Adam()
    assert type(optimizers["b/bias"]) is Adam


def test_a_function_says_which_optimizer_serves_a_parameter():
    one, other = SGD(0.5), SGD(0.25)
    variables = variables_on()
    optimizer = MultiOptimizer(lambda variable: one if variable.name == "kernel" else other)
    before = [variable.numpy() for variable in variables]
    optimizer.apply([np.ones(shape) for shape in SHAPES.values()], variables)
    for variable, old, rate in zip(variables, before, (0.5, 0.25, 0.5, 0.25), strict=True):
        np.testing.assert_array_equal(variable.numpy(), old - rate)


def test_a_configuration_makes_the_same_table_of_fresh_optimizers():
    optimizers = table()
    twin = OptimizerMap.from_config(optimizers.get_config())
    assert list(twin) == list(optimizers)
    for key in optimizers:
        assert twin[key] is not optimizers[key]
        assert twin[key].get_config() == optimizers[key].get_config()


RATE = (
    "MultiOptimizer: a learning rate belongs to one of the optimizers. Received: a look at learning_rate. "
    "Read or set it on the optimizers of the map."
)


def test_there_is_no_one_learning_rate():
    optimizer = MultiOptimizer(table())
    with pytest.raises(AttributeError) as caught:
        _ = optimizer.learning_rate
    assert str(caught.value) == RATE
    with pytest.raises(AttributeError) as caught:
        optimizer.learning_rate = 0.1
    assert str(caught.value) == RATE


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: OptimizerMap("sgd"),
            "OptimizerMap: default_optimizer must have an Optimizer, and no MultiOptimizer. Received: 'sgd'",
        ),
        (
            lambda: OptimizerMap(SGD(), {"a": 3}),
            "OptimizerMap: 'a' must have an Optimizer, and no MultiOptimizer. Received: 3",
        ),
        (
            lambda: table().__setitem__(3, SGD()),
            "OptimizerMap: a key must be text, a path or a pattern. Received: 3",
        ),
        (
            lambda: table().__setitem__("a/kernel", SGD()),
            "OptimizerMap: a key must be given once. Received: 'a/kernel' again",
        ),
        (
            lambda: OptimizerMap(SGD(), {"a/.*": SGD(), ".*/bias": SGD()})["a/bias"],
            "OptimizerMap: a path must be in the reach of one key. Received: 'a/bias', in the reach of 'a/.*' and "
            "'.*/bias'",
        ),
        (
            lambda: MultiOptimizer({"a": SGD()}),
            "MultiOptimizer: optimizer_map must be an OptimizerMap, or a function from a variable to an optimizer. "
            "Received: optimizer_map={'a': SGD()}",
        ),
        (
            lambda: MultiOptimizer(table()).exclude_from_weight_decay(var_names=["bias"]),
            "multi_optimizer: exclude_from_weight_decay belongs to the optimizers of the map. Received: a call of "
            "MultiOptimizer's. Call theirs.",
        ),
    ],
)
def test_bad_input_gets_a_sentence(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == message
