"""Derivatives of functions, without any model: `grad`, `value_and_grad`, `jacobian`, `hessian_vector_product`."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

from layerkit.errors import ArgumentError, ShapeError
from layerkit.functions import as_float, takes_backend
from layerkit.overriding import override
from layerkit.program.array import RecordedArray, recorder_of
from layerkit.program.derivative import Tape
from layerkit.program.recorder import AS_NUMBERS, Recorder, active_recorder
from layerkit.program.rules import RULES
from layerkit.xp import words
from layerkit.xp.registry import backend, backend_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.xp.backend import Backend


def _base(arrays: Sequence[Any]) -> Backend:
    """Return the backend to record over: the recorder at work, if these arrays are its own or of the backend below."""
    owner = backend_of(*(value for value in arrays if not isinstance(value, RecordedArray)))
    active = active_recorder()
    if active is not None and owner in (None, active.root):
        return active
    return owner or backend_of(*arrays) or backend()


def _recorded(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], argnums: Sequence[int]
) -> tuple[Any, Tape]:
    """Run the function under recording; return its result and the tape."""
    xp = _base([args[number] for number in argnums])
    takes_xp = takes_backend(function)

    def run(recorder: Recorder, *inputs: Any) -> Any:
        given = dict(zip(argnums, inputs, strict=True))
        mixed = [given.get(number, value) for number, value in enumerate(args)]
        return function(recorder, *mixed, **kwargs) if takes_xp else function(*mixed, **kwargs)

    return Tape.record_on(_Differentiated(xp), run, *(as_float(xp, args[number]) for number in argnums))


class _Differentiated(Recorder):
    """Hands out no numbers to compute with: what is made of them would have a derivative of 0."""

    @override
    def read(self, array: RecordedArray, how: str, *, lost: bool = False) -> Any:
        if lost or how in AS_NUMBERS:
            raise ArgumentError(
                f"A recorded array cannot become a number of Python: its derivative would be lost. Received: {how}, or "
                f"a function that does it, as those of math. Use NumPy's functions, or the words of xp."
            )
        return super().read(array, how)


def _argnums(argnums: int | Sequence[int], args: tuple[Any, ...], caller: str) -> list[int]:
    numbers = [argnums] if isinstance(argnums, int) else list(argnums)
    for number in numbers:
        if not 0 <= number < len(args):
            raise ArgumentError(
                f"{caller}: argnums must name positional arguments. Received: argnums={number}, {len(args)} arguments"
            )
    return numbers


def value_and_grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Return a function that returns both ``f(…)`` and its gradient; see `grad`."""

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        numbers = _argnums(argnums, args, "grad")
        result, tape = _recorded(function, args, kwargs, numbers)
        xp = tape.recorder.base
        seed: Any = xp.asarray(result) if isinstance(result, (int, float)) else result
        if tuple(getattr(seed, "shape", (None,))) != (1,) * getattr(seed, "ndim", 0):
            shown = f"an array of shape {tuple(seed.shape)}" if hasattr(seed, "shape") else repr(result)
            raise ShapeError(f"grad: the function must return one number. Received: {shown}. Sum it, or use jacobian.")
        if xp.isdtype(seed.dtype, "complex floating"):
            raise ArgumentError(
                f"grad: the function must return a real number. Received: dtype {seed.dtype}. "
                f"Take its real part, or its absolute value."
            )
        gradients, _ = tape.gradients(xp.ones_like(seed))
        return result, gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return differentiated


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """Return the gradient of a function that returns one number.

    ::

        layerkit.grad(lambda x: (x * x).sum())(np.array([1.0, 2.0]))        # array([2., 4.])

    The function is written with operators, NumPy functions that have a word of the same meaning, or, if its first
    parameter is named `xp`, with the words of the backend. It may be a gradient itself, to any order.

    Args:
        function: of arrays of any backend.
        argnums: to which positional argument the gradient is taken (without `xp`); several give a tuple.

    Raises:
        ShapeError: the function returns more than one number.
        MissingDerivativeError: it uses a word that has no rule.
    """
    both = value_and_grad(function, argnums)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return differentiated


def jacobian(function: Callable[..., Any], argnum: int = 0) -> Callable[..., Any]:
    r"""Return the matrix of derivatives ``J[i…, j…] = ∂y[i…] / ∂x[j…]``, one backward pass for each element of y.

    Shapes:
        x: (…). y: (…). result: (\*y.shape, \*x.shape).
    """

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        y, tape = _recorded(function, args, kwargs, _argnums(argnum, args, "jacobian"))
        xp = tape.recorder.base
        x = tape.recorder.values[tape.inputs[0]]
        shape = tuple(getattr(y, "shape", ()))
        size = math.prod(shape)
        rows = [
            tape.gradients(xp.reshape(xp.astype(xp.arange(size) == number, y.dtype), shape))[0][0]
            for number in range(size if tape.output is not None else 0)
        ]
        whole = (*shape, *x.shape)
        return xp.reshape(xp.stack(rows), whole) if rows else xp.zeros(whole, dtype=x.dtype)

    return differentiated


def hessian_vector_product(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``(x, v) → H v``, with H the matrix of second derivatives of the function, without forming H.

    It is the gradient of ``∇f(x) · v`` (Pearlmutter, Neural Computation 6, 1994).
    """
    gradient = grad(function)

    @functools.wraps(function)
    def product(x: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        def along_v(xp: Backend, point: Any) -> Any:
            return xp.sum(gradient(point, *args, **kwargs) * v)

        return grad(along_v)(x)

    return product


def register_derivative(word: str, rule: Callable[..., Any]) -> None:
    """Give a word a derivative rule, or replace the one it has.

    Args:
        word: a word of the backend's, such as "linalg.inv".
        rule: ``rule(xp, dy, y, *arguments) -> (dargument, …)``, with None for what has no gradient.

    Raises:
        ArgumentError: there is no such word.
    """
    known = (*words.FUNCTIONS, *words.NETWORK_WORDS, *(f"linalg.{name}" for name in words.LINALG))
    if word not in (*known, *(f"fft.{name}" for name in words.FFT)):
        raise ArgumentError(f"register_derivative: it must be a word that is recorded. Received: {word!r}")
    RULES[word] = rule


def differentiable(rule: Callable[..., Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a function of one's own a word with this derivative.

    ::

        @layerkit.differentiable(lambda xp, dy, y, x: (dy * 2 * x,))
        def squared(x):
            return x**2

    The function is called with plain arrays, so that it may do what no word can.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def word(*args: Any) -> Any:
            recorded = [value for value in args if isinstance(value, RecordedArray)]
            if not recorded:
                return function(*args)
            return recorder_of(args).note_function(word, rule, args)

        return word

    return decorate
