"""The door to the room of saving, which knows the built-in models through this file. Loaded when one is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit import models
from layerkit.models.model import Model
from layerkit.saving import document, reader, table, writer
from layerkit.saving.encoding import Encoder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from layerkit.xp import Backend

__all__ = ["reader", "to_json", "writer"]

table.hold_models(Model, *(getattr(models, name) for name in models.__all__))


def to_json(model: Model) -> str:
    """Return the configuration of a model as JSON."""
    return document.dumps(writer.architecture(model, None, Encoder())).decode("ascii")


def reduced(model: Model) -> tuple[Any, ...]:
    """Return what `copy` and `pickle` make a copy of: an image of a file, read by the same reader."""
    image, carried = writer.image(model, model.step)
    return restored, (image, carried, model.xp)


def restored(image: bytes, carried: Mapping[str, Any], backend: Backend) -> Model:
    """Return the model of an image."""
    return reader.from_image(image, carried, backend)
