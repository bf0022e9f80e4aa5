"""Every example runs as a reader runs it: a script of its own, with warnings as errors, in a folder of its own."""

from __future__ import annotations

import gzip
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from layerkit import Sequential
from layerkit.initializers import RandomUniform
from layerkit.layers import Dense, Sigmoid
from tests.conftest import skip_unless_required

EXAMPLES = Path(__file__).parents[2] / "examples"
FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def table(output):
    """Return the numbers of each row of the table that follows the last ruled line."""
    *_, rows = re.split(r"\n-+\+[-+]+\n", output)
    return [[float(number) for number in re.findall(r"\d+(?:\.\d+)?", row)] for row in rows.splitlines() if "|" in row]


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def test_each_example_has_a_test():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert not {name for name in names if f"\ndef test_{name}(" not in tests}


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_an_example_prints_what_any_terminal_can_show(path):
    printed = [line for line in path.read_text("utf-8").splitlines() if "print(" in line]
    assert printed
    assert all(line.isascii() for line in printed)


def test_xor(run):
    output = run("xor")
    assert "Epoch 2000/2000" in output
    assert [row[:3] for row in table(output)] == [[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
    assert all(abs(learnt - target) < 0.1 for _, _, target, learnt in table(output))


def test_digits(run):
    output = run("digits")
    accuracy, mistakes = re.search(r"Test accuracy: (\S+), (\d+) mistakes in 450 images\.", output).groups()
    assert float(accuracy) >= 0.97
    assert float(accuracy) == pytest.approx(1 - int(mistakes) / 450, abs=5e-5)


def test_diabetes(run):
    output = run("diabetes")
    scores = {name: float(score) for name, score in re.findall(r"^(.+?) {2,}[\d.]+ +(-?[\d.]+)$", output, re.MULTILINE)}
    linear = scores["scikit-learn LinearRegression"]
    # The same least squares, found by steps; and a network that is not much worse for all its weights.
    assert scores["layerkit, Dense(1)"] == pytest.approx(linear, abs=1e-3)
    assert scores["layerkit, hidden layer of 32"] >= linear - 0.05
    assert linear > 0.4


def test_fashion_mnist(run):
    """In short: a fifth of the images, once. The whole run takes a minute, and gets to 88 %."""
    if not FASHION_MNIST.is_dir():
        skip_unless_required(
            "fashion_mnist",
            f"{FASHION_MNIST} must hold the images of Fashion-MNIST. Received: no such folder. "
            f"Install them with 'apt install dataset-fashion-mnist'.",
        )
    output = run("fashion_mnist", FASHION_MNIST, "--rows", 12_000, "--epochs", 1)
    accuracy = float(re.search(r"Test accuracy: (\S+)", output).group(1))
    assert accuracy >= 0.75
    of_kinds = [float(share) for share in re.findall(r"^  .{10} (\d\.\d+)$", output, re.MULTILINE)]
    assert accuracy == pytest.approx(np.mean(of_kinds), abs=1e-3)  # each kind has 1,000 of the test images


def idx(array):
    axes = array.ndim
    return b"\0\0\x08" + bytes([axes]) + b"".join(n.to_bytes(4) for n in array.shape) + array.tobytes()


def test_fashion_mnist_reads_a_folder_of_files(run, tmp_path):
    """Kinds that one glance tells apart: images black but for two rows that are white."""
    labels = (np.arange(640) % 10).astype(np.uint8)
    images = np.zeros((640, 28, 28), np.uint8)
    for kind in range(10):
        images[labels == kind, 2 * kind : 2 * kind + 2] = 255
    for kind in ("train", "t10k"):
        (tmp_path / f"{kind}-images-idx3-ubyte").write_bytes(idx(images))
        (tmp_path / f"{kind}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    assert "Test accuracy: 1.0000\n" in run("fashion_mnist", tmp_path, "--epochs", 3)


def test_fashion_mnist_says_what_is_wrong_with_its_files(run, tmp_path):
    name = tmp_path / "train-images-idx3-ubyte"
    run(
        *("fashion_mnist", tmp_path),
        status=1,
        stderr=f"{name} is missing, with or without .gz: install the images by 'apt install dataset-fashion-mnist', or "
        f"get the four files from https://github.com/zalandoresearch/fashion-mnist and give their folder.\n",
    )
    name.write_bytes(idx(np.zeros((2, 28, 28), np.uint8))[:-1])
    run(
        *("fashion_mnist", tmp_path),
        status=1,
        stderr=f"{name} must be a whole idx file of bytes. Received: 1583 bytes, b'\\x00\\x00\\x08\\x03' first\n",
    )
    packed = Path(f"{name}.gz")
    packed.write_bytes(gzip.compress(name.read_bytes())[:-9])
    run(
        *("fashion_mnist", tmp_path),
        status=1,
        stderr=f"{packed} cannot be read: Compressed file ended before the end-of-stream marker was reached\n",
    )


def test_fashion_mnist_refuses_no_epochs(run):
    usage = "usage: fashion_mnist.py [-h] [--epochs EPOCHS] [--rows ROWS] [folder]\nfashion_mnist.py: error: "
    refusal = "--epochs and --rows must be at least 1. Received: 0 and 60000\n"
    run("fashion_mnist", "--epochs", 0, status=2, stderr=usage + refusal, COLUMNS="100")


def test_tutorial_three_inputs(run, tmp_path):
    output = run("tutorial_three_inputs", "--plot", "error.png")
    errors = [float(error) for error in re.findall(r"^ +\d+   (\d\.\d{4})$", output, re.MULTILINE)]
    assert len(errors) == 7
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05
    rows = table(output)
    assert [[int(third), target] for _, _, third, target, _ in rows] == [[0, 0], [1, 1]] * 4
    assert all(abs(learnt - target) < 0.2 for *_, target, learnt in rows)  # the last two were held out
    assert output.count("held out") == 2
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")


def test_tutorial_three_inputs_takes_the_steps_that_numpy_takes(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tutorial_three_inputs.py"])
    example = runpy.run_path(str(EXAMPLES / "tutorial_three_inputs.py"))
    layer = example["ScalarBiasDense"]
    start = Sequential([layer(5), Sigmoid(), layer(1), Sigmoid()], seed=example["model"].seed)
    start.build((None, 3))
    w1, b1, w2, b2 = (weight.astype("float64") for weight in start.get_weights())
    assert (w1.shape, float(b1), w2.shape, float(b2)) == ((3, 5), 1.0, (5, 1), 1.0)
    assert 0.5 < np.std([*w1.ravel(), *w2.ravel()]) < 1.5
    x, y = example["x"], example["y"]
    for step in range(100):
        h = sigmoid(x @ w1 + b1)
        o = sigmoid(h @ w2 + b2)
        assert example["losses"][step] == pytest.approx(np.sum((y - o) ** 2) / 2, rel=1e-4)
        d2 = (o - y) * o * (1 - o)
        d1 = d2 @ w2.T * h * (1 - h)
        w2, b2, w1, b1 = w2 - h.T @ d2, b2 - d2.sum(), w1 - x.T @ d1, b1 - d1.sum()


def test_tutorial_three_inputs_says_why_there_is_no_curve(run, tmp_path):
    run(
        *("tutorial_three_inputs", "--plot", "missing/error.png"),
        status=1,
        stderr="The curve could not be written: [Errno 2] No such file or directory: 'missing/error.png'\n",
    )
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    run(
        *("tutorial_three_inputs", "--plot", "error.png"),
        status=1,
        stderr='The curve needs matplotlib. Install it with: python -m pip install ".[examples]"\n',
        PYTHONPATH=str(tmp_path),
    )


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_a_missing_library_is_one_sentence(run, tmp_path, name):
    (tmp_path / "sklearn.py").write_text("raise ImportError")
    remedy = 'This example needs scikit-learn. Install it with: python -m pip install ".[examples]"\n'
    run(name, status=1, stderr=remedy, PYTHONPATH=str(tmp_path))


def test_tutorial_by_hand(run):
    output = run("tutorial_by_hand")
    tutorial = {
        "h1": "0.4176", "h2": "0.4425", "out h1": "0.60290881", "out h2": "0.60885457",
        "y1": "0.97753007", "y2": "0.73523685", "out y1": "0.72661785",
        "E1": "0.25677057", "E2": "0.04931263", "E": "0.3060832",
        "d out y1 / d y1": "0.19864435", "w5 after a step": "0.41425240",
    }  # fmt: skip
    found = re.findall(r"^(\S.*?) {2,}(0\.\d+) +(0\.\d+)$", output, re.MULTILINE)
    assert {name: number for name, number, _ in found} == tutorial
    assert all(number == told for _, number, told in found)

    # The chain rule, weight by weight, with the weights of before the step.
    x1, x2, w5, w6, w7, w8 = 0.03, 0.09, 0.44, 0.48, 0.23, 0.29
    h1, h2 = sigmoid(0.11 * x1 + 0.27 * x2 + 0.39), sigmoid(0.19 * x1 + 0.52 * x2 + 0.39)
    o1, o2 = sigmoid(w5 * h1 + w6 * h2 + 0.42), sigmoid(w7 * h1 + w8 * h2 + 0.42)
    d1, d2 = (o1 - 0.01) * o1 * (1 - o1), (o2 - 0.99) * o2 * (1 - o2)
    e1, e2 = (d1 * w5 + d2 * w7) * h1 * (1 - h1), (d1 * w6 + d2 * w8) * h2 * (1 - h2)
    gradient = (e1 * x1, e1 * x2, e2 * x1, e2 * x2, d1 * h1, d1 * h2, d2 * h1, d2 * h2)
    before = (0.11, 0.27, 0.19, 0.52, w5, w6, w7, w8)
    after = [float(weight) for weight in re.findall(r"^w\d  (\S+)$", output, re.MULTILINE)]
    assert after == pytest.approx([w - 0.3 * g for w, g in zip(before, gradient, strict=True)], abs=5.1e-9)
    assert output.endswith("b1  0.39000000, 0.39000000, fixed\nb2  0.42000000, 0.42000000, fixed\n")


def errors_by_hand(slope):
    """Mean squared errors of the tutorial's network before each step, in NumPy; slope(z, y) is the sigmoid's."""
    x, y = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1], [0, 0, 1]]), np.array([[1], [1], [0], [0]])
    random = np.random.RandomState(1)
    w1, w2 = random.standard_normal((3, 4)), random.standard_normal((4, 1))
    b1, b2 = np.zeros(4), np.zeros(1)
    errors = []
    for _ in range(5000):
        z1 = x @ w1 + b1
        y1 = sigmoid(z1)
        z2 = y1 @ w2 + b2
        y2 = sigmoid(z2)
        errors.append(np.mean((y2 - y) ** 2))
        dz2 = 2 * (y2 - y) / 4 * slope(z2, y2)
        dz1 = dz2 @ w2.T * slope(z1, y1)
        w2, b2, w1, b1 = w2 - y1.T @ dz2, b2 - dz2.sum(axis=0), w1 - x.T @ dz1, b1 - dz1.sum(axis=0)
    return errors


def test_tutorial_xor_third_input(run):
    output = run("tutorial_xor_third_input")
    assert re.search(r"check_layer finds a mistake in the tutorial's sigmoid:\n\nTutorialSigmoid\.backward: ", output)
    assert "check_layer finds no mistake in layerkit's sigmoid.\n" in output
    found = re.findall(r"^ *(\d+) +(0\.\d{4}) +(0\.\d{4})$", output, re.MULTILINE)
    right = errors_by_hand(lambda z, y: sigmoid(z) * (1 - sigmoid(z)))
    wrong = errors_by_hand(lambda z, y: sigmoid(y) * (1 - sigmoid(y)))
    assert len(found) == 6
    for step, ours, theirs in found:
        assert float(ours) == pytest.approx(right[int(step) - 1], abs=1e-4)
        assert float(theirs) == pytest.approx(wrong[int(step) - 1], abs=1e-4)
    assert [row[3] for row in table(output)] == [1, 1, 0, 0]
    assert all(abs(learnt - target) < 0.05 for *_, target, learnt, _ in table(output))


def test_tutorial_class(run):
    rows = table(run("tutorial_class"))
    assert [tutorial for *_, tutorial in rows] == [0.01, 0.97, 0.97, 0.04]
    assert all(abs(learnt - tutorial) <= 0.03 for *_, learnt, tutorial in rows)


def test_tutorial_class_takes_the_steps_that_numpy_takes(capsys):
    example = runpy.run_path(str(EXAMPLES / "tutorial_class.py"))
    uniform = {"use_bias": False, "kernel_initializer": RandomUniform(0.0, 1.0)}
    start = Sequential([Dense(4, **uniform), Sigmoid(), Dense(1, **uniform), Sigmoid()], seed=example["model"].seed)
    start.build((None, 3))
    w1, w2 = (weight.astype("float64") for weight in start.get_weights())
    assert (w1.shape, w2.shape) == ((3, 4), (4, 1))
    assert min(w1.min(), w2.min()) >= 0
    x, y = example["x"], example["y"]
    for loss in example["losses"]:
        h = sigmoid(x @ w1)
        o = sigmoid(h @ w2)
        assert loss == pytest.approx(np.sum((y - o) ** 2), rel=1e-3)
        d2 = 2 * (o - y) * o * (1 - o)
        w2, w1 = w2 - h.T @ d2, w1 - x.T @ (d2 @ w2.T * h * (1 - h))
    assert len(example["losses"]) == 1500
