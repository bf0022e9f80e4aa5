"""``python -m tests.benchmarks.gpu``: layerkit on a GPU, beside its peers there and the limits of the GPU itself.

A time is the median of many, each of as many calls as take a while, with a look at the device at their end only; after
warming up; over random data. PyTorch (eager, and compiled with mode="reduce-overhead") and JAX take part where they are
installed and find the GPU: all in this process, one after the other, within each line, in true float32 as layerkit is.
Behind each figure stands what it is to reach. What fails says so in its line, and the others go on.

No GPU has seen this command yet: all of it has run on the host (``--backend numpy --short``).
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import traceback
from functools import partial
from importlib import import_module
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
from layerkit.xp.rows import Rows
from tests.benchmarks.compare import time_in_words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

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
BROUGHT = Mlp((1024, 1024, 1024, 1024, 1024), 8192, classifies=False)
CHAIN = 1 << 27
LEAST = 256
"""Bytes that are no data: the loss and its count, and whether each of a few weights is finite."""


# layerkit.


def model_of(work: Mlp, xp: Backend, dtype: str = "float32") -> Sequential:
    inner = "relu" if work.classifies else "sigmoid"
    layers = [Dense(width, activation=inner) for width in work.widths[1:-1]]
    last = Dense(work.widths[-1], activation=None if work.classifies else inner)
    model = Sequential([*layers, last], seed=0, backend=xp, dtype=dtype)
    loss = SparseCategoricalCrossentropy(from_logits=True) if work.classifies else MeanSquaredError()
    model.compile(SGD(learning_rate=RATE), loss)
    return model


def step_of(work: Mlp, xp: Backend, dtype: str = "float32") -> tuple[Callable[[], object], Sequential]:
    """Return a training step over one batch, which lies on the device, and the model."""
    model = model_of(work, xp, dtype)
    x, y = work.data()
    model.fit(x, y, batch_size=work.batch, verbose=0)  # builds it
    batch: list[Any] = [xp.asarray(x), xp.asarray(y)]
    if xp.brings_batches:  # as `fit` gives them where the data set lies on the device
        batch = [Rows(xp, array, None, 0, work.batch) for array in batch]
    step: Any = model.step
    step.plan()
    return lambda: step.train(*batch, None), model


def captured(xp: Backend, function: Callable[[Any], object]) -> Callable[[], object]:
    """Return what replays a step without inputs."""
    with xp.on_device():
        _, _, program = record(xp, function, [], "work")
        return xp.capture(program)


def products(work: Mlp, xp: Backend, dtype: str = "float32") -> Callable[[], object]:
    """Return the products of a training step alone, each of arrays of its own."""
    known: dict[tuple[int, ...], Any] = {}  # random numbers are drawn once a shape: to draw them takes long

    def values(*shape: int) -> Variable:
        if shape not in known:
            known[shape] = np.random.default_rng(len(known)).standard_normal(shape, dtype=np.float32)
        return Variable(known[shape], dtype, "values", trainable=False, xp=xp)

    ones = [(values(m, k), values(k, n), values(m, n)) for m, n, k in work.shapes]

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


# Lines.


Line = tuple[str, float | None, str]
"""What was measured, its time in seconds, and what is to be said of it."""

TARGETS = {
    "XOR-size step, 3-4-1": {"PyTorch eager": 0.1, "JAX jit": 1.0},
    "MLP 784-512-512-10, batch 128": {"PyTorch eager": 1 / 3, "torch.compile": 1.0, "JAX jit": 1.0},
}
"""Which share of a peer's time a step may take."""


def verdict(found: float, *, most: float | None = None, least: float | None = None) -> str:
    """Say what a figure is to be, and whether it is."""
    reached = (most is None or found <= most) and (least is None or found >= least)
    wanted = f"≤ {most:.3g}" if most is not None else f"≥ {least:.3g}"
    return f"to reach: {wanted}, {'reached' if reached else 'MISSED'}"


def small_step(name: str, work: Mlp, xp: Backend, timing: Timing, *, peers: bool) -> Iterator[Line]:
    """Yield the time of a step of a small network, and of the peers' steps."""
    run, model = step_of(work, xp)
    ours = timing.median_s(run, xp.synchronize)
    yield name, ours, how_replayed(model)
    if not peers:
        return
    from tests.benchmarks import gpu_peers

    for peer, theirs in gpu_peers.times(work, timing.median_s, RATE, on_host=xp.name != "cupy"):
        if isinstance(theirs, str):
            yield f"    {peer}", None, theirs
            continue
        ratio, most = ours / theirs, TARGETS[name].get(peer)
        said = "" if most is None else f"   {verdict(ratio, most=most)}"
        yield f"    {peer}", theirs, f"ours / theirs {ratio:.3f}{said}"


def how_replayed(model: Sequential) -> str:
    """Say of how many launches a step consists."""
    program: Any = model.program("train")
    path = getattr(program, "path", None)
    if path is None:
        return ""
    kernels = sum(hasattr(stage, "body") for stage in program.stages)
    words = len(program.stages) - kernels
    inside = f"{kernels} written kernels and {words} words of CuPy"
    if path == "graph":
        return f"1 graph launch ({inside})   to reach: 1 graph launch, reached"
    return f"no graph, {inside}: {program.reason}   to reach: 1 graph launch, MISSED"


def large_step(precision: str, work: Mlp, xp: Any, timing: Timing) -> Iterator[Line]:
    """Yield the rate of a step of a large network, as a share of that of its matrix products alone."""
    half = precision in ("float16", "bfloat16")
    tf32 = precision == "tf32"
    if tf32:
        xp.matmul_precision = "tf32"
    try:
        bare = timing.median_s(products(work, xp, precision if half else "float32"), xp.synchronize)
        run, model = step_of(work, xp, f"mixed_{precision}" if half else "float32")
        ours = timing.median_s(run, xp.synchronize)
    finally:
        if tf32:
            xp.matmul_precision = "float32"
    rates = [work.flops / seconds / 1e12 for seconds in (ours, bare)]
    share = "{:.2f} TFLOP/s of the bare products' {:.2f}: {:.3f}".format(*rates, bare / ours)
    name = f"MLP {work.widths[0]}-wide, {len(work.widths) - 1} layers, batch {work.batch}, {precision}"
    yield name, ours, f"{share}   {verdict(bare / ours, least=0.9)}   {how_replayed(model)}"


def from_the_host(work: Mlp, xp: Backend, timing: Timing) -> Iterator[Line]:
    """Yield the time of a step whose batch comes from the host, of the step alone, and of the way alone."""
    run, model = step_of(work, xp)
    x, y = work.data()
    step, seen = model.step, Variable([0.0], "float32", "seen", trainable=False, xp=xp)

    def see(capture: Any, x: Any, y: Any) -> None:
        capture.assign(seen.value, x[0, :1] + y[0, :1])

    with xp.on_device():
        _, _, program = record(xp, see, [xp.asarray(x), xp.asarray(y)], "work")
        bring = xp.capture(program)
    given = [x, y] if xp.brings_batches else [xp.asarray(x), xp.asarray(y)]
    whole, alone, way = (
        timing.median_s(each, xp.synchronize) for each in (lambda: step.train(x, y, None), run, lambda: bring(*given))
    )
    longer = max(alone, way)
    said = f"the step alone {time_in_words(alone)}, the way {time_in_words(way)}: {whole / longer:.2f} of the longer"
    name = f"{(x.nbytes + y.nbytes) / 2**20:.3g} MiB a step from the host, {work.widths[0]}-wide"
    yield name, whole, f"{said}   {verdict(whole / longer, most=1.2)}"


def elementwise(xp: Backend, timing: Timing, size: int) -> Iterator[Line]:
    """Yield the bandwidth of a chain of words, as a share of that of a copy on the device."""
    words, copy = chain(xp, size)
    ours, theirs = (timing.median_s(run, xp.synchronize) for run in (words, copy))
    share = f"{8 * size / ours / 1e9:.0f} GB/s of a device copy's {8 * size / theirs / 1e9:.0f}: {theirs / ours:.3f}"
    yield f"8 words over {size:,} floats", ours, f"{share}   {verdict(theirs / ours, least=0.9)}"


def epoch_on_the_device(xp: Any, rows: int) -> Iterator[Line]:
    """Yield the bytes that an epoch of `fit` moves, with the data on the device."""
    order = 8 * rows
    for shuffle in (False, True):
        to_device, to_host = transfers(xp, rows, shuffle=shuffle)
        wanted = order if shuffle else 0
        reached = to_device <= wanted and to_host <= LEAST
        yield (
            f"an epoch of {rows:,} rows of 784{', shuffled' if shuffle else ''}",
            None,
            f"{to_device:,} bytes to the device, {to_host:,} back   to reach: "
            f"{'the order of rows, and ' if shuffle else ''}the loss alone, {'reached' if reached else 'MISSED'}",
        )


def against_numpy(xp: Backend) -> Iterator[Line]:
    """Yield how far weights are from NumPy's after 100 steps."""
    found = deviation(xp, 100)
    said = f"largest relative deviation {found:.1e}   {verdict(found, most=1e-10)}"
    yield "100 steps in float64 against NumPy", None, said


class Transfers:
    """Within a ``with`` block, counts the bytes that a backend brings to the device, and back."""

    def __init__(self, xp: Any) -> None:
        self.xp = xp
        self.to_device = self.to_host = 0
        self._restore: Callable[[], None] = lambda: None

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
        if self.xp.brings_batches:
            dock: Any = import_module("layerkit_cupy.inputs").Dock
            bring = dock.bring

            def count_landed(dock: Any, batch: Sequence[Any], target: Any) -> None:
                bring(dock, batch, target)
                self.to_device += sum(array.nbytes for array in batch)

            dock.bring, self._restore = count_landed, partial(setattr, dock, "bring", bring)
        return self

    def __exit__(self, *exception: object) -> None:
        self.xp.asarray, self.xp.to_numpy = self._were
        self._restore()


def transfers(xp: Backend, rows: int, *, shuffle: bool = True) -> tuple[int, int]:
    """Return the bytes that the last epoch of `fit` brings to the device and back, for so many rows of 784 numbers."""
    work = USUAL._replace(batch=rows)
    x, y = work.data()
    model = model_of(work, xp)
    marks: list[tuple[int, int]] = []
    with Transfers(xp) as counted:

        def mark(epoch: int, logs: Any) -> None:
            marks.append((counted.to_device, counted.to_host))

        callback = layerkit.callbacks.LambdaCallback(on_epoch_end=mark)
        model.fit(x, y, batch_size=128, epochs=3, verbose=0, shuffle=shuffle, callbacks=[callback])
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
    short, peers = options.short, not options.without_peers
    timing = Timing(3, 0.001) if short else Timing(31, 0.05)
    usual = USUAL._replace(widths=(784, 6, 10)) if short else USUAL
    large = LARGE._replace(widths=(64,) * 5, batch=128) if short else LARGE
    halves = [dtype for dtype in ("float16", "bfloat16") if hasattr(xp, dtype)]
    precisions = ["float32", *(["tf32"] if hasattr(xp, "matmul_precision") else []), *halves]
    parts: list[partial[Iterator[Line]]] = [
        partial(small_step, name, work, xp, timing, peers=peers)
        for name, work in zip(TARGETS, (SMALL, usual), strict=True)
    ]
    parts += [partial(large_step, precision, large, xp, timing) for precision in precisions]
    parts.append(partial(from_the_host, large if short else BROUGHT, xp, timing))
    parts.append(partial(elementwise, xp, timing, 1 << 12 if short else CHAIN))
    parts.append(partial(epoch_on_the_device, xp, 1_280 if short else 60_000))
    parts.append(partial(against_numpy, xp))
    print(f"{describe(xp)}\n{'work':<52} {'time':>10}", flush=True)
    failures = 0
    for part in parts:
        try:
            for name, seconds, said in part():
                time = "" if seconds is None else time_in_words(seconds)
                print(f"{name:<52} {time:>10}   {said}".rstrip(), flush=True)
        except Exception:  # noqa: BLE001 - the other figures are worth as much
            failures += 1
            print(f"{part.func.__name__}{part.args} failed:", flush=True)
            traceback.print_exc(file=sys.stdout)
        if xp.name == "cupy":
            gc.collect()  # programs hold memory for as long as their models are there
    return int(failures > 0)


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
