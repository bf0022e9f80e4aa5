"""Writing a model as a Python file that needs NumPy alone, with its numbers beside it.

The text is that of the captured steps (`Model.program`), with what a user calls around it. Before anything is written
to the path, the file is run where nobody sees it, and its predictions are compared with those of the model.
"""

from __future__ import annotations

import copy
import hashlib
import keyword
import math
import runpy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from layerkit.checks import check_count, check_flag
from layerkit.errors import ArgumentError, ContractError, NotReadyError
from layerkit.nested import are_shapes
from layerkit.saving.atomic import replacing
from layerkit.training.step import Inference
from layerkit.training.trouble import Copy

if TYPE_CHECKING:
    import os

    from layerkit.models.model import Model


def export(model: Model, path: str | os.PathLike[str], rows: int, *, training: bool) -> None:
    """Write a model as a Python file: see `Model.export`."""
    check_count("export", 1, rows=rows)
    check_flag("export", training=training)
    target = _checked(path)
    if not model.built:
        raise NotReadyError(
            f"{model.name}: export needs a model with weights. Received: no build yet. "
            f"Call build(input_shape), or give the model an Input."
        )
    x = _made_up(model, rows)
    programs = [_predict_program(model, x)]
    if training:
        programs.append(_train_program(model))
    for program in programs:
        foreign = program.foreign_words()
        if foreign:
            raise ArgumentError(
                f"export: each word must be a function of NumPy. Received: {foreign[0]}. "
                f"Write it with words of xp that NumPy has."
            )
    step = model.step
    totals = [] if step is None or not training else [step.loss_total.total, step.loss_total.count]
    functions, arrays, places = programs[0].standalone(*programs[1:], named=totals)
    text = _text(model, target.stem, programs, functions, places)
    mark = hashlib.sha256(text.encode()).hexdigest()[:16]
    text = text.replace(_MARK, mark)
    arrays["_mark"] = np.array(mark)
    _try_out(model, target.name, text, arrays, x)
    with replacing(target.with_suffix(".npz")) as file:
        np.savez(file, **arrays)
    with replacing(target) as file:
        file.write(text.encode())


def _checked(path: Any) -> Path:
    try:
        target = Path(path)
    except TypeError:
        raise ArgumentError(f"export: the path must be text or a path. Received: {path!r}") from None
    if target.suffix != ".py" or not target.stem.isidentifier() or keyword.iskeyword(target.stem):
        raise ArgumentError(
            f"export: the path must end in .py, after a name that Python can import. Received: {str(path)!r}"
        )
    for there in (target, target.with_suffix(".npz")):
        if there.exists() and not there.is_file():
            raise ArgumentError(f"export: the path must be that of a file. Received: {str(there)!r}, which is none")
    return target


def _made_up(model: Model, rows: int) -> Any:
    """Return inputs for this many rows: from 0 to 1, which are an index too."""
    shape: Any = model.input_shape
    if are_shapes(shape) or None in shape[1:]:
        raise ArgumentError(
            f"export: the model must take one array, whose rows have one shape. Received: input_shape={shape}"
        )
    rules = model._rules(None)  # pyright: ignore[reportPrivateUsage] - as predict asks for them
    return np.random.default_rng(0).uniform(size=(rows, *shape[1:])).astype(rules.input_dtype or "int64")


def _predict_program(model: Model, x: Any) -> Any:
    """Return the step of `predict` for inputs like x, over the state of the model itself if that is NumPy's."""
    if model.xp.name != "numpy":
        model = copy.deepcopy(model).to("numpy")
    if are_shapes(model.compute_output_shape(x.shape)):
        raise ArgumentError("export: the model must give one array. Received: several outputs.")
    inference = Inference(model, True)  # noqa: FBT003 - jit_compile: a step that cannot be replayed is refused
    kept = Copy(inference.state())
    kept.take()
    for _ in range(2):
        inference.predict(x)
    kept.put_back()
    return inference.predicting.program()


def _train_program(model: Model) -> Any:
    if model.xp.name != "numpy":
        raise ArgumentError(
            f"export: with training=True, the model must be on NumPy. Received: a model on {model.xp}. "
            f"Call to('numpy'), and fit."
        )
    program = model.program("train")
    if len(program.program.inputs) != 2:
        raise ArgumentError(
            "export: with training=True, the model must have been trained on x and y. "
            "Received: sample weights too. Call fit without them."
        )
    return program


_MARK = "0123456789abcdef"


def _text(model: Model, name: str, programs: list[Any], functions: list[str], places: list[str]) -> str:
    specs = [[program.program.specs[place] for place in program.program.inputs] for program in programs]
    (x,), (y,) = specs[0], (programs[0].program.specs[place] for place in programs[0].program.outputs)
    words = {
        **{"model": repr(model.name).replace('"', "'").replace("\\", "/"), "name": name, "mark": _MARK},
        **{"rows": x.shape[0], "x_shape": _tuple("rows", *x.shape[1:]), "y_shape": _tuple("rows", *y.shape[1:])},
        **{"checked": _tuple('"rows"', *x.shape[1:]), "all": _tuple("len(x)", *y.shape[1:]), "part": _tuple(*x.shape)},
        **{"x_dtype": x.dtype, "y_dtype": y.dtype, "more": ""},
    }
    parts = [_HEAD, "\n\n".join(functions).replace("{", "{{").replace("}", "}}"), _STEP.format("predict")]
    if len(programs) > 1:
        batch, targets = specs[1]
        words["more"] = _MORE.format(name=name, rows=batch.shape[0], shape=targets.shape)
        words |= {"batch": batch.shape, "targets": targets.shape, "targets_dtype": targets.dtype}
        words |= {"total": places[0], "count": places[1]}
        parts[-1] += _STEP.format("train")
        parts += [_CHECKED, _PREDICT, _TRAIN]
    else:
        parts += [_CHECKED, _PREDICT]
    return "\n\n\n".join(part.strip("\n") for part in parts).format(**words) + "\n"


def _tuple(*items: Any) -> str:
    return f"({', '.join(map(str, items))}{',' if len(items) == 1 else ''})"


_HEAD = '''
"""The model {model}, as NumPy alone computes it: written by layerkit.

    import {name}
    y = {name}.predict(x)

x: any number of rows, an array of shape {x_shape}, which is taken as {x_dtype}.
y: for each row its output, an array of shape {y_shape} and dtype {y_dtype}.
{more}
The numbers are in {name}.npz, beside this file. A step works on {rows} rows, in memory that is allocated once: call it
from one thread at a time.
"""

from pathlib import Path

import numpy as np

with np.load(Path(__file__).with_suffix(".npz"), allow_pickle=False) as _file:
    _arrays = {{name: _file[name] for name in _file.files}}
if _arrays.pop("_mark") != "{mark}":
    raise ValueError("{name}.npz must be the file that was written with {name}.py. Received: another")
'''

_MORE = """
    {name}.train(x, y)    # one step, on {rows} rows; y of shape {shape}
    {name}.loss()         # the mean since it was last asked for
"""

_STEP = """
_{0} = _{0}_step()
"""

_CHECKED = """
def _checked(name, array, shape, dtype):
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{{name}} must hold numbers. Received: dtype {{array.dtype}}")
    fits = len(array.shape) == len(shape) and all(a in ("rows", b) for a, b in zip(shape, array.shape))
    if not fits:
        shown = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        raise ValueError(f"{{name}} must be of shape ({{shown}}). Received: shape {{array.shape}}")
    return array.astype(dtype, copy=False)
"""

_PREDICT = '''
def predict(x):
    """Return the outputs for the rows of x."""
    x = _checked("predict: x", x, {checked}, np.{x_dtype})
    y = np.empty({all}, np.{y_dtype})
    part = np.zeros({part}, np.{x_dtype})
    for start in range(0, len(x), {rows}):
        rows = x[start : start + {rows}]
        part[: len(rows)] = rows  # the last may be fewer: the rest is computed too, and left out
        y[start : start + {rows}] = _predict(part)[: len(rows)]
    return y
'''

_TRAIN = '''
_total, _count = {total}, {count}
_total[...], _count[...] = 0.0, 0.0


def train(x, y):
    """Take one training step."""
    _train(_checked("train: x", x, {batch}, np.{x_dtype}), _checked("train: y", y, {targets}, np.{targets_dtype}))


def loss():
    """Return the mean loss over the rows of all steps since it was last asked for; 0 before the first."""
    mean = float(_total) / max(float(_count), 1.0)
    _total[...], _count[...] = 0.0, 0.0
    return mean
'''


def _try_out(model: Model, name: str, text: str, arrays: dict[str, Any], x: Any) -> None:
    """Run the file, and compare what it predicts with the model.

    Raises:
        ContractError: it is not the same.
    """
    rows = len(x)
    expected = model.predict(x, batch_size=rows, verbose=0)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, name)
        file.write_text(text, encoding="utf-8")
        np.savez(file.with_suffix(".npz"), **arrays)
        found = runpy.run_path(str(file))["predict"](x)
    same = found.shape == expected.shape and found.dtype == expected.dtype
    tolerance = 1e-5 if expected.dtype == np.float32 else 1e-10
    largest = float(np.max(np.abs(expected), initial=0.0)) if expected.dtype.kind == "f" else 0.0
    if not same or not np.allclose(found, expected, rtol=0.0, atol=tolerance * largest, equal_nan=True):
        raise ContractError(
            f"export: the file must give what predict gives. Received: other numbers, of {math.prod(expected.shape)} "
            f"that were compared. Nothing was written."
        )
