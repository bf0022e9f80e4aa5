"""The exceptions of layerkit.

::

    LayerkitError
    ├── ArgumentError (ValueError)            a value out of its range, or an argument that does not exist
    │   ├── UnknownNameError                  a name that no table holds; the nearest known one is suggested
    │   ├── ShapeError                        a shape that does not fit: rank, width, length
    │   ├── DataError                         data that cannot be trained on: empty, not finite, not numbers
    │   └── ModelFormatError                  a file that is not what it should be
    ├── NotReadyError (ValueError)            a call that comes too early: before `build`, `compile` or `fit`
    │   └── NotBuiltError (AttributeError)    an attribute that is known once there was a `build`
    ├── ContractError (AssertionError)        a layer, loss or backend that does not keep its contract
    │   └── GradientMismatch                  a derivative that is not the derivative
    ├── MissingDerivativeError (TypeError)    a function whose derivative is needed and not known
    ├── CaptureError (RuntimeError)           a step that cannot be replayed, though jit_compile=True asks for it
    ├── NonFiniteError (FloatingPointError)   a step with numbers that are not finite, which was taken back
    ├── TrainingStopped                       the first cause of an error that ended `fit`: which batch it was
    ├── SaveError (OSError)                   a file that could not be written; the one before it is whole
    └── BackendError (RuntimeError)
        ├── BackendUnavailableError (ImportError)   the library, its driver or the device is missing
        ├── MixedBackendsError                one computation over arrays of two backends or devices
        ├── DeviceMemoryError (MemoryError)   the device has no room for what is computed
        ├── TransferError                     data elsewhere than their model, though transfer="error" forbids a copy
        └── UnsupportedWordError (AttributeError)   a word that is not part of the contract

    NonFiniteWarning (RuntimeWarning)         training stopped before a step that was not finite
    CaptureWarning (UserWarning)              training goes on, with steps that are run eagerly
    LintWarning (UserWarning)                 what is likely to be a mistake in a model or its data
    MaskWarning (UserWarning)                 a mask ends at a layer that does not hand it on
    TransferWarning (UserWarning)             data are copied to where their model is

A message states the rule, then ``Received: …``, then the remedy where one is known.
Where Keras raises ValueError, so does layerkit: code that catches Keras's errors catches these.
"""


class LayerkitError(Exception):
    """Base of every exception that layerkit raises by intent."""


class ArgumentError(LayerkitError, ValueError):
    """A value is out of its range, or an argument does not exist."""


class UnknownNameError(ArgumentError):
    """No table holds this name."""


class ShapeError(ArgumentError):
    """A shape does not fit."""


class DataError(ArgumentError):
    """The data cannot be trained on."""


class ModelFormatError(ArgumentError):
    """A file is not what it should be; nothing was loaded from it."""


class SaveError(LayerkitError, OSError):
    """A file could not be written. The message tells what stands at its path; as a rule, the old file, whole."""


class TrainingStopped(LayerkitError):  # noqa: N818 - it is where an error happened, and not what
    """Stands behind an error that ended `fit`, as its first ``__cause__``, and tells when it happened.

    Attributes:
        epoch: the number of the epoch, from 0.
        batch: the number of the batch, from 0; None after the last.
    """

    def __init__(self, message: str, epoch: int, batch: int | None) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.batch = batch


class NotReadyError(LayerkitError, ValueError):
    """The call comes before what it needs: `build`, `compile` or `fit`."""


class NotBuiltError(NotReadyError, AttributeError):
    """An attribute is known once there was a `build`; until then `hasattr` is False."""


class ContractError(LayerkitError, AssertionError):
    """A layer, a loss or a backend does not keep its contract."""


class GradientMismatch(ContractError):  # noqa: N818 - it is a finding, not a failure of the program
    """A backward pass is not the derivative of its forward pass."""


class MissingDerivativeError(LayerkitError, TypeError):
    """A derivative is needed and not known."""


class BackendError(LayerkitError, RuntimeError):
    """Something is wrong between layerkit and an array library."""


class BackendUnavailableError(BackendError, ImportError):
    """The array library, its driver or the device is missing."""


class MixedBackendsError(BackendError):
    """One computation met arrays of two backends or devices."""


class DeviceMemoryError(BackendError, MemoryError):
    """The memory of the device is full."""


class TransferError(BackendError):
    """Data lie elsewhere than their model, and ``compile(transfer="error")`` forbids to copy them."""


class UnsupportedWordError(BackendError, AttributeError):
    """A word is not part of the contract with array libraries."""


class CaptureError(LayerkitError, RuntimeError):
    """A step cannot be replayed, and ``compile(jit_compile=True)`` asked for it."""


class NonFiniteError(LayerkitError, FloatingPointError):
    """A step gave NaN or infinity, and ``compile(on_nonfinite="error")`` asked to be told so; it was taken back."""


class NonFiniteWarning(RuntimeWarning):
    """Training has stopped before a step that gave NaN or infinity."""


class CaptureWarning(UserWarning):
    """A step cannot be replayed, and runs eagerly."""


class MaskWarning(UserWarning):
    """A mask ends at a layer that does not support masking."""


class TransferWarning(UserWarning):
    """Data lie elsewhere than their model, and are copied: ``compile(transfer="warn")`` asked to be told."""


class LintWarning(UserWarning):
    """A model or its data looks wrong; the message begins with ``lint:`` and the name of what was found."""
