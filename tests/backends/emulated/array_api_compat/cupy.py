"""NumPy's functions, which have the names of the standard, on emulated devices."""

from types import SimpleNamespace

import cupy
import numpy as np

from layerkit.xp import words
from layerkit_numpy import NumpyBackend


def _emulated(module, names):
    values = {name: getattr(module, name) for name in names if hasattr(module, name)}
    return {name: cupy.on_device(value) if _is_function(value) else value for name, value in values.items()}


def _is_function(value):
    return callable(value) and not isinstance(value, type)


globals().update(_emulated(np, (*words.ARRAY_WORDS, *words.HALF_DTYPES)))
# NumPy's own sort upwards only.
sort, argsort = map(cupy.on_device, (NumpyBackend.sort, NumpyBackend.argsort))


def waiting(function):
    """Return a function that asks the device how many elements its result has: its time is over before."""

    def word(*args, **kwargs):
        if cupy._noted is not None:
            raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")
        return function(*args, **kwargs)

    return word


WAITING = ("clip", "nonzero", "unique_all", "unique_counts", "unique_inverse", "unique_values")
globals().update({name: waiting(globals()[name]) for name in WAITING})
linalg = SimpleNamespace(**_emulated(np.linalg, words.LINALG))
fft = SimpleNamespace(**_emulated(np.fft, words.FFT))
