"""Curves that grow while a model is trained."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterable
from importlib import import_module
from time import perf_counter
from typing import TYPE_CHECKING, Any

from layerkit.callbacks.callback import Callback, Logs
from layerkit.checks import check_at_least, is_a, shown
from layerkit.errors import ArgumentError, BackendUnavailableError
from layerkit.overriding import override

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SHARE = 0.05
"""The most of the time that drawing may take, but for the first picture and the last."""

COLUMNS = 3
WIDTH, HEIGHT = 4.2, 3.0
"""Of a panel with what stands around it, in inches."""
LEFT, RIGHT, BOTTOM, TOP = 0.75, 0.15, 0.6, 0.35
"""Around the curves of a panel, in inches. Matplotlib's layouts, which find it, double the time."""


class LivePlot(Callback):
    """Draw the loss and the metrics of each epoch, of training and of validation, while a model is trained.

    In a notebook the picture is an output of the cell, and is drawn anew in its place; elsewhere it is a window, or a
    file. Each metric has a panel, with a curve for training and one for validation; numbers whose names begin alike up
    to a ``/``, as those of `NormLogger`, share one. It is drawn after an epoch, as often as `every_s` allows, and more
    seldom where it would take more than a twentieth of the time; and once more at the end, with all epochs.

    It takes matplotlib.

    Args:
        metrics: the names of the panels, in order: ``["loss", "accuracy"]``, without ``val_``; None for all.
        every_s: how many seconds there are at least between two drawings.
        log_scale: True for a logarithmic scale in all panels, or the names of those that have one. What is not above 0
            is not drawn there.
        save: a file that holds the picture too, in a format of matplotlib's: ``"curves.png"``, ``"curves.svg"``. In a
            notebook it is written at the end, elsewhere each time. Needed where there is neither notebook nor window.

    Raises:
        ArgumentError: an argument is out of its range; when training begins: there is no place to draw.
        BackendUnavailableError: matplotlib is not there, when training begins.
    """

    def __init__(
        self,
        metrics: Sequence[str] | str | None = None,
        every_s: float = 1.0,
        log_scale: bool | Sequence[str] | str = False,
        save: str | os.PathLike[str] | None = None,
    ) -> None:
        self.metrics = None if metrics is None else _names("metrics", metrics)
        self.every_s: float = check_at_least("LivePlot", 0, every_s=every_s)
        self.log_scale = bool(log_scale) if is_a(log_scale, bool) else _names("log_scale", log_scale)
        if save is not None and not is_a(save, str, os.PathLike):
            raise ArgumentError(f"LivePlot: save must be text or a path. Received: save={shown(save)}")
        self.save = None if save is None else os.fspath(save)
        self._curves: dict[str, list[tuple[int, float]]] = {}
        self._place: Any = None
        self._due = 0.0
        self._drawn = True
        self._warned = False

    @override
    def get_state(self) -> dict[str, Any]:
        return {"curves": {name: list(map(list, points)) for name, points in self._curves.items()}}

    @override
    def set_state(self, state: Mapping[str, Any]) -> None:
        self._curves = {name: [(epoch, value) for epoch, value in points] for name, points in state["curves"].items()}

    @override
    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._close()
        self._curves = {}
        self._drawn, self._due, self._warned = True, 0.0, False
        self._place = _place(self.save)

    @override
    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        for name, value in (logs or {}).items():
            if not getattr(value, "ndim", 0) and not is_a(value, str):  # else it is no number
                self._curves.setdefault(name, []).append((epoch + 1, float(value)))
        self._drawn = False
        begun = perf_counter()
        if begun >= self._due:
            self._draw()
            done = perf_counter()
            self._due = done + max(self.every_s, (done - begun) / SHARE)

    @override
    def on_train_end(self, logs: Logs | None = None) -> None:
        try:
            if self._place is not None and self._curves and (self._place.ends or not self._drawn):
                self._draw(last=True)
        finally:
            self._close()

    def _close(self) -> None:
        if self._place is not None:
            self._place.close()
            self._place = None

    def _draw(self, *, last: bool = False) -> None:
        panels = self._panels()
        if panels:
            _paint(self._place.figure, panels, self.log_scale)
            self._place.show(last=last)
        self._drawn = True

    def _panels(self) -> dict[str, list[tuple[str, list[tuple[int, float]]]]]:
        """Return the curves of each panel, with the names under which they stand in it."""
        found: dict[str, list[tuple[str, list[tuple[int, float]]]]] = {}
        for name, points in self._curves.items():
            panel, _, rest = name.removeprefix("val_").partition("/")
            part = "validation" if name.startswith("val_") else "training"
            found.setdefault(panel, []).append(
                (f"{rest} ({part})" if rest and part == "validation" else rest or part, points)
            )
        if self.metrics is None:
            return found
        missing = [name for name in self.metrics if name not in found]
        if missing and not self._warned:
            self._warned = True
            warnings.warn(
                f"LivePlot: metrics must be among the logs, without 'val_'. Received: {', '.join(map(repr, missing))}, "
                f"logs of {', '.join(found)}.",
                stacklevel=3,
            )
        return {name: found[name] for name in self.metrics if name in found}


def _names(argument: str, value: Any) -> list[str]:
    listed: list[Any] = [value] if is_a(value, str) else list(value) if is_a(value, Iterable) else []
    if not listed or not all(is_a(name, str) for name in listed):
        raise ArgumentError(f"LivePlot: {argument} must be names of metrics. Received: {argument}={shown(value)}")
    return listed


def _paint(figure: Any, panels: Mapping[str, list[tuple[str, list[tuple[int, float]]]]], log_scale: Any) -> None:
    """Draw the panels, in a figure that is empty or is drawn anew."""
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // columns)
    figure.clear()
    width, height = WIDTH * columns, HEIGHT * rows
    figure.set_size_inches(width, height)
    figure.subplots_adjust(
        left=LEFT / width,
        right=1 - RIGHT / width,
        bottom=BOTTOM / height,
        top=1 - TOP / height,
        wspace=(LEFT + RIGHT) / (WIDTH - LEFT - RIGHT),
        hspace=(BOTTOM + TOP) / (HEIGHT - BOTTOM - TOP),
    )
    for place, (name, curves) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, place)
        logarithmic = name in log_scale if is_a(log_scale, list) else log_scale
        for label, points in curves:
            axes.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 20 else None)
        if logarithmic and any(value > 0 for _, points in curves for _, value in points):
            axes.set_yscale("log", nonpositive="mask")
        axes.set_title(name)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        epochs = [epoch for _, points in curves for epoch, _ in points]
        if min(epochs) == max(epochs):
            axes.set_xlim(epochs[0] - 1, epochs[0] + 1)
        axes.grid(visible=True, alpha=0.3)
        if len(curves) > 1:
            axes.legend(fontsize="small")


class _File:
    """A picture that is written each time."""

    ends = False
    """Whether it is drawn at the end in any case."""

    def __init__(self, path: str) -> None:
        # Not one of pyplot's, which would be open until somebody closes it.
        self.figure: Any = import_module("matplotlib.figure").Figure()
        self.path = path

    def show(self, *, last: bool) -> None:
        folder = os.path.dirname(self.path)  # noqa: PTH120 - pathlib is slow to load
        if folder:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - the same
        self.figure.savefig(self.path)

    def close(self) -> None:
        self.figure.clear()


class _Notebook(_File):
    """An output of a cell, which is replaced."""

    def __init__(self, path: str | None) -> None:
        super().__init__(path or "")
        self._output: Any = None
        self.ends = path is not None

    @override
    def show(self, *, last: bool) -> None:
        import base64  # seldom needed
        import io

        from IPython.display import display  # pyright: ignore

        with io.BytesIO() as buffer:
            self.figure.savefig(buffer, format="png", dpi=80)
            picture = base64.b64encode(buffer.getvalue()).decode()
        data = {"image/png": picture, "text/plain": "<curves of training>"}
        if self._output is None:
            self._output = display(data, raw=True, display_id=True)
        else:
            self._output.update(data, raw=True)
        if last and self.path:
            super().show(last=last)


class _Window(_File):
    """A window of matplotlib's."""

    def __init__(self, path: str | None) -> None:
        self.path = path or ""
        self._pyplot: Any = import_module("matplotlib.pyplot")
        self.figure: Any = self._pyplot.figure("LivePlot")
        self.figure.show()

    @override
    def show(self, *, last: bool) -> None:
        self.figure.canvas.draw()
        self.figure.canvas.flush_events()
        if self.path:
            super().show(last=last)

    @override
    def close(self) -> None:
        self._pyplot.close(self.figure)


def _place(path: str | None) -> _File:
    """Return where to draw: a cell of a notebook, a file, or a window."""
    try:
        drawn_by: Any = import_module("matplotlib")
    except ImportError as error:
        raise BackendUnavailableError(
            f'LivePlot: matplotlib must be installed. Received: {error}. Run: pip install "layerkit[plot]".'
        ) from error
    if path is not None:
        ending = os.path.splitext(path)[1].removeprefix(".")  # noqa: PTH122 - pathlib is slow to load
        known: Any = import_module("matplotlib.backend_bases").FigureCanvasBase.get_supported_filetypes()
        if ending.lower() not in known:
            raise ArgumentError(
                f"LivePlot: save must end as a format of matplotlib's does, .png say. Received: save={path!r}. "
                f"Known are {', '.join(sorted(known))}."
            )
    if type(sys.stdout).__module__.startswith("ipykernel."):
        return _Notebook(path)
    name: str = drawn_by.get_backend()
    backends: Any = import_module("matplotlib.backends")
    in_windows = backends.backend_registry.list_builtin(backends.BackendFilter.INTERACTIVE)
    if name.lower() in {each.lower() for each in in_windows}:
        return _Window(path)
    if path is None:
        raise ArgumentError(
            f"LivePlot: there must be a place to draw. Received: no notebook, no window (matplotlib's backend is "
            f"{name!r}), and save=None. Give save='curves.png'."
        )
    return _File(path)
