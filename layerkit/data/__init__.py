"""Data before training: encoding, scaling, padding, cutting and splitting it, and datasets that load it in batches.

Under Keras's names; `layerkit.utils` has them too.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit.data.encoding import normalize, to_categorical
    from layerkit.data.py_dataset import PyDataset, Sequence
    from layerkit.data.seeding import set_random_seed
    from layerkit.data.sequences import pad_sequences
    from layerkit.data.splitting import split_dataset
    from layerkit.data.windows import timeseries_dataset_from_array

# Each is loaded when it is first asked for.
_MODULES = {
    "PyDataset": "py_dataset",
    "Sequence": "py_dataset",
    "normalize": "encoding",
    "pad_sequences": "sequences",
    "set_random_seed": "seeding",
    "split_dataset": "splitting",
    "timeseries_dataset_from_array": "windows",
    "to_categorical": "encoding",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return value


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
