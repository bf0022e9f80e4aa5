"""PyTorch's jobs, eager, as its tutorials write them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from tests.benchmarks.peers.work import CHECKED_EPOCHS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.benchmarks.peers.work import Work


def network(work: Work) -> nn.Sequential:
    """Return the model, with the initial weights that everybody has."""
    layers: list[nn.Module] = []
    for kernel, bias in zip(work.weights[::2], work.weights[1::2], strict=True):
        layers.append(nn.Linear(*kernel.shape))
        with torch.no_grad():
            for parameter, weight in zip(layers[-1].parameters(), (kernel, bias), strict=True):
                parameter.copy_(torch.from_numpy(weight.T))
        if work.normalization:
            layers.append(normalization(work, kernel.shape[1]))
        layers.append(nn.ReLU() if work.classifies else nn.Sigmoid())
    end = 0 if not work.classifies else 2 if work.normalization else 1  # neither stands after the last of them
    return nn.Sequential(*layers[: len(layers) - end])


def normalization(work: Work, width: int) -> nn.Module:
    """Return the layer, with Keras's constants."""
    layers = {"BatchNormalization": nn.BatchNorm1d, "LayerNormalization": nn.LayerNorm}
    return layers[work.normalization](width, eps=1e-3)


class Fit:
    """Train for some epochs, with shuffled batches gathered by index: the quickest way that PyTorch has."""

    options: ClassVar[dict[str, Any]] = {}

    def __init__(self, work: Work) -> None:
        self.work, self.model = work, network(work)
        constants = {"Adam": {"eps": 1e-7}}.get(work.optimizer, {})
        optimizer = getattr(torch.optim, work.optimizer)
        self.optimizer = optimizer(self.model.parameters(), lr=work.learning_rate, **constants, **self.options)
        self.loss = nn.CrossEntropyLoss() if work.classifies else nn.MSELoss()
        self.x, self.y = (torch.from_numpy(array) for array in work.data)

    def epoch(self, batches: Iterable[Any]) -> float:
        """Return the mean loss of an epoch over these batches."""
        total, steps = torch.zeros(()), 0
        for x, y in batches:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            total += loss.detach()
            steps += 1
        return total.item() / steps

    def check(self) -> list[float]:
        x, y = (torch.from_numpy(array).split(self.work.batch_size) for array in self.work.beginning)
        return [self.epoch(zip(x, y, strict=True)) for _ in range(CHECKED_EPOCHS)]

    def run(self) -> None:
        x, y, batch_size = self.x, self.y, self.work.batch_size
        for _ in range(self.work.epochs):
            if len(x) == batch_size:
                self.epoch([(x, y)])
            else:
                self.epoch((x[rows], y[rows]) for rows in torch.randperm(len(x)).split(batch_size))


class Predict:
    """Predict all rows, batch by batch."""

    def __init__(self, work: Work) -> None:
        self.work, self.model = work, network(work)
        self.x = torch.from_numpy(work.data[0])

    def check(self) -> list[float]:
        with torch.inference_mode():
            return self.model(self.x[:4]).ravel().tolist()

    def run(self) -> None:
        with torch.inference_mode():
            for _ in range(self.work.repeats):
                torch.cat([self.model(x) for x in self.x.split(self.work.batch_size)]).numpy()


class Layer:
    """Go forward and backward through a layer alone."""

    def __init__(self, work: Work) -> None:
        self.work, self.layer = work, normalization(work, work.widths[0])
        self.x, self.dy = (torch.from_numpy(array) for array in work.passes)
        self.x.requires_grad_()

    def passes(self) -> torch.Tensor:
        self.x.grad = None
        self.layer.zero_grad()
        y = self.layer(self.x)
        y.backward(self.dy)
        return y.detach()

    def check(self) -> list[float]:
        y = self.passes()
        found = y[0], self.x.grad[0], *(parameter.grad for parameter in self.layer.parameters())
        return torch.cat([each[:4] for each in found]).tolist()

    def run(self) -> None:
        for _ in range(self.work.repeats):
            self.passes()


JOBS = {"fit": Fit, "predict": Predict, "layer": Layer}
