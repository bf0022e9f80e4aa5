"""Fashion-MNIST: ten kinds of clothes, 60,000 grey images of 28 x 28 pixels to train on and 10,000 to test.

The images are those of H. Xiao, K. Rasul and R. Vollgraf, "Fashion-MNIST" (arXiv:1708.07747, 2017), as Debian's package
dataset-fashion-mnist installs them; any folder that holds the four files will do. A network with one hidden layer names
at least 88 % of the test images right after ten epochs, which take a minute or so.

    python examples/fashion_mnist.py [FOLDER] [--epochs 10] [--rows 60000]
"""

import argparse
import gzip
import math
import sys
import zlib
from pathlib import Path

import numpy as np

from layerkit import Sequential
from layerkit.callbacks import LambdaCallback
from layerkit.layers import Dense, Flatten
from layerkit.losses import SparseCategoricalCrossentropy
from layerkit.optimizers import Adam

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
KINDS = ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def read_idx(folder, name):
    """Return the array of bytes in a file of the idx format, packed with gzip or not.

    A head tells the shape: two zero bytes, the type (8 for unsigned bytes), the number of axes, and the length of each
    as four bytes, the highest first (Y. LeCun, C. Cortes and C. Burges, "The MNIST database", 1998).
    """
    file = folder / f"{name}.gz"
    if not file.is_file():
        file = folder / name
    if not file.is_file():
        sys.exit(
            f"{file} is missing, with or without .gz: install the images by 'apt install dataset-fashion-mnist', or "
            f"get the four files from https://github.com/zalandoresearch/fashion-mnist and give their folder."
        )
    try:
        with (gzip.open if file.suffix == ".gz" else open)(file, "rb") as stream:
            content = stream.read()
    except (OSError, EOFError, zlib.error) as error:
        sys.exit(f"{file} cannot be read: {error}")
    axes = int.from_bytes(content[3:4]) if content[:3] == b"\x00\x00\x08" else 0
    shape = [int.from_bytes(content[start : start + 4]) for start in range(4, 4 + 4 * axes, 4)]
    if not axes or len(content) != 4 + 4 * axes + math.prod(shape):
        sys.exit(f"{file} must be a whole idx file of bytes. Received: {len(content)} bytes, {content[:4]!r} first")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


parser = argparse.ArgumentParser(description="Train on Fashion-MNIST and print the accuracy on its test images.")
parser.add_argument("folder", nargs="?", type=Path, default=DEBIAN, help=f"holds the four files; by default {DEBIAN}")
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--rows", type=int, default=60_000, help="how many of the 60,000 images to train on")
arguments = parser.parse_args()
if min(arguments.epochs, arguments.rows) < 1:
    parser.error(f"--epochs and --rows must be at least 1. Received: {arguments.epochs} and {arguments.rows}")

x_train = read_idx(arguments.folder, "train-images-idx3-ubyte")[: arguments.rows].astype("float32") / 255
y_train = read_idx(arguments.folder, "train-labels-idx1-ubyte")[: arguments.rows]
x_test = read_idx(arguments.folder, "t10k-images-idx3-ubyte").astype("float32") / 255
y_test = read_idx(arguments.folder, "t10k-labels-idx1-ubyte")


def slow_down(epoch, logs):
    """Take small steps in the last third of training: they settle what the large ones leave trembling."""
    model.optimizer.learning_rate = 1e-3 if epoch < 2 / 3 * arguments.epochs else 1e-4


model = Sequential([Flatten(), Dense(256, activation="relu"), Dense(len(KINDS))], seed=0)
model.compile(Adam(), SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
model.fit(
    x_train,
    y_train,
    batch_size=128,
    epochs=arguments.epochs,
    callbacks=[LambdaCallback(on_epoch_begin=slow_down)],
)

_, accuracy = model.evaluate(x_test, y_test, batch_size=1000, verbose=0)
read_as = model.predict(x_test, batch_size=1000, verbose=0).argmax(axis=-1)
print(f"\nTest accuracy: {accuracy:.4f}\n")
for kind, name in enumerate(KINDS):
    print(f"  {name:10} {np.mean(read_as[y_test == kind] == kind):.3f}")
