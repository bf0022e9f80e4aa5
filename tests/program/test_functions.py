"""`grad` and its kin: orders, arguments, ties, what has no derivative, and rules of one's own."""

from __future__ import annotations

import numpy as np
import pytest

import layerkit
from layerkit import differentiable, grad, hessian_vector_product, jacobian, register_derivative, value_and_grad
from layerkit.errors import ArgumentError, MissingDerivativeError, ShapeError
from layerkit.program.rules import RULES
from layerkit.xp import words

X = np.array([[0.5, -1.5, 2.0], [0.25, 3.0, -0.75]])


def test_grad_of_a_function_in_plain_operators(xp):
    gradient = grad(lambda x: (x * x * x).sum())(xp.asarray(X))
    np.testing.assert_array_equal(xp.to_numpy(gradient), 3 * X * X)


def test_value_and_grad_gives_both(xp):
    value, gradient = value_and_grad(lambda xp, x: xp.sum(xp.exp(x)))(xp.asarray(X))
    np.testing.assert_allclose(xp.to_numpy(value), np.sum(np.exp(X)))
    np.testing.assert_allclose(xp.to_numpy(gradient), np.exp(X))


@pytest.mark.parametrize("order", range(6))
def test_any_order(order):
    # dⁿ/dxⁿ x⁵ = 5! / (5 - n)! x⁵⁻ⁿ
    function, factor = (lambda x: x**5), 1.0
    for n in range(order):
        function, factor = grad(function), factor * (5 - n)
    np.testing.assert_allclose(function(np.array(1.3)), factor * 1.3 ** (5 - order))


def test_derivatives_of_sine_come_round():
    function = np.sin
    for _ in range(4):
        function = grad(lambda x, f=function: f(x))
    np.testing.assert_allclose(function(np.array(0.7)), np.sin(0.7), rtol=1e-14)


def test_derivatives_nest_over_different_variables():
    # d/dx (x · d/dy (x + y)) = 1: no confusion of the two (Siskind and Pearlmutter, 2005).
    inner = lambda x: x * grad(lambda y: x + y)(np.array(1.0))  # noqa: E731
    assert grad(inner)(np.array(1.0)) == 1.0
    assert grad(lambda x: x * grad(lambda y: x * y)(np.array(2.0)))(np.array(3.0)) == 6.0


def test_argnums_kwargs_and_lists():
    def function(a, b, *, scale=1.0):
        return (a * b * scale).sum()

    a, b = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    np.testing.assert_array_equal(grad(function, argnums=1)(a, b, scale=2.0), 2 * a)
    da, db = grad(function, argnums=(0, 1))(a, b)
    np.testing.assert_array_equal(da, b)
    np.testing.assert_array_equal(db, a)
    np.testing.assert_array_equal(grad(lambda x: (x * x).sum())([1.0, 2.0]), [2.0, 4.0])
    assert grad(lambda x: x * x)(3.0) == 6.0
    gradient = grad(lambda x: (x * x).sum())(np.array([1, 2]))
    assert gradient.dtype == np.float32  # integers become the default float type


def test_a_constant_function_has_a_gradient_of_zeros():
    np.testing.assert_array_equal(grad(lambda x: 3.0)(X), np.zeros_like(X))
    np.testing.assert_array_equal(grad(lambda x: (x > 0).sum())(X), np.zeros_like(X))
    np.testing.assert_array_equal(grad(lambda x: np.sum(np.floor(x) * np.sign(x)))(X), np.zeros_like(X))
    np.testing.assert_array_equal(grad(lambda x: x.astype(np.int64).astype(np.float64).sum())(X), np.zeros_like(X))
    np.testing.assert_array_equal(jacobian(lambda x: np.ones(2))(X), np.zeros((2, 2, 3)))


def test_jacobian_of_a_linear_map_is_its_matrix(xp):
    matrix = np.arange(6.0).reshape(2, 3)
    found = jacobian(lambda xp, x: xp.matmul(xp.asarray(matrix), x))(xp.asarray(np.ones(3)))
    np.testing.assert_array_equal(xp.to_numpy(found), matrix)


def test_jacobian_has_the_axes_of_both():
    found = jacobian(lambda a, b: a[:, None] * b, argnum=1)(np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0]))
    np.testing.assert_array_equal(found, np.array([1.0, 2.0])[:, None, None] * np.eye(3))
    assert jacobian(lambda x: x[:0])(X).shape == (0, 3, 2, 3)


def test_hessian_vector_product(xp):
    # f = Σ x³ + x₀ x₁: H = diag(6 x), and 1 off the diagonal.
    x, v = np.array([0.5, -1.0, 2.0]), np.array([1.0, 2.0, -1.0])
    hessian = np.diag(6 * x) + np.array([[0.0, 1, 0], [1, 0, 0], [0, 0, 0]])

    def function(xp, x):
        return xp.sum(x**3) + x[0] * x[1]

    found = hessian_vector_product(function)(xp.asarray(x), xp.asarray(v))
    np.testing.assert_allclose(xp.to_numpy(found), hessian @ v, rtol=1e-13)
    found = jacobian(grad(function))(xp.asarray(x))
    np.testing.assert_allclose(xp.to_numpy(found), hessian, rtol=1e-13)
    assert not np.any(hessian_vector_product(lambda x: x.sum())(x, v))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda xp, x: xp.maximum(x, 0.0), [0.0, 0.5, 1.0]),
        (lambda xp, x: xp.minimum(x, 0.0), [1.0, 0.5, 0.0]),
        (lambda xp, x: xp.maximum(0.0, x), [0.0, 0.5, 1.0]),
        (lambda xp, x: xp.abs(x), [-1.0, 0.0, 1.0]),
        (lambda xp, x: xp.max(xp.stack([x, -x]), axis=0), [-1.0, 0.0, 1.0]),
        (lambda xp, x: xp.where(x > 0, x, 0.0), [0.0, 0.0, 1.0]),
        (lambda xp, x: xp.linalg.vector_norm(xp.stack([x, x]), axis=0) / 2**0.5, [-1.0, 0.0, 1.0]),
        (lambda xp, x: x**2.0 + x**1 + x**0, [-1.0, 1.0, 3.0]),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_at_a_kink_the_slopes_are_shared(xp, function, expected, dtype):
    gradient = grad(lambda xp, x: xp.sum(function(xp, x)))(xp.asarray(np.array([-1.0, 0.0, 1.0]), dtype))
    np.testing.assert_allclose(xp.to_numpy(gradient), expected, rtol=1e-6)
    assert xp.to_numpy(gradient).dtype == dtype


@pytest.mark.parametrize("word", ["max", "min"])
def test_ties_share_equally(xp, word):
    gradient = grad(lambda xp, x: getattr(xp, word)(x))(xp.asarray(np.array([2.0, 2.0, 2.0, 2.0])))
    np.testing.assert_array_equal(xp.to_numpy(gradient), [0.25] * 4)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (
            lambda: grad(lambda x: x * x)(X),
            ShapeError,
            "grad: the function must return one number. Received: an array of shape (2, 3). Sum it, or use jacobian.",
        ),
        (
            lambda: grad(lambda x: None)(X),
            ShapeError,
            "grad: the function must return one number. Received: None. Sum it, or use jacobian.",
        ),
        (
            lambda: grad(lambda x: np.fft.fft(x).sum())(X),
            ArgumentError,
            "grad: the function must return a real number. Received: dtype complex128. Take its real part, or its "
            "absolute value.",
        ),
        (
            lambda: grad(lambda x: x, argnums=1)(X),
            ArgumentError,
            "grad: argnums must name positional arguments. Received: argnums=1, 1 arguments",
        ),
        (
            lambda: grad(lambda xp, x: xp.sum(xp.nextafter(x, 9.0)))(X),
            MissingDerivativeError,
            "A derivative is found through words that have a rule. Received: xp.nextafter, which steps to the next "
            "number and has no derivative. Write the layer's backward by hand, or give a rule: "
            "layerkit.register_derivative('nextafter', lambda xp, dy, y, x: …).",
        ),
        (
            lambda: grad(lambda xp, x: xp.sum(xp.unique_values(x)))(X),
            MissingDerivativeError,
            "A derivative is found through words that have a rule. Received: xp.unique_values, whose result has a "
            "shape that depends on values. Write the layer's backward by hand, or give a rule: "
            "layerkit.register_derivative('unique_values', lambda xp, dy, y, x: …).",
        ),
        (
            lambda: grad(lambda xp, x: xp.sum(xp.linalg.qr(x.T, mode="complete")[1]))(X),
            MissingDerivativeError,
            "linalg.qr: the columns that complete a basis are not unique, and have no derivative. Received: "
            "mode='complete', a matrix of 3 rows and 2 columns. Use mode='reduced'.",
        ),
        (
            lambda: grad(lambda xp, x: xp.sum(xp.linalg.svd(x)[1]))(X),
            MissingDerivativeError,
            "linalg.svd: the vectors that complete a basis are not unique, and have no derivative. Received: "
            "full_matrices=True, a matrix of shape (2, 3). Use full_matrices=False.",
        ),
        (
            lambda: grad(lambda xp, x: xp.sum(xp.linalg.svdvals(xp.astype(x, xp.complex128))))(X),
            MissingDerivativeError,
            "linalg.svdvals: a derivative is known for real matrices only. Received: dtype complex128. Write it in "
            "words of the real and imaginary parts, or give a rule: "
            "layerkit.register_derivative('linalg.svdvals', lambda xp, dy, y, x: …).",
        ),
        (
            lambda: register_derivative("exponent", lambda xp, dy, y, x: (dy,)),
            ArgumentError,
            "register_derivative: it must be a word that is recorded. Received: 'exponent'",
        ),
    ],
)
def test_what_has_no_derivative_is_refused_with_a_sentence(call, error, sentence):
    with pytest.raises(error) as raised:
        call()
    assert str(raised.value) == sentence


def test_a_missing_rule_names_the_word(monkeypatch):
    monkeypatch.delitem(RULES, "tanh")
    with pytest.raises(MissingDerivativeError) as raised:
        grad(lambda xp, x: xp.sum(xp.tanh(x)))(X)
    assert str(raised.value) == (
        "A derivative is found through words that have a rule. Received: xp.tanh, which has none. Write the layer's "
        "backward by hand, or give a rule: layerkit.register_derivative('tanh', lambda xp, dy, y, x: …)."
    )


def test_a_word_without_a_rule_does_no_harm_where_no_gradient_flows():
    np.testing.assert_array_equal(grad(lambda xp, x: xp.sum(x) + 0.0 * np.unique(X).sum())(X), np.ones_like(X))
    fixed = np.array([1.0, 2.0])
    np.testing.assert_array_equal(grad(lambda xp, x: xp.sum(x) + xp.sum(xp.nextafter(fixed, 9.0)))(X), np.ones_like(X))


def test_a_rule_can_be_registered_in_one_line(monkeypatch):
    monkeypatch.setattr("layerkit.program.functions.RULES", RULES)
    monkeypatch.setitem(RULES, "round", None)  # restored after the test
    register_derivative("round", lambda xp, dy, y, x: (dy,))  # straight through (Bengio et al., arXiv 1308.3432)
    np.testing.assert_array_equal(grad(lambda xp, x: xp.sum(xp.round(x) * x))(X), np.round(X) + X)


def test_a_rule_that_returns_another_shape_is_named(monkeypatch):
    monkeypatch.setitem(RULES, "tanh", lambda xp, dy, y, x: (xp.stack([dy, dy, dy]),))
    grad(lambda xp, x: xp.sum(xp.tanh(x)))(X)  # summed, as wherever a value was broadcast
    monkeypatch.setitem(RULES, "tanh", lambda xp, dy, y, x: (xp.concat([dy, dy], axis=-1),))
    with pytest.raises(ShapeError) as raised:
        grad(lambda xp, x: xp.sum(xp.tanh(x)))(X)
    assert str(raised.value) == (
        "A derivative rule must return a gradient for each array, of its shape. Received: that of xp.tanh, a gradient "
        "of shape (2, 6) for an array of shape (2, 3)."
    )


def test_a_function_of_ones_own_with_its_derivative():
    @differentiable(lambda xp, dy, y, x: (dy * 3 * x**2,))
    def cube(x):
        assert isinstance(x, np.ndarray)  # plain, also where a second derivative is recorded
        return np.array([[value**3 for value in row] for row in x])

    np.testing.assert_array_equal(cube(X), X**3)
    np.testing.assert_allclose(grad(lambda x: cube(x).sum())(X), 3 * X**2)
    product = hessian_vector_product(lambda x: (cube(x) * x).sum())(X, np.ones_like(X))
    np.testing.assert_allclose(product, 12 * X**2)


def test_recorded_keywords_that_no_rule_knows_are_refused(monkeypatch):
    monkeypatch.setitem(RULES, "std", lambda xp, dy, y, x, *, correction=0.0: (dy * x,))
    with pytest.raises(MissingDerivativeError) as raised:
        grad(lambda xp, c: xp.std(X, correction=c))(np.array(0.5))
    assert str(raised.value) == (
        "A derivative is found to arrays that a rule knows of. Received: xp.std, which has none to its keyword "
        "'correction'. Give it a value that is not recorded."
    )


def test_words_that_are_listed_can_be_registered():
    for word in (*words.FUNCTIONS, *words.NETWORK_WORDS):
        if word in RULES:
            register_derivative(word, RULES[word])
    assert layerkit.register_derivative is register_derivative
