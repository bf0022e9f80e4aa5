"""Measured comparisons. Tests see to it that the commands run; what they measure is no test.

``python -m tests.benchmarks``              import time, `fit` against plain NumPy, memory over a memory map
``python -m tests.benchmarks.peers``        the README's table: against Keras, JAX, PyTorch, scikit-learn and NumPy
    ``… --only optimizers --clock cpu``     each optimizer against SGD, on a machine that others use too
    ``… --only normalization``              layers that normalize, against PyTorch
``python -m tests.benchmarks.mlp_step``     a step against NumPy planned by hand
``python -m tests.benchmarks.gpu``          on a GPU, against PyTorch, JAX, and what the GPU itself can do
``python -m tests.benchmarks.recording``    layers that give `call` alone against the library's own
"""
