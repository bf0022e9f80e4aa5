"""How much memory a recorded step takes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from layerkit.program.program import VIEWS

if TYPE_CHECKING:
    from layerkit.program.program import Program, Spec


def footprint(program: Program) -> list[int]:
    """Return how many bytes the values of a step hold after each of its words, where each is freed after its last use.

    State and constants do not count; inputs do, from beginning to end. Views take no memory, and keep that of what they
    are views of. What the forward pass saves for the backward pass is freed when that is over.
    """
    program = program.simplified()
    held = {*program.states, *program.constants, *program.inputs}
    base: dict[Any, Any] = {}  # of each view
    last: dict[Any, int] = {}
    product: Any = None
    for number, instruction in enumerate(program.instructions):
        places = instruction.places()
        last.update((base.get(place, place), number) for place in places)
        biased = instruction.word == "add" and product is not None and product == places[0]
        if places and (instruction.word in VIEWS or biased):  # backends add a bias to the product itself
            base.update(dict.fromkeys(instruction.outputs, base.get(places[0], places[0])))
        product = instruction.outputs[0] if instruction.word == "matmul" else None
    last.update((base.get(place, place), len(program.instructions)) for place in program.outputs)
    backward = [number for number, each in enumerate(program.instructions) if each.origin.doing == "backward"]
    if backward:
        before = {place for each in program.instructions[: backward[0]] for place in each.outputs}
        saved = [place for place, number in last.items() if number >= backward[0] and place in before]
        last.update((place, max(last[place], backward[-1])) for place in saved)

    over: dict[int, list[Any]] = {}
    for place, number in last.items():
        if place not in held:
            over.setdefault(number, []).append(place)
    now = sum(_bytes(program.specs[place]) for place in program.inputs)
    found = [now]
    for number, instruction in enumerate(program.instructions):
        made = [place for place in instruction.outputs if place is not None and place not in base]
        now += sum(_bytes(program.specs[place]) for place in made)
        found.append(now)
        ended = [*over.get(number, ()), *(place for place in made if place not in last)]
        now -= sum(_bytes(program.specs[place]) for place in ended)
    return found


def _bytes(spec: Spec) -> int:
    return math.prod(spec.shape) * int(getattr(spec.dtype, "itemsize", 4))
