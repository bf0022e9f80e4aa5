"""For those who write layers, losses and backends: checks of their contracts, and a backend that enforces its own."""

from layerkit.testing.check_backend import check_backend
from layerkit.testing.check_layer import check_layer
from layerkit.testing.check_loss import check_loss
from layerkit.testing.strict import StrictBackend

__all__ = ["StrictBackend", "check_backend", "check_layer", "check_loss"]
