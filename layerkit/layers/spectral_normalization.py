"""Spectral normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from layerkit import initializers
from layerkit.checks import check_count
from layerkit.errors import ArgumentError
from layerkit.layers.layer import Layer
from layerkit.layers.wrapper import Wrapper
from layerkit.overriding import override
from layerkit.xp.state import standing_in

if TYPE_CHECKING:
    from layerkit.layers.layer import LayerArguments, Shapes
    from layerkit.xp.backend import Array, Backend
    from layerkit.xp.state import Variable

# Keras's: vectors that are shorter are divided by this.
SHORT = 1e-7


class SpectralNormalization(Wrapper):
    """A layer with ``W / σ`` in the place of its kernel W, where σ is the largest singular value of W, as a matrix.

    So the layer's function has a Lipschitz constant of at most 1 (Miyato, Kataoka, Koyama and Yoshida, ICLR 2018). σ is
    found by power iteration, ``v = u Wᵀ / |u Wᵀ|``, ``u = v W / |v W|``, ``σ = v W uᵀ``, from the u of the last step:
    `vector_u` is state, which training changes. With dW̄ the gradient of ``W̄ = W / σ``, and u and v taken as
    constants: ``dW = (dW̄ - Σ(dW̄ W̄) vᵀu) / σ``.

    W stays as it is, and is divided in training and inference alike, as in the paper.

    Args:
        layer: one with a `kernel`, or `embeddings`.
        power_iterations: how many there are in each pass.
        kwargs: what every `Layer` takes.

    Shapes:
        As the layer's. vector_u: (1, the last length of W).

    Raises:
        ArgumentError: the layer has neither, or `power_iterations` is below 1.
    """

    vector_u: Any

    call = Layer.call  # and not the wrapper's

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Unpack[LayerArguments]) -> None:
        super().__init__(layer, **kwargs)
        self.power_iterations = check_count("SpectralNormalization", 1, power_iterations=power_iterations)

    @override
    def build(self, input_shape: Shapes) -> None:
        self.layer.build_in_place(input_shape)
        shape = self._variable()[1].shape
        first = initializers.TruncatedNormal(stddev=0.02)
        self.vector_u = self.add_weight("vector_u", (1, shape[-1]), first, trainable=False)

    def _variable(self) -> tuple[str, Variable]:
        """Return the variable that is divided, and its name."""
        named = self.layer.named_weights()
        for name in ("kernel", "embeddings"):
            if name in named:
                return name, named[name]
        raise ArgumentError(
            f"{self.name}: the layer inside must have a kernel, or embeddings. Received: {self.layer!r}, with "
            f"{', '.join(map(repr, named)) or 'no weights'}"
        )

    @override
    def forward(self, xp: Backend, x: Any, *, training: bool = False) -> tuple[Any, Any]:
        _, variable = self._variable()
        weight = variable.value
        matrix = xp.reshape(weight, (-1, weight.shape[-1]))
        nothing = xp.all(matrix == 0.0)  # a kernel of zeros has no direction
        u = self.vector_u
        v = u
        for _ in range(self.power_iterations):
            v = _unit(xp, xp.matmul(u, xp.matrix_transpose(matrix)))
            u = _unit(xp, xp.matmul(v, matrix))
        sigma = xp.sum(xp.matmul(v, matrix) * u)
        sigma = xp.where(nothing, xp.ones_like(sigma), sigma)
        if training:
            xp.assign(self.vector_u, xp.where(nothing, self.vector_u, u))
        divided = weight / sigma
        with standing_in(variable, divided):
            y, saved = self.layer.run_forward(xp, x, training=training)
        return y, (saved, divided, sigma, u, v)

    @override
    def backward(
        self, xp: Backend, saved: Any, dy: Any, *, input_gradient: bool = True
    ) -> tuple[Any, dict[str, Array]]:
        kept, divided, sigma, u, v = saved
        name, variable = self._variable()
        with standing_in(variable, divided):
            dx, found = self.layer.run_backward(xp, kept, dy, input_gradient=input_gradient)
        gradients = {f"layer/{key}": gradient for key, gradient in found.items()}
        if name in found:
            inner = xp.sum(found[name] * divided)
            along = xp.reshape(xp.matmul(xp.matrix_transpose(v), u), divided.shape)
            gradients[f"layer/{name}"] = (found[name] - inner * along) / sigma
        return dx, gradients


def _unit(xp: Backend, vector: Array) -> Array:
    return vector / xp.maximum(xp.sqrt(xp.sum(vector * vector)), SHORT)
