"""Derivatives along a line, by central differences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit.errors import GradientMismatch
from layerkit.nested import filled, leaves

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EPSILON = float(np.finfo(np.float64).eps)

# A central difference of step h errs by O(h²) of truncation and O(ε / h) of rounding: least in sum at h ≈ ε^(1/3)
# (Press, Teukolsky, Vetterling and Flannery, *Numerical Recipes*, 2007, section 5.7), some ε^(2/3) = 4e-11.
STEP = EPSILON ** (1 / 3)

# A point that is nearer to a bend than the step is rare, and after a move rarer still.
_ATTEMPTS = 6
_MOVE = 1e-3


class Comparison(NamedTuple):
    """A derivative along a random line, as backward says it is, and as the function itself shows."""

    mode: str
    of: str
    analytic: float
    numeric: float
    relative_error: float
    equal: bool
    bends: int
    """At how many points, of those tried, the function bent too much to compare."""
    recorded: float | None = None
    """The same derivative, as it is found by recording the function; None where that was not done."""
    confirmed: bool = True
    """Whether the recorded derivative, if there is one, is equal too."""

    @property
    def figures(self) -> tuple[str, str, str]:
        """Both values and the relative error, as a table shows them."""
        return f"{self.analytic:.9g}", f"{self.numeric:.9g}", f"{self.relative_error:.1e}"

    @property
    def received(self) -> str:
        """What was found, for an error that ends here."""
        if self.equal and self.recorded is not None:
            judge, value, error = "the recorded derivative is", self.recorded, _relative(self.analytic, self.recorded)
        else:
            judge, value, error = "central differences give", self.numeric, self.relative_error
        return (
            f"Received: a derivative of {self.analytic:.9g} along a random line, where {judge} "
            f"{value:.9g}: a relative error of {error:.1e}"
        )

    @property
    def note(self) -> str:
        """A sentence about bends, where they may be to blame."""
        bends = not self.equal and self.bends == _ATTEMPTS
        return f" The function bends at each of {self.bends} points tried nearby." if bends else ""


def compare(
    mode: str,
    of: str,
    function: Callable[[Floats], Floats],
    gradient: Callable[[Floats], Floats],
    point: Floats,
    cotangent: Floats,
    random: np.random.Generator,
    tolerance: float,
    recorded: Callable[[Floats], Floats] | None = None,
) -> Comparison:
    """Compare ``gradient`` with ``Σ cotangent · function`` along a random line through the point.

    Where the function bends within a step of the point (ReLU at 0), or is steep there (a logarithm near 0), central
    differences have no meaning. It shows when the step is halved: the central difference changes, or the slopes on the
    two sides do not come closer by half. With a jump J of the slope at a share σ of the step, the central difference
    errs by ``J (1 - σ) / 2``, and one of these two signs is at least J / 7. So an error that is five times as large as
    the signs is no bend's. Otherwise the comparison is made again, at a point near by and with a smaller step.

    The gradient that was `recorded` errs by rounding alone: it tells of mistakes where central differences are blind,
    because the function is so large that its differences drown in its rounding. Where it is not finite, as that of a
    branch not taken may be, it tells nothing.
    """
    bends = 0
    step = STEP
    while True:
        direction = random.standard_normal(point.shape)
        here = function(point)
        # The line as it is walked: its ends are rounded, by much where the point is large.
        walked = ((point + step * direction) - (point - step * direction)) / (2 * step)
        terms = gradient(point) * walked
        analytic = float(np.sum(terms))
        numeric, turn = _differences(function, here, point, direction, cotangent, step)
        error, scale = abs(analytic - numeric), max(abs(analytic), abs(numeric))
        size = float(np.sum(np.abs(cotangent) * (np.abs(here) + np.max(np.abs(point), initial=0.0))))
        equal = error <= tolerance * scale + 4 * EPSILON * size / step
        found = Comparison(mode, of, analytic, numeric, _relative(analytic, numeric), equal, bends)
        if recorded is not None:
            value = float(np.sum(recorded(point) * walked))
            allowed = tolerance * max(abs(analytic), abs(value)) + 64 * EPSILON * float(np.sum(np.abs(terms)))
            found = found._replace(recorded=value, confirmed=not abs(analytic - value) > allowed)
        if equal or bends == _ATTEMPTS:
            return found
        half_numeric, half_turn = _differences(function, here, point, direction, cotangent, step / 2)
        if not max(abs(turn - 2 * half_turn), abs(numeric - half_numeric)) > error / 5:
            return found
        bends += 1
        step /= 4
        point = point + _MOVE * random.standard_normal(point.shape)


def side_by_side(arrays: Any) -> Floats:
    """Return the elements of an array, or of several, in one axis: what a line runs through."""
    return np.concatenate([np.ravel(array) for array in leaves(arrays)])


def apart(elements: Floats, like: Any) -> Any:
    """Return such elements as an array, or as several, shaped and nested like these."""
    ends = np.cumsum([leaf.size for leaf in leaves(like)])
    pieces = np.split(elements, ends[:-1])
    return filled(like, [piece.reshape(leaf.shape) for piece, leaf in zip(pieces, leaves(like), strict=True)])


def names_of_inputs(x: Any) -> list[str]:
    """Return what tables call the inputs: "the input", or "input 1", "input 2", …."""
    count = len(leaves(x))
    return ["the input"] if count == 1 else [f"input {number + 1}" for number in range(count)]


def _differences(
    function: Callable[[Floats], Floats], here: Floats, point: Floats, direction: Floats, cotangent: Floats, step: float
) -> tuple[float, float]:
    """Return the central difference, and by how much the slope beyond the point differs from the one before it."""
    up, down = function(point + step * direction), function(point - step * direction)
    first = np.sum(cotangent * (up - down)) / (2 * step)
    return float(first), float(np.sum(cotangent * ((up - here) - (here - down))) / step)


def _relative(value: float, other: float) -> float:
    error = abs(value - other)
    return 0.0 if error == 0 else error / max(abs(value), abs(other)) if np.isfinite(error) else float("inf")


def require_equal(owner: str, place: str, comparisons: Sequence[Comparison], unrecorded: str | None = None) -> None:
    """Check that all derivatives are equal.

    Args:
        owner: whose backward it is.
        place: where that was: the dtype and the backend.
        comparisons: what was compared.
        unrecorded: why there is no recorded derivative, where there should be one.

    Raises:
        GradientMismatch: one is not; a table shows them all.
    """
    wrong = next((found for found in comparisons if not (found.equal and found.confirmed)), None)
    if wrong is None:
        return
    rows = [("layer", "pass", "gradient of", "backward", "central differences", "relative error", "recorded", "")]
    for found in comparisons:
        recorded = "-" if found.recorded is None else f"{found.recorded:.9g}"
        verdict = "" if found.equal and found.confirmed else "wrong"
        rows.append((owner, found.mode, found.of, *found.figures, recorded, verdict))
    if unrecorded is None and all(found.recorded is None for found in comparisons):
        rows = [(*row[:-2], row[-1]) for row in rows]
    reason = "" if unrecorded is None else f"\n\nNo derivative could be recorded: {unrecorded}"
    raise GradientMismatch(
        f"{owner}.backward: gradient of {wrong.of} must be the derivative of forward. "
        f"{wrong.received} ({wrong.mode}, {place}).{wrong.note}\n\n{table(rows)}{reason}"
    )


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells as lines of text, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
