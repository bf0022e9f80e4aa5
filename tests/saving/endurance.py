"""What holds in the long run, in numbers: ``python -m tests.saving.endurance`` and one of these.

- ``threads``: 16 threads predict, batches of many sizes, and every bit is compared with those of one thread.
- ``interrupts``: trainings are interrupted by SIGINT at random moments, looked at, and resumed to the end.
- ``flat``: predictions, steps, saves and loads, with the memory, files and threads of the process along the way.
- ``processes``: the same seed in two processes that differ in hash seed, locale, working directory and ``-O``.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from layerkit import Input, Sequential, load_model, optimizers, resume
from layerkit.callbacks import BackupAndRestore, LambdaCallback
from layerkit.layers import BatchNormalization, Dense, Dropout
from tests.saving.models import everything

X = np.random.default_rng(0).normal(size=(96, 4)).astype("float32")
Y = np.sin(X[:, :1])
SIZES = (1, 3, 7, 32, 64, 96)


def compiled(optimizer: Any = "adam", *, seed: int = 0, activation: str = "tanh", rate: float = 0.2) -> Sequential:
    model = Sequential([Input((4,)), Dense(8, activation), BatchNormalization(), Dropout(rate), Dense(1)], seed=seed)
    model.compile(optimizer, "mse", metrics=["mae"])
    return model


def digest(model: Any) -> str:
    """Return a sum of all that training has changed."""
    found = hashlib.sha256()
    for key, value in everything(model).items():
        found.update(key.encode())
        found.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return found.hexdigest()


def threads(count: int) -> int:
    """Predict so often in each of 16 threads, and return how many predictions differ from those of one thread."""
    model = compiled()
    model.fit(X, Y, epochs=2, verbose=0)
    serial = {size: model.predict(X[:size], verbose=0).tobytes() for size in SIZES}
    fresh = load_copy(model)  # whose steps are not recorded yet
    different: list[int] = []
    equal = [0] * 16
    barrier = threading.Barrier(16)

    def work(number: int) -> None:
        draw = random.Random(number)
        barrier.wait()
        for turn in range(count):
            size = draw.choice(SIZES)
            if fresh.predict(X[:size], verbose=0).tobytes() == serial[size]:
                equal[number] += 1
            else:
                different.append(turn)

    began = time.perf_counter()
    running = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    print(f"threads: {sum(equal)} of {16 * count} equal, in {time.perf_counter() - began:.0f} s")
    return 16 * count - sum(equal)


def load_copy(model: Any) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "a.layerkit")
        return load_model(Path(folder) / "a.layerkit")


def interrupts(count: int) -> int:
    """Interrupt so many trainings at random moments, resume them, and return how many do not end as they should."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored in what a shell runs behind
    expected = compiled()
    expected.fit(X, Y, batch_size=8, epochs=12, validation_split=0.2, verbose=0)
    wanted, bad, steps = digest(expected), 0, 0
    for number in range(count):
        draw = random.Random(number)
        with tempfile.TemporaryDirectory() as folder:
            ends: list[int] = []
            tells = LambdaCallback(on_train_end=lambda logs, ends=ends: ends.append(1))
            model = compiled()
            delay_s = draw.uniform(1e-3, 0.06)
            timer = threading.Timer(delay_s, os.kill, (os.getpid(), signal.SIGINT))
            begins = LambdaCallback(on_train_begin=lambda logs, timer=timer: timer.start())
            backup = BackupAndRestore(folder, save_freq=20)
            interrupted = False
            try:
                try:
                    options = {"batch_size": 8, "epochs": 12, "validation_split": 0.2, "verbose": 0}
                    model.fit(X, Y, callbacks=[tells, begins, backup], **options)
                    timer.join()
                    time.sleep(1e-3)
                except KeyboardInterrupt:
                    interrupted = True
                timer.join()
            except KeyboardInterrupt:  # it had ended
                pass
            right = len(ends) == 1 and np.isfinite(model.predict(X, verbose=0)).all()
            if interrupted and list(Path(folder).glob("checkpoint-*")):
                steps += 1
                model = resume(folder, X, Y, callbacks=[LambdaCallback(), LambdaCallback()])
            if not right or digest(model) != wanted:
                bad += 1
                print(f"  interrupt {number}, after {delay_s:.4f} s: {len(ends)} ends, {digest(model) == wanted}")
    print(f"interrupts: {count - bad} of {count} usable and equal at the end; {steps} of them interrupted and resumed")
    return bad + (steps < count / 4)  # or else nothing was tried


def resources() -> tuple[float, int, int]:
    """Return the MiB that the process has in memory, its open files, and its threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20, len([*Path("/proc/self/fd").iterdir()]), threading.active_count()


def flat(count: int) -> int:
    """Do each of these so often, and return how many of them keep more memory, files or threads than at first.

    Saves and loads are a hundredth of that, steps a tenth.
    """
    model = compiled()
    model.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.layerkit"

        def save_and_load() -> None:
            model.save(path)
            load_model(path)

        def many_steps() -> None:
            model.fit(X, Y, batch_size=8, epochs=5, verbose=0)

        kinds = {
            "predictions": (lambda: model.predict(X[:8], verbose=0), count, 1),
            "steps": (many_steps, count // 10, 60),
            "saves and loads": (save_and_load, count // 100, 1),
        }
        grown = 0
        for name, (work, times, each) in kinds.items():
            for _ in range(min(times // each // 5 + 1, 200)):
                work()
            seen = [resources()]
            for _ in range(4):
                for _ in range(max(times // each // 4, 1)):
                    work()
                seen.append(resources())
            memory = [f"{one:.1f}" for one, _, _ in seen]
            kept = seen[-1][0] - seen[0][0] > 4 or seen[-1][1:] != seen[0][1:]
            grown += kept
            print(
                f"flat: {times} {name}: {', '.join(memory)} MiB; {seen[0][1]} and {seen[-1][1]} files; "
                f"{seen[0][2]} and {seen[-1][2]} threads{'; KEPT' if kept else ''}",
                flush=True,
            )
    return grown


NAMES = ("SGD", "Adam", "AdamW", "RMSprop", "Nadam", "Adagrad", "Lion", "Adamax", "Adadelta", "Ftrl")
ACTIVATIONS = ("tanh", "relu", "gelu", "sigmoid", "softplus")


def trained(number: int) -> str:
    """Train configuration `number`, and return a sum of all that training has changed."""
    draw = random.Random(number)
    options: dict[str, Any] = {"learning_rate": draw.choice((0.01, 0.03))}
    if draw.random() < 0.3:
        options["global_clipnorm"] = 0.5
    if draw.random() < 0.3:
        options["weight_decay"] = 0.01
    name = NAMES[number % len(NAMES)]
    made = getattr(optimizers, name)(**options)
    model = compiled(made, seed=number, activation=ACTIVATIONS[number // 10 % 5], rate=draw.choice((0.1, 0.5)))
    split = draw.choice((0.0, 0.25))
    model.fit(X, Y, batch_size=draw.choice((7, 16, 32)), epochs=4, validation_split=split, verbose=0)
    return digest(model)


def in_process(numbers: range, **varied: Any) -> list[str]:
    """Train configurations in a process of its own."""
    command = [sys.executable, *varied.pop("options", []), "-m", "tests.saving.endurance", "processes"]
    command += ["--child", str(numbers.start), str(numbers.stop)]
    path = os.pathsep.join(str(Path(each).resolve()) for each in sys.path if each) + os.pathsep + str(Path.cwd())
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": path, **varied.pop("environment")}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, **varied)
    return done.stdout.split()


def processes(count: int) -> int:
    """Train each of so many configurations in two processes, and return how many differ."""
    numbers = range(count)
    one = in_process(numbers, environment={"PYTHONHASHSEED": "0", "LC_ALL": "C"})
    other = in_process(
        numbers,
        options=["-O"],
        cwd=tempfile.gettempdir(),
        environment={"PYTHONHASHSEED": "12345", "LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8", "TZ": "Asia/Tokyo"},
    )
    equal = sum(a == b for a, b in zip(one, other, strict=True))
    print(f"processes: {equal} of {count} configurations equal")
    return count - equal


KINDS = {
    "threads": (threads, 10_000),
    "interrupts": (interrupts, 200),
    "flat": (flat, 10**6),
    "processes": (processes, 100),
}


def main() -> int:
    """Print the numbers, and return how many are not as they should be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--count", type=int, help="how often; by default as the long form has it")
    parser.add_argument("--child", nargs=2, type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        for number in range(*arguments.child):
            print(trained(number))
        return 0
    function, default = KINDS[arguments.kind]
    return function(arguments.count or default)


if __name__ == "__main__":
    sys.exit(main() > 0)
