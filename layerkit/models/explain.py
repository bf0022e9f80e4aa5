"""One training step, worked by hand: every formula and every number, as a student would write them down."""

from __future__ import annotations

import copy
import functools
import html
import math
import operator
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit.errors import ArgumentError, ContractError
from layerkit.layers import Dense, Linear, Softmax
from layerkit.layers.activations import ActivationLayer
from layerkit.layers.penalties import collecting, total_penalty
from layerkit.models.sequential import Sequential
from layerkit.names import snake_case
from layerkit.nested import filled, leaves, paths
from layerkit.optimizers import SGD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from layerkit.layers import Layer
    from layerkit.models.model import Model
    from layerkit.training.goals import Objective
    from layerkit.xp import Array, Backend, Variable

MOST_WEIGHTS, MOST_ROWS = 200, 20
NUMBERS_A_LINE = 8


class Line(NamedTuple):
    """A line, or a block of numbers, under a label."""

    label: str
    text: str = ""
    numbers: Sequence[Sequence[str]] = ()
    heading: bool = False


class Explanation:
    """A training step as text, by ``print``, and as a table of HTML, in a notebook."""

    def __init__(self, title: str, lines: Sequence[Line]) -> None:
        self.title = title
        self.lines = tuple(lines)

    def __str__(self) -> str:
        margin = max(len(line.label) for line in self.lines) + 4
        text = [self.title]
        for line in self.lines:
            if line.heading:
                text.append("")
            widths = [max(map(len, column)) for column in zip(*line.numbers, strict=True)]
            rows = [
                "  ".join(number.rjust(width) for number, width in zip(row, widths, strict=True))
                for row in line.numbers
            ]
            indent = "" if line.heading else "  "
            for place, row in enumerate(rows or [line.text]):
                text.append(((indent + line.label if place == 0 else "").ljust(margin) + row).rstrip())
        return "\n".join(text)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        columns = max((len(row) for line in self.lines for row in line.numbers), default=1)
        rows: list[str] = []
        for line in self.lines:
            name = html.escape(line.label)
            left, tag = ' style="text-align: left"', "th" if line.heading else "td"
            if not line.numbers:
                rows.append(
                    f'<{tag}{left}>{name}</{tag}><{tag}{left} colspan="{columns}">{html.escape(line.text)}</{tag}>'
                )
            for place, numbers in enumerate(line.numbers):
                cells = "".join(f'<td style="text-align: right">{html.escape(number)}</td>' for number in numbers)
                rows.append(f"<td{left}>{name if place == 0 else ''}</td>{cells}")
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table>\n<caption>{html.escape(self.title)}</caption>\n<tbody>\n{body}\n</tbody>\n</table>"


def explain(model: Model, batch: Sequence[Any], real_step: Callable[[Model], float]) -> Explanation:
    """Work out one step of a built and planned model, which its passes may change.

    Args:
        model: a copy of the user's.
        batch: x and y, as host arrays.
        real_step: takes the step on a model, and returns the loss.

    Raises:
        ContractError: what is shown is not what the step does.
    """
    return _Work(model).explained(batch, real_step)


def check_size(weights: int, rows: int) -> None:
    """Check that a step can be read.

    Raises:
        ArgumentError: there are too many weights or rows.
    """
    if weights > MOST_WEIGHTS or rows > MOST_ROWS:
        raise ArgumentError(
            f"explain: a step is worked out for at most {MOST_WEIGHTS} weights and {MOST_ROWS} rows, as a reader can "
            f"follow. Received: {weights:,} weights, {rows:,} rows. Give a small model, and a few rows: x[:4], y[:4]."
        )


class _Work:
    def __init__(self, model: Model) -> None:
        self.model, self.xp = model, model.xp
        self.digits = 8 if model.dtype == "float64" else 6
        self.real = copy.deepcopy(model)
        self.first: dict[Variable, Any] = {variable: variable.numpy() for variable in model.weights}
        self.lines: list[Line] = []
        self.penalties: list[tuple[str, str, Any]] = []
        """What is added to the loss: whose it is, its formula, and the number."""

    def explained(self, batch: Sequence[Any], real_step: Callable[[Model], float]) -> Explanation:
        xp = self.xp
        with xp.on_device():
            x, *targets = (xp.asarray(part) for part in leaves(list(batch[:2])))
            y_pred, passes = self.forward(x)
            total, dy = self.loss(targets, y_pred)
            gradients = self.backward(dy, passes)
        loss_of_step = real_step(self.real)
        self.agree("the loss", float(xp.to_numpy(total)), loss_of_step)
        self.update(gradients)
        rows, weights = batch[0].shape[0], self.model.count_params()
        title = f'One training step of "{self.model.name}", worked out: {_of(rows, "row")}, {_of(weights, "weight")}'
        return Explanation(title, self.lines)

    def forward(self, x: Array) -> tuple[Any, list[tuple[str, Layer, Any]]]:
        """Return the output, or several, and each layer with its name and what its backward needs."""
        passes: list[tuple[str, Layer, Any]] = []
        self.head("FORWARD", "The x of a layer is the y of the layer before.")
        self.show("x", x)
        for name, layer in _stages(self.model):
            with collecting() as penalties:
                y, saved = layer.run_forward(self.xp, x, training=True)
            regularizer = layer.activity_regularizer
            formula = "" if regularizer is None else f"{_formula_of_penalty(regularizer)}, x = y, a mean over the rows"
            self.penalties += [
                (f"of the output of {name}" if formula else f"added by {name}", formula, penalty)
                for penalty in penalties
            ]
            passes.append((name, layer, saved))
            self.head(_label(name, layer), _formula(layer, "y"))
            for key, variable in layer.named_weights().items():
                self.show(key, self.first[variable])
            if isinstance(layer, Dense):
                self.sums(layer, x, y)
            self.show_all("y", y)
            x = y
        return x, passes

    def loss(self, targets: Sequence[Array], y_pred: Any) -> tuple[Array, Any]:
        """Return the loss, and its derivative with respect to y_pred, nested as that is."""
        step: Any = self.model.step
        self.head("LOSS", "v has a value for each sample; L is one number.")
        rest, shares, terms = iter(targets), list[Any](), list[str]()
        gradients: list[Line] = []
        found: list[Any] = []
        for place, (objective, output) in enumerate(zip(step.objectives, leaves(y_pred), strict=True)):
            y_true = next(rest) if objective.wanted else None
            if objective.loss is None:
                found.append(self.xp.zeros_like(output))
                continue
            label = step.outputs.label(place)
            one, dy = self.share(objective, y_true, output, label, gradients)
            found.append(dy)
            shares.append(one if objective.weight is None else one * objective.weight)
            weight = "" if objective.weight is None else f"{objective.weight:g} * "
            terms.append(f"{weight}{_bracketed(self.short(self.xp.to_numpy(one)[()]))}")
        total = functools.reduce(operator.add, shares)
        total = self.penalized(total, terms)
        self.head("BACKWARD", "dx stands for dL/dx. The dy of a layer is the dx of the layer behind it.")
        self.lines += gradients
        return total, filled(y_pred, found)

    def share(
        self, objective: Objective, y_true: Any, y_pred: Any, output: str, gradients: list[Line]
    ) -> tuple[Any, Any]:
        """Return the loss of an output, without its weight, and the derivative of the whole; add lines on both."""
        xp, loss = self.xp, objective.loss
        assert loss is not None  # noqa: S101 - the caller has looked
        values, saved = loss.forward(xp, y_true, y_pred)
        one, dvalues = loss.reduce(xp, y_true, values)
        dvalues = dvalues if objective.weight is None else dvalues * objective.weight
        dy_pred = loss.backward(xp, saved, dvalues)
        label = _label(loss.name, loss) + (f" of {output}" if output else "")
        self.head(label, _formula(loss, "v") + (", from logits" if getattr(loss, "from_logits", False) else ""))
        for name, array in (("y_true", y_true), ("y_pred", y_pred), ("v", values)):
            self.show(name, array, by_sample=True)
        counted = loss.counted(xp, y_true, values)
        count = max(1, math.prod(values.shape) if counted is None else int(xp.to_numpy(counted).sum()))
        divided = "" if loss.reduction == "sum" else f" / {count}"
        self.say("L", f"sum of v{divided} = {self.short(xp.to_numpy(one)[()])}")
        forward, self.lines = self.lines, gradients
        self.head(label, _formula(loss, "dy_pred"))
        self.show("dv", dvalues, by_sample=True)
        self.show("dy_pred", dy_pred)
        self.lines = forward
        return one, dy_pred

    def penalized(self, total: Any, terms: list[str]) -> Any:
        """Return the whole loss: with weights and penalties, which are told if there are any."""
        xp = self.xp
        step: Any = self.model.step
        for variable, name in step.regularized().items():
            regularizer = variable.regularizer
            penalty = regularizer.call(xp, variable.value)
            self.penalties.append((f"on {name}", _formula_of_penalty(regularizer), penalty))
        total = total_penalty(xp, total, [penalty for *_, penalty in self.penalties])
        if self.penalties:
            self.head("PENALTIES", "are added to L.")
        for whose, formula, penalty in self.penalties:
            number = self.short(xp.to_numpy(penalty)[()])
            self.say(whose, f"{formula}: {number}" if formula else number)
            terms.append(number)
        if len(terms) > 1 or "*" in terms[0]:
            self.head("L", f"{' + '.join(terms)} = {self.short(xp.to_numpy(total)[()])}")
        return total

    def backward(self, dy: Any, passes: Sequence[tuple[str, Layer, Any]]) -> dict[Variable, Any]:
        """Return the gradients of the weights, on the host; of one used twice, the sum."""
        xp = self.xp
        found: dict[Variable, Any] = {}
        step: Any = self.model.step
        regularized = step.regularized()
        for name, layer, saved in reversed(passes):
            self.head(_label(name, layer), _formula(layer, "dx"))
            if isinstance(layer, ActivationLayer) and not isinstance(layer, Softmax):
                self.show("dy/dx", _slope(xp, layer, saved, dy))
            dx, gradients = layer.run_backward(xp, saved, dy)
            for key, variable in layer.named_weights().items():
                if key in gradients:
                    gradient = xp.to_numpy(gradients[key])
                    self.show("d" + key, gradient)
                    if variable in regularized and variable not in found:
                        more = xp.to_numpy(variable.regularizer.penalty_and_gradient(xp, variable.value)[1])
                        gradient = gradient + more
                        self.show(f"d{key} + that of its penalty", gradient)
                    found[variable] = found.get(variable, 0.0) + gradient
            if dx is not None:
                self.show("dx", dx)
                dy = dx
        return found

    def update(self, gradients: dict[Variable, Any]) -> None:
        """Add old and new weights; of plain SGD, worked out, and of other rules as the real step made them."""
        optimizer = self.model.optimizer
        kind, rate = type(optimizer), getattr(optimizer, "learning_rate", 0.0)  # of several optimizers there is none
        clips = optimizer.clipvalue, optimizer.clipnorm, optimizer.global_clipnorm
        altered = any(option is not None for option in (*clips, optimizer.gradient_accumulation_steps))
        overwritten = optimizer.use_ema and optimizer.ema_overwrite_frequency is not None
        plain = kind is SGD and not (optimizer.momentum or optimizer.weight_decay or altered or overwritten)  # type: ignore[attr-defined]
        formula = "w - learning_rate * dw" if plain else f"w + the change that {kind.__name__} makes of g = dw"
        with_rate = f", with learning_rate = {rate:g}" if hasattr(optimizer, "learning_rate") else ""
        self.head("UPDATE", f"w_new = {formula}{with_rate}.")
        if not isinstance(optimizer, SGD):
            for rule in re.findall(r"``([^`]+ ← [^`]+)``", (kind.__doc__ or "").partition("With ")[0]):
                self.say("", rule)
        trained = set(self.model.trainable_weights)
        for (variable, w), real in zip(self.first.items(), self.real.weights, strict=True):
            after = real.numpy()
            if variable not in trained:
                kept = np.array_equal(w, after, equal_nan=True)
                self.head(variable.path, "is not trained" + ("." if kept else ", but changed by its layer."))
                continue
            self.head(variable.path)
            g = gradients[variable]
            if not altered:
                self.agree(
                    f"the gradient of {variable.path}", g, self.xp.to_numpy(self.real.optimizer.gradient(real).value)
                )
            new = w - np.asarray(rate, w.dtype) * g if plain else after
            self.agree(variable.path, new, after, scale=w)
            for place in np.ndindex(w.shape):
                old, slope, changed = self.short(w[place]), self.short(g[place]), self.short(new[place])
                if plain:
                    told = f"{old} - {rate:g} * {_bracketed(slope)} = {changed}"
                else:
                    told = f"{old} + {_bracketed(self.short(new[place] - w[place]))} = {changed}   (dw = {slope})"
                self.say(_place("w", place), told)

    # Writing.

    def head(self, label: str, text: str = "") -> None:
        self.lines.append(Line(label, text, heading=True))

    def say(self, label: str, text: str) -> None:
        self.lines.append(Line(label, text))

    def show(self, label: str, array: Any, *, by_sample: bool = False) -> None:
        """Add an array, row by row; a long row is continued below. Values of samples stand below each other."""
        values: Any = self.xp.to_numpy(array) if self.xp.owns(array) else array
        rows: Any = values.reshape(-1, 1 if values.ndim == 0 or (by_sample and values.ndim == 1) else values.shape[-1])
        cuts = range(0, rows.shape[1], NUMBERS_A_LINE)
        shown = [
            [self.number(value) for value in row[start : start + NUMBERS_A_LINE]] for row in rows for start in cuts
        ]
        width = max(map(len, shown), default=0)
        self.lines.append(Line(label, numbers=[row + [""] * (width - len(row)) for row in shown]))

    def show_all(self, label: str, arrays: Any) -> None:
        """Add an array, or each of several."""
        for array, place in zip(leaves(arrays), paths(arrays), strict=True):
            self.show(label + place, array)

    def sums(self, layer: Dense, x: Array, y: Array) -> None:
        """Add how a row of a short y comes about: that of the x with the fewest zeros."""
        inputs, kernel, outputs = (self.xp.to_numpy(array) for array in (x, layer.kernel, y))
        if inputs.ndim != 2 or max(kernel.shape) > 4:
            return
        row = int(np.argmax(np.count_nonzero(inputs, axis=1)))
        bias = self.xp.to_numpy(layer.bias) if layer.use_bias else None
        for unit in range(kernel.shape[1]):
            pairs = zip(inputs[row], kernel[:, unit], strict=True)
            terms = [f"{_bracketed(self.short(a))} * {_bracketed(self.short(w))}" for a, w in pairs]
            if bias is not None:
                terms.append(_bracketed(self.short(bias[unit])))
            self.say(_place("y", (row, unit)), f"{' + '.join(terms)} = {self.short(outputs[row, unit])}")

    def number(self, value: Any) -> str:
        if value.dtype.kind != "f":
            return str(value)
        scientific = value != 0 and not 1e-5 <= abs(value) < 1e6
        return f"{value:.{self.digits - 4}e}" if scientific else f"{value:.{self.digits}f}"

    def short(self, value: Any) -> str:
        text = self.number(value)
        return text if "e" in text or "." not in text else text.rstrip("0").rstrip(".")

    def agree(self, what: str, shown: Any, real: Any, *, scale: Any = 0.0) -> None:
        """Check that what is shown is what the step does, but for the rounding of numbers as large as these."""
        tolerance = 64 * float(np.finfo(self.model.dtype).eps)
        largest = max(float(np.max(np.abs(values), initial=0.0)) for values in (real, scale))
        if not np.allclose(shown, real, rtol=tolerance, atol=tolerance * largest, equal_nan=True):
            raise ContractError(
                f"explain: the numbers shown must be those of a real step. Received: for {what}, "
                f"{np.asarray(shown).tolist()}, where a step gives {np.asarray(real).tolist()}. "
                f"Layers with random numbers of their own, or values kept on self, do this; check_layer finds them."
            )


def _stages(model: Model) -> list[tuple[str, Layer]]:
    """Return the layers with their names. The activation of a Dense layer becomes a stage of its own."""
    stages: list[tuple[str, Layer]] = []
    for layer in model.layers if isinstance(model, Sequential) else [model]:
        stages.append((layer.name, layer))
        if isinstance(layer, Dense) and not isinstance(layer.activation, Linear):
            stages.append((layer.name, layer.activation))
    for _, layer in stages:
        if isinstance(layer, Dense):
            if not isinstance(layer.activation, Linear):  # of what comes out of it
                layer.activation.activity_regularizer = layer.activity_regularizer
                layer.activity_regularizer = None
            layer.activation = Linear()
    return stages


def _formula_of_penalty(regularizer: Any) -> str:
    """Return what a regularizer adds up, as its docstring has it, with its factors."""
    formula = re.search(r"``(.+?)``", type(regularizer).__doc__ or "")
    factors = [
        f"{name} = {getattr(regularizer, name):g}" for name in ("l1", "l2", "factor") if getattr(regularizer, name, 0)
    ]
    return f"{formula[1]} with {', '.join(factors)}" if formula and factors else type(regularizer).__name__


def _slope(xp: Backend, layer: Layer, saved: Any, dy: Array) -> Any:
    """Return dy/dx of an elementwise layer, without what a penalty on its output adds to dx."""
    if layer.activity_regularizer is not None:
        saved = ((saved[0][0], None), *saved[1:]) if layer.casts else (saved[0], None)
    return layer.run_backward(xp, saved, xp.ones_like(dy))[0]


def _label(name: str, part: Any) -> str:
    """Return the name, and the class where the name does not tell it."""
    kind = type(part).__name__
    return name if name.startswith(snake_case(kind)) else f"{name} ({kind})"


def _formula(part: Any, of: str) -> str:
    """Return the formula of ``y`` or ``dx``, say, that a class gives in the text of its docstring."""
    if isinstance(part, Dense):
        bias = (" + bias", ", dbias = sum of dy over the rows") if part.use_bias else ("", "")
        return {"y": f"y = x @ kernel{bias[0]}"}.get(of, f"dx = dy @ kernel.T, dkernel = x.T @ dy{bias[1]}")
    text = re.split(r"\n\s+(?:Args|Shapes):", type(part).__doc__ or "")[0]
    return next((formula for formula in re.findall(r"``(.+?)``", text) if re.match(rf"{of} [=←]", formula)), "")


def _place(name: str, place: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(map(str, place))}]" if place else name


def _bracketed(number: str) -> str:
    return f"({number})" if number.startswith("-") else number


def _of(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
