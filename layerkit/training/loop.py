"""The loops of `fit`, `evaluate` and `predict`: the only place that knows an epoch."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Generator, Iterator, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from layerkit.callbacks.callback import CallbackList
from layerkit.callbacks.history import History
from layerkit.checks import is_a
from layerkit.errors import DataError, NotReadyError
from layerkit.nested import mapped
from layerkit.overriding import override
from layerkit.training.data import ArrayData, BatchData, JoinedRows
from layerkit.training.guard import FiniteGuard
from layerkit.training.trouble import say_when
from layerkit.xp.foreign import brought
from layerkit.xp.random import stream_key
from layerkit.xp.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from layerkit.training.data import Batch
    from layerkit.training.interrupt import DeferredInterrupt
    from layerkit.training.progress import Progress
    from layerkit.training.run import Run, Standing
    from layerkit.training.step import Inference, Step
    from layerkit.xp import Backend

Source = ArrayData | BatchData


class Lookout(Protocol):
    """Looks at a training that begins."""

    def first_batch(self) -> None:
        """Called after the first step, whose loss is that before it."""
        ...

    def first_epoch(self) -> None:
        """Called after the first epoch."""
        ...


class BatchLogs(MutableMapping[str, float]):
    """The logs of a batch: read from the device when they are first looked at, which must be before the next batch."""

    def __init__(self, read: Callable[[], dict[str, float]]) -> None:
        self._read: Callable[[], dict[str, float]] | None = read
        self._values: dict[str, float] | None = None

    @property
    def is_finite(self) -> bool:
        """Whether nobody has seen a loss in it that is not."""
        return self._values is None or math.isfinite(self._values.get("loss", 0.0))

    def expire(self) -> None:
        """Refuse to be read from now on, unless that was done: the totals are about to change."""
        self._read = None

    @property
    def _logs(self) -> dict[str, float]:
        if self._values is None:
            if self._read is None:
                raise NotReadyError(
                    "logs: those of a batch must be read before the next batch. Received: a look at them later. "
                    "Keep dict(logs)."
                )
            self._values = self._read()
        return self._values

    @override
    def __getitem__(self, name: str) -> float:
        return self._logs[name]

    @override
    def __setitem__(self, name: str, value: float) -> None:
        self._logs[name] = value

    @override
    def __delitem__(self, name: str) -> None:
        del self._logs[name]

    @override
    def __iter__(self) -> Iterator[str]:
        return iter(self._logs)

    @override
    def __len__(self) -> int:
        return len(self._logs)

    @override
    def __repr__(self) -> str:
        return repr(self._logs)


class Batches:
    """The batches of one epoch after the other.

    Without `steps`, an epoch is one pass over the data. With it, an epoch is that many batches, and the next one goes
    on where it ended; data that ends starts again.

    Args:
        data: where batches come from.
        steps: batches an epoch; None for all.
        order: a function from the number of the pass to the order of rows; None leaves them as they are.
    """

    def __init__(self, data: Source, steps: int | None, order: Callable[[int], NDArray[Any]] | None = None) -> None:
        self.data = data
        self.steps = steps
        self._order = order
        self.rows = data.rows if steps is None and isinstance(data, ArrayData) else None
        """The rows of arrays, if each epoch is one pass over them."""
        self.repeatable = self.rows is not None
        """Whether an epoch can be taken again."""
        self._passes = 0
        self._first = 0
        self.offset = 0
        """With `steps`: how many batches were taken of the pass that runs."""
        self._running: Iterator[Batch] | None = None
        self._begun: Any = None

    @property
    def count(self) -> int | None:
        """Batches an epoch; None where that is not known yet."""
        return self.steps or self.data.steps

    def _start(self) -> Iterator[Batch]:
        order = None if self._order is None else self._order(self._passes)
        self._passes += 1
        first, self._first = self._first, 0
        self.offset = first
        self._begun = self.data.batches(order, first)
        return self._begun

    def close(self) -> None:
        """End a pass that is left before its end: what loads its batches stops."""
        if hasattr(self._begun, "close"):
            self._begun.close()

    def go_on(self, passes: int, offset: int) -> None:
        """Begin where another training stood: so many passes had begun, and of the last so many batches been taken."""
        self._passes, self._first = passes - (offset > 0), offset
        if isinstance(self.data, BatchData):
            self.data.go_on(self._passes)

    def epoch(self, taken: int = 0) -> Iterator[Batch]:
        """Return the batches of the next epoch, of which so many were taken before.

        Raises:
            DataError: the data yields nothing, or (for a generator, which cannot start again) no more.
        """
        return self._start() if self.repeatable else self._counted(taken)

    def _counted(self, taken: int) -> Iterator[Batch]:
        if self.steps is None:
            count = taken
            for batch in self._start():
                count += 1
                yield batch
            if count == 0:
                raise self._ran_out(0)
            if isinstance(self.data, BatchData):
                self.data.steps = count
            return
        for step in range(taken, self.steps):
            batch = None if self._running is None else next(self._running, None)
            while batch is None:
                empty = not self._first  # a pass that is taken up again may have nothing left
                self._running = self._start()
                batch = next(self._running, None)
                if batch is None and empty:
                    raise self._ran_out(step)
            self.offset += 1
            yield batch

    @property
    def passes(self) -> int:
        """How many passes over the data have begun."""
        return self._passes

    def again(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Return the batches of an earlier pass once more, from this one on, where that is possible."""
        return self.data.batches(None if self._order is None else self._order(number), first)

    def _ran_out(self, step: int) -> DataError:
        wanted = "at least one batch" if self.steps is None else f"{self.steps} batches"
        name = self.data.name if isinstance(self.data, BatchData) else "x"
        return DataError(
            f"{name} must yield {wanted} in each epoch. Received: {step} in pass {self._passes}, and then its end. "
            f"A generator runs once: give an object that can be iterated again, or an endless generator and "
            f"steps_per_epoch."
        )


def row_order(seed: int, rows: int) -> Callable[[int], NDArray[Any]]:
    """Return the function from the number of a pass to its order of rows: the same for the same seed, everywhere."""
    philox = np.random.Philox(key=np.array(stream_key(seed, "shuffle"), np.uint64))
    random = np.random.Generator(philox)
    start: Any = philox.state  # to write it costs a fifth of a new generator
    # Wide integers are what gathering takes, and are shuffled faster; narrow ones are half as large.
    dtype = np.intp if rows < 2**20 else np.int32 if rows < 2**31 else np.int64

    def order(number: int) -> NDArray[Any]:
        # Passes are 2**128 blocks apart, so that none draws what another did.
        start["state"]["counter"][2] = number
        philox.state = start
        rows_in_order = np.arange(rows, dtype=dtype)
        random.shuffle(rows_in_order)
        return rows_in_order

    return order


# exp may overflow to inf in a sigmoid, whose reciprocal is the right answer, 0. Said once for all steps: a program that
# said so itself would spend a twentieth of a small step on it.
def overflow_is_right(step: Step | None = None, *, guarded: bool = False) -> np.errstate:
    """Return the context in which steps are taken: that exp overflows in a sigmoid is right.

    NumPy's warning of invalid values is left out where others look for NaN, and tell more: an optimizer that scales the
    loss, or a guard. It also comes where all is finite: in products of width 5, OpenBLAS
    reads lanes that nobody has written.
    """
    looked_for = step is not None and (step.optimizer.scales_loss or (guarded and step.on_nonfinite != "ignore"))
    return np.errstate(over="ignore", invalid="ignore") if looked_for else np.errstate(over="ignore")


_overflow_is_right = overflow_is_right()


def train(
    step: Step,
    batches: Batches,
    callbacks: CallbackList,
    progress: Progress,
    *,
    initial_epoch: int,
    epochs: int,
    validation: Callable[[int], Batches | None],
    interrupt: DeferredInterrupt,
    run: Run,
    pauses: bool,
    lookout: Lookout | None = None,
    at: Standing | None = None,
) -> Generator[tuple[int, dict[str, Any]]]:
    """Train until the last epoch, until `stop_training` is set, or until the generator is closed.

    Yields:
        The number of each epoch, and its logs, when it is over.

    Args:
        step: what is done to a batch.
        batches: what to train on.
        callbacks: whom to tell.
        progress: shows how it goes.
        initial_epoch: the number of the first epoch.
        epochs: one more than the number of the last.
        validation: from the number of an epoch to the batches of its validation; None where there is none.
        interrupt: says whether Ctrl-C was pressed.
        run: what a checkpoint tells of it.
        lookout: looks at the first batch and the first epoch.
        pauses: whether anybody does something while the generator waits.
        at: where training stood, if it is resumed.
    """
    model = step.model
    at_epoch_begin, at_epoch_end = callbacks.methods("on_epoch_begin"), callbacks.methods("on_epoch_end")
    follows_batches = callbacks.cares_for("on_train_batch_begin") or callbacks.cares_for("on_train_batch_end")
    # A callback may change what no count of changes tells: an item of a list that a layer reads.
    others = pauses or any(type(callback) is not History for callback in callbacks.callbacks)
    step.look_again()
    model.stop_training = False
    logs: dict[str, float] = {}
    guard = FiniteGuard(step, batches, others=others)
    run.is_sound = guard.is_sound
    begun, taken = at, 0  # the epoch in which training was cut off
    outer, model.run = model.run, run
    now: int | None = None  # the epoch that is under way,
    done: int | None = 0  # and how many of its batches are taken, where not all are
    turn = contextlib.ExitStack()
    turn.enter_context(model.turn.taken("fit", model.name))
    try:
        callbacks("on_train_begin")
        if at is not None:
            logs = _resumed(at, step, run)
            initial_epoch, taken = (at.epoch + 1, 0) if at.ended else (at.epoch, at.batch)
            begun = None if at.ended else at
            if at.ended and model.stop_training:
                epochs = initial_epoch
        for epoch in range(initial_epoch, epochs):
            progress.epoch = now = epoch
            done = taken
            if begun is None:
                step.reset()
                for tell in at_epoch_begin:
                    tell(epoch, {})
            if others:
                step.look_again()
            step.plan()
            if (others or guard.due == 0.0) and guard.begin_epoch(epoch, taken):
                break
            index = max(taken - 1, 0)
            over = begun is not None and (begun.logs is not None or model.stop_training)
            for index, (x, y, weight) in enumerate(() if over else batches.epoch(taken), taken):
                if follows_batches:
                    callbacks("on_train_batch_begin", index)
                    step.look_again()
                    step.plan()
                    x, y, weight = _here(step, x, y, weight)
                    if guard.is_changed() and guard.look(epoch, index, batches.passes - 1):
                        break
                if guard.keeps:
                    guard.before(epoch, index, x, y, weight)
                step.train(x, y, weight)
                if lookout is not None and index == 0:
                    lookout.first_batch()
                if follows_batches:
                    batch_logs = BatchLogs(step.logs)
                    callbacks("on_train_batch_end", index, logs=batch_logs)
                    batch_logs.expire()
                    if not batch_logs.is_finite:
                        guard.due = 0.0
                now_s = progress.clock()
                if now_s >= guard.due and guard.look(epoch, index + 1, batches.passes - 1):
                    break
                if now_s >= progress.due:
                    progress.draw(index + 1, step.logs)
                if interrupt.pressed:
                    if not guard.check(epoch, index + 1):
                        run.flush(epoch, index + 1)
                    interrupt.check()
                done = index + 1
                if model.stop_training:
                    break
            if guard.stopped:
                break
            done = None
            epoch_logs = step.logs() if begun is None or begun.logs is None else dict(begun.logs)
            begun, taken = None, 0
            if guard.end_epoch(epoch, index + 1, epoch_logs["loss"], last=epoch + 1 == epochs):
                break
            if lookout is not None:
                lookout.first_epoch()
                lookout = None
            held_out = validation(epoch)
            if held_out is not None:
                progress.begin_validation(held_out.count)
                trained = dict(epoch_logs)

                def after_batch(epoch: int = epoch, batch: int = index + 1, logs: Any = trained) -> None:
                    if interrupt.pressed:
                        run.flush(epoch, batch, logs=logs)
                        interrupt.check()

                found = evaluate(step, held_out, callbacks, progress, after_batch)
                epoch_logs |= {f"val_{name}": value for name, value in found.items()}
            if progress.is_shown:
                progress.make_room()
            for tell in at_epoch_end:
                tell(epoch, epoch_logs)
            if progress.is_shown:
                progress.end_epoch(index + 1, epoch_logs)
            logs = epoch_logs
            if interrupt.pressed:
                run.flush(epoch, index + 1, ended=True, logs=logs)
                interrupt.check()
            now = None
            try:
                yield epoch, epoch_logs
            except GeneratorExit:  # whoever looks on leaves: a good end
                break
            if model.stop_training:
                break
        step.optimizer.finalize_variable_values(model.trainable_weights)
    except Exception as error:
        if now is not None:
            say_when(error, now, done)
        raise
    finally:
        batches.close()
        progress.close()
        try:
            callbacks("on_train_end", logs=logs)
        finally:
            model.run = outer
            turn.close()


def _here(step: Step | Inference, *arrays: Any) -> list[Any]:
    """Return a batch where the model is, which a callback may have moved since the batch was cut."""
    xp = step.xp

    def here(array: Any) -> Any:
        found: Any = array.gathered() if type(array) is Rows and array.xp is not xp else array
        return found if is_a(found, type(None), np.ndarray, Rows) else brought(xp, found, "the batch")

    return mapped(here, list(arrays))


def _resumed(at: Standing, step: Step, run: Run) -> dict[str, Any]:
    """Go on where training stood: tell those callbacks that had not been told yet; return the logs of that epoch."""
    at.restore_callbacks(run.callbacks)
    step.model.stop_training = at.stopped
    rest = CallbackList(run.callbacks[at.told :])
    if at.ended:
        rest("on_epoch_end", at.epoch, logs=at.logs)
    elif at.logs is None:
        batch_logs = BatchLogs(step.logs)
        rest("on_train_batch_end", at.batch - 1, logs=batch_logs)
        batch_logs.expire()
    return dict(at.logs or {})


@_overflow_is_right
def on_batch(step: Step, batch: Batch, *, training: bool) -> dict[str, float]:
    """Take one step, and return the loss and the metrics of this batch."""
    caller = "train_on_batch" if training else "test_on_batch"
    with step.model.turn.taken(caller, step.model.name):
        step.look_again()
        step.reset()
        with overflow_is_right(step):
            (step.train if training else step.test)(*batch)
        return step.logs()


@_overflow_is_right
def evaluate(
    step: Step,
    batches: Batches,
    callbacks: CallbackList,
    progress: Progress,
    after_batch: Callable[[], None] | None = None,
) -> dict[str, float]:
    """Return the loss and the metrics of one pass over the data."""
    with step.model.turn.taken("evaluate", step.model.name):
        step.look_again()
        step.reset()
        callbacks("on_test_begin")
        follows_begin, follows_end = (callbacks.cares_for(f"on_test_batch_{moment}") for moment in ("begin", "end"))
        index = 0
        with contextlib.closing(batches):
            for index, (x, y, weight) in enumerate(batches.epoch()):
                if follows_begin:
                    callbacks("on_test_batch_begin", index)
                if follows_begin or follows_end:
                    step.look_again()
                    x, y, weight = _here(step, x, y, weight)
                step.test(x, y, weight)
                if follows_end:
                    batch_logs = BatchLogs(step.logs)
                    callbacks("on_test_batch_end", index, logs=batch_logs)
                    batch_logs.expire()
                if progress.clock() >= progress.due:
                    progress.draw(index + 1, step.logs)
                if after_batch is not None:
                    after_batch()
        logs = step.logs()
        progress.end_test(index + 1, logs)
        callbacks("on_test_end", logs=logs)
        return logs


@_overflow_is_right
def predict(step: Inference, batches: Batches, callbacks: CallbackList, progress: Progress) -> Any:
    """Return the outputs of one pass over the data, on the host: an array, or several, nested as the model does."""
    step.look_again()
    callbacks("on_predict_begin")
    follows_begin, follows_end = (callbacks.cares_for(f"on_predict_batch_{moment}") for moment in ("begin", "end"))
    outputs: Any = None
    index = 0
    with contextlib.closing(batches):
        for index, (x, _, _) in enumerate(batches.epoch()):
            if follows_begin:
                callbacks("on_predict_batch_begin", index)
            if follows_begin or follows_end:
                step.look_again()
                (x,) = _here(step, x)
            y = step.predict(x)
            if outputs is None:
                outputs = mapped(partial(_joined, batches.rows), y)
            kept = mapped(partial(_kept, step.xp, x.shape[0]), outputs, y)
            if follows_end:
                callbacks("on_predict_batch_end", index, logs={"outputs": kept})
            if progress.clock() >= progress.due:
                progress.draw(index + 1)
    progress.end_test(index + 1, {})
    callbacks("on_predict_end")
    return mapped(JoinedRows.whole, outputs)


def _copied(xp: Backend, y: Any) -> NDArray[Any]:
    return np.array(xp.to_numpy(y))


def _joined(count: int | None, _: Any) -> JoinedRows:
    return JoinedRows(count)


def _kept(xp: Backend, count: int, rows: JoinedRows, y: Any) -> NDArray[Any]:
    return rows.add(xp.to_numpy(y), count)


@_overflow_is_right
def predict_again(step: Inference, x: Any) -> Any:
    """Return the outputs for an array like one that was a whole batch of `predict`; None if that is not known of it.

    A reply to a single row takes a fraction of the time so.
    """
    dtype = step.accepted(x)
    if dtype is None:
        return None
    xp = step.xp
    with xp.on_device():
        x = np.ascontiguousarray(x, dtype)
        batch: Any = xp.asarray(x)
        run = step.predicting.ready(batch)
        if run is None or not np.isfinite(np.add.reduce(x, axis=None)):  # who looks closely will name the element
            return None
        return mapped(partial(_copied, xp), run(batch))
