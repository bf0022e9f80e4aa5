"""Which rows are held out for validation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import check_name
from layerkit.errors import ArgumentError
from layerkit.training.arrays import check_range
from layerkit.xp.random import stream_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

STRATEGIES = ("last", "random", "stratified")


def check_strategy(strategy: Any, share: Any) -> str:
    """Return how rows are divided.

    Raises:
        ArgumentError: it is none of the strategies, or there is nothing to divide.
    """
    check_name("fit", STRATEGIES, validation_strategy=strategy)
    if strategy != "last" and not share:
        raise ArgumentError(
            f"fit: validation_strategy says how validation_split divides the rows. "
            f"Received: validation_strategy={strategy!r} without validation_split"
        )
    return strategy


def divided(strategy: str, rows: int, first: int, y: NDArray[Any] | None, seed: int) -> tuple[Any, Any]:
    """Return the numbers of the rows to train on, `first` of them, and of those that are held out, each in order.

    Args:
        strategy: "random", or "stratified": of each class (or value of y) the same share, as nearly as can be.
        rows: how many there are.
        first: how many of them to train on.
        y: classes, as indices or one-hot.
        seed: the same seed holds out the same rows.
    """
    key = np.array(stream_key(seed, "validation"), np.uint64)
    shuffled = np.random.Generator(np.random.Philox(key=key)).permutation(rows)
    is_held = np.zeros(rows, bool)
    if strategy == "stratified":
        classes = np.unique(_classes(y), return_inverse=True)[1]
        counts = np.bincount(classes)
        quotas = counts * ((rows - first) / rows)
        held = np.floor(quotas).astype(np.int64)
        # What rounding down leaves goes to the largest remainders (Hare and Niemeyer).
        held[np.argsort(held - quotas, kind="stable")[: rows - first - held.sum()]] += 1
        by_class = shuffled[np.argsort(classes[shuffled], kind="stable")]
        for start, count in zip(np.cumsum(counts) - counts, held, strict=True):
            is_held[by_class[start : start + count]] = True
    else:
        is_held[shuffled[first:]] = True
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _classes(y: NDArray[Any] | None) -> NDArray[Any]:
    rule = "fit: validation_strategy='stratified' needs targets that are classes, whole numbers, one a row."
    if y is not None and y.ndim == 2:
        y = np.argmax(y, axis=-1) if y.shape[-1] > 1 else y[:, 0]
    if y is None or y.ndim != 1:
        raise ArgumentError(f"{rule} Received: {'none' if y is None else f'shape {y.shape}'}")
    check_range(y, -np.inf, np.inf, rule, whole=True)
    return y
