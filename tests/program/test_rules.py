"""Each rule is the derivative of its word: against central differences, along a random direction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import layerkit
from layerkit.program import Tape
from layerkit.program.rules import CONSTANT, REFUSED, RULES
from layerkit.xp import words
from tests.program.cases import CASES, Case

if TYPE_CHECKING:
    from layerkit.xp import Backend

# The truncation error of a central difference is O(h²), and its rounding error O(ε / h); Richardson's extrapolation
# of two of them leaves O(h⁴).
STEP = 1e-3
TOLERANCE = 1e-7

EVERY_WORD = (
    *words.FUNCTIONS,
    *words.NETWORK_WORDS,
    *(f"linalg.{word}" for word in words.LINALG),
    *(f"fft.{word}" for word in words.FFT),
)


def difference(function: Any, point: list[Any], direction: list[Any]) -> Any:
    def central(step: float) -> Any:
        up, down = (function([x + sign * step * v for x, v in zip(point, direction, strict=True)]) for sign in (1, -1))
        return (up - down) / (2 * step)

    return (4 * central(STEP / 2) - central(STEP)) / 3


def check(xp: Backend, function: Any, point: list[Any], seed: int = 1) -> None:
    """Compare Σ cotangent · dy along a direction, as the rules say and as the function shows."""
    random = np.random.default_rng(seed)

    def value(point: list[Any]) -> Any:
        return xp.to_numpy(function(xp, *map(xp.asarray, point)))

    y = value(point)
    cotangent = random.uniform(0.5, 1.5, y.shape) * random.choice([-1.0, 1.0], y.shape)
    direction = [random.uniform(-1.0, 1.0, x.shape) for x in point]
    _, tape = Tape.record(xp, function, *map(xp.asarray, point))
    gradients = [xp.to_numpy(dx) for dx in tape.gradients(xp.asarray(cotangent))[0]]
    for x, dx in zip(point, gradients, strict=True):
        assert dx.shape == x.shape
        assert dx.dtype == x.dtype
    terms = np.concatenate([(dx * v).ravel() for dx, v in zip(gradients, direction, strict=True)])
    numeric = np.sum(cotangent * difference(value, point, direction))
    scale = max(np.sum(np.abs(terms)), np.sum(np.abs(cotangent * y)), 1e-3)
    assert abs(np.sum(terms) - numeric) <= TOLERANCE * scale


def gradient_of(case: Case) -> Any:
    """Return the gradient of Σ c · f, to all arguments laid side by side: what a second derivative is taken of."""

    def gradient(xp: Backend, *point: Any) -> Any:
        y, tape = Tape.record(xp, case.function, *point)
        weights = xp.reshape(xp.astype(xp.arange(y.size) % 3 + 1, y.dtype), tuple(y.shape))
        return xp.concat([xp.reshape(dx, (-1,)) for dx in tape.gradients(weights)[0]])

    return gradient


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_rule_is_the_derivative_of_its_word(xp, case):
    if xp.name not in case.backends:
        pytest.skip(f"{case.word}({case.note}) is no word of {xp}")
    check(xp, case.function, case.arrays())


@pytest.mark.parametrize("case", [case for case in CASES if case.twice], ids=lambda case: case.name)
def test_a_rule_has_a_derivative_in_turn(case):
    check(layerkit.backend("numpy"), gradient_of(case), case.arrays())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_in_float32_a_rule_gives_the_same_in_float32(case):
    xp = layerkit.backend("numpy")
    found = []
    for dtype in (np.float64, np.float32):
        point = [x.astype(dtype) for x in case.arrays()]
        y, tape = Tape.record(xp, case.function, *point)
        gradients = tape.gradients(np.ones(y.shape, y.dtype))[0]
        assert all(dx.dtype == dtype for dx in gradients)
        found.append(np.concatenate([np.ravel(dx) for dx in gradients]))
    double, single = found
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-4 * max(1.0, np.max(np.abs(double), initial=0.0)))


def test_every_word_is_differentiable_constant_or_refused():
    groups = {"differentiable": set(RULES) - {"getitem"}, "constant": set(CONSTANT), "refused": set(REFUSED)}
    print()
    for name, group in groups.items():
        print(f"{name:>16} {len(group):4}")
    print(f"{'all':>16} {len(EVERY_WORD):4}")
    assert sum(map(len, groups.values())) == len(EVERY_WORD)
    assert set().union(*groups.values()) == set(EVERY_WORD)


def test_every_rule_has_a_case():
    assert {case.word for case in CASES} == set(RULES)


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("tanh", lambda xp, dy, y, x: (dy * (1.0 - y * y) * 1.001,)),
        ("multiply", lambda xp, dy, y, a, b: (dy * a, dy * b)),
        ("linalg.inv", lambda xp, dy, y, x: (-(y @ dy @ y),)),
        ("sort", lambda xp, dy, y, x, **kwargs: (xp.sort(dy, **kwargs),)),
    ],
)
def test_a_wrong_rule_is_caught(monkeypatch, word, wrong):
    monkeypatch.setitem(RULES, word, wrong)
    case = next(case for case in CASES if case.word == word)
    with pytest.raises(AssertionError):
        check(layerkit.backend("numpy"), case.function, case.arrays())
