"""Embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from layerkit import constraints, initializers, regularizers
from layerkit.checks import check_count, check_flag, is_a
from layerkit.errors import ShapeError
from layerkit.layers.layer import Layer, Shape
from layerkit.overriding import override

if TYPE_CHECKING:
    from layerkit.layers.identifiers import ConstraintLike, InitializerLike, RegularizerLike
    from layerkit.xp.backend import Array, Backend


class EmbeddingArguments(TypedDict, total=False):
    """What every layer takes, but `input_dim`, which means something else here."""

    name: str | None
    dtype: str | None
    trainable: bool
    input_shape: tuple[int | None, ...] | None
    activity_regularizer: Any


class Embedding(Layer):
    """A vector for each index: ``y = embeddings[x]``; ``dembeddings[i]`` is the sum of dy where x is i.

    Args:
        input_dim: how many indices there are: x holds whole numbers from 0 to ``input_dim - 1``.
        output_dim: length of a vector.
        embeddings_initializer: draws the vectors; default uniform on ±0.05.
        embeddings_regularizer: a penalty on the vectors.
        embeddings_constraint: a projection of the vectors after each update.
        mask_zero: whether the index 0 stands for no entry at all: such steps are masked (see `Layer.compute_mask`).
        weights: the vectors at first, an array of shape (input_dim, output_dim), in place of the initializer; it may
            stand in a list by itself.
        input_length: the length of a row of x, which Keras once asked for: rows of any length are taken.
        kwargs: what every `Layer` takes.

    Shapes:
        x: (batch, ...), of integers. y: (batch, ..., output_dim). embeddings: (input_dim, output_dim).

    Raises:
        ArgumentError: `input_dim` or `output_dim` is below 1, or not an integer.
        ShapeError: `weights` has another shape.
    """

    one_input = True

    autocast = False

    embeddings: Any

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: InitializerLike = "uniform",
        embeddings_regularizer: RegularizerLike = None,
        embeddings_constraint: ConstraintLike = None,
        mask_zero: bool = False,
        *,
        weights: Any = None,
        input_length: int | None = None,
        **kwargs: Unpack[EmbeddingArguments],
    ) -> None:
        super().__init__(**kwargs)
        self.input_dim = check_count("Embedding", 1, input_dim=input_dim)
        self.output_dim = check_count("Embedding", 1, output_dim=output_dim)
        if input_length is not None:
            check_count("Embedding", 1, input_length=input_length)
        if is_a(weights, list, tuple) and len(weights) == 1 and hasattr(weights[0], "shape"):
            weights = weights[0]
        if getattr(weights, "shape", (input_dim, output_dim)) != (input_dim, output_dim):
            raise ShapeError(
                f"Embedding: weights must have the shape (input_dim, output_dim), {(input_dim, output_dim)}. "
                f"Received: shape {tuple(weights.shape)}"
            )
        self.embeddings_initializer = (
            initializers.get(embeddings_initializer) if weights is None else initializers.Constant(weights)
        )
        self.embeddings_regularizer = regularizers.get(embeddings_regularizer)
        self.embeddings_constraint = constraints.get(embeddings_constraint)
        self.mask_zero = self.supports_masking = check_flag("Embedding", mask_zero=mask_zero)

    @property
    @override
    def index_count(self) -> int:
        return self.input_dim

    @override
    def build(self, input_shape: Shape) -> None:
        self.embeddings = self.add_weight(
            "embeddings",
            (self.input_dim, self.output_dim),
            self.embeddings_initializer,
            regularizer=self.embeddings_regularizer,
            constraint=self.embeddings_constraint,
        )

    @override
    def forward(self, xp: Backend, x: Array) -> tuple[Array, Any]:
        indices = x if xp.isdtype(x.dtype, "integral") else xp.astype(x, xp.int32)
        rows = xp.take(self.embeddings, xp.reshape(indices, (-1,)), axis=0)
        return xp.reshape(rows, (*x.shape, self.output_dim)), indices

    @override
    def backward(self, xp: Backend, saved: Any, dy: Array) -> tuple[Array | None, dict[str, Array]]:
        first = xp.reshape(saved, (-1, 1)) * self.output_dim  # where the vector of each index begins
        positions = xp.reshape(first + xp.arange(self.output_dim, dtype=saved.dtype), (-1,))
        sums = xp.scatter_add(positions, xp.reshape(dy, (-1,)), self.input_dim * self.output_dim)
        return None, {"embeddings": xp.reshape(sums, (self.input_dim, self.output_dim))}

    @override
    def compute_mask(self, xp: Backend, x: Array, mask: Array | None) -> Array | None:
        return x != 0 if self.mask_zero else None

    @override
    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape, self.output_dim)
