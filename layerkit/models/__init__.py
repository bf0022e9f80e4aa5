"""Models: declaring them, saving and loading them, and the door to training."""

from layerkit.models.loading import clone_model, load_model, model_from_json
from layerkit.models.model import Model
from layerkit.models.resuming import resume
from layerkit.models.sequential import Sequential
from layerkit.names import Names

__all__ = ["Model", "Sequential", "clone_model", "load_model", "model_from_json", "resume"]

NAMES = Names[Model](Model, (Sequential,), accepted="a Model", room=__name__)
