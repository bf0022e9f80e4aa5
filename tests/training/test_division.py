"""Which rows `validation_split` holds out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.errors import ArgumentError
from layerkit.layers import Dense
from layerkit.training.division import divided

ROWS = np.arange(40)
CLASSES = np.array([0] * 20 + [1] * 12 + [2] * 8)


def training_and_held(strategy: str, y: Any, share: float = 0.25, seed: int = 0, **arguments: Any) -> tuple[Any, Any]:
    """Return the numbers of the rows, as x tells them to the layer that sees them."""
    trained: list[float] = []
    held: list[float] = []

    class Look(Dense):
        def forward(self, xp: Any, x: Any, *, training: bool = False) -> Any:
            (trained if training else held).extend(np.asarray(x)[:, 0].tolist())
            return super().forward(xp, x)

    width = 3 if y.ndim == 1 or y.shape[-1] == 3 else 1
    model = Sequential([Look(width, "softmax" if width == 3 else "sigmoid")], seed=seed)
    loss = {1: "sparse_categorical_crossentropy", 2: "categorical_crossentropy"}[y.ndim]
    model.compile(
        "sgd", loss if width == 3 else "binary_crossentropy", run_eagerly=True, lint=False
    )  # x holds the numbers of rows
    model.fit(
        np.stack([ROWS, ROWS], axis=1) / 1.0,
        y,
        validation_split=share,
        validation_strategy=strategy,
        batch_size=8,
        verbose=0,
        **arguments,
    )
    return sorted(map(int, trained)), list(map(int, held))


@pytest.mark.parametrize("strategy", ["last", "random", "stratified"])
def test_each_row_is_trained_on_or_held_out(strategy: str) -> None:
    trained, held = training_and_held(strategy, CLASSES)
    assert sorted([*trained, *held]) == ROWS.tolist()
    assert held == sorted(held)  # in the order in which they came
    assert len(held) == 10
    assert (held == [*range(30, 40)]) is (strategy == "last")


def test_of_each_class_the_same_share_is_held_out() -> None:
    for y in (CLASSES, np.eye(3)[CLASSES]):
        _, held = training_and_held("stratified", y)
        assert np.bincount(CLASSES[held]).tolist() == [5, 3, 2]
    flags = (CLASSES > 0).astype(float)[:, None]
    _, held = training_and_held("stratified", flags)
    assert np.bincount(flags[held, 0].astype(int)).tolist() == [5, 5]


def test_the_seed_decides_and_not_the_fit() -> None:
    first = training_and_held("random", CLASSES)
    assert training_and_held("random", CLASSES) == first
    assert training_and_held("random", CLASSES, shuffle=False) == first
    assert training_and_held("random", CLASSES, seed=1) != first


@pytest.mark.parametrize("share", [0.1, 0.25, 1 / 3, 0.5, 0.9])
@pytest.mark.parametrize("counts", [(7, 2, 1), (1, 1, 1), (10,), (33, 33, 34), (1, 99)])
def test_stratified_counts_are_the_quotas_rounded_up_or_down(counts: tuple[int, ...], share: float) -> None:
    y = np.repeat(np.arange(len(counts)), counts)
    rows = len(y)
    first = int(rows * (1 - share))
    trained, held = divided("stratified", rows, first, y, seed=3)
    assert len(trained) == first
    assert sorted([*trained, *held]) == list(range(rows))
    found = np.bincount(y[held], minlength=len(counts))
    quotas = np.array(counts) * (rows - first) / rows
    assert (np.abs(found - quotas) < 1).all()


def test_arrays_of_the_models_backend_are_divided_too(xp: Any) -> None:
    def history(x: Any, y: Any) -> Any:
        model = Sequential([Dense(3, "softmax")], seed=0, backend=xp)
        model.compile("sgd", "sparse_categorical_crossentropy")
        return model.fit(
            x, y, validation_split=0.25, validation_strategy="stratified", batch_size=8, epochs=2, verbose=0
        ).history

    x = np.stack([ROWS, ROWS[::-1]], axis=1).astype("float32") / 40
    assert history(xp.asarray(x), xp.asarray(CLASSES)) == history(x, CLASSES)


def test_sample_weights_stay_with_their_rows() -> None:
    x = ROWS[:, None] / 40.0
    model = Sequential([Dense(1, kernel_initializer="zeros")], seed=0)
    model.compile("sgd", "mse")
    weights = np.where(CLASSES == 2, 1.0, 0.0)
    y = np.where(CLASSES == 2, 1.0, 1e6)[:, None]
    history = model.fit(
        x, y, sample_weight=weights, validation_split=0.5, validation_strategy="stratified", verbose=0, batch_size=40
    )
    assert history.history["loss"] == pytest.approx([4 / 20])  # of the classes that count: 4 rows of 20
    assert history.history["val_loss"][0] < 1


@pytest.mark.parametrize(
    ("y", "received"),
    [(np.zeros((40, 2, 3)), "shape (40, 2, 3)"), (None, "none")],
)
def test_what_are_no_classes(y: Any, received: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        divided("stratified", 40, 30, y, seed=0)
    assert str(raised.value) == (
        f"fit: validation_strategy='stratified' needs targets that are classes, whole numbers, one a row. "
        f"Received: {received}"
    )
