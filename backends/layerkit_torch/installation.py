"""What the backend needs of PyTorch, with one sentence for each thing that can be missing."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from layerkit.errors import BackendUnavailableError

_OLDEST = (2, 3)  # the first with unsigned integers of 16 to 64 bits


def check_installation() -> None:
    """Check that PyTorch and array-api-compat can be imported.

    Raises:
        BackendUnavailableError: they cannot.
    """
    for package, called in (("torch", "PyTorch"), ("array_api_compat", "array-api-compat")):
        if find_spec(package) is None:
            raise _unavailable(
                f"{called} must be installed. Received: no package {package}.",
                'Run: pip install "layerkit[torch]".',
            )
    try:
        version: str = import_module("torch").__version__
        import_module("array_api_compat.torch")
    except Exception as error:  # a broken installation raises anything
        summary = f"{type(error).__name__}: {error}".partition("\n")[0].rstrip(" .:")
        raise _unavailable(
            f"the installed PyTorch must be importable. Received: {summary}.",
            'Uninstall torch, and run: pip install "layerkit[torch]".',
        ) from error
    if tuple(map(int, version.split(".")[:2])) < _OLDEST:
        raise _unavailable(
            f"PyTorch must be of version {'.'.join(map(str, _OLDEST))} or later. Received: PyTorch {version}.",
            'Run: pip install --upgrade "layerkit[torch]".',
        )


def _unavailable(found: str, remedy: str) -> BackendUnavailableError:
    return BackendUnavailableError(f"backend 'torch': {found} {remedy}")
