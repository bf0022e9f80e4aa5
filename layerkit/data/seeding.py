"""One seed for everything."""

from __future__ import annotations

import random

import numpy as np

from layerkit.checks import is_integer, shown
from layerkit.errors import ArgumentError
from layerkit.xp.random import seed_fresh_seeds


def set_random_seed(seed: int) -> None:
    """Let all that is random follow from a seed: Python's `random`, NumPy's global generator, and layerkit's own.

    Models, layers and initializers that are made without a seed take one each from the operating system; from now on
    they take the next of a sequence that begins at this seed. So the same program does the same each time. Where a
    model is given a seed, that alone says what it draws.

    Args:
        seed: from 0 to 2³² - 1.

    Raises:
        ArgumentError: it is something else.
    """
    if not (is_integer(seed) and 0 <= seed < 2**32):
        raise ArgumentError(
            f"set_random_seed: seed must be an integer from 0 to 2**32 - 1. Received: seed={shown(seed)}"
        )
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - a user's code may use it
    seed_fresh_seeds(int(seed))
