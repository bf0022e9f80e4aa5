"""A model that is a list of layers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Unpack

from layerkit.changes import note_move
from layerkit.checks import fits, is_a
from layerkit.errors import ArgumentError, MixedBackendsError, NotReadyError, ShapeError
from layerkit.layers.input import Input
from layerkit.layers.layer import Arrays, Layer, LayerArguments, Shapes, check_dx
from layerkit.layers.phase import Phase
from layerkit.models.model import Model
from layerkit.names import call_it
from layerkit.nested import leaves, mapped_shapes, shape_of
from layerkit.overriding import override
from layerkit.program import inference
from layerkit.training.trouble import say_where

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layerkit.xp import Array, Backend


class Sequential(Model):
    """A list of layers, each of which takes what the one before it gives.

    ::

        model = Sequential([Dense(8), Sigmoid(), Dense(1), Sigmoid()], seed=0)

    With an `Input` in front, or a model that is built, the weights are made at once; without one, from the first batch.

    Args:
        layers: the layers; more may be added.
        seed: see `Model`.
        backend: see `Model`.
        kwargs: what every `Layer` takes.

    Raises:
        ArgumentError: an item is no layer, or two layers have one name.
    """

    casts_inside = True

    _untracked = frozenset({"_stack"})

    def __init__(
        self,
        layers: Iterable[Layer | Input] | Layer | Input | None = None,
        *,
        seed: int | None = None,
        backend: str | Backend | None = None,
        **kwargs: Unpack[LayerArguments],
    ) -> None:
        super().__init__(seed=seed, backend=backend, **kwargs)
        self._stack: list[tuple[str, Layer]] = []  # with the prefix of its weights' names
        self._input: Input | None = None
        if self.declared_input_shape is not None:
            self.add(Input(self.declared_input_shape))
        listed = [layers] if isinstance(layers, (Layer, Input)) else layers if layers is not None else []
        if isinstance(listed, str) or not hasattr(listed, "__iter__"):
            raise ArgumentError(f"{self.name}: layers must be a list of layers. Received: layers={layers!r}")
        for layer in listed:
            self.add(layer, rebuild=False)
        self._rebuild()

    @property
    @override
    def layers(self) -> list[Layer]:
        """The layers, in order; a layer that stands twice is listed twice."""
        return [layer for _, layer in self._stack]

    @override
    def _input_dtype(self) -> str | None:
        return self._stack[0][1]._input_dtype() if self._stack else super()._input_dtype()

    @property
    @override
    def index_count(self) -> int | None:
        return self._stack[0][1].index_count if self._stack else None

    @override
    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the layers as they stand now."""
        first = [self._input] if self._input is not None and self.declared_input_shape is None else []
        return {**super().get_config(), "layers": [*first, *self.layers]}

    def add(self, layer: Layer | Input, *, rebuild: bool = True) -> None:
        """Append a layer. If the model is built, so is the layer.

        Raises:
            ArgumentError: it is no layer, has the name of another, or is an `Input` behind the first place.
        """
        if isinstance(layer, Input):
            if self._stack or self._input is not None:
                before = repr(self._stack[-1][1] if self._stack else self._input)
                raise ArgumentError(
                    f"{self.name}: Input must be the first, and the only one. Received: {layer!r} after {before}"
                )
            self._input = layer
            return
        if not isinstance(layer, Layer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ArgumentError(f"{self.name}: each item must be a layer. Received: {layer!r}.{call_it(layer)}")
        if layer is self:
            raise ArgumentError(f"{self.name}: a model cannot be one of its own layers. Received: itself")
        before = self.built, self._input
        if not self._stack and self._input is None and layer.declared_input_shape is not None:
            self._input = Input(layer.declared_input_shape)
        self._take_in(layer)
        self._stack.append((f"{layer.name}/", layer))
        note_move()
        if rebuild:
            try:
                self._rebuild()
            except BaseException:
                self.pop()
                self.built, self._input = before
                raise

    def _take_in(self, layer: Layer) -> None:
        settled = (variable for inner in layer.walk() if inner.built for variable in inner.variables)
        elsewhere = next((variable for variable in settled if variable.xp is not self.xp), None)
        if elsewhere is not None:
            raise MixedBackendsError(
                f"{self.name}: a model and its layers must live on one backend. Received: {layer.name} on "
                f"{elsewhere.xp}, in a model on {self.xp}. Move it with {layer.name}.to({str(self.xp)!r})."
            )
        others = self._children
        if others.get(layer.name, layer) is not layer:
            if layer._name is not None:
                raise ArgumentError(
                    f"{self.name}: each layer must have a name of its own. Received: {layer.name!r} twice. "
                    f"Give one of them another name=."
                )
            number = 1
            while f"{layer.name}_{number}" in others:
                number += 1
            layer._name = f"{layer.name}_{number}"
        elif layer._name is None:
            layer._name = layer.name
        layer.settle(self.home.inside(layer.name, self._policy))
        self._children[layer.name] = layer

    def pop(self, rebuild: bool = True) -> Layer | None:
        """Remove the last layer, and return it; None if there is none."""
        if not self._stack:
            return None
        _, layer = self._stack.pop()
        note_move()
        if all(other is not layer for _, other in self._stack):
            del self._children[layer.name]
        if not self._stack:
            self.built = False
        return layer

    def _rebuild(self) -> None:
        shape = self._input_shape or (self._input.shape if self._input is not None else None)
        if shape is None and self._stack and isinstance(self._stack[0][1], Model) and self._stack[0][1].built:
            shape = self._stack[0][1].input_shape  # a model that begins with one that has its weights has them too
        if shape is not None and self._stack:
            self.built = False
            self.build(shape)

    @override
    def build(self, input_shape: Shapes = None) -> None:
        """Make the weights of all layers, for x of this shape, with None for the batch."""
        shape = self._checked(input_shape)
        for layer in self.layers:
            if layer.declared_input_shape is not None and not fits(shape[1:], layer.declared_input_shape):
                raise ShapeError(
                    f"{layer.name}: x must have the rows that input_shape says, {layer.declared_input_shape}. "
                    f"Received: rows of shape {shape[1:]}"
                )
            if layer.dtype != self.dtype and "float64" in (layer.dtype, self.dtype):
                raise ArgumentError(
                    f"{layer.name}: a layer must have the dtype of its model, {self.dtype}. "
                    f"Received: dtype={layer.dtype!r}. Give the model that dtype instead."
                )
            try:
                layer.build_in_place(shape)
                shape = layer.compute_output_shape(shape)
            except Exception as error:
                say_where(error, layer, "building", x=shape)
                raise
        self.pack()

    @override
    def _takes_several(self, x: Any) -> bool:
        # Until it is built, arrays of one axis are taken for rows.
        return super()._takes_several(x) and (self.built or any(len(shape_of(leaf) or ()) > 1 for leaf in leaves(x)))

    def _checked(self, input_shape: Shapes) -> Shapes:
        if not self._stack:
            raise NotReadyError(
                f"{self.name}: a model needs at least one layer. Received: none. Add layers with add(layer)."
            )
        return mapped_shapes(tuple, input_shape or ())

    @override
    def compute_output_shape(self, input_shape: Shapes) -> Shapes:
        shape = self._checked(input_shape)
        for layer in self.layers:
            try:
                shape = mapped_shapes(tuple, layer.compute_output_shape(shape))
            except Exception as error:
                say_where(error, layer, "computing the output shape of", x=shape)
                raise
        if self._input is not None and not fits(input_shape[1:], self._input.shape[1:]):
            raise ShapeError(
                f"{self.name}: x must have the shape that Input says, {self._input.shape}. "
                f"Received: shape {tuple(input_shape)}"
            )
        return shape

    @override
    def forward(self, xp: Backend, x: Arrays, *, training: bool = False, mask: Arrays = None) -> tuple[Arrays, Any]:
        y, tape, _ = self._pass(xp, x, mask, training=training)
        return y, tape

    @override
    def compute_mask(self, xp: Backend, x: Arrays, mask: Arrays) -> Arrays:
        with inference():
            return self._pass(xp, x, mask, training=False)[2]

    @override
    def run_masked(
        self, xp: Backend, x: Arrays, mask: Arrays = None, *, training: bool = False
    ) -> tuple[Arrays, Any, Arrays]:
        if type(self).forward is not Sequential.forward:  # a user's own
            return super().run_masked(xp, x, mask, training=training)
        y, saved, mask = self._pass(xp, x, mask, training=training)
        if self.activity_regularizer is not None:
            y, saved = self.penalized(xp, y, saved)
        return y, saved, mask

    def _pass(self, xp: Backend, x: Arrays, mask: Arrays, *, training: bool) -> tuple[Arrays, Any, Arrays]:
        """Return y, what `backward` will need, and the mask of y."""
        tape: list[Any] = []
        layer: Layer = self
        try:
            with Phase(training):
                for _, layer in self._stack:
                    shape = getattr(x, "shape", None) or shape_of(x)  # between two layers there may be several arrays
                    if mask is not None or layer.computes_mask:
                        x, saved, mask = layer.run_masked(xp, x, mask, training=training)
                    elif layer.activity_regularizer is not None or layer.casts:
                        x, saved = layer.run_forward(xp, x, training=training)
                    elif layer.takes_training:
                        x, saved = layer.forward(xp, x, training=training)
                    else:
                        x, saved = layer.forward(xp, x)
                    tape.append((saved, shape))
        except Exception as error:
            say_where(error, layer, "the forward pass of", x=x)
            raise
        return x, tape, mask

    @override
    def backward(
        self, xp: Backend, saved: Any, dy: Arrays, *, input_gradient: bool = True
    ) -> tuple[Arrays, dict[str, Array]]:
        gradients: dict[str, Array] = {}
        dx: Arrays = dy
        stack = self._stack
        layer: Layer = self
        try:
            for place in range(len(stack) - 1, -1, -1):
                (prefix, layer), (kept, shape) = stack[place], saved[place]
                wanted = input_gradient or place > 0
                dx, found = layer.run_backward(xp, kept, dy, input_gradient=wanted)
                # A wrong shape would be broadcast by the layer in front. A first layer that reads indices has no dx.
                if wanted and getattr(dx, "shape", None) != shape and (place > 0 or dx is not None):
                    check_dx(layer, dx, shape)
                if not is_a(found, dict):
                    _refuse_gradients(layer, found)
                for name, gradient in found.items():
                    key = prefix + name
                    # A layer that stands in several places receives the sum.
                    gradients[key] = gradients[key] + gradient if key in gradients else gradient
                dy = dx
        except Exception as error:
            say_where(error, layer, "the backward pass of", dy=dy)
            raise
        return dx, gradients


def _refuse_gradients(layer: Layer, found: Any) -> NoReturn:
    raise ShapeError(
        f"{layer.name}: {type(layer).__name__}.backward must return gradients as a dictionary, by the names of "
        f"weights. Received: {type(found).__name__}. Return (dx, {{}}) where there are no weights."
    )
