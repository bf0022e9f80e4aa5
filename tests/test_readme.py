"""The README keeps its word: its commands can be found, its code runs, its tables are complete."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [
    (language, README.count("\n", 0, start) + 2, text)
    for language, start, text in (
        (found[1], found.start(), found[2])
        for found in re.finditer(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    )
]


def test_the_two_commands_are_the_two_shell_blocks_of_one_line_each():
    commands = [text for language, _, text in BLOCKS if language == "sh"]
    assert commands == [
        "python -m pip install . && python examples/xor.py\n",
        'python -m pip install ".[tests]" && python -m pytest\n',
    ]


def test_every_python_block_runs_and_prints_what_is_shown(monkeypatch, tmp_path):
    """In one namespace, in order; a block of text shows the end of what the block before it prints."""
    monkeypatch.chdir(tmp_path)  # where its files go
    module = types.ModuleType("readme")
    monkeypatch.setitem(sys.modules, "readme", module)  # so that its classes can be pickled
    printed = io.StringIO()
    languages = [language for language, _, _ in BLOCKS]
    assert languages.count("python") >= 5
    assert set(languages) == {"python", "sh", "text"}
    for language, line, text in BLOCKS:
        if language == "python":
            printed = io.StringIO()
            code = compile("\n" * (line - 1) + text, "README.md", "exec")
            with contextlib.redirect_stdout(printed):
                exec(code, vars(module))
        elif language == "text":
            assert printed.getvalue().endswith(text), f"README.md, line {line}"


def test_xor_takes_twelve_lines():
    _, _, text = next(block for block in BLOCKS if block[0] == "python")
    assert len([line for line in text.splitlines() if line]) == 12


ROOMS = ("layers", "losses", "optimizers", "metrics", "initializers", "regularizers", "constraints", "callbacks")


@pytest.mark.parametrize("room", ROOMS)
def test_the_table_of_what_there_is_names_it_all(room):
    rows = re.findall(r"^\| (\w+)[^|]* \| ((?:`\w+` ?)+) \|$", README, re.MULTILINE)
    told = [
        name for kind, names in rows if kind in (room, {"layers": "activations"}.get(room)) for name in names.split()
    ]
    base = {"`Layer`", "`Loss`", "`Optimizer`", "`Metric`", "`Initializer`", "`Regularizer`", "`Constraint`"}
    public = {f"`{name}`" for name in importlib.import_module(f"layerkit.{room}").__all__ if name[0].isupper()}
    assert sorted(told) == sorted(public - base)


def test_every_link_leads_to_a_file_and_every_example_has_one():
    links = set(re.findall(r"\]\(([^)]+)\)", README))
    assert not {link for link in links if not (ROOT / link).is_file()}
    assert {f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")} <= links
