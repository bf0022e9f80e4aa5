"""Layers for the tests of all layers: what makes each, and the shapes of one row that it takes."""

from __future__ import annotations

from layerkit.layers import (
    CELU,
    GLU,
    ActivityRegularization,
    Add,
    AlphaDropout,
    Average,
    BatchNormalization,
    CategoryEncoding,
    Concatenate,
    Cropping1D,
    Cropping2D,
    Cropping3D,
    Dense,
    Discretization,
    Dot,
    EinsumDense,
    Embedding,
    GaussianDropout,
    GaussianNoise,
    GroupNormalization,
    HardShrink,
    HardSiLU,
    HardTanh,
    Identity,
    Lambda,
    LayerNormalization,
    LogSigmoid,
    Masking,
    Maximum,
    Minimum,
    Mish,
    Multiply,
    Normalization,
    Permute,
    PReLU,
    ReLU6,
    RepeatVector,
    Rescaling,
    RMSNormalization,
    SoftShrink,
    Sparsemax,
    SparsePlus,
    SparseSigmoid,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
    SpectralNormalization,
    Squareplus,
    Subtract,
    TanhShrink,
    Threshold,
    UnitNormalization,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    Wrapper,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)


def _doubled(x):
    return 2.0 * x


def _powers(xp, x, power):
    return xp.abs(x) ** power


def _first(x):
    return x[:, 0]


def _shape_of_first(shape):
    return shape[:1]


VECTORS = [(3,), (2, 3), (2, 1, 3)]

NORMALIZATION = {
    "batch normalization": (BatchNormalization, VECTORS),
    "batch normalization of axis 1": (lambda: BatchNormalization(axis=1), VECTORS),
    "batch normalization without center": (lambda: BatchNormalization(center=False), VECTORS),
    "batch normalization without scale": (lambda: BatchNormalization(scale=False, momentum=0.5), VECTORS),
    "batch normalization alone": (lambda: BatchNormalization(center=False, scale=False, epsilon=0.1), VECTORS),
    "frozen batch normalization": (lambda: BatchNormalization(trainable=False), VECTORS),
    "layer normalization": (LayerNormalization, VECTORS),
    "layer normalization of axis 1": (lambda: LayerNormalization(axis=1), VECTORS),
    "layer normalization of two axes": (lambda: LayerNormalization(axis=(-1, 1)), [(2, 3), (2, 1, 3)]),
    "layer normalization without center": (lambda: LayerNormalization(center=False), VECTORS),
    "layer normalization without scale": (lambda: LayerNormalization(scale=False, epsilon=0.1), VECTORS),
    "group normalization": (lambda: GroupNormalization(2), [(4,), (3, 4), (2, 3, 6)]),
    "group normalization of axis 1": (lambda: GroupNormalization(2, axis=1), [(4,), (4, 3), (6, 2, 3)]),
    "group normalization of one group": (lambda: GroupNormalization(1, center=False), VECTORS),
    "group normalization of each feature": (lambda: GroupNormalization(-1, scale=False), [(2, 3), (2, 1, 3)]),
    "rms normalization": (RMSNormalization, VECTORS),
    "rms normalization of axis 1": (lambda: RMSNormalization(axis=1), VECTORS),
    "rms normalization of two axes": (lambda: RMSNormalization(axis=[1, 2]), [(2, 3), (2, 1, 3)]),
    "unit normalization": (UnitNormalization, VECTORS),
    "unit normalization of two axes": (lambda: UnitNormalization(axis=(1, -1)), [(2, 3), (2, 1, 3)]),
}

# Layers of several inputs: what makes each, and the shapes of rows.
MERGING = {
    "add": (Add, [[(3,), (3,)], [(2, 3), (1, 3), (3,)]]),
    "subtract": (Subtract, [[(3,), (3,)], [(3,), (2, 1)]]),
    "multiply": (Multiply, [[(3,), (3,), (3,)], [(2, 3), (2, 1)]]),
    "average": (Average, [[(3,), (3,), (3,)]]),
    "maximum": (Maximum, [[(3,), (3,), (3,)], [(2, 3), (1, 3)]]),
    "minimum": (Minimum, [[(3,), (3,)]]),
    "concatenate": (Concatenate, [[(3,), (2,)], [(2, 3), (2, 1), (2, 3)]]),
    "concatenate along axis 1": (lambda: Concatenate(axis=1), [[(2, 3), (1, 3)]]),
    "dot": (lambda: Dot(1), [[(3,), (3,)]]),
    "dot of matrices": (lambda: Dot((2, 1)), [[(2, 3), (3, 4)]]),
    "cosines": (lambda: Dot(-1, normalize=True), [[(3,), (3,)], [(2, 3), (4, 3)]]),
}

# Layers that read integers from 0 to 4.
INDEXED = {
    "embedding": (lambda: Embedding(5, 3), (2,)),
    "embedding of rows": (lambda: Embedding(6, 1, "ones"), (2, 3)),
    "category encoding": (lambda: CategoryEncoding(5), (3,)),
    "category encoding, one hot": (lambda: CategoryEncoding(5, "one_hot"), (3,)),
    "category encoding, one hot of one": (lambda: CategoryEncoding(5, "one_hot"), (2, 1)),
    "category encoding, count": (lambda: CategoryEncoding(6, "count"), (2, 4)),
    "embedding with weights": (lambda: Embedding(5, 2, weights=[[1.0, 2.0]] * 5), ()),
}

ANY = [(), (3,), (2, 3), (2, 1, 3)]

ACTIVATIONS = {
    "celu": (lambda: CELU(alpha=0.5), ANY),
    "glu": (GLU, [(4,), (3, 2), (2, 1, 6)]),
    "glu of axis 1": (lambda: GLU(axis=1), [(4,), (2, 3)]),
    "hard shrink": (HardShrink, ANY),
    "hard silu": (HardSiLU, ANY),
    "hard tanh": (HardTanh, ANY),
    "log sigmoid": (LogSigmoid, ANY),
    "mish": (Mish, ANY),
    "relu6": (ReLU6, ANY),
    "soft shrink": (lambda: SoftShrink(threshold=0.25), ANY),
    "sparse plus": (SparsePlus, ANY),
    "sparse sigmoid": (SparseSigmoid, ANY),
    "sparsemax": (Sparsemax, VECTORS),
    "sparsemax of axis 1": (lambda: Sparsemax(axis=1), VECTORS),
    "squareplus": (Squareplus, ANY),
    "tanh shrink": (TanhShrink, ANY),
    "threshold": (lambda: Threshold(0.25, -1.0), ANY),
    "dense with a gate": (lambda: Dense(4, activation="glu"), VECTORS),
}

WEIGHTED = {
    "prelu": (PReLU, VECTORS),
    "prelu of one slope": (lambda: PReLU("ones", shared_axes=1), [(3,), (2, 3)]),
    "prelu with shared axes": (lambda: PReLU(shared_axes=(1, 2)), [(2, 3), (2, 1, 3)]),
}

DENSE = {
    "einsum dense": (lambda: EinsumDense("ab,bc->ac", 4, "tanh", "c"), [(3,)]),
    "einsum dense of any rank": (lambda: EinsumDense("...x,xy->...y", 2, bias_axes="y"), VECTORS),
    "einsum dense of places": (lambda: EinsumDense("abc,bd->adc", (4, None), bias_axes="d"), [(2, 3)]),
    "einsum dense of heads": (lambda: EinsumDense("abc,cde->abde", (None, 2, 3)), [(2, 4)]),
    "einsum dense with dots behind": (lambda: EinsumDense("ab...,bc->ac...", 2, bias_axes="c"), VECTORS),
}

NOISE = {
    "gaussian noise": (lambda: GaussianNoise(0.5), ANY),
    "gaussian noise of nothing": (lambda: GaussianNoise(0, seed=3), VECTORS),
    "gaussian dropout": (lambda: GaussianDropout(0.3), ANY),
    "alpha dropout": (lambda: AlphaDropout(0.3), ANY),
    "alpha dropout of whole rows": (lambda: AlphaDropout(0.5, noise_shape=(None, 1), seed=1), [(3,)]),
    "spatial dropout 1d": (lambda: SpatialDropout1D(0.4), [(4, 3)]),
    "spatial dropout 2d": (lambda: SpatialDropout2D(0.4), [(2, 3, 3)]),
    "spatial dropout 2d, features first": (lambda: SpatialDropout2D(0.4, "channels_first"), [(2, 3, 3)]),
    "spatial dropout 3d": (lambda: SpatialDropout3D(0.4), [(2, 1, 3, 3)]),
}

SHAPES = {
    "permute": (lambda: Permute((2, 1)), [(2, 3)]),
    "permute in a circle": (lambda: Permute((3, 1, 2)), [(2, 1, 3)]),
    "permute nothing": (lambda: Permute((1,)), [(2,)]),
    "repeat vector": (lambda: RepeatVector(3), [(2,)]),
    "identity": (Identity, ANY),
    "masking": (Masking, VECTORS),
    "activity regularization": (lambda: ActivityRegularization(0.1, 0.2), ANY),
    "dense with penalties": (
        lambda: Dense(4, "tanh", kernel_regularizer="l1", bias_constraint="non_neg", activity_regularizer="l2"),
        VECTORS,
    ),
    "lambda": (lambda: Lambda(_doubled), ANY),
    "lambda with words": (lambda: Lambda(_powers, arguments={"power": 3.0}), VECTORS),
    "lambda of a shape": (lambda: Lambda(_first, output_shape=()), VECTORS[:1]),
    "lambda of a shape by function": (lambda: Lambda(_first, output_shape=_shape_of_first), VECTORS[:1]),
    "normalization of data": (lambda: Normalization(mean=[0.5, 0.0, -1.0], variance=[4.0, 0.25, 1.0]), VECTORS),
    "normalization of all": (lambda: Normalization(None, mean=0.5, variance=4.0), ANY),
    "normalization inverted": (lambda: Normalization(1, mean=0.5, variance=4.0, invert=True), VECTORS),
    "discretization": (lambda: Discretization([-0.5, 0.0, 1.0]), ANY),
    "discretization, one hot": (lambda: Discretization([-0.5, 0.0, 1.0], output_mode="one_hot"), [(), (1,), (2, 3)]),
    "discretization, multi hot": (lambda: Discretization([-0.5, 0.0], output_mode="multi_hot"), VECTORS),
    "spectral_normalization": (lambda: SpectralNormalization(Dense(4), power_iterations=400), VECTORS),
    "wrapper": (lambda: Wrapper(Dense(4, kernel_regularizer="l2")), VECTORS),
    "rescaling": (lambda: Rescaling(1 / 255), ANY),
    "rescaling of features": (lambda: Rescaling([0.5, 2.0, 4.0], offset=[0.0, 1.0, -1.0]), VECTORS),
    "zero padding 1d": (lambda: ZeroPadding1D((0, 2)), [(3, 2)]),
    "zero padding 2d": (ZeroPadding2D, [(2, 1, 2)]),
    "zero padding 2d, features first": (lambda: ZeroPadding2D(((1, 0), (0, 2)), "channels_first"), [(1, 2, 3)]),
    "zero padding 3d": (lambda: ZeroPadding3D((1, 0, 2)), [(1, 2, 1, 2)]),
    "cropping 1d": (Cropping1D, [(4, 2)]),
    "cropping 2d": (lambda: Cropping2D(((1, 0), (0, 2))), [(2, 4, 1)]),
    "cropping 2d of nothing": (Cropping2D, [(2, 4, 1)]),
    "cropping 3d": (lambda: Cropping3D((0, 1, 1), "channels_first"), [(2, 1, 3, 4)]),
    "upsampling 1d": (UpSampling1D, [(3, 2)]),
    "upsampling 2d": (lambda: UpSampling2D((1, 3)), [(2, 3, 2)]),
    "upsampling 2d, bilinear": (lambda: UpSampling2D(interpolation="bilinear"), [(2, 3, 2)]),
    "upsampling 2d, bicubic": (lambda: UpSampling2D(3, "channels_first", "bicubic"), [(2, 3, 4)]),
    "upsampling 2d, lanczos": (lambda: UpSampling2D((1, 2), interpolation="lanczos3"), [(2, 5, 1)]),
    "upsampling 3d": (lambda: UpSampling3D((1, 2, 3), "channels_first"), [(2, 1, 2, 2)]),
}

TABLE = {**WEIGHTED, **DENSE, **NOISE, **SHAPES, **ACTIVATIONS, **NORMALIZATION}
