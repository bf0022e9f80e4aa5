"""Three counts for the process, which tell cheaply that what was planned or recorded has to be looked at again."""

from __future__ import annotations

import itertools

# `next` gives no number twice, in whatever order threads store theirs: a change is never lost.
_numbers = itertools.count(1)
_changes = 0
_moves = 0
_writes = 0


def changes() -> int:
    """Return a number that grows with `moves`, and whenever an attribute is set on which a step may depend.

    What was recorded of a step holds as long as it stays the same, except for what Python cannot tell: an item of a
    list, a global variable.
    """
    return _changes


def moves() -> int:
    """Return a number that grows whenever state is made or moved, or is said to be trainable or not.

    What was planned for the weights of a model holds as long as it stays the same.
    """
    return _moves


def writes() -> int:
    """Return a number that grows whenever state is given new values from outside a step."""
    return _writes


def note_change() -> None:
    """Make `changes` grow."""
    global _changes  # one count for the process is the point
    _changes = next(_numbers)


def note_move() -> None:
    """Make `moves` grow, and with it `changes`."""
    global _changes, _moves
    _changes = _moves = next(_numbers)


def note_write() -> None:
    """Make `writes` grow."""
    global _writes
    _writes = next(_numbers)
