"""Words of several passes, as the passes that NumPy's backend makes: the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.xp import reference

if TYPE_CHECKING:
    from collections.abc import Callable


def _sigmoid(xp: Any, x: Any) -> Any:
    return xp.reciprocal(xp.exp(xp.negative(x)) + 1.0)


_AS_DEFINED = ("linear", "softplus", "erfc", "softmax", "log_softmax", "one_hot", "mean")

EXPANSIONS: dict[str, Callable[..., Any]] = {
    **{"sigmoid": _sigmoid, "linear_grad": reference.linear_grad_by_products},
    **{word: getattr(reference, word) for word in _AS_DEFINED},
}
