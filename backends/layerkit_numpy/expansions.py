"""Words of several passes, as the passes that NumPy's backend makes: the same bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.xp import reference

if TYPE_CHECKING:
    from collections.abc import Callable


def _sigmoid(xp: Any, x: Any) -> Any:
    return xp.reciprocal(xp.exp(xp.negative(x)) + 1.0)


def linear_grad(xp: Any, x: Any, kernel: Any, dy: Any, *, input_gradient: bool = True) -> Any:
    """Return dx, dkernel and dbias: see `layerkit.xp.reference.linear_grad`."""
    rows_x = xp.reshape(x, (-1, x.shape[-1])) if x.ndim != 2 else x
    rows_dy = xp.reshape(dy, (-1, dy.shape[-1])) if dy.ndim != 2 else dy
    dx = xp.matmul(dy, kernel.T) if input_gradient else None
    # Sums over rows are a product too, which costs a fraction of a reduction.
    return dx, xp.matmul(rows_x.T, rows_dy), xp.matmul(xp.ones(len(rows_dy), dtype=dy.dtype), rows_dy)


_AS_DEFINED = ("linear", "softplus", "erfc", "softmax", "log_softmax", "one_hot", "mean")

EXPANSIONS: dict[str, Callable[..., Any]] = {
    **{"sigmoid": _sigmoid, "linear_grad": linear_grad},
    **{word: getattr(reference, word) for word in _AS_DEFINED},
}
