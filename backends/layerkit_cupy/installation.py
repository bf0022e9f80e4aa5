"""What CuPy needs, looked for in order, with one sentence for each thing that can be missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from layerkit.errors import BackendUnavailableError

_OLDEST = 13
_INSUFFICIENT_DRIVER = 35  # cudaErrorInsufficientDriver: none, or one too old
_NO_DEVICE = 100  # cudaErrorNoDevice


def check_installation() -> None:
    """Check that CuPy and what it needs can be imported.

    Raises:
        BackendUnavailableError: they cannot.
    """
    if find_spec("cupy") is None:
        raise _unavailable(
            "CuPy must be installed. Received: no package cupy.",
            'Run: pip install "layerkit[cuda12]" (or cuda13, for CUDA 13).',
        )
    if find_spec("array_api_compat") is None:
        raise _unavailable(
            "array-api-compat must be installed beside CuPy. Received: no package array_api_compat.",
            "Run: pip install array-api-compat.",
        )
    try:
        version: str = import_module("cupy").__version__
        import_module("array_api_compat.cupy")
    except Exception as error:  # a broken installation raises anything
        if "libcuda.so" in str(error):
            raise _no_driver(summary(error)) from error
        raise _unavailable(
            f"the installed CuPy must be importable. Received: {summary(error)}.",
            "Uninstall every package whose name begins with cupy, and run: "
            'pip install "layerkit[cuda12]" (or cuda13, for CUDA 13).',
        ) from error
    if int(version.partition(".")[0]) < _OLDEST:
        raise _unavailable(
            f"CuPy must be of version {_OLDEST} or later. Received: CuPy {version}.",
            'Run: pip install --upgrade "layerkit[cuda12]" (or cuda13, for CUDA 13).',
        )


def device_names() -> tuple[str, ...]:
    """Return the numbers of this machine's CUDA devices.

    Raises:
        BackendUnavailableError: the driver is missing or too old, or there is no device.
    """
    runtime: Any = import_module("cupy").cuda.runtime
    driver: int = runtime.driverGetVersion()  # 0 where there is none; 12040 for CUDA 12.4
    if driver == 0:
        raise _no_driver("none")
    try:
        count: int = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        if error.status == _INSUFFICIENT_DRIVER:
            raise _unavailable(
                f"the NVIDIA driver must support CUDA {runtime.runtimeGetVersion() // 1000}, which CuPy was built for. "
                f"Received: a driver for CUDA {driver // 1000}.{driver % 1000 // 10}.",
                "Update the driver, or use backend='numpy'.",
            ) from error
        if error.status != _NO_DEVICE:
            raise _unavailable(
                f"the NVIDIA driver must work. Received: {summary(error)}.",
                "Run nvidia-smi to see what is wrong, or use backend='numpy'.",
            ) from error
        count = 0
    if count == 0:
        raise _unavailable(
            "there must be a CUDA device. Received: none.",
            "Look at nvidia-smi and the environment variable CUDA_VISIBLE_DEVICES, or use backend='numpy'.",
        )
    return tuple(map(str, range(count)))


def find_device(name: str) -> int:
    """Return the number of the device of this name, once everything is seen to be there; ``""`` is the first one.

    Raises:
        BackendUnavailableError: something is missing, or there is no such device.
    """
    name = name or "0"
    if not (name.isascii() and name.isdecimal()):
        raise _unavailable(f"the device must be a number. Received: 'cupy:{name}'.", "Use backend='cupy:0'.")
    names = device_names()
    if str(int(name)) not in names:
        known = " or ".join(f"'cupy:{known}'" for known in names)
        raise _unavailable(f"the device must be one of this machine's. Received: 'cupy:{name}'.", f"Use {known}.")
    cupy: Any = import_module("cupy")
    try:
        cupy.cuda.nvrtc.getVersion()
        _ = cupy.cuda.cublas
    except Exception as error:  # each version of CuPy raises another
        raise _unavailable(
            f"CUDA's compiler and its library of matrix products must be installed. Received: {summary(error)}.",
            "Install the CUDA toolkit, or run: "
            'pip install --upgrade "cupy-cuda12x[ctk]" (or "cupy-cuda13x[ctk]", for CUDA 13).',
        ) from error
    return int(name)


def _unavailable(found: str, remedy: str) -> BackendUnavailableError:
    return BackendUnavailableError(f"backend 'cupy': {found} {remedy}")


def _no_driver(found: str) -> BackendUnavailableError:
    return _unavailable(
        f"an NVIDIA driver must be installed. Received: {found}.",
        "Install the driver of the graphics card, or use backend='numpy'.",
    )


def summary(error: BaseException) -> str:
    """Return an error's cause in one line: CuPy's own messages are pages, and name the cause last."""
    cause = error.__cause__ or error
    lines = [line.strip(" =") for line in str(cause).splitlines()]
    return f"{type(cause).__name__}: {next(filter(None, lines), '')}".rstrip(" .:")
