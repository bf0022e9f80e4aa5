"""Write dictionaries.json: how Keras describes layers, initializers, regularizers, constraints and models.

Run ``python tests/tables/make_dictionaries.py`` where ``pip install keras jax`` has been done. Each case has the Python
expression that made it, and what the `serialize` of its room returned.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import json
from pathlib import Path

import keras
from keras import layers

LAYERS = [
    "Dense(3)",
    "Dense(3, 'relu', kernel_regularizer='l2', kernel_constraint='max_norm', bias_initializer='ones')",
    "Dense(3, activation=layers.LeakyReLU(0.2), dtype='mixed_float16')",
    "EinsumDense('ab,bc->ac', 4, bias_axes='c')",
    "Embedding(5, 3, mask_zero=True)",
    "Activation('gelu')",
    *("ReLU(6.0)", "LeakyReLU(0.1)", "ELU(0.3)", "PReLU(shared_axes=[1])", "Softmax(1)"),
    *("Flatten()", "Reshape((2, 3))", "Permute((2, 1))", "RepeatVector(3)", "Masking(1.0)", "Identity()"),
    *("Cropping1D(1)", "Cropping2D(1)", "Cropping3D(1)", "ZeroPadding1D(1)", "ZeroPadding2D(1)", "ZeroPadding3D(1)"),
    *("UpSampling1D(2)", "UpSampling2D(2)", "UpSampling3D(2)"),
    *("Dropout(0.5, seed=1)", "SpatialDropout1D(0.5)", "SpatialDropout2D(0.5)", "SpatialDropout3D(0.5)"),
    *("GaussianNoise(0.5)", "GaussianDropout(0.4)", "AlphaDropout(0.3)", "ActivityRegularization(0.1, 0.2)"),
    *("BatchNormalization(1, 0.9)", "LayerNormalization([1, 2])", "RMSNormalization((1, 2))", "GroupNormalization(2)"),
    *("UnitNormalization((1, 2))", "Normalization((1,), mean=1.0, variance=2.0)", "Rescaling([1.0, 2.0])"),
    "SpectralNormalization(layers.Dense(2, use_bias=False))",
    *("Add()", "Subtract()", "Multiply()", "Average()", "Maximum()", "Minimum()", "Concatenate()", "Dot((1, 1))"),
    *("CategoryEncoding(4, 'one_hot')", "Discretization([1.0, 2.0])"),
    "InputLayer(batch_shape=(2, 4), dtype='int32', name='rows')",
]
CASES = {
    "layers": LAYERS,
    "initializers": [
        *("Zeros()", "Ones()", "Constant(2.0)", "RandomNormal(0.0, 1.0, 3)", "RandomUniform()", "TruncatedNormal()"),
        *("VarianceScaling(2.0, 'fan_out', 'uniform', 3)", "GlorotNormal()", "GlorotUniform(4)", "HeNormal()"),
        *("HeUniform()", "LecunNormal()", "LecunUniform()", "Orthogonal(2.0)", "STFT()"),
    ],
    "regularizers": ["L1(0.5)", "L2(0.5)", "L1L2(0.5, 0.25)", "OrthogonalRegularizer(0.5, 'columns')"],
    "constraints": ["MaxNorm(3.0, 1)", "NonNeg()", "UnitNorm(1)", "MinMaxNorm(0.1, 1.0, 0.5, 1)"],
}


def models():
    """Models by name: with an Input, built without one, and one inside another."""
    built = keras.Sequential([layers.Dense(3, "relu", name="a"), layers.Dense(2, name="b")], name="built")
    built.build((None, 4))
    inner = keras.Sequential([layers.Dense(3, name="c")], name="inner")
    return [
        keras.Sequential(
            [keras.Input((4,)), layers.BatchNormalization(name="n"), layers.Dense(2, name="d")], name="given"
        ),
        built,
        keras.Sequential([keras.Input((4,)), inner, layers.Dense(2, name="e")], name="outer"),
    ]


def main():
    lines = [f'"made_with": {json.dumps({"keras": keras.__version__})}']
    for room, expressions in CASES.items():
        module = getattr(keras, room)
        made = [(text, eval(text, {"layers": layers, **vars(module)})) for text in expressions]
        cases = ",\n".join(json.dumps([text, module.serialize(thing)], default=float) for text, thing in made)
        lines.append(f'"{room}": [\n{cases}\n]')
    cases = ",\n".join(json.dumps([each.name, keras.saving.serialize_keras_object(each)]) for each in models())
    lines.append(f'"models": [\n{cases}\n]')
    Path(__file__).with_name("dictionaries.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print({room: len(expressions) for room, expressions in CASES.items()})


if __name__ == "__main__":
    main()
