"""Training for TensorBoard."""

from __future__ import annotations

import math
import os
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_count, check_flag, is_a, is_integer, shown
from layerkit.errors import ArgumentError, BackendUnavailableError
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Mapping

_WRITERS = ("tensorboardX", "torch.utils.tensorboard")

# What Keras has TensorFlow write, and what there is instead.
_NOT_WRITTEN = {
    "profile_batch": ("profiles are not written", "Use model.program('train').profile(), of a model on NumPy."),
    "embeddings_freq": ("the projector's files are not written", "Use histogram_freq, or a SummaryWriter of your own."),
    "embeddings_metadata": ("the projector's files are not written", "Use a SummaryWriter of your own."),
}


class TensorBoard(Callback):
    """Write how training goes to files that TensorBoard shows: ``tensorboard --logdir logs``.

    The names are Keras's. What belongs to training goes to ``<log_dir>/train``, and to validation to
    ``<log_dir>/validation``, so that both stand in one diagram:

    - of each epoch what is in its logs, and the learning rate: ``epoch_<name>``;
    - of each evaluation its numbers over the optimizer's steps: ``evaluation_<name>_vs_iterations``;
    - of batches the means so far in the epoch: ``batch_<name>``; they are read from the device for it.

    It takes the package tensorboardX, or PyTorch with tensorboard.

    Args:
        log_dir: the folder; it is made.
        histogram_freq: after how many epochs, over and over from the first on, histograms of all weights are written,
            as ``<path>/histogram``; 0 for never.
        write_graph: whether the model's summary is written, as text. TensorBoard's graphs are TensorFlow's own.
        write_images: whether the weights are also written as images, from the smallest number in black to the largest
            in white; it takes Pillow.
        write_steps_per_second: whether steps a second are written, as ``epoch_steps_per_second``, and where batches
            are, as ``batch_steps_per_second``.
        update_freq: "epoch"; "batch", or after how many batches what belongs to batches is written too.
        profile_batch: only 0.
        embeddings_freq: only 0.
        embeddings_metadata: only None.

    Raises:
        ArgumentError: an argument is out of its range.
        BackendUnavailableError: neither package is there, when training begins, or Pillow is not.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        histogram_freq: int = 0,
        write_graph: bool = True,
        write_images: bool = False,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
        profile_batch: Any = 0,
        embeddings_freq: int = 0,
        embeddings_metadata: Any = None,
    ) -> None:
        if not is_a(log_dir, str, os.PathLike):
            raise ArgumentError(f"TensorBoard: log_dir must be text or a path. Received: log_dir={shown(log_dir)}")
        given = {"profile_batch": profile_batch, "embeddings_freq": embeddings_freq}
        for name, value in (given | {"embeddings_metadata": embeddings_metadata}).items():
            if value not in (None, 0):
                rule, remedy = _NOT_WRITTEN[name]
                raise ArgumentError(f"TensorBoard: {rule}. Received: {name}={shown(value)}. {remedy}")
        if update_freq not in ("epoch", "batch") and not (is_integer(update_freq) and int(update_freq) > 0):
            raise ArgumentError(
                f"TensorBoard: update_freq must be 'epoch', 'batch' or a number of batches. "
                f"Received: update_freq={shown(update_freq)}"
            )
        self.log_dir = os.fspath(log_dir)
        self.histogram_freq = check_count("TensorBoard", 0, histogram_freq=histogram_freq)
        self.write_graph = check_flag("TensorBoard", write_graph=write_graph)
        self.write_images = check_flag("TensorBoard", write_images=write_images)
        self.write_steps_per_second = check_flag("TensorBoard", write_steps_per_second=write_steps_per_second)
        if self.write_images and not self.histogram_freq:
            raise ArgumentError(
                "TensorBoard: images of weights are written with their histograms. Received: write_images=True, "
                "histogram_freq=0. Give histogram_freq=1."
            )
        self.update_freq = update_freq
        self._writer: Any = None
        self._open: dict[str, Any] = {}
        self._batches = 0
        self._trains = False
        self._begun = 0.0, 0
        self._last = 0.0, 0
        if update_freq != "epoch":
            # Only then: whoever defines it is called after each batch.
            self.on_train_batch_end = self._after_batch  # type: ignore[method-assign]

    @override
    def get_state(self) -> dict[str, Any]:
        return {"batches": self._batches}

    @override
    def set_state(self, state: Mapping[str, Any]) -> None:
        self._batches = state.get("batches", 0)

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()
        self._writer, self._trains, self._batches = _writer(), True, 0
        self._last = perf_counter(), 0
        if self.write_graph:
            lines: list[str] = []
            self.model.summary(print_fn=lines.append)
            text = "\n".join(lines).replace("\n", "\n    ")
            self._part("train").add_text("model", f"    {text}", 0)  # Markdown shows what is set in as it stands

    @override
    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        if self.write_steps_per_second:
            self._begun = perf_counter(), self.model.optimizer.iterations

    def _after_batch(self, batch: int, logs: Logs | None = None) -> None:
        self._batches += 1
        if self._batches % (1 if self.update_freq == "batch" else int(self.update_freq)):
            return
        found = dict(logs or {})
        if self.write_steps_per_second:
            (before, count), self._last = self._last, (perf_counter(), self._batches)
            found["steps_per_second"] = (self._batches - count) / max(self._last[0] - before, 1e-9)
        self._scalars("train", "batch_{}", found, self._batches)

    @override
    def on_test_end(self, logs: Logs | None = None) -> None:
        if not self._trains:
            self._writer = _writer()
        steps = 0 if self.model.step is None else self.model.optimizer.iterations
        self._scalars("validation", "evaluation_{}_vs_iterations", logs or {}, steps)
        if not self._trains:
            self._close()

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        optimizer = self.model.optimizer
        optimizers = getattr(optimizer, "optimizers", None)
        rates = {"": optimizer} if optimizers is None else {f"_{each.name}": each for each in optimizers}
        found: dict[str, Any] = dict(logs or {})
        for label, each in rates.items():
            found.setdefault(f"learning_rate{label}", each.learning_rate)
        if self.write_steps_per_second:
            at, steps = self._begun
            found["steps_per_second"] = (optimizer.iterations - steps) / max(perf_counter() - at, 1e-9)
        held_out = {name.removeprefix("val_"): value for name, value in found.items() if name.startswith("val_")}
        trained = {name: value for name, value in found.items() if not name.startswith("val_")}
        self._scalars("train", "epoch_{}", trained, epoch)
        self._scalars("validation", "epoch_{}", held_out, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            self._weights(epoch)
        for writer in self._open.values():
            writer.flush()

    def _part(self, name: str) -> Any:
        if name not in self._open:
            self._open[name] = self._writer(os.path.join(self.log_dir, name))  # noqa: PTH118 - slow to load
        return self._open[name]

    def _scalars(self, part: str, name: str, values: Logs, step: int) -> None:
        for key, value in values.items():
            if not getattr(value, "ndim", 0) and not is_a(value, str):  # else it is no number
                self._part(part).add_scalar(name.format(key), float(value), step)

    def _weights(self, epoch: int) -> None:
        writer = self._part("train")
        for weight in self.model.weights:
            values = weight.numpy()
            finite = abs(values) < math.inf  # and not NaN
            if finite.any():
                writer.add_histogram(f"{weight.path}/histogram", values[finite], epoch)
            image = _image(values) if self.write_images and finite.all() else None
            if image is None:
                continue
            try:
                writer.add_images(f"{weight.path}/image", image, epoch, dataformats="NHWC")
            except ImportError as error:
                raise BackendUnavailableError(
                    f"TensorBoard: write_images takes Pillow. Received: {error}. Run: pip install pillow."
                ) from error

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        self._trains = False
        self._close()

    def _close(self) -> None:
        for writer in self._open.values():
            writer.close()
        self._open = {}


def _image(values: Any) -> Any:
    """Return a weight as Keras shows it, from 0 to 255: images of shape (count, height, width, 1); None for others.

    A vector is a column; a matrix is wider than high; of three axes, each index of the last has an image of its own.
    """
    values = values.squeeze()
    if values.ndim not in (1, 2, 3) or not values.size:
        return None
    if values.ndim == 1:
        values = values[None, :, None]
    elif values.ndim == 2:
        values = (values.T if values.shape[0] > values.shape[1] else values)[None]
    else:
        values = values.transpose(2, 0, 1)
    values = values.astype("float64")
    least = values.min()
    scaled = (values - least) * (255.0 / max(float(values.max() - least), 1e-30))
    return scaled.round().astype("uint8")[..., None]


def _writer() -> Any:
    for name in _WRITERS:
        try:
            return import_module(name).SummaryWriter
        except ImportError:
            continue
    raise BackendUnavailableError(
        "TensorBoard: a package that writes its files must be installed. Received: neither tensorboardX nor PyTorch "
        'with tensorboard. Run: pip install "layerkit[tensorboard]".'
    )
