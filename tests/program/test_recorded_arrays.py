"""Recorded arrays: operators, methods, indexing, NumPy's functions, and what is refused."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

import layerkit
from layerkit import grad, jacobian
from layerkit.errors import ArgumentError, BackendError, MixedBackendsError, UnsupportedWordError
from layerkit.program import RecordedArray, Recorder, Tape

X = np.array([[0.5, -1.5, 2.0], [0.25, 3.0, -0.75]])


def derivative(function, *inputs):
    """Return the gradient of Σ k · f, with k = 1, 2, 3, …, to the first input."""
    y, tape = Tape.record(layerkit.backend("numpy"), lambda xp, *given: function(*given), *inputs)
    return tape.gradients(np.arange(1.0, y.size + 1).reshape(y.shape))[0][0]


@pytest.mark.parametrize(
    ("on_numpy", "in_words"),
    [
        (lambda x: np.exp(x), lambda xp, x: xp.exp(x)),
        (lambda x: np.arctan2(x, 2.0), lambda xp, x: xp.atan2(x, 2.0)),
        (lambda x: np.power(x, 2), lambda xp, x: xp.pow(x, 2)),
        (lambda x: np.float64(2.0) * x, lambda xp, x: 2.0 * x),
        (lambda x: np.float64(2.0) - x, lambda xp, x: 2.0 - x),
        (lambda x: np.ones(3) * x, lambda xp, x: x * 1.0),
        (lambda x: np.ones(3) / x, lambda xp, x: 1.0 / x),
        (lambda x: np.ones((4, 2)) @ x, lambda xp, x: xp.matmul(np.ones((4, 2)), x)),
        (lambda x: np.float32(2.0) ** x, lambda xp, x: 2.0**x),
        (lambda x: np.concatenate([x, x * x], axis=1), lambda xp, x: xp.concat([x, x * x], axis=1)),
        (lambda x: np.concatenate([x, x * x], 1), lambda xp, x: xp.concat([x, x * x], axis=1)),
        (lambda x: np.stack((x, x * x), 1), lambda xp, x: xp.stack((x, x * x), axis=1)),
        (lambda x: np.sum(x, 0), lambda xp, x: xp.sum(x, axis=0)),
        (lambda x: np.mean(x, axis=1, keepdims=True), lambda xp, x: xp.mean(x, axis=1, keepdims=True)),
        (lambda x: np.var(x, ddof=1), lambda xp, x: xp.var(x, correction=1)),
        (lambda x: np.max(x, 1), lambda xp, x: xp.max(x, axis=1)),
        (lambda x: np.where(x > 0, x, 0.1 * x), lambda xp, x: xp.where(x > 0, x, 0.1 * x)),
        (lambda x: np.clip(x, 0, 1), lambda xp, x: xp.clip(x, 0, 1)),
        (lambda x: np.transpose(x) * 1.0, lambda xp, x: x.T),
        (lambda x: np.transpose(x, (1, 0)), lambda xp, x: x.T),
        (lambda x: np.reshape(x, (3, 2)), lambda xp, x: xp.reshape(x, (3, 2))),
        (lambda x: np.ravel(x), lambda xp, x: xp.reshape(x, (-1,))),
        (lambda x: np.expand_dims(x, 1), lambda xp, x: xp.expand_dims(x, axis=1)),
        (lambda x: np.squeeze(np.expand_dims(x, 1)), lambda xp, x: x),
        (lambda x: np.cumsum(x), lambda xp, x: xp.cumulative_sum(xp.reshape(x, (-1,)))),
        (lambda x: np.cumprod(x, axis=1), lambda xp, x: xp.cumulative_prod(x, axis=1)),
        (lambda x: np.dot(x, x.T), lambda xp, x: x @ x.T),
        (lambda x: np.dot(2.0, x), lambda xp, x: 2.0 * x),
        (
            lambda x: np.dot(x, np.ones((2, 3, 4))),
            lambda xp, x: xp.tensordot(x, np.ones((2, 3, 4)), axes=((1,), (1,))),
        ),
        (lambda x: np.repeat(x, 2, 0), lambda xp, x: xp.repeat(x, 2, axis=0)),
        (lambda x: np.take(x, [0, 2], 1), lambda xp, x: xp.take(x, np.array([0, 2]), axis=1)),
        (lambda x: np.roll(x, 1, 0), lambda xp, x: xp.roll(x, 1, axis=0)),
        (lambda x: np.tril(x, -1), lambda xp, x: xp.tril(x, k=-1)),
        (lambda x: np.diff(x, 1, 0), lambda xp, x: xp.diff(x, axis=0)),
        (lambda x: np.sort(x, 0), lambda xp, x: xp.sort(x, axis=0)),
        (lambda x: np.linalg.norm(x), lambda xp, x: xp.sqrt(xp.sum(x * x))),
        (lambda x: np.linalg.norm(x, axis=1), lambda xp, x: xp.sqrt(xp.sum(x * x, axis=1))),
        (lambda x: np.linalg.norm(x, 1), lambda xp, x: xp.linalg.matrix_norm(x, ord=1)),
        (lambda x: np.linalg.norm(x, 3, 1), lambda xp, x: xp.linalg.vector_norm(x, ord=3, axis=1)),
        (lambda x: np.linalg.inv(x @ x.T), lambda xp, x: xp.linalg.inv(x @ x.T)),
        (lambda x: np.linalg.svd(x, full_matrices=False)[1], lambda xp, x: xp.linalg.svdvals(x)),
        (lambda x: np.abs(np.fft.rfft(x, 5)), lambda xp, x: xp.abs(xp.fft.rfft(x, n=5))),
        (lambda x: x.sum(0) + x.mean(axis=0) + x.max(0) + x.min(0) + x.prod(0) + x.var(0) + x.std(0),
         lambda xp, x: sum(getattr(xp, w)(x, axis=0) for w in ("sum", "mean", "max", "min", "prod", "var", "std"))),
        (lambda x: x.reshape(3, 2) + x.reshape((3, -1)), lambda xp, x: 2.0 * xp.reshape(x, (3, 2))),
        (lambda x: x.transpose() + x.transpose(1, 0) + x.T + x.mT, lambda xp, x: 4.0 * xp.matrix_transpose(x)),
        (lambda x: x.flatten() + x.ravel(), lambda xp, x: 2.0 * xp.reshape(x, (-1,))),
        (lambda x: x[None].squeeze() + x[None].squeeze(0), lambda xp, x: 2.0 * x),
        (lambda x: x.clip(0, 1) + x.cumsum(1) + x.cumprod(1),
         lambda xp, x: xp.clip(x, 0, 1) + xp.cumulative_sum(x, axis=1) + xp.cumulative_prod(x, axis=1)),
        (lambda x: x.dot(x.T), lambda xp, x: x @ x.T),
        (lambda x: np.einsum("ij,kj->ik", x, x, optimize=True), lambda xp, x: x @ x.T),
        (lambda x: x.astype(np.float64) * 1.0, lambda xp, x: x),
        (lambda x: -x + abs(x) - (+x), lambda xp, x: xp.abs(x) - 2.0 * x),
        (lambda x: 7.0 // x + x % 0.4 + 5 % x,
         lambda xp, x: xp.floor_divide(7.0, x) + xp.remainder(x, 0.4) + xp.remainder(5, x)),
        (lambda x: sum(row * number for number, row in enumerate(x)), lambda xp, x: x[1, :]),
        (lambda x: x[:, [0, 2]], lambda xp, x: xp.take(x, np.array([0, 2]), axis=1)),
        (lambda x: x[x > 0], lambda xp, x: xp.take(xp.reshape(x, (-1,)), np.flatnonzero(X > 0))),
        (lambda x: x[1], lambda xp, x: x[1, :]),
    ],
)  # fmt: skip
def test_numpy_and_methods_reach_the_word_of_the_same_meaning(on_numpy, in_words):
    recorder = Recorder(layerkit.backend("numpy"))
    expected = np.asarray(in_words(layerkit.backend("numpy"), X))
    y = on_numpy(recorder.input(X))
    assert isinstance(y, RecordedArray)
    np.testing.assert_allclose(y.value, expected)
    y, tape = Tape.record(layerkit.backend("numpy"), in_words, X)
    wanted = tape.gradients(np.arange(1.0, y.size + 1).reshape(y.shape))[0][0]
    np.testing.assert_allclose(derivative(on_numpy, X), wanted, rtol=1e-12, atol=1e-14)


def test_arrays_of_the_backend_may_stand_on_the_left(xp):
    constant = xp.asarray(np.array([1.0, 2.0, 4.0]))
    x = xp.asarray(np.array([0.5, 1.5, -1.0]))
    gradient = grad(lambda xp, x: xp.sum(constant * x) + xp.sum(constant / x) + xp.sum(constant - x * x))(x)
    x = xp.to_numpy(x)
    np.testing.assert_allclose(xp.to_numpy(gradient), np.array([1.0, 2.0, 4.0]) * (1 - 1 / x**2) - 2 * x)


def test_shape_and_dtype_are_those_of_the_value():
    x = Recorder(layerkit.backend("numpy")).input(X)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x), x.device) == ((2, 3), 2, 6, np.float64, 2, "cpu")
    assert (np.shape(x), np.ndim(x), np.size(x)) == ((2, 3), 2, 6)
    assert np.array_equal((x > 0).value, X > 0)
    assert [row.shape for row in x] == [(3,), (3,)]


def test_a_value_can_be_read_on_the_host():
    x = Recorder(layerkit.backend("numpy")).input(X)
    assert float(x[0, 1]) == -1.5
    assert int(x[1, 1]) == 3
    assert x[0, 0].item() == 0.5
    assert grad(lambda v: v * v if v > 0 else -v)(np.array(3.0)) == 6.0
    assert grad(lambda v: v * v if v > 0 else -v)(np.array(-3.0)) == -1.0


@pytest.mark.parametrize(
    ("use", "error", "sentence"),
    [
        (
            lambda x: x.__setitem__(0, 1.0),
            BackendError,
            "A value is never written to. Received: an assignment to elements of a recorded array. "
            "Build a new value, for instance with xp.where.",
        ),
        (
            lambda x: np.asarray(x),
            ArgumentError,
            "A recorded array cannot become a NumPy array: its derivative would be lost. Received: a NumPy function "
            "that has no word, or numpy.asarray. Use the words of xp.",
        ),
        (
            lambda x: np.median(x),
            ArgumentError,
            "A NumPy function on a recorded array must have a word of the same meaning. Received: numpy.median. "
            "Use the words of xp.",
        ),
        (
            lambda x: np.sinc(x),
            ArgumentError,
            "A NumPy function on a recorded array must have a word of the same meaning. Received: numpy.sinc. "
            "Use the words of xp.",
        ),
        (
            lambda x: np.cbrt(x),
            ArgumentError,
            "A NumPy function on a recorded array must have a word of the same meaning. Received: numpy.cbrt. "
            "Use the words of xp.",
        ),
        (
            lambda x: np.add.reduce(x),
            ArgumentError,
            "A NumPy function on a recorded array must have a word of the same meaning. Received: numpy.add.reduce. "
            "Use the words of the xp that comes with the array: grad(lambda xp, x: xp.sum(x)).",
        ),
        (
            lambda x: np.add(x, 1.0, out=np.zeros((2, 3))),
            ArgumentError,
            "A NumPy function on a recorded array must have a word of the same meaning. Received: numpy.add with out. "
            "Use the words of xp.",
        ),
        (
            lambda x: np.sum(x, where=X > 0),
            ArgumentError,
            "A NumPy function on a recorded array must have a word of the same meaning. Received: numpy.sum with "
            "where. Use the words of xp.",
        ),
    ],
)
def test_what_would_lose_the_derivative_is_refused(use, error, sentence):
    with pytest.raises(error) as raised:
        use(Recorder(layerkit.backend("numpy")).input(X))
    assert str(raised.value) == sentence


def test_adding_in_place_makes_a_new_value():
    def function(x):
        y = x
        y += x * x
        return y.sum()

    np.testing.assert_array_equal(grad(function)(X), 1 + 2 * X)


def test_arrays_of_two_recordings_are_refused():
    kept = []

    def function(x):
        kept.append(x)
        return (x * kept[0]).sum()

    grad(function)(X)
    with pytest.raises(MixedBackendsError) as raised:
        grad(function)(X)
    assert str(raised.value) == (
        "A recorded array belongs to one recording. Received: an array of another, which has ended or runs "
        "beside. Return it from the function that is recorded instead of keeping it."
    )


@pytest.mark.parametrize(
    ("function", "how"),
    [(math.sin, "float()"), (lambda x: x * x.item(), "item()"), (lambda x: sum(x[None].tolist()), "tolist()")],
)
def test_a_number_that_would_have_no_derivative_is_refused(function, how):
    for differentiated in (grad(function), grad(lambda x: grad(function)(x) * 2.0)):
        with pytest.raises(ArgumentError) as raised:
            differentiated(np.array(3.0))
        assert str(raised.value) == (
            f"A recorded array cannot become a number of Python: its derivative would be lost. Received: {how}, or "
            f"a function that does it, as those of math. Use NumPy's functions, or the words of xp."
        )


def test_the_words_of_an_outer_recording_are_refused_with_what_to_write():
    """As a residual may, which takes the derivative of a network by its input within a layer's call."""

    def outer(xp, x):
        return xp.sum(grad(lambda x: xp.sum(x * x))(x))

    with pytest.raises(MixedBackendsError) as raised:
        grad(outer)(X)
    assert str(raised.value) == (
        "A recorded array belongs to one recording. Received: an array of a recording inside this one. "
        "Use the words of the xp that comes with the array: grad(lambda xp, x: xp.sum(x))."
    )
    np.testing.assert_array_equal(grad(lambda xp, x: xp.sum(grad(lambda xp, x: xp.sum(x * x))(x)))(X), 2 + 0 * X)


def test_an_unknown_word_is_named():
    with pytest.raises(UnsupportedWordError, match=re.escape("Received: xp.einsumm.")):
        grad(lambda xp, x: xp.einsumm(x))(X)


def test_words_of_constants_alone_are_not_recorded(xp):
    recorder = Recorder(xp)
    x = recorder.asarray(np.ones(3))
    assert not isinstance(recorder.exp(x), RecordedArray)
    assert not isinstance(recorder.linalg.outer(x, x), RecordedArray)
    assert recorder.notes == []


def test_dtypes_of_recorded_arrays_can_be_combined(xp):
    recorder = Recorder(xp)
    x = recorder.input(xp.asarray(np.ones(3, np.float32)))
    assert recorder.result_type(x, xp.float64) == xp.float64
    assert recorder.astype(x, xp.float64).dtype == xp.float64
    assert recorder.asarray(x, "float64").dtype == xp.float64


def test_a_word_with_recorded_indices_is_differentiated_twice():
    x = np.array([0.5, 2.0, 1.0])
    hessian = jacobian(grad(lambda x: (np.sort(x)[np.argsort(x)] ** 3 * x[x > 0.7].sum()).sum()))(x)
    np.testing.assert_allclose(hessian, hessian.T)
