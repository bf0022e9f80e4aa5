"""Compute preprocessing.json: hashes, bin boundaries, and spectral normalization.

Run ``python tests/tables/make_preprocessing_table.py`` where ``pip install keras jax torch pyfarmhash`` has been done.
Keras's layers of text need TensorFlow. Their hashes are FarmHash's, which the package `pyfarmhash` (the authors' own
C++) computes here; of `Discretization`, those methods are called that need NumPy alone. As in
make_tables.py, whose tools are used, nothing here imports the framework under test.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"
os.environ["JAX_PLATFORMS"] = "cpu"

import farmhash
import jax
import keras
import numpy as np
from make_tables import grid, in_both_dtypes, plain, write


def hashes():
    """Fingerprint64 of texts of all lengths up to beyond 128, where its last branch repeats itself."""
    rng = np.random.default_rng(0)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz 0123456789"))
    texts = ["".join(rng.choice(letters, length)) for length in (*range(70), 95, 96, 97, 127, 128, 129, 191, 192, 300)]
    texts += ["Ü", "日本語", "a\tb"]
    return [[text, str(farmhash.fingerprint64(text))] for text in texts]


def boundaries():
    """What `Discretization.adapt` finds, for one batch or several."""
    rng = np.random.default_rng(1)
    cases = []
    for batches, bins, epsilon in (
        ([grid(rng, (10,))], 4, 0.01),
        ([grid(rng, (500, 3))], 5, 0.01),
        ([grid(rng, (200,)), grid(rng, (50, 2)) + 1], 3, 0.05),
        ([np.repeat([1.0, 2.0, 3.0], [50, 3, 5])], 4, 0.01),
        ([grid(rng, (300,))], 1, 0.1),
        ([np.arange(7)], 10, 0.01),
    ):
        layer = keras.layers.Discretization(num_bins=bins, epsilon=epsilon)
        for batch in batches:
            layer.update_state(batch)
        layer.finalize_state()
        found = plain(np.asarray(layer.bin_boundaries, "float32"))
        data = [plain(batch) for batch in batches]
        cases.append({"data": data, "num_bins": bins, "epsilon": epsilon, "boundaries": found})
    return cases


SPECTRAL = [
    ("Dense", {"units": 4, "activation": "tanh"}, (5, 3), 1),
    ("Dense", {"units": 4}, (5, 3), 3),
    ("EinsumDense", {"equation": "abc,cde->abde", "output_shape": [None, 2, 3]}, (2, 3, 4), 2),
]


def spectral(name, kwargs, x, iterations, seed):
    """The output in training, the gradients, and the vector of the next step."""
    rng = np.random.default_rng(seed)
    x = grid(rng, x)
    case = {"class": name, "kwargs": kwargs, "power_iterations": iterations, "x": plain(x)}

    def compute(dtype):
        layer = keras.layers.SpectralNormalization(getattr(keras.layers, name)(**kwargs), iterations)
        layer.build(x.shape)
        inner = layer.layer.trainable_variables
        if "weights" not in case:
            case["weights"] = [plain(grid(rng, variable.shape)) for variable in inner]
            case["vector_u"] = plain(grid(rng, layer.vector_u.shape))
        given = jax.numpy.asarray(x, dtype)
        weights = [jax.numpy.asarray(value, dtype) for value in case["weights"]]
        u = [jax.numpy.asarray(case["vector_u"], dtype)]
        assert [variable.path for variable in layer.trainable_variables] == [variable.path for variable in inner]

        def run(weights):
            return layer.stateless_call(weights, u, given, training=True)

        y, pull_back, new = jax.vjp(run, weights, has_aux=True)
        if "dy" not in case:
            case["dy"] = plain(grid(rng, y.shape))
        (found,) = pull_back(jax.numpy.asarray(case["dy"], dtype))
        return {"y": plain(y), "gradients": [plain(value) for value in found], "new_u": plain(new[0])}

    results = in_both_dtypes(compute)  # which completes the case
    return {**case, **results}


if __name__ == "__main__":
    cases = [spectral(*row, seed) for seed, row in enumerate(SPECTRAL)]
    write("preprocessing.json", cases, hashes=hashes(), boundaries=boundaries())
