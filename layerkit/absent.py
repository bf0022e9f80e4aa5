"""What Keras has and layerkit has not: what is said, and done instead, where such a name is asked for."""

from __future__ import annotations

import re

_CUSTOM = "Classes of one's own are not registered: load_model(path, custom_objects={'Name': Name}) takes them."

# The names of a package, as a pattern, and what takes their place.
_INSTEAD = {
    "layerkit": (
        ("ops", "Layers, losses and metrics are given these words as xp: xp.mean(x). Elsewhere, NumPy has them."),
        ("random", "A model draws by its own seed, Sequential(…, seed=0), and a layer from its add_stream."),
        ("datasets|applications", "No data sets and no trained models come with layerkit."),
        ("saving", f"Models are read by load_model. {_CUSTOM}"),
    ),
    "layerkit.layers": (
        ("TimeDistributed", "Dense, EinsumDense and all that act on the last axis take any number of axes before it."),
        (
            r".*(Conv|Pool|LSTM|GRU|RNN|Attention).*|Bidirectional",
            "Not in this version: convolutions, pooling, recurrent layers and attention.",
        ),
        ("Random.*|CenterCrop|Resizing|MixUp|CutMix|RandAugment", "Not in this version: layers that change images."),
    ),
    "layerkit.utils": (
        ("register_keras_serializable|(get_custom_|custom_)object.*|CustomObjectScope", _CUSTOM),
        ("plot_model|model_to_dot", "model.summary() prints the layers, and model.explain(x, y) a step."),
    ),
}


def missing(package: str, name: str) -> str:
    """Return what an AttributeError says of a name that a package does not have."""
    found = (remedy for pattern, remedy in _INSTEAD.get(package, ()) if re.fullmatch(pattern, name))
    remedy = next(found, "")
    return f"module {package!r} has no attribute {name!r}" + (f". {remedy}" if remedy else "")
