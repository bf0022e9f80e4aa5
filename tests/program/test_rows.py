"""Rows taken each by itself, all at once: against the same words and layers, row by row."""

from __future__ import annotations

import re

import numpy as np
import pytest

import layerkit
from layerkit import Input, Layer, Sequential, layers
from layerkit.errors import ArgumentError
from layerkit.program import Tape, record, recording
from layerkit.program.rows import RowWise
from tests.program.cases import CASES

ROWS = 3


def own_word(x):
    return x**3


cubed = layerkit.differentiable(lambda xp, dy, y, x: (dy * 3 * x * x,))(own_word)


# Where the shape of a result depends on values, those of two rows differ.
SHAPED = [case for case in CASES if case.note != "mask"]


@pytest.mark.parametrize("case", SHAPED, ids=lambda case: case.name)
def test_each_word_and_its_derivative_are_those_of_each_row(case):
    """Each argument in turn is common to the rows, or all are theirs."""
    xp = layerkit.backend("numpy")
    drawn = [case.arrays(seed) for seed in range(ROWS)]
    count = len(case.shapes)
    for common in {frozenset(), *(frozenset({number}) for number in range(count) if count > 1)}:
        given = [[drawn[0 if number in common else row][number] for number in range(count)] for row in range(ROWS)]
        rows = RowWise(xp)
        stacked = [
            drawn[0][number] if number in common else rows.each(np.stack([drawn[row][number] for row in range(ROWS)]))
            for number in range(count)
        ]
        with recording(rows):
            y, tape = Tape.record(rows, case.function, *stacked)
            gradients, _ = tape.gradients(rows.ones_like(y))
        for row in range(ROWS):
            expected, alone = Tape.record(xp, case.function, *given[row])
            np.testing.assert_allclose(rows.joined(y, ROWS)[row], expected, rtol=1e-12, atol=1e-13)
            for found, wanted in zip(gradients, alone.gradients(np.ones_like(expected))[0], strict=True):
                np.testing.assert_allclose(rows.joined(found, ROWS)[row], wanted, rtol=1e-10, atol=1e-12)


WORDS = {
    "argmax": lambda xp, x: xp.argmax(x, axis=1),
    "argmin": lambda xp, x: xp.argmin(x),
    "argsort": lambda xp, x: xp.argsort(x, axis=0),
    "any": lambda xp, x: xp.any(x > 0.5, axis=-1),
    "indices": lambda xp, x: x[:, [0, 2]],
    "mask": lambda xp, x: xp.where(x > 0, x, xp.zeros_like(x)),
    "tile": lambda xp, x: xp.tile(x, (2, 1)),
    "vecdot": lambda xp, x: xp.vecdot(x, x, axis=-1),
    "tensordot": lambda xp, x: xp.tensordot(x, x, axes=((1,), (1,))),
    "searchsorted": lambda xp, x: xp.searchsorted(xp.asarray(np.array([-0.5, 0.0, 0.5])), xp.reshape(x, (-1,))),
    "nested": lambda xp, x: xp.stack(list(xp.unstack(x, axis=1)), axis=0),
    "numpy": lambda xp, x: np.sum(np.exp(x), axis=0, keepdims=True) * x.mean(),
    "svd": lambda xp, x: xp.linalg.svd(x, full_matrices=False)[1],
    "result_type": lambda xp, x: xp.astype(x, xp.result_type(x, xp.float32)),
}


@pytest.mark.parametrize("name", WORDS)
def test_words_without_a_derivative_too(name):
    xp, x = layerkit.backend("numpy"), np.random.default_rng(0).uniform(-1, 1, (ROWS, 4, 3))
    rows = RowWise(xp)
    with recording(rows):
        found = rows.joined(WORDS[name](rows, rows.each(x)), ROWS)
    for row in range(ROWS):
        np.testing.assert_allclose(found[row], WORDS[name](xp, x[row]), rtol=1e-13)


STACKS = {
    "dense": lambda: [Input((3,)), layers.Dense(4, "tanh"), layers.Dense(2, "gelu")],
    "embedding": lambda: [Input((3,)), layers.Embedding(5, 4), layers.Flatten(), layers.Dense(2)],
    "sequence": lambda: [Input((3, 2)), layers.Dense(4, "softplus"), layers.LayerNormalization(), layers.Dense(2)],
    "own": lambda: [Input((3,)), Own(4), layers.Dense(2, "softmax")],
}


class Own(Layer):
    """A layer without a backward, with one inside that has one, and a function that is no word."""

    def __init__(self, units):
        super().__init__()
        self.inner = layers.Dense(units, "sigmoid")

    def build(self, input_shape):
        self.scale = self.add_weight("scale", (input_shape[-1],), "ones")

    def call(self, xp, x):
        return self.inner(cubed(x * self.scale)) * xp.exp(-self.scale[0])


@pytest.mark.parametrize("name", STACKS)
@pytest.mark.parametrize("captured", [False, True])
def test_gradients_of_layers_are_those_of_each_row(name, captured, xp):
    model = Sequential(STACKS[name](), seed=0, dtype="float64", backend=xp)
    random = np.random.default_rng(0)
    shape = (5, *model.input_shape[1:])
    x = xp.asarray(random.integers(0, 5, shape) if name == "embedding" else random.uniform(-1, 1, shape))
    row_of_y = model.output_shape[1:]
    dy = xp.asarray(random.uniform(-1, 1, row_of_y))

    def gradients(base, x):
        rows = RowWise(base)
        with recording(rows):
            _, saved, _ = model.run_masked(rows, rows.split(x), training=True)
            found = model.run_backward(rows, saved, base.expand_dims(dy, axis=0), input_gradient=False)[1]
        flat = [base.reshape(rows.joined(each, 5), (5, -1)) for each in found.values()]
        return base.concat(flat, axis=1)

    with xp.on_device():
        found = xp.capture(record(xp, gradients, [x], "rows")[2])(x) if captured else gradients(xp, x)
    for row in range(5):
        _, saved, _ = model.run_masked(xp, x[row : row + 1, ...], training=True)
        alone = model.run_backward(xp, saved, xp.expand_dims(dy, axis=0), input_gradient=False)[1]
        expected = np.concatenate([xp.to_numpy(each).ravel() for each in alone.values()])
        np.testing.assert_allclose(xp.to_numpy(found)[row], expected, rtol=1e-9, atol=1e-14)


REFUSED = {
    "float() of a value, which reads it on the host": lambda xp, x: float(x[0]),
    "xp.to_numpy of a value, which reads it on the host": lambda xp, x: xp.to_numpy(x),
    "xp.assign, which keeps what a batch shows": lambda xp, x: xp.assign(np.zeros(2), x),
    "xp.assign_add, which keeps what a batch shows": lambda xp, x: xp.assign_add(np.zeros(2), x),
    "random numbers, others in each pass": lambda xp, x: xp.random_bits((0, 1), 0, 2),
}


@pytest.mark.parametrize("received", REFUSED)
def test_what_has_no_meaning_for_a_row_is_refused(received):
    rows = RowWise(layerkit.backend("numpy"))
    sentence = (
        f"Where rows are taken each by itself, the output must follow from that row and the weights alone. "
        f"Received: {received}. Leave the layer out, or compile with another optimizer."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"), recording(rows):
        REFUSED[received](rows, rows.each(np.ones((3, 2))))
    assert str(rows) == "rows over numpy"
    assert rows.to_numpy(np.ones(2)).tolist() == [1.0, 1.0]
