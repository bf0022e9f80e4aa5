"""What layers take where an initializer, a regularizer or a constraint is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from layerkit.constraints import Constraint
    from layerkit.initializers import Initializer
    from layerkit.regularizers import Regularizer

    InitializerLike: TypeAlias = str | Initializer | Callable[..., Any]
    RegularizerLike: TypeAlias = str | Regularizer | Callable[..., Any] | None
    ConstraintLike: TypeAlias = str | Constraint | Callable[..., Any] | None
