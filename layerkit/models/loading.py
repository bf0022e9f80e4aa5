"""Models from files, from JSON, and from models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import is_a
from layerkit.errors import ArgumentError
from layerkit.models.model import Model

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from layerkit.xp import Backend


def load_model(
    filepath: str | os.PathLike[str],
    custom_objects: Mapping[str, Any] | None = None,
    compile: bool = True,
    *,
    backend: str | Backend | None = None,
) -> Model:
    """Return the model that `Model.save` wrote to a file: it goes on as the saved one would, bit for bit.

    A file cannot make anything happen but what the classes of layerkit do that it names; classes and functions that are
    none of layerkit's must be given. See SECURITY.md.

    Args:
        filepath: ends in ``.layerkit``.
        custom_objects: your own classes and functions, by name: ``{"Swish": Swish}``. They are run as the file says.
        compile: False leaves the model uncompiled, without the state of training.
        backend: where the model shall live; None is the current backend.

    Raises:
        ModelFormatError: the file is damaged, or not what it should be; where and how is told.
        OSError: there is no such file, or it may not be read.
    """
    from layerkit.models.files import reader  # with all that reads and writes files

    return reader.load(filepath, custom_objects, compile=compile, backend=backend)


def model_from_json(
    json_string: str, custom_objects: Mapping[str, Any] | None = None, *, backend: str | Backend | None = None
) -> Model:
    """Return a model with first weights, from what `Model.to_json` gave; the other arguments are `load_model`'s."""
    from layerkit.models.files import reader

    return reader.from_json(json_string, custom_objects, backend)


def clone_model(model: Model) -> Model:
    """Return a model with layers of the same configuration, and first weights of its own. It is not compiled.

    With a seed, the first weights are those of the original.

    Raises:
        ArgumentError: it is no model.
    """
    if not is_a(model, Model):
        raise ArgumentError(f"clone_model: it must be a model. Received: {model!r}")
    clone = type(model).from_config(model.get_config())
    if model.built:
        clone.build_in_place(model.input_shape)
    return clone
