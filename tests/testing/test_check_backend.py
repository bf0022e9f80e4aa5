"""The judge of backends is judged: every word is tried, right ones pass, and each planted mistake is found."""

from __future__ import annotations

import re
import types

import numpy as np
import pytest

import layerkit
from layerkit.__main__ import main
from layerkit.errors import ArgumentError, BackendUnavailableError, ContractError, UnknownNameError
from layerkit.testing import check_backend
from layerkit.testing.check_backend import EVERY_WORD, GROUPS, examined
from layerkit.testing.machine_words import TRIALS
from layerkit.testing.word_cases import cases
from layerkit.xp import words
from layerkit_numpy import NumpyBackend

CASES = list(cases())


def test_every_word_is_tried():
    assert set(EVERY_WORD) == {case.word for case in CASES} | set(TRIALS)
    assert set(TRIALS) == set(words.MACHINE_WORDS)
    assert len(EVERY_WORD) == len(set(EVERY_WORD)) == sum(map(len, GROUPS.values()))


def test_every_word_of_arrays_is_tried_on_arrays_of_each_kind():
    """Empty ones, ones without axes, and numbers that are not finite, wherever a word takes such."""

    def shapes(word):
        return [value.shape for case in CASES if case.word == word for value in case.args if hasattr(value, "shape")]

    for word in (*words.ELEMENTWISE, "sigmoid", "softplus", "erfc"):
        found = shapes(word)
        if not word.startswith("bitwise_") and word not in ("clip", "floor_divide"):
            assert any(0 in shape for shape in found), word
        assert any(len(shape) > 1 for shape in found), word


@pytest.mark.parametrize("group", GROUPS)
def test_a_backend_is_right(xp, group):
    table = check_backend(xp, GROUPS[group])
    assert [row.word for row in table.rows] == list(GROUPS[group])
    assert all(row.calls > 0 for row in table.rows)


def test_the_table_says_how_many_words_of_each_kind_are_right():
    table = check_backend("numpy", ["sum", "mean", "linalg.qr", "assign"])
    calls = [row.calls for row in table.rows]
    assert str(table).splitlines() == [
        f"numpy: 4 of 4 words are right, in {sum(calls)} calls.",
        "",
        "                       words   calls   wrong",
        f"array words                2{calls[0] + calls[1]:>8}       0",
        f"linear algebra             1{calls[2]:>8}       0",
        f"machine words              1{calls[3]:>8}       0",
    ]


# Planted mistakes: a NumPy backend in which one word is wrong.


def planted(word, wrong):
    """Return NumPy's backend with ``wrong(its own word)`` in place of a word."""
    xp = NumpyBackend()
    group, _, name = word.rpartition(".")
    owner = getattr(xp, group) if group else xp
    if group:
        owner = types.SimpleNamespace(**vars(owner))
        setattr(xp, group, owner)
    setattr(owner, name, wrong(getattr(owner, name)))
    return xp


def altered(change):
    """Return a mistake: a word whose result (the last, if there are several) is changed."""

    def wrong(word):
        def altered_word(*args, **kwargs):
            result = word(*args, **kwargs)
            if isinstance(result, (tuple, list)):
                *rest, last = result
                parts = [*rest, change(last)]
                return result._make(parts) if hasattr(result, "_make") else type(result)(parts)
            return change(result)

        return altered_word

    return wrong


def another_number(y):
    y = np.array(y)
    if not y.size:
        return y
    place = (-1,) * y.ndim
    if y.dtype.kind == "b":
        y[place] = not y[place]
    else:
        y[place] = 5 if np.isnan(y[place]) else y[place] + 1 if y.dtype.kind in "iu" else y[place] * 1.001 + 0.001
    return y


NO_FUNCTIONS = {*words.CONSTANTS, *words.DTYPES}
TELL_NO_VALUES = {"can_cast", "finfo", "iinfo", "isdtype", "result_type", "empty", "empty_like"}
FUNCTIONS = [word for word in EVERY_WORD if word not in {*NO_FUNCTIONS, *TELL_NO_VALUES, *words.MACHINE_WORDS}]


def wrong_words(xp, *chosen):
    return [row.word for row in examined(xp, chosen).wrong]


@pytest.mark.parametrize("word", FUNCTIONS)
def test_a_wrong_number_is_found_in_every_word(word):
    assert wrong_words(planted(word, altered(another_number)), word) == [word]


@pytest.mark.parametrize("word", ["sum", "exp", "linalg.qr", "fft.rfft", "softmax", "where", "argmax", "empty_like"])
@pytest.mark.parametrize(
    "change",
    [
        lambda y: np.asarray(y).astype("float32" if y.dtype != np.float32 else "float64"),
        lambda y: np.expand_dims(y, 0),
        lambda y: np.asarray(y).tolist(),
        lambda y: None,
    ],
    ids=["dtype", "shape", "list", "nothing"],
)
def test_another_dtype_shape_or_type_is_found(word, change):
    assert wrong_words(planted(word, altered(change)), word) == [word]


def of(condition, change):
    """Return a mistake that is made for some arguments alone."""

    def wrong(word):
        def sometimes(*args, **kwargs):
            result = word(*args, **kwargs)
            return change(result) if any(condition(x) for x in args if isinstance(x, np.ndarray)) else result

        return sometimes

    return wrong


@pytest.mark.parametrize("word", ["exp", "add", "sum", "sigmoid"])
@pytest.mark.parametrize(
    "condition",
    [
        lambda x: x.size == 0,
        lambda x: x.ndim == 0,
        lambda x: x.ndim > 1 and not x.flags.c_contiguous and x.flags.f_contiguous,
        lambda x: x.ndim > 0 and not x.flags.c_contiguous and not x.flags.f_contiguous,
        lambda x: x.dtype.kind == "f" and not np.isfinite(x).all(),
        lambda x: x.dtype == np.float32,
        lambda x: x.dtype == np.float64,
    ],
    ids=["empty", "without axes", "turned", "every second", "not finite", "float32", "float64"],
)
def test_a_mistake_that_shows_on_some_arrays_alone_is_found(word, condition):
    assert wrong_words(planted(word, of(condition, lambda y: np.expand_dims(y, 0))), word) == [word]


def test_an_argument_that_is_written_to_is_found():
    def careless(word):
        def sort(x, **kwargs):
            y = word(x, **kwargs)
            x[...] = 0
            return y

        return sort

    (row,) = examined(planted("sort", careless), ["sort"]).wrong
    assert str(row.findings[0]) == (
        "sort(float32 (3, 4), axis=0, descending=False): expected arguments that stay as they are. "
        "Received: an argument that was written to"
    )


def test_equal_elements_that_change_places_are_found():
    def unstable(word):
        def argsort(x, *, axis=-1, descending=False, stable=True):
            return (
                np.flip(np.argsort(np.flip(x, axis), axis=axis), axis)[..., ::-1]
                if x.ndim == 1
                else word(x, axis=axis, descending=descending)
            )

        return argsort

    assert wrong_words(planted("argsort", unstable), "argsort") == ["argsort"]


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("pi", 3.14),
        ("e", 2.7),
        ("inf", 1e300),
        ("nan", 0.0),
        ("newaxis", 0),
        ("float32", np.float64),
        ("bool", np.uint8),
    ],
)
def test_wrong_names_are_found(word, value):
    assert wrong_words(planted(word, lambda _: value), word) == [word]


@pytest.mark.parametrize("word", sorted(TELL_NO_VALUES - {"empty", "empty_like"}))
def test_wrong_facts_are_found(word):
    wrong = {"finfo": lambda _: np.finfo("float16"), "iinfo": lambda _: np.iinfo("int8")}
    change = wrong.get(word, lambda told: not told if isinstance(told, bool) else np.dtype("int8"))
    assert wrong_words(planted(word, altered(change)), word) == [word]


def test_a_word_that_is_missing_or_raises_is_told_with_its_error():
    def missing(word):
        def expm1(x):
            raise NotImplementedError("expm1 is for later\nand more")

        return expm1

    xp = planted("expm1", missing)
    (row,) = examined(xp, ["expm1", "exp"]).wrong
    assert len(row.findings) == row.calls
    assert (
        str(row.findings[0])
        == "expm1(float32 (3, 4)): expected a result. Received: NotImplementedError: expm1 is for later"
    )


# Machine words.


class Reckless(NumpyBackend):
    """A base of backends with a mistake in one machine word."""

    word = ""


def mistake(name, word, **methods):
    return pytest.param(word, type("Wrong", (Reckless,), methods), id=f"{word}: {name}")


def rounded(self, state, value):
    NumpyBackend.assign(self, state, (state + np.float64(1.0) * value).astype(state.dtype))


def next_block(self, key, counter, size):
    return NumpyBackend.random_bits(self, key, counter + np.uint64(1), size)


def own_generator(self, key, counter, size):
    return np.random.default_rng(0).integers(0, 2**32, size, np.uint32)


def of_64_bits(self, key, counter, size):
    return NumpyBackend.random_bits(self, key, counter, size).astype("uint64")


def run_twice(self, program):
    run = program.on(self)
    return lambda *arrays: (run(*arrays), run(*arrays))[0]


def first_tile(self, function, states, scalars):
    function(self, [state[: self.tile_size] for state in states], scalars)


MISTAKES = [
    mistake("the dtype is ignored", "asarray", asarray=lambda self, values, dtype=None: np.asarray(values)),
    mistake("a copy of its own array", "asarray", asarray=lambda self, values, dtype=None: np.array(values, dtype)),
    mistake("lists", "to_numpy", to_numpy=lambda self, array: array.tolist()),
    mistake("another dtype", "to_numpy", to_numpy=lambda self, array: np.asarray(array, float)),
    mistake("everything", "owns", owns=lambda self, array: True),
    mistake("nothing", "owns", owns=lambda self, array: False),
    mistake("numbers", "devices", devices=lambda self: (0, 1)),
    mistake("none", "devices", devices=lambda self: ()),
    mistake("no context", "on_device", on_device=lambda self: None),
    mistake("the host's memory", "state", state=lambda self, values, dtype: np.asarray(values, dtype)),
    mistake("float64 always", "state", state=lambda self, values, dtype: np.array(values, float)),
    mistake("a copy", "view", view=lambda self, state, a, b, shape: state[a:b].reshape(shape).copy()),
    mistake("from the start", "view", view=lambda self, state, a, b, shape: state[: b - a].reshape(shape)),
    mistake("adds", "assign", assign=lambda self, state, value: NumpyBackend.assign_add(self, state, value)),
    mistake("broadcasts", "assign", assign=lambda self, state, value: np.copyto(state, value, casting="unsafe")),
    mistake("assigns", "assign_add", assign_add=lambda self, state, value: NumpyBackend.assign(self, state, value)),
    mistake("by way of floats", "assign_add", assign_add=rounded),
    mistake("the next block", "random_bits", random_bits=next_block),
    mistake("its own generator", "random_bits", random_bits=own_generator),
    mistake("64 bits", "random_bits", random_bits=of_64_bits),
    mistake("one number", "capture", capture=lambda self, program: lambda *arrays: np.float64(1.0)),
    mistake("twice", "capture", capture=run_twice),
    mistake("the first tile alone", "in_tiles", in_tiles=first_tile),
    mistake("raises", "synchronize", synchronize=lambda self: 1 / 0),
]


@pytest.mark.parametrize(("word", "wrong"), MISTAKES)
def test_a_mistake_in_a_machine_word_is_found(word, wrong):
    assert wrong_words(wrong(), word) == [word]


def test_every_machine_word_has_a_mistake():
    assert {row.values[0] for row in MISTAKES} == set(words.MACHINE_WORDS)


# What is said.


class Careless(NumpyBackend):
    name = "careless"

    @staticmethod
    def floor(x, /):
        return np.trunc(x)

    def softplus(self, x):
        return np.maximum(x, 0.0) + np.log(1.0 + np.exp(-np.abs(x)))

    @staticmethod
    def mean(x, /, *, axis=None, keepdims=False):
        return np.mean(x.astype(np.float64), axis=axis, keepdims=keepdims)


def test_each_wrong_word_has_a_line_with_the_call_what_was_expected_and_what_was_received():
    table = examined(Careless(), ["exp", "floor", "mean", "softplus"])
    lines = table.complaints.splitlines()
    assert [line.partition("(")[0] for line in lines] == ["floor", "mean", "softplus"]
    assert re.fullmatch(
        r"floor\(float32 \(3, 4\)\): expected -\d\.0 at \[\d, \d\]\. Received: -\d\.0 \(and in \d+ other calls\)",
        lines[0],
    )
    assert re.fullmatch(
        r"mean\(float32 \(2, 3, 4\), axis=None, keepdims=False\): expected dtype float32\. Received: dtype float64 "
        r"\(and in \d+ other calls\)",
        lines[1],
    )
    assert re.fullmatch(r"softplus\(float(32|64) .*\): expected .*\. Received: .*", lines[2])
    assert str(table).endswith(f"\n\n{table.complaints}")
    with pytest.raises(ContractError) as caught:
        check_backend(Careless(), ["exp", "floor", "mean", "softplus"])
    assert str(caught.value) == (
        f"careless: every word must do what its reference does. Received: 3 that do not.\n{table.complaints}"
    )


UNKNOWN_BACKEND = "backend: the name must be that of an installed backend. Received: 'nunpy'. Did you mean 'numpy'?"
UNKNOWN_WORD = "check_backend: a word must be one of the contract. Received: 'summ'. Did you mean 'sum'?"


def test_names_that_are_none_are_refused():
    with pytest.raises(UnknownNameError) as unknown:
        check_backend("nunpy")
    assert str(unknown.value) == UNKNOWN_BACKEND
    with pytest.raises(BackendUnavailableError, match=r"^backend 'numpy': the device must be 'cpu'\. "):
        check_backend("numpy:1")
    with pytest.raises(ArgumentError) as caught:
        check_backend("numpy", ["summ"])
    assert str(caught.value) == UNKNOWN_WORD


# On the command line.


def test_the_command_prints_the_table_and_returns_0(capsys):
    assert main(["check-backend", "numpy", "sum", "linear"]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{examined('numpy', ['sum', 'linear'])}\n"
    assert printed.err == ""


def test_the_command_returns_1_where_a_word_is_wrong(capsys, monkeypatch):
    monkeypatch.setitem(layerkit.xp.registry._opened, "careless", Careless())
    assert main(["check-backend", "careless", "exp", "floor"]) == 1
    assert capsys.readouterr().out == f"{examined(Careless(), ['exp', 'floor'])}\n"


@pytest.mark.parametrize(
    ("arguments", "said"), [(["nunpy"], UNKNOWN_BACKEND), (["numpy", "summ"], UNKNOWN_WORD)], ids=["backend", "word"]
)
def test_the_command_says_in_one_sentence_what_it_does_not_know(capsys, arguments, said):
    assert main(["check-backend", *arguments]) == 1
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", said + "\n")
