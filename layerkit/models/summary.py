"""The table that `summary` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layerkit.models.model import Model
    from layerkit.xp import Variable


def table(rows: list[tuple[str, ...]], head: tuple[str, ...], right: tuple[int, ...] = ()) -> str:
    """Return rows under a head, in a frame; the columns in `right` are aligned to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]

    def line(row: tuple[str, ...]) -> str:
        cells = (
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        return "│ " + " │ ".join(cells) + " │"

    def rule(left: str, middle: str, end: str) -> str:
        return left + middle.join("─" * (width + 2) for width in widths) + end

    body = [line(row) for row in rows]
    return "\n".join([rule("┌", "┬", "┐"), line(head), rule("├", "┼", "┤"), *body, rule("└", "┴", "┘")])


def printable(text: str, encoding: str | None) -> str:
    """Return text as a stream of this encoding can show it: frames fall back to ASCII."""
    try:
        text.encode(encoding or "utf-8")
    except UnicodeEncodeError:
        return text.translate(str.maketrans("│─┌┬┐├┼┤└┴┘", "|-+++++++++"))
    return text


def summary(model: Model, optimizer_variables: list[Variable], *, expand_nested: bool = False) -> str:
    """Return the table of a model's layers, of those of models within it where they are asked for, and its weights."""
    rows = list(_rows(model, expand_nested=expand_nested))
    head = ("Layer (type)", "Output shape", "Params", "")
    if not any(row[3] for row in rows):
        rows, head = [row[:3] for row in rows], head[:3]
    text = [f'Model: "{model.name}"', table(rows, head, right=(2,))]
    if model.built:
        weights = list(dict.fromkeys(model.weights))
        trainable = list(dict.fromkeys(model.trainable_weights))
        text.append(f" Total params: {_counted(weights)}")
        text.append(f" Trainable params: {_counted(trainable)}")
        text.append(f" Non-trainable params: {_counted([v for v in weights if v not in set(trainable)])}")
        if optimizer_variables:
            text.append(f" Optimizer params: {_counted(optimizer_variables)}")
    else:
        text.append(" Not built: the weights are made with the first batch, or by build(input_shape).")
    return "\n".join(text)


def _rows(model: Any, depth: int = 0, *, expand_nested: bool) -> Iterable[tuple[str, ...]]:
    before = "   " * (depth - 1) + "└ " if depth else ""
    for layer in model.layers:
        count = f"{layer.count_params():,}" if layer.built else "not built"
        name = f"{before}{layer.name} ({type(layer).__name__})"
        yield name, _shape(layer), count, "" if layer.trainable else "frozen"
        if expand_nested and hasattr(layer, "layers"):
            yield from _rows(layer, depth + 1, expand_nested=True)


def _shape(layer: Any) -> str:
    return str(layer.output_shape) if layer.built else "?"


def _counted(variables: list[Variable]) -> str:
    size: float = sum(variable.size * _bytes(variable.dtype) for variable in variables)
    count = sum(variable.size for variable in variables)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{count:,} ({size:.2f} {unit})"
        size /= 1024
    return ""


def _bytes(dtype: str) -> int:
    """Return the bytes of an element: those that the dtype has in its name, but for bool."""
    return int("".join(filter(str.isdigit, dtype)) or 8) // 8
