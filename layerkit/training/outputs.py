"""What a model returns, as a flat list of outputs with names, and what is said of each of them, put in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from layerkit.checks import is_a, shown
from layerkit.errors import ArgumentError, UnknownNameError
from layerkit.names import nearest
from layerkit.nested import are_shapes, is_nest, leaves, mapped_shapes, paths

if TYPE_CHECKING:
    from collections.abc import Sequence

Shape = tuple[int | None, ...]


class Outputs:
    """The outputs of a model, in a flat list.

    An output has a name where it stands in a dictionary (its keys, with "/" between those of nested ones), or where the
    model has `output_names`. Those of a plain list have none, as in Keras.

    Args:
        shapes: the shape of the one output; of several a list or dictionary of shapes, nested or not.
        names: the model's own names, one for each output; None where it has none.

    Raises:
        ArgumentError: the names are not those of as many outputs.
    """

    def __init__(self, shapes: Any, names: Sequence[str] | None = None) -> None:
        self.several = are_shapes(shapes)
        """Whether there is a list or dictionary of them, perhaps with a single item."""
        self.shapes: list[Shape] = []
        self._nest: Any = mapped_shapes(_nothing, shapes)
        found: list[str | None] = []
        self.places: list[str] = paths(self._nest)
        """Where each stands: "['left']", "[0]"; "" for the one output."""
        self._look(shapes, (), found)
        if names is not None:
            named = is_a(names, list, tuple) and all(is_a(name, str) for name in names)
            if not named or len(set(names)) != len(names) or len(names) != len(found):
                raise ArgumentError(
                    f"output_names must be a list of names, one for each output of the model, {len(found)}. "
                    f"Received: output_names={shown(names)}"
                )
            found = list(names)
        self.names: tuple[str | None, ...] = tuple(found)

    def _look(self, shapes: Any, path: tuple[Any, ...], names: list[str | None]) -> None:
        if not are_shapes(shapes):
            self.shapes.append(tuple(shapes))
            plain = len(path) < 2 and not any(is_a(key, str) for key in path)
            names.append(None if plain else "/".join(map(str, path)))
            return
        for key, each in shapes.items() if is_a(shapes, dict) else enumerate(shapes):
            self._look(each, (*path, key), names)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells whether two models return the same: how outputs are nested, and their names."""
        return repr(self._nest), self.names

    def label(self, place: int) -> str:
        """Return what an error message calls an output: "output 'left'", "output 1"; "" where there is one."""
        if not self.several:
            return ""
        name = self.names[place]
        return f"output {self.places[place][1:-1] if name is None else repr(name)}"

    @property
    def pattern(self) -> str:
        """How the outputs are nested, as Python writes it."""
        return _pattern(self._nest)

    def flat(
        self, value: Any, argument: str, *, partial: bool = False, error: type[ArgumentError] = ArgumentError
    ) -> list[Any]:
        """Return what is said of each output, in order.

        Args:
            value: nested as the outputs are; or by their names, in a dictionary.
            argument: what it is: "compile: loss", "y".
            partial: whether outputs may be left out of a dictionary, of which nothing is said then: None.
            error: what is raised where it is nested otherwise.

        Raises:
            UnknownNameError: no output has this name.
        """
        if not self.several:
            if is_a(value, list, tuple) and len(value) == 1:
                return [value[0]]
            if is_a(value, dict) and self.names[0] is not None:
                return self._taken({self.names[0]: None}, value, argument, "", partial, error)
            if is_nest(value):
                raise error(
                    f"{argument} must be one, for a model with one output. "
                    f"Received: {_described(value)} of {len(value)}"
                )
            return [value]
        if len(self.shapes) == 1 and not is_nest(value):
            return [value]
        nest = self._nest
        by_name = is_a(value, dict) and not is_a(nest, dict) and None not in self.names
        if by_name:
            nest = dict.fromkeys(self.names)
        elif is_a(value, list, tuple) and len(value) == len(self.shapes) and not any(map(is_nest, value)):
            nest = nest if is_a(nest, dict) else [None] * len(value)
        return self._taken(nest, value, argument, "", partial, error)

    def _taken(
        self, nest: Any, value: Any, argument: str, place: str, partial: bool, error: type[ArgumentError]
    ) -> list[Any]:
        if nest is None:
            return [value]
        if is_a(nest, dict):
            # A list in the order of the names: Keras sorts them, so that another order would be taken for that.
            if is_a(value, list, tuple) and len(value) == len(nest) and list(nest) == sorted(nest):
                value = dict(zip(nest, value, strict=True))
            if not is_a(value, dict):
                self._refuse(value, argument, place, error)
            for key in value:
                if key not in nest:
                    raise UnknownNameError(
                        f"{argument}{place} must be by the names of the model's outputs, {', '.join(map(repr, nest))}. "
                        f"Received: {key!r}. {nearest(str(key), [str(name) for name in nest])}"
                    )
            pairs: Any = [(key, inner, f"{place}[{key!r}]") for key, inner in nest.items()]
        else:
            if not is_a(value, list, tuple) or len(value) != len(nest):
                self._refuse(value, argument, place, error)
            pairs = [(key, inner, f"{place}[{key}]") for key, inner in enumerate(nest)]
        found: list[Any] = []
        for key, inner, here in pairs:
            if is_a(value, dict) and key not in value:
                if not partial:
                    raise error(
                        f"{argument} must be given for each output of the model, {self.pattern}. "
                        f"Received: none for {here[1:-1]}"
                    )
                found += [None] * len(leaves(inner))
            else:
                found += self._taken(inner, value[key], argument, here, partial, error)
        return found

    def _refuse(self, value: Any, argument: str, place: str, error: type[ArgumentError]) -> NoReturn:
        received = f"{_described(value)} of {len(value)}" if is_nest(value) else shown(value)
        raise error(
            f"{argument} must be nested as the outputs of the model are, {self.pattern}. "
            f"Received: {received}{f' at {place}' if place else ''}"
        )


def _nothing(_: Any) -> None:
    return None


def _described(value: Any) -> str:
    kind = "dictionary" if is_a(value, dict) else type(value).__name__
    return f"a {kind}"


def _pattern(nest: Any) -> str:
    if is_a(nest, dict):
        return "{" + ", ".join(f"{key!r}: {_pattern(each)}" for key, each in nest.items()) + "}"
    return "…" if nest is None else f"[{', '.join(map(_pattern, nest))}]"
