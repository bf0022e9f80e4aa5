"""Layers: what a model is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from layerkit.descriptions import serialize
from layerkit.layers.activations import (
    ELU,
    FAMILIES,
    GELU,
    SELU,
    Activation,
    Exponential,
    FunctionActivation,
    HardSigmoid,
    LeakyReLU,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Softsign,
    Tanh,
)
from layerkit.layers.dense import Dense
from layerkit.layers.dropout import Dropout
from layerkit.layers.input import Input, InputLayer
from layerkit.layers.layer import Layer
from layerkit.layers.reshaping import Flatten, Permute, RepeatVector, Reshape
from layerkit.names import Names, loaded_later

if TYPE_CHECKING:
    from layerkit.layers.einsum_dense import EinsumDense
    from layerkit.layers.embedding import Embedding
    from layerkit.layers.hashing import Hashing
    from layerkit.layers.lookup import IntegerLookup, StringLookup
    from layerkit.layers.masking import Masking
    from layerkit.layers.merging import (
        Add,
        Average,
        Concatenate,
        Dot,
        Maximum,
        Minimum,
        Multiply,
        Subtract,
        add,
        average,
        concatenate,
        dot,
        maximum,
        minimum,
        multiply,
        subtract,
    )
    from layerkit.layers.noise import AlphaDropout, GaussianDropout, GaussianNoise
    from layerkit.layers.normalization import (
        BatchNormalization,
        GroupNormalization,
        LayerNormalization,
        RMSNormalization,
        UnitNormalization,
    )
    from layerkit.layers.padding import Cropping1D, Cropping2D, Cropping3D, ZeroPadding1D, ZeroPadding2D, ZeroPadding3D
    from layerkit.layers.piecewise import (
        HardShrink,
        HardSiLU,
        HardTanh,
        ReLU6,
        SoftShrink,
        SparsePlus,
        SparseSigmoid,
        Threshold,
    )
    from layerkit.layers.plain import ActivityRegularization, Identity, Lambda
    from layerkit.layers.prelu import PReLU
    from layerkit.layers.preprocessing import CategoryEncoding, Discretization, Normalization
    from layerkit.layers.rescaling import Rescaling
    from layerkit.layers.smooth import CELU, GLU, LogSigmoid, Mish, Squareplus, TanhShrink
    from layerkit.layers.sparsemax import Sparsemax
    from layerkit.layers.spatial_dropout import SpatialDropout1D, SpatialDropout2D, SpatialDropout3D
    from layerkit.layers.spectral_normalization import SpectralNormalization
    from layerkit.layers.upsampling import UpSampling1D, UpSampling2D, UpSampling3D
    from layerkit.layers.wrapper import Wrapper

# Families that many models do without.
__getattr__, __dir__ = loaded_later(
    __name__,
    {
        **FAMILIES,
        "einsum_dense": ("EinsumDense",),
        "embedding": ("Embedding",),
        "hashing": ("Hashing",),
        "lookup": ("IntegerLookup", "StringLookup"),
        "masking": ("Masking",),
        "merging": (
            *("Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"),
            *("add", "average", "concatenate", "dot", "maximum", "minimum", "multiply", "subtract"),
        ),
        "noise": (
            "AlphaDropout",
            "GaussianDropout",
            "GaussianNoise",
        ),
        "normalization": (
            "BatchNormalization",
            "GroupNormalization",
            "LayerNormalization",
            "RMSNormalization",
            "UnitNormalization",
        ),
        "padding": (
            "Cropping1D",
            "Cropping2D",
            "Cropping3D",
            "ZeroPadding1D",
            "ZeroPadding2D",
            "ZeroPadding3D",
        ),
        "plain": ("ActivityRegularization", "Identity", "Lambda"),
        "prelu": ("PReLU",),
        "preprocessing": ("CategoryEncoding", "Discretization", "Normalization"),
        "rescaling": ("Rescaling",),
        "spectral_normalization": ("SpectralNormalization",),
        "spatial_dropout": (
            "SpatialDropout1D",
            "SpatialDropout2D",
            "SpatialDropout3D",
        ),
        "upsampling": (
            "UpSampling1D",
            "UpSampling2D",
            "UpSampling3D",
        ),
        "wrapper": ("Wrapper",),
    },
)

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "CategoryEncoding",
    "Concatenate",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dense",
    "Discretization",
    "Dot",
    "Dropout",
    "EinsumDense",
    "Embedding",
    "Exponential",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GroupNormalization",
    "HardShrink",
    "HardSiLU",
    "HardSigmoid",
    "HardTanh",
    "Hashing",
    "Identity",
    "Input",
    "InputLayer",
    "IntegerLookup",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Masking",
    "Maximum",
    "Minimum",
    "Mish",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "ReLU",
    "ReLU6",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SiLU",
    "Sigmoid",
    "SoftShrink",
    "Softmax",
    "Softplus",
    "Softsign",
    "SparsePlus",
    "SparseSigmoid",
    "Sparsemax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "SpectralNormalization",
    "Squareplus",
    "StringLookup",
    "Subtract",
    "Tanh",
    "TanhShrink",
    "Threshold",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "Wrapper",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]

NAMES = Names[Layer](
    Layer,
    (),
    accepted="a Layer",
    from_function=FunctionActivation,
    later=[name for name in __all__ if name[0].isupper() and name != "Layer"],
    load=lambda name: globals().get(name) or __getattr__(name),
    room=__name__,
)

deserialize = NAMES.deserialize
