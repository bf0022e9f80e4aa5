"""Stopping before an update that is not finite: ``compile(on_nonfinite=…)``."""

from __future__ import annotations

import math
import warnings
from functools import reduce
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.changes import changes, writes
from layerkit.errors import NonFiniteError, NonFiniteWarning
from layerkit.nested import leaves, mapped
from layerkit.program import users_frame
from layerkit.training.trouble import Copy, Lookout, is_finite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from layerkit.training.loop import Batches
    from layerkit.training.step import Step

SHARE = 0.01
"""Of the time of a training, what looks and copies may take."""

LARGEST = 2**28
"""How many bytes of state are copied where nobody has asked for it."""

MOST_KEPT = 64
"""How many batches are kept that cannot be had again, at most,"""

MOST_KEPT_BYTES = 2**26
"""and of how many bytes together."""


class FiniteGuard:
    """Stops a training that is not finite, with all state as it was before the step at fault.

    A condition within each step would cost each step. Instead, the loss and the weights are looked at now and then: in
    a hundredth of the time, at an epoch's end where the loss is read anyway, and before anything is saved. As long as
    they are finite, the state is copied at a look. Where they are not, it is put back to that copy, and the batches
    since are taken again, with the same bits, up to the first whose loss or weights are not finite; that one is left
    out. Batches that cannot be had again are kept until the next look. What others write in between (a callback, or
    the body of a loop over `fit_iter`) is looked for, so that no step is taken again across it.

    An optimizer that scales the loss leaves out steps by itself. There, the training goes on after the warning.

    Args:
        step: what is done to a batch.
        batches: what is trained on.
        others: whether anybody but the model's own code runs in between.
    """

    def __init__(self, step: Step, batches: Batches, *, others: bool) -> None:
        self._step, self._batches = step, batches
        self._others = others
        self._raises = step.on_nonfinite == "error"
        self.due = math.inf if step.on_nonfinite == "ignore" else 0.0
        """The time of the next look."""
        self._idle = step.on_nonfinite == "ignore"
        self.keeps = not (self._idle or batches.repeatable)
        """Whether it wants to see each batch."""
        self.stopped = False
        """Whether training has to stop here."""
        self._copy: Copy | None = None
        self._at = 0, 0  # the epoch and the number of batches after which the copy was taken,
        self._pass = 0  # and the number of that epoch's pass over the data
        self._spoilt: list[str] = []  # weights that were not finite then, as far as anybody has looked
        self._losses: dict[int, float] = {}  # of the epochs that have ended since,
        self._counted: tuple[int, int] | None = None
        self._ended = math.nan  # and of one that was taken again
        self._kept: list[tuple[int, int, tuple[Any, ...]]] = []  # epoch, number and arrays of batches since
        self._kept_bytes = 0

    # What the loop tells, and asks.

    def begin_epoch(self, epoch: int, taken: int) -> bool:
        """Be told that an epoch begins, of which so many batches were taken earlier; tell whether it may not."""
        if self._idle:
            return False
        if not self._counted:
            self._keep(epoch, taken, self._batches.passes, perf_counter())
            return False
        return (self.due == 0.0 or self.is_changed()) and self.look(epoch, taken, self._batches.passes)

    def is_changed(self) -> bool:
        """Tell whether somebody may have changed the model since the last look: a callback, say."""
        return self._counted != (changes(), writes()) or (self._others and self._raises)

    def before(self, epoch: int, index: int, *arrays: Any) -> None:
        """Be told of a step that is about to be taken, where it `keeps` batches."""
        # The next batch may be written over this one.
        kept = mapped(_copied, arrays)
        self._kept.append((epoch, index, kept))
        self._kept_bytes += sum([getattr(array, "nbytes", 0) for array in leaves(kept)])
        if len(self._kept) >= MOST_KEPT or self._kept_bytes >= MOST_KEPT_BYTES:
            self.due = 0.0

    def look(self, epoch: int, taken: int, number: int) -> bool:
        """Look at the state, after so many batches of the pass of this number; tell whether training has to stop."""
        began_s = perf_counter()
        if not self._idle and not self.check(epoch, taken) and not self._idle:
            self._keep(epoch, taken, number, began_s)
        return self.stopped

    def is_sound(self) -> bool:
        """Tell whether the state is worth saving; where it is not, the next look is due."""
        if self._idle or self._is_sound(self._loss()):
            return True
        self.due = 0.0
        return False

    def end_epoch(self, epoch: int, taken: int, loss: float, *, last: bool) -> bool:
        """Be told that an epoch has ended, with this loss; tell whether training has to stop."""
        if self._idle:
            return False
        self._losses[epoch] = loss
        return (last or not math.isfinite(loss)) and self.check(epoch, taken, loss)

    def check(self, epoch: int, taken: int, loss: float | None = None) -> bool:
        """Put the state back if it is not finite; tell whether training has to stop.

        Raises:
            NonFiniteError: it was not, and this is what was asked for.
        """
        if self._idle:
            return self.stopped
        loss = self._loss() if loss is None else loss
        if self._is_sound(loss):
            return False
        self._idle, self.keeps, self.due = True, False, math.inf
        goes_on = self._step.optimizer.scales_loss and not self._raises
        now = Copy(self._step.state()) if goes_on else None
        received = self._put_back(epoch, taken, loss)
        if now is not None:
            now.put_back()
        self._copy, self._kept = None, []
        message = (
            f"fit: the loss and the weights must be finite. Received: {received} "
            f"{'Such steps are left out.' if goes_on else 'Training stopped.'} "
            f"A smaller learning rate, or global_clipnorm in the optimizer, often helps."
        )
        if self._raises:
            raise NonFiniteError(message)
        self.stopped = not goes_on
        warnings.warn(message, NonFiniteWarning, stacklevel=users_frame()[1] + 1)
        return self.stopped

    # How it is done.

    def _loss(self) -> float:
        return self._step.loss_total.result()

    def _is_finite(self, loss: float) -> bool:
        return math.isfinite(loss) and (bool(self._spoilt) or self._are_weights_finite())

    def _are_weights_finite(self) -> bool:
        self._step.plan()  # a callback may have moved the model
        xp = self._step.xp
        arrays = [state.array for state in self._step.optimizer.at_risk()]
        found = [xp.all(xp.isfinite(array)) for array in arrays if xp.isdtype(array.dtype, "real floating")]
        return not found or bool(xp.to_numpy(reduce(xp.logical_and, found)))

    def _is_sound(self, loss: float) -> bool:
        if self._is_finite(loss):
            return True
        if self._copy is not None and not self._copy.stale:
            self._copy.swap()
            self._spoilt = self._not_finite()
            self._copy.swap()
        # Weights that were not finite when training began may be meant so, as long as the loss is.
        return bool(self._spoilt) and math.isfinite(loss)

    def _not_finite(self) -> list[str]:
        """Return the names of weights that are not finite."""
        if self._are_weights_finite():
            return []
        return [name for name, weight in self._step.model.named_weights().items() if not is_finite(weight)]

    def _keep(self, epoch: int, taken: int, number: int, began_s: float) -> None:
        """Copy the state, which stands before these batches of this pass over the data."""
        if self._copy is not None and not self._copy.stale:
            self._copy.take()
        else:
            self._copy = None  # before there is another
            self._copy = self._new_copy()
            self.keeps = self.keeps and self._copy is not None
        self._at, self._pass = (epoch, taken), number
        self._losses.clear()
        self._counted = changes(), writes()
        self._kept, self._kept_bytes = [], 0
        ended_s = perf_counter()
        self.due = ended_s + (ended_s - began_s) / SHARE

    def _new_copy(self) -> Copy | None:
        state = self._step.state()
        if self._raises:
            return Copy(state)
        if sum(variable.size for variable in state) * 8 > LARGEST:
            return None
        try:
            return Copy(state)
        except MemoryError:
            return None

    def _put_back(self, epoch: int, taken: int, loss: float) -> str:
        """Bring the state to where it was before the step at fault, if that can be, and say what was wrong."""
        copy = self._copy
        if copy is None or copy.stale:
            return f"a mean loss of {loss} in epoch {epoch + 1}. {self._state_now()}"
        copy.put_back()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy's, which have been shown the first time
            found = self._first_at_fault(epoch, taken)
            copy.put_back()
            if found is None:
                return (
                    f"a mean loss of {loss} in epoch {epoch + 1}, which does not come out again from the same batches. "
                    f"The weights are those before batch {self._at[1] + 1} of epoch {self._at[0] + 1}."
                )
            steps, loss = found
            again = self._steps(epoch, taken)
            for _, _, arrays in islice(again, steps):
                self._step.train(*arrays)
            epoch, index, arrays = next(again)
            copy.take()
            where = self._where(arrays)
            copy.put_back()
        return (
            f"a mean loss of {loss} in batch {index + 1} of epoch {epoch + 1}; {where} The weights are those before "
            f"that batch."
        )

    def _first_at_fault(self, last: int, taken: int) -> tuple[int, float] | None:
        """Take the steps since the copy, and return how many were right before one was not, and the loss of that.

        Returns:
            None if none is wrong, or another training comes out than there was.
        """
        before = self._at[0]
        for count, (epoch, _, arrays) in enumerate(self._steps(last, taken)):
            if epoch != before and self._losses.get(before) != self._ended:
                return None
            before = epoch
            self._step.train(*arrays)
            loss = self._loss()
            if not self._is_finite(loss):  # the losses of the epochs before the last were
                return (count, loss) if epoch == last or math.isfinite(loss) else None
        return None

    def _steps(self, last: int, taken: int) -> Iterator[tuple[int, int, tuple[Any, ...]]]:
        """Yield epoch, number and arrays of each batch since the copy, up to so many of the last epoch."""
        begun, first = self._at
        if not self._batches.repeatable:
            for epoch, index, arrays in self._kept:
                if epoch != begun:
                    begun = epoch
                    self._begin_again()
                yield epoch, index, arrays
            return
        for epoch in range(begun, last + 1):
            if epoch != begun:
                first = 0
                self._begin_again()
            for index, arrays in enumerate(self._batches.again(self._pass + epoch - begun, first), first):
                if epoch == last and index >= taken:
                    return
                yield epoch, index, arrays

    def _begin_again(self) -> None:
        self._ended = self._step.logs()["loss"]
        self._step.reset()

    def _where(self, arrays: tuple[Any, ...]) -> str:
        """Say what is the first that is not finite in a step, which is taken once more."""
        if self._spoilt:
            return f"{' and '.join(map(repr, self._spoilt))} had not been finite before."
        step = self._step
        lookout = Lookout(step)
        with step.xp.on_device(), lookout.watching():
            step.train(*arrays, eagerly=True)
        return f"{lookout.seen[0] if lookout.seen else 'the loss'} is not finite."

    def _state_now(self) -> str:
        named = [repr(name) for name in self._not_finite()]
        now = f"Not finite now: {', '.join(named)}." if named else "All weights are finite still."
        if self._copy is None:
            return f"{now} Of a model so large no copy is kept, unless compile(on_nonfinite='error') asks for it."
        return f"{now} The model was moved since it was copied."


def _copied(array: Any) -> Any:
    return array.copy() if type(array) is np.ndarray else array
