"""Feed mutated model files to `load_model`, in child processes with limits and under an audit hook.

``python -m tests.saving.fuzz --count 100000`` prints what became of them. Half are bytes changed anywhere; half are
members changed with right sums, so that the reader gets to see them. Each must be accepted or end in ModelFormatError;
nothing may be opened, imported or run; none may take longer than 2 s, or more memory than 32 MiB: the files are small.
Of four stretches, one mutates a model, one a checkpoint, one a checkpoint whose members are all summed in threads, as
long ones are, and one weights alone, in both formats. Besides `load_model`, mutants are given to the other ways in.
``python -m tests.saving.fuzz --flips 10000`` flips single bits of models and checkpoints: each must be refused.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from tests.saving import files

CHUNK = 1250
KINDS = ("model", "checkpoint", "threads", "weights")
MOST_MIB = 32.0
FORBIDDEN = (
    *("open", "import", "exec", "compile", "os.", "subprocess.", "socket.", "ctypes.", "pickle.", "shutil.", "mmap."),
    *("marshal.", "urllib.", "tempfile.", "code.__new__", "function.__new__", "sys.settrace", "webbrowser."),
)
NUMBERS = (0, 1, -1, 2, 7, 255, 2**31, 2**32, 2**53, 2**63, 2**64, 10**30, 0.5, -0.0, 1e308, True, None)
TEXTS = (
    *(
        "",
        "relu",
        "layers.Dense",
        "layers.Dropout",
        "custom.x",
        "models.Sequential",
        "metrics.Mean",
        "os.system",
        "float64",
    ),
    *(
        "__class__",
        "../x",
        "a" * 200,
        "\u0000",
        "\ud800",
        "numpy",
        "cupy:0",
        "builtins.eval",
        "softmax",
        "inner/in",
        "mse",
    ),
)


def mutate_bytes(data: bytes, draw: random.Random) -> bytes:
    """Change bytes anywhere."""
    changed = bytearray(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
        place = draw.randrange(len(changed) or 1)
        length = draw.choice((1, 1, 2, 4, 8, 64))
        kind = draw.randrange(6)
        if kind == 0 and changed:
            changed[place % len(changed)] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place : place + length] = draw.randbytes(length)
        elif kind == 2:
            del changed[place : place + length]
        elif kind == 3:
            changed[place:place] = draw.randbytes(length)
        elif kind == 4:
            start = draw.randrange(len(changed) or 1)
            changed[place : place + length] = changed[start : start + length]
        else:
            changed[place : place + length] = draw.choice((b"\0", b"\xff")) * length
    if draw.random() < 0.1:
        del changed[draw.randrange(len(changed) or 1) :]
    return bytes(changed)


def mutate_json(value: Any, draw: random.Random) -> Any:
    """Change one place within a JSON value."""
    spots: list[tuple[Any, Any]] = []

    def walk(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)):
            spots.append((node, key))
            if isinstance(node[key], (dict, list)):
                walk(node[key])

    walk(value)
    if not spots:
        return draw.choice((*NUMBERS, *TEXTS, [], {}))
    node, key = draw.choice(spots)
    other, other_key = draw.choice(spots)
    kind = draw.randrange(8)
    if kind == 0:
        del node[key]
    elif kind == 1:
        node[key] = draw.choice(NUMBERS)
    elif kind == 2:
        node[key] = draw.choice(TEXTS)
    elif kind == 3:
        node[key] = json.loads(json.dumps(other[other_key]))
    elif kind == 4 and isinstance(node, dict):
        node[draw.choice((*TEXTS, "id", "ref", "class", "tuple", "backend", "units"))] = node.pop(key)
    elif kind == 5 and isinstance(node[key], int):
        node[key] += draw.choice((-1, 1, 10, 10**6))
    elif kind == 6:
        node[key] = {draw.choice(("tuple", "ref", "dict", "array", "type", "custom", "float", "class")): node[key]}
    else:
        node[key] = [node[key]] * draw.choice((0, 2, 50))
    return value


def mutate_members(data: bytes, draw: random.Random) -> bytes:
    """Change a member, and make its sums right again."""
    members = files.parts(data)
    name = draw.choice(list(members))
    raw = members[name]
    if draw.random() < 0.2:
        members[name] = mutate_bytes(raw, draw)
    elif name.endswith(".json"):
        value = json.loads(raw)
        for _ in range(draw.choice((1, 1, 2, 5))):
            value = mutate_json(value, draw)
        members[name] = json.dumps(value).encode()
    else:
        length = int.from_bytes(raw[:8], "little")
        header = mutate_json(json.loads(raw[8 : 8 + length]), draw)
        members[name] = files.safetensors(header, raw[8 + length :])
    if draw.random() < 0.05:
        members = dict(draw.sample(list(members.items()), draw.randrange(1, len(members) + 1)))
    return files.joined(members)


def mutant(data: bytes, number: int, seed: int, *, flips: bool = False) -> bytes:
    """Return mutant `number`: the same for the same seed."""
    draw = random.Random(f"{seed}/{number}")
    if flips:
        bit = draw.randrange(8 * len(data))
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        return bytes(changed)
    return (mutate_members if number % 2 else mutate_bytes)(data, draw)


def mutate_weights(data: bytes, draw: random.Random) -> bytes:
    """Change the header of a safetensors file."""
    length = int.from_bytes(data[:8], "little")
    return files.safetensors(mutate_json(json.loads(data[8 : 8 + length]), draw), data[8 + length :])


def watch(watched: list[Any]) -> None:
    """Note what is opened, imported or run from now on, as long as the list begins with a file that may be opened."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if watched and event.startswith(FORBIDDEN) and not (event == "open" and str(arguments[0]) == watched[0]):
            watched.append(f"{event} {arguments!r}"[:200])

    sys.addaudithook(hook)


def judge(path: Path, watched: list[Any], load: Any = None) -> tuple[str, float]:
    """Load a file, and return what became of it, and the seconds it took."""
    from layerkit import load_model
    from layerkit.errors import ModelFormatError

    began = time.perf_counter()
    watched[:] = [str(path)]
    try:
        (load or load_model)(path)
        outcome = "accepted"
    except ModelFormatError:
        outcome = "refused"
    except BaseException as error:  # noqa: BLE001 - which kinds there are is what is asked
        outcome = f"{type(error).__name__}: {error}"[:300]
    took_s = time.perf_counter() - began
    events, watched[:] = watched[1:], []
    return f"an event: {events[0]}" if events else outcome, took_s


def peak_kib() -> int:
    """Return the most memory that this process has had so far; ru_maxrss would count that of its parent too."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def others(kind: str) -> list[Any]:
    """Return the other ways in: functions of a path."""
    from layerkit.saving import inspection, reader

    model = files.example()
    ways = [inspection.inspected, lambda path: reader.load_weights(path, model)]
    return ways if kind == "weights" else [*ways, lambda path: reader.load_resumable(path, None, None)]


def child(folder: Path, kind: str, first: int, count: int, seed: int, flips: bool) -> dict[str, Any]:
    """Judge mutants, in this process."""
    from layerkit.saving import reader, sums

    warnings.simplefilter("error")
    if kind == "threads":
        reader.SHORT = sums.SHORT = -1
    names = (
        ("w.safetensors", "w.npz")
        if kind == "weights"
        else (f"{'model' if kind == 'model' else 'checkpoint'}.layerkit",)
    )
    watched: list[Any] = []
    ways = others(kind)

    good = {name: (folder / name).read_bytes() for name in names}
    paths = {name: folder / f"mutant{first}{name}" for name in names}
    for name, path in paths.items():  # which loads what is loaded on first use
        path.write_bytes(good[name])
        for load in (None, *ways):
            judge(path, watched, load)
        if kind != "weights":
            wrong = files.with_json(good[name], "architecture.json", lambda value: value["compile"].update(loss="mze"))
            path.write_bytes(wrong)
            judge(path, watched)
    "\x80".encode("unicode_escape")  # a codec that Python loads on first use: `inspect` shows strange letters so
    watch(watched)
    before = peak_kib()
    limit = 1024 * before + 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit + 2**33, limit + 2**33))
    outcomes: Counter[str] = Counter()
    slowest_s, bad = 0.0, {}
    for number in range(first, first + count):
        name = names[number // 2 % len(names)]
        path, data = paths[name], good[name]
        if kind == "weights" and not flips and number % 2 and name.endswith("safetensors"):
            changed = mutate_weights(data, random.Random(f"{seed}/{number}"))
        else:
            changed = mutant(data, number if kind != "weights" else 2 * number, seed, flips=flips)
        path.write_bytes(changed)
        loads = [*([None] if kind != "weights" else [ways[1]]), ways[number // 4 % len(ways)]]
        for turn, load in enumerate(loads[: 1 if flips else 2]):
            outcome, took_s = judge(path, watched, load)
            slowest_s = max(slowest_s, took_s)
            if not turn:
                outcomes[outcome] += 1
            if outcome not in ("accepted", "refused") or took_s > 2 or (flips and outcome == "accepted"):
                bad[number] = f"{kind}: {outcome}, {took_s:.1f} s"
    for path in paths.values():
        path.unlink()
    grown_mib = (peak_kib() - before) / 1024
    if grown_mib > MOST_MIB:  # the files are of a few KiB
        bad[f"from {first} on"] = f"{kind}: memory grew by {grown_mib:.0f} MiB"
    return {"outcomes": outcomes, "slowest_s": slowest_s, "grown_MiB": grown_mib, "bad": bad}


def run(count: int, seed: int, *, flips: bool = False) -> dict[str, Any]:
    """Judge so many mutants in child processes, and return the totals."""
    totals: dict[str, Any] = {"outcomes": Counter(), "slowest_s": 0.0, "grown_MiB": 0.0, "bad": {}}
    kinds = KINDS[:3] if flips else KINDS
    chunk = max(1, min(CHUNK, -(-count // len(kinds))))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = files.example()
        model.save(folder / "model.layerkit")
        model.save_weights(folder / "w.safetensors")
        model.save_weights(folder / "w.npz")
        files.checkpoint(folder / "checkpoint.layerkit")
        for place, first in enumerate(range(0, count, chunk)):
            command = [sys.executable, "-m", "tests.saving.fuzz", "--seed", str(seed), *(["--flip"] if flips else [])]
            kind = kinds[place % len(kinds)]
            command += ["--child", name, kind, str(first), str(min(chunk, count - first))]
            environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                totals["bad"][first] = f"the child ended with {done.returncode}: {done.stderr[-2000:]}"
                continue
            found = json.loads(done.stdout)
            totals["outcomes"].update(found["outcomes"])
            for key in ("slowest_s", "grown_MiB"):
                totals[key] = max(totals[key], found[key])
            totals["bad"] |= found["bad"]
    return totals


def main() -> int:
    """Print the totals, and return how many were bad."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=0)
    parser.add_argument("--flips", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--flip", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder, kind, first, count = arguments.child
        print(json.dumps(child(Path(folder), kind, int(first), int(count), arguments.seed, arguments.flip)))
        return 0
    bad = 0
    for count, flips in ((arguments.count, False), (arguments.flips, True)):
        if count:
            totals = run(count, arguments.seed, flips=flips)
            print(f"{count} {'single bits flipped' if flips else 'mutants'}:", dict(totals["outcomes"]))
            print(f"  slowest {totals['slowest_s']:.2f} s; memory grew by {totals['grown_MiB']:.0f} MiB")
            for number, what in totals["bad"].items():
                print(f"  {number}: {what}")
            bad += len(totals["bad"])
    return bad


if __name__ == "__main__":
    sys.exit(main() > 0)
