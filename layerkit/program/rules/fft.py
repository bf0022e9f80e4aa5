"""Derivatives of Fourier transforms, which are linear: each gradient is transformed by the transposed matrix.

The gradient of a real L to a complex z is ``∂L/∂Re z - i ∂L/∂Im z``, as in JAX (PyTorch's is its conjugate), so that
the rule of a word that is analytic, such as a product, is the one for real numbers. The matrix of a discrete Fourier
transform is symmetric: its transpose is itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.program.rules.reductions import along

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _fitted(xp: Any, x: Any, axis: int, length: int) -> Any:
    """Return x cut, or filled up with zeros, to this length along an axis."""
    surplus = x.shape[axis] - length
    if surplus >= 0:
        return x[along(axis, x.ndim, 0, length)] if surplus else x
    shape = tuple(-surplus if n == axis % x.ndim else size for n, size in enumerate(x.shape))
    return xp.concat([x, xp.zeros(shape, dtype=x.dtype)], axis=axis)


def _all_axes(x: Any, s: Sequence[int] | None, axes: Sequence[int] | None) -> list[int]:
    if axes is not None:
        return [n % x.ndim for n in axes]
    return list(range(x.ndim - len(s), x.ndim)) if s is not None else list(range(x.ndim))


def _full(word: str) -> Callable[..., Any]:
    """Return the rule of a transform along one axis between all frequencies and all times."""

    def rule(xp: Any, dy: Any, y: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
        return (_fitted(xp, getattr(xp.fft, word)(dy, axis=axis, norm=norm), axis, x.shape[axis]),)

    return rule


def _full_n(word: str) -> Callable[..., Any]:
    """Return the rule of such a transform along several axes."""

    def rule(xp: Any, dy: Any, y: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
        axes = _all_axes(x, s, axes)
        dx = getattr(xp.fft, word)(dy, axes=axes, norm=norm)
        for axis in axes:
            dx = _fitted(xp, dx, axis, x.shape[axis])
        return (dx,)

    return rule


def _from_real(word: str) -> Callable[..., Any]:
    """Return the rule of a transform of real values, which leaves out the frequencies that are conjugates of others."""

    def rule(xp: Any, dy: Any, y: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
        dx = getattr(xp.fft, word)(_fitted(xp, dy, axis, n or x.shape[axis]), axis=axis, norm=norm)
        return (_fitted(xp, xp.real(dx), axis, x.shape[axis]),)

    return rule


def _rfftn(xp: Any, dy: Any, y: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    axes = _all_axes(x, s, axes)
    dy = _fitted(xp, dy, axes[-1], x.shape[axes[-1]] if s is None else s[-1])
    dx = xp.real(xp.fft.fftn(dy, axes=axes, norm=norm))
    for axis in axes:
        dx = _fitted(xp, dx, axis, x.shape[axis])
    return (dx,)


def _half(word: str, xp: Any, dy: Any, x: Any, axis: int, norm: str) -> Any:
    """Return dx of a transform to real values: all frequencies but the first and the middle one count twice."""
    length = dy.shape[axis]
    dx = getattr(xp.fft, word)(dy, axis=axis, norm=norm)
    number = xp.arange(dx.shape[axis])
    twice = xp.logical_and(number > 0, 2 * number < length)
    twice = xp.reshape(twice, tuple(-1 if n == axis % dx.ndim else 1 for n in range(dx.ndim)))
    return _fitted(xp, xp.where(twice, 2.0 * dx, dx), axis, x.shape[axis])


def _to_real(word: str) -> Callable[..., Any]:
    """Return the rule of a transform along one axis from half of the frequencies to real values."""

    def rule(xp: Any, dy: Any, y: Any, x: Any, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Any:
        return (_half(word, xp, dy, x, axis, norm),)

    return rule


def _irfftn(xp: Any, dy: Any, y: Any, x: Any, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Any:
    *others, last = _all_axes(x, s, axes)
    dx = _half("ihfft", xp, dy, x, last, norm)
    if others:
        dx = xp.fft.ifftn(dx, axes=others, norm=norm)
    for axis in others:
        dx = _fitted(xp, dx, axis, x.shape[axis])
    return (dx,)


def _shift(word: str) -> Callable[..., Any]:
    def rule(xp: Any, dy: Any, y: Any, x: Any, **kwargs: Any) -> Any:
        return (getattr(xp.fft, word)(dy, **kwargs),)

    return rule


_RULES: dict[str, Callable[..., Any]] = {
    **{"fft": _full("fft"), "ifft": _full("ifft"), "fftn": _full_n("fftn"), "ifftn": _full_n("ifftn")},
    **{"rfft": _from_real("fft"), "ihfft": _from_real("ifft"), "irfft": _to_real("ihfft"), "hfft": _to_real("rfft")},
    **{"rfftn": _rfftn, "irfftn": _irfftn, "fftshift": _shift("ifftshift"), "ifftshift": _shift("fftshift")},
}

FFT: dict[str, Callable[..., Any]] = {f"fft.{word}": rule for word, rule in _RULES.items()}
