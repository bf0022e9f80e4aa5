"""Kernels of the short-time Fourier transform."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from layerkit.checks import check_flag, check_name, is_a
from layerkit.errors import ShapeError
from layerkit.initializers.initializer import Initializer

if TYPE_CHECKING:
    from numpy.typing import NDArray

Side = Literal["real", "imag"]
Scaling = Literal["density", "spectrum"]

# Windows that are sums of cosines: the coefficients, with alternating signs (Harris, Proceedings of the IEEE 66, 1978).
WINDOWS: dict[str, tuple[float, ...]] = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}


def window_values(name: str, length: int, periodic: bool) -> NDArray[np.float64]:
    """Return ``Σ (-1)ⁿ aₙ cos(2π n t / m)`` for t from 0, with m the length, or one less if it is not periodic."""
    angle = 2.0 * np.pi * np.arange(length) / max(length if periodic else length - 1, 1)
    terms = [(-1) ** n * a * np.cos(n * angle) for n, a in enumerate(WINDOWS[name])]
    return np.sum(terms, axis=0) if length > 1 else np.ones(length)


class STFT(Initializer):
    """The kernel of a convolution that computes a short-time Fourier transform, one side of it.

    ``kernel[t, 0, f] = w[t] cos(2π t f / n) / s``, or with -sin for the imaginary side; n is ``2 (bands - 1)``.

    Args:
        side: "real" or "imag".
        window: w: a name ("hann", "hamming", "blackman", …), an array of its values, or None for ones without scaling.
        scaling: s: "density" for ``√Σw²``, "spectrum" for ``Σ|w|``, None for 1.
        periodic: whether the window's period is its length, rather than one less.

    Raises:
        ArgumentError: a name is unknown.
        ShapeError: the weight is not of the shape (times, 1, bands), or the window of another length.
    """

    def __init__(
        self, side: Side = "real", window: Any = "hann", scaling: Scaling | None = "density", periodic: bool = False
    ) -> None:
        super().__init__()
        self.side: Side = check_name("STFT", get_args(Side), side=side)
        self.window = check_name("STFT", WINDOWS, window=window) if is_a(window, str) else window
        self.scaling = None if scaling is None else check_name("STFT", get_args(Scaling), scaling=scaling)
        self.periodic = check_flag("STFT", periodic=periodic)

    def _window(self, length: int) -> NDArray[Any]:
        if self.window is None:
            return np.ones(length)
        values = (
            window_values(self.window, length, self.periodic) if is_a(self.window, str) else np.asarray(self.window)
        )
        if values.shape != (length,):
            raise ShapeError(
                f"STFT: window must have as many values as the weight has times, {length}. "
                f"Received: shape {values.shape}"
            )
        scale = {
            None: 1.0,
            "density": math.sqrt(np.sum(values * values)),
            "spectrum": float(np.sum(np.abs(values))),
        }[self.scaling]
        return values / scale

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[Any]:
        if len(shape) != 3 or shape[1] != 1 or shape[2] < 2:
            raise ShapeError(
                f"STFT: the weight must have the shape (times, 1, bands), of two bands or more. Received: shape {shape}"
            )
        times, _, bands = shape
        angle = -2.0 * np.pi * np.arange(times)[:, None, None] * np.arange(bands) / (2 * (bands - 1))
        side = np.cos(angle) if self.side == "real" else np.sin(angle)
        return side * self._window(times)[:, None, None]
