"""Data before training: encoding, scaling, padding, cutting and splitting it, and datasets that load it in batches.

Under Keras's names; `layerkit.utils` has them too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.names import loaded_later

if TYPE_CHECKING:
    from layerkit.data.encoding import normalize, to_categorical
    from layerkit.data.py_dataset import PyDataset, Sequence
    from layerkit.data.seeding import set_random_seed
    from layerkit.data.sequences import pad_sequences
    from layerkit.data.splitting import split_dataset
    from layerkit.data.windows import timeseries_dataset_from_array

# Each is loaded when it is first asked for.
__getattr__, __dir__ = loaded_later(
    __name__,
    {
        "encoding": ("normalize", "to_categorical"),
        "py_dataset": ("PyDataset", "Sequence"),
        "seeding": ("set_random_seed",),
        "sequences": ("pad_sequences",),
        "splitting": ("split_dataset",),
        "windows": ("timeseries_dataset_from_array",),
    },
)

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
