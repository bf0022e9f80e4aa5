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
    for inputs, outputs in zip(work.widths, work.widths[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU() if work.classifies else nn.Sigmoid()]
    model = nn.Sequential(*(layers[:-1] if work.classifies else layers))
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), work.weights, strict=True):
            parameter.copy_(torch.from_numpy(weight.T))
    return model


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


JOBS = {"fit": Fit, "predict": Predict}
