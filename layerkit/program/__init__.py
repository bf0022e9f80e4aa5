"""Recording what is computed, and its derivative."""

from layerkit.program.array import Place, RecordedArray, leaves
from layerkit.program.capture import Capture, Refusal, record, users_frame, users_line
from layerkit.program.derivative import Tape, pull_back
from layerkit.program.functions import (
    differentiable,
    grad,
    hessian_vector_product,
    jacobian,
    register_derivative,
    value_and_grad,
)
from layerkit.program.program import Instruction, Origin, Program, Spec
from layerkit.program.recorder import Recorder, active_recorder, inference, not_recording, recording

__all__ = [
    "Capture",
    "Instruction",
    "Origin",
    "Place",
    "Program",
    "RecordedArray",
    "Recorder",
    "Refusal",
    "Spec",
    "Tape",
    "active_recorder",
    "differentiable",
    "grad",
    "hessian_vector_product",
    "inference",
    "jacobian",
    "leaves",
    "not_recording",
    "pull_back",
    "record",
    "recording",
    "register_derivative",
    "users_frame",
    "users_line",
    "value_and_grad",
]
