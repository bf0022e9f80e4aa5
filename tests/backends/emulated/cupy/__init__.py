"""What layerkit uses of CuPy, emulated on the host: NumPy's arrays that know a device, of which there are two.

As in CuPy, results are made on the current device, and an operation with an array of another device is an error here.
Within a stream that is captured, nothing is computed but noted; the graph that comes of it does it again and again, in
the same memory. It proves how the backend uses CuPy, not that CuPy works so.
"""

import collections
import contextlib
import itertools
import weakref
from types import SimpleNamespace

import numpy as np

from tests.backends.host_kernel import HostKernel

__version__ = "14.0.0"

_current = [0]
_noted = None  # what a stream that is captured has been asked to do
launches = []  # the names of kernels and words, and "graph", as they were launched
first = None  # "others" or "null": the streams that run ahead, where what they are asked for is put off


class ndarray(np.ndarray):
    device = None

    def __array_finalize__(self, source):
        # A view stays where its memory is; everything else is made on the current device.
        self.device = cuda.Device(_current[-1])

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def __array_ufunc__(self, ufunc, method, *operands, out=(), **options):
        if not all(isinstance(operand, (np.ndarray, np.generic, int, float, complex)) for operand in operands):
            return NotImplemented  # gives way to who knows better: a recorded array

        def compute(*operands):
            plain = [_plain(operand) for operand in (*operands, *out)]
            outs = tuple(plain[len(operands) :]) or None
            return getattr(ufunc, method)(*plain[: len(operands)], out=outs, **options)

        if out:
            _do(ufunc.__name__, lambda: compute(*operands))
            return out[0]
        return _word(ufunc.__name__, compute, operands, {})

    def __array_function__(self, function, types, args, kwargs):
        return on_device(function)(*args, **kwargs)

    def __getitem__(self, key):
        view = _word("getitem", lambda x, key: np.ndarray.__getitem__(_plain(x), _plain(key)), (self, key), {})
        view.device = self.device
        return view

    def set(self, values, stream=None):
        assert type(values) is np.ndarray
        assert (values.shape, values.dtype) == (self.shape, self.dtype)
        assert _noted is None
        launches.append("set")
        (stream or _current_streams[-1]).ask(lambda: np.copyto(self.view(np.ndarray), values))

    def __setitem__(self, key, value):
        if type(value) is np.ndarray and value.shape:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")

        def fill():
            _plain(self)[key] = _plain(value)

        _do("setitem", fill)

    def copy(self):
        return on_device(np.copy)(self)

    def astype(self, dtype, copy=True):
        if not copy and self.dtype == dtype:
            return self
        return _word("astype", lambda x: np.ndarray.astype(_plain(x), dtype), (self,), {})

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


# Doing, or noting.


def _do(name, action):
    """Do something that has no result but what it writes; or note it, where a stream is captured."""
    if _noted is not None:
        _noted.append((name, action))
    else:
        _finish()
        launches.append(name)
        action()


def _arrays(value):
    if isinstance(value, (list, tuple)):
        return [array for item in value for array in _arrays(item)]
    return [value] if isinstance(value, np.ndarray) else []


def _word(name, function, args, kwargs):
    _finish()
    with np.errstate(all="ignore"):
        result = _on_device(function(*args, **kwargs))
    made = _arrays(result)
    given = _arrays([*args, *kwargs.values()])
    if not made or any(np.may_share_memory(array, other) for array in made for other in given):
        return result  # a view: nothing is launched
    if _noted is None:
        launches.append(name)
        return result

    def again():
        with np.errstate(all="ignore"):
            for array, values in zip(made, _arrays(_on_device(function(*args, **kwargs))), strict=True):
                np.copyto(array.view(np.ndarray), values.view(np.ndarray))

    for array in made:  # what nobody has computed yet
        array.view(np.ndarray).fill(0)
    _noted.append((name, again))
    return result


def on_device(function):
    def word(*args, out=None, **kwargs):
        if out is not None:
            refused_by_cublas(function)
            _do(function.__name__, lambda: np.copyto(_plain(out), function(*map(_plain, args), **kwargs)))
            return out

        def compute(*args, **kwargs):
            return function(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

        refused_by_cublas(function)
        return _word(getattr(function, "__name__", ""), compute, args, kwargs)

    return word


def refused_by_cublas(function):
    if _noted is not None and getattr(function, "__name__", "") in ("matmul", "tensordot", "vecdot", "einsum"):
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")


def asarray(values, dtype=None):
    if isinstance(values, ndarray) and dtype in (None, values.dtype):
        return values
    return _on_device(np.array(_plain(values), dtype=dtype))


def asnumpy(array):
    if _noted is not None:
        raise RuntimeError("cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing")
    _finish()
    return np.array(_plain(array))


def copyto(target, source):
    target, source = _plain(target), _plain(source)
    if _noted is not None:
        _noted.append(("copy", lambda: np.copyto(target, source)))
    else:
        launches.append("copy")
        _current_streams[-1].ask(lambda: np.copyto(target, source))


def empty(shape, dtype=float):
    array = np.empty(shape, dtype)
    _allocators[-1](array.nbytes)
    array.fill(3 if _noted is None else 0)  # which shows where it was not written; but it may be an index
    return _on_device(array)


class RawKernel(HostKernel):
    def __call__(self, grid, block, arguments):
        _do(self.name, lambda: HostKernel.__call__(self, grid, block, [_plain(argument) for argument in arguments]))


# Devices, streams, graphs.


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        self.status = status


class runtime:
    streamPerThread = 2
    CUDARuntimeError = CUDARuntimeError
    driverGetVersion = staticmethod(lambda: 13000)
    getDeviceCount = staticmethod(lambda: 2)
    deviceSynchronize = staticmethod(lambda: _finish())
    memGetInfo = staticmethod(lambda: (1_000, 80_000_000_000))


class Device:
    def __init__(self, index=None):
        self.attributes = {"MultiProcessorCount": 1}
        self.id = _current[-1] if index is None else index

    def __enter__(self):
        _current.append(self.id)

    def __exit__(self, *error):
        _current.pop()


class Event:
    """The place in a stream at which it was last recorded."""

    def __init__(self, block=False, disable_timing=False):
        self.place = None

    def record(self, stream):
        place = self.place = SimpleNamespace(stream=stream, over=False)
        stream.ask(lambda: setattr(place, "over", True))

    def synchronize(self):
        _reach(self.place)


def _reach(place):
    while place is not None and not place.over:
        place.stream.step()


class Stream:
    def __init__(self, null=False, non_blocking=False):
        self.ptr = 0 if null else next(_addresses)
        self.non_blocking = non_blocking
        self.asked = collections.deque()
        _streams.add(self)

    def __enter__(self):
        _current_streams.append(self)
        return self

    def __exit__(self, *error):
        assert _current_streams.pop() is self

    def ask(self, action):
        self.asked.append(action)
        if first is None:
            self.synchronize()

    def step(self):
        action = self.asked[0]
        action()
        self.asked.popleft()

    def wait_event(self, event):
        place = event.place
        self.ask(lambda: _reach(place))

    def synchronize(self):
        assert _noted is None
        while self.asked:
            self.step()

    def begin_capture(self, mode=None):
        global _noted
        assert self.non_blocking, "the stream that everybody shares cannot be captured"
        assert _current_streams[-1] is self
        _noted = []

    def end_capture(self):
        global _noted
        graph, _noted = Graph(_noted), None
        return graph


def _finish():
    """Do all that streams were asked for, of those first that run ahead."""
    if _noted is None:
        for stream in sorted(_streams, key=lambda stream: (stream is _null) == (first == "others")):
            stream.synchronize()


class Graph:
    def __init__(self, actions):
        self.actions = actions
        self.device = _current[-1]

    def launch(self, stream=None):
        def replay():
            with Device(self.device):
                for _, action in self.actions:
                    action()

        launches.append("graph")
        _current_streams[-1].ask(replay)


class Memory:
    """Memory of the device, of which there is as much as `left` says."""

    left = None

    def __init__(self, size):
        if Memory.left is not None and size > Memory.left:
            raise CUDARuntimeError(2)
        self.memory = np.empty(size, np.uint8)
        self.ptr = self.memory.ctypes.data


class MemoryPointer:
    def __init__(self, memory, offset):
        self.mem = memory
        self.ptr = memory.ptr + offset


class MemoryPool:
    """What is made while it is used counts as taken, for good: the emulation's arrays are NumPy's to free."""

    def __init__(self, allocator=None):
        self.allocator = allocator or (lambda size: MemoryPointer(Memory(size), 0))
        self.taken = self.limit = 0
        self.given_back = 0  # how often it was asked for what it has at rest
        self.streams = set()  # for which it has memory

    def malloc(self, size):
        self.streams.add(_current_streams[-1].ptr)
        if self.limit and self.taken + size > self.limit:
            self.free_all_blocks()
            raise OutOfMemoryError(size, self.taken, self.limit)
        self.taken += size
        try:
            return self.allocator(size)
        except CUDARuntimeError:
            self.free_all_blocks()
            self.taken -= size
            raise OutOfMemoryError(size, self.taken, self.limit) from None
        except OutOfMemoryError:
            self.taken -= size
            raise

    def free_all_blocks(self):
        self.given_back += 1

    def set_limit(self, size=None, fraction=None):
        self.limit = size

    def get_limit(self):
        return self.limit

    def total_bytes(self):
        return self.taken

    def free_bytes(self):
        return 0


class OutOfMemoryError(MemoryError):
    """Its text is that of CuPy 14."""

    def __init__(self, size, total, limit=0):
        limited = f", limit set to: {limit:,} bytes" if limit else ""
        super().__init__(f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes{limited}).")


class memory:
    OutOfMemoryError = OutOfMemoryError


@contextlib.contextmanager
def using_allocator(allocator):
    _allocators.append(allocator)
    try:
        yield
    finally:
        _allocators.pop()


class nvrtc:
    getVersion = staticmethod(lambda: (13, 0))


class cuda:
    runtime, nvrtc, cublas, memory = runtime, nvrtc, None, memory
    Device, Event, Stream, Graph = Device, Event, Stream, Graph
    Memory, MemoryPointer, MemoryPool = Memory, MemoryPointer, MemoryPool
    using_allocator = staticmethod(using_allocator)
    get_current_stream = staticmethod(lambda: _current_streams[-1])


add, ascontiguousarray, einsum, matmul = map(on_device, (np.add, np.ascontiguousarray, np.einsum, np.matmul))
broadcast_to = on_device(np.broadcast_to)
max, min, sum = map(on_device, (np.max, np.min, np.sum))  # noqa: A001 - CuPy's names
maximum, minimum, iinfo = on_device(np.maximum), on_device(np.minimum), np.iinfo
_streams = weakref.WeakSet()
_addresses = itertools.count(1000)
_null = Stream(null=True)
_current_streams = [_null]
_own_pool = MemoryPool()
get_default_memory_pool = lambda: _own_pool  # noqa: E731
_allocators = [_own_pool.malloc]
dtype, generic, result_type = np.dtype, np.generic, np.result_type
float32, uint8, uint32, uint64 = np.float32, np.uint8, np.uint32, np.uint64
