"""Every word of a backend, run against its reference."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit.checks import is_a
from layerkit.errors import ArgumentError, ContractError
from layerkit.names import nearest
from layerkit.testing.machine_words import TRIALS
from layerkit.testing.word_cases import Case, Dtype, cases
from layerkit.xp import reference, words
from layerkit.xp.registry import backend as find_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from layerkit.xp.backend import Backend

GROUPS = {
    "array words": words.ARRAY_WORDS,
    "linear algebra": tuple(f"linalg.{word}" for word in words.LINALG),
    "Fourier transforms": tuple(f"fft.{word}" for word in words.FFT),
    "network words": words.NETWORK_WORDS,
    "machine words": words.MACHINE_WORDS,
}
EVERY_WORD = tuple(word for group in GROUPS.values() for word in group)


class Finding(NamedTuple):
    """A call of a word with another result than that of its reference."""

    call: str
    expected: str
    received: str

    def __str__(self) -> str:
        return f"{self.call}: expected {self.expected}. Received: {self.received}"


class Row(NamedTuple):
    """What was found of a word."""

    word: str
    calls: int
    findings: tuple[Finding, ...]


class BackendTable:
    """What `check_backend` has found: `rows`, and as a table by ``print``."""

    def __init__(self, backend: str, rows: Sequence[Row]) -> None:
        self.backend = backend
        self.rows = tuple(rows)

    @property
    def wrong(self) -> tuple[Row, ...]:
        """The rows of words that are not as they should be."""
        return tuple(row for row in self.rows if row.findings)

    @property
    def complaints(self) -> str:
        """A line for each word that is wrong: the call, what was expected, and what was received."""
        more = {row.word: f" (and in {len(row.findings) - 1} other calls)" for row in self.wrong if row.findings[1:]}
        return "\n".join(f"{row.findings[0]}{more.get(row.word, '')}" for row in self.wrong)

    def __str__(self) -> str:
        right, calls = len(self.rows) - len(self.wrong), sum(row.calls for row in self.rows)
        lines = [
            f"{self.backend}: {right} of {len(self.rows)} words are right, in {calls:,} calls.",
            "",
            f"{'':<20}{'words':>8}{'calls':>8}{'wrong':>8}",
        ]
        for group, listed in GROUPS.items():
            rows = [row for row in self.rows if row.word in listed]
            if rows:
                wrong = sum(bool(row.findings) for row in rows)
                lines.append(f"{group:<20}{len(rows):>8}{sum(row.calls for row in rows):>8,}{wrong:>8}")
        return "\n".join([*lines, *(["", self.complaints] if self.wrong else [])])


def check_backend(backend: str | Backend, words: Iterable[str] | None = None) -> BackendTable:
    """Check that every word of a backend does what its reference does.

    ::

        print(check_backend("torch"))

    Array words are compared with NumPy, which follows the Array API standard, network words with their references in
    `layerkit.xp.reference`, machine words with what `layerkit.xp.Backend` says of them: values, dtypes and shapes; on
    arrays that are empty, have no axes, are not contiguous, or hold NaN and infinities; with broadcasting and with
    numbers. Arguments must stay as they are.

    Args:
        backend: its name, or a backend.
        words: those that are checked, such as ``["sum", "linalg.qr"]``; None for all.

    Returns:
        What was found: ``print`` shows how many words of each kind are right.

    Raises:
        ContractError: a word is wrong; the message has a line for each.
        UnknownNameError, BackendUnavailableError: there is no such backend here.
        ArgumentError: there is no such word.
    """
    table = examined(backend, words)
    if table.wrong:
        raise ContractError(
            f"{table.backend}: every word must do what its reference does. "
            f"Received: {len(table.wrong)} that do not.\n{table.complaints}"
        )
    return table


def examined(backend: str | Backend, words: Iterable[str] | None = None) -> BackendTable:
    """Return what `check_backend` finds, whether or not all is right."""
    xp = find_backend(backend)
    chosen = EVERY_WORD if words is None else tuple(words)
    for word in chosen:
        if word not in EVERY_WORD:
            raise ArgumentError(
                f"check_backend: a word must be one of the contract. Received: {word!r}. "
                f"{nearest(word, EVERY_WORD) if len(word) < 40 else ''}"
            )
    by_word: dict[str, list[Case]] = {word: [] for word in chosen}
    for case in cases():
        if case.word in by_word:
            by_word[case.word].append(case)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return BackendTable(str(xp), [_row(xp, word, found) for word, found in by_word.items()])


def _row(xp: Backend, word: str, found: list[Case]) -> Row:
    if word in TRIALS:
        tried = list(_trials(xp, word))
    else:
        tried = [_tried(xp, case, layout) for case in found for layout in _layouts(case)]
    return Row(word, len(tried), tuple(finding for finding in tried if finding is not None))


def _trials(xp: Backend, word: str) -> Iterator[Finding | None]:
    try:
        with xp.on_device():
            for call, received, expected in TRIALS[word](xp):
                yield None if received == expected else Finding(call, str(expected), str(received))
    except Exception as error:  # noqa: BLE001 - a backend may raise anything
        yield Finding(word, "no error", _told(error))


# Array words and network words.

_PLAIN, _TURNED, _EVERY_SECOND = "", "turned", "every second element"
_LAID_OUT = ("float32", "int64", "bool", "complex64")
"""Dtypes of each kind: how elements lie in memory is tried for these."""


def _layouts(case: Case) -> list[str]:
    """Return how the elements of the arguments may lie in memory."""
    arrays = [value for value in _leaves(case.args) if is_a(value, np.ndarray)]
    longest = max((value.ndim for value in arrays if value.dtype.name in _LAID_OUT), default=0)
    if case.word == "from_dlpack" or not longest:
        return [_PLAIN]
    return [_PLAIN, _EVERY_SECOND] if longest == 1 else [_PLAIN, _EVERY_SECOND, _TURNED]


def _laid_out(xp: Backend, array: Any, layout: str) -> Any:
    """Return an array of the backend with these elements, not all side by side."""
    if layout == _EVERY_SECOND and array.ndim:
        return xp.asarray(np.repeat(array, 2, axis=-1))[..., ::2]
    if layout == _TURNED and array.ndim > 1:
        return xp.permute_dims(xp.asarray(np.array(array.T, order="C")), tuple(range(array.ndim))[::-1])
    return xp.asarray(array)


def _tried(xp: Backend, case: Case, layout: str) -> Finding | None:
    given: list[tuple[Any, Any]] = []

    def held(value: Any) -> Any:
        if isinstance(value, Dtype):
            return getattr(xp, value.name)
        if is_a(value, np.ndarray):
            given.append((_laid_out(xp, value.copy(), layout), value))
            return given[-1][0]
        return type(value)(map(held, value)) if isinstance(value, (list, tuple)) else value  # pyright: ignore

    call = _call(case, layout)
    try:
        expected = _expected(case)
        with xp.on_device():
            return _compared(xp, case, call, expected, held, given)
    except Exception as error:  # noqa: BLE001 - a backend may raise anything
        return Finding(call, "a result", _told(error))


def _compared(
    xp: Backend,
    case: Case,
    call: str,
    expected: Any,
    held: Callable[[Any], Any],
    given: list[tuple[Any, Any]],
) -> Finding | None:
    args = [held(value) for value in case.args]
    kwargs = {name: held(value) for name, value in case.kwargs.items()}
    group, _, name = case.word.rpartition(".")
    word: Any = getattr(getattr(xp, group) if group else xp, name)
    received = word(*args, **kwargs) if case.word not in _NAMES else word
    difference = _difference(xp, case, expected, received)
    if difference is not None:
        return Finding(call, *difference)
    for array, before in given:
        if not np.array_equal(xp.to_numpy(array), before, equal_nan=before.dtype.kind in "fc"):
            return Finding(call, "arguments that stay as they are", "an argument that was written to")
    return None


_NAMES = frozenset((*words.CONSTANTS, *words.DTYPES))


def _expected(case: Case) -> Any:
    args, kwargs = ([_in_numpy(value) for value in case.args], {k: _in_numpy(v) for k, v in case.kwargs.items()})
    if case.word in _NAMES:
        return getattr(np, case.word)
    if case.word in _JUDGES:
        return _JUDGES[case.word](*args, **kwargs)
    if case.word in words.NETWORK_WORDS:
        return _by_reference(case.word, args, kwargs)
    group, _, name = case.word.rpartition(".")
    return getattr(getattr(np, group) if group else np, name)(*args, **kwargs)


def _in_numpy(value: Any) -> Any:
    return np.dtype(value.name) if isinstance(value, Dtype) else value


def _by_reference(word: str, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """Return what the definition gives in float64, in the dtype of the arguments."""
    dtype = next((x.dtype for x in args if is_a(x, np.ndarray) and x.dtype.kind == "f"), None)
    wide = [x.astype(np.float64) if is_a(x, np.ndarray) and x.dtype.kind == "f" else x for x in args]
    result = getattr(reference, word)(np, *wide, **kwargs)
    if dtype is None:
        return result
    if isinstance(result, tuple):
        return tuple(None if part is None else part.astype(dtype) for part in result)  # pyright: ignore
    return result.astype(dtype)


def _clipped(x: Any, low: Any = None, high: Any = None, /, **limits: Any) -> Any:
    return np.clip(x, limits.get("min", low), limits.get("max", high))


def _sorted(x: Any, *, axis: int = -1, descending: bool = False) -> Any:
    return np.flip(np.sort(x, axis=axis), axis) if descending else np.sort(x, axis=axis)


def _order(x: Any, *, axis: int = -1, descending: bool = False) -> Any:
    if not descending:
        return np.argsort(x, axis=axis, stable=True)
    return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, stable=True), axis)


_JUDGES: dict[str, Callable[..., Any]] = {"clip": _clipped, "sort": _sorted, "argsort": _order, "einsum": np.einsum}
"""Where NumPy has no function of the word's arguments."""


def _conjugate(x: Any) -> Any:
    return np.conj(np.swapaxes(x, -1, -2))


def _in_order(parts: Any, by: Any) -> tuple[Any, ...]:
    order = np.argsort(by)
    return tuple(part[order] for part in parts)


def _of_eigen(y: Any, *_: Any) -> tuple[Any, ...]:
    return y[0], (y[1] * y[0][..., None, :]) @ _conjugate(y[1])


def _of_qr(y: Any, *_: Any) -> tuple[Any, ...]:
    return y[0] @ y[1], _conjugate(y[0]) @ y[0], np.abs(y[1])


def _of_svd(y: Any, *_: Any) -> tuple[Any, ...]:
    u, s, vh = y
    rank = s.shape[-1]
    return (u[..., :rank] * s[..., None, :]) @ vh[..., :rank, :], s, _conjugate(u) @ u, vh @ _conjugate(vh)


def _of_unique(y: Any, x: Any) -> tuple[Any, ...]:
    values, indices, inverse, counts = y
    return *_in_order((values, indices, counts), values), x.ravel()[indices], values[inverse]


# What is compared of words whose result is not the only right one: something that is the same for each.
_INVARIANTS: dict[str, Callable[..., Any]] = {
    "empty": lambda y, *_: np.zeros_like(y),  # type: ignore[misc]
    "empty_like": lambda y, *_: np.zeros_like(y),  # type: ignore[misc]
    "linalg.eigh": _of_eigen,
    "linalg.qr": _of_qr,
    "linalg.svd": _of_svd,
    "unique_values": lambda y, *_: np.sort(y),  # type: ignore[misc]
    "unique_counts": lambda y, *_: _in_order(y, y[0]),  # type: ignore[misc]
    "unique_inverse": lambda y, *_: (np.sort(y[0]), y[0][y[1]]),  # type: ignore[misc]
    "unique_all": _of_unique,
}

_ELEMENTWISE = frozenset((*words.ELEMENTWISE, "sigmoid", "softplus", "erfc"))
_EXACT = frozenset(
    (
        *(words.MANIPULATION + words.INDEXING + words.SORTING + words.SEARCHING + words.UTILITY),
        *("arange", "astype", "eye", "full", "full_like", "meshgrid", "ones", "ones_like", "tril", "triu", "zeros"),
        *("zeros_like", "ceil", "clip", "copysign", "floor", "maximum", "max", "minimum", "min", "negative"),
        *("positive", "round", "trunc", "one_hot", "from_dlpack", "conj", "imag", "real", "matrix_transpose"),
    )
) - {"diff"}
_OF_TWO_ZEROS = frozenset(("clip", "max", "maximum", "min", "minimum"))
"""Words for which the standard does not say which they take of 0.0 and -0.0."""


def _difference(xp: Backend, case: Case, expected: Any, received: Any) -> tuple[str, str] | None:
    """Return what was expected, and what was received in its place; None if they agree."""
    if case.word in ("finfo", "iinfo"):
        names = ("bits", "max", "min") if case.word == "iinfo" else ("bits", "eps", "max", "min", "smallest_normal")
        told = [tuple(float(getattr(limits, name)) for name in names) for limits in (expected, received)]
        return None if told[0] == told[1] else (str(told[0]), str(told[1]))
    if case.word in words.DTYPES:
        made = xp.to_numpy(xp.zeros((2,), dtype=received)).dtype
        return None if made == expected else (case.word, str(made))
    if isinstance(expected, np.dtype):
        return None if received == getattr(xp, expected.name) else (expected.name, str(received))
    if expected is None or (isinstance(expected, (bool, float)) and not isinstance(expected, np.generic)):
        same = received == expected or (received != received and expected != expected)
        return None if same else (str(expected), str(received))
    if isinstance(expected, (tuple, list)):
        if not isinstance(received, (tuple, list)) or len(received) != len(expected):  # pyright: ignore
            return f"{len(expected)} arrays", _described(received)  # pyright: ignore
        missing = [name for name in getattr(expected, "_fields", ()) if not hasattr(received, name)]  # pyright: ignore
        if missing:
            return f"a tuple with the field {missing[0]}", type(received).__name__  # pyright: ignore
        pairs: list[tuple[Any, Any]] = list(zip(expected, received, strict=True))  # pyright: ignore
    else:
        pairs = [(np.asarray(expected), received)]
    for wanted, got in pairs:
        if wanted is None or got is None:
            if wanted is not got:
                return _described(wanted), _described(got)
            continue
        if not xp.owns(got):
            return f"an array of {xp}", type(got).__name__
        if got.dtype != getattr(xp, wanted.dtype.name):
            return f"dtype {wanted.dtype.name}", f"dtype {got.dtype}"
        if tuple(got.shape) != wanted.shape and case.word not in _SHAPED_OTHERWISE:
            return f"shape {wanted.shape}", f"shape {tuple(got.shape)}"
    values = [(wanted, xp.to_numpy(got)) for wanted, got in pairs if wanted is not None]
    for _, got in values:
        if not isinstance(got, np.ndarray):
            return "a numpy.ndarray of to_numpy", type(got).__name__
    invariant = _INVARIANTS.get(case.word)
    if invariant is not None:
        single = len(values) == 1 and not isinstance(expected, (tuple, list))
        wanted, got = ([pair[n] for pair in values] for n in (0, 1))
        host = [value for value in case.args if is_a(value, np.ndarray)]
        wanted, got = (invariant(side[0] if single else side, *host) for side in (wanted, got))
        values = [(wanted, got)] if is_a(wanted, np.ndarray) else list(zip(wanted, got, strict=True))
    scale = max((_largest(value) for value in _leaves(case.args) if is_a(value, np.ndarray)), default=0.0)
    for wanted, got in values:
        found = _unequal(case.word, wanted, got, scale)
        if found is not None:
            return found
    return None


_SHAPED_OTHERWISE = frozenset(("unique_inverse", "unique_all"))
"""Words whose result had another shape in older versions of NumPy: their invariants hold the shape."""


def _unequal(word: str, wanted: Any, got: Any, scale: float) -> tuple[str, str] | None:
    """Return the first element that differs, as it should be and as it is."""
    if wanted.shape != got.shape:
        return f"shape {wanted.shape}", f"shape {got.shape}"
    if wanted.dtype.kind not in "fc":
        wrong = wanted != got
    elif word in _EXACT:
        wrong = ~((wanted == got) | (wanted != wanted) & (got != got))
        if wanted.dtype.kind == "f" and word not in _OF_TWO_ZEROS:
            wrong |= (wanted == got) & (np.signbit(wanted) != np.signbit(got))
    else:
        # A few roundings of each element; of a sum, as many of the largest number in it.
        epsilon = 64 * float(np.finfo(wanted.dtype).eps)
        bound = epsilon * np.abs(wanted) + float(np.finfo(wanted.dtype).tiny)
        if word not in _ELEMENTWISE:
            bound = bound + 4 * epsilon * max(scale, _largest(wanted), 1.0)
        finite = np.isfinite(wanted)
        near = np.abs(np.where(finite, got, 0) - np.where(finite, wanted, 0)) <= np.where(finite, bound, 0)
        wrong = ~np.where(finite, near, (wanted == got) | (wanted != wanted) & (got != got))
    if not wrong.any():
        return None
    place = tuple(int(n) for n in np.argwhere(wrong)[0]) if wrong.ndim else ()
    where = f" at [{', '.join(map(str, place))}]" if place else ""
    return f"{wanted[place]}{where}", f"{got[place]}"


def _largest(array: Any) -> float:
    if array.dtype.kind not in "fciu" or not array.size:
        return 0.0
    magnitudes = np.abs(array.astype(np.complex128 if array.dtype.kind == "c" else np.float64))
    return float(np.max(np.where(np.isfinite(magnitudes), magnitudes, 0.0)))


# How calls and results are told.


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, (list, tuple)) and not isinstance(value, Dtype):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            yield from _leaves(item)
    else:
        yield value


def _call(case: Case, layout: str) -> str:
    if case.word in _NAMES:
        return case.word
    told = [*map(_text, case.args), *(f"{name}={_text(value)}" for name, value in case.kwargs.items())]
    return f"{case.word}({', '.join(told)}){f', {layout}' if layout else ''}"


def _text(value: Any) -> str:
    if is_a(value, np.ndarray):
        listed = value.ndim == 1 and 0 < value.size <= 6
        return f"{value.dtype} {value.tolist() if listed else value.shape}"
    if isinstance(value, Dtype):
        return value.name
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"  # pyright: ignore
    return repr(value)


def _described(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return f"{len(value)} arrays"  # pyright: ignore
    return "None" if value is None else f"{type(value).__name__}"


def _told(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {first}" if first else type(error).__name__
