"""Kill, or fail, every file system call of a save in turn, and look at what stands at the path afterwards.

``python -m tests.saving.crash`` prints a table; it needs strace. A process saves a model over another one; the calls
between two marks are counted first, and then one run is made for each call and each kind of fault.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from layerkit import Input, Sequential, load_model
from layerkit.errors import LayerkitError
from layerkit.layers import Dense

SAVE = """
import os, sys
from layerkit import load_model
from layerkit.errors import SaveError
import layerkit.models.files
model = load_model(sys.argv[1] + "/new.layerkit")
model.save(sys.argv[1] + "/warm.layerkit")
os.mkdir(sys.argv[1] + "/begin")
told = "saved"
try:
    model.save(sys.argv[1] + "/model.layerkit")
except SaveError as error:
    told = f"SaveError {error}"
os.mkdir(sys.argv[1] + "/end")
print(told)
"""
CALLS = "openat,newfstatat,fstat,lseek,write,fsync,flock,dup,fcntl,ioctl,getdents64,rename,close,unlink,readlink"
FAULTS = ("signal=KILL", "error=ENOSPC", "error=EIO", "error=EINTR")


def model(value: float) -> Sequential:
    """A model all of whose weights are `value`, of more than one buffer."""
    made = Sequential([Input((40,)), Dense(100), Dense(2)], seed=0)
    made.compile("adam", "mse")
    made.set_weights([weight * 0 + value for weight in made.get_weights()])
    return made


def prepare(folder: Path) -> None:
    """Put an old and a new model into an empty folder; the old one will be overwritten."""
    model(1.0).save(folder / "model.layerkit")
    model(2.0).save(folder / "new.layerkit")


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the process that saves, under strace."""
    environment = os.environ | {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = ["strace", "-f", *options, sys.executable, "-c", SAVE, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def count_calls(folder: Path) -> dict[str, list[int]]:
    """Return, by name, the ordinals of the calls that are made between the marks."""
    log = folder / "log"
    run(folder, "-o", str(log), "-e", f"trace={CALLS},mkdir")
    ordinals: Counter[str] = Counter()
    found: dict[str, list[int]] = {}
    inside = False
    for line in log.read_text().splitlines():
        match = re.match(r"\d+ +(\w+)\(", line)
        if match is None:
            continue
        call = match[1]
        ordinals[call] += 1
        if call == "mkdir":
            inside = "/begin" in line
        elif inside:
            found.setdefault(call, []).append(ordinals[call])
    return found


def outcome(folder: Path, fault: str, done: subprocess.CompletedProcess[str]) -> str:
    """Tell what stands at the path: "old", "new", or what is wrong; and how the process told of it."""
    try:
        value = float(load_model(folder / "model.layerkit").get_weights()[0][0, 0])
    except (LayerkitError, OSError) as error:
        return f"TORN {error}"
    held = {1.0: "old", 2.0: "new"}[value]
    if fault == "signal=KILL":
        return held if done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL) else f"{held}, not killed"
    told = done.stdout.strip().partition(" ")[0] or f"ANOTHER ERROR {done.stderr.strip().splitlines()[-1:]}"
    return f"{held}, {told}"


def main() -> int:
    """Print the table, and return how many files were torn or errors untold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", default=CALLS, help="which calls, with commas between")
    parser.add_argument("--faults", default=",".join(FAULTS), help="which faults, with commas between")
    arguments = parser.parse_args()
    if shutil.which("strace") is None:
        raise SystemExit("strace must be installed. Received: no such program.")
    with tempfile.TemporaryDirectory() as name:
        prepare(Path(name))
        found = count_calls(Path(name))
    found = {call: ordinals for call, ordinals in found.items() if call in arguments.calls.split(",")}
    bad = 0
    for fault in arguments.faults.split(","):
        totals: Counter[str] = Counter()
        for call, ordinals in found.items():
            for ordinal in ordinals:
                with tempfile.TemporaryDirectory() as name:
                    folder = Path(name)
                    prepare(folder)
                    done = run(folder, "-o", os.devnull, "-e", f"inject={call}:{fault}:when={ordinal}")
                    told = outcome(folder, fault, done)
                totals[told] += 1
                if told.startswith("TORN") or "ANOTHER" in told or told == "old, saved":
                    bad += 1
                    print(f"  {call} {ordinal}: {told}")
        print(
            f"{fault}: {sum(totals.values())} runs; {', '.join(f'{told}: {n}' for told, n in sorted(totals.items()))}"
        )
    print("calls:", ", ".join(f"{call} {len(ordinals)}" for call, ordinals in found.items()))
    return bad


if __name__ == "__main__":
    sys.exit(main() > 0)
