"""Parts whose one method was forgotten say which."""

from __future__ import annotations

import re

import numpy as np
import pytest

from layerkit import backend
from layerkit.errors import ArgumentError, MissingDerivativeError
from layerkit.layers.activations import ActivationLayer
from layerkit.metrics.accuracy import MatchMetric


class Unfinished(ActivationLayer):
    def forward(self, xp, x):
        return x, None


class Uncertain(MatchMetric):
    pass


def test_an_activation_without_a_derivative():
    sentence = (
        "unfinished: an activation must define derivative(self, xp, saved, dy). Received: Unfinished, which does not. "
        "Derive from Layer to give `call` alone."
    )
    with pytest.raises(MissingDerivativeError, match=f"^{re.escape(sentence)}$"):
        Unfinished().backward(backend("numpy"), None, np.ones((2, 3)))


def test_an_accuracy_without_matches():
    sentence = "Uncertain: an accuracy must define matches(self, xp, y_true, y_pred). Received: none."
    with pytest.raises(ArgumentError, match=f"^{re.escape(sentence)}$"):
        Uncertain().update_state([1.0], [1.0])
