"""What each array word and network word is tried on: its arguments, as data.

Arguments are those for which the Array API standard (2024.12) says what the result is, so that NumPy's is the one to
expect. Arrays stand as NumPy's; `Dtype` stands for a dtype, which each library has its own of.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from layerkit.xp import words

if TYPE_CHECKING:
    from collections.abc import Iterator


class Dtype(NamedTuple):
    """Stands for the dtype of this name."""

    name: str


class Case(NamedTuple):
    """A call of a word."""

    word: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


FLOATS = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")
"""Those in which all words are tried. Those of uint64 are tried where layerkit needs them."""
REAL = (*FLOATS, "int32", "int64", "uint8")
ALL = (*REAL, *COMPLEX, "bool")

SPECIAL = (math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 0.5, -0.5, 1e30, -1e30, 1e-30)

# From where to where a word is defined, or well conditioned, if that is not everywhere.
_DOMAINS = {
    **dict.fromkeys(("acos", "asin", "atanh"), (-0.9, 0.9)),
    **dict.fromkeys(("log", "log10", "log2", "sqrt"), (0.1, 4.0)),
    **{"log1p": (-0.5, 4.0), "acosh": (1.1, 4.0), "reciprocal": (0.5, 4.0), "tan": (-1.4, 1.4)},
}

_OF_FLOATS = (
    *("acos", "acosh", "asin", "asinh", "atan", "atanh", "cos", "cosh", "exp", "expm1", "log", "log10", "log1p"),
    *("log2", "reciprocal", "sin", "sinh", "sqrt", "tan", "tanh"),
)
_OF_REALS = ("abs", "negative", "positive", "sign", "square")
_ROUNDING = ("ceil", "floor", "round", "trunc")
_TESTS = ("isfinite", "isinf", "isnan", "signbit")
_TWO_FLOATS = ("atan2", "copysign", "hypot", "logaddexp", "nextafter")
_TWO_REALS = ("add", "maximum", "minimum", "multiply", "subtract")
_COMPARISONS = ("equal", "greater", "greater_equal", "less", "less_equal", "not_equal")
_BITS = ("bitwise_and", "bitwise_or", "bitwise_xor")
_LOGIC = ("logical_and", "logical_or", "logical_xor")


def array(dtype: str, *shape: int, low: float = -3.0, high: float = 3.0, seed: int = 0) -> Any:
    """Return random numbers from `low` to `high`: the same each time."""
    random = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return np.asarray(random.integers(0, 2, shape), bool)
    if "int" in dtype:
        least = 0 if dtype.startswith("u") else math.floor(low)
        return np.asarray(random.integers(least, math.ceil(high) + 1, shape), dtype)
    values = random.uniform(low, high, shape)
    if dtype in COMPLEX:
        return np.asarray(values + 1j * random.uniform(low, high, shape), dtype)
    return np.asarray(values, dtype)


def apart(dtype: str, *shape: int, seed: int = 0) -> Any:
    """Return numbers no two of which are equal, in a random order."""
    random = np.random.default_rng([seed, *shape])
    return np.asarray(random.permutation(math.prod(shape)).reshape(shape) * (1 if "int" in dtype else 0.37), dtype)


def cases() -> Iterator[Case]:
    """Yield all cases, word by word."""
    for part in (_creating, _elementwise, _moving, _reducing, _searching, _products, _linalg, _fft, _network):
        for word, arguments in part():
            kwargs: dict[str, Any] = arguments.pop() if arguments and isinstance(arguments[-1], dict) else {}
            yield Case(word, tuple(arguments), kwargs)


def _creating() -> Iterator[tuple[str, list[Any]]]:
    for dtype in (None, "float32", "int64", "bool"):
        told = {} if dtype is None else {"dtype": Dtype(dtype)}
        for word in ("empty", "ones", "zeros"):
            for shape in ((2, 3), (), (0, 3), 4):
                yield word, [shape, {**told}]
    for dtype in (*FLOATS, *INTEGERS, "uint64", *COMPLEX, "bool"):
        yield dtype, []
    for word in words.CONSTANTS:
        yield word, []
    for value, dtype in ((2.5, None), (3, None), (True, None), (2.5, "float32"), (3, "uint8")):
        yield "full", [(2, 3), value, {} if dtype is None else {"dtype": Dtype(dtype)}]
    for dtype in ALL:
        for shape in ((2, 3), (), (0, 3)):
            for word in ("empty_like", "ones_like", "zeros_like"):
                yield word, [array(dtype, *shape)]
            yield "full_like", [array(dtype, *shape), True if dtype == "bool" else 2]
    yield "zeros_like", [array("float32", 2, 3), {"dtype": Dtype("int64")}]
    for arguments in ([5], [2, 7], [0, 10, 3], [10, 0, -3], [3, 3], [0.0, 1.0, 0.25], [5, {"dtype": Dtype("float32")}]):
        yield "arange", arguments
    for arguments in ([3], [2, 4], [0], [3, 4, {"k": 1}], [3, 3, {"k": -1, "dtype": Dtype("float32")}]):
        yield "eye", arguments
    for arguments in ([0.0, 1.0, 5], [0.0, 1.0, 4, {"endpoint": False}], [1.0, 0.0, 1, {"dtype": Dtype("float32")}]):
        yield "linspace", arguments
    for dtype in ("float32", "int64", "bool"):
        for word in ("tril", "triu"):
            for k in (0, 1, -1):
                yield word, [array(dtype, 2, 3, 4), {"k": k}]
    for indexing in ("xy", "ij"):
        yield "meshgrid", [array("float64", 3), array("float64", 4, seed=1), {"indexing": indexing}]
    yield "meshgrid", [array("int64", 3)]
    yield "from_dlpack", [array("float32", 2, 3)]
    for source in ("float64", "int32", "uint8", "bool", "uint32"):
        for target in ("float32", "float64", "int64", "uint8"):
            for shape in ((2, 3), (), (0,)):
                yield "astype", [array(source, *shape, low=0.0), Dtype(target)]
    yield "astype", [array("float32", 3), Dtype("complex64")]
    yield "astype", [array("int64", 3), Dtype("bool")]
    yield "can_cast", [Dtype("int32"), Dtype("int64")]
    yield "can_cast", [Dtype("float64"), Dtype("float32")]
    for dtype in (*FLOATS, *COMPLEX):
        yield "finfo", [Dtype(dtype)]
    for dtype in INTEGERS:
        yield "iinfo", [Dtype(dtype)]
    kinds = ("bool", "signed integer", "unsigned integer", "integral", "real floating", "complex floating", "numeric")
    for dtype in ("bool", "int32", "uint32", "float32", "complex64"):
        for kind in (*kinds, ("integral", "bool"), Dtype(dtype)):
            yield "isdtype", [Dtype(dtype), kind]
    for pair in (("float32", "float64"), ("int8", "uint8"), ("int32", "int64"), ("float32", "complex128")):
        yield "result_type", [*map(Dtype, pair)]
        yield "result_type", [array(pair[0], 2), array(pair[1])]  # one without axes counts as much


def _elementwise() -> Iterator[tuple[str, list[Any]]]:
    shapes = ((3, 4), (), (0, 4), (1,))
    for word in (*_OF_FLOATS, *_OF_REALS, *_ROUNDING, *_TESTS):
        low, high = _DOMAINS.get(word, (-3.0, 3.0))
        for dtype in FLOATS if word in (*_OF_FLOATS, "signbit") else (*FLOATS, *INTEGERS):
            if word == "negative" and dtype.startswith("u"):
                continue
            for shape in shapes:
                yield word, [array(dtype, *shape, low=low, high=high)]
        for dtype in FLOATS:
            yield word, [np.array(SPECIAL, dtype)]
        if word not in (*_ROUNDING, "signbit", "log10", "log2", "reciprocal", "sign"):
            for dtype in COMPLEX:
                yield word, [array(dtype, 3, 4, low=0.2, high=0.8)]
    yield "round", [np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])]  # halves go to the even number
    for word in ("conj", "imag", "real"):
        for dtype in COMPLEX:
            for shape in shapes:
                yield word, [array(dtype, *shape)]
    for word, dtypes in (
        *((word, FLOATS) for word in _TWO_FLOATS),
        *((word, (*FLOATS, *INTEGERS)) for word in _TWO_REALS),
        *((word, ("float32", "int32", "int64", "uint8", "uint32")) for word in _COMPARISONS),
        *((word, (*INTEGERS, "bool")) for word in _BITS),
        *((word, ("bool",)) for word in _LOGIC),
    ):
        for dtype in dtypes:
            for left, right in (((3, 4), (3, 4)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (2,)), ((0, 4), (4,))):
                a, b = array(dtype, *left), array(dtype, *right, seed=1)
                if word == "subtract" and dtype.startswith("u"):
                    a = np.asarray(a + np.asarray(5, dtype))  # a difference below 0 has no defined value
                yield word, [a, b]
        for dtype in FLOATS if dtypes[0] == "float32" else ():
            if word != "nextafter":
                yield word, [array(dtype, 3, 4), 1.5]
                yield word, [1.5, array(dtype, 3, 4)]
            left, right = np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype))
            yield word, [left, right]
    for word in ("add", "multiply", "subtract", "divide"):
        for dtype in COMPLEX:
            yield word, [array(dtype, 3, 4), array(dtype, 4, low=1.0, seed=1)]
    for word in ("add", "multiply", "maximum"):
        yield word, [array("float32", 3, 4), array("float64", 4)]
        yield word, [array("float32", 3), array("float64")]  # one without axes counts as much
        yield word, [array("int32", 3), array("int64")]
    for word in ("add", "bitwise_and", "greater_equal", "less", "multiply"):
        yield word, [array("int64", 3, 4), 2]
    for dtype in (*FLOATS, *INTEGERS):
        for divisor in (array(dtype, 4, low=1.0, seed=1) + np.asarray(1, dtype), 2 if "int" in dtype else 2.0):
            for word in ("floor_divide", "remainder"):
                yield word, [array(dtype, 3, 4, low=-9.0, high=9.0), divisor]
        yield "remainder", [array(dtype, 0, 4), 2 if "int" in dtype else 2.0]
    for dtype in FLOATS:
        yield "floor_divide", [array(dtype, 3, 4, low=-9.0, high=9.0), np.asarray([-2, -1, 1, 2], dtype)]
        yield "remainder", [array(dtype, 3, 4, low=-9.0, high=9.0), np.asarray([-2, -1, 1, 2], dtype)]
        for shape in ((3, 4), (), (0, 4)):
            yield "divide", [array(dtype, *shape), array(dtype, low=1.0, seed=1)]
            yield "pow", [array(dtype, *shape, low=0.2), array(dtype, seed=1)]
        yield "divide", [*np.meshgrid(np.array(SPECIAL, dtype), np.array(SPECIAL, dtype))]
        yield "divide", [1.0, array(dtype, 3, 4, low=1.0)]
        yield "pow", [array(dtype, 3, 4), 3]
        yield "pow", [array(dtype, 3, 4, low=0.2), 0.5]
        yield "pow", [2.0, array(dtype, 3, 4)]
        yield "pow", [np.array(SPECIAL, dtype), 2.0]
        yield "pow", [np.array(SPECIAL, dtype), np.zeros((), dtype)]
        yield "clip", [np.array(SPECIAL, dtype), -0.75, 0.75]
        yield "clip", [array(dtype, 3, 4), -0.25]
        for keywords in ({"min": -1.0}, {"max": 1.0}, {}):
            yield "clip", [array(dtype, 3, 4), keywords]
        yield "clip", [array(dtype, 3, 4), array(dtype, 4, low=-1.0, high=0.0), array(dtype, 3, 1, low=0.5, high=1.0)]
    for dtype in INTEGERS:
        yield "pow", [array(dtype, 3, 4, low=0.0), 2]
        yield "clip", [array(dtype, 3, 4), 1, 2]
        yield "bitwise_invert", [array(dtype, 3, 4)]
        for word in ("bitwise_left_shift", "bitwise_right_shift"):
            values = array(dtype, 3, 4, low=0.0, high=127.0)
            yield word, [values >> 4 if word == "bitwise_left_shift" else values, array(dtype, 4, low=0.0)]
            yield word, [values >> 4, 2]
    top = np.array([0, 1, 2**31 - 1, 2**31, 2**32 - 1], np.uint32)  # as random bits are
    yield "bitwise_right_shift", [top, 8]
    for word in _COMPARISONS:
        yield word, [top, 2**31]
    yield "bitwise_invert", [array("bool", 3, 4)]
    for shape in shapes:
        yield "logical_not", [array("bool", *shape)]
    for dtype in COMPLEX:
        for word in ("equal", "not_equal"):
            yield word, [array(dtype, 3, 4), array(dtype, 3, 4)]
        yield "pow", [array(dtype, 3, 4, low=0.2), 2.0]
    for dtype in ALL:
        for condition, a, b in (
            ((3, 4), (3, 4), (3, 4)),
            ((3, 1), (4,), (2, 3, 4)),
            ((), (), ()),
            ((0, 4), (4,), (1,)),
        ):
            yield "where", [array("bool", *condition), array(dtype, *a), array(dtype, *b, seed=1)]
    for value in (0.0, -0.0, 2.5, math.nan, math.inf):
        yield "where", [array("bool", 3, 4), array("float32", 3, 4), value]
        yield "where", [array("bool", 3, 4), value, array("float32", 3, 4)]
    yield "where", [array("bool", 5000), array("float32", 5000), np.resize(np.array(SPECIAL, "float32"), 5000)]


def _moving() -> Iterator[tuple[str, list[Any]]]:
    for dtype in ("float32", "float64", "int64", "uint8", "uint32", "bool", "complex64"):
        x, y = array(dtype, 2, 3, 4), array(dtype, 2, 3, 4, seed=1)
        yield "broadcast_to", [array(dtype, 3, 1), (2, 3, 4)]
        yield "broadcast_arrays", [array(dtype, 3, 1), array(dtype, 4)]
        for axis in (0, -1, None):
            yield "concat", [[x, y], {"axis": axis}]
        for axis in (0, 1, -1):
            yield "expand_dims", [x, {"axis": axis}]
            yield "stack", [[x, y], {"axis": axis}]
            yield "unstack", [x, {"axis": axis}]
        for axis in (None, 0, -1, (0, 2)):
            yield "flip", [x, {"axis": axis}]
        yield "moveaxis", [x, 0, 2]
        yield "moveaxis", [x, (0, 1), (2, 0)]
        yield "permute_dims", [x, (2, 0, 1)]
        yield "matrix_transpose", [x]
        yield "repeat", [x, 2, {"axis": 1}]
        yield "repeat", [array(dtype, 4), 3]
        yield "repeat", [array(dtype, 4), np.array([2, 0, 1, 3])]
        for shape in ((4, 6), (24,), (-1, 3), (2, 1, 12)):
            yield "reshape", [x, shape]
        yield "roll", [x, 2]
        yield "roll", [x, -1, {"axis": 1}]
        yield "roll", [x, (1, 2), {"axis": (0, 2)}]
        yield "squeeze", [array(dtype, 1, 3, 1), {"axis": 0}]
        yield "squeeze", [array(dtype, 1, 3, 1), {"axis": (0, 2)}]
        yield "tile", [x, (2, 1, 3)]
        yield "tile", [array(dtype, 3), (2, 2)]
        yield "take", [x, np.array([2, 0, 2]), {"axis": 1}]
        yield "take", [array(dtype, 5), np.array([4, 0, 0])]
        yield "take_along_axis", [x, np.array([[[0, 2, 1, 0]], [[1, 1, 0, 2]]]), {"axis": 1}]
        yield from (
            *(("concat", [[array(dtype, 0, 3), array(dtype, 2, 3)]]), ("reshape", [array(dtype, 0, 4), (2, 0)])),
            *(("reshape", [array(dtype), (1, 1)]), ("take", [array(dtype, 0, 3), np.array([1, 1]), {"axis": 1}])),
            *(("flip", [array(dtype, 0, 3)]), ("permute_dims", [array(dtype, 0, 3), (1, 0)])),
            *(("stack", [[array(dtype), array(dtype, seed=1)]]), ("broadcast_to", [array(dtype), (2, 2)])),
            *(("expand_dims", [array(dtype), {"axis": 0}]), ("unstack", [array(dtype, 2, 0)])),
        )


def _reducing() -> Iterator[tuple[str, list[Any]]]:
    axes = (None, 0, -1, (0, 2))
    for word, dtypes in (
        *((word, (*FLOATS, *INTEGERS, *COMPLEX)) for word in ("sum", "prod")),
        *((word, (*FLOATS, *INTEGERS)) for word in ("max", "min")),
        *((word, FLOATS) for word in ("mean", "std", "var")),
        *((word, (*FLOATS, "int64", "bool")) for word in ("all", "any", "count_nonzero")),
    ):
        for dtype in dtypes:
            few = 1.0 if dtype == "int8" and word == "prod" else 3.0
            for axis in axes:
                for keepdims in (False, True):
                    x = array(dtype, 2, 3, 4, low=-few, high=few)
                    yield word, [x, {"axis": axis, "keepdims": keepdims}]
            yield word, [array(dtype)]
            if word not in ("max", "min", "mean", "std", "var"):
                yield word, [array(dtype, 0, 3), {"axis": 0}]
            yield word, [array(dtype, 0, 3), {"axis": 1}]
        if "float32" in dtypes:
            special = np.array([[1.0, math.nan, 2.0], [math.inf, 1.0, 2.0], [-math.inf, math.inf, 0.0]])
            for dtype in FLOATS:
                yield word, [special.astype(dtype), {"axis": 1}]
    for dtype in FLOATS:
        yield "sum", [array(dtype, 3, 4), {"axis": ()}]
        yield "var", [array(dtype, 3, 4), {"axis": 1, "correction": 1}]
        yield "std", [array(dtype, 3, 4), {"axis": 0, "correction": 1.0}]
        yield "sum", [array(dtype, 300, 100)]
    yield "sum", [array("float32", 3, 4), {"dtype": Dtype("float64")}]
    for dtype in (*FLOATS, "int32", "int64", "uint8"):
        for word in ("cumulative_sum", "cumulative_prod"):
            yield word, [array(dtype, 4, low=-1.0, high=2.0)]
            for axis in (0, -1):
                yield word, [array(dtype, 3, 4, low=-1.0, high=2.0), {"axis": axis}]
            yield word, [array(dtype, 3, 4, low=-1.0, high=2.0), {"axis": 1, "include_initial": True}]
        if dtype != "uint8":
            for keywords in ({}, {"axis": 0}, {"n": 2}):
                yield "diff", [array(dtype, 3, 4), keywords]
            yield "diff", [array(dtype, 3, 4), {"prepend": array(dtype, 3, 1), "append": array(dtype, 3, 2)}]


def _searching() -> Iterator[tuple[str, list[Any]]]:
    for dtype in (*FLOATS, "int32", "int64", "uint8", "uint32"):
        x = apart(dtype, 3, 4)
        for word in ("argmax", "argmin"):
            for axis in (None, 0, -1):
                yield word, [x, {"axis": axis, "keepdims": axis is not None}]
            yield word, [np.zeros((2, 3), dtype), {"axis": 1}]  # the first of equals
        for descending in (False, True):
            for axis in (0, -1):
                for word in ("sort", "argsort"):
                    yield word, [x, {"axis": axis, "descending": descending}]
            equals = np.array([1, 0, 1, 0, 2, 1, 0], dtype)
            yield "argsort", [equals, {"descending": descending}]  # stable: equals keep their order
        yield "sort", [array(dtype, 0, 3), {"axis": 0}]
        yield "nonzero", [array(dtype, 3, 4, low=-1.0, high=1.0)]
        for side in ("left", "right"):
            yield "searchsorted", [np.arange(5).astype(dtype), array(dtype, 3, 4, low=0.0, high=6.0), {"side": side}]
        yield "searchsorted", [np.arange(5).astype(dtype), array(dtype, 0)]
        for word in words.SETS:
            yield word, [np.array([[3, 1, 2], [1, 3, 3]], dtype)]
            yield word, [array(dtype, 0)]
    yield "nonzero", [array("bool", 3, 4)]


def _products() -> Iterator[tuple[str, list[Any]]]:
    for dtype in (*FLOATS, *COMPLEX, "int64"):

        def of(*shape: int, seed: int = 0, dtype: str = dtype) -> Any:
            return array(dtype, *shape, seed=seed)

        for prefix in ("", "linalg."):
            for a, b in (
                *(((3, 4), (4, 2)), ((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((2, 3, 4), (4, 2))),
                *(((3, 4), (5, 4, 2)), ((2, 1, 3, 4), (5, 4, 2)), ((0, 4), (4, 2)), ((3, 0), (0, 2)), ((1, 1), (1, 1))),
            ):
                yield prefix + "matmul", [of(*a), of(*b, seed=1)]
            yield prefix + "matrix_transpose", [of(2, 3, 4)]
            yield prefix + "tensordot", [of(2, 3, 4), of(3, 4, 2)]
            yield prefix + "tensordot", [of(2, 3), of(3, 4), {"axes": 1}]
            yield prefix + "tensordot", [of(2), of(3), {"axes": 0}]
            yield prefix + "tensordot", [of(2, 3, 4), of(4, 2, 5), {"axes": ((0, 2), (1, 0))}]
            yield prefix + "vecdot", [of(3, 4), of(4, seed=1)]
            yield prefix + "vecdot", [of(3, 4), of(3, 1, seed=1), {"axis": -2}]
        yield "linalg.outer", [of(3), of(4, seed=1)]
        yield "linalg.diagonal", [of(2, 3, 4)]
        yield "linalg.diagonal", [of(3, 4), {"offset": -1}]
        yield "linalg.trace", [of(2, 3, 4), {"offset": 1}]
        yield "linalg.cross", [of(2, 3), of(2, 3, seed=1)]
    yield "matmul", [array("float32", 3, 4), array("float64", 4, 2)]


def _linalg() -> Iterator[tuple[str, list[Any]]]:
    for dtype in FLOATS:
        wide, square = array(dtype, 2, 3, 5), array(dtype, 2, 3, 3) + 4 * np.eye(3, dtype=dtype)
        positive = square @ square.swapaxes(-1, -2)
        for upper in (False, True):
            yield "linalg.cholesky", [positive, {"upper": upper}]
        for word in ("det", "inv", "slogdet", "pinv", "matrix_rank"):
            yield f"linalg.{word}", [square]
            yield f"linalg.{word}", [square[0]]
        yield "linalg.pinv", [wide]
        yield "linalg.matrix_rank", [np.ones((3, 3), dtype)]
        for word in ("eigh", "eigvalsh"):
            yield f"linalg.{word}", [positive]
        for power in (-1, 0, 1, 3):
            yield "linalg.matrix_power", [square, power]
        for order in ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf):
            for keepdims in (False, True):
                yield "linalg.matrix_norm", [wide, {"ord": order, "keepdims": keepdims}]
        for order in (0, 1, 2, 3, 0.5, -1, math.inf, -math.inf):
            yield "linalg.vector_norm", [array(dtype, 3, 4), {"ord": order, "axis": 1}]
        for axis in (None, 0, (0, 2)):
            yield "linalg.vector_norm", [wide, {"axis": axis, "keepdims": True}]
        for mode in ("reduced", "complete"):
            yield "linalg.qr", [wide, {"mode": mode}]
            yield "linalg.qr", [wide.swapaxes(-1, -2).copy(), {"mode": mode}]
        yield "linalg.svd", [wide, {"full_matrices": False}]
        yield "linalg.svd", [square]
        yield "linalg.svdvals", [wide]
        for b in (array(dtype, 2, 3, 4), array(dtype, 3), array(dtype, 3, 2)):
            yield "linalg.solve", [square, b]


def _fft() -> Iterator[tuple[str, list[Any]]]:
    one: tuple[dict[str, Any], ...] = ({}, {"n": 3}, {"n": 8, "norm": "ortho"}, {"axis": 0, "norm": "forward"})
    more: tuple[dict[str, Any], ...] = (
        {},
        {"s": (2, 5), "axes": (0, 1)},
        {"axes": (1,), "norm": "ortho"},
        {"axes": (1, 0), "norm": "forward"},
    )
    for real, wide in zip(FLOATS, COMPLEX, strict=True):
        for word, dtype, variants in (
            *((word, wide, one) for word in ("fft", "ifft", "irfft", "hfft")),
            *((word, real, one) for word in ("rfft", "ihfft")),
            *((word, wide, more) for word in ("fftn", "ifftn", "irfftn")),
            ("rfftn", real, more),
        ):
            for keywords in variants:
                yield f"fft.{word}", [array(dtype, 5, 4), {**keywords}]
        for word in ("fftshift", "ifftshift"):
            for dtype in (real, wide):
                yield f"fft.{word}", [array(dtype, 5, 4)]
                yield f"fft.{word}", [array(dtype, 5, 4), {"axes": 1}]
    for word in ("fftfreq", "rfftfreq"):
        for n in (4, 5):
            yield f"fft.{word}", [n]
            yield f"fft.{word}", [n, {"d": 0.5}]


EINSUMS: tuple[tuple[str, tuple[int, ...], *tuple[tuple[int, ...], ...]], ...] = (
    ("ij,jk->ik", (3, 4), (4, 2)), ("ba,cb", (3, 4), (2, 3)), ("ii->i", (4, 4)), ("ij->ji", (3, 4)), ("ij->", (3, 4)),
    ("bhqd,bhkd->bhqk", (2, 2, 3, 2), (2, 2, 4, 2)), ("...ij,...jk->...ik", (2, 3, 3, 4), (3, 4, 2)),
    ("ij,jk->ik", (3, 1), (4, 2)), ("ij,jk->ik", (0, 4), (4, 2)), (",ij->ij", (), (2, 3)),
    ("ijk,kl,jm->ilm", (2, 3, 4), (4, 2), (3, 3)),
)  # fmt: skip


def _network() -> Iterator[tuple[str, list[Any]]]:
    for dtype in FLOATS:
        for word in ("sigmoid", "softplus", "erfc"):
            for shape in ((3, 4), (), (0, 4), (50, 40)):
                yield word, [array(dtype, *shape, low=-8.0, high=8.0)]
            yield word, [np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e4, -1e4, 1e-30, -80.0], dtype)]
        for word in ("softmax", "log_softmax"):
            yield word, [array(dtype, 3, 4, low=-8.0, high=8.0)]
            for axis in (0, 1, (0, 2)):
                yield word, [array(dtype, 2, 3, 4), {"axis": axis}]
            yield word, [array(dtype, 0, 4)]
            yield word, [np.array([[1e4, 0.0, -1e4], [-1e4, -1e4, 0.0], [-math.inf, 0.0, 1.0]], dtype)]
        for x in ((5, 3), (2, 4, 3), (0, 3)):
            rows, kernel, bias = array(dtype, *x), array(dtype, 3, 2, seed=1), array(dtype, 2, seed=2)
            yield "linear", [rows, kernel]
            yield "linear", [rows, kernel, bias]
            dy = array(dtype, *x[:-1], 2, seed=3)
            yield "linear_grad", [rows, kernel, dy]
            yield "linear_grad", [rows, kernel, dy, {"input_gradient": False}]
        for subscripts, *shapes in EINSUMS:
            yield "einsum", [subscripts, *(array(dtype, *shape, seed=n) for n, shape in enumerate(shapes))]
        yield "scatter_add", [np.array([2, 0, 2, 2]), array(dtype, 4), 5]
        yield "scatter_add", [np.array([], np.int64), array(dtype, 0), 3]
    for labels in ("int32", "int64", "uint8"):
        for dtype in ("float32", "float64", "bool", "int64"):
            yield "one_hot", [np.array([[0, 2], [1, 1]], labels), 3, dtype]
    yield "one_hot", [np.array([-1, 3]), 3, "float32"]
    yield "one_hot", [np.array([], np.int64), 3, "float32"]
