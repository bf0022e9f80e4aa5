"""What a step depends on besides its inputs and its state: settings, and what a user's code finds around it.

A recorded step may be replayed as long as all of that is as it was. A `Snapshot` says so, or names what changed.

Each value becomes a **node**, a tuple that is equal to another if a step cannot tell the values apart::

    (type, value)                                   a number, a string, None
    (type, length, nodes)                           a list, tuple, dictionary, set
    (_ARRAY, identity, shape, dtype, bytes)         an array; its bytes, if they are few and on the host
    (_STATE, identity, of its array, trainable, …)  state: what it holds is no setting
    (_OBJECT, type, attributes, reads)              a layer, a loss, …, or an object of a user's class
    (_FUNCTION, identity, reads)                    a function, and what it finds around it
    (_OTHER, identity, type)                        anything else, and what was met before; an initializer has none

Identities are those of objects that the snapshot keeps, so that none is given to another in the meantime.
"""

from __future__ import annotations

import contextlib
import functools
import math
import pickle
from collections import deque
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from layerkit.configurable import Configurable
from layerkit.names import snake_case
from layerkit.program.array import RecordedArray
from layerkit.xp.random import RandomStream
from layerkit.xp.state import State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import CodeType

Node = tuple[Any, ...]

_ARRAY: Final = "array"
_STATE: Final = "state"
_OBJECT: Final = "object"
_FUNCTION: Final = "function"
_OTHER: Final = "other"

# For type checkers, which would want to know of what a list is a list.
_type: Any = type

_PLAIN = frozenset((bool, int, str, type(None)))
_EMPTY: dict[Any, Node] = {
    **{kind: (kind, 0, ()) for kind in (list, tuple)},
    dict: (dict, 0, {}),
    **{kind: (kind, 0, frozenset[Any]()) for kind in (set, frozenset)},
}
_SCALARS = _PLAIN | {float, complex, bytes, range, slice, type(...)}

DEPTH = 8
"""How deep lists, objects and functions are looked into, one inside another."""

LARGEST = 4096
"""How many items of a list are looked at, and how many elements an array may have whose values are."""

MOST = 100_000
"""How many values are looked at in all; of the others it is known who they are."""

# Lists and dictionaries of the framework's own, which says when it changes them: in objects of users' classes too.
_OF_THE_FRAMEWORK = frozenset(("_bound", "_brought", "_stack", "_streams", "_variables", "_vectors"))

# What a class is given when it is made, from its methods.
_DERIVED = frozenset(("_bookkeeping", "takes_input_gradient", "takes_mask", "takes_training"))

# What reads or writes a name that belongs to a module, as `dis` calls it.
_OF_THE_MODULE = frozenset(("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "STORE_GLOBAL", "DELETE_GLOBAL"))


class Snapshot:
    """What some objects, and all that they hold, were like: see `snapshot`."""

    def __init__(self, nodes: tuple[Node, ...], kept: list[Any], *, settled: bool) -> None:
        self._nodes = nodes
        self._kept = kept
        self.settled = settled
        """Whether none of it can change without being set, so that `layerkit.changes.changes` grows."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and self._nodes == other._nodes

    __hash__ = None  # pyright: ignore[reportAssignmentType] - nodes hold dictionaries

    def differences(self, other: Snapshot) -> list[str]:
        """Say what a later snapshot of the same objects has otherwise: ``"relu.negative_slope: 0.1, then 0.2"``."""
        if self == other:
            return []
        old, new = self._nodes, other._nodes
        if len(old) != len(new):
            return [f"the parts of the step: {len(old)}, then {len(new)}"]
        found: list[str] = []
        for before, after in zip(old, new, strict=True):
            _compare(before, after, _own_name(before), found)
        return list(dict.fromkeys(found))


def snapshot(objects: Iterable[Any]) -> Snapshot:
    """Note what a step depends on besides its inputs and its state.

    Of each object (a layer, a loss, an optimizer, a metric) all attributes but its bookkeeping, with the objects inside
    it; each object is looked at once. Of a user's class also the names of the module that its methods read, the
    variables around them, and the attributes of the class.

    Args:
        objects: what the step is made of.
    """
    walk = _Walk()
    nodes = tuple([walk.object(item) for item in objects])
    return Snapshot(nodes, walk.kept, settled=walk.settled)


class _Walk:
    """Makes the nodes of one snapshot."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._met: set[int] = set()
        self._left = MOST
        self.settled = True
        self._framework = False  # whether a list belongs to the framework, which says when it changes it

    def value(self, value: Any, depth: int, package: str) -> Node:
        """Return the node of a value that something in `package` holds."""
        kind = _type(value)
        if kind in _SCALARS:
            # 0.0 == -0.0, and NaN is not even itself.
            return kind, value if kind is not float or (value == value and value) else repr(value)
        self._left -= 1
        if depth <= 0 or self._left <= 0:
            return self.other(value)
        return _reader(kind)(self, value, depth - 1, package)

    def other(self, value: Any, depth: int = 0, package: str = "") -> Node:
        self.kept.append(value)
        return _OTHER, id(value), _type(value)

    def bystander(self, value: Any, depth: int, package: str) -> Node:
        return _OTHER, None, _type(value)

    def sequence(self, values: Any, depth: int, package: str) -> Node:
        self.settled &= self._framework or bool(issubclass(_type(values), tuple))
        items = list(values)[:LARGEST]
        return _type(values), len(values), tuple([self.value(item, depth, package) for item in items])

    def mapping(self, values: Any, depth: int, package: str) -> Node:
        self.settled &= self._framework
        pairs = list(values.items())[:LARGEST]
        return _type(values), len(values), {self._key(key): self.value(item, depth, package) for key, item in pairs}

    def group(self, values: Any, depth: int, package: str) -> Node:
        self.settled &= isinstance(values, frozenset)
        return _type(values), len(values), frozenset(map(self._key, values)) if len(values) <= LARGEST else None

    def _key(self, value: Any) -> Node:
        """Return a node that can be the key of a dictionary."""
        kind = _type(value)
        if isinstance(value, (tuple, frozenset)):
            return (kind, *map(self._key, value))  # pyright: ignore[reportUnknownArgumentType]
        return (kind, value) if kind in _PLAIN else self.value(value, 0, "")

    def state(self, state: Any, depth: int, package: str) -> Node:
        if id(state) in self._met:
            return self.other(state)
        self._met.add(id(state))
        array = state.array
        self.kept += (state, array)
        about = state.__dict__.get
        nodes = {"trainable": (bool, about("_trainable") is True)}
        for name in ("regularizer", "constraint"):
            if about(name) is not None:
                nodes[name] = self.value(about(name), depth, package)
        return _STATE, id(state), id(array), nodes

    def stream(self, stream: RandomStream, depth: int, package: str) -> Node:
        return RandomStream, stream.key, self.state(stream.counter, depth, package)

    def array(self, array: Any, depth: int, package: str) -> Node:
        self.settled = False
        self.kept.append(array)
        shape = tuple(array.shape)
        content = None
        if math.prod(shape) <= LARGEST:
            # Of one that is on a device, or of objects, its identity has to do.
            with contextlib.suppress(AttributeError, RuntimeError, TypeError, ValueError):
                content = array.__array__().tobytes()
        # One that cannot be written to is what it holds.
        told = content is not None and not hasattr(_type(array), "__setitem__")
        return _ARRAY, None if told else id(array), shape, array.dtype, content

    def generator(self, generator: Any, depth: int, package: str) -> Node:
        """Return the node of a source of random numbers, whose state is what matters."""
        self.settled = False
        return *self.other(generator), pickle.dumps(generator)

    def method(self, method: Any, depth: int, package: str) -> Node:
        return MethodType, *[self.value(part, depth, package) for part in (method.__self__, method.__func__)]

    def partial(self, whole: Any, depth: int, package: str) -> Node:
        parts = (whole.func, whole.args, whole.keywords)
        return functools.partial, *[self.value(part, depth, package) for part in parts]

    def of_a_class(self, item: Any, depth: int, package: str) -> Node:
        """Return the node of an object of some class: it is looked into if that is the user's too."""
        own = _package(_type(item).__module__)
        return self.object(item, depth) if own == package != "layerkit" else self.other(item)

    def object(self, item: Any, depth: int = DEPTH, package: str = "") -> Node:
        """Return the node of an object that has attributes."""
        if id(item) in self._met:
            return self.other(item)
        self._met.add(id(item))
        self.kept.append(item)
        cls = _type(item)
        package = _package(cls.__module__)
        unused = getattr(cls, "_bookkeeping", None)
        if unused is None:  # no Configurable: nobody counts what is set on it
            self.settled, unused = False, ()
        around, self._framework = self._framework, False
        nodes: dict[str, Node] = {}
        for name, value in item.__dict__.items():
            if name in unused:
                continue
            kind = _type(value)
            if kind in _PLAIN:
                nodes[name] = kind, value
            elif kind in _EMPTY:
                self._framework = name in _OF_THE_FRAMEWORK or (package == "layerkit" and name[0] == "_")
                if value:
                    nodes[name] = self.value(value, depth, package)
                else:
                    nodes[name] = _EMPTY[kind]
                    self.settled &= self._framework or kind in (tuple, frozenset)
            else:
                nodes[name] = self.value(value, depth, package)
        self._framework = around
        reads: dict[str, Node] = {}
        for base in _users_bases(cls):
            if id(base) not in self._met:
                self._met.add(id(base))
                self._class(base, depth, reads)
        return _OBJECT, cls, nodes, reads

    def _class(self, cls: type[Any], depth: int, reads: dict[str, Node]) -> None:
        package = _package(cls.__module__)
        for name, value in list(cls.__dict__.items()):
            if isinstance(value, property):
                functions = [function for function in (value.fget, value.fset) if function is not None]
            else:
                functions = [getattr(value, "__wrapped__", getattr(value, "__func__", value))]
            for function in functions:
                if isinstance(function, FunctionType):
                    reads[f"{cls.__name__}.{name}"] = self.function(function, depth, package)
                elif not name.startswith("__") and name not in _DERIVED and _is_setting(function):
                    self.settled = False
                    reads[f"{cls.__name__}.{name}"] = self.value(function, depth, package)

    def function(self, function: FunctionType, depth: int, package: str) -> Node:
        """Return the node of a function: who it is, and what it finds around it."""
        if id(function) in self._met:
            return self.other(function)
        self._met.add(id(function))
        self.kept.append(function)
        own = _package(function.__globals__.get("__name__", ""))
        if own not in (package, "layerkit") and package != "layerkit":
            return _FUNCTION, id(function), {}, function  # a third party's
        called = function.__qualname__.rpartition("<locals>.")[2]
        code = function.__code__
        reads: dict[str, Node] = {}
        if depth:
            for name, default in _defaults(function):
                reads[f"the default of `{name}` in {called}"] = self.value(default, depth, own)
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
                try:
                    value = cell.cell_contents
                except ValueError:  # nothing is in it yet
                    continue
                reads[f"the variable `{name}` around {called}"] = self.value(value, depth, own)
            if own != "layerkit":
                for name in _module_names(code):
                    if name in function.__globals__:
                        label = f"the global `{name}` that {called} reads"
                        reads[label] = self.value(function.__globals__[name], depth, own)
        self.settled &= all(node[0] in (_OTHER, _FUNCTION) for node in reads.values())
        return _FUNCTION, id(function), reads, function


def _package(module: str) -> str:
    return module.partition(".")[0]


@functools.lru_cache(maxsize=1024)
def _users_bases(cls: type[Any]) -> tuple[type[Any], ...]:
    known = ("layerkit", "builtins", "abc", "typing")
    return tuple(base for base in cls.__mro__ if _package(base.__module__) not in known)


@functools.lru_cache(maxsize=1024)
def _reader(kind: Any) -> Callable[[_Walk, Any, int, str], Node]:
    """Return the method that makes the nodes of values of this type."""
    known: Any = kind
    if not issubclass(kind, (type, ModuleType, RecordedArray)):
        for base, reader in _READERS.items():
            if issubclass(kind, base):
                return reader
        if issubclass(kind, Configurable):
            return _Walk.object if known._part_of_steps else _Walk.bystander
        if hasattr(kind, "shape") and hasattr(kind, "dtype"):
            return _Walk.array
        if hasattr(kind, "bit_generator") or kind.__module__ in ("random", "numpy.random.mtrand"):
            return _Walk.generator
        if "__dict__" in dir(kind):
            return _Walk.of_a_class
    return _Walk.other


def _is_setting(value: Any) -> bool:
    kind = _type(value)
    return kind in _SCALARS or kind in _EMPTY or hasattr(kind, "dtype")


def _defaults(function: FunctionType) -> Iterator[tuple[str, Any]]:
    code, defaults = function.__code__, function.__defaults__ or ()
    yield from zip(code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


@functools.lru_cache(maxsize=1024)
def _module_names(code: CodeType) -> tuple[str, ...]:
    """Return the names that code, and functions inside it, look for in their module."""
    import dis  # slow to load, and only users' functions need it

    names = dict.fromkeys(
        str(instruction.argval) for instruction in dis.get_instructions(code) if instruction.opname in _OF_THE_MODULE
    )
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            names |= dict.fromkeys(_module_names(constant))
    return tuple(names)


_READERS: dict[Any, Any] = {
    State: _Walk.state,
    list: _Walk.sequence,
    tuple: _Walk.sequence,
    deque: _Walk.sequence,
    dict: _Walk.mapping,
    set: _Walk.group,
    frozenset: _Walk.group,
    FunctionType: _Walk.function,
    MethodType: _Walk.method,
    functools.partial: _Walk.partial,
    RandomStream: _Walk.stream,
}


# What differs.


def _compare(old: Node, new: Node, path: str, found: list[str]) -> None:
    """Add to `found` what differs between two nodes."""
    if old == new:
        return
    kind = old[0]
    if kind != new[0]:
        _say(path, _shown(old), _shown(new), found)
    elif kind is _OBJECT and old[1] is new[1]:
        _compare_named(old[2], new[2], path, found)
        _compare_reads(old[3], new[3], found)
    elif kind is _FUNCTION and old[1] == new[1]:
        _compare_reads(old[2], new[2], found)
    elif kind is _STATE and old[1:3] == new[1:3]:
        _compare_named(old[3], new[3], path, found)
    elif kind is _ARRAY and old[1] is not None and old[1:4] == new[1:4]:
        found.append(f"{path}: other values in the same array")
    elif kind in (functools.partial, MethodType):
        for before, after in zip(old[1:], new[1:], strict=True):
            _compare(before, after, path, found)
    elif kind is RandomStream and old[1] == new[1]:
        _compare(old[2], new[2], path, found)
    elif len(old) == 3 and not isinstance(kind, str):
        _compare_items(old, new, path, found)
    else:
        _say(path, _shown(old), _shown(new), found)


def _compare_items(old: Node, new: Node, path: str, found: list[str]) -> None:
    kind, length, items = old
    inside: Any = new[2]
    if issubclass(kind, dict):
        for key in dict.fromkeys((*items, *inside)):
            _compare_if_there(items.get(key), inside.get(key), f"{path}[{_shown(key)}]", found)
        return
    if length != new[1] or not isinstance(items, tuple):
        _say(path, _shown(old), _shown(new), found)
    if isinstance(items, tuple):
        for index, before in enumerate(old[2][: len(inside)]):
            # A model's own list of layers is no name that a user knows them by.
            label = _own_name(before) if before[0] is _OBJECT else f"{path}[{index}]"
            _compare(before, inside[index], label, found)


def _compare_named(old: dict[str, Node], new: dict[str, Node], path: str, found: list[str]) -> None:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        label = path if name in ("_bound", "_streams", "_variables") else f"{path}.{name.lstrip('_')}"
        if label == path and before is not None and after is not None and before[0] is after[0] is dict:
            for (_, key), variable in before[2].items():  # weights, by the names that the user gave them
                _compare_if_there(variable, after[2].get((str, key)), f"{path}.{key}", found)
        else:
            _compare_if_there(before, after, label, found)


def _compare_reads(old: dict[str, Node], new: dict[str, Node], found: list[str]) -> None:
    for label in dict.fromkeys((*old, *new)):
        _compare_if_there(old.get(label), new.get(label), label, found)


def _compare_if_there(old: Node | None, new: Node | None, path: str, found: list[str]) -> None:
    if old is None or new is None:
        if old is not new:
            _say(path, _shown(old), _shown(new), found)
        return
    _compare(old, new, path, found)


def _say(path: str, old: str, new: str, found: list[str]) -> None:
    found.append(f"{path}: {old}, then {'another' if old == new else new}")


def _shown(node: Node | None) -> str:
    if node is None:
        return "nothing"
    kind = node[0]
    if kind is _OBJECT:
        return node[1].__name__
    if kind is _OTHER:
        return "state" if issubclass(node[2], State) else node[2].__name__
    if kind is _FUNCTION:
        return f"function {node[3].__name__}"
    if kind is _ARRAY:
        return f"array of shape {node[2]}"
    if kind is _STATE:
        return "state"
    if kind in _SCALARS:
        text = node[1] if kind is float and isinstance(node[1], str) else repr(node[1])
        return text if len(text) <= 60 else f"{text[:57]}…"
    return kind.__name__ if len(node) != 3 else f"{kind.__name__} of {node[1]}"


def _own_name(node: Node) -> str:
    """Return what an object calls itself."""
    if node[0] is not _OBJECT:
        return _shown(node)
    for attribute in ("name", "_name"):
        kind, *value = node[2].get(attribute, (None,))
        if kind is str:
            return value[0]
    return snake_case(node[1].__name__)
