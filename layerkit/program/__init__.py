"""Recording what is computed, and its derivative."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.names import loaded_later
from layerkit.program.array import Place, RecordedArray, leaves
from layerkit.program.frames import users_frame, users_line
from layerkit.program.recorder import Recorder, active_recorder, inference, not_recording, recording

if TYPE_CHECKING:
    from layerkit.program.capture import Capture, Refusal, record
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
    from layerkit.program.purity import Snapshot, snapshot

# A model whose layers have derivatives of their own, and that takes a few steps, needs none of it.
__getattr__, __dir__ = loaded_later(
    __name__,
    {
        "capture": ("Capture", "Refusal", "record"),
        "derivative": ("Tape", "pull_back"),
        "functions": (
            *("differentiable", "grad", "hessian_vector_product", "jacobian", "register_derivative", "value_and_grad"),
        ),
        "program": ("Instruction", "Origin", "Program", "Spec"),
        "purity": ("Snapshot", "snapshot"),
    },
)

__all__ = [
    "Capture",
    "Instruction",
    "Origin",
    "Place",
    "Program",
    "RecordedArray",
    "Recorder",
    "Refusal",
    "Snapshot",
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
    "snapshot",
    "users_frame",
    "users_line",
    "value_and_grad",
]
