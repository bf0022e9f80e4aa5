"""Network words of each backend, against their references and against sources that share no code with either."""

from __future__ import annotations

import functools
import math
import re
from decimal import Decimal, localcontext

import numpy as np
import pytest

from layerkit.errors import ArgumentError
from layerkit.xp import backend, reference, words

EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}
TINY = {"float32": 2.0**-126, "float64": 2.0**-1022}
DTYPES = ["float32", "float64"]

POINTS = sorted(
    {sign * x for sign in (1, -1) for x in (0.0, 1e-30, 1e-8, 1e-3, 0.25, 0.5, 1.0, 2.5, 7.0, 17.0, 37.0, 88.0)}
)


def relative_error(found, exact, dtype):
    """Return the largest relative error in units of the dtype's epsilon; numbers below its normal range count as 0."""
    errors = [
        abs(got - float(value)) / max(abs(float(value)), TINY[dtype]) / EPSILON[dtype]
        for got, value in zip(np.ravel(found).tolist(), exact, strict=True)
    ]
    return max(errors)


def points(xp, dtype, values=POINTS):
    """Return the points as they are in this dtype: on the backend, and exactly."""
    rounded = np.array(values, dtype)
    return xp.asarray(rounded), [Decimal(float(x)) for x in rounded]


def test_every_network_word_has_its_reference(xp):
    for word in words.NETWORK_WORDS:
        assert callable(getattr(reference, word))
        assert callable(getattr(xp, word))


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoid(xp, dtype):
    x, exact = points(xp, dtype, [*POINTS, -1e4, 1e4])
    with localcontext(prec=60):
        expected = [1 / (1 + (-v).exp()) for v in exact]
    y = xp.sigmoid(x)
    assert y.dtype == x.dtype
    assert relative_error(xp.to_numpy(y), expected, dtype) < 4


@pytest.mark.parametrize("dtype", DTYPES)
def test_softplus(xp, dtype):
    x, exact = points(xp, dtype, [*POINTS, -1e4, 1e4])
    with localcontext(prec=60):
        expected = [(1 + v.exp()).ln() for v in exact]
    y = xp.softplus(x)
    assert y.dtype == x.dtype
    assert relative_error(xp.to_numpy(y), expected, dtype) < 4


def test_erfc_in_float64_has_all_digits_in_its_tails(xp):
    values = np.concatenate(
        [np.linspace(-6.0, 26.5, 6001), [0.46875, -0.46875, 4.0, -4.0, np.nextafter(4.0, 5.0), 0.0]]
    )
    found = xp.to_numpy(xp.erfc(xp.asarray(values)))
    expected = np.array([math.erfc(x) for x in values])
    np.testing.assert_allclose(found, expected, rtol=2e-15)


def test_erfc_in_float32(xp):
    values = np.linspace(-6.0, 9.0, 3001).astype(np.float32)
    found = xp.erfc(xp.asarray(values))
    assert found.dtype == xp.float32
    expected = [math.erfc(x) for x in values.tolist()]
    np.testing.assert_allclose(xp.to_numpy(found), expected, rtol=1e-6, atol=1e-37)


def test_erfc_in_float16(xp):
    """Beyond 4, where its formula takes numbers of which float16 has none."""
    if not hasattr(xp, "float16"):
        pytest.skip(f"{xp} has no float16")
    values = np.array([-7.25, -3, -0.4, 0, 0.4, 1.5, 2.5, 7.25, 40], np.float16)
    found = xp.erfc(xp.asarray(values))
    assert found.dtype == xp.float16
    expected = [math.erfc(x) for x in values.tolist()]
    np.testing.assert_allclose(xp.to_numpy(found), expected, rtol=1e-3, atol=6e-8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erfc_far_out(xp, dtype):
    x = xp.asarray(np.array([30.0, 1e4, 1e30, np.inf, -30.0, -1e30, -np.inf], dtype))
    np.testing.assert_array_equal(xp.to_numpy(xp.erfc(x)), [0, 0, 0, 0, 2, 2, 2])
    assert math.isnan(xp.to_numpy(xp.erfc(xp.asarray(np.array([math.nan], dtype))))[0])


ROWS = [[0.0, 1.0, -2.5], [1e4, 1e4, -1e4], [-1e4, 0.0, 1e-3], [88.0, -88.0, 87.5]]


def exact_softmax(row):
    powers = [(v - max(row)).exp() for v in row]
    return [p / sum(powers) for p in powers]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [-1, 0])
def test_softmax_and_its_logarithm(xp, dtype, axis):
    host = np.array(ROWS, dtype)
    x = xp.asarray(host)
    lines = host if axis == -1 else host.T
    with localcontext(prec=60):
        exact = [exact_softmax([Decimal(float(v)) for v in line]) for line in lines]
        logarithms = [[p.ln() for p in line] for line in exact]
    for word, expected in ((xp.softmax, exact), (xp.log_softmax, logarithms)):
        y = word(x, axis=axis)
        assert y.dtype == x.dtype
        found = xp.to_numpy(y) if axis == -1 else xp.to_numpy(y).T
        assert np.isfinite(found).all()
        # A difference x - max of magnitude d is rounded by d ε / 2, which exp turns into a relative error.
        wanted = np.array([[float(v) for v in line] for line in expected])
        largest = np.ptp(lines, axis=1, keepdims=True)
        bound = (4 + largest) * EPSILON[dtype] * np.abs(wanted) if word == xp.softmax else 4 * EPSILON[dtype] * largest
        assert (np.abs(found - wanted) <= bound + TINY[dtype]).all()


def test_softmax_over_several_axes(xp):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    powers = np.exp(x)
    expected = powers / powers.sum(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(xp.to_numpy(xp.softmax(xp.asarray(x), axis=(1, 2))), expected, rtol=1e-14)
    np.testing.assert_allclose(xp.to_numpy(xp.log_softmax(xp.asarray(x), axis=(1, 2))), np.log(expected), rtol=1e-13)


def loops_linear(x, kernel, bias):
    """Return y as sums of products, number by number."""
    rows = x.reshape(-1, x.shape[-1])
    y = [[sum(a * b for a, b in zip(row, column, strict=True)) for column in kernel.T] for row in rows]
    y = np.array(y).reshape(*x.shape[:-1], kernel.shape[1])
    return y if bias is None else y + bias


@pytest.mark.parametrize("shape", [(5, 3), (1, 3), (2, 4, 3), (2, 1, 2, 3)])
@pytest.mark.parametrize("with_bias", [True, False])
def test_linear(xp, shape, with_bias):
    random = np.random.default_rng(0)
    x, kernel = random.standard_normal(shape), random.standard_normal((3, 2))
    bias = random.standard_normal(2) if with_bias else None
    y = xp.linear(xp.asarray(x), xp.asarray(kernel), None if bias is None else xp.asarray(bias))
    np.testing.assert_allclose(xp.to_numpy(y), loops_linear(x, kernel, bias), atol=1e-14)


@pytest.mark.parametrize("shape", [(5, 3), (1, 3), (2, 4, 3), (2, 1, 2, 3)])
def test_linear_grad(xp, shape):
    """Each gradient is a sum over all positions, written as a loop."""
    random = np.random.default_rng(0)
    x, kernel, dy = (
        random.standard_normal(shape),
        random.standard_normal((3, 2)),
        random.standard_normal((*shape[:-1], 2)),
    )
    expected_dx, expected_dkernel, expected_dbias = np.zeros(shape), np.zeros((3, 2)), np.zeros(2)
    for place in np.ndindex(*shape[:-1]):
        for i in range(3):
            for j in range(2):
                expected_dx[(*place, i)] += dy[(*place, j)] * kernel[i, j]
                expected_dkernel[i, j] += x[(*place, i)] * dy[(*place, j)]
        expected_dbias += dy[place]
    dx, dkernel, dbias = xp.linear_grad(xp.asarray(x), xp.asarray(kernel), xp.asarray(dy))
    np.testing.assert_allclose(xp.to_numpy(dx), expected_dx, atol=1e-14)
    np.testing.assert_allclose(xp.to_numpy(dkernel), expected_dkernel, atol=1e-14)
    np.testing.assert_allclose(xp.to_numpy(dbias), expected_dbias, atol=1e-14)
    nothing, again, _ = xp.linear_grad(xp.asarray(x), xp.asarray(kernel), xp.asarray(dy), input_gradient=False)
    assert nothing is None
    np.testing.assert_array_equal(xp.to_numpy(again), xp.to_numpy(dkernel))


def test_linear_on_no_rows(xp):
    x, kernel, dy = xp.zeros((0, 3)), xp.ones((3, 2)), xp.zeros((0, 2))
    assert xp.linear(x, kernel, xp.ones((2,))).shape == (0, 2)
    dx, dkernel, dbias = xp.linear_grad(x, kernel, dy)
    assert dx.shape == (0, 3)
    np.testing.assert_array_equal(xp.to_numpy(dkernel), np.zeros((3, 2)))
    np.testing.assert_array_equal(xp.to_numpy(dbias), np.zeros(2))


# Subscripts, the same with a letter for each axis and for each of the result, and the shapes.
EINSUMS = [
    ("ij,jk->ik", "ij,jk->ik", (3, 4), (4, 2)),
    ("ij , jk -> ki", "ij,jk->ki", (3, 4), (4, 2)),
    ("ij,jk", "ij,jk->ik", (3, 4), (4, 2)),
    ("ba,cb", "ba,cb->ac", (3, 4), (2, 3)),
    ("ii", "ii->", (4, 4)),
    ("ii->i", "ii->i", (4, 4)),
    ("iij,j->i", "iij,j->i", (3, 3, 2), (2,)),
    ("iii->i", "iii->i", (3, 3, 3)),
    ("ijji->j", "ijji->j", (3, 2, 2, 3)),
    ("ij->ji", "ij->ji", (3, 4)),
    ("ij->", "ij->", (3, 4)),
    ("i,j->ji", "i,j->ji", (3,), (4,)),
    ("ij,ij->ij", "ij,ij->ij", (3, 4), (3, 4)),
    ("ij,ij->i", "ij,ij->i", (3, 4), (3, 4)),
    ("i,ij,j", "i,ij,j->", (3,), (3, 4), (4,)),
    ("ijk,kl,jm->ilm", "ijk,kl,jm->ilm", (2, 3, 4), (4, 2), (3, 3)),
    ("bhqd,bhkd->bhqk", "bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)),
    ("...ij,...jk->...ik", "xyij,yjk->xyik", (2, 3, 3, 4), (3, 4, 2)),
    ("i...,i...", "ixy,iy->xy", (3, 2, 4), (3, 4)),
    ("b...,...a", "bx,xa->xab", (3, 2), (2, 4)),
    ("...,...->...", "xy,y->xy", (3, 4), (4,)),
    ("...", "xy->xy", (3, 4)),
    (",ij->ij", ",ij->ij", (), (2, 3)),
    ("->", "->", ()),
    ("ij,jk->ik", "ij,jk->ik", (3, 1), (4, 2)),
    ("ij,ij->j", "ij,ij->j", (1, 4), (3, 4)),
    ("...i,...i->...", "xyi,xyi->xy", (3, 1, 2), (1, 4, 2)),
    ("ij,jk->ik", "ij,jk->ik", (0, 4), (4, 2)),
    ("ij,jk->ik", "ij,jk->ik", (3, 0), (0, 2)),
    ("ij,k->k", "ij,k->k", (3, 4), (2,)),
]


def loops_einsum(subscripts, arrays):
    """Return the sum over all values of all letters, product by product."""
    given, result = subscripts.split("->")
    terms = given.split(",")
    lengths = {}
    for term, array in zip(terms, arrays, strict=True):
        for letter, length in zip(term, array.shape, strict=True):
            lengths[letter] = length if lengths.get(letter, 1) == 1 else lengths[letter]
    total = np.zeros([lengths[letter] for letter in result])
    for values in np.ndindex(*lengths.values()):
        place = dict(zip(lengths, values, strict=True))
        total[tuple(place[letter] for letter in result)] += math.prod(
            float(array[tuple(min(place[letter], n - 1) for letter, n in zip(term, array.shape, strict=True))])
            for term, array in zip(terms, arrays, strict=True)
        )
    return total


@pytest.mark.parametrize("case", EINSUMS, ids=lambda case: f"{case[0]} of {' '.join(map(str, case[2:]))}")
def test_einsum(xp, case):
    subscripts, by_letter, *shapes = case
    random = np.random.default_rng(0)
    arrays = [random.standard_normal(shape) for shape in shapes]
    for word in (xp.einsum, functools.partial(reference.einsum, xp)):
        y = word(subscripts, *map(xp.asarray, arrays))
        assert y.dtype == xp.float64
        expected = loops_einsum(by_letter, arrays)
        assert tuple(y.shape) == expected.shape
        np.testing.assert_allclose(xp.to_numpy(y), expected, atol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_einsum_keeps_the_dtype(xp, dtype):
    random = np.random.default_rng(0)
    a, b = (random.integers(-9, 9, shape).astype(dtype) for shape in ((60, 40), (40, 50)))
    for subscripts, expected in (("ij,jk->ik", a @ b), ("ij,jk->j", a.sum(axis=0) * b.sum(axis=1))):
        y = xp.einsum(subscripts, xp.asarray(a), xp.asarray(b))
        assert y.dtype == getattr(xp, dtype)
        np.testing.assert_array_equal(xp.to_numpy(y), expected)


@pytest.mark.parametrize(
    ("subscripts", "shapes", "sentence"),
    [
        (
            "i1",
            [(2, 3)],
            "subscripts must be letters and '...', as in 'ij,jk->ik'. Received: subscripts='i1', shapes (2, 3)",
        ),
        (
            "i..",
            [(2, 3)],
            "subscripts must be letters and '...', as in 'ij,jk->ik'. Received: subscripts='i..', shapes (2, 3)",
        ),
        (
            0,
            [(2, 3)],
            "subscripts must be letters and '...', as in 'ij,jk->ik'. Received: subscripts='0', shapes (2, 3)",
        ),
        (
            "ij,jk->ik",
            [(2, 3)],
            "there must be subscripts for each operand. Received: subscripts='ij,jk->ik', shapes (2, 3)",
        ),
        (
            "ij,j",
            [(2, 3), (2, 3)],
            "an operand must have an axis for each of its letters, and no other. "
            "Received: subscripts='ij,j', shapes (2, 3) and (2, 3)",
        ),
        (
            "...i->i",
            [(2, 3)],
            "the result must have the '...' of the operands. Received: subscripts='...i->i', shapes (2, 3)",
        ),
        (
            "ij->ik",
            [(2, 3)],
            "each letter of the result must be one of an operand's, and stand once. "
            "Received: subscripts='ij->ik', shapes (2, 3)",
        ),
        (
            "ij,jk->ik",
            [(2, 3), (4, 2)],
            "axes of one letter must have one length, or length 1. "
            "Received: subscripts='ij,jk->ik', shapes (2, 3) and (4, 2)",
        ),
        (
            "ii",
            [(1, 3)],
            "axes of one letter must have one length, or length 1. Received: subscripts='ii', shapes (1, 3)",
        ),
    ],
)
def test_einsum_says_what_does_not_fit(xp, subscripts, shapes, sentence):
    with pytest.raises(ArgumentError, match=f"^einsum: {re.escape(sentence)}$"):
        xp.einsum(subscripts, *(xp.ones(shape) for shape in shapes))


@pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "int64"])
@pytest.mark.parametrize("labels", ["int32", "int64", "uint8"])
def test_one_hot(xp, dtype, labels):
    hot = xp.one_hot(xp.asarray(np.array([[0, 2], [1, 1]], labels)), 3, dtype)
    assert hot.dtype == getattr(xp, dtype)
    expected = [[[1, 0, 0], [0, 0, 1]], [[0, 1, 0], [0, 1, 0]]]
    np.testing.assert_array_equal(xp.to_numpy(hot), np.array(expected, dtype))


def test_one_hot_of_no_class_is_no_row_of_ones(xp):
    hot = xp.one_hot(xp.asarray(np.array([-1, 3])), 3, "float32")
    np.testing.assert_array_equal(xp.to_numpy(hot), np.zeros((2, 3)))


# Faster words against their definitions, on more points than the sources above can be computed for.


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("word", ["sigmoid", "softplus", "erfc", "softmax", "log_softmax"])
@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (7,), (50, 40), (2, 3, 4)])
def test_a_word_agrees_with_its_reference(xp, word, dtype, shape):
    if "softmax" in word and shape in ((), (0,)):
        shape = (*shape, 1)  # there must be a class
    x = 8.0 * np.random.default_rng(0).standard_normal(shape)
    found = getattr(xp, word)(xp.asarray(x, dtype))
    host = backend("numpy")
    expected = getattr(reference, word)(host, host.asarray(x, dtype))
    assert found.shape == shape
    assert found.dtype == getattr(xp, dtype)
    # Where the largest is nearly all of the sum, its logarithm is a difference of numbers that are nearly equal.
    atol = 4 * EPSILON[dtype] if word == "log_softmax" else TINY[dtype]
    np.testing.assert_allclose(xp.to_numpy(found), expected, rtol=64 * EPSILON[dtype], atol=atol)


@pytest.mark.parametrize("word", ["linear", "linear_grad"])
def test_a_matrix_word_agrees_with_its_reference(xp, word):
    random = np.random.default_rng(0)
    arrays = {
        "linear": [random.standard_normal(shape) for shape in ((7, 5, 30), (30, 20), (20,))],
        "linear_grad": [random.standard_normal(shape) for shape in ((7, 5, 30), (30, 20), (7, 5, 20))],
    }[word]
    found = getattr(xp, word)(*map(xp.asarray, arrays))
    expected = getattr(reference, word)(backend("numpy"), *arrays)
    pairs = [(found, expected)] if word == "linear" else zip(found, expected, strict=True)
    for got, wanted in pairs:
        np.testing.assert_allclose(xp.to_numpy(got), wanted, rtol=1e-12, atol=1e-12)


def test_words_do_not_write_to_their_arguments(xp):
    x = np.random.default_rng(0).standard_normal((4, 3))
    value, kernel, bias = xp.asarray(x.copy()), xp.ones((3, 2)), xp.ones((2,))
    for word in ("sigmoid", "softplus", "erfc", "softmax", "log_softmax"):
        getattr(xp, word)(value)
    xp.linear(value, kernel, bias)
    xp.linear_grad(value, kernel, xp.ones((4, 2)))
    np.testing.assert_array_equal(xp.to_numpy(value), x)
    np.testing.assert_array_equal(xp.to_numpy(kernel), np.ones((3, 2)))
    np.testing.assert_array_equal(xp.to_numpy(bias), np.ones(2))
