"""The CPU backend: NumPy."""

from layerkit_numpy.backend import NumpyBackend

__all__ = ["NumpyBackend"]
