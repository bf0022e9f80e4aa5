"""Schedules: the learning rate as a function of the number of steps taken, under Keras's names and with its formulas.

A schedule is computed within the step, in words of the backend, so that a recorded step computes it again each time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.checks import check_at_least, check_flag, check_fraction, check_number, check_positive, shown
from layerkit.configurable import Configurable
from layerkit.descriptions import serialize
from layerkit.errors import ArgumentError
from layerkit.names import Names
from layerkit.overriding import override
from layerkit.xp.registry import backend

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.xp.backend import Array, Backend


class LearningRateSchedule(Configurable):
    """A learning rate that depends on the step.

    A subclass gives ``call(xp, step)``, in words of the backend `xp` over float64 `step`, which counts from 0. One that
    gives Keras's ``__call__(step)`` is asked with that array.
    """

    def call(self, xp: Backend, step: Array) -> Any:
        """Return the learning rate after so many steps."""
        if type(self).__call__ is LearningRateSchedule.__call__:
            raise ArgumentError(
                f"{type(self).__name__}: a schedule must define call(self, xp, step). Received: none. "
                f"See layerkit.optimizers.schedules.ExponentialDecay for an example."
            )
        return self(step)

    def __call__(self, step: Any) -> Any:
        """Return the learning rate after a number of steps: a float; for an array of numbers, an array."""
        xp = backend("numpy")
        rate = xp.to_numpy(xp.asarray(self.call(xp, xp.asarray(step, "float64")), "float64"))
        return rate if rate.ndim else float(rate)


class FunctionSchedule(LearningRateSchedule):
    """A user's function of the number of steps taken, or of nothing.

    Args:
        function: ``f(step)`` or ``f()``.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self._takes_step = _needs_an_argument(function)

    @override
    def call(self, xp: Backend, step: Array) -> Any:
        return self.function(step) if self._takes_step else self.function()


class ExponentialDecay(LearningRateSchedule):
    """``η₀ r^(step / s)``.

    Args:
        initial_learning_rate: η₀, at least 0.
        decay_steps: s, above 0.
        decay_rate: r, at least 0.
        staircase: whether the exponent is rounded down.
        name: a name.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        owner = type(self).__name__
        self.initial_learning_rate = check_at_least(owner, 0, initial_learning_rate=initial_learning_rate)
        self.decay_steps = check_positive(owner, decay_steps=decay_steps)
        self.decay_rate = check_at_least(owner, 0, decay_rate=decay_rate)
        self.staircase = check_flag(owner, staircase=staircase)
        self.name = name

    def periods(self, xp: Backend, step: Array) -> Array:
        """Return ``step / s``, rounded down if `staircase` is set."""
        return xp.floor(step / self.decay_steps) if self.staircase else step / self.decay_steps

    @override
    def call(self, xp: Backend, step: Array) -> Array:
        return self.initial_learning_rate * xp.pow(float(self.decay_rate), self.periods(xp, step))


class InverseTimeDecay(ExponentialDecay):
    """``η₀ / (1 + r step / s)``.

    Args:
        initial_learning_rate: η₀, at least 0.
        decay_steps: s, above 0.
        decay_rate: r, at least 0.
        staircase: whether ``step / s`` is rounded down.
        name: a name.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        super().__init__(initial_learning_rate, decay_steps, decay_rate, staircase, name)

    @override
    def call(self, xp: Backend, step: Array) -> Array:
        return self.initial_learning_rate / (1.0 + self.decay_rate * self.periods(xp, step))


class PiecewiseConstantDecay(LearningRateSchedule):
    """``values[i]`` while step ≤ ``boundaries[i]``, and the last value after that.

    Args:
        boundaries: numbers of steps, each above the one before.
        values: learning rates, at least 0: one more than boundaries.
        name: a name.

    Raises:
        ArgumentError: there are no boundaries, or another number of values than that, or one is out of its range.
    """

    def __init__(self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant") -> None:
        owner = type(self).__name__
        if len(boundaries) != len(values) - 1 or not boundaries:
            raise ArgumentError(
                f"{owner}: there must be boundaries, and one value more than boundaries. Received: "
                f"{len(boundaries)} boundaries and {len(values)} values"
            )
        self.boundaries = tuple([check_number(owner, boundaries=each) for each in boundaries])
        if any(a >= b for a, b in zip(self.boundaries, self.boundaries[1:], strict=False)):
            raise ArgumentError(
                f"{owner}: each of boundaries must be above the one before. Received: boundaries={shown(boundaries)}"
            )
        self.values = tuple([check_at_least(owner, 0, values=each) for each in values])
        self.name = name

    @override
    def call(self, xp: Backend, step: Array) -> Array:
        rate = xp.full_like(step, self.values[-1])
        for boundary, value in zip(reversed(self.boundaries), reversed(self.values[:-1]), strict=True):
            rate = xp.where(step <= boundary, xp.full_like(step, value), rate)
        return rate


class PolynomialDecay(LearningRateSchedule):
    """``(η₀ - η₁) (1 - step / s)^p + η₁``, and η₁ after s steps.

    With `cycle`, s grows instead to the next multiple of it that is not below step.

    Args:
        initial_learning_rate: η₀, at least 0.
        decay_steps: s, above 0.
        end_learning_rate: η₁, at least 0.
        power: p, at least 0.
        cycle: whether the rate rises again.
        name: a name.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        owner = type(self).__name__
        self.initial_learning_rate = check_at_least(owner, 0, initial_learning_rate=initial_learning_rate)
        self.decay_steps = check_positive(owner, decay_steps=decay_steps)
        self.end_learning_rate = check_at_least(owner, 0, end_learning_rate=end_learning_rate)
        self.power = check_at_least(owner, 0, power=power)
        self.cycle = check_flag(owner, cycle=cycle)
        self.name = name

    @override
    def call(self, xp: Backend, step: Array) -> Array:
        part = step / self.decay_steps
        if self.cycle:
            part = part / xp.maximum(xp.ceil(part), 1.0)
        left = 1.0 - xp.minimum(part, 1.0)
        return (self.initial_learning_rate - self.end_learning_rate) * xp.pow(
            left, float(self.power)
        ) + self.end_learning_rate


class CosineDecay(LearningRateSchedule):
    """``η₀ ((1 - α) (1 + cos(π step / s)) / 2 + α)``, and α η₀ after s steps (Loshchilov and Hutter, ICLR 2017).

    With a warm-up of v steps to η₁: ``η₀ + (η₁ - η₀) step / v`` first, and then the above from η₁ down.

    Args:
        initial_learning_rate: η₀, at least 0.
        decay_steps: s, above 0; the warm-up is not among them.
        alpha: α, from 0 to 1.
        name: a name.
        warmup_target: η₁, at least 0; None for no warm-up.
        warmup_steps: v, at least 0.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        owner = type(self).__name__
        self.initial_learning_rate = check_at_least(owner, 0, initial_learning_rate=initial_learning_rate)
        self.decay_steps = check_positive(owner, decay_steps=decay_steps)
        self.alpha = check_fraction(owner, alpha=alpha)
        if warmup_target is not None:
            check_at_least(owner, 0, warmup_target=warmup_target)
        self.warmup_target = warmup_target
        self.warmup_steps = check_at_least(owner, 0, warmup_steps=warmup_steps)
        self.name = name

    @override
    def call(self, xp: Backend, step: Array) -> Array:
        if self.warmup_target is None:
            return self._cosine(xp, step, self.initial_learning_rate)
        decayed = self._cosine(xp, step - self.warmup_steps, self.warmup_target)
        if not self.warmup_steps:
            return decayed
        rise = self.warmup_target - self.initial_learning_rate
        rising = rise * (step / self.warmup_steps) + self.initial_learning_rate
        return xp.where(step < self.warmup_steps, rising, decayed)

    def _cosine(self, xp: Backend, step: Array, highest: float) -> Array:
        part = xp.minimum(step, float(self.decay_steps)) / self.decay_steps
        return highest * ((1.0 - self.alpha) * (0.5 * (1.0 + xp.cos(math.pi * part))) + self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """``η₀ ((1 - α) m^i (1 + cos(π u)) / 2 + α)`` in the i-th period, i = 0, 1, …, of which a part u is over.

    The first period takes s steps, each further one t times as many (Loshchilov and Hutter, ICLR 2017).

    Args:
        initial_learning_rate: η₀, at least 0.
        first_decay_steps: s, above 0.
        t_mul: t, at least 1.
        m_mul: m, at least 0.
        alpha: α, from 0 to 1.
        name: a name.

    Raises:
        ArgumentError: a number is out of its range.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        owner = type(self).__name__
        self.initial_learning_rate = check_at_least(owner, 0, initial_learning_rate=initial_learning_rate)
        self.first_decay_steps = check_positive(owner, first_decay_steps=first_decay_steps)
        self.t_mul = check_at_least(owner, 1, t_mul=t_mul)
        self.m_mul = check_at_least(owner, 0, m_mul=m_mul)
        self.alpha = check_fraction(owner, alpha=alpha)
        self.name = name

    @override
    def call(self, xp: Backend, step: Array) -> Array:
        part = step / self.first_decay_steps
        t = float(self.t_mul)
        if t == 1.0:
            period = xp.floor(part)
            part = part - period
        else:
            period = xp.floor(xp.log(1.0 - part * (1.0 - t)) / math.log(t))
            length = xp.pow(t, period)
            part = (part - (1.0 - length) / (1.0 - t)) / length
        cosine = 0.5 * xp.pow(float(self.m_mul), period) * (1.0 + xp.cos(math.pi * part))
        return self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha)


NAMES = Names[LearningRateSchedule](
    LearningRateSchedule,
    (CosineDecay, CosineDecayRestarts, ExponentialDecay, InverseTimeDecay, PiecewiseConstantDecay, PolynomialDecay),
    accepted="a LearningRateSchedule, or a function of the number of steps taken or of nothing",
    kind="learning_rate",
    from_function=FunctionSchedule,
    room=__name__,
)

get = NAMES.get
deserialize = NAMES.deserialize


def _needs_an_argument(function: Callable[..., Any]) -> bool:
    import inspect  # slow to load

    try:
        given = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function of NumPy, say
        return True
    places = [each for each in given if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    needed = [each for each in given if each.default is each.empty and each.kind is not each.VAR_KEYWORD]
    if len([each for each in needed if each in places]) > 1 or any(each.kind is each.KEYWORD_ONLY for each in needed):
        raise ArgumentError(
            f"learning_rate: a function must take the number of steps taken, or nothing. Received: {shown(function)}"
        )
    return bool(needed)


__all__ = [
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "InverseTimeDecay",
    "LearningRateSchedule",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "deserialize",
    "get",
    "serialize",
]
