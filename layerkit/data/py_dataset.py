"""Datasets that load one batch at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from layerkit.checks import check_count, check_flag
from layerkit.errors import ContractError

if TYPE_CHECKING:
    from collections.abc import Iterator


class PyDataset:
    """Base of datasets that load a batch by its number, in several threads or processes where `fit` asks for them.

    A subclass gives ``__len__()``, the number of batches, and ``__getitem__(index)``, which returns x, (x, y) or
    (x, y, sample_weight) for a whole batch; and where it wants `on_epoch_begin` and `on_epoch_end`. `fit` shuffles the
    order of the batches by the model's seed, unless ``shuffle=False``.

    Batches come in order, whichever is ready first. An error in ``__getitem__`` ends training, with a note that names
    the batch. Processes begin anew with each epoch, with the dataset as it is then, and each batch finds Python's and
    NumPy's global random numbers seeded for it: what it draws depends neither on the process nor on the time. However
    an epoch ends, no thread and no process is left.

    Args:
        workers: how many threads or processes load batches beside training; up to 1 thread, training itself does.
        use_multiprocessing: whether they are processes, for work in Python that would hold up threads.
        max_queue_size: how many batches at most are loaded ahead.

    Raises:
        ArgumentError: an argument is out of its range.
    """

    # For subclasses that do not call the base's constructor.
    workers: int = 1
    use_multiprocessing: bool = False
    max_queue_size: int = 10

    def __init__(self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10) -> None:
        name = type(self).__name__
        self.workers = check_count(name, 0, workers=workers)
        self.use_multiprocessing = check_flag(name, use_multiprocessing=use_multiprocessing)
        self.max_queue_size = check_count(name, 1, max_queue_size=max_queue_size)

    def __getitem__(self, index: int) -> Any:
        """Return a batch."""
        raise ContractError(
            f"{type(self).__name__}: a PyDataset must define __getitem__(self, index), which returns a batch. "
            f"Received: none"
        )

    @property
    def num_batches(self) -> int | None:
        """The number of batches; None where there is no end."""
        count: Any = getattr(self, "__len__", None)
        if count is None:
            raise ContractError(
                f"{type(self).__name__}: a PyDataset must define __len__(self), the number of batches, or the property "
                f"num_batches. Received: neither"
            )
        return count()

    def __iter__(self) -> Iterator[Any]:
        count, index = self.num_batches, 0
        while count is None or index < count:
            yield self[index]
            index += 1

    def on_epoch_begin(self) -> None:
        """Called before each pass over the batches."""

    def on_epoch_end(self) -> None:
        """Called after each pass over the batches."""


Sequence = PyDataset
