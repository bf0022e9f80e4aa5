"""CuPy as a backend.

Array words come from `array_api_compat.cupy`, which gives CuPy's functions the names of the standard. All CUDA in
layerkit lives in this folder.
"""

from __future__ import annotations

import functools
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from layerkit.errors import MixedBackendsError
from layerkit.xp import words
from layerkit.xp.backend import Backend, check_value
from layerkit.xp.einsum import parsed
from layerkit_cupy.installation import device_names, find_device

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

# As Any: CuPy has no types, and need not be there for types to be checked.
cupy: Any = import_module("cupy")
namespace: Any = import_module("array_api_compat.cupy")
special: Any = import_module("cupyx.scipy.special")

_THREADS = 256  # in a block: any multiple of 32 up to 1024 would do
PHILOX = Path(__file__).with_name("philox.cu").read_text(encoding="utf-8")
_philox = cupy.RawKernel(PHILOX, "layerkit_philox")


class CupyBackend(Backend):
    """CuPy on one CUDA device: ``"cupy:1"`` is the second; ``"cupy"`` is ``"cupy:0"``.

    CuPy computes on the thread's current device. Each word makes its backend's device current while it runs; operators
    between arrays do so within `on_device`, in which models, losses, metrics and optimizers do their work.

    Args:
        index: the number of the device.
    """

    name = "cupy"

    # One kernel each, where the references take several. exp(-x) may overflow to inf, whose reciprocal is right: 0.
    sigmoid: Any = staticmethod(special.expit)
    erfc: Any = staticmethod(special.erfc)

    def __init__(self, index: int) -> None:
        super().__init__(namespace, str(index))
        self._index = index
        computing = set(words.ARRAY_WORDS).difference(words.CONSTANTS, words.DTYPES)
        for word in (*computing, *words.NETWORK_WORDS, *words.MACHINE_WORDS):
            setattr(self, word, self._here(getattr(self, word)))
        groups: list[dict[str, Any]] = [vars(self.linalg), vars(self.fft)]
        for group in groups:
            group.update({word: self._here(function) for word, function in group.items()})

    def _here(self, word: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(word)
        def here(*args: Any, **kwargs: Any) -> Any:
            with cupy.cuda.Device(self._index):  # a new one: its stack of former devices is not made for two threads
                return word(*args, **kwargs)

        return here

    @classmethod
    @override
    def open(cls, device: str) -> CupyBackend:
        return cls(find_device(device))

    @override
    def devices(self) -> Sequence[str]:
        return device_names()

    @override
    def on_device(self) -> AbstractContextManager[Any]:
        return cupy.cuda.Device(self._index)

    @override
    def owns(self, array: Any) -> bool:
        return isinstance(array, cupy.ndarray) and array.device.id == self._index

    @override
    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        if isinstance(values, cupy.ndarray) and not self.owns(values):
            raise MixedBackendsError(
                f"One computation takes arrays of one backend. Received: an array of cupy:{values.device.id} in a "
                f"computation on {self}. Move it with xp.asarray(xp_of_the_other.to_numpy(array))."
            )
        return cupy.asarray(values, dtype=dtype)

    @override
    def to_numpy(self, array: Any) -> Any:
        return cupy.asnumpy(array)

    @override
    def einsum(self, subscripts: str, *operands: Any) -> Any:
        parsed(subscripts, operands)  # says what does not fit
        return cupy.einsum(subscripts, *operands)

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        check_value("assign_add", state, value)
        cupy.add(state, value, out=state)

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        bits = cupy.empty((size,), dtype=cupy.uint32)
        blocks = -(-size // 8)
        if blocks:
            arguments = (*map(cupy.uint64, key), counter, bits, cupy.uint64(size))
            _philox((-(-blocks // _THREADS),), (_THREADS,), arguments)
        return bits

    @override
    def synchronize(self) -> None:
        cupy.cuda.runtime.deviceSynchronize()
