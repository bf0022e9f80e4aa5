"""Adafactor."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar, Unpack

from layerkit.checks import check_flag, check_number, check_positive
from layerkit.errors import ArgumentError
from layerkit.optimizers.optimizer import Optimizer, OptimizerArguments, squared_norm
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable


class Adafactor(Optimizer):
    """Adam without momentum, whose v of a matrix is known by its rows and columns (Shazeer and Stern, ICML 2018).

    With ``β = 1 - t^d`` at step t = 1, 2, … and ``s = g² + ε₁``: for a parameter of one axis or none
    ``v ← β v + (1 - β) s``; for others, over the last two axes, ``r ← β r + (1 - β) mean(s, -1)``,
    ``c ← β c + (1 - β) mean(s, -2)`` and v = r c / mean(r, -1). Then ``u = g / √v``,
    ``w ← w - max(ε₂, rms(w)) min(η, 1 / √t) u / max(1, rms(u) / threshold)``.

    Args:
        learning_rate: η.
        beta_2_decay: d, at most 0.
        epsilon_1: ε₁, above 0.
        epsilon_2: ε₂, above 0.
        clip_threshold: above 0.
        relative_step: taken for Keras's sake: its steps are at most 1 / √t whether or not it is set.
        kwargs: what every `Optimizer` takes.

    Raises:
        ArgumentError: a number is out of its range.
    """

    elementwise: ClassVar[bool] = False
    slot_names: ClassVar[tuple[str, ...]] = ("rows", "columns", "velocity")

    def __init__(
        self,
        learning_rate: float = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **kwargs: Unpack[OptimizerArguments],
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        if check_number("Adafactor", beta_2_decay=beta_2_decay) > 0:
            raise ArgumentError(f"Adafactor: beta_2_decay must be at most 0. Received: beta_2_decay={beta_2_decay}")
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = check_positive("Adafactor", epsilon_1=epsilon_1)
        self.epsilon_2 = check_positive("Adafactor", epsilon_2=epsilon_2)
        self.clip_threshold = check_positive("Adafactor", clip_threshold=clip_threshold)
        self.relative_step = check_flag("Adafactor", relative_step=relative_step)

    @override
    def slot_shape(self, name: str, variable: Variable) -> tuple[int, ...] | None:
        shape = variable.shape
        if (name == "velocity") is (len(shape) > 1):
            return None
        return {"rows": shape[:-1], "columns": (*shape[:-2], *shape[-1:]), "velocity": shape}[name]

    @override
    def step_size(self, xp: Backend, learning_rate: Array, t: Array) -> tuple[Array, Array]:
        return xp.minimum(learning_rate, 1.0 / xp.sqrt(t)), xp.pow(t, float(self.beta_2_decay))

    @override
    def rule(
        self, xp: Backend, w: Array, g: Array, slots: dict[str, Array], step_size: tuple[Array, Array]
    ) -> tuple[Array, dict[str, Array]]:
        rate, share = step_size
        s = g * g
        if "velocity" in slots:
            means = {"velocity": s}
        else:
            means = {"rows": xp.vecdot(g, g) / g.shape[-1], "columns": xp.mean(s, axis=-2)}
        changed = {name: slots[name] * (1.0 - share) + (mean + self.epsilon_1) * share for name, mean in means.items()}
        if "velocity" in changed:
            u = g / xp.sqrt(changed["velocity"])
        else:  # the root of a product is the product of roots, of which there are fewer
            rows = changed["rows"] / xp.mean(changed["rows"], axis=-1, keepdims=True)
            factors = 1.0 / xp.sqrt(rows), 1.0 / xp.sqrt(changed["columns"])
            u = g * xp.expand_dims(factors[0], axis=-1) * xp.expand_dims(factors[1], axis=-2)
        excess = xp.maximum(_rms(xp, u) / self.clip_threshold, 1.0)
        size = xp.maximum(_rms(xp, w), self.epsilon_2) * rate  # later, so that w is still in cache when it is changed
        return u * -(size / excess), changed


def _rms(xp: Backend, x: Array) -> Array:
    return xp.sqrt(squared_norm(xp, x) / max(math.prod(x.shape), 1))
