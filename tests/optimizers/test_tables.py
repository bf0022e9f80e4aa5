"""Optimizers against numbers made with Keras: `tests/tables/optimizers.json`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from layerkit import Variable, optimizers
from layerkit.optimizers import schedules

TABLE = json.loads((Path(__file__).parents[1] / "tables" / "optimizers.json").read_text(encoding="utf-8"))
CASES = TABLE["cases"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def name_of(case):
    options = [f"{key}={value}" for key, value in case["kwargs"].items()]
    schedule, excluded = case["schedule"] or [""], case["excluded"] or []
    return "-".join([case["class"], *options, *(["changed"] if case["change"] else []), schedule[0], *excluded])


def optimizer_of(case):
    kwargs = case["kwargs"]
    if case["schedule"] is not None:
        name, arguments = case["schedule"]
        kwargs = {**kwargs, "learning_rate": getattr(schedules, name)(**arguments)}
    optimizer = getattr(optimizers, case["class"])(**kwargs)
    if case["excluded"] is not None:
        optimizer.exclude_from_weight_decay(var_names=case["excluded"])
    return optimizer


def variables_of(xp, case, dtype):
    return [Variable(values, dtype, f"v{number}", xp=xp) for number, values in enumerate(case["initial"])]


def steps_of(optimizer, case):
    """Yield the gradients of one step after the other; the learning rate changes where the case says so."""
    change = case["change"] or {"after_step": 0}
    for number, gradients in enumerate(case["gradients"], 1):
        yield [np.array(gradient) for gradient in gradients]
        if number == change["after_step"]:
            optimizer.learning_rate = change["learning_rate"]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_steps_are_those_of_keras(xp, case, dtype):
    variables = variables_of(xp, case, dtype)
    optimizer = optimizer_of(case)
    for gradients, expected in zip(steps_of(optimizer, case), case["steps"], strict=True):
        optimizer.apply(gradients, variables)
        for variable, values in zip(variables, expected, strict=True):
            np.testing.assert_allclose(variable.numpy(), values, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])
            assert variable.numpy().dtype == dtype
    assert optimizer.iterations == len(case["steps"]) // case["kwargs"].get("gradient_accumulation_steps", 1)
    if "final" in case:
        optimizer.finalize_variable_values(variables)
        for variable, values in zip(variables, case["final"], strict=True):
            np.testing.assert_allclose(variable.numpy(), values, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("case", [case for case in CASES if "global_clipnorm" not in case["kwargs"]], ids=name_of)
def test_a_variable_of_its_own_moves_as_beside_others(xp, case):
    """One flat vector for all, and one vector for each: the same numbers, where no norm of all gradients matters."""
    together = variables_of(xp, case, "float64")
    optimizer = optimizer_of(case)
    for gradients in steps_of(optimizer, case):
        optimizer.apply(gradients, together)
    for place in range(len(together)):
        alone = variables_of(xp, case, "float64")[place]
        optimizer = optimizer_of(case)
        for gradients in steps_of(optimizer, case):
            optimizer.apply([gradients[place]], [alone])
        np.testing.assert_array_equal(alone.numpy(), together[place].numpy())


@pytest.mark.parametrize("name", TABLE["class_defaults"])
def test_defaults_are_those_of_keras(name):
    expected = TABLE["class_defaults"][name]
    assert getattr(optimizers, name)().get_config() == {
        **expected,
        "name": getattr(optimizers, name)().get_config()["name"],
    }
    parameters = inspect.signature(getattr(optimizers, name)).parameters.values()
    positional = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert positional == list(expected)[: len(positional)]


def test_every_optimizer_has_its_numbers():
    classes = {name for name in optimizers.__all__ if inspect.isclass(getattr(optimizers, name))}
    classes -= {
        "Optimizer",
        "OptimizerMap",
        "MultiOptimizer",
        "LossScaleOptimizer",
        "LBFGS",
        "LevenbergMarquardt",
    }  # they have their own tests
    assert {case["class"] for case in CASES} == classes == set(TABLE["class_defaults"])
