"""Which of Keras's public names layerkit has, family by family, and that each public class has its tests.

``pytest tests/test_vocabulary.py -n0 -s`` prints how many names are present, and which are missing. The names are those
of `tables/keras_names.json`, which `tables/make_names.py` writes.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path

import pytest

import layerkit

TESTS = Path(__file__).parent
NAMES = json.loads((TESTS / "tables" / "keras_names.json").read_text(encoding="utf-8"))
ROOMS = {family: f"layerkit.{family}" for family in NAMES if family != "made_with"}
ROOMS["schedules"] = "layerkit.optimizers.schedules"

# Families in which names may be missing; in the others, none but these.
UNFINISHED = ("layers",)
NOT_OFFERED = {"callbacks": {"OrbaxCheckpoint"}}  # it writes JAX's own checkpoints, by a package of JAX's


def public(family):
    """Return the public names of a family's room and what they stand for; none if there is no such room."""
    try:
        room = importlib.import_module(ROOMS[family])
    except ModuleNotFoundError:
        return {}
    return {name: getattr(room, name) for name in room.__all__}


@pytest.mark.parametrize("family", ROOMS)
def test_the_names_of_keras_that_are_present_and_missing(family):
    known = NAMES[family]
    missing = [name for name in known if name not in public(family)]
    listed = f": {', '.join(missing)}" if missing else ""
    print(f"\n{family}: {len(known) - len(missing)} present, {len(missing)} missing{listed}")
    assert family in UNFINISHED or set(missing) == NOT_OFFERED.get(family, set())


def test_the_bases_stand_at_the_top_as_in_keras():
    families = ("initializers", "layers", "losses", "metrics", "models", "optimizers", "regularizers")
    bases = ("Initializer", "Layer", "Loss", "Metric", "Model", "Optimizer", "Regularizer")
    for family, base in zip(families, bases, strict=True):
        assert getattr(layerkit, base) is getattr(importlib.import_module(f"layerkit.{family}"), base)
    assert layerkit.DTypePolicy is layerkit.dtype_policies.DTypePolicy


@pytest.mark.parametrize("family", ROOMS)
def test_every_public_class_stands_in_a_table_or_a_test_of_its_family(family):
    """The tests of a family hold tables of their own, which say exactly what is in them; none may be forgotten."""
    classes = {item.__name__ for item in public(family).values() if inspect.isclass(item)}
    folder = "optimizers" if family == "schedules" else family
    texts = [*(TESTS / "tables").glob("*.json"), *(TESTS / folder).glob("*.py")]
    words = set(
        re.findall(r"\w+", "\n".join(path.read_text("utf-8") for path in texts if path.name != "keras_names.json"))
    )
    forgotten = sorted(classes - words)
    assert not forgotten
