"""The random steps of `fuzz_programs` on CuPy, against the same steps run eagerly on NumPy: every bit.

Each step runs as kernels, is put into a graph, and is replayed twice. All numbers are whole and small, so that the
order of sums makes no difference. For a long search, on a GPU, or else on CuPy's emulation (the folder `emulated`)::

    python -m tests.backends.fuzz_cupy --count 1000 --first 0
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

import layerkit
from layerkit.errors import BackendUnavailableError
from layerkit.program import record
from layerkit_numpy import NumpyBackend
from tests.backends.fuzz_programs import State, Step, _equal, random_step


def compare(step: Step, cupy: Any) -> Any:
    """Run a step eagerly on NumPy, and captured on CuPy; return CuPy's program.

    Raises:
        Difference: the output or the state is not the same, every bit of it.
    """
    from layerkit_cupy.program import CupyProgram

    namespace: dict[str, Any] = {"np": np}
    exec(step.source, namespace)
    function, numpy = namespace["step"], NumpyBackend()
    eager, captured = State(numpy, step.size), State(cupy, step.size)
    found: list[Any] = []

    def recorded(x: Any, y: Any) -> Any:
        result, _, program = record(cupy, lambda capture, a, b: function(capture, captured, a, b), (x, y), "train")
        found.append(program)
        return result

    def both(number: int, run: Any, how: str) -> None:
        inputs = step.inputs(number)
        expected, result = function(numpy, eager, *inputs), run(*map(cupy.asarray, inputs))
        _equal(expected, None if result is None else cupy.to_numpy(result), f"{how}: the output")
        for mine, theirs in zip(eager.variables(), captured.variables(), strict=True):
            _equal(mine.array, cupy.to_numpy(theirs.array), f"{how}: {mine.path}")

    with np.errstate(all="ignore"), cupy.on_device():
        both(0, recorded, "recorded")
        program = CupyProgram(found[0], cupy)
        for number, how in enumerate(("as kernels", "as a graph", "replayed", "replayed again"), 1):
            both(number, program, how)
    return program


def main() -> None:
    parser = argparse.ArgumentParser(description="Search for steps that CuPy replays wrongly.")
    parser.add_argument("--count", type=int, default=1000, help="how many steps")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    try:
        cupy = layerkit.backend("cupy:0")
    except BackendUnavailableError as error:
        print(f"{error}\nThe emulation takes its place.")
        cupy = emulated()
    findings, graphs = 0, 0
    for seed in range(options.first, options.first + options.count):
        step = random_step(seed)
        try:
            graphs += compare(step, cupy).path == "graph"
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            findings += 1
            print(f"seed {seed}: {step.size}\n{step.source}{type(error).__name__}: {error}\n", flush=True)
    print(
        f"{findings} of {options.count} steps from seed {options.first} on are wrong; {graphs} were replayed as graphs"
    )
    sys.exit(bool(findings))


def emulated() -> Any:
    """Put the emulation in CuPy's place, for the rest of the process."""
    from layerkit.xp import registry
    from tests.backends.emulated_cublas import EmulatedCublas

    for module in list(sys.modules):
        if module.partition(".")[0] in ("cupy", "cupyx", "array_api_compat", "layerkit_cupy"):
            del sys.modules[module]
    registry._opened.clear()
    sys.path.insert(0, str(Path(__file__).with_name("emulated")))
    import layerkit_cupy.backend

    layerkit_cupy.backend.load = lambda: EmulatedCublas(sys.modules["cupy"])
    return layerkit.backend("cupy:0")


if __name__ == "__main__":
    main()
