"""The table that `summary` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from layerkit.layers import Layer
    from layerkit.xp import Variable

BYTES = {"float16": 2, "float32": 4, "float64": 8, "int32": 4, "int64": 8, "uint32": 4, "uint64": 8, "bool": 1}


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


def summary(name: str, layers: list[Layer], *, built: bool, optimizer_variables: list[Variable]) -> str:
    """Return the table of a model's layers, and its parameters counted."""
    rows: list[tuple[str, ...]] = []
    for layer in layers:
        count = f"{layer.count_params():,}" if layer.built else "not built"
        rows.append(
            (f"{layer.name} ({type(layer).__name__})", _shape(layer), count, "" if layer.trainable else "frozen")
        )
    head = ("Layer (type)", "Output shape", "Params", "")
    if not any(row[3] for row in rows):
        rows, head = [row[:3] for row in rows], head[:3]
    text = [f'Model: "{name}"', table(rows, head, right=(2,))]
    if built:
        weights = list(dict.fromkeys(variable for layer in layers for variable in layer.weights))
        trainable = list(dict.fromkeys(variable for layer in layers for variable in layer.trainable_weights))
        text.append(f" Total params: {_counted(weights)}")
        text.append(f" Trainable params: {_counted(trainable)}")
        text.append(f" Non-trainable params: {_counted([v for v in weights if v not in set(trainable)])}")
        if optimizer_variables:
            text.append(f" Optimizer params: {_counted(optimizer_variables)}")
    else:
        text.append(" Not built: the weights are made with the first batch, or by build(input_shape).")
    return "\n".join(text)


def _shape(layer: Any) -> str:
    return str(layer.output_shape) if layer.built else "?"


def _counted(variables: list[Variable]) -> str:
    size: float = sum(variable.size * BYTES[variable.dtype] for variable in variables)
    count = sum(variable.size for variable in variables)
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1024 or unit == "GB":
            return f"{count:,} ({size:.2f} {unit})"
        size /= 1024
    return ""
