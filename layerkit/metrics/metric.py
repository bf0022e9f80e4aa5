"""The base of metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from layerkit.configurable import Configurable
from layerkit.errors import ArgumentError, NotReadyError, ShapeError
from layerkit.losses.loss import spread
from layerkit.names import snake_case
from layerkit.xp.conversion import as_numbers
from layerkit.xp.registry import backend, backend_of
from layerkit.xp.state import HoldsState, Variable, move

if TYPE_CHECKING:
    from typing import Self

    from layerkit.xp.backend import Array, Backend


class Metric(HoldsState, Configurable):
    """A number about all samples since the last reset, kept as totals on the device.

    A subclass makes totals in `__init__` by `add_variable` (or in `build`, where their shape depends on the data), and
    gives ``update(xp, y_true, y_pred, sample_weight)``, which writes them by ``xp.assign_add``, and ``compute(xp)``,
    which returns the number, or an array of several.

    Args:
        name: by default the class's name in snake case; the key in History.
        dtype: accepted for Keras's sake; totals are float64, so that long epochs lose nothing.
    """

    operands: ClassVar[tuple[str, ...]] = ("y_true", "y_pred")

    masked: ClassVar[bool] = False
    """Whether what a model masks counts for nothing: as in Keras, in means of a value for each sample alone."""

    built: bool = True
    """Whether the totals are there; set to False by a metric that makes them in `build`."""

    def __init__(self, name: str | None = None, dtype: str | None = None) -> None:
        self.name = name or snake_case(type(self).__name__)
        self.dtype = dtype or "float64"
        self.xp = backend()
        self._variables: list[Variable] = []

    def add_variable(self, name: str, shape: tuple[int, ...] = (), dtype: str = "float64") -> Any:
        """Make a total, 0 at first. Assigned to an attribute, it reads as the plain array of the metric's backend."""
        variable = Variable(self.xp.zeros(shape), dtype, name, trainable=False, xp=self.xp)
        variable.path = f"{self.name}/{name}"
        self._variables.append(variable)
        return variable

    # What a subclass gives.

    def build(self, *shapes: tuple[int | None, ...]) -> None:
        """Make totals whose shape depends on those of the operands; called with them, perhaps again, before `update`.

        By default there is nothing to make.
        """

    def update(self, xp: Backend, y_true: Array, y_pred: Array, sample_weight: Array | None = None) -> None:
        """Add a batch to the totals."""
        raise ArgumentError(
            f"{type(self).__name__}: a metric must define update(self, xp, y_true, y_pred, sample_weight). "
            f"Received: none."
        )

    def compute(self, xp: Backend) -> Array:
        """Return the number, from the totals."""
        raise ArgumentError(f"{type(self).__name__}: a metric must define compute(self, xp). Received: none.")

    def same_shape(self, xp: Backend, y_true: Array, y_pred: Array) -> Array:
        """Return y_true in the shape of y_pred, from which it may differ by a last axis of length 1.

        Raises:
            ShapeError: it differs by more. Targets are never broadcast.
        """
        shape, wanted = tuple(y_true.shape), tuple(y_pred.shape)
        if shape == wanted:
            return y_true
        if shape == (*wanted, 1) or (*shape, 1) == wanted:
            return xp.reshape(y_true, wanted)
        raise ShapeError(
            f"{self.name}: targets must have the shape of the predictions, {wanted}. Received: shape {shape}"
        )

    def weights(self, xp: Backend, y_pred: Array, sample_weight: Array | None) -> Array:
        """Return how much each prediction counts: its sample's weight, or 1."""
        if sample_weight is None:
            return xp.ones(tuple(y_pred.shape), dtype=xp.float64)
        return spread(xp, xp.astype(sample_weight, xp.float64), y_pred)

    # What a user calls.

    @property
    def variables(self) -> list[Variable]:
        """The totals."""
        return list(self._variables)

    def update_state(self, *operands: Any, sample_weight: Any = None, **named: Any) -> None:
        """Add a batch: ``update_state(y_true, y_pred, sample_weight=None)``, arrays or lists of any backend.

        Raises:
            ArgumentError: one of the arrays is missing, or there is none of such a name.
        """
        if len(operands) == len(self.operands) + 1:
            *operands, sample_weight = operands  # type: ignore[assignment]
        operands = (*operands, *(named.pop(name) for name in self.operands[len(operands) :] if name in named))
        if named or len(operands) != len(self.operands):
            received = f"{min(named)}=" if named else f"{len(operands)} arrays"
            raise ArgumentError(f"{self.name}: update_state takes {', '.join(self.operands)}. Received: {received}")
        xp = backend_of(*operands, sample_weight) or self.xp
        self.to(xp)
        arrays = [
            as_numbers(xp, operand, f"{self.name}: {name}")
            for name, operand in zip(self.operands, operands, strict=True)
        ]
        weight = None if sample_weight is None else xp.astype(xp.asarray(sample_weight), xp.float64)
        self.build(*(tuple(array.shape) for array in arrays))
        with xp.on_device():
            self.update(xp, *arrays, sample_weight=weight)  # type: ignore[arg-type]

    def result(self) -> Any:
        """Return the number, read from the device, or an array of NumPy's where there are several.

        Raises:
            NotReadyError: there was no batch yet, and how many numbers there are depends on that.
        """
        if not self.built:
            raise NotReadyError(
                f"{self.name}: how many numbers there are is known from the first batch on. "
                f"Received: no batch yet. Call update_state first."
            )
        with self.xp.on_device():
            value = self.xp.to_numpy(self.compute(self.xp))
        return value if value.ndim else float(value)

    def reset_state(self) -> None:
        """Forget all batches."""
        assign = self.xp.assign
        for variable in self._variables:
            assign(variable.value, 0)

    def __call__(self, *operands: Any, sample_weight: Any = None, **named: Any) -> Any:
        """Add a batch and return the number so far."""
        self.update_state(*operands, sample_weight=sample_weight, **named)
        return self.result()

    def to(self, xp: str | Backend) -> Self:
        """Move the totals to another backend."""
        target = backend(xp)
        if target is not self.xp:
            move(self._variables, target)
            self.xp = target
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"
