"""Write keras_names.json: the public names of Keras, family by family.

Run ``python tests/tables/make_names.py`` where ``pip install keras jax`` has been done.  Left out are what looks things
up or saves them (``get``, ``serialize``, ``deserialize``), and rooms inside of rooms.
"""

import os

os.environ["KERAS_BACKEND"] = "jax"

import inspect
import json
from pathlib import Path

import keras

FAMILIES = {
    "losses": keras.losses,
    "metrics": keras.metrics,
    "optimizers": keras.optimizers,
    "schedules": keras.optimizers.schedules,
    "activations": keras.activations,
    "initializers": keras.initializers,
    "regularizers": keras.regularizers,
    "constraints": keras.constraints,
    "callbacks": keras.callbacks,
    "layers": keras.layers,
}
MACHINERY = {"get", "serialize", "deserialize"}


def names(room):
    """The public names of one family."""
    found = {name for name in dir(room) if not name.startswith("_") and not inspect.ismodule(getattr(room, name))}
    return sorted(found - MACHINERY)


def main():
    lines = [f'"made_with": {json.dumps({"keras": keras.__version__})}']
    lines += [f"{json.dumps(family)}: {json.dumps(names(room))}" for family, room in FAMILIES.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    Path(__file__).with_name("keras_names.json").write_text(text)
    print({family: len(names(room)) for family, room in FAMILIES.items()})


if __name__ == "__main__":
    main()
