"""What is asked of layers and losses alike: configuration, copies, and nothing kept between passes."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.configurable import Configurable
from layerkit.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from layerkit.xp.backend import Array, Backend


def remade(value: Any, changes: Callable[[type], Mapping[str, Any]], memo: dict[int, Any] | None = None) -> Any:
    """Return a fresh object of the same configuration, with fresh objects inside; one met twice stays one.

    Args:
        value: a layer, loss, initializer, a list of them, or anything plain.
        changes: for a class, the arguments that are set anew.
        memo: what was made of which object.
    """
    memo = {} if memo is None else memo
    if isinstance(value, (list, tuple)):
        return type(value)(remade(item, changes, memo) for item in value)  # pyright: ignore
    if not isinstance(value, Configurable):
        return value
    if id(value) not in memo:
        config = {name: remade(argument, changes, memo) for name, argument in value.get_config().items()}
        config.update(changes(type(value)))
        memo[id(value)] = type(value).from_config(config)
    return memo[id(value)]


def described(value: Any) -> Any:
    """Return a configuration as something that can be compared: objects become their class and configuration."""
    if isinstance(value, Configurable):
        return type(value).__name__, {name: described(argument) for name, argument in value.get_config().items()}
    if isinstance(value, (list, tuple)):
        return [described(item) for item in value]  # pyright: ignore
    return value.tolist() if hasattr(value, "tolist") else value


def check_config(subject: Configurable) -> None:
    """Check that the configuration makes an object of the same configuration."""
    expected, found = described(subject), described(remade(subject, lambda _: {}))
    if found != expected:
        raise ContractError(
            f"{type(subject).__name__}: from_config(get_config()) must give an equal object. "
            f"Received: {expected[1]}, and from it {found[1]}"
        )


def copies(subject: Any) -> dict[str, Any]:
    """Return copies, by how each was made. A class defined in a function cannot be pickled by anyone, and is not."""
    name: str = type(subject).__qualname__
    made = {"copy.deepcopy": copy.deepcopy(subject)}
    if "<locals>" not in name:
        try:
            made["pickle"] = pickle.loads(pickle.dumps(subject))  # noqa: S301 - what has just been dumped
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise ContractError(
                f"{name}: it must be possible to pickle it. Received: {error}. "
                f"Use functions and classes of a module, rather than lambdas and local ones, as arguments."
            ) from error
    return made


def attributes(objects: Iterable[Any]) -> list[tuple[Any, dict[str, Any]]]:
    """Return each object with its attributes as they are now, and with what those hold."""
    return [(each, _attributes(each)) for each in objects]


def _attributes(each: Any) -> dict[str, list[Any]]:
    return {name: [value, *_items(value)] for name, value in each.__dict__.items()}


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]  # pyright: ignore
    return list(value) if isinstance(value, (list, tuple, set)) else []  # pyright: ignore


def check_attributes(before: list[tuple[Any, dict[str, Any]]], method: str) -> None:
    """Check that no attribute was set, replaced or, where it is a container, changed since."""
    for each, old in before:
        now = _attributes(each)
        for name in {**old, **now}:
            parts = old.get(name, []), now.get(name, [])
            # Identity, not equality: the arrays of a device are not to be compared here.
            if len(parts[0]) != len(parts[1]) or any(a is not b for a, b in zip(*parts, strict=True)):
                raise ContractError(
                    f"{type(each).__name__}.{method}: nothing may be kept on self between passes. "
                    f"Received: a change of self.{name}. Return what backward needs as part of `saved`."
                )


def check_dtype(owner: str, what: str, array: Array, dtype: str, xp: Backend) -> None:
    """Check an array's dtype, and that it is one of this backend's."""
    if not xp.owns(array):
        raise ContractError(
            f"{owner}: {what} must be an array of the backend {xp}. Received: {type(array).__name__}. "
            f"Compute it with words of xp."
        )
    if array.dtype != getattr(xp, dtype):
        raise ContractError(f"{owner}: {what} must keep the dtype {dtype}. Received: {array.dtype}")


def check_shape(owner: str, what: str, array: Any, shape: tuple[int, ...]) -> None:
    """Check an array's shape."""
    if tuple(array.shape) != tuple(shape):
        raise ContractError(f"{owner}: {what} must have shape {tuple(shape)}. Received: shape {tuple(array.shape)}")


def check_unchanged(owner: str, what: str, now: Any, before: Any) -> None:
    """Check that host arrays are equal, bit for bit or nearly so."""
    if not np.array_equal(now, before, equal_nan=True):
        raise ContractError(
            f"{owner}: {what} must not be written to. Received: a change of {int(np.sum(now != before))} of {now.size} "
            f"elements. A word of xp returns a new value."
        )


def check_close(owner: str, rule: str, now: Any, before: Any) -> None:
    """Check that host arrays are equal but for the rounding of sums in another order."""
    scale = np.max(np.abs(before), initial=0.0)
    if now.shape != before.shape or not np.allclose(now, before, rtol=1e-9, atol=1e-9 * scale, equal_nan=True):
        largest = np.max(np.abs(now - before)) if now.shape == before.shape else float("nan")
        raise ContractError(f"{owner}: {rule} Received: a difference of {largest:.3g}")
