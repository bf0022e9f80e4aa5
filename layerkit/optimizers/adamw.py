"""AdamW."""

from __future__ import annotations

from typing import Any

from layerkit.checks import check_at_least
from layerkit.optimizers.adam import Adam


class AdamW(Adam):
    """Adam with weight decay apart from the gradient: ``w ← w - η d w`` first (Loshchilov and Hutter, ICLR 2019).

    Args:
        learning_rate: η.
        weight_decay: d, at least 0.
        beta_1: see `Adam`.
        beta_2: see `Adam`.
        epsilon: see `Adam`.
        amsgrad: see `Adam`.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        learning_rate: float = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Any,
    ) -> None:
        decay = check_at_least("AdamW", 0, weight_decay=weight_decay)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=decay, **kwargs)
