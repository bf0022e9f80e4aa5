"""PyTorch as a backend.

Array words come from `array_api_compat.torch`, which gives PyTorch's functions the names of the standard.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from layerkit.overriding import override
from layerkit.xp.array_api import ArrayApiBackend
from layerkit.xp.backend import check_value
from layerkit_torch.philox import random_bits
from layerkit_torch.words import TorchWords

if TYPE_CHECKING:
    from collections.abc import Iterable

# As Any: PyTorch's types are its own, and it need not be there for types to be checked.
torch: Any = import_module("torch")


class TorchBackend(TorchWords, ArrayApiBackend):
    """PyTorch on one device: ``"torch"`` is ``"torch:cpu"``; ``"torch:cuda:1"``, ``"torch:mps"``.

    Its arrays are tensors, which differ from the standard's where no word can help: ``x.size`` is a method, ``x[::-1]``
    does not exist, and operators know little of unsigned integers of more than 8 bits. Words do.
    """

    name = "torch"
    library = import_module("array_api_compat.torch")

    @classmethod
    @override
    def places(cls) -> Iterable[Any]:
        yield torch.device("cpu")
        for index in range(torch.cuda.device_count()):
            yield torch.device("cuda", index)
        if torch.backends.mps.is_available():
            yield torch.device("mps", 0)

    @override
    def memory(self) -> tuple[int, int] | None:
        return torch.cuda.mem_get_info(self.place) if self.place.type == "cuda" else None

    @override
    def asarray(self, values: Any, dtype: str | None = None) -> Any:
        if isinstance(values, torch.Tensor) and values.requires_grad:
            values = values.detach()  # or state that it is written into would keep the graph of each step
        return super().asarray(values, dtype)

    @override
    def from_numpy(self, array: Any) -> Any:
        return torch.from_numpy(array).to(self.place)

    @override
    def to_numpy(self, array: Any) -> Any:
        return array.detach().resolve_conj().resolve_neg().cpu().numpy()

    @override
    def assign_add(self, state: Any, value: Any) -> None:
        check_value("assign_add", state, value)
        if state.dtype == torch.uint64:  # which PyTorch cannot add; the bits of a sum are the same with a sign
            state, value = state.view(torch.int64), value if isinstance(value, int) else value.to(torch.int64)
        state.add_(value)

    @override
    def random_bits(self, key: tuple[int, int], counter: Any, size: int) -> Any:
        return random_bits(key, counter, size)

    @override
    def synchronize(self) -> None:
        if self.place.type != "cpu":
            getattr(torch, self.place.type).synchronize()
