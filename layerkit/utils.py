"""Keras's place for the names of `layerkit.data`; nothing of its own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from layerkit import data

if TYPE_CHECKING:
    from layerkit.data import (
        PyDataset,
        Sequence,
        normalize,
        pad_sequences,
        set_random_seed,
        split_dataset,
        timeseries_dataset_from_array,
        to_categorical,
    )


def __getattr__(name: str) -> Any:
    if name in data.__all__:
        return getattr(data, name)
    from layerkit.absent import missing  # only errors need it

    raise AttributeError(missing(__name__, name), name=name, obj=sys.modules[__name__])


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "PyDataset",
    "Sequence",
    "normalize",
    "pad_sequences",
    "set_random_seed",
    "split_dataset",
    "timeseries_dataset_from_array",
    "to_categorical",
]
