"""In which dtype a layer computes, and in which it keeps its weights: Keras's policies, under Keras's names.

"mixed_float16" computes in float16 and keeps weights in float32, so that small changes are not lost. A loss is computed
in float32, and multiplied by a large number, so that small gradients are not lost either: see
`layerkit.optimizers.LossScaleOptimizer`, which `compile` puts around the optimizer.
"""

from __future__ import annotations

from typing import Any

from layerkit.checks import shown
from layerkit.errors import ArgumentError, BackendUnavailableError

HALF = ("float16", "bfloat16")
"""What is narrower than a loss is computed in."""

_DTYPES: dict[str, tuple[str, str]] = {
    "float32": ("float32", "float32"),
    "float64": ("float64", "float64"),
    "float16": ("float16", "float16"),
    "mixed_float16": ("float16", "float32"),
    "mixed_bfloat16": ("bfloat16", "float32"),
}

FLOATS = tuple(name for name, (compute, _) in _DTYPES.items() if name == compute)
"""The policies that are dtypes."""

_current = "float32"


class DTypePolicy:
    """The dtypes of a layer: wherever a `dtype` is asked for, a policy or its name may be given.

    Args:
        name: "float32", "float64", "float16", "mixed_float16" or "mixed_bfloat16"; None is the current policy.

    Raises:
        ArgumentError: there is no such policy.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = policy_name(name)

    @property
    def compute_dtype(self) -> str:
        """The dtype of what is computed."""
        return compute_dtype(self.name)

    @property
    def variable_dtype(self) -> str:
        """The dtype of weights."""
        return variable_dtype(self.name)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's argument."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> DTypePolicy:
        """Return the policy of such a configuration."""
        return cls(**config)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DTypePolicy) and other.name == self.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f'<DTypePolicy "{self.name}">'


def policy_name(dtype: Any, owner: str = "DTypePolicy") -> str:
    """Return the name of a policy, which may be given as such, or as a dtype.

    Raises:
        ArgumentError: there is no such policy.
    """
    if dtype is None:
        return _current
    if isinstance(dtype, dict):  # as `serialize` describes one, Keras's too
        config: Any = dtype.get("config")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return policy_name(config.get("name", "") if isinstance(config, dict) else repr(dtype), owner)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or getattr(dtype, "__name__", str(dtype))
    if name not in _DTYPES:
        raise ArgumentError(f"{owner}: dtype must be one of {', '.join(_DTYPES)}. Received: dtype={shown(dtype)}")
    return name


def compute_dtype(name: str) -> str:
    """Return in which dtype a policy computes."""
    return _DTYPES[name][0]


def at_least_float32(dtype: str) -> str:
    """Return the dtype of a loss of outputs in this dtype."""
    return "float32" if dtype in HALF else dtype


def variable_dtype(name: str) -> str:
    """Return in which dtype a policy keeps weights."""
    return _DTYPES[name][1]


def get(identifier: Any) -> DTypePolicy:
    """Return the policy of a name; a policy is returned as it is, and None is the current one."""
    return identifier if isinstance(identifier, DTypePolicy) else DTypePolicy(identifier)


def dtype_policy() -> DTypePolicy:
    """Return the current policy: that of models and layers that are given no `dtype`."""
    return DTypePolicy(_current)


def set_dtype_policy(policy: str | DTypePolicy) -> None:
    """Make a policy the current one, for the whole process; models that are there keep theirs.

    Raises:
        ArgumentError: there is no such policy.
    """
    global _current  # one for the process, as Keras has it
    _current = policy_name("float32" if policy is None else policy, "set_dtype_policy")  # pyright: ignore[reportUnnecessaryComparison]


def check_offered(name: str, xp: Any, owner: str) -> None:
    """Check that a backend has the dtypes of a policy.

    Raises:
        BackendUnavailableError: it has not.
    """
    for dtype in _DTYPES[name]:
        if dtype in HALF and not hasattr(xp, dtype):
            raise BackendUnavailableError(
                f"{owner}: dtype={name!r} needs a backend with {dtype}. Received: {xp}, which has none. "
                f"Use {'mixed_float16' if dtype == 'bfloat16' else 'float32'!r}, or another backend."
            )
