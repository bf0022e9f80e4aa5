"""PyTorch's jobs with the optimizer's fused kernel, which a user has to ask for."""

from __future__ import annotations

from typing import Any, ClassVar

from tests.benchmarks.peers import with_torch


class Fit(with_torch.Fit):
    """The same with `fused`."""

    options: ClassVar[dict[str, Any]] = {"fused": True}


JOBS = {"fit": Fit}
