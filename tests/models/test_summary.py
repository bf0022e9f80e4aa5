"""The table that `summary` prints."""

from __future__ import annotations

import io
import sys

from layerkit import Sequential
from layerkit.layers import Dense, Sigmoid

ASCII = """\
Model: "sequential"
+-------------------+--------------+--------+
| Layer (type)      | Output shape | Params |
+-------------------+--------------+--------+
| dense (Dense)     | (None, 4)    |     16 |
| sigmoid (Sigmoid) | (None, 4)    |      0 |
+-------------------+--------------+--------+
 Total params: 16 (64.00 B)
 Trainable params: 16 (64.00 B)
 Non-trainable params: 0 (0.00 B)
"""


def printed(encoding: str, monkeypatch) -> str:
    model = Sequential([Dense(4), Sigmoid()])
    model.build((None, 3))
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    model.summary()
    stream.flush()
    return raw.getvalue().decode(encoding)


def test_a_stream_without_frames_gets_ascii(monkeypatch):
    assert printed("ascii", monkeypatch) == ASCII


def test_a_stream_with_frames_gets_the_same_table_in_frames(monkeypatch):
    text = printed("utf-8", monkeypatch)
    assert text.translate(str.maketrans("│─┌┬┐├┼┤└┴┘", "|-+++++++++")) == ASCII
    assert "┌" in text
