"""``python -m tests.benchmarks.gpu``: layerkit on a GPU, beside its peers there and the limits of the GPU itself.

A time is the median of many, each of as many calls as take a while, with a look at the device at their end only; after
warming up; over random data. PyTorch (eager, and compiled with mode="reduce-overhead") and JAX take part where they are
installed and find the GPU: all in this process, one after the other, within each line.

No GPU has seen this command yet: its pieces have run on the host (``--backend numpy --short``).
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import layerkit
from layerkit import Sequential
from layerkit.errors import BackendUnavailableError
from layerkit.layers import Dense
from layerkit.losses import MeanSquaredError, SparseCategoricalCrossentropy
from layerkit.optimizers import SGD
from layerkit.program import record
from layerkit.xp import Variable
from tests.benchmarks.compare import time_in_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp import Backend

RATE = 0.01


class Timing(NamedTuple):
    """How long a call is timed: so many times, each of at least so many seconds."""

    repeats: int
    least_s: float

    def median_s(self, run: Callable[[], object], synchronize: Callable[[], object]) -> float:
        """Return the median time of a call, in seconds."""

        def seconds(calls: int) -> float:
            began = perf_counter()
            for _ in range(calls):
                run()
            synchronize()
            return perf_counter() - began

        for _ in range(5):  # compiled, recorded, captured
            run()
        synchronize()
        calls = 1
        while seconds(calls) < self.least_s:
            calls *= 2
        return statistics.median(seconds(calls) / calls for _ in range(self.repeats))


class Mlp(NamedTuple):
    """A network of Dense layers, and the batch that it is trained on."""

    widths: tuple[int, ...]
    batch: int
    classifies: bool

    def data(self) -> tuple[Any, Any]:
        random = np.random.default_rng(0)
        x = random.standard_normal((self.batch, self.widths[0]), dtype=np.float32)
        if self.classifies:
            return x, random.integers(0, self.widths[-1], self.batch).astype(np.int32)
        return x, random.random((self.batch, self.widths[-1]), dtype=np.float32)

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """The m, n and k of each product of a training step."""
        found: list[tuple[int, int, int]] = []
        for number, (inputs, outputs) in enumerate(zip(self.widths, self.widths[1:], strict=False)):
            found += [(self.batch, outputs, inputs), (inputs, outputs, self.batch)]
            if number:  # nobody asks for the gradient of the data
                found.append((self.batch, inputs, outputs))
        return found

    @property
    def flops(self) -> int:
        return sum(2 * m * n * k for m, n, k in self.shapes)


SMALL = Mlp((3, 4, 1), 4, classifies=False)
USUAL = Mlp((784, 512, 512, 10), 128, classifies=True)
LARGE = Mlp((4096, 4096, 4096, 4096, 4096), 8192, classifies=False)
CHAIN = 1 << 27


# layerkit.


def model_of(work: Mlp, xp: Backend, dtype: str = "float32") -> Sequential:
    inner = "relu" if work.classifies else "sigmoid"
    layers = [Dense(width, activation=inner) for width in work.widths[1:-1]]
    last = Dense(work.widths[-1], activation=None if work.classifies else inner)
    model = Sequential([*layers, last], seed=0, backend=xp, dtype=dtype)
    loss = SparseCategoricalCrossentropy(from_logits=True) if work.classifies else MeanSquaredError()
    model.compile(SGD(learning_rate=RATE), loss)
    return model


def step_of(work: Mlp, xp: Backend) -> tuple[Callable[[], object], Sequential]:
    """Return a training step over one batch, which lies on the device, and the model."""
    model = model_of(work, xp)
    x, y = work.data()
    model.fit(x, y, batch_size=work.batch, verbose=0)  # builds it
    on_device = xp.asarray(x), xp.asarray(y)
    step: Any = model.step
    step.plan()
    return lambda: step.train(*on_device, None), model


def captured(xp: Backend, function: Callable[[Any], object]) -> Callable[[], object]:
    """Return what replays a step without inputs."""
    with xp.on_device():
        _, _, program = record(xp, function, [], "work")
        return xp.capture(program)


def products(work: Mlp, xp: Backend) -> Callable[[], object]:
    """Return the products of a training step alone, each into an array of its own."""
    ones = [(_random(xp, (m, k)), _random(xp, (k, n)), _random(xp, (m, n))) for m, n, k in work.shapes]

    def multiply(capture: Any) -> None:
        for a, b, out in ones:
            capture.assign(out.value, capture.matmul(a.value, b.value))

    return captured(xp, multiply)


def chain(xp: Backend, size: int) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a chain of eight words over so many float32 numbers, and a copy of as many bytes."""
    x, out = _random(xp, (size,)), _random(xp, (size,))

    def words(capture: Any) -> None:
        y = capture.tanh(x.value * 1.5 + 0.25)
        y = capture.maximum(y, -0.5) * y - x.value
        capture.assign(out.value, capture.exp(-y))

    def copy() -> None:
        with xp.on_device():
            xp.assign(out.array, x.array)

    return captured(xp, words), copy


def _random(xp: Backend, shape: tuple[int, ...]) -> Variable:
    values = np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)
    return Variable(values, "float32", "values", trainable=False, xp=xp)


# Peers.


def torch_step(work: Mlp, *, compiled: bool) -> Callable[[], object]:
    import torch
    from torch import nn

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = False
    layers: list[Any] = []
    for inputs, outputs in zip(work.widths, work.widths[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU() if work.classifies else nn.Sigmoid()]
    model = nn.Sequential(*(layers[:-1] if work.classifies else layers)).to(device)
    loss_of = nn.CrossEntropyLoss() if work.classifies else nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    x, y = (torch.from_numpy(array).to(device) for array in work.data())
    y = y.long() if work.classifies else y

    def forward() -> Any:
        return loss_of(model(x), y)

    if compiled:
        forward = torch.compile(forward, mode="reduce-overhead")

    def step() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()

    return step


def torch_wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def jax_step(work: Mlp) -> tuple[Callable[[], object], Callable[[], object]]:
    import jax
    import jax.numpy as jnp

    from tests.benchmarks.peers.with_jax import mean_loss

    random = np.random.default_rng(1)
    weights: list[Any] = []
    for inputs, outputs in zip(work.widths, work.widths[1:], strict=False):
        kernel = random.standard_normal((inputs, outputs), dtype=np.float32) / inputs**0.5
        weights += [jnp.asarray(kernel), jnp.zeros(outputs)]
    x, y = (jnp.asarray(array) for array in work.data())

    @jax.jit
    def update(weights: Any) -> Any:
        gradients = jax.grad(lambda all_of_them: mean_loss(all_of_them, x, y, classifies=work.classifies))(weights)
        return jax.tree.map(lambda w, g: w - RATE * g, weights, gradients)

    kept = [weights]

    def step() -> None:
        kept[0] = update(kept[0])

    return step, lambda: jax.block_until_ready(kept[0])


def peer_times(work: Mlp, timing: Timing, *, on_host: bool) -> dict[str, float | str]:
    """Return the time of a step of each peer, or why there is none."""
    found: dict[str, float | str] = {}
    if find_spec("torch") is None:
        found["PyTorch"] = "not installed"
    else:
        import torch

        if not on_host and not torch.cuda.is_available():
            found["PyTorch"] = "finds no GPU"
        else:
            found["PyTorch eager"] = timing.median_s(torch_step(work, compiled=False), torch_wait)
            try:
                found["torch.compile"] = timing.median_s(torch_step(work, compiled=True), torch_wait)
            except Exception as error:  # noqa: BLE001 - it needs a compiler that may not be there
                found["torch.compile"] = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}"
    if find_spec("jax") is None:
        found["JAX"] = "not installed"
    else:
        import jax

        if not on_host and jax.default_backend() != "gpu":
            found["JAX"] = "finds no GPU"
        else:
            found["JAX jit"] = timing.median_s(*jax_step(work))
    return found


# Lines.


def small_steps(xp: Backend, timing: Timing, *, peers: bool) -> None:
    """Print the time of a step of two small networks, and of the peers' steps."""
    for name, work in (("XOR-size step, 3-4-1", SMALL), ("MLP 784-512-512-10, batch 128", USUAL)):
        run, model = step_of(work, xp)
        ours = timing.median_s(run, xp.synchronize)
        print(f"{name:<44} {time_in_words(ours):>10}   {how_replayed(model)}")
        for peer, theirs in (peer_times(work, timing, on_host=xp.name != "cupy") if peers else {}).items():
            said = (
                theirs
                if isinstance(theirs, str)
                else f"{time_in_words(theirs):>10}   ours / theirs {ours / theirs:.2f}"
            )
            print(f"    {peer:<40} {said}")


def how_replayed(model: Sequential) -> str:
    """Say of how many launches a step consists."""
    program: Any = model.program("train")
    path = getattr(program, "path", None)
    if path is None:
        return ""
    kernels = sum(hasattr(stage, "body") for stage in program.stages)
    words = len(program.stages) - kernels
    inside = f"{kernels} written kernels and {words} words of CuPy"
    return f"1 graph launch ({inside})" if path == "graph" else f"no graph, {inside}: {program.reason}"


def large_steps(xp: Any, timing: Timing, work: Mlp) -> None:
    """Print the rate of a step of a large network, as a share of that of its matrix products alone."""
    for precision in ("float32", "tf32") if hasattr(xp, "matmul_precision") else ("float32",):
        if hasattr(xp, "matmul_precision"):
            xp.matmul_precision = precision
        try:
            bare = timing.median_s(products(work, xp), xp.synchronize)
            run, model = step_of(work, xp)
            ours = timing.median_s(run, xp.synchronize)
        finally:
            if hasattr(xp, "matmul_precision"):
                xp.matmul_precision = "float32"
        rate = work.flops / ours / 1e12
        name = f"MLP {work.widths[0]}-wide, {len(work.widths) - 1} layers, batch {work.batch}, {precision}"
        share = f"{rate:.2f} TFLOP/s, {bare / ours:.2f} of the bare products'"
        print(f"{name:<44} {time_in_words(ours):>10}   {share}   {how_replayed(model)}")
    print(f"{'    float16':<44} {'-':>10}   layerkit has no float16 yet")


def elementwise(xp: Backend, timing: Timing, size: int) -> None:
    """Print the bandwidth of a chain of words, as a share of that of a copy on the device."""
    words, copy = chain(xp, size)
    ours, theirs = (timing.median_s(run, xp.synchronize) for run in (words, copy))
    share = f"{8 * size / ours / 1e9:.0f} GB/s, {theirs / ours:.2f} of a device copy's"
    print(f"{f'8 words over {size:,} floats':<44} {time_in_words(ours):>10}   {share}")


class Transfers:
    """Within a ``with`` block, counts the bytes that a backend brings to the device, and back."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.to_device = self.to_host = 0

    def __enter__(self) -> Transfers:
        asarray, to_numpy = self.xp.asarray, self.xp.to_numpy
        self._were = asarray, to_numpy

        def count_in(values: Any, *args: Any, **kwargs: Any) -> Any:
            array = asarray(values, *args, **kwargs)
            self.to_device += 0 if array is values or self.xp.owns(values) else array.nbytes
            return array

        def count_out(array: Any) -> Any:
            values = to_numpy(array)
            self.to_host += values.nbytes
            return values

        self.xp.asarray, self.xp.to_numpy = count_in, count_out
        return self

    def __exit__(self, *exception: object) -> None:
        self.xp.asarray, self.xp.to_numpy = self._were


def transfers(xp: Backend, rows: int) -> tuple[int, int]:
    """Return the bytes that the last epoch of `fit` brings to the device and back, for so many rows of 784 numbers."""
    work = USUAL._replace(batch=rows)
    x, y = work.data()
    model = model_of(work, xp)
    marks: list[tuple[int, int]] = []
    with Transfers(xp) as counted:

        def mark(epoch: int, logs: Any) -> None:
            marks.append((counted.to_device, counted.to_host))

        callback = layerkit.callbacks.LambdaCallback(on_epoch_end=mark)
        model.fit(x, y, batch_size=128, epochs=3, verbose=0, callbacks=[callback])
    return marks[2][0] - marks[1][0], marks[2][1] - marks[1][1]


def deviation(xp: Backend, steps: int) -> float:
    """Return the largest deviation of a weight from NumPy's after so many steps in float64, relative to the largest."""
    work = Mlp((20, 16, 5), 32, classifies=True)
    x, y = work.data()
    found: list[Any] = []
    for backend in (xp, layerkit.backend("numpy")):
        model = model_of(work, backend, "float64")
        model.fit(x, y, batch_size=work.batch, epochs=steps, verbose=0)
        found.append(model.get_weights())
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*found, strict=True) if b.any())


def main(arguments: list[str] | None = None) -> int:
    """Print everything; return 0, or 1 if there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", default="cupy:0", help="what is measured")
    parser.add_argument("--short", action="store_true", help="small sizes and few repeats, to see that all is well")
    parser.add_argument("--without-peers", action="store_true", help="layerkit alone")
    options = parser.parse_args(arguments)
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # or JAX takes most of the memory
    try:
        xp: Any = layerkit.backend(options.backend)
    except BackendUnavailableError as error:
        print(f"{error}\nNothing was measured: this command needs a GPU.")
        return 1
    timing = Timing(3, 0.001) if options.short else Timing(31, 0.05)
    print(f"{describe(xp)}\n{'work':<44} {'time':>10}")
    small_steps(xp, timing, peers=not options.without_peers)
    large_steps(xp, timing, LARGE._replace(widths=(64,) * 5, batch=128) if options.short else LARGE)
    elementwise(xp, timing, 1 << 12 if options.short else CHAIN)
    rows = 1_280 if options.short else 60_000
    to_device, to_host = transfers(xp, rows)
    print(f"{f'an epoch of {rows:,} rows of 784':<44} {'':>10}   {to_device:,} bytes to the device, {to_host:,} back")
    print(f"{'100 steps in float64 against NumPy':<44} {'':>10}   largest relative deviation {deviation(xp, 100):.1e}")
    return 0


def describe(xp: Any) -> str:
    """Return what is measured, on what."""
    if xp.name != "cupy":
        return f"layerkit on {xp}: no GPU, times that say nothing of one"
    import cupy

    properties = cupy.cuda.runtime.getDeviceProperties(int(xp.device))
    driver = "{}.{}".format(*divmod(cupy.cuda.runtime.driverGetVersion() // 10, 100))
    return f"{properties['name'].decode()}, CuPy {cupy.__version__}, driver for CUDA {driver}"


if __name__ == "__main__":
    sys.exit(main())
