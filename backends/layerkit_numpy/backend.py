"""NumPy as a backend.

NumPy follows the Array API standard from 2.1 on, so array words are its own functions. Network words are replaced
where fewer passes over memory are possible: a temporary that this file made is written again in place.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.overriding import override
from layerkit.xp import reference
from layerkit.xp.backend import Backend, check_value
from layerkit_numpy.expansions import EXPANSIONS
from layerkit_numpy.lowering import in_products
from layerkit_numpy.plan import ALIGNMENT
from layerkit_numpy.program import NumpyProgram

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[Any]
    Axes = int | tuple[int, ...] | None


_BRANCHES_ARE_CHEAP = 4096
"""Below so many elements, `numpy.where` costs less than the calls that avoid it."""


class NumpyBackend(Backend):
    """NumPy on the CPU."""

    name = "numpy"
    tile_size = 1 << 15  # 128 KiB of float32: a handful of these fit into a second-level cache
    expansions = EXPANSIONS

    linear_grad = reference.linear_grad_by_products

    def __init__(self) -> None:
        super().__init__(np)

    # NumPy's own functions of these names spend more time on their arguments than a small array takes to add up.

    @staticmethod
    def sum(x: Floats, /, *, axis: Axes = None, dtype: Any = None, keepdims: bool = False) -> Any:
        return np.add.reduce(x, axis=axis, dtype=dtype, keepdims=keepdims)

    @staticmethod
    def max(x: Floats, /, *, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.maximum.reduce(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def min(x: Floats, /, *, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.minimum.reduce(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def mean(x: Floats, /, *, axis: Axes = None, keepdims: bool = False) -> Any:
        total = np.add.reduce(x, axis=axis, keepdims=keepdims)
        axes = range(x.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
        return total / math.prod(x.shape[n] for n in axes)

    @staticmethod
    def where(condition: Any, x: Any, y: Any, /) -> Any:
        # NumPy's own takes a branch for each element, which costs ten times the memory traffic where they alternate.
        # Here bits are selected instead, exactly the same ones.
        dtype: Any = np.result_type(x, y)
        if dtype.char not in "fd" or getattr(condition, "size", 0) < _BRANCHES_ARE_CHEAP:
            return np.where(condition, x, y)  # pyright: ignore[reportUnknownVariableType]
        bits: Any = np.int32 if dtype.char == "f" else np.int64
        mask = condition.astype(bits)
        np.negative(mask, out=mask)
        x, y = np.asarray(x, dtype).view(bits), np.asarray(y, dtype).view(bits)
        if y.ndim == 0 and not y:
            return (x & mask).view(dtype)
        chosen = (x ^ y) & mask
        chosen ^= y
        return chosen.view(dtype)

    @staticmethod
    def clip(x: Floats, /, min: Any = None, max: Any = None) -> Any:
        return np.clip(x, min, max)  # NumPy's own takes no lower limit alone by its place

    @staticmethod
    def expand_dims(x: Floats, /, *, axis: int = 0) -> Any:
        if not -x.ndim - 1 <= axis <= x.ndim:
            return np.expand_dims(x, axis)  # raises NumPy's error
        return x[(slice(None),) * (axis if axis >= 0 else axis + x.ndim + 1) + (None,)]

    # NumPy's own sort upwards only.

    @staticmethod
    def sort(x: Floats, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
        y = np.sort(x, axis=axis, stable=stable)
        return np.flip(y, axis) if descending else y

    @staticmethod
    def argsort(x: Floats, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
        if not descending:
            return np.argsort(x, axis=axis, stable=stable)
        # Turned round twice, so that equal elements keep their order.
        return x.shape[axis] - 1 - np.flip(np.argsort(np.flip(x, axis), axis=axis, stable=stable), axis)

    @override
    def free_memory(self) -> int | None:
        from layerkit_numpy.memory import free_memory  # seldom needed

        return free_memory()

    @override
    def capture(self, program: Any) -> NumpyProgram:
        return NumpyProgram(program, self)

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, (np.ndarray, np.generic))

    @override
    def state(self, values: Any, dtype: str) -> Any:
        values = self.asarray(values, dtype)
        # NumPy's memory begins 16 bytes after a cache line, and each register that is stored there is written to two:
        # a sum whose result is not over an operand takes twice its time.
        memory = np.empty(values.nbytes + ALIGNMENT, np.uint8)
        start = -memory.__array_interface__["data"][0] % ALIGNMENT
        # Through a buffer, so that views of the state are views of it, and not of all that was taken.
        state = np.frombuffer(memory.data, values.dtype, values.size, start).reshape(values.shape)
        state[...] = values
        return state

    @override
    def to_numpy(self, array: Any) -> Any:
        return np.asarray(array)

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        check_value("assign_add", state, value)
        np.add(state, value, out=state)

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        blocks = -(-size // 8)
        philox = np.random.Philox(key=np.array(key, np.uint64), counter=int(counter))
        return philox.random_raw(4 * blocks).astype("<u8", copy=False).view("<u4")[:size].astype(np.uint32, copy=False)

    @override
    def linear(self, x: Floats, kernel: Floats, bias: Floats | None = None) -> Any:
        y = np.matmul(x, kernel)
        if bias is not None:
            y += bias
        return y

    @override
    def einsum(self, subscripts: str, *operands: Any) -> Any:
        return np.einsum(subscripts, *operands, optimize=in_products(subscripts, operands))

    @override
    def scatter_add(self, positions: Floats, values: Floats, size: int) -> Any:
        total = np.zeros(size, values.dtype)
        np.add.at(total, positions, values)
        return total

    @override
    def sigmoid(self, x: Floats) -> Any:
        # exp may overflow to inf here, whose reciprocal is the right answer, 0: only the warning has to go.
        with np.errstate(over="ignore"):
            y = np.asarray(np.negative(x))
            np.exp(y, out=y)
        y += 1.0
        return np.reciprocal(y, out=y)

    @override
    def softmax(self, x: Floats, axis: int = -1) -> Any:
        y = np.subtract(x, np.max(x, axis=axis, keepdims=True))
        np.exp(y, out=y)
        y /= np.sum(y, axis=axis, keepdims=True)
        return y
