"""The batches of a `PyDataset` in order, loaded ahead by threads or processes."""

from __future__ import annotations

import random
from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.xp.random import fresh_seed, stream_key

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable
    from concurrent.futures import Executor

    from layerkit.data.py_dataset import PyDataset


def load(dataset: PyDataset, order: Iterable[int] | None) -> Generator[Any]:
    """Yield the batches of one pass, by their numbers in this order, or in their own where it is None.

    An error in ``__getitem__`` is raised where its batch would come, with a note that names it. When the generator is
    closed, what was not begun is dropped, what runs is waited for, and no thread or process is left.
    """
    number = dataset.num_batches
    indices: Iterable[int] = (count() if number is None else range(number)) if order is None else map(int, order)
    if dataset.workers > 1 or (dataset.workers > 0 and dataset.use_multiprocessing):
        yield from _loaded_ahead(dataset, indices)
        return
    for place, index in enumerate(indices):
        yield fetch(dataset, index, place)


def fetch(dataset: PyDataset, index: int, place: int) -> Any:
    """Return a batch by its number; an error is given a note that names it, and its place in the pass."""
    try:
        return dataset[index]
    except Exception as error:
        _note(error, dataset, place, index)
        raise


def _loaded_ahead(dataset: PyDataset, indices: Iterable[int]) -> Generator[Any]:
    executor, get = _processes(dataset) if dataset.use_multiprocessing else _threads(dataset)
    waiting: deque[tuple[int, int, Any]] = deque()
    rest = enumerate(indices)
    try:
        while True:
            while len(waiting) < dataset.max_queue_size:
                place, index = next(rest, (-1, -1))
                if place < 0:
                    break
                waiting.append((place, index, executor.submit(get, index)))
            if not waiting:
                return
            place, index, future = waiting.popleft()
            try:
                batch = future.result()
            except Exception as error:
                _note(error, dataset, place, index)
                raise
            yield batch
            del batch, future  # or it would be kept while the next one is waited for
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _note(error: Exception, dataset: PyDataset, place: int, index: int) -> None:
    error.add_note(f"This happened in {type(dataset).__name__}[{index}], batch {place} of its pass.")


def _threads(dataset: PyDataset) -> tuple[Executor, Any]:
    from concurrent.futures import ThreadPoolExecutor  # slow to load

    return ThreadPoolExecutor(dataset.workers, "layerkit-batches"), dataset.__getitem__


def _processes(dataset: PyDataset) -> tuple[Executor, Any]:
    from concurrent.futures import ProcessPoolExecutor

    return ProcessPoolExecutor(dataset.workers, initializer=_adopt, initargs=(dataset, fresh_seed())), _get


# What a worker process serves, and the seed of this pass.
_own: tuple[Any, int] = (None, 0)


def _adopt(dataset: PyDataset, seed: int) -> None:
    global _own  # one for the process, which has no other task
    _own = dataset, seed


def _get(index: int) -> Any:
    dataset, seed = _own
    own_seed = stream_key(0, f"batch {index} of pass {seed}")[1]
    random.seed(own_seed)
    np.random.seed(own_seed % 2**32)  # noqa: NPY002 - what a user's code may draw from
    return dataset[index]
