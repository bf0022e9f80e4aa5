"""Each number of each class that a file may name, made large: refused, or a model, in little time and memory.

``python -m tests.saving.greedy`` prints how many files there were, and those that took longer or more, or ended
otherwise. Classes of layers are tried behind inputs of several ranks, small ones and large.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layerkit.layers import Layer
from layerkit.saving import document, table
from layerkit.saving.encoding import Encoder
from tests.saving import files, fuzz
from tests.saving.test_round_trip import built_in_names, example

if TYPE_CHECKING:
    from collections.abc import Iterator

LARGE = (10**5, 10**9)
SHAPES = ((3,), (4, 3), (4, 4, 3), (2, 2, 2, 3), (10**6, 1), (1000, 1000, 1))
SLOWEST_S, MOST_MIB = 2.0, 64.0
# Where an object stands in the architecture of `files.example`, by its room.
COMPILED = {"losses": "loss", "metrics": "metrics", "optimizers": "optimizer"}
OF_A_LAYER = {
    "constraints": "kernel_constraint",
    "initializers": "kernel_initializer",
    "regularizers": "kernel_regularizer",
}


def numbers(value: Any) -> Iterator[tuple[Any, Any]]:
    """Yield where in a configuration a number stands, or may stand."""
    for key in value if isinstance(value, dict) else range(len(value)):
        if isinstance(value[key], (dict, list)):
            yield from numbers(value[key])
        elif value[key] is None or (isinstance(value[key], (int, float)) and not isinstance(value[key], bool)):
            yield value, key


def greedy(told: Any) -> Iterator[tuple[str, Any]]:
    """Yield an object as JSON, with one number after the other made large, and what was."""
    yield "as it is", told
    for place, key in list(numbers(told["config"])):
        before = place[key]
        for large in LARGE:
            place[key] = large
            yield f"{key}={large}", told
        place[key] = before


def put(name: str, told: Any, shape: Any) -> Any:
    """Return what changes an architecture so that it has this object; a layer behind an input of this shape."""

    def change(value: Any) -> None:
        room, layers = name.partition(".")[0], value["model"]["config"]["layers"]
        if room in COMPILED:
            value["compile"][COMPILED[room]] = [told] if room == "metrics" else told
        elif room == "schedules":
            value["compile"]["optimizer"] = {"class": "optimizers.SGD", "config": {"learning_rate": told}}
        elif room in OF_A_LAYER:
            layers[2]["config"][OF_A_LAYER[room]] = told
        else:
            layers[0]["config"]["shape"] = {"tuple": list(shape)}
            layers[1:] = [{**told, "config": {**told["config"], "name": "greedy"}}]
            value.update(built={"": [None, *shape]}, frozen=[], constant=[], compile=None)

    return change


def mutants(good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what is large, and the file."""
    for name in built_in_names():
        shapes = SHAPES if issubclass(table.built_in()[name], Layer) else SHAPES[:1]
        for what, told in greedy(json.loads(document.dumps(Encoder().encode(example(name), name)))):
            for shape in shapes:
                yield f"{name}, {what}, {shape}", files.with_json(good, "architecture.json", put(name, told, shape))


def judged(first: int = 0, step: int = 1) -> tuple[int, list[str]]:
    """Load every `step`th file from the number `first` on; return how many there were, and what was wrong with some."""
    wrong: list[str] = []
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.layerkit"
        files.example().save(path)
        good = path.read_bytes()
        fuzz.judge(path, [])  # loads what is loaded on first use
        for name, data in islice(mutants(good), first, None, step):
            path.write_bytes(data)
            before, began_s = fuzz.peak_kib(), time.process_time()
            outcome, _ = fuzz.judge(path, [])
            took_s, grown_mib = time.process_time() - began_s, (fuzz.peak_kib() - before) / 1024
            count += 1
            if outcome not in ("accepted", "refused") or took_s > SLOWEST_S or grown_mib > MOST_MIB:
                wrong.append(f"{name}: {outcome}, {took_s:.1f} s, {grown_mib:.0f} MiB")
    return count, wrong


def main() -> int:
    """Print the numbers, and return how many were wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="only every so many")
    arguments = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (2**34, 2**34))
    count, wrong = judged(arguments.first, arguments.step)
    print(f"{count} files, {len(wrong)} of them wrong", *wrong, sep="\n  ")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main() > 0)
