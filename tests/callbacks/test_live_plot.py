"""Curves that grow: what is drawn, where, and how often. Pictures are looked at through matplotlib's own objects."""

from __future__ import annotations

import base64
import io
import sys
import types
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot as plt

import layerkit
from layerkit import Input, Sequential
from layerkit.callbacks import BackupAndRestore, Callback, LivePlot, NormLogger, live_plot
from layerkit.errors import ArgumentError, BackendUnavailableError
from layerkit.layers import Dense

if TYPE_CHECKING:
    from pathlib import Path

X = np.arange(24.0).reshape(12, 2) / 24
Y = X[:, :1]
PNG = b"\x89PNG\r\n\x1a\n"


def compiled() -> Sequential:
    model = Sequential([Input((2,)), Dense(1)], seed=0)
    model.compile("sgd", "mse", metrics=["mae"])
    return model


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What each drawing showed: by panel its scale, and its curves by label."""
    seen: list[Any] = []
    paint = live_plot._paint

    def painted(figure: Any, panels: Any, log_scale: Any) -> None:
        paint(figure, panels, log_scale)
        seen.append(
            {
                axes.get_title(): (
                    axes.get_yscale(),
                    {line.get_label(): np.transpose(line.get_data()).tolist() for line in axes.get_lines()},
                    axes.get_legend() is not None,
                )
                for axes in figure.axes
            }
        )

    monkeypatch.setattr(live_plot, "_paint", painted)
    yield seen
    assert plt.get_fignums() == []  # none stays open


@pytest.fixture
def pictures(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The same, but nothing is written: that takes most of the time."""
    monkeypatch.setattr(live_plot._File, "show", lambda place, *, last: None)
    return drawn


class Clock:
    """A clock that stands still, but for drawings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, drawing_s: float) -> None:
        self.now = 1000.0
        monkeypatch.setattr(live_plot, "perf_counter", lambda: self.now)

        def slow(place: Any, *, last: bool) -> None:
            self.now += drawing_s

        monkeypatch.setattr(live_plot._File, "show", slow)


class Takes(Callback):
    """Lets an epoch take so long."""

    def __init__(self, clock: Clock, epoch_s: float) -> None:
        self.clock, self.epoch_s = clock, epoch_s

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.clock.now += self.epoch_s


def test_each_metric_has_a_panel_with_both_curves(drawn: list[Any], tmp_path: Path) -> None:
    plot = LivePlot(save=tmp_path / "new" / "curves.png")
    history = compiled().fit(X, Y, epochs=3, verbose=0, validation_data=(X, Y), callbacks=[plot]).history
    assert (tmp_path / "new" / "curves.png").read_bytes().startswith(PNG)
    last = drawn[-1]
    assert list(last) == ["loss", "mae"]
    for name, (scale, curves, legend) in last.items():
        assert (scale, legend) == ("linear", True)
        assert curves == {
            "training": [[epoch + 1, value] for epoch, value in enumerate(history[name])],
            "validation": [[epoch + 1, value] for epoch, value in enumerate(history[f"val_{name}"])],
        }


def test_without_validation_there_is_one_curve_and_no_legend(drawn: list[Any], tmp_path: Path) -> None:
    compiled().fit(X, Y, verbose=0, callbacks=[LivePlot(save=tmp_path / "a.svg")])
    assert [(list(curves), legend) for _, curves, legend in drawn[-1].values()] == [(["training"], False)] * 2
    assert (tmp_path / "a.svg").read_text(encoding="utf-8").startswith("<?xml")


def test_validation_every_second_epoch_stands_at_its_epochs(pictures: list[Any], tmp_path: Path) -> None:
    options = {"validation_data": (X, Y), "validation_freq": 2, "initial_epoch": 3, "epochs": 8}
    compiled().fit(X, Y, verbose=0, callbacks=[LivePlot(save=tmp_path / "a.png")], **options)
    curves = pictures[-1]["loss"][1]
    assert [epoch for epoch, _ in curves["training"]] == [4, 5, 6, 7, 8]
    assert [epoch for epoch, _ in curves["validation"]] == [4, 6, 8]


def test_panels_are_chosen_and_have_a_logarithmic_scale(pictures: list[Any], tmp_path: Path) -> None:
    for options, expected in (
        ({"metrics": ["mae", "loss"]}, {"mae": "linear", "loss": "linear"}),
        ({"metrics": "mae", "log_scale": True}, {"mae": "log"}),
        ({"log_scale": "loss"}, {"loss": "log", "mae": "linear"}),
        ({"log_scale": ["loss", "mae"]}, {"loss": "log", "mae": "log"}),
    ):
        compiled().fit(X, Y, verbose=0, callbacks=[LivePlot(save=tmp_path / "a.png", **options)])
        assert {name: scale for name, (scale, *_) in pictures[-1].items()} == expected
        assert list(pictures[-1]) == list(expected)


def test_numbers_that_have_no_logarithm_leave_gaps(drawn: list[Any], tmp_path: Path) -> None:
    values = iter([np.nan, 0.0, 1.0, -1.0, np.inf, 2.0])

    class Adds(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs |= {"own": next(values), "none": -1.0, "several": np.ones(3)}

    plot = LivePlot(["own", "none"], save=tmp_path / "a.png", log_scale=True)
    compiled().fit(X, Y, epochs=6, verbose=0, callbacks=[Adds(), plot])
    assert [drawn[-1][name][0] for name in ("own", "none")] == ["log", "linear"]
    assert len(drawn[-1]["own"][1]["training"]) == 6
    assert "several" not in drawn[-1]


def test_norms_of_layers_share_a_panel(pictures: list[Any], tmp_path: Path) -> None:
    model = Sequential([Input((2,)), Dense(3), Dense(1)], seed=0)
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0, callbacks=[NormLogger(), LivePlot(save=tmp_path / "a.png")])
    assert list(pictures[-1]) == ["loss", "gradient_norm", "weight_norm"]
    assert list(pictures[-1]["gradient_norm"][1]) == ["dense", "dense_1"]


def test_a_metric_that_is_not_there_is_warned_of_once(pictures: list[Any], tmp_path: Path) -> None:
    plot = LivePlot(["loss", "val_mae"], save=tmp_path / "a.png", every_s=0)
    with pytest.warns(UserWarning, match="LivePlot") as caught:
        compiled().fit(X, Y, epochs=3, verbose=0, callbacks=[plot])
    assert [str(each.message) for each in caught] == [
        "LivePlot: metrics must be among the logs, without 'val_'. Received: 'val_mae', logs of loss, mae."
    ]
    assert list(pictures[-1]) == ["loss"]


@pytest.mark.parametrize(("every_s", "drawn_after"), [(0, [1, 2, 3, 4, 5, 6]), (2.5, [1, 4, 6]), (100, [1, 6])])
def test_it_is_drawn_no_more_often_than_asked_and_at_the_end(
    every_s: float, drawn_after: list[int], pictures: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, drawing_s=0.0)
    plot = LivePlot(save=tmp_path / "a.png", every_s=every_s)
    compiled().fit(X, Y, epochs=6, verbose=0, callbacks=[Takes(clock, 1.0), plot])
    assert [len(picture["loss"][1]["training"]) for picture in pictures] == drawn_after


def test_drawing_takes_a_twentieth_of_the_time_at_most(
    pictures: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, drawing_s=0.5)
    plot = LivePlot(save=tmp_path / "a.png", every_s=0)
    compiled().fit(X, Y, epochs=300, verbose=0, callbacks=[Takes(clock, 0.25), plot])
    training_s = 300 * 0.25
    assert len(pictures) * 0.5 <= live_plot.SHARE * training_s + 2 * 0.5  # but for the first and the last
    assert len(pictures) * 0.5 > 0.8 * live_plot.SHARE * training_s


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The outputs of a cell, each with what it showed one after another."""
    outputs: list[list[Any]] = []

    class Handle:
        def __init__(self, shown: list[Any]) -> None:
            self.shown = shown

        def update(self, data: dict[str, str], *, raw: bool) -> None:
            assert raw
            self.shown.append(data)

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        assert raw
        assert display_id
        outputs.append([data])
        return Handle(outputs[-1])

    module = types.ModuleType("IPython.display")
    module.display = display  # type: ignore[attr-defined]
    kernel = types.ModuleType("IPython")
    kernel.version_info = (9, 0)  # type: ignore[attr-defined] - matplotlib looks at it
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(live_plot, "sys", types.SimpleNamespace(stdout=stream))  # pytest has a stdout of its own
    return outputs


def test_in_a_notebook_one_output_is_drawn_anew_in_its_place(notebook: list[Any], drawn: list[Any]) -> None:
    compiled().fit(X, Y, epochs=4, verbose=0, callbacks=[LivePlot()])
    assert len(drawn) == 2  # the first and the last
    (shown,) = notebook
    assert len(shown) == len(drawn)
    for data in shown:
        assert data.keys() == {"image/png", "text/plain"}
        assert base64.b64decode(data["image/png"]).startswith(PNG)
    assert len(drawn[-1]["loss"][1]["training"]) == 4


def test_in_a_notebook_a_file_is_written_at_the_end(notebook: list[Any], drawn: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"

    class Looks(Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            assert not path.exists()

    compiled().fit(X, Y, epochs=1, verbose=0, callbacks=[LivePlot(save=path), Looks()])
    assert path.read_bytes().startswith(b"%PDF")
    assert len(notebook) == 1


def test_each_fit_has_an_output_of_its_own(notebook: list[Any], pictures: list[Any]) -> None:
    model, plot = compiled(), LivePlot()
    for _ in range(2):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[plot])
        assert len(pictures[-1]["loss"][1]["training"]) == 1
    assert len(notebook) == 2
    model.fit(X, Y, epochs=0, verbose=0, callbacks=[plot])
    assert len(notebook) == 2  # where nothing was trained, nothing is shown


def test_a_window_is_drawn_in_and_closed(drawn: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    told: list[str] = []

    class Window(mpl.figure.Figure):
        def show(self) -> None:
            told.append("show")

    stub = types.ModuleType("matplotlib.pyplot")
    stub.figure = lambda name: told.append(name) or Window()  # type: ignore[attr-defined]
    stub.close = lambda figure: told.append(type(figure).__name__)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", stub)
    monkeypatch.setattr(mpl, "get_backend", lambda: "QtAgg")
    compiled().fit(X, Y, epochs=2, verbose=0, callbacks=[LivePlot(save=tmp_path / "a.png")])
    assert told == ["LivePlot", "show", "Window"]
    assert (tmp_path / "a.png").exists()
    assert len(drawn[-1]["loss"][1]["training"]) == 2


def test_a_training_that_fails_leaves_a_picture_and_no_figure(pictures: list[Any], tmp_path: Path) -> None:
    class Fails(Callback):
        def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compiled().fit(X, Y, epochs=9, verbose=0, callbacks=[LivePlot(save=tmp_path / "a.png"), Fails()])
    assert len(pictures[-1]["loss"][1]["training"]) == 2


def test_a_training_that_is_resumed_has_all_its_epochs(pictures: list[Any], tmp_path: Path) -> None:
    class CutsOff(Callback):
        def __init__(self, epoch: int | None) -> None:
            self.epoch = epoch

        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == self.epoch:
                raise KeyboardInterrupt

    plot = LivePlot(save=tmp_path / "a.png")
    backup = BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        compiled().fit(X, Y, epochs=6, verbose=0, callbacks=[plot, CutsOff(3), backup])
    layerkit.resume(tmp_path / "backup", X, Y, callbacks=[LivePlot(save=tmp_path / "b.png"), CutsOff(None)])
    expected = compiled().fit(X, Y, epochs=6, verbose=0).history["loss"]
    assert pictures[-1]["loss"][1]["training"] == [[epoch + 1, value] for epoch, value in enumerate(expected)]


def test_where_there_is_no_place_to_draw_it_is_told_before_training() -> None:
    model = compiled()
    before = model.get_weights()
    with pytest.raises(ArgumentError) as raised:
        model.fit(X, Y, verbose=0, callbacks=[LivePlot()])
    assert str(raised.value) == (
        "LivePlot: there must be a place to draw. Received: no notebook, no window (matplotlib's backend is 'agg'), "
        "and save=None. Give save='curves.png'."
    )
    np.testing.assert_array_equal(model.get_weights()[0], before[0])


def test_an_ending_that_is_no_format_is_told_before_training() -> None:
    with pytest.raises(ArgumentError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[LivePlot(save="curves.txt")])
    assert str(raised.value).startswith(
        "LivePlot: save must end as a format of matplotlib's does, .png say. Received: save='curves.txt'. Known are "
    )


def test_without_matplotlib_one_sentence_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(BackendUnavailableError) as raised:
        compiled().fit(X, Y, verbose=0, callbacks=[LivePlot(save="a.png")])
    assert str(raised.value) == (
        "LivePlot: matplotlib must be installed. Received: import of matplotlib halted; None in sys.modules. "
        'Run: pip install "layerkit[plot]".'
    )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"metrics": 3}, "LivePlot: metrics must be names of metrics. Received: metrics=3"),
        ({"metrics": []}, "LivePlot: metrics must be names of metrics. Received: metrics=[]"),
        ({"log_scale": 3}, "LivePlot: log_scale must be names of metrics. Received: log_scale=3"),
        ({"every_s": -1}, "LivePlot: every_s must be at least 0. Received: every_s=-1"),
        ({"save": 3}, "LivePlot: save must be text or a path. Received: save=3"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        LivePlot(**arguments)
    assert str(raised.value) == sentence
