"""Muon."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.checks import check_at_least, check_count, check_flag, check_fraction, check_number, check_positive
from layerkit.optimizers.optimizer import Optimizer, squared_norm
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


class Muon(Optimizer):
    """Momentum whose singular values are made equal (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon).

    For a matrix: ``m ← g + μ m``, ``x = g + μ m`` (m itself without Nesterov's form), and x, divided by its Frobenius
    norm, goes n times through ``x ← (a I + b A + c A²) x`` with ``A = x xᵀ`` (Newton and Schulz). Then
    ``w ← w - η ρ √max(rows, columns) x`` (Liu et al., arXiv:2502.16982, section 2.2). All other parameters, and those
    that are excluded, follow AdamW.

    Args:
        learning_rate: η.
        adam_beta_1: Adam's β₁, from 0 to below 1.
        adam_beta_2: Adam's β₂, from 0 to below 1.
        adam_weight_decay: weight decay of Adam's parameters, at least 0, or None.
        epsilon: Adam's ε, above 0.
        weight_decay: that of the matrices, at least 0, or None.
        exclude_layers: regular expressions; parameters whose paths hold a match follow AdamW.
        exclude_embeddings: whether those do whose paths hold "embedding".
        muon_a: a.
        muon_b: b.
        muon_c: c.
        adam_lr_ratio: Adam's learning rate, over η; at least 0.
        momentum: μ, from 0 to 1.
        ns_steps: n, at least 1.
        nesterov: whether Nesterov's form is used.
        rms_rate: ρ, above 0; None for steps of η x.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    elementwise: ClassVar[bool] = False
    slot_names: ClassVar[tuple[str, ...]] = ("momentum", "velocity")

    def __init__(
        self,
        learning_rate: float = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        *,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay, **kwargs)
        self.adam_beta_1 = check_fraction("Muon", below_1=True, adam_beta_1=adam_beta_1)
        self.adam_beta_2 = check_fraction("Muon", below_1=True, adam_beta_2=adam_beta_2)
        if adam_weight_decay is not None:
            check_at_least("Muon", 0, adam_weight_decay=adam_weight_decay)
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = check_positive("Muon", epsilon=epsilon)
        self.exclude_layers = tuple(exclude_layers or ())
        self.exclude_embeddings = check_flag("Muon", exclude_embeddings=exclude_embeddings)
        self.muon_a = check_number("Muon", muon_a=muon_a)
        self.muon_b = check_number("Muon", muon_b=muon_b)
        self.muon_c = check_number("Muon", muon_c=muon_c)
        self.adam_lr_ratio = check_at_least("Muon", 0, adam_lr_ratio=adam_lr_ratio)
        self.momentum = check_fraction("Muon", momentum=momentum)
        self.ns_steps = check_count("Muon", 1, ns_steps=ns_steps)
        self.nesterov = check_flag("Muon", nesterov=nesterov)
        if rms_rate is not None:
            check_positive("Muon", rms_rate=rms_rate)
        self.rms_rate = rms_rate

    def _follows_adam(self, variable: Variable) -> bool:
        embedding = self.exclude_embeddings and "embedding" in variable.path.lower()
        excluded = any(re.search(pattern, variable.path) for pattern in self.exclude_layers)
        return variable.ndim != 2 or embedding or excluded

    @override
    def slot_shape(self, name: str, variable: Variable) -> tuple[int, ...] | None:
        return variable.shape if name == "momentum" or self._follows_adam(variable) else None

    @override
    def decay_of(self, variable: Variable) -> float | None:
        decay = super().decay_of(variable)
        if self._follows_adam(variable) and not self.is_undecayed(variable):
            return self.adam_weight_decay
        return decay

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> tuple[Array, Array]:
        correction = xp.sqrt(1.0 - xp.pow(self.adam_beta_2, t)) / (1.0 - xp.pow(self.adam_beta_1, t))
        return learning_rate, learning_rate * self.adam_lr_ratio * correction

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: tuple[Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        rate, adam_rate = step_size
        if "velocity" in slots:
            m = slots["momentum"] + (g - slots["momentum"]) * (1.0 - self.adam_beta_1)
            v = slots["velocity"] + (g * g - slots["velocity"]) * (1.0 - self.adam_beta_2)
            return m * -adam_rate / (xp.sqrt(v) + self.epsilon), {"momentum": m, "velocity": v}
        m = g + self.momentum * slots["momentum"]
        x = self._orthogonal(xp, g + self.momentum * m if self.nesterov else m)
        size = 1.0 if self.rms_rate is None else math.sqrt(max(x.shape)) * self.rms_rate
        return x * -(rate * size), {"momentum": m}

    def _orthogonal(self, xp: Backend, x: Array) -> Array:
        tall = x.shape[0] > x.shape[1]  # then from the other side, where A is the smaller: (b x xᵀ) x = x (b xᵀ x)
        x = x / (xp.sqrt(squared_norm(xp, x)) + 1e-7)
        first = self.muon_a * xp.eye(min(x.shape), dtype=x.dtype)
        for _ in range(self.ns_steps):
            transposed = xp.matrix_transpose(x)
            a = xp.matmul(transposed, x) if tall else xp.matmul(x, transposed)
            polynomial = first + self.muon_b * a + self.muon_c * xp.matmul(a, a)
            x = xp.matmul(x, polynomial) if tall else xp.matmul(polynomial, x)
        return x
