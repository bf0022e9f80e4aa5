"""What each machine word is tried on: (a call, what came of it, what should have)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.errors import ShapeError
from layerkit.program.capture import record
from layerkit.xp.state import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layerkit.xp.backend import Backend

Trial = tuple[str, Any, Any]

_DATA: dict[str, Any] = {
    "[[1, 2], [3, 4]]": [[1, 2], [3, 4]],
    "2.5": 2.5,
    "True": True,
    "an array that is turned": np.arange(6.0).reshape(2, 3).T,
    "an array that runs backwards": np.arange(6.0)[::-1],
    "an array of shape (0, 3)": np.zeros((0, 3)),
    "numpy.float32(3)": np.float32(3),
    "an array without axes": np.array(7),
    "an array that is read only": np.broadcast_to(np.array(1.5), (2, 3)),
}


def _seen(array: Any) -> Any:
    """Return what is compared of an array of NumPy's."""
    return type(array).__name__, str(array.dtype), tuple(array.shape), array.tolist()


def _asarray(xp: Backend) -> Iterator[Trial]:
    for told, values in _DATA.items():
        for dtype in (None, "float32", "float64", "int64", "uint64", "bool"):
            call = f"asarray({told}{'' if dtype is None else f', {dtype!r}'})"
            array: Any = xp.asarray(values, dtype)
            expected = np.asarray(values, dtype)
            yield call + ".dtype", array.dtype == getattr(xp, expected.dtype.name), True
            yield call + ".shape", tuple(array.shape), expected.shape
            yield f"to_numpy({call})", _seen(xp.to_numpy(array)), _seen(expected)
    array = xp.asarray([1.0, 2.0])
    yield "asarray of an array of the backend is the array", xp.asarray(array) is array, True
    yield "asarray(array, 'float32').dtype", xp.asarray(array, "float32").dtype == xp.float32, True
    # Without axes, it is an array still: what is computed of it has a shape.
    yield "asarray(2.0).shape", tuple(xp.asarray(2.0).shape), ()


def _to_numpy(xp: Backend) -> Iterator[Trial]:
    for dtype in ("float32", "float64", "int32", "int64", "uint8", "uint32", "uint64", "bool", "complex64"):
        for shape in ((2, 3), (), (0, 3)):
            expected = np.ones(shape, dtype)
            received = xp.to_numpy(xp.ones(shape, dtype=getattr(xp, dtype)))
            yield f"to_numpy(ones({shape}, {dtype}))", _seen(received), _seen(expected)
    host = np.arange(12.0).reshape(3, 4)
    array: Any = xp.asarray(host)
    yield "to_numpy(x[1:, ::2])", _seen(xp.to_numpy(array[1:, ::2])), _seen(host[1:, ::2])
    yield "to_numpy(permute_dims(x, (1, 0)))", _seen(xp.to_numpy(xp.permute_dims(array, (1, 0)))), _seen(host.T)
    yield "to_numpy(state)", _seen(xp.to_numpy(xp.state(host, "float64"))), _seen(host)


def _owns(xp: Backend) -> Iterator[Trial]:
    for told, array in (
        ("asarray(1.0)", xp.asarray(1.0)),
        ("asarray([1.0])[0]", xp.asarray([1.0])[0]),
        ("zeros((0,))", xp.zeros((0,))),
        ("state([1.0], 'float32')", xp.state([1.0], "float32")),
        ("view(state, 0, 1, ())", xp.view(xp.state([1.0], "float32"), 0, 1, ())),
        ("x + x", xp.asarray([1.0]) + xp.asarray([1.0])),
    ):
        yield f"owns({told})", xp.owns(array), True
    for value in ([1.0], 1.0, None, "x"):
        yield f"owns({value!r})", xp.owns(value), False


def _devices(xp: Backend) -> Iterator[Trial]:
    found = xp.devices()
    yield "devices() has names", all(isinstance(name, str) for name in found) and len(found) > 0, True  # pyright: ignore
    yield f"{xp.device!r} is one of devices()", not xp.device or xp.device in found, True


def _on_device(xp: Backend) -> Iterator[Trial]:
    with xp.on_device():
        yield "with on_device(): x * x", xp.to_numpy(xp.asarray([3.0]) * xp.asarray([3.0])).tolist(), [9.0]


def _state(xp: Backend) -> Iterator[Trial]:
    for told, values in _DATA.items():
        for dtype in ("float32", "float64", "int64", "uint64"):
            call, expected = f"state({told}, {dtype!r})", np.asarray(values, dtype)
            state: Any = xp.state(values, dtype)
            yield call + ".dtype", state.dtype == getattr(xp, dtype), True
            yield call, _seen(xp.to_numpy(state)), _seen(expected)
    host = np.ones((2, 3))
    state = xp.state(host, "float64")
    host[:] = 5.0
    yield "state(values) is a copy of values that are changed later", _values(xp, state), [[1.0] * 3] * 2
    source = xp.state(np.ones(3), "float64")
    state = xp.state(source, "float64")
    xp.assign(state, 2.0)
    yield "state(state) is a copy: the first, when the second is assigned", _values(xp, source), [1.0] * 3
    turned = xp.permute_dims(xp.asarray(np.arange(6.0).reshape(2, 3)), (1, 0))
    yield "state(permute_dims(x, (1, 0)))", _values(xp, xp.state(turned, "float64")), [[0, 3], [1, 4], [2, 5]]


def _values(xp: Backend, array: Any) -> Any:
    return xp.to_numpy(array).tolist()


def _view(xp: Backend) -> Iterator[Trial]:
    for start, stop, shape in ((0, 6, (2, 3)), (9, 10, ()), (4, 4, (0, 3)), (2, 10, (2, 2, 2))):
        call = f"view(state, {start}, {stop}, {shape})"
        flat: Any = xp.state(np.arange(10), "float64")
        view: Any = xp.view(flat, start, stop, shape)
        host = np.arange(10.0)
        yield call, _seen(xp.to_numpy(view)), _seen(host[start:stop].reshape(shape))
        xp.assign(view, -1)
        xp.assign_add(view, xp.full(shape, -1.0, dtype=xp.float64))
        host[start:stop] = -2.0
        yield f"{call} is assigned: the state", _values(xp, flat), host.tolist()
        xp.assign(flat, 4.0)
        yield f"the state is assigned: {call}", _values(xp, view), np.full(shape, 4.0).tolist()
    flat = xp.state(np.arange(6), "float32")
    inner = xp.view(xp.view(flat, 2, 6, (4,)), 1, 3, (2,))
    xp.assign(inner, 9.0)
    yield "a view of a view is assigned: the state", _values(xp, flat), [0, 1, 2, 9, 9, 5]


def _assigning(word: str) -> Callable[[Backend], Iterator[Trial]]:
    def trials(xp: Backend) -> Iterator[Trial]:
        def write(state: Any, value: Any) -> None:
            getattr(xp, word)(state, value)

        def after(before: Any, value: Any) -> Any:
            return np.broadcast_to(value, before.shape) if word == "assign" else before + value

        for dtype in ("float32", "float64", "int64", "uint64"):
            for shape in ((2, 3), (), (0, 3)):
                before = np.ones(shape, dtype)
                state: Any = xp.state(before, dtype)
                for told, value in (("2", 2), ("an array", np.full(shape, 3, dtype))):
                    write(state, xp.asarray(value) if isinstance(value, np.ndarray) else value)
                    before = np.asarray(after(before, value), dtype)
                    call = f"{word}(state {dtype} {shape}, {told})"
                    yield call, _seen(xp.to_numpy(state)), _seen(before)
        state = xp.state(2**53, "uint64")
        write(state, 1)
        expected = 1 if word == "assign" else 2**53 + 1
        yield f"{word}(state uint64 2**53, 1)", _values(xp, state), expected
        flat = xp.state(np.arange(4), "float32")
        write(flat, xp.flip(flat))
        yield f"{word}(w, flip(w))", _values(xp, flat), [3, 2, 1, 0] if word == "assign" else [3, 3, 3, 3]
        state = xp.state(np.zeros((2, 3)), "float32")
        for shape in ((3,), (1, 3), (2, 1), (1, 2, 3), (1,)):
            try:
                write(state, xp.ones(shape, dtype=xp.float32))
                refused = "no error"
            except ShapeError:
                refused = "ShapeError"
            yield f"{word}(state (2, 3), array {shape})", refused, "ShapeError"
        yield "after a refusal: the state", _values(xp, state), [[0.0] * 3] * 2

    return trials


_KEY = (2**64 - 1, 2**63 + 5)


def _random_bits(xp: Backend) -> Iterator[Trial]:
    for start in (0, 5, 2**32 - 1, 2**63, 2**64 - 3, 2**64 - 1):
        for size in (0, 1, 7, 8, 9, 1000):
            counter: Any = xp.state(start, "uint64")
            bits: Any = xp.random_bits(_KEY, counter, size)
            raw = np.random.Philox(key=np.array(_KEY, np.uint64), counter=start).random_raw(-(-size // 2))
            halves = np.stack([raw & np.uint64(2**32 - 1), raw >> np.uint64(32)], axis=1)
            expected = halves.reshape(-1)[:size].astype(np.uint32)
            call = f"random_bits({_KEY}, state {start}, {size})"
            yield call + ".dtype", bits.dtype == xp.uint32, True
            yield call, _seen(xp.to_numpy(bits)), _seen(expected)
            yield f"{call}: the counter", _values(xp, counter), start


def _capture(xp: Backend) -> Iterator[Trial]:
    weight = Variable(np.array([1.0, -2.0, 3.0]), "float64", "weight", xp=xp)
    count = Variable(0, "uint64", "count", trainable=False, xp=xp)

    def step(xp: Any, x: Any, y: Any) -> Any:
        w = weight.value
        error = xp.linear(x, xp.expand_dims(w, axis=-1))[:, 0] - y
        bits = xp.random_bits((1, 2), count.value, 8)
        keep = xp.astype(xp.greater_equal(bits[:3], 2**31), xp.float64)
        xp.assign_add(count.value, 1)
        xp.assign(w, w - 0.1 * xp.sum(xp.expand_dims(error, axis=-1) * x, axis=0) * (0.5 + keep))
        return xp.sum(error * error)

    random = np.random.default_rng(0)
    batches = [(random.normal(size=(4, 3)), random.normal(size=4)) for _ in range(4)]

    def taken(xp: Backend, run: Callable[..., Any], batches: Any) -> list[Any]:
        losses = [float(xp.to_numpy(run(*map(xp.asarray, batch)))) for batch in batches]
        return [*losses, *weight.numpy().tolist(), int(count.numpy())]

    def eagerly(*batch: Any) -> Any:
        return step(xp, *batch)

    expected = taken(xp, eagerly, batches)
    weight.assign([1.0, -2.0, 3.0])
    count.assign(0)
    _, capture, program = record(xp, step, tuple(map(xp.asarray, batches[0])), "step")
    yield "capture: what keeps the step from being recorded", capture.refusal, None
    weight.assign([1.0, -2.0, 3.0])
    count.assign(0)
    received = taken(xp, xp.capture(program), batches)
    yield "capture(program), run four times", np.allclose(received, expected, rtol=1e-12), True


def _in_tiles(xp: Backend) -> Iterator[Trial]:
    for size in (0, 5, 2 * (xp.tile_size or 5) + 3):
        ours: Any = xp.state(np.arange(size), "float64")
        total: Any = xp.state(np.ones(size), "float64")
        calls: list[int] = []

        def rule(xp: Any, states: Any, scalars: Any, calls: list[int] = calls) -> None:
            w, sums = states
            calls.append(w.shape[0])
            xp.assign(sums, sums + w * scalars)
            xp.assign_add(w, -1.0)

        xp.in_tiles(rule, [ours, total], xp.asarray(2.0))
        call = f"in_tiles(f, states of {size} elements, 2.0)"
        yield f"{call}: the elements that f is given", sum(calls), size
        yield f"{call}: the first state", _seen(xp.to_numpy(ours)), _seen(np.arange(size) - 1.0)
        yield f"{call}: the second", _seen(xp.to_numpy(total)), _seen(1.0 + 2.0 * np.arange(size))


def _synchronize(xp: Backend) -> Iterator[Trial]:
    x = xp.ones((50, 50))
    for _ in range(3):
        x = xp.matmul(x, x) * 0.02
    xp.synchronize()
    yield "to_numpy after synchronize", round(float(xp.to_numpy(x)[0, 0]), 9), 1.0


TRIALS: dict[str, Callable[[Backend], Iterator[Trial]]] = {
    "asarray": _asarray,
    "assign": _assigning("assign"),
    "assign_add": _assigning("assign_add"),
    "capture": _capture,
    "devices": _devices,
    "in_tiles": _in_tiles,
    "on_device": _on_device,
    "owns": _owns,
    "random_bits": _random_bits,
    "state": _state,
    "synchronize": _synchronize,
    "to_numpy": _to_numpy,
    "view": _view,
}
