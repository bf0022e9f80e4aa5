"""Levenberg-Marquardt: NIST's certified problems, the matrix by its formula, SciPy's, and what it asks of `fit`."""

from __future__ import annotations

import itertools
import json
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import scipy.optimize

import layerkit
from layerkit import Input, Layer, Sequential, Variable, losses
from layerkit.callbacks import BackupAndRestore, Callback
from layerkit.errors import ArgumentError
from layerkit.layers import BatchNormalization, Dense, Dropout, Embedding, Flatten, Masking
from layerkit.optimizers import LevenbergMarquardt, OptimizerMap
from layerkit.training import least_squares

X = np.random.default_rng(0).uniform(-2, 2, (60, 2))
Y = np.stack([np.sin(X[:, 0]) * X[:, 1], np.cos(X[:, 1])], axis=1)

NIST = json.loads((Path(__file__).parents[1] / "tables" / "nist.json").read_text(encoding="utf-8"))
CURVES = {
    "misra1a": lambda xp, b, x: b[0] * (1.0 - xp.exp(-b[1] * x)),
    "thurber": lambda xp, b, x: (
        (b[0] + x * (b[1] + x * (b[2] + x * b[3]))) / (1.0 + x * (b[4] + x * (b[5] + x * b[6])))
    ),
    "mgh09": lambda xp, b, x: b[0] * (x * x + x * b[1]) / (x * x + x * b[2] + b[3]),
    "eckerle4": lambda xp, b, x: b[0] / b[1] * xp.exp(-0.5 * ((x - b[2]) / b[1]) ** 2),
}
PROBLEMS = [(name, number) for name in NIST if name != "source" for number in (0, 1)]


class Curve(Layer):
    """A formula of NIST's as a layer: its parameters are one weight."""

    def __init__(self, formula, first):
        super().__init__()
        self.formula, self.first = formula, first

    def build(self, input_shape):
        self.b = self.add_weight("b", (len(self.first),), lambda shape, dtype: np.array(self.first, dtype))

    def call(self, xp, x):
        return CURVES[self.formula](xp, self.b, x)

    def compute_output_shape(self, input_shape):
        return input_shape


def fitted(name, first, dtype="float64", backend="numpy", **options):
    problem = NIST[name]
    model = Sequential([Input((1,)), Curve(name, first)], dtype=dtype, backend=backend)
    model.compile(LevenbergMarquardt(**options), "mse", lint=False)
    x, y = (np.array(problem[key])[:, None] for key in "xy")
    history = model.fit(x, y, epochs=300, verbose=0).history["loss"]
    return model, history[-1] * len(x)


def test_the_table_is_that_of_nist():
    """What is certified, the sum of squares, is that of the certified parameters."""
    for name in CURVES:
        x, y = np.array(NIST[name]["x"]), np.array(NIST[name]["y"])
        squares = np.sum((CURVES[name](np, np.array(NIST[name]["certified"]), x) - y) ** 2)
        np.testing.assert_allclose(squares, NIST[name]["squares"], rtol=1e-9)


TIGHT = {"gradient_tolerance": 0, "cost_tolerance": 0, "step_tolerance": 1e-12}


@pytest.mark.parametrize(("name", "number"), PROBLEMS)
def test_certified_parameters_are_found_from_both_starting_points(name, number):
    problem = NIST[name]
    model, squares = fitted(name, problem["starts"][number], **TIGHT)
    np.testing.assert_allclose(model.get_weights()[0], problem["certified"], rtol=1e-6)
    np.testing.assert_allclose(squares, problem["squares"], rtol=1e-9)
    assert model.optimizer.converged == "step"
    assert model.program("train") is not None


@pytest.mark.parametrize("name", CURVES)
def test_by_the_usual_tolerances_they_are_found_too(name):
    model, squares = fitted(name, NIST[name]["starts"][1])
    np.testing.assert_allclose(model.get_weights()[0], NIST[name]["certified"], rtol=1e-4)
    np.testing.assert_allclose(squares, NIST[name]["squares"], rtol=1e-7)
    assert model.optimizer.converged in ("gradient", "step", "cost")


def test_a_curve_is_fitted_on_each_backend(xp):
    model, _ = fitted("misra1a", NIST["misra1a"]["starts"][0], backend=xp, **TIGHT)
    np.testing.assert_allclose(model.get_weights()[0], NIST["misra1a"]["certified"], rtol=1e-6)


def test_in_float32_it_ends_where_numbers_do(xp):
    model, squares = fitted("mgh09", NIST["mgh09"]["starts"][1], dtype="float32", backend=xp)
    np.testing.assert_allclose(squares, NIST["mgh09"]["squares"], rtol=1e-4)
    assert model.optimizer.converged in ("gradient", "step", "cost")


# The matrix, by its formula.


def network(xp="numpy", dtype="float64", optimizer=None, stack=None, loss="mse", **options):
    stack = [Input((2,)), Dense(6, "tanh"), Dense(2)] if stack is None else stack
    model = Sequential(stack, seed=1, dtype=dtype, backend=xp)
    model.compile(optimizer or LevenbergMarquardt(), loss, **options)
    return model


def flat(model):
    return np.concatenate([weight.ravel() for weight in model.get_weights()])


def put(model, numbers):
    shapes = [weight.shape for weight in model.get_weights()]
    ends = np.cumsum([np.prod(shape, dtype=int) for shape in shapes])[:-1]
    model.set_weights([part.reshape(shape) for part, shape in zip(np.split(numbers, ends), shapes, strict=True)])


def derivatives(model, x, residuals):
    """Return the residuals' derivatives by central differences."""
    w, columns = flat(model), []
    for place in range(len(w)):
        step = np.zeros_like(w)
        step[place] = 1e-5
        ahead, back = (put(model, w + sign * step) or residuals(model.predict(x, verbose=0)) for sign in (1, -1))
        columns.append((ahead - back).ravel() / 2e-5)
    put(model, w)
    return np.stack(columns, axis=1)


def matrix_of(model, x, y, sample_weight=None):
    """Return what the optimizer was given at its first step."""
    found = []

    class Looks(LevenbergMarquardt):
        def search(self, evaluate, linearize=None):
            found.append(self.xp.to_numpy(linearize()).copy())

    optimizer = Looks()
    model.compile(optimizer, model.loss)
    model.fit(x, y, sample_weight=sample_weight, verbose=0, epochs=4)
    for again in found[1:]:  # eager, recorded twice, and replayed
        np.testing.assert_allclose(again, found[0], rtol=1e-9, atol=1e-12)
    assert len(found) == 4
    return found[0]


WEIGHTS = np.random.default_rng(3).uniform(0, 2, 60)
REDUCED = {
    "mean": (losses.MeanSquaredError(), None, np.full(60, 1 / 120)),
    "sum": (losses.MeanSquaredError(reduction="sum"), None, np.full(60, 1 / 2)),
    "weighted": (losses.MeanSquaredError(), WEIGHTS, WEIGHTS / 120),
    "by weight": (losses.MeanSquaredError(reduction="mean_with_sample_weight"), WEIGHTS, WEIGHTS / WEIGHTS.sum() / 2),
}


@pytest.mark.parametrize("name", REDUCED)
def test_the_matrix_is_that_of_the_formula(name, xp, monkeypatch):
    loss, weights, shares = REDUCED[name]
    model = network(xp, loss=loss)
    jacobian = derivatives(model, X, lambda y: y)
    expected = 2 * (jacobian.T * np.repeat(shares, 2)) @ jacobian
    np.testing.assert_allclose(matrix_of(model, X, Y, weights), expected, rtol=1e-5, atol=1e-8)
    monkeypatch.setattr(least_squares, "BLOCK", 7 * 2 * len(flat(model)))  # blocks of 7 rows, and one of 4
    np.testing.assert_allclose(matrix_of(model, X, Y, weights), expected, rtol=1e-5, atol=1e-8)


def test_other_losses_layers_and_masks_too():
    positive = np.abs(Y) + 0.5
    model = network(loss="msle", stack=[Input((2,)), Dense(4, "tanh"), Dense(2, "softplus")])
    jacobian = derivatives(model, X, lambda y: np.log1p(y))
    np.testing.assert_allclose(matrix_of(model, X, positive), jacobian.T @ jacobian / 60, rtol=1e-5, atol=1e-8)

    words = np.random.default_rng(1).integers(0, 5, (20, 3))
    model = network(stack=[Input((3,)), Embedding(5, 2), Flatten(), Dense(1)])
    jacobian = derivatives(model, words, lambda y: y)
    np.testing.assert_allclose(matrix_of(model, words, Y[:20, :1]), jacobian.T @ jacobian / 10, rtol=1e-5, atol=1e-8)

    steps = np.random.default_rng(2).uniform(0.5, 1, (6, 4, 2))
    steps[:, 2:] = 0.0
    model = network(stack=[Input((4, 2)), Masking(), Dense(3, "tanh"), Dense(1)])
    jacobian = derivatives(model, steps, lambda y: y[:, :2])
    targets = np.ones((6, 4, 1))
    np.testing.assert_allclose(matrix_of(model, steps, targets), jacobian.T @ jacobian / 6, rtol=1e-5, atol=1e-8)


def test_a_loss_of_ones_own_is_one_of_squares_where_it_says_so():
    class Relative(losses.Loss):
        def call(self, xp, y_true, y_pred):
            return xp.mean(self.residuals(xp, y_true, y_pred) ** 2, axis=-1)

        def residuals(self, xp, y_true, y_pred):
            return (y_pred - y_true) / (1.0 + xp.abs(y_true))

    model = network(loss=Relative())
    jacobian = derivatives(model, X, lambda y: y / (1 + np.abs(Y)))
    np.testing.assert_allclose(matrix_of(model, X, Y), jacobian.T @ jacobian / 60, rtol=1e-5, atol=1e-8)


def test_squared_penalties_belong_to_the_loss():
    """Ridge regression has a solution in closed form: one step reaches it, but for the damping."""
    stack = [Input((2,)), Dense(1, kernel_regularizer=layerkit.regularizers.L2(0.1))]
    model = network(stack=stack, optimizer=LevenbergMarquardt(damping=1e-12))
    model.fit(X, Y[:, :1], epochs=2, verbose=0)
    design = np.column_stack([X, np.ones(60)])
    ridge = np.linalg.solve(design.T @ design / 60 + 0.1 * np.diag([1.0, 1.0, 0.0]), design.T @ Y[:, :1] / 60)
    np.testing.assert_allclose(flat(model), ridge.ravel(), rtol=1e-9)


# Beside SciPy.


LINE = np.linspace(-2, 2, 50)[:, None]
NOISY = np.tanh(2 * LINE + 1) - 0.5 * np.tanh(LINE - 1) + 0.05 * np.random.default_rng(5).normal(size=LINE.shape)


def residuals(w):
    return (np.tanh(LINE @ w[None, :2] + w[2:4]) @ w[4:6, None] + w[6] - NOISY).ravel()


def jacobian(w):
    hidden = np.tanh(LINE @ w[None, :2] + w[2:4])
    slope = (1 - hidden**2) * w[4:6]
    return np.concatenate([slope * LINE, slope, hidden, np.ones_like(LINE)], axis=1)


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_a_network_is_trained_as_far_as_by_minpack(seed):
    """From these first weights both come to the same minimum, one of two."""
    model = Sequential([Input((1,)), Dense(2, "tanh"), Dense(1)], seed=seed, dtype="float64")
    model.compile(LevenbergMarquardt(), "mse")
    options = {"jac": jacobian, "method": "lm", "max_nfev": 3000}
    theirs = scipy.optimize.least_squares(residuals, flat(model), **options)
    model.fit(LINE, NOISY, epochs=1000, verbose=0)
    assert model.optimizer.converged is not None
    loss = model.evaluate(LINE, NOISY, verbose=0)
    assert loss <= 1.001 * 2 * theirs.cost / 50
    # And from there SciPy finds nothing lower.
    again = scipy.optimize.least_squares(residuals, flat(model), **options)
    np.testing.assert_allclose(loss, 2 * again.cost / 50, rtol=1e-6)


def test_losses_never_rise_and_fall_far(xp):
    history = network(xp).fit(X, Y, epochs=25, verbose=0, validation_data=(X, Y)).history
    assert all(b <= a for a, b in itertools.pairwise(history["loss"]))
    assert history["loss"][-1] < 1e-2 * history["loss"][0]
    np.testing.assert_allclose(history["val_loss"][:-1], history["loss"][1:], rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_captured_and_eager_steps_are_the_same(xp, dtype):
    found = []
    for options in ({"jit_compile": True}, {"run_eagerly": True}):
        model = network(xp, dtype, **options)
        model.fit(X, Y, epochs=5, verbose=0)
        found.append(flat(model))
    tolerance = {"rtol": 1e-2, "atol": 1e-2} if dtype == "float32" else {"rtol": 1e-7}
    np.testing.assert_allclose(*found, **tolerance)


def rosenbrock(w):
    return np.stack([10.0 * (w[1] - w[0] ** 2), 1.0 - w[0]])


def powell(w):
    """Powell's singular function, number 13 of Moré, Garbow and Hillstrom, TOMS 7 (1981), as residuals."""
    sqrt = np.sqrt
    return np.stack(
        [w[0] + 10 * w[1], sqrt(5.0) * (w[2] - w[3]), (w[1] - 2 * w[2]) ** 2, sqrt(10.0) * (w[0] - w[3]) ** 2]
    )


@pytest.mark.parametrize(
    ("residuals", "first", "expected"),
    [(rosenbrock, [-1.2, 1.0], [1.0, 1.0]), (powell, [3.0, -1.0, 0.0, 1.0], None)],
    ids=["rosenbrock", "powell"],
)
def test_functions_are_minimized_without_a_model(residuals, first, expected):
    w = Variable(np.array(first), "float64", "w")

    def function():
        return residuals(w.value), [layerkit.jacobian(residuals)(w.value)]

    optimizer = LevenbergMarquardt(step_tolerance=1e-14, cost_tolerance=0)
    loss = optimizer.minimize(function, [w], steps=200)
    assert loss < 1e-20
    if expected is not None:
        assert optimizer.iterations < 50
        np.testing.assert_allclose(w.numpy(), expected, rtol=1e-9)


def test_a_frozen_layer_stays(xp):
    stack = [Input((2,)), Dense(4, "tanh"), Dense(4, "tanh"), Dense(2)]
    model = network(xp, stack=stack)
    model.layers[1].trainable = False
    before = model.layers[1].get_weights()
    history = model.fit(X, Y, epochs=10, verbose=0).history["loss"]
    assert history[-1] < 0.1 * history[0]
    for a, b in zip(before, model.layers[1].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_training_that_is_saved_goes_on_as_it_would_have(tmp_path):
    whole = network()
    whole.fit(X, Y, epochs=8, verbose=0)
    for again in (
        lambda model: pickle.loads(pickle.dumps(model)),
        lambda model: (model.save(tmp_path / "m.layerkit"), layerkit.load_model(tmp_path / "m.layerkit"))[1],
    ):
        parts = network()
        parts.fit(X, Y, epochs=4, verbose=0)
        parts = again(parts)
        assert parts.optimizer.get_config()["damping"] == 1e-3
        parts.fit(X, Y, epochs=4, verbose=0)
        np.testing.assert_allclose(flat(parts), flat(whole), rtol=1e-9)


def test_a_training_that_is_cut_off_goes_on(tmp_path):
    class CutsOff(Callback):
        def __init__(self, epoch):
            self.epoch = epoch

        def on_epoch_end(self, epoch, logs=None):
            if epoch == self.epoch:
                raise KeyboardInterrupt

    whole = network()
    whole.fit(X, Y, epochs=8, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=8, verbose=0, callbacks=[BackupAndRestore(tmp_path), CutsOff(4)])
    parts = layerkit.resume(tmp_path, X, Y, callbacks=[CutsOff(None)])
    np.testing.assert_allclose(flat(parts), flat(whole), rtol=1e-9)


def test_a_perfect_fit_ends_training():
    model = network(stack=[Input((2,)), Dense(1)])
    history = model.fit(X, X @ np.array([[1.0], [2.0]]), epochs=50, verbose=0)
    assert len(history.epoch) < 12
    assert model.optimizer.converged in ("gradient", "cost", "step")
    assert model.stop_training


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"gradient_tolerance": 0.5, "step_tolerance": 0, "cost_tolerance": 0}, "gradient"),
        ({"gradient_tolerance": 0, "step_tolerance": 0.1, "cost_tolerance": 0}, "step"),
        ({"gradient_tolerance": 0, "step_tolerance": 0, "cost_tolerance": 0.2}, "cost"),
    ],
)
def test_each_rule_ends_training(options, rule):
    model = network(optimizer=LevenbergMarquardt(**options))
    history = model.fit(X, Y, epochs=200, verbose=0)
    assert model.optimizer.converged == rule
    assert len(history.epoch) < 60


def test_parameters_without_effect_stay():
    """A column of J that is 0: a unit behind a ReLU that never opens."""
    model = network(stack=[Input((2,)), Dense(3, "relu"), Dense(2)])
    kernel, bias, *rest = model.get_weights()
    bias[1] = -100.0
    model.set_weights([kernel, bias, *rest])
    model.fit(X, Y, epochs=5, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0][:, 1], kernel[:, 1])
    assert np.isfinite(flat(model)).all()


class Centered(Layer):
    """Mixes the rows of a batch."""

    def call(self, xp, x):
        return x - xp.mean(x, axis=0, keepdims=True)


class Penalized(Layer):
    def call(self, xp, x):
        self.add_loss(xp.sum(x * x))
        return x


def dense(**options):
    return [Input((2,)), Dense(2, **options)]


REFUSED = {
    "loss": (
        lambda: network(loss="mae"),
        "compile: levenberg_marquardt needs a loss that is a mean or sum of squares. Received: loss=mean_absolute_error"
        ". Use 'mse', or another optimizer, such as 'lbfgs'.",
    ),
    "penalty": (
        lambda: network(stack=dense(kernel_regularizer="l1")).fit(X, Y, verbose=0),
        "levenberg_marquardt: penalties on weights must be sums of squares. Received: L1() on dense/kernel. "
        "Use L2, or another optimizer, such as LBFGS.",
    ),
    "activity": (
        lambda: network(stack=dense(activity_regularizer="l2")).fit(X, Y, verbose=0),
        "levenberg_marquardt: the loss must be of squares alone. Received: a penalty that a layer adds, by "
        "activity_regularizer or add_loss. Use another optimizer, such as LBFGS.",
    ),
    "add_loss": (
        lambda: network(stack=[*dense(), Penalized()]).fit(X, Y, verbose=0),
        "levenberg_marquardt: the loss must be of squares alone. Received: a penalty that a layer adds, by "
        "activity_regularizer or add_loss. Use another optimizer, such as LBFGS.",
    ),
    "mixed rows": (
        lambda: network(stack=[*dense(), Centered()]).fit(X, Y, verbose=0),
        "levenberg_marquardt: what the model gives for a row must follow from that row alone. Received: a gradient of "
        "the rows, each by itself, that is not that of the batch. Leave out the layer that mixes rows, or use another "
        "optimizer, such as LBFGS.",
    ),
    "dropout": (
        lambda: network(stack=[*dense(), Dropout(0.5)]).fit(X, Y, verbose=0),
        "Where rows are taken each by itself, the output must follow from that row and the weights alone. "
        "Received: random numbers, others in each pass. Leave the layer out, or compile with another optimizer.",
    ),
    "normalization": (
        lambda: network(stack=[*dense(), BatchNormalization()]).fit(X, Y, verbose=0),
        "Where rows are taken each by itself, the output must follow from that row and the weights alone. "
        "Received: xp.assign, which keeps what a batch shows. Leave the layer out, or compile with another "
        "optimizer.",
    ),
    "parameters": (
        lambda: network(optimizer=LevenbergMarquardt(max_parameters=31)).fit(X, Y, verbose=0),
        "levenberg_marquardt: a step solves equations in all parameters, of which there may be 31. Received: 32 "
        "parameters. Use LBFGS, or give max_parameters=32, which takes 4.1e-05 GB.",
    ),
    "batches": (
        lambda: network().fit(X, Y, batch_size=30, verbose=0),
        "fit: levenberg_marquardt needs all rows in each step. Received: 2 batches an epoch. Leave out batch_size, or "
        "give an iterable of one batch.",
    ),
    "learning rate": (
        lambda: setattr(LevenbergMarquardt(), "learning_rate", 0.1),
        "levenberg_marquardt: the length of a step follows from its damping, and there is no learning rate. Received: "
        "learning_rate=0.1",
    ),
    "apply": (
        lambda: LevenbergMarquardt().apply([np.ones(2)]),
        "levenberg_marquardt: a step needs the derivative of each residual. Received: apply, with a gradient. Use "
        "minimize(function, variables).",
    ),
    "map": (
        lambda: OptimizerMap(LevenbergMarquardt()),
        "OptimizerMap: levenberg_marquardt needs all parameters of a model. Received: it, for default_optimizer",
    ),
    "damping": (
        lambda: LevenbergMarquardt(damping=0),
        "levenberg_marquardt: damping must be above 0. Received: damping=0",
    ),
    "tolerance": (
        lambda: LevenbergMarquardt(step_tolerance=-1),
        "levenberg_marquardt: step_tolerance must be at least 0. Received: step_tolerance=-1",
    ),
    "evaluations": (
        lambda: LevenbergMarquardt(max_evaluations=0),
        "levenberg_marquardt: max_evaluations must be an integer of at least 1. Received: max_evaluations=0",
    ),
}


@pytest.mark.parametrize("name", ["parameters", "penalty"])
def test_what_is_refused_before_training_changes_nothing(name):
    options = {"optimizer": LevenbergMarquardt(max_parameters=5)} if name == "parameters" else {}
    model = network(stack=dense(kernel_regularizer="l1" if name == "penalty" else None), **options)
    before = flat(model)
    with pytest.raises(ArgumentError):
        model.fit(X, Y, verbose=0)
    assert not model.optimizer.built
    assert model.optimizer.iterations == 0
    np.testing.assert_array_equal(flat(model), before)


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name):
    function, sentence = REFUSED[name]
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}"):
        function()


def test_a_loss_of_ones_own_that_is_none_of_squares_is_told():
    with pytest.raises(ArgumentError, match=re.escape("must define residuals(xp, y_true, y_pred). Received: none")):
        losses.MeanAbsoluteError().residuals(layerkit.backend("numpy"), Y, Y)
