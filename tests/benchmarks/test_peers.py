"""The commands that measure: that they run, print all lines, and compare what is the same. No time is tested."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from layerkit import optimizers
from tests.benchmarks import mlp_step
from tests.benchmarks.peers import __main__ as peers
from tests.benchmarks.peers.contender import ContenderError
from tests.benchmarks.peers.rows import NEEDS, PEERS, rows
from tests.benchmarks.peers.work import Work

HERE = ("layerkit", "numpy")
"""The contenders that need nothing but layerkit's own requirements."""

RATIO = r"(1/)?\d+(\.\d+)? \((1/)?\d+(\.\d+)? to (1/)?\d+(\.\d+)?\)"
QUANTITY = r"\d+(\.\d+)? (µs|ms|s|MB)"
LABELS = [row.label for row in rows()]


def body(printed):
    """Return the lines of the table under its head, as lists of cells."""
    lines = [line for line in printed.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_short_form_measures_every_line_against_numpy(capsys):
    assert peers.table(["--short", "--against", *HERE]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"\d+ cores?, Python \d\.\d+\.\d+, NumPy \S+ with \S+ \S+; ", printed)
    lines = body(printed)
    assert [line[0] for line in lines] == [row.label for row in rows() if row.peer in HERE]
    for _, _, _, ratio, ours, theirs in lines:
        assert re.fullmatch(RATIO, ratio)
        assert re.fullmatch(QUANTITY, ours)
        assert re.fullmatch(QUANTITY, theirs)


def test_every_other_line_says_what_is_not_installed(capsys, monkeypatch):
    monkeypatch.setattr(peers, "versions", lambda python: {"python": "3", "numpy": "2", "blas": "none"})
    others = [name for name in PEERS if name not in HERE]
    assert peers.table(["--against", *others]) == 0
    lines = body(capsys.readouterr().out)
    assert [(line[0], line[3]) for line in lines] == [
        (row.label, f"{' and '.join(NEEDS[row.peer])} not installed") for row in rows() if row.peer in others
    ]


def test_both_forms_have_the_same_lines():
    assert [row.label for row in rows(short=True)] == LABELS


def test_every_optimizer_has_a_line():
    names = {name for name in optimizers.__all__ if isinstance(getattr(optimizers, name), type)}
    # The last take whole data sets, or are made of optimizers.
    names -= {"Optimizer", "SGD", "LossScaleOptimizer", "MultiOptimizer", "OptimizerMap"}
    names -= {"LBFGS", "LevenbergMarquardt"}
    assert {row.ours.optimizer for row in rows() if row.group == "optimizers"} == names


def test_every_contender_has_a_line_and_is_known():
    assert {row.peer for row in rows()} == set(PEERS) == set(NEEDS)


def test_groups_are_chosen_by_how_their_names_begin(capsys):
    assert peers.table(["--list", "--only", "xor", "predict"]) == 0
    assert capsys.readouterr().out.split() == ["xor", "predict-1", "predict-100000"]


def test_contenders_that_compute_something_else_are_refused():
    peers.require_agreement("jax", [0.7, 0.6], [0.7, 0.6001])
    message = "jax: losses of the first steps, or outputs, must be layerkit's, [0.7, 0.6]. Received: "
    for theirs in ([0.7, 0.6003], [0.7]):
        with pytest.raises(ContenderError, match=f"^{re.escape(message + str(theirs))}$"):
            peers.require_agreement("jax", [0.7, 0.6], theirs)


def test_a_contender_that_fails_is_told_of_and_the_others_go_on(capsys, monkeypatch):
    good = next(rows(short=True))
    wrong = Work("nonsense", (3, 4, 1), 4, 4)
    monkeypatch.setattr(peers, "rows", lambda *, short: [replace(good, ours=wrong), good])
    assert peers.table(["--short"]) == 1
    first, second = body(capsys.readouterr().out)
    assert first[3] == "failed: layerkit: KeyError: 'nonsense'"
    assert re.fullmatch(RATIO, second[3])


def test_ratios_are_printed_as_they_are_read():
    row = next(rows())
    cells = peers.Measured(row, [2e-5, 2e-5, 2e-5], [1e-3, 1e-3, 1e-3]).cells()
    assert cells == ("1/50 (1/50 to 1/50)", "20.0 µs", "1.00 ms")
    share = replace(row, quantity="share")
    assert peers.Measured(share, [4.0, 4.0], [3.0, 3.0]).cells() == ("0.75 (0.75 to 0.75)", "4.00 s", "3.00 s")
    memory = replace(row, quantity="memory")
    assert peers.Measured(memory, [60e6, 60e6], [120e6, 120e6]).cells() == ("0.50 (0.50 to 0.50)", "60 MB", "120 MB")


def test_a_step_is_measured_against_numpy_planned_by_hand(capsys):
    mlp_step.main(["--pairs", "2", "--steps", "2", "--width", "4", "--batch", "4"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == ["784-4-4-10, batch 4, sgd", "784-4-4-10, batch 4, adam"]
