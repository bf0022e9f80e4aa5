"""Where CuPy, its driver or a device is missing, one sentence says which, and what to do."""

import re
import sys
from importlib.util import find_spec

import pytest

import layerkit
from layerkit.errors import BackendUnavailableError

CUPY = """
class CUDARuntimeError(RuntimeError):
    def __init__(self, status, text):
        super().__init__(text)
        self.status = status

class runtime:
    CUDARuntimeError = CUDARuntimeError
    driverGetVersion = staticmethod(lambda: {driver})
    runtimeGetVersion = staticmethod(lambda: 12090)

    @staticmethod
    def getDeviceCount():
        if {status}:
            raise CUDARuntimeError({status}, "{text}")
        return {count}

class nvrtc:
    @staticmethod
    def getVersion():
        raise RuntimeError("CuPy failed to load libnvrtc.so.12: OSError: cannot open shared object file")

class cuda:
    runtime, nvrtc = runtime, nvrtc

RawKernel = dict.fromkeys
__version__ = "{version}"
"""

# As CuPy 14 has it.
BROKEN = '''
try:
    raise ImportError("libnvToolsExt.so.1: cannot open shared object file: No such file or directory")
except ImportError as exc:
    raise ImportError(f"""
================================================================
Failed to import CuPy.

Original error:
  {type(exc).__name__}: {exc}
================================================================
""") from exc
'''

INSTALL = 'pip install "layerkit[cuda12]" (or cuda13, for CUDA 13).'


@pytest.fixture
def plant(without_cupy, tmp_path):
    """Return a function that puts a made-up CuPy on the path."""

    def plant(source="", *, compat=True, driver=12080, status=0, text="", count=1, version="14.2.0"):
        values = {"driver": driver, "status": status, "text": text, "count": count, "version": version}
        for module, content in (
            ("cupy/__init__", source or CUPY.format(**values)),
            ("cupyx/__init__", ""),
            ("cupyx/scipy/__init__", ""),
            ("cupyx/scipy/special", "expit = erfc = None"),
            ("array_api_compat/__init__", ""),
            ("array_api_compat/cupy", ""),
        ):
            file = tmp_path / f"{module}.py"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        without_cupy.syspath_prepend(tmp_path)
        if not compat:
            without_cupy.setitem(sys.modules, "array_api_compat", None)

    return plant


def refusal(name):
    with pytest.raises(BackendUnavailableError) as caught:
        layerkit.backend(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


NOT_INSTALLED = f"backend 'cupy': CuPy must be installed. Received: no package cupy. Run: {INSTALL}"


def test_not_installed(without_cupy):
    without_cupy.setitem(sys.modules, "cupy", None)
    assert refusal("cupy") == NOT_INSTALLED


@pytest.mark.skipif(find_spec("cupy") is not None, reason="CuPy is installed")
@pytest.mark.parametrize("name", ["cupy", "cupy:1"])
def test_not_installed_on_this_machine(name):
    assert refusal(name) == NOT_INSTALLED
    with pytest.raises(BackendUnavailableError, match=f"^{re.escape(NOT_INSTALLED)}$"):
        layerkit.Sequential([], backend=name)


def test_array_api_compat_not_installed(plant):
    plant(compat=False)
    assert refusal("cupy") == (
        "backend 'cupy': array-api-compat must be installed beside CuPy. Received: no package array_api_compat. "
        "Run: pip install array-api-compat."
    )


@pytest.mark.parametrize(
    ("source", "received"),
    [
        (BROKEN, "ImportError: libnvToolsExt.so.1: cannot open shared object file: No such file or directory"),
        ("raise OSError('no CUDA\\nin this build')", "OSError: no CUDA"),
        ("raise RuntimeError", "RuntimeError"),
        ("cuda = None", "AttributeError: module 'cupy' has no attribute '__version__'"),  # an empty folder, say
    ],
    ids=["library", "os", "no text", "no version"],
)
def test_broken_installation(plant, source, received):
    plant(source)
    assert refusal("cupy") == (
        f"backend 'cupy': the installed CuPy must be importable. Received: {received}. "
        f"Uninstall every package whose name begins with cupy, and run: {INSTALL}"
    )


def test_old_cupy(plant):
    plant(version="12.3.0")
    assert refusal("cupy") == (
        "backend 'cupy': CuPy must be of version 13 or later. Received: CuPy 12.3.0. "
        f"Run: {INSTALL.replace('install', 'install --upgrade')}"
    )


NO_DRIVER = (
    "backend 'cupy': an NVIDIA driver must be installed. Received: {}. "
    "Install the driver of the graphics card, or use backend='numpy'."
)


def test_no_driver(plant):
    plant(driver=0, status=35, text="cudaErrorInsufficientDriver: CUDA driver version is insufficient")
    assert refusal("cupy") == NO_DRIVER.format("none")


def test_no_driver_library(plant):
    plant("raise ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')")
    found = "ImportError: libcuda.so.1: cannot open shared object file: No such file or directory"
    assert refusal("cupy") == NO_DRIVER.format(found)


def test_old_driver(plant):
    plant(driver=11040, status=35, text="cudaErrorInsufficientDriver: CUDA driver version is insufficient")
    assert refusal("cupy") == (
        "backend 'cupy': the NVIDIA driver must support CUDA 12, which CuPy was built for. "
        "Received: a driver for CUDA 11.4. Update the driver, or use backend='numpy'."
    )


def test_driver_that_does_not_work(plant):
    text = "cudaErrorSystemDriverMismatch: system has unsupported display driver / cuda driver combination"
    plant(status=803, text=text)
    assert refusal("cupy") == (
        f"backend 'cupy': the NVIDIA driver must work. Received: CUDARuntimeError: {text}. "
        "Run nvidia-smi to see what is wrong, or use backend='numpy'."
    )


@pytest.mark.parametrize("found", [{"status": 100, "text": "cudaErrorNoDevice: no CUDA-capable device"}, {"count": 0}])
def test_no_device(plant, found):
    plant(**found)
    assert refusal("cupy") == (
        "backend 'cupy': there must be a CUDA device. Received: none. "
        "Look at nvidia-smi and the environment variable CUDA_VISIBLE_DEVICES, or use backend='numpy'."
    )


@pytest.mark.parametrize(
    ("count", "known"), [(1, "'cupy:0'"), (3, "'cupy:0' or 'cupy:1' or 'cupy:2'")], ids=["one device", "three"]
)
def test_device_that_does_not_exist(plant, count, known):
    plant(count=count)
    assert refusal("cupy:3") == (
        f"backend 'cupy': the device must be one of this machine's. Received: 'cupy:3'. Use {known}."
    )


@pytest.mark.parametrize("device", ["gpu", "-1", "1.0", "٣", "0:1"])
def test_device_that_is_no_number(plant, device):
    plant()
    assert refusal(f"cupy:{device}") == (
        f"backend 'cupy': the device must be a number. Received: 'cupy:{device}'. Use backend='cupy:0'."
    )


def test_no_cuda_toolkit(plant):
    plant()
    assert refusal("cupy") == (
        "backend 'cupy': CUDA's compiler and its library of matrix products must be installed. Received: "
        "RuntimeError: CuPy failed to load libnvrtc.so.12: OSError: cannot open shared object file. "
        'Install the CUDA toolkit, or run: pip install --upgrade "cupy-cuda12x[ctk]" '
        '(or "cupy-cuda13x[ctk]", for CUDA 13).'
    )


def test_the_module_has_no_other_attributes():
    import layerkit_cupy

    with pytest.raises(AttributeError, match=r"^module 'layerkit_cupy' has no attribute 'CupyBackends'$"):
        _ = layerkit_cupy.CupyBackends
