"""Schedules: Keras's numbers (`tests/tables/schedules.json`), and what an optimizer does with one."""

from __future__ import annotations

import inspect
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import layerkit
from layerkit import Sequential, Variable
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.optimizers import SGD, Adam, schedules

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "schedules.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
X = np.random.default_rng(0).normal(size=(12, 3))
Y = X[:, :1] ** 2


class Halved(schedules.LearningRateSchedule):
    """A schedule of a user: half as much after each step."""

    def __init__(self, first):
        self.first = first

    def call(self, xp, step):
        return self.first * xp.pow(0.5, step)


class HalvedAsInKeras(schedules.LearningRateSchedule):
    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first * 0.5**step


def halved(step):
    return 0.5 * 0.5**step


def name_of(case):
    return "-".join([case["class"], *[f"{key}={value}" for key, value in case["kwargs"].items()]])


def made(case):
    return getattr(schedules, case["class"])(**case["kwargs"])


def one_weight(xp="numpy"):
    return Variable(np.ones(2), "float64", "w", xp=layerkit.backend(xp))


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_rates_are_those_of_keras(xp, case):
    steps = xp.asarray(np.array(case["steps"], "float64"))
    found = xp.to_numpy(made(case).call(xp, steps))
    np.testing.assert_allclose(found, case["rates"], rtol=1e-12, atol=1e-15)
    assert found.dtype == np.float64


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_user_asks_for_a_rate_or_for_many(case):
    schedule = made(case)
    assert [schedule(step) for step in case["steps"]] == list(schedule(case["steps"]))
    assert type(schedule(3)) is float


@pytest.mark.parametrize("name", TABLE["class_defaults"])
def test_defaults_are_those_of_keras(name):
    signature = inspect.signature(getattr(schedules, name)).parameters
    found = {key: each.default for key, each in signature.items() if each.default is not each.empty}
    assert found == TABLE["class_defaults"][name]


def test_every_schedule_has_its_numbers():
    classes = {name for name in schedules.__all__ if inspect.isclass(getattr(schedules, name))}
    assert {case["class"] for case in CASES} == classes - {"LearningRateSchedule"} == set(TABLE["class_defaults"])


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_configuration_makes_the_same_schedule(case):
    schedule = made(case)
    twin = type(schedule).from_config(schedule.get_config())
    assert twin.get_config() == schedule.get_config()
    assert twin(5) == pickle.loads(pickle.dumps(schedule))(5) == schedule(5)


@pytest.mark.parametrize("rate", [Halved(0.5), HalvedAsInKeras(0.5), halved, lambda step, base=0.5: base**step / 2])
def test_a_schedule_of_ones_own_or_a_function_sets_the_rate_of_each_step(xp, rate):
    weight, optimizer = one_weight(xp), SGD(rate)
    for expected in (0.5, 0.25, 0.125):
        assert optimizer.learning_rate == expected
        optimizer.apply([np.ones(2)], [weight])
    np.testing.assert_array_equal(weight.numpy(), 1 - 0.875)


def test_a_function_of_nothing_is_asked_at_each_step():
    rates = [0.5, 0.25]
    weight, optimizer = one_weight(), SGD(lambda: rates[0])
    optimizer.apply([np.ones(2)], [weight])
    rates.pop(0)
    assert optimizer.learning_rate == 0.25
    optimizer.apply([np.ones(2)], [weight])
    np.testing.assert_array_equal(weight.numpy(), 0.25)


def test_a_number_replaces_a_schedule_and_a_schedule_a_number():
    weight, optimizer = one_weight(), SGD(Halved(0.5))
    optimizer.apply([np.ones(2)], [weight])
    optimizer.learning_rate = 0.125
    assert optimizer.get_config()["learning_rate"] == optimizer.learning_rate == 0.125
    optimizer.apply([np.ones(2)], [weight])
    np.testing.assert_array_equal(weight.numpy(), 0.375)
    optimizer.learning_rate = Halved(1.0)
    assert optimizer.learning_rate == 0.25  # two steps are taken
    optimizer.apply([np.ones(2)], [weight])
    np.testing.assert_array_equal(weight.numpy(), 0.125)


def trained(optimizer, *, change=None, **how):
    """Return the weights after three epochs; before the third, the learning rate is set."""
    model = Sequential([Dense(4, "tanh"), Dense(1)], seed=0, dtype="float64")
    model.compile(optimizer, "mse", **how)
    model.fit(X, Y, batch_size=3, epochs=2, verbose=0)
    if change is not None:
        model.optimizer.learning_rate = change
    model.fit(X, Y, batch_size=3, epochs=1, verbose=0)
    return [weight.numpy() for weight in model.variables], model


@pytest.mark.parametrize("change", [None, 0.03125, Halved(1.0)], ids=["kept", "number", "schedule"])
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_replayed_step_computes_the_rate_itself(case, change):
    expected, _ = trained(SGD(made(case)), change=change, run_eagerly=True)
    found, model = trained(SGD(made(case)), change=change, jit_compile=True)
    assert model.optimizer.iterations == 12
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("rate", [Halved(0.5), HalvedAsInKeras(0.5), halved], ids=["call", "__call__", "function"])
def test_a_replayed_step_computes_a_rate_of_ones_own(rate):
    expected, _ = trained(Adam(rate), run_eagerly=True)
    found, _ = trained(Adam(rate), jit_compile=True)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_saved_model_goes_on_with_its_schedule(case, tmp_path):
    _, model = trained(SGD(made(case)))
    path = tmp_path / "model.layerkit"
    model.save(path)
    loaded = layerkit.models.load_model(path)
    assert loaded.optimizer.get_config()["learning_rate"].get_config() == made(case).get_config()
    assert loaded.optimizer.learning_rate == model.optimizer.learning_rate == made(case)(12)


def test_a_saved_function_is_found_among_custom_objects(tmp_path):
    _, model = trained(SGD(halved))
    path = tmp_path / "model.layerkit"
    model.save(path)
    loaded = layerkit.models.load_model(path, custom_objects={"halved": halved})
    assert loaded.optimizer.learning_rate == 0.5**13


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: schedules.ExponentialDecay(-1.0, 4, 0.5),
            "ExponentialDecay: initial_learning_rate must be at least 0. Received: initial_learning_rate=-1.0",
        ),
        (
            lambda: schedules.InverseTimeDecay(0.1, 0, 0.5),
            "InverseTimeDecay: decay_steps must be above 0. Received: decay_steps=0",
        ),
        (
            lambda: schedules.ExponentialDecay(0.1, 4, 0.5, "no"),
            "ExponentialDecay: staircase must be True or False. Received: staircase='no'",
        ),
        (
            lambda: schedules.PiecewiseConstantDecay([1, 2], [0.1, 0.2]),
            "PiecewiseConstantDecay: there must be boundaries, and one value more than boundaries. "
            "Received: 2 boundaries and 2 values",
        ),
        (
            lambda: schedules.PiecewiseConstantDecay([2, 1], [0.1, 0.2, 0.3]),
            "PiecewiseConstantDecay: each of boundaries must be above the one before. Received: boundaries=[2, 1]",
        ),
        (
            lambda: schedules.PolynomialDecay(0.1, 5, power="a"),
            "PolynomialDecay: power must be at least 0. Received: power='a'",
        ),
        (
            lambda: schedules.CosineDecay(0.1, 5, alpha=2),
            "CosineDecay: alpha must be from 0 to 1. Received: alpha=2",
        ),
        (
            lambda: schedules.CosineDecay(0.1, 5, warmup_target=-1),
            "CosineDecay: warmup_target must be at least 0. Received: warmup_target=-1",
        ),
        (
            lambda: schedules.CosineDecayRestarts(0.1, 5, t_mul=0.5),
            "CosineDecayRestarts: t_mul must be at least 1. Received: t_mul=0.5",
        ),
        (
            lambda: schedules.CosineDecay(0.1, decaysteps=5),
            "CosineDecay: an argument must be one of the constructor's. Received: decaysteps=5. "
            "Did you mean 'decay_steps'?",
        ),
        (
            lambda: schedules.LearningRateSchedule()(1),
            "LearningRateSchedule: a schedule must define call(self, xp, step). Received: none. "
            "See layerkit.optimizers.schedules.ExponentialDecay for an example.",
        ),
        (
            lambda: SGD(Dense(1)),
            "learning_rate: it must be a LearningRateSchedule, or a function of the number of steps taken or of "
            "nothing. Received: <Dense name=dense, built=False>",
        ),
        (
            lambda: SGD(schedules.CosineDecay),
            "sgd: learning_rate must be a number of at least 0. Received: "
            "learning_rate=<class 'layerkit.optimizers.schedules.CosineDecay'>. Make an object of it: CosineDecay(…).",
        ),
        (
            lambda: schedules.get(3),
            "learning_rate: it must be a LearningRateSchedule, or a function of the number of steps taken or of "
            "nothing. Received: 3",
        ),
    ],
)
def test_bad_input_gets_a_sentence(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert str(caught.value) == message


def test_a_function_of_two_arguments_is_refused():
    with pytest.raises(
        ArgumentError,
        match=r"^learning_rate: a function must take the number of steps taken, or nothing\. Received: <function ",
    ):
        SGD(lambda step, epoch: 0.1)
