"""A captured step on CuPy: one CUDA graph of kernels that are written for it."""

from __future__ import annotations

import contextlib
import functools
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from layerkit.program import Place
from layerkit.program.recorder import find
from layerkit_cupy.gathering import Gathering
from layerkit_cupy.inputs import Inputs
from layerkit_cupy.installation import summary
from layerkit_cupy.products import Products, current_order
from layerkit_cupy.source import OPTIONS, Written, layout, write
from layerkit_cupy.stages import Kernel, Stages, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.program import Program
    from layerkit.xp.rows import Rows
    from layerkit_cupy.backend import CupyBackend

cupy: Any = import_module("cupy")

THREADS = 256
"""In a block: any multiple of 32 up to 1024 would do."""

BLOCKS = 32
"""For each multiprocessor, at most: as many as it runs at once, and some to follow. Threads then go round."""

_PRODUCTS = ("matmul", "linalg.matmul")


class CupyProgram:
    """A recorded step as kernels, each a chain of elementwise words, and CuPy's words between them.

    The first step runs them one after another. The second puts them into a CUDA graph, whose replay is one launch. What
    a graph cannot hold (a word that CuPy refuses while a stream is captured, or that waits for the device) leaves
    the step as it was: kernel by kernel.

    Args:
        program: what was recorded.
        xp: CuPy's backend.
    """

    def __init__(self, program: Program, xp: CupyBackend) -> None:
        self.program, self.name = program.simplified(), program.name
        self._xp = xp
        self.path = "graph"
        """How the step is replayed: "graph", as one launch; or "kernels", one after another."""
        self.reason = ""
        """Why it is replayed as kernels."""
        self._precision = xp.matmul_precision
        self._idle: dict[Any, list[_Replay]] = {}

    def __call__(self, *arrays: Any) -> Any:
        """Take the step."""
        with self._xp.on_device():
            if self._precision != self._xp.matmul_precision:
                self._precision, self._idle = self._xp.matmul_precision, {}
            # A replay has its own memory: two threads take two. It is idle when all is asked for, not when all is done:
            # what comes next must be done after that, as it is in the same stream.
            idle = self._idle.setdefault(current_order(), [])
            try:
                replay = idle.pop()
            except IndexError:
                replay = _Replay(self.program, self._xp)
            try:
                return replay(self, arrays)
            finally:
                idle.append(replay)

    def fall_back(self, error: Exception) -> None:
        """Note why there is no graph; from now on none is tried."""
        self.path, self.reason = "kernels", summary(error)
        if isinstance(self._xp.products, Exception):
            self.reason += f"; cuBLAS could not be called past CuPy: {summary(self._xp.products)}"

    @property
    def stages(self) -> list[Kernel | Word]:
        """The kernels and words, in order."""
        return self._written().stages.stages

    def _written(self) -> _Replay:
        with self._xp.on_device():
            idle = self._idle.setdefault(current_order(), [])
            if not idle:
                idle.append(_Replay(self.program, self._xp))
        return idle[-1]

    @property
    def source(self) -> str:
        """The kernels as they are written, and the words between them, in order."""
        parts = [f"// {self.name}: {self.path}{f' ({self.reason})' if self.reason else ''}"]
        for stage in self.stages:
            if isinstance(stage, Word):
                shapes = [self.program.specs[place].shape for place in stage.instruction.outputs if place is not None]
                parts.append(f"// CuPy: {stage.instruction.word} -> {', '.join(map(str, shapes))}")
            else:
                operands = ", ".join(f"{operand.dtype} {operand.name}" for operand in stage.reads)
                results = ", ".join(f"{operand.dtype} {operand.name}" for operand in stage.writes)
                body = "\n".join(f"    {line}" for line in stage.body)
                parts.append(f"// kernel over {stage.shape}: {operands} -> {results}\n{body}")
        return "\n".join(parts) + "\n"

    def __str__(self) -> str:
        return self.source


class _Replay:
    """A program with memory of its own.

    Args:
        program: the words.
        xp: the backend.
    """

    def __init__(self, program: Program, xp: CupyBackend) -> None:
        self._program, self._xp = program, xp
        self._inputs = Inputs([program.specs[place] for place in program.inputs])
        self.stages = Stages(program, xp, self._inputs.arrays)
        self._kernels: dict[Any, Any] = {}
        self._pool = xp.pools.new()
        self._is_warm = False
        self._graph: _Graph | None = None
        self._gathers = True
        self._gathering: Gathering | None = None
        self._gathering_graph: _Graph | None = None

    def __call__(self, owner: CupyProgram, arrays: tuple[Any, ...]) -> Any:
        if owner.path == "graph" and self._graph is None and self._is_warm:
            try:
                self._graph = self._captured()
            except Exception as error:  # noqa: BLE001 - whatever a graph cannot hold: nothing has run yet
                owner.fall_back(error)
                self._pool.pool.free_all_blocks()  # kernels take their values from CuPy's own pool
        graph = self._graph if owner.path == "graph" else None
        if graph is not None and Gathering.takes(arrays):
            gathering = self._gathering_for(arrays)
            if gathering is not None:
                return gathering.replayed()
        self._inputs.fill(arrays, self._xp)
        if graph is not None:
            return graph.replayed()
        return _copied(self._run() if self._is_warm else self._warm_up())

    # Everything in a pool of the replay's own, so that nobody else takes memory that the graph has for its values. It
    # is the pool that lets one value have the memory of another that is over.

    def _warm_up(self) -> tuple[Any, ...]:
        """Take the step kernel by kernel, as it will be captured: kernels are compiled, and memory is found."""
        _ = self._xp.products  # cuBLAS takes memory when it begins
        cupy.get_default_memory_pool().free_all_blocks()  # of which the replay's own pool has no use
        with cupy.cuda.using_allocator(self._pool.malloc):
            results = self._run()
        self._is_warm = True
        self._xp.pools.share()
        return results

    def _gathering_for(self, batch: tuple[Rows, ...]) -> _Graph | None:
        """Return the graph that begins with gathering these rows, ready to be launched; None if it cannot be had."""
        if self._gathers and (self._gathering is None or not self._gathering.fits(batch)):
            try:
                gathering = Gathering(batch, self._inputs.arrays)
                gathering.begin(batch)
                gathering.launch()
                self._gathering_graph = self._captured(gathering.launch)
                self._gathering = gathering
            except Exception:  # noqa: BLE001 - no memory for it, say: rows can be gathered before the graph
                self._gathers = False
        if not self._gathers or self._gathering is None:
            return None
        self._gathering.begin(batch)
        return self._gathering_graph

    def _captured(self, first: Callable[[], None] | None = None) -> _Graph:
        """Return a graph of the step, after something else."""
        for stage in self.stages.stages:
            if isinstance(stage, Word) and stage.instruction.word.startswith("fft."):
                raise NotImplementedError("a graph would go on with memory of cuFFT's plans, which CuPy gives up")
        products, stream = self._xp.products, self._pool.stream
        lent = products.captured_in(stream) if isinstance(products, Products) else contextlib.nullcontext()
        self._pool.holds_graph = True
        try:
            with lent, stream, cupy.cuda.using_allocator(self._pool.malloc):
                stream.begin_capture()
                try:
                    if first is not None:
                        first()
                    results = self._run()
                except BaseException:
                    with contextlib.suppress(Exception):  # a capture that failed ends with an error too
                        stream.end_capture()
                    raise
                return _Graph(stream.end_capture(), results)
        except BaseException:
            self._pool.holds_graph = self._graph is not None
            raise

    def _run(self) -> tuple[Any, ...]:
        stages, values = self.stages, dict[Any, Any]()
        for stage, over in zip(stages.stages, stages.over, strict=True):
            if isinstance(stage, Kernel):
                self._launch(stage, values)
            else:
                self._do(stage, values)
            for place in over:
                values.pop(place, None)
        return tuple(stages.resolved(self._program.outputs, values))

    def _launch(self, kernel: Kernel, values: dict[Any, Any]) -> None:
        for operand in kernel.writes:
            if type(operand.where) is Place:
                values[operand.where] = cupy.empty(kernel.shape, operand.dtype)
        arrays = [self._array(operand.where, values) for operand in (*kernel.reads, *kernel.writes)]
        layouts = tuple(map(layout, arrays))
        known = self._kernels.get((id(kernel), layouts))
        if known is None:
            known = self._kernels[id(kernel), layouts] = _compiled(write(kernel, layouts))
        function, blocks = known
        function((blocks,), (THREADS,), tuple(arrays))

    def _array(self, where: Any, values: dict[Any, Any]) -> Any:
        return values[where] if type(where) is Place else where

    def _do(self, stage: Word, values: dict[Any, Any]) -> None:
        instruction = stage.instruction
        args = self.stages.resolved(instruction.args, values)
        kwargs = self.stages.resolved(instruction.kwargs, values)
        if instruction.word == "call":
            result = args[0](*args[1:])
        elif instruction.word in _PRODUCTS and len(args) == 2 and not kwargs:
            result = self._xp.multiplied(*args, out=stage.out)
        elif stage.out is not None:
            result = getattr(cupy, instruction.word)(*args, **kwargs, out=stage.out)
        else:
            result = find(self._xp, instruction.word)(*args, **kwargs)
        if instruction.several:
            values.update(zip(instruction.outputs, result, strict=True))
        elif instruction.outputs:
            values[instruction.outputs[0]] = result


class _Graph(NamedTuple):
    """A CUDA graph, and what the step returns, which it writes anew each time."""

    graph: Any
    results: tuple[Any, ...]

    def replayed(self) -> Any:
        """Launch the graph; return a copy of its result."""
        self.graph.launch()
        return _copied(self.results)


def _copied(results: tuple[Any, ...]) -> Any:
    """Return copies of what a step returns: nothing, an array, or several in a tuple."""
    copies = tuple([array.copy() for array in results])
    return copies if len(copies) > 1 else copies[0] if copies else None


def _compiled(written: Written) -> tuple[Any, int]:
    """Return a kernel, and of how many blocks it is to be launched."""
    most = BLOCKS * cupy.cuda.Device().attributes["MultiProcessorCount"]
    return _kernel(written.source, written.name), min(-(-written.rounds // THREADS), most)


@functools.cache
def _kernel(source: str, name: str) -> Any:
    return cupy.RawKernel(source, name, OPTIONS)
