"""The base of layers."""

from __future__ import annotations

import functools
import warnings
from typing import TYPE_CHECKING, Any, ClassVar, TypedDict

from layerkit import program, regularizers
from layerkit.checks import check_count, check_flag, check_lengths, fits, is_a, shown
from layerkit.configurable import parameters
from layerkit.dtype_policies import HALF, DTypePolicy, check_offered, policy_name
from layerkit.errors import (
    ArgumentError,
    MaskWarning,
    MissingDerivativeError,
    MixedBackendsError,
    NotReadyError,
    ShapeError,
)
from layerkit.layers.input import Input
from layerkit.layers.penalties import TapeOfPenalties, activity_penalties, collected, collecting, plus
from layerkit.layers.phase import Phase, in_training
from layerkit.layers.state import Arrays, Home, LayerState, Shape, Shapes
from layerkit.nested import (
    are_shapes,
    filled,
    is_nest,
    leaves,
    mapped,
    mapped_shapes,
    of_any_batch,
    shape_of,
    shapes_fit,
)
from layerkit.overriding import override
from layerkit.program import RecordedArray, Recorder, active_recorder, inference, not_recording, recording
from layerkit.program.array import recorder_of
from layerkit.xp.conversion import as_numbers
from layerkit.xp.random import fresh_seed
from layerkit.xp.registry import backend_of
from layerkit.xp.state import awaiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from layerkit.xp.backend import Array, Backend


FLOAT_DTYPES = ("float32", "float64")
"""In which layers and losses are judged."""


class LayerArguments(TypedDict, total=False):
    """What every layer takes: see `Layer`."""

    name: str | None
    dtype: str | None
    trainable: bool
    input_shape: tuple[int | None, ...] | None
    input_dim: int | None
    activity_regularizer: Any


NO_GRAPH = (
    "There is no graph of layers: Sequential(model.layers[:n]) is a model of the first layers, with their weights."
)


class Layer(LayerState):
    """A function of x and of weights, with its derivative.

    A subclass gives **either** ``call(xp, x) -> y``, whose derivative is found, **or** both
    ``forward(xp, x) -> (y, saved)`` and ``backward(xp, saved, dy) -> (dx, grads)``, where `saved` is whatever backward
    will need, and `grads` maps the names of weights to their gradients. Weights are made in ``build(input_shape)`` by
    `add_weight`, or anywhere as a `Variable` that an attribute holds, by itself or in a list or dictionary (where its
    array is ``.value``). Nothing is kept on the layer between passes, so that one layer may stand in several places and
    run in several threads.

    A method that behaves differently in training takes a keyword `training` (a layer that it calls is told the same,
    unless it is called with another `training`); one that wants to know which steps of x
    count takes `mask`, which is None or an array of bool (see `compute_mask`); a backward that can leave dx out takes
    `input_gradient`, which is False where nobody needs dx. Only methods that name them receive them.

    Several inputs come as a tuple or list, nested or not, and x is it, as it was given: ``layer([a, b])`` calls
    ``call(xp, [a, b])``. `build` and `compute_output_shape` receive a list of shapes then, nested in the same way, and
    backward returns a dx for each, in a tuple or list nested as x is; None stands for that of integers. Several outputs
    are returned as a tuple or list: ``y1, y2 = layer(x)``, or in a dictionary. dy has a gradient for each, nested as y
    is (zeros where L does not depend on it), and `compute_output_shape` returns a list or dictionary of shapes. ::

        class Gate(Layer):
            def build(self, input_shape):
                (*_, features), _ = input_shape
                self.scale = self.add_weight("scale", (features,), "ones")

            def call(self, xp, x):
                value, gate = x
                return self.scale * value * xp.sigmoid(gate)

    Args:
        name: by default the class's name in snake case, numbered within a model.
        dtype: of weights and of the computation: "float32", "float64" or "float16", or a policy such as
            "mixed_float16" (see `layerkit.dtype_policies`). By default the model's.
        trainable: whether training may change the weights.
        input_shape: shape of one row of x, without the batch; Keras's older way to say what `Input` says.
        input_dim: the same for rows of one axis.
        activity_regularizer: a penalty on the output, divided by the number of rows, that is added to the loss.

    Raises:
        ArgumentError: an argument is unknown, or out of its range.
    """

    _instead = tuple((name, NO_GRAPH) for name in ("input", "output", "inputs", "outputs"))

    autocast: ClassVar[bool] = True
    """Whether x is converted to the layer's dtype. Layers that read integers (indices) say False."""

    one_input: ClassVar[bool] = False
    """Whether x is one array, so that several are refused before the layer is built for them."""

    supports_masking: bool = False
    """Whether what comes out has a mask where what goes in has one; True for a layer that defines `compute_mask`."""

    computes_mask: ClassVar[bool] = False
    """Whether the layer is asked for a mask also where x has none."""

    takes_training: ClassVar[bool] = False
    takes_mask: ClassVar[bool] = False
    takes_input_gradient: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "build" in cls.__dict__:
            cls.build = _once(cls.build)
        for method in ("call", "forward", "backward"):
            if method in cls.__dict__:
                _check_signature(cls, method)
        passes = cls.call if cls.forward is Layer.forward else cls.forward
        cls.takes_training = "training" in parameters(passes)[0]
        cls.takes_mask = "mask" in parameters(passes)[0]
        if "compute_mask" in cls.__dict__:
            cls.supports_masking = cls.computes_mask = True
        cls.takes_input_gradient = "input_gradient" in parameters(cls.backward)[0]

    def __init__(
        self,
        *,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        input_shape: tuple[int | None, ...] | None = None,
        input_dim: int | None = None,
        activity_regularizer: str | regularizers.Regularizer | Callable[..., Any] | None = None,
    ) -> None:
        kind = type(self).__name__
        if name is not None and (not isinstance(name, str) or not name or "/" in name):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"{kind}: name must be a string, not empty and without '/'. Received: name={name!r}")
        if dtype is not None:
            dtype = policy_name(dtype, kind)
        self._name = name
        self._dtype = dtype
        self._trainable = check_flag(kind, trainable=trainable)
        self.activity_regularizer = regularizers.get(activity_regularizer)
        if input_dim is not None and input_shape is not None:
            raise ArgumentError(
                f"{kind}: give input_shape, or input_dim. Received: input_shape={input_shape}, input_dim={input_dim}"
            )
        self.declared_input_shape: Shape | None = None
        if input_dim is not None:
            self.declared_input_shape = (check_count(kind, 1, input_dim=input_dim),)
        elif input_shape is not None:
            self.declared_input_shape = check_lengths(kind, 1, input_shape=input_shape)

    @override
    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        if "trainable" in config:
            config["trainable"] = self._trainable  # which may have been set since
        policy = config.get("dtype")
        return {**config, "dtype": policy.name} if isinstance(policy, DTypePolicy) else config

    # What a subclass gives.

    def build(self, input_shape: Shapes) -> None:
        """Make the weights. `input_shape` has None for the batch, and is a list for several inputs; called once."""
        self._check_one_input(input_shape)
        self.built = True
        self._input_shape = input_shape
        if type(self).build is not Layer.build:
            return
        if type(self).compute_output_shape is not Layer.compute_output_shape:
            try:
                self.compute_output_shape(input_shape)  # which says where x does not fit
            except BaseException:
                self.unbuild()
                raise
        self._build_inside()

    def _build_inside(self) -> None:
        """Build the layers inside that are not built yet, by a pass that reaches them."""
        fresh = [layer for layer in self.walk() if not layer.built]
        if all(type(layer).build is Layer.build for layer in fresh):  # activations, say
            return
        try:
            self._probe(self.input_shape, 2)
        except BaseException:
            for layer in (self, *fresh):
                layer.unbuild()
            raise

    # The open signatures tell type checkers that a subclass may leave out or take `training` and `input_gradient`.

    def call(self, xp: Backend, x: Arrays, *args: Any, **kwargs: Any) -> Arrays:
        """Return y. A layer with `forward` need not define it."""
        return self.forward(xp, x, *args, **kwargs)[0]

    def forward(self, xp: Backend, x: Arrays, *args: Any, **kwargs: Any) -> tuple[Arrays, Any]:
        """Return y and what `backward` will need. A layer with `call` need not define it: the call is recorded."""
        self.check_differentiable()
        penalties = collected()
        if penalties is None:
            return program.Tape.record_if_wanted(xp, functools.partial(self.call, **kwargs), x)

        def with_penalties(xp: Backend, x: Arrays) -> tuple[Arrays, list[Array]]:
            with collecting() as own:
                return self.call(xp, x, **kwargs), own

        (y, own), tape = program.Tape.record_if_wanted(xp, with_penalties, x)
        penalties += own
        return y, None if tape is None else TapeOfPenalties(tape, own, penalties)

    def backward(
        self, xp: Backend, saved: Any, dy: Arrays, *args: Any, **kwargs: Any
    ) -> tuple[Arrays, dict[str, Array]]:
        """Return dL/dx and dL/dweight by name of weight, from dy = dL/dy.

        A layer with `call` need not define it: the derivative of what was recorded is found.
        """
        self.check_differentiable()
        named = {name: variable for name, variable in self.named_weights().items() if variable.trainable}
        if isinstance(saved, TapeOfPenalties):
            saved, dy = saved.tape, saved.seeds(xp, dy)
        (dx,), gradients = saved.gradients(dy, list(named.values()))
        return dx, dict(zip(named, gradients, strict=True))

    def check_differentiable(self) -> None:
        """Check that the layer defines one of the two kinds of passes.

        Raises:
            MissingDerivativeError: it defines `forward` without `backward`.
            ArgumentError: it defines neither `call` nor `forward`.
        """
        kind = type(self)
        if kind.forward is not Layer.forward and kind.backward is Layer.backward:
            raise MissingDerivativeError(
                f"{self.name}: training needs the derivative of every layer. Received: {kind.__name__}, which "
                f"defines `forward` without `backward`. Define backward(self, xp, saved, dy), or `call` alone."
            )
        if kind.forward is Layer.forward and kind.call is Layer.call:
            raise ArgumentError(
                f"{self.name}: a layer must define call, or forward and backward. "
                f"Received: {kind.__name__}, which defines neither"
            )

    def compute_mask(self, xp: Backend, x: Arrays, mask: Arrays) -> Arrays:
        """Return the mask of y: an array of bool, False at steps that do not count; None where all do.

        A layer that makes a mask, or another one than that of x, defines it; one that hands on the mask of x, as it
        is, says ``supports_masking = True``. In a `Sequential` masks go from layer to layer, and at last to the loss
        and the metrics, in which what is masked has the weight 0.

        Args:
            xp: the backend.
            x: what went into the layer.
            mask: the mask of x, or None; for several inputs, a list of as many, nested as x is, or None.
        """
        return mask

    def compute_output_shape(self, input_shape: Shapes) -> Shapes:
        """Return the shape of y, with None for the batch; for several outputs, a list of their shapes.

        A layer that does not define it is built and run on zeros, twice, with different sizes for what is None.
        """
        self.build_in_place(input_shape)
        try:
            first, second = (self._probe(input_shape, size) for size in (2, 3))
        except Exception as error:
            if shapes_fit(input_shape, self.input_shape):
                raise
            raise ShapeError(
                f"{self.name}: x must have the shape for which the layer was built, {self.input_shape}. "
                f"Received: shape {input_shape}, with which {type(self).__name__} fails: {error}"
            ) from error

        def told(first: tuple[int, ...], second: tuple[int, ...]) -> Shape:
            return tuple(a if a == b else None for a, b in zip(first, second, strict=True))

        return mapped_shapes(told, first, second)

    def _probe(self, input_shape: Shapes, size: int) -> Any:
        xp = self.xp

        def zeros(shape: Shape) -> Array:
            lengths = tuple(size if n is None else n for n in shape)
            awaited = awaiting.get()
            if awaited is not None:
                awaited.probe(lengths)
            return xp.asarray(xp.zeros(lengths, dtype=getattr(xp, self.compute_dtype)))

        with not_recording(), inference(), self.tried():
            y = self._pair("forward", "(y, saved)", self.run_forward(xp, mapped_shapes(zeros, input_shape)))[0]
        for leaf in leaves(y):
            if not hasattr(leaf, "shape"):
                raise ShapeError(
                    f"{self.name}: the output must be an array, or a tuple, list or dictionary of arrays. "
                    f"Received: {shown(leaf)}"
                )
        return shape_of(y)

    def add_loss(self, loss: Any) -> None:
        """Add a number to the loss that is trained and reported, in `call`: an array of shape (), or several in a list.

        Its derivative is found with that of the output. Where nobody trains or measures, it is ignored.

        Raises:
            ShapeError: it is no single number.
        """
        penalties = collected()
        for value in leaves(loss):
            if getattr(value, "shape", None) != ():
                raise ShapeError(
                    f"{self.name}: add_loss takes one number, an array of shape (). Received: {shown(value)}"
                )
            if penalties is not None:
                penalties.append(value)

    @property
    def output_shape(self) -> Shapes:
        """The shape of y for the `input_shape`; for several outputs, a list."""
        return self.compute_output_shape(self.input_shape)

    # Building, running.

    def build_once(self, build: Callable[..., None], input_shape: Shapes) -> None:
        """Run a subclass's `build`, unless that is done; a failed one leaves no weights behind."""

        def checked(input_shape: Any) -> Shape:
            return check_lengths(self.name, 0, input_shape=input_shape)

        shape = None if input_shape is None else mapped_shapes(checked, input_shape)
        if self.built:
            if shape is not None and of_any_batch(shape) != of_any_batch(self.input_shape):
                raise ShapeError(
                    f"{self.name}: a layer is built once. Received: build({shape}), after build({self.input_shape})"
                )
            return
        if shape is None:
            raise NotReadyError(
                f"{self.name}: build needs the shape of x. Received: none. "
                f"Give build((None, features)), or start the model with an Input."
            )
        self._check_one_input(shape)
        check_offered(self._policy, self.home.xp, self.name)
        try:
            build(self, shape)
        except BaseException:
            self.unbuild()
            raise
        self.built = True
        self._input_shape = shape
        if getattr(type(self).build, "__wrapped__", None) is build:  # and not one that super().build() reached
            self._build_inside()

    def _check_one_input(self, shape: Shapes) -> None:
        if self.one_input and are_shapes(shape):
            raise ShapeError(
                f"{self.name}: {type(self).__name__} takes one array. Received: several, of shapes {shape}. "
                f"Call it on each of them, or join them with Concatenate."
            )

    def build_in_place(self, input_shape: Shapes) -> None:
        """Build, unless that is done."""
        if not self.built:
            self.build(input_shape)

    def run_forward(self, xp: Backend, x: Arrays, *, training: bool = False, mask: Arrays = None) -> tuple[Arrays, Any]:
        """Call `forward` with the keywords that it takes."""
        dtypes: Any = None
        if self.casts:
            dtypes = mapped(_dtype_of, x)
            x = self._cast(xp, x, self._working_dtype)
        with Phase(training):
            if mask is not None and self.takes_mask:
                result = self.forward(xp, x, mask=mask, **({"training": training} if self.takes_training else {}))
            else:
                result = self.forward(xp, x, training=training) if self.takes_training else self.forward(xp, x)
        if self.activity_regularizer is not None:
            result = self.penalized(xp, *result)
        if not self.casts:
            return result
        y, saved = self._pair("forward", "(y, saved)", result)
        return self._cast(xp, y, self.compute_dtype), (saved, dtypes, mapped(_dtype_of, y))

    def _cast(self, xp: Backend, x: Arrays, dtype: str) -> Arrays:
        """Return x with floats in this dtype."""
        wanted = getattr(xp, dtype)

        def cast(array: Array) -> Array:
            return xp.astype(array, wanted) if array.dtype != wanted and _is_float(xp, array.dtype) else array

        return mapped(cast, x) if self.autocast else x

    def run_masked(
        self, xp: Backend, x: Arrays, mask: Arrays = None, *, training: bool = False
    ) -> tuple[Arrays, Any, Arrays]:
        """Do as `run_forward`, for an x with this mask; return the mask of y too."""
        y, saved = self.run_forward(xp, x, training=training, mask=mask)
        if mask is None and not self.computes_mask:
            return y, saved, None
        if not self.supports_masking:
            if any(part is not None for part in leaves(mask)):
                warnings.warn(
                    f"{self.name}: a layer behind a mask should hand it on. Received: a mask, which "
                    f"{type(self).__name__} does not support: what follows does not see it. Define compute_mask, or "
                    f"set supports_masking = True.",
                    MaskWarning,
                    stacklevel=2,
                )
            return y, saved, None
        return y, saved, self.compute_mask(xp, x, mask)

    def penalized(self, xp: Backend, y: Arrays, saved: Any) -> tuple[Arrays, Any]:
        """Collect the penalty on the output, and keep its derivative beside what `backward` will need."""
        penalties = collected()
        if penalties is None or self.activity_regularizer is None:
            return y, (saved, None)
        found, gradient = activity_penalties(xp, self.activity_regularizer, y)
        penalties += found
        return y, (saved, mapped(functools.partial(penalties.scaled, xp), gradient))

    def run_backward(
        self, xp: Backend, saved: Any, dy: Arrays, *, input_gradient: bool = True
    ) -> tuple[Arrays, dict[str, Array]]:
        """Call `backward` with the keywords that it takes."""
        if self.casts:
            saved, dtypes, of_y = saved
            dx, gradients = self._run_backward(xp, saved, mapped(functools.partial(_as, xp), dy, of_y), input_gradient)
            return (None if dx is None else mapped(functools.partial(_as, xp), dx, dtypes)), gradients
        return self._run_backward(xp, saved, dy, input_gradient)

    def _run_backward(self, xp: Backend, saved: Any, dy: Arrays, input_gradient: bool) -> Any:
        if self.activity_regularizer is not None:
            saved, more = saved
            dy = dy if more is None else plus(dy, more)
        if self.takes_input_gradient:
            result = self.backward(xp, saved, dy, input_gradient=input_gradient)
        else:
            result = self.backward(xp, saved, dy)
        # In the common case no call is made: this runs for each layer of each step.
        return result if type(result) is tuple and len(result) == 2 else self._pair("backward", "(dx, grads)", result)

    def _pair(self, method: str, wanted: str, result: Any) -> Any:
        if not is_a(result, tuple) or len(result) != 2:
            raise ShapeError(
                f"{self.name}: {type(self).__name__}.{method} must return a tuple {wanted}. "
                f"Received: {type(result).__name__}"
            )
        return result

    def __call__(self, x: Any, *, training: bool | None = None, mask: Any = None) -> Arrays:
        """Return y for an array, or lists of numbers, of any backend; the layer is built if it is not yet.

        Without `training`, a layer that is called by another one is told what that one was; any other, False.

        Several inputs are given in a tuple or list, in which at least one is an array. A layer that was built for one
        input takes a list of arrays as rows. A mask goes to a layer that takes one; see `compute_mask`.

        Raises:
            ShapeError: x does not fit the layer.
            MixedBackendsError: x and the weights belong to two backends.
        """
        several = isinstance(x, (list, tuple)) and self._takes_several(x)
        owner = _owner_of_several(x) if several else backend_of(x)
        if not self.built:
            xp = owner or self.xp
            x = self._as_input(xp, x, several=several)
            if self._home is None:
                self.settle(Home(xp, self._policy, fresh_seed(), self.name))
            self.build_in_place(of_any_batch(shape_of(x)))
        self.check_home()
        xp = self.xp if self.variables else owner or self.xp
        recorder = active_recorder()
        if recorder is not None and recorder.root is getattr(xp, "root", xp):
            if isinstance(owner, Recorder) or owner is recorder.root:
                owner = recorder
            xp = recorder
        if owner is not None and owner is not xp:
            raise MixedBackendsError(
                f"{self.name}: x and the weights must belong to one backend. Received: x on {owner}, weights on {xp}. "
                f"Move the layer with layer.to({str(owner)!r}), or x with xp.asarray."
            )
        training = in_training() if training is None else training
        x = self._as_input(xp, x, several=several)
        if not (shapes_fit(shape_of(x), self.input_shape) if several else fits(tuple(x.shape), self.input_shape)):
            self.compute_output_shape(shape_of(x))  # names the layer where x does not fit
        with xp.on_device():
            if mask is not None:
                mask = self._as_mask(xp, x, mask)
            if isinstance(xp, Recorder) and xp.differentiates:
                return self._recorded(xp, x, training=training, mask=mask)
            with inference():  # nobody will ask for a derivative
                return self.run_forward(xp, x, training=training, mask=mask)[0]

    def _takes_several(self, x: Any) -> bool:
        """Tell whether a tuple or list is several inputs, or one that is written as numbers or rows."""
        if self.built:
            return are_shapes(self.input_shape)
        return _holds_arrays(x)

    def _recorded(self, recorder: Recorder, x: Arrays, *, training: bool, mask: Arrays = None) -> Arrays:
        """Run as a part of something that is recorded. A backward of one's own is used there too."""
        if type(self).backward is Layer.backward:
            self.check_differentiable()
            options: dict[str, Any] = {"training": training} if self.takes_training else {}
            if mask is not None and self.takes_mask:
                options["mask"] = mask
            if self.casts:
                x = self._cast(recorder, x, self._working_dtype)
            with Phase(training):
                y = self.call(recorder, x, **options)
            if self.casts:
                y = self._cast(recorder, y, self.compute_dtype)
            if self.activity_regularizer is not None and collected() is not None:
                self.add_loss(activity_penalties(recorder, self.activity_regularizer, y)[0])
            return y
        names = {variable: name for name, variable in self.named_weights().items() if variable.trainable}
        saved: Any = None
        y = None
        shape = shape_of(x)
        mask = mapped(functools.partial(_below, recorder), mask)

        def forward(x: Arrays, *_: Array) -> Any:
            nonlocal y, saved
            with recording(recorder.base if isinstance(recorder.base, Recorder) else None):
                found = self.run_forward(recorder.base, x, training=training, mask=mask)
                y, saved = self._pair("forward", "(y, saved)", found)
            return leaves(y) if is_nest(y) else y

        def backward(xp: Backend, dy: Arrays, *_: Arrays) -> tuple[Arrays, ...]:
            dx, gradients = self.run_backward(xp, saved, filled(y, dy) if is_nest(y) else dy)
            if are_shapes(shape):
                check_dx(self, dx, shape)
            for name in names.values():
                if name not in gradients:
                    raise ShapeError(
                        f"{self.name}: {type(self).__name__}.backward must return a gradient for each weight. "
                        f"Received: none for {name!r}"
                    )
            return dx, *(gradients[name] for name in names.values())

        forward.__name__ = type(self).__name__
        found = recorder.note_function(forward, backward, (x, *(variable.value for variable in names)))
        recorder.forget(variable for variable in self.variables if not variable.trainable)
        return filled(y, found) if is_nest(y) else found

    def _as_input(self, xp: Backend, x: Any, *, several: bool) -> Arrays:
        if several:
            convert = functools.partial(self._as_input, xp)
            items = [convert(item, several=is_a(item, tuple, list) and _holds_arrays(item)) for item in x]
            return getattr(x, "_make", type(x))(items)  # pyright: ignore[reportUnknownArgumentType]
        if isinstance(x, Input):
            raise ArgumentError(
                f"{self.name}: a layer is called on arrays. Received: {x!r}. Put it in front of the layers: "
                f"Sequential([Input(…), Dense(…)]). Branches are written in the call of a subclass of Model."
            )
        x = as_numbers(xp, x, f"{self.name}: x")
        dtype = self._input_dtype()
        return x if dtype is None or x.dtype == getattr(xp, dtype) else xp.astype(x, getattr(xp, dtype))

    def _input_dtype(self) -> str | None:
        """Return the dtype to which x is converted; None if it stays as it is."""
        return self._working_dtype if self.autocast else None

    @property
    def index_count(self) -> int | None:
        """Where x holds indices, which count from 0, how many there are; None where it holds other numbers."""
        return None

    def _as_mask(self, xp: Backend, x: Arrays, mask: Any) -> Any:
        """Return a mask as an array of bool, and for several inputs a list; of numbers, those above 1/2 count."""
        if mask is None:
            return None
        if is_a(x, tuple, list):
            if not is_a(mask, tuple, list) or len(mask) != len(x):
                raise ShapeError(
                    f"{self.name}: mask must be a list, with a mask or None for each array. "
                    f"Received: mask={shown(mask)}, {len(x)} arrays"
                )
            return [self._as_mask(xp, *pair) for pair in zip(x, mask, strict=True)]
        mask = as_numbers(xp, mask, f"{self.name}: mask")
        return mask if mask.dtype == xp.bool else mask > 0.5

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}, built={self.built}>"


def _once(build: Callable[..., None]) -> Callable[..., None]:
    """Wrap a subclass's `build`: it runs once, with a tuple, and a failed one leaves no weights behind."""

    @functools.wraps(build)
    def wrapped(self: Layer, input_shape: Shape | None = None) -> None:
        self.build_once(build, input_shape)

    return wrapped


def _below(recorder: Recorder, mask: Any) -> Any:
    """Return the value of a mask that is recorded here, as the backend below takes it: it has no derivative."""
    return mask.value if isinstance(mask, RecordedArray) and mask.recorder is recorder else mask


def _dtype_of(array: Any) -> Any:
    return array.dtype


def _is_float(xp: Backend, dtype: Any) -> bool:
    return dtype in (xp.float32, xp.float64) or any(dtype == getattr(xp, name) for name in HALF if hasattr(xp, name))


def _as(xp: Backend, gradient: Any, dtype: Any) -> Any:
    """Return the gradient of an array of this dtype; that of integers is left as it is."""
    return (
        gradient
        if gradient is None or not _is_float(xp, dtype) or gradient.dtype == dtype
        else xp.astype(gradient, dtype)
    )


def _holds_arrays(x: Any) -> bool:
    return any(shape_of(leaf) for leaf in leaves(x))  # numbers of NumPy have a shape too: ()


def _owner_of_several(x: Any) -> Backend | None:
    """Return the backend of all arrays; where some are recorded, that recorder, which takes plain ones too."""
    arrays = leaves(x)
    recorded = [leaf for leaf in arrays if isinstance(leaf, RecordedArray)]
    others = backend_of(*(leaf for leaf in arrays if not isinstance(leaf, RecordedArray)))
    if recorded and others in (None, recorder_of(recorded).root):
        return recorder_of(recorded)
    return backend_of(*arrays)


def check_dx(layer: Layer, dx: Arrays, shape: Shapes) -> None:
    """Check that what backward returned as dx has the shape of x. Among several, None stands for that of integers.

    Raises:
        ShapeError: it has another, or is not nested as x is.
    """

    def right(found: Any, wanted: Any) -> bool:
        if not are_shapes(wanted):
            return found is None or found == wanted
        return is_a(found, list) and len(found) == len(wanted) and all(map(right, found, wanted))

    found = shape_of(dx)
    if found is None or not right(found, shape):
        received = type(dx).__name__ if found is None else f"shape {found}"
        raise ShapeError(
            f"{layer.name}: {type(layer).__name__}.backward must return a dx of the shape of x, {shape}. "
            f"Received: {received}"
        )


def _check_signature(cls: type[Layer], method: str) -> None:
    first = {"call": "xp, x", "forward": "xp, x", "backward": "xp, saved, dy"}[method]
    names, _ = parameters(getattr(cls, method))
    wanted = len(first.split(", ")) + 1
    if len([name for name in names if name not in ("training", "mask", "input_gradient")]) < wanted:
        raise ArgumentError(
            f"{cls.__name__}.{method}: a layer's method takes the backend first: {method}(self, {first}). "
            f"Received: {method}({', '.join(names)})"
        )
