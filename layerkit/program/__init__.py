"""Recording what is computed, and its derivative."""

from layerkit.program.array import RecordedArray
from layerkit.program.derivative import Tape, pull_back
from layerkit.program.functions import (
    differentiable,
    grad,
    hessian_vector_product,
    jacobian,
    register_derivative,
    value_and_grad,
)
from layerkit.program.recorder import Recorder, active_recorder, inference, not_recording, recording

__all__ = [
    "RecordedArray",
    "Recorder",
    "Tape",
    "active_recorder",
    "differentiable",
    "grad",
    "hessian_vector_product",
    "inference",
    "jacobian",
    "not_recording",
    "pull_back",
    "recording",
    "register_derivative",
    "value_and_grad",
]
