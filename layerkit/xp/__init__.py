"""The contract with array libraries: the words a backend offers, their references, and how a backend is found."""

from layerkit.xp.backend import Array, Backend
from layerkit.xp.random import RandomStream
from layerkit.xp.registry import backend, backend_names, backend_of, use_backend
from layerkit.xp.state import Variable

__all__ = ["Array", "Backend", "RandomStream", "Variable", "backend", "backend_names", "backend_of", "use_backend"]
