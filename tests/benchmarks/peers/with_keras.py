"""Keras's jobs, on JAX."""

import keras

from tests.benchmarks.peers.keras_like import jobs_of

JOBS = jobs_of(keras)
