"""A training step of PyTorch's and JAX's, for `tests.benchmarks.gpu`: on the GPU, or on the host."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Step = tuple[Callable[[], object], Callable[[], object]]


def times(
    work: Any, median_s: Callable[..., float], rate: float, *, on_host: bool
) -> Iterator[tuple[str, float | str]]:
    """Yield the time of a step of each peer, or why there is none.

    Args:
        work: its widths, batch and data.
        median_s: from a step, and what waits for its end, to its time.
        rate: the learning rate.
        on_host: whether they are to run there.
    """
    for name, package, make in (
        ("PyTorch eager", "torch", lambda: torch_step(work, rate, on_host=on_host, compiled=False)),
        ("torch.compile", "torch", lambda: torch_step(work, rate, on_host=on_host, compiled=True)),
        ("JAX jit", "jax", lambda: jax_step(work, rate, on_host=on_host)),
    ):
        if find_spec(package) is None:
            yield name, "not installed"
            continue
        try:
            yield name, median_s(*make())
        except Exception as error:  # noqa: BLE001 - a peer that cannot run here is no reason to stop
            yield name, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:100]}"


def torch_step(work: Any, rate: float, *, on_host: bool, compiled: bool) -> Step:
    """Return a step of SGD in float32, as PyTorch's tutorials write it, and what waits for its end."""
    import torch
    from torch import nn

    device = "cpu" if on_host else "cuda"
    torch.backends.cuda.matmul.allow_tf32 = False
    layers: list[Any] = []
    for inputs, outputs in zip(work.widths, work.widths[1:], strict=False):
        layers += [nn.Linear(inputs, outputs), nn.ReLU() if work.classifies else nn.Sigmoid()]
    model = nn.Sequential(*(layers[:-1] if work.classifies else layers)).to(device)
    loss_of = nn.CrossEntropyLoss() if work.classifies else nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    x, y = (torch.from_numpy(array).to(device) for array in work.data())
    y = y.long() if work.classifies else y

    def loss() -> Any:
        return loss_of(model(x), y)

    forward: Any = torch.compile(loss, mode="reduce-overhead") if compiled else loss

    def step() -> None:
        optimizer.zero_grad()
        forward().backward()
        optimizer.step()

    return step, (lambda: None) if on_host else torch.cuda.synchronize


def jax_step(work: Any, rate: float, *, on_host: bool) -> Step:
    """Return a jitted step of SGD in float32, whose weights are donated, and what waits for its end."""
    import jax
    import jax.numpy as jnp

    from tests.benchmarks.peers.with_jax import mean_loss

    device = jax.devices("cpu" if on_host else "gpu")[0]
    random = np.random.default_rng(1)
    arrays: list[Any] = []
    for inputs, outputs in zip(work.widths, work.widths[1:], strict=False):
        arrays += [random.standard_normal((inputs, outputs), dtype=np.float32) / np.float32(inputs**0.5)]
        arrays += [np.zeros(outputs, np.float32)]
    kept: list[Any] = [jax.device_put(arrays, device)]
    x, y = (jax.device_put(array, device) for array in work.data())

    def update(weights: Any, x: Any, y: Any) -> Any:
        with jax.default_matmul_precision("highest"):  # or GPUs would take TF32
            gradients = jax.grad(lambda each: mean_loss(each, x, y, classifies=work.classifies))(weights)
        return jax.tree.map(lambda weight, gradient: weight - rate * gradient, weights, gradients)

    jitted = jax.jit(update, donate_argnums=0)

    def step() -> None:
        kept[0] = jitted(kept[0], x, y)

    assert all(weight.dtype == jnp.float32 for weight in kept[0])
    return step, lambda: jax.block_until_ready(kept[0])
