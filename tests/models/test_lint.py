"""`Model.lint`: each mistake is found, by its name; healthy models of each kind are left alone."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import layerkit
from layerkit import Input, Sequential
from layerkit.errors import ArgumentError, LintWarning, NotReadyError
from layerkit.layers import BatchNormalization, Dense, Dropout, Flatten, Softmax
from layerkit.losses import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(200, 5))
LABELS = np.argmax(X[:, :3], axis=1)
FLAGS = (X[:, 0] > 0).astype(float)
Y = X @ RANDOM.normal(size=(5, 1))
ONE_HOT = np.eye(3)[LABELS]
SPARSE = "sparse_categorical_crossentropy"


def model(*layers: Any, loss: Any, **options: Any) -> Sequential:
    made = Sequential([*layers], seed=0)
    made.compile("adam", loss, **options)
    return made


def classifier(loss: Any = SPARSE, units: int = 3, activation: Any = "softmax", **options: Any) -> Sequential:
    return model(Dense(16, "relu"), Dense(units, activation), loss=loss, **options)


def regression(**options: Any) -> Sequential:
    return model(Dense(16, "relu"), Dense(1), loss="mse", **options)


LOGITS = "probabilities_as_logits"
MISTAKES = [
    ("softmax_over_one_unit", lambda: (classifier("binary_crossentropy", 1), X, FLAGS)),
    ("softmax_over_one_unit", lambda: (model(Dense(1), Softmax(), loss="mse"), X, FLAGS)),
    (LOGITS, lambda: (classifier(SparseCategoricalCrossentropy(from_logits=True)), X, LABELS)),
    (LOGITS, lambda: (classifier(CategoricalCrossentropy(from_logits=True)), X, ONE_HOT)),
    (LOGITS, lambda: (classifier(BinaryCrossentropy(from_logits=True), 1, "sigmoid"), X, FLAGS)),
    (LOGITS, lambda: (model(Dense(3), Softmax(), loss=SparseCategoricalCrossentropy(from_logits=True)), X, LABELS)),
]
LIKELY = [
    ("logits_as_probabilities", lambda: (classifier(activation=None), X, LABELS)),
    ("logits_as_probabilities", lambda: (classifier("categorical_crossentropy", activation="tanh"), X, ONE_HOT)),
    ("logits_as_probabilities", lambda: (classifier("binary_crossentropy", 1, "relu"), X, FLAGS)),
    ("logits_as_probabilities", lambda: (model(Dense(3), Dropout(0.1), loss=SPARSE), X, LABELS)),
    ("labels_from_one", lambda: (classifier(units=4), X, LABELS + 1)),
    ("constant_columns", lambda: (regression(), np.hstack([X, np.ones((200, 1))]), Y)),
    ("unscaled_columns", lambda: (regression(), X * [1, 1, 170, 1, 1], Y)),
    ("unscaled_columns", lambda: (regression(), X * [1, 1e-4, 1, 1, 1], Y)),
    ("unscaled_columns", lambda: (model(Flatten(), Dense(1), loss="mse"), X[:, :4].reshape(-1, 2, 2) * 100, Y)),
    ("first_loss_far_from_chance", lambda: (regression(), X, Y / 100 + 50)),
    ("first_loss_far_from_chance", lambda: (model(Dense(1), loss="mae"), X, Y / 100 + 50)),
    (
        "first_loss_far_from_chance",
        lambda: (
            model(Dense(64, "relu"), Dense(3, "softmax", kernel_initializer="random_normal"), loss=SPARSE),
            X * 40,
            LABELS,
        ),
    ),
]


def fitted(subject: Sequential, x: Any, y: Any, **options: Any) -> list[str]:
    """Return the names of what the first fit warns of; it warns of nothing the second time."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        subject.fit(x, y, verbose=0, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        subject.fit(x, y, verbose=0, **options)
    for warning in caught:
        assert warning.category is LintWarning
        assert warning.filename == __file__
    return [str(warning.message).split(": ")[1] for warning in caught]


@pytest.mark.parametrize(("name", "make"), MISTAKES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_mistake_is_an_error(name: str, make: Any) -> None:
    subject, x, y = make()
    found = subject.lint(x, y)
    assert (found.names, len(found.errors)) == ([name], 1)
    assert not subject.built
    for _ in range(2):
        with pytest.raises(ArgumentError, match=f"^lint: {name}: .* compile\\(lint=False\\) trains all the same.$"):
            subject.fit(x, y, verbose=0)
    assert not subject.built
    subject.compile("adam", subject.loss, lint=False)
    assert fitted(subject, x, y) == []


@pytest.mark.parametrize(("name", "make"), LIKELY, ids=lambda value: value if isinstance(value, str) else "")
def test_what_is_likely_a_mistake_is_warned_of_once(name: str, make: Any) -> None:
    subject, x, y = make()
    found = subject.lint(x, y)
    assert (found.names, len(found.warnings)) == ([name], 1)
    assert fitted(subject, x, y) == [name]
    # Silenced by name, by category, or altogether.
    for arguments in ((f"lint: {name}",), ("", LintWarning)):
        subject, x, y = make()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", *arguments)
            subject.fit(x, y, verbose=0)
    subject, x, y = make()
    subject.compile("adam", subject.loss, lint=False)
    assert fitted(subject, x, y) == []


def test_dead_units_are_found_after_the_first_epoch() -> None:
    subject = model(Dense(16, "relu", name="hidden"), Dense(1), loss="mse")
    subject.build((None, 5))
    kernel, _, *rest = subject.get_weights()
    subject.set_weights([kernel, np.where(np.arange(16) < 9, -100.0, 0.5), *rest])
    assert fitted(subject, X, Y, epochs=2) == ["dead_units"]
    found = subject.lint(X, Y)
    assert found.warnings[0].sentence == (
        "most units should give something for some row. Received: 9 of the 16 units of hidden that give 0 for all 200 "
        "rows that were looked at, and so learn no more. Use a smaller learning rate, scaled x, or leaky_relu."
    )


HEALTHY = [
    lambda: (model(Dense(4), loss="ctc"), X.reshape(50, 4, 5), 1 + LABELS[:100].reshape(50, 2)),
    lambda: (regression(), X, Y),
    lambda: (regression(), X.astype("float32") * 10, Y * 100 + 300),
    lambda: (classifier(), X, LABELS),
    lambda: (classifier("categorical_crossentropy"), X, ONE_HOT),
    lambda: (classifier("binary_crossentropy", 1, "sigmoid"), X, FLAGS),
    lambda: (classifier("binary_crossentropy", 3, "sigmoid"), X, ONE_HOT),
    lambda: (classifier(SparseCategoricalCrossentropy(from_logits=True), activation=None), X, LABELS),
    lambda: (classifier(BinaryCrossentropy(from_logits=True), 1, None), X, FLAGS),
    lambda: (classifier("hinge", 1, "tanh"), X, 2 * FLAGS - 1),
    lambda: (classifier("poisson", 1, "softplus"), X, FLAGS * 3),
    lambda: (classifier(units=5), X, LABELS + 1),  # class 4 may come later
    lambda: (classifier(), np.hstack([X, np.zeros((200, 3))]), LABELS),  # pixels at the rim of an image
    lambda: (regression(), np.hstack([X, np.eye(200)[:, :50]]), Y),  # rare flags
    lambda: (model(BatchNormalization(), Dense(1), loss="mse"), X * 1000, Y),
    lambda: (model(Dense(8, "relu"), Dense(1), loss="mse"), X[:8] * 1000, Y[:8] * 1000 + 1e6),  # too few rows to judge
    lambda: (model(Dense(1, kernel_regularizer=layerkit.regularizers.L2(1e4)), loss="mse"), X, Y),
    lambda: (model(Flatten(), Dense(3, "softmax"), loss=SPARSE), RANDOM.random((100, 8, 8)), LABELS[:100]),
    lambda: (model(Input((5,)), Sequential([Dense(4), Dense(3, "softmax")]), loss=SPARSE), X, LABELS),
]


@pytest.mark.parametrize("make", HEALTHY)
def test_a_healthy_model_is_left_alone(make: Any, xp: Any) -> None:
    subject, x, y = make()
    found = subject.to(xp).lint(x, y)
    assert list(found) == []
    assert str(found) == repr(found) == "lint: nothing found."
    assert fitted(subject, x, y, epochs=2) == []


def test_weighted_rows_do_not_tell_of_chance() -> None:
    assert fitted(regression(), X, Y / 100 + 50, sample_weight=np.ones(200)) == []


def test_the_report_reads_well() -> None:
    subject = model(Dense(1, "softmax"), loss=BinaryCrossentropy(from_logits=True))
    assert str(subject.lint(np.hstack([X, np.full((200, 1), 3.0)]), FLAGS)) == (
        "error   softmax_over_one_unit\n"
        "        a softmax must be over two units at least, since that of one is always 1. Received: an output of one "
        "unit with softmax. Use sigmoid with binary_crossentropy, or a unit for each class.\n"
        "error   probabilities_as_logits\n"
        "        a loss with from_logits=True applies the softmax itself. Received: binary_crossentropy after Softmax, "
        "which would be applied twice. Use from_logits=False, or leave Softmax out.\n"
        "warning constant_columns\n"
        "        a column of x should vary. Received: column 5, the same number in all rows that were looked at, 200. "
        "Leave it out: the bias does the same."
    )


def test_data_that_fit_would_refuse_is_an_error_of_the_report() -> None:
    found = classifier().lint(X, ONE_HOT)
    assert found.names == ["data"]
    with pytest.raises(ArgumentError) as refused:
        classifier().fit(X, ONE_HOT, verbose=0)
    assert found.errors[0].sentence == str(refused.value)
    assert str(found).startswith("error   data\n        sparse_categorical_crossentropy: for an output of shape")


def test_lint_changes_nothing() -> None:
    subject = regression()
    subject.fit(X, Y, verbose=0)
    weights, history, steps = subject.get_weights(), subject.history, subject.optimizer.iterations
    loss = subject.metrics[0].result()
    assert subject.lint(X, Y).names == []
    assert (subject.history, subject.optimizer.iterations, subject.metrics[0].result()) == (history, steps, loss)
    for weight, other in zip(weights, subject.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


def test_training_is_the_same_with_it() -> None:
    histories = []
    for lint in (True, False):
        subject = regression(lint=lint)
        histories.append(subject.fit(X, Y, epochs=3, batch_size=32, verbose=0).history)
    assert histories[0] == histories[1]


def test_what_cannot_be_asked() -> None:
    with pytest.raises(NotReadyError, match=r"^lint: the model must be compiled first"):
        Sequential([Dense(1)]).lint(X, Y)
    with pytest.raises(ArgumentError) as raised:
        regression(lint="no")
    assert str(raised.value) == "compile: lint must be True or False. Received: lint='no'"
