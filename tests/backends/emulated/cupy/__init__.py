"""What layerkit uses of CuPy, emulated on the host: NumPy's arrays that know a device, of which there are two.

As in CuPy, results are made on the current device, and an operation with an array of another device is an error here.
It proves how the backend uses CuPy, not that CuPy works so.
"""

import numpy as np

from tests.backends.host_kernel import HostKernel as RawKernel  # noqa: F401

__version__ = "14.0.0"

_current = [0]


class ndarray(np.ndarray):
    device = None

    def __array_finalize__(self, source):
        # A view stays where its memory is; everything else is made on the current device.
        self.device = cuda.Device(_current[-1])

    def __array_ufunc__(self, ufunc, method, *operands, out=(), **options):
        plain = [_plain(operand) for operand in (*operands, *out)]
        result = getattr(ufunc, method)(*plain[: len(operands)], out=tuple(plain[len(operands) :]) or None, **options)
        return out[0] if out else _on_device(result)

    def __array_function__(self, function, types, args, kwargs):
        return _on_device(function(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()}))

    def __getitem__(self, key):
        view = _on_device(np.ndarray.__getitem__(self.view(np.ndarray), _plain(key)))
        view.device = self.device
        return view

    def __setitem__(self, key, value):
        if type(value) is np.ndarray and value.shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        _plain(self)[key] = _plain(value)

    def __array__(self, *args, **kwargs):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`.")


def _plain(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if not isinstance(value, ndarray):
        return value
    if value.device.id != _current[-1]:
        raise ValueError(f"Array device must be same as the current device: {value.device.id} != {_current[-1]}")
    return value.view(np.ndarray)


def _on_device(value):
    if isinstance(value, (list, tuple)):
        return tuple(map(_on_device, value))
    return np.asarray(value).view(ndarray) if isinstance(value, (np.ndarray, np.generic)) else value


def on_device(function):
    def word(*args, **kwargs):
        return _on_device(function(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()}))

    return word


def asarray(values, dtype=None):
    if isinstance(values, ndarray) and dtype in (None, values.dtype):
        return values
    return _on_device(np.array(_plain(values), dtype=dtype))


def asnumpy(array):
    return np.array(_plain(array))


class CUDARuntimeError(RuntimeError):
    pass


class runtime:
    CUDARuntimeError = CUDARuntimeError
    driverGetVersion = staticmethod(lambda: 13000)
    getDeviceCount = staticmethod(lambda: 2)
    deviceSynchronize = staticmethod(lambda: None)


class Device:
    def __init__(self, index):
        self.id = index

    def __enter__(self):
        _current.append(self.id)

    def __exit__(self, *error):
        _current.pop()


class nvrtc:
    getVersion = staticmethod(lambda: (13, 0))


class cuda:
    runtime, nvrtc, cublas, Device = runtime, nvrtc, None, Device


empty, add, einsum = map(on_device, (np.empty, np.add, np.einsum))
uint32, uint64 = np.uint32, np.uint64
