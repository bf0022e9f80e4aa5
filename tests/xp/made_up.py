"""Arrays of made-up libraries, which stand for those that are not here: on a device, or of another kind."""

from __future__ import annotations

import numpy as np

CPU, CUDA = 1, 2


class Exchanged:
    """On the host, with nothing but DLPack."""

    def __init__(self, values, dtype="float32"):
        self.values = np.array(values, dtype)
        self.shape = self.values.shape

    def __dlpack_device__(self):
        return CPU, 0

    def __dlpack__(self, **how):
        return self.values.__dlpack__(**how)


class Far(Exchanged):
    """On a device: DLPack brings it to the host where it is asked to (as the standard has it from 2023.12 on)."""

    def __dlpack_device__(self):
        return CUDA, 0

    def __dlpack__(self, *, dl_device=None, **how):
        if dl_device != (CPU, 0):
            raise BufferError("it is on a device")
        return self.values.copy().__dlpack__(**how)


class Stuck(Far):
    """On a device, of a library that brings nothing anywhere."""

    def __dlpack__(self, **how):
        raise BufferError("it stays where it is")


class Converted:
    """With NumPy's own protocol."""

    def __init__(self, values, dtype="float32"):
        self.values = np.array(values, dtype)
        self.shape = self.values.shape
        self.dtype = f"made_up.{dtype}"

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype=dtype, copy=copy)


class Tensor(Converted):
    """As PyTorch has them: their way to the host is to be followed."""

    layout = "torch.strided"

    def __init__(self, values, *, requires_grad=False, on_host=False):
        super().__init__(values)
        self.requires_grad = requires_grad
        self.on_host = on_host

    def __array__(self, dtype=None, copy=None):
        if not self.on_host:
            raise TypeError("can't convert device tensor to numpy")
        return super().__array__(dtype, copy)

    def to_dense(self):
        return self

    def float(self):
        return self

    def detach(self):
        return self

    def cpu(self):
        self.on_host = True
        return self
