"""Kill trainings, run them again until they end, and compare with those that were never killed.

``python -m tests.saving.resume --count 20`` runs each of ten settings so many times, and prints a table.
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
import time
from pathlib import Path
from typing import Any

import numpy as np

from layerkit import Input, Sequential
from layerkit.callbacks import BackupAndRestore, EarlyStopping, LambdaCallback
from layerkit.layers import Dense, Dropout
from layerkit.optimizers import SGD, Adam, RMSprop
from tests.saving.models import everything

EPOCHS = 12

# What is said of fit, of the optimizer, and how often a checkpoint is made.
SETTINGS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adam, within epochs": {"save_freq": 3},
    "momentum, within epochs": {"optimizer": lambda: SGD(0.05, momentum=0.9, nesterov=True), "save_freq": 2},
    "amsgrad, after every batch": {"optimizer": lambda: Adam(0.01, amsgrad=True), "save_freq": 1},
    "rmsprop, clipped": {"optimizer": lambda: RMSprop(0.01, global_clipnorm=0.5), "save_freq": 4},
    "without shuffling": {"shuffle": False, "save_freq": 3},
    "validation": {"validation_split": 0.25, "save_freq": 3},
    "early stopping": {"validation_split": 0.25, "stopping": True, "save_freq": 3},
    "a schedule": {"schedule": True, "save_freq": 5},
    "eager": {"run_eagerly": True, "save_freq": 3},
}


def train(folder: Path, name: str, seed: int, *, pause_s: float = 0.0, tells: bool = False) -> str:
    """Train one setting, going on where a checkpoint is, and return a sum of all that training has changed."""
    setting = SETTINGS[name]
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 4)).astype("float32")
    y = (x[:, :1] > 0).astype("float32")
    model = Sequential([Input((4,)), Dense(8, "tanh"), Dropout(0.25), Dense(1, "sigmoid")], seed=seed)
    model.compile(
        setting.get("optimizer", lambda: Adam(0.01))(),
        "binary_crossentropy",
        metrics=["accuracy"],
        run_eagerly=setting.get("run_eagerly", False),
    )
    callbacks: list[Any] = [BackupAndRestore(folder, setting.get("save_freq", "epoch"), delete_checkpoint=False)]
    if setting.get("stopping"):
        callbacks.append(EarlyStopping(patience=1, restore_best_weights=True))
    if setting.get("schedule"):
        callbacks.append(LambdaCallback(on_epoch_begin=lambda epoch, logs: slow_down(model, epoch)))
    if pause_s:
        callbacks.append(LambdaCallback(on_train_batch_begin=lambda batch, logs: time.sleep(pause_s)))
    if tells:
        callbacks.append(LambdaCallback(on_train_batch_begin=lambda batch, logs: print("batch", flush=True)))
    chosen = {key: setting[key] for key in ("shuffle", "validation_split") if key in setting}
    model.fit(x, y, batch_size=8, epochs=EPOCHS, callbacks=callbacks, verbose=0, **chosen)
    digest = hashlib.sha256()
    for key, value in everything(model).items():
        digest.update(key.encode())
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()


def slow_down(model: Any, epoch: int) -> None:
    model.optimizer.learning_rate = 0.02 / (1 + epoch)


def process(folder: Path, name: str, seed: int, pause_s: float) -> subprocess.Popen[str]:
    """Start a training in a process of its own."""
    command = [sys.executable, "-m", "tests.saving.resume", "--child", str(folder), name, str(seed), str(pause_s)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OPENBLAS_NUM_THREADS": "1"})


def killed_and_resumed(name: str, seed: int) -> tuple[int, int, bool]:
    """Kill a training at random and run it again, until it ends by itself.

    Returns:
        How often it was killed, how often of that before the first checkpoint, and whether it ended with the same bits
        as one that was left alone.
    """
    draw = random.Random(f"{name}/{seed}")
    with tempfile.TemporaryDirectory() as left_alone:
        expected = train(Path(left_alone), name, seed, pause_s=1e-4)
    with tempfile.TemporaryDirectory() as folder:
        kills = early = 0
        while True:
            running = process(Path(folder), name, seed, 0.01)
            assert running.stdout is not None
            with running:
                # After some batches, however long they take, and at any moment within the next or between them.
                told = [running.stdout.readline() for _ in range(draw.randrange(1, 40) if kills < 2 else 0)]
                if kills < 2 and told[-1] == "batch\n":
                    try:
                        running.wait(draw.uniform(0.0, 0.02))
                    except subprocess.TimeoutExpired:
                        early += not list(Path(folder).glob("checkpoint-*"))
                        running.send_signal(signal.SIGKILL)
                told += running.stdout.readlines()
                if running.wait() == 0:
                    return kills, early, told[-1].strip() == expected
                kills += 1


def main() -> int:
    """Print the table, and return how many differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        folder, name, seed, pause_s = arguments.child
        print(train(Path(folder), name, int(seed), pause_s=float(pause_s), tells=True), flush=True)
        return 0
    different = 0
    for name in SETTINGS:
        found = [killed_and_resumed(name, seed) for seed in range(arguments.count)]
        kills, early, equal = (sum(column) for column in zip(*found, strict=True))
        different += len(found) - equal
        print(
            f"{name}: {kills} kills, {early} of them before the first checkpoint; {equal} of {len(found)} equal",
            flush=True,
        )
    return different


if __name__ == "__main__":
    sys.exit(main() > 0)
