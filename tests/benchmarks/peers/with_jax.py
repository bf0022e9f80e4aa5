"""``jax.jit`` of a step written by hand, with its state donated."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from tests.benchmarks.peers.work import CHECKED_EPOCHS

if TYPE_CHECKING:
    from tests.benchmarks.peers.work import Work


def forward(weights: Any, x: Any, *, classifies: bool) -> Any:
    """Return the outputs."""
    for layer in range(0, len(weights), 2):
        x = x @ weights[layer] + weights[layer + 1]
        if not classifies:
            x = jax.nn.sigmoid(x)
        elif layer < len(weights) - 2:
            x = jax.nn.relu(x)
    return x


def mean_loss(weights: Any, x: Any, y: Any, *, classifies: bool) -> Any:
    """Return the mean squared error, or the softmax crossentropy."""
    out = forward(weights, x, classifies=classifies)
    if not classifies:
        return jnp.mean((out - y) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(out), y[:, None], axis=1))


def sgd(weights: Any, gradients: Any, slots: Any, rate: float) -> tuple[Any, Any]:
    """Return the weights after a step."""
    return jax.tree.map(lambda w, g: w - rate * g, weights, gradients), slots


def adam(weights: Any, gradients: Any, slots: Any, rate: float) -> tuple[Any, Any]:
    """Return the weights after a step of Kingma and Ba."""
    m, v, steps = slots
    steps += 1
    step_size = rate * jnp.sqrt(1 - 0.999**steps) / (1 - 0.9**steps)
    m = jax.tree.map(lambda m, g: m + (g - m) * 0.1, m, gradients)
    v = jax.tree.map(lambda v, g: v + (g * g - v) * 0.001, v, gradients)
    weights = jax.tree.map(lambda w, m, v: w - step_size * m / (jnp.sqrt(v) + 1e-7), weights, m, v)
    return weights, (m, v, steps)


class Step:
    """Take training steps on one batch."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.loss = functools.partial(mean_loss, classifies=work.classifies)
        update = {"SGD": sgd, "Adam": adam}[work.optimizer]

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state: Any, x: Any, y: Any) -> Any:
            weights, slots, total = state
            loss, gradients = jax.value_and_grad(self.loss)(weights, x, y)
            return *update(weights, gradients, slots, work.learning_rate), total + loss

        @functools.partial(jax.jit, donate_argnums=0)
        def step_of_rows(state: Any, x: Any, y: Any, rows: Any) -> Any:
            return step(state, x[rows], y[rows])  # the gather is part of the compiled step

        self.step, self.step_of_rows = step, step_of_rows
        self.x, self.y = (jnp.asarray(array) for array in work.data)
        self.state = self.fresh_state()

    def fresh_state(self) -> Any:
        weights = [jnp.array(weight) for weight in self.work.weights]
        zeros = [[jnp.zeros_like(weight) for weight in weights] for _ in range(2)]
        slots = () if self.work.optimizer == "SGD" else (*zeros, jnp.zeros(()))
        return weights, slots, jnp.zeros(())

    def check(self) -> list[float]:
        x, y = (jnp.asarray(array) for array in self.work.beginning)
        state, losses = self.fresh_state(), []
        starts = range(0, len(x), self.work.batch_size)
        for _ in range(CHECKED_EPOCHS):
            for start in starts:
                stop = start + self.work.batch_size
                state = self.step(state, x[start:stop], y[start:stop])
            losses.append(float(state[2]) / len(starts))
            state = (*state[:2], jnp.zeros(()))
        return losses

    def run(self) -> None:
        state, step, x, y = self.state, self.step, self.x, self.y
        for _ in range(self.work.repeats):
            state = step(state, x, y)
        self.state = jax.block_until_ready(state)


class Fit(Step):
    """Train for some epochs, with shuffled batches that are gathered within the step."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.orders = work.orders()
        self.history: list[float] = []

    def run(self) -> None:
        state, step, x, y = self.state, self.step_of_rows, self.x, self.y
        for _ in range(self.work.epochs):
            batches = next(self.orders)
            for rows in batches:
                state = step(state, x, y, rows)
            self.history.append(float(state[2]) / len(batches))  # waits for the epoch's end, as a user's loop does
            state = (*state[:2], jnp.zeros(()))
        self.state = jax.block_until_ready(state)


JOBS = {"fit": Fit, "step": Step}
