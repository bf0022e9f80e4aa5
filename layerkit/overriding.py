"""`override`, which Python's typing module has from 3.12 on: a method of this mark replaces one of its base."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import override as override  # what a type checker knows without it being installed
elif sys.version_info >= (3, 12):
    from typing import override as override
else:

    def override(method: Any) -> Any:
        """Mark a method."""
        return method
