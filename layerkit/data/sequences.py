"""Sequences of different lengths in one array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from layerkit.checks import check_count, check_name, is_a, shown
from layerkit.errors import ArgumentError, DataError, ShapeError

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_SIDES = ("pre", "post")


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: DTypeLike = "int32",
    padding: Literal["pre", "post"] = "pre",
    truncating: Literal["pre", "post"] = "pre",
    value: Any = 0.0,
) -> NDArray[Any]:
    """Return sequences as rows of one length.

    Args:
        sequences: lists, or arrays whose first axis is that of steps.
        maxlen: the length of a row; by default that of the longest sequence.
        dtype: of the result; numbers are converted as NumPy does, so that integers cut fractions off.
        padding: whether shorter sequences are filled up at their beginning ("pre") or end ("post").
        truncating: whether longer ones are cut at their beginning or end.
        value: what they are filled up with.

    Shapes:
        a sequence: (steps, ...). The result: (sequences, maxlen, ...).

    Raises:
        DataError: an item is no sequence.
        ShapeError: the steps of two sequences differ in shape.
        ArgumentError: another argument is out of its range.
    """
    name = "pad_sequences"
    check_name(name, _SIDES, padding=padding)
    check_name(name, _SIDES, truncating=truncating)
    kind = np.dtype(dtype)
    if is_a(value, str) and kind.kind not in "OUS":
        raise ArgumentError(
            f"{name}: value must be of the dtype. Received: value={value!r}, dtype={kind}. Text of any length needs "
            f"dtype=object."
        )
    if not hasattr(sequences, "__len__"):
        raise DataError(f"{name}: sequences must be a list of sequences. Received: {shown(sequences)}")
    for index, sequence in enumerate(sequences):
        if not hasattr(sequence, "__len__") or is_a(sequence, str, bytes):
            raise DataError(
                f"{name}: each item of sequences must be a sequence. Received: {shown(sequence)} at {index}"
            )
    length = max(map(len, sequences), default=0) if maxlen is None else check_count(name, 1, maxlen=maxlen)
    step_shape = next((np.shape(sequence)[1:] for sequence in sequences if len(sequence)), ())
    rows = np.full((len(sequences), length, *step_shape), value, kind)
    for index, sequence in enumerate(sequences):
        if not len(sequence):
            continue
        steps = np.asarray(sequence[-length:] if truncating == "pre" else sequence[:length], kind)
        if steps.shape[1:] != step_shape:
            raise ShapeError(
                f"{name}: the steps of all sequences must have one shape, {step_shape}. "
                f"Received: shape {steps.shape[1:]} in sequence {index}"
            )
        place = slice(length - len(steps), None) if padding == "pre" else slice(len(steps))
        rows[index, place] = steps
    return rows
