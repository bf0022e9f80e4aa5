"""Compute optimizers.json and schedules.json with Keras 3 on JAX, cross-checked with PyTorch.

Run ``python tests/tables/make_optimizer_tables.py`` where ``pip install keras jax torch`` has been done; names of
tables after it choose some. As in make_tables.py, whose tools are used: nothing here imports the framework under test.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import math
import sys

import jax
import keras
import numpy as np
import torch
from make_tables import assert_close, defaults_of, grid, in_both_dtypes, plain, write

OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.01}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    ("SGD", {"learning_rate": 0.1, "clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "clipvalue": 0.1}),
    ("SGD", {"learning_rate": 0.1, "global_clipnorm": 0.5}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "clipnorm": 0.5, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"amsgrad": True}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5}),
    ("Adam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "amsgrad": True}),
    ("Adam", {"weight_decay": 0.01}),
    ("Adam", {"clipnorm": 0.5}),
    ("Adam", {"clipvalue": 0.1}),
    ("Adam", {"global_clipnorm": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"learning_rate": 0.01, "rho": 0.8}),
    ("RMSprop", {"momentum": 0.9}),
    ("RMSprop", {"centered": True}),
    ("RMSprop", {"learning_rate": 0.01, "rho": 0.8, "momentum": 0.5, "epsilon": 1e-5, "centered": True}),
    ("RMSprop", {"weight_decay": 0.01}),
    ("RMSprop", {"clipnorm": 0.5}),
    ("AdamW", {}),
    ("AdamW", {"learning_rate": 0.01, "weight_decay": 0.1, "beta_1": 0.8, "beta_2": 0.9, "amsgrad": True}),
    ("AdamW", {"weight_decay": 0.1, "clipnorm": 0.5}),
    ("Adagrad", {}),
    ("Adagrad", {"learning_rate": 0.1, "initial_accumulator_value": 0.0, "epsilon": 1e-5}),
    ("Adagrad", {"learning_rate": 0.1, "weight_decay": 0.01, "clipvalue": 0.1}),
    ("Adadelta", {}),
    ("Adadelta", {"learning_rate": 1.0, "rho": 0.8, "epsilon": 1e-5}),
    ("Adadelta", {"learning_rate": 1.0, "weight_decay": 0.01, "global_clipnorm": 0.5}),
    ("Adamax", {}),
    ("Adamax", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5}),
    ("Adamax", {"weight_decay": 0.01, "clipnorm": 0.5}),
    ("Nadam", {}),
    ("Nadam", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5}),
    ("Nadam", {"weight_decay": 0.01, "clipnorm": 0.5}),
    ("Ftrl", {}),
    ("Ftrl", {"learning_rate": 0.1, "learning_rate_power": -0.25, "initial_accumulator_value": 0.5}),
    ("Ftrl", {"learning_rate": 0.1, "l1_regularization_strength": 0.25, "l2_regularization_strength": 0.125}),
    ("Ftrl", {"learning_rate": 0.1, "l2_shrinkage_regularization_strength": 0.125, "beta": 0.5, "weight_decay": 0.01}),
    ("Ftrl", {"learning_rate": 0.1, "learning_rate_power": 0.0, "l1_regularization_strength": 0.25}),
    ("Lion", {}),
    ("Lion", {"learning_rate": 0.01, "beta_1": 0.5, "beta_2": 0.75}),
    ("Lion", {"weight_decay": 0.01, "clipnorm": 0.5}),
    # What every optimizer takes.
    *[
        (name, {"learning_rate": 0.1, **kwargs})
        for name in ("SGD", "Adam")
        for kwargs in (
            {"use_ema": True, "ema_momentum": 0.75},
            {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 2},
            {"gradient_accumulation_steps": 2},
            {"gradient_accumulation_steps": 3, "clipnorm": 0.5, "weight_decay": 0.01},
            {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": 2},
        )
    ],
    ("Nadam", {"learning_rate": 0.1, "gradient_accumulation_steps": 2}),
]
# Rules that look at each variable as a whole.
WHOLE = [
    ("Lamb", {}),
    ("Lamb", {"learning_rate": 0.01, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5}),
    ("Lamb", {"learning_rate": 0.01, "weight_decay": 0.1, "clipnorm": 0.5}),
    ("Lamb", {"learning_rate": 0.01, "gradient_accumulation_steps": 2}),
    ("Adafactor", {}),
    ("Adafactor", {"learning_rate": 0.5, "beta_2_decay": -0.5, "epsilon_1": 1e-5, "epsilon_2": 0.25}),
    ("Adafactor", {"learning_rate": 0.1, "clip_threshold": 0.25, "relative_step": False}),
    ("Adafactor", {"learning_rate": 0.1, "weight_decay": 0.1, "use_ema": True, "ema_momentum": 0.75}),
    ("Muon", {}),
    ("Muon", {"learning_rate": 0.1, "adam_beta_1": 0.8, "adam_beta_2": 0.9, "epsilon": 1e-5, "adam_lr_ratio": 0.5}),
    ("Muon", {"learning_rate": 0.1, "weight_decay": 0.1, "adam_weight_decay": None, "nesterov": False}),
    ("Muon", {"learning_rate": 0.1, "momentum": 0.5, "ns_steps": 2, "rms_rate": None, "weight_decay": None}),
    ("Muon", {"learning_rate": 0.1, "muon_a": 2.0, "muon_b": -1.5, "muon_c": 0.5, "exclude_layers": ["v0"]}),
    ("ScheduleFreeAdamW", {}),
    ("ScheduleFreeAdamW", {"learning_rate": 0.1, "beta_1": 0.8, "beta_2": 0.9, "epsilon": 1e-5, "warmup_steps": 4}),
    ("ScheduleFreeAdamW", {"learning_rate": 0.1, "weight_decay": 0.1, "global_clipnorm": 0.5}),
]
# Names of variables that weight decay leaves alone.
EXCLUDED = [
    ("SGD", {"learning_rate": 0.1, "weight_decay": 0.5}, ["v1"]),
    ("AdamW", {"learning_rate": 0.1, "weight_decay": 0.5}, ["0", "none"]),
]
# The learning rate is a schedule.
SCHEDULED = [
    ("SGD", ["ExponentialDecay", {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 0.5}], {}),
    ("Adam", ["PiecewiseConstantDecay", {"boundaries": [1, 3], "values": [0.5, 0.25, 0.125]}], {"weight_decay": 0.1}),
    (
        "SGD",
        ["InverseTimeDecay", {"initial_learning_rate": 0.5, "decay_steps": 2, "decay_rate": 0.5}],
        {"gradient_accumulation_steps": 2},
    ),
]
CHANGED_LEARNING_RATE = [
    ("SGD", {"learning_rate": 0.1}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True}),
    ("Adam", {"learning_rate": 0.01}),
    ("RMSprop", {"learning_rate": 0.01, "momentum": 0.9}),
    ("Nadam", {"learning_rate": 0.01}),
    ("Ftrl", {"learning_rate": 0.1}),
]

SCHEDULES = [
    ("ExponentialDecay", {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.5}),
    ("ExponentialDecay", {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.75, "staircase": True}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.5}),
    ("InverseTimeDecay", {"initial_learning_rate": 0.5, "decay_steps": 4, "decay_rate": 0.75, "staircase": True}),
    ("PiecewiseConstantDecay", {"boundaries": [3], "values": [0.5, 0.25]}),
    ("PiecewiseConstantDecay", {"boundaries": [0, 3, 10], "values": [1.0, 0.5, 0.25, 0.125]}),
    ("PolynomialDecay", {"initial_learning_rate": 0.5, "decay_steps": 7}),
    ("PolynomialDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "end_learning_rate": 0.25, "power": 0.5}),
    ("PolynomialDecay", {"initial_learning_rate": 0.5, "decay_steps": 7, "power": 2.0, "cycle": True}),
    ("CosineDecay", {"initial_learning_rate": 0.5, "decay_steps": 10}),
    ("CosineDecay", {"initial_learning_rate": 0.5, "decay_steps": 10, "alpha": 0.25}),
    (
        "CosineDecay",
        {"initial_learning_rate": 0.0, "decay_steps": 10, "alpha": 0.25, "warmup_target": 0.5, "warmup_steps": 4},
    ),
    ("CosineDecay", {"initial_learning_rate": 0.125, "decay_steps": 10, "warmup_target": 0.5, "warmup_steps": 7}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.5, "first_decay_steps": 3}),
    ("CosineDecayRestarts", {"initial_learning_rate": 0.5, "first_decay_steps": 5, "t_mul": 1.0, "m_mul": 0.75}),
    (
        "CosineDecayRestarts",
        {"initial_learning_rate": 0.5, "first_decay_steps": 3, "t_mul": 1.5, "m_mul": 0.75, "alpha": 0.125},
    ),
]


def check_with_torch(case):
    """PyTorch must go the same way, where it has the same rule: SGD, Adam and AdamW without clipping.

    PyTorch's Adam adds epsilon after the bias correction, Keras's before; passing it epsilon/sqrt(1 - beta_2^t) makes
    the two the same.
    """
    options = dict(case["kwargs"])
    if case["class"] == "SGD" and case["change"] is None and "weight_decay" not in options:
        names = {"learning_rate": "lr", "momentum": "momentum", "nesterov": "nesterov"}
        settings, rule = {"lr": 0.01}, torch.optim.SGD
    elif case["class"] == "Adam":
        names = {"learning_rate": "lr", "amsgrad": "amsgrad", "weight_decay": "weight_decay"}
        settings, rule = {"lr": 0.001, "weight_decay": 0.0}, torch.optim.AdamW
        settings["betas"] = (options.pop("beta_1", 0.9), options.pop("beta_2", 0.999))
        epsilon = options.pop("epsilon", 1e-7)
    else:
        return
    if not set(options) <= set(names):
        return
    settings.update({names[key]: value for key, value in options.items()})
    variables = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in case["initial"]]
    optimizer = rule(variables, **settings)
    (group,) = optimizer.param_groups
    for number, (gradients, expected) in enumerate(zip(case["gradients"], case["steps"], strict=True), start=1):
        for variable, gradient in zip(variables, gradients, strict=True):
            variable.grad = torch.tensor(gradient, dtype=torch.float64)
        if case["class"] == "Adam":
            group["eps"] = epsilon / math.sqrt(1 - group["betas"][1] ** number)
        optimizer.step()
        for variable, value in zip(variables, expected, strict=True):
            assert_close(value, variable.detach(), f"{case['class']} {case['kwargs']}")
        if case["change"] and number == case["change"]["after_step"]:
            group["lr"] = case["change"]["learning_rate"]


def optimizer_case(name, kwargs, initial, gradients, change=None, schedule=None, excluded=None):
    """The variables after each step of one optimizer."""

    def compute(dtype):
        variables = [keras.Variable(value, dtype=dtype, name=f"v{i}") for i, value in enumerate(initial)]
        rate = {} if schedule is None else {"learning_rate": schedule_of(*schedule)}
        optimizer = getattr(keras.optimizers, name)(**kwargs, **rate)
        if excluded is not None:
            optimizer.exclude_from_weight_decay(var_names=excluded)
        steps = []
        for number, arrays in enumerate(gradients, start=1):
            optimizer.apply([jax.numpy.asarray(g, dtype) for g in arrays], variables)
            steps.append([plain(v.numpy()) for v in variables])
            if change and number == change["after_step"]:
                optimizer.learning_rate = change["learning_rate"]
        result = {"steps": steps}
        if kwargs.get("use_ema"):
            optimizer.finalize_variable_values(variables)
            result["final"] = [plain(v.numpy()) for v in variables]
        return result

    case = {
        "class": name,
        "kwargs": kwargs,
        "change": change,
        "schedule": schedule,
        "excluded": excluded,
        "initial": [plain(v) for v in initial],
        "gradients": [[plain(g) for g in arrays] for arrays in gradients],
        **in_both_dtypes(compute),
    }
    if schedule is None and excluded is None:
        check_with_torch(case)
    return case


def schedule_of(name, kwargs):
    return getattr(keras.optimizers.schedules, name)(**kwargs)


def problem(rng, shapes):
    """Initial values, and the gradients of six steps."""
    initial = [grid(rng, shape) for shape in shapes]
    gradients = [[grid(rng, shape) for shape in shapes] for _ in range(6)]
    gradients[2][1][:] = 0.0  # a step without gradient for one variable
    gradients[4] = [g / 256 for g in gradients[4]]  # too small to be clipped
    return initial, gradients


def make_optimizers():
    """optimizers.json"""
    given = problem(np.random.default_rng(3), [(3, 2), (2,)])
    change = {"after_step": 3, "learning_rate": 0.025}
    cases = [optimizer_case(name, kwargs, *given) for name, kwargs in OPTIMIZERS]
    whole = problem(np.random.default_rng(4), [(3, 2), (2,), (2, 4), (2, 2, 3), ()])
    cases += [optimizer_case(name, kwargs, *whole) for name, kwargs in WHOLE]
    cases += [optimizer_case(name, kwargs, *given, change=change) for name, kwargs in CHANGED_LEARNING_RATE]
    cases += [optimizer_case(name, kwargs, *given, schedule=schedule) for name, schedule, kwargs in SCHEDULED]
    cases += [optimizer_case(name, kwargs, *given, excluded=excluded) for name, kwargs, excluded in EXCLUDED]
    names = dict.fromkeys(name for name, _ in (*OPTIMIZERS, *WHOLE))
    write(
        "optimizers.json",
        cases,
        class_defaults={name: defaults_of(getattr(keras.optimizers, name)) for name in names},
    )


def make_schedules():
    """schedules.json"""
    steps = [0, 1, 2, 3, 4, 5, 7, 8, 10, 11, 14, 16, 20, 25, 100]

    def compute(dtype, name, kwargs):
        schedule = schedule_of(name, kwargs)
        return {"rates": [plain(schedule(step)) for step in steps]}

    cases = [
        {
            "class": name,
            "kwargs": kwargs,
            "steps": steps,
            **in_both_dtypes(lambda d, n=name, k=kwargs: compute(d, n, k)),
        }
        for name, kwargs in SCHEDULES
    ]
    names = dict.fromkeys(name for name, _ in SCHEDULES)
    write(
        "schedules.json",
        cases,
        class_defaults={name: defaults_of(getattr(keras.optimizers.schedules, name)) for name in names},
    )


if __name__ == "__main__":
    makers = {"optimizers": make_optimizers, "schedules": make_schedules}
    for name in sys.argv[1:] or makers:
        makers[name]()
