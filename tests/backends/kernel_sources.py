"""``python -m tests.backends.kernel_sources``: the kernels of some captured steps, as JSON.

They are written on CuPy's emulation. CUDA's compiler is given them where there is a real CuPy, but no GPU to run them.
"""

import json
import os
import sys

import numpy as np

from tests.backends.fuzz_cupy import compare, emulated
from tests.backends.fuzz_programs import random_step


def main() -> None:
    cupy = emulated()
    from layerkit_cupy import program
    from tests.backends import test_cupy_program as tests

    sources: dict[str, str] = {}
    kernel = program._kernel

    def noted(source, name):
        sources.setdefault(source, name)
        return kernel(source, name)

    program._kernel = noted
    halves = ["float16", *(["bfloat16"] if hasattr(cupy, "bfloat16") else [])]
    for dtype in ("float32", "float64", "int64", "uint32", "bool", *halves):
        tests.test_words_are_those_of_numpy(cupy, dtype)
    tests.test_shifts_by_all_bits_and_more(cupy)
    tests.test_numbers_that_are_not_finite(cupy)
    tests.test_a_bias_and_an_activation_share_a_kernel(cupy)
    tests.trained(cupy)
    for half in halves:
        tests.test_mixed_precision_is_one_graph_and_near_to_float32(cupy, f"mixed_{half}")
    for seed in (3, 8, 1001):
        compare(random_step(seed), cupy)
    sys.stdout.write(json.dumps([[name, source] for source, name in sources.items()]))


if __name__ == "__main__":
    os.environ.pop("LAYERKIT_BACKEND", None)
    with np.errstate(all="ignore"):
        main()
